//! What can go wrong while reading a chain: one error, and the class of each endpoint failure with its own reaction.
//!
//! Owns the reading of providers' error texts. It must never carry a URL or a key: messages are scrubbed and cut here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;

use crate::domain::ChainId;

/// The longest message that an error carries, in characters.
pub const MAX_MESSAGE_CHARS: usize = 200;

/// The kinds of endpoint failure. Each has its own reaction, so the class and not the text is what callers look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorClass {
    /// More blocks than the endpoint serves at once: remember its limit, and split.
    RangeTooWide {
        /// The widest range in blocks, where it was stated.
        limit: Option<u64>,
    },
    /// More logs than the endpoint returns at once: halve, or take its suggestion.
    TooDense {
        /// First and last block of a range that would work, where it was stated.
        suggested: Option<(u64, u64)>,
    },
    /// Asked too often: the endpoint's limiter backs off.
    RateLimited {
        /// How long it wants to be left alone, where it was stated.
        retry_after: Option<Duration>,
    },
    /// The account ran dry: the endpoint is out for an hour.
    Billing,
    /// The node does not have what was asked for: ask another or wait, and never read it as empty.
    MissingData,
    /// Nothing that can be read came back: retry elsewhere, with back-off and a circuit breaker.
    Transport,
    /// The contract call itself failed; every honest node says the same.
    Reverted,
    /// The node does not know the method.
    Unsupported,
    /// The node answered, with an error of no other class.
    Refused,
}

impl ErrorClass {
    /// The word for metric labels and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::RangeTooWide { .. } => "range_too_wide",
            Self::TooDense { .. } => "too_dense",
            Self::RateLimited { .. } => "rate_limited",
            Self::Billing => "billing",
            Self::MissingData => "missing_data",
            Self::Transport => "transport",
            Self::Reverted => "reverted",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why data does not prove what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// keccak256 of the header's RLP is not its hash.
    #[error("the header does not hash to its own hash")]
    HeaderHash,
    /// It is another block than the one asked for.
    #[error("it is not the block that was asked for")]
    OtherBlock,
    /// The receipts do not rebuild the header's receipts root.
    #[error("the receipts do not rebuild the receipts root")]
    ReceiptsRoot,
    /// A receipt's bloom is not the bloom of its logs.
    #[error("a receipt's bloom is not that of its logs")]
    ReceiptBloom,
    /// A log or a receipt names another block or transaction than it came with.
    #[error("a log or receipt names another block or transaction")]
    ForeignLog,
    /// Log indexes are not those of the block's order.
    #[error("log indexes are out of order")]
    LogOrder,
    /// A log that the header's bloom denies.
    #[error("a log is not in its block's bloom")]
    OutsideBloom,
    /// A log that the filter did not ask for.
    #[error("a log is not what was asked for")]
    Unasked,
}

/// Why a chain could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An endpoint failed a request.
    #[error("{endpoint}: {method}: {class}: {message}")]
    Request {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The JSON-RPC method.
        method: &'static str,
        /// What to do about it.
        class: ErrorClass,
        /// The endpoint's words, scrubbed and cut.
        message: String,
    },
    /// An endpoint's data contradicts itself. Often a block was replaced between two requests.
    #[error("{endpoint}: block {number}: {reason}")]
    Unproven {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The block's number.
        number: u64,
        /// What does not hold.
        reason: Unproven,
    },
    /// A block does not extend the one below: the chain was reorganised, or two nodes answered.
    #[error("{endpoint}: block {number} does not extend {expected_parent}")]
    Unlinked {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The block's number.
        number: u64,
        /// The hash of the block below.
        expected_parent: B256,
    },
    /// An endpoint serves another chain than it was configured for.
    #[error("{endpoint}: serves chain {found} instead of {expected}")]
    WrongChain {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The configured id.
        expected: ChainId,
        /// What `eth_chainId` said.
        found: ChainId,
    },
    /// An endpoint's settings cannot be used.
    #[error("{endpoint}: {problem}")]
    Settings {
        /// The endpoint's name, or the chain's where it has none.
        endpoint: Arc<str>,
        /// What is wrong; never the value.
        problem: &'static str,
    },
}

