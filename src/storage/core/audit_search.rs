//! Finding entries of the audit log. There is one order, that of writing, and no index beside it: a search walks the log, a bounded way at a
//! time, and says where to go on.

use std::ops::ControlFlow;

use super::tables::AUDIT;
use crate::domain::audit::Entry;
use crate::domain::time::Timestamp;
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// Entries that one search looks at; about a tenth of a second on a small machine.
pub const MAX_SCANNED: u64 = 50_000;
/// Counted refusals are dated before the entries they follow, by the time between two writes of them.
const OUT_OF_ORDER_MS: i64 = 10 * 60 * 1_000;
/// Entries of untrusted times that are passed over to find one whose time means something.
const UNTRUSTED_RUN: u64 = 10_000;

/// What is asked for; the default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// `auth.` finds every operation that begins so.
    pub operation: Option<String>,
    pub subject: Option<String>,
    pub resource_type: Option<String>,
    /// Id of a person or a node, or `system`, `console`, `anonymous`.
    pub actor: Option<String>,
    pub success: Option<bool>,
    /// Without regard to case, in the reason.
    pub text: Option<String>,
    /// Times not before this one; entries of untrusted times count by their place, ten minutes wide.
    pub from: Option<Timestamp>,
    /// Times before this one.
    pub until: Option<Timestamp>,
}

impl Filter {
    fn fits(&self, entry: &Entry) -> bool {
        let draft = &entry.draft;
        let within =
            !draft.at_trusted || (self.from.is_none_or(|from| draft.at >= from) && self.until.is_none_or(|until| draft.at < until));
        let contains = |text: &String| draft.reason.as_ref().is_some_and(|reason| reason.to_lowercase().contains(&text.to_lowercase()));
        within
            && self.operation.as_ref().is_none_or(|prefix| draft.operation.starts_with(prefix.as_str()))
            && self.subject.as_ref().is_none_or(|subject| draft.subject == *subject)
            && self.resource_type.as_ref().is_none_or(|kind| draft.resource_type() == kind)
            && self.actor.as_ref().is_none_or(|actor| draft.actor.to_string() == *actor)
            && self.success.is_none_or(|success| draft.success == success)
            && self.text.as_ref().is_none_or(contains)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    OldestFirst,
    #[default]
    NewestFirst,
}

/// What one search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The wanted page of those that fit.
    pub entries: Vec<Entry>,
    /// How many fit among those looked at.
    pub fitting: u64,
    pub scanned: u64,
    /// Where the next search goes on; None when there is nothing more.
    pub next: Option<u64>,
}

/// Sequence numbers, first to last, in which a filter by time can find something; empty when first > last.
pub fn range(read: &impl Read, filter: &Filter) -> Result<(u64, u64), Fault> {
    let newest = read.last(AUDIT)?.map_or(0, |(seq, _)| seq);
    let first = match filter.from {
        Some(from) => first_at(read, newest, from.plus_ms(-OUT_OF_ORDER_MS))?,
        None => 1,
    };
    let last = match filter.until {
        Some(until) => first_at(read, newest, until.plus_ms(OUT_OF_ORDER_MS))?.saturating_sub(1),
        None => newest,
    };
    Ok((first, last))
}

