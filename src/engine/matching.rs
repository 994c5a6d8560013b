//! Whose the payments of one block are: what the rules of [`ledger::decide`] go by, looked up for all of them at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::primitives::{Address, B256, U256};
use sqlx::AnyConnection;

use super::charges::CLOCK_SKEW_MS;
use super::{EngineError, Settings, claims};
use crate::billing::Catalogue;
use crate::domain::{
    Amount, ChainId, Charge, ChargeId, MatchRule, Millis, Payment, PaymentFlag, Reference, WalletOwner,
};
use crate::ledger::{self, Match};
use crate::store::{self, OpenCharge};

/// Charges of one wallet's user that are looked at: two are too many for a rule, and a person wants to see a few more.
const MAX_OPEN: i64 = 8;

/// By what is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'e> {
    pub(super) settings: &'e Settings,
    pub(super) catalogue: &'e Catalogue,
}

/// What is known of the payments of one block.
#[derive(Debug, Default)]
struct Known {
    references: HashMap<(Address, B256), Reference>,
    leases: HashMap<(Address, Amount), Vec<ChargeId>>,
    owners: HashMap<Address, WalletOwner>,
    charges: HashMap<ChargeId, Charge>,
}

/// Finds the charge of each payment, if exactly one is to be found, and stores with it what that rests on. All of them are
/// of one block. Returns the references that were used, each once.
pub(super) async fn judge(
    conn: &mut AnyConnection,
    terms: Terms<'_>,
    payments: &mut [Payment],
) -> Result<Vec<Reference>, EngineError> {
    let known = look_up(conn, payments).await?;
    for payment in payments {
        judge_one(conn, terms, &known, payment).await?;
    }
    Ok(known.references.into_values().collect())
}

async fn look_up(conn: &mut AnyConnection, payments: &[Payment]) -> Result<Known, EngineError> {
    let mut known = Known::default();
    let Some(first) = payments.first() else {
        return Ok(known);
    };
    let (chain, treasury, at) = (first.key.chain, first.treasury, first.block_time_ms);
    let tokens: BTreeSet<Address> = payments.iter().map(|payment| payment.token).collect();
    for token in tokens {
        let of_token = || payments.iter().filter(|payment| payment.token == token);
        let used = of_token().filter_map(|payment| payment.grounds.authorization);
        let nonces: BTreeSet<B256> = used.map(|used| used.nonce).collect();
        let nonces: Vec<B256> = nonces.into_iter().collect();
        for reference in store::references(conn, (chain, token), &nonces).await? {
            known.references.insert((token, reference.nonce), reference);
        }
        let amounts: BTreeSet<Amount> = of_token().map(|payment| payment.amount).collect();
        let amounts: Vec<Amount> = amounts.into_iter().collect();
        for (amount, charge) in store::leased_charges(conn, (chain, token, treasury), &amounts, at).await? {
            known.leases.entry((token, amount)).or_default().push(charge);
        }
    }
    let payers: BTreeSet<Address> = payments.iter().map(|payment| payment.payer).collect();
    let payers: Vec<Address> = payers.into_iter().collect();
    known.owners = store::sole_owners(conn, &payers).await?.into_iter().collect();
    let referred = known.references.values().map(|reference| &reference.charge);
    let named: BTreeSet<&ChargeId> = referred.chain(known.leases.values().flatten()).collect();
    let named: Vec<ChargeId> = named.into_iter().cloned().collect();
    let charges = store::charges(conn, &named).await?.into_iter();
    known.charges = charges.map(|charge| (charge.terms.id.clone(), charge)).collect();
    Ok(known)
}

async fn judge_one(
    conn: &mut AnyConnection,
    terms: Terms<'_>,
    known: &Known,
    payment: &mut Payment,
) -> Result<(), EngineError> {
    let at = payment.block_time_ms;
    let place = (payment.key.chain, payment.token);
    let mut named: BTreeMap<MatchRule, Vec<ChargeId>> = BTreeMap::new();
    let mut meant: Vec<ChargeId> = Vec::new();
    let mut name = |rule, charges: Vec<ChargeId>| {
        if !charges.is_empty() {
            named.insert(rule, charges);
        }
    };
    match by_reference(known, payment) {
        Some((charge, true)) => name(MatchRule::Reference, vec![charge]),
        Some((charge, false)) => meant.push(charge),
        None => {}
    }
    let leased = known.leases.get(&(payment.token, payment.amount));
    name(MatchRule::ExactAmount, leased.cloned().unwrap_or_default());
    let owner = known.owners.get(&payment.payer);
    let open = match owner {
        Some(owner) => {
            let times = (at, at.saturating_add(CLOCK_SKEW_MS));
            store::open_charges_of(conn, owner, place, times, MAX_OPEN).await?
        }
        None => Vec::new(),
    };
    let is_here =
        |open: &&OpenCharge| (open.chain, open.token, open.treasury) == (place.0, place.1, payment.treasury);
    let here = open.iter().filter(is_here).map(|open| open.id.clone());
    name(MatchRule::PayerWallet, here.collect());

    let mut outcome = ledger::decide(&named);
    if outcome == Match::Unmatched {
        // Said before the payment was read; what has no charge otherwise may have one by that.
        let claimed = claims::named(conn, payment).await?;
        if !claimed.is_empty() {
            named.insert(MatchRule::Claim, claimed);
            outcome = ledger::decide(&named);
        }
    }
    payment.grounds.named = named;
    payment.grounds.wallet = owner.cloned();
    match outcome {
        Match::Charge(charge, rule) => {
            let given = match known.charges.get(&charge) {
                Some(charge) => Some(charge.clone()),
                None => store::charge(conn, &charge).await?,
            };
            if given.map_or(Ok(false), |given| is_held(terms, &given, at))? {
                payment.flags.set(PaymentFlag::Held, true);
            } else {
                payment.allocation = Some((charge, rule));
            }
        }
        Match::Ambiguous => payment.flags.set(PaymentFlag::Ambiguous, true),
        Match::Unmatched => {
            let is_accepted = terms.settings.chain(place.0)?.token(place.1).is_some();
            payment.flags.set(PaymentFlag::WrongToken, !is_accepted);
            let found = elsewhere(conn, terms.settings, payment, &open).await?;
            for (charge, chain, token) in found {
                payment.flags.set(PaymentFlag::WrongChain, chain != place.0);
                payment
                    .flags
                    .set(PaymentFlag::WrongToken, chain == place.0 && token != place.1);
                meant.push(charge);
            }
        }
    }
    meant.sort();
    meant.dedup();
    payment.grounds.meant = meant;
    Ok(())
}

