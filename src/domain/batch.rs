//! Many payouts that were asked for together: in one request, or by a schedule. They are reserved in one transaction, and end one by one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{BatchId, NodeId, ScheduleId};
use super::ledger::Settlement;
use super::money::{Currency, Units};
use super::payout::{self, Payout, Priority};
use super::time::{Now, Timestamp};
use super::webhook::Target;
use crate::crypto::sha256;

/// Payouts of one batch (seed 004).
pub const MAX_REQUESTS: usize = 1_000;
/// How far ahead a batch may be planned.
pub const MAX_AHEAD_DAYS: i64 = 366;

/// One payout that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub node: NodeId,
    pub amount: Units,
    pub currency: Currency,
    /// Must be the registered one; None: whatever is registered.
    pub address: Option<String>,
    pub priority: Priority,
}

/// Somebody who was to be paid and is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub node: NodeId,
    /// Stable name.
    pub why: String,
    /// For people.
    pub text: String,
}

/// How many have ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    pub paid: u32,
    pub failed: u32,
    pub cancelled: u32,
}

impl Tally {
    /// One more has ended so; nothing for one that goes on.
    pub fn add(&mut self, status: payout::Status) {
        let place = match status {
            payout::Status::Completed => &mut self.paid,
            payout::Status::Failed => &mut self.failed,
            payout::Status::Cancelled => &mut self.cancelled,
            payout::Status::Pending | payout::Status::Processing => return,
        };
        *place = place.saturating_add(1);
    }

    pub fn ended(self) -> u32 {
        self.paid.saturating_add(self.failed).saturating_add(self.cancelled)
    }
}

/// The stored batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub id: BatchId,
    /// Counts from 1, in the order of their making.
    pub seq: u64,
    /// Of what was asked for: the same id with another content is another request.
    pub content: [u8; 32],
    /// Id of who asked.
    pub by: String,
    /// The schedule that fired.
    pub schedule: Option<ScheduleId>,
    pub settlement: Settlement,
    pub priority: Priority,
    pub notify: Option<Target>,
    pub made_at: Timestamp,
    /// When it was or is to be planned, if not at once.
    pub scheduled_at: Option<Timestamp>,
    /// Until it is planned; of one that was called off, for ever.
    pub waiting: Vec<Wish>,
    /// The sequence of its first payout; the others follow it. 0: none is planned.
    pub first: u64,
    pub count: u32,
    pub tally: Tally,
    pub left_out: Vec<LeftOut>,
    /// Somebody called it off before it was planned.
    pub called_off: bool,
    pub ended_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BatchStatus)]
pub enum BatchStatus {
    /// Its time has not come; nothing is reserved.
    Queued,
    Processing,
    /// Every payout was paid.
    Completed,
    /// Some were not paid.
    CompletedWithFailures,
    /// None was paid, and all were cancelled.
    Cancelled,
}

/// Sums of a batch by currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums(pub BTreeMap<Currency, Sum>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub total: Units,
    pub paid: Units,
    pub failed: Units,
    pub cancelled: Units,
}

impl Sums {
    /// A payout is at most a million whole units, and a batch a thousand payouts: the sums cannot leave the range.
    pub fn add(&mut self, payout: &Payout) {
        let sum = self.0.entry(payout.book.currency).or_default();
        let grow = |units: &mut Units| *units = Units(units.0.saturating_add(payout.amount.0));
        grow(&mut sum.total);
        match payout.status() {
            payout::Status::Completed => grow(&mut sum.paid),
            payout::Status::Failed => grow(&mut sum.failed),
            payout::Status::Cancelled => grow(&mut sum.cancelled),
            payout::Status::Pending | payout::Status::Processing => (),
        }
    }
}

/// What there is of a batch from the beginning.
#[derive(Debug, Clone)]
pub struct NewBatch {
    pub id: BatchId,
    pub content: [u8; 32],
    pub by: String,
    pub settlement: Settlement,
    pub priority: Priority,
    pub made_at: Timestamp,
    pub scheduled_at: Option<Timestamp>,
    pub waiting: Vec<Wish>,
}

