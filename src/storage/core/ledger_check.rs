//! Replays the ledger: what is kept beside the postings must be what the postings say.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::checkpoints::{self, Draft, PostingsHash};
use super::ledger::{self, Accrued, Balance, BookSum};
use super::statements;
use super::tables::{ACCRUED, BALANCES, BOOK_SUMS, MONTHLY, POSTINGS};
use crate::domain::archive::Kind;
use crate::domain::credits::Epoch;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Account, Book, Cause, Posting};
use crate::domain::statement::{Month, Totals, movements};
use crate::domain::time::Now;
use crate::storage::archive;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx, decode};

/// How much is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What came after the last checkpoint; the checkpoints themselves by their hashes.
    SinceCheckpoint,
    /// Every posting there is, and what every checkpoint says of them.
    Full,
}

/// The books as postings make them.
#[derive(Default)]
struct Replay {
    balances: BTreeMap<(Book, Account), Balance>,
    months: BTreeMap<(Book, Month, NodeIndex), Totals>,
    /// Where the last range of a node in a book ended.
    ranges: BTreeMap<(Book, NodeIndex), Epoch>,
    last: u64,
}

impl Replay {
    /// From a checkpoint on.
    fn after(draft: &Draft) -> Replay {
        let rows = draft.pages.iter().flat_map(|page| page.balances.iter().map(|(account, balance)| ((page.book, *account), *balance)));
        Replay { balances: rows.collect(), last: draft.checkpoint.through, ..Replay::default() }
    }

    /// What is wrong with the posting, if anything is. `accrued` are the watermarks; `is_from_first`: no posting of the ledger was left out.
    fn post(
        &mut self,
        posting: &Posting,
        fees_sun: u64,
        accrued: &BTreeMap<NodeIndex, Accrued>,
        is_from_first: bool,
    ) -> Result<(), String> {
        let Posting { seq, entry, .. } = posting;
        if *seq != self.last + 1 {
            return Err(format!("posting {} is missing", self.last + 1));
        }
        self.last = *seq;
        let wrong = |why: &dyn std::fmt::Display| format!("posting {seq}: {why}");
        let of = |balances: &BTreeMap<_, Balance>, account| balances.get(&(entry.book, account)).copied().unwrap_or_default();
        entry.apply(|account| of(&self.balances, account).units).map_err(|why| wrong(&why))?;
        for line in &entry.lines {
            let new = of(&self.balances, line.account).moved(line.amount).map_err(|why| wrong(&why))?;
            self.balances.insert((entry.book, line.account), new);
        }
        if let Cause::Accrual { node, after, through } = entry.cause {
            self.range(entry.book, node, (after, through), accrued.get(&node), is_from_first).map_err(|why| wrong(&why))?;
        }
        let (month, of_nodes) = movements(posting, fees_sun).map_err(|why| wrong(&why))?;
        for (node, totals) in of_nodes {
            self.months.entry((entry.book, month, node)).or_default().add(&totals).map_err(|why| wrong(&why))?;
        }
        Ok(())
    }

    /// Each range begins where the one before ended. Earlier releases left out ranges without a whole unit: theirs may have holes, and end where the contiguous
    /// ones begin.
    fn range(
        &mut self,
        book: Book,
        node: NodeIndex,
        (after, through): (Epoch, Epoch),
        accrued: Option<&Accrued>,
        is_from_first: bool,
    ) -> Result<(), &'static str> {
        let from = accrued.map_or(Epoch(0), |accrued| accrued.from);
        let before = self.ranges.insert((book, node), through);
        if through <= after {
            return Err("its range of epochs is empty");
        }
        if after < from {
            let overlaps = before.is_some_and(|before| before > after) || through > from;
            return if overlaps { Err("its epochs overlap another posting of the node") } else { Ok(()) };
        }
        let expected = before.map_or(from, |before| before.max(from));
        // What the node's postings before the checkpoint ended with is not known here.
        let is_known = is_from_first || before.is_some();
        if is_known && after != expected { Err("its epochs do not begin where the posting of the node before it ended") } else { Ok(()) }
    }

    /// What is stored beside the postings, and is not what they say.
    fn compare(&self, read: &impl Read, accrued: &BTreeMap<NodeIndex, Accrued>, is_from_first: bool) -> Result<Option<String>, Fault> {
        let stored: BTreeMap<_, _> = rows(read)?;
        if stored != self.balances {
            return Ok(Some("the stored balances are not what the postings add up to".into()));
        }
        let sums = sums(&self.balances);
        if sums != Some(stored_sums(read)?) {
            return Ok(Some("the turnover of a book is not that of its accounts".into()));
        }
        if let Some((book, _)) = sums.into_iter().flatten().find(|(_, sum)| sum.credited != sum.debited) {
            return Ok(Some(format!("the {book} book does not sum to zero")));
        }
        if is_from_first && months(read)? != without_withheld(self.months.clone()) {
            return Ok(Some("the monthly totals are not what the postings add up to".into()));
        }
        for (node, accrued) in accrued {
            if !accrued.is_whole(*node)? {
                return Ok(Some(format!("node {}: its watermark is not what was written", node.0)));
            }
            if let Some(why) = self.watermark(*node, accrued, is_from_first) {
                return Ok(Some(format!("node {}: {why}", node.0)));
            }
        }
        statements::differ_from_balances(read)
    }

    /// The watermark of a node agrees with its last posting in every book.
    fn watermark(&self, node: NodeIndex, accrued: &Accrued, is_from_first: bool) -> Option<&'static str> {
        if accrued.from > accrued.through || accrued.posted.iter().any(|(_, end)| *end > accrued.through || *end <= accrued.from) {
            return Some("its watermark is out of order");
        }
        for book in super::final_payouts::books() {
            let last = self.ranges.get(&(book, node)).copied().filter(|end| *end > accrued.from);
            if (is_from_first || last.is_some()) && last.unwrap_or(accrued.from) != accrued.posted(book.currency) {
                return Some("its watermark is not where its last posting ended");
            }
        }
        None
    }
}

