//! Reading requests: JSON bodies that name the field that is wrong, ids in paths, and raw bodies within their cap.

use std::str::FromStr;

use alloy::primitives::Address;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;
use crate::domain::{ChainId, ChargeId, GateId, PaymentKey};

/// A JSON body; nothing at all stands for `{}`.
#[derive(Debug)]
pub(super) struct JsonBody<T> {
    /// What was read.
    pub(super) value: T,
    /// The bytes as they came.
    pub(super) raw: Bytes,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let RawBody(raw) = RawBody::from_request(request, state).await?;
        if raw.is_empty() {
            let value = parse(b"{}")?;
            return Ok(Self { value, raw });
        }
        if !is_json {
            let detail = "the body must be JSON: Content-Type: application/json";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", detail));
        }
        let value = parse(&raw)?;
        Ok(Self { value, raw })
    }
}

/// A body as it came, within the route's cap.
#[derive(Debug)]
pub(super) struct RawBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|rejection| unread(&rejection))
    }
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = "the body is larger than this route reads";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail);
    }
    Problem::malformed("BODY_INCOMPLETE", "the body ended before it was whole")
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|given| given.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| {
        let essence = essence.to_ascii_lowercase();
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(raw);
    match serde_path_to_error::deserialize(&mut json) {
        Ok(value) => {
            // What follows the value belongs to nobody.
            json.end().map_err(|error| not_json(&error))?;
            Ok(value)
        }
        Err(error) => match serde_json::from_slice(raw) {
            // Where one of several words is wanted, a number is taken for broken JSON: read apart, it is a field's fault.
            Ok(value) if !error.inner().is_data() => from_value(value),
            _ => Err(refused(error)),
        },
    }
}

/// Reads a value that was parsed before.
pub(super) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(refused)
}

fn refused(error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let path = error.path().to_string();
    let error = error.into_inner();
    if !error.is_data() {
        return not_json(&error);
    }
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(text, _)| text);
    let field = place(&path, text);
    Problem::malformed("INVALID_FIELD", format!("{field}: {text}")).at(field)
}

fn not_json(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let detail = format!("the body is not JSON, at line {line}, column {column}");
    Problem::malformed("MALFORMED_JSON", detail)
}

/// The path of the field, also where serde names only the object around it.
fn place(path: &str, text: &str) -> String {
    let named = ["missing field `", "duplicate field `"];
    let missing = named
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix)?.split('`').next());
    match (path, missing) {
        (".", Some(field)) => field.to_owned(),
        (".", None) => "body".to_owned(),
        (path, Some(field)) => format!("{path}.{field}"),
        (path, None) => path.to_owned(),
    }
}

/// The query, or what one handler reads of it: parameters that the route does not know were refused before.
#[derive(Debug)]
pub(super) struct InQuery<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(query)| Self(query)).map_err(|_| {
            let detail = "the query cannot be read: each parameter may be given once, percent-encoded";
            Problem::malformed("MALFORMED_QUERY", detail)
        })
    }
}

/// What an id names.
pub(super) trait Named: FromStr {
    /// The word for it.
    const NAME: &'static str;
}

impl Named for ChargeId {
    const NAME: &'static str = "charge";
}

impl Named for GateId {
    const NAME: &'static str = "gate";
}

impl Named for PaymentKey {
    const NAME: &'static str = "payment";
}

impl Named for Address {
    const NAME: &'static str = "wallet";
}

impl Named for ChainId {
    const NAME: &'static str = "chain";
}

/// The id in a path. One that cannot be is of nothing that exists.
#[derive(Debug)]
pub(super) struct Id<T>(pub(super) T);

impl<S: Send + Sync, T: Named> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unknown = || Problem::not_found(T::NAME);
        let text = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = text.map_err(|_| unknown())?;
        text.parse().map(Self).map_err(|_| unknown())
    }
}
