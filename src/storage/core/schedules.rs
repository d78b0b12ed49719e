//! Schedules of payouts, and what became of their last runs.

use std::ops::ControlFlow;

use super::tables::{SCHEDULE_RUNS, SCHEDULES};
use super::{audit, batches};
use crate::domain::audit::Draft;
use crate::domain::ids::ScheduleId;
use crate::domain::payout_schedule::{Cron, MAX_RUNS, MAX_SCHEDULES, PayoutSchedule, Rule, Run};
use crate::domain::refusal::Refusal;
use crate::domain::time_zone;
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

/// Rules can be read, runs are of schedules, and the batch that a run made is the one of its moment; the number of schedules and runs, or what is wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let all = all(read)?;
    let mut of_schedules = 0;
    for schedule in &all {
        let runs = runs(read, &schedule.id)?;
        of_schedules += u64::try_from(runs.len()).unwrap_or(u64::MAX);
        if let Some(wrong) = wrong_with(read, schedule, &runs)? {
            return Ok(Err(format!("{} {wrong}", schedule.id)));
        }
    }
    let (schedules, runs) = (read.count(SCHEDULES)?, read.count(SCHEDULE_RUNS)?);
    if runs != of_schedules {
        return Ok(Err(format!("{runs} runs are kept, and {of_schedules} of them are of schedules")));
    }
    Ok(Ok(schedules + runs))
}

/// `runs` are newest first.
fn wrong_with(read: &impl Read, schedule: &PayoutSchedule, runs: &[Run]) -> Result<Option<String>, Fault> {
    if let Rule::Cron { fields, time_zone } = &schedule.rule
        && (Cron::parse(fields).is_err() || !time_zone::is_known(time_zone))
    {
        return Ok(Some("has a rule that nobody can read".into()));
    }
    let kept = schedule.runs.min(u64::try_from(MAX_RUNS).unwrap_or(u64::MAX));
    let numbers = (schedule.runs.saturating_sub(kept) + 1..=schedule.runs).rev();
    if !runs.iter().map(|run| run.number).eq(numbers) {
        return Ok(Some(format!("has run {} times, and its last runs are not there", schedule.runs)));
    }
    let moments = runs.iter().map(|run| run.due_at);
    if !moments.clone().is_sorted_by(|newer, older| newer > older) || moments.max() > Some(schedule.fired_through) {
        return Ok(Some("has fired twice for a moment, or for one that it does not know of".into()));
    }
    for run in runs {
        let made = run.batch.as_ref().map(|id| batches::by_id(read, id)).transpose()?;
        let fits = match made {
            None => run.planned == 0,
            Some(None) => false,
            Some(Some(batch)) => {
                Some(&batch.id) == schedule.batch_of(run.due_at).as_ref()
                    && batch.schedule.as_ref() == Some(&schedule.id)
                    && batch.count == run.planned
            }
        };
        if !fits {
            return Ok(Some(format!("has a run {} whose batch is another one", run.number)));
        }
    }
    Ok(None)
}

fn key(id: &ScheduleId, number: u64) -> (String, [u8; 8]) {
    (id.as_str().to_owned(), number.to_be_bytes())
}
