//! The nonces by which a payment names its charge.

use alloy::primitives::B256;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::domain::ChargeId;

/// The `n`-th reference of a charge: HMAC-SHA256(secret, charge id ‖ n as four big-endian bytes). Whoever does not know the
/// secret cannot guess one before it was used.
#[must_use]
pub fn reference(secret: B256, charge: &ChargeId, n: u32) -> B256 {
    let [id, n] = [charge.as_str().as_bytes(), &n.to_be_bytes()];
    let mut key = [0; 64];
    key[..32].copy_from_slice(secret.as_slice());
    let mac = Hmac::<Sha256>::new(&key.into());
    let mac = mac.chain_update(id).chain_update(n);
    B256::from(<[u8; 32]>::from(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_hmac_of_charge_and_number() {
        let charge: ChargeId = "chg_1".parse().unwrap();
        let found = reference(B256::repeat_byte(7), &charge, 1);
        let mut expected = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        expected.update(b"chg_1\0\0\0\x01");
        assert_eq!(found.0, <[u8; 32]>::from(expected.finalize().into_bytes()));
    }

    #[test]
    fn every_charge_and_number_and_secret_has_its_own() {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let secret = B256::repeat_byte(7);
        let all = [
            reference(secret, &a, 0),
            reference(secret, &a, 1),
            reference(secret, &b, 0),
            reference(B256::ZERO, &a, 0),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
