//! Tokens that a third party's signer made (`anvil-fixtures/jwt.mjs`, jose 6.2.17), sound and hostile.

mod published;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::{ClaimPath, JwksUrl};

struct Fixture(Value);

fn fixture() -> Fixture {
    Fixture(serde_json::from_str(include_str!("tokens.json")).unwrap())
}

impl Fixture {
    fn now(&self) -> Millis {
        self.0["now"].as_i64().unwrap() * 1000
    }

    fn token(&self, name: &str) -> &str {
        self.0["tokens"][name]
            .as_str()
            .unwrap_or_else(|| panic!("{name}"))
    }

    fn settings(&self) -> Jwt {
        let secrets = self.0["secrets"].as_array().unwrap().iter();
        let secrets = secrets.map(|secret| secret.as_str().unwrap().to_owned().into());
        let claim = |name: &str| ClaimPath(vec![name.to_owned()]);
        Jwt {
            hs256_secrets: secrets.collect(),
            jwks: Some(Jwks::File(self.0["jwks"].to_string().into())),
            algorithms: vec![KeyAlgorithm::Rs256, KeyAlgorithm::Es256, KeyAlgorithm::EdDsa],
            issuer: Some("https://id.example.com/".to_owned()),
            audiences: vec!["tollgate".to_owned()],
            user_claim: claim("sub"),
            tenant_claim: claim("tenant"),
            role_claim: claim("role"),
            default_role: Some(Role::User),
            leeway: Duration::from_secs(30),
            requests_per_second: 10,
        }
    }

    async fn by(&self, settings: Jwt, name: &str) -> Result<User, TokenError> {
        let verifier = Verifier::new(settings, None).unwrap();
        verifier.verify(self.token(name), self.now()).await
    }
}

fn user(tenant: &str, user: &str, role: Role) -> User {
    User {
        tenant: tenant.parse().unwrap(),
        user: user.parse().unwrap(),
        role,
    }
}

/// Those that are refused with all of the settings in force, and why.
const REFUSED: &[(TokenError, &[&str])] = &[
    (TokenError::Expired, &["expired", "expired_long_ago"]),
    (TokenError::NotYet, &["not_yet"]),
    (
        TokenError::Audience,
        &[
            "other_audience",
            "other_audiences",
            "without_audience",
            "audience_of_wrong_type",
        ],
    ),
    (TokenError::Issuer, &["other_issuer", "issuers", "without_issuer"]),
    (
        TokenError::Claim("exp"),
        &["without_exp", "exp_is_text", "exp_is_negative", "exp_is_null"],
    ),
    (TokenError::Claim("nbf"), &["nbf_is_text", "nbf_is_huge"]),
    (TokenError::Claim("user"), &["without_sub", "sub_is_number"]),
    (
        TokenError::Claim("tenant"),
        &[
            "without_tenant",
            "tenant_is_list",
            "tenant_is_empty",
            "tenant_with_space",
            "tenant_with_newline",
            "tenant_with_nul",
            "tenant_with_homoglyph",
            "tenant_too_long",
        ],
    ),
    (
        TokenError::Claim("role"),
        &["other_role", "role_in_capitals", "roles", "null_role"],
    ),
    (
        TokenError::Signature,
        &[
            "unknown_secret",
            "empty_secret",
            "public_key_as_secret",
            "trimmed_public_key_as_secret",
            "modulus_as_secret",
            "secret_as_rs256",
            "hs512",
            "rs384",
            "es384",
            "other_kid",
            "kid_of_other_kind",
            "unknown_kid",
            "key_in_header",
            "url_in_header",
            "other_payload",
            "without_signature",
            "half_a_signature",
            "padded",
            "claims_are_a_list",
            "claims_are_text",
            "rotated",
        ],
    ),
    (
        TokenError::Form,
        &[
            "none",
            "none_in_capitals",
            "none_with_signature",
            "without_alg",
            "critical_header",
            "unencoded",
            "logout_token",
            "compressed",
            "header_is_list",
            "header_twice",
            "four_parts",
            "two_parts",
            "json",
            "empty",
            "too_long",
        ],
    ),
];

