//! Archives of the ledger: the postings through one checkpoint, and then the checkpoint with its balances, which is where a replay goes on that has not read them.
//!
//! A line is a posting as people read it, with the bytes that the store had of it: the hash of the checkpoint and the heads of epochs are over these, so a replay
//! from the first posting reads them here. Nothing is archived while the books do not add up.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::Content;
use super::names::NodeIds;
use super::{Failed, Writer};
use crate::crypto::{hex, unhex};
use crate::domain::archive::{Kind, Manifest, lines_file};
use crate::domain::ids::PoolIndex;
use crate::domain::ledger::{Account, Cause, Posting, Split};
use crate::domain::statement::Month;
use crate::storage::Store;
use crate::storage::core::checkpoints::{self, CheckpointPage, Draft, PostingsHash};
use crate::storage::core::{archives, epochs, ledger, pools};
use crate::storage::fault::{Fault, WriteError};
use crate::storage::table::{Read, decode, encode};

/// Postings that are read at once.
const PAGE: usize = 1_000;
/// Postings deleted in one transaction.
const ROWS: usize = 1_000;
/// Bytes of a line, at most: a posting has 1,001 lines of its own, a page of balances a thousand.
const MAX_LINE: u64 = 1 << 20;

/// A posting.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Counts from 1 without gaps.
    seq: u64,
    /// RFC 3339, UTC.
    at: String,
    /// Settlement and currency.
    book: String,
    cause: Value,
    lines: Vec<Moved>,
    /// The record as it was stored, in hex.
    stored: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    /// `node_payable:node_...`, `pool_expense:pool_...`, `adjustment`.
    account: String,
    /// In the smallest unit of the currency.
    units: i64,
}

