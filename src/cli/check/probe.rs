//! Asks the endpoints of one chain, all at once and each for a bounded time, and says what does not hold. A URL is never
//! shown: faults name the key that holds it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::table::cell;
use crate::chain::{self, ChainError, ChainReader, LogFilter, Network, StreamEvent};
use crate::clock::Clock;
use crate::config;
use crate::domain::{Header, Hindrance, Level, Tag, Token};
use crate::sync::{TokenContract, TokenState};

/// Longest for all questions to one endpoint together.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// A head that is older than this is a node that is not at the head: a quarter of an hour, in milliseconds.
const MAX_HEAD_AGE_MS: i64 = 15 * 60 * 1000;

/// What was found on one chain.
#[derive(Debug, Default)]
pub(super) struct Probe {
    endpoints: Vec<EndpointProbe>,
    pub(super) tokens: Vec<(Token, Option<TokenContract>)>,
    /// What contradicts the configuration, each with its key.
    pub(super) faults: Vec<String>,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

/// What was found of one endpoint.
#[derive(Debug)]
struct EndpointProbe {
    name: String,
    operator: String,
    http: &'static str,
    ws: &'static str,
    facts: Option<Facts>,
}

/// What an endpoint says of its chain.
#[derive(Debug)]
struct Facts {
    /// Block 0's hash, or why there is none.
    genesis: Result<B256, String>,
    client: String,
    head: Option<Header>,
    age_ms: Option<i64>,
    level: Option<Level>,
    tags: Vec<Tag>,
}

/// One of the two ways to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Ws,
}

/// Asks every endpoint of a chain, and the tokens' contracts of the first that answers.
pub(super) async fn chain(network: &Arc<dyn Network>, clock: &Clock, settings: &config::Chain) -> Probe {
    let asked = (0..settings.endpoints.len()).map(|place| endpoint(network, clock, settings, place));
    let mut probe = Probe::default();
    let mut readers = Vec::new();
    for (found, reader, faults) in join_all(asked).await {
        let head = found.facts.as_ref().and_then(|facts| facts.head.clone());
        readers.extend(reader.zip(head));
        probe.endpoints.push(found);
        probe.faults.extend(faults);
    }
    probe.compare_genesis(settings);
    let treasury = settings.treasury;
    let asked = settings
        .tokens
        .iter()
        .map(|token| contract(&readers, token, treasury));
    for (token, found) in settings.tokens.iter().zip(join_all(asked).await) {
        let (contract, state) = found.unzip();
        probe.note_token(settings, token, contract);
        probe.note_state(settings, token, &state.unwrap_or_default());
    }
    probe
}

/// The contract as the first endpoint that answers gives it; `None` where none does, which is a fault of its own already.
async fn contract(
    readers: &[(ChainReader, Header)],
    token: &Token,
    treasury: Option<Address>,
) -> Option<(TokenContract, TokenState)> {
    for (reader, head) in readers {
        let asked = async {
            let contract = TokenContract::read(reader, token.address, head.hash).await?;
            let state = match treasury {
                Some(treasury) => TokenState::read(reader, (token.address, treasury), head.hash).await?,
                None => TokenState::default(),
            };
            Ok::<_, ChainError>((contract, state))
        };
        if let Ok(Ok(found)) = timeout(PROBE_TIMEOUT, asked).await {
            return Some(found);
        }
    }
    None
}

impl Probe {
    /// A node may keep no block 0, as long as another gives it: the chain is begun with it.
    fn compare_genesis(&mut self, settings: &config::Chain) {
        let answers = self.endpoints.iter().enumerate();
        let answers =
            answers.filter_map(|(place, endpoint)| Some((place, &endpoint.facts.as_ref()?.genesis)));
        let mut first: Option<(usize, B256)> = None;
        let mut untold = Vec::new();
        for (place, answer) in answers {
            let field = field(settings, place, None);
            match (answer, first) {
                (Err(problem), _) => untold.push(format!("{field}: does not give block 0: {problem}")),
                (Ok(genesis), None) => first = Some((place, *genesis)),
                (Ok(genesis), Some((first, other))) if *genesis != other => self
                    .faults
                    .push(format!("{field}: has another genesis than endpoints[{first}]")),
                (Ok(_), Some(_)) => {}
            }
        }
        if first.is_some() {
            self.warnings.extend(untold);
        } else {
            self.faults.extend(untold);
        }
    }

    fn note_token(&mut self, settings: &config::Chain, token: &Token, contract: Option<TokenContract>) {
        let field = format!("chains.{}.tokens.{}", settings.name, token.symbol);
        match &contract {
            None => self
                .faults
                .push(format!("{field}: no endpoint answers for its contract")),
            Some(contract) => {
                if let Some((key, problem)) = contract.fault(token) {
                    self.faults.push(format!("{field}.{key}: {problem}"));
                } else if contract.symbol.as_ref() != Some(&token.symbol) {
                    let found = cell(contract.symbol.as_deref().unwrap_or("nothing"));
                    self.warnings
                        .push(format!("{field}.symbol: the contract says {found}"));
                }
            }
        }
        self.tokens.push((token.clone(), contract));
    }

