//! The shipped chains, against a table that was copied from the issuers' own and not from the files.

use super::super::layers::SHIPPED;
use super::*;
use crate::domain::{Tag, Tier};

/// Chain, id, symbol, address and decimals of every token; those that are accepted unless told otherwise come first.
const TOKENS: [(&str, u64, &str, &str, u8); 22] = [
    (
        "ethereum",
        1,
        "USDC",
        "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
        6,
    ),
    (
        "polygon",
        137,
        "USDC",
        "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
        6,
    ),
    (
        "arbitrum",
        42161,
        "USDC",
        "0xaf88d065e77c8cC2239327C5EDb3A432268e5831",
        6,
    ),
    (
        "optimism",
        10,
        "USDC",
        "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85",
        6,
    ),
    (
        "base",
        8453,
        "USDC",
        "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
        6,
    ),
    (
        "bsc",
        56,
        "USDC",
        "0x8AC76a51cc950d9822D68b83fE1Ad97B32Cd580d",
        18,
    ),
    (
        "sepolia",
        11_155_111,
        "USDC",
        "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238",
        6,
    ),
    (
        "base-sepolia",
        84532,
        "USDC",
        "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        6,
    ),
    (
        "amoy",
        80002,
        "USDC",
        "0x41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582",
        6,
    ),
    (
        "arbitrum-sepolia",
        421_614,
        "USDC",
        "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d",
        6,
    ),
    (
        "optimism-sepolia",
        11_155_420,
        "USDC",
        "0x5fd84259d66Cd46123540766Be93DFE6D43130D7",
        6,
    ),
    (
        "polygon",
        137,
        "USDC.e",
        "0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174",
        6,
    ),
    (
        "arbitrum",
        42161,
        "USDC.e",
        "0xFF970A61A04b1cA14834A43f5dE4533eBDDB5CC8",
        6,
    ),
    (
        "optimism",
        10,
        "USDC.e",
        "0x7F5c764cBc14f9669B88837ca1490cCa17c31607",
        6,
    ),
    (
        "base",
        8453,
        "USDbC",
        "0xd9aAEc86B65D86f6A7B5B1b0c42FFA531710b6CA",
        6,
    ),
    (
        "ethereum",
        1,
        "USDT",
        "0xdAC17F958D2ee523a2206206994597C13D831ec7",
        6,
    ),
    (
        "polygon",
        137,
        "USDT",
        "0xc2132D05D31c914a87C6611C10748AEb04B58e8F",
        6,
    ),
    (
        "arbitrum",
        42161,
        "USDT",
        "0xFd086bC7CD5C481DCC9C85ebE478A1C0b69FCbb9",
        6,
    ),
    (
        "optimism",
        10,
        "USDT",
        "0x01bFF41798a0BcF287b996046Ca68b395DbC1071",
        6,
    ),
    (
        "optimism",
        10,
        "USDT.legacy",
        "0x94b008aA00579c1307B0EF2c499aD98a8ce58e58",
        6,
    ),
    (
        "base",
        8453,
        "USDT",
        "0xfde4C96c8593536E31F229EA8f37b2ADa2699bb2",
        6,
    ),
    (
        "bsc",
        56,
        "USDT",
        "0x55d398326f99059fF775485246999027B3197955",
        18,
    ),
];

/// All that are shipped at once, but anvil.
fn all(rest: &str) -> Written {
    let names: Vec<&str> = SHIPPED
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| *name != "anvil")
        .collect();
    Written::new(&format!("chain_files = {names:?}\n{rest}")).env("TREASURY_WALLET_ADDRESS", TREASURY)
}

fn with_keys(rest: &str) -> Written {
    all(rest)
        .env("INFURA_API_KEY", "key-of-infura")
        .env("ALCHEMY_API_KEY", "key-of-alchemy")
}

/// What a configuration accepts, as the table says it.
fn tokens(config: &Config) -> BTreeSet<(String, u64, String, String, u8)> {
    let of = |chain: &Chain| {
        let (name, id) = (chain.name.clone(), chain.id.0);
        let tokens = chain.tokens.clone().into_iter();
        tokens.map(move |token| {
            assert_eq!(token.chain.0, id);
            (
                name.clone(),
                id,
                token.symbol,
                token.address.to_checksum(None),
                token.decimals,
            )
        })
    };
    config.chains.iter().flat_map(of).collect()
}

fn table(wanted: impl Fn(&str) -> bool) -> BTreeSet<(String, u64, String, String, u8)> {
    let rows = TOKENS.iter().filter(|(_, _, symbol, ..)| wanted(symbol));
    rows.map(|(chain, id, symbol, address, decimals)| {
        (
            (*chain).to_owned(),
            *id,
            (*symbol).to_owned(),
            (*address).to_owned(),
            *decimals,
        )
    })
    .collect()
}

#[test]
fn every_shipped_chain_accepts_its_usdc_and_nothing_else() {
    let config = with_keys("").config();
    assert_eq!(tokens(&config), table(|symbol| symbol == "USDC"));
    let ids: BTreeSet<u64> = config.chains.iter().map(|chain| chain.id.0).collect();
    let names: BTreeSet<&str> = config.chains.iter().map(|chain| chain.name.as_str()).collect();
    assert_eq!((ids.len(), names.len(), SHIPPED.len()), (12, 12, 13));
    assert!(ids.contains(&97), "BSC's testnet has no issuer's token");
    assert!(config.chains.iter().all(|chain| !chain.development));
}