/// What stands behind the postings: the closing balances, a page a line.
#[derive(Debug, Serialize, Deserialize)]
struct Balances {
    book: String,
    balances: Vec<Moved>,
    /// The page as it was stored, in hex: also what was ever added and taken.
    stored: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct Boundary {
    checkpoint: String,
    at: String,
    /// The last posting that is in it.
    through: u64,
    pages: u32,
    /// Hashes, in hex: of the postings since the checkpoint before, of that one, and of this one with its pages.
    postings: String,
    previous: String,
    hash: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ids(NodeIds);

impl Ids {
    fn node(&mut self, core: &impl Read, node: crate::domain::ids::NodeIndex) -> Result<String, Fault> {
        Ok(self.0.of(core, node)?.to_owned())
    }

    fn pool(core: &impl Read, pool: PoolIndex) -> Result<String, Fault> {
        let never = || Fault::Invariant(format!("a posting names pool {}, which never was", pool.0));
        Ok(pools::ever(core, pool)?.ok_or_else(never)?.id.to_string())
    }

    fn account(&mut self, core: &impl Read, account: Account) -> Result<String, Fault> {
        let of_node = |kind: &str, id: String| format!("{kind}:{id}");
        Ok(match account {
            Account::PoolExpense(pool) => of_node("pool_expense", Ids::pool(core, pool)?),
            Account::NodePayable(node) => of_node("node_payable", self.node(core, node)?),
            Account::NodeReserved(node) => of_node("node_reserved", self.node(core, node)?),
            Account::NodePaid(node) => of_node("node_paid", self.node(core, node)?),
            Account::Forfeited(node) => of_node("forfeited", self.node(core, node)?),
            Account::Adjustment => "adjustment".into(),
            Account::Unexplained => "unexplained".into(),
        })
    }

    fn cause(&mut self, core: &impl Read, cause: &Cause) -> Result<Value, Fault> {
        Ok(match cause {
            Cause::Accrual { node, after, through } => {
                json!({"kind": "accrual", "node_id": self.node(core, *node)?, "after": after.0, "through": through.0})
            }
            Cause::Reserve { payout } => json!({"kind": "reserve", "payout_id": payout.as_str()}),
            Cause::Release { payout } => json!({"kind": "release", "payout_id": payout.as_str()}),
            Cause::Paid { payout } => json!({"kind": "paid", "payout_id": payout.as_str()}),
            Cause::Adjustment { node, reason, by } => {
                json!({"kind": "adjustment", "node_id": self.node(core, *node)?, "reason": reason, "by": by.as_str()})
            }
            Cause::Forfeiture { node, reason, by } => {
                json!({"kind": "forfeiture", "node_id": self.node(core, *node)?, "reason": reason, "by": by.as_str()})
            }
            Cause::Reward { pool, split, reason, by } => {
                let (from, to) = match split {
                    Split::Equal => (None, None),
                    Split::Credits { from, to } => (Some(from.rfc3339()), Some(to.rfc3339())),
                };
                json!({"kind": "reward", "pool_id": Ids::pool(core, *pool)?, "from": from, "to": to, "reason": reason, "by": by.as_str()})
            }
            Cause::Unexplained { node, txid } => {
                let node = node.map(|node| self.node(core, node)).transpose()?;
                json!({"kind": "unexplained", "node_id": node, "txid": txid})
            }
            Cause::GoLive { node, from, by } => {
                json!({"kind": "go_live", "node_id": self.node(core, *node)?, "from": from.rfc3339(), "by": by.as_str()})
            }
        })
    }

    fn line(&mut self, core: &impl Read, posting: &Posting, stored: &[u8]) -> Result<Line, Fault> {
        let mut lines = Vec::with_capacity(posting.entry.lines.len());
        for line in &posting.entry.lines {
            lines.push(Moved { account: self.account(core, line.account)?, units: line.amount.0 });
        }
        let cause = self.cause(core, &posting.entry.cause)?;
        let (at, book) = (posting.at.rfc3339(), posting.entry.book.to_string());
        Ok(Line { seq: posting.seq, at, book, cause, lines, stored: hex(stored) })
    }

    fn balances(&mut self, core: &impl Read, page: &CheckpointPage) -> Result<Balances, Fault> {
        let mut balances = Vec::with_capacity(page.balances.len());
        for (account, balance) in &page.balances {
            balances.push(Moved { account: self.account(core, *account)?, units: balance.units.0 });
        }
        Ok(Balances { book: page.book.to_string(), balances, stored: hex(&encode(page)?) })
    }
}

fn boundary(draft: &Draft) -> Boundary {
    let checkpoint = &draft.checkpoint;
    Boundary {
        checkpoint: draft.month.to_string(),
        at: checkpoint.at.rfc3339(),
        through: checkpoint.through,
        pages: checkpoint.pages,
        postings: hex(&checkpoint.postings),
        previous: hex(&checkpoint.previous),
        hash: hex(&checkpoint.hash),
    }
}

/// Postings between two checkpoints, the later one's among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    until: Draft,
    /// The next posting.
    from: u64,
    hash: PostingsHash,
    ids: Ids,
}

impl Content for Ledger {
    const KIND: Kind = Kind::Ledger;

    fn due(store: &Store, kept: Month) -> Result<Option<Ledger>, Fault> {
        let core = store.read()?;
        if ledger::latched(&core)?.is_some() {
            return Ok(None);
        }
        let archived = ledger::archived(&core)?;
        // Heads of epochs have a running hash of all postings: it goes on from what the newest one names.
        let named = epochs::last(&core)?.and_then(|head| head.seal).map_or(0, |seal| seal.ledger.seq);
        let next = checkpoints::after(&core, archived)?.filter(|draft| draft.month < kept && draft.checkpoint.through <= named);
        Ok(next.map(|until| Ledger { until, from: archived + 1, hash: PostingsHash::new(), ids: Ids::default() }))
    }

    fn period(&self) -> String {
        self.until.month.to_string()
    }

    fn step(&mut self, store: &Store, writer: &mut Writer) -> Result<bool, Failed> {
        let core = store.read()?;
        let mut page = Vec::new();
        let through = self.until.checkpoint.through;
        checkpoints::stored_postings(&core, self.from, |seq, bytes| {
            if seq <= through && page.len() < PAGE {
                page.push((seq, bytes.to_vec()));
                return Ok(ControlFlow::Continue(()));
            }
            Ok(ControlFlow::Break(()))
        })?;
        for (seq, stored) in &page {
            let posting: Posting = decode(stored).map_err(|why| Failed::Disk(format!("posting {seq}: {why}")))?;
            if posting.seq != *seq || *seq != self.from {
                return Err(Failed::Disk(format!("posting {} is missing", self.from)));
            }
            writer.line(*seq, &self.ids.line(&core, &posting, stored)?)?;
            self.hash.add(stored);
            self.from = seq + 1;
        }
        if self.from <= through && !page.is_empty() {
            return Ok(false);
        }
        if self.from != through + 1 || self.hash.0 != self.until.checkpoint.postings {
            return Err(Failed::Disk(format!("the postings are not those that the checkpoint of {} closed", self.until.month)));
        }
        for page in &self.until.pages {
            writer.aside(&self.ids.balances(&core, page)?)?;
        }
        writer.aside(&boundary(&self.until))?;
        Ok(true)
    }

