//! What became of attempts. Paid: a final receipt with the token's own log, in a block that lists the transaction; a witness, where there are any, has it in the
//! same final block. Failed: the same of a failure, and a witness says so too. Dead: the proof of `Looking::death`. Everything else waits, or is a person's.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::Lookup;
use super::answers::{Head, Receipt, TransferLog};
use super::gateway::{TronGateway, UnderWay, own};
use super::network::BlockId;
use super::node::{Node, View};
use super::prepare::parse_txid;
use super::scan::{Scanned, search};
use super::{TransferTransaction, Txid};
use crate::domain::address::TronAddress;
use crate::domain::payout::{Death, DeathProof, Landed, Payout, ReviewKind};
use crate::domain::time::Timestamp;

/// Blocks that one call asks for at most; a search goes on with the next one.
const MAX_FETCHES: usize = 1_200;
/// How long past its expiry, by our own clock, an attempt may be called dead.
const DEATH_WAIT_MS: i64 = 10 * 60_000;

/// What a receipt says of the transfer that it is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Paid,
    Failed(String),
    /// Neither: it says that it succeeded and moved something else, or failed and moved something.
    Odd(String),
}

/// What a witness says to what the node says.
enum Witness {
    Agrees,
    /// Has it in the same final block, does not call it failed, and keeps no receipts that say more.
    HoldsIt(String),
    /// No witness could tell; why.
    Silent(Vec<String>),
    Differs(String),
}

/// A transfer and where it may be.
struct Sought<'a> {
    transfer: &'a TransferTransaction,
    txid: Txid,
    /// Number of the block that it refers to.
    reference: u64,
}

/// One call's look at the chain.
struct Looking<'a> {
    gateway: &'a TronGateway,
    /// The node's final head, read before everything else.
    solid: Head,
    /// More than one is looked for: receipts of a whole block are worth it.
    several: bool,
    receipts: HashMap<(String, View, u64), Arc<Vec<Receipt>>>,
    /// Final heads of witnesses.
    heads: HashMap<String, Result<Head, String>>,
    budget: usize,
}

fn person(kind: ReviewKind, reason: &str, evidence: Vec<String>) -> Lookup {
    Lookup::Person { kind, reason: reason.to_owned(), evidence }
}

impl TronGateway {
    pub(super) async fn look_up(&self, payouts: &[Payout], now: Timestamp) -> Vec<Lookup> {
        let mut looking = match self.looking(payouts.len() > 1).await {
            Ok(looking) => looking,
            Err(why) => return payouts.iter().map(|_| Lookup::Unknown(why.clone())).collect(),
        };
        let mut out = Vec::with_capacity(payouts.len());
        for payout in payouts {
            out.push(looking.attempt(payout, now).await);
        }
        out
    }

    async fn looking(&self, several: bool) -> Result<Looking<'_>, String> {
        self.node.check(&self.network).await.map_err(|e| e.to_string())?;
        let solid = self.node.head(View::Solid).await.map_err(|e| e.to_string())?;
        Ok(Looking { gateway: self, solid, several, receipts: HashMap::new(), heads: HashMap::new(), budget: MAX_FETCHES })
    }

    /// Whether the final transaction `txid` moved exactly the payout's amount to its address, from whatever wallet.
    pub(super) async fn verify_claim(&self, payout: &Payout, txid: &str) -> Lookup {
        let to = TronAddress::parse(payout.address.as_str()).ok();
        let (Some(txid), Some(to), Ok(amount)) = (parse_txid(txid), to, u64::try_from(payout.amount.0)) else {
            return person(ReviewKind::Conflict, "this is no transaction of this network", Vec::new());
        };
        match self.looking(false).await {
            Ok(mut looking) => looking.claim(txid, to, amount, payout.created_at).await,
            Err(why) => Lookup::Unknown(why),
        }
    }
}

