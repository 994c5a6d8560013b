//! Lists a page at a time: `limit`, and an opaque `cursor` that says behind what the next page begins (keyset), so that what
//! is added meanwhile neither repeats nor hides anything.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::problem::Problem;

/// The most entries of one page.
const MAX_LIMIT: u32 = 500;
const DEFAULT_LIMIT: u32 = 50;
/// The longest cursor that is read, in bytes.
const MAX_CURSOR_BYTES: usize = 1024;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// At most so many entries, 1 to 500; 50 unless said.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

impl Paging {
    /// How many entries; never more than `most`.
    pub(super) fn limit(&self, most: u32) -> Result<u32, Problem> {
        let most = most.min(MAX_LIMIT);
        let Some(text) = &self.limit else {
            return Ok(DEFAULT_LIMIT.min(most));
        };
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| Problem::invalid("limit", &format!("must be a number from 1 to {most}")))
    }

    /// Behind what it begins.
    pub(super) fn after<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        let place = if cursor.len() <= MAX_CURSOR_BYTES {
            read()
        } else {
            None
        };
        let wrong = || Problem::invalid("cursor", "must be the nextCursor of an earlier page of this list");
        place.map(Some).ok_or_else(wrong)
    }
}

/// The cursor of the page behind `place`.
pub(super) fn cursor(place: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(limit: Option<&str>, cursor: Option<&str>) -> Paging {
        Paging {
            limit: limit.map(str::to_owned),
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_given() {
        let place = (1_760_000_000_000_i64, "1-0xab-0".to_owned());
        let text = cursor(&place);
        assert_eq!(
            paging(None, Some(&text)).after::<(i64, String)>().ok(),
            Some(Some(place))
        );
        assert_eq!(paging(None, None).after::<(i64, String)>().ok(), Some(None));
        let long = "A".repeat(MAX_CURSOR_BYTES + 1);
        for bad in ["", "=", "%", "bnVsbA", &text[1..], long.as_str()] {
            assert!(
                paging(None, Some(bad)).after::<(i64, String)>().is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_limit_is_within_its_bounds() {
        assert_eq!(paging(None, None).limit(500).ok(), Some(50));
        assert_eq!(paging(None, None).limit(20).ok(), Some(20));
        assert_eq!(paging(Some("500"), None).limit(500).ok(), Some(500));
        for bad in ["0", "501", "-1", "1.5", "", "many", "99999999999"] {
            assert!(paging(Some(bad), None).limit(500).is_err(), "{bad:?}");
        }
    }
}
