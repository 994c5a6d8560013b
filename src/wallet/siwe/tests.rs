//! Messages and signatures made by the official libraries; anvil's first two development keys signed them.

use alloy::primitives::{U256, address};

use super::*;

const FIRST: Address = address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const SECOND: Address = address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
/// 2025-01-01T00:00:00Z, when every vector was issued.
const ISSUED: Millis = 1_735_689_600_000;
/// The order of secp256k1 (SEC 2, 2.4.1).
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

/// `anvil-fixtures/siwe.mjs` (viem 2.56.9), with a statement and an expiration time.
const VIEM_FULL: (&str, &str) = (
    "chat.example.org wants you to sign in with your Ethereum account:\n\
     0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\n\n\
     Link this wallet to your account.\n\n\
     URI: https://chat.example.org/wallets\nVersion: 1\nChain ID: 137\nNonce: 8fK2pQ7sLw9Zb3Xr\n\
     Issued At: 2025-01-01T00:00:00.000Z\nExpiration Time: 2025-01-01T00:10:00.000Z",
    "0xe212f83e9def6462515e8ddf3e308c49f627a493dd40a3759acd946006614b04385ba7c39d41a472fa25b32d63540531b3adb630f6ceea89e02977a4eddba39b1c",
);

/// `anvil-fixtures/siwe.mjs` (viem 2.56.9), with neither.
const VIEM_SHORT: (&str, &str) = (
    "chat.example.org wants you to sign in with your Ethereum account:\n\
     0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\n\n\n\
     URI: https://chat.example.org/wallets\nVersion: 1\nChain ID: 137\nNonce: 8fK2pQ7sLw9Zb3Xr\n\
     Issued At: 2025-01-01T00:00:00.000Z",
    "0x47e5f9a9dc15ccd4f2f78d1bb0ac22b153892ae2feb0196abb32784b5e6d150854c476f80c60aa92aedd75ca7d15aa994884217299cb26b6565962e7109e57121c",
);

/// The npm packages siwe 3.0.0 (`new SiweMessage({…}).prepareMessage()`) and ethers 6 (`wallet.signMessage`), every field set.
const SIWE_EVERY_FIELD: (&str, &str) = (
    "chat.example.org wants you to sign in with your Ethereum account:\n\
     0x70997970C51812dc3A010C7d01b50e0d17dc79C8\n\n\
     Link this wallet to your account.\n\n\
     URI: https://chat.example.org/wallets\nVersion: 1\nChain ID: 1\nNonce: 8fK2pQ7sLw9Zb3Xr\n\
     Issued At: 2025-01-01T00:00:00.000Z\nExpiration Time: 2025-01-01T00:10:00.000Z\n\
     Not Before: 2025-01-01T00:00:00.000Z\nRequest ID: link-1\nResources:\n\
     - https://chat.example.org/terms\n\
     - ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/",
    "0x68589648b0f5db201a70241d8d30db93b93e66fca16a36b2ced122123b334e5738cfa7636b10be8e3ef10b2db7e6b577acc7578bf1f9321ce08f83692d7b58021b",
);

const EXPECTED: Expected<'static> = Expected {
    domain: "chat.example.org",
    uri: "https://chat.example.org/wallets",
    chains: &[ChainId(1), ChainId(137)],
    nonce: "8fK2pQ7sLw9Zb3Xr",
    nonce_lifetime: Duration::from_mins(10),
    now: ISSUED + 1000,
};

fn at(now: Millis) -> Expected<'static> {
    Expected { now, ..EXPECTED }
}

fn bytes(signature: &str) -> Vec<u8> {
    hex::decode(&signature[2..]).unwrap()
}

#[test]
fn what_the_official_libraries_sign_is_proof() {
    for ((message, signature), address) in [
        (VIEM_FULL, FIRST),
        (VIEM_SHORT, FIRST),
        (SIWE_EVERY_FIELD, SECOND),
    ] {
        assert_eq!(verify(message, signature, &EXPECTED), Ok(address));
        assert_eq!(verify(message, &signature[2..], &EXPECTED), Ok(address));
        assert_eq!(nonce_of(message).as_deref(), Ok(EXPECTED.nonce));
    }
}

#[test]
fn the_recovery_id_may_be_written_either_way() {
    let mut signature = bytes(VIEM_FULL.1);
    signature[64] -= 27;
    assert_eq!(
        verify(VIEM_FULL.0, &hex::encode(&signature), &EXPECTED),
        Ok(FIRST)
    );
    for v in [2, 26, 29, 54, 55, 255] {
        signature[64] = v;
        let outcome = verify(VIEM_FULL.0, &hex::encode(&signature), &EXPECTED);
        assert_eq!(outcome, Err(SiweError::RecoveryId), "{v}");
    }
}

