//! What Coinbase Business says of its checkouts
//! (<https://docs.cdp.coinbase.com/coinbase-business/checkout-apis/webhooks>): an event is the checkout as it stands, with
//! `eventType` beside.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::field::{Field, FieldError};
use super::{CHARGE_FIELD, EventName};
use crate::domain::{Credit, HostedReport, HostedState, Price};

/// Its events have no id, so the bytes that were signed are their name.
pub(super) fn name(raw: &[u8], body: &Value) -> Result<EventName, FieldError> {
    Ok(EventName {
        id: format!("sha256:{}", hex::encode(Sha256::digest(raw))),
        kind: Field::root(body).require("eventType")?.name()?,
    })
}

pub(super) fn read(body: &Value) -> Result<Option<HostedReport>, FieldError> {
    let event = Field::root(body);
    let state = match event.require("eventType")?.name()?.as_str() {
        "checkout.payment.success" => HostedState::Paid,
        "checkout.payment.failed" => HostedState::Failed,
        "checkout.payment.expired" => HostedState::Expired,
        "checkout.refund.success" => HostedState::Refunded,
        _ => return Ok(None),
    };
    let price = Price {
        amount: event.require("amount")?.sum()?,
        currency: event.require("currency")?.name()?,
    };
    let has_arrived = matches!(state, HostedState::Paid | HostedState::Refunded);
    let received = match event.get("settlement").filter(|_| has_arrived) {
        Some(settlement) if settlement.require("currency")?.name()? == price.currency => {
            settlement.require("totalAmount")?.sum()?
        }
        _ if has_arrived => price.amount,
        _ => Credit::ZERO,
    };
    let refunded = match event.get("refundedAmount") {
        Some(refunded) => refunded.sum()?,
        None if state == HostedState::Refunded => received,
        None => Credit::ZERO,
    };
    let metadata = event.get("metadata");
    let charge = metadata.and_then(|metadata| metadata.get(CHARGE_FIELD));
    Ok(Some(HostedReport {
        reference: event.require("id")?.name()?,
        charge: charge.map(|charge| charge.name()).transpose()?,
        price,
        state,
        at: event.require("updatedAt")?.instant()?,
        received,
        refunded,
    }))
}
