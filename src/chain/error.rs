//! What can go wrong while reading a chain: one error, and the class of each endpoint failure with its own reaction.
//!
//! Each also says what an operator should be told of the endpoint. It must never carry a URL or a key: messages are
//! scrubbed and cut here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;

/// The longest message that an error carries, in characters.
pub const MAX_MESSAGE_CHARS: usize = 200;

/// The kinds of endpoint failure. Each has its own reaction, so the class and not the text is what callers look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorClass {
    /// More blocks than the endpoint serves at once: remember its limit, and split.
    RangeTooWide {
        /// The widest range in blocks, where it was stated.
        limit: Option<u64>,
    },
    /// More logs than the endpoint returns at once: halve, or take its suggestion.
    TooDense {
        /// First and last block of a range that would work, where it was stated.
        suggested: Option<(u64, u64)>,
    },
    /// Asked too often: the endpoint's limiter backs off.
    RateLimited {
        /// How long it wants to be left alone, where it was stated.
        retry_after: Option<Duration>,
    },
    /// The account ran dry: the endpoint is out for an hour.
    Billing,
    /// The node does not have what was asked for: ask another or wait, and never read it as empty.
    MissingData,
    /// Nothing that can be read came back: retry elsewhere, with back-off and a circuit breaker.
    Transport,
    /// The contract call itself failed; every honest node says the same.
    Reverted,
    /// The node does not know the method.
    Unsupported,
    /// The node answered, with an error of no other class.
    Refused,
}

impl ErrorClass {
    /// The word for metric labels and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::RangeTooWide { .. } => "range_too_wide",
            Self::TooDense { .. } => "too_dense",
            Self::RateLimited { .. } => "rate_limited",
            Self::Billing => "billing",
            Self::MissingData => "missing_data",
            Self::Transport => "transport",
            Self::Reverted => "reverted",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
        }
    }

    /// Whether the node answered that it does not have, or not serve, what was asked for.
    #[must_use]
    pub const fn is_lacking(&self) -> bool {
        matches!(self, Self::MissingData | Self::Unsupported | Self::Refused)
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why data does not prove what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// keccak256 of the header's RLP is not its hash.
    #[error(
        "the header does not hash to its own hash: it is false, incomplete, or of a fork that this version does not know"
    )]
    HeaderHash,
    /// It is another block than the one asked for.
    #[error("it is not the block that was asked for")]
    OtherBlock,
    /// The receipts do not rebuild the header's receipts root.
    #[error("the receipts do not rebuild the receipts root")]
    ReceiptsRoot,
    /// A receipt's bloom is not the bloom of its logs.
    #[error("a receipt's bloom is not that of its logs")]
    ReceiptBloom,
    /// A log or a receipt names another block or transaction than it came with.
    #[error("a log or receipt names another block or transaction")]
    ForeignLog,
    /// Log indexes are not those of the block's order.
    #[error("log indexes are out of order")]
    LogOrder,
    /// A log that the header's bloom denies.
    #[error("a log is not in its block's bloom")]
    OutsideBloom,
    /// A log that the filter did not ask for.
    #[error("a log is not what was asked for")]
    Unasked,
    /// Enough other operators say something else.
    #[error("other operators say otherwise")]
    Outvoted,
}

/// Why a chain could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An endpoint failed a request.
    #[error("{endpoint}: {method}: {class}: {message}")]
    Request {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The JSON-RPC method.
        method: &'static str,
        /// What to do about it.
        class: ErrorClass,
        /// The endpoint's words, scrubbed and cut.
        message: String,
    },
    /// An endpoint's data contradicts itself. Often a block was replaced between two requests.
    #[error("{endpoint}: block {number}: {reason}")]
    Unproven {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The block's number.
        number: u64,
        /// What does not hold.
        reason: Unproven,
    },
    /// A block does not extend the one below: the chain was reorganised, or two nodes answered.
    #[error("{endpoint}: block {number} does not extend {expected_parent}")]
    Unlinked {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The block's number.
        number: u64,
        /// The hash of the block below.
        expected_parent: B256,
    },
    /// One operator was asked once, and must be asked again when there is a block above.
    #[error("block {number} was asked for once; it is asked for again at the next head")]
    NotYet {
        /// The block's number.
        number: u64,
    },
    /// Too few operators say the same of a block's logs.
    #[error("block {number}: the operators do not agree on its logs")]
    Disagreement {
        /// The block's number, or the last one's of a range.
        number: u64,
    },
    /// A chain is begun only with a block 0 that most operators have that answer.
    #[error(
        "the endpoints do not have the same block 0, and no majority of operators decides: {0}; leave out those of another chain"
    )]
    GenesisDiffers(String),
    /// A chain is begun only with a block 0 that enough operators have.
    #[error("fewer than {agree} operators give block 0, with which the chain is begun")]
    GenesisUntold {
        /// How many must give it.
        agree: usize,
    },
    /// An endpoint's settings cannot be used.
    #[error("{endpoint}: {problem}")]
    Settings {
        /// The endpoint's name, or the chain's where it has none.
        endpoint: Arc<str>,
        /// What is wrong; never the value.
        problem: &'static str,
    },
}

