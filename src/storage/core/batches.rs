//! Batches of payouts. A batch's payouts have sequences that follow each other, because they were planned in one transaction; so a batch is found by them, and they
//! by their batch.

use std::ops::ControlFlow;

use super::tables::{BATCH_IDS, BATCH_PAYOUTS, BATCHES, Index64, QUEUED_BATCHES};
use super::{audit, outbox, payouts, schedules};
use crate::domain::audit::Act;
use crate::domain::batch::{Batch, BatchStatus, Sums, Tally};
use crate::domain::ids::{BatchId, PayoutId, ScheduleId};
use crate::domain::payout::{Payout, PayoutError, Source};
use crate::domain::refusal::Refusal;
use crate::domain::time::{Now, Timestamp};
use crate::domain::webhook;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Batches that wait for their time.
pub const MAX_QUEUED: u64 = 100;

pub fn by_seq(read: &impl Read, seq: u64) -> Result<Option<Batch>, Fault> {
    read.get(BATCHES, &seq)
}

pub fn by_id(read: &impl Read, id: &BatchId) -> Result<Option<Batch>, Fault> {
    match read.get(BATCH_IDS, &id.as_str().to_owned())? {
        Some(Index64(seq)) => by_seq(read, seq),
        None => Ok(None),
    }
}

pub fn next_seq(read: &impl Read) -> Result<u64, Fault> {
    Ok(read.last(BATCHES)?.map_or(1, |(seq, _)| seq + 1))
}

/// The batch that planned this payout.
pub fn of_payout(read: &impl Read, seq: u64) -> Result<Option<Batch>, Fault> {
    let mut last = None;
    read.for_each_back(BATCH_PAYOUTS, ..=seq, |_, Index64(batch)| {
        last = Some(batch);
        ControlFlow::Break(())
    })?;
    let Some(batch) = last else { return Ok(None) };
    Ok(by_seq(read, batch)?.filter(|batch| batch.payouts().contains(&seq)))
}

/// Its payouts in the order in which they were asked for.
pub fn payouts_of(read: &impl Read, batch: &Batch) -> Result<Vec<Payout>, Fault> {
    let mut all = Vec::with_capacity(batch.size());
    for seq in batch.payouts() {
        all.extend(payouts::by_seq(read, seq)?);
    }
    Ok(all)
}

pub fn sums(read: &impl Read, batch: &Batch) -> Result<Sums, Fault> {
    let mut sums = Sums::default();
    payouts_of(read, batch)?.iter().for_each(|payout| sums.add(payout));
    Ok(sums)
}

/// Stores a batch with what finds it; tells of its end when that has come.
pub fn put(tx: &mut WriteTx<'_>, batch: &Batch, now: Now) -> Result<(), TxError> {
    let before = by_seq(tx, batch.seq)?;
    let index = Index64(batch.seq);
    if before.is_none() {
        tx.put(BATCH_IDS, &batch.id.as_str().to_owned(), &index)?;
    }
    if batch.is_queued() {
        tx.put(QUEUED_BATCHES, &batch.seq, &index)?;
    } else if before.as_ref().is_some_and(Batch::is_queued) {
        tx.delete(QUEUED_BATCHES, &batch.seq)?;
    }
    if batch.first > 0 && before.as_ref().is_none_or(|before| before.first == 0) {
        tx.put(BATCH_PAYOUTS, &batch.first, &index)?;
    }
    tx.put(BATCHES, &batch.seq, batch)?;
    let has_ended = batch.ended_at.is_some() && before.is_none_or(|before| before.ended_at.is_none());
    match &batch.notify {
        Some(target) if has_ended => {
            let body = webhook::batch_ended(batch, &sums(tx, batch)?);
            outbox::tell(tx, target.clone(), webhook::BATCH_ENDED, body, now)
        }
        _ => Ok(()),
    }
}

