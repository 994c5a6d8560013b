//! `[jwt]` and the origins of pages: what is read, and what is refused in which words.

use super::*;
use crate::domain::Role;

const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

fn faults(section: &str) -> Vec<String> {
    Written::new(&format!("[jwt]\n{section}")).faults()
}

#[test]
fn by_default_no_token_is_believed_and_no_page_may_call() {
    let config = load(None, &Env::default()).unwrap().config;
    let jwt = config.jwt;
    assert!(jwt.hs256_secrets.is_empty() && jwt.jwks.is_none() && config.server.allowed_origins.is_empty());
    assert_eq!(
        (jwt.leeway, jwt.default_role),
        (Duration::from_secs(30), Some(Role::User))
    );
    assert_eq!(jwt.user_claim, ClaimPath(vec!["sub".to_owned()]));
    assert_eq!(
        jwt.algorithms,
        [KeyAlgorithm::Rs256, KeyAlgorithm::Es256, KeyAlgorithm::EdDsa]
    );
}

#[test]
fn secrets_keys_and_paths_of_claims_are_read_from_each_place() {
    let section = "[jwt]\njwks_path = \"jwks.json\"\nissuer = \"us\"\nhs256_secrets_file = \"secrets\"\n\
                   role_claim = [\"https://hasura.io/jwt/claims\", \"x-hasura-role\"]";
    let config = Written::new(section)
        .file("jwks.json", "{\"keys\": []}")
        .file("secrets", &format!("{SECRET}-1\n{SECRET}-2\n"))
        .env("TOLLGATE__JWT__TENANT_CLAIM", "[\"a.b\", \"c\"]")
        .config();
    let jwt = config.jwt;
    assert_eq!(jwt.hs256_secrets.len(), 2);
    assert_eq!(
        jwt.tenant_claim,
        ClaimPath(vec!["a.b".to_owned(), "c".to_owned()])
    );
    let role = ["https://hasura.io/jwt/claims", "x-hasura-role"].map(str::to_owned);
    assert_eq!(jwt.role_claim, ClaimPath(role.to_vec()));
    assert!(matches!(&jwt.jwks, Some(Jwks::File(text)) if text.expose_secret() == "{\"keys\": []}"));
    assert!(!format!("{jwt:?}").contains(SECRET));
}

#[test]
fn what_is_wrong_is_named_without_its_value() {
    let short = "hs256_secrets = [\"hunter2\"]";
    assert_eq!(
        faults(short),
        ["jwt.hs256_secrets[0]: must be 32 to 1024 bytes, random"]
    );
    let issuer = "jwt.issuer: is required beside public keys: the same issuer may sign for others too";
    assert_eq!(faults("jwks_url = \"https://id.example/keys\""), [issuer]);
    for (section, expected) in [
        (
            "jwks_url = \"http://hunter2\"",
            "jwt.jwks_url: must be a URL that begins with https://",
        ),
        (
            "jwks_url = \"https://a\"\nissuer = \"x\"\njwks_path = \"nothing\"",
            "jwt.jwks_path: jwt.jwks_url is set too; remove one",
        ),
        (
            "jwks_path = \"nothing\"",
            "jwt.jwks_path: the file cannot be read: entity not found",
        ),
        (
            "jwks_refresh = \"1s\"",
            "jwt.jwks_refresh: must be between 1m and 1d",
        ),
        (
            "jwks_max_age = \"1m\"",
            "jwt.jwks_max_age: must be between 5m and 30d",
        ),
        (
            "algorithms = [\"HS256\"]",
            "jwt.algorithms: must be one or more of RS256, ES256 and EdDSA",
        ),
        (
            "algorithms = [\"none\"]",
            "jwt.algorithms: must be one or more of RS256, ES256 and EdDSA",
        ),
        (
            "algorithms = []",
            "jwt.algorithms: must be one or more of RS256, ES256 and EdDSA",
        ),
        (
            "role_claim = []",
            "jwt.role_claim: must be a claim's name of 1 to 200 bytes, or a list of 1 to 8 that lead to it",
        ),
        (
            "user_claim = \"\"",
            "jwt.user_claim: must be a claim's name of 1 to 200 bytes, or a list of 1 to 8 that lead to it",
        ),
        (
            "default_role = \"root\"",
            "jwt.default_role: must be \"user\", \"admin\", \"owner\" or \"none\"",
        ),
        ("leeway = \"6m\"", "jwt.leeway: must be between 0d and 5m"),
    ] {
        assert_eq!(faults(section), [expected], "{section}");
    }
}

#[test]
fn a_private_url_is_for_those_who_ask_for_it_and_secrets_are_few() {
    let private = "jwks_url = \"http://127.0.0.1/\"\nissuer = \"x\"\njwks_allow_private_network = true";
    assert!(
        Written::new(&format!("[jwt]\n{private}"))
            .config()
            .jwt
            .jwks
            .is_some()
    );
    let many = format!(
        "hs256_secrets = [{}]",
        vec![format!("\"{SECRET}\""); 9].join(", ")
    );
    assert_eq!(
        faults(&many),
        ["jwt.hs256_secrets: must be at most 8 secrets; remove those that no longer sign"]
    );
}

#[test]
fn an_origin_is_written_as_browsers_send_it() {
    let origin = |text: &str| Written::new(&format!("[server]\nallowed_origins = [\"{text}\"]")).load();
    for good in [
        "https://chat.example.com",
        "http://localhost:3000",
        "https://chat.example.com:8443",
    ] {
        let loaded = origin(good).map_err(|errors| errors.to_string()).unwrap();
        assert_eq!(loaded.config.server.allowed_origins, [good]);
    }
    for bad in [
        "*",
        "null",
        "",
        "chat.example.com",
        "https://chat.example.com/",
        "https://Chat.example.com",
        "https://chat.example.com:443",
        "https://user@chat.example.com",
        "https://*.example.com",
        "ftp://chat.example.com",
    ] {
        assert!(origin(bad).is_err(), "{bad}");
    }
}