impl ChainError {
    /// The class of an endpoint failure; `None` where data contradicts itself.
    #[must_use]
    pub const fn class(&self) -> Option<&ErrorClass> {
        match self {
            Self::Request { class, .. } => Some(class),
            _ => None,
        }
    }

    /// Whether the node lacks what was asked for.
    #[must_use]
    pub const fn is_missing_data(&self) -> bool {
        matches!(self.class(), Some(ErrorClass::MissingData))
    }

    /// Whether the contract call itself failed: an answer, not a failure of the endpoint.
    #[must_use]
    pub const fn is_reverted(&self) -> bool {
        matches!(self.class(), Some(ErrorClass::Reverted))
    }
}

/// A failed request before the endpoint puts its name to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub class: ErrorClass,
    pub message: String,
}

impl Failure {
    pub fn new(class: ErrorClass, message: impl fmt::Display) -> Self {
        Self {
            class,
            message: without_urls(&message.to_string()),
        }
    }

    pub fn transport(message: impl fmt::Display) -> Self {
        Self::new(ErrorClass::Transport, message)
    }

    pub fn missing(message: impl fmt::Display) -> Self {
        Self::new(ErrorClass::MissingData, message)
    }
}

/// The message without anything like a URL and without any of `secrets`, on one line, cut to [`MAX_MESSAGE_CHARS`].
#[must_use]
pub fn scrub<'a>(message: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = without_urls(message);
    for secret in secrets {
        if text.contains(secret) {
            text = text.replace(secret, "[secret]");
        }
    }
    text.chars().take(MAX_MESSAGE_CHARS).collect()
}

/// Cut far beyond [`MAX_MESSAGE_CHARS`], so that no secret is cut before it is looked for.
fn without_urls(message: &str) -> String {
    let looks_like_url = |word: &str| {
        let lower = word.to_ascii_lowercase();
        word.contains("://") || lower.contains("www.") || word.matches('/').count() >= 2
    };
    let words = message
        .split_whitespace()
        .map(|word| if looks_like_url(word) { "[url]" } else { word });
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
        if text.len() > 8 * MAX_MESSAGE_CHARS {
            break;
        }
    }
    text
}

const BILLING: [&str; 3] = [
    "monthly capacity limit",
    "reached the free tier",
    "payment required",
];
const TOO_DENSE: [&str; 7] = [
    "query returned more than",
    "query exceeds max results",
    "response size exceeded",
    "response size should not",
    "response is too big",
    "logs matched by query exceeds limit",
    "exceeds max response size",
];
/// Beginnings after which the limit stands, where it is stated.
const RANGE_TOO_WIDE: [&str; 11] = [
    "limited to a ",
    "block range is too wide",
    "maximum block range",
    "max block range",
    "range is too large, max is ",
    "range is too large",
    "maximum is set to ",
    "requested too many blocks",
    "up to a ",
    "ranges over ",
    "block range too large",
];
const RATE_LIMITED: [&str; 6] = [
    "too many requests",
    "request limit reached",
    "under too much load",
    "rate limit",
    "compute units per second",
    "request rate exceeded",
];
const MISSING_DATA: [&str; 14] = [
    "header not found",
    "unknown block",
    "missing trie node",
    "blockoutofrange",
    "block not found",
    "cannot be found",
    "could not be found",
    "beyond current head",
    "greater than latest",
    "after last accepted block",
    "invalid block range",
    "state is not available",
    "pruned",
    "resource not found",
];
const REVERTED: [&str; 6] = [
    "revert",
    "out of gas",
    "invalid opcode",
    "invalid jump",
    "stack underflow",
    "vm execution error",
];
const UNSUPPORTED: [&str; 6] = [
    "method not found",
    "unsupported method",
    "method not supported",
    "method is not supported",
    "not whitelisted",
    "the method does not exist",
];

