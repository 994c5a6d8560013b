//! Who may call: the key, its bucket and its scopes, judged before anything of the body is read.
//!
//! A key is shown as `Authorization: Bearer tg_…` or `x-api-key`. What does not look like a key of ours is not looked up.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::limit::{Bucket, Standing};
use super::problem::Problem;
use crate::engine::{Caller, Scope};

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
    /// A key with one of these scopes.
    Key(&'static [Scope]),
    /// The same, or no credential at all: then the unguessable id in the path is what lets its holder see that one thing,
    /// and whose it is stays unsaid.
    Capability(&'static [Scope]),
}

/// Lets a request through, or says why not; the caller is left in its extensions.
pub(super) async fn guard(
    State((app, guard)): State<(Shared, Guard)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (standing, verdict) = admit(&app, guard, &mut request).await;
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
        Guard::Capability(_) if !shows_credential(request.headers()) => Bucket::Public,
        Guard::Key(scopes) | Guard::Capability(scopes) => return admit_key(app, scopes, request).await,
    };
    let standing = app.limits.take(bucket);
    let verdict = within(&standing);
    (Some(standing), verdict)
}

async fn admit_key(
    app: &Shared,
    scopes: &[Scope],
    request: &mut Request,
) -> (Option<Standing>, Result<(), Problem>) {
    let caller = match authenticate(app, request.headers()).await {
        Ok(caller) => caller,
        // A database that fails is no stranger's fault.
        Err(problem) if !problem.is_unauthorized() => return (None, Err(problem)),
        Err(problem) => {
            let standing = app.limits.take(Bucket::Stranger);
            let refused = within(&standing).err().unwrap_or(problem);
            return (None, Err(refused));
        }
    };
    let standing = app.limits.take(Bucket::Key(&caller.key_id));
    let may = scopes.iter().any(|scope| caller.may(*scope));
    let verdict = within(&standing).and_then(|()| may.then_some(()).ok_or(Problem::forbidden(scopes)));
    request.extensions_mut().insert(caller);
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

async fn authenticate(app: &Shared, headers: &HeaderMap) -> Result<Caller, Problem> {
    let unknown = || {
        let challenge = r#"Bearer realm="tollgate", error="invalid_token""#;
        Problem::unauthorized(challenge, "this API key is unknown or revoked")
    };
    let key = shown_key(headers)?;
    let digits = key.strip_prefix(KEY_PREFIX).ok_or_else(unknown)?;
    let sound = digits.len() == KEY_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !sound {
        return Err(unknown());
    }
    app.engine.caller(key).await?.ok_or_else(unknown)
}

fn shown_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let bearer = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let plain = headers.get_all(API_KEY).iter();
    let plain = plain.map(|value| value.to_str().ok().map(str::trim));
    let mut shown: Vec<&str> = bearer.chain(plain).map(Option::unwrap_or_default).collect();
    shown.dedup();
    let challenge = r#"Bearer realm="tollgate""#;
    match shown.as_slice() {
        [key] => Ok(key),
        [] => {
            let detail = "an API key is needed: Authorization: Bearer tg_…, or x-api-key";
            Err(Problem::unauthorized(challenge, detail))
        }
        _ => Err(Problem::unauthorized(
            challenge,
            "more than one API key was shown; show one",
        )),
    }
}
