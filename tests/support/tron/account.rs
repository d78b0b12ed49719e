//! What belongs to an account besides its money: who may sign for it, and how much of its resources is spent.

use super::address::Address;

pub const DAY_MS: i64 = 86_400_000;
/// Bytes of bandwidth that every account has for nothing, each day.
pub const FREE_BANDWIDTH: i64 = 600;

/// Which kinds of transactions an active permission of a new account allows; a bit for each number.
const DEFAULT_OPERATIONS: &str = "7fff1fc0033ec30f000000000000000000000000000000000000000000000000";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// 0 is the owner's; active ones begin with 2.
    pub id: i64,
    pub name: String,
    pub threshold: i64,
    /// Whose signature weighs how much.
    pub keys: Vec<(Address, i64)>,
    /// Unused with the owner's.
    pub operations: [u8; 32],
}

impl Permission {
    pub fn owner(of: Address) -> Permission {
        Permission { id: 0, name: "owner".to_owned(), threshold: 1, keys: vec![(of, 1)], operations: [0; 32] }
    }

    /// An active permission for everything that is usual.
    pub fn active(id: i64, threshold: i64, keys: Vec<(Address, i64)>) -> Permission {
        let operations = super::address::hash_of(DEFAULT_OPERATIONS).unwrap_or([0xff; 32]);
        Permission { id, name: "active".to_owned(), threshold, keys, operations }
    }

    /// Allows one kind of transaction and nothing else.
    pub fn only(mut self, kind: u8) -> Permission {
        self.operations = [0; 32];
        self.operations[usize::from(kind / 8)] = 1 << (kind % 8);
        self
    }

    pub fn allows(&self, kind: u8) -> bool {
        self.id == 0 || self.operations[usize::from(kind / 8)] & (1 << (kind % 8)) != 0
    }

    pub fn weight(&self, signer: &Address) -> Option<i64> {
        self.keys.iter().find(|(key, _)| key == signer).map(|(_, weight)| *weight)
    }
}

/// Something spent that comes back within a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    amount: i64,
    at_ms: i64,
}

impl Spent {
    pub fn at(&self, now_ms: i64) -> i64 {
        let left = (DAY_MS - (now_ms - self.at_ms)).clamp(0, DAY_MS);
        i64::try_from(i128::from(self.amount) * i128::from(left) / i128::from(DAY_MS)).unwrap_or(i64::MAX)
    }

    pub fn and(&self, more: i64, now_ms: i64) -> Spent {
        Spent { amount: self.at(now_ms).saturating_add(more), at_ms: now_ms }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub free_bandwidth: Spent,
    pub bandwidth: Spent,
    pub energy: Spent,
}

/// What an account has per day for TRX that it staked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staked {
    pub bandwidth: i64,
    pub energy: i64,
}
