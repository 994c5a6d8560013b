//! Step 7: the service is killed in the middle of a burst of payments, and counts each of them once.

use std::collections::BTreeSet;
use std::time::Instant;

use alloy::primitives::U256;
use alloy::primitives::utils::format_units;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::PATIENCE;
use crate::anvil::{BatchPay, TestUsdc};
use crate::api::Charge;
use crate::failure::{Outcome, ensure, until};
use crate::listener::Delivery;
use crate::print::{Step, spell};
use crate::stage::World;

const CHARGES: usize = 40;
/// Payments that are sent between two blocks,
const WAVE: usize = 5;
/// and how many of those are in one transaction.
const BATCH: usize = 2;
/// So many are paid when the service is killed.
const PAID_BEFORE: usize = 10;
/// Waves that are sent while nobody listens.
const WAVES_UNHEARD: usize = 2;

struct Burst {
    charges: Vec<Charge>,
    /// What the treasury had before.
    treasury: U256,
    sent: usize,
}

/// 7. Killed in the middle, started again on the same database.
pub async fn crash_in_a_burst(world: &mut World, step: &Step) -> Outcome<()> {
    world.anvil.mine_every(1).await?;
    let mut burst = Burst::begin(world, step).await?;
    let charges = burst.charges.clone();
    let mut waves = charges.chunks(WAVE);
    for wave in waves.by_ref().take(CHARGES / WAVE - WAVES_UNHEARD) {
        burst.send(world, wave).await?;
        if burst.wait_for_a_block(world, PAID_BEFORE).await? {
            break;
        }
    }
    until(&format!("{PAID_BEFORE} charges are paid"), PATIENCE, async || {
        Ok((burst.paid(world) >= PAID_BEFORE).then_some(()))
    })
    .await?;
    let (paid, sent) = (burst.paid(world), burst.sent);
    world.service.kill().await?;
    step.did(format!(
        "SIGKILL, with {sent} of {CHARGES} payments sent and {paid} charges told as paid"
    ));
    for wave in waves.by_ref().take(WAVES_UNHEARD) {
        burst.send(world, wave).await?;
        burst.wait_for_a_block(world, usize::MAX).await?;
    }
    let unheard = burst.sent - sent;
    step.did(format!(
        "{unheard} more payments were mined while nobody listened"
    ));
    let started = Instant::now();
    let id = world.service.start().await?;
    let took = spell(started.elapsed());
    step.saw(format!(
        "started again on the same database: process {id} is ready after {took}"
    ));
    for wave in waves {
        burst.send(world, wave).await?;
        burst.wait_for_a_block(world, usize::MAX).await?;
    }
    burst.check(world, step, started).await
}

impl Burst {
    async fn begin(world: &World, step: &Step) -> Outcome<Self> {
        let mut charges = Vec::with_capacity(CHARGES);
        for number in 1..=CHARGES {
            charges.push(world.api.create_charge(&format!("burst-{number:02}")).await?);
        }
        step.did(format!(
            "made {CHARGES} charges of {CHARGES} tenants; {WAVE} payments a second, {BATCH} of them in one transaction"
        ));
        Ok(Self {
            charges,
            treasury: world
                .anvil
                .balance(world.contracts.usdc, world.cast.treasury)
                .await?,
            sent: 0,
        })
    }

    /// Sends one wave: the last of it together, the others one by one.
    async fn send(&mut self, world: &World, wave: &[Charge]) -> Outcome<()> {
        let World {
            anvil,
            cast,
            contracts,
            ..
        } = world;
        let (single, together) = wave.split_at(wave.len().saturating_sub(BATCH));
        for charge in single {
            let transfer = TestUsdc::transferCall {
                to: cast.treasury,
                value: charge.due.base_units()?,
            };
            anvil.submit(cast.crowd, contracts.usdc, &transfer).await?;
        }
        let amounts: Vec<U256> = together
            .iter()
            .map(|charge| charge.due.base_units())
            .collect::<Outcome<_>>()?;
        let batch = BatchPay::payCall {
            token: contracts.usdc,
            to: vec![cast.treasury; amounts.len()],
            amounts,
        };
        anvil.submit(cast.crowd, contracts.batch_pay, &batch).await?;
        self.sent += wave.len();
        Ok(())
    }

