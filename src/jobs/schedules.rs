//! Fires what has come due: batches that waited for their time, and schedules. Firing plans and reserves, and notes that it was done, in one transaction; so however
//! often it is tried, each moment is planned once.

use super::planning::{paying, plans};
use super::{Context, Stopped, wallet};
use crate::domain::audit::{Actor, Draft};
use crate::domain::batch::{Batch, LeftOut, MAX_REQUESTS, NewBatch, Wish, content};
use crate::domain::ids::PayoutId;
use crate::domain::money::{Currency, Units};
use crate::domain::node::Node;
use crate::domain::payout::Source;
use crate::domain::payout_schedule::{MAX_LEFT_OUT, PayoutSchedule, Run, Whom};
use crate::domain::time::{Now, Timestamp};
use crate::live::{Event, Job};
use crate::storage::core::{audit, batches, nodes, pools, schedules};
use crate::storage::planning::{self, Earned, Terms, short_of};

/// Batches of one run whose time has come.
const BATCHES: usize = 10;

pub async fn run(context: &Context, now: Now) -> Result<(), Stopped> {
    let (waiting, all) = {
        let read = context.store.read()?;
        (batches::due(&read, now.wall, BATCHES)?, schedules::all(&read)?)
    };
    for batch in waiting {
        let id = batch.id.clone();
        // One that cannot be planned must not hold up the others.
        if let Err(Stopped(why)) = fire_batch(context, batch, now).await {
            tracing::error!(batch = %id, why, "a batch whose time has come was not planned");
        }
    }
    for schedule in all {
        let Some((since, due_at)) = schedule.due(now.wall) else { continue };
        let id = schedule.id.clone();
        if let Err(Stopped(why)) = fire_schedule(context, schedule, since, due_at, now).await {
            tracing::error!(schedule = %id, why, "a schedule did not fire");
        }
    }
    Ok(())
}

fn ids(context: &Context, count: usize, now: Now) -> Vec<PayoutId> {
    (0..count).map(|_| PayoutId::new(context.store.entropy.uuid(now.wall.0))).collect()
}

async fn fire_batch(context: &Context, batch: Batch, now: Now) -> Result<(), Stopped> {
    let paying = paying(context);
    let earned = {
        let core = context.store.read()?;
        let short = short_of(&core, &paying, &batch.waiting)?;
        Earned::of(&core, &context.store.hot.read()?, &short)?
    };
    let (ids, seq, this) = (ids(context, batch.waiting.len(), now), batch.seq, context.clone());
    let fired = context.store.write_money(move |tx| {
        // Called off, or planned, meanwhile.
        let Some(batch) = batches::by_seq(tx, seq)?.filter(Batch::is_queued) else { return Ok(None) };
        earned.post(tx, now)?;
        let source = Source::Batch { batch: batch.id.clone(), by: batch.by.clone() };
        let batch = planning::fire(plans(&this, &paying, now), tx, batch, &ids, &source)?;
        let remark = format!("{} planned, {} left out", batch.count, batch.left_out.len());
        audit::append(tx, Draft::new(now, Actor::System, "payout_batch.plan", batch.id.to_string()).because(remark))?;
        Ok(Some(batch))
    });
    if let Some(batch) = fired.await? {
        publish(context, &batch)?;
    }
    Ok(())
}

