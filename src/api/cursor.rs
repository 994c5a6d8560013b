//! Lists, a page at a time: newest first, each page from where the one before it ended. What is added meanwhile is neither
//! shown twice nor pushes anything off a page.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::domain::Millis;

/// Entries of a page unless said, and at most.
const LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// Which page of a list is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Entries of the page, 1 to 100; 20 unless said.
    limit: Option<String>,
    /// `nextCursor` of the page before; the first page unless said.
    cursor: Option<String>,
}

impl PageQuery {
    /// Entries of the page.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = &self.limit else {
            return Ok(LIMIT);
        };
        let limit = text.parse().ok();
        let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| {
            let detail = format!("limit must be a number from 1 to {MAX_LIMIT}");
            Problem::malformed("INVALID_FIELD", detail).at("limit")
        })
    }

    /// Where the page before ended: the time and the id of its last entry.
    pub(super) fn after<I: FromStr>(&self) -> Result<Option<(Millis, I)>, Problem> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        let place = read(text);
        place.map(Some).ok_or_else(|| {
            let detail = "cursor must be the nextCursor of the page before, as it was given";
            Problem::malformed("INVALID_FIELD", detail).at("cursor")
        })
    }
}

fn read<I: FromStr>(cursor: &str) -> Option<(Millis, I)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (at, id) = text.split_once(' ')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}

/// The cursor of a place, opaque to those who carry it.
pub(super) fn write((at, id): &(Millis, impl Display)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{at} {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ChargeId;

    fn query(limit: Option<&str>, cursor: Option<&str>) -> PageQuery {
        PageQuery {
            limit: limit.map(str::to_owned),
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let place: (Millis, ChargeId) = (1_760_000_000_000, "chg_0".parse().unwrap());
        let cursor = write(&place);
        assert_eq!(query(None, Some(&cursor)).after().unwrap(), Some(place));
        assert_eq!(query(None, None).after::<ChargeId>().unwrap(), None);
        for wrong in ["", "%", "Zm9v", &cursor[1..], &URL_SAFE_NO_PAD.encode("1 ")] {
            assert!(query(None, Some(wrong)).after::<ChargeId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_has_a_bound() {
        assert_eq!(query(None, None).limit().unwrap(), LIMIT);
        assert_eq!(query(Some("100"), None).limit().unwrap(), MAX_LIMIT);
        for wrong in ["0", "101", "-1", "x", ""] {
            assert!(query(Some(wrong), None).limit().is_err(), "{wrong}");
        }
    }
}