    /// What keeps everybody from paying in a token is its issuer's doing, and no fault of the configuration.
    fn note_state(&mut self, settings: &config::Chain, token: &Token, state: &TokenState) {
        let field = format!("chains.{}.tokens.{}", settings.name, token.symbol);
        let words = |hindrance| match hindrance {
            Hindrance::TokenPaused => "is paused by its issuer: it will not be offered",
            Hindrance::TreasuryBlacklisted => "has the treasury on its blacklist: it will not be offered",
        };
        let held = state
            .held()
            .map(|hindrance| format!("{field}: {}", words(hindrance)));
        self.warnings.extend(held);
    }

    /// A line of titles, then one for each endpoint.
    pub(super) fn endpoint_rows(&self) -> Vec<Vec<String>> {
        let titles = [
            "endpoint", "operator", "http", "ws", "client", "head", "age", "level", "tags",
        ];
        let rows = self.endpoints.iter().map(EndpointProbe::row);
        std::iter::once(titles.map(str::to_owned).to_vec())
            .chain(rows)
            .collect()
    }

    /// A line of titles, then one for each token.
    pub(super) fn token_rows(&self) -> Vec<Vec<String>> {
        let titles = ["token", "address", "decimals", "symbol"];
        let row = |(token, contract): &(Token, Option<TokenContract>)| {
            let decimals = contract.as_ref().and_then(|contract| contract.decimals);
            let symbol = contract.as_ref().and_then(|contract| contract.symbol.as_deref());
            vec![
                token.symbol.clone(),
                token.address.to_checksum(None),
                decimals.map_or("-".to_owned(), |decimals| decimals.to_string()),
                symbol.map_or("-".to_owned(), cell),
            ]
        };
        let rows = self.tokens.iter().map(row);
        std::iter::once(titles.map(str::to_owned).to_vec())
            .chain(rows)
            .collect()
    }
}

