//! What a gate answers, from memory: who asks, what is known of them at one moment, and the decision.

use std::sync::RwLockReadGuard;

use alloy::primitives::{Address, U256};

use super::Engine;
use super::answers::read;
use super::chain_state::ChainState;
use crate::access::{self, Readings, Surroundings};
use crate::billing::Subject as Buyer;
use crate::domain::{
    Access, AsOf, Asset, ChainId, ContractAt, Decision, Eligibility, Entitlement, Gap, Gate, IdRange, PlanId,
    Reading, TenantId, UserId,
};

/// Who asks to be let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The user, where one is named.
    pub user: Option<UserId>,
    /// The wallets that count.
    pub wallets: Vec<Address>,
}

/// A gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateAnswer {
    /// The outcome with its reasons.
    pub decision: Decision,
    /// The settled block of each chain that it rests on.
    pub as_of: Vec<AsOf>,
}

impl Engine {
    /// A gate's answer for who asks, from memory. A disabled gate lets nobody in.
    #[must_use]
    pub fn decide(&self, gate: &Gate, subject: &Subject) -> GateAnswer {
        let mut chains: Vec<ChainId> = access::needs(&gate.rule).iter().map(|need| need.chain).collect();
        chains.dedup();
        let states: Vec<_> = chains
            .iter()
            .filter_map(|chain| Some((*chain, self.inner.answers.state(*chain)?)))
            .collect();
        // All at once: each chain is answered for as of one block.
        let guards: Vec<_> = states.iter().map(|(chain, lock)| (*chain, read(lock))).collect();
        let known = Known {
            engine: self,
            tenant: &gate.tenant,
            subject,
            chains: &guards,
        };
        let mut decision = access::decide(&gate.rule, &known);
        if !gate.enabled {
            decision.eligibility = Eligibility::Ineligible;
        }
        let as_of = guards.iter().filter_map(|(chain, state)| state.as_of(*chain));
        GateAnswer {
            decision,
            as_of: as_of.collect(),
        }
    }

    /// What whoever the catalogue sells plans to has: the tenant, or the user, where one is named.
    fn bought(&self, tenant: &TenantId, user: Option<&UserId>) -> Option<Entitlement> {
        let now = self.inner.clock.now_ms();
        match self.inner.catalogue.subject() {
            Buyer::Tenant | Buyer::Community => Some(self.entitlement(tenant, now)),
            Buyer::User => {
                let buyer = user?.as_str().parse().ok()?;
                Some(self.entitlement(&buyer, now))
            }
        }
    }
}

impl Surroundings for Engine {
    fn decimals(&self, chain: ChainId, contract: Address) -> Option<u8> {
        let settings = self.settings();
        let chain = settings.chains.iter().find(|known| known.id == chain)?;
        let mut tokens = chain.tokens.iter().chain(&chain.other_tokens);
        tokens
            .find(|token| token.address == contract)
            .map(|token| token.decimals)
    }

    fn plan(&self, name: &str) -> Option<PlanId> {
        self.catalogue().plan(name).map(|plan| plan.id.clone())
    }
}

/// All that is known of who asks.
struct Known<'a> {
    engine: &'a Engine,
    tenant: &'a TenantId,
    subject: &'a Subject,
    chains: &'a [(ChainId, RwLockReadGuard<'a, ChainState>)],
}

impl Known<'_> {
    fn on_chain(&self, chain: ChainId, read: impl FnOnce(&ChainState) -> Reading) -> Reading {
        let state = self.chains.iter().find(|(known, _)| *known == chain);
        state.map_or(Reading::Unknown(Gap::NotRead), |(_, state)| read(state))
    }
}

impl Readings for Known<'_> {
    fn user(&self) -> Option<&UserId> {
        self.subject.user.as_ref()
    }

    fn wallets(&self) -> &[Address] {
        &self.subject.wallets
    }

    fn balance(&self, at: &ContractAt, asset: Asset, wallet: Address) -> Reading {
        self.on_chain(at.chain_id, |state| state.balance(at.contract, asset, wallet))
    }

    fn holds_one_in(&self, at: &ContractAt, ranges: &[IdRange], wallet: Address) -> Reading {
        self.on_chain(at.chain_id, |state| {
            state.holds_one_in(at.contract, ranges, wallet)
        })
    }

    fn plan_active(&self, plan: &PlanId) -> Reading {
        let bought = self.engine.bought(self.tenant, self.user());
        bought.map_or(Reading::Unknown(Gap::NoUser), |has| {
            let is_active = has.plan.as_ref() == Some(plan) && has.access == Access::Full;
            Reading::Known(U256::from(is_active))
        })
    }
}
