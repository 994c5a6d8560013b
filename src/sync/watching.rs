//! What is asked of one chain: the treasury's tokens, what they tell of themselves, and the contracts that are watched.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};

use crate::chain::LogFilter;
use crate::config;
use crate::domain::TRANSFER;
use crate::store::Watch;

/// The topics of the logs by which each token tells whether it can be paid in, and whether the treasury is the second topic.
pub(super) type Told = BTreeMap<Address, Vec<(B256, bool)>>;

/// The filter for payments to the treasury, what tokens tell of themselves, and transfers of these contracts.
pub(super) fn filter(settings: &config::Chain, told: &Told, contracts: &BTreeSet<Address>) -> LogFilter {
    let known = settings.tokens.iter().chain(&settings.other_tokens);
    let tokens = known.map(|token| token.address).collect();
    let treasuries = settings.treasury.into_iter().collect();
    let topics = BTreeSet::from([TRANSFER]);
    LogFilter::new(&tokens, &treasuries, contracts, &topics).with_notices(told)
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
