//! Bits by node and by slot. Evidence is written as one row of node bits per slot and read as one column of slot bits
//! per node; the way from rows to columns is a transpose of 64x64 blocks.

use std::fmt;
use std::ops::Range;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::NodeIndex;

const WORD: usize = 64;
/// Words of a cache line.
const TILE: usize = 8;

/// A set of nodes. Two equal sets are equal bytes: no trailing zero is ever kept.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub const EMPTY: Bitmap = Bitmap { words: Vec::new() };

    /// True when the node was not in the set before.
    pub fn set(&mut self, node: NodeIndex) -> bool {
        let (word, mask) = place(node);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let was = self.words[word] & mask != 0;
        self.words[word] |= mask;
        !was
    }

    pub fn clear(&mut self, node: NodeIndex) {
        let (word, mask) = place(node);
        if let Some(w) = self.words.get_mut(word) {
            *w &= !mask;
            self.trim();
        }
    }

    pub fn get(&self, node: NodeIndex) -> bool {
        let (word, mask) = place(node);
        self.words.get(word).is_some_and(|w| w & mask != 0)
    }

    pub fn count(&self) -> u32 {
        self.words.iter().map(|w| w.count_ones()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = NodeIndex> {
        (0u32..).step_by(WORD).zip(&self.words).flat_map(|(base, word)| ones(*word).map(move |bit| NodeIndex(base + bit)))
    }

    pub fn union(&mut self, other: &Bitmap) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// Every node of this set is in `other` too.
    pub fn is_within(&self, other: &Bitmap) -> bool {
        let theirs = other.words.iter().chain(std::iter::repeat(&0));
        self.words.iter().zip(theirs).all(|(mine, theirs)| mine & !theirs == 0)
    }

    fn trim(&mut self) {
        let used = self.words.iter().rposition(|w| *w != 0).map_or(0, |last| last + 1);
        self.words.truncate(used);
    }

    /// Little-endian bytes, no trailing zeros: node n is bit n % 8 of byte n / 8.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Bitmap {
        // Whole words apart: copying eight bytes is one instruction, copying up to eight is a call.
        let (whole, rest) = bytes.as_chunks::<8>();
        let mut words = Vec::with_capacity(whole.len() + 1);
        words.extend(whole.iter().map(|word| u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            words.push(u64::from_le_bytes(padded));
        }
        let mut bitmap = Bitmap { words };
        bitmap.trim();
        bitmap
    }
}

fn place(node: NodeIndex) -> (usize, u64) {
    (node.position() / WORD, 1 << (node.0 % 64))
}

/// Positions of the set bits, ascending.
fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

impl FromIterator<NodeIndex> for Bitmap {
    fn from_iter<I: IntoIterator<Item = NodeIndex>>(nodes: I) -> Bitmap {
        let mut bitmap = Bitmap::EMPTY;
        for node in nodes {
            bitmap.set(node);
        }
        bitmap
    }
}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|n| n.0)).finish()
    }
}

impl Serialize for Bitmap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bitmap, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Bitmap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a bitmap")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bitmap, E> {
                Ok(Bitmap::from_bytes(bytes))
            }

            // JSON has no bytes and gives a list.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bitmap, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bitmap::from_bytes(&bytes))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Transposes a 64x64 block in place: bit c of word r becomes bit r of word c. Swaps ever smaller quadrants (Warren,
/// Hacker's Delight, 7-3).
pub fn transpose64(block: &mut [u64; WORD]) {
    let mut half = 32;
    let mut mask = 0x0000_0000_ffff_ffff_u64;
    while half != 0 {
        let mut row = 0;
        while row < WORD {
            let swap = ((block[row] >> half) ^ block[row + half]) & mask;
            block[row] ^= swap << half;
            block[row + half] ^= swap;
            row = (row + half + 1) & !half;
        }
        half >>= 1;
        mask ^= mask << half;
    }
}

/// One column of slot bits per node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The node of the first column.
    first: usize,
    words_per_node: usize,
    /// Words from one column to the next: what is beyond `words_per_node` is room.
    stride: usize,
    words: Vec<u64>,
}

impl Columns {
    /// Columns of the nodes `0..nodes` over `rows`, oldest row first; a slot without a row is `&Bitmap::EMPTY`.
    pub fn of(rows: &[&Bitmap], nodes: usize) -> Columns {
        let words_per_node = rows.len().div_ceil(WORD);
        let mut words = vec![0; words_per_node * nodes];
        turn(rows, &mut words, words_per_node, 0);
        Columns { first: 0, words_per_node, stride: words_per_node, words }
    }

