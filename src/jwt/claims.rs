//! What a verified token claims, and whether it does so now, here and in full. Pure.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{TokenError, User};
use crate::config::{ClaimPath, Jwt};
use crate::domain::{Millis, Role};

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// Judges the claims of a token whose signature holds.
pub(super) fn judge(claims: &Claims, settings: &Jwt, now: Millis) -> Result<User, TokenError> {
    judge_times(claims, settings.leeway, now)?;
    if let Some(issuer) = &settings.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(TokenError::Issuer);
    }
    if !is_for_us(claims.get("aud"), &settings.audiences) {
        return Err(TokenError::Audience);
    }
    let text = |path: &ClaimPath| find(claims, path).and_then(Value::as_str);
    let user = text(&settings.user_claim).and_then(|text| text.parse().ok());
    let tenant = text(&settings.tenant_claim).and_then(|text| text.parse().ok());
    let role = match find(claims, &settings.role_claim) {
        None => settings.default_role,
        Some(claimed) => claimed.as_str().and_then(Role::of),
    };
    match (tenant, user, role) {
        (Some(tenant), Some(user), Some(role)) => Ok(User { tenant, user, role }),
        (None, ..) => Err(TokenError::Claim("tenant")),
        (_, None, _) => Err(TokenError::Claim("user")),
        (.., None) => Err(TokenError::Claim("role")),
    }
}

fn judge_times(claims: &Claims, leeway: Duration, now: Millis) -> Result<(), TokenError> {
    let leeway = millis(leeway);
    let time = |name: &'static str| {
        claims
            .get(name)
            .map(|value| numeric_date(value).ok_or(TokenError::Claim(name)))
    };
    let expires = time("exp").transpose()?.ok_or(TokenError::Claim("exp"))?;
    if now >= expires.saturating_add(leeway) {
        return Err(TokenError::Expired);
    }
    match time("nbf").transpose()? {
        Some(begins) if now.saturating_add(leeway) < begins => Err(TokenError::NotYet),
        _ => Ok(()),
    }
}

/// Seconds since 1970, whole or not (RFC 7519, `NumericDate`).
fn numeric_date(value: &Value) -> Option<Millis> {
    let since_1970 = match value.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::try_from_secs_f64(value.as_f64()?).ok()?,
    };
    Some(millis(since_1970))
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Whether the token names one of our audiences. One that names an audience is not for those who have none (RFC 7519, 4.1.3).
fn is_for_us(audience: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |name: &Value| {
        name.as_str()
            .is_some_and(|name| ours.iter().any(|own| own == name))
    };
    match audience {
        None => ours.is_empty(),
        Some(Value::Array(names)) => names.iter().any(is_ours),
        Some(name) => is_ours(name),
    }
}

fn find<'c>(claims: &'c Claims, path: &ClaimPath) -> Option<&'c Value> {
    let (first, rest) = path.0.split_first()?;
    let mut found = claims.get(first)?;
    for name in rest {
        found = found.get(name)?;
    }
    Some(found)
}
