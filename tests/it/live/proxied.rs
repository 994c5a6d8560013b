//! A world whose node is behind a proxy, and what is moved on its chain while that misbehaves.

use std::time::Duration;

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::SolCall;
use serde_json::json;
use tollgate::config::{Chain, Endpoint};
use tollgate::domain::{Eligibility, GateId};
use tollgate::engine::ChargeView;
use tollgate::metrics;

use super::world::{On, World};
use crate::harness::anvil::{Anvil, MemberNft, TestUsdc};
use crate::harness::counted::{self, counted};
use crate::harness::proxy::{Proxy, Way};

/// Blocks on a payment, itself included.
pub const CONFIRMATIONS: u64 = 2;
/// The name of the endpoint behind the proxy.
pub const PROXIED: &str = "proxied";

/// The service over a proxied anvil, with a gate whose past is read. No development chain: nothing is wiped.
pub struct Proxied {
    pub proxy: Proxy,
    pub world: World,
    pub gate: GateId,
    nft: Address,
    /// Counts the memberships.
    next_id: u64,
    label: String,
}

impl Proxied {
    /// One endpoint, both ways. `name` is the chain's, of which the metrics are told apart by.
    pub async fn start(name: &str) -> Self {
        Self::start_with(name, |_, _| {}).await
    }

    /// The same with other settings; `adjust` is given the endpoint that is not behind the proxy too.
    pub async fn start_with(name: &str, adjust: impl FnOnce(&mut Chain, Endpoint)) -> Self {
        counted::start();
        let anvil = Anvil::start().await;
        let proxy = Proxy::start(&anvil.http_url()).unwrap();
        let world = World::over(anvil, On::Sqlite, CONFIRMATIONS, |chain| {
            name.clone_into(&mut chain.name);
            chain.development = false;
            chain.poll_interval = Duration::from_millis(100);
            let direct = std::mem::replace(&mut chain.endpoints[0], endpoint(PROXIED, &proxy));
            adjust(chain, direct);
        })
        .await;
        let nft = world.anvil.deploy("MemberNft").await;
        // Of a contract that has moved nothing nobody is known to hold nothing.
        let (to, id) = (world.owner, U256::from(1_000_000));
        world
            .anvil
            .send(world.owner, nft, MemberNft::mintCall { to, id })
            .await;
        let gate = world.gate(nft).await;
        let proxied = Self {
            proxy,
            world,
            gate,
            nft,
            next_id: 1,
            label: format!("chain=\"{name}\""),
        };
        let streaming = || proxied.counted(metrics::ENDPOINT_CONNECTED, &[]) > 0;
        proxied.world.wait_until("a socket", streaming).await;
        proxied.world.anvil.mine(CONFIRMATIONS).await;
        proxied.member_is(0, Eligibility::Ineligible).await;
        proxied
    }

    /// A metric of this chain, with these further labels.
    pub fn counted(&self, metric: &str, labels: &[&str]) -> u64 {
        let labels: Vec<&str> = [self.label.as_str()]
            .into_iter()
            .chain(labels.iter().copied())
            .collect();
        counted(metric, &labels)
    }

    /// A block in which each of these charges is paid and a new member is made, who is returned; and so many more on it that
    /// all of it counts.
    pub async fn move_all(&mut self, charges: &[ChargeView]) -> u64 {
        let world = &self.world;
        let anvil = &world.anvil;
        anvil.rpc("evm_setAutomine", json!([false])).await;
        for charge in charges {
            let value: U256 = charge.due.base_units.parse().unwrap();
            let to = world.treasury;
            send(
                world,
                world.payer,
                world.usdc,
                TestUsdc::transferCall { to, value },
            )
            .await;
        }
        let id = self.next_id;
        let (to, token) = (member(id), U256::from(id));
        send(
            world,
            world.owner,
            self.nft,
            MemberNft::mintCall { to, id: token },
        )
        .await;
        anvil.mine(1).await;
        anvil.rpc("evm_setAutomine", json!([true])).await;
        anvil.mine(CONFIRMATIONS - 1).await;
        self.next_id += 1;
        id
    }

    /// Waits until a charge is paid, exactly, and its tenant has what it pays for.
    pub async fn is_paid(&self, charge: &ChargeView) {
        let paid = self.world.wait_state(charge, "paid").await;
        assert_eq!(paid.confirmed, charge.due, "{}", self.label);
        assert_eq!(
            self.world.plan(charge.tenant_id.as_deref().unwrap()),
            "pro",
            "{}",
            self.label
        );
    }

    pub async fn member_is(&self, id: u64, wanted: Eligibility) {
        self.world.wait_eligibility(&self.gate, member(id), wanted).await;
    }

    pub fn eligibility(&self, id: u64) -> Eligibility {
        self.world.decide(&self.gate, member(id)).decision.eligibility
    }

    /// Waits until the proxied endpoint's socket is up, and asked over again.
    pub async fn is_streaming(&self) {
        let before = self.proxy.traffic().over(Way::Ws);
        self.world
            .wait_until(&format!("{} to stream", self.label), || {
                self.counted(metrics::ENDPOINT_CONNECTED, &[r#"endpoint="proxied""#]) > 0
                    && self.proxy.traffic().over(Way::Ws) > before
            })
            .await;
    }

    /// The reorgs that were followed.
    pub fn reorgs(&self) -> u64 {
        self.counted(metrics::CHAIN_REORGS_TOTAL, &[])
    }
}

/// An endpoint behind a proxy, impatient enough for a test.
pub fn endpoint(name: &str, proxy: &Proxy) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        operator: name.to_owned(),
        ws: Some(proxy.ws_url().into()),
        http: Some(proxy.http_url().into()),
        requests_per_second: 1_000,
        max_in_flight: 32,
        request_timeout: Duration::from_millis(600),
    }
}

fn member(id: u64) -> Address {
    let mut bytes = [0x77; 20];
    bytes[12..].copy_from_slice(&id.to_be_bytes());
    Address::from(bytes)
}

/// Sends a transaction that a later block will hold.
async fn send(world: &World, from: Address, to: Address, call: impl SolCall) {
    let data = Bytes::from(call.abi_encode());
    let transaction = json!([{"from": from, "to": to, "data": data}]);
    world.anvil.rpc("eth_sendTransaction", transaction).await;
}
