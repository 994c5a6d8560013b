//! What must be refused, and in which words.

use super::*;

/// Variables, and the one fault that they make.
const WRONG_ENVIRONMENTS: &[(&[(&str, &str)], &str)] = &[
    (
        &[("TOLLGATE__SRVER__LISTEN", "x")],
        "srver: is not a known section (set by TOLLGATE__SRVER__LISTEN)",
    ),
    (
        &[("TOLLGATE__LOG__LEVEL", "info")],
        "log.level: is not a known key; known here: format, filter (set by TOLLGATE__LOG__LEVEL)",
    ),
    (
        &[("TOLLGATE__SERVER__LISTEN", "8080")],
        "server.listen: must be a string (set by TOLLGATE__SERVER__LISTEN)",
    ),
    (
        &[("TOLLGATE__SERVER__LISTEN__X", "8080")],
        "TOLLGATE__SERVER__LISTEN__X: overrides a key inside something that is not a table or a list with that place",
    ),
    (
        &[("TOLLGATE__SERVER__", "1")],
        "TOLLGATE__SERVER__: must name a key as TOLLGATE__SECTION__KEY",
    ),
    (
        &[("ENABLE_CRYPTO_PAYMENTS", "maybe")],
        "ENABLE_CRYPTO_PAYMENTS: must be true or false",
    ),
    (
        &[
            ("ENABLE_CRYPTO_PAYMENTS", "yes"),
            ("TOLLGATE__PAYMENTS__ENABLED", "false"),
        ],
        "ENABLE_CRYPTO_PAYMENTS: sets payments.enabled, which TOLLGATE__PAYMENTS__ENABLED sets too; remove one",
    ),
    (
        &[
            ("STRIPE_WEBHOOK_SECRET", "whsec_a"),
            ("STRIPE_WEBHOOK_SECRET_FILE", "a"),
        ],
        "STRIPE_WEBHOOK_SECRET_FILE: sets stripe.webhook_secrets_file, which STRIPE_WEBHOOK_SECRET sets too; \
             remove one",
    ),
    (
        &[("STRIPE_WEBHOOK_SECRET", "sk_live_x")],
        "stripe.webhook_secrets[0]: must be the endpoint's signing secret, which begins with whsec_ (set by \
             STRIPE_WEBHOOK_SECRET)",
    ),
    (
        &[
            ("TREASURY_WALLET_ADDRESS", TREASURY),
            ("NEXT_PUBLIC_PAYMENT_WALLET_ADDRESS", USDC),
        ],
        "NEXT_PUBLIC_PAYMENT_WALLET_ADDRESS: names another treasury than TREASURY_WALLET_ADDRESS; remove one or \
             make them the same",
    ),
    (
        &[("TREASURY_WALLET_ADDRESS", "0x12")],
        "TREASURY_WALLET_ADDRESS: must begin with 0x and have 40 hexadecimal digits",
    ),
    (
        &[
            ("STRIPE_PRICE_PRO_YEAR", "price_1"),
            ("STRIPE_PRO_YEARLY_PRICE_ID", "price_2"),
        ],
        "STRIPE_PRO_YEARLY_PRICE_ID: another variable names another price for pro by year; remove one",
    ),
    (
        &[("STRIPE_PRICE_PRO_YEAR", "price 1")],
        "STRIPE_PRICE_PRO_YEAR: must be a Stripe price id such as price_123",
    ),
    (
        &[("TOLLGATE__CHAIN_FILES", "anvil")],
        "chain_files: must be a list of shipped names and of files",
    ),
    (
        &[("TOLLGATE__CHAIN_FILES", "[\"anvill\"]")],
        "chain_files: anvill is neither shipped (anvil, ethereum, polygon, arbitrum, optimism, base, bsc, sepolia, amoy, \
             arbitrum-sepolia, optimism-sepolia, base-sepolia, bsc-testnet) nor a file such as \"chains/anvill.toml\"",
    ),
];

#[test]
fn a_wrong_environment_is_refused_by_its_variable() {
    for (env, expected) in WRONG_ENVIRONMENTS {
        let mut written = Written::new("");
        for (name, value) in *env {
            written = written.env(name, value);
        }
        assert_eq!(written.faults(), [*expected]);
    }
}

