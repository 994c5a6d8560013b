//! What is asked of one chain: the treasury's tokens, and the contracts that are watched.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::Address;

use crate::chain::LogFilter;
use crate::config;
use crate::domain::Scope;
use crate::store::Watch;

/// What is kept of each contract.
pub(super) type Scopes = BTreeMap<Address, Scope>;

/// The filter for payments to the treasury and what moves holdings of these contracts.
pub(super) fn filter(settings: &config::Chain, contracts: &Scopes) -> LogFilter {
    let known = settings.tokens.iter().chain(&settings.other_tokens);
    let tokens: BTreeSet<Address> = known.map(|token| token.address).collect();
    let treasuries = settings.treasury.into_iter().collect();
    LogFilter::new(&tokens, &treasuries, contracts)
}

/// What is kept of these contracts.
pub(super) fn scopes<'w>(watches: impl IntoIterator<Item = &'w Watch>) -> Scopes {
    let watches = watches.into_iter();
    watches.map(|watch| (watch.contract, watch.scope)).collect()
}

/// The contracts that the live blocks bring already.
pub(super) fn live(watches: &[Watch]) -> Scopes {
    scopes(watches.iter().filter(|watch| watch.live_from.is_some()))
}

/// The contracts that the live blocks do not bring yet.
pub(super) fn waiting(watches: &[Watch]) -> Vec<Address> {
    let waiting = watches.iter().filter(|watch| watch.live_from.is_none());
    waiting.map(|watch| watch.contract).collect()
}