impl<'a> Looking<'a> {
    async fn attempt(&mut self, payout: &Payout, now: Timestamp) -> Lookup {
        let Some(attempt) = payout.attempts.last() else { return Lookup::NotSeen };
        let gateway = self.gateway;
        let transfer = match own(attempt, gateway.wallet.account, gateway.contract) {
            Ok(transfer) if pays(&transfer, payout) => transfer,
            Ok(_) => return person(ReviewKind::Conflict, "the attempt's bytes pay something else than the payout", Vec::new()),
            Err(why) => return person(ReviewKind::Conflict, "the attempt cannot be read", vec![why.to_owned()]),
        };
        let sought = Sought { transfer: &transfer, txid: transfer.txid(), reference: attempt.prepared.reference_block };
        let found = self.find(&sought, now).await;
        match &found {
            Lookup::Paid(_) => gateway.note_ended(sought.txid, true),
            Lookup::FailedOnChain { .. } | Lookup::Dead(_) => gateway.note_ended(sought.txid, false),
            _ => {
                let TransferTransaction { amount, fee_limit_sun, expires_at_ms, .. } = transfer;
                gateway.note_under_way(sought.txid, UnderWay { amount, fee_sun: fee_limit_sun, expires_at_ms });
            }
        }
        found
    }

    async fn find(&mut self, sought: &Sought<'_>, now: Timestamp) -> Lookup {
        match self.receipt(sought.txid).await {
            Err(why) => Lookup::Unknown(why),
            Ok(None) => self.death(sought, now).await,
            Ok(Some(receipt)) if receipt.block > self.solid.number => Lookup::Seen { block: receipt.block },
            Ok(Some(receipt)) => self.landed(sought, &receipt).await,
        }
    }

    /// The final receipt, or the one that is not final yet; none where the node knows of none.
    async fn receipt(&mut self, txid: Txid) -> Result<Option<Receipt>, String> {
        let node = &self.gateway.node;
        let read = self.receipts.iter().filter(|((url, ..), _)| *url == node.url);
        let seen = read.flat_map(|(_, all)| all.iter()).find(|receipt| receipt.txid == txid).map(|receipt| receipt.block);
        let block = match seen {
            Some(block) => Some(block),
            None => node.receipt(View::Newest, txid).await.map_err(|e| e.to_string())?.map(|receipt| receipt.block),
        };
        let Some(block) = block else { return Ok(None) };
        let view = if block > self.solid.number { View::Newest } else { View::Solid };
        match self.receipt_in(node, view, block, txid).await? {
            Some(receipt) => Ok(Some(receipt)),
            None => Err(format!("{} does not show the receipt that it showed before", node.url)),
        }
    }

    /// Of a transaction that is said to be in `block`.
    async fn receipt_in(&mut self, node: &Node, view: View, block: u64, txid: Txid) -> Result<Option<Receipt>, String> {
        if !self.several {
            let receipt = node.receipt(view, txid).await.map_err(|e| e.to_string())?;
            return Ok(receipt.filter(|receipt| receipt.block == block || view == View::Newest));
        }
        let key = (node.url.clone(), view, block);
        let all = match self.receipts.get(&key) {
            Some(all) => Arc::clone(all),
            None => {
                let all = Arc::new(node.receipts(view, block).await.map_err(|e| e.to_string())?);
                self.receipts.insert(key, Arc::clone(&all));
                all
            }
        };
        Ok(all.iter().find(|receipt| receipt.txid == txid).cloned())
    }

    async fn block(&mut self, node: &Node, number: u64) -> Result<Option<Arc<Scanned>>, String> {
        self.gateway.blocks.get(node, number, &mut self.budget).await
    }

    /// A final receipt of an attempt.
    async fn landed(&mut self, sought: &Sought<'_>, receipt: &Receipt) -> Lookup {
        let transfer = sought.transfer;
        let judge = |receipt: &Receipt| verdict(receipt, transfer);
        if receipt.block <= sought.reference {
            let evidence = vec![told(&self.gateway.node, receipt)];
            return person(ReviewKind::Conflict, "it is said to be in a block before the one that it refers to", evidence);
        }
        self.confirmed(receipt, judge).await
    }

