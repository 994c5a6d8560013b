//! Receipts: what gates decided, signed (`EdDSA`, RFC 8037), so that who holds our public keys need not ask us.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

/// The `typ` of a receipt: no other token of ours, and nobody else's, is taken for one (RFC 8725, section 3.11).
const RECEIPT_TYPE: &str = "eligibility-receipt+jwt";

/// A public key as it is published (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PublicKey {
    /// `OKP`.
    kty: &'static str,
    /// `Ed25519`.
    crv: &'static str,
    /// `EdDSA`.
    alg: &'static str,
    /// `sig`.
    #[serde(rename = "use")]
    usage: &'static str,
    /// Names it: its thumbprint (RFC 7638).
    kid: String,
    /// The key's 32 bytes, in base64url.
    x: String,
}

/// A key that signs receipts.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Signer").field(&self.public.kid).finish()
    }
}

impl Signer {
    /// The key of a seed (RFC 8032). None where it is not one, which no 32 bytes are.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let required = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let public = PublicKey {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: URL_SAFE_NO_PAD.encode(Sha256::digest(required)),
            x,
        };
        Some(Self { pair, public })
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Names it in receipts.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// A receipt that claims this.
    #[must_use]
    pub fn sign(&self, claims: &serde_json::Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": RECEIPT_TYPE, "kid": self.public.kid});
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A: the key of A.1, and its thumbprint of A.3.
    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let seed = URL_SAFE_NO_PAD
            .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
            .unwrap();
        let signer = Signer::new(&seed.try_into().unwrap()).unwrap();
        assert_eq!(signer.public().x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(signer.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert!(!format!("{signer:?}").contains("nWGxne"));
    }

    #[test]
    fn nothing_of_a_receipt_can_be_changed() {
        let key = Signer::new(&[7; 32]).unwrap();
        let receipt = key.sign(&json!({"sub": "alice"}));
        let (signed, signature) = receipt.rsplit_once('.').unwrap();
        let verifies = |signed: &str| {
            let public = ring::signature::UnparsedPublicKey::new(
                &ring::signature::ED25519,
                key.pair.public_key().as_ref(),
            );
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            public.verify(signed.as_bytes(), &signature).is_ok()
        };
        assert!(verifies(signed));
        let other = key.sign(&json!({"sub": "bob"}));
        assert!(!verifies(other.rsplit_once('.').unwrap().0));
        let (header, claims) = signed.split_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(
            header,
            json!({"alg": "EdDSA", "typ": "eligibility-receipt+jwt", "kid": key.kid()})
        );
        assert_eq!(URL_SAFE_NO_PAD.decode(claims).unwrap(), br#"{"sub":"alice"}"#);
    }
}
