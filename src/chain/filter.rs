//! What we ask a chain for: transfers of money to treasuries, in tokens and in the native coin, what its tokens say of
//! themselves, and transfers of the contracts that gates name.
//!
//! The same filter asks (`eth_getLogs`, `eth_subscribe`), tests blooms and sifts receipts, so that the three agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy::primitives::{Address, B256, Bloom};
use serde_json::{Value, json};

use super::bloom::BloomBits;
use crate::domain::{AUTHORIZATION_USED, LogEntry, Scope, TRANSFER};

/// Providers refuse lists of addresses that are much longer; longer ones are asked for in parts.
const MAX_ADDRESSES_PER_QUERY: usize = 500;

/// Which logs are ours. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter(Arc<Parts>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts {
    money: Money,
    notices: Notices,
    /// The contracts that gates name, those together whose same events are asked for.
    holdings: Vec<Holdings>,
    /// Who is paid in the native coin.
    native: Vec<Address>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Money {
    tokens: Vec<(Address, BloomBits)>,
    treasuries: Vec<(B256, BloomBits)>,
    transfer: BloomBits,
}

/// Logs by which tokens say that they cannot be paid in, or can again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Notices {
    /// Each once.
    tokens: Vec<Address>,
    /// Each once.
    topics: Vec<B256>,
    told: Vec<Told>,
}

/// One topic of one token.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    token: BloomBits,
    topic: BloomBits,
    /// Whether it is ours only where a treasury is among its topics.
    of_treasury: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holdings {
    /// Sorted, for the search.
    contracts: Vec<Address>,
    contract_bits: Vec<BloomBits>,
    topics: Vec<(B256, BloomBits)>,
}

/// What a block's bloom does not rule out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hit {
    /// A transfer of an accepted token to a treasury.
    pub money: bool,
    /// What a token says of itself.
    pub notices: bool,
    /// A log of a contract that a gate names.
    pub holdings: bool,
}

impl Hit {
    /// Whether the bloom proves that the block has nothing of ours.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.money && !self.notices && !self.holdings
    }
}

impl LogFilter {
    /// Asks for `Transfer`s of `tokens` to `treasuries` (money), and of each of `contracts` for the events that its scope
    /// counts (holdings).
    #[must_use]
    pub fn new(
        tokens: &BTreeSet<Address>,
        treasuries: &BTreeSet<Address>,
        contracts: &BTreeMap<Address, Scope>,
    ) -> Self {
        let bits = |address: &Address| BloomBits::of(address.as_slice());
        let topic_bits = |topic: B256| (topic, BloomBits::of(topic.as_slice()));
        let mut by_events: BTreeMap<Vec<B256>, Vec<Address>> = BTreeMap::new();
        for (contract, scope) in contracts {
            by_events.entry(scope.topics()).or_default().push(*contract);
        }
        by_events.remove(&Vec::new());
        let holdings = by_events.into_iter().map(|(topics, contracts)| Holdings {
            contract_bits: contracts.iter().map(bits).collect(),
            contracts,
            topics: topics.into_iter().map(topic_bits).collect(),
        });
        Self(Arc::new(Parts {
            money: Money {
                tokens: tokens.iter().map(|token| (*token, bits(token))).collect(),
                treasuries: treasuries.iter().map(|to| topic_bits(to.into_word())).collect(),
                transfer: BloomBits::of(TRANSFER.as_slice()),
            },
            notices: Notices::default(),
            native: Vec::new(),
            holdings: holdings.collect(),
        }))
    }

    /// Asks also for the logs by which tokens say whether they can be paid in: of each token these topics, and with each
    /// whether the treasury's address is its second topic.
    #[must_use]
    pub fn with_notices(self, told: &BTreeMap<Address, Vec<(B256, bool)>>) -> Self {
        let mut parts = Parts::clone(&self.0);
        let topics = told.values().flatten().map(|(topic, _)| *topic);
        parts.notices = Notices {
            tokens: told.keys().copied().collect(),
            topics: topics.collect::<BTreeSet<B256>>().into_iter().collect(),
            told: Vec::new(),
        };
        for (token, topics) in told {
            let token = BloomBits::of(token.as_slice());
            parts
                .notices
                .told
                .extend(topics.iter().map(|(topic, of_treasury)| Told {
                    token,
                    topic: BloomBits::of(topic.as_slice()),
                    of_treasury: *of_treasury,
                }));
        }
        Self(Arc::new(parts))
    }