async fn fire_schedule(context: &Context, schedule: PayoutSchedule, since: Timestamp, due_at: Timestamp, now: Now) -> Result<(), Stopped> {
    // Whom it pays depends on the fee; it stays due.
    if !matches!(schedule.whom, Whom::Listed(_)) && !wallet::is_known(context).await? {
        return Ok(());
    }
    let paying = paying(context);
    let (wishes, mut left_out, note, earned) = {
        let core = context.store.read()?;
        let hot = context.store.hot.read()?;
        let (mut wishes, mut left_out, mut note) = (Vec::new(), Vec::new(), None);
        let of: Option<Vec<Node>> = match &schedule.whom {
            Whom::Listed(listed) => {
                wishes.clone_from(listed);
                None
            }
            Whom::AllDue => Some(nodes::all(&core)?),
            Whom::Pool(id) => match pools::by_id(&core, id)? {
                Some(pool) => Some(nodes::all(&core)?.into_iter().filter(|node| *node.pool.latest() == Some(pool.index)).collect()),
                None => {
                    note = Some("the pool is gone".to_owned());
                    None
                }
            },
        };
        if let Some(of) = of {
            let terms = Terms::Scheduled { least: schedule.min_amount.unwrap_or(paying.rules.threshold) };
            let book = paying.book(Currency::Usdt);
            let due = planning::due(plans(context, &paying, now), &core, &hot, of, book, terms)?;
            wishes.extend(due.pays.into_iter().map(|(node, amount)| wish(&schedule, node, amount)));
            left_out.extend(due.skipped.into_iter().filter_map(|(node, skip)| {
                let skip = skip?;
                Some(LeftOut { node: node.id, why: skip.name().to_owned(), text: skip.to_string() })
            }));
        }
        let too_many = wishes.split_off(wishes.len().min(MAX_REQUESTS));
        left_out.extend(too_many.into_iter().map(|wish| LeftOut {
            node: wish.node,
            why: "batch_full".into(),
            text: "one run pays a thousand nodes; the next one pays it".into(),
        }));
        let short = short_of(&core, &paying, &wishes)?;
        (wishes, left_out, note, Earned::of(&core, &hot, &short)?)
    };
    let (ids, this) = (ids(context, wishes.len(), now), context.clone());
    left_out.sort_by(|a, b| a.node.cmp(&b.node));
    let fired = context.store.write_money(move |tx| {
        // Changed, deleted or fired meanwhile.
        if schedules::by_id(tx, &schedule.id)?.as_ref() != Some(&schedule) {
            return Ok(None);
        }
        let mut run = Run {
            number: schedule.runs + 1,
            due_at,
            since,
            fired_at: now.wall,
            batch: None,
            planned: 0,
            left_out: left_out.clone(),
            left_out_count: 0,
            note: note.clone(),
        };
        let mut made = None;
        if let Some(id) = schedule.batch_of(due_at).filter(|_| !wishes.is_empty()) {
            earned.post(tx, now)?;
            let fresh = NewBatch {
                id,
                content: content(&wishes, schedule.priority, Some(due_at), None),
                by: schedule.by.clone(),
                settlement: paying.by.settlement,
                priority: schedule.priority,
                made_at: now.wall,
                scheduled_at: Some(due_at),
                waiting: wishes.clone(),
            };
            let batch = Batch { seq: batches::next_seq(tx)?, schedule: Some(schedule.id.clone()), ..Batch::new(fresh) };
            let source = Source::Schedule { schedule: schedule.id.clone(), by: schedule.by.clone() };
            let batch = planning::fire(plans(&this, &paying, now), tx, batch, &ids, &source)?;
            run.batch = Some(batch.id.clone());
            run.planned = batch.count;
            run.left_out.extend(batch.left_out.iter().cloned());
            made = Some(batch);
        }
        run.left_out_count = u32::try_from(run.left_out.len()).unwrap_or(u32::MAX);
        run.left_out.truncate(MAX_LEFT_OUT);
        schedules::fired(tx, &schedule, &run)?;
        let remark = format!("for {}: {} planned, {} left out", due_at.rfc3339(), run.planned, run.left_out_count);
        audit::append(tx, Draft::new(now, Actor::System, "payout_schedule.fire", schedule.id.to_string()).because(remark))?;
        Ok(made)
    });
    if let Some(batch) = fired.await? {
        publish(context, &batch)?;
    }
    Ok(())
}

fn wish(schedule: &PayoutSchedule, node: Node, amount: Units) -> Wish {
    Wish { node: node.id, amount, currency: Currency::Usdt, address: None, priority: schedule.priority }
}

fn publish(context: &Context, batch: &Batch) -> Result<(), Stopped> {
    let read = context.store.read()?;
    for payout in batches::payouts_of(&read, batch)? {
        context.events.publish(&Event::Payout { payout_id: payout.id });
    }
    context.nudges.nudge(Job::Outbox);
    Ok(())
}
