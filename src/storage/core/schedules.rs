//! Schedules of payouts, and what became of their last runs.

use std::ops::ControlFlow;

use super::audit;
use super::tables::{SCHEDULE_RUNS, SCHEDULES};
use crate::domain::audit::Draft;
use crate::domain::ids::ScheduleId;
use crate::domain::payout_schedule::{MAX_RUNS, MAX_SCHEDULES, PayoutSchedule, Run};
use crate::domain::refusal::Refusal;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Name of the refusal of one schedule too many.
pub const TOO_MANY: &str = "TooManySchedules";

pub fn by_id(read: &impl Read, id: &ScheduleId) -> Result<Option<PayoutSchedule>, Fault> {
    read.get(SCHEDULES, &id.as_str().to_owned())
}

/// All of them, the oldest first.
pub fn all(read: &impl Read) -> Result<Vec<PayoutSchedule>, Fault> {
    let mut all: Vec<PayoutSchedule> =
        read.scan(SCHEDULES, .., usize::try_from(MAX_SCHEDULES).unwrap_or(usize::MAX))?.into_iter().map(|(_, schedule)| schedule).collect();
    all.sort_by_key(|schedule| (schedule.made_at, schedule.id.clone()));
    Ok(all)
}

pub fn create(tx: &mut WriteTx<'_>, schedule: &PayoutSchedule, draft: Draft) -> Result<(), TxError> {
    if tx.count(SCHEDULES)? >= MAX_SCHEDULES {
        return Err(Refusal::Rule(TOO_MANY, format!("a manager has at most {MAX_SCHEDULES} schedules; delete one")).into());
    }
    tx.put(SCHEDULES, &schedule.id.as_str().to_owned(), schedule)?;
    audit::append(tx, draft)
}

/// Stores a schedule that was changed; `revision` is what the change was made of.
pub fn update(tx: &mut WriteTx<'_>, schedule: &PayoutSchedule, revision: u32, draft: Draft) -> Result<(), TxError> {
    let before = by_id(tx, &schedule.id)?.ok_or(Refusal::ScheduleNotFound)?;
    if before.revision != revision || before.fired_through > schedule.fired_through {
        return Err(Refusal::ScheduleMoved.into());
    }
    tx.put(SCHEDULES, &schedule.id.as_str().to_owned(), schedule)?;
    audit::append(tx, draft)
}

/// With its runs; the batches that it made stay.
pub fn delete(tx: &mut WriteTx<'_>, id: &ScheduleId, draft: Draft) -> Result<(), TxError> {
    if !tx.delete(SCHEDULES, &id.as_str().to_owned())? {
        return Err(Refusal::ScheduleNotFound.into());
    }
    for run in runs(tx, id)? {
        tx.delete(SCHEDULE_RUNS, &key(id, run.number))?;
    }
    audit::append(tx, draft)
}

/// It has fired: a run more, and beyond `MAX_RUNS` one less.
pub fn fired(tx: &mut WriteTx<'_>, schedule: &PayoutSchedule, run: &Run) -> Result<(), TxError> {
    let after = PayoutSchedule { fired_through: run.due_at, runs: run.number, ..schedule.clone() };
    tx.put(SCHEDULES, &schedule.id.as_str().to_owned(), &after)?;
    tx.put(SCHEDULE_RUNS, &key(&schedule.id, run.number), run)?;
    let kept = u64::try_from(MAX_RUNS).unwrap_or(u64::MAX);
    if let Some(old) = run.number.checked_sub(kept).filter(|old| *old > 0) {
        tx.delete(SCHEDULE_RUNS, &key(&schedule.id, old))?;
    }
    Ok(())
}

/// The last runs, newest first.
pub fn runs(read: &impl Read, id: &ScheduleId) -> Result<Vec<Run>, Fault> {
    let mut runs = Vec::new();
    read.for_each_back(SCHEDULE_RUNS, key(id, 0)..=key(id, u64::MAX), |_, run| {
        runs.push(run);
        ControlFlow::Continue(())
    })?;
    Ok(runs)
}

fn key(id: &ScheduleId, number: u64) -> (String, [u8; 8]) {
    (id.as_str().to_owned(), number.to_be_bytes())
}
