//! What to read next: a stretch of blocks, cut into pieces that fit in memory.

/// A stretch of at most this many blocks is read block by block, each proven by receipts where its bloom hits; a longer one
/// by ranges.
pub(super) const LIVE_STRETCH: u64 = 16;

/// Blocks of one piece: as many as one answer may hold logs for, and few enough that a piece is committed every moment.
const MAX_PIECE: u64 = 1_000;

/// Cuts `from..=to` into pieces, in order, each of at most as many blocks as `width` says when it is cut.
pub(super) fn pieces(from: u64, to: u64, width: impl Fn() -> u64) -> impl Iterator<Item = (u64, u64)> {
    let mut next = from;
    std::iter::from_fn(move || {
        if next > to {
            return None;
        }
        let width = width().clamp(1, MAX_PIECE);
        let last = next.saturating_add(width - 1).min(to);
        let piece = (next, last);
        next = last.checked_add(1)?;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_stretch_once_and_in_order() {
        let cut = |from, to, width| pieces(from, to, move || width).collect::<Vec<_>>();
        assert_eq!(cut(5, 16, 5), [(5, 9), (10, 14), (15, 16)]);
        assert_eq!(cut(7, 7, 100), [(7, 7)]);
        assert_eq!(cut(8, 7, 100), []);
        assert_eq!(cut(0, 2, 0), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(
            pieces(u64::MAX - 1, u64::MAX, || 1).next(),
            Some((u64::MAX - 1, u64::MAX - 1))
        );
    }

    #[test]
    fn what_is_learnt_on_the_way_changes_the_pieces_to_come() {
        let width = std::cell::Cell::new(10);
        let mut pieces = pieces(1, 100, || width.get());
        assert_eq!(pieces.next(), Some((1, 10)));
        width.set(50);
        assert_eq!(pieces.next(), Some((11, 60)));
    }
}
