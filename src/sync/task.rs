//! The task of one chain: waits for hints, and has each followed. It holds what is known between two of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::confirm::{Council, Tags};
use super::history::History;
use super::lookout::{Heard, Lookout};
use super::progress::Progress;
use super::streamed::{Streamed, sight};
use super::watching::{self, Scopes, Told};
use super::window::Window;
use crate::chain::{
    self, ChainError, ChainReader, LogFilter, Network, StreamEvent, StreamHandle, StreamedHead, StreamedLog,
};
use crate::config;
use crate::domain::{BlockRef, Header, Heights, Level};
use crate::engine::{ActivateWatches, Engine, EngineError};
use crate::health::{ChainHealth, Health};
use crate::metrics;
use crate::retry::Backoff;

/// Between two tries of something that failed.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Polls in a row that must say the same before a head that went back is believed.
const ROLLBACK_POLLS: u32 = 2;

/// Streamed logs that are taken while one head is followed; more of them wait where they are.
const MAX_HEARD: usize = 256;

/// Streamed logs of blocks further above the head than this are not believed.
const MAX_AHEAD: u64 = 8;

/// Why a chain must not go on without a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The chain has another block 0 than before.
    #[error("the chain has another genesis than the one that was read before")]
    WrongGenesis,
    /// No kept header is on the chain any more.
    #[error("the chain was reorganised below everything that is kept")]
    TooDeep,
    /// A block that was final is not on the chain any more.
    #[error("the chain was reorganised below what is final")]
    BelowFinalized,
    /// The chain was set aside before, and nobody has resolved it yet.
    #[error("{0}")]
    Quarantined(String),
    /// The configured endpoints do not serve one chain.
    #[error("{0}")]
    Endpoints(String),
    /// A configured token is not what the configuration says.
    #[error("tokens: {0}")]
    Token(String),
    /// The native coin is accepted, and the chain's transactions do not prove themselves.
    #[error("native coin: {0}")]
    Native(String),
}

impl Halt {
    /// What readiness says of it.
    pub(super) const fn problem(&self) -> &'static str {
        match self {
            Self::WrongGenesis => "halted: the chain has another genesis than before",
            Self::TooDeep | Self::BelowFinalized | Self::Quarantined(_) => "quarantined",
            Self::Endpoints(_) => "halted: its endpoints do not have the same block 0",
            Self::Token(_) => "halted: a token's contract is not as configured",
            Self::Native(_) => {
                "halted: its transactions do not prove themselves, so the native coin cannot be taken"
            }
        }
    }
}

/// Why a hint was not followed to its end. Nothing was lost: the next hint starts from what is stored.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// It will not get better by itself.
    #[error(transparent)]
    Halted(#[from] Halt),
    /// Another instance leads this chain: it is followed.
    #[error("another instance leads this chain")]
    Deposed,
    /// A development chain no longer knows our blocks: it is looked at anew, as at a start.
    #[error("the development chain no longer knows the blocks that were read")]
    Anew,
    /// The endpoint is behind what was read, or still syncing: it is waited for.
    #[error("the endpoint is behind what was read")]
    Behind,
    /// Too few operators say the same of what was read.
    #[error("too few operators say the same of what was read")]
    Undecided,
    /// The chain could not be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The state could not be written.
    #[error(transparent)]
    Engine(EngineError),
}

impl From<EngineError> for SyncError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::LeaseLost(_) => Self::Deposed,
            EngineError::BelowFinalized(_) => Self::Halted(Halt::BelowFinalized),
            error => Self::Engine(error),
        }
    }
}

