//! Why a log of a transaction is a payment, or is not: the checks of [`super::is_payment`], each by name.

use super::{AcceptedMoney, is_payment, transfer};
use crate::domain::{LogEntry, Standard, Transfer};

/// What must hold of a payment's log, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It is an ERC-20's `Transfer`: three topics and 32 bytes of data.
    Transfer,
    /// Its contract is a token that is accepted on the chain, by address.
    Token,
    /// It is to the treasury.
    Recipient,
    /// It is not from a treasury of ours.
    Payer,
    /// It is of more than nothing.
    Value,
    /// It is worth at least the token's dust.
    Dust,
}

impl Check {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Token => "token",
            Self::Recipient => "recipient",
            Self::Payer => "payer",
            Self::Value => "value",
            Self::Dust => "dust",
        }
    }

    /// What is asked, for people.
    #[must_use]
    pub const fn question(self) -> &'static str {
        match self {
            Self::Transfer => "it is an ERC-20 transfer",
            Self::Token => "its contract is an accepted token of this chain",
            Self::Recipient => "it is to this chain's treasury",
            Self::Payer => "it is not from a treasury of ours",
            Self::Value => "it is of more than nothing",
            Self::Dust => "it is worth at least the token's dust",
        }
    }
}

/// What a log is; the first is the nearest to being a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// A payment; also one of a known token that is not accepted, which is recorded and credited to nobody.
    Payment,
    /// To the treasury, of less than the token's dust.
    BelowDust,
    /// To the treasury, of nothing at all.
    ZeroValue,
    /// From one treasury of ours to another, or to itself.
    OwnTransfer,
    /// To the treasury, of a contract that is no token of ours.
    WrongToken,
    /// To the treasury, and no ERC-20's: a token with an id.
    NotMoney,
    /// Of an accepted token, to somebody else.
    WrongRecipient,
    /// Something else.
    Unrelated,
}

/// A log with what was found of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What it moves, where it is a transfer of either standard.
    pub transfer: Option<Transfer>,
    /// Each check, and whether it holds.
    pub checks: Vec<(Check, bool)>,
    /// What it comes to.
    pub finding: Finding,
}

/// Examines a log.
#[must_use]
pub fn examine(log: &LogEntry, money: &AcceptedMoney) -> Examined {
    match transfer(log) {
        Some(transfer) => examine_transfer(transfer, money),
        None => Examined {
            transfer: None,
            checks: vec![(Check::Transfer, false)],
            finding: Finding::Unrelated,
        },
    }
}

/// Examines a transfer.
#[must_use]
pub fn examine_transfer(transfer: Transfer, money: &AcceptedMoney) -> Examined {
    let token = money.token(transfer.contract);
    let accepted = money
        .tokens
        .iter()
        .any(|token| token.address == transfer.contract);
    let is_coin = transfer.standard == Standard::Erc20;
    let is_ours = transfer.to == money.treasury;
    let is_other = !money.ours.contains(&transfer.from);
    let is_something = !transfer.value.is_zero();
    let dust = token.map(|token| token.dust.0).unwrap_or_default();
    let checks = vec![
        (Check::Transfer, is_coin),
        (Check::Token, accepted),
        (Check::Recipient, is_ours),
        (Check::Payer, is_other),
        (Check::Value, is_something),
        (Check::Dust, is_something && transfer.value >= dust),
    ];
    let finding = if is_payment(&transfer, money).is_some() {
        Finding::Payment
    } else {
        match (is_ours, is_coin, token) {
            (true, _, _) if !is_other => Finding::OwnTransfer,
            (true, false, _) => Finding::NotMoney,
            (true, true, None) => Finding::WrongToken,
            (true, true, Some(_)) if !is_something => Finding::ZeroValue,
            (true, true, Some(_)) => Finding::BelowDust,
            (false, true, Some(_)) => Finding::WrongRecipient,
            (false, _, _) => Finding::Unrelated,
        }
    };
    Examined {
        transfer: Some(transfer),
        checks,
        finding,
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256, address};

    use super::*;
    use crate::domain::{Amount, ChainId, Token};

    const TREASURY: Address = address!("0x00000000000000000000000000000000000000aa");
    const OTHER_TREASURY: Address = address!("0x00000000000000000000000000000000000000ab");
    const USDC: Address = address!("0x00000000000000000000000000000000000000bb");
    const BRIDGED: Address = address!("0x00000000000000000000000000000000000000bc");
    const PAYER: Address = address!("0x00000000000000000000000000000000000000cc");

    fn money() -> AcceptedMoney {
        let token = |address| Token {
            chain: ChainId(1),
            address,
            symbol: "USDC".to_owned(),
            unit: "USD".to_owned(),
            decimals: 6,
            dust: Amount::from(1_000),
        };
        AcceptedMoney {
            treasury: TREASURY,
            ours: vec![TREASURY, OTHER_TREASURY],
            tokens: vec![token(USDC)],
            others: vec![token(BRIDGED)],
        }
    }

    fn found(contract: Address, from: Address, to: Address, value: u64) -> (Finding, Vec<&'static str>) {
        let transfer = Transfer {
            contract,
            from,
            to,
            value: U256::from(value),
            standard: Standard::Erc20,
            tx_hash: B256::ZERO,
            log_index: 0,
            ordinal: Some(0),
        };
        let examined = examine_transfer(transfer, &money());
        let failed = examined.checks.iter().filter(|(_, held)| !held);
        (
            examined.finding,
            failed.map(|(check, _)| check.as_str()).collect(),
        )
    }

    #[test]
    fn each_transfer_is_told_what_keeps_it_from_being_a_payment() {
        for (contract, from, to, value, finding, failed) in [
            (USDC, PAYER, TREASURY, 1_000, Finding::Payment, vec![]),
            (BRIDGED, PAYER, TREASURY, 1_000, Finding::Payment, vec!["token"]),
            (USDC, PAYER, TREASURY, 999, Finding::BelowDust, vec!["dust"]),
            (
                USDC,
                PAYER,
                TREASURY,
                0,
                Finding::ZeroValue,
                vec!["value", "dust"],
            ),
            (
                USDC,
                TREASURY,
                TREASURY,
                5_000,
                Finding::OwnTransfer,
                vec!["payer"],
            ),
            (
                USDC,
                OTHER_TREASURY,
                TREASURY,
                5_000,
                Finding::OwnTransfer,
                vec!["payer"],
            ),
            (PAYER, PAYER, TREASURY, 5_000, Finding::WrongToken, vec!["token"]),
            (
                USDC,
                PAYER,
                PAYER,
                5_000,
                Finding::WrongRecipient,
                vec!["recipient"],
            ),
            (
                PAYER,
                PAYER,
                PAYER,
                5_000,
                Finding::Unrelated,
                vec!["token", "recipient"],
            ),
        ] {
            assert_eq!(found(contract, from, to, value), (finding, failed));
        }
    }

    #[test]
    fn a_token_with_an_id_is_no_money_and_another_event_no_transfer() {
        let mut log = LogEntry {
            address: USDC,
            topics: vec![
                crate::domain::TRANSFER,
                PAYER.into_word(),
                TREASURY.into_word(),
                B256::with_last_byte(7),
            ],
            data: alloy::primitives::Bytes::new(),
            tx_hash: B256::ZERO,
            log_index: 0,
            ordinal: Some(0),
        };
        assert_eq!(examine(&log, &money()).finding, Finding::NotMoney);
        log.topics.truncate(1);
        let other = examine(&log, &money());
        assert_eq!((other.transfer, other.finding), (None, Finding::Unrelated));
    }
}