/// A payout has ended: in the transaction of that step, so that the count can never be another one than that of the payouts.
pub(super) fn payout_ended(tx: &mut WriteTx<'_>, payout: &Payout, now: Now) -> Result<(), TxError> {
    let Some(mut batch) = of_payout(tx, payout.seq)? else { return Ok(()) };
    batch.payout_ended(payout.status(), now);
    put(tx, &batch, now)
}

/// Batches whose time has come, at most `limit`.
pub fn due(read: &impl Read, now: Timestamp, limit: usize) -> Result<Vec<Batch>, Fault> {
    let mut due = Vec::new();
    for (seq, _) in read.scan(QUEUED_BATCHES, .., usize::try_from(MAX_QUEUED).unwrap_or(usize::MAX))? {
        due.extend(by_seq(read, seq)?.filter(|batch| batch.scheduled_at.is_none_or(|at| at <= now)));
    }
    due.truncate(limit);
    Ok(due)
}

/// How many have ended and were to tell of it.
pub(super) fn told(read: &impl Read) -> Result<u64, Fault> {
    let mut told = 0;
    read.for_each(BATCHES, .., |_, batch: Batch| {
        told += u64::from(batch.ended_at.is_some() && batch.notify.is_some());
        ControlFlow::Continue(())
    })?;
    Ok(told)
}

pub fn queued(read: &impl Read) -> Result<u64, Fault> {
    read.count(QUEUED_BATCHES)
}

