//! What went wrong, as every refusal says it: RFC 9457 problem details with a stable `code` and the request's id.
//!
//! A problem travels in the answer's extensions and is written by the outermost layer, which knows the request's id. It
//! must never hold a text of the database, a URL of an endpoint, or a secret.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Role;
use crate::engine::{EngineError, Scope};
use crate::jwt::TokenError;

/// How long to wait where nobody can know better, in seconds.
const PASSING_S: u64 = 1;

/// A refusal.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    field: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// A refusal (RFC 9457), `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(super) struct ProblemView<'a> {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// One sentence for people.
    detail: &'a str,
    /// A stable word for programs.
    code: &'a str,
    /// Names the request in our log.
    request_id: &'a str,
    /// The path of the field that is wrong, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    /// A refusal with a code.
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Details {
            status,
            code: code.into(),
            detail: detail.into(),
            field: None,
            header: None,
        }))
    }

    /// The request is malformed.
    pub(super) fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A field is well formed, and its value is one that cannot be.
    pub(super) fn invalid(field: impl Into<String>, problem: &str) -> Self {
        let field = field.into();
        let detail = format!("{field} {problem}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_FIELD", detail).at(field)
    }

    /// There is no such thing, or it is another tenant's.
    pub(super) fn not_found(what: &str) -> Self {
        let code = format!("{}_NOT_FOUND", what.to_ascii_uppercase());
        Self::new(StatusCode::NOT_FOUND, code, format!("there is no such {what}"))
    }

    /// No key, or none that is known.
    pub(super) fn unauthorized(challenge: &'static str, detail: &str) -> Self {
        let challenge = HeaderValue::from_static(challenge);
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", detail).with(WWW_AUTHENTICATE, challenge)
    }

    /// A key without any of the scopes that would do.
    pub(super) fn forbidden(needed: &[Scope]) -> Self {
        let words: Vec<&str> = needed.iter().map(|scope| scope.as_str()).collect();
        let detail = format!("this key lacks the scope that is needed: {}", words.join(" or "));
        Self::new(StatusCode::FORBIDDEN, "SCOPE_MISSING", detail)
    }

    /// A user's token without the role that is needed.
    pub(super) fn role_required(needed: Role) -> Self {
        let detail = format!("this needs a user with the role {needed}");
        Self::new(StatusCode::FORBIDDEN, "ROLE_REQUIRED", detail)
    }

    /// A user's token where only keys do.
    pub(super) fn key_required(needed: &[Scope]) -> Self {
        let words: Vec<&str> = needed.iter().map(|scope| scope.as_str()).collect();
        let words = words.join(" or ");
        let detail = format!("this needs an API key with the scope {words}; no user's token will do");
        Self::new(StatusCode::FORBIDDEN, "KEY_REQUIRED", detail)
    }

    /// A token that stands for nobody. Of why, only what its holder can mend is told.
    pub(super) fn token(error: TokenError) -> Self {
        const CHALLENGE: HeaderValue =
            HeaderValue::from_static(r#"Bearer realm="tollgate", error="invalid_token""#);
        let (code, detail) = match error {
            TokenError::NoKeys => {
                let detail = "the keys that tokens are verified by cannot be had now; try again";
                return Self::unavailable("TOKEN_KEYS_UNAVAILABLE", detail);
            }
            TokenError::Expired => ("TOKEN_EXPIRED", "this token has expired; get a new one"),
            TokenError::NotYet => ("TOKEN_INVALID", "this token is not valid yet"),
            TokenError::Audience => ("TOKEN_INVALID", "this token is for another audience"),
            _ => ("TOKEN_INVALID", "this token is not valid here"),
        };
        Self::new(StatusCode::UNAUTHORIZED, code, detail).with(WWW_AUTHENTICATE, CHALLENGE)
    }

    /// Too many requests.
    pub(super) fn too_many(wait_s: u64) -> Self {
        let detail = format!("too many requests; try again in {wait_s} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail)
            .with(RETRY_AFTER, HeaderValue::from(wait_s))
    }

    /// Too many streams of one charge.
    pub(super) fn too_many_streams(most: usize) -> Self {
        let detail =
            format!("{most} streams of this charge are open; close one, or ask for the charge itself");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "STREAMS_EXHAUSTED", detail)
            .with(RETRY_AFTER, HeaderValue::from(PASSING_S))
    }

    /// Too many questions about transactions that were never read.
    pub(super) fn too_many_looks() -> Self {
        let detail = "too many transactions were asked for that were never read; try again in a moment";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "LOOKS_EXHAUSTED", detail)
            .with(RETRY_AFTER, HeaderValue::from(PASSING_S))
    }

    /// Something that passes by itself.
    pub(super) fn unavailable(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .with(RETRY_AFTER, HeaderValue::from(PASSING_S))
    }

    /// A fault of ours, of which only the log says more.
    pub(super) fn internal() -> Self {
        let detail = "something went wrong here; the log names this request";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
    }

    /// Whether it is about who asks.
    pub(super) fn is_unauthorized(&self) -> bool {
        self.0.status == StatusCode::UNAUTHORIZED
    }

    /// Whether there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        self.0.status == StatusCode::NOT_FOUND
    }

    /// Names the field that is wrong.
    pub(super) fn at(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    fn view<'a>(&'a self, request_id: &'a str) -> ProblemView<'a> {
        let details = &self.0;
        ProblemView {
            kind: "about:blank",
            title: details.status.canonical_reason().unwrap_or("Error"),
            status: details.status.as_u16(),
            detail: &details.detail,
            code: &details.code,
            request_id,
            field: details.field.as_deref(),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Invalid { field, problem } => Self::invalid(field, &problem),
            EngineError::NotFound(what) => Self::not_found(what),
            EngineError::Conflict { code, problem } => Self::new(StatusCode::CONFLICT, code, problem),
            EngineError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "IDEMPOTENCY_KEY_REUSED",
                error.to_string(),
            ),
            error if error.is_passing() => {
                tracing::error!(kind = error.kind(), "a request could not be served");
                Self::unavailable("UNAVAILABLE", "the service cannot answer now; try again")
            }
            error => {
                tracing::error!(kind = error.kind(), "a request failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the problem that an answer carries, if it carries one.
pub(super) fn write(response: &mut Response, request_id: &str) {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return;
    };
    let text = serde_json::to_string(&problem.view(request_id)).unwrap_or_default();
    *response.body_mut() = Body::from(text);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(CONTENT_TYPE, json);
    if let Some((name, value)) = problem.0.header {
        headers.insert(name, value);
    }
}

/// There is no such route.
pub(super) async fn no_route() -> Problem {
    let detail = "there is no such route; /openapi.json lists them";
    Problem::new(StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND", detail)
}

/// The route has no such method; the router adds which it has.
pub(super) async fn no_method() -> Problem {
    let detail = format!("this route has no such method; the header {ALLOW} names those it has");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
}