impl Batch {
    /// Not planned and not told to anybody; its sequence is given by the transaction that stores it.
    pub fn new(new: NewBatch) -> Batch {
        let NewBatch { id, content, by, settlement, priority, made_at, scheduled_at, waiting } = new;
        Batch {
            id,
            seq: 0,
            content,
            by,
            schedule: None,
            settlement,
            priority,
            notify: None,
            made_at,
            scheduled_at,
            waiting,
            first: 0,
            count: 0,
            tally: Tally::default(),
            left_out: Vec::new(),
            called_off: false,
            ended_at: None,
        }
    }

    pub fn status(&self) -> BatchStatus {
        match self.ended_at {
            None if self.is_queued() => BatchStatus::Queued,
            None => BatchStatus::Processing,
            Some(_) if self.called_off || (self.count > 0 && self.tally.cancelled == self.count) => BatchStatus::Cancelled,
            Some(_) if self.tally.paid == self.count && self.left_out.is_empty() => BatchStatus::Completed,
            Some(_) => BatchStatus::CompletedWithFailures,
        }
    }

    pub fn is_queued(&self) -> bool {
        self.ended_at.is_none() && !self.waiting.is_empty()
    }

    /// Payouts that it has, or is to have.
    pub fn size(&self) -> usize {
        if self.waiting.is_empty() { usize::try_from(self.count).unwrap_or(usize::MAX) } else { self.waiting.len() }
    }

    /// Payouts that have not ended.
    pub fn open(&self) -> usize {
        let ended = usize::try_from(self.tally.ended()).unwrap_or(usize::MAX);
        if self.called_off { 0 } else { self.size().saturating_sub(ended) }
    }

    /// Payouts that were cancelled, those of a batch that was called off among them.
    pub fn cancelled(&self) -> u32 {
        if self.called_off { u32::try_from(self.size()).unwrap_or(u32::MAX) } else { self.tally.cancelled }
    }

    /// Sequences of its payouts.
    pub fn payouts(&self) -> std::ops::Range<u64> {
        self.first..self.first.saturating_add(u64::from(self.count))
    }

    /// Its payouts are planned; who was left out is told. Ends at once where nobody is paid.
    pub fn planned(mut self, first: u64, count: u32, left_out: Vec<LeftOut>, now: Now) -> Batch {
        self.waiting = Vec::new();
        self.first = if count == 0 { 0 } else { first };
        self.count = count;
        self.left_out = left_out;
        self.ended_at = (count == 0).then_some(now.wall);
        self
    }

    /// One of its payouts has ended. Returns whether that was the last one.
    pub fn payout_ended(&mut self, status: payout::Status, now: Now) -> bool {
        let before = self.tally;
        self.tally.add(status);
        let is_last = self.tally != before && self.ended_at.is_none() && self.tally.ended() >= self.count;
        if is_last {
            self.ended_at = Some(now.wall);
        }
        is_last
    }
}

/// Hash of what was asked for: equal for requests that mean the same, however they are written.
pub fn content(wishes: &[Wish], priority: Priority, at: Option<Timestamp>, notify: Option<&Target>) -> [u8; 32] {
    let (at, url) = (at.map_or(0, |at| at.0), notify.map_or("", |target| target.url.as_str()));
    let mut text = format!("lucid/batch/v1\n{priority:?}\n{at}\n{url}\n{}\n", wishes.len());
    for Wish { node, amount, currency, address, priority } in wishes {
        text.push_str(&format!("{node} {} {currency} {} {priority:?}\n", amount.0, address.as_deref().unwrap_or("-")));
    }
    sha256(text.as_bytes())
}

