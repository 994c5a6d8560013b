//! What Coinbase Commerce said of its charges (<https://docs.cdp.coinbase.com/commerce/api-arcitecture/webhooks-fields>). It
//! closed on 2026-03-31; its events are still replayed by those who stored them.
//!
//! An event is `charge:created`, `charge:pending`, `charge:confirmed`, `charge:failed`, `charge:delayed` (money came late, or
//! not as much as was asked) or `charge:resolved` (the merchant accepted that). What arrived is the sum of the payments
//! that it lists, in the currency of its price.

use serde_json::Value;

use super::field::{Field, FieldError};
use super::{CHARGE_FIELD, EventName};
use crate::domain::{Credit, HostedReport, HostedState, Millis, Price};

pub(super) fn name(body: &Value) -> Result<EventName, FieldError> {
    let event = Field::root(body).require("event")?;
    Ok(EventName {
        id: event.require("id")?.name()?,
        kind: event.require("type")?.name()?,
    })
}

pub(super) fn read(body: &Value) -> Result<Option<HostedReport>, FieldError> {
    let event = Field::root(body).require("event")?;
    let kind = event.require("type")?.name()?;
    let state = match kind.as_str() {
        "charge:created" => HostedState::Open,
        "charge:pending" => HostedState::Pending,
        "charge:failed" => HostedState::Failed,
        "charge:confirmed" | "charge:delayed" | "charge:resolved" => HostedState::Paid,
        _ => return Ok(None),
    };
    let data = event.require("data")?;
    let local = data.require("pricing")?.require("local")?;
    let price = Price {
        amount: local.require("amount")?.sum()?,
        currency: local.require("currency")?.name()?,
    };
    let listed = listed(&data, &price, state)?;
    let received = match state {
        // That it came late, or not as it was asked, does not say how much.
        HostedState::Paid if kind == "charge:delayed" => listed.unwrap_or_default(),
        HostedState::Pending | HostedState::Paid => listed.unwrap_or(price.amount),
        _ => Credit::ZERO,
    };
    let metadata = data.get("metadata");
    let charge = metadata.and_then(|metadata| metadata.get(CHARGE_FIELD));
    let said_at = event.require("created_at")?.instant()?;
    Ok(Some(HostedReport {
        reference: data.require("id")?.name()?,
        charge: charge.map(|charge| charge.name()).transpose()?,
        price,
        state,
        at: match state {
            HostedState::Paid => detected_at(&data)?.unwrap_or(said_at),
            _ => said_at,
        },
        received,
        refunded: Credit::ZERO,
    }))
}

/// The sum of the payments that it lists in the currency of its price: those that are confirmed, or all that are under way.
fn listed(data: &Field<'_>, price: &Price, state: HostedState) -> Result<Option<Credit>, FieldError> {
    let mut sum = None;
    for payment in data.get("payments").iter().flat_map(Field::elements) {
        let status = payment.require("status")?.name()?;
        if state == HostedState::Paid && !status.eq_ignore_ascii_case("confirmed") {
            continue;
        }
        let value = payment.require("value")?.require("local")?;
        if value.require("currency")?.name()? == price.currency {
            let amount = value.require("amount")?.sum()?;
            sum = Some(sum.unwrap_or(Credit::ZERO).plus(amount));
        }
    }
    Ok(sum)
}

/// When money was first seen.
fn detected_at(data: &Field<'_>) -> Result<Option<Millis>, FieldError> {
    let mut earliest: Option<Millis> = None;
    for payment in data.get("payments").iter().flat_map(Field::elements) {
        if let Some(at) = payment.get("detected_at") {
            let at = at.instant()?;
            earliest = Some(earliest.map_or(at, |known| known.min(at)));
        }
    }
    for step in data.get("timeline").iter().flat_map(Field::elements) {
        let is_seen = step.require("status")?.name()?.eq_ignore_ascii_case("pending");
        if is_seen && earliest.is_none() {
            earliest = Some(step.require("time")?.instant()?);
        }
    }
    Ok(earliest)
}
