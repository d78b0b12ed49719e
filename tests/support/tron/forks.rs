//! Reorganisations: another branch wins, and takes back what the blocks of the old one did.

use super::address::Hash;
use super::block::{Block, Change};
use super::chain::{Chain, Inclusion, Pending};

/// What becomes of a transaction whose block a reorganisation takes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// In the same place of the new branch.
    Included,
    /// Back in the pool, and into a block after so many milliseconds.
    After(i64),
    /// Nobody holds it any more. Who sends it again may have it included.
    Dropped,
}

impl Chain {
    /// Another branch wins over the last `depth` blocks, though never over a solid one. Returns how many were replaced.
    pub fn reorg(&mut self, depth: u64, replay: impl Fn(&Hash) -> Replay) -> u64 {
        let depth = depth.min(self.head().number - self.solid);
        self.replace(depth, replay)
    }

    /// The same, over solid blocks too: what cannot happen on the real chain.
    pub fn reorg_solid(&mut self, depth: u64, replay: impl Fn(&Hash) -> Replay) -> u64 {
        let depth = depth.min(self.head().number - self.config.first_block);
        self.replace(depth, replay)
    }

    fn replace(&mut self, depth: u64, replay: impl Fn(&Hash) -> Replay) -> u64 {
        let mut taken = Vec::new();
        for _ in 0..depth {
            let Some(block) = self.blocks.pop() else { break };
            self.take_back(&block);
            taken.push(block);
        }
        self.forks += 1;
        let now = self.now_ms;
        while let Some(block) = taken.pop() {
            let mut again = Vec::new();
            for executed in block.transactions {
                match replay(&executed.transaction.txid) {
                    Replay::Included => again.push(executed.transaction),
                    Replay::After(ms) => self.pool.push(Pending {
                        transaction: executed.transaction,
                        since_ms: now,
                        inclusion: Inclusion::NotBefore(now + ms),
                        node: 0,
                    }),
                    Replay::Dropped => {}
                }
            }
            again.retain(|transaction| transaction.raw.expiration_ms > self.head().timestamp_ms && self.references(transaction));
            self.append(block.timestamp_ms, again);
        }
        depth
    }

    fn take_back(&mut self, block: &Block) {
        if self.busy.last() == Some(&block.number) {
            self.busy.pop();
        }
        for executed in &block.transactions {
            self.included.remove(&executed.transaction.txid);
        }
        for change in block.changes.iter().rev() {
            match *change {
                Change::Trx(address, by) => *self.trx.entry(address).or_default() -= by,
                Change::Usdt(address, by) => *self.usdt.entry(address).or_default() -= by,
                Change::Activated(address) => drop(self.trx.remove(&address)),
                Change::Usage(address, before) => drop(self.usage.insert(address, before)),
            }
        }
    }
}
