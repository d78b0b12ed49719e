//! The chain that everybody pays on: blocks on a clock that the test moves, a pool, a solid head, and forks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::account::{Permission, Staked, Usage};
use super::address::{Address, Hash, sha256};
use super::block::{Block, Change, Executed, VmResult, block_id};
use super::token::Token;
use super::transaction::Transaction;

pub const SLOT_MS: i64 = 3_000;
/// A block with so many others on top is solid: 19 of the 27 producers have built at or above it.
pub const SOLID_DISTANCE: u64 = 18;
/// How long a transaction waits in the pool before it is thrown out.
pub const POOL_MS: i64 = 60_000;
/// The mainnet's genesis block.
pub const MAINNET_GENESIS: &str = "00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc";
pub const NILE_GENESIS: &str = "0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc";
const WITNESSES: u64 = 27;
/// A new chain has so many blocks more than it takes for a solid head.
const BLOCKS_ABOVE_SOLID: u64 = 2;

#[derive(Debug, Clone)]
pub struct Config {
    pub genesis: Hash,
    pub token: Address,
    /// The number of the first block that is kept, besides the genesis.
    pub first_block: u64,
    /// Of that block; a multiple of 3 s.
    pub start_ms: i64,
    /// Blocks between the solid head and the head.
    pub solid_distance: u64,
    /// Sun for a unit of energy.
    pub energy_price: i64,
    /// Sun for a byte.
    pub bandwidth_price: i64,
    pub memo_fee: i64,
    pub max_fee_limit: i64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            genesis: super::address::hash_of(MAINNET_GENESIS).unwrap_or_default(),
            token: Address::from_base58("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t").unwrap_or(Address([0x41; 21])),
            first_block: 80_000_000,
            start_ms: 1_790_000_000_000 / SLOT_MS * SLOT_MS,
            solid_distance: SOLID_DISTANCE,
            energy_price: 100,
            bandwidth_price: 1_000,
            memo_fee: 1_000_000,
            max_fee_limit: 15_000_000_000,
        }
    }
}

impl Config {
    /// Of a chain whose clock stands at `now_ms` (a multiple of 3 s) when it has been made.
    pub fn at(now_ms: i64) -> Config {
        let config = Config::default();
        let before = i64::try_from(config.solid_distance + BLOCKS_ABOVE_SOLID).unwrap_or(0) * SLOT_MS;
        Config { start_ms: now_ms - before, ..config }
    }
}

/// When a pooled transaction gets into a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inclusion {
    /// In the next block with room for it, unless the pool throws it out before.
    Next,
    /// In the first block at or after this time: some producer holds it that long.
    NotBefore(i64),
    /// The producers never hear of it.
    Never,
}

#[derive(Debug, Clone)]
pub struct Pending {
    pub transaction: Arc<Transaction>,
    pub since_ms: i64,
    pub inclusion: Inclusion,
    /// The node that took it.
    pub node: usize,
}

pub struct Chain {
    pub config: Config,
    pub now_ms: i64,
    pub token: Token,
    /// Accounts without an entry have their owner's permission and one active one.
    pub permissions: HashMap<Address, Vec<Permission>>,
    pub staked: HashMap<Address, Staked>,
    /// Most transactions in a block.
    pub capacity: usize,
    /// Whether `advance` makes blocks.
    pub producing: bool,
    /// How the next contract calls end, whatever they would have done.
    pub forced_results: VecDeque<VmResult>,
    pub(super) genesis: Block,
    pub(super) blocks: Vec<Block>,
    /// Numbers of the blocks that hold transactions, rising.
    pub(super) busy: Vec<u64>,
    pub(super) included: HashMap<Hash, u64>,
    pub(super) pool: Vec<Pending>,
    pub(super) trx: HashMap<Address, i64>,
    pub(super) usdt: HashMap<Address, i128>,
    pub(super) usage: HashMap<Address, Usage>,
    pub(super) signers: HashMap<Hash, Option<Address>>,
    pub(super) solid: u64,
    pub(super) forks: u64,
    frozen: Option<u64>,
}

