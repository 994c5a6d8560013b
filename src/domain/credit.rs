//! What a tenant has paid beyond what it bought, or owes: signed, and by unit rather than by token.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::{I256, U256};
use serde::{Deserialize, Serialize};

use super::{Amount, ChargeId, Millis, TenantId};

/// The digits after the point that a credit carries.
const DECIMALS: u8 = 18;

/// The most that one amount is taken for: 10^36 units. No money is near it, and sums and shares of such never overflow.
const MOST: U256 = U256::from_limbs([
    0x9240_0000_0000_0000,
    0xc519_9909_0b65_f67d,
    0xa_70c3_c40a_64e6,
    0x0,
]);

/// A quantity of one unit, such as USD, in 10^-18 of it. Below zero it is owed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credit(pub I256);

/// Why a text is not a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number of 10^-18 of a unit, such as \"-1500000000000000000\"")]
pub struct CreditError;

impl Credit {
    /// Nothing.
    pub const ZERO: Self = Self(I256::ZERO);

    /// The credit for `amount` of a token with `decimals`; what is finer than 10^-18 is rounded down.
    #[must_use]
    pub fn of(amount: Amount, decimals: u8) -> Self {
        let scaled = match decimals.checked_sub(DECIMALS) {
            Some(finer) => amount.0 / power_of_ten(finer),
            None => amount.0.saturating_mul(power_of_ten(DECIMALS - decimals)),
        };
        Self(I256::from_raw(scaled.min(MOST)))
    }

    /// What of it a token with `decimals` can carry, rounded down; nothing where it is owed.
    #[must_use]
    pub fn to_amount(self, decimals: u8) -> Amount {
        let Some(held) = self.at_least_zero() else {
            return Amount::ZERO;
        };
        Amount(match decimals.checked_sub(DECIMALS) {
            Some(finer) => held.saturating_mul(power_of_ten(finer)),
            None => held / power_of_ten(DECIMALS - decimals),
        })
    }

    /// The same where a token with `decimals` must carry all of it: rounded up.
    #[must_use]
    pub fn to_amount_up(self, decimals: u8) -> Amount {
        let down = self.to_amount(decimals);
        let is_exact = Self::of(down, decimals) >= self;
        if is_exact {
            down
        } else {
            down.saturating_add(Amount::from(1))
        }
    }

    /// This credit times `part` / `whole`, rounded down; nothing where it is owed, or of nothing.
    #[must_use]
    pub fn share(self, part: u64, whole: u64) -> Self {
        let held = self.at_least_zero().unwrap_or_default().min(MOST);
        if whole == 0 {
            return Self::ZERO;
        }
        Self(I256::from_raw(
            held.saturating_mul(U256::from(part)) / U256::from(whole),
        ))
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Whether it is owed.
    #[must_use]
    pub const fn is_owed(self) -> bool {
        self.0.is_negative()
    }

    /// In units, exact, without trailing zeros: `16.666667`, `-0.5`.
    #[must_use]
    pub fn to_units(self) -> String {
        let sign = if self.is_owed() { "-" } else { "" };
        format!("{sign}{}", Amount(self.0.unsigned_abs()).to_units(DECIMALS))
    }

    fn at_least_zero(self) -> Option<U256> {
        (!self.is_owed()).then(|| self.0.into_raw())
    }
}

fn power_of_ten(exponent: u8) -> U256 {
    U256::from(10).pow(U256::from(exponent))
}

impl fmt::Display for Credit {
    /// In 10^-18 of the unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Credit {
    type Err = CreditError;

    /// In 10^-18 of the unit.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CreditError);
        }
        I256::from_dec_str(text).map(Self).map_err(|_| CreditError)
    }
}

/// Why a charge changed its tenant's credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreditKind {
    /// Money reached it beyond what its product cost, or its product was never delivered.
    Excess,
    /// It set credit aside, or spent it; given back where it is closed unpaid.
    SetAside,
    /// It paid what its tenant owed.
    Repaid,
    /// Paid time that its product replaced, less what was taken off its price for it.
    UnusedTime,
}

impl CreditKind {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Excess => "excess",
            Self::SetAside => "set_aside",
            Self::Repaid => "repaid",
            Self::UnusedTime => "unused_time",
        }
    }
}

/// One change of a tenant's credit. Never changed: what no longer holds is answered by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditEntry {
    /// Whose credit.
    pub tenant: TenantId,
    /// In what.
    pub unit: String,
    /// By how much.
    pub amount: Credit,
    /// Why.
    pub kind: CreditKind,
    /// The charge that gave or took it.
    pub charge: ChargeId,
    /// Who caused it: a chain, a key, the clock.
    pub actor: String,
    /// By what.
    pub cause: String,
    /// When it was written.
    pub at: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Credit {
        Credit::of(Amount::from_units(text, 18).unwrap(), 18)
    }

    #[test]
    fn the_bound_is_what_it_says() {
        assert_eq!(MOST, power_of_ten(54));
        for decimals in [0, 6, 18, 36] {
            assert!(Credit::of(Amount(U256::MAX), decimals).0.into_raw() <= MOST);
        }
        let most = Credit::of(Amount(U256::MAX), 0);
        assert_eq!(most.share(u64::MAX, u64::MAX), most);
    }

    #[test]
    fn tokens_of_any_decimals_are_exact_both_ways() {
        for (base, decimals, units) in [
            ("15001234", 6, "15.001234"),
            ("15001234000000000001", 18, "15.001234000000000001"),
            ("5", 0, "5"),
        ] {
            let amount: Amount = base.parse().unwrap();
            let credit = Credit::of(amount, decimals);
            assert_eq!(credit.to_units(), units);
            assert_eq!(credit.to_amount(decimals), amount);
            assert_eq!(credit.to_amount_up(decimals), amount);
            assert_eq!(credit.to_string().parse(), Ok(credit));
        }
    }

    #[test]
    fn what_a_token_cannot_carry_is_rounded_the_way_that_is_named() {
        let third = usd("16.666666666666666666");
        assert_eq!(third.to_amount(6), Amount::from(16_666_666));
        assert_eq!(third.to_amount_up(6), Amount::from(16_666_667));
        assert_eq!(
            Credit::of("1999".parse().unwrap(), 21),
            usd("0.000000000000000001")
        );
        assert_eq!(usd("25").share(20, 30), third);
        assert_eq!(usd("25").share(1, 0), Credit::ZERO);
    }

    #[test]
    fn what_is_owed_is_below_zero_and_buys_nothing() {
        let owed = usd("1").minus(usd("2.5"));
        assert!(owed.is_owed());
        assert_eq!(owed.to_units(), "-1.5");
        assert_eq!(
            (owed.to_amount(6), owed.to_amount_up(6)),
            (Amount::ZERO, Amount::ZERO)
        );
        assert_eq!(owed.share(1, 2), Credit::ZERO);
        assert_eq!(owed.to_string().parse(), Ok(owed));
        assert_eq!(owed.plus(usd("1.5")), Credit::ZERO);
        assert!("1.5".parse::<Credit>().is_err() && "".parse::<Credit>().is_err());
    }
}
