//! One action on many nodes, in one transaction. A node that refuses does not stop the others.

use std::sync::Arc;

use super::{commands, maintenance, nodes};
use crate::domain::audit::Act;
use crate::domain::command;
use crate::domain::ids::NodeId;
use crate::domain::node::Node;
use crate::domain::refusal::Refusal;
use crate::domain::registration::{NodeChange, StatusChange};
use crate::storage::directory::Directory;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::WriteTx;

/// Nodes of one action, at most.
pub const MAX_NODES: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Stop,
    Maintenance,
    EndMaintenance,
}

/// What became of each node, in the order of `ids`. Verbs refuse before they write, so what a node refused left nothing behind.
pub fn apply(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    ids: &[NodeId],
    action: Action,
    by_admin: bool,
) -> Result<Vec<Result<Node, Refusal>>, Fault> {
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in ids {
        match one(tx, directory, act, id, action, by_admin) {
            Ok(node) => outcomes.push(Ok(node)),
            Err(TxError::Refused(refusal)) => outcomes.push(Err(refusal)),
            Err(TxError::Fault(fault)) => return Err(fault),
        }
    }
    Ok(outcomes)
}

fn one(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, action: Action, by_admin: bool) -> Result<Node, TxError> {
    let status = match action {
        Action::Start => return Ok(commands::ask(tx, directory, act, id, command::Action::Start, false)?.0),
        Action::Stop => return Ok(commands::ask(tx, directory, act, id, command::Action::Stop, false)?.0),
        Action::Maintenance => StatusChange::Maintenance { at_once: by_admin },
        Action::EndMaintenance => return maintenance::end_next(tx, directory, act, id),
    };
    nodes::update(tx, directory, act, id, &NodeChange { status: Some(status), ..NodeChange::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::{Eligible, MAX_NODES as FLEET, Wanted};
    use crate::storage::core::testing::{Fixture, act, at, new_node, node_id};

    fn run(f: &Fixture, numbers: &[u32], action: Action) -> Vec<Result<Node, Refusal>> {
        let ids: Vec<NodeId> = numbers.iter().map(|n| node_id(*n)).collect();
        f.write(move |tx, d| Ok(apply(tx, d, &act(), &ids, action, true)?)).unwrap()
    }

    #[test]
    fn a_node_that_refuses_does_not_stop_the_others() {
        let f = Fixture::new();
        for n in 1..4 {
            f.write(move |tx, d| nodes::create(tx, d, &act(), &node_id(n), &new_node(&format!("node-{n}"), None), FLEET)).unwrap();
        }
        let entries = f.audited();
        let outcomes = run(&f, &[1, 9, 2], Action::Stop);
        assert_eq!(
            outcomes.iter().map(|o| o.as_ref().map(|n| n.wanted)).collect::<Vec<_>>(),
            [Ok(Wanted::Stopped), Err(&Refusal::NodeNotFound), Ok(Wanted::Stopped)]
        );
        assert_eq!(f.audited(), entries + 2, "each change has its entry, what was refused has none");
        assert_eq!(nodes::by_id(&f.store.read().unwrap(), &node_id(3)).unwrap().unwrap().wanted, Wanted::Running);
    }

    #[test]
    fn the_end_of_maintenance_starts_no_stopped_node() {
        let f = Fixture::new();
        for n in 1..3 {
            f.write(move |tx, d| nodes::create(tx, d, &act(), &node_id(n), &new_node(&format!("node-{n}"), None), FLEET)).unwrap();
        }
        run(&f, &[1, 2], Action::Maintenance);
        f.write(|tx, d| {
            let before = nodes::require(tx, &node_id(2))?;
            let mut node = before.clone();
            node.wanted = Wanted::Stopped;
            nodes::replace(tx, d, &act(), &before, &mut node)
        })
        .unwrap();
        let next = at(0).wall.slot().plus(1);
        for (outcome, wanted) in run(&f, &[1, 2], Action::EndMaintenance).into_iter().zip([Wanted::Running, Wanted::Stopped]) {
            let node = outcome.unwrap();
            assert_eq!((node.eligible_in(next), node.wanted), (Eligible::InService, wanted));
        }
        assert_eq!(run(&f, &[1], Action::EndMaintenance)[0].as_ref().unwrap_err().name(), "NotInMaintenance");
    }
}