    fn is_left(store: &Store, newest: &Manifest) -> Result<bool, Fault> {
        ledger::begins_within(&store.read()?, newest.last)
    }

    fn holds(store: &Store, archive: &Manifest) -> Result<bool, Fault> {
        ledger::is_any_of(&store.read()?, archive.first, archive.last)
    }

    async fn forget(store: &Arc<Store>, newest: &Manifest) -> Result<bool, WriteError> {
        let last = newest.last;
        store.write(move |tx| ledger::forget(tx, last, ROWS)).await
    }
}

/// The stored postings of an archive whose files are whole, oldest first, until `visit` breaks; what is wrong with its lines, if anything is. They must be just what is written of such
/// postings, and end with the checkpoint.
pub fn stored_postings(
    core: &impl Read,
    folder: &Path,
    manifest: &Manifest,
    checkpoint: &Draft,
    visit: &mut dyn FnMut(u64, &[u8]) -> Result<ControlFlow<()>, Fault>,
) -> Result<Option<String>, Fault> {
    let name = manifest.name();
    let wrong = |why: String| Ok(Some(format!("{name}: {why}")));
    let file = match File::open(folder.join(lines_file(&name))) {
        Ok(file) => file,
        Err(error) => return wrong(error.to_string()),
    };
    let mut reader = BufReader::new(GzDecoder::new(file));
    let (mut ids, mut next) = (Ids::default(), manifest.first);
    loop {
        let mut text = String::new();
        if let Err(error) = (&mut reader).take(MAX_LINE).read_line(&mut text) {
            return wrong(error.to_string());
        }
        if next > manifest.last {
            // Pages of balances, and the checkpoint.
            let mut expected = String::new();
            for page in &checkpoint.pages {
                expected += &written(&ids.balances(core, page)?)?;
            }
            expected += &written(&boundary(checkpoint))?;
            let rest = (&mut reader).take(MAX_LINE * (1 + checkpoint.pages.len() as u64)).read_to_string(&mut text);
            return if rest.is_ok() && text == expected { Ok(None) } else { wrong("it does not end with the checkpoint".into()) };
        }
        let stored = serde_json::from_str::<Line>(&text).ok().and_then(|line| unhex(&line.stored));
        let Some(stored) = stored else { return wrong(format!("posting {next} does not read")) };
        let posting: Posting = match decode(&stored) {
            Ok(posting) => posting,
            Err(why) => return wrong(format!("posting {next}: {why}")),
        };
        if posting.seq != next || written(&ids.line(core, &posting, &stored)?)? != text {
            return wrong(format!("posting {next} is not what its line says"));
        }
        if visit(next, &stored)?.is_break() {
            return Ok(None);
        }
        next += 1;
    }
}

fn written(line: &impl Serialize) -> Result<String, Fault> {
    Ok(serde_json::to_string(line).map_err(|error| Fault::Invariant(error.to_string()))? + "\n")
}

/// Archives of the ledger whose files are whole, oldest first, up to the newest one and without a hole; and the newest one before them.
pub fn readable(core: &impl Read, folder: &Path) -> Result<(Vec<Manifest>, Option<Manifest>), Fault> {
    let mut all = archives::of_kind(core, Kind::Ledger)?;
    let mut whole = Vec::new();
    while let Some(newest) = all.pop() {
        if super::is_there(folder, &newest).is_err() {
            return Ok((whole.into_iter().rev().collect(), Some(newest)));
        }
        whole.push(newest);
    }
    Ok((whole.into_iter().rev().collect(), None))
}