impl ChainError {
    /// The class of an endpoint failure; `None` where data contradicts itself.
    #[must_use]
    pub const fn class(&self) -> Option<&ErrorClass> {
        match self {
            Self::Request { class, .. } => Some(class),
            _ => None,
        }
    }

    /// Whether the node lacks what was asked for.
    #[must_use]
    pub const fn is_missing_data(&self) -> bool {
        matches!(self.class(), Some(ErrorClass::MissingData))
    }

    /// Whether nothing failed, and the same question is to be put at the next head.
    #[must_use]
    pub const fn is_not_yet(&self) -> bool {
        matches!(self, Self::NotYet { .. })
    }

    /// Whether the contract call itself failed: an answer, not a failure of the endpoint.
    #[must_use]
    pub const fn is_reverted(&self) -> bool {
        matches!(self.class(), Some(ErrorClass::Reverted))
    }
}

/// What is wrong with an endpoint: a word for metric labels and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// `eth_chainId` is another than the configured one.
    WrongChain,
    /// Its block 0 is another than the one that the chain was begun with.
    WrongGenesis,
    /// It has another block where one was final, and others have ours.
    ContradictsFinal,
    /// Its account is used up.
    Billing,
    /// It wants to be left alone.
    RateLimited,
    /// Its answers did not prove what they claimed.
    Unproven,
    /// Its answers are larger than any that is read.
    TooLarge,
    /// Its answers cannot be read, such as a page of HTML.
    NotJsonRpc,
    /// It does not answer in time.
    Silent,
    /// It cannot be connected to, or breaks off.
    Unreachable,
}

impl Problem {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongChain => "wrong_chain",
            Self::WrongGenesis => "wrong_genesis",
            Self::ContradictsFinal => "contradicts_final",
            Self::Billing => "billing",
            Self::RateLimited => "rate_limited",
            Self::Unproven => "unproven",
            Self::TooLarge => "too_large",
            Self::NotJsonRpc => "not_json_rpc",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A failed request before the endpoint puts its name to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub class: ErrorClass,
    /// What a transport failure says of the endpoint; nothing for the other classes.
    pub problem: Problem,
    pub message: String,
}

impl Failure {
    pub fn new(class: ErrorClass, message: impl fmt::Display) -> Self {
        Self {
            class,
            problem: Problem::Unreachable,
            message: without_urls(&message.to_string()),
        }
    }

    pub fn transport(message: impl fmt::Display) -> Self {
        Self::new(ErrorClass::Transport, message)
    }

    /// What came back is no answer.
    pub fn unreadable(message: impl fmt::Display) -> Self {
        Self::transport(message).showing(Problem::NotJsonRpc)
    }

    pub fn timed_out() -> Self {
        Self::transport("timed out").showing(Problem::Silent)
    }

    pub fn showing(mut self, problem: Problem) -> Self {
        self.problem = problem;
        self
    }

    pub fn missing(message: impl fmt::Display) -> Self {
        Self::new(ErrorClass::MissingData, message)
    }
}

/// The message without anything like a URL and without any of `secrets`, on one line, cut to [`MAX_MESSAGE_CHARS`].
#[must_use]
pub fn scrub<'a>(message: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = without_urls(message);
    for secret in secrets {
        if text.contains(secret) {
            text = text.replace(secret, "[secret]");
        }
    }
    text.chars().take(MAX_MESSAGE_CHARS).collect()
}

/// Cut far beyond [`MAX_MESSAGE_CHARS`], so that no secret is cut before it is looked for.
fn without_urls(message: &str) -> String {
    let looks_like_url = |word: &str| {
        let lower = word.to_ascii_lowercase();
        word.contains("://") || lower.contains("www.") || word.matches('/').count() >= 2
    };
    let words = message
        .split_whitespace()
        .map(|word| if looks_like_url(word) { "[url]" } else { word });
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
        if text.len() > 8 * MAX_MESSAGE_CHARS {
            break;
        }
    }
    text
}
