//! The logs bloom (yellow paper, 4.3.1), tested bit by bit.
//!
//! Owns a bounded memory of which bits an item sets, because keccak256 of the same holders over and over is the greatest
//! single cost of checking history.

use alloy::primitives::{Address, B256, Bloom, keccak256};

/// The three bits that one address or topic sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BloomBits([u16; 3]);

impl BloomBits {
    pub fn of(item: &[u8]) -> Self {
        let hash = keccak256(item);
        let bit = |at: usize| u16::from_be_bytes([hash[at], hash[at + 1]]) & 0x7ff;
        Self([bit(0), bit(2), bit(4)])
    }

    pub fn within(self, bloom: &Bloom) -> bool {
        self.0.iter().all(|&bit| {
            let (byte, mask) = place(bit);
            bloom.0[byte] & mask != 0
        })
    }

    pub fn set(self, bloom: &mut Bloom) {
        for bit in self.0 {
            let (byte, mask) = place(bit);
            bloom.0[byte] |= mask;
        }
    }
}

fn place(bit: u16) -> (usize, u8) {
    (255 - usize::from(bit / 8), 1 << (bit % 8))
}

/// Sets of the memory: a power of two. With their items, of 40 bytes each, they take 1.3 MB.
const SETS: usize = 8_192;

/// Items of one set. With ten thousand holders about one lookup in a hundred hashes anew; with as many sets of one item it
/// would be one in seven.
const ITEMS_PER_SET: usize = 4;

type Item = (B256, BloomBits);

/// Remembers the bits of items; a newer item takes an older one's place.
#[derive(Debug)]
pub(super) struct BloomMemory(Vec<[Item; ITEMS_PER_SET]>);

impl BloomMemory {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn topic(&mut self, topic: &B256) -> BloomBits {
        if self.0.is_empty() {
            // No item hashes to itself being zero with zero bits, but the zero topic is common: fill in its real bits.
            let zero = (B256::ZERO, BloomBits::of(B256::ZERO.as_slice()));
            self.0 = vec![[zero; ITEMS_PER_SET]; SETS];
        }
        // The last bytes of an address in a topic are as good as random; an attacker's choice of them costs speed only.
        let place = usize::from(u16::from_be_bytes([topic[30], topic[31]])) % SETS;
        let set = &mut self.0[place];
        if let Some((_, bits)) = set.iter().find(|(known, _)| known == topic) {
            return *bits;
        }
        let bits = BloomBits::of(topic.as_slice());
        set.rotate_right(1);
        set[0] = (*topic, bits);
        bits
    }

    /// Whether all that the log put into its block's bloom is there.
    pub fn log_within(
        &mut self,
        bloom: &Bloom,
        address: &Address,
        topics: &[B256],
        last: &mut Option<(Address, BloomBits)>,
    ) -> bool {
        let address_bits = match last {
            Some((known, bits)) if known == address => *bits,
            _ => {
                let bits = BloomBits::of(address.as_slice());
                *last = Some((*address, bits));
                bits
            }
        };
        address_bits.within(bloom) && topics.iter().all(|topic| self.topic(topic).within(bloom))
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::BloomInput;

    use super::*;

    #[test]
    fn bits_are_those_of_the_reference_implementation() {
        let mut memory = BloomMemory::new();
        for n in 0..500_u64 {
            let topic = B256::left_padding_from(&n.to_be_bytes());
            let mut theirs = Bloom::ZERO;
            theirs.accrue(BloomInput::Raw(topic.as_slice()));
            let mut ours = Bloom::ZERO;
            memory.topic(&topic).set(&mut ours);
            assert_eq!(ours, theirs);
            assert!(memory.topic(&topic).within(&theirs));
            assert!(!memory.topic(&topic).within(&Bloom::ZERO));
        }
    }

    #[test]
    fn items_of_one_set_are_told_apart_however_many_there_are() {
        let mut memory = BloomMemory::new();
        for _ in 0..2 {
            for n in 0..3 * u8::try_from(ITEMS_PER_SET).unwrap() {
                let mut topic = B256::ZERO;
                topic[0] = n;
                assert_eq!(memory.topic(&topic), BloomBits::of(topic.as_slice()));
            }
        }
    }
}
