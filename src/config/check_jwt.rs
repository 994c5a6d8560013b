//! `[jwt]`: what end users' tokens must be signed by, and must claim.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::check::{Context, secret_file};
use super::checked::{ClaimPath, Jwks, JwksUrl, Jwt, KeyAlgorithm};
use super::{raw, value};
use crate::domain::Role;

/// The most secrets: each may have to be tried.
const MAX_SECRETS: usize = 8;

/// The most names that lead to a claim, and the longest of them in bytes.
const MAX_NAMES: usize = 8;
const MAX_NAME_BYTES: usize = 200;

const ALGORITHMS: [(&str, KeyAlgorithm); 3] = [
    ("RS256", KeyAlgorithm::Rs256),
    ("ES256", KeyAlgorithm::Es256),
    ("EdDSA", KeyAlgorithm::EdDsa),
];

pub(super) fn jwt(mut raw: raw::Jwt, context: &mut Context<'_>) -> Option<Jwt> {
    let secrets = context.secrets(
        ("jwt", "hs256_secrets"),
        (raw.hs256_secrets.take(), raw.hs256_secrets_file.take()),
        value::hs256_secret,
    );
    if secrets
        .as_ref()
        .is_some_and(|secrets| secrets.len() > MAX_SECRETS)
    {
        let problem = format!("must be at most {MAX_SECRETS} secrets; remove those that no longer sign");
        context.faults.add("jwt.hs256_secrets", problem);
    }
    let jwks = jwks(&mut raw, context);
    let faults = &mut context.faults;
    if raw.issuer.is_none() && matches!(jwks, Some(Some(_))) {
        let problem = "is required beside public keys: the same issuer may sign for others too";
        faults.add("jwt.issuer", problem);
    }
    let algorithms = algorithms(&raw.algorithms);
    let algorithms = faults.take("jwt.algorithms", algorithms);
    let user_claim = faults.take("jwt.user_claim", claim(raw.user_claim));
    let tenant_claim = faults.take("jwt.tenant_claim", claim(raw.tenant_claim));
    let role_claim = faults.take("jwt.role_claim", claim(raw.role_claim));
    let default_role = faults.take("jwt.default_role", default_role(&raw.default_role));
    let allowed = Duration::ZERO..=Duration::from_mins(5);
    let leeway = faults.take("jwt.leeway", value::duration(&raw.leeway, &allowed));
    let rate = value::number(raw.requests_per_second, &(1..=1_000_000));
    let rate = faults.take("jwt.requests_per_second", rate);
    Some(Jwt {
        hs256_secrets: secrets?,
        jwks: jwks?,
        algorithms: algorithms?,
        issuer: raw.issuer,
        audiences: raw.audiences,
        user_claim: user_claim?,
        tenant_claim: tenant_claim?,
        role_claim: role_claim?,
        default_role: default_role?,
        leeway: leeway?,
        requests_per_second: rate?,
    })
}

/// The outer `None` is a fault, the inner one that no public keys are given.
#[expect(
    clippy::option_option,
    reason = "a fault and what is not given lead to different words"
)]
fn jwks(raw: &mut raw::Jwt, context: &mut Context<'_>) -> Option<Option<Jwks>> {
    let refresh = Duration::from_mins(1)..=Duration::from_hours(24);
    let refresh = value::duration(&raw.jwks_refresh, &refresh);
    let refresh = context.faults.take("jwt.jwks_refresh", refresh);
    let max_age = refresh.unwrap_or(Duration::from_mins(1))..=30 * Duration::from_hours(24);
    let max_age = value::duration(&raw.jwks_max_age, &max_age);
    let max_age = context.faults.take("jwt.jwks_max_age", max_age);
    let url = context.secret("jwt", "jwks_url", raw.jwks_url.take(), raw.jwks_url_file.take())?;
    let Some(url) = url else {
        let Some(path) = raw.jwks_path.take() else {
            return Some(None);
        };
        let text = secret_file(&context.base.join(path));
        let text = context.faults.take("jwt.jwks_path", text)?;
        return Some(Some(Jwks::File(text.into())));
    };
    if raw.jwks_path.is_some() {
        let problem = "jwt.jwks_url is set too; remove one";
        context.faults.add("jwt.jwks_path", problem);
    }
    let private = raw.jwks_allow_private_network;
    let schemes: &[&str] = if private { &["https", "http"] } else { &["https"] };
    let parsed = value::url(url.expose_secret(), schemes);
    context.faults.take("jwt.jwks_url", parsed)?;
    Some(Some(Jwks::Url(JwksUrl {
        url,
        refresh: refresh?,
        max_age: max_age?,
        allow_private_network: private,
    })))
}

fn algorithms(words: &[String]) -> Result<Vec<KeyAlgorithm>, &'static str> {
    let algorithm = |word: &String| ALGORITHMS.iter().find(|(known, _)| known == word);
    let found: Option<Vec<_>> = words.iter().map(algorithm).collect();
    let found = found.filter(|found| !found.is_empty());
    let found = found.ok_or("must be one or more of RS256, ES256 and EdDSA")?;
    Ok(found.into_iter().map(|(_, algorithm)| *algorithm).collect())
}

fn claim(raw::Path(names): raw::Path) -> Result<ClaimPath, String> {
    let is_name = |name: &String| (1..=MAX_NAME_BYTES).contains(&name.len());
    if (1..=MAX_NAMES).contains(&names.len()) && names.iter().all(is_name) {
        return Ok(ClaimPath(names));
    }
    Err(format!(
        "must be a claim's name of 1 to {MAX_NAME_BYTES} bytes, or a list of 1 to {MAX_NAMES} that lead to it"
    ))
}

fn default_role(word: &str) -> Result<Option<Role>, &'static str> {
    match (word, Role::of(word)) {
        ("none", _) => Ok(None),
        (_, Some(role)) => Ok(Some(role)),
        (_, None) => Err("must be \"user\", \"admin\", \"owner\" or \"none\""),
    }
}
