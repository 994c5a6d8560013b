//! Reading JSON that a provider documents: each step knows its place, so that an error says where.

use jiff::Timestamp;
use serde_json::Value;

use super::MAX_NAME_BYTES;
use crate::domain::{Amount, Credit, Millis};

/// The digits after the point that a sum may have.
const DECIMALS: u8 = 18;

/// The longest sum, in characters: 10^36 units with 18 decimals, and room to spare.
const MAX_SUM_CHARS: usize = 80;

/// Something is not as the provider documents it. Says where and what was expected, and not what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: expected {expected}")]
pub struct FieldError {
    /// Where, as `event.data.pricing.local.amount`.
    pub place: String,
    /// What should have been there.
    pub expected: &'static str,
}

/// One value and the names that led to it.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    value: &'a Value,
    place: String,
}

impl<'a> Field<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value,
            place: String::new(),
        }
    }

    /// The member, unless it is absent or null, or this is no object.
    pub(super) fn get(&self, name: &str) -> Option<Field<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Field {
            value,
            place: self.place_of(name),
        })
    }

    /// The member, which must be there.
    pub(super) fn require(&self, name: &str) -> Result<Field<'a>, FieldError> {
        self.get(name).ok_or_else(|| FieldError {
            place: self.place_of(name),
            expected: "a value",
        })
    }

    fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        }
    }

    fn wrong(&self, expected: &'static str) -> FieldError {
        FieldError {
            place: self.place.clone(),
            expected,
        }
    }

    /// The elements; none where this is no list.
    pub(super) fn elements(&self) -> impl Iterator<Item = Field<'a>> {
        let elements = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let place = self.place.clone();
        elements.iter().enumerate().map(move |(index, value)| Field {
            value,
            place: format!("{place}[{index}]"),
        })
    }

    /// An id, a type or a word: printable ASCII without spaces.
    pub(super) fn name(&self) -> Result<String, FieldError> {
        let text = self.value.as_str().unwrap_or_default();
        let is_name =
            (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_name {
            Ok(text.to_owned())
        } else {
            Err(self.wrong("1 to 255 printable characters without spaces"))
        }
    }

    /// A sum, as decimal text.
    pub(super) fn sum(&self) -> Result<Credit, FieldError> {
        let wrong = || self.wrong("a sum as decimal text, such as \"15.00\"");
        let text = self.value.as_str().filter(|text| text.len() <= MAX_SUM_CHARS);
        let amount = Amount::from_units(text.ok_or_else(wrong)?, DECIMALS).map_err(|_| wrong())?;
        Ok(Credit::of(amount, DECIMALS))
    }

    /// An instant (RFC 3339).
    pub(super) fn instant(&self) -> Result<Millis, FieldError> {
        let at: Option<Timestamp> = self.value.as_str().and_then(|text| text.parse().ok());
        at.map(Timestamp::as_millisecond)
            .ok_or_else(|| self.wrong("an instant, such as \"2026-01-31T12:00:00Z\""))
    }
}
