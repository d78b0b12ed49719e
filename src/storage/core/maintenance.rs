//! Maintenance periods of nodes. What counts is the node's eligibility by slot, which evidence follows; a row beside it says who asked for a period and
//! how it ended. Both change in one transaction.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::MAINTENANCE;
use super::{audit, node_events, nodes};
use crate::domain::audit::Act;
use crate::domain::ids::{NodeId, NodeIndex};
use crate::domain::maintenance::{Asked, MAX_KEPT, MAX_PLANNED, MaintenancePeriod, Origin, SLOTS_PER_MINUTE, State, TOO_MANY, next_slot};
use crate::domain::node::{Eligible, Node};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::refusal::Refusal;
use crate::domain::registration::StatusChange;
use crate::domain::time::Slot;
use crate::storage::directory::Directory;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// With its number, which counts from 1 within the node.
pub type Numbered = (u64, MaintenancePeriod);

/// Of one node in the order they were asked for, at most `MAX_KEPT` of them.
pub fn of_node(read: &impl Read, node: NodeIndex) -> Result<Vec<Numbered>, Fault> {
    let mut periods = Vec::new();
    read.for_each(MAINTENANCE, (node.0, 0)..=(node.0, u64::MAX), |(_, number), period| {
        periods.push((number, period));
        ControlFlow::Continue(())
    })?;
    Ok(periods)
}

/// Plans a period of a node.
pub fn plan(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, asked: &Asked) -> Result<(Node, Numbered), TxError> {
    let before = nodes::require(tx, id)?;
    let mut node = before.clone();
    let planned = add(tx, act, &mut node, asked)?;
    nodes::replace(tx, directory, act, &before, &mut node)?;
    audit::append(tx, act.draft("node.maintenance.plan", id.as_str()).because(remark(&planned)))?;
    Ok((node, planned))
}

/// Ends the period that goes on, or calls off one that has not begun.
pub fn end(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, number: u64) -> Result<(Node, Numbered), TxError> {
    let before = nodes::require(tx, id)?;
    let period = tx.get(MAINTENANCE, &(before.index.0, number))?.ok_or(Refusal::MaintenanceNotFound)?;
    let next = next_slot(act.now)?;
    let operation = match period.state(next) {
        State::Planned => "node.maintenance.cancel",
        State::InForce => "node.maintenance.end",
        State::Over | State::CalledOff => return Err(Refusal::MaintenanceOver.into()),
    };
    let mut node = before.clone();
    let ended = take_back(tx, act, &mut node, next, (number, period))?;
    nodes::replace(tx, directory, act, &before, &mut node)?;
    audit::append(tx, act.draft(operation, id.as_str()).because(remark(&ended)))?;
    Ok((node, ended))
}

fn remark((number, period): &Numbered) -> String {
    format!("{number}: {}", period.words())
}

/// Ends the maintenance of a node that goes on, or calls off the next one. Whether its workload is wanted running stays as it is.
pub fn end_next(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId) -> Result<Node, TxError> {
    let before = nodes::require(tx, id)?;
    let next = next_slot(act.now)?;
    let periods = of_node(tx, before.index)?;
    let open = periods.into_iter().filter(|(_, period)| matches!(period.state(next), State::InForce | State::Planned));
    if let Some((number, _)) = open.min_by_key(|(_, period)| period.from) {
        return Ok(end(tx, directory, act, id, number)?.0);
    }
    let mut node = before.clone();
    if !end_unrecorded(tx, act, &mut node, next)? {
        return Err(Refusal::Rule("NotInMaintenance", "the node is not in maintenance, and none is planned".into()).into());
    }
    nodes::replace(tx, directory, act, &before, &mut node)?;
    audit::append(tx, act.draft("node.maintenance.end", id.as_str()))?;
    Ok(node)
}

