//! Money and balances: unsigned integers in base units, never a float.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity of one token in its base units. The token, and so the decimals, stand beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub U256);

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Something other than digits and one point.
    #[error("must be a non-negative decimal number such as \"15\" or \"0.5\"")]
    NotDecimal,
    /// Finer than the token can carry.
    #[error("has more than the {0} decimals that the token carries")]
    TooFine(u8),
    /// Larger than 2^256 - 1 base units.
    #[error("is larger than 2^256 - 1 base units")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Whether this is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum, or 2^256 - 1: an attacker's token may hold any numbers, and a sum must not wrap.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads `15`, `0.5` or `12.345678` as units of a token with `decimals`.
    ///
    /// # Errors
    /// Text that is not a plain decimal, or that the token cannot carry exactly.
    pub fn from_units(text: &str, decimals: u8) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let dangling_point = text.contains('.') && fraction.is_empty();
        if whole.is_empty() || dangling_point || !digits_only(whole) || !digits_only(fraction) {
            return Err(AmountError::NotDecimal);
        }
        let fraction = fraction.trim_end_matches('0');
        let missing = usize::from(decimals)
            .checked_sub(fraction.len())
            .ok_or(AmountError::TooFine(decimals))?;
        let digits = format!("{whole}{fraction}{}", "0".repeat(missing));
        U256::from_str_radix(&digits, 10)
            .map(Self)
            .map_err(|_| AmountError::TooLarge)
    }

    /// The units of a token with `decimals`, exact, without trailing zeros: `15`, `0.5`.
    #[must_use]
    pub fn to_units(self, decimals: u8) -> String {
        let width = usize::from(decimals) + 1;
        let digits = format!("{:0>width$}", self.0.to_string());
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(decimals));
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

impl From<u64> for Amount {
    fn from(base_units: u64) -> Self {
        Self(U256::from(base_units))
    }
}

impl fmt::Display for Amount {
    /// Base units in decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Base units in decimal.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        Self::from_units(text, 0)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_exact_both_ways() {
        for (text, decimals, base) in [
            ("15", 6, "15000000"),
            ("0.5", 6, "500000"),
            ("58.333334", 6, "58333334"),
            ("1.000000000000000001", 18, "1000000000000000001"),
            ("0", 0, "0"),
        ] {
            let amount = Amount::from_units(text, decimals).unwrap();
            assert_eq!(amount.to_string(), base);
            assert_eq!(amount.to_units(decimals), text);
        }
    }

    #[test]
    fn no_base_unit_is_lost_at_any_decimals() {
        let one = U256::from(1);
        let ten = |by: u8| U256::from(10).pow(U256::from(by));
        for decimals in 0..=36 {
            let whole = ten(decimals) * U256::from(15);
            let near = [whole - one, whole, whole + one, one, U256::MAX, U256::MAX - one];
            let spread = (1..=200_u64).map(|n| U256::MAX / U256::from(n * n * 7 + 3));
            for base_units in near.into_iter().chain(spread) {
                let amount = Amount(base_units);
                assert_eq!(
                    Amount::from_units(&amount.to_units(decimals), decimals),
                    Ok(amount)
                );
            }
        }
        assert_eq!(
            Amount::from_units("15.0000000000000000001", 18),
            Err(AmountError::TooFine(18))
        );
    }

    #[test]
    fn what_is_not_an_exact_amount_is_refused() {
        for text in ["", "-1", "1e6", "1.", ".5", "1.2.3", " 1", "0x10", "1,5"] {
            assert_eq!(
                Amount::from_units(text, 6),
                Err(AmountError::NotDecimal),
                "{text:?}"
            );
        }
        assert_eq!(Amount::from_units("0.0000001", 6), Err(AmountError::TooFine(6)));
        assert_eq!(Amount::from_units(&"9".repeat(90), 6), Err(AmountError::TooLarge));
    }
}
