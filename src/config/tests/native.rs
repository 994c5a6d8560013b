//! `[chains.<name>.native]`: what is read, and what is refused in which words.

use super::*;
use crate::domain::{Amount, Level};

const TREASURY: &str = "treasury = \"0x52908400098527886E0F7030069857D2E4169EE7\"";

/// A chain with this id and these keys of its own, whose native coin is configured so.
fn written(id: u64, keys: &str, native: &str) -> Written {
    Written::new(&format!(
        "[chains.one]\nid = {id}\nblock_time = \"1s\"\nconfirmations = 1\n{keys}\n[chains.one.native]\n{native}\n\
         [[chains.one.endpoints]]\nname = \"a\"\noperator = \"a\"\nhttp = \"http://a\""
    ))
}

#[test]
fn it_is_a_token_among_the_others_where_it_is_taken() {
    let config = written(1, TREASURY, "accept = true").config();
    let [coin] = config.chains[0].tokens.as_slice() else {
        panic!("{:?}", config.chains[0].tokens)
    };
    assert!(coin.is_native());
    assert_eq!(
        (coin.symbol.as_str(), coin.unit.as_str(), coin.decimals),
        ("ETH", "ETH", 18)
    );
    assert_eq!(coin.dust, Amount::from(100_000_000_000_000));
    assert_eq!(config.chains[0].contracts().count(), 0);
    let named = "accept = true\nsymbol = \"BNB\"\nunit = \"USD\"\ndust = \"1\"";
    let config = written(56, TREASURY, named).config();
    let coin = &config.chains[0].tokens[0];
    assert_eq!((coin.symbol.as_str(), coin.unit.as_str()), ("BNB", "USD"));
    for off in ["", "accept = false", "accept = false\nsymbol = \"ETH\""] {
        assert!(written(1, TREASURY, off).config().chains[0].tokens.is_empty());
    }
}

#[test]
fn its_tolerance_is_a_share_and_never_units() {
    let config = written(1, TREASURY, "accept = true").config();
    let (coin, due) = (
        &config.chains[0].tokens[0],
        Amount::from_units("0.5", 18).unwrap(),
    );
    let share = Amount::from_units("0.005", 18).unwrap();
    assert_eq!(config.payments.tolerance(due, coin), share);
}

#[test]
fn what_is_wrong_with_it_is_named() {
    let token = "\n[[chains.one.tokens]]\naddress = \"0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48\"\nsymbol = \"ETH\"\n\
                 decimals = 6";
    for (native, expected) in [
        (
            "accept = true\ndecimals = 18",
            "chains.one.native.decimals: unknown field `decimals`, expected one of `accept`, `symbol`, `unit`, `dust`",
        ),
        (
            "accept = true\ndust = \"0\"",
            "chains.one.native.dust: must be above 0: a transfer of nothing proves nothing",
        ),
    ] {
        let faults = written(1, TREASURY, native).faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let (field, _) = expected.split_once(": ").unwrap();
        assert!(
            faults[0].starts_with(field.trim_end_matches(".decimals")),
            "{faults:?} {expected}"
        );
    }
    let same = written(1, TREASURY, &format!("accept = true{token}")).faults();
    assert_eq!(
        same,
        ["chains.one.native.symbol: is the symbol of a token of this chain; give the coin another"]
    );
    let nowhere = written(1, "", "accept = true").faults();
    assert!(
        nowhere[0].starts_with("chains.one.treasury: is required"),
        "{nowhere:?}"
    );
    let contract = "\n[[chains.one.tokens]]\naddress = \"0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE\"\nsymbol = \"WETH\"\n\
                    decimals = 18";
    let stands_for = written(1, TREASURY, &format!("accept = false{contract}")).faults();
    assert!(
        stands_for[0].starts_with("chains.one.tokens[0].address: stands for the native coin"),
        "{stands_for:?}"
    );
}

#[test]
fn where_transactions_cannot_be_recomputed_it_is_not_taken_for_proven() {
    for id in [137, 80_002, 42_161, 42_170, 421_614] {
        let faults = written(id, TREASURY, "accept = true").faults();
        assert!(
            faults[0].starts_with("chains.one.native.accept: must be false here, or level"),
            "{faults:?}"
        );
        assert!(written(id, TREASURY, "accept = false").load().is_ok());
        let asked = written(id, &format!("{TREASURY}\nlevel = \"asked\""), "accept = true").config();
        assert_eq!(asked.chains[0].level, Some(Level::Asked));
    }
}