    /// Waits for the next block, or until so many charges are paid; says whether it was the latter.
    async fn wait_for_a_block(&self, world: &World, paid: usize) -> Outcome<bool> {
        let before = world.anvil.block_number().await?;
        until("a block is mined", PATIENCE, async || {
            if self.paid(world) >= paid {
                return Ok(Some(true));
            }
            let is_mined = world.anvil.block_number().await? > before;
            Ok(is_mined.then_some(false))
        })
        .await
    }

    /// Charges that the listener was told are paid.
    fn paid(&self, world: &World) -> usize {
        let told = world.listener.all(|delivery| delivery.kind() == "charge.paid");
        let is_told = |charge: &&Charge| told.iter().any(|delivery| delivery.is_of_charge(&charge.id));
        self.charges.iter().filter(is_told).count()
    }

    async fn check(&self, world: &World, step: &Step, started: Instant) -> Outcome<()> {
        let paid = self.wait_until_paid(world).await?;
        step.saw(format!(
            "all {CHARGES} charges are paid, {} after the start",
            spell(started.elapsed())
        ));

        let mut sum = U256::ZERO;
        for charge in &paid {
            let (confirmed, due) = (charge.confirmed.base_units()?, charge.due.base_units()?);
            ensure(confirmed == due && charge.flags.is_empty(), || {
                let (is, due) = (&charge.confirmed.amount, &charge.due.amount);
                format!(
                    "{} has {is} confirmed of {due}, flags {:?}",
                    charge.tenant_id, charge.flags
                )
            })?;
            sum += confirmed;
        }
        step.saw("each charge has confirmed exactly what was due");
        let balance = world
            .anvil
            .balance(world.contracts.usdc, world.cast.treasury)
            .await?;
        let (sum, received) = (
            format_units(sum, 6)?,
            format_units(balance.saturating_sub(self.treasury), 6)?,
        );
        ensure(sum == received, || {
            format!("{sum} USDC counted, {received} received on-chain")
        })?;
        step.saw(format!(
            "their sum, {sum} USDC, is what the treasury received on-chain"
        ));
        Self::check_periods(world, &paid).await?;
        step.saw("each tenant is on pro, for exactly one month");
        Self::check_webhooks(world, step, &paid).await
    }

    async fn wait_until_paid(&self, world: &World) -> Outcome<Vec<Charge>> {
        let mut paid = Vec::with_capacity(CHARGES);
        for charge in &self.charges {
            let what = format!("the charge of {} is paid", charge.tenant_id);
            let found = until(&what, PATIENCE, async || {
                let now = world.api.charge(charge).await?;
                Ok(Some(now).filter(|now| now.state == "paid"))
            });
            paid.push(found.await?);
        }
        Ok(paid)
    }

    async fn check_periods(world: &World, paid: &[Charge]) -> Outcome<()> {
        for charge in paid {
            let tenant = &charge.tenant_id;
            let subscription = world.wait_for_plan(tenant, "pro").await?;
            let start = subscription.current_period_start.unwrap_or_default();
            let end = subscription.current_period_end.unwrap_or_default();
            let a_month_on = start
                .parse::<Timestamp>()?
                .to_zoned(TimeZone::UTC)
                .checked_add(1.month())?;
            ensure(a_month_on.timestamp() == end.parse()?, || {
                format!("the period of {tenant} is {start} to {end}")
            })?;
        }
        Ok(())
    }

    /// A charge's events arrive in its order, each with its number: when the one that says paid bears the charge's newest
    /// number, no other can still come.
    async fn check_webhooks(world: &World, step: &Step, paid: &[Charge]) -> Outcome<()> {
        let mut repeated = 0;
        for charge in paid {
            let is_ours =
                |delivery: &Delivery| delivery.kind() == "charge.paid" && delivery.is_of_charge(&charge.id);
            let what = format!("charge.paid of {}", charge.tenant_id);
            world.listener.first(&what, PATIENCE, is_ours).await?;
            let told = world.listener.all(is_ours);
            let ids: BTreeSet<&str> = told.iter().map(|delivery| delivery.id.as_str()).collect();
            let is_last = |delivery: &Delivery| delivery.event["sequence"] == charge.sequence;
            let holds = ids.len() == 1
                && told
                    .iter()
                    .all(|delivery| delivery.is_genuine && is_last(delivery));
            ensure(holds, || {
                format!("{what} came with the ids {ids:?}, not one that is genuine and last")
            })?;
            repeated += told.len() - 1;
        }
        step.saw(format!(
            "one webhook charge.paid for each ({repeated} came again after the kill, with the same id)"
        ));
        Ok(())
    }
}
