//! What a node does with a transaction that is sent to it, in java-tron's order.

use std::sync::Arc;

use super::account::DAY_MS;
use super::address::Address;
use super::chain::{Inclusion, Pending};
use super::execution::Unpayable;
use super::network::Network;
use super::node::TRANSACTION_CACHE_MS;
use super::transaction::{Call, Transaction};

const MAX_TRANSACTION_BYTES: usize = 512_000;

/// The code and the words of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub code: &'static str,
    pub message: String,
}

impl Verdict {
    pub fn new(code: &'static str, message: impl Into<String>) -> Verdict {
        Verdict { code, message: message.into() }
    }

    pub fn success() -> Verdict {
        Verdict::new("SUCCESS", "")
    }

    /// A refusal before anything was looked at, in the node's words.
    pub fn refused(code: &'static str) -> Verdict {
        let message = match code {
            "SERVER_BUSY" => "Server busy.",
            "NO_CONNECTION" => "No connection.",
            "NOT_ENOUGH_EFFECTIVE_CONNECTION" => "P2P broadcast failed.",
            "BLOCK_UNSOLIDIFIED" => "Block unsolidified.",
            "SIGERROR" => "Validate signature error: trans sig validate failed",
            "TAPOS_ERROR" => "Tapos check error.",
            _ => "Error: null",
        };
        Verdict::new(code, message)
    }

    pub fn accepted(&self) -> bool {
        self.code == "SUCCESS"
    }
}

impl Network {
    /// Judges a transaction as `node` does, and pools it.
    pub fn broadcast(&mut self, node: usize, transaction: Transaction, inclusion: Inclusion) -> Verdict {
        match self.judge(node, &transaction) {
            Ok(()) => {
                let since_ms = self.chain.now_ms;
                // A node that is late takes what is in a block already; nobody else does.
                if !self.chain.included.contains_key(&transaction.txid) {
                    // What another node kept to itself is heard of now.
                    self.chain.pool.retain(|pending| pending.transaction.txid != transaction.txid);
                    self.chain.pool.push(Pending { transaction: Arc::new(transaction), since_ms, inclusion, node });
                }
                Verdict::success()
            }
            Err(verdict) => verdict,
        }
    }

    fn judge(&mut self, index: usize, transaction: &Transaction) -> Result<(), Verdict> {
        let now = self.chain.now_ms;
        let (top, solid, head_ms) = {
            let view = self.nodes[index].view(&self.chain, 0);
            (view.top, view.solid, view.head().timestamp_ms)
        };
        let node = &mut self.nodes[index];
        if node.unsolidified_limit.is_some_and(|limit| top - solid > limit) {
            return Err(Verdict::refused("BLOCK_UNSOLIDIFIED"));
        }
        if node.transaction_cache {
            node.cache.retain(|_, since| now - *since < TRANSACTION_CACHE_MS);
            if node.cache.insert(transaction.txid, now).is_some() {
                return Err(Verdict::new("DUP_TRANSACTION_ERROR", "Transaction already exists."));
            }
        }
        let expired = || Verdict::new("TRANSACTION_EXPIRATION_ERROR", "Transaction expired");
        if transaction.raw.expiration_ms < self.chain.next_slot() {
            return Err(expired());
        }
        self.check_signatures(transaction).map_err(|reason| Verdict::new("SIGERROR", format!("Validate signature error: {reason}")))?;
        let view = self.nodes[index].view(&self.chain, 0);
        if !self.chain.refers_to(transaction, top, |number| view.block(number)) {
            return Err(Verdict::new("TAPOS_ERROR", "Tapos check error."));
        }
        if transaction.size > MAX_TRANSACTION_BYTES {
            return Err(Verdict::new("TOO_BIG_TRANSACTION_ERROR", "Transaction size is too big."));
        }
        if transaction.raw.expiration_ms <= head_ms || transaction.raw.expiration_ms > head_ms + DAY_MS {
            return Err(expired());
        }
        let heard =
            self.chain.pending(&transaction.txid).is_some_and(|pending| pending.inclusion != Inclusion::Never || pending.node == index);
        if heard || view.find(&transaction.txid).is_some() {
            return Err(Verdict::new("DUP_TRANSACTION_ERROR", "Dup transaction."));
        }
        match self.chain.payable(transaction, now) {
            Ok(()) => Ok(()),
            Err(Unpayable::Bandwidth) => Err(Verdict::new("BANDWITH_ERROR", "Account resource insufficient error.")),
            Err(Unpayable::Contract(reason)) => Err(Verdict::new("CONTRACT_VALIDATE_ERROR", format!("Contract validate error : {reason}"))),
        }
    }

    fn check_signatures(&mut self, transaction: &Transaction) -> Result<(), String> {
        let call = &transaction.raw.call;
        let permission =
            self.chain.permission(&call.owner(), transaction.raw.permission_id).ok_or_else(|| "permission isn't exit".to_owned())?;
        let kind = if matches!(call, Call::Transfer { .. }) { 1 } else { 31 };
        if !permission.allows(kind) {
            return Err("Permission denied".to_owned());
        }
        if transaction.signatures.is_empty() {
            return Err("miss sig or contract".to_owned());
        }
        if transaction.signatures.len() > permission.keys.len() {
            return Err("too many signatures".to_owned());
        }
        let (mut weight, mut signers) = (0, Vec::<Address>::new());
        for signature in &transaction.signatures {
            if !(65..=68).contains(&signature.len()) {
                return Err(format!("Signature size is {}", signature.len()));
            }
            let signer = self.chain.signer(&transaction.txid, signature).ok_or_else(|| "Header byte out of range".to_owned())?;
            if signers.contains(&signer) {
                return Err(format!("{} has signed twice!", signer.hex()));
            }
            let own = permission.weight(&signer);
            weight += own.ok_or_else(|| format!("signature is signed by {signer} but it is not contained of permission."))?;
            signers.push(signer);
        }
        if weight < permission.threshold { Err("trans sig validate failed".to_owned()) } else { Ok(()) }
    }
}
