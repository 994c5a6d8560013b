//! Which log is a transfer, and which transfer is a payment (payments.md).

use alloy::primitives::{Address, B256, U256};

use crate::domain::{
    AUTHORIZATION_USED, Amount, Authorization, LogEntry, Standard, TRANSFER, Token, Transfer,
};

/// What counts as money on one chain.
#[derive(Debug, Clone)]
pub struct AcceptedMoney {
    /// Where it comes to.
    pub treasury: Address,
    /// All treasuries of ours: what one pays another is no payment.
    pub ours: Vec<Address>,
    /// The accepted tokens, by address.
    pub tokens: Vec<Token>,
    /// Those that are known and not accepted: money that nobody is credited with by itself.
    pub others: Vec<Token>,
}

impl AcceptedMoney {
    /// The token at `address`, accepted or not.
    #[must_use]
    pub fn token(&self, address: Address) -> Option<&Token> {
        let mut known = self.tokens.iter().chain(&self.others);
        known.find(|token| token.address == address)
    }
}

/// Reads a `Transfer` of either standard; anything else is `None`. A log of the right signature and the wrong shape is
/// no transfer: an ERC-20 has three topics and 32 bytes of data, an ERC-721 four topics and none.
#[must_use]
pub fn transfer(log: &LogEntry) -> Option<Transfer> {
    let (standard, value) = match (log.topics.as_slice(), log.data.len()) {
        ([signature, _, _], 32) if *signature == TRANSFER => {
            (Standard::Erc20, U256::try_from_be_slice(&log.data)?)
        }
        ([signature, _, _, id], 0) if *signature == TRANSFER => (Standard::Erc721, U256::from_be_bytes(id.0)),
        _ => return None,
    };
    Some(Transfer {
        contract: log.address,
        from: topic_address(log.topics.get(1)?)?,
        to: topic_address(log.topics.get(2)?)?,
        value,
        standard,
        tx_hash: log.tx_hash,
        log_index: log.log_index,
        ordinal: log.ordinal,
    })
}

/// An address in a topic has twelve zero bytes before it; other bytes there are no address.
pub(super) fn topic_address(topic: &B256) -> Option<Address> {
    topic.0.starts_with(&[0; 12]).then(|| Address::from_word(*topic))
}

/// The authorization (EIP-3009) that a log says was used: `AuthorizationUsed(address indexed, bytes32 indexed)`.
fn authorization(log: &LogEntry) -> Option<Authorization> {
    match log.topics.as_slice() {
        [signature, authorizer, nonce] if *signature == AUTHORIZATION_USED && log.data.is_empty() => {
            Some(Authorization {
                authorizer: topic_address(authorizer)?,
                nonce: *nonce,
                log_index: log.log_index,
            })
        }
        _ => None,
    }
}

/// The authorization that a transfer was made with: in the log right before it in its transaction, of the same token, and
/// signed by who pays. `before` is what is kept of the block before the transfer's log.
#[must_use]
pub fn authorization_of(transfer: &Transfer, before: Option<&LogEntry>) -> Option<Authorization> {
    let before = before?;
    let is_next = before.log_index.checked_add(1) == Some(transfer.log_index);
    let is_same = (before.address, before.tx_hash) == (transfer.contract, transfer.tx_hash);
    let used = authorization(before).filter(|_| is_next && is_same)?;
    (used.authorizer == transfer.from).then_some(used)
}