fn rows(read: &impl Read) -> Result<BTreeMap<(Book, Account), Balance>, Fault> {
    let mut all = BTreeMap::new();
    let mut strange = false;
    read.for_each(BALANCES, .., |key, balance| {
        match ledger::split(key) {
            Some(key) => drop(all.insert(key, balance)),
            None => strange = true,
        }
        ControlFlow::Continue(())
    })?;
    if strange { Err(Fault::Invariant("a key of the balances does not decode".into())) } else { Ok(all) }
}

fn sums(balances: &BTreeMap<(Book, Account), Balance>) -> Option<BTreeMap<Book, BookSum>> {
    let mut sums: BTreeMap<Book, BookSum> = BTreeMap::new();
    for ((book, _), balance) in balances {
        let sum = sums.entry(*book).or_default();
        sum.credited = sum.credited.plus(balance.credited).ok()?;
        sum.debited = sum.debited.plus(balance.debited).ok()?;
    }
    Some(sums)
}

fn stored_sums(read: &impl Read) -> Result<BTreeMap<Book, BookSum>, Fault> {
    let rows = read.scan(BOOK_SUMS, .., usize::MAX)?;
    Ok(rows.into_iter().filter_map(|(key, sum)| Some((Book::from_key(key)?, sum))).collect())
}

type Months = BTreeMap<(Book, Month, NodeIndex), Totals>;

fn months(read: &impl Read) -> Result<Months, Fault> {
    let rows = read.scan(MONTHLY, .., usize::MAX)?;
    Ok(without_withheld(rows.into_iter().filter_map(|(key, totals)| Some((statements::split(key)?, totals))).collect()))
}

/// What pools kept comes from leaves, which are not kept as long as postings: no replay has it.
fn without_withheld(months: Months) -> Months {
    let bare = |(key, totals)| (key, Totals { withheld: 0, ..totals });
    months.into_iter().map(bare).filter(|(_, totals)| *totals != Totals::default()).collect()
}

fn watermarks(read: &impl Read) -> Result<BTreeMap<NodeIndex, Accrued>, Fault> {
    Ok(read.scan(ACCRUED, .., usize::MAX)?.into_iter().map(|(node, accrued)| (NodeIndex(node), accrued)).collect())
}

/// What a replay found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub postings: u64,
    pub wrong: Option<String>,
    /// The last of the postings that no replay of this store can begin before: they are in archives that are not at hand.
    pub left_out_through: u64,
}

/// Books balance; balances, monthly totals and watermarks are what the postings say; ranges are contiguous; checkpoints are what was written. The number of postings
/// that were replayed, or what is wrong.
pub fn verify(read: &impl Read, depth: Depth) -> Result<Result<u64, String>, Fault> {
    let Replayed { postings, wrong, .. } = verify_with(read, depth, None)?;
    Ok(wrong.map_or(Ok(postings), Err))
}