/// Those that are believed, and whom they stand for.
fn believed() -> Vec<(&'static str, User)> {
    let alice = user("acme", "alice", Role::User);
    let mut believed = vec![
        ("bob", user("acme", "bob", Role::User)),
        ("admin", user("acme", "ada", Role::Admin)),
        ("owner", user("acme", "olga", Role::Owner)),
        ("stranger", user("other", "olga", Role::Owner)),
    ];
    let of_alice = [
        "alice",
        "second_secret",
        "rs256",
        "es256",
        "eddsa",
        "without_kid_es256",
        "access_token",
        "without_typ",
        "many_audiences",
        "without_role",
        "expired_within_leeway",
        "begins_within_leeway",
        "fractional_times",
        "nested",
    ];
    believed.extend(of_alice.map(|name| (name, alice.clone())));
    believed
}

#[tokio::test]
async fn a_token_stands_for_whom_it_names_and_a_hostile_one_for_nobody() {
    let fixture = fixture();
    let mut seen = 0;
    for (name, expected) in believed() {
        assert_eq!(fixture.by(fixture.settings(), name).await, Ok(expected), "{name}");
        seen += 1;
    }
    for (expected, names) in REFUSED {
        for name in *names {
            assert_eq!(
                fixture.by(fixture.settings(), name).await,
                Err(*expected),
                "{name}"
            );
            seen += 1;
        }
    }
    assert_eq!(
        seen,
        fixture.0["tokens"].as_object().unwrap().len(),
        "each token has its line"
    );
}

