//! What the wallet holds, and what left it.

use std::collections::BTreeSet;

use super::answers::{Head, Prices, Receipt, Simulated, TransferLog};
use super::gateway::TronGateway;
use super::link::NodeError;
use super::node::{Node, View};
use crate::crypto;
use crate::domain::address::TronAddress;
use crate::domain::money::Units;
use crate::domain::time::Timestamp;
use crate::domain::wallet::{BlockAt, Outgoing, OutgoingPage, WalletReading};

/// What a transfer takes when that cannot be simulated, because the wallet holds nothing: to who holds the token, and to who does not.
const ENERGY_KNOWN: u64 = 64_285;
const ENERGY_NEW: u64 = 130_285;
/// Blocks of one page that are searched for transfers: 50 minutes of them. A comparison takes one page in a run, so this bounds how long tracking waits for it.
const SCAN_BLOCKS: u64 = 1_000;
/// The newest final blocks are searched even where there is a list: lists come late.
const TAIL_BLOCKS: u64 = 40;
/// A witness that is so far from the node is as good as any other.
const CLOSE_BLOCKS: u64 = 10;
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

    /// What the node lists, and a witness too where there are any: a store that is an older copy believes nobody alone about what it has forgotten.
    ///
    /// The balance is read first, from whose final head is the lower one, and transfers are listed through that one's head after it: whatever the balance lost is in
    /// some block of this page or of one before. A list that leaves something out where nobody else is asked is not noticed here; the balance, which is then too low, is
    /// (`WalletRow::followed_by`).
    pub(super) async fn outgoing_after(&self, after_block: u64) -> Answer<OutgoingPage> {
        self.node.check(&self.network).await?;
        let (mut doubts, mut late): (Vec<String>, Option<OutgoingPage>) = (Vec::new(), None);
        for witness in &self.witnesses {
            match self.agreed(witness, after_block).await {
                Ok((page, behind)) if behind <= CLOSE_BLOCKS => return Ok(page),
                // One that hangs agrees too; another one may know more.
                Ok((page, _)) => late = late.filter(|best| best.through_block >= page.through_block).or(Some(page)),
                Err(why) => doubts.push(why.to_string()),
            }
        }
        if let Some(page) = late {
            return Ok(page);
        }
        if doubts.is_empty() {
            let Purse { balance, before, solid } = self.purse(&self.node).await?;
            let found = self.found(&self.node, after_block, &solid).await?;
            return self.page(found, balance, before, &solid).await;
        }
        Err(NodeError::Failed(format!("what left the wallet is not known by two nodes: {}", doubts.join("; "))))
    }

    /// A page that the node and `witness` agree on, and by how many blocks one of them is behind the other.
    async fn agreed(&self, witness: &Node, after_block: u64) -> Answer<(OutgoingPage, u64)> {
        witness.check(&self.network).await?;
        let (mine, theirs) = (self.node.head(View::Solid).await?, witness.head(View::Solid).await?);
        let (late, ahead) = if theirs.number < mine.number { (witness, &self.node) } else { (&self.node, witness) };
        let Purse { balance, before, solid } = self.purse(late).await?;
        let head = ahead.head(View::Solid).await?;
        if head.number < solid.number {
            return Err(said(ahead, &format!("its final chain ends in block {}, before {} of {}", head.number, solid.number, late.url)));
        }
        let shown = ahead.block(View::Solid, solid.number).await?;
        if shown.is_none_or(|block| block.head.id != solid.id) {
            return Err(said(ahead, &format!("its block {} is another one than that of {}", solid.number, late.url)));
        }
        let (mut found, mut other) = (self.found(late, after_block, &solid).await?, self.found(ahead, after_block, &solid).await?);
        let through = found.through.min(other.through);
        found.cut(through);
        other.cut(through);
        if found.transfers != other.transfers {
            let only = |these: &[Outgoing], those: &[Outgoing]| these.iter().find(|one| !those.contains(one)).map(|one| one.txid.clone());
            let first = only(&found.transfers, &other.transfers).or_else(|| only(&other.transfers, &found.transfers));
            let which = first.unwrap_or_default();
            return Err(said(ahead, &format!("it and {} list different transfers out of the wallet: {which}", late.url)));
        }
        Ok((self.page(found, balance, before, &solid).await?, mine.number.abs_diff(theirs.number)))
    }

    /// The last final block that is older than `at`, and that a witness shows too where there are any.
    pub(super) async fn final_block_before(&self, at: Timestamp) -> Answer<BlockAt> {
        let node = &self.node;
        node.check(&self.network).await?;
        let (mut before, mut after) = (None, node.head(View::Solid).await?.number.saturating_add(1));
        let mut old = 0;
        while after.saturating_sub(old) > 1 {
            let number = old.midpoint(after);
            // What a node without history does not show is older than all that it shows.
            let shown = node.block(View::Solid, number).await?.map(|block| BlockAt { number, at: Timestamp(block.head.at_ms) });
            if shown.is_some_and(|block| block.at >= at) {
                after = number;
            } else {
                (old, before) = (number, shown);
            }
        }
        let before = before
            .ok_or_else(|| said(node, &format!("it shows no final block that is older than {at}; name a node that keeps its history")))?;
        let mut doubts = Vec::new();
        for witness in &self.witnesses {
            match self.has_block(witness, before).await {
                Ok(()) => return Ok(before),
                Err(why) => doubts.push(why.to_string()),
            }
        }
        if doubts.is_empty() {
            Ok(before)
        } else {
            Err(NodeError::Failed(format!("no witness shows the same block: {}", doubts.join("; "))))
        }
    }

    async fn has_block(&self, node: &Node, block: BlockAt) -> Answer<()> {
        node.check(&self.network).await?;
        let at = Timestamp(time_of(node, block.number).await?);
        if at == block.at { Ok(()) } else { Err(said(node, &format!("its block {} is of {at}, not of {}", block.number, block.at))) }
    }

    async fn purse(&self, node: &Node) -> Answer<Purse> {
        let before = node.head(View::Solid).await?.number;
        let balance = units(node, node.token_balance(View::Solid, self.contract, self.wallet.account).await?)?;
        Ok(Purse { balance, before, solid: node.head(View::Solid).await? })
    }

    async fn page(&self, found: Found, balance: Units, before: u64, solid: &Head) -> Answer<OutgoingPage> {
        // A node that is behind says so by its number.
        let through_block = found.through.min(solid.number);
        let through_at = if through_block == solid.number { solid.at_ms } else { time_of(&self.node, through_block).await? };
        Ok(OutgoingPage {
            transfers: found.transfers,
            through_block,
            through_at: Timestamp(through_at),
            is_last: through_block == solid.number,
            balance,
            balance_block: before,
        })
    }

    /// What one node lists of the blocks after `after_block`, through `solid` at most.
    async fn found(&self, node: &Node, after_block: u64, solid: &Head) -> Answer<Found> {
        let mut found = Found { transfers: Vec::new(), through: after_block };
        let tail = solid.number.saturating_sub(TAIL_BLOCKS);
        if tail > after_block {
            match self.list_through(node, tail, &mut found).await {
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
                    return Err(said(node, &format!("it keeps no receipts of block {number}")));
                }
                self.take(node, &receipts, &mut found)?;
            }
            found.through = found.through.max(end);
        }
        Ok(found)
    }

    /// What the node lists in the blocks through `tail`; each transaction counts by its receipt, because the list names no blocks and may name what is not so.
    async fn list_through(&self, node: &Node, tail: u64, found: &mut Found) -> Answer<()> {
        let after = found.through;
        let from_ms = time_of(node, after).await?;
        let (mut next, mut newest_ms, mut newest, mut seen) = (None, from_ms, after, BTreeSet::new());
        for _ in 0..LIST_PAGES {
            let page = node.list(self.wallet.account, self.contract, from_ms, next.as_deref()).await?;
            for (txid, at_ms) in page.txids {
                if at_ms < newest_ms {
                    return Err(said(node, "its list of transfers is not in the order that was asked for"));
                }
                newest_ms = at_ms;
                if !seen.insert(txid) {
                    continue;
                }
                let receipt = node.receipt(View::Solid, txid).await?;
                let receipt = receipt.ok_or_else(|| said(node, "it lists a transfer and shows no receipt"))?;
                if receipt.block > tail {
                    found.through = tail;
                    return Ok(());
                }
                newest = newest.max(receipt.block);
                if receipt.block > after {
                    self.take(node, &[receipt], found)?;
                }
            }
            next = page.next;
            if next.is_none() {
                found.through = tail;
                return Ok(());
            }
        }
        // More than fits: through the block before the last one, of which some may be on the next page.
        let last = newest.saturating_sub(1);
        if last <= after {
            // Somebody fills blocks with them: the blocks themselves say what is in them.
            found.transfers.clear();
            return Err(NodeError::Missing(format!("{} lists more transfers in one block than fit", node.url)));
        }
        found.cut(last);
        Ok(())
    }

    /// Every log of our token from our wallet, whoever called it. Anybody may move nothing out of any wallet, and many do, so that their address is copied by mistake: that
    /// is no transfer. What a transaction moved beside its first transfer is called by its number, too.
    fn take(&self, node: &Node, receipts: &[Receipt], found: &mut Found) -> Answer<()> {
        for receipt in receipts {
            let is_ours = |log: &&TransferLog| log.contract == self.contract && log.from == self.wallet.account && log.amount > 0;
            for (at, log) in receipt.transfers.iter().filter(is_ours).enumerate() {
                let txid = receipt.txid.to_string();
                found.transfers.push(Outgoing {
                    txid: if at == 0 { txid } else { format!("{txid}-{}", at + 1) },
                    to: log.to.to_string(),
                    amount: units(node, log.amount)?,
                    block: receipt.block,
                    at: Timestamp(receipt.at_ms),
                });
            }
        }
        Ok(())
    }
}

/// Transfers so far, and the block through which that is all.
struct Found {
    transfers: Vec<Outgoing>,
    through: u64,
}

impl Found {
    /// Leaves out what is after the block `through`. Two nodes that say the same say it in the same order then.
    fn cut(&mut self, through: u64) {
        self.transfers.retain(|transfer| transfer.block <= through);
        self.transfers.sort_by(|a, b| (a.block, &a.txid, &a.to, a.amount).cmp(&(b.block, &b.txid, &b.to, b.amount)));
        self.through = through;
    }
}

/// The token's balance, read between two looks at the final head.
struct Purse {
    balance: Units,
    /// Number of the earlier head.
    before: u64,
    /// The later one.
    solid: Head,
}

fn said(node: &Node, why: &str) -> NodeError {
    NodeError::Failed(format!("{}: {why}", node.url))
}

async fn time_of(node: &Node, block: u64) -> Answer<i64> {
    let found = node.block(View::Solid, block).await?;
    found.map(|found| found.head.at_ms).ok_or_else(|| said(node, &format!("it does not show block {block}")))
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
