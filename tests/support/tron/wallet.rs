//! A wallet for the tests of the fake itself. The product's own encoder and signer have nothing to do with it.

use super::address::{Address, Hash, sha256};
use super::chain::Chain;
use super::token::{TRANSFER, number};
use super::transaction::{Call, Raw, Transaction, sign};

#[derive(Debug, Clone)]
pub struct Wallet {
    pub key: Hash,
    pub address: Address,
}

impl Wallet {
    /// Its key is the hash of the label: worth nothing on a real chain.
    pub fn labelled(label: &str) -> Wallet {
        let key = sha256(label.as_bytes());
        Wallet { key, address: Address::of_private_key(&key).unwrap_or(Address([0x41; 21])) }
    }

    /// A transfer of USDT that refers to the solid head, lives ten minutes and may cost 30 TRX.
    pub fn raw(&self, chain: &Chain, to: Address, amount: u128) -> Raw {
        let solid = chain.block(chain.solid()).unwrap_or(chain.head());
        let data = [&TRANSFER[..], &to.word(), &number(amount)].concat();
        Raw {
            ref_block_bytes: solid.id[6..8].to_vec(),
            ref_block_hash: solid.id[8..16].to_vec(),
            expiration_ms: chain.now_ms + 600_000,
            data: Vec::new(),
            call: Call::TriggerSmartContract { owner: self.address, contract: chain.token.address, call_value: 0, data },
            permission_id: 0,
            timestamp_ms: chain.now_ms,
            fee_limit: 30_000_000,
        }
    }

    pub fn sign(&self, raw: Raw) -> Transaction {
        let unsigned = Transaction::of(raw, Vec::new());
        let signature = sign(&unsigned.txid, &self.key).unwrap_or_default();
        Transaction::of(unsigned.raw, vec![signature])
    }

    pub fn pay(&self, chain: &Chain, to: Address, amount: u128) -> Transaction {
        self.sign(self.raw(chain, to, amount))
    }
}
