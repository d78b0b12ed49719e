//! The wallet that pays: what it holds, what a transfer costs, and what left it.

use serde::{Deserialize, Serialize};

use super::money::{Overflow, Units};
use super::payout::Pin;
use super::time::Timestamp;

/// Sun in one TRX.
pub const SUN_PER_TRX: u64 = 1_000_000;

/// What was read of the wallet; every number is of the final state of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletReading {
    pub address: String,
    /// Id of the chain's first block, in hex.
    pub network: String,
    pub contract: String,
    /// Of the token.
    pub balance: Units,
    pub trx_sun: u64,
    pub energy_free: u64,
    pub bandwidth_free: u64,
    pub energy_price_sun: u64,
    pub bandwidth_price_sun: u64,
    /// Energy of a transfer to somebody who holds the token already, and to somebody who does not.
    pub energy_known: u64,
    pub energy_new: u64,
    pub solid_block: u64,
    pub solid_at: Timestamp,
    /// The network's newest block.
    pub head_at: Timestamp,
}

/// Bytes of bandwidth that a transfer takes.
pub const TRANSFER_BANDWIDTH: u64 = 345;

impl WalletReading {
    /// What one transfer costs with nothing staked, in sun.
    pub fn fee_sun(&self, to_new: bool) -> u64 {
        let energy = if to_new { self.energy_new } else { self.energy_known };
        energy.saturating_mul(self.energy_price_sun).saturating_add(TRANSFER_BANDWIDTH.saturating_mul(self.bandwidth_price_sun))
    }

    /// What so many transfers cost beyond what is staked, in sun, when all go to somebody who holds none yet.
    pub fn worst_fee_sun(&self, transfers: u64) -> u64 {
        let energy = self.energy_new.saturating_mul(transfers).saturating_sub(self.energy_free);
        let bandwidth = TRANSFER_BANDWIDTH.saturating_mul(transfers).saturating_sub(self.bandwidth_free);
        energy.saturating_mul(self.energy_price_sun).saturating_add(bandwidth.saturating_mul(self.bandwidth_price_sun))
    }
}

/// A final transfer of the token out of the wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub txid: String,
    pub to: String,
    pub amount: Units,
    pub block: u64,
    pub at: Timestamp,
}

/// A final block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockAt {
    pub number: u64,
    pub at: Timestamp,
}

/// Some of the transfers out of a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingPage {
    pub transfers: Vec<Outgoing>,
    /// Every transfer through this block is in it or in a page before.
    pub through_block: u64,
    pub through_at: Timestamp,
    /// Nothing final is left.
    pub is_last: bool,
    /// The wallet's balance, read before the transfers were: everything through `balance_block` has changed it, and perhaps something after.
    pub balance: Units,
    pub balance_block: u64,
}

/// A wallet, and how far everything that left it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WalletRow {
    /// Enumerated through this block.
    pub through_block: u64,
    pub through_at: Timestamp,
    /// It held at least this much after everything through that block.
    pub floor: Units,
    /// Everything that was signed through this timestamp is known here, or over.
    pub last_timestamp_ms: i64,
    /// When the last enumeration was complete.
    pub reconciled_at: Option<Timestamp>,
}

/// The store was not written for a while before a process opened it. It may be an older copy, which does not know what was signed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    pub written_until: Timestamp,
    /// When somebody with a clock looked at the network first; None: nobody has.
    pub looked_at: Option<Timestamp>,
}

/// A store that was written so short before it was opened is no older copy: longer than between two flushes.
pub const SHORT_ABSENCE_MS: i64 = 6 * 60_000;

/// Begins the id of what a wallet holds less than is explained: it stands among the unknown transfers, and no network knows it.
pub const UNLISTED: &str = "unlisted-";

/// A transfer out of the wallet that nothing here planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownTransfer {
    /// Out of which wallet.
    pub pin: Pin,
    pub transfer: Outgoing,
    pub found_at: Timestamp,
    /// When it was booked, and to what: a node's payable, or `unexplained`.
    pub booked_at: Option<Timestamp>,
}