/// The same, with postings that are in the archives of a folder. Without them a full replay begins where they end.
pub fn verify_with(read: &impl Read, depth: Depth, archives: Option<&Path>) -> Result<Replayed, Fault> {
    let is_wrong = |wrong: String| Replayed { wrong: Some(wrong), ..Replayed::default() };
    let checkpoints = match checkpoints::chain(read)? {
        Ok(checkpoints) => checkpoints,
        Err(wrong) => return Ok(is_wrong(wrong)),
    };
    let archived = ledger::archived(read)?;
    let closing = |through: u64| checkpoints.iter().find(|draft| draft.checkpoint.through == through);
    if archived > 0 && closing(archived).is_none() {
        return Ok(is_wrong("the checkpoint with which the newest archive of postings ends is missing".into()));
    }
    let (at_hand, missing) = match archives.filter(|_| depth == Depth::Full) {
        Some(folder) => archive::ledger::readable(read, folder)?,
        None => (Vec::new(), super::archives::newest(read, Kind::Ledger)?),
    };
    let left_out_through = missing.map_or(0, |manifest| manifest.last);
    let start = match depth {
        Depth::SinceCheckpoint => checkpoints.last(),
        Depth::Full => closing(left_out_through),
    };
    let is_from_first = start.is_none();
    let mut replay = start.map(Replay::after).unwrap_or_default();
    let first = replay.last + 1;
    let accrued = watermarks(read)?;
    let (mut wrong, mut hash) = (None, PostingsHash::new());
    let mut to_meet = checkpoints.iter().filter(|draft| draft.checkpoint.through >= first).peekable();
    let mut visit = |seq: u64, bytes: &[u8]| -> Result<ControlFlow<()>, Fault> {
        if wrong.is_some() {
            return Ok(ControlFlow::Break(()));
        }
        let posting: Posting = decode(bytes).map_err(|why| Fault::Record { table: POSTINGS.name, key: seq.to_string(), why })?;
        let fees = statements::fees_of(read, &posting)?;
        let replayed = if posting.seq == seq {
            replay.post(&posting, fees, &accrued, is_from_first)
        } else {
            Err(format!("posting {seq} is another one"))
        };
        hash.add(bytes);
        wrong = replayed.err();
        if wrong.is_none()
            && let Some(met) = to_meet.next_if(|draft| draft.checkpoint.through == seq)
        {
            let same = hash.0 == met.checkpoint.postings && Replay::after(met).balances == replay.balances;
            if !same {
                wrong = Some(format!("the checkpoint of {} is not what the postings before it say", met.month));
            }
            hash = PostingsHash::new();
        }
        Ok(if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    };
    let mut of_archives = None;
    for manifest in &at_hand {
        let Some(checkpoint) = closing(manifest.last).filter(|_| manifest.last >= first && archives.is_some()) else { continue };
        of_archives = archive::ledger::stored_postings(read, archives.unwrap_or(Path::new("")), manifest, checkpoint, &mut visit)?;
        if of_archives.is_some() {
            break;
        }
    }
    checkpoints::stored_postings(read, first.max(archived + 1), visit)?;
    // The first of both is the cause of the other.
    let mut wrong = of_archives.or(wrong);
    if wrong.is_none() && to_meet.peek().is_some() {
        wrong = Some("postings before a checkpoint are missing".into());
    }
    if wrong.is_none() {
        wrong = replay.compare(read, &accrued, is_from_first)?;
    }
    let left_out_through = if depth == Depth::Full { left_out_through } else { 0 };
    Ok(Replayed { postings: replay.last + 1 - first, wrong, left_out_through })
}

/// A store whose postings are of a release that kept neither turnover nor monthly totals.
pub fn is_unadopted(read: &impl Read) -> Result<bool, Fault> {
    Ok(read.last(POSTINGS)?.is_some() && read.last(BOOK_SUMS)?.is_none())
}

/// Makes what is kept beside the postings, from the postings. Balances of the earlier release that are not what its postings add up to are left as they are, and latch
/// payouts off.
pub fn adopt(tx: &mut WriteTx<'_>, now: Now) -> Result<(), TxError> {
    let accrued = watermarks(tx)?;
    let mut replay = Replay::default();
    let mut wrong = None;
    for seq in 1.. {
        let Some(posting) = tx.get(POSTINGS, &seq)? else { break };
        let fees = statements::fees_of(tx, &posting)?;
        if let Err(why) = replay.post(&posting, fees, &accrued, true) {
            wrong = Some(why);
            break;
        }
    }
    let units = |rows: &BTreeMap<(Book, Account), Balance>| -> Vec<_> { rows.iter().map(|(key, balance)| (*key, balance.units)).collect() };
    let differs = units(&rows(tx)?) != units(&replay.balances);
    if wrong.is_none() && differs {
        wrong = Some("the stored balances are not what the postings add up to".into());
    }
    if let Some(why) = wrong {
        return ledger::set_latch(tx, &why, now);
    }
    for ((book, account), balance) in &replay.balances {
        tx.put(BALANCES, &ledger::key(*book, *account), balance)?;
    }
    for (book, sum) in sums(&replay.balances).unwrap_or_default() {
        tx.put(BOOK_SUMS, &book.key(), &sum)?;
    }
    for ((book, month, node), totals) in &replay.months {
        tx.put(MONTHLY, &statements::key(*book, *month, *node), totals)?;
    }
    Ok(())
}