/// What a status that was set means for maintenance: `maintenance` begins one of the default length, `active` ends the one that goes on and takes back what the
/// status has planned, `inactive` ends the one that goes on. `node` is written by the caller, who refuses nothing afterwards.
pub(super) fn follow_status(tx: &mut WriteTx<'_>, act: &Act, node: &mut Node, status: StatusChange) -> Result<(), TxError> {
    let next = act.now.wall.slot().plus(1);
    let is_on = node.eligible_in(next) == Eligible::Maintenance;
    let at_once = match status {
        StatusChange::Maintenance { .. } if is_on => return Ok(()),
        StatusChange::Maintenance { at_once } => Some(at_once),
        StatusChange::Active | StatusChange::Inactive => None,
    };
    let periods = of_node(tx, node.index)?;
    let takes_back = |period: &MaintenancePeriod| match period.state(next) {
        State::InForce => at_once.is_none(),
        State::Planned => period.origin == Origin::Status && status != StatusChange::Inactive,
        State::Over | State::CalledOff => false,
    };
    let mut changed = node.clone();
    let gone: Vec<Numbered> = periods.into_iter().filter(|(_, period)| takes_back(period)).collect();
    if let Some(at_once) = at_once {
        // What is refused must leave everything as it was, and that includes the plan in whose place this one comes.
        for (_, period) in &gone {
            changed.without_maintenance(period.from.max(next), period.end());
        }
        changed.plan_maintenance(&Asked { from: None, slots: None, origin: Origin::Status, at_once }, act.now)?;
    } else if is_on || !gone.is_empty() {
        next_slot(act.now)?;
    }
    for period in gone {
        take_back(tx, act, node, next, period)?;
    }
    match at_once {
        Some(at_once) => {
            add(tx, act, node, &Asked { from: None, slots: None, origin: Origin::Status, at_once })?;
        }
        // One of a release that kept no periods.
        None if node.eligible_in(next) == Eligible::Maintenance => {
            end_unrecorded(tx, act, node, next)?;
        }
        None => (),
    }
    Ok(())
}

/// A node that leaves has no maintenance any more. Its eligibility is the caller's.
pub(super) fn call_off_all(tx: &mut WriteTx<'_>, act: &Act, node: &mut Node) -> Result<(), TxError> {
    let next = next_slot(act.now)?;
    for period in of_node(tx, node.index)? {
        if matches!(period.1.state(next), State::InForce | State::Planned) {
            take_back(tx, act, node, next, period)?;
        }
    }
    Ok(())
}

/// What the node's window had planned and its configuration does not ask for any more: as if it had never been.
pub fn withdraw(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, number: u64) -> Result<(), TxError> {
    let before = nodes::require(tx, id)?;
    let next = next_slot(act.now)?;
    let Some(period) = tx.get(MAINTENANCE, &(before.index.0, number))?.filter(|period| period.state(next) == State::Planned) else {
        return Ok(());
    };
    let mut node = before.clone();
    node.without_maintenance(period.from, period.until);
    tx.delete(MAINTENANCE, &(node.index.0, number))?;
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::MaintenanceSet, Some("called off".into())))?;
    nodes::replace(tx, directory, act, &before, &mut node)?;
    audit::append(tx, act.draft("node.maintenance.cancel", id.as_str()).because(remark(&(number, period))))
}

fn add(tx: &mut WriteTx<'_>, act: &Act, node: &mut Node, asked: &Asked) -> Result<Numbered, TxError> {
    let next = next_slot(act.now)?;
    let kept = of_node(tx, node.index)?;
    if kept.iter().filter(|(_, period)| period.state(next) == State::Planned).count() >= MAX_PLANNED {
        return Err(Refusal::Rule(TOO_MANY, format!("a node can have {MAX_PLANNED} planned maintenances at most")).into());
    }
    let (from, until) = node.plan_maintenance(asked, act.now)?;
    let period = MaintenancePeriod { from, until, origin: asked.origin, created_at: act.now.wall, by: act.actor.clone(), ended: None };
    // What was called off of the window must be remembered until its time, or it would be planned again.
    let past = kept.iter().filter(|(_, period)| period.until <= next || (period.ended.is_some() && period.origin != Origin::Window));
    for (number, _) in past.take((kept.len() + 1).saturating_sub(MAX_KEPT)) {
        tx.delete(MAINTENANCE, &(node.index.0, *number))?;
    }
    let number = kept.last().map_or(1, |(number, _)| number + 1);
    tx.put(MAINTENANCE, &(node.index.0, number), &period)?;
    let words = if from <= next { format!("from now until {}", until.start()) } else { period.words() };
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::MaintenanceSet, Some(words)))?;
    Ok((number, period))
}

