//! A node: how it is set up, and what it sees of the chain.

use std::collections::{BTreeMap, HashMap};

use super::address::{Address, Hash};
use super::block::{Block, Executed};
use super::chain::Chain;
use super::faults::Faults;

/// How long a node remembers that a transaction was sent to it, accepted or not.
pub const TRANSACTION_CACHE_MS: i64 = 3_600_000;

/// A branch that this node believes in, from a block that all have: no block of it holds a transaction.
struct Fork {
    /// The last block in common.
    from: Hash,
    from_number: u64,
    blocks: Vec<Block>,
}

pub struct Node {
    /// Blocks behind the head.
    pub lag: u64,
    /// Sees nothing later than this block: its synchronisation hangs.
    pub stuck_at: Option<u64>,
    /// Its solid head does not go beyond this block.
    pub solid_stuck_at: Option<u64>,
    /// Says that this is the first block of the chain.
    pub genesis: Option<Hash>,
    /// Keeps receipts (`transHistory.switch`).
    pub history: bool,
    /// A lite node: the calls for older blocks and for transactions answer with a text.
    pub lite: bool,
    /// Answers `estimateenergy`.
    pub estimates_energy: bool,
    /// Has TronGrid's `/v1`.
    pub grid: bool,
    /// Refuses for an hour whatever it was sent before, whatever came of it (`node.transactionCache`).
    pub transaction_cache: bool,
    /// Refuses broadcasts while the head is this far above the solid head.
    pub unsolidified_limit: Option<u64>,
    /// Wants this in `TRON-PRO-API-KEY`.
    pub api_key: Option<String>,
    /// Requests in a second of the chain's clock; more are 429.
    pub requests_per_second: Option<u32>,
    /// Largest body, in bytes.
    pub max_body: usize,
    pub faults: Faults,
    /// Requests so far, by path without the query.
    pub requests: BTreeMap<String, u64>,
    pub(super) cache: HashMap<Hash, i64>,
    pub(super) second: (i64, u32),
    fork: Option<Fork>,
}

impl Node {
    /// Up to date and honest.
    pub fn new(seed: u64) -> Node {
        Node {
            lag: 0,
            stuck_at: None,
            solid_stuck_at: None,
            genesis: None,
            history: true,
            lite: false,
            estimates_energy: false,
            grid: true,
            transaction_cache: false,
            unsolidified_limit: None,
            api_key: None,
            requests_per_second: None,
            max_body: 4 << 20,
            faults: Faults::new(seed),
            requests: BTreeMap::new(),
            cache: HashMap::new(),
            second: (0, 0),
            fork: None,
        }
    }

    /// From here on the node follows a branch of its own, which leaves the chain `depth` blocks below the head.
    pub fn fork_off(&mut self, chain: &Chain, depth: u64) {
        let from_number = chain.head().number.saturating_sub(depth).max(chain.config.first_block);
        let from = chain.block(from_number).map_or([0; 32], |block| block.id);
        self.fork = Some(Fork { from, from_number, blocks: Vec::new() });
    }

    /// Follows the chain again.
    pub fn rejoin(&mut self) {
        self.fork = None;
    }

    /// Brings the branch up to the time of the chain.
    fn follow(&mut self, chain: &Chain) {
        let Some(fork) = &mut self.fork else { return };
        let mut number = fork.from_number + u64::try_from(fork.blocks.len()).unwrap_or(0);
        while number < chain.head().number {
            number += 1;
            let parent = fork.blocks.last().map_or(fork.from, |block| block.id);
            let time = chain.block(number).map_or(chain.now_ms, |block| block.timestamp_ms);
            fork.blocks.push(Block::new(number, time, parent, Address::labelled("a branch"), Vec::new(), Vec::new()));
        }
    }

    /// What the node knows, `stale` blocks ago.
    pub fn view<'a>(&'a mut self, chain: &'a Chain, stale: u64) -> View<'a> {
        self.follow(chain);
        let newest = chain.head().number.saturating_sub(self.lag + stale);
        let top = newest.min(self.stuck_at.unwrap_or(u64::MAX)).max(chain.config.first_block);
        let own = if self.fork.is_some() { top.saturating_sub(chain.config.solid_distance) } else { chain.solid() };
        let solid = own.min(top).min(self.solid_stuck_at.unwrap_or(u64::MAX));
        // A view that is late is late with its solid head too.
        let solid = if newest < chain.head().number { solid.min(top.saturating_sub(chain.config.solid_distance)) } else { solid };
        let (from, branch) = self.fork.as_ref().map_or((u64::MAX, &[][..]), |fork| (fork.from_number, &fork.blocks[..]));
        View { chain, top, solid: solid.max(chain.config.first_block), branch_from: from, branch, genesis: self.genesis }
    }
}

/// The chain as a node shows it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub chain: &'a Chain,
    /// The number of the head.
    pub top: u64,
    pub solid: u64,
    branch_from: u64,
    branch: &'a [Block],
    pub genesis: Option<Hash>,
}

impl<'a> View<'a> {
    /// The same, ending at the solid head: what `/walletsolidity/` shows.
    pub fn solidity(self) -> View<'a> {
        View { top: self.solid, ..self }
    }

    pub fn block(&self, number: u64) -> Option<&'a Block> {
        if number > self.top {
            return None;
        }
        if number > self.branch_from {
            return self.branch.get(usize::try_from(number - self.branch_from - 1).ok()?);
        }
        self.chain.block(number)
    }

    pub fn head(&self) -> &'a Block {
        self.block(self.top).unwrap_or(&self.chain.genesis)
    }

    /// What a block is called here.
    pub fn id(&self, block: &Block) -> Hash {
        if block.number == 0 { self.genesis.unwrap_or(block.id) } else { block.id }
    }

    pub fn by_id(&self, id: &Hash) -> Option<&'a Block> {
        self.block(super::block::number_of(id)).filter(|block| self.id(block) == *id)
    }

    pub fn find(&self, txid: &Hash) -> Option<(&'a Block, &'a Executed)> {
        let (block, index) = self.chain.find(txid)?;
        let visible = block.number <= self.top && block.number <= self.branch_from;
        visible.then(|| (block, &block.transactions[index]))
    }

    /// The number up to which this view and the chain's state agree.
    pub fn state(&self) -> u64 {
        self.top.min(self.branch_from)
    }

    /// Blocks with transactions, the newest first.
    pub fn busy(&self) -> impl Iterator<Item = &'a Block> + use<'a> {
        let (chain, end) = (self.chain, self.state());
        chain.busy.iter().rev().skip_while(move |number| **number > end).filter_map(move |number| chain.block(*number))
    }
}