#[test]
fn every_field_must_be_the_one_we_asked_for() {
    for (expected, error) in [
        (
            Expected {
                domain: "evil.example.org",
                ..EXPECTED
            },
            SiweError::WrongDomain,
        ),
        (
            Expected {
                domain: "Chat.example.org",
                ..EXPECTED
            },
            SiweError::WrongDomain,
        ),
        (
            Expected {
                domain: "chat.example.org:443",
                ..EXPECTED
            },
            SiweError::WrongDomain,
        ),
        (
            Expected {
                uri: "https://chat.example.org/wallets/",
                ..EXPECTED
            },
            SiweError::WrongUri,
        ),
        (
            Expected {
                uri: "https://chat.example.org",
                ..EXPECTED
            },
            SiweError::WrongUri,
        ),
        (
            Expected {
                chains: &[ChainId(1)],
                ..EXPECTED
            },
            SiweError::WrongChain(ChainId(137)),
        ),
        (
            Expected {
                chains: &[],
                ..EXPECTED
            },
            SiweError::WrongChain(ChainId(137)),
        ),
        (
            Expected {
                nonce: "8fk2pq7slw9zb3xr",
                ..EXPECTED
            },
            SiweError::WrongNonce,
        ),
    ] {
        assert_eq!(verify(VIEM_FULL.0, VIEM_FULL.1, &expected), Err(error));
    }
    let insecure = format!("http://{}", VIEM_FULL.0);
    assert_eq!(
        verify(&insecure, VIEM_FULL.1, &EXPECTED),
        Err(SiweError::WrongDomain)
    );
    let secure = format!("https://{}", VIEM_FULL.0);
    assert_eq!(
        verify(&secure, VIEM_FULL.1, &EXPECTED),
        Err(SiweError::NotThisKey)
    );
}

#[test]
fn a_message_holds_only_in_its_time() {
    let long = Duration::from_hours(1);
    for (now, nonce_lifetime, expected) in [
        (ISSUED - 60_001, long, Err(SiweError::IssuedInFuture)),
        (ISSUED - 60_000, long, Err(SiweError::NotYetValid)),
        (ISSUED - 1, long, Err(SiweError::NotYetValid)),
        (ISSUED, long, Ok(SECOND)),
        (ISSUED + 599_999, long, Ok(SECOND)),
        (ISSUED + 600_000, long, Err(SiweError::Expired)),
        (ISSUED + 60_000, Duration::from_mins(1), Ok(SECOND)),
        (ISSUED + 60_001, Duration::from_mins(1), Err(SiweError::TooOld)),
        (Millis::MAX, long, Err(SiweError::TooOld)),
        (Millis::MIN, long, Err(SiweError::IssuedInFuture)),
    ] {
        let expected_fields = Expected {
            nonce_lifetime,
            ..at(now)
        };
        assert_eq!(
            verify(SIWE_EVERY_FIELD.0, SIWE_EVERY_FIELD.1, &expected_fields),
            expected,
            "{now}"
        );
    }
    assert_eq!(
        verify(VIEM_SHORT.0, VIEM_SHORT.1, &at(ISSUED - 60_000)),
        Ok(FIRST)
    );
}

#[test]
fn another_key_or_another_message_is_not_this_key() {
    let not_this_key = Err(SiweError::NotThisKey);
    assert_eq!(verify(VIEM_FULL.0, VIEM_SHORT.1, &EXPECTED), not_this_key);
    assert_eq!(verify(VIEM_FULL.0, SIWE_EVERY_FIELD.1, &EXPECTED), not_this_key);
    let reworded = VIEM_FULL.0.replace("Link this", "Link that");
    assert_eq!(verify(&reworded, VIEM_FULL.1, &EXPECTED), not_this_key);
    let impostor = VIEM_FULL.0.replace(&FIRST.to_string(), &SECOND.to_string());
    assert_eq!(verify(&impostor, VIEM_FULL.1, &EXPECTED), not_this_key);
    let zero = format!("0x{}1b", "0".repeat(128));
    let nobody = VIEM_FULL
        .0
        .replace(&FIRST.to_string(), &Address::ZERO.to_string());
    assert_eq!(verify(&nobody, &zero, &EXPECTED), not_this_key);
}

#[test]
fn the_other_half_of_the_curve_is_refused() {
    let mut signature = bytes(VIEM_FULL.1);
    let order = U256::from_str_radix(ORDER, 16).unwrap();
    let s = U256::from_be_slice(&signature[32..64]);
    signature[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    signature[64] = 55 - signature[64];
    assert_eq!(
        verify(VIEM_FULL.0, &hex::encode(&signature), &EXPECTED),
        Err(SiweError::HighS)
    );
    signature[..64].fill(0xff);
    assert_eq!(
        verify(VIEM_FULL.0, &hex::encode(&signature), &EXPECTED),
        Err(SiweError::HighS)
    );
}

#[test]
fn what_is_no_signature_has_its_own_error() {
    for (signature, error) in [
        ("", SiweError::SignatureLength),
        ("0x", SiweError::SignatureLength),
        ("0xzz", SiweError::SignatureNotHex),
        ("0x123", SiweError::SignatureNotHex),
        (&VIEM_FULL.1[..130], SiweError::SignatureLength),
        (&format!("{}00", VIEM_FULL.1), SiweError::SignatureLength),
        (&"f".repeat(1_000_000), SiweError::SignatureLength),
    ] {
        assert_eq!(verify(VIEM_FULL.0, signature, &EXPECTED), Err(error));
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let malformed = Err(SiweError::Malformed);
    for message in [
        String::new(),
        "hello".to_owned(),
        VIEM_FULL.0.replace("Version: 1", "Version: 2"),
        VIEM_FULL.0.replace('\n', "\r\n"),
        VIEM_FULL.0.replace("2025-01-01T00:00:00.000Z", "yesterday"),
        VIEM_FULL
            .0
            .replace("Chain ID: 137", "Chain ID: 18446744073709551616"),
        VIEM_FULL.0.replace("0xf39F", "0xF39F"),
        format!("{}\n", VIEM_FULL.0),
    ] {
        assert_eq!(verify(&message, VIEM_FULL.1, &EXPECTED), malformed, "{message}");
    }
    let long = VIEM_FULL.0.replace("Link", &"L".repeat(4096));
    assert_eq!(
        verify(&long, VIEM_FULL.1, &EXPECTED),
        Err(SiweError::MessageTooLong)
    );
}