    async fn confirmed(&mut self, receipt: &Receipt, judge: impl Fn(&Receipt) -> Verdict) -> Lookup {
        let node = &self.gateway.node;
        let said = told(node, receipt);
        let landed = Landed { txid: Some(receipt.txid.to_string()), fee_sun: receipt.fee_sun };
        let found = judge(receipt);
        if let Verdict::Odd(why) = found {
            return person(ReviewKind::Conflict, "its receipt is not that of this transfer", vec![why, said]);
        }
        let block = match self.block(node, receipt.block).await {
            Ok(Some(block)) => block,
            Ok(None) => return Lookup::Unknown(format!("{} does not show block {} that its receipt names", node.url, receipt.block)),
            Err(why) => return Lookup::Unknown(why),
        };
        if !block.lists(&receipt.txid) {
            return person(ReviewKind::Conflict, "the block that its receipt names does not hold it", vec![said]);
        }
        match (self.witness(receipt, &block.head.id, &found, judge).await, found) {
            (Witness::Differs(theirs), _) => person(ReviewKind::Conflict, "two nodes say different things about it", vec![said, theirs]),
            (Witness::Agrees | Witness::HoldsIt(_), Verdict::Paid) => Lookup::Paid(landed),
            // Who has one node alone believes it that somebody was paid.
            (Witness::Silent(_), Verdict::Paid) if self.gateway.witnesses.is_empty() => Lookup::Paid(landed),
            (Witness::Agrees, Verdict::Failed(reason)) => Lookup::FailedOnChain { reason, landed },
            // Whoever says "failed" asks for another payment: nobody's word alone is enough.
            (Witness::Silent(why), Verdict::Failed(_)) if self.gateway.witnesses.is_empty() => {
                let reason = "the node says that it failed, and there is no witness (tron.witness_urls) who says so too";
                person(ReviewKind::Ambiguous, reason, why.into_iter().chain([said]).collect())
            }
            (Witness::Silent(why), _) => Lookup::Unknown(format!("no witness could be asked: {}", why.join("; "))),
            (Witness::HoldsIt(why), _) => Lookup::Unknown(format!("no witness could tell: {why}")),
            (Witness::Agrees, Verdict::Odd(why)) => person(ReviewKind::Conflict, "its receipt makes no sense", vec![why, said]),
        }
    }

    /// The first witness that can tell.
    async fn witness(&mut self, receipt: &Receipt, id: &BlockId, found: &Verdict, judge: impl Fn(&Receipt) -> Verdict) -> Witness {
        let gateway = self.gateway;
        let (mut silent, mut holds) = (Vec::new(), None);
        for node in &gateway.witnesses {
            let head = match self.final_head(node).await {
                Ok(head) => head,
                Err(why) => {
                    silent.push(why);
                    continue;
                }
            };
            if head.number < receipt.block {
                silent.push(format!("{} is behind block {}", node.url, receipt.block));
                continue;
            }
            let theirs = match self.receipt_in(node, View::Solid, receipt.block, receipt.txid).await {
                Ok(theirs) => theirs,
                Err(why) => {
                    silent.push(why);
                    continue;
                }
            };
            match theirs {
                Some(theirs) if judge(&theirs) == *found => return Witness::Agrees,
                Some(theirs) => return Witness::Differs(told(node, &theirs)),
                None => match self.block(node, receipt.block).await {
                    Ok(Some(block)) if block.head.id == *id && block.lists(&receipt.txid) => {
                        if *found == Verdict::Paid && block.calls_failed(&receipt.txid) {
                            return Witness::Differs(format!("{}: by its block {} it failed", node.url, receipt.block));
                        }
                        holds = holds.or(Some(format!("{} keeps no receipts", node.url)));
                    }
                    Ok(Some(_)) => return Witness::Differs(format!("{}: its block {} does not hold it", node.url, receipt.block)),
                    Ok(None) => silent.push(format!("{} does not show block {}", node.url, receipt.block)),
                    Err(why) => silent.push(why),
                },
            }
        }
        holds.map_or(Witness::Silent(silent), Witness::HoldsIt)
    }

