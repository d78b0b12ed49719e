//! Suspensions of nodes. What counts is the node's eligibility by slot, which evidence follows; a row beside it says why, and what became of appeals. Both change in
//! one transaction. What the node earned before stays owed and is paid: payouts have a hold of their own.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::SUSPENSIONS;
use super::{alerts, audit, final_payouts, maintenance, node_events, nodes, people};
use crate::domain::alert::Severity;
use crate::domain::audit::{Act, Actor};
use crate::domain::ids::{AlertId, NodeId, NodeIndex};
use crate::domain::maintenance::next_slot;
use crate::domain::node::{Eligible, Node};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::refusal::Refusal;
use crate::domain::registration::change_from_next_slot;
use crate::domain::suspension::{APPEALED, Decision, Lifted, MAX_KEPT, Suspension};
use crate::domain::user::{Role, User};
use crate::storage::directory::Directory;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// With its number, which counts from 1 within the node.
pub type Numbered = (u64, Suspension);

/// Of one node in the order of their begin, at most `MAX_KEPT`.
pub fn of_node(read: &impl Read, node: NodeIndex) -> Result<Vec<Numbered>, Fault> {
    let mut rows = Vec::new();
    read.for_each(SUSPENSIONS, (node.0, 0)..=(node.0, u64::MAX), |(_, number), row| {
        rows.push((number, row));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// The suspension that is in force.
pub fn open(read: &impl Read, node: NodeIndex) -> Result<Option<Numbered>, Fault> {
    Ok(of_node(read, node)?.pop().filter(|(_, row)| row.is_open()))
}

/// Takes the node out of service from the next slot. Maintenance that goes on ends and what is planned is called off: a suspended node needs none.
pub fn suspend(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    id: &NodeId,
    (reason, evidence): (&str, Option<&AlertId>),
) -> Result<(Node, Numbered), TxError> {
    let before = nodes::require(tx, id)?;
    let next = next_slot(act.now)?;
    match before.eligible_in(next) {
        Eligible::Suspended => return Err(Refusal::NodeSuspended.into()),
        Eligible::Draining => return Err(Refusal::NodeLeaving.into()),
        Eligible::InService | Eligible::Maintenance => (),
    }
    if let Some(evidence) = evidence {
        alerts::by_id(tx, evidence)?.filter(|alert| alert.subject == id.as_str()).ok_or(Refusal::AlertNotFound)?;
    }
    let mut node = before.clone();
    maintenance::call_off_all(tx, act, &mut node)?;
    change_from_next_slot(&mut node.eligible, Eligible::Suspended, node.enrolled_from.is_some(), act.now)?;
    nodes::replace(tx, directory, act, &before, &mut node)?;
    let kept = of_node(tx, node.index)?;
    for (number, _) in kept.iter().take((kept.len() + 1).saturating_sub(MAX_KEPT)) {
        tx.delete(SUSPENSIONS, &(node.index.0, *number))?;
    }
    let number = kept.last().map_or(1, |(number, _)| number + 1);
    let row = Suspension {
        from: next,
        at: act.now.wall,
        by: act.actor.clone(),
        reason: reason.to_owned(),
        evidence: evidence.cloned(),
        appeals: Vec::new(),
        lifted: None,
    };
    let told = Told { kind: Kind::Suspended, operation: "node.suspend", words: reason };
    record(tx, act, &node, (number, row), &told).map(|row| (node, row))
}

/// Back into service from the next slot. An appeal that waits is decided by it.
pub fn lift(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, reason: &str) -> Result<(Node, Numbered), TxError> {
    end(tx, directory, act, id, reason, "node.unsuspend")
}

/// The operator says why the suspension is wrong.
pub fn appeal(tx: &mut WriteTx<'_>, act: &Act, id: &NodeId, text: &str) -> Result<Numbered, TxError> {
    let node = nodes::require(tx, id)?;
    let (number, mut row) = open(tx, node.index)?.ok_or(Refusal::NotSuspended)?;
    row.appeal(act.now.wall, act.actor.clone(), text.to_owned())?;
    let message = format!("an appeal against the suspension of {} waits for a decision", node.name);
    alerts::raise(tx, APPEALED, id.as_str(), Severity::Warning, &message, act.now.wall)?;
    record(tx, act, &node, (number, row), &Told { kind: Kind::Appealed, operation: "node.appeal", words: text })
}

/// The suspension stands; or it is lifted, for the same reason.
pub fn decide(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    id: &NodeId,
    (upheld, reason): (bool, &str),
) -> Result<(Node, Numbered), TxError> {
    let node = nodes::require(tx, id)?;
    let (number, mut row) = open(tx, node.index)?.ok_or(Refusal::NotSuspended)?;
    if !upheld {
        row.open_appeal().ok_or(Refusal::AppealNotFound)?;
        return end(tx, directory, act, id, reason, "node.appeal.lift");
    }
    let decision = Decision { upheld, at: act.now.wall, by: act.actor.clone(), reason: reason.to_owned() };
    row.decide(decision, has_other_admin(tx, &act.actor)?)?;
    alerts::resolve(tx, APPEALED, id.as_str(), act.now.wall)?;
    let told = Told { kind: Kind::AppealUpheld, operation: "node.appeal.uphold", words: reason };
    record(tx, act, &node, (number, row), &told).map(|row| (node, row))
}

fn end(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    id: &NodeId,
    reason: &str,
    operation: &'static str,
) -> Result<(Node, Numbered), TxError> {
    let before = nodes::require(tx, id)?;
    let (number, mut row) = open(tx, before.index)?.ok_or(Refusal::NotSuspended)?;
    let from = next_slot(act.now)?;
    let mut node = before.clone();
    // One that leaves does not come back into service.
    let leaves = final_payouts::of_node(tx, node.index)?.is_some();
    let to = if leaves { Eligible::Draining } else { Eligible::InService };
    change_from_next_slot(&mut node.eligible, to, node.enrolled_from.is_some(), act.now)?;
    nodes::replace(tx, directory, act, &before, &mut node)?;
    if row.open_appeal().is_some() {
        row.decide(Decision { upheld: false, at: act.now.wall, by: act.actor.clone(), reason: reason.to_owned() }, false)?;
        alerts::resolve(tx, APPEALED, id.as_str(), act.now.wall)?;
    }
    row.lifted = Some(Lifted { from, at: act.now.wall, by: act.actor.clone(), reason: reason.to_owned() });
    let told = Told { kind: Kind::SuspensionLifted, operation, words: reason };
    record(tx, act, &node, (number, row), &told).map(|row| (node, row))
}

/// Somebody other than `actor` could decide. A program is its maker's, so only people count.
fn has_other_admin(read: &impl Read, actor: &Actor) -> Result<bool, Fault> {
    let able = |user: &User| user.role >= Role::Admin && !user.disabled && *actor != Actor::User(user.id.to_string());
    Ok(people::users(read)?.iter().any(able))
}

/// How a step is told.
struct Told<'a> {
    kind: Kind,
    operation: &'static str,
    words: &'a str,
}

fn record(tx: &mut WriteTx<'_>, act: &Act, node: &Node, (number, row): Numbered, told: &Told<'_>) -> Result<Numbered, TxError> {
    tx.put(SUSPENSIONS, &(node.index.0, number), &row)?;
    node_events::append(tx, node.index, NodeEvent::by(act, told.kind, Some(told.words.to_owned())))?;
    audit::append(tx, act.draft(told.operation, node.id.as_str()).because(number.to_string()).detailed(told.words))?;
    Ok((number, row))
}

/// The node is gone.
pub(super) fn forget(tx: &mut WriteTx<'_>, node: &Node, act: &Act) -> Result<(), TxError> {
    for (number, _) in of_node(tx, node.index)? {
        tx.delete(SUSPENSIONS, &(node.index.0, number))?;
    }
    alerts::resolve(tx, APPEALED, node.id.as_str(), act.now.wall).map(drop)
}

/// Its operator is erased, and with them what people wrote.
pub(super) fn silence(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<(), TxError> {
    for (number, row) in of_node(tx, node)? {
        tx.put(SUSPENSIONS, &(node.0, number), &row.without_words())?;
    }
    Ok(())
}

/// A node is suspended exactly when its newest suspension is open, and older ones are over; the number of rows, or what is wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let mut known = 0;
    for node in nodes::all(read)? {
        let rows = of_node(read, node.index)?;
        let open = rows.iter().filter(|(_, row)| row.is_open()).count();
        let newest_is_open = rows.last().is_some_and(|(_, row)| row.is_open());
        let is_suspended = *node.eligible.latest() == Eligible::Suspended;
        if newest_is_open != is_suspended || open != usize::from(is_suspended) {
            return Ok(Err(format!("{} and its suspensions do not say the same", node.id)));
        }
        known += u64::try_from(rows.len()).unwrap_or(u64::MAX);
    }
    let all = read.count(SUSPENSIONS)?;
    Ok(if all == known { Ok(all) } else { Err("there are suspensions of nodes that are not there".into()) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, at, new_node, node_id};
    use super::*;
    use crate::domain::ids::UserId;
    use crate::domain::maintenance::{Asked, Origin};
    use crate::domain::node::MAX_NODES;

    fn fixture() -> Fixture {
        let f = Fixture::new();
        f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(1), &new_node("one", None), MAX_NODES)).unwrap();
        f
    }

    fn by(name: &str, seconds: i64) -> Act {
        Act { actor: Actor::User(name.into()), ..Act::system(at(seconds)) }
    }

    fn put_in(f: &Fixture, seconds: i64) -> Result<u64, Refusal> {
        f.write(move |tx, d| suspend(tx, d, &by("user_boss", seconds), &node_id(1), ("it cheats", None)).map(|(_, (number, _))| number))
    }

    fn stands(f: &Fixture, seconds: i64) -> Eligible {
        let read = f.store.read().unwrap();
        assert!(verify(&read).unwrap().is_ok());
        nodes::by_id(&read, &node_id(1)).unwrap().unwrap().eligible_in(at(seconds).wall.slot())
    }

    #[test]
    fn a_suspension_begins_and_ends_once() {
        let f = fixture();
        let asked = Asked { from: None, slots: Some(10), origin: Origin::Planned, at_once: false };
        f.write(move |tx, d| maintenance::plan(tx, d, &act(), &node_id(1), &asked)).unwrap();
        assert_eq!(put_in(&f, 60), Ok(1));
        assert_eq!(stands(&f, 7_200), Eligible::Suspended, "planned maintenance is called off");
        let entries = f.audited();
        assert_eq!(put_in(&f, 90), Err(Refusal::NodeSuspended));
        let asked = Asked { from: None, slots: Some(10), origin: Origin::Planned, at_once: true };
        assert_eq!(f.write(move |tx, d| maintenance::plan(tx, d, &act(), &node_id(1), &asked)).unwrap_err(), Refusal::NodeSuspended);
        assert_eq!(f.audited(), entries);
        let out = move |f: &Fixture, seconds| f.write(move |tx, d| lift(tx, d, &by("user_boss", seconds), &node_id(1), "an error"));
        out(&f, 120).unwrap();
        assert_eq!(stands(&f, 180), Eligible::InService);
        assert_eq!(out(&f, 150).unwrap_err(), Refusal::NotSuspended);
        for n in 0..30 {
            put_in(&f, 1_000 + 60 * n).unwrap();
            out(&f, 1_030 + 60 * n).unwrap();
        }
        let rows = of_node(&f.store.read().unwrap(), NodeIndex(0)).unwrap();
        assert_eq!((rows.len(), rows[0].0, rows[MAX_KEPT - 1].0), (MAX_KEPT, 12, 31));
    }

    #[test]
    fn evidence_is_an_alert_about_the_node() {
        let f = fixture();
        let id = |n: u32| AlertId::parse(&format!("alert_{n:010}")).unwrap();
        f.write(|tx, _| {
            alerts::raise(tx, "k", "node_other", Severity::Warning, "m", at(0).wall)?;
            alerts::raise(tx, "k", node_id(1).as_str(), Severity::Warning, "m", at(0).wall)
        })
        .unwrap();
        let with =
            |alert: AlertId| f.write(move |tx, d| suspend(tx, d, &act(), &node_id(1), ("it cheats", Some(&alert))).map(|(_, row)| row));
        assert_eq!(with(id(1)).unwrap_err(), Refusal::AlertNotFound);
        assert_eq!(with(id(9)).unwrap_err(), Refusal::AlertNotFound);
        assert_eq!(with(id(2)).unwrap().1.evidence, Some(id(2)));
    }

    #[test]
    fn an_appeal_is_decided_by_somebody_else_and_words_can_go() {
        let f = fixture();
        let say = || f.write(|tx, _| appeal(tx, &by("user_operator", 90), &node_id(1), "marked: the switch was broken"));
        assert_eq!(say().unwrap_err(), Refusal::NotSuspended);
        put_in(&f, 60).unwrap();
        say().unwrap();
        assert_eq!(say().unwrap_err(), Refusal::AppealOpen);
        assert!(alerts::is_open(&f.store.read().unwrap(), APPEALED, "node_000001").unwrap());
        let judge = |who: &'static str, upheld| f.write(move |tx, d| decide(tx, d, &by(who, 120), &node_id(1), (upheld, "marked")));
        // Nobody else could.
        assert_eq!(judge("user_boss", true).unwrap().1.1.open_appeal(), None);
        assert!(!alerts::is_open(&f.store.read().unwrap(), APPEALED, "node_000001").unwrap());
        assert_eq!(judge("user_boss", false).unwrap_err(), Refusal::AppealNotFound);
        say().unwrap();
        f.write(|tx, _| {
            let id = UserId::parse("user_second_admin").unwrap();
            let (created_at, updated_at) = (at(0).wall, at(0).wall);
            let password = crate::domain::user::PasswordHash { salt: [0; 16], hash: [1; 32] };
            let (username, role) = ("second".to_owned(), Role::Admin);
            let user = User { id, username, role, password, disabled: false, second_factor: None, created_at, updated_at };
            crate::storage::core::people::create(tx, &user, &act())
        })
        .unwrap();
        assert_eq!(judge("user_boss", true).unwrap_err(), Refusal::OwnSuspension);
        judge("user_boss", false).unwrap();
        assert_eq!(stands(&f, 180), Eligible::InService);
        f.write(|tx, _| silence(tx, NodeIndex(0))).unwrap();
        assert!(!format!("{:?}", of_node(&f.store.read().unwrap(), NodeIndex(0)).unwrap()).contains("marked"));
    }
}
