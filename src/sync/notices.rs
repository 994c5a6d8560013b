//! Whether tokens can be paid in: what their contracts say now, and by which logs they will say otherwise.
//!
//! Blocks bring each change. The contracts themselves are asked at a start, and again once the head is reached after a start
//! or a reorg: what was missed while nobody read, or was taken back, is known then.

use alloy::primitives::{Address, B256};
use alloy::sol;

use super::task::{ChainTask, SyncError};
use super::tokens::ask;
use super::watching::Told;
use crate::chain::{ChainError, ChainReader};
use crate::config;
use crate::domain::{BlockRef, Hindrance};
use crate::engine::HearTokens;
use crate::ledger::{self, Signal, Strikes};

sol!(Circle, "abi/circle.json");
sol!(Tether, "abi/tether.json");

/// What a token's contract says of whether it can be paid in. One node's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenState {
    /// Whether each holds now, of those that the contract knows.
    pub hindrances: Vec<(Hindrance, bool)>,
    /// The logs by which it tells of them.
    pub signals: Vec<Signal>,
}

impl TokenState {
    /// Asks the contract at `token` in the state after the block `at`, as each issuer's contracts are asked.
    ///
    /// # Errors
    /// It could not be asked.
    pub async fn read(
        reader: &ChainReader,
        (token, treasury): (Address, Address),
        at: B256,
    ) -> Result<Self, ChainError> {
        let mut state = Self::default();
        let circle = Circle::isBlacklistedCall { account: treasury };
        let tether = Tether::isBlackListedCall { account: treasury };
        let mut listed = ask(reader, token, circle, at).await?;
        if listed.is_some() {
            state.signals.extend(ledger::CIRCLE);
        } else {
            listed = ask(reader, token, tether, at).await?;
            let signals: &[Signal] = if listed.is_some() {
                &ledger::TETHER
            } else {
                &ledger::PAUSABLE
            };
            state.signals.extend(signals);
        }
        let paused = ask(reader, token, Circle::pausedCall {}, at).await?;
        if paused.is_none() {
            state
                .signals
                .retain(|signal| signal.hindrance != Hindrance::TokenPaused);
        }
        let known = [
            (Hindrance::TokenPaused, paused),
            (Hindrance::TreasuryBlacklisted, listed),
        ];
        let known = known
            .into_iter()
            .filter_map(|(hindrance, holds)| Some((hindrance, holds?)));
        state.hindrances.extend(known);
        Ok(state)
    }

    /// What holds now.
    pub fn held(&self) -> impl Iterator<Item = Hindrance> {
        let held = self.hindrances.iter().filter(|(_, holds)| *holds);
        held.map(|(hindrance, _)| *hindrance)
    }
}

/// The state of each accepted token after the block `at`; none where nothing is received.
async fn states(
    reader: &ChainReader,
    settings: &config::Chain,
    at: B256,
) -> Result<Vec<(Address, TokenState)>, ChainError> {
    let mut states = Vec::new();
    let Some(treasury) = settings.treasury else {
        return Ok(states);
    };
    for token in &settings.tokens {
        let state = TokenState::read(reader, (token.address, treasury), at).await?;
        states.push((token.address, state));
    }
    Ok(states)
}

impl ChainTask {
    /// Asks every token's contract after a block. From then on blocks are read for what it tells of.
    pub(super) async fn hear_tokens(&mut self, block: BlockRef) -> Result<(), SyncError> {
        let states = states(&self.reader, &self.settings, block.hash).await?;
        let topic = |signal: &Signal| (signal.topic, signal.strikes == Strikes::Topic);
        let told = states
            .iter()
            .filter(|(_, state)| !state.signals.is_empty())
            .map(|(token, state)| (*token, state.signals.iter().map(topic).collect()));
        self.told = told.collect::<Told>();
        let said = states.iter().flat_map(|(token, state)| {
            let of_token = state.hindrances.iter();
            of_token.map(|(hindrance, holds)| (*token, *hindrance, *holds))
        });
        let hear = HearTokens {
            chain: self.settings.id,
            fence: self.fence,
            block,
            said: said.collect(),
        };
        self.engine.execute(hear).await?;
        Ok(())
    }

    /// Asks again after a start or a reorg, once the head is reached.
    pub(super) async fn hear_tokens_again(&mut self) {
        let Some(tip) = self.window.tip().filter(|tip| tip.number >= self.heights.head) else {
            return;
        };
        match self.hear_tokens(tip).await {
            Ok(()) => self.asks_tokens = false,
            Err(error) => {
                tracing::debug!(chain = %self.settings.name, %error, "the tokens' contracts could not be asked yet");
            }
        }
    }
}
