//! USDT as a set of rules, without a virtual machine: what a call of the contract returns, logs and costs.

use std::collections::BTreeSet;

use super::address::{Address, Hash, keccak256};
use super::block::{Log, VmResult};

/// Energy of a transfer to an address that holds USDT already.
pub const ENERGY_TO_HOLDER: i64 = 64_285;
/// Energy of a transfer to one that does not.
pub const ENERGY_TO_NEW: i64 = 130_285;
const ENERGY_OF_REVERT: i64 = 6_412;
const ENERGY_OF_READING: i64 = 935;

/// The first four bytes of a call name its function: those of the hash of its signature.
pub const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
/// `transferFrom(address,address,uint256)`; nobody has an allowance, so that nothing is all that anybody can move.
pub const TRANSFER_FROM: [u8; 4] = [0x23, 0xb8, 0x72, 0xdd];
const BALANCE_OF: [u8; 4] = [0x70, 0xa0, 0x82, 0x31];
const DECIMALS: [u8; 4] = [0x31, 0x3c, 0xe5, 0x67];
const SYMBOL: [u8; 4] = [0x95, 0xd8, 0x9b, 0x41];
const NAME: [u8; 4] = [0x06, 0xfd, 0xde, 0x03];
const PAUSED: [u8; 4] = [0x5c, 0x97, 0x5a, 0xbb];
const IS_BLACK_LISTED: [u8; 4] = [0xe4, 0x7d, 0x60, 0x60];
const GET_BLACK_LIST_STATUS: [u8; 4] = [0x59, 0xbf, 0x1a, 0xbe];
/// What a revert with a reason begins with.
const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];

/// The topic of `Transfer(address,address,uint256)`.
pub fn transfer_topic() -> Hash {
    static TOPIC: std::sync::OnceLock<Hash> = std::sync::OnceLock::new();
    *TOPIC.get_or_init(|| keccak256(b"Transfer(address,address,uint256)"))
}