/// Each row: what is added to a file, and the one fault that it has.
const WRONG: &[(&str, &str)] = &[
    (
        "[server]\nlisten = \"localhost\"",
        "server.listen: must be an IP address and a port, such as \"127.0.0.1:8080\"",
    ),
    (
        "[server]\nmetrics_listen = \"127.0.0.1:8080\"",
        "server.metrics_listen: must not be the same as server.listen",
    ),
    (
        "[server]\nmax_body_bytes = -1",
        "server.max_body_bytes: must be between 1024 and 16777216",
    ),
    (
        "[server]\nmax_body_bytes = \"64k\"",
        "server.max_body_bytes: must be an integer",
    ),
    (
        "[server]\nrequest_timeout = 10",
        "server.request_timeout: must be a string",
    ),
    (
        "[server]\nrequest_timeout = \"10\"",
        "server.request_timeout: must be a whole number and ms, s, m, h or d, such as \"30m\"",
    ),
    (
        "[server]\nrequest_timeout = \"1h\"",
        "server.request_timeout: must be between 100ms and 5m",
    ),
    (
        "[server]\nrequests_per_second = 0",
        "server.requests_per_second: must be between 1 and 1000000",
    ),
    (
        "[server]\nmax_event_streams = 0",
        "server.max_event_streams: must be between 1 and 100000",
    ),
    (
        "[server]\npublic_url = \"pay.example.com\"",
        "server.public_url: must be a URL that begins with https:// or http://",
    ),
    (
        "[server]\npublic_url = \"https://root:hunter2@pay.example.com/\"",
        "server.public_url: must be a URL without user, query or fragment",
    ),
    (
        "[store]\nurl = \"mysql://root:hunter2@db\"",
        "store.url: must begin with sqlite:// and name a file, or be a postgres:// URL with a host",
    ),
    (
        "[store]\nurl = \"x\"\nurl_file = \"y\"",
        "store.url: store.url_file is set too; remove one",
    ),
    (
        "[store]\nurl_file = \"nowhere\"",
        "store.url_file: the file cannot be read: entity not found",
    ),
    (
        "[store]\nmax_connections = 501",
        "store.max_connections: must be between 1 and 500",
    ),
    (
        "[log]\nformat = \"xml\"",
        "log.format: must be \"text\" or \"json\"",
    ),
    (
        "[log]\nfilter = \"tollgate=loudest\"",
        "log.filter: must be a tracing filter such as \"info,tollgate=debug\"",
    ),
    (
        "[catalogue]\nfile = \"x\"",
        "catalogue.file: is not a known key; known here: path",
    ),
    (
        "[payments]\ncharge_ttl = \"30s\"",
        "payments.charge_ttl: must be between 1m and 30d",
    ),
    (
        "[payments]\ncharge_grace = \"91d\"",
        "payments.charge_grace: must be between 1m and 90d",
    ),
    (
        "[payments]\nreversal_grace = \"31d\"",
        "payments.reversal_grace: must be between 0d and 30d",
    ),
    (
        "[payments]\ntolerance_basis_points = 300\ntolerance_max_basis_points = 200",
        "payments.tolerance_basis_points: must not be above payments.tolerance_max_basis_points",
    ),
    (
        "[payments]\ntolerance_max_basis_points = 501",
        "payments.tolerance_max_basis_points: must be between 0 and 500",
    ),
    (
        "[payments]\ntolerance_units = 0.05",
        "payments.tolerance_units: must be a decimal number in quotes such as \"0.05\"",
    ),
    (
        "[payments]\ntolerance_units = \"-1\"",
        "payments.tolerance_units: must be a non-negative decimal number such as \"15\" or \"0.5\"",
    ),
    (
        "[payments]\nenabled = \"yes\"",
        "payments.enabled: must be a boolean",
    ),
    (
        "[wallets]\ndomain = \"https://chat.example.com\"",
        "wallets.domain: must be a host such as \"chat.example.com\", without scheme, path or user",
    ),
    (
        "[wallets]\nuri = \"chat.example.com\"",
        "wallets.uri: must be a URL that begins with https:// or http://",
    ),
    (
        "[wallets]\nnonce_ttl = \"2h\"",
        "wallets.nonce_ttl: must be between 1m and 1h",
    ),
    (
        "[stripe]\ntolerance = \"0s\"",
        "stripe.tolerance: must be between 1s and 15m",
    ),
    (
        "[stripe]\nwebhook_secrets = \"whsec_hunter2\"",
        "stripe.webhook_secrets: must be a list",
    ),
    (
        "[stripe]\nwebhook_secrets = [\"whsec_ok\", \"whsec_\"]",
        "stripe.webhook_secrets[1]: must be the endpoint's signing secret, which begins with whsec_",
    ),
    ("stripe = 5", "stripe: must be a table"),
    ("webhooks = 5", "webhooks: must be a list"),
    (
        "[[webhooks]]\nurl = \"https://a\"\nsecrets = []",
        "webhooks[0].name: is required",
    ),
    (
        "[[webhooks]]\nname = \"a\"\nurl = \"https://a\"",
        "webhooks[0].secrets: must hold at least one secret",
    ),
    ("[srver]\na = 1", "srver: is not a known section"),
    (
        "chain_files = [\"missing.toml\"]",
        "DIR/missing.toml: the file cannot be read: entity not found",
    ),
    (
        "a = \"hunter2",
        "DIR/tollgate.toml: line 2: invalid basic string, expected `\"`",
    ),
    (
        "[chains.Main]\nid = 1",
        "chains.Main.endpoints: must hold at least one endpoint, as [[…endpoints]] with name, operator and http or ws\nchains.Main.block_time: is required",
    ),
];