    /// The column of `node` alone.
    pub fn only(rows: &[&Bitmap], node: NodeIndex) -> Columns {
        let word = |rows: &[&Bitmap]| rows.iter().zip(0u32..).fold(0, |word, (row, at)| word | u64::from(row.get(node)) << at);
        let words_per_node = rows.len().div_ceil(WORD);
        let words = rows.chunks(WORD).map(word).collect();
        Columns { first: node.position(), words_per_node, stride: words_per_node, words }
    }

    /// The words `kept` of each column of the nodes `0..nodes`, and `rows` behind them: what was there of these is replaced. Nodes that are new have nothing in what is
    /// kept.
    pub fn slide(&mut self, kept: Range<usize>, rows: &[&Bitmap], nodes: usize) {
        let words_per_node = kept.len() + rows.len().div_ceil(WORD);
        if words_per_node > self.stride || 2 * words_per_node < self.stride {
            // The room is for the word that begins before the oldest one leaves.
            let stride = words_per_node + 1;
            let mut words = vec![0; stride * nodes];
            for (new, old) in words.chunks_mut(stride).zip(self.words.chunks(self.stride.max(1))) {
                new[..kept.len()].copy_from_slice(&old[kept.clone()]);
            }
            (self.stride, self.words) = (stride, words);
        } else {
            if kept.start > 0 {
                self.words.chunks_mut(self.stride.max(1)).for_each(|column| column.copy_within(kept.clone(), 0));
            }
            self.words.resize(self.stride * nodes, 0);
        }
        self.words_per_node = words_per_node;
        turn(rows, &mut self.words, self.stride, kept.len());
    }

    /// The rows that every one of `nodes` has, as a column; all rows when `nodes` are none.
    pub fn all_of(&self, nodes: &Bitmap) -> Vec<u64> {
        let mut all = vec![u64::MAX; self.words_per_node];
        for node in nodes.iter() {
            let column = self.column(node).iter().chain(std::iter::repeat(&0));
            all.iter_mut().zip(column).for_each(|(all, word)| *all &= word);
        }
        all
    }

