//! The check of chains, their tokens and their endpoints.
//!
//! Owns the defaults of keys that stand inside a chain, as there is no table to merge them from. A token without a
//! treasury, two chains with one id and a token that is its own treasury are refused here, before they cost money.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy::primitives::Address;
use secrecy::SecretString;
use toml::{Table, Value};

use super::check::Context;
use super::checked::{Chain, Endpoint, Payments};
use super::fault::{Faults, join, read};
use super::{check_finality, raw, value};
use crate::domain::{Amount, AmountError, ChainId, Level, Token};

/// The most decimals that a token may have.
pub(super) const MAX_DECIMALS: u8 = 36;

const DUST: &str = "0.01";
const MAX_LOG_RANGE: i64 = 2000;
const REQUESTS_PER_SECOND: i64 = 25;
const MAX_IN_FLIGHT: i64 = 16;
const REQUEST_TIMEOUT: &str = "10s";

/// Every chain, in the order of their names.
pub(super) fn chains(
    written: Option<Value>,
    treasuries: &[(&'static str, String)],
    context: &mut Context<'_>,
) -> Option<Vec<Chain>> {
    let fallback = fallback_treasury(treasuries, &mut context.faults);
    let written = written.unwrap_or_else(|| Value::Table(Table::new()));
    let table: Table = read("chains", written, &mut context.faults)?;
    let mut chains: Vec<Chain> = Vec::new();
    let mut complete = true;
    for (name, written) in table {
        let path = join("chains", &name);
        match chain(&path, &name, &written, fallback, context) {
            Some(chain) => {
                if let Some(other) = chains.iter().find(|other| other.id == chain.id) {
                    let problem = format!("is the id of chains.{} too; each chain has its own", other.name);
                    context.faults.add(join(&path, "id"), problem);
                }
                chains.push(chain);
            }
            None => complete = false,
        }
    }
    complete.then_some(chains)
}

/// A tolerance that a token cannot carry would count as nothing.
pub(super) fn tolerance_fits(payments: &Payments, chains: &[Chain], faults: &mut Faults) {
    for chain in chains {
        for token in &chain.tokens {
            let units = Amount::from_units(&payments.tolerance_units, token.decimals);
            if matches!(units, Err(AmountError::TooFine(_))) {
                let Token { symbol, decimals, .. } = token;
                let problem = format!(
                    "has more than the {decimals} decimals of {symbol} on {}; use fewer",
                    chain.name
                );
                faults.add("payments.tolerance_units", problem);
            }
        }
    }
}

fn fallback_treasury(treasuries: &[(&'static str, String)], faults: &mut Faults) -> Option<Address> {
    let mut found: Option<(&str, Address)> = None;
    for (variable, text) in treasuries {
        let Some(address) = faults.take(variable, value::address(text)) else {
            continue;
        };
        match found {
            Some((first, other)) if other != address => {
                let problem =
                    format!("names another treasury than {first}; remove one or make them the same");
                faults.add(*variable, problem);
            }
            Some(_) => {}
            None => found = Some((variable, address)),
        }
    }
    found.map(|(_, address)| address)
}

fn chain(
    path: &str,
    name: &str,
    written: &Value,
    fallback: Option<Address>,
    context: &mut Context<'_>,
) -> Option<Chain> {
    let at = |key: &str| join(path, key);
    let list = |key: &str| {
        let list = written.get(key).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let raw: Option<raw::Chain> = read(path, written.clone(), &mut context.faults);
    // Looked at even where the chain itself cannot be read.
    let (token_list, endpoint_list) = match &raw {
        Some(raw) => (raw.tokens.clone(), raw.endpoints.clone()),
        None => (list("tokens"), list("endpoints")),
    };
    let id = raw
        .as_ref()
        .and_then(|raw| number(&at("id"), raw.id, 1..=i64::MAX, &mut context.faults));
    let tokens = tokens(
        path,
        ChainId(id.unwrap_or_default()),
        token_list,
        &mut context.faults,
    );
    let endpoints = endpoints(path, endpoint_list, context);
    let raw = raw?;

    let faults = &mut context.faults;
    let tokens = tokens.and_then(|tokens| accepted(&at("accept"), raw.accept.as_deref(), tokens, faults));
    let name = faults.take(path, value::name(name));
    let spacing = Duration::from_millis(50)..=Duration::from_mins(10);
    let block_time = faults.take(&at("block_time"), value::duration(&raw.block_time, &spacing));
    let poll = raw.poll_interval.as_ref().unwrap_or(&raw.block_time);
    let poll_interval = faults.take(&at("poll_interval"), value::duration(poll, &spacing));
    let finality = check_finality::finality(path, &raw, faults);
    let max_tag_age = check_finality::max_tag_age(path, &raw, faults);
    let start_block = raw
        .start_block
        .map(|start| number(&at("start_block"), start, 0..=i64::MAX, faults));
    let range = raw.max_log_range.unwrap_or(MAX_LOG_RANGE);
    let max_log_range = number(&at("max_log_range"), range, 1..=100_000, faults);
    let agree = agree(&at("agree"), raw.agree, endpoints.as_deref(), faults);
    let level = faults.take(&at("level"), level(raw.level.as_deref()));
    let (tokens, other_tokens) = tokens.unzip();
    let sells = tokens
        .as_ref()
        .is_none_or(|tokens: &Vec<Token>| !tokens.is_empty());
    let treasury = treasury(path, &raw, (fallback, sells), faults);
    if let (Some(treasury), Some(tokens)) = (treasury, &tokens)
        && tokens.iter().any(|token| token.address == treasury)
    {
        faults.add(at("treasury"), "must not be the address of a token's contract");
    }
    if let (Some(finality), Some(tokens)) = (&finality, &tokens) {
        check_finality::bounds_fit(path, finality, tokens, faults);
    }
    Some(Chain {
        name: name?,
        id: ChainId(id?),
        block_time: block_time?,
        poll_interval: poll_interval?,
        finality: finality?,
        max_tag_age: max_tag_age?,
        start_block: start_block.map_or(Some(None), |start| start.map(Some))?,
        development: raw.development,
        treasury,
        tokens: tokens?,
        other_tokens: other_tokens?,
        endpoints: endpoints?,
        max_log_range: max_log_range?,
        agree: agree?,
        level: level?,
    })
}

/// Two where there are two to ask. What was written is held against the operators, where they could be read.
fn agree(
    path: &str,
    written: Option<i64>,
    endpoints: Option<&[Endpoint]>,
    faults: &mut Faults,
) -> Option<usize> {
    let operators: BTreeSet<&str> = endpoints?
        .iter()
        .map(|endpoint| endpoint.operator.as_str())
        .collect();
    let known = operators.len();
    let Some(written) = written else {
        return Some(known.clamp(1, 2));
    };
    let agree: usize = number(path, written, 1..=i64::MAX, faults)?;
    if agree > known {
        let problem = format!("must be at most {known}: so many operators have endpoints here");
        faults.add(path, problem);
        return None;
    }
    Some(agree)
}

fn level(written: Option<&str>) -> Result<Option<Level>, String> {
    match written {
        None | Some("auto") => Ok(None),
        Some("receipts") => Ok(Some(Level::Receipts)),
        Some("asked") => Ok(Some(Level::Asked)),
        Some("none") => Ok(Some(Level::None)),
        Some(_) => Err("must be auto, receipts, asked or none".to_owned()),
    }
}

fn treasury(
    path: &str,
    raw: &raw::Chain,
    (fallback, sells): (Option<Address>, bool),
    faults: &mut Faults,
) -> Option<Address> {
    let path = join(path, "treasury");
    match (&raw.treasury, fallback) {
        (Some(text), _) => faults.take(&path, value::address(text)),
        (None, None) if sells && !raw.tokens.is_empty() => {
            let problem = "is required where tokens are accepted; TREASURY_WALLET_ADDRESS names one for all chains, and \
                           accept = [] takes none here";
            faults.add(path, problem);
            None
        }
        (None, fallback) => fallback,
    }
}

pub(super) fn number<T: TryFrom<i64>>(
    path: &str,
    written: i64,
    allowed: std::ops::RangeInclusive<i64>,
    faults: &mut Faults,
) -> Option<T> {
    faults.take(path, value::number(written, &allowed))
}

fn tokens(path: &str, chain: ChainId, written: Vec<Value>, faults: &mut Faults) -> Option<Vec<Token>> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut complete = true;
    for (place, written) in written.into_iter().enumerate() {
        let path = format!("{path}.tokens[{place}]");
        let Some(token) = token(&path, chain, written, faults) else {
            complete = false;
            continue;
        };
        if tokens.iter().any(|other| other.address == token.address) {
            faults.add(
                join(&path, "address"),
                "is the address of another token of this chain",
            );
        }
        if tokens.iter().any(|other| other.symbol == token.symbol) {
            let problem =
                "is the symbol of another token of this chain; call a bridged one USDC.e, for instance";
            faults.add(join(&path, "symbol"), problem);
        }
        tokens.push(token);
    }
    complete.then_some(tokens)
}

/// The tokens that `accept` names, all of them where it is not written, and the others.
fn accepted(
    path: &str,
    written: Option<&[String]>,
    tokens: Vec<Token>,
    faults: &mut Faults,
) -> Option<(Vec<Token>, Vec<Token>)> {
    let Some(written) = written else {
        return Some((tokens, Vec::new()));
    };
    let before = faults.len();
    for (place, symbol) in written.iter().enumerate() {
        let path = format!("{path}[{place}]");
        if !tokens.iter().any(|token| token.symbol == *symbol) {
            let known: Vec<&str> = tokens.iter().map(|token| token.symbol.as_str()).collect();
            let known = known.join(", ");
            faults.add(
                path,
                format!("is the symbol of no token of this chain; there are: {known}"),
            );
        } else if written[..place].contains(symbol) {
            faults.add(path, "is named twice");
        }
    }
    let accepted = tokens
        .into_iter()
        .partition(|token| written.contains(&token.symbol));
    (faults.len() == before).then_some(accepted)
}

fn token(path: &str, chain: ChainId, written: Value, faults: &mut Faults) -> Option<Token> {
    let at = |key: &str| join(path, key);
    let raw: raw::Token = read(path, written, faults)?;
    let address = faults.take(&at("address"), value::address(&raw.address));
    let symbol = faults.take(&at("symbol"), value::symbol(&raw.symbol));
    let unit = match &raw.unit {
        Some(unit) => faults.take(&at("unit"), value::symbol(unit)),
        None => symbol.as_deref().map(|symbol| usual_unit(symbol).to_owned()),
    };
    let decimals: Option<u8> = number(&at("decimals"), raw.decimals, 0..=i64::from(MAX_DECIMALS), faults);
    let dust = raw.dust.map_or_else(|| DUST.to_owned(), |units| units.0);
    let dust = decimals.and_then(|decimals| {
        let amount = match Amount::from_units(&dust, decimals) {
            Ok(amount) if amount.is_zero() => {
                Err("must be above 0: a transfer of nothing proves nothing".into())
            }
            other => other.map_err(|problem| problem.to_string()),
        };
        faults.take(&at("dust"), amount)
    });
    Some(Token {
        chain,
        address: address?,
        symbol: symbol?,
        unit: unit?,
        decimals: decimals?,
        dust: dust?,
    })
}

/// What one of a token is worth where nothing else is written: the dollars are called by their currency, any other token
/// is worth itself.
fn usual_unit(symbol: &str) -> &str {
    if symbol.starts_with("USD") { "USD" } else { symbol }
}

fn endpoints(path: &str, written: Vec<Value>, context: &mut Context<'_>) -> Option<Vec<Endpoint>> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut complete = true;
    let mut left_out: Vec<String> = Vec::new();
    for (place, written) in written.into_iter().enumerate() {
        let path = format!("{path}.endpoints[{place}]");
        let Some(raw) = read::<raw::Endpoint>(&path, written, &mut context.faults) else {
            complete = false;
            continue;
        };
        if let Some(variable) = raw.requires_env.as_ref().filter(|name| !context.is_set(name)) {
            left_out.push(variable.clone());
            continue;
        }
        let Some(endpoint) = endpoint(&path, raw, context) else {
            complete = false;
            continue;
        };
        if endpoints.iter().any(|other| other.name == endpoint.name) {
            let problem = "is the name of another endpoint of this chain";
            context.faults.add(join(&path, "name"), problem);
        }
        endpoints.push(endpoint);
    }
    if complete && endpoints.is_empty() {
        let mut problem =
            "must hold at least one endpoint, as [[…endpoints]] with name, operator and http or ws"
                .to_owned();
        if !left_out.is_empty() {
            let variables = left_out.join(" or ");
            problem = format!("{problem}; or set {variables}, for which there is one");
        }
        context.faults.add(join(path, "endpoints"), problem);
        return None;
    }
    complete.then_some(endpoints)
}

fn endpoint(path: &str, raw: raw::Endpoint, context: &mut Context<'_>) -> Option<Endpoint> {
    let at = |key: &str| join(path, key);
    let name = context.faults.take(&at("name"), value::name(&raw.name));
    let operator = context.faults.take(&at("operator"), value::name(&raw.operator));
    let without = raw.ws.is_none() && raw.ws_file.is_none() && raw.http.is_none() && raw.http_file.is_none();
    if without {
        let problem = "is required where there is no ws; give one of the two, or both";
        context.faults.add(at("http"), problem);
    }
    let ws = rpc_url((path, "ws"), (raw.ws, raw.ws_file), &["wss", "ws"], context);
    let http = rpc_url(
        (path, "http"),
        (raw.http, raw.http_file),
        &["https", "http"],
        context,
    );
    let faults = &mut context.faults;
    let rate = raw.requests_per_second.unwrap_or(REQUESTS_PER_SECOND);
    let rate = number(&at("requests_per_second"), rate, 1..=10_000, faults);
    let in_flight = raw.max_in_flight.unwrap_or(MAX_IN_FLIGHT);
    let in_flight = number(&at("max_in_flight"), in_flight, 1..=1024, faults);
    let allowed = Duration::from_millis(100)..=Duration::from_mins(2);
    let timeout = raw.request_timeout.as_deref().unwrap_or(REQUEST_TIMEOUT);
    let timeout = faults.take(&at("request_timeout"), value::duration(timeout, &allowed));
    Some(Endpoint {
        name: name?,
        operator: operator?,
        ws: ws?,
        http: http?,
        requests_per_second: rate?,
        max_in_flight: in_flight?,
        request_timeout: timeout?,
    })
}

#[expect(
    clippy::option_option,
    reason = "a fault and an absent URL lead to different words"
)]
fn rpc_url(
    (path, key): (&str, &str),
    (inline, file): (Option<String>, Option<String>),
    schemes: &[&str],
    context: &mut Context<'_>,
) -> Option<Option<SecretString>> {
    use secrecy::ExposeSecret as _;
    let Some(written) = context.secret(path, key, inline, file)? else {
        return Some(None);
    };
    let url = context.substitute(written.expose_secret()).and_then(|text| {
        value::url(&text, schemes)?;
        Ok(SecretString::from(text))
    });
    context.faults.take(&join(path, key), url).map(Some)
}
