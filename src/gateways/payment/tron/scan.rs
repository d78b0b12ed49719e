//! A search through the final blocks that could hold a transfer, from the one that its bytes refer to up to the first that is as late as its expiry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answers::{Block, Head};
use super::network::BlockId;
use super::node::{Node, View, is_reference};
use super::{TransferTransaction, Txid};
use crate::crypto;

/// Final blocks that are kept, of all nodes together: transfers of one wave are searched for in the same ones.
const MAX_BLOCKS: usize = 1_600;

/// A block and half of each id in it: what looks like one is taken for it, which proves nothing wrong.
#[derive(Debug)]
pub struct Scanned {
    pub head: Head,
    txids: Vec<[u8; 16]>,
    failed: Vec<[u8; 16]>,
}

impl Scanned {
    fn of(block: &Block) -> Scanned {
        let halves = |txids: &[Txid]| {
            let mut halves: Vec<[u8; 16]> = txids.iter().map(half).collect();
            halves.sort_unstable();
            halves
        };
        Scanned { head: block.head, txids: halves(&block.txids), failed: halves(&block.failed) }
    }

    pub fn lists(&self, txid: &Txid) -> bool {
        self.txids.binary_search(&half(txid)).is_ok()
    }

    /// The block itself says that the call did not succeed.
    pub fn calls_failed(&self, txid: &Txid) -> bool {
        self.failed.binary_search(&half(txid)).is_ok()
    }
}

fn half(txid: &Txid) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&txid.0[..16]);
    half
}

/// Final blocks by node; forgotten all together when there are too many. Nothing depends on what is kept but the number of requests.
#[derive(Debug, Default)]
pub struct Blocks(Mutex<BTreeMap<(String, u64), Arc<Scanned>>>);

impl Blocks {
    /// None where the node does not show it as final. `budget` is what may still be asked for.
    pub async fn get(&self, node: &Node, number: u64, budget: &mut usize) -> Result<Option<Arc<Scanned>>, String> {
        let key = (node.url.clone(), number);
        if let Some(known) = self.lock().get(&key) {
            return Ok(Some(Arc::clone(known)));
        }
        *budget = budget.checked_sub(1).ok_or("the search goes on in the next cycle")?;
        let Some(block) = node.block(View::Solid, number).await.map_err(|e| e.to_string())? else { return Ok(None) };
        let scanned = Arc::new(Scanned::of(&block));
        let mut blocks = self.lock();
        if blocks.len() >= MAX_BLOCKS {
            blocks.clear();
        }
        blocks.insert(key, Arc::clone(&scanned));
        Ok(Some(scanned))
    }

    /// What contradicts itself or others is asked for again.
    pub fn forget(&self, node: &Node) {
        self.lock().retain(|(url, _), _| *url != node.url);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, u64), Arc<Scanned>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// The first block as late as the expiry.
    pub last: Head,
    /// The block that holds it, if one does.
    pub found: Option<u64>,
    /// Of all that the blocks hold; two honest nodes have the same.
    pub digest: [u8; 32],
}

/// Searches the chain of one node, whose final head is `solid`. `from` is the number of the block that the transfer refers to.
pub async fn search(
    blocks: &Blocks,
    node: &Node,
    solid: &Head,
    from: u64,
    transfer: &TransferTransaction,
    budget: &mut usize,
) -> Result<Search, String> {
    let txid = transfer.txid();
    let (mut before, mut found, mut digest): (Option<Head>, Option<u64>, BlockId) = (None, None, [0; 32]);
    for number in from..=solid.number {
        let shown = blocks.get(node, number, budget).await?;
        let block = shown.ok_or_else(|| format!("{} does not show block {number}", node.url))?;
        let head = block.head;
        // A block of that number which is not the one that the transfer refers to, and is older than the transfer, is the only one that the chain holds against the
        // reference from then on: the transfer refers to a branch that was left, and no block takes it. It is searched for all the same.
        let begins = |head: &Head| is_reference(head, transfer) || head.at_ms <= transfer.timestamp_ms;
        let follows = before.map_or_else(|| begins(&head), |before| head.parent == before.id && head.at_ms > before.at_ms);
        if !follows {
            blocks.forget(node);
            let what = if before.is_some() { "does not follow the one before" } else { "is later than the transfer that refers to it" };
            return Err(format!("{}: block {number} {what}", node.url));
        }
        if block.lists(&txid) {
            found.get_or_insert(number);
        }
        digest = crypto::sha256_parts(&[&digest, &head.id, block.txids.as_flattened()]);
        if head.at_ms >= transfer.expires_at_ms && before.is_some() {
            return Ok(Search { last: head, found, digest });
        }
        before = Some(head);
    }
    Err(format!("{}: its final chain ends before the expiry", node.url))
}
