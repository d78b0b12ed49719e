//! What a transaction costs and does.

use super::account::{FREE_BANDWIDTH, Permission, Usage};
use super::address::{Address, Hash};
use super::block::{Change, Log, Receipt, VmResult};
use super::chain::Chain;
use super::transaction::{Call, Transaction, signer};

/// Sun for the first TRX that an address gets.
const ACTIVATION_FEE: i64 = 1_000_000;
/// Sun for a transaction of several signatures.
const SEVERAL_SIGNATURES_FEE: i64 = 1_000_000;

/// Why a node does not take a transaction into its pool, or a producer into a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpayable {
    /// Too little bandwidth, and too little TRX instead of it.
    Bandwidth,
    /// The contract's arguments are wrong, or its money is missing.
    Contract(String),
}

/// Where the bytes of a transaction come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bandwidth {
    Staked,
    Free,
    /// Sun.
    Burnt(i64),
}

/// How a contract call would end.
pub struct Simulated {
    pub result: VmResult,
    pub energy: i64,
    pub returned: Vec<u8>,
    pub logs: Vec<Log>,
}

impl Chain {
    /// What `account_permission` says of an id.
    pub fn permission(&self, of: &Address, id: i64) -> Option<Permission> {
        match self.permissions.get(of) {
            Some(list) => list.iter().find(|permission| permission.id == id).cloned(),
            None if id == 0 => Some(Permission::owner(*of)),
            None if id == 2 => Some(Permission::active(2, 1, vec![(*of, 1)])),
            None => None,
        }
    }

    /// Who made a signature. Recovering one is the slowest thing here, and wallets send the same bytes again and again.
    pub fn signer(&mut self, txid: &Hash, signature: &[u8]) -> Option<Address> {
        let key = super::address::sha256(&[txid, signature].concat());
        *self.signers.entry(key).or_insert_with(|| signer(txid, signature))
    }

    /// The balances that a call sees.
    pub fn simulate(&self, caller: Address, data: &[u8], number: u64) -> Simulated {
        let outcome = self.token.call(caller, data, &|of| self.usdt_at(of, number));
        Simulated { result: outcome.result, energy: outcome.energy, returned: outcome.returned, logs: outcome.logs }
    }

    fn bandwidth(&self, transaction: &Transaction, now_ms: i64) -> Bandwidth {
        let (owner, bytes) = (transaction.raw.call.owner(), transaction.bandwidth());
        let usage = self.usage.get(&owner).copied().unwrap_or_default();
        let staked = self.staked.get(&owner).copied().unwrap_or_default();
        if staked.bandwidth - usage.bandwidth.at(now_ms) >= bytes {
            return Bandwidth::Staked;
        }
        if FREE_BANDWIDTH - usage.free_bandwidth.at(now_ms) >= bytes {
            return Bandwidth::Free;
        }
        Bandwidth::Burnt(bytes * self.config.bandwidth_price)
    }

    /// Fees besides bandwidth and energy.
    fn extra_fees(&self, transaction: &Transaction) -> i64 {
        let memo = if transaction.raw.data.is_empty() { 0 } else { self.config.memo_fee };
        let signatures = if transaction.signatures.len() > 1 { SEVERAL_SIGNATURES_FEE } else { 0 };
        memo + signatures
    }