/// The first entry at or after `at`, one behind the newest when there is none. Numbers are dense and times grow with them, but for the
/// ten minutes that callers add.
fn first_at(read: &impl Read, newest: u64, at: Timestamp) -> Result<u64, Fault> {
    let (mut low, mut high) = (1, newest + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // Times nobody vouched for order nothing: the next trusted one stands for them.
        let mut time = None;
        read.for_each(AUDIT, middle..high.min(middle.saturating_add(UNTRUSTED_RUN)), |_, entry| {
            time = entry.draft.at_trusted.then_some(entry.draft.at);
            if time.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match time {
            Some(time) if time < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The entries that fit, from `cursor` on (default: the end the order begins at), leaving out the first `offset` of them.
pub fn search(read: &impl Read, filter: &Filter, order: Order, cursor: Option<u64>, offset: usize, limit: usize) -> Result<Found, Fault> {
    let (first, last) = range(read, filter)?;
    if *filter == Filter::default() && cursor.is_none() {
        return page(read, order, last, offset, limit);
    }
    let (first, last) = match (order, cursor) {
        (_, None) => (first, last),
        (Order::NewestFirst, Some(cursor)) => (first, last.min(cursor)),
        (Order::OldestFirst, Some(cursor)) => (first.max(cursor), last),
    };
    let mut found = Found::default();
    let mut skipped = 0;
    let visit = |seq, entry: Entry| {
        if found.scanned >= MAX_SCANNED {
            found.next = Some(seq);
            return ControlFlow::Break(());
        }
        found.scanned += 1;
        if filter.fits(&entry) {
            found.fitting += 1;
            if skipped < offset {
                skipped += 1;
            } else if found.entries.len() < limit {
                found.entries.push(entry);
            }
        }
        ControlFlow::Continue(())
    };
    match order {
        Order::OldestFirst => read.for_each(AUDIT, first..=last, visit)?,
        Order::NewestFirst => read.for_each_back(AUDIT, first..=last, visit)?,
    }
    Ok(found)
}

/// A page of everything: numbers are dense, so a far page costs no more than the first.
fn page(read: &impl Read, order: Order, newest: u64, offset: usize, limit: usize) -> Result<Found, Fault> {
    let offset = u64::try_from(offset).unwrap_or(u64::MAX);
    let mut entries = Vec::new();
    let visit = |_, entry| {
        entries.push(entry);
        if entries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    match order {
        Order::OldestFirst => read.for_each(AUDIT, offset.saturating_add(1).., visit)?,
        Order::NewestFirst => read.for_each_back(AUDIT, 1..=newest.saturating_sub(offset), visit)?,
    }
    Ok(Found { scanned: u64::try_from(entries.len()).unwrap_or(u64::MAX), entries, fitting: newest, next: None })
}

/// The next entries that fit, oldest first, up to `last`, and where to go on. For walks that take the log a piece at a time.
pub fn piece(read: &impl Read, filter: &Filter, from: u64, last: u64, scan: u64) -> Result<(Vec<Entry>, Option<u64>), Fault> {
    let end = last.min(from.saturating_add(scan.saturating_sub(1)));
    let mut entries = Vec::new();
    read.for_each(AUDIT, from..=end, |_, entry| {
        if filter.fits(&entry) {
            entries.push(entry);
        }
        ControlFlow::Continue(())
    })?;
    Ok((entries, (end < last).then(|| end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Actor, Draft};
    use crate::domain::time::Now;
    use crate::storage::core::audit::append_all;
    use crate::storage::testing::{NOW, store};

    /// Entries 2 to 101, a minute apart; every tenth is a refused login of bob, and those of numbers 40 to 49 come from an untrusted 1970.
    fn log() -> (tempfile::TempDir, crate::storage::Store) {
        let (dir, store) = store();
        let draft = |n: i64| {
            let trusted = !(40..50).contains(&n);
            let wall = if trusted { NOW.wall.plus_seconds(60 * n) } else { Timestamp(n) };
            let now = Now { wall, trusted, ..NOW };
            if n % 10 == 0 {
                Draft::new(now, Actor::User("user_bob".into()), "auth.login", "user_bob").refused("WrongCredentials")
            } else {
                Draft::new(now, Actor::System, "payout.plan", format!("payout_{n}")).because("simulated")
            }
        };
        let drafts: Vec<Draft> = (2..=101).map(draft).collect();
        store.core.write_now(move |tx| append_all(tx, &drafts)).unwrap();
        (dir, store)
    }

    fn seqs(found: &Found) -> Vec<u64> {
        found.entries.iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn each_filter_finds_what_it_says() {
        let (_dir, store) = log();
        let read = store.read().unwrap();
        let count = |filter: Filter| search(&read, &filter, Order::NewestFirst, None, 0, 5).unwrap().fitting;
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(count(Filter::default()), 101);
        assert_eq!(count(Filter { operation: text("auth."), ..Filter::default() }), 10);
        assert_eq!(count(Filter { operation: text("payout"), ..Filter::default() }), 90);
        assert_eq!(count(Filter { resource_type: text("payout"), ..Filter::default() }), 90);
        assert_eq!(count(Filter { subject: text("payout_7"), ..Filter::default() }), 1);
        assert_eq!(count(Filter { actor: text("user_bob"), success: Some(false), ..Filter::default() }), 10);
        assert_eq!(count(Filter { actor: text("user_bob"), success: Some(true), ..Filter::default() }), 0);
        assert_eq!(count(Filter { text: text("WRONGcred"), ..Filter::default() }), 10);
    }

    #[test]
    fn times_are_exact_and_untrusted_ones_count_by_their_place() {
        let (_dir, store) = log();
        let read = store.read().unwrap();
        let at = |minute: i64| Some(NOW.wall.plus_seconds(60 * minute));
        let all = |from, until| {
            let filter = Filter { from, until, ..Filter::default() };
            seqs(&search(&read, &filter, Order::OldestFirst, None, 0, 200).unwrap())
        };
        assert_eq!(all(at(65), at(68)), [65, 66, 67]);
        assert_eq!(all(at(100), None), [100, 101]);
        assert_eq!(all(at(102), None), Vec::<u64>::new());
        assert_eq!(all(None, at(3)), [1, 2]);
        assert_eq!(all(at(39), at(51)), (39..=50).collect::<Vec<u64>>());
        assert_eq!(all(at(63), at(60)), Vec::<u64>::new());
    }

    #[test]
    fn pages_and_both_orders_agree() {
        let (_dir, store) = log();
        let read = store.read().unwrap();
        let filter = Filter { operation: Some("auth".into()), ..Filter::default() };
        let page = |filter: &Filter, order, offset| seqs(&search(&read, filter, order, None, offset, 3).unwrap());
        assert_eq!(page(&filter, Order::NewestFirst, 0), [100, 90, 80]);
        assert_eq!(page(&filter, Order::NewestFirst, 9), [10]);
        assert_eq!(page(&filter, Order::OldestFirst, 3), [40, 50, 60]);
        assert_eq!(page(&Filter::default(), Order::OldestFirst, 99), [100, 101]);
        assert_eq!(page(&Filter::default(), Order::NewestFirst, 99), [2, 1]);
        let on = search(&read, &filter, Order::NewestFirst, Some(55), 0, 3).unwrap();
        assert_eq!((seqs(&on), on.fitting), (vec![50, 40, 30], 5));
    }

    #[test]
    fn pieces_cover_the_log_once() {
        let (_dir, store) = log();
        let read = store.read().unwrap();
        let (mut from, mut seen) = (Some(1), Vec::new());
        while let Some(start) = from {
            let (entries, next) = piece(&read, &Filter::default(), start, 101, 7).unwrap();
            seen.extend(entries.iter().map(|entry| entry.seq));
            from = next;
        }
        assert_eq!(seen, (1..=101).collect::<Vec<u64>>());
    }
}
