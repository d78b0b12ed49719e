//! Blocks: headers hashed as on the real chain, transactions with their receipts, and what they changed.

use std::sync::Arc;

use super::account::Usage;
use super::address::{Address, Hash, hex, sha256};
use super::protobuf::Writer;
use super::transaction::Transaction;

const VERSION: i64 = 34;

/// How a contract call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmResult {
    Success,
    Revert,
    OutOfEnergy,
    OutOfTime,
    BadJumpDestination,
    Unknown,
}

impl VmResult {
    pub fn name(self) -> &'static str {
        match self {
            VmResult::Success => "SUCCESS",
            VmResult::Revert => "REVERT",
            VmResult::OutOfEnergy => "OUT_OF_ENERGY",
            VmResult::OutOfTime => "OUT_OF_TIME",
            VmResult::BadJumpDestination => "BAD_JUMP_DESTINATION",
            VmResult::Unknown => "UNKNOWN",
        }
    }

    /// What the node says of it in words.
    pub fn message(self) -> &'static str {
        match self {
            VmResult::Success => "",
            VmResult::Revert => "REVERT opcode executed",
            VmResult::OutOfEnergy => {
                "Not enough energy for 'SSTORE' operation executing: curInvokeEnergyLimit[0], curOpEnergy[20000], usedEnergy[0]"
            }
            VmResult::OutOfTime => "CPU timeout for 'SSTORE' operation executing",
            VmResult::BadJumpDestination => "Operation with pc isn't 'JUMPDEST': PC[0];",
            VmResult::Unknown => "Unknown Exception",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub contract: Address,
    pub topics: Vec<Hash>,
    pub data: Vec<u8>,
}

/// What a transaction did and cost. Fees in sun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub fee: i64,
    pub bandwidth_usage: i64,
    pub bandwidth_fee: i64,
    /// Energy out of the stake.
    pub energy_usage: i64,
    pub energy_fee: i64,
    pub energy_total: i64,
    /// None for what is not a contract call.
    pub result: Option<VmResult>,
    pub returned: Vec<u8>,
    pub logs: Vec<Log>,
}

impl Receipt {
    pub fn succeeded(&self) -> bool {
        matches!(self.result, None | Some(VmResult::Success))
    }
}

#[derive(Debug, Clone)]
pub struct Executed {
    pub transaction: Arc<Transaction>,
    pub receipt: Receipt,
}

/// What a block did to the state, so that it can be taken back. Balances are differences: what a test gives or takes stays.
#[derive(Debug, Clone)]
pub enum Change {
    Trx(Address, i64),
    Usdt(Address, i128),
    Activated(Address),
    /// The usage before.
    Usage(Address, Usage),
}

#[derive(Debug, Clone)]
pub struct Block {
    pub id: Hash,
    pub number: u64,
    pub timestamp_ms: i64,
    pub parent: Hash,
    pub transaction_root: Hash,
    pub witness: Address,
    pub transactions: Vec<Executed>,
    pub changes: Vec<Change>,
}

impl Block {
    pub fn new(number: u64, timestamp_ms: i64, parent: Hash, witness: Address, transactions: Vec<Executed>, changes: Vec<Change>) -> Block {
        let transaction_root = merkle_root(&transactions);
        let mut header = Writer::default();
        header.int(1, timestamp_ms);
        header.bytes(2, &transaction_root);
        header.bytes(3, &parent);
        header.varint(7, number);
        header.bytes(9, &witness.0);
        header.int(10, VERSION);
        let id = block_id(number, sha256(&header.0));
        Block { id, number, timestamp_ms, parent, transaction_root, witness, transactions, changes }
    }

    /// 65 bytes that nobody signed: nothing of ours checks who made a block.
    pub fn witness_signature(&self) -> String {
        let half = hex(&sha256(&self.id));
        format!("{half}{half}00")
    }

    pub fn position(&self, txid: &Hash) -> Option<usize> {
        self.transactions.iter().position(|executed| executed.transaction.txid == *txid)
    }
}

/// The number, and the rest of the hash.
pub fn block_id(number: u64, mut hash: Hash) -> Hash {
    hash[..8].copy_from_slice(&number.to_be_bytes());
    hash
}

/// Of a block's id.
pub fn number_of(id: &Hash) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&id[..8]);
    u64::from_be_bytes(number)
}

/// The last one of an odd row goes up as it is. Zeros for no transactions.
fn merkle_root(transactions: &[Executed]) -> Hash {
    let mut row: Vec<Hash> = transactions.iter().map(|executed| sha256(&executed.transaction.encode())).collect();
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| if pair.len() == 2 { sha256(&pair.concat()) } else { pair[0] }).collect();
    }
    row.first().copied().unwrap_or([0; 32])
}
