use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::{Finality, Level, Tag};

mod annotated;
mod changed;
mod checkout;
mod shipped;
mod tokens;
mod wrong;

const SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const TREASURY: &str = "0x52908400098527886E0F7030069857D2E4169EE7";
const USDC: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";

struct Written {
    directory: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Written {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tollgate.toml"), text).unwrap();
        Self {
            directory,
            env: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("tollgate.toml")
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(Some(&self.path()), &self.env.iter().cloned().collect())
    }

    fn config(&self) -> Config {
        self.load().map_err(|errors| errors.to_string()).unwrap().config
    }

    fn faults(&self) -> Vec<String> {
        let errors = self.load().unwrap_err();
        errors.0.iter().map(ToString::to_string).collect()
    }
}

fn anvil(rest: &str) -> Written {
    Written::new(&format!("chain_files = [\"anvil\"]\n{rest}"))
}

fn token(rest: &str) -> Written {
    anvil(&format!(
        "[[chains.anvil.tokens]]\naddress = \"{USDC}\"\nsymbol = \"USDC\"\ndecimals = 6\n{rest}"
    ))
}

#[test]
fn the_defaults_alone_are_a_configuration() {
    let Loaded { config, warnings } = load(None, &Env::default()).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.metrics_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.server.max_body_bytes, 64 * 1024);
    assert_eq!(config.store.url.expose_secret(), "sqlite://tollgate.sqlite");
    assert_eq!(config.payments.charge_ttl, Duration::from_mins(30));
    assert_eq!(config.payments.charge_grace, Duration::from_hours(24));
    assert_eq!(config.payments.tolerance_basis_points, 100);
    assert_eq!(config.payments.tolerance_units, "0.05");
    assert_eq!(config.payments.tolerance_max_basis_points, 500);
    assert_eq!(config.wallets.nonce_ttl, Duration::from_mins(10));
    assert_eq!(config.stripe.tolerance, Duration::from_mins(5));
    assert!(config.stripe.webhook_secrets.is_empty() && config.webhooks.is_empty());
    assert!(config.chains.is_empty() && config.payments.enabled && !config.log.json);
}

#[test]
fn the_shipped_anvil_is_found_by_name() {
    let config = anvil("").config();
    let [chain] = config.chains.as_slice() else {
        panic!("one chain: {config:?}");
    };
    assert_eq!(
        (chain.name.as_str(), chain.id.0, &chain.finality),
        ("anvil", 31337, &Finality::of_confirmations(3))
    );
    assert!(chain.development && chain.tokens.is_empty() && chain.treasury.is_none());
    let endpoint = &chain.endpoints[0];
    assert_eq!(
        endpoint.ws.as_ref().unwrap().expose_secret(),
        "ws://127.0.0.1:8545"
    );
    assert_eq!(
        endpoint.http.as_ref().unwrap().expose_secret(),
        "http://127.0.0.1:8545"
    );
}

#[test]
fn tiers_replace_the_confirmations_of_a_shipped_chain_and_two_operators_must_agree() {
    let endpoint = |name: &str| {
        format!(
            "[[chains.anvil.endpoints]]\nname = \"{name}\"\noperator = \"{name}\"\nhttp = \"http://{name}\"\n"
        )
    };
    let tiers = "[[chains.anvil.finality]]\nname = \"low\"\nup_to = 100\ntag = \"safe\"\nor_confirmations = 50\n\
                 [[chains.anvil.finality]]\nname = \"high\"\nconfirmations = 128\ntag = \"finalized\"\nmin_age = \"1m\"\n";
    let config = anvil(&format!("{tiers}{}{}", endpoint("a"), endpoint("b"))).config();
    let chain = &config.chains[0];
    assert_eq!((chain.agree, chain.max_tag_age), (2, Duration::from_mins(30)));
    let [low, high] = chain.finality.tiers() else {
        panic!("{:?}", chain.finality);
    };
    assert_eq!((low.up_to.as_deref(), low.confirmations), (Some("100"), 1));
    assert_eq!((low.tag, low.or_confirmations), (Some(Tag::Safe), Some(50)));
    assert_eq!((high.confirmations, high.tag), (128, Some(Tag::Finalized)));
    assert_eq!(
        (high.up_to.as_deref(), high.min_age),
        (None, Duration::from_mins(1))
    );
}

