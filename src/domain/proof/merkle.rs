//! The Merkle tree of RFC 6962 (section 2.1; the verifiers are those of RFC 9162, 2.1.3.2 and 2.1.4.2): of the leaves of an epoch, and of the
//! heads of all epochs. Leaves and inner nodes are hashed behind different bytes, so that none passes for the other.

use serde::{Deserialize, Serialize};

use crate::crypto;

pub type Hash = [u8; 32];

/// SHA-256 of 0x00 and what the leaf says.
pub fn leaf_hash(said: &[u8]) -> Hash {
    crypto::sha256_parts(&[&[0], said])
}

fn inner(left: &Hash, right: &Hash) -> Hash {
    // In one piece: the hash takes pieces slower.
    let mut both = [1; 65];
    both[1..33].copy_from_slice(left);
    both[33..].copy_from_slice(right);
    crypto::sha256(&both)
}

/// The root over hashes of leaves; of none, the hash of nothing.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The roots of the whole subtrees that a tree is made of, the largest first: all that is needed to add leaves at its end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Frontier {
    /// Leaves so far; its bits say how large each subtree is.
    pub size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    pub fn push(&mut self, leaf: Hash) {
        let mut carried = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                carried = inner(&left, &carried);
            }
        }
        self.peaks.push(carried);
        self.size += 1;
    }

    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else { return crypto::sha256(&[]) };
        peaks.fold(*smallest, |right, left| inner(left, &right))
    }
}

/// A whole tree, so that paths are looked up and not computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// From the leaves to the root. A hash without a neighbour stands in the next level as it is.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    pub fn over(leaves: Vec<Hash>) -> Tree {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let above = below.chunks(2).map(|pair| if let [left, right] = pair { inner(left, right) } else { pair[0] }).collect();
            levels.push(above);
        }
        Tree { levels }
    }

    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_else(|| root(&[]))
    }

    pub fn leaves(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// `inclusion` of these leaves.
    pub fn inclusion(&self, index: usize) -> Option<Vec<Hash>> {
        self.leaves().get(index)?;
        Some(self.levels.iter().enumerate().filter_map(|(height, level)| level.get((index >> height) ^ 1)).copied().collect())
    }
}

/// The leaves left of where a tree of two or more is cut: the largest power of two below its size.
fn cut(size: usize) -> usize {
    1 << (size - 1).ilog2()
}

/// The hashes that lead from a leaf to the root, the lowest first; none for a leaf that is not there.
pub fn inclusion(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut within, mut index) = (leaves, index);
    while within.len() > 1 {
        let (left, right) = within.split_at(cut(within.len()));
        if index < left.len() {
            path.push(root(right));
            within = left;
        } else {
            path.push(root(left));
            index -= left.len();
            within = right;
        }
    }
    path.reverse();
    Some(path)
}

/// The hashes that show a tree of the first `first` leaves to be the beginning of the tree of all; none unless `0 < first <= len`.
pub fn consistency(leaves: &[Hash], first: usize) -> Option<Vec<Hash>> {
    if first == 0 || first > leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut within, mut first, mut is_whole_known) = (leaves, first, true);
    while first < within.len() {
        let (left, right) = within.split_at(cut(within.len()));
        if first <= left.len() {
            path.push(root(right));
            within = left;
        } else {
            path.push(root(left));
            first -= left.len();
            within = right;
            is_whole_known = false;
        }
    }
    // The root of the first tree is known to who verifies, unless it is only a part of it that is left.
    if !is_whole_known {
        path.push(root(within));
    }
    path.reverse();
    Some(path)
}