    async fn final_head(&mut self, node: &Node) -> Result<Head, String> {
        if let Some(known) = self.heads.get(&node.url) {
            return known.clone();
        }
        let read = async {
            node.check(&self.gateway.network).await?;
            node.head(View::Solid).await
        };
        let head = read.await.map_err(|e| e.to_string());
        self.heads.insert(node.url.clone(), head.clone());
        head
    }

    /// Of a transaction that no receipt is known of: whether it can never land any more. In this order: our own clock is ten minutes past the expiry; the final
    /// heads of the node and of a witness are as late as the expiry; neither has a receipt; neither has it in any block from the one that it refers to up to the
    /// first that is as late as the expiry, each block following the one before; both chains are the same and hold the same; and both still show
    /// another transaction of this wallet, where one is known.
    async fn death(&mut self, sought: &Sought<'_>, now: Timestamp) -> Lookup {
        let (gateway, expires_at_ms) = (self.gateway, sought.transfer.expires_at_ms);
        let clock = gateway.link.now();
        let waited = clock.trusted && now.0.min(clock.wall.0) >= expires_at_ms.saturating_add(DEATH_WAIT_MS);
        if !waited || gateway.witnesses.is_empty() || self.solid.at_ms < expires_at_ms {
            return Lookup::NotSeen;
        }
        let mine = match self.absent(&gateway.node, self.solid, sought).await {
            Ok(mine) => mine,
            Err(lookup) => return lookup,
        };
        let mut doubts = Vec::new();
        for witness in &gateway.witnesses {
            let head = match self.final_head(witness).await {
                Ok(head) if head.at_ms >= expires_at_ms => head,
                Ok(_) => {
                    doubts.push(format!("{}: its final chain ends before the expiry", witness.url));
                    continue;
                }
                Err(why) => {
                    doubts.push(why);
                    continue;
                }
            };
            match self.absent(witness, head, sought).await {
                Ok(theirs) if theirs == mine => {
                    return Lookup::Dead(Death::Expired(DeathProof {
                        solid_block: mine.last.number,
                        solid_at: Timestamp(mine.last.at_ms),
                        scanned_from: sought.reference,
                        scanned_to: mine.last.number,
                        witnesses: vec![witness.url.clone()],
                    }));
                }
                Ok(_) => {
                    gateway.blocks.forget(&gateway.node);
                    gateway.blocks.forget(witness);
                    doubts.push(format!("{} shows another chain than {}", witness.url, gateway.node.url));
                }
                Err(Lookup::Unknown(why)) => doubts.push(why),
                Err(lookup) => return lookup,
            }
        }
        Lookup::Unknown(format!("not proven dead: {}", doubts.join("; ")))
    }

    /// One node's part of the proof; what it means when it gives none.
    async fn absent(&mut self, node: &Node, solid: Head, sought: &Sought<'_>) -> Result<super::scan::Search, Lookup> {
        let unknown = |why: String| Lookup::Unknown(why);
        let conflict =
            |why: String| person(ReviewKind::Conflict, "it is past its expiry, and a node says that it is in a block", vec![why]);
        // The one that was asked first has told so before; another one may know more.
        if let Some(receipt) = node.receipt(View::Solid, sought.txid).await.map_err(|e| unknown(e.to_string()))? {
            return Err(conflict(told(node, &receipt)));
        }
        let found = search(&self.gateway.blocks, node, &solid, sought.reference, sought.transfer, &mut self.budget).await;
        let found = found.map_err(unknown)?;
        if let Some(block) = found.found {
            return Err(conflict(format!("{}: block {block} holds it, and there is no receipt", node.url)));
        }
        if let Some(known) = self.gateway.known() {
            // Nodes that keep no history say of every transaction that there is none.
            let shown = node.receipt(View::Solid, known).await.map_err(|e| unknown(e.to_string()))?;
            if shown.is_none() {
                return Err(unknown(format!("{} does not show {known} either, which is final", node.url)));
            }
        }
        Ok(found)
    }

