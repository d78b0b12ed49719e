//! A block: the samples of neighbouring nodes in one slot, in one row. One node is found without decoding the others.

use serde::{Deserialize, Serialize};

use crate::domain::ids::NodeIndex;
use crate::record;
use crate::storage::bytes::Bytes;

/// Nodes of one block. redb rounds a row up to 4, 8, 16, 32 KiB: this many samples of machines with two interfaces (130 to 160 bytes each)
/// fill 16 KiB well, where 128 of them would take 32.
pub const NODES_PER_BLOCK: u32 = 96;

pub fn group(node: NodeIndex) -> u32 {
    node.0 / NODES_PER_BLOCK
}

/// Entries of (node u32, flags u8, length u16, sample bytes), little-endian, in ascending node order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Block(Bytes);

record! { Block = 1 }

const HEAD: usize = 7;
const LATE: u8 = 1;

/// One sample of a block, undecoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub node: NodeIndex,
    /// Came from an agent's spool, after its slot had closed.
    pub late: bool,
    pub sample: &'a [u8],
}

impl Block {
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.0.0.as_slice();
        std::iter::from_fn(move || {
            let (head, after) = rest.split_at_checked(HEAD)?;
            let node = NodeIndex(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
            let (sample, next) = after.split_at_checked(usize::from(u16::from_le_bytes([head[5], head[6]])))?;
            rest = next;
            Some(Entry { node, late: head[4] & LATE != 0, sample })
        })
    }

    pub fn find(&self, node: NodeIndex) -> Option<Entry<'_>> {
        self.entries().find(|e| e.node == node)
    }

    /// Both blocks' entries; where both have a node, `self`'s stays.
    pub fn merged<'a>(&'a self, others: impl IntoIterator<Item = Entry<'a>>) -> Block {
        let mut all: Vec<Entry<'a>> = self.entries().chain(others).collect();
        all.sort_by_key(|e| e.node);
        all.dedup_by_key(|e| e.node);
        let mut bytes = Vec::with_capacity(all.iter().map(|e| HEAD + e.sample.len()).sum());
        for entry in all {
            let Ok(len) = u16::try_from(entry.sample.len()) else { continue };
            bytes.extend_from_slice(&entry.node.0.to_le_bytes());
            bytes.push(if entry.late { LATE } else { 0 });
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(entry.sample);
        }
        Block(Bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::table::{decode, encode};

    fn entry(node: u32, sample: &[u8]) -> Entry<'_> {
        Entry { node: NodeIndex(node), late: node % 2 == 1, sample }
    }

    #[test]
    fn the_first_sample_of_a_node_stays_and_order_is_kept() {
        let first = Block::default().merged([entry(5, b"five"), entry(1, b"one"), entry(5, b"again")]);
        let both = first.merged([entry(3, b""), entry(1, b"late")]);
        let found: Vec<_> = both.entries().map(|e| (e.node.0, e.late, e.sample)).collect();
        assert_eq!(found, [(1, true, &b"one"[..]), (3, true, b""), (5, true, b"five")]);
        assert_eq!(both.find(NodeIndex(4)), None);
        assert_eq!(decode::<Block>(&encode(&both).unwrap()), Ok(both));
    }

    #[test]
    fn damaged_bytes_end_the_list_and_never_panic() {
        let whole = Block::default().merged([entry(1, b"abc"), entry(2, b"def")]);
        for cut in 0..whole.0.0.len() {
            assert!(Block(Bytes(whole.0.0[..cut].to_vec())).entries().count() < 2);
        }
    }
}