/// The class of an error answer. `code` is the JSON-RPC error code, where there was one. Texts come before codes, since
/// -32005 is both a rate and a range error.
#[must_use]
pub fn classify(http_status: Option<u16>, code: Option<i64>, message: &str) -> ErrorClass {
    let text = message.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if http_status == Some(402) || says(&BILLING) {
        return ErrorClass::Billing;
    }
    if http_status == Some(429) {
        return ErrorClass::RateLimited { retry_after: None };
    }
    if says(&TOO_DENSE) {
        return ErrorClass::TooDense {
            suggested: suggested_range(&text),
        };
    }
    if let Some(class) = range_too_wide(&text) {
        return class;
    }
    if text.contains("this block range should work") || text.contains("response size") {
        return ErrorClass::TooDense {
            suggested: suggested_range(&text),
        };
    }
    if says(&MISSING_DATA) {
        return ErrorClass::MissingData;
    }
    if says(&RATE_LIMITED) {
        return ErrorClass::RateLimited { retry_after: None };
    }
    if says(&UNSUPPORTED) {
        return ErrorClass::Unsupported;
    }
    if says(&REVERTED) {
        return ErrorClass::Reverted;
    }
    by_code(http_status, code)
}

fn by_code(http_status: Option<u16>, code: Option<i64>) -> ErrorClass {
    match (code, http_status) {
        (Some(-32005 | 429), _) => ErrorClass::RateLimited { retry_after: None },
        (Some(-32001), _) => ErrorClass::MissingData,
        (Some(-32601), _) => ErrorClass::Unsupported,
        (Some(3 | -32015), _) => ErrorClass::Reverted,
        (Some(_), None | Some(200..=299 | 400)) => ErrorClass::Refused,
        _ => ErrorClass::Transport,
    }
}

/// With the stated limit, if the text is about the width of a range.
fn range_too_wide(text: &str) -> Option<ErrorClass> {
    let mut found = None;
    for phrase in RANGE_TOO_WIDE {
        let Some(at) = text.find(phrase) else { continue };
        // "up to a" and "limited to a" are about ranges only where they say so.
        if matches!(phrase, "up to a " | "limited to a " | "ranges over ") && !text.contains("range") {
            continue;
        }
        if phrase == "maximum is set to " && !text.contains("too many blocks") {
            continue;
        }
        let limit = leading_number(&text[at + phrase.len()..]);
        if limit.is_some() {
            return Some(ErrorClass::RangeTooWide { limit });
        }
        found = Some(ErrorClass::RangeTooWide { limit: None });
    }
    found
}

/// A decimal number such as `1000`, `10,000` or `10k`, after at most a few characters of punctuation.
fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([':', ' ', '=']);
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == ',' || c == '_'))
        .unwrap_or(text.len());
    let digits: String = text[..end].chars().filter(char::is_ascii_digit).collect();
    let number: u64 = digits.parse().ok()?;
    let scale = if text[end..].starts_with('k') { 1000 } else { 1 };
    number.checked_mul(scale).filter(|limit| *limit > 0)
}

/// `[0x1, 0x2]` or `range 1-2`.
fn suggested_range(text: &str) -> Option<(u64, u64)> {
    let bracketed = || {
        let (_, rest) = text.rsplit_once('[')?;
        let (inside, _) = rest.split_once(']')?;
        inside.split_once(',')
    };
    let dashed = || {
        let (_, rest) = text.split_once("the range ")?;
        let end = rest
            .find(|c: char| !(c.is_ascii_hexdigit() || c == 'x' || c == '-'))
            .unwrap_or(rest.len());
        rest[..end].split_once('-')
    };
    let (from, to) = bracketed().or_else(dashed)?;
    let number = |text: &str| match text.trim().strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.trim().parse().ok(),
    };
    let (from, to) = (number(from)?, number(to)?);
    (from <= to).then_some((from, to))
}