    /// Whether the chain, as it is now, would take the transaction into a block.
    pub fn payable(&self, transaction: &Transaction, now_ms: i64) -> Result<(), Unpayable> {
        let owner = transaction.raw.call.owner();
        let Some(balance) = self.trx(&owner) else {
            return Err(Unpayable::Contract("account does not exist".to_owned()));
        };
        let bandwidth = match self.bandwidth(transaction, now_ms) {
            Bandwidth::Burnt(fee) => fee,
            Bandwidth::Staked | Bandwidth::Free => 0,
        };
        let fees = bandwidth + self.extra_fees(transaction);
        if balance < fees {
            return Err(Unpayable::Bandwidth);
        }
        match &transaction.raw.call {
            Call::Transfer { to, amount, .. } => {
                let activation = if self.trx(to).is_none() { ACTIVATION_FEE } else { 0 };
                if *amount <= 0 {
                    return Err(Unpayable::Contract("Amount must be greater than 0.".to_owned()));
                }
                if *to == owner {
                    return Err(Unpayable::Contract("Cannot transfer TRX to yourself.".to_owned()));
                }
                if i128::from(balance) < i128::from(*amount) + i128::from(fees + activation) {
                    let text = "Validate TransferContract error, balance is not sufficient.";
                    return Err(Unpayable::Contract(text.to_owned()));
                }
            }
            Call::TriggerSmartContract { contract, call_value, .. } => {
                if *contract != self.token.address {
                    return Err(Unpayable::Contract("No contract or not a valid smart contract".to_owned()));
                }
                if !(0..=self.config.max_fee_limit).contains(&transaction.raw.fee_limit) {
                    return Err(Unpayable::Contract(format!("feeLimit must be >= 0 and <= {}", self.config.max_fee_limit)));
                }
                if *call_value < 0 || *call_value > balance - fees {
                    return Err(Unpayable::Contract("balance is not sufficient".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Runs the transaction at the head and notes what it changed.
    pub(super) fn execute(&mut self, transaction: &Transaction, now_ms: i64, changes: &mut Vec<Change>) -> Result<Receipt, Unpayable> {
        self.payable(transaction, now_ms)?;
        let mut receipt = Receipt {
            fee: self.extra_fees(transaction),
            bandwidth_usage: 0,
            bandwidth_fee: 0,
            energy_usage: 0,
            energy_fee: 0,
            energy_total: 0,
            result: None,
            returned: Vec::new(),
            logs: Vec::new(),
        };
        let owner = transaction.raw.call.owner();
        self.spend_bandwidth(transaction, now_ms, &mut receipt, changes);
        match &transaction.raw.call {
            Call::Transfer { to, amount, .. } => {
                if self.trx(to).is_none() {
                    receipt.fee += ACTIVATION_FEE;
                    changes.push(Change::Activated(*to));
                    self.trx.insert(*to, 0);
                }
                self.move_trx(owner, -amount, changes);
                self.move_trx(*to, *amount, changes);
            }
            Call::TriggerSmartContract { data, call_value, .. } => {
                let spent = receipt.fee + receipt.bandwidth_fee;
                self.call_contract(owner, data, *call_value, transaction.raw.fee_limit, spent, now_ms, &mut receipt, changes);
            }
        }
        receipt.fee += receipt.bandwidth_fee + receipt.energy_fee;
        self.move_trx(owner, -receipt.fee, changes);
        Ok(receipt)
    }

    fn spend_bandwidth(&mut self, transaction: &Transaction, now_ms: i64, receipt: &mut Receipt, changes: &mut Vec<Change>) {
        let (owner, bytes) = (transaction.raw.call.owner(), transaction.bandwidth());
        match self.bandwidth(transaction, now_ms) {
            Bandwidth::Burnt(fee) => receipt.bandwidth_fee = fee,
            Bandwidth::Staked => {
                receipt.bandwidth_usage = bytes;
                self.use_up(owner, changes, |usage| usage.bandwidth = usage.bandwidth.and(bytes, now_ms));
            }
            Bandwidth::Free => {
                receipt.bandwidth_usage = bytes;
                self.use_up(owner, changes, |usage| usage.free_bandwidth = usage.free_bandwidth.and(bytes, now_ms));
            }
        }
    }

    /// The fee limit bounds all the energy of a call, staked or bought.
    #[expect(clippy::too_many_arguments, reason = "the parts of one call, used here alone")]
    fn call_contract(
        &mut self,
        owner: Address,
        data: &[u8],
        call_value: i64,
        fee_limit: i64,
        spent: i64,
        now_ms: i64,
        receipt: &mut Receipt,
        changes: &mut Vec<Change>,
    ) {
        let price = self.config.energy_price;
        let used = self.usage.get(&owner).copied().unwrap_or_default().energy.at(now_ms);
        let staked = (self.staked.get(&owner).copied().unwrap_or_default().energy - used).max(0);
        let balance = (self.trx(&owner).unwrap_or(0) - spent - call_value).max(0);
        let limit = (staked + balance / price).min(fee_limit / price);
        let mut outcome = self.token.call(owner, data, &|of| self.usdt(of));
        if call_value > 0 {
            // No function of the token takes TRX.
            outcome.result = VmResult::Revert;
        }
        if let Some(forced) = self.forced_results.pop_front() {
            outcome.result = forced;
        }
        if outcome.energy > limit && outcome.result != VmResult::OutOfTime {
            outcome.result = VmResult::OutOfEnergy;
        }
        // All that a revert leaves is given back; any other failure takes the whole limit.
        let energy = match outcome.result {
            VmResult::Success | VmResult::Revert => outcome.energy,
            _ => limit,
        };
        receipt.energy_total = energy;
        receipt.energy_usage = energy.min(staked);
        receipt.energy_fee = (energy - receipt.energy_usage) * price;
        let from_stake = receipt.energy_usage;
        if from_stake > 0 {
            self.use_up(owner, changes, |usage| usage.energy = usage.energy.and(from_stake, now_ms));
        }
        receipt.result = Some(outcome.result);
        match outcome.result {
            VmResult::Success => {
                for (from, to, amount) in outcome.moves {
                    self.move_usdt(from, -amount, changes);
                    self.move_usdt(to, amount, changes);
                }
                receipt.returned = outcome.returned;
                receipt.logs = outcome.logs;
            }
            VmResult::Revert => receipt.returned = outcome.returned,
            _ => {}
        }
    }

    fn use_up(&mut self, owner: Address, changes: &mut Vec<Change>, more: impl Fn(&mut Usage)) {
        let usage = self.usage.entry(owner).or_default();
        changes.push(Change::Usage(owner, *usage));
        more(usage);
    }

    fn move_trx(&mut self, of: Address, by: i64, changes: &mut Vec<Change>) {
        *self.trx.entry(of).or_default() += by;
        changes.push(Change::Trx(of, by));
    }

    fn move_usdt(&mut self, of: Address, by: i128, changes: &mut Vec<Change>) {
        *self.usdt.entry(of).or_default() += by;
        changes.push(Change::Usdt(of, by));
    }
}
