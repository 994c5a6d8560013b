//! The one way to read many blocks: pieces of a range, each proven, several at once, handed on in order. Catching up, a
//! contract's history and a rescan differ only in what they do with the blocks.

use alloy::primitives::B256;
use futures_util::{Stream, StreamExt, stream};

use super::plan;
use crate::chain::{ChainError, ChainReader, LogFilter};
use crate::domain::ProvenBlock;

/// Pieces that are read at once.
const PIECES_IN_FLIGHT: usize = 4;

/// The blocks `from..=to` with their logs that `filter` asks for. The first extends `parent`, where one is known; that each
/// piece extends the one before is for the taker to check.
pub(super) fn proven(
    reader: &ChainReader,
    filter: &LogFilter,
    (from, to): (u64, u64),
    parent: Option<B256>,
) -> impl Stream<Item = Result<Vec<ProvenBlock>, ChainError>> + Send + use<> {
    let (reader, filter, widths) = (reader.clone(), filter.clone(), reader.clone());
    stream::iter(plan::pieces(from, to, move || widths.log_range()))
        .map(move |(first, last)| {
            let (reader, filter) = (reader.clone(), filter.clone());
            let parent = parent.filter(|_| first == from);
            async move { reader.prove_range(first, last, &filter, parent).await }
        })
        .buffered(PIECES_IN_FLIGHT)
}