impl Chain {
    /// With as many blocks as it takes for a solid head that is not the first of them.
    pub fn new(config: Config) -> Chain {
        let nobody = Address::of_body([0; 20]);
        let mut genesis = Block::new(0, 0, [0; 32], nobody, Vec::new(), Vec::new());
        genesis.id = block_id(0, config.genesis);
        let parent = block_id(config.first_block - 1, sha256(b"what was before"));
        let first = Block::new(config.first_block, config.start_ms, parent, nobody, Vec::new(), Vec::new());
        let mut chain = Chain {
            now_ms: config.start_ms,
            token: Token::new(config.token),
            permissions: HashMap::new(),
            staked: HashMap::new(),
            capacity: 1_000,
            producing: true,
            forced_results: VecDeque::new(),
            genesis,
            solid: config.first_block,
            blocks: vec![first],
            busy: Vec::new(),
            included: HashMap::new(),
            pool: Vec::new(),
            trx: HashMap::new(),
            usdt: HashMap::new(),
            usage: HashMap::new(),
            signers: HashMap::new(),
            frozen: None,
            forks: 0,
            config,
        };
        chain.produce(chain.config.solid_distance + BLOCKS_ABOVE_SOLID);
        chain
    }

    // The clock.

    /// Moves the clock and makes a block in each slot that it passes.
    pub fn advance(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        while self.producing && self.next_slot() <= until {
            self.produce_block();
        }
        self.now_ms = until;
        self.evict();
    }

    /// Moves the clock to the next slot and makes its block.
    pub fn produce_block(&mut self) {
        self.now_ms = self.next_slot();
        self.evict();
        let transactions = self.choose();
        self.append(self.now_ms, transactions);
        self.settle();
    }

