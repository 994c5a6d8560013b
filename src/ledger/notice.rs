//! What a token's own logs say of whether it can be paid in: pause and blacklist, as Circle, Tether and `OpenZeppelin` write
//! them. By topic alone; whose log it is, is the caller's to ask.

use alloy::primitives::{Address, B256};
use alloy::sol;
use alloy::sol_types::SolEvent;

use crate::domain::{Hindrance, LogEntry};

sol!(Circle, "abi/circle.json");
sol!(Tether, "abi/tether.json");
sol!(Pausable, "abi/pausable.json");

/// A log by which a token's contract says that something begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Its first topic.
    pub topic: B256,
    /// What it is about.
    pub hindrance: Hindrance,
    /// Whether it begins.
    pub begins: bool,
    /// Where it names whom it strikes.
    pub strikes: Strikes,
}

/// Whom a log strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strikes {
    /// Everybody.
    Everybody,
    /// The address in its second topic.
    Topic,
    /// The address in its data.
    Data,
}

const fn signal(topic: B256, hindrance: Hindrance, begins: bool, strikes: Strikes) -> Signal {
    Signal {
        topic,
        hindrance,
        begins,
        strikes,
    }
}

const fn pause(topic: B256, begins: bool) -> Signal {
    signal(topic, Hindrance::TokenPaused, begins, Strikes::Everybody)
}

const fn list(topic: B256, begins: bool, strikes: Strikes) -> Signal {
    signal(topic, Hindrance::TreasuryBlacklisted, begins, strikes)
}

/// Of `FiatToken`, as USDC and EURC are.
pub const CIRCLE: [Signal; 4] = [
    pause(Circle::Pause::SIGNATURE_HASH, true),
    pause(Circle::Unpause::SIGNATURE_HASH, false),
    list(Circle::Blacklisted::SIGNATURE_HASH, true, Strikes::Topic),
    list(Circle::UnBlacklisted::SIGNATURE_HASH, false, Strikes::Topic),
];

/// Of `TetherToken`, as USDT on Ethereum is.
pub const TETHER: [Signal; 4] = [
    pause(Tether::Pause::SIGNATURE_HASH, true),
    pause(Tether::Unpause::SIGNATURE_HASH, false),
    list(Tether::AddedBlackList::SIGNATURE_HASH, true, Strikes::Data),
    list(Tether::RemovedBlackList::SIGNATURE_HASH, false, Strikes::Data),
];

/// Of `OpenZeppelin`'s `Pausable`.
pub const PAUSABLE: [Signal; 2] = [
    pause(Pausable::Paused::SIGNATURE_HASH, true),
    pause(Pausable::Unpaused::SIGNATURE_HASH, false),
];

/// What begins for whoever pays to `treasury` with a log of a token, or ends: `true` where it begins.
#[must_use]
pub fn notice(log: &LogEntry, treasury: Address) -> Option<(Hindrance, bool)> {
    let mut known = CIRCLE.iter().chain(&TETHER).chain(&PAUSABLE);
    let signal = known.find(|signal| log.topics.first() == Some(&signal.topic))?;
    let struck = match signal.strikes {
        Strikes::Everybody => true,
        Strikes::Topic => log.topics.get(1) == Some(&treasury.into_word()),
        Strikes::Data => log.data.as_ref() == treasury.into_word().as_slice(),
    };
    struck.then_some((signal.hindrance, signal.begins))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Bytes, keccak256};

    use super::*;

    const TREASURY: Address = Address::repeat_byte(0xaa);
    const OTHER: Address = Address::repeat_byte(0xab);

    fn log(signature: &str, topics: &[Address], data: &[Address]) -> LogEntry {
        let words = topics.iter().map(Address::into_word);
        LogEntry {
            address: Address::ZERO,
            topics: std::iter::once(keccak256(signature)).chain(words).collect(),
            data: data
                .iter()
                .flat_map(|address| address.into_word().0)
                .collect::<Vec<u8>>()
                .into(),
            tx_hash: B256::ZERO,
            log_index: 0,
            ordinal: None,
        }
    }

    #[test]
    fn each_issuers_words_are_understood() {
        let (paused, listed) = (Hindrance::TokenPaused, Hindrance::TreasuryBlacklisted);
        for (log, expected) in [
            (log("Pause()", &[], &[]), Some((paused, true))),
            (log("Unpause()", &[], &[]), Some((paused, false))),
            (log("Paused(address)", &[], &[OTHER]), Some((paused, true))),
            (log("Unpaused(address)", &[], &[OTHER]), Some((paused, false))),
            (
                log("Blacklisted(address)", &[TREASURY], &[]),
                Some((listed, true)),
            ),
            (
                log("UnBlacklisted(address)", &[TREASURY], &[]),
                Some((listed, false)),
            ),
            (
                log("AddedBlackList(address)", &[], &[TREASURY]),
                Some((listed, true)),
            ),
            (
                log("RemovedBlackList(address)", &[], &[TREASURY]),
                Some((listed, false)),
            ),
        ] {
            assert_eq!(notice(&log, TREASURY), expected);
        }
    }

    #[test]
    fn what_strikes_others_is_no_notice() {
        let mut bare = log("Blacklisted(address)", &[], &[]);
        let short = LogEntry {
            data: Bytes::from_static(&[0xaa; 20]),
            ..log("AddedBlackList(address)", &[], &[])
        };
        for log in [
            log("Blacklisted(address)", &[OTHER], &[]),
            log("AddedBlackList(address)", &[], &[OTHER]),
            log("Transfer(address,address,uint256)", &[TREASURY], &[]),
            bare.clone(),
            short,
        ] {
            assert_eq!(notice(&log, TREASURY), None);
        }
        bare.topics.clear();
        assert_eq!(notice(&bare, TREASURY), None);
    }
}
