//! Who may call: the key or the user's token, its bucket, and its scopes or role, judged before anything of the body is read.
//!
//! A key is shown as `Authorization: Bearer tg_…` or `x-api-key`, a token as `Authorization: Bearer` alone. What does not
//! look like a key of ours is not looked up.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::limit::{Bucket, Standing};
use super::problem::Problem;
use crate::domain::Role;
use crate::engine::{Caller, Scope};
use crate::jwt::User;
use crate::metrics::TOKENS_REFUSED_TOTAL;

/// A key's form: this, and 32 bytes in hexadecimal.
const KEY_PREFIX: &str = "tg_";
const KEY_DIGITS: usize = 64;
/// The header that holds a key and nothing else.
const API_KEY: &str = "x-api-key";

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guard {
    /// Nothing, and it is not counted: probes must not be refused.
    Open,
    /// Nothing.
    Public,
    /// A provider's signature, which the handler verifies.
    Webhook,
    /// A key with one of these scopes, and never a user's token.
    Key(&'static [Scope]),
    /// A key with one of these scopes, or a user's token with at least this role.
    Caller(&'static [Scope], Role),
    /// The same, or no credential at all: then the unguessable id in the path is what lets its holder see that one thing,
    /// and whose it is stays unsaid.
    Capability(&'static [Scope], Role),
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) enum Principal {
    /// The chat product's backend, or an operator: it names whom it asks for.
    Key(Caller),
    /// An end user: it asks for itself.
    User(User),
}

impl Principal {
    /// Its name in the audit. Nobody else has it: of a tenant's and a user's id, neither holds a space.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Key(caller) => format!("key:{}", caller.key_id),
            Self::User(User { tenant, user, .. }) => format!("user:{tenant}/{user}"),
        }
    }

    fn judge(&self, guard: Guard) -> Result<(), Problem> {
        let (scopes, role) = match guard {
            Guard::Open | Guard::Public | Guard::Webhook => return Ok(()),
            Guard::Key(scopes) => (scopes, None),
            Guard::Caller(scopes, role) | Guard::Capability(scopes, role) => (scopes, Some(role)),
        };
        match (self, role) {
            (Self::Key(caller), _) if scopes.iter().any(|scope| caller.may(*scope)) => Ok(()),
            (Self::Key(_), _) => Err(Problem::forbidden(scopes)),
            (Self::User(user), Some(role)) if user.role >= role => Ok(()),
            (Self::User(_), Some(role)) => Err(Problem::role_required(role)),
            (Self::User(_), None) => Err(Problem::key_required(scopes)),
        }
    }
}

/// Lets a request through, or says why not; the caller is left in its extensions.
pub(super) async fn guard(
    State((app, guard)): State<(Shared, Guard)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (standing, verdict) = admit(&app, guard, &mut request).await;
    let verdict = verdict.and_then(|()| match guard {
        // An address that was given to a provider may hold what it likes.
        Guard::Webhook => Ok(()),
        _ => app.parameters.judge(&request),
    });
    let mut response = match verdict {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(standing) = standing {
        standing.write(response.headers_mut());
    }
    response
}

async fn admit(app: &Shared, guard: Guard, request: &mut Request) -> (Option<Standing>, Result<(), Problem>) {
    let bucket = match guard {
        Guard::Open => return (None, Ok(())),
        Guard::Public => Bucket::Public,
        Guard::Webhook => Bucket::Webhook,
        Guard::Capability(..) if !shows_credential(request.headers()) => Bucket::Public,
        Guard::Key(_) | Guard::Caller(..) | Guard::Capability(..) => {
            return admit_principal(app, guard, request).await;
        }
    };
    let standing = app.limits.take(bucket);
    let verdict = within(&standing);
    (Some(standing), verdict)
}

async fn admit_principal(
    app: &Shared,
    guard: Guard,
    request: &mut Request,
) -> (Option<Standing>, Result<(), Problem>) {
    let principal = match authenticate(app, request.headers()).await {
        Ok(principal) => principal,
        // A database or an issuer that fails is no stranger's fault.
        Err(problem) if !problem.is_unauthorized() => return (None, Err(problem)),
        Err(problem) => {
            let standing = app.limits.take(Bucket::Stranger);
            let refused = within(&standing).err().unwrap_or(problem);
            return (None, Err(refused));
        }
    };
    let name = principal.name();
    let standing = app.limits.take(match &principal {
        Principal::Key(_) => Bucket::Key(&name),
        Principal::User(_) => Bucket::User(&name),
    });
    let verdict = within(&standing).and_then(|()| principal.judge(guard));
    request.extensions_mut().insert(principal);
    (Some(standing), verdict)
}

fn within(standing: &Standing) -> Result<(), Problem> {
    if standing.admitted {
        Ok(())
    } else {
        Err(Problem::too_many(standing.wait_s()))
    }
}

fn shows_credential(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(API_KEY)
}

async fn authenticate(app: &Shared, headers: &HeaderMap) -> Result<Principal, Problem> {
    let shown = shown(headers)?;
    let is_token = shown.matches('.').count() == 2 && !headers.contains_key(API_KEY);
    if is_token {
        let verified = app.tokens.verify(shown, app.now()).await;
        return verified.map(Principal::User).map_err(|error| {
            metrics::counter!(TOKENS_REFUSED_TOTAL, "reason" => error.kind()).increment(1);
            tracing::debug!(%error, "a token was refused");
            Problem::token(error)
        });
    }
    let unknown = || {
        let challenge = r#"Bearer realm="tollgate", error="invalid_token""#;
        Problem::unauthorized(challenge, "this API key is unknown or revoked")
    };
    let digits = shown.strip_prefix(KEY_PREFIX).ok_or_else(unknown)?;
    let sound = digits.len() == KEY_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !sound {
        return Err(unknown());
    }
    let caller = app.engine.caller(shown).await?;
    caller.map(Principal::Key).ok_or_else(unknown)
}

/// The one key or token.
fn shown(headers: &HeaderMap) -> Result<&str, Problem> {
    let bearer = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
    });
    let plain = headers.get_all(API_KEY).iter();
    let plain = plain.map(|value| value.to_str().ok().map(str::trim));
    let mut shown: Vec<&str> = bearer.chain(plain).map(Option::unwrap_or_default).collect();
    shown.dedup();
    let challenge = r#"Bearer realm="tollgate""#;
    match shown.as_slice() {
        [credential] => Ok(credential),
        [] => {
            let detail =
                "an API key or a user's token is needed: Authorization: Bearer …, or x-api-key for a key";
            Err(Problem::unauthorized(challenge, detail))
        }
        _ => Err(Problem::unauthorized(
            challenge,
            "more than one key or token was shown; show one",
        )),
    }
}