/// Whether `leaf` is the one at `index` of the `size` leaves under `root`.
pub fn includes(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for beside in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = inner(beside, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = inner(&hash, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the `first_size` leaves under `first` are the first ones of the `second_size` under `second`.
pub fn is_beginning(first_size: u64, first: &Hash, second_size: u64, second: &Hash, path: &[Hash]) -> bool {
    if first_size == 0 || first_size > second_size {
        return false;
    }
    if first_size == second_size {
        return path.is_empty() && first == second;
    }
    let mut rest = path.iter();
    let start = if first_size.is_power_of_two() { Some(first) } else { rest.next() };
    let Some(start) = start else { return false };
    let (mut at, mut last) = (first_size - 1, second_size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut of_first, mut of_second) = (*start, *start);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            of_first = inner(beside, &of_first);
            of_second = inner(beside, &of_second);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            of_second = inner(&of_second, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && of_first == *first && of_second == *second
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;
    use crate::crypto::unhex;

    fn bytes(hex: &str) -> Vec<u8> {
        unhex(hex).unwrap()
    }

    /// The leaves and roots that implementations of Certificate Transparency test themselves with.
    const LEAVES: [&str; 8] = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn the_roots_of_certificate_transparency() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(&bytes(leaf))).collect();
        for (size, expected) in ROOTS.iter().enumerate() {
            assert_eq!(crypto::hex(&root(&leaves[..size])), *expected, "{size} leaves");
        }
    }

    #[test]
    fn the_paths_of_certificate_transparency() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(&bytes(leaf))).collect();
        let hex = |path: Option<Vec<Hash>>| path.unwrap().iter().map(|hash| crypto::hex(hash)).collect::<Vec<_>>();
        let first = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        assert_eq!(hex(inclusion(&leaves, 0)), first);
        let third_of_five = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        // The fifth of five is beside the four others alone.
        assert_eq!(hex(inclusion(&leaves[..5], 4)), third_of_five[1..]);
        let from_six_to_eight = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(hex(consistency(&leaves, 6)), from_six_to_eight);
    }

    fn said(size: usize) -> Vec<Vec<u8>> {
        (0..size).map(|n| n.to_be_bytes().to_vec()).collect()
    }

    #[test]
    fn another_implementation_agrees_on_every_proof_of_every_small_tree() {
        let said = said(70);
        for size in 1..=said.len() {
            let hashes: Vec<Hash> = said[..size].iter().map(|leaf| leaf_hash(leaf)).collect();
            let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            said[..size].iter().for_each(|leaf| theirs.push(leaf.clone()));
            let ours = root(&hashes);
            let tree = Tree::over(hashes.clone());
            assert_eq!((tree.root(), tree.leaves().get(size), tree.inclusion(size)), (ours, None, None));
            assert_eq!(theirs.root().as_bytes().as_slice(), ours);
            let size_64 = size as u64;
            for index in 0..size {
                let path = inclusion(&hashes, index).unwrap();
                assert_eq!(tree.inclusion(index).as_ref(), Some(&path), "leaf {index} of {size}");
                assert_eq!(theirs.prove_inclusion(index).as_bytes(), path.concat(), "leaf {index} of {size}");
                assert!(includes(&hashes[index], index as u64, size_64, &path, &ours));
                let proof = InclusionProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
                let theirs = RootHash::<Sha256>::new(ours.into(), size_64);
                assert!(theirs.verify_inclusion(&said[index], index as u64, &proof).is_ok());
            }
            for first in 1..=size {
                let path = consistency(&hashes, first).unwrap();
                let before = root(&hashes[..first]);
                assert_eq!(theirs.prove_consistency(size - first).as_bytes(), path.concat(), "{first} of {size}");
                assert!(is_beginning(first as u64, &before, size_64, &ours, &path));
                let proof = ConsistencyProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
                let older = RootHash::<Sha256>::new(before.into(), first as u64);
                assert!(RootHash::<Sha256>::new(ours.into(), size_64).verify_consistency(&older, &proof).is_ok());
            }
        }
    }

    #[test]
    fn nothing_is_proven_of_what_is_not_there() {
        let hashes: Vec<Hash> = said(3).iter().map(|leaf| leaf_hash(leaf)).collect();
        assert_eq!((Tree::over(vec![]).root(), Tree::over(vec![]).inclusion(0)), (root(&[]), None));
        assert_eq!((inclusion(&hashes, 3), consistency(&hashes, 0), consistency(&hashes, 4)), (None, None, None));
        let all = root(&hashes);
        assert!(!includes(&hashes[0], 3, 3, &[], &all) && !includes(&hashes[0], 0, 0, &[], &all));
        assert!(!is_beginning(0, &root(&[]), 3, &all, &[]), "nothing is the beginning of everything, and proves nothing");
        assert!(!is_beginning(4, &all, 3, &all, &[]));
        assert!(!is_beginning(3, &all, 3, &all, &[all]), "nothing is needed to show a tree to be itself");
    }

    proptest! {
        #[test]
        fn a_proof_that_was_touched_proves_nothing(size in 1usize..200, at in any::<prop::sample::Index>(), part in any::<prop::sample::Index>(), bit in 0usize..256) {
            let hashes: Vec<Hash> = said(size).iter().map(|leaf| leaf_hash(leaf)).collect();
            let (index, all, size_64) = (at.index(size), root(&hashes), size as u64);
            let path = inclusion(&hashes, index).unwrap();
            let flip = |hash: &Hash| {
                let mut other = *hash;
                other[bit / 8] ^= 1 << (bit % 8);
                other
            };
            prop_assert!(!includes(&flip(&hashes[index]), index as u64, size_64, &path, &all));
            prop_assert!(!includes(&hashes[index], index as u64, size_64, &path, &flip(&all)));
            let mut longer = path.clone();
            longer.push(all);
            prop_assert!(!includes(&hashes[index], index as u64, size_64, &longer, &all));
            if !path.is_empty() {
                let mut touched = path.clone();
                let k = part.index(path.len());
                touched[k] = flip(&touched[k]);
                prop_assert!(!includes(&hashes[index], index as u64, size_64, &touched, &all));
                prop_assert!(!includes(&hashes[index], index as u64, size_64, &path[1..], &all));
            }
            let (first, before) = (index + 1, root(&hashes[..=index]));
            let path = consistency(&hashes, first).unwrap();
            prop_assert!(!is_beginning(first as u64, &flip(&before), size_64, &all, &path));
            prop_assert!(!is_beginning(first as u64, &before, size_64, &flip(&all), &path));
            if !path.is_empty() {
                let mut touched = path.clone();
                let k = part.index(path.len());
                touched[k] = flip(&touched[k]);
                prop_assert!(!is_beginning(first as u64, &before, size_64, &all, &touched));
            }
        }
    }
}
