//! One node: its calls, by what they are asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::answers::{self, Block, Head, Listed, Prices, Read, Receipt, Resources, Simulated, Told};
use super::link::{Link, NodeError};
use super::network::Network;
use super::transport;
use super::{TransferTransaction, Txid};
use crate::crypto;
use crate::domain::address::TronAddress;

/// What a node shows: all that it has heard of in blocks, or what is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    Newest,
    Solid,
}

impl View {
    fn folder(self) -> &'static str {
        match self {
            View::Newest => "wallet",
            View::Solid => "walletsolidity",
        }
    }
}

/// Transfers on a page of the list.
const PAGE: usize = 200;

pub struct Node {
    pub url: String,
    link: Arc<Link>,
    /// Its first block was the network's when it was looked at.
    is_ours: AtomicBool,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.url)
    }
}

type Answer<T> = Result<T, NodeError>;

impl Node {
    pub fn new(url: &str, link: Arc<Link>) -> Node {
        Node { url: transport::base(url).to_owned(), link, is_ours: AtomicBool::new(false) }
    }

    /// Asked before anything else that this node says counts.
    pub async fn check(&self, network: &Network) -> Answer<()> {
        if self.is_ours.load(Ordering::Relaxed) {
            return Ok(());
        }
        let value = self.post("wallet/getblockbynum", &json!({ "num": 0 })).await?;
        let first = self.read(answers::head(&value))?.ok_or_else(|| self.nonsense("it has no first block"))?;
        if first.id != *network.genesis() {
            let found = crypto::hex(&first.id);
            return Err(self.nonsense(&format!("it is a node of another network: its first block is {found}, not {}", network.id())));
        }
        self.is_ours.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn post(&self, call: &str, body: &Value) -> Answer<Value> {
        self.link.post(&self.url, &format!("/{call}"), body).await
    }

    fn nonsense(&self, why: &str) -> NodeError {
        NodeError::Failed(format!("{}: {why}", self.url))
    }

    fn read<T>(&self, read: Read<T>) -> Answer<T> {
        read.map_err(|why| self.nonsense(&why))
    }

    pub async fn head(&self, view: View) -> Answer<Head> {
        let value = self.post(&format!("{}/getnowblock", view.folder()), &json!({})).await?;
        self.read(answers::head(&value))?.ok_or_else(|| self.nonsense("it has no head"))
    }

    /// None where the node has no such block yet, or not any more.
    pub async fn block(&self, view: View, number: u64) -> Answer<Option<Block>> {
        let value = self.post(&format!("{}/getblockbynum", view.folder()), &json!({ "num": number })).await?;
        match self.read(answers::block(&value))? {
            Some(block) if block.head.number != number => Err(self.nonsense(&format!("asked for block {number} it shows another one"))),
            found => Ok(found),
        }
    }

    /// None where it knows of no block that holds the transaction; that proves nothing.
    pub async fn receipt(&self, view: View, txid: Txid) -> Answer<Option<Receipt>> {
        let value = self.post(&format!("{}/gettransactioninfobyid", view.folder()), &json!({ "value": txid.to_string() })).await?;
        match self.read(answers::receipt(&value))? {
            Some(receipt) if receipt.txid != txid => Err(self.nonsense("asked for a receipt it shows another one")),
            found => Ok(found),
        }
    }

    /// Of every transaction in a block; none of a block that there is not.
    pub async fn receipts(&self, view: View, block: u64) -> Answer<Vec<Receipt>> {
        let value = self.post(&format!("{}/gettransactioninfobyblocknum", view.folder()), &json!({ "num": block })).await?;
        let receipts = self.read(answers::receipts(&value))?;
        if receipts.iter().any(|receipt| receipt.block != block) {
            return Err(self.nonsense(&format!("asked for receipts of block {block} it shows others")));
        }
        Ok(receipts)
    }

    /// Smallest units of the token that `of` holds.
    pub async fn token_balance(&self, view: View, contract: TronAddress, of: TronAddress) -> Answer<u128> {
        let parameter = word(&of);
        match self.constant(view, contract, of, "balanceOf(address)", &parameter).await? {
            Simulated::Done { value: Some(value), .. } => Ok(value),
            Simulated::Done { value: None, .. } => Err(self.nonsense("no balance")),
            Simulated::Reverted { why } => Err(self.nonsense(&format!("the balance cannot be read: {why}"))),
        }
    }

    /// How a transfer would end in the next block.
    pub async fn simulate(&self, contract: TronAddress, from: TronAddress, to: TronAddress, amount: u64) -> Answer<Simulated> {
        let parameter = format!("{}{amount:064x}", word(&to));
        self.constant(View::Newest, contract, from, "transfer(address,uint256)", &parameter).await
    }

    async fn constant(&self, view: View, contract: TronAddress, owner: TronAddress, function: &str, parameter: &str) -> Answer<Simulated> {
        let body = json!({
            "owner_address": versioned(&owner),
            "contract_address": versioned(&contract),
            "function_selector": function,
            "parameter": parameter,
        });
        let value = self.post(&format!("{}/triggerconstantcontract", view.folder()), &body).await?;
        self.read(answers::simulated(&value))
    }

    /// Sun.
    pub async fn trx(&self, view: View, of: TronAddress) -> Answer<u64> {
        let value = self.post(&format!("{}/getaccount", view.folder()), &json!({ "address": versioned(&of) })).await?;
        self.read(answers::balance(&value))
    }

    pub async fn resources(&self, of: TronAddress) -> Answer<Resources> {
        let value = self.post("wallet/getaccountresource", &json!({ "address": versioned(&of) })).await?;
        self.read(answers::resources(&value))
    }

    pub async fn prices(&self) -> Answer<Prices> {
        let value = self.post("wallet/getchainparameters", &json!({})).await?;
        self.read(answers::prices(&value))
    }

    /// Sends exactly these bytes. They may have arrived whatever comes back, unless it was not asked.
    pub async fn broadcast(&self, bytes: &[u8]) -> Answer<Told> {
        let value = self.post("wallet/broadcasthex", &json!({ "transaction": crypto::hex(bytes) })).await?;
        self.read(answers::told(&value))
    }

    /// Transactions in which `wallet` sent `contract`, from that time on, oldest first: TronGrid's list, which plain nodes do not have.
    pub async fn list(&self, wallet: TronAddress, contract: TronAddress, from_ms: i64, page: Option<&str>) -> Answer<Listed> {
        let mut path = format!(
            "/v1/accounts/{wallet}/transactions/trc20?only_confirmed=true&only_from=true&contract_address={contract}\
             &order_by=block_timestamp,asc&min_timestamp={from_ms}&limit={PAGE}"
        );
        if let Some(page) = page {
            path.push_str("&fingerprint=");
            path.push_str(page);
        }
        let value = self.link.get(&self.url, &path).await?;
        self.read(answers::listed(&value, &wallet, &contract))
    }
}

fn versioned(address: &TronAddress) -> String {
    format!("41{}", crypto::hex(address.bytes()))
}

/// An address as an argument of a call.
fn word(address: &TronAddress) -> String {
    format!("{}{}", "0".repeat(24), crypto::hex(address.bytes()))
}

/// Whether the block is the one that the bytes of a transfer refer to.
pub fn is_reference(head: &Head, transfer: &TransferTransaction) -> bool {
    super::ReferenceBlock::from_block_id(&head.id) == transfer.reference
}