fn take_back(tx: &mut WriteTx<'_>, act: &Act, node: &mut Node, next: Slot, (number, period): Numbered) -> Result<Numbered, TxError> {
    let ended = period.ended(next, act.now.wall, act.actor.clone()).ok_or(Refusal::MaintenanceOver)?;
    node.without_maintenance(period.from.max(next), period.until);
    tx.put(MAINTENANCE, &(node.index.0, number), &ended)?;
    let word = if ended.state(next) == State::CalledOff { "called off" } else { "ended" };
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::MaintenanceSet, Some(word.into())))?;
    Ok((number, ended))
}

/// Ends what no row tells of. False when there is nothing.
fn end_unrecorded(tx: &mut WriteTx<'_>, act: &Act, node: &mut Node, next: Slot) -> Result<bool, TxError> {
    let Some((from, until)) = node.maintenance_around(next) else { return Ok(false) };
    node.without_maintenance(from.unwrap_or(next), until.unwrap_or(Slot(u32::MAX)));
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::MaintenanceSet, Some("ended".into())))?;
    Ok(true)
}

/// Minutes of maintenance that an admin could begin at once.
pub fn minutes_left(node: &Node, next: Slot) -> u32 {
    node.maintenance_left(next, crate::domain::maintenance::MAINTENANCE_SLOTS) / SLOTS_PER_MINUTE
}

