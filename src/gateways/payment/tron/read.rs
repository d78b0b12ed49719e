//! What the wallet holds, and what left it.

use std::collections::BTreeSet;

use super::answers::{Prices, Receipt, Simulated};
use super::gateway::TronGateway;
use super::link::NodeError;
use super::node::{Node, View};
use crate::crypto;
use crate::domain::address::TronAddress;
use crate::domain::money::Units;
use crate::domain::time::Timestamp;
use crate::domain::wallet::{Outgoing, OutgoingPage, WalletReading};

/// What a transfer takes when that cannot be simulated, because the wallet holds nothing: to who holds the token, and to who does not.
const ENERGY_KNOWN: u64 = 64_285;
const ENERGY_NEW: u64 = 130_285;
/// Blocks of one page that are searched for transfers.
const SCAN_BLOCKS: u64 = 2_000;
/// The newest final blocks are searched even where there is a list: lists come late.
const TAIL_BLOCKS: u64 = 40;
/// Pages of the list for one page of ours.
const LIST_PAGES: usize = 5;

type Answer<T> = Result<T, NodeError>;

impl TronGateway {
    pub(super) async fn read_wallet(&self) -> Answer<WalletReading> {
        let (node, account) = (&self.node, self.wallet.account);
        node.check(&self.network).await?;
        let head = node.head(View::Newest).await?;
        let solid = node.head(View::Solid).await?;
        let Prices { energy_sun, bandwidth_sun, .. } = node.prices().await?;
        let resources = node.resources(account).await?;
        Ok(WalletReading {
            address: account.to_string(),
            network: self.network.id(),
            contract: self.contract.to_string(),
            balance: units(node, node.token_balance(View::Solid, self.contract, account).await?)?,
            trx_sun: node.trx(View::Solid, account).await?,
            energy_free: resources.energy,
            bandwidth_free: resources.bandwidth.saturating_add(resources.bandwidth_free),
            energy_price_sun: energy_sun,
            bandwidth_price_sun: bandwidth_sun,
            energy_known: self.energy(account).await?.unwrap_or(ENERGY_KNOWN),
            energy_new: self.energy(nobody(&account)).await?.unwrap_or(ENERGY_NEW),
            solid_block: solid.number,
            solid_at: Timestamp(solid.at_ms),
            head_at: Timestamp(head.at_ms),
        })
    }

    /// Of the smallest transfer; none where even that would fail.
    async fn energy(&self, to: TronAddress) -> Answer<Option<u64>> {
        Ok(match self.node.simulate(self.contract, self.wallet.account, to, 1).await? {
            Simulated::Done { energy, .. } if energy > 0 => Some(energy),
            _ => None,
        })
    }

    /// The balance is read first, and the head through which transfers are listed after it: whatever the balance lost is in some block of this page or of one
    /// before. A list that leaves something out is not noticed here; the balance, which is then too low, is (`WalletRow::followed_by`).
    pub(super) async fn outgoing_after(&self, after_block: u64) -> Answer<OutgoingPage> {
        let node = &self.node;
        node.check(&self.network).await?;
        let before = node.head(View::Solid).await?;
        let balance = units(node, node.token_balance(View::Solid, self.contract, self.wallet.account).await?)?;
        let solid = node.head(View::Solid).await?;
        let mut found = Found { transfers: Vec::new(), through: after_block };
        let tail = solid.number.saturating_sub(TAIL_BLOCKS);
        if tail > after_block {
            match self.list_through(tail, &mut found).await {
                Err(NodeError::Missing(_)) => (),
                listed => listed?,
            }
        }
        // Where there is no list, and where it has come to its end.
        if found.through == after_block || found.through >= tail {
            let end = solid.number.min(found.through.saturating_add(SCAN_BLOCKS));
            for number in found.through.saturating_add(1)..=end {
                let receipts = node.receipts(View::Solid, number).await?;
                // Nodes that keep no history have receipts of nothing; hardly a block of the real chain is empty.
                if receipts.is_empty() && node.block(View::Solid, number).await?.is_none_or(|block| !block.txids.is_empty()) {
                    return Err(NodeError::Failed(format!("{} keeps no receipts of block {number}", node.url)));
                }
                self.take(&receipts, &mut found)?;
            }
            found.through = found.through.max(end);
        }
        // A node that is behind says so by its number.
        let through_block = found.through.min(solid.number);
        let through_at = if through_block == solid.number { solid.at_ms } else { self.time_of(through_block).await? };
        Ok(OutgoingPage {
            transfers: found.transfers,
            through_block,
            through_at: Timestamp(through_at),
            is_last: through_block == solid.number,
            balance,
            balance_block: before.number,
        })
    }