#[tokio::test]
async fn the_kind_of_key_that_is_configured_decides_what_may_sign() {
    let fixture = fixture();
    let secrets_alone = || Jwt {
        jwks: None,
        ..fixture.settings()
    };
    let keys_alone = || Jwt {
        hs256_secrets: Vec::new(),
        ..fixture.settings()
    };
    let elliptic = || Jwt {
        algorithms: vec![KeyAlgorithm::Es256],
        ..fixture.settings()
    };
    for (settings, name, is_believed) in [
        (secrets_alone(), "alice", true),
        (secrets_alone(), "rs256", false),
        (secrets_alone(), "public_key_as_secret", false),
        (keys_alone(), "rs256", true),
        (keys_alone(), "alice", false),
        // The set holds the secret as a symmetric key, which everybody has read.
        (keys_alone(), "second_secret", false),
        (elliptic(), "es256", true),
        (elliptic(), "rs256", false),
        (elliptic(), "eddsa", false),
    ] {
        let verified = fixture.by(settings, name).await;
        assert_eq!(verified.is_ok(), is_believed, "{name} {verified:?}");
        if !is_believed {
            assert_eq!(verified, Err(TokenError::Signature), "{name}");
        }
    }
    let nothing = Jwt {
        jwks: None,
        hs256_secrets: Vec::new(),
        ..fixture.settings()
    };
    for name in ["alice", "rs256", "empty_secret", "none"] {
        assert!(fixture.by(nothing.clone(), name).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn claims_are_found_by_their_path_and_a_missing_role_only_by_a_default() {
    let fixture = fixture();
    let path = |names: &[&str]| ClaimPath(names.iter().map(|name| (*name).to_owned()).collect());
    let nested = Jwt {
        tenant_claim: path(&["https://id.example.com/claims", "x.tenant"]),
        role_claim: path(&["https://id.example.com/claims", "role"]),
        ..fixture.settings()
    };
    let found = fixture.by(nested.clone(), "nested").await;
    assert_eq!(found, Ok(user("nested", "alice", Role::Owner)));
    assert_eq!(
        fixture.by(nested, "alice").await,
        Err(TokenError::Claim("tenant"))
    );
    let beyond = Jwt {
        tenant_claim: path(&["tenant", "acme"]),
        ..fixture.settings()
    };
    assert_eq!(
        fixture.by(beyond, "alice").await,
        Err(TokenError::Claim("tenant"))
    );
    let strict = Jwt {
        default_role: None,
        ..fixture.settings()
    };
    assert_eq!(
        fixture.by(strict.clone(), "without_role").await,
        Err(TokenError::Claim("role"))
    );
    assert!(fixture.by(strict, "alice").await.is_ok());
}

#[tokio::test]
async fn a_token_for_an_audience_is_refused_where_none_is_ours() {
    let fixture = fixture();
    let nobody = Jwt {
        audiences: Vec::new(),
        issuer: None,
        ..fixture.settings()
    };
    assert_eq!(
        fixture.by(nobody.clone(), "alice").await,
        Err(TokenError::Audience)
    );
    assert!(fixture.by(nobody.clone(), "without_audience").await.is_ok());
    let ours = Jwt {
        audiences: vec!["tollgate".to_owned()],
        ..nobody
    };
    assert!(fixture.by(ours, "other_issuer").await.is_ok());
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_the_leeway() {
    let fixture = fixture();
    let verifier = Verifier::new(fixture.settings(), None).unwrap();
    let end = fixture.now() + 3_600_000 + 30_000;
    let token = fixture.token("alice");
    assert!(verifier.verify(token, end - 1).await.is_ok());
    assert_eq!(verifier.verify(token, end).await, Err(TokenError::Expired));
}

#[test]
fn a_set_of_keys_is_refused_whole_or_read_key_by_key() {
    let fixture = fixture();
    let keys = fixture.0["jwks"]["keys"].as_array().unwrap();
    let parse = |set: &Value| KeySet::parse(set.to_string().as_bytes()).map(|set| format!("{set:?}"));
    // Neither the other curve, nor the symmetric key, nor the kind that is not known, nor the one for encryption.
    assert_eq!(parse(&fixture.0["jwks"]), Ok("KeySet(3 keys)".to_owned()));
    let with = |change: Value| {
        let mut key = keys[0].clone();
        key.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        parse(&json!({"keys": [key]}))
    };
    assert!(with(json!({"alg": "RS256", "key_ops": ["verify"]})).is_ok());
    for change in [
        json!({"alg": "PS256"}),
        json!({"alg": "HS256"}),
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"n": "not base64!"}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kid": "x".repeat(257)}),
    ] {
        assert_eq!(with(change.clone()), Err(KeySetError::Empty), "{change}");
    }
    for (text, expected) in [
        ("", KeySetError::NotASet),
        ("<html>", KeySetError::NotASet),
        ("[]", KeySetError::NotASet),
        ("{}", KeySetError::NotASet),
        ("{\"keys\": {}}", KeySetError::NotASet),
        ("{\"keys\": []}", KeySetError::Empty),
        ("{\"keys\": [5]}", KeySetError::Empty),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(expected), "{text}");
    }
    let many = json!({"keys": vec![keys[0].clone(); MAX_KEYS_AND_ONE]});
    assert_eq!(parse(&many), Err(KeySetError::TooMany));
    let mut twice = keys[3].clone();
    twice["kid"] = keys[0]["kid"].clone();
    assert_eq!(
        parse(&json!({"keys": [keys[0], keys[0]]})),
        Err(KeySetError::Ambiguous)
    );
    assert!(
        parse(&json!({"keys": [keys[0], twice]})).is_ok(),
        "of another kind"
    );
}

const MAX_KEYS_AND_ONE: usize = 65;

#[test]
fn a_modulus_may_be_written_with_zeros_before_it() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let fixture = fixture();
    let mut key = fixture.0["jwks"]["keys"][0].clone();
    let number = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    key["n"] = URL_SAFE_NO_PAD.encode([vec![0], number].concat()).into();
    let set = json!({"keys": [key]}).to_string();
    let set = KeySet::parse(set.as_bytes()).unwrap();
    signature::install();
    let key = set.find(Some("rsa-1"), KeyAlgorithm::Rs256).unwrap();
    assert!(verified(fixture.token("rs256"), key, Algorithm::RS256).is_some());
}

#[tokio::test]
async fn nothing_of_a_token_or_a_secret_is_shown() {
    let fixture = fixture();
    let verifier = Verifier::new(fixture.settings(), None).unwrap();
    let shown = format!("{verifier:?}");
    for secret in fixture.0["secrets"].as_array().unwrap() {
        assert!(!shown.contains(secret.as_str().unwrap()));
    }
}