/// The node is gone.
pub(super) fn forget(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<(), TxError> {
    for (number, _) in of_node(tx, node)? {
        tx.delete(MAINTENANCE, &(node.0, number))?;
    }
    Ok(())
}

/// Every period decodes, and those of one node do not overlap; the number of them, or what is wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let mut taken: Vec<(u32, Slot, Slot)> = Vec::new();
    read.for_each(MAINTENANCE, .., |(node, _), period| {
        taken.push((node, period.from, period.end()));
        ControlFlow::Continue(())
    })?;
    let count = u64::try_from(taken.len()).unwrap_or(u64::MAX);
    taken.retain(|(_, from, end)| from < end);
    taken.sort_unstable();
    let overlap = taken.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2);
    Ok(overlap.map_or(Ok(count), |pair| Err(format!("node {} has maintenance twice at once", pair[0].0))))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, at, new_node, node_id};
    use super::*;
    use crate::domain::maintenance::{DEFAULT_SLOTS, USED_UP, slot_from};
    use crate::domain::node::MAX_NODES;
    use crate::domain::registration::NodeChange;

    const HOUR: i64 = 3_600;

    fn fixture() -> Fixture {
        let f = Fixture::new();
        f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(1), &new_node("one", None), MAX_NODES)).unwrap();
        f
    }

    fn by(seconds: i64) -> Act {
        Act::system(at(seconds))
    }

    fn ask(f: &Fixture, now: i64, from: i64, minutes: u32) -> Result<u64, Refusal> {
        let asked =
            Asked { from: Some(slot_from(at(from).wall)), slots: Some(minutes * SLOTS_PER_MINUTE), origin: Origin::Planned, at_once: true };
        f.write(move |tx, d| plan(tx, d, &by(now), &node_id(1), &asked)).map(|(_, (number, _))| number)
    }

    fn set(f: &Fixture, now: i64, status: StatusChange) -> Result<Node, Refusal> {
        let change = NodeChange { status: Some(status), ..NodeChange::default() };
        f.write(move |tx, d| nodes::update(tx, d, &by(now), &node_id(1), &change))
    }

    /// Number, and how it stands, of every period; the node's eligibility says the same as the rows.
    fn stand(f: &Fixture, now: i64) -> Vec<(u64, State)> {
        let (read, next) = (f.store.read().unwrap(), at(now).wall.slot().plus(1));
        let node = nodes::by_id(&read, &node_id(1)).unwrap().unwrap();
        let periods = of_node(&read, node.index).unwrap();
        let mut line = crate::domain::time::Timeline::new(Eligible::InService);
        periods.iter().for_each(|(_, p)| line.lay(p.from, p.end(), Eligible::Maintenance));
        assert_eq!(node.eligible.spans_of(&Eligible::Maintenance), line.spans_of(&Eligible::Maintenance));
        assert!(verify(&read).unwrap().is_ok());
        periods.into_iter().map(|(number, period)| (number, period.state(next))).collect()
    }

    const NOW: StatusChange = StatusChange::Maintenance { at_once: true };
    const AHEAD: StatusChange = StatusChange::Maintenance { at_once: false };
    const ACTIVE: StatusChange = StatusChange::Active;

    #[test]
    fn periods_are_planned_ended_and_called_off_each_by_itself() {
        let f = fixture();
        assert_eq!((ask(&f, 0, 2 * HOUR, 60), ask(&f, 0, 5 * HOUR, 60)), (Ok(1), Ok(2)));
        let entries = f.audited();
        assert_eq!(ask(&f, 0, 2 * HOUR + 1_800, 60), Err(Refusal::MaintenanceOverlaps));
        let finish = |now, number| f.write(move |tx, d| end(tx, d, &by(now), &node_id(1), number)).map(|(_, (number, _))| number);
        assert_eq!(finish(0, 3), Err(Refusal::MaintenanceNotFound));
        assert_eq!(f.audited(), entries, "what was refused left nothing");
        assert_eq!(finish(2 * HOUR + 60, 1), Ok(1));
        assert_eq!(stand(&f, 2 * HOUR + 60), [(1, State::Over), (2, State::Planned)]);
        assert_eq!(finish(2 * HOUR + 60, 1), Err(Refusal::MaintenanceOver));
        assert_eq!(finish(3 * HOUR, 2), Ok(2));
        assert_eq!(stand(&f, 3 * HOUR), [(1, State::Over), (2, State::CalledOff)]);
        assert_eq!(finish(3 * HOUR, 2), Err(Refusal::MaintenanceOver));
        assert_eq!(f.audited(), entries + 2);
    }

    #[test]
    fn the_status_issues_a_period_and_takes_back_its_own_only() {
        let f = fixture();
        ask(&f, 0, 20 * HOUR, 60).unwrap();
        set(&f, 0, AHEAD).unwrap();
        assert_eq!(stand(&f, 0), [(1, State::Planned), (2, State::Planned)]);
        let node = set(&f, 0, NOW).unwrap();
        let next = at(0).wall.slot().plus(1);
        assert_eq!(
            node.maintenance_around(next),
            Some((None, Some(next.plus(DEFAULT_SLOTS)))),
            "it takes the place of what the status planned"
        );
        assert_eq!(stand(&f, 0), [(1, State::Planned), (2, State::CalledOff), (3, State::InForce)]);
        set(&f, 600, NOW).unwrap();
        assert_eq!(stand(&f, 600).len(), 3, "it goes on already");
        set(&f, 600, StatusChange::Inactive).unwrap();
        assert_eq!(stand(&f, 600), [(1, State::Planned), (2, State::CalledOff), (3, State::Over)]);
        set(&f, 600, AHEAD).unwrap();
        set(&f, 630, ACTIVE).unwrap();
        assert_eq!(stand(&f, 630).last(), Some(&(4, State::CalledOff)));
        assert_eq!(stand(&f, 20 * HOUR)[0], (1, State::InForce), "a period that someone planned stays");
        set(&f, 20 * HOUR, ACTIVE).unwrap();
        assert_eq!(stand(&f, 20 * HOUR)[0], (1, State::Over));
    }

    #[test]
    fn a_status_that_is_refused_keeps_the_plan_in_whose_place_it_would_come() {
        let f = fixture();
        ask(&f, 0, 24 * HOUR, 450).unwrap();
        set(&f, 0, AHEAD).unwrap();
        assert_eq!(stand(&f, 0), [(1, State::Planned), (2, State::Planned)]);
        f.write(|tx, d| end(tx, d, &by(60), &node_id(1), 1)).unwrap();
        ask(&f, 60, 24 * HOUR, 450).unwrap();
        let before = stand(&f, 60);
        let untrusted = Act::system(crate::domain::time::Now { trusted: false, ..at(60) });
        let change = NodeChange { status: Some(NOW), ..NodeChange::default() };
        let refused = f.write(move |tx, d| nodes::update(tx, d, &untrusted, &node_id(1), &change));
        assert_eq!(refused.unwrap_err(), Refusal::ClockUntrusted);
        assert_eq!(stand(&f, 60), before);
        // The half hour that is left is what the status gets.
        let node = set(&f, 60, NOW).unwrap();
        let next = at(60).wall.slot().plus(1);
        assert_eq!(node.maintenance_around(next).unwrap().1, Some(next.plus(60)));
        set(&f, 3 * HOUR, ACTIVE).unwrap();
        assert_eq!(set(&f, 3 * HOUR, NOW).unwrap_err().name(), USED_UP);
    }

    #[test]
    fn the_next_one_is_ended_and_one_that_no_row_tells_of_too() {
        let f = fixture();
        let finish = |now| f.write(move |tx, d| end_next(tx, d, &by(now), &node_id(1)));
        assert_eq!(finish(0).unwrap_err().name(), "NotInMaintenance");
        ask(&f, 0, 9 * HOUR, 60).unwrap();
        ask(&f, 0, 3 * HOUR, 60).unwrap();
        finish(0).unwrap();
        assert_eq!(stand(&f, 0), [(1, State::Planned), (2, State::CalledOff)]);
        finish(9 * HOUR + 60).unwrap();
        assert_eq!(stand(&f, 9 * HOUR + 60)[0], (1, State::Over));
        // As a release without periods has left it.
        for status in [None, Some(ACTIVE)] {
            f.write(|tx, d| {
                let before = nodes::require(tx, &node_id(1))?;
                let mut node = before.clone();
                node.eligible.lay(at(12 * HOUR).wall.slot(), at(14 * HOUR).wall.slot(), Eligible::Maintenance);
                nodes::replace(tx, d, &act(), &before, &mut node)
            })
            .unwrap();
            let node = status.map_or_else(|| finish(13 * HOUR), |status| set(&f, 13 * HOUR, status)).unwrap();
            assert_eq!(node.maintenance_around(at(13 * HOUR).wall.slot().plus(1)), None);
        }
    }

    #[test]
    fn old_rows_make_room_and_a_window_that_was_called_off_is_remembered() {
        let f = fixture();
        let window = Asked { from: Some(at(2_000 * HOUR).wall.slot()), slots: Some(2), origin: Origin::Window, at_once: false };
        f.write(move |tx, d| {
            let (_, (number, _)) = plan(tx, d, &act(), &node_id(1), &window)?;
            end(tx, d, &act(), &node_id(1), number)
        })
        .unwrap();
        for n in 0..i64::try_from(MAX_KEPT).unwrap() + 5 {
            ask(&f, n * HOUR, n * HOUR + 60, 1).unwrap();
        }
        let kept = of_node(&f.store.read().unwrap(), nodes::by_id(&f.store.read().unwrap(), &node_id(1)).unwrap().unwrap().index).unwrap();
        assert_eq!((kept.len(), kept[0].0, kept[1].0), (MAX_KEPT, 1, 8));
        let now = 300 * HOUR;
        for n in 0..i64::try_from(MAX_PLANNED).unwrap() {
            ask(&f, now, now + HOUR * (n + 1), 1).unwrap();
        }
        assert_eq!(ask(&f, now, now + 500 * HOUR, 1).unwrap_err().name(), TOO_MANY);
    }
}
