//! The tokens that charges may be made in, and whether they can be paid in now.

use serde::Serialize;
use utoipa::ToSchema;

use crate::config;
use crate::domain::{Hindrance, Token};
use crate::engine::{ChainAnswer, Engine, TokenView};

/// A token on its chain, and whether it is offered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfferedToken {
    /// The chain's number.
    chain_id: u64,
    /// The chain as CAIP-2, `eip155:1`.
    chain: String,
    #[serde(flatten)]
    token: TokenView,
    /// What one of it is worth: prices and credit are by unit.
    unit: String,
    /// Whether a charge can be made in it now.
    offered: bool,
    /// Why not: `token_paused`, `treasury_blacklisted`.
    #[schema(value_type = Vec<String>)]
    hindrances: Vec<Hindrance>,
}

impl OfferedToken {
    fn new(chain: &config::Chain, token: &Token, known: &ChainAnswer) -> Self {
        let hindrances = known.hindrances(token.address);
        Self {
            chain_id: chain.id.0,
            chain: chain.id.caip2(),
            token: TokenView::from(token),
            unit: token.unit.clone(),
            offered: hindrances.is_empty(),
            hindrances,
        }
    }
}

/// The accepted tokens of a chain.
pub(super) fn of_chain(chain: &config::Chain, known: &ChainAnswer) -> Vec<OfferedToken> {
    let tokens = chain.tokens.iter();
    tokens
        .map(|token| OfferedToken::new(chain, token, known))
        .collect()
}

/// The tokens of every chain that sells; none where payments are switched off.
pub(super) fn of_all(engine: &Engine) -> Vec<OfferedToken> {
    let settings = engine.settings();
    let sells = |chain: &&config::Chain| settings.payments.enabled && chain.treasury.is_some();
    let selling = settings.chains.iter().filter(sells);
    selling
        .flat_map(|chain| of_chain(chain, &engine.chain(chain.id).unwrap_or_default()))
        .collect()
}
