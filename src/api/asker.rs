//! Who asks, for which tenant and which user. Both may be named in the query, in a header or in the body; where they are
//! named more than once they must be the same, because a guess between two tenants would be wrong half of the time.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::InQuery;
use super::frame::RequestId;
use super::problem::Problem;
use crate::domain::{TenantId, UserId};
use crate::engine::{Caller, Idempotency, Origin};

/// The longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Whom a request is for, in the query.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct NamedInQuery {
    /// The tenant: whoever has the plan, which may be a community or a person, as the catalogue says.
    tenant_id: Option<String>,
    /// The user, where the request concerns one.
    user_id: Option<String>,
}

/// Whom a request is for, in headers.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct NamedInHeaders {
    /// The tenant, in place of `tenantId`.
    #[param(rename = "x-tenant-id", value_type = Option<String>)]
    tenant: Vec<String>,
    /// The user, in place of `userId`.
    #[param(rename = "x-user-id", value_type = Option<String>)]
    user: Vec<String>,
}

/// A key that makes a request safe to send twice.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IdempotencyKey {
    /// 1 to 255 visible ASCII characters. The same key and body give the same answer for a day; with another body it is
    /// refused.
    #[param(rename = "Idempotency-Key")]
    key: Option<String>,
}

/// Who asks, and for whom.
#[derive(Debug)]
pub(super) struct Asker {
    caller: Caller,
    request: RequestId,
    query: NamedInQuery,
    headers: NamedInHeaders,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let InQuery(query) = InQuery::from_request_parts(parts, state).await?;
        let headers = NamedInHeaders {
            tenant: texts(&parts.headers, "x-tenant-id")?,
            user: texts(&parts.headers, "x-user-id")?,
        };
        let caller = parts.extensions.get().cloned();
        let request = parts.extensions.get().cloned();
        Ok(Self {
            caller: caller.ok_or_else(Problem::internal)?,
            request: request.ok_or_else(Problem::internal)?,
            query,
            headers,
        })
    }
}

/// Who looks at one thing under `Guard::Capability`.
#[derive(Debug)]
pub(super) enum Viewer {
    /// A caller with a key: it sees what is the tenant's that it names.
    Asker(Box<Asker>),
    /// Whoever holds the id, and nothing else.
    Holder,
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.extensions.get::<Caller>().is_none() {
            return Ok(Self::Holder);
        }
        let asker = Asker::from_request_parts(parts, state).await?;
        Ok(Self::Asker(Box::new(asker)))
    }
}

impl Viewer {
    /// Whose it must be; `None` where the id alone is enough, and whose it is must not be told.
    pub(super) fn tenant(&self) -> Result<Option<TenantId>, Problem> {
        match self {
            Self::Asker(asker) => asker.tenant(None).map(Some),
            Self::Holder => Ok(None),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let wrong = || {
            let detail =
                format!("Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters, once");
            Problem::malformed("INVALID_HEADER", detail).at("Idempotency-Key")
        };
        let mut given = parts.headers.get_all("idempotency-key").iter();
        let Some(key) = given.next() else {
            return Ok(Self { key: None });
        };
        let key = key.to_str().map_err(|_| wrong())?;
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if given.next().is_some() || !visible || !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            return Err(wrong());
        }
        Ok(Self {
            key: Some(key.to_owned()),
        })
    }
}

fn texts(headers: &HeaderMap, name: &'static str) -> Result<Vec<String>, Problem> {
    let text = |value: &axum::http::HeaderValue| {
        value.to_str().map(str::to_owned).map_err(|_| {
            let detail = format!("{name} must be 1 to 128 visible ASCII characters");
            Problem::malformed("INVALID_HEADER", detail).at(name)
        })
    };
    headers.get_all(name).iter().map(text).collect()
}

impl Asker {
    /// For the audit.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            actor: format!("key:{}", self.caller.key_id),
            cause: self.request.0.clone(),
        }
    }

    /// The tenant; `body` is the body's own, where it names one.
    pub(super) fn tenant(&self, body: Option<&TenantId>) -> Result<TenantId, Problem> {
        let body = body.map(TenantId::as_str);
        let named = Named {
            what: "tenant",
            field: "tenantId",
            header: "x-tenant-id",
        };
        let found = named.one(self.query.tenant_id.as_deref(), &self.headers.tenant, body)?;
        let missing = || Problem::malformed("TENANT_REQUIRED", named.missing()).at("tenantId");
        found.ok_or_else(missing)
    }

    /// The user, where one is named.
    pub(super) fn user_if_named(&self, body: Option<&UserId>) -> Result<Option<UserId>, Problem> {
        let body = body.map(UserId::as_str);
        USER.one(self.query.user_id.as_deref(), &self.headers.user, body)
    }

    /// The user.
    pub(super) fn user(&self, body: Option<&UserId>) -> Result<UserId, Problem> {
        let missing = || Problem::malformed("USER_REQUIRED", USER.missing()).at("userId");
        self.user_if_named(body)?.ok_or_else(missing)
    }

    /// The request's idempotency key: it belongs to this API key, this operation and this tenant.
    pub(super) fn idempotency(
        &self,
        IdempotencyKey { key }: IdempotencyKey,
        operation: &'static str,
        (tenant, user): (&TenantId, Option<&UserId>),
        body: &[u8],
    ) -> Option<Idempotency> {
        let scope = format!("{} {operation} {tenant}", self.caller.key_id);
        // The user may stand in a header, and is part of what is asked.
        let asked = [user.map_or("", UserId::as_str).as_bytes(), body].join(&0);
        key.map(|key| Idempotency::new(scope, key, &asked))
    }
}

struct Named {
    what: &'static str,
    field: &'static str,
    header: &'static str,
}

const USER: Named = Named {
    what: "user",
    field: "userId",
    header: "x-user-id",
};

impl Named {
    fn missing(&self) -> String {
        let Self { what, field, header } = self;
        format!("a {what} is needed: {field} in the query or the body, or the header {header}")
    }

    fn one<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        query: Option<&str>,
        headers: &[String],
        body: Option<&str>,
    ) -> Result<Option<T>, Problem> {
        let Self { what, field, header } = self;
        let query = query.map(|text| ("the query", text));
        let headers = headers.iter().map(|text| ("the header", text.as_str()));
        let body = body.map(|text| ("the body", text));
        let mut named = query.into_iter().chain(headers).chain(body);
        let Some((first_place, first)) = named.next() else {
            return Ok(None);
        };
        if let Some((place, other)) = named.find(|(_, other)| *other != first) {
            let code = format!("{}_CONFLICT", what.to_ascii_uppercase());
            let detail =
                format!("{first_place} names the {what} {first:?} and {place} names {other:?}; name one");
            let status = axum::http::StatusCode::BAD_REQUEST;
            return Err(Problem::new(status, code, detail).at(*field));
        }
        let parsed = first.parse().map(Some);
        parsed.map_err(|error| {
            let detail = format!("{field} (or {header}): {error}");
            Problem::malformed("INVALID_FIELD", detail).at(*field)
        })
    }
}
