//! `[checkout]`: what must be refused, and in which words; and where its secrets come from.

use super::*;

/// An account that is as it should be.
const ACCOUNT: &str = "[checkout]\nprovider = \"coinbase_business\"\napi_key_id = \"key-1\"\napi_key_secret = \"hunter2\"\n\
                       webhook_secrets = [\"a-secret-of-16-or-more\"]\n";

/// What replaces what in a sound account, and the one fault that it makes.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "coinbase_business",
        "coinbase_commerce",
        "checkout.provider: must be \"none\" or \"coinbase_business\"",
    ),
    (
        "api_key_id = \"key-1\"\n",
        "",
        "checkout.api_key_id: is required beside a provider: the id of the key, as the provider gave it",
    ),
    (
        "\"key-1\"",
        "\"with space\"",
        "checkout.api_key_id: is required beside a provider: the id of the key, as the provider gave it",
    ),
    (
        "api_key_secret = \"hunter2\"\n",
        "",
        "checkout.api_key_secret: is required beside a provider",
    ),
    (
        "api_key_secret",
        "api_key_secret_file = \"nowhere\"\napi_key_secret",
        "checkout.api_key_secret: checkout.api_key_secret_file is set too; remove one",
    ),
    (
        "[\"a-secret-of-16-or-more\"]",
        "[]",
        "checkout.webhook_secrets: is required beside a provider: without it nobody would hear of what was paid",
    ),
    (
        "a-secret-of-16-or-more",
        "hunter2",
        "checkout.webhook_secrets[0]: must be 16 to 1024 printable characters without spaces, as the provider gave it",
    ),
    (
        "webhook_secrets",
        "base_url = \"http://business.example\"\nwebhook_secrets",
        "checkout.base_url: must be a URL that begins with https://",
    ),
    (
        "webhook_secrets",
        "base_url = \"https://root:hunter2@business.example\"\nwebhook_secrets",
        "checkout.base_url: must be a URL without user, query or fragment",
    ),
    (
        "webhook_secrets",
        "timeout = \"31s\"\nwebhook_secrets",
        "checkout.timeout: must be between 100ms and 30s",
    ),
    (
        "webhook_secrets",
        "tolerance = \"1h\"\nwebhook_secrets",
        "checkout.tolerance: must be between 1s and 15m",
    ),
    (
        "webhook_secrets",
        "commerce_webhook_secrets = [\"short\"]\nwebhook_secrets",
        "checkout.commerce_webhook_secrets[0]: must be 16 to 1024 printable characters without spaces, as the provider \
         gave it",
    ),
];

#[test]
fn each_wrong_account_is_refused_with_its_key_and_remedy() {
    assert!(Written::new(ACCOUNT).config().checkout.api.is_some());
    for (from, to, fault) in WRONG {
        assert!(ACCOUNT.contains(from), "{from}");
        let text = ACCOUNT.replacen(from, to, 1);
        let faults = Written::new(&text).faults();
        assert_eq!(faults, [*fault], "{text}");
        assert!(!faults[0].contains("hunter2"));
    }
    let many = ["\"a-secret-of-16-or-more\""; 9].join(", ");
    let text = ACCOUNT.replace("\"a-secret-of-16-or-more\"", &many);
    let fault = "checkout.webhook_secrets: must be at most 8 secrets; remove those that no longer sign";
    assert_eq!(Written::new(&text).faults(), [fault]);
}

#[test]
fn there_is_no_provider_unless_one_is_named() {
    let checkout = Written::new("").config().checkout;
    assert!(
        checkout.api.is_none()
            && checkout.business_secrets.is_empty()
            && checkout.commerce_secrets.is_empty()
    );
    let local =
        ACCOUNT.to_owned() + "allow_private_network = true\nbase_url = \"http://127.0.0.1:1/sandbox\"";
    assert!(Written::new(&local).config().checkout.api.is_some());
}

#[test]
fn the_secrets_of_checkouts_come_from_the_environment_or_files_and_are_not_shown() {
    let config = Written::new("[checkout]\nprovider = \"coinbase_business\"\napi_key_id = \"key-1\"")
        .file("key", "hunter2-key\n")
        .file("hooks", "hunter2-of-this-year\nhunter2-of-last-year\n")
        .env("TOLLGATE__CHECKOUT__API_KEY_SECRET_FILE", "key")
        .env("TOLLGATE__CHECKOUT__WEBHOOK_SECRETS_FILE", "hooks")
        .env("COINBASE_COMMERCE_WEBHOOK_SECRET", "hunter2-of-commerce")
        .config();
    let checkout = &config.checkout;
    let key = checkout.api.as_ref().unwrap().api_key_secret.expose_secret();
    assert_eq!((key, checkout.business_secrets.len()), ("hunter2-key", 2));
    assert_eq!(
        checkout.commerce_secrets[0].expose_secret(),
        "hunter2-of-commerce"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}
