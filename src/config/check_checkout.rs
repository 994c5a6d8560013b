//! `[checkout]`: who hosts checkouts, and whose signatures are believed about them.

use std::time::Duration;

use super::check::Context;
use super::checked::{Checkout, CheckoutApi};
use super::{raw, value};

/// The most secrets of one service: each is tried.
const MAX_SECRETS: usize = 8;

/// The longest name of a key, in bytes.
const MAX_KEY_ID_BYTES: usize = 255;

pub(super) fn checkout(mut raw: raw::Checkout, context: &mut Context<'_>) -> Option<Checkout> {
    let written = (raw.webhook_secrets.take(), raw.webhook_secrets_file.take());
    let business = secrets("webhook_secrets", written, context);
    let written = (
        raw.commerce_webhook_secrets.take(),
        raw.commerce_webhook_secrets_file.take(),
    );
    let commerce = secrets("commerce_webhook_secrets", written, context);
    let allowed = Duration::from_secs(1)..=Duration::from_mins(15);
    let tolerance = value::duration(&raw.tolerance, &allowed);
    let tolerance = context.faults.take("checkout.tolerance", tolerance);
    let api = api(raw, context);
    if let (Some(Some(_)), Some([])) = (&api, business.as_deref()) {
        let problem = "is required beside a provider: without it nobody would hear of what was paid";
        context.faults.add("checkout.webhook_secrets", problem);
    }
    Some(Checkout {
        api: api?,
        business_secrets: business?,
        commerce_secrets: commerce?,
        tolerance: tolerance?,
    })
}

fn secrets(
    key: &str,
    written: (Option<Vec<String>>, Option<String>),
    context: &mut Context<'_>,
) -> Option<Vec<secrecy::SecretString>> {
    let secrets = context.secrets(("checkout", key), written, value::checkout_secret)?;
    if secrets.len() > MAX_SECRETS {
        let problem = format!("must be at most {MAX_SECRETS} secrets; remove those that no longer sign");
        context.faults.add(format!("checkout.{key}"), problem);
        return None;
    }
    Some(secrets)
}

/// The outer `None` is a fault, the inner one that no provider is named.
#[expect(
    clippy::option_option,
    reason = "a fault and what is not given lead to different words"
)]
fn api(raw: raw::Checkout, context: &mut Context<'_>) -> Option<Option<CheckoutApi>> {
    let secret = context.secret(
        "checkout",
        "api_key_secret",
        raw.api_key_secret,
        raw.api_key_secret_file,
    );
    let faults = &mut context.faults;
    let schemes: &[&str] = if raw.allow_private_network {
        &["https", "http"]
    } else {
        &["https"]
    };
    let base_url = value::url(&raw.base_url, schemes).and_then(|url| {
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let problem = "must be a URL without user, query or fragment";
        if is_plain && url.password().is_none() {
            Ok(url)
        } else {
            Err(problem.to_owned())
        }
    });
    let base_url = faults.take("checkout.base_url", base_url);
    let allowed = Duration::from_millis(100)..=Duration::from_secs(30);
    let timeout = faults.take("checkout.timeout", value::duration(&raw.timeout, &allowed));
    let is_used = match raw.provider.as_str() {
        "none" => Some(false),
        "coinbase_business" => Some(true),
        _ => None,
    };
    let is_used = is_used.ok_or("must be \"none\" or \"coinbase_business\"");
    if !faults.take("checkout.provider", is_used)? {
        return (base_url.is_some() && timeout.is_some() && secret.is_some()).then_some(None);
    }
    let sound = |id: &String| {
        (1..=MAX_KEY_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let id = raw.api_key_id.filter(sound);
    let id = id.ok_or("is required beside a provider: the id of the key, as the provider gave it");
    let id = faults.take("checkout.api_key_id", id);
    if matches!(secret, Some(None)) {
        faults.add("checkout.api_key_secret", "is required beside a provider");
    }
    Some(Some(CheckoutApi {
        api_key_id: id?,
        api_key_secret: secret??,
        base_url: base_url?,
        allow_private_network: raw.allow_private_network,
        timeout: timeout?,
    }))
}
