//! The reading of providers' error texts: which of the classes an error answer is of.
//!
//! Texts come before codes, since -32005 is both a rate and a range error. Pure; what a class means is `error`'s.

use super::error::ErrorClass;

const BILLING: [&str; 3] = [
    "monthly capacity limit",
    "reached the free tier",
    "payment required",
];
const TOO_DENSE: [&str; 10] = [
    "query returned more than",
    "query exceeds max results",
    "response size exceeded",
    "response size should not",
    "response is too big",
    "logs matched by query exceeds limit",
    "exceeds max response size",
    "response too large",
    // A node that gave up: fewer blocks take it less time.
    "query timeout exceeded",
    "request timed out",
];
/// Beginnings after which the limit stands, where it is stated.
const RANGE_TOO_WIDE: [&str; 14] = [
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
    "range too large. max range",
    "block range limit exceeded",
    "exceeds maximum rpc range limit",
];
const RATE_LIMITED: [&str; 6] = [
    "too many requests",
    "request limit reached",
    "under too much load",
    "rate limit",
    "compute units per second",
    "request rate exceeded",
];
const MISSING_DATA: [&str; 19] = [
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
    "state unavailable",
    "no state available",
    "block is out of range",
    "received invalid block tag",
    "cannot query unfinalized data",
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