/// Waves of a hundred take a few seconds each, and the chain a minute to be final; what guards hold back is not in it.
pub fn estimated_end(from: Timestamp, payouts: usize) -> Timestamp {
    let waves = i64::try_from(payouts.div_ceil(100)).unwrap_or(i64::MAX);
    from.plus_seconds(waves.saturating_mul(10).saturating_add(120))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;

    fn now(seconds: i64) -> Now {
        Now { wall: Timestamp::from_seconds(seconds), boot: BootMs(0), trusted: true }
    }

    fn wish(n: u32) -> Wish {
        let node = NodeId::parse(&format!("node_{n:06}")).unwrap();
        Wish { node, amount: Units(1), currency: Currency::Usdt, address: None, priority: Priority::Normal }
    }

    fn batch() -> Batch {
        Batch::new(NewBatch {
            id: BatchId::parse("batch_000001").unwrap(),
            content: [0; 32],
            by: "user_000001".into(),
            settlement: Settlement::Simulated,
            priority: Priority::Normal,
            made_at: Timestamp(0),
            scheduled_at: None,
            waiting: vec![wish(1), wish(2)],
        })
    }

    fn ended(statuses: &[payout::Status], left_out: bool) -> Batch {
        let left = LeftOut { node: wish(9).node, why: "no_address".into(), text: "none".into() };
        let count = u32::try_from(statuses.len()).unwrap();
        let mut batch = batch().planned(5, count, left_out.then_some(left).into_iter().collect(), now(1));
        for (i, status) in statuses.iter().enumerate() {
            assert_eq!(batch.payout_ended(*status, now(2)), i + 1 == statuses.len());
        }
        batch
    }

    #[test]
    fn a_batch_is_what_became_of_its_payouts() {
        use payout::Status::{Cancelled, Completed, Failed, Pending};
        assert_eq!(batch().status(), BatchStatus::Queued);
        let mut planned = batch().planned(5, 2, Vec::new(), now(1));
        assert_eq!((planned.status(), planned.payouts(), planned.size()), (BatchStatus::Processing, 5..7, 2));
        assert!(!planned.payout_ended(Pending, now(2)) && !planned.payout_ended(Completed, now(2)));
        assert_eq!(planned.status(), BatchStatus::Processing);
        for (statuses, left_out, status) in [
            (&[Completed, Completed][..], false, BatchStatus::Completed),
            (&[Completed, Completed], true, BatchStatus::CompletedWithFailures),
            (&[Completed, Cancelled], false, BatchStatus::CompletedWithFailures),
            (&[Failed, Failed], false, BatchStatus::CompletedWithFailures),
            (&[Cancelled, Cancelled], false, BatchStatus::Cancelled),
            (&[Cancelled, Failed], false, BatchStatus::CompletedWithFailures),
            (&[], true, BatchStatus::CompletedWithFailures),
        ] {
            assert_eq!(ended(statuses, left_out).status(), status, "{statuses:?} {left_out}");
        }
        let called_off = Batch { called_off: true, ended_at: Some(Timestamp(1)), ..batch() };
        assert_eq!((called_off.status(), called_off.is_queued(), called_off.size()), (BatchStatus::Cancelled, false, 2));
    }

    #[test]
    fn the_content_is_told_apart_by_everything_that_matters() {
        let target = Target { url: "https://a.example/".into(), origin: "https://a.example".into() };
        let same = || content(&[wish(1), wish(2)], Priority::Normal, None, None);
        assert_eq!(same(), same());
        let others = [
            content(&[wish(2), wish(1)], Priority::Normal, None, None),
            content(&[wish(1)], Priority::Normal, None, None),
            content(&[wish(1), wish(2)], Priority::High, None, None),
            content(&[wish(1), wish(2)], Priority::Normal, Some(Timestamp(5)), None),
            content(&[wish(1), wish(2)], Priority::Normal, None, Some(&target)),
            content(&[wish(1), Wish { amount: Units(2), ..wish(2) }], Priority::Normal, None, None),
            content(&[wish(1), Wish { address: Some("T".into()), ..wish(2) }], Priority::Normal, None, None),
            content(&[wish(1), Wish { priority: Priority::Low, ..wish(2) }], Priority::Normal, None, None),
        ];
        assert!(others.iter().all(|other| *other != same()));
    }
}