/// Which batches are wanted, newest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub status: Option<BatchStatus>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// With the number of all that fit.
pub fn page(read: &impl Read, filter: Filter, offset: usize, limit: usize) -> Result<(Vec<Batch>, usize), Fault> {
    let (mut rows, mut total) = (Vec::new(), 0);
    read.for_each_back(BATCHES, .., |_, batch: Batch| {
        let fits = filter.status.is_none_or(|status| batch.status() == status)
            && filter.from.is_none_or(|from| batch.made_at >= from)
            && filter.to.is_none_or(|to| batch.made_at < to);
        if fits {
            if total >= offset && rows.len() < limit {
                rows.push(batch);
            }
            total += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok((rows, total))
}

/// What was cancelled, and what was not, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cancelled {
    pub cancelled: Vec<PayoutId>,
    pub kept: Vec<(PayoutId, String)>,
}

/// Cancels what has not been planned, or every payout of which no attempt can land. What was signed goes on.
pub fn cancel(tx: &mut WriteTx<'_>, act: &Act, id: &BatchId, now: Now) -> Result<Cancelled, TxError> {
    let batch = by_id(tx, id)?.ok_or(Refusal::BatchNotFound)?;
    if batch.ended_at.is_some() {
        return Err(Refusal::BatchOver.into());
    }
    let mut done = Cancelled::default();
    if batch.is_queued() {
        let called_off = Batch { called_off: true, ended_at: Some(now.wall), ..batch };
        put(tx, &called_off, now)?;
    } else {
        for payout in payouts_of(tx, &batch)?.into_iter().filter(Payout::is_open) {
            match payout.cancel("its batch was cancelled".into(), now) {
                Ok((after, entry)) => {
                    payouts::step(tx, Some(&payout), &after, Some(entry), now)?;
                    done.cancelled.push(after.id);
                }
                Err(PayoutError::Ledger(broken)) => return Err(Fault::Invariant(broken.to_string()).into()),
                Err(why) => done.kept.push((payout.id, why.to_string())),
            }
        }
    }
    let remark = format!("{} cancelled, {} went too far", done.cancelled.len(), done.kept.len());
    audit::append(tx, act.draft("payout_batch.cancel", id.as_str()).because(remark))?;
    Ok(done)
}

/// Counts are those of the payouts, each payout of a batch is in that one alone, and whatever finds a batch finds it; the number of batches, or what is wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let mut all = Vec::new();
    read.for_each(BATCHES, .., |seq, batch: Batch| {
        all.push((seq, batch));
        ControlFlow::Continue(())
    })?;
    for (seq, batch) in &all {
        if let Some(wrong) = wrong_with(read, *seq, batch)? {
            return Ok(Err(wrong));
        }
    }
    let counted = all.iter().map(|(_, batch)| u64::from(batch.count)).sum::<u64>();
    let mut named = 0u64;
    payouts::for_each(read, |payout| named += u64::from(batch_named(&payout.source).is_some()))?;
    if named != counted {
        return Ok(Err(format!("{named} payouts are of batches, and batches count {counted}")));
    }
    let (planned, waiting) = (all.iter().filter(|(_, batch)| batch.first > 0), all.iter().filter(|(_, batch)| batch.is_queued()));
    for (what, rows, table) in [
        ("are made", all.len(), read.count(BATCH_IDS)?),
        ("have payouts", planned.count(), read.count(BATCH_PAYOUTS)?),
        ("wait for their time", waiting.count(), read.count(QUEUED_BATCHES)?),
    ] {
        if table != u64::try_from(rows).unwrap_or(u64::MAX) {
            return Ok(Err(format!("{rows} batches {what}, and {table} are indexed so")));
        }
    }
    Ok(Ok(u64::try_from(all.len()).unwrap_or(u64::MAX)))
}

fn wrong_with(read: &impl Read, seq: u64, batch: &Batch) -> Result<Option<String>, Fault> {
    let of = payouts_of(read, batch)?;
    let mut ended = Tally::default();
    for payout in &of {
        ended.add(payout.status());
        if batch_named(&payout.source) != Some(batch_made_by(batch)) {
            return Ok(Some(format!("{} stands among the payouts of {} and is not of it", payout.id, batch.id)));
        }
    }
    let found_by_id = read.get(BATCH_IDS, &batch.id.as_str().to_owned())? == Some(Index64(seq));
    let found_by_payouts = batch.first == 0 || read.get(BATCH_PAYOUTS, &batch.first)? == Some(Index64(seq));
    let found_waiting = read.get(QUEUED_BATCHES, &seq)?.is_some() == batch.is_queued();
    // A schedule that was deleted leaves its batches.
    let schedule = batch.schedule.as_ref().map(|id| schedules::by_id(read, id)).transpose()?.flatten();
    let is_ahead = schedule.is_some_and(|schedule| batch.scheduled_at > Some(schedule.fired_through));
    let id = &batch.id;
    Ok(if batch.seq != seq || !found_by_id || !found_by_payouts || !found_waiting {
        Some(format!("{id} is not found by what finds batches"))
    } else if of.len() != usize::try_from(batch.count).unwrap_or(usize::MAX) {
        Some(format!("{id} has {} payouts and counts {}", of.len(), batch.count))
    } else if ended != batch.tally {
        Some(format!("{ended:?} became of the payouts of {id}, and {:?} is counted", batch.tally))
    } else if batch.ended_at.is_some() != (!batch.is_queued() && (batch.called_off || ended.ended() == batch.count)) {
        let said = if batch.ended_at.is_some() { "is over" } else { "goes on" };
        Some(format!("{} of {} payouts of {id} have ended, and it {said}", ended.ended(), batch.count))
    } else if is_ahead {
        Some(format!("{id} is of a moment for which its schedule has not fired"))
    } else {
        None
    })
}

/// What the payouts of a batch say they are of.
#[derive(PartialEq, Eq)]
enum MadeBy<'a> {
    Batch(&'a BatchId),
    Schedule(&'a ScheduleId),
}

fn batch_named(source: &Source) -> Option<MadeBy<'_>> {
    match source {
        Source::Batch { batch, .. } => Some(MadeBy::Batch(batch)),
        Source::Schedule { schedule, .. } => Some(MadeBy::Schedule(schedule)),
        Source::Automatic | Source::Manual { .. } | Source::Final { .. } => None,
    }
}

fn batch_made_by(batch: &Batch) -> MadeBy<'_> {
    batch.schedule.as_ref().map_or(MadeBy::Batch(&batch.id), MadeBy::Schedule)
}