#[test]
fn every_shipped_token_is_as_its_issuer_says() {
    let every = |chain: &str| -> String {
        let symbols = TOKENS.iter().filter(|(name, ..)| *name == chain);
        let symbols: Vec<&str> = symbols.map(|(_, _, symbol, ..)| *symbol).collect();
        format!("[chains.{chain}]\naccept = {symbols:?}\n")
    };
    let chains: BTreeSet<&str> = TOKENS.iter().map(|(chain, ..)| *chain).collect();
    let accepting: String = chains.into_iter().map(every).collect();
    assert_eq!(tokens(&with_keys(&accepting).config()), table(|_| true));
}

#[test]
fn endpoints_are_those_whose_keys_are_set() {
    let names = |written: Written| -> BTreeSet<Vec<String>> {
        let names = |chain: Chain| {
            chain
                .endpoints
                .into_iter()
                .map(|endpoint| endpoint.name)
                .collect()
        };
        written.config().chains.into_iter().map(names).collect()
    };
    let one = |name: &str| BTreeSet::from([vec![name.to_owned()]]);
    assert_eq!(names(all("").env("INFURA_API_KEY", "k")), one("infura"));
    assert_eq!(
        names(all("").env("ALCHEMY_API_KEY", "k").env("INFURA_API_KEY", "")),
        one("alchemy")
    );
    assert_eq!(
        names(with_keys("")),
        BTreeSet::from([vec!["infura".to_owned(), "alchemy".to_owned()]])
    );
    for chain in with_keys("").config().chains {
        assert_eq!(chain.agree, 2);
        let [infura, alchemy] = chain.endpoints.as_slice() else {
            panic!("{chain:?}");
        };
        for (endpoint, host, key) in [
            (infura, ".infura.io/", "key-of-infura"),
            (alchemy, ".g.alchemy.com/v2/", "key-of-alchemy"),
        ] {
            let urls =
                [&endpoint.ws, &endpoint.http].map(|url| url.as_ref().unwrap().expose_secret().to_owned());
            assert!(
                urls.iter().all(|url| url.contains(host) && url.ends_with(key)),
                "{}",
                chain.name
            );
        }
    }
    let faults = all("").faults();
    assert_eq!(faults.len(), 12);
    assert!(
        faults[0].ends_with("; or set INFURA_API_KEY or ALCHEMY_API_KEY, for which there is one"),
        "{faults:?}"
    );
}

#[test]
fn blocks_count_as_payments_of_their_size_need() {
    let shown = |chain: &Chain| -> Vec<String> {
        let tier = |tier: &Tier| {
            let bound = tier
                .up_to
                .as_deref()
                .map_or("above".to_owned(), |bound| format!("up to {bound}"));
            let tag = tier.tag.map_or("", Tag::as_str);
            format!(
                "{bound}: {tag} {} {:?}",
                tier.confirmations, tier.or_confirmations
            )
        };
        chain.finality.tiers().iter().map(tier).collect()
    };
    let rollup = &["up to 100: safe 1 None", "above: finalized 1 None"][..];
    let base = &["up to 10:  10 None", rollup[0], rollup[1]][..];
    let ethereum = &["up to 100:  12 None", "above: finalized 1 None"][..];
    let polygon = &["up to 100: finalized 1 Some(50)", "above: finalized 128 None"][..];
    let bsc = &["up to 100: finalized 1 Some(15)", "above: finalized 15 None"][..];
    for chain in with_keys("").config().chains {
        let expected = match chain.name.as_str() {
            "ethereum" | "sepolia" => ethereum,
            "polygon" | "amoy" => polygon,
            "arbitrum" | "optimism" | "arbitrum-sepolia" | "optimism-sepolia" => rollup,
            "base" | "base-sepolia" => base,
            "bsc" | "bsc-testnet" => bsc,
            other => panic!("{other}"),
        };
        assert_eq!(shown(&chain), expected, "{}", chain.name);
    }
}

#[test]
fn a_chain_that_sells_nothing_needs_no_treasury() {
    let written = |rest: &str| {
        Written::new(&format!("chain_files = [\"ethereum\"]\n{rest}")).env("INFURA_API_KEY", "k")
    };
    let faults = written("").faults();
    assert!(
        faults[0].starts_with("chains.ethereum.treasury: is required"),
        "{faults:?}"
    );
    let config = written("[chains.ethereum]\naccept = []").config();
    assert!(config.chains[0].tokens.is_empty() && config.chains[0].treasury.is_none());
}

#[test]
fn a_list_of_ones_own_replaces_the_shipped_tokens() {
    let own =
        format!("[[chains.bsc-testnet.tokens]]\naddress = \"{USDC}\"\nsymbol = \"MINE\"\ndecimals = 18");
    let config = with_keys(&own).config();
    let chain = config
        .chains
        .iter()
        .find(|chain| chain.name == "bsc-testnet")
        .unwrap();
    assert_eq!(chain.tokens[0].symbol, "MINE");
    let own = own.replace("bsc-testnet", "ethereum");
    assert_eq!(
        with_keys(&own).faults(),
        ["chains.ethereum.accept[0]: is the symbol of no token of this chain; there are: MINE"]
    );
}
