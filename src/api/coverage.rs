//! Which blocks of a chain are proven complete, and for what.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::extract::Id;
use super::problem::Problem;
use crate::domain::{ChainId, Level};
use crate::store::{ChainRow, Watch};

/// What of one chain is proven complete.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CoverageView {
    /// Its number.
    chain_id: u64,
    /// Its number as CAIP-2.
    chain: String,
    /// Its name in the configuration.
    name: String,
    /// The newest number that an endpoint announced; 0 before the first.
    head: u64,
    /// The newest block that may change money or access.
    settled: Option<u64>,
    /// The chain's own reader: the payments to the treasury.
    payments: CoveredView,
    /// The contracts that gates name, by address.
    contracts: Vec<ContractCoverageView>,
}

/// What is covered, and what is not.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct CoveredView {
    /// From the lowest; between two of them, blocks are missing.
    ranges: Vec<RangeView>,
    /// Blocks that are left to read, up to the head or to where the chain's own reader took over.
    remaining: u64,
}

/// Blocks without a gap.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct RangeView {
    /// The first.
    from: u64,
    /// The last.
    to: u64,
    /// The least that is shown of each, as the chain is read now: `receipts`, for holdings `ranged`; or `asked` or `none`
    /// where its blocks prove less.
    level: &'static str,
}

/// What is covered of one contract.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ContractCoverageView {
    /// Its address.
    contract: String,
    /// The first block that may hold a transfer of it.
    from_block: u64,
    /// Whether every transfer up to the settled block is counted; gates answer `unknown` until then.
    complete: bool,
    #[serde(flatten)]
    covered: CoveredView,
}

/// What the chain's own reader covers. A block that may hold money is proven by its receipts, however it is read.
fn payments(row: &ChainRow, head: u64, level: Level) -> CoveredView {
    let from = row.start_number;
    let read = row.heights.read.map(|read| read.number);
    let range = |to| RangeView {
        from,
        to,
        level: level.as_str(),
    };
    let next = read.map_or(from, |read| read + 1);
    CoveredView {
        ranges: read.map(range).into_iter().collect(),
        remaining: (head + 1).saturating_sub(next),
    }
}

/// What is covered of a contract: its past as far as it is read, and what the chain's own reader brings. Of holdings, blocks
/// that are read many at a time may be shown by ranges.
fn contract(watch: &Watch, read: Option<u64>, level: Level) -> CoveredView {
    let level = level.max(Level::Ranged).as_str();
    let range = |from, to| RangeView { from, to, level };
    let past = (watch.next_number > watch.from_number).then(|| (watch.from_number, watch.next_number - 1));
    let live = watch.live_from.zip(read).filter(|(from, read)| from <= read);
    let ranges = match (past, live) {
        (Some((from, last)), Some((first, to))) if last + 1 >= first => vec![range(from, to)],
        (past, live) => past
            .into_iter()
            .chain(live)
            .map(|(from, to)| range(from, to))
            .collect(),
    };
    let end = watch.live_from.or(read.map(|read| read + 1));
    CoveredView {
        ranges,
        remaining: end.map_or(0, |end| end.saturating_sub(watch.next_number)),
    }
}

/// What of a chain is proven complete
#[utoipa::path(
    get,
    path = "/api/admin/chains/{id}/coverage",
    operation_id = "show_coverage",
    tag = "operators",
    params(("id" = String, Path, description = "The chain: 137, 0x89 or eip155:137")),
    responses((status = 200, body = CoverageView))
)]
pub(super) async fn show(
    State(app): State<Shared>,
    Id(id): Id<ChainId>,
) -> Result<Json<CoverageView>, Problem> {
    let chain = app.chain(id).ok_or_else(|| Problem::not_found("chain"))?;
    let (row, mut watches) = app.engine.stored_coverage(id).await?;
    watches.sort_unstable_by_key(|watch| watch.contract);
    let heights = row.as_ref().map(|row| row.heights).unwrap_or_default();
    let head = app.engine.chain(id).map_or(0, |answer| answer.heights.head);
    let health = app.health.chain(id).unwrap_or_default();
    let level = health.level.or(chain.level).unwrap_or(Level::Receipts);
    let none = CoveredView {
        ranges: Vec::new(),
        remaining: 0,
    };
    let covered = |watch: &Watch| ContractCoverageView {
        contract: watch.contract.to_checksum(None),
        from_block: watch.from_number,
        complete: watch.is_complete(),
        covered: contract(watch, heights.read.map(|read| read.number), level),
    };
    Ok(Json(CoverageView {
        chain_id: id.0,
        chain: id.caip2(),
        name: chain.name.clone(),
        head,
        settled: heights.settled.map(|settled| settled.number),
        payments: row.as_ref().map_or(none, |row| payments(row, head, level)),
        contracts: watches.iter().map(covered).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};

    use super::*;
    use crate::domain::{BlockRef, Heights, Scope};

    fn watch(from_number: u64, next_number: u64, live_from: Option<u64>) -> Watch {
        Watch {
            chain: ChainId(1),
            contract: Address::ZERO,
            scope: Scope::default(),
            from_number,
            next_number,
            next_parent: None,
            live_from,
            live_parent: None,
            first_moved: None,
            malformed_at: None,
            crowded_at: None,
        }
    }

    fn spans(covered: &CoveredView) -> Vec<(u64, u64)> {
        covered
            .ranges
            .iter()
            .map(|range| (range.from, range.to))
            .collect()
    }

    #[test]
    fn a_contracts_past_and_its_live_blocks_are_one_range_once_they_meet() {
        for (watch, read, expected, remaining) in [
            (watch(0, 0, None), None, vec![], 0),
            (watch(5, 5, None), Some(99), vec![], 95),
            (watch(5, 5, Some(100)), Some(99), vec![], 95),
            (watch(5, 50, Some(100)), Some(99), vec![(5, 49)], 50),
            (watch(5, 50, Some(100)), Some(120), vec![(5, 49), (100, 120)], 50),
            (watch(5, 100, Some(100)), Some(99), vec![(5, 99)], 0),
            (watch(5, 100, Some(100)), Some(120), vec![(5, 120)], 0),
            (watch(100, 100, Some(100)), Some(120), vec![(100, 120)], 0),
        ] {
            let covered = contract(&watch, read, Level::Receipts);
            assert!(covered.ranges.iter().all(|range| range.level == "ranged"));
            assert_eq!(
                (spans(&covered), covered.remaining),
                (expected, remaining),
                "{watch:?}"
            );
        }
    }

    #[test]
    fn the_chains_own_reader_covers_from_its_start_to_what_is_read() {
        let row = |read: Option<u64>| ChainRow {
            chain: ChainId(1),
            genesis: B256::ZERO,
            start_number: 10,
            heights: Heights {
                read: read.map(|number| BlockRef {
                    number,
                    hash: B256::ZERO,
                }),
                ..Heights::default()
            },
            policy: String::new(),
            stalled: None,
            quarantined: None,
        };
        let unread = payments(&row(None), 19, Level::Receipts);
        assert_eq!((spans(&unread), unread.remaining), (vec![], 10));
        let behind = payments(&row(Some(15)), 19, Level::Receipts);
        assert_eq!((spans(&behind), behind.remaining), (vec![(10, 15)], 4));
        let ahead = payments(&row(Some(15)), 0, Level::Asked);
        assert_eq!((ahead.remaining, ahead.ranges[0].level), (0, "asked"));
    }
}