    async fn claim(&mut self, txid: Txid, to: TronAddress, amount: u64, not_before: Timestamp) -> Lookup {
        let contract = self.gateway.contract;
        let receipt = match self.receipt(txid).await {
            Ok(Some(receipt)) if receipt.block > self.solid.number => return Lookup::Seen { block: receipt.block },
            Ok(Some(receipt)) => receipt,
            Ok(None) => return Lookup::NotSeen,
            Err(why) => return Lookup::Unknown(why),
        };
        let judge = |receipt: &Receipt| {
            let mut arrived = receipt.transfers.iter().filter(|log| log.contract == contract && log.to == to);
            let (first, second) = (arrived.next(), arrived.next());
            match first.filter(|log| log.amount == u128::from(amount) && second.is_none()) {
                Some(_) if succeeded(receipt) => Verdict::Paid,
                _ if failure(receipt).is_some() => Verdict::Failed(receipt.result.clone()),
                _ => Verdict::Odd("it did not move exactly this amount of this token to this address".into()),
            }
        };
        if receipt.at_ms < not_before.0 {
            return person(ReviewKind::Conflict, "it is older than the payout", vec![told(&self.gateway.node, &receipt)]);
        }
        match self.confirmed(&receipt, judge).await {
            // That a transaction which a person named failed pays nobody again: one node's word is enough.
            Lookup::Person { kind: ReviewKind::Ambiguous, evidence, .. } => person(ReviewKind::Conflict, "it failed", evidence),
            found => found,
        }
    }
}

fn pays(transfer: &TransferTransaction, payout: &Payout) -> bool {
    transfer.to.to_string() == payout.address.as_str() && u64::try_from(payout.amount.0).ok() == Some(transfer.amount)
}

fn succeeded(receipt: &Receipt) -> bool {
    receipt.result == "SUCCESS" && !receipt.failed
}

/// How it failed, where it is said clearly, and nothing moved.
fn failure(receipt: &Receipt) -> Option<&str> {
    let clear = receipt.failed && !matches!(receipt.result.as_str(), "" | "SUCCESS" | "DEFAULT" | "UNREADABLE");
    (clear && receipt.transfers.is_empty()).then_some(receipt.result.as_str())
}

fn verdict(receipt: &Receipt, transfer: &TransferTransaction) -> Verdict {
    let wanted = TransferLog { contract: transfer.contract, from: transfer.owner, to: transfer.to, amount: u128::from(transfer.amount) };
    let mut moved = receipt.transfers.iter().filter(|log| log.contract == transfer.contract && log.from == transfer.owner);
    match (moved.next(), moved.next()) {
        (Some(log), None) if *log == wanted && succeeded(receipt) => Verdict::Paid,
        _ => match failure(receipt) {
            Some(reason) => Verdict::Failed(reason.to_owned()),
            None => Verdict::Odd("what its receipt says is neither this transfer nor a failure".into()),
        },
    }
}

/// What a node says, for people.
fn told(node: &Node, receipt: &Receipt) -> String {
    let mut text = format!("{}: {} is in block {}: {}", node.url, receipt.txid, receipt.block, receipt.result);
    if receipt.failed {
        text.push_str(" (failed)");
    }
    for log in receipt.transfers.iter().take(2) {
        text.push_str(&format!("; {} units of {} to {}", log.amount, log.contract, log.to));
    }
    text
}
