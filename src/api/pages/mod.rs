//! The checkout page: one document with all that is needed to pay by hand, rendered here; its script keeps it true and pays
//! with a wallet in the browser.
//!
//! The page's URL is a capability: no other site is told of it, asked for anything, or may frame the page. Nothing of the
//! document runs but the script that is built in, by its hash.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Shared;
use super::extract::Id;
use super::markup::{escape, render};
use super::problem::Problem;
use crate::domain::{Amount, ChainId, ChargeFlag, ChargeId, ChargeState, Hindrance};
use crate::engine::ChargeView;

const PAY: &str = include_str!("pay.html");
const MISSING: &str = include_str!("missing.html");
const STYLE: &str = include_str!("pay.css");
const SCRIPT: &str = concat!(include_str!("pay.js"), include_str!("wallet.js"));

/// What is the same for every page.
#[derive(Debug)]
pub(super) struct Pages {
    policy: String,
}

impl Pages {
    /// The pages that are built in.
    pub(super) fn new() -> Self {
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        let (script, style) = (hash(SCRIPT), hash(STYLE));
        Self {
            // Wallets announce their icons as data.
            policy: format!(
                "default-src 'none'; script-src {script}; style-src {style}; img-src 'self' data:; \
                 connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
        }
    }

    fn answer(&self, status: StatusCode, document: String) -> Response {
        let headers: [(HeaderName, &str); 8] = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, &self.policy),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            // Wallets that open a window of their own talk back to the page.
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin-allow-popups",
            ),
            (
                HeaderName::from_static("permissions-policy"),
                "camera=(), geolocation=(), microphone=()",
            ),
        ];
        (status, headers, document).into_response()
    }
}

/// Which of the page's messages fits a charge; its script decides the same from then on.
fn case_of(charge: &ChargeView) -> &'static str {
    let is_underpaid = charge.flags.contains(&ChargeFlag::Underpaid);
    match charge.state {
        ChargeState::Open | ChargeState::Confirming if is_underpaid => "underpaid",
        ChargeState::Confirming if charge.confirmations >= Some(charge.confirmations_required) => "settling",
        state => state.as_str(),
    }
}

/// What of a charge stands in the page.
struct Shown<'a> {
    charge: &'a ChargeView,
    case: &'static str,
    plan: &'a str,
    chain: &'a str,
}

impl Shown<'_> {
    fn is_payable(&self) -> bool {
        let is_hindered = Hindrance::ALL
            .iter()
            .any(|hindrance| self.charge.flags.contains(&hindrance.flag()));
        ["open", "underpaid", "reversed"].contains(&self.case) && !is_hindered
    }

    /// The value of a place in the page, as markup: `?case` and `+flag` hide what does not fit.
    fn markup(&self, place: &str) -> String {
        match place {
            "style" => STYLE.to_owned(),
            "script" => SCRIPT.to_owned(),
            "charge" => json!(self.charge).to_string().replace('<', "\\u003c"),
            place => match place.split_at(1) {
                ("?", case) => hidden_unless(case == self.case),
                ("+", flag) => hidden_unless(self.charge.flags.iter().any(|has| json!(has) == flag)),
                _ => escape(&self.text(place)),
            },
        }
    }

    fn text(&self, place: &str) -> Cow<'_, str> {
        let charge = self.charge;
        match place {
            "title" => format!("Pay {} {}", charge.due.amount, charge.token.symbol).into(),
            "case" => self.case.into(),
            "payable" => if self.is_payable() { "yes" } else { "no" }.into(),
            "plan" => self.plan.into(),
            "interval" => charge.interval.into(),
            "chain" => people_call(self.chain).into(),
            "chain_id" => charge.chain_id.to_string().into(),
            "symbol" => charge.token.symbol.as_str().into(),
            "token" => charge.token.address.as_str().into(),
            "treasury" => charge.treasury.as_str().into(),
            "due" => charge.due.amount.as_str().into(),
            "seen" => charge.seen.amount.as_str().into(),
            "confirmed" => charge.confirmed.amount.as_str().into(),
            "remaining" => charge.remaining.amount.as_str().into(),
            "excess" => excess(charge).into(),
            "confirmations" => charge.confirmations.unwrap_or_default().to_string().into(),
            "required" => charge.confirmations_required.to_string().into(),
            "uri" => charge.payment_uri.as_str().into(),
            "expires_at" => charge.expires_at.as_str().into(),
            "expires_at_text" => in_words(&charge.expires_at).into(),
            "grace_until" => charge.grace_until.as_str().into(),
            "grace_until_text" => in_words(&charge.grace_until).into(),
            "id" => charge.id.as_str().into(),
            // Beside the page, so that it holds behind a proxy's path too.
            "api" => format!("../api/billing/crypto/charge/{}", charge.id).into(),
            _ => "".into(),
        }
    }
}

fn hidden_unless(fits: bool) -> String {
    if fits { "" } else { "hidden" }.to_owned()
}

fn excess(charge: &ChargeView) -> String {
    let amount = |text: &str| text.parse::<Amount>().unwrap_or_default();
    let excess = amount(&charge.seen.base_units).saturating_sub(amount(&charge.due.base_units));
    excess.to_units(charge.due.decimals)
}

/// `2026-01-31T16:05:00.000Z` as `2026-01-31 16:05 UTC`.
fn in_words(time: &str) -> String {
    let (date, time) = time.split_once('T').unwrap_or((time, ""));
    format!("{date} {} UTC", time.get(..5).unwrap_or(time))
}

/// A chain's configured name as people write it: `arbitrum-sepolia` is Arbitrum Sepolia, `bsc` is BSC.
fn people_call(name: &str) -> String {
    let capitalised = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    let words = name.split(['-', '_']).map(|word| match word.len() {
        0..=3 => word.to_ascii_uppercase(),
        _ => capitalised(word),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The page where a charge is paid
///
/// For people: what to pay, to whom and until when, as text and QR code; buttons for the browser's wallets; and how far the
/// payment is. All of it but the buttons stands in the document itself.
#[utoipa::path(
    get,
    path = "/pay/{id}",
    operation_id = "show_checkout_page",
    tag = "crypto",
    params(("id" = String, Path, description = "The charge")),
    responses(
        (status = 200, description = "The page", content_type = "text/html", body = String),
        (status = 404, description = "A page that says that there is no such charge", content_type = "text/html", body = String)
    )
)]
pub(super) async fn pay(
    State(app): State<Shared>,
    id: Result<Id<ChargeId>, Problem>,
) -> Result<Response, Problem> {
    let found = match id {
        Ok(Id(id)) => app.engine.charge(&id, None).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    let charge = match found {
        Ok(charge) => charge.without_people(),
        Err(problem) if problem.is_not_found() => {
            let document = render(MISSING, |_| STYLE.to_owned());
            return Ok(app.pages.answer(StatusCode::NOT_FOUND, document));
        }
        Err(problem) => return Err(problem),
    };
    let plan = app.engine.catalogue().plan(&charge.plan);
    let chain = app.chain(ChainId(charge.chain_id));
    let shown = Shown {
        charge: &charge,
        case: case_of(&charge),
        plan: plan.map_or(charge.plan.as_str(), |plan| plan.name.as_str()),
        chain: chain
            .as_ref()
            .map_or(charge.chain.as_str(), |chain| chain.name.as_str()),
    };
    let document = render(PAY, |place| shown.markup(place));
    Ok(app.pages.answer(StatusCode::OK, document))
}