#[test]
fn a_file_lies_over_its_chain_files_and_the_environment_over_both() {
    let chain = "[chains.mine]\nid = 5\nblock_time = \"2s\"\nconfirmations = 4\n\
                 [[chains.mine.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"http://localhost\"";
    let config = Written::new("chain_files = [\"mine.toml\"]\n[chains.mine]\nconfirmations = 9\nid = 6")
        .file("mine.toml", chain)
        .env("TOLLGATE__CHAINS__MINE__ID", "7")
        .env("TOLLGATE__SERVER__LISTEN", "0.0.0.0:1")
        .env("TOLLGATE__PAYMENTS__TOLERANCE_UNITS", "1")
        .config();
    assert_eq!(config.chains[0].id.0, 7);
    assert_eq!(config.chains[0].finality, Finality::of_confirmations(9));
    assert_eq!(config.chains[0].block_time, Duration::from_secs(2));
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:1");
    assert_eq!(config.payments.tolerance_units, "1");

    let by_env = Written::new("")
        .env("TOLLGATE__CHAIN_FILES", "[\"anvil\"]")
        .config();
    assert_eq!(by_env.chains.len(), 1);
}

#[test]
fn secrets_come_from_files_in_each_way_and_replace_the_lower_layer() {
    let config = anvil("[stripe]\nwebhook_secrets_file = \"stripe\"")
        .file("stripe", "whsec_one\n\nwhsec_two\n")
        .file("url", "postgres://user:hunter2@localhost/tollgate\n")
        .file("rpc", "https://rpc.example.com/v3/key\n")
        .env("TOLLGATE__STORE__URL_FILE", "url")
        .env("TOLLGATE__CHAINS__ANVIL__ENDPOINTS__0__HTTP_FILE", "rpc")
        .config();
    assert_eq!(config.stripe.webhook_secrets.len(), 2);
    assert!(config.store.url.expose_secret().contains("hunter2"));
    let http = config.chains[0].endpoints[0].http.as_ref().unwrap();
    assert_eq!(http.expose_secret(), "https://rpc.example.com/v3/key");
    let debug = format!("{config:?}");
    for secret in ["hunter2", "whsec", "rpc.example.com", "8545"] {
        assert!(!debug.contains(secret), "{secret}");
    }
}

#[test]
fn published_names_are_understood_or_warned_about() {
    let written = token(
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"https://x/${INFURA_API_KEY}/${ALCHEMY_API_KEY}\"",
    );
    let key = written.directory.path().join("key");
    let loaded = written
        .file("key", "k2\n")
        .env("STRIPE_WEBHOOK_SECRET", "whsec_env")
        .env("TREASURY_WALLET_ADDRESS", TREASURY)
        .env("NEXT_PUBLIC_PAYMENT_WALLET_ADDRESS", &TREASURY.to_lowercase())
        .env("ENABLE_CRYPTO_PAYMENTS", "false")
        .env("STRIPE_PRO_MONTHLY_PRICE_ID", "price_1")
        .env("STRIPE_PRICE_PRO_MONTHLY", "price_1")
        .env("STRIPE_PRICE_PRO_YEAR", "price_2")
        .env("STRIPE_PRICE_PRO_WEEK", "price_3")
        .env("STRIPE_PORTAL_CONFIG_ID", "")
        .env("STRIPE_SECRET_KEY_FILE", "x")
        .env("STRIPE_PRODUCT_PRO", "prod_1")
        .env("PARENT_APP_URL", "https://app.example.com")
        .env("INFURA_API_KEY", "k1")
        .env("ALCHEMY_API_KEY_FILE", &key.display().to_string())
        .load()
        .map_err(|errors| errors.to_string())
        .unwrap();
    let Config {
        stripe,
        chains,
        payments,
        catalogue,
        ..
    } = loaded.config;
    assert_eq!(stripe.webhook_secrets[0].expose_secret(), "whsec_env");
    assert_eq!(chains[0].treasury, Some(TREASURY.parse().unwrap()));
    assert_eq!(
        chains[0].endpoints[0].http.as_ref().unwrap().expose_secret(),
        "https://x/k1/k2"
    );
    assert!(!payments.enabled);
    let price = |interval: &str, id: &str| ("pro".to_owned(), interval.to_owned(), id.to_owned());
    assert_eq!(
        catalogue.stripe_prices,
        [price("month", "price_1"), price("year", "price_2")]
    );
    assert_eq!(
        loaded.warnings,
        [
            "PARENT_APP_URL is set and has no effect yet",
            "STRIPE_PRICE_PRO_WEEK is not read: it must end in _MONTH, _MONTHLY, _YEAR or _YEARLY",
            "STRIPE_PRODUCT_PRO is set and has no effect yet",
            "STRIPE_SECRET_KEY_FILE is set and has no effect yet",
        ]
    );
}