/// One chain, followed until it is told to stop.
#[derive(Debug)]
pub struct ChainTask {
    pub(super) settings: config::Chain,
    pub(super) engine: Engine,
    pub(super) reader: ChainReader,
    pub(super) health: Health,
    status: ChainHealth,
    pub(super) window: Window,
    pub(super) heights: Heights,
    pub(super) fence: i64,
    pub(super) start_number: u64,
    pub(super) filter: LogFilter,
    pub(super) contracts: Scopes,
    /// By which logs the accepted tokens tell whether they can be paid in.
    pub(super) told: Told,
    /// They are to be asked themselves once the head is reached.
    pub(super) asks_tokens: bool,
    pub(super) streamed: Streamed,
    pub(super) tags: Tags,
    pub(super) council: Council,
    /// Why finality stalls, as it was told last.
    pub(super) stalled: Option<String>,
    /// The highest block that was read, for who listens beside the blocks.
    pub(super) tip: watch::Sender<Option<BlockRef>>,
    pub(super) progress: Arc<Progress>,
    lower_polls: u32,
    connected: bool,
}

impl ChainTask {
    /// Reads a chain as its leader until `stop`. Everything but a halt and the loss of the lease is tried again.
    ///
    /// # Errors
    /// A halt; another leads; the endpoints' settings are unusable.
    pub(super) async fn read_as_leader(
        settings: config::Chain,
        network: Arc<dyn Network>,
        engine: Engine,
        health: Health,
        stop: CancellationToken,
    ) -> Result<(), SyncError> {
        let filter = watching::filter(&settings, &Told::new(), &Scopes::new());
        let (reader, stream) = chain::connect(&settings, &network, engine.clock(), filter.clone())?;
        let mut task = Self {
            window: Window::default(),
            heights: Heights::default(),
            fence: 0,
            start_number: 0,
            contracts: Scopes::new(),
            told: Told::new(),
            asks_tokens: false,
            streamed: Streamed::default(),
            tags: Tags::new(settings.agree),
            council: Council::new(settings.agree),
            stalled: None,
            tip: watch::Sender::new(None),
            progress: Arc::new(Progress::new(&settings.name)),
            lower_polls: 0,
            connected: false,
            settings,
            engine,
            reader,
            health,
            status: ChainHealth::default(),
            filter,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            outcome = task.follow_through(stream, &stop) => outcome,
        }
    }