impl EndpointProbe {
    fn row(&self) -> Vec<String> {
        let facts = self.facts.as_ref();
        let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let tags = facts.map(|facts| {
            facts
                .tags
                .iter()
                .map(|tag| tag.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        });
        vec![
            self.name.clone(),
            self.operator.clone(),
            self.http.to_owned(),
            self.ws.to_owned(),
            shown(facts.map(|facts| facts.client.clone())),
            shown(facts.and_then(|facts| Some(facts.head.as_ref()?.number.to_string()))),
            shown(facts.and_then(|facts| Some(format!("{}s", facts.age_ms? / 1000)))),
            shown(facts.and_then(|facts| Some(facts.level?.as_str().to_owned()))),
            shown(tags.filter(|tags| !tags.is_empty())),
        ]
    }
}

/// How a fault names an endpoint, or one of its two URLs. The place is among those in use, so the name stands with it.
fn field(settings: &config::Chain, place: usize, way: Option<Way>) -> String {
    let key = match way {
        Some(Way::Http) => ".http",
        Some(Way::Ws) => ".ws",
        None => "",
    };
    let endpoint = &settings.endpoints[place].name;
    format!("chains.{}.endpoints[{place}]{key} ({endpoint})", settings.name)
}

/// Asks one endpoint both ways, and then what it says of its chain by the way that works.
async fn endpoint(
    network: &Arc<dyn Network>,
    clock: &Clock,
    settings: &config::Chain,
    place: usize,
) -> (EndpointProbe, Option<ChainReader>, Vec<String>) {
    let endpoint = &settings.endpoints[place];
    let mut faults = Vec::new();
    let (http, ws) = tokio::join!(
        reach(network, clock, settings, endpoint, Way::Http),
        reach(network, clock, settings, endpoint, Way::Ws),
    );
    let mut word = |way, reached: &Option<Result<ChainReader, String>>| match reached {
        None => "-",
        Some(Ok(_)) => "ok",
        Some(Err(problem)) => {
            faults.push(format!("{}: {problem}", field(settings, place, Some(way))));
            "fails"
        }
    };
    let words = (word(Way::Http, &http), word(Way::Ws, &ws));
    let reader = http.and_then(Result::ok).or_else(|| ws.and_then(Result::ok));
    let facts = match &reader {
        Some(reader) => Some(
            facts(
                reader,
                clock,
                settings,
                &field(settings, place, None),
                &mut faults,
            )
            .await,
        ),
        None => None,
    };
    let found = EndpointProbe {
        name: endpoint.name.clone(),
        operator: endpoint.operator.clone(),
        http: words.0,
        ws: words.1,
        facts,
    };
    (found, reader, faults)
}

/// A reader that goes one way only, once the endpoint answers there for the right chain; `None` where the way is not
/// configured.
async fn reach(
    network: &Arc<dyn Network>,
    clock: &Clock,
    settings: &config::Chain,
    endpoint: &config::Endpoint,
    way: Way,
) -> Option<Result<ChainReader, String>> {
    let mut only = endpoint.clone();
    match way {
        Way::Http => only.ws = None,
        Way::Ws => only.http = None,
    }
    only.ws.as_ref().or(only.http.as_ref())?;
    let settings = config::Chain {
        endpoints: vec![only],
        // What it is, and not what it should be.
        level: None,
        ..settings.clone()
    };
    let connected = chain::connect(&settings, network, clock, LogFilter::default());
    let (reader, mut stream) = match connected {
        Ok(connected) => connected,
        Err(error) => return Some(Err(in_words(&error))),
    };
    if way == Way::Http {
        return Some(in_time(reader.chain_id()).await.map(|_| reader));
    }
    let subscribed = async {
        loop {
            if let StreamEvent::Connected { .. } = stream.next().await {
                return;
            }
        }
    };
    // A session says nothing of a connection that never was; it tries again for ever.
    if timeout(endpoint.request_timeout, subscribed).await.is_ok() {
        return Some(Ok(reader));
    }
    let problem = reader.status().first().and_then(|status| status.problem);
    Some(Err(match problem {
        Some("wrong_chain") => format!("serves another chain than {}", settings.id),
        problem => {
            let problem = problem.unwrap_or("silent");
            format!("no subscription to new heads within its request_timeout: {problem}")
        }
    }))
}

/// What the endpoint says of its chain; what does not hold is added to `faults` under `field`.
async fn facts(
    reader: &ChainReader,
    clock: &Clock,
    settings: &config::Chain,
    field: &str,
    faults: &mut Vec<String>,
) -> Facts {
    let proof = async {
        let level = reader.find_level().await?;
        Ok((level, reader.latest().await?))
    };
    let (genesis, client, proof, safe, finalized) = tokio::join!(
        in_time(reader.genesis_hash()),
        in_time(reader.client_version()),
        in_time(proof),
        in_time(reader.tagged(Tag::Safe)),
        in_time(reader.tagged(Tag::Finalized)),
    );
    let mut fault = |problem: String| faults.push(format!("{field}: {problem}"));
    let tags = [(Tag::Safe, safe.is_ok()), (Tag::Finalized, finalized.is_ok())];
    let mut facts = Facts {
        genesis,
        client: client.map_or("-".to_owned(), |version| cell(&version)),
        head: None,
        age_ms: None,
        level: None,
        tags: tags
            .into_iter()
            .filter_map(|(tag, served)| served.then_some(tag))
            .collect(),
    };
    let named = settings.finality.tiers().iter().filter_map(|tier| tier.tag);
    let missing: BTreeSet<Tag> = named.filter(|tag| !facts.tags.contains(tag)).collect();
    for tag in missing {
        fault(format!(
            "does not serve the tag {}, which the chain's finality names",
            tag.as_str()
        ));
    }
    let (level, head) = match proof {
        Ok(proof) => proof,
        Err(problem) => {
            fault(format!("its newest block cannot be read: {problem}"));
            return facts;
        }
    };
    if let Some(problem) = too_little(level, settings) {
        fault(problem);
    }
    let age_ms = clock.now_ms().saturating_sub(head.time_ms());
    if age_ms > MAX_HEAD_AGE_MS && !settings.development {
        fault(format!(
            "its newest block is {} minutes old: is it still syncing?",
            age_ms / 60_000
        ));
    }
    facts.head = Some(head);
    facts.age_ms = Some(age_ms.max(0));
    facts.level = Some(level);
    facts
}

/// Why what the endpoint's blocks can be proven to does not do for what the chain is read for.
fn too_little(level: Level, settings: &config::Chain) -> Option<String> {
    match settings.level {
        Some(Level::Receipts) if level != Level::Receipts => Some(format!(
            "its blocks do not prove themselves: the level is {} and not receipts",
            level.as_str()
        )),
        None if level == Level::None && !settings.tokens.is_empty() => {
            Some("its blooms are empty and prove nothing: payments would never count".to_owned())
        }
        _ => None,
    }
}

/// An answer, or why there is none within the time of a probe.
async fn in_time<T>(answer: impl Future<Output = Result<T, ChainError>>) -> Result<T, String> {
    match timeout(PROBE_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| in_words(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// An error without the endpoint's name, which the field says already.
fn in_words(error: &ChainError) -> String {
    match error {
        ChainError::Request { method, message, .. } => format!("{method}: {message}"),
        ChainError::Unproven { number, reason, .. } => format!("block {number}: {reason}"),
        error => error.to_string(),
    }
}