/// The four bytes that name the function of this signature.
pub fn selector(signature: &str) -> [u8; 4] {
    let hash = keccak256(signature.as_bytes());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// The contract's own settings. Balances belong to the chain. A test changes them at will; a reorganisation does not take that back.
#[derive(Debug, Clone)]
pub struct Token {
    pub address: Address,
    pub symbol: String,
    pub name: String,
    pub decimals: u8,
    /// Who gets the fee on transfers.
    pub owner: Address,
    pub paused: bool,
    pub blacklisted: BTreeSet<Address>,
    /// Hundredths of a per cent that a transfer loses; 0 as on the real chain.
    pub fee_basis_points: u32,
    /// What `transfer` returns when it succeeded. The real contract says false.
    pub returns_true: bool,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub result: VmResult,
    pub energy: i64,
    pub returned: Vec<u8>,
    pub logs: Vec<Log>,
    /// From, to, micro-USDT.
    pub moves: Vec<(Address, Address, i128)>,
}

impl Token {
    pub fn new(address: Address) -> Token {
        Token {
            address,
            symbol: "USDT".to_owned(),
            name: "Tether USD".to_owned(),
            decimals: 6,
            owner: Address::labelled("the token's owner"),
            paused: false,
            blacklisted: BTreeSet::new(),
            fee_basis_points: 0,
            returns_true: false,
        }
    }

    /// Runs `data` for `caller`; `balance` knows what everybody holds.
    pub fn call(&self, caller: Address, data: &[u8], balance: &dyn Fn(&Address) -> i128) -> Outcome {
        let Some((function, arguments)) = data.split_first_chunk::<4>() else {
            return reverted("");
        };
        if *function == TRANSFER {
            return self.transfer(caller, arguments, balance);
        }
        if *function == TRANSFER_FROM {
            let (Some(from), Some(to), Some(0)) =
                (word(arguments, 0), word(arguments, 1), word(arguments, 2).map(|word| word.iter().filter(|byte| **byte != 0).count()))
            else {
                return reverted("");
            };
            let logs = vec![self.transferred(Address::from_word(&from), Address::from_word(&to), 0)];
            return Outcome { result: VmResult::Success, energy: ENERGY_TO_HOLDER, returned: number(0), logs, moves: Vec::new() };
        }
        if *function == BALANCE_OF {
            return match word(arguments, 0) {
                Some(of) => read(number(u128::try_from(balance(&Address::from_word(&of))).unwrap_or(0))),
                None => reverted(""),
            };
        }
        if *function == DECIMALS {
            return read(number(u128::from(self.decimals)));
        }
        if *function == SYMBOL {
            return read(text(&self.symbol));
        }
        if *function == NAME {
            return read(text(&self.name));
        }
        if *function == PAUSED {
            return read(number(u128::from(self.paused)));
        }
        if *function == IS_BLACK_LISTED || *function == GET_BLACK_LIST_STATUS {
            return match word(arguments, 0) {
                Some(of) => read(number(u128::from(self.blacklisted.contains(&Address::from_word(&of))))),
                None => reverted(""),
            };
        }
        reverted("")
    }

    fn transfer(&self, from: Address, arguments: &[u8], balance: &dyn Fn(&Address) -> i128) -> Outcome {
        let (Some(to), Some(amount)) = (word(arguments, 0), word(arguments, 1)) else {
            return reverted("");
        };
        let to = Address::from_word(&to);
        // More than all the money there is, when it does not fit.
        let amount = match amount[..16].iter().all(|byte| *byte == 0) {
            true => i128::try_from(u128::from_be_bytes(amount[16..].try_into().unwrap_or([0xff; 16]))).unwrap_or(i128::MAX),
            false => i128::MAX,
        };
        if self.paused {
            return reverted("Pausable: paused");
        }
        if self.blacklisted.contains(&from) {
            return reverted("The sender is blacklisted");
        }
        if self.blacklisted.contains(&to) {
            return reverted("The receiver is blacklisted");
        }
        if to == Address::of_body([0; 20]) {
            return reverted("ERC20: transfer to the zero address");
        }
        if balance(&from) < amount {
            return reverted("SafeMath: subtraction overflow");
        }
        let fee = if self.fee_basis_points == 0 { 0 } else { amount * i128::from(self.fee_basis_points) / 10_000 };
        let energy = if balance(&to) > 0 { ENERGY_TO_HOLDER } else { ENERGY_TO_NEW };
        let mut moves = vec![(from, to, amount - fee)];
        if fee > 0 {
            moves.push((from, self.owner, fee));
        }
        let logs = moves.iter().map(|(from, to, amount)| self.transferred(*from, *to, *amount)).collect();
        Outcome { result: VmResult::Success, energy, returned: number(u128::from(self.returns_true)), logs, moves }
    }

    /// The log of a transfer.
    pub fn transferred(&self, from: Address, to: Address, amount: i128) -> Log {
        Log {
            contract: self.address,
            topics: vec![transfer_topic(), from.word(), to.word()],
            data: number(u128::try_from(amount).unwrap_or(0)),
        }
    }
}

fn word(arguments: &[u8], index: usize) -> Option<Hash> {
    arguments.get(index * 32..index * 32 + 32)?.try_into().ok()
}

/// An ABI word.
pub fn number(value: u128) -> Vec<u8> {
    let mut word = vec![0; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

/// A string as the only value of an answer.
fn text(value: &str) -> Vec<u8> {
    let mut out = number(32);
    out.extend(number(u128::try_from(value.len()).unwrap_or(0)));
    out.extend(value.as_bytes());
    out.resize(out.len().next_multiple_of(32), 0);
    out
}

fn read(returned: Vec<u8>) -> Outcome {
    Outcome { result: VmResult::Success, energy: ENERGY_OF_READING, returned, logs: Vec::new(), moves: Vec::new() }
}

/// `Error(string)` with the reason, or nothing when there is none.
fn reverted(reason: &str) -> Outcome {
    let mut returned = Vec::new();
    if !reason.is_empty() {
        returned.extend(ERROR);
        returned.extend(text(reason));
    }
    Outcome { result: VmResult::Revert, energy: ENERGY_OF_REVERT, returned, logs: Vec::new(), moves: Vec::new() }
}
