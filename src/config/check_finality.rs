//! The check of when a chain's blocks count: tiers by amount, tags and operators.

use std::time::Duration;

use toml::Value;

use super::check_chain::{MAX_DECIMALS, number};
use super::fault::{Faults, join, read};
use super::{raw, value};
use crate::domain::{Amount, Finality, MAX_TIERS, Tag, Tier, Token};

const MAX_TAG_AGE: &str = "30m";
const MAX_CONFIRMATIONS: i64 = 10_000;

/// The tiers, or the one that `confirmations` stands for.
pub(super) fn finality(path: &str, raw: &raw::Chain, faults: &mut Faults) -> Option<Finality> {
    let confirmations = join(path, "confirmations");
    match (raw.confirmations, &raw.finality) {
        (Some(written), None) => {
            number(&confirmations, written, 1..=MAX_CONFIRMATIONS, faults).map(Finality::of_confirmations)
        }
        (None, Some(written)) => tiers(&join(path, "finality"), written, faults),
        (Some(_), Some(_)) => {
            faults.add(confirmations, "says the same as finality: remove one of the two");
            None
        }
        (None, None) => {
            faults.add(
                confirmations,
                "is required, or [[…finality]] with tiers by amount",
            );
            None
        }
    }
}

fn tiers(path: &str, written: &[Value], faults: &mut Faults) -> Option<Finality> {
    let mut tiers: Vec<Tier> = Vec::new();
    let before = faults.len();
    for (place, value) in written.iter().enumerate() {
        let path = format!("{path}[{place}]");
        let Some(tier) = tier(&path, value, faults) else {
            continue;
        };
        if tiers.iter().any(|other| other.name == tier.name) {
            faults.add(join(&path, "name"), "is the name of another tier of this chain");
        }
        let at = join(&path, "up_to");
        match (&tier.up_to, place + 1 == written.len()) {
            (Some(_), true) => {
                faults.add(
                    at,
                    "must not stand in the last tier, to which all larger amounts belong",
                );
            }
            (None, false) => faults.add(at, "is required in every tier but the last"),
            (Some(bound), false) if !rises(tiers.last(), bound) => {
                faults.add(at, "must be above that of the tier before it");
            }
            _ => {}
        }
        tiers.push(tier);
    }
    let finality = Finality::new(tiers);
    if finality.is_none() && faults.len() == before {
        faults.add(path, format!("must hold 1 to {MAX_TIERS} tiers"));
    }
    finality.filter(|_| faults.len() == before)
}

fn rises(below: Option<&Tier>, bound: &str) -> bool {
    let exact = |units: &str| Amount::from_units(units, MAX_DECIMALS).ok();
    let below = below.and_then(|tier| exact(tier.up_to.as_deref()?));
    below < exact(bound)
}

fn tier(path: &str, written: &Value, faults: &mut Faults) -> Option<Tier> {
    let at = |key: &str| join(path, key);
    let raw: raw::Tier = read(path, written.clone(), faults)?;
    let name = faults.take(&at("name"), value::name(&raw.name));
    let up_to = raw.up_to.map(|units| {
        let above_zero = Amount::from_units(&units.0, MAX_DECIMALS)
            .map_err(|problem| problem.to_string())
            .and_then(|bound| {
                if bound.is_zero() {
                    Err("must be above 0".into())
                } else {
                    Ok(())
                }
            });
        faults.take(&at("up_to"), above_zero).map(|()| units.0)
    });
    let depth = 1..=MAX_CONFIRMATIONS;
    let confirmations = raw.confirmations.unwrap_or(1);
    let confirmations = number(&at("confirmations"), confirmations, depth.clone(), faults);
    let tag = raw.tag.map(|word| {
        let tag = match word.as_str() {
            "safe" => Ok(Tag::Safe),
            "finalized" => Ok(Tag::Finalized),
            _ => Err("must be \"safe\" or \"finalized\""),
        };
        faults.take(&at("tag"), tag)
    });
    let or_confirmations = raw
        .or_confirmations
        .map(|blocks| number(&at("or_confirmations"), blocks, depth, faults));
    if tag.is_none() && or_confirmations.is_some() {
        faults.add(at("or_confirmations"), "stands in for a tag, and there is none");
    }
    let allowed = Duration::ZERO..=Duration::from_hours(24);
    let min_age = raw.min_age.as_deref().unwrap_or("0s");
    let min_age = faults.take(&at("min_age"), value::duration(min_age, &allowed));
    Some(Tier {
        name: name?,
        up_to: up_to.map_or(Some(None), |units| units.map(Some))?,
        confirmations: confirmations?,
        tag: tag.map_or(Some(None), |tag| tag.map(Some))?,
        or_confirmations: or_confirmations.map_or(Some(None), |blocks| blocks.map(Some))?,
        min_age: min_age?,
    })
}

/// A bound that a token cannot carry would put every amount into the tier above.
pub(super) fn bounds_fit(path: &str, finality: &Finality, tokens: &[Token], faults: &mut Faults) {
    for (place, tier) in finality.tiers().iter().enumerate() {
        let Some(bound) = &tier.up_to else { continue };
        for token in tokens {
            if let Err(problem) = Amount::from_units(bound, token.decimals) {
                let at = join(path, &format!("finality[{place}].up_to"));
                faults.add(at, format!("{problem}, which {} cannot have", token.symbol));
            }
        }
    }
}

pub(super) fn max_tag_age(path: &str, raw: &raw::Chain, faults: &mut Faults) -> Option<Duration> {
    let allowed = Duration::from_secs(1)..=Duration::from_hours(24);
    let text = raw.max_tag_age.as_deref().unwrap_or(MAX_TAG_AGE);
    faults.take(&join(path, "max_tag_age"), value::duration(text, &allowed))
}
