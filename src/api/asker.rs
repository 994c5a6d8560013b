//! Who asks, for which tenant and which user. Both may be named in the query, in a header or in the body; where they are
//! named more than once they must be the same, because a guess between two tenants would be wrong half of the time.
//!
//! A user's token names both. It acts in its own tenant, and with the role `user` for its own user, wherever another is
//! named; what is left out is its own.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::InQuery;
use super::frame::RequestId;
use super::guard::Principal;
use super::problem::Problem;
use crate::domain::{Role, TenantId, UserId};
use crate::engine::{Idempotency, Origin};
use crate::jwt::User;

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
    principal: Principal,
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
        let principal = parts.extensions.get().cloned();
        let request = parts.extensions.get().cloned();
        let asker = Self {
            principal: principal.ok_or_else(Problem::internal)?,
            request: request.ok_or_else(Problem::internal)?,
            query,
            headers,
        };
        // Also where the route goes by neither: who names another has mistaken what is answered.
        asker.keeps_to_itself(None, None)?;
        Ok(asker)
    }
}

/// Who looks at one thing under `Guard::Capability`.
#[derive(Debug)]
pub(super) enum Viewer {
    /// A caller with a key or a token: it sees what is the tenant's.
    Asker(Box<Asker>),
    /// Whoever holds the id, and nothing else.
    Holder,
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.extensions.get::<Principal>().is_none() {
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

    /// Whether what is this user's may be shown.
    pub(super) fn may_see(&self, user: Option<&str>) -> bool {
        match self {
            Self::Asker(asker) => asker.may_see(user),
            Self::Holder => true,
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
            actor: self.principal.name(),
            cause: self.request.0.clone(),
        }
    }

    /// The tenant; `body` is the body's own, where it names one.
    pub(super) fn tenant(&self, body: Option<&TenantId>) -> Result<TenantId, Problem> {
        if let Principal::User(own) = &self.principal {
            self.keeps_to_itself(body.map(TenantId::as_str), None)?;
            return Ok(own.tenant.clone());
        }
        let body = body.map(TenantId::as_str);
        let found = TENANT.one(self.query.tenant_id.as_deref(), &self.headers.tenant, body)?;
        let missing = || Problem::malformed("TENANT_REQUIRED", TENANT.missing()).at("tenantId");
        found.ok_or_else(missing)
    }

    /// The user, where one is named; of a user's token its own where none is.
    pub(super) fn user_if_named(&self, body: Option<&UserId>) -> Result<Option<UserId>, Problem> {
        let body = body.map(UserId::as_str);
        self.keeps_to_itself(None, body)?;
        let named = USER.one(self.query.user_id.as_deref(), &self.headers.user, body)?;
        Ok(named.or_else(|| self.own().map(|own| own.user.clone())))
    }

    /// Whether what is this user's may be shown: not to another user without a role.
    pub(super) fn may_see(&self, user: Option<&str>) -> bool {
        let own = self.own().filter(|own| own.role == Role::User);
        own.is_none_or(|own| user == Some(own.user.as_str()))
    }

    fn own(&self) -> Option<&User> {
        match &self.principal {
            Principal::User(own) => Some(own),
            Principal::Key(_) => None,
        }
    }

    /// Refuses a user's token where another tenant is named anywhere, or another user without a role for it.
    fn keeps_to_itself(&self, tenant: Option<&str>, user: Option<&str>) -> Result<(), Problem> {
        let Some(own) = self.own() else {
            return Ok(());
        };
        let Self { query, headers, .. } = self;
        let mut tenants = tenant.into_iter().chain(query.tenant_id.as_deref());
        let mut users = user.into_iter().chain(query.user_id.as_deref());
        let is_other = |name: &str| name != own.tenant.as_str();
        if tenants.any(is_other) || headers.tenant.iter().any(|name| is_other(name)) {
            return Err(TENANT.forbidden("a user acts in its own tenant only"));
        }
        let is_other = |name: &str| name != own.user.as_str();
        let names_other = users.any(is_other) || headers.user.iter().any(|name| is_other(name));
        if names_other && own.role == Role::User {
            return Err(USER.forbidden("a user without the role admin acts for itself only"));
        }
        Ok(())
    }

    /// The user.
    pub(super) fn user(&self, body: Option<&UserId>) -> Result<UserId, Problem> {
        let missing = || Problem::malformed("USER_REQUIRED", USER.missing()).at("userId");
        self.user_if_named(body)?.ok_or_else(missing)
    }

    /// The request's idempotency key: it belongs to this API key or user, this operation and this tenant.
    pub(super) fn idempotency(
        &self,
        IdempotencyKey { key }: IdempotencyKey,
        operation: &'static str,
        (tenant, user): (&TenantId, Option<&UserId>),
        body: &[u8],
    ) -> Option<Idempotency> {
        let scope = format!("{} {operation} {tenant}", self.principal.name());
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

const TENANT: Named = Named {
    what: "tenant",
    field: "tenantId",
    header: "x-tenant-id",
};

const USER: Named = Named {
    what: "user",
    field: "userId",
    header: "x-user-id",
};

impl Named {
    fn forbidden(&self, detail: &str) -> Problem {
        let code = format!("{}_FORBIDDEN", self.what.to_ascii_uppercase());
        Problem::new(StatusCode::FORBIDDEN, code, detail).at(self.field)
    }

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
            return Err(Problem::new(StatusCode::BAD_REQUEST, code, detail).at(*field));
        }
        let parsed = first.parse().map(Some);
        parsed.map_err(|error| {
            let detail = format!("{field} (or {header}): {error}");
            Problem::malformed("INVALID_FIELD", detail).at(*field)
        })
    }
}