    pub fn is_clear(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Bit r % 64 of word r / 64 is the node's bit of row r; empty for a node that has no column here.
    pub fn column(&self, node: NodeIndex) -> &[u64] {
        let start = node.position().checked_sub(self.first).map(|at| at.saturating_mul(self.stride));
        start.and_then(|start| self.words.get(start..start.saturating_add(self.words_per_node))).unwrap_or(&[])
    }
}

/// Bits of a column from the row `from` on.
pub fn count_from(column: &[u64], from: usize) -> u32 {
    let mut words = column.iter().skip(from / WORD);
    let first = words.next().map_or(0, |word| (word >> (from % WORD)).count_ones());
    first + words.map(|word| word.count_ones()).sum::<u32>()
}

/// Writes rows into columns that are `stride` words apart, from their word `at` on.
fn turn(rows: &[&Bitmap], words: &mut [u64], stride: usize, at: usize) {
    if rows.is_empty() {
        return;
    }
    let nodes = words.len() / stride;
    // Tiles of 8 by 8 blocks: what is read and what is written of a tile are whole cache lines, and few enough to stay.
    for first_word in (0..nodes.div_ceil(WORD)).step_by(TILE) {
        for (tile, tile_rows) in rows.chunks(WORD * TILE).enumerate() {
            for word in first_word..nodes.div_ceil(WORD).min(first_word + TILE) {
                for (place, chunk) in (at + tile * TILE..).zip(tile_rows.chunks(WORD)) {
                    let mut block = [0; WORD];
                    for (line, row) in block.iter_mut().zip(chunk) {
                        *line = row.words.get(word).copied().unwrap_or(0);
                    }
                    transpose64(&mut block);
                    let columns = words[word * WORD * stride..].chunks_mut(stride);
                    for (column, bits) in columns.zip(block) {
                        column[place] = bits;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn bitmap(nodes: &BTreeSet<u32>) -> Bitmap {
        nodes.iter().map(|n| NodeIndex(*n)).collect()
    }

    proptest! {
        #[test]
        fn a_bitmap_is_a_set(
            a in prop::collection::btree_set(0u32..300, 0..40),
            b in prop::collection::btree_set(0u32..300, 0..40),
        ) {
            let (x, y) = (bitmap(&a), bitmap(&b));
            prop_assert_eq!(x.iter().map(|n| n.0).collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(x.count() as usize, a.len());
            prop_assert_eq!(x.is_within(&y), a.is_subset(&b));
            let mut both = x.clone();
            both.union(&y);
            prop_assert_eq!(&both, &bitmap(&a.union(&b).copied().collect()));
            for n in &b {
                both.clear(NodeIndex(*n));
            }
            prop_assert_eq!(&both, &bitmap(&a.difference(&b).copied().collect()), "no trailing zeros stay");
            let stored = postcard::to_stdvec(&x).unwrap();
            prop_assert!(stored.len() <= 2 + a.last().map_or(0, |n| *n as usize / 8 + 1));
            prop_assert_eq!(&postcard::from_bytes::<Bitmap>(&stored).unwrap(), &x);
            prop_assert_eq!(&serde_json::from_str::<Bitmap>(&serde_json::to_string(&x).unwrap()).unwrap(), &x);
        }

        #[test]
        fn columns_are_the_rows_turned(
            rows in prop::collection::vec(prop::collection::btree_set(0u32..200, 0..60), 0..200),
            nodes in 0usize..220,
        ) {
            let bitmaps: Vec<Bitmap> = rows.iter().map(bitmap).collect();
            let lines: Vec<&Bitmap> = bitmaps.iter().collect();
            let columns = Columns::of(&lines, nodes);
            for node in 0..230u32 {
                let column = columns.column(NodeIndex(node));
                if (node as usize) < nodes {
                    let only = Columns::only(&lines, NodeIndex(node));
                    prop_assert_eq!(only.column(NodeIndex(node)), column);
                    prop_assert!(only.column(NodeIndex(node + 1)).is_empty() && node.checked_sub(1).is_none_or(|n| only.column(NodeIndex(n)).is_empty()));
                }
                for (r, row) in rows.iter().enumerate() {
                    let bit = column.get(r / 64).is_some_and(|w| w >> (r % 64) & 1 == 1);
                    prop_assert_eq!(bit, (node as usize) < nodes && row.contains(&node), "node {} row {}", node, r);
                }
                let past_the_end: u32 = column.iter().map(|w| w.count_ones()).sum();
                let expected = rows.iter().filter(|r| (node as usize) < nodes && r.contains(&node)).count();
                prop_assert_eq!(past_the_end as usize, expected);
            }
        }

        /// Windows that move on, get longer and shorter, and fleets that grow: what stays and what is put behind it are as if all had been turned at once.
        #[test]
        fn columns_that_move_on_are_the_rows_turned(
            rows in prop::collection::vec(prop::collection::btree_set(0u32..200, 0..60), 1..500),
            moves in prop::collection::vec((0usize..200, 0usize..150), 1..6),
            mut nodes in 1usize..100,
        ) {
            let bitmaps: Vec<Bitmap> = rows.iter().map(bitmap).collect();
            let lines: Vec<&Bitmap> = bitmaps.iter().collect();
            let (mut first, mut end) = (0, lines.len().min(70));
            // Rows of a node that is not there yet are not looked at: it has none.
            let of = |first: usize, end: usize, nodes: usize| Columns::of(&lines[64 * first..end], nodes);
            let mut columns = of(first, end, 200);
            columns.slide(0..0, &lines[..end], nodes);
            for (older, on) in moves {
                let anew = end / 64;
                let next = (first + older / 64).min(anew);
                nodes += older % 7;
                let before = end;
                end = (end + on).min(lines.len());
                columns.slide(next - first..anew - first, &lines[64 * anew..end], nodes);
                first = next;
                let expected = of(first, end, nodes);
                for node in 0..nodes as u32 {
                    let (column, expected) = (columns.column(NodeIndex(node)), expected.column(NodeIndex(node)));
                    let known = if (node as usize) < nodes - older % 7 { 0 } else { anew - first };
                    prop_assert_eq!(&column[known..], &expected[known..], "node {} of {}, {} to {}", node, nodes, before, end);
                    prop_assert!(column[..known].iter().all(|word| *word == 0));
                }
                prop_assert!(columns.column(NodeIndex(nodes as u32)).is_empty());
                if older % 7 > 0 {
                    // From here on as if the new ones had always been looked at.
                    columns.slide(0..0, &lines[64 * first..end], nodes);
                }
            }
        }

        #[test]
        fn transposing_moves_each_bit_across_the_diagonal(seed in prop::array::uniform32(any::<u64>()), more in prop::array::uniform32(any::<u64>())) {
            let mut block = [0; 64];
            block[..32].copy_from_slice(&seed);
            block[32..].copy_from_slice(&more);
            let before = block;
            transpose64(&mut block);
            for (r, row) in before.iter().enumerate() {
                for (c, column) in block.iter().enumerate() {
                    prop_assert_eq!(row >> c & 1, column >> r & 1);
                }
            }
        }
    }
}