    /// Asks also for transfers of the native coin to `treasury`.
    #[must_use]
    pub fn with_native(self, treasury: Address) -> Self {
        let mut parts = Parts::clone(&self.0);
        parts.native = vec![treasury];
        Self(Arc::new(parts))
    }

    /// Who is paid in the native coin; nobody where it is not asked for.
    pub(super) fn native(&self) -> &[Address] {
        &self.0.native
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Parts {
            money,
            notices,
            holdings,
            native,
        } = &*self.0;
        !money.asks() && !notices.asks() && holdings.is_empty() && native.is_empty()
    }

    /// What `bloom` does not rule out. Often more than there is: a hit without logs is no error by itself.
    #[must_use]
    pub fn bloom_hit(&self, bloom: &Bloom) -> Hit {
        let Parts {
            money,
            notices,
            holdings,
            ..
        } = &*self.0;
        let to_treasury = money.treasuries.iter().any(|(_, bits)| bits.within(bloom));
        Hit {
            money: to_treasury
                && money.transfer.within(bloom)
                && money.tokens.iter().any(|(_, bits)| bits.within(bloom)),
            notices: notices.told.iter().any(|told| {
                (to_treasury || !told.of_treasury) && told.topic.within(bloom) && told.token.within(bloom)
            }),
            holdings: holdings.iter().any(|holdings| holdings.may_be_in(bloom)),
        }
    }

    /// Whether a log is ours.
    #[must_use]
    pub fn matches(&self, log: &LogEntry) -> bool {
        self.matches_parts(&log.address, &log.topics)
    }

    /// Whether a log is a transfer of an accepted token to a treasury.
    pub(super) fn is_money(&self, log: &LogEntry) -> bool {
        self.0.money.matches(&log.address, &log.topics)
    }

    /// Keeps of a block's logs, which are in order, those that are ours, and the authorization right before a payment that
    /// was made with it (EIP-3009).
    pub(super) fn keep(&self, logs: &mut Vec<LogEntry>) {
        let kept: Vec<bool> = (0..logs.len())
            .map(|at| self.matches(&logs[at]) || self.authorizes(&logs[at], logs.get(at + 1)))
            .collect();
        let mut kept = kept.into_iter();
        logs.retain(|_| kept.next().unwrap_or_default());
    }

    /// Whether a log is the authorization that the payment right after it was made with.
    pub(super) fn authorizes(&self, log: &LogEntry, next: Option<&LogEntry>) -> bool {
        log.topics.first() == Some(&AUTHORIZATION_USED)
            && next.is_some_and(|next| {
                (next.address, next.tx_hash) == (log.address, log.tx_hash)
                    && Some(next.log_index) == log.log_index.checked_add(1)
                    && self.is_money(next)
            })
    }

    pub(super) fn matches_parts(&self, address: &Address, topics: &[B256]) -> bool {
        let Parts {
            money,
            notices,
            holdings,
            ..
        } = &*self.0;
        let of_contract = |holdings: &Holdings| {
            has(&holdings.topics, topics.first()) && holdings.contracts.binary_search(address).is_ok()
        };
        holdings.iter().any(of_contract) || money.matches(address, topics) || notices.matches(address, topics)
    }

    /// The parameters of each `logs` subscription that together ask for everything; also the common part of
    /// [`LogFilter::queries`].
    pub(super) fn subscriptions(&self) -> Vec<Value> {
        let Parts {
            money,
            notices,
            holdings,
            ..
        } = &*self.0;
        let mut filters = Vec::new();
        if money.asks() {
            let tokens: Vec<_> = money.tokens.iter().map(|(token, _)| token).collect();
            let treasuries: Vec<_> = money.treasuries.iter().map(|(topic, _)| topic).collect();
            filters.push(json!({"address": tokens, "topics": [[TRANSFER], null, treasuries]}));
        }
        if notices.asks() {
            filters.push(json!({"address": notices.tokens, "topics": [notices.topics]}));
        }
        for holdings in holdings {
            let topics: Vec<_> = holdings.topics.iter().map(|(topic, _)| topic).collect();
            for contracts in holdings.contracts.chunks(MAX_ADDRESSES_PER_QUERY) {
                filters.push(json!({"address": contracts, "topics": [topics]}));
            }
        }
        filters
    }

    /// The `eth_getLogs` filters that together ask for everything in the blocks `from..=to`.
    pub(super) fn queries(&self, from: u64, to: u64) -> Vec<Value> {
        let mut filters = self.subscriptions();
        for filter in &mut filters {
            filter["fromBlock"] = super::rpc::quantity(from);
            filter["toBlock"] = super::rpc::quantity(to);
        }
        filters
    }

