//! What the chain really did, read from its state: no node is asked.

use std::collections::BTreeMap;

use super::address::{Address, Hash};
use super::block::VmResult;
use super::chain::Chain;
use super::token::TRANSFER;
use super::transaction::Call;

/// A call of `transfer` that is in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    pub txid: Hash,
    pub block: u64,
    /// The block can go no more.
    pub solid: bool,
    pub from: Address,
    pub to: Address,
    /// Micro-USDT that were asked to move; with a fee on transfers fewer arrive.
    pub amount: u128,
    /// Micro-USDT that arrived at `to`.
    pub arrived: u128,
    pub result: VmResult,
    /// Sun.
    pub fee: i64,
}

impl Chain {
    /// Every transfer in a block, the oldest first, failed ones too.
    pub fn audit(&self) -> Vec<Paid> {
        let mut all = Vec::new();
        for block in self.busy.iter().filter_map(|number| self.block(*number)) {
            for executed in &block.transactions {
                let Call::TriggerSmartContract { owner, data, .. } = &executed.transaction.raw.call else { continue };
                let (Some(to), Some(amount)) = (data.get(16..36), data.get(52..68)) else { continue };
                if data[..4] != TRANSFER {
                    continue;
                }
                let to = Address::of_body(to.try_into().unwrap_or_default());
                let arrived = executed.receipt.logs.first().and_then(|log| log.data[16..].try_into().ok()).map_or(0, u128::from_be_bytes);
                all.push(Paid {
                    txid: executed.transaction.txid,
                    block: block.number,
                    solid: block.number <= self.solid(),
                    from: *owner,
                    to,
                    amount: amount.try_into().map(u128::from_be_bytes).unwrap_or(u128::MAX),
                    arrived,
                    result: executed.receipt.result.unwrap_or(VmResult::Unknown),
                    fee: executed.receipt.fee,
                });
            }
        }
        all
    }

    /// How often each recipient really got each amount.
    pub fn payments(&self) -> BTreeMap<(Address, u128), u64> {
        let mut counts = BTreeMap::new();
        for paid in self.audit().into_iter().filter(|paid| paid.result == VmResult::Success) {
            *counts.entry((paid.to, paid.amount)).or_default() += 1;
        }
        counts
    }

    /// Sun that `of` has paid in fees, for whatever transactions.
    pub fn fees(&self, of: &Address) -> i64 {
        let executed = self.busy.iter().filter_map(|number| self.block(*number)).flat_map(|block| &block.transactions);
        executed.filter(|each| each.transaction.raw.call.owner() == *of).map(|each| each.receipt.fee).sum()
    }
}
