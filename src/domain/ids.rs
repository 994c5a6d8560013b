//! Identifiers. Tenants, users and channels are the chat product's and opaque to us; the rest are ours and unguessable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest identifier that is accepted, in bytes.
const MAX_ID_BYTES: usize = 128;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be 1 to {MAX_ID_BYTES} visible ASCII characters")]
pub struct IdError {
    kind: &'static str,
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The identifier as it came.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
                if text.is_empty() || text.len() > MAX_ID_BYTES || !visible {
                    return Err(IdError { kind: $kind });
                }
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

opaque_id!(
    /// A customer organisation of the chat product; the subject of plans and subscriptions.
    TenantId,
    "a tenant id"
);
opaque_id!(
    /// A person of the chat product, within one tenant.
    UserId,
    "a user id"
);
opaque_id!(
    /// A charge. Ours: 128 random bits, so that it is a capability.
    ChargeId,
    "a charge id"
);
opaque_id!(
    /// A gate. Ours.
    GateId,
    "a gate id"
);
opaque_id!(
    /// A refund that an operator recorded. Ours.
    RefundId,
    "a refund id"
);

/// An EIP-155 chain id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub u64);

impl ChainId {
    /// The CAIP-2 form, `eip155:1`.
    #[must_use]
    pub fn caip2(self) -> String {
        format!("eip155:{}", self.0)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChainId {
    type Err = std::num::ParseIntError;

    /// Accepts a number, a 0x-prefixed hexadecimal number, and CAIP-2 (`eip155:137`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("eip155:").unwrap_or(text);
        match number.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).map(Self),
            None => number.parse().map(Self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_empty_long_and_invisible_text() {
        assert!("acme".parse::<TenantId>().is_ok());
        for bad in ["", "a b", "tab\t", "é", &"x".repeat(129)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn chains_are_read_as_number_hex_and_caip2() {
        for text in ["137", "0x89", "eip155:137"] {
            assert_eq!(text.parse::<ChainId>(), Ok(ChainId(137)));
        }
        assert!("polygon".parse::<ChainId>().is_err());
        assert!("-1".parse::<ChainId>().is_err());
    }
}
