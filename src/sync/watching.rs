//! What is asked of one chain: the treasury's tokens, what they tell of themselves, and the contracts that are watched.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};

use crate::chain::LogFilter;
use crate::config;
use crate::domain::{Scope, Token};
use crate::store::Watch;

/// What is kept of each contract.
pub(super) type Scopes = BTreeMap<Address, Scope>;

/// The topics of the logs by which each token tells whether it can be paid in, and whether the treasury is the second topic.
pub(super) type Told = BTreeMap<Address, Vec<(B256, bool)>>;

/// The filter for payments to the treasury, what tokens tell of themselves, and what moves holdings of these contracts.
pub(super) fn filter(settings: &config::Chain, told: &Told, contracts: &Scopes) -> LogFilter {
    let known = settings.contracts().chain(&settings.other_tokens);
    let tokens: BTreeSet<Address> = known.map(|token| token.address).collect();
    let treasuries = settings.treasury.into_iter().collect();
    let filter = LogFilter::new(&tokens, &treasuries, contracts).with_notices(told);
    let is_native = settings.tokens.iter().any(Token::is_native);
    match settings.treasury.filter(|_| is_native) {
        Some(treasury) => filter.with_native(treasury),
        None => filter,
    }
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