#[test]
fn tokens_need_a_treasury() {
    let needed = "chains.anvil.treasury: is required where tokens are accepted; TREASURY_WALLET_ADDRESS names one for \
                  all chains, and accept = [] takes none here";
    assert_eq!(token("").faults(), [needed]);
}

#[test]
fn webhooks_are_checked_one_by_one() {
    let good = format!("name = \"a\"\nurl = \"https://a.example.com/x\"\nsecrets = [\"{SECRET}\"]");
    let config = Written::new(&format!("[[webhooks]]\n{good}")).config();
    assert!(!config.webhooks[0].allow_private_network);
    let other = good.replace("\"a\"", "\"b\"");
    for (text, expected) in [
        (
            good.clone(),
            "webhooks[1].name: is the name of another webhook; each needs its own",
        ),
        (
            other.replace("https", "http"),
            "webhooks[1].url: must be a URL that begins with https://",
        ),
        (
            other.replace("a.ex", "u:hunter2@a.ex"),
            "webhooks[1].url: must not hold a user name or password",
        ),
        (
            other.replace("whsec_", "hunter2_"),
            "webhooks[1].secrets[0]: must begin with whsec_, followed by 24 to 64 bytes in base64",
        ),
        (
            other.replace("AAAA\"", "\""),
            "webhooks[1].secrets[0]: must hold 24 to 64 bytes in base64 after whsec_",
        ),
        (
            other.replace("AAAA\"", "AA!!\""),
            "webhooks[1].secrets[0]: must be base64 after whsec_",
        ),
    ] {
        let written = Written::new(&format!("[[webhooks]]\n{good}\n[[webhooks]]\n{text}"));
        assert_eq!(written.faults(), [expected]);
    }
}

#[test]
fn all_faults_are_told_at_once_and_none_holds_a_value() {
    let written = token(
        "dust = \"hunter2\"\n[[chains.anvil.tokens]]\nsymbol = 5\n[chains.b]\nid = \"hunter2\"\n\
         [server]\nlisten = \"hunter2\"\nrequest_timeout = \"hunter2\"\n[log]\nfilter = 5\n[hunter3]\n[store]\nurl = \"hunter2\"",
    );
    let errors = written.load().unwrap_err();
    let paths: BTreeSet<&str> = errors.0.iter().map(|fault| fault.path.as_str()).collect();
    let expected = [
        "chains.anvil.tokens[0].dust",
        "chains.anvil.tokens[1].symbol",
        "chains.anvil.treasury",
        "chains.b.endpoints",
        "chains.b.id",
        "hunter3",
        "log.filter",
        "server.listen",
        "server.request_timeout",
        "store.url",
    ];
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), expected);
    let text = format!("{errors} {errors:?}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_chain_file_holds_chains_only() {
    let written =
        Written::new("chain_files = [\"a.toml\"]").file("a.toml", "[server]\nlisten = \"0.0.0.0:1\"");
    assert_eq!(
        written.faults(),
        ["a.toml: a chain file may hold [chains.<name>] and nothing else"]
    );
}

#[test]
fn two_operators_confirm_each_other_unless_told_otherwise() {
    let endpoint = |name: &str, operator: &str| {
        format!(
            "[[chains.anvil.endpoints]]\nname = \"{name}\"\noperator = \"{operator}\"\nhttp = \"http://{name}\"\n"
        )
    };
    let chain = |keys: &str, operators: [&str; 2]| {
        let endpoints = endpoint("a", operators[0]) + &endpoint("b", operators[1]);
        let config = anvil(&format!("[chains.anvil]\n{keys}\n{endpoints}")).config();
        (config.chains[0].agree, config.chains[0].level)
    };
    assert_eq!(chain("", ["x", "y"]), (2, None));
    assert_eq!(chain("", ["x", "x"]), (1, None));
    assert_eq!(
        chain("agree = 1\nlevel = \"asked\"", ["x", "y"]),
        (1, Some(Level::Asked))
    );
}
