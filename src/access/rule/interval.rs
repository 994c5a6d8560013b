//! What a number may be, given that some of its parts are not known.

use alloy::primitives::U256;

use crate::domain::{Eligibility, Reading};

/// From one number to another, both inclusive. What is not known may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub low: U256,
    pub high: U256,
}

impl Interval {
    pub const ZERO: Self = Self {
        low: U256::ZERO,
        high: U256::ZERO,
    };

    /// A reading, in units 10^`scale` times as small.
    pub fn of(reading: Reading, scale: u8) -> Self {
        match reading {
            Reading::Known(value) => {
                let value = value.saturating_mul(U256::from(10).saturating_pow(U256::from(scale)));
                Self {
                    low: value,
                    high: value,
                }
            }
            Reading::Unknown(_) => Self {
                low: U256::ZERO,
                high: U256::MAX,
            },
        }
    }

    pub const fn plus(self, other: Self) -> Self {
        Self {
            low: self.low.saturating_add(other.low),
            high: self.high.saturating_add(other.high),
        }
    }

    pub fn greater(self, other: Self) -> Self {
        Self {
            low: self.low.max(other.low),
            high: self.high.max(other.high),
        }
    }

    pub fn lesser(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.min(other.high),
        }
    }

    /// The number, where there is no doubt.
    pub fn exact(self) -> Option<U256> {
        (self.low == self.high).then_some(self.low)
    }

    /// Whether the number is from `at_least` to `at_most`, both inclusive.
    pub fn within(self, at_least: U256, at_most: U256) -> Eligibility {
        if self.low > at_most || self.high < at_least {
            Eligibility::Ineligible
        } else if self.low >= at_least && self.high <= at_most {
            Eligibility::Eligible
        } else {
            Eligibility::Unknown
        }
    }
}
