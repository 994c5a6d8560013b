//! The table of providers' error texts, and what an error may say.

use std::time::Duration;

use crate::chain::error::Failure;
use crate::chain::{ChainError, ErrorClass, MAX_MESSAGE_CHARS, classify, scrub};

fn wide(limit: Option<u64>) -> ErrorClass {
    ErrorClass::RangeTooWide { limit }
}

fn dense(suggested: Option<(u64, u64)>) -> ErrorClass {
    ErrorClass::TooDense { suggested }
}

const RATE: ErrorClass = ErrorClass::RateLimited { retry_after: None };

#[test]
fn ranges_that_are_too_wide_are_known_with_their_limit() {
    for (code, message, limit) in [
        (
            -32602,
            "eth_getLogs is limited to a 1000 blocks range",
            Some(1000),
        ),
        (
            -32600,
            "eth_getLogs and eth_newFilter are limited to a 10,000 blocks range",
            Some(10_000),
        ),
        (-32000, "block range is too wide", None),
        (-32000, "maximum block range: 2000", Some(2000)),
        (-32000, "exceed max block range: 5000", Some(5000)),
        (-32000, "exceed maximum block range: 50000", Some(50_000)),
        (
            -32000,
            "Block range is too large, max is 10k blocks",
            Some(10_000),
        ),
        (-32000, "block range is too large", None),
        (
            -32000,
            "requested too many blocks from 0 to 16777216, maximum is set to 2048",
            Some(2048),
        ),
        (-32000, "requested too many blocks", None),
        (
            -32600,
            "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. Based on your \
             parameters, this block range should work: [0x1, 0xa].",
            Some(10),
        ),
        (
            35,
            "ranges over 10000 blocks are not supported on freetier",
            Some(10_000),
        ),
        (-32005, "exceed maximum block range: 5000", Some(5000)),
        (-32614, "eth_getLogs is limited to a 10,000 range", Some(10_000)),
        (-32701, "exceed maximum block range: 50000", Some(50_000)),
        (
            -32047,
            "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800",
            Some(800),
        ),
        (-32602, "query exceeds max block range 100000", Some(100_000)),
        (
            -32602,
            "Block range limit exceeded. See more details at https://docs.chainstack.com/docs/limits#evm-range-limits",
            None,
        ),
        (-32005, "Requested range exceeds maximum RPC range limit", None),
    ] {
        assert_eq!(classify(Some(200), Some(code), message), wide(limit), "{message}");
    }
}

#[test]
fn ranges_that_hold_too_much_are_known_with_their_suggestion() {
    for (code, message, suggested) in [
        (-32005, "query returned more than 10000 results", None),
        (
            -32005,
            "query returned more than 10000 results. Try with this block range [0x6B1, 0x6C0].",
            Some((0x6b1, 0x6c0)),
        ),
        (
            -32602,
            "query exceeds max results 20000, retry with the range 18000000-18000500",
            Some((18_000_000, 18_000_500)),
        ),
        (
            -32602,
            "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on \
             the response size, or you can request any block range with a cap of 10K logs in the response. Based on \
             your parameters and the response size limit, this block range should work: [0x0, 0x133333]",
            Some((0, 0x0013_3333)),
        ),
        (
            -32000,
            "this block range should work: [0x10, 0x20]",
            Some((16, 32)),
        ),
        (-32008, "Response is too big", None),
        (-32000, "logs matched by query exceeds limit of 10000", None),
        (-32000, "this block range should work: [0x20, 0x10]", None),
        (
            -32602,
            "Query returned more than 10000 results. Try smaller range of blocks",
            None,
        ),
        (
            -32000,
            "Query timeout exceeded. Consider reducing your block range.",
            None,
        ),
        (-32002, "request timed out", None),
        (-32003, "response too large", None),
        (-32020, "backend response too large", None),
    ] {
        assert_eq!(
            classify(Some(200), Some(code), message),
            dense(suggested),
            "{message}"
        );
    }
}

