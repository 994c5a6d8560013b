//! What is asked of one chain: the treasury's tokens, and the contracts that are watched.

use std::collections::BTreeSet;

use alloy::primitives::Address;

use crate::chain::LogFilter;
use crate::config;
use crate::domain::TRANSFER;
use crate::store::Watch;

/// The filter for payments to the treasury and transfers of these contracts.
pub(super) fn filter(settings: &config::Chain, contracts: &BTreeSet<Address>) -> LogFilter {
    let known = settings.tokens.iter().chain(&settings.other_tokens);
    let tokens = known.map(|token| token.address).collect();
    let treasuries = settings.treasury.into_iter().collect();
    let topics = BTreeSet::from([TRANSFER]);
    LogFilter::new(&tokens, &treasuries, contracts, &topics)
}

/// The contracts that the live blocks bring already.
pub(super) fn live(watches: &[Watch]) -> BTreeSet<Address> {
    let live = watches.iter().filter(|watch| watch.live_from.is_some());
    live.map(|watch| watch.contract).collect()
}

/// The contracts that the live blocks do not bring yet.
pub(super) fn waiting(watches: &[Watch]) -> Vec<Address> {
    let waiting = watches.iter().filter(|watch| watch.live_from.is_none());
    waiting.map(|watch| watch.contract).collect()
}
