//! JSON-RPC 2.0 text: requests out, answers in.
//!
//! Knows ids, batches and errors; it must not know endpoints, sockets or retries. An answer that cannot be read, or that
//! belongs to another request, is a transport failure; a null result is missing data and never an empty one.

use std::collections::HashMap;
use std::fmt;

use alloy::primitives::B256;
use alloy::primitives::bytes::Bytes;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::classify::classify;
use super::error::{Failure, Problem};

/// The largest answer that is read, in bytes. A block's receipts on a busy chain are about a tenth of it.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// One method with its parameters.
pub(super) type Call = (&'static str, Value);

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: &'a Value,
}

/// One request's text.
pub(super) fn encode(id: u64, method: &str, params: &Value) -> String {
    let request = Request {
        jsonrpc: "2.0",
        id,
        method,
        params,
    };
    // Serialising a struct of text, numbers and JSON values cannot fail.
    serde_json::to_string(&request).unwrap_or_default()
}

/// A batch's text. `calls` and `ids` go together.
pub(super) fn encode_batch(ids: &[u64], calls: &[Call]) -> String {
    let requests: Vec<_> = ids
        .iter()
        .zip(calls)
        .map(|(id, (method, params))| Request {
            jsonrpc: "2.0",
            id: *id,
            method,
            params,
        })
        .collect();
    serde_json::to_string(&requests).unwrap_or_default()
}

#[derive(Deserialize)]
struct WireError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Option<Value>,
}

impl WireError {
    fn into_failure(self, http_status: Option<u16>) -> Failure {
        // Some providers put the useful half into `data`.
        let message = match self.data {
            Some(Value::String(data)) if !data.starts_with("0x") => format!("{}: {data}", self.message),
            _ => self.message,
        };
        Failure::new(classify(http_status, Some(self.code), &message), message)
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Envelope<T> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    result: Outcome<T>,
    #[serde(default)]
    error: Option<WireError>,
}

/// Tells `"result": null` from no result at all.
#[derive(Default)]
enum Outcome<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Outcome<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|value| value.map_or(Self::Null, Self::Value))
    }
}

impl<T> Envelope<T> {
    fn id(&self) -> Option<u64> {
        self.id.as_ref().and_then(Value::as_u64)
    }

    fn into_result(self, http_status: Option<u16>) -> Result<T, Failure> {
        match (self.error, self.result) {
            (Some(error), _) => Err(error.into_failure(http_status)),
            (None, Outcome::Value(result)) => Ok(result),
            (None, Outcome::Null) => Err(Failure::missing("null")),
            (None, Outcome::Absent) => Err(Failure::unreadable("an answer with neither result nor error")),
        }
    }
}

/// Answers as they came, to be decoded off the runtime where they are large.
#[derive(Debug)]
pub(super) enum Body {
    /// One text per call: over a socket, or a single HTTP request.
    Each(Vec<(u64, Bytes)>, Option<u16>),
    /// One array for all calls.
    Array(Vec<u64>, Bytes, Option<u16>),
}

impl Body {
    /// Bytes of text.
    pub fn len(&self) -> usize {
        match self {
            Self::Each(texts, _) => texts.iter().map(|(_, text)| text.len()).sum(),
            Self::Array(_, text, _) => text.len(),
        }
    }

    /// The results in the order of the calls; the first failure fails all.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        match self {
            Self::Each(texts, status) => texts
                .iter()
                .map(|(id, text)| decode_one(*id, text, *status))
                .collect(),
            Self::Array(ids, text, status) => decode_batch(ids, text, *status),
        }
    }
}

/// The result of the request `id`.
pub(super) fn decode_one<T: DeserializeOwned>(
    id: u64,
    text: &[u8],
    http_status: Option<u16>,
) -> Result<T, Failure> {
    let envelope: Envelope<T> =
        serde_json::from_slice(text).map_err(|error| unreadable(text, &error, http_status))?;
    // A server that could not read the request answers with a null id and an error.
    if envelope.id() != Some(id) && envelope.error.is_none() {
        return Err(Failure::unreadable("an answer to another request"));
    }
    envelope.into_result(http_status)
}

fn decode_batch<T: DeserializeOwned>(
    ids: &[u64],
    text: &[u8],
    http_status: Option<u16>,
) -> Result<Vec<T>, Failure> {
    let is_array = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        let envelope: Envelope<serde::de::IgnoredAny> =
            serde_json::from_slice(text).map_err(|error| unreadable(text, &error, http_status))?;
        return match envelope.error {
            Some(error) => Err(error.into_failure(http_status)),
            None => Err(Failure::unreadable("a batch was answered with one object")),
        };
    }
    let envelopes: Vec<Envelope<T>> =
        serde_json::from_slice(text).map_err(|error| unreadable(text, &error, http_status))?;
    let mut by_id: HashMap<u64, Envelope<T>> = envelopes
        .into_iter()
        .filter_map(|envelope| Some((envelope.id()?, envelope)))
        .collect();
    ids.iter()
        .map(|id| match by_id.remove(id) {
            Some(envelope) => envelope.into_result(http_status),
            None => Err(Failure::unreadable("a batch lacks an answer")),
        })
        .collect()
}

/// HTML with status 200 and truncated JSON are transport failures; a plain-text 429 or 402 says what it is.
fn unreadable(text: &[u8], error: &serde_json::Error, http_status: Option<u16>) -> Failure {
    let shown = String::from_utf8_lossy(&text[..text.len().min(512)]);
    match http_status {
        Some(status) if !(200..300).contains(&status) => Failure::new(
            classify(http_status, None, &shown),
            format!("HTTP {status}: {shown}"),
        )
        .showing(Problem::NotJsonRpc),
        _ => Failure::unreadable(format!(
            "unreadable answer at column {} of {} bytes",
            error.column(),
            text.len()
        )),
    }
}

/// A block's hash, unproven.
#[derive(Debug, Deserialize)]
pub(super) struct WireHash {
    pub hash: B256,
}

/// A `0x`-prefixed quantity that fits 64 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(pub u64);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl Visitor<'_> for Hex {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 0x-prefixed quantity of at most 64 bits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
                digits
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .map(Quantity)
                    .ok_or_else(|| E::custom("not a 0x-prefixed quantity of at most 64 bits"))
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

/// The number as JSON-RPC writes it.
pub(super) fn quantity(number: u64) -> Value {
    Value::String(format!("{number:#x}"))
}
