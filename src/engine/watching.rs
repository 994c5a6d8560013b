//! The contracts that gates name: watched from a block on, for what their rules read of them.

use super::EngineError;
use super::answers::Change;
use super::history::restart_watch;
use super::work::Work;
use crate::access;
use crate::domain::{ChainId, Need, Rule};
use crate::store::{self, Watch};

/// No chain is this high, and every database holds it.
const MAX_BLOCK: u64 = 1 << 53;

/// The first block of a contract may be this far above what is read: it may be younger than our last look.
const MAX_AHEAD: u64 = 1_000;

/// The chains of a rule, ascending and each once.
pub(super) fn chains(rule: &Rule) -> Vec<ChainId> {
    let mut chains: Vec<ChainId> = access::needs(rule).iter().map(|need| need.chain).collect();
    chains.dedup();
    chains
}

/// Watches all that a rule reads. `from_block` is the first block that may hold a transfer of a contract that was never
/// watched; the chain's own first block where it is left out.
pub(super) async fn watch_all(
    work: &mut Work<'_>,
    rule: &Rule,
    from_block: Option<u64>,
) -> Result<(), EngineError> {
    for need in access::needs(rule) {
        watch(work, &need, from_block).await?;
    }
    Ok(())
}

async fn watch(work: &mut Work<'_>, need: &Need, from_block: Option<u64>) -> Result<(), EngineError> {
    let Need {
        chain,
        contract,
        scope,
    } = *need;
    let settings = work.settings.chain(chain)?;
    let known = work.engine.answers.watches(chain);
    let known = known.into_iter().find(|watch| watch.contract == contract);
    let first = from_block.or(settings.start_block);
    check_first_block(work, chain, from_block)?;
    let Some(known) = known else {
        // Without a first block the balances of those who hold already would be missed, and answered as a no.
        let first = first.ok_or_else(|| {
            let problem = format!("is needed on chain {chain}: the block in which {contract} was deployed");
            EngineError::invalid("fromBlock", problem)
        })?;
        return begin(work, need, first).await;
    };
    // Only who names an earlier block, or reads more of it, has what others rely on read again; a default says nothing of
    // this contract.
    let from = from_block.map_or(known.from_number, |from| from.min(known.from_number));
    let all = known.scope.union(scope);
    if from < known.from_number || all != known.scope {
        work.join(chain).await?;
        let anew = Watch {
            from_number: from,
            scope: all,
            ..known
        };
        restart_watch(work, &anew).await?;
    }
    Ok(())
}

async fn begin(work: &mut Work<'_>, need: &Need, first: u64) -> Result<(), EngineError> {
    let Need {
        chain,
        contract,
        scope,
    } = *need;
    work.join(chain).await?;
    if !work.tx.insert_watch(chain, contract, (first, scope)).await? {
        return Err(EngineError::Stale(chain));
    }
    let watches = store::watches(work.tx.conn(), chain).await?;
    let watches = watches.into_iter().filter(|watch| watch.contract == contract);
    work.publish(Change::Chain {
        chain,
        heights: None,
        balances: Vec::new(),
        watches: watches.collect(),
    });
    work.published.watches_changed = true;
    Ok(())
}

/// A contract that is watched from a block yet to come would be answered for without those who hold it by then.
fn check_first_block(work: &Work<'_>, chain: ChainId, from_block: Option<u64>) -> Result<(), EngineError> {
    let heights = work.engine.answers.chain(chain).map(|known| known.heights);
    let read = heights.and_then(|heights| heights.read).map(|read| read.number);
    let newest = read.map_or(MAX_BLOCK, |read| read.saturating_add(MAX_AHEAD));
    if from_block.is_none_or(|from| from <= newest) {
        return Ok(());
    }
    let problem = format!("is above block {newest} of chain {chain}: it must be a block that there is");
    Err(EngineError::invalid("fromBlock", problem))
}