/// The amount of a payment: a transfer of a known token, from someone else, to the treasury, worth at least the token's
/// dust and never zero.
#[must_use]
pub fn is_payment(transfer: &Transfer, money: &AcceptedMoney) -> Option<Amount> {
    let token = money.token(transfer.contract)?;
    let amount = Amount(transfer.value);
    let counts = transfer.standard == Standard::Erc20
        && transfer.to == money.treasury
        && !money.ours.contains(&transfer.from)
        && !amount.is_zero()
        && amount >= token.dust;
    counts.then_some(amount)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Bytes, address};

    use super::*;
    use crate::domain::ChainId;

    const TREASURY: Address = address!("0x00000000000000000000000000000000000000aa");
    const USDC: Address = address!("0x00000000000000000000000000000000000000bb");
    const OTHER_TREASURY: Address = address!("0x00000000000000000000000000000000000000ab");
    const PAYER: Address = address!("0x00000000000000000000000000000000000000cc");

    fn money() -> AcceptedMoney {
        let token = Token {
            chain: ChainId(1),
            address: USDC,
            symbol: "USDC".to_owned(),
            unit: "USD".to_owned(),
            decimals: 6,
            dust: Amount::from(1_000),
        };
        AcceptedMoney {
            treasury: TREASURY,
            ours: vec![TREASURY, OTHER_TREASURY],
            tokens: vec![token],
            others: Vec::new(),
        }
    }

    fn log(contract: Address, from: Address, to: Address, value: u64) -> LogEntry {
        LogEntry {
            address: contract,
            topics: vec![TRANSFER, from.into_word(), to.into_word()],
            data: Bytes::from(U256::from(value).to_be_bytes_vec()),
            tx_hash: B256::repeat_byte(1),
            log_index: 0,
            ordinal: Some(0),
        }
    }

    fn paid(log: &LogEntry) -> Option<Amount> {
        transfer(log).and_then(|transfer| is_payment(&transfer, &money()))
    }

    #[test]
    fn a_transfer_of_an_accepted_token_to_the_treasury_is_a_payment() {
        assert_eq!(
            paid(&log(USDC, PAYER, TREASURY, 15_000_000)),
            Some(Amount::from(15_000_000))
        );
    }

    #[test]
    fn a_fake_token_with_the_same_symbol_is_not() {
        assert_eq!(paid(&log(PAYER, PAYER, TREASURY, 15_000_000)), None);
    }

    #[test]
    fn zero_dust_the_treasury_itself_and_other_recipients_are_not() {
        assert_eq!(paid(&log(USDC, PAYER, TREASURY, 0)), None);
        assert_eq!(paid(&log(USDC, PAYER, TREASURY, 999)), None);
        assert_eq!(paid(&log(USDC, TREASURY, TREASURY, 15_000_000)), None);
        assert_eq!(paid(&log(USDC, OTHER_TREASURY, TREASURY, 15_000_000)), None);
        assert_eq!(paid(&log(USDC, PAYER, PAYER, 15_000_000)), None);
    }

    #[test]
    fn an_erc721_transfer_to_the_treasury_is_not_money() {
        let mut nft = log(USDC, PAYER, TREASURY, 0);
        nft.topics.push(B256::with_last_byte(7));
        nft.data = Bytes::new();
        assert_eq!(
            transfer(&nft).map(|transfer| transfer.standard),
            Some(Standard::Erc721)
        );
        assert_eq!(paid(&nft), None);
    }

    #[test]
    fn malformed_logs_are_no_transfers() {
        let good = log(USDC, PAYER, TREASURY, 15_000_000);
        let mut short = good.clone();
        short.data = Bytes::from(vec![1; 31]);
        let mut unindexed = good.clone();
        unindexed.topics.truncate(1);
        let mut dirty_address = good.clone();
        dirty_address.topics[1].0[0] = 1;
        let mut other_event = good;
        other_event.topics[0] = B256::ZERO;
        for log in [short, unindexed, dirty_address, other_event] {
            assert_eq!(transfer(&log), None);
        }
    }

    #[test]
    fn the_largest_value_is_read_as_it_is() {
        let mut log = log(USDC, PAYER, TREASURY, 0);
        log.data = Bytes::from(U256::MAX.to_be_bytes_vec());
        assert_eq!(paid(&log), Some(Amount(U256::MAX)));
    }

    fn used(contract: Address, authorizer: Address, log_index: u64) -> LogEntry {
        LogEntry {
            address: contract,
            topics: vec![AUTHORIZATION_USED, authorizer.into_word(), B256::repeat_byte(9)],
            data: Bytes::new(),
            tx_hash: B256::repeat_byte(1),
            log_index,
            ordinal: Some(0),
        }
    }

    #[test]
    fn a_transfer_is_made_with_the_authorization_right_before_it() {
        let mut paid = log(USDC, PAYER, TREASURY, 15_000_000);
        paid.log_index = 5;
        let paid = transfer(&paid).unwrap();
        let right = used(USDC, PAYER, 4);
        let found = authorization_of(&paid, Some(&right)).map(|used| (used.authorizer, used.nonce));
        assert_eq!(found, Some((PAYER, B256::repeat_byte(9))));

        let mut elsewhere = right.clone();
        elsewhere.tx_hash = B256::repeat_byte(2);
        let mut unindexed = right.clone();
        unindexed.topics.truncate(2);
        let mut with_data = right;
        with_data.data = Bytes::from(vec![0; 32]);
        for other in [
            used(PAYER, PAYER, 4),
            used(USDC, TREASURY, 4),
            used(USDC, PAYER, 3),
            used(USDC, PAYER, 6),
            used(USDC, PAYER, u64::MAX),
            elsewhere,
            unindexed,
            with_data,
        ] {
            assert_eq!(authorization_of(&paid, Some(&other)), None, "{other:?}");
        }
        assert_eq!(authorization_of(&paid, None), None);
    }
}