    /// What the node lists in the blocks through `tail`; each transaction counts by its receipt, because the list names no blocks and may name what is not so.
    async fn list_through(&self, tail: u64, found: &mut Found) -> Answer<()> {
        let (node, after) = (&self.node, found.through);
        let said = |why: &str| NodeError::Failed(format!("{}: {why}", node.url));
        let from_ms = self.time_of(after).await?;
        let (mut next, mut newest_ms, mut seen) = (None, from_ms, BTreeSet::new());
        for _ in 0..LIST_PAGES {
            let page = node.list(self.wallet.account, self.contract, from_ms, next.as_deref()).await?;
            for (txid, at_ms) in page.txids {
                if at_ms < newest_ms {
                    return Err(said("its list of transfers is not in the order that was asked for"));
                }
                newest_ms = at_ms;
                if !seen.insert(txid) {
                    continue;
                }
                let receipt = node.receipt(View::Solid, txid).await?.ok_or_else(|| said("it lists a transfer and shows no receipt"))?;
                if receipt.block > tail {
                    found.through = tail;
                    return Ok(());
                }
                if receipt.block > after {
                    self.take(&[receipt], found)?;
                }
            }
            next = page.next;
            if next.is_none() {
                found.through = tail;
                return Ok(());
            }
        }
        // More than fits: through the block before the last one, of which some may be on the next page.
        let last = found.transfers.last().map_or(after, |transfer| transfer.block).saturating_sub(1);
        found.transfers.retain(|transfer| transfer.block <= last);
        if last <= after {
            return Err(said("it lists more transfers in one block than there can be"));
        }
        found.through = last;
        Ok(())
    }

    /// Every log of our token from our wallet, whoever called it.
    fn take(&self, receipts: &[Receipt], found: &mut Found) -> Answer<()> {
        for receipt in receipts {
            for log in receipt.transfers.iter().filter(|log| log.contract == self.contract && log.from == self.wallet.account) {
                found.transfers.push(Outgoing {
                    txid: receipt.txid.to_string(),
                    to: log.to.to_string(),
                    amount: units(&self.node, log.amount)?,
                    block: receipt.block,
                    at: Timestamp(receipt.at_ms),
                });
            }
        }
        Ok(())
    }

    async fn time_of(&self, block: u64) -> Answer<i64> {
        let found = self.node.block(View::Solid, block).await?;
        found.map(|found| found.head.at_ms).ok_or_else(|| NodeError::Failed(format!("{} does not show block {block}", self.node.url)))
    }
}

/// Transfers so far, and the block through which that is all.
struct Found {
    transfers: Vec<Outgoing>,
    through: u64,
}

fn units(node: &Node, amount: u128) -> Answer<Units> {
    let fits = i64::try_from(amount).ok().map(Units);
    fits.ok_or_else(|| NodeError::Failed(format!("{}: {amount} is no amount", node.url)))
}

/// An address that holds nothing, because nobody has its key.
fn nobody(wallet: &TronAddress) -> TronAddress {
    let hash = crypto::sha256_parts(&[b"nobody", wallet.bytes()]);
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&hash[..20]);
    TronAddress::from_bytes(bytes)
}