    pub fn produce(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.produce_block();
        }
    }

    /// Moves the clock without blocks: their producers miss the slots.
    pub fn miss(&mut self, ms: i64) {
        self.now_ms += ms;
        self.evict();
    }

    /// The time of the next block.
    pub fn next_slot(&self) -> i64 {
        (self.now_ms.div_euclid(SLOT_MS) + 1) * SLOT_MS
    }

    // Blocks.

    pub fn head(&self) -> &Block {
        self.blocks.last().unwrap_or(&self.genesis)
    }

    pub fn solid(&self) -> u64 {
        self.solid
    }

    /// Holds the solid head where it is, or lets it go on.
    pub fn freeze_solid(&mut self, frozen: bool) {
        self.frozen = frozen.then_some(self.solid);
        self.settle();
    }

    pub fn block(&self, number: u64) -> Option<&Block> {
        if number == 0 {
            return Some(&self.genesis);
        }
        let index = number.checked_sub(self.config.first_block)?;
        self.blocks.get(usize::try_from(index).ok()?)
    }

    /// The block that holds this transaction now, and its place there.
    pub fn find(&self, txid: &Hash) -> Option<(&Block, usize)> {
        let block = self.block(*self.included.get(txid)?)?;
        Some((block, block.position(txid)?))
    }

    /// The newest block up to `top` whose number ends in these 16 bits.
    pub fn reference(&self, bits: u16, top: u64) -> Option<u64> {
        let back = u64::from(u16::try_from(top & 0xffff).unwrap_or(0).wrapping_sub(bits));
        top.checked_sub(back)
    }

    fn settle(&mut self) {
        let reached = self.head().number.saturating_sub(self.config.solid_distance).max(self.config.first_block);
        self.solid = self.solid.max(reached.min(self.frozen.unwrap_or(u64::MAX)));
    }

    fn witness(&self, number: u64) -> Address {
        let mut body = [0x77; 20];
        body[..8].copy_from_slice(&(number % WITNESSES).to_be_bytes());
        // A slot that another branch fills has another producer, and so another id.
        body[8..16].copy_from_slice(&self.forks.to_be_bytes());
        Address::of_body(body)
    }

    pub(super) fn append(&mut self, timestamp_ms: i64, transactions: Vec<Arc<Transaction>>) {
        let (parent, number) = (self.head().id, self.head().number + 1);
        let (mut executed, mut changes) = (Vec::new(), Vec::new());
        for transaction in transactions {
            // Who has become unable to pay meanwhile is left out, and forgotten.
            if let Ok(receipt) = self.execute(&transaction, timestamp_ms, &mut changes) {
                self.included.insert(transaction.txid, number);
                executed.push(Executed { transaction, receipt });
            }
        }
        if !executed.is_empty() {
            self.busy.push(number);
        }
        let block = Block::new(number, timestamp_ms, parent, self.witness(number), executed, changes);
        self.blocks.push(block);
    }

    // The pool.

    /// What waits, in the order in which it came.
    pub fn pool(&self) -> &[Pending] {
        &self.pool
    }

    pub fn pending(&self, txid: &Hash) -> Option<&Pending> {
        self.pool.iter().find(|pending| pending.transaction.txid == *txid)
    }

    fn evict(&mut self) {
        let (now, parent) = (self.now_ms, self.head().timestamp_ms);
        self.pool.retain(|pending| {
            let held = matches!(pending.inclusion, Inclusion::NotBefore(_));
            pending.transaction.raw.expiration_ms > parent && (held || now - pending.since_ms < POOL_MS)
        });
    }

    /// Takes out of the pool what the next block may hold.
    fn choose(&mut self) -> Vec<Arc<Transaction>> {
        if self.pool.is_empty() {
            return Vec::new();
        }
        let (mut chosen, mut left) = (Vec::new(), Vec::new());
        for pending in std::mem::take(&mut self.pool) {
            let due = match pending.inclusion {
                Inclusion::Next => true,
                Inclusion::NotBefore(at) => self.now_ms >= at,
                Inclusion::Never => false,
            };
            if self.included.contains_key(&pending.transaction.txid) {
                continue;
            }
            if !due || chosen.len() >= self.capacity {
                left.push(pending);
            } else if self.references(&pending.transaction) {
                chosen.push(pending.transaction);
            }
        }
        self.pool = left;
        chosen
    }

    /// Whether this chain has the block that the transaction refers to.
    pub(super) fn references(&self, transaction: &Transaction) -> bool {
        self.refers_to(transaction, self.head().number, |number| self.block(number))
    }

    /// The same on a view of the chain that ends at `top`.
    pub(super) fn refers_to<'a>(&self, transaction: &Transaction, top: u64, block: impl Fn(u64) -> Option<&'a Block>) -> bool {
        let Ok(bits) = <[u8; 2]>::try_from(transaction.raw.ref_block_bytes.as_slice()) else {
            return false;
        };
        let found = self.reference(u16::from_be_bytes(bits), top).and_then(block);
        found.is_some_and(|block| block.id[8..16] == transaction.raw.ref_block_hash)
    }

    // Money and settings, as the test gives and takes them. None of it is undone by a fork.

    pub fn give_trx(&mut self, to: Address, sun: i64) {
        *self.trx.entry(to).or_default() += sun;
    }

    pub fn give_usdt(&mut self, to: Address, micro: i128) {
        *self.usdt.entry(to).or_default() += micro;
    }

    pub fn set_trx(&mut self, of: Address, sun: i64) {
        self.trx.insert(of, sun);
    }

    pub fn set_usdt(&mut self, of: Address, micro: i128) {
        self.usdt.insert(of, micro);
    }

    /// Sun; none for an account that was never activated.
    pub fn trx(&self, of: &Address) -> Option<i64> {
        self.trx.get(of).copied()
    }

    /// Micro-USDT.
    pub fn usdt(&self, of: &Address) -> i128 {
        self.usdt.get(of).copied().unwrap_or(0)
    }

    /// As the state was after block `number`; what the test gave or took counts as if it had always been so.
    pub fn usdt_at(&self, of: &Address, number: u64) -> i128 {
        let later = self.changes_after(number).map(|change| match change {
            Change::Usdt(address, by) if address == of => *by,
            _ => 0,
        });
        self.usdt(of) - later.sum::<i128>()
    }

    pub fn trx_at(&self, of: &Address, number: u64) -> Option<i64> {
        let now = self.trx(of)?;
        let mut later = 0;
        for change in self.changes_after(number) {
            match change {
                Change::Activated(address) if address == of => return None,
                Change::Trx(address, by) if address == of => later += by,
                _ => {}
            }
        }
        Some(now - later)
    }

    fn changes_after(&self, number: u64) -> impl Iterator<Item = &Change> {
        let busy = self.busy.iter().rev().take_while(move |busy| **busy > number);
        busy.filter_map(|number| self.block(*number)).flat_map(|block| &block.changes)
    }

    /// Everybody with USDT.
    pub fn holders(&self) -> BTreeMap<Address, i128> {
        self.usdt.iter().map(|(address, amount)| (*address, *amount)).collect()
    }
}
