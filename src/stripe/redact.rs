//! What is never stored: card and bank account numbers, card checks, expiries, and secrets.
//!
//! Owns the list of names. It goes by names and not by values, because an id of the chat product may look like a card number.
//! Must run on whatever of Stripe's JSON is kept, in the inbox and in the mirror alike.

use serde_json::{Map, Value};

/// Below this nothing is kept: no object of Stripe nests as deeply, and the walk must end.
const MAX_DEPTH: usize = 64;
/// Stands where something was.
const REDACTED: &str = "[redacted]";

/// Names that are never kept, wherever they stand; in lower case without `_` and `-`, so that `expMonth` is one too.
const NEVER_KEPT: [&str; 24] = [
    "cardnumber",
    "pan",
    "cvc",
    "cvc2",
    "cvv",
    "cvv2",
    "securitycode",
    "expmonth",
    "expyear",
    "expiry",
    "expirydate",
    "expirymonth",
    "expiryyear",
    "expirationdate",
    "accountnumber",
    "bankaccountnumber",
    "routingnumber",
    "iban",
    "sortcode",
    "clabe",
    "password",
    "pin",
    "clientsecret",
    "secret",
];

/// Beside these, or within something called a card or an account, `number` is one that is never kept. An invoice's is kept.
const CARD_COMPANIONS: [&str; 4] = ["exp_month", "cvc", "last4", "routing_number"];

/// Replaces what must not be stored, in place and to any depth; what is nested more than 64 deep is replaced as a whole.
pub fn redact(value: &mut Value) {
    walk(value, false, MAX_DEPTH);
}

fn walk(value: &mut Value, within_instrument: bool, depth: usize) {
    if depth == 0 && (value.is_object() || value.is_array()) {
        *value = Value::from(REDACTED);
        return;
    }
    match value {
        Value::Array(elements) => {
            for element in elements {
                walk(element, within_instrument, depth - 1);
            }
        }
        Value::Object(members) => {
            let hides_number = within_instrument || has_companion(members);
            for (key, member) in members.iter_mut() {
                let name = normal(key);
                let hides = NEVER_KEPT.contains(&name.as_str()) || (hides_number && name == "number");
                if hides && !member.is_null() {
                    *member = Value::from(REDACTED);
                } else {
                    walk(member, names_instrument(&name), depth - 1);
                }
            }
        }
        _ => {}
    }
}

fn has_companion(members: &Map<String, Value>) -> bool {
    CARD_COMPANIONS.iter().any(|name| members.contains_key(*name))
}

fn names_instrument(name: &str) -> bool {
    name.contains("card") || name.contains("bankaccount")
}

fn normal(key: &str) -> String {
    let kept = key.chars().filter(|letter| !matches!(letter, '_' | '-' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redacted(mut value: Value) -> Value {
        redact(&mut value);
        value
    }

    #[test]
    fn card_and_account_data_are_never_kept() {
        let kept = redacted(json!({
            "id": "pm_1",
            "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123", "last4": "4242", "brand": "visa"},
            "us_bank_account": {"account_number": "000123456789", "routing_number": "110000000", "last4": "6789"},
            "charges": {"data": [{"payment_method_details": {"card": {"exp_month": 1, "expMonth": 1}}}]},
            "metadata": {"card-number": "4242424242424242", "Password": "hunter2", "tenant_id": "acme"},
            "client_secret": "pi_1_secret_2",
        }));
        let text = kept.to_string();
        for gone in [
            "4242424242424242",
            "123456789",
            "110000000",
            "hunter2",
            "2030",
            "\"123\"",
            "secret_2",
        ] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        assert_eq!(kept["card"]["last4"], "4242");
        assert_eq!(kept["card"]["brand"], "visa");
        assert_eq!(kept["card"]["exp_month"], REDACTED);
        assert_eq!(
            kept["charges"]["data"][0]["payment_method_details"]["card"]["expMonth"],
            REDACTED
        );
        assert_eq!(kept["metadata"]["tenant_id"], "acme");
    }

    #[test]
    fn an_invoice_keeps_its_number_and_what_is_null_stays_so() {
        let invoice =
            json!({"object": "invoice", "number": "ABC-0001", "account_number": null, "pinned": true});
        assert_eq!(redacted(invoice.clone()), invoice);
    }

    #[test]
    fn the_walk_ends() {
        let mut deep = json!({"cvc": "123"});
        for _ in 0..500 {
            deep = Value::Array(vec![deep]);
        }
        redact(&mut deep);
        let mut reached = 0;
        let mut level = &deep;
        while let Value::Array(inner) = level {
            level = &inner[0];
            reached += 1;
        }
        assert_eq!(reached, MAX_DEPTH);
        assert_eq!(level, REDACTED);
    }
}