    /// The `eth_getLogs` filters that together ask for everything in one block (EIP-234).
    pub(super) fn queries_in(&self, block: B256) -> Vec<Value> {
        let mut filters = self.subscriptions();
        for filter in &mut filters {
            filter["blockHash"] = json!(block);
        }
        filters
    }
}

fn has(list: &[(B256, BloomBits)], topic: Option<&B256>) -> bool {
    list.iter().any(|(known, _)| Some(known) == topic)
}

impl Money {
    fn matches(&self, address: &Address, topics: &[B256]) -> bool {
        topics.first() == Some(&TRANSFER)
            && self.tokens.iter().any(|(token, _)| token == address)
            && has(&self.treasuries, topics.get(2))
    }

    fn asks(&self) -> bool {
        !self.tokens.is_empty() && !self.treasuries.is_empty()
    }
}

impl Notices {
    fn matches(&self, address: &Address, topics: &[B256]) -> bool {
        let is_told = topics.first().is_some_and(|topic| self.topics.contains(topic));
        is_told && self.tokens.contains(address)
    }

    fn asks(&self) -> bool {
        !self.topics.is_empty()
    }
}

impl Holdings {
    fn may_be_in(&self, bloom: &Bloom) -> bool {
        self.topics.iter().any(|(_, bits)| bits.within(bloom))
            && self.contract_bits.iter().any(|bits| bits.within(bloom))
    }
}

/// Whether `bloom` does not rule out that one of the filter's logs is in its block.
#[must_use]
pub fn may_contain(bloom: &Bloom, filter: &LogFilter) -> bool {
    !filter.bloom_hit(bloom).is_none()
}

#[cfg(test)]
mod tests {
    use alloy::primitives::BloomInput;

    use super::*;
    use crate::domain::{CONSECUTIVE_TRANSFER, Standard, TRANSFER_BATCH, TRANSFER_SINGLE};

    fn set<T: Ord + Copy>(items: &[T]) -> BTreeSet<T> {
        items.iter().copied().collect()
    }

    fn scopes(contracts: &[(Address, Scope)]) -> BTreeMap<Address, Scope> {
        contracts.iter().copied().collect()
    }

    const COINS: Scope = Scope::of(Standard::Erc20);
    const TOKEN: Address = Address::repeat_byte(1);
    const TREASURY: Address = Address::repeat_byte(2);
    const GATE: Address = Address::repeat_byte(3);
    const PAYER: Address = Address::repeat_byte(4);

    fn filter() -> LogFilter {
        LogFilter::new(&set(&[TOKEN]), &set(&[TREASURY]), &scopes(&[(GATE, COINS)]))
    }

    fn transfer(contract: Address, to: Address) -> LogEntry {
        LogEntry {
            address: contract,
            topics: vec![TRANSFER, PAYER.into_word(), to.into_word()],
            data: alloy::primitives::Bytes::new(),
            tx_hash: B256::ZERO,
            log_index: 0,
            ordinal: None,
        }
    }

    fn bloom(log: &LogEntry) -> Bloom {
        let mut bloom = Bloom::ZERO;
        bloom.accrue(BloomInput::Raw(log.address.as_slice()));
        for topic in &log.topics {
            bloom.accrue(BloomInput::Raw(topic.as_slice()));
        }
        bloom
    }

    #[test]
    fn money_is_a_transfer_of_a_token_to_a_treasury() {
        let paid = transfer(TOKEN, TREASURY);
        assert!(filter().matches(&paid));
        assert_eq!(
            filter().bloom_hit(&bloom(&paid)),
            Hit {
                money: true,
                ..Hit::default()
            }
        );
        for other in [transfer(TOKEN, PAYER), transfer(PAYER, TREASURY)] {
            assert!(!filter().matches(&other));
            assert!(filter().bloom_hit(&bloom(&other)).is_none());
        }
    }

    #[test]
    fn holdings_are_any_transfer_of_a_gate_contract() {
        let moved = transfer(GATE, PAYER);
        assert!(filter().matches(&moved));
        assert_eq!(
            filter().bloom_hit(&bloom(&moved)),
            Hit {
                holdings: true,
                ..Hit::default()
            }
        );
        let mut approval = moved;
        approval.topics[0] = B256::repeat_byte(9);
        assert!(!filter().matches(&approval));
        approval.topics.clear();
        assert!(!filter().matches(&approval));
    }

