//! Reading JSON whose shape is Stripe's to change: each step knows its path, so that an error says where.
//!
//! Absent and null are the same. Must not guess: what is there in an unknown shape is an error, and never a default.

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::Millis;

/// The longest id, key or name that is read, in bytes; Stripe promises ids of at most 255 characters.
const MAX_TEXT_BYTES: usize = 255;
/// 9999-12-31T23:59:59Z.
const MAX_SECONDS: i64 = 253_402_300_799;

/// Something in the JSON is not as Stripe documents it. Says where and what was expected, and not what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}")]
pub struct ShapeError {
    /// Where, as `data.object.items.data[0].price`.
    pub path: String,
    /// What should have been there.
    pub expected: &'static str,
}

/// One JSON value and the path that led to it.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, name: &str) -> Self {
        Self {
            value,
            path: name.to_owned(),
        }
    }

    pub(super) fn wrong(&self, expected: &'static str) -> ShapeError {
        ShapeError {
            path: self.path.clone(),
            expected,
        }
    }

    /// The member, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Result<Option<Node<'a>>, ShapeError> {
        let members = self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        Ok(members
            .get(key)
            .filter(|value| !value.is_null())
            .map(|value| Node {
                value,
                path: format!("{}.{key}", self.path),
            }))
    }

    /// The member, which must be there.
    pub(super) fn require(&self, key: &str) -> Result<Node<'a>, ShapeError> {
        self.get(key)?.ok_or_else(|| ShapeError {
            path: format!("{}.{key}", self.path),
            expected: "a value",
        })
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// The elements, of which there may be at most `most`.
    pub(super) fn elements(&self, most: usize) -> Result<Vec<Node<'a>>, ShapeError> {
        let elements = self.value.as_array().ok_or_else(|| self.wrong("an array"))?;
        if elements.len() > most {
            return Err(self.wrong("a shorter array"));
        }
        let numbered = elements.iter().enumerate();
        Ok(numbered
            .map(|(index, value)| Node {
                value,
                path: format!("{}[{index}]", self.path),
            })
            .collect())
    }

    pub(super) fn text(&self) -> Result<String, ShapeError> {
        let text = self.value.as_str().ok_or_else(|| self.wrong("a text"))?;
        if text.is_empty() || text.len() > MAX_TEXT_BYTES {
            return Err(self.wrong("a text of 1 to 255 bytes"));
        }
        Ok(text.to_owned())
    }

    pub(super) fn boolean(&self) -> Result<bool, ShapeError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    pub(super) fn count(&self) -> Result<u64, ShapeError> {
        self.value.as_u64().ok_or_else(|| self.wrong("a whole number"))
    }

    /// Seconds since the epoch, as milliseconds.
    pub(super) fn seconds(&self) -> Result<Millis, ShapeError> {
        self.value
            .as_i64()
            .filter(|seconds| (0..=MAX_SECONDS).contains(seconds))
            .map(|seconds| seconds * 1000)
            .ok_or_else(|| self.wrong("seconds since the epoch"))
    }

    /// An RFC 3339 instant, as milliseconds.
    pub(super) fn instant(&self) -> Result<Millis, ShapeError> {
        let instant = self.text()?.parse::<Timestamp>();
        instant
            .map(Timestamp::as_millisecond)
            .map_err(|_| self.wrong("an RFC 3339 instant"))
    }

    /// An object's id, whether the object is expanded or named: `"cus_1"` or `{"id": "cus_1", …}`.
    pub(super) fn id(&self) -> Result<String, ShapeError> {
        if self.is_object() {
            self.require("id")?.text()
        } else {
            self.text().map_err(|_| self.wrong("an id or an object with one"))
        }
    }
}

/// Reads an optional member with `read`.
pub(super) fn optional<'a, T>(
    node: &Node<'a>,
    key: &str,
    read: impl FnOnce(&Node<'a>) -> Result<T, ShapeError>,
) -> Result<Option<T>, ShapeError> {
    node.get(key)?.as_ref().map(read).transpose()
}