#[test]
fn each_wrong_file_is_refused_with_its_key_and_remedy() {
    for (text, expected) in WRONG {
        let written = Written::new(&format!("\n{text}"));
        let directory = written.directory.path().display().to_string();
        let mut faults = written.faults();
        faults.sort_unstable();
        let mut expected: Vec<String> = expected
            .lines()
            .map(|line| line.replace("DIR", &directory))
            .collect();
        expected.sort_unstable();
        assert_eq!(faults, expected, "{text}");
    }
}

/// As `WRONG`, below `[chains.anvil]` with a treasury and one sound token.
const WRONG_CHAINS: &[(&str, &str)] = &[
    ("id = 0", "chains.anvil.id: must be at least 1"),
    ("id = \"1\"", "chains.anvil.id: must be an integer"),
    (
        "confirmations = 3\n[[chains.anvil.finality]]\nname = \"low\"",
        "chains.anvil.confirmations: says the same as finality: remove one of the two",
    ),
    ("finality = []", "chains.anvil.finality: must hold 1 to 4 tiers"),
    (
        "finality = [{name = \"a\", up_to = 10}, {name = \"b\", up_to = 20}]",
        "chains.anvil.finality[1].up_to: must not stand in the last tier, to which all larger amounts belong",
    ),
    (
        "finality = [{name = \"a\"}, {name = \"b\"}]",
        "chains.anvil.finality[0].up_to: is required in every tier but the last",
    ),
    (
        "finality = [{name = \"a\", up_to = 10}, {name = \"b\", up_to = \"9.5\"}, {name = \"c\"}]",
        "chains.anvil.finality[1].up_to: must be above that of the tier before it",
    ),
    (
        "finality = [{name = \"a\", up_to = 10}, {name = \"a\"}]",
        "chains.anvil.finality[1].name: is the name of another tier of this chain",
    ),
    (
        "finality = [{name = \"a\", up_to = \"0.0000001\"}, {name = \"b\"}]",
        "chains.anvil.finality[0].up_to: has more than the 6 decimals that the token carries, which USDC cannot have",
    ),
    (
        "finality = [{name = \"a\", tag = \"latest\"}]",
        "chains.anvil.finality[0].tag: must be \"safe\" or \"finalized\"",
    ),
    (
        "finality = [{name = \"a\", or_confirmations = 9}]",
        "chains.anvil.finality[0].or_confirmations: stands in for a tag, and there is none",
    ),
    (
        "finality = [{name = \"a\", min_age = \"25h\"}]",
        "chains.anvil.finality[0].min_age: must be between 0d and 1d",
    ),
    (
        "max_tag_age = \"0s\"",
        "chains.anvil.max_tag_age: must be between 1s and 1d",
    ),
    (
        "confirmations = 0",
        "chains.anvil.confirmations: must be between 1 and 10000",
    ),
    (
        "block_time = \"1ms\"",
        "chains.anvil.block_time: must be between 50ms and 10m",
    ),
    (
        "poll_interval = \"11m\"",
        "chains.anvil.poll_interval: must be between 50ms and 10m",
    ),
    ("start_block = -1", "chains.anvil.start_block: must be at least 0"),
    (
        "agree = 2",
        "chains.anvil.agree: must be at most 1: so many operators have endpoints here",
    ),
    ("agree = 0", "chains.anvil.agree: must be at least 1"),
    (
        "level = \"full\"",
        "chains.anvil.level: must be auto, receipts, asked or none",
    ),
    (
        "max_log_range = 0",
        "chains.anvil.max_log_range: must be between 1 and 100000",
    ),
    (
        "treasury = \"0x52908400098527886e0F7030069857D2E4169EE7\"",
        "chains.anvil.treasury: its checksum (EIP-55) is wrong: copy the address again from its source",
    ),
    (
        "treasury = \"0x0000000000000000000000000000000000000000\"",
        "chains.anvil.treasury: must not be the zero address",
    ),
    (
        "treasury = \"0x5fbdb2315678afecb367f032d93f642f64180aa3\"",
        "chains.anvil.treasury: must not be the address of a token's contract",
    ),
    ("tokens = 5", "chains.anvil.tokens: must be a list"),
    (
        "accept = [\"USDC\", \"USDT\", \"USDC\"]",
        "chains.anvil.accept[1]: is the symbol of no token of this chain; there are: USDC\nchains.anvil.accept[2]: is named twice",
    ),
    (
        "endpoints = []",
        "chains.anvil.endpoints: must hold at least one endpoint, as [[…endpoints]] with name, operator and http or ws",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"A\"\nsymbol = \"T\"\ndecimals = 1",
        "chains.anvil.tokens[1].address: must begin with 0x and have 40 hexadecimal digits\nchains.anvil.tokens[1].dust: has more than the 1 decimals that the token carries",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"USDC\"\nsymbol = \"USDC\"\ndecimals = 6",
        "chains.anvil.tokens[1].symbol: is the symbol of another token of this chain; call a bridged one USDC.e, for instance",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"0x5fbdb2315678afecb367f032d93f642f64180aa3\"\nsymbol = \"B\"\ndecimals = 6",
        "chains.anvil.tokens[1].address: is the address of another token of this chain",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"USDC\"\nsymbol = \"B\"\ndecimals = 37",
        "chains.anvil.tokens[1].decimals: must be between 0 and 36",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"USDC\"\nsymbol = \"\"\ndecimals = 6",
        "chains.anvil.tokens[1].symbol: must be 1 to 16 visible ASCII characters",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"USDC\"\nsymbol = \"B\"\ndecimals = 6\ndust = 0",
        "chains.anvil.tokens[1].dust: must be above 0: a transfer of nothing proves nothing",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"USDC\"\nsymbol = \"B\"\ndecimals = 6\ndust = 0.5",
        "chains.anvil.tokens[1].dust: must be a decimal number in quotes such as \"0.05\"",
    ),
    (
        "[[chains.anvil.tokens]]\naddress = \"USDC\"\nsymbol = \"B\"\ndecimals = 1\ndust = \"1\"",
        "payments.tolerance_units: has more than the 1 decimals of B on anvil; use fewer",
    ),
    (
        "[[chains.anvil.tokens]]\nsymbol = \"B\"\ndecimals = 6",
        "chains.anvil.tokens[1].address: is required",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"",
        "chains.anvil.endpoints[0].http: is required where there is no ws; give one of the two, or both",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a b\"\noperator = \"o\"\nws = \"ws://x\"",
        "chains.anvil.endpoints[0].name: must be 1 to 32 of a-z, 0-9, - and _",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nws = \"https://x/hunter2\"",
        "chains.anvil.endpoints[0].ws: must be a URL that begins with wss:// or ws://",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"hunter2\"",
        "chains.anvil.endpoints[0].http: must be a URL that begins with https:// or http://",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"https://hunter2/${INFURA_API_KEY}\"",
        "chains.anvil.endpoints[0].http: needs the environment variable INFURA_API_KEY, which is not set",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"https://hunter2/${KEY\"",
        "chains.anvil.endpoints[0].http: holds ${ without a closing }",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"https://x\"\nmax_in_flight = 0\nrequests_per_second = 0\nrequest_timeout = \"1ms\"",
        "chains.anvil.endpoints[0].max_in_flight: must be between 1 and 1024\nchains.anvil.endpoints[0].requests_per_second: must be between 1 and 10000\nchains.anvil.endpoints[0].request_timeout: must be between 100ms and 2m",
    ),
    (
        "[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"https://x\"\n[[chains.anvil.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"https://x\"",
        "chains.anvil.endpoints[1].name: is the name of another endpoint of this chain",
    ),
    (
        "[chains.other]\nid = 31337\nblock_time = \"1s\"\nconfirmations = 1\n[[chains.other.endpoints]]\nname = \"a\"\noperator = \"o\"\nhttp = \"https://x\"",
        "chains.other.id: is the id of chains.anvil too; each chain has its own",
    ),
];

#[test]
fn each_wrong_chain_is_refused_with_its_key_and_remedy() {
    for (text, expected) in WRONG_CHAINS {
        let own_treasury = text.contains("treasury =");
        let own_tokens = text.starts_with("tokens =");
        let treasury = if own_treasury {
            String::new()
        } else {
            format!("treasury = \"{TREASURY}\"")
        };
        let sound = "[[chains.anvil.tokens]]\naddress = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nsymbol = \"USDC\"\ndecimals = 6";
        let sound = if own_tokens { "" } else { sound };
        let text = text.replace("\"USDC\"\nsymbol", &format!("\"{USDC}\"\nsymbol"));
        let (keys, tables) = if text.starts_with('[') {
            ("", text.as_str())
        } else {
            (text.as_str(), "")
        };
        let mut faults = anvil(&format!("[chains.anvil]\n{treasury}\n{keys}\n{sound}\n{tables}")).faults();
        faults.sort_unstable();
        let mut expected: Vec<&str> = expected.lines().collect();
        expected.sort_unstable();
        assert_eq!(faults, expected, "{text}");
    }
}
