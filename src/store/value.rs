//! Between columns and values. A value that does not fit its column is an error that names the column.

use std::fmt::Write as _;
use std::str::FromStr;

use alloy::primitives::{Address, B256, U256};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::StoreError;
use crate::domain::Amount;

/// Reads typed values out of a row.
pub(super) trait Columns {
    fn int(&self, column: &'static str) -> Result<i64, StoreError>;
    fn opt_int(&self, column: &'static str) -> Result<Option<i64>, StoreError>;
    fn text(&self, column: &'static str) -> Result<String, StoreError>;
    fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError>;
    fn blob(&self, column: &'static str) -> Result<Vec<u8>, StoreError>;
    fn opt_blob(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError>;

    fn unsigned(&self, column: &'static str) -> Result<u64, StoreError> {
        let expected = "a non-negative integer";
        u64::try_from(self.int(column)?).map_err(|_| StoreError::Corrupt { column, expected })
    }

    fn opt_unsigned(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        let expected = "a non-negative integer";
        self.opt_int(column)?
            .map(|value| u64::try_from(value).map_err(|_| StoreError::Corrupt { column, expected }))
            .transpose()
    }

    fn small(&self, column: &'static str) -> Result<u32, StoreError> {
        let expected = "a small non-negative integer";
        u32::try_from(self.int(column)?).map_err(|_| StoreError::Corrupt { column, expected })
    }

    fn hash(&self, column: &'static str) -> Result<B256, StoreError> {
        B256::try_from(self.blob(column)?.as_slice()).map_err(|_| StoreError::Corrupt {
            column,
            expected: "32 bytes",
        })
    }

    fn opt_hash(&self, column: &'static str) -> Result<Option<B256>, StoreError> {
        self.opt_blob(column)?
            .map(|bytes| {
                B256::try_from(bytes.as_slice()).map_err(|_| StoreError::Corrupt {
                    column,
                    expected: "32 bytes",
                })
            })
            .transpose()
    }

    fn quantity(&self, column: &'static str) -> Result<U256, StoreError> {
        self.hash(column).map(|hash| U256::from_be_bytes(hash.0))
    }

    fn address(&self, column: &'static str) -> Result<Address, StoreError> {
        Address::try_from(self.blob(column)?.as_slice()).map_err(|_| StoreError::Corrupt {
            column,
            expected: "20 bytes",
        })
    }

    fn amount(&self, column: &'static str) -> Result<Amount, StoreError> {
        self.parsed(column, "an amount")
    }

    fn parsed<T: FromStr>(&self, column: &'static str, expected: &'static str) -> Result<T, StoreError> {
        self.text(column)?
            .parse()
            .map_err(|_| StoreError::Corrupt { column, expected })
    }

    fn opt_parsed<T: FromStr>(
        &self,
        column: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.opt_text(column)?
            .map(|text| text.parse().map_err(|_| StoreError::Corrupt { column, expected }))
            .transpose()
    }

    /// A word of one of our enums, in the form that serde gives it.
    fn word<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        word(&self.text(column)?).ok_or(StoreError::Corrupt {
            column,
            expected: "a known word",
        })
    }

    /// The same, where there may be none.
    fn opt_word<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let word = self.opt_text(column)?.map(|text| word(&text)).map(|word| {
            word.ok_or(StoreError::Corrupt {
                column,
                expected: "a known word",
            })
        });
        word.transpose()
    }

    /// A JSON document.
    fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|_| StoreError::Corrupt {
            column,
            expected: "known JSON",
        })
    }
}

impl Columns for AnyRow {
    fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn blob(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_blob(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.try_get(column)?)
    }
}

/// Reads a bare word as serde would read it in quotes.
pub(super) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

/// A number as the databases hold it. Heights and ids beyond 2^63 do not exist; one that claims to would sort last.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// JSON text of one of our own values, which always has one.
pub(super) fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Rows of one statement. More are slower on `SQLite`, which finds each parameter by its name among all of its statement's.
pub(super) const ROWS_PER_STATEMENT: usize = 50;

/// `($1, $2, $3), ($1, $4, $5)`: so many rows whose first `shared` columns are the same parameters, with `own` after them.
/// The fewer the parameters the better: `SQLite` finds each by its name among all of its statement's.
pub(super) fn value_lists(rows: usize, shared: usize, own: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        let owned = shared + row * own;
        for (column, parameter) in (1..=shared).chain(owned + 1..=owned + own).enumerate() {
            let separator = if column == 0 { "" } else { ", " };
            // Writing into a String does not fail.
            let _ = write!(text, "{separator}${parameter}");
        }
        text.push(')');
    }
    text
}

/// `$2, $3`: so many parameters after the first `before`.
pub(super) fn list(before: usize, count: usize) -> String {
    let parameters: Vec<String> = (before + 1..=before + count)
        .map(|place| format!("${place}"))
        .collect();
    parameters.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{list, value_lists};

    #[test]
    fn parameters_are_numbered_through_the_rows() {
        assert_eq!(value_lists(2, 0, 3), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(value_lists(2, 1, 2), "($1, $2, $3), ($1, $4, $5)");
        assert_eq!(list(1, 2), "$2, $3");
    }
}