    #[test]
    fn of_each_contract_only_the_events_that_count_are_asked_for() {
        let (nft, pass) = (
            Scope::of(Standard::Erc721),
            Scope::of(Standard::Erc1155).with_ids(),
        );
        let (other, third) = (Address::repeat_byte(5), Address::repeat_byte(6));
        let contracts = scopes(&[(GATE, pass), (other, nft), (third, pass)]);
        let filter = LogFilter::new(&set(&[]), &set(&[]), &contracts);
        let of = |contract, event| {
            let mut log = transfer(contract, PAYER);
            log.topics[0] = event;
            log
        };
        for (contract, event, is_ours) in [
            (GATE, TRANSFER_SINGLE, true),
            (third, TRANSFER_BATCH, true),
            (other, TRANSFER, true),
            (other, CONSECUTIVE_TRANSFER, true),
            (GATE, TRANSFER, false),
            (GATE, CONSECUTIVE_TRANSFER, false),
            (other, TRANSFER_SINGLE, false),
            (TOKEN, TRANSFER, false),
        ] {
            let log = of(contract, event);
            assert_eq!(filter.matches(&log), is_ours, "{contract} {event}");
            assert_eq!(
                filter.bloom_hit(&bloom(&log)).holdings,
                is_ours,
                "{contract} {event}"
            );
        }
        let asked = filter.subscriptions();
        let passes = asked
            .iter()
            .find(|query| query["address"] == json!([GATE, third]));
        assert_eq!(
            passes.unwrap()["topics"],
            json!([[TRANSFER_SINGLE, TRANSFER_BATCH]])
        );
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn a_notice_is_looked_for_where_its_token_its_topic_and_whom_it_strikes_may_be() {
        let (pause, list) = (B256::repeat_byte(7), B256::repeat_byte(8));
        let told = BTreeMap::from([(TOKEN, vec![(pause, false), (list, true)])]);
        let filter = filter().with_notices(&told);
        let log = |address, topics: &[B256]| LogEntry {
            topics: topics.to_vec(),
            ..transfer(address, PAYER)
        };
        let hits = |log: &LogEntry| filter.bloom_hit(&bloom(log)).notices;
        assert!(hits(&log(TOKEN, &[pause])) && filter.matches(&log(TOKEN, &[pause])));
        assert!(hits(&log(TOKEN, &[list, TREASURY.into_word()])));
        let stranger = log(TOKEN, &[list, PAYER.into_word()]);
        assert!(!hits(&stranger), "it strikes another");
        assert!(
            filter.matches(&stranger),
            "and it is asked for where blooms are not gone by"
        );
        for other in [log(GATE, &[pause]), log(TOKEN, &[TRANSFER]), log(TOKEN, &[])] {
            assert!(!hits(&other));
            assert!(!filter.0.notices.matches(&other.address, &other.topics));
        }
        let asked = &filter.subscriptions()[1];
        assert_eq!(asked["topics"], json!([[pause, list]]));
        assert!(LogFilter::default().with_notices(&BTreeMap::new()).is_empty());
    }

    #[test]
    fn an_empty_filter_asks_for_nothing_and_never_hits() {
        let nothing = LogFilter::default();
        assert!(nothing.is_empty());
        assert!(nothing.queries(1, 2).is_empty());
        assert!(nothing.bloom_hit(&Bloom::repeat_byte(0xff)).is_none());
        let no_treasury = LogFilter::new(&set(&[TOKEN]), &set(&[]), &scopes(&[(GATE, Scope::default())]));
        assert!(no_treasury.is_empty());
    }

    #[test]
    fn money_and_holdings_are_asked_for_apart_and_long_lists_in_parts() {
        let many: BTreeMap<Address, Scope> = (0..1200_u64)
            .map(|n| (Address::left_padding_from(&n.to_be_bytes()), COINS))
            .collect();
        let filter = LogFilter::new(&set(&[TOKEN]), &set(&[TREASURY]), &many);
        let queries = filter.queries(16, 17);
        assert_eq!(queries.len(), 1 + 3);
        assert_eq!(
            queries[0]["topics"],
            json!([[TRANSFER], null, [TREASURY.into_word()]])
        );
        assert_eq!(queries[0]["fromBlock"], "0x10");
        assert_eq!(queries[3]["address"].as_array().unwrap().len(), 200);
        assert!(filter.subscriptions()[0].get("fromBlock").is_none());
    }
}