/// The charge whose reference a payment was made with, and whether it is still paid by that.
fn by_reference(known: &Known, payment: &Payment) -> Option<(ChargeId, bool)> {
    let used = payment.grounds.authorization?;
    let reference = known.references.get(&(payment.token, used.nonce))?;
    let terms = &known.charges.get(&reference.charge)?.terms;
    let is_payable = terms.treasury == payment.treasury && payment.block_time_ms <= terms.grace_until;
    Some((terms.id.clone(), is_payable))
}

/// Whether a payment comes late for a charge whose price has changed since: then a person decides.
pub(super) fn is_held(
    Terms { settings, catalogue }: Terms<'_>,
    charge: &Charge,
    at: Millis,
) -> Result<bool, EngineError> {
    let terms = &charge.terms;
    if at <= terms.expires_at {
        return Ok(false);
    }
    let token = settings.chain(terms.chain)?.known_token(terms.token);
    let price = token.and_then(|token| super::charges::price(catalogue, &terms.product, token));
    Ok(price != Some(terms.price))
}

/// The charges that would be named, had the same units been paid in their token, or by the same wallet: with where they are
/// to be paid.
async fn elsewhere(
    conn: &mut AnyConnection,
    settings: &Settings,
    payment: &Payment,
    open: &[OpenCharge],
) -> Result<Vec<(ChargeId, ChainId, Address)>, EngineError> {
    let own = (payment.key.chain, payment.token);
    let own_token = settings.chain(own.0)?.known_token(own.1);
    let mut found = Vec::new();
    for chain in settings
        .chains
        .iter()
        .filter(|chain| chain.treasury == Some(payment.treasury))
    {
        for token in chain
            .tokens
            .iter()
            .filter(|token| (chain.id, token.address) != own)
        {
            let amount = own_token.and_then(|own| rescale(payment.amount, own.decimals, token.decimals));
            let Some(amount) = amount else { continue };
            let place = (chain.id, token.address, payment.treasury);
            let leased = store::leased_charges(conn, place, &[amount], payment.block_time_ms).await?;
            found.extend(
                leased
                    .into_iter()
                    .map(|(_, charge)| (charge, chain.id, token.address)),
            );
        }
    }
    let by_wallet = open.iter().filter(|open| open.treasury == payment.treasury);
    found.extend(by_wallet.map(|open| (open.id.clone(), open.chain, open.token)));
    Ok(found)
}

/// The same units at other decimals, where they can be written so.
fn rescale(amount: Amount, from: u8, to: u8) -> Option<Amount> {
    let ten = |by: u8| U256::from(10).checked_pow(U256::from(by));
    if from <= to {
        return amount.0.checked_mul(ten(to - from)?).map(Amount);
    }
    let (whole, rest) = amount.0.div_rem(ten(from - to)?);
    rest.is_zero().then_some(Amount(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_same_at_other_decimals_or_cannot_be_written() {
        let amount = |base: u64| Amount::from(base);
        assert_eq!(rescale(amount(15_000_123), 6, 6), Some(amount(15_000_123)));
        assert_eq!(rescale(amount(15_000_123), 6, 8), Some(amount(1_500_012_300)));
        assert_eq!(rescale(amount(1_500_012_300), 8, 6), Some(amount(15_000_123)));
        assert_eq!(rescale(amount(1_500_012_301), 8, 6), None);
        assert_eq!(rescale(Amount(U256::MAX), 6, 18), None);
        let at_bsc = Amount::from_units("15.000123", 18).unwrap();
        assert_eq!(rescale(amount(15_000_123), 6, 18), Some(at_bsc));
        assert_eq!(rescale(at_bsc, 18, 6), Some(amount(15_000_123)));
        assert_eq!(rescale(at_bsc.saturating_add(amount(1)), 18, 6), None);
        assert_eq!(rescale(amount(1), 0, 255), None);
    }
}