#[test]
fn the_other_classes_are_known_by_text_before_code() {
    for (status, code, message, class) in [
        (Some(429), None, "", RATE),
        (Some(200), Some(-32005), "Too Many Requests", RATE),
        (Some(200), Some(-32005), "daily request limit reached", RATE),
        (
            Some(200),
            Some(-32000),
            "the service is under too much load",
            RATE,
        ),
        (Some(200), Some(429), "slow down", RATE),
        (
            Some(200),
            Some(-32005),
            "daily request count exceeded, request rate limited",
            RATE,
        ),
        (Some(200), Some(-32005), "project ID request rate exceeded", RATE),
        (
            Some(200),
            Some(-32007),
            "50/second request limit reached - reduce calls per second or upgrade your account at quicknode.com",
            RATE,
        ),
        (
            Some(200),
            Some(429),
            "Your app has exceeded its compute units per second capacity. If you have retries enabled, you can safely \
             ignore this message.",
            RATE,
        ),
        (Some(200), Some(-32016), "over rate limit", RATE),
        (
            Some(503),
            Some(-32011),
            "no backend is currently healthy to serve traffic",
            ErrorClass::Transport,
        ),
        (Some(402), None, "", ErrorClass::Billing),
        (
            Some(429),
            Some(429),
            "Monthly capacity limit exceeded. Visit the dashboard to upgrade your scaling policy.",
            ErrorClass::Billing,
        ),
        (
            Some(200),
            Some(-32001),
            "You've reached the free tier limit",
            ErrorClass::Billing,
        ),
    ] {
        assert_eq!(
            classify(status, code, message),
            class,
            "{status:?} {code:?} {message}"
        );
    }
}

#[test]
fn what_a_node_lacks_is_missing_and_never_empty() {
    for (code, message) in [
        (-32000, "header not found"),
        (-32000, "unknown block"),
        (-32000, "missing trie node 8b1a (path ) state is not available"),
        (
            -32602,
            "BlockOutOfRangeError: block height is 0 but requested was 5",
        ),
        (4444, "pruned history unavailable"),
        (-32000, "required historical state unavailable (reexec=128)"),
        (-32000, "World state unavailable"),
        (-32000, "Block not found"),
        (-32000, "requested from block 9 after last accepted block 5"),
        (-32000, "cannot query unfinalized data"),
        (-32019, "block is out of range"),
        (-32000, "invalid block range params"),
        (-32000, "Received invalid block tag 99. Latest block number is 5"),
    ] {
        assert_eq!(
            classify(Some(200), Some(code), message),
            ErrorClass::MissingData,
            "{message}"
        );
    }
}

#[test]
fn what_a_node_refuses_or_cannot_do_is_told_apart() {
    for (status, code, message, class) in [
        (
            Some(200),
            Some(-32015),
            "VM execution error.",
            ErrorClass::Reverted,
        ),
        (
            Some(200),
            Some(-32001),
            "rpc method is not whitelisted",
            ErrorClass::Unsupported,
        ),
        (Some(200), Some(-32600), "batch too large", ErrorClass::Refused),
        (
            Some(200),
            Some(3),
            "execution reverted: not the owner",
            ErrorClass::Reverted,
        ),
        (
            Some(200),
            Some(-32000),
            "out of gas: gas exhausted",
            ErrorClass::Reverted,
        ),
        (
            Some(200),
            Some(-32601),
            "Method not found",
            ErrorClass::Unsupported,
        ),
        (
            Some(200),
            Some(-32601),
            "the method eth_getBlockReceipts does not exist/is not available",
            ErrorClass::Unsupported,
        ),
        (Some(200), Some(-32602), "invalid argument 0", ErrorClass::Refused),
        (Some(502), None, "<html>Bad Gateway</html>", ErrorClass::Transport),
        (None, None, "connection reset by peer", ErrorClass::Transport),
        (Some(200), None, "<html>", ErrorClass::Transport),
    ] {
        assert_eq!(
            classify(status, code, message),
            class,
            "{status:?} {code:?} {message}"
        );
    }
}

#[test]
fn an_error_shows_no_url_and_is_short() {
    let message = format!(
        "cannot reach https://eth.example/v2/SECRET nor wss://eth.example/SECRET?k=SECRET, (eth.example/v3/SECRET): {}",
        "x".repeat(1000)
    );
    let failure = Failure::transport(&message);
    assert!(!failure.message.contains("SECRET"), "{}", failure.message);
    let shown = scrub(&failure.message, []);
    assert!(shown.chars().count() <= MAX_MESSAGE_CHARS);
    let error = ChainError::Request {
        endpoint: "primary".into(),
        method: "eth_getLogs",
        class: ErrorClass::RateLimited {
            retry_after: Some(Duration::from_secs(3)),
        },
        message: shown,
    };
    assert!(
        error
            .to_string()
            .starts_with("primary: eth_getLogs: rate_limited: cannot reach [url]")
    );
    assert_eq!(scrub("two\nlines\tbecome  one", []), "two lines become one");
}
