//! A chain made by hand: linked headers with made-up hashes, and logs that stand where a test puts them.
//!
//! Nothing here is proven; the engine is given what the chain room would have proven.

use alloy::primitives::{Address, B256, Bloom, Bytes, U256, keccak256};
use tollgate::domain::{
    AUTHORIZATION_USED, BlockRef, CONSECUTIVE_TRANSFER, Header, Level, LogEntry, Millis, ProvenBlock,
    TRANSFER, TRANSFER_BATCH, TRANSFER_SINGLE,
};

/// One log of a transaction.
#[derive(Debug, Clone)]
pub struct Log {
    contract: Address,
    topics: Vec<B256>,
    data: Bytes,
}

/// An ERC-20 transfer.
pub fn coins(token: Address, from: Address, to: Address, value: U256) -> Log {
    Log {
        contract: token,
        topics: vec![TRANSFER, from.into_word(), to.into_word()],
        data: Bytes::from(value.to_be_bytes_vec()),
    }
}

/// What a token says before the transfer that was authorized so (EIP-3009).
pub fn used(token: Address, authorizer: Address, nonce: B256) -> Log {
    Log {
        contract: token,
        topics: vec![AUTHORIZATION_USED, authorizer.into_word(), nonce],
        data: Bytes::new(),
    }
}

/// What a token says of itself: the event by its signature, and indexed addresses.
pub fn says(token: Address, signature: &str, addresses: &[Address]) -> Log {
    let addresses = addresses.iter().map(Address::into_word);
    Log {
        contract: token,
        topics: std::iter::once(keccak256(signature)).chain(addresses).collect(),
        data: Bytes::new(),
    }
}

/// An ERC-721 transfer.
pub fn nft(contract: Address, from: Address, to: Address, id: u64) -> Log {
    Log {
        contract,
        topics: vec![
            TRANSFER,
            from.into_word(),
            to.into_word(),
            B256::from(U256::from(id)),
        ],
        data: Bytes::new(),
    }
}

/// A movement of ERC-1155 tokens, as (id, value): a `TransferSingle` where it is one, else a `TransferBatch`.
pub fn passes(contract: Address, from: Address, to: Address, moved: &[(u64, u64)]) -> Log {
    let word = |number: u64| U256::from(number).to_be_bytes::<32>();
    let parties = [contract, from, to].map(|address| address.into_word());
    let (topic, words) = if let [(id, value)] = moved {
        (TRANSFER_SINGLE, vec![word(*id), word(*value)])
    } else {
        let count = u64::try_from(moved.len()).unwrap();
        let mut words = vec![word(64), word(96 + 32 * count), word(count)];
        words.extend(moved.iter().map(|(id, _)| word(*id)));
        words.push(word(count));
        words.extend(moved.iter().map(|(_, value)| word(*value)));
        (TRANSFER_BATCH, words)
    };
    Log {
        contract,
        topics: [vec![topic], parties.to_vec()].concat(),
        data: Bytes::from(words.concat()),
    }
}

/// ERC-721 tokens from one to another, both inclusive, in one event (EIP-2309).
pub fn consecutive(contract: Address, from: Address, to: Address, (first, last): (U256, U256)) -> Log {
    Log {
        contract,
        topics: vec![
            CONSECUTIVE_TRANSFER,
            B256::from(first),
            from.into_word(),
            to.into_word(),
        ],
        data: Bytes::from(last.to_be_bytes_vec()),
    }
}

/// A log of this signature, and of no shape that it has.
pub fn garbage(contract: Address, topic: B256) -> Log {
    Log {
        contract,
        topics: vec![topic],
        data: Bytes::from(vec![0xff; 77]),
    }
}

/// One transaction.
#[derive(Debug, Clone)]
pub struct Tx {
    pub hash: B256,
    logs: Vec<Log>,
    foreign_logs_before: u64,
}

/// A transaction with these logs. Its hash is made of `seed`: the same again is the same transaction.
pub fn tx(seed: u64, logs: Vec<Log>) -> Tx {
    Tx {
        hash: keccak256(seed.to_be_bytes()),
        logs,
        foreign_logs_before: 0,
    }
}

impl Tx {
    /// The same, after so many logs of other transactions in its block.
    pub fn after_foreign_logs(self, foreign_logs_before: u64) -> Self {
        Self {
            foreign_logs_before,
            ..self
        }
    }
}

/// The canonical chain, from its first block to its tip.
#[derive(Debug)]
pub struct Blocks {
    canonical: Vec<ProvenBlock>,
    first: u64,
    /// Grows with each fork, so that no two branches share a hash.
    branch: u64,
}

impl Blocks {
    /// A chain whose lowest block is `first`.
    pub fn from(first: u64) -> Self {
        Self {
            canonical: Vec::new(),
            first,
            branch: 0,
        }
    }

    /// Another chain, which has no block in common with it.
    pub fn foreign(first: u64) -> Self {
        Self {
            branch: u64::MAX / 2,
            ..Self::from(first)
        }
    }

    /// The next block.
    pub fn mine(&mut self, time_ms: Millis, transactions: &[Tx]) -> ProvenBlock {
        let number = self.next_number();
        let parent_hash = self
            .canonical
            .last()
            .map_or(B256::ZERO, |below| below.header.hash);
        let mut identity = parent_hash.to_vec();
        identity.extend(number.to_be_bytes());
        identity.extend(self.branch.to_be_bytes());
        let header = Header {
            number,
            hash: keccak256(identity),
            parent_hash,
            timestamp_s: u64::try_from(time_ms / 1000).unwrap(),
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
        };
        let block = ProvenBlock {
            header,
            logs: entries(transactions),
            level: Level::Receipts,
        };
        self.canonical.push(block.clone());
        block
    }

    /// Forgets what is above `number`; the next block goes another way. Returns the block at `number`.
    pub fn fork_above(&mut self, number: u64) -> BlockRef {
        self.canonical.retain(|block| block.header.number <= number);
        self.branch += 1;
        self.tip().unwrap()
    }

    /// The highest block.
    pub fn tip(&self) -> Option<BlockRef> {
        self.canonical.last().map(|block| block.header.block())
    }

    /// The number of the block that is mined next.
    pub fn next_number(&self) -> u64 {
        self.tip().map_or(self.first, |tip| tip.number + 1)
    }

    /// The canonical blocks from one number to another, both inclusive.
    pub fn between(&self, from: u64, to: u64) -> &[ProvenBlock] {
        let index = |number: u64| {
            let index = number.saturating_sub(self.first);
            usize::try_from(index).unwrap().min(self.canonical.len())
        };
        &self.canonical[index(from)..index(to + 1)]
    }
}

/// The logs of a block, numbered through it and through each transaction.
fn entries(transactions: &[Tx]) -> Vec<LogEntry> {
    let mut log_index = 0;
    let mut entries = Vec::new();
    for transaction in transactions {
        log_index += transaction.foreign_logs_before;
        for (ordinal, log) in (0..).zip(&transaction.logs) {
            entries.push(LogEntry {
                address: log.contract,
                topics: log.topics.clone(),
                data: log.data.clone(),
                tx_hash: transaction.hash,
                log_index,
                ordinal: Some(ordinal),
            });
            log_index += 1;
        }
    }
    entries
}