    /// Follows the chain through quarantines: while it is in one it waits, and afterwards looks at the chain anew.
    async fn follow_through(
        &mut self,
        mut stream: StreamHandle,
        stop: &CancellationToken,
    ) -> Result<(), SyncError> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            match self.start_and_follow(&mut stream, stop).await {
                Err(SyncError::Halted(
                    halt @ (Halt::TooDeep | Halt::BelowFinalized | Halt::Quarantined(_)),
                )) => match self.condemned(halt).await {
                    Some(reason) => {
                        self.quarantine(&reason).await?;
                        self.wait_until_resolved().await;
                    }
                    None => tokio::time::sleep(backoff.next_delay()).await,
                },
                outcome => return outcome,
            }
        }
    }

    async fn start_and_follow(
        &mut self,
        stream: &mut StreamHandle,
        stop: &CancellationToken,
    ) -> Result<(), SyncError> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        while let Err(error) = self.start().await {
            if let SyncError::Halted(_) | SyncError::Deposed = error {
                return Err(error);
            }
            tracing::warn!(chain = %self.settings.name, %error, "the chain cannot be started yet");
            self.report(Some("its endpoints cannot be read"));
            tokio::time::sleep(backoff.next_delay()).await;
        }
        self.report(None);
        self.ask(stream);
        self.watch_contracts(stream).await?;
        let (history, lookout) = (History::new(self), Lookout::new(self));
        // What is not final must be known before anything counts.
        let heard = Heard {
            heads: Vec::new(),
            ..lookout.look(true).await
        };
        self.weigh(heard).await?;
        let (heard, hearing) = mpsc::channel(1);
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            outcome = self.follow(stream, hearing) => outcome,
            outcome = history.run() => outcome,
            () = lookout.run(heard) => Ok(()),
        }
    }

    async fn follow(
        &mut self,
        stream: &mut StreamHandle,
        mut hearing: mpsc::Receiver<Heard>,
    ) -> Result<(), SyncError> {
        let mut watches = self.engine.watch_changes();
        let mut poll = tokio::time::interval(self.settings.poll_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What is rare first, so that no flood of hints holds up the poll.
            let outcome = tokio::select! {
                biased;
                _ = watches.changed() => Ok(()),
                Some(heard) = hearing.recv() => self.weigh(heard).await,
                // Where several operators are asked, that is the poll.
                _ = poll.tick(), if !self.council.is_asked() => self.poll().await,
                event = stream.next() => self.hear(event, stream).await,
            };
            let outcome = match outcome {
                Ok(()) => self.watch_contracts(stream).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) if self.asks_tokens => self.hear_tokens_again().await,
                Ok(()) => {}
                Err(SyncError::Halted(Halt::TooDeep)) if self.settings.development => {
                    return Err(SyncError::Anew);
                }
                Err(error @ (SyncError::Halted(_) | SyncError::Deposed)) => return Err(error),
                Err(error) => {
                    tracing::warn!(chain = %self.settings.name, %error, "a head could not be followed");
                    self.report(self.status.problem);
                    self.reload().await?;
                    self.ask_for_watched(stream);
                }
            }
        }
    }

    async fn hear(&mut self, event: StreamEvent, stream: &StreamHandle) -> Result<(), SyncError> {
        match event {
            StreamEvent::Head(head) => self.hear_head(*head, stream).await,
            StreamEvent::Log(log) => {
                self.hear_log(&log);
                Ok(())
            }
            StreamEvent::Connected { endpoint } => {
                tracing::info!(chain = %self.settings.name, %endpoint, "streaming");
                self.connected = true;
                Ok(())
            }
            StreamEvent::Disconnected { endpoint } => {
                tracing::warn!(chain = %self.settings.name, %endpoint, "not streaming; polling goes on");
                self.connected = false;
                Ok(())
            }
        }
    }

    async fn hear_head(&mut self, head: StreamedHead, stream: &StreamHandle) -> Result<(), SyncError> {
        self.lower_polls = 0;
        if self.window.contains(head.block) {
            return self.hear_vouch(&head.endpoint, head.block).await;
        }
        if self.is_outvoted(&head.endpoint) {
            return Ok(());
        }
        let header = match head.header {
            Some(header) => header,
            None => self.reader.header_by_hash(head.block.hash).await?,
        };
        let before = self.heights.read;
        self.follow_head_and_hear(&header, stream).await?;
        if self.heights.read != before {
            let lag = head.received_at.elapsed();
            ::metrics::histogram!(metrics::CHAIN_HEAD_TO_COMMIT_SECONDS, "chain" => self.settings.name.clone())
                .record(lag.as_secs_f64());
        }
        self.hear_vouch(&head.endpoint, head.block).await
    }

    /// Follows a head, and meanwhile looks up what is streamed: a node tells of a block first and of its logs right after,
    /// and once the block is proven a streamed log is no sign of anything any more.
    async fn follow_head_and_hear(
        &mut self,
        header: &Header,
        stream: &StreamHandle,
    ) -> Result<(), SyncError> {
        let (engine, chain) = (self.engine.clone(), self.settings.id);
        let mut heard = Vec::new();
        let outcome = {
            let following = self.follow_head(header);
            tokio::pin!(following);
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut following => break outcome,
                    log = stream.next_log(), if heard.len() < MAX_HEARD => {
                        sight(&engine, chain, &log);
                        heard.push(log);
                    }
                }
            }
        };
        for log in heard {
            self.hear_log(&log);
        }
        outcome
    }

    /// The poll: what the socket does not say. That a development chain went back is believed when it is said twice and our
    /// tip is unknown.
    async fn poll(&mut self) -> Result<(), SyncError> {
        let latest = self.reader.latest().await?;
        self.saw(&latest);
        let tip = self.window.tip();
        let went_back =
            tip.is_some_and(|tip| latest.number < tip.number && self.window.contains(latest.block()));
        if !went_back {
            self.lower_polls = 0;
            return self.follow_head(&latest).await;
        }
        // Elsewhere a lower head is a node that lags: a chain that was reorganised says so with other blocks.
        if !self.settings.development {
            return Ok(());
        }
        self.lower_polls += 1;
        if self.lower_polls >= ROLLBACK_POLLS && self.tip_is_gone().await? {
            self.lower_polls = 0;
            return self.roll_back_to(latest.block()).await;
        }
        Ok(())
    }

    async fn tip_is_gone(&self) -> Result<bool, SyncError> {
        let Some(tip) = self.window.tip() else {
            return Ok(false);
        };
        match self.reader.header_by_hash(tip.hash).await {
            Ok(_) => Ok(false),
            Err(error) if error.is_missing_data() => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn hear_log(&mut self, log: &StreamedLog) {
        if log.removed {
            return;
        }
        let block = log.block;
        if block.number > self.heights.head.saturating_add(MAX_AHEAD) {
            return;
        }
        self.streamed.saw(block.number, block.hash, log.entry.log_index);
        if self.window.tip().is_none_or(|tip| tip.number < block.number) {
            sight(&self.engine, self.settings.id, log);
        }
    }

    /// A verified header was announced: the head is at least there.
    pub(super) fn saw(&mut self, header: &Header) {
        // The last word, not the highest: one false number must not stay.
        self.heights.head = header.number;
        self.show(metrics::CHAIN_HEAD, Some(self.heights.head));
        // A block from the future would keep us ready for as long as it is ahead; one of the past is as old as it says.
        let at = header.time_ms().min(self.engine.clock().now_ms());
        self.status.last_header_at_ms = self.status.last_header_at_ms.max(Some(at));
        self.report(self.status.problem);
    }

    pub(super) fn report(&mut self, problem: Option<&'static str>) {
        let unread_from = self
            .heights
            .read
            .map_or(self.start_number, |read| read.number + 1);
        self.status.behind = self.heights.head.saturating_add(1).saturating_sub(unread_from);
        self.progress.is_behind(self.status.behind);
        self.status.problem = problem;
        self.status.level = Some(self.reader.level());
        self.health.set_chain(self.settings.id, self.status);
        self.health.set_endpoints(self.settings.id, self.reader.status());
    }

    pub(super) fn show(&self, name: &'static str, number: Option<u64>) {
        // Heights are far below 2^53, up to which a gauge is exact.
        let value = number
            .and_then(|number| u32::try_from(number).ok())
            .map_or(f64::NAN, f64::from);
        ::metrics::gauge!(name, "chain" => self.settings.name.clone()).set(value);
    }

    /// Brings contracts in that were added since: from the next block on, the filter asks for them.
    async fn watch_contracts(&mut self, stream: &StreamHandle) -> Result<(), SyncError> {
        // Holdings that nothing proves stay unknown.
        if self.reader.level() == Level::None {
            return Ok(());
        }
        let watches = self.engine.watches(self.settings.id);
        let contracts = watching::waiting(&watches);
        if !contracts.is_empty() {
            let read = self.heights.read;
            let chain = self.settings.id;
            self.engine
                .execute(ActivateWatches {
                    chain,
                    fence: self.fence,
                    contracts,
                    read,
                })
                .await?;
        }
        self.ask_for_watched(stream);
        Ok(())
    }

    /// Brings the filter up to the contracts that the live blocks must bring.
    fn ask_for_watched(&mut self, stream: &StreamHandle) {
        let live = watching::live(&self.engine.watches(self.settings.id));
        if live != self.contracts {
            self.contracts = live;
            self.ask(stream);
        }
    }

    /// Asks for all that is to be asked for.
    fn ask(&mut self, stream: &StreamHandle) {
        self.filter = watching::filter(&self.settings, &self.told, &self.contracts);
        stream.set_filter(self.filter.clone());
    }

    /// Whether logs are expected to be streamed.
    pub(super) fn is_streaming(&self) -> bool {
        self.connected
    }
}