impl WalletRow {
    /// The wallet, enumerated through `page`, whose transfers go on where this one ends; and how much it holds less than everything that is known to have left it
    /// explains: what left and nobody listed. Incoming transfers only make it more.
    pub fn followed_by(&self, page: &OutgoingPage, now: Timestamp) -> Result<(WalletRow, Units), Overflow> {
        let sum = |after: u64| {
            let mut later = page.transfers.iter().filter(|transfer| transfer.block > after);
            later.try_fold(Units::ZERO, |sum, transfer| sum.plus(transfer.amount))
        };
        let least = self.floor.minus(sum(self.through_block)?)?;
        // A page in the middle is followed by transfers that the balance may have lost already: only the last one can tell.
        let missing = if page.is_last { least.minus(page.balance)?.max(Units::ZERO) } else { Units::ZERO };
        // What came after the balance was read may be in it or not: taken off either way, the floor is never too high. A page in the middle says nothing new of the balance.
        let floor = if page.is_last { page.balance.minus(sum(page.balance_block)?)? } else { least };
        let row = WalletRow {
            through_block: page.through_block,
            through_at: page.through_at,
            floor,
            last_timestamp_ms: self.last_timestamp_ms,
            reconciled_at: if page.is_last { Some(now) } else { self.reconciled_at },
        };
        Ok((row, missing))
    }

    /// A wallet that this store has not seen before: everything that leaves it after `block` has to be explained. What it held then nobody knows.
    pub fn begun_at(block: BlockAt) -> WalletRow {
        WalletRow { through_block: block.number, through_at: block.at, ..WalletRow::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn out(block: u64, amount: i64) -> Outgoing {
        Outgoing { txid: format!("{block}-{amount}"), to: "T".into(), amount: Units(amount), block, at: Timestamp(0) }
    }

    fn page(transfers: Vec<Outgoing>, through_block: u64, balance: i64, balance_block: u64) -> OutgoingPage {
        OutgoingPage { transfers, through_block, through_at: Timestamp(0), is_last: true, balance: Units(balance), balance_block }
    }

    #[test]
    fn money_that_nobody_listed_is_missed() {
        let row = WalletRow { through_block: 10, floor: Units(1_000), ..WalletRow::default() };
        let after = |page| row.followed_by(&page, Timestamp(5)).map(|(row, missing)| (row.floor.0, missing.0)).unwrap();
        assert_eq!(after(page(vec![out(11, 300)], 20, 700, 20)), (700, 0));
        assert_eq!(after(page(vec![out(11, 300)], 20, 690, 20)), (690, 10));
        assert_eq!(after(page(vec![], 20, 5_000, 20)), (5_000, 0), "somebody sent it more");
        assert_eq!(after(page(vec![out(19, 300)], 20, 1_000, 18)), (700, 0), "the balance may be older than the transfer");
    }

    proptest! {
        /// Against a wallet whose whole history is known: honest answers never look like missing money, however the readings interleave; and what was hidden is
        /// missed by the next reading that nothing came in before.
        #[test]
        fn honest_readings_are_never_taken_for_theft(
            history in prop::collection::vec((0i64..3, 1i64..100, 0u64..3), 1..60),
        ) {
            let (mut balance, mut block, mut row) = (100_000i64, 1u64, WalletRow { floor: Units(100_000), ..WalletRow::default() });
            let mut listed: Vec<Outgoing> = Vec::new();
            let mut at_block = vec![balance; 2];
            for (kind, amount, lag) in history {
                block += 1;
                match kind {
                    0 => { balance -= amount; listed.push(out(block, amount)); }
                    1 => balance += amount,
                    _ => {
                        let read_at = block.saturating_sub(lag).max(row.through_block).max(1);
                        let index = usize::try_from(read_at).unwrap().min(at_block.len() - 1);
                        let since = listed.iter().filter(|t| t.block > row.through_block).cloned().collect();
                        let answer = page(since, block, at_block[index], read_at);
                        let (next, missing) = row.followed_by(&answer, Timestamp(0)).unwrap();
                        prop_assert_eq!(missing, Units::ZERO, "block {}: {:?}", block, row);
                        row = next;
                        prop_assert!(row.floor.0 <= balance);
                    }
                }
                at_block.push(balance);
            }
        }
    }
}
