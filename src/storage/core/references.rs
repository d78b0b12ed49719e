//! Whether tables that name each other's rows say the same: what verbs keep true in one transaction, looked at from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::ControlFlow;

use super::nodes::name_key;
use super::subject_keys;
use super::tables::{
    ALERTS, ALLOCATIONS, ENROLMENT_USES, MEMBERSHIPS, NODE_IDS, NODE_KEYS, NODE_NAMES, NODE_THRESHOLDS, NODES, OPEN_ALERTS, ORDERS,
    POOL_IDS, POOL_THRESHOLDS, POOLS, RETIRED_NODES, RETIRED_POOLS, SESSIONS, USER_NAMES, USERS,
};
use crate::domain::node::Node;
use crate::domain::pool::Pool;
use crate::domain::user::username_key;
use crate::storage::fault::Fault;
use crate::storage::table::{Key, Read, Record, Table};

/// All rows of a table; those who ask know that there are few.
fn rows<K: Key, V: Record>(read: &impl Read, table: Table<K, V>) -> Result<Vec<(K, V)>, Fault> {
    read.scan(table, .., usize::MAX)
}

fn keys<K: Key, V: Record>(read: &impl Read, table: Table<K, V>) -> Result<Vec<K>, Fault> {
    let mut keys = Vec::new();
    read.for_each(table, .., |key, _| {
        keys.push(key);
        ControlFlow::Continue(())
    })?;
    Ok(keys)
}

fn dangling(table: &str, key: impl Display, lacking: &str) -> Result<u64, String> {
    Err(format!("{key} in {table} names {lacking} that is not there"))
}

/// Nodes, pools, their names and keys, and what was set for them; how many of both there are.
pub fn verify_fleet(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let nodes: BTreeMap<u32, Node> = rows(read, NODES)?.into_iter().collect();
    let retired: BTreeMap<u32, Node> = rows(read, RETIRED_NODES)?.into_iter().collect();
    let pools: BTreeMap<u32, Pool> = rows(read, POOLS)?.into_iter().collect();
    let retired_pools: BTreeMap<u32, Pool> = rows(read, RETIRED_POOLS)?.into_iter().collect();
    for (id, index) in rows(read, NODE_IDS)? {
        let named = nodes.get(&index.0).or_else(|| retired.get(&index.0));
        if named.is_none_or(|node| node.id.as_str() != id) {
            return Ok(dangling(NODE_IDS.name, id, "a node"));
        }
    }
    for (id, index) in rows(read, POOL_IDS)? {
        let named = pools.get(&index.0).or_else(|| retired_pools.get(&index.0));
        if named.is_none_or(|pool| pool.id.as_str() != id) {
            return Ok(dangling(POOL_IDS.name, id, "a pool"));
        }
    }
    let mut with_key = 0;
    for (index, node) in &nodes {
        let id = &node.id;
        if read.get(NODE_IDS, &id.to_string())?.is_none_or(|found| found.0 != *index) {
            return Ok(Err(format!("{id} is not found by its id")));
        }
        if node.pool_now().is_some_and(|pool| !pools.contains_key(&pool.0)) {
            return Ok(Err(format!("{id} is in a pool that is not there")));
        }
        if read.get(NODE_NAMES, &name_key(node.pool_now(), &node.name))?.is_none_or(|found| found.0 != *index) {
            return Ok(Err(format!("{id} is not found by its name")));
        }
        if let Some(identity) = &node.identity {
            with_key += 1;
            if read.get(NODE_KEYS, &identity.key.0)?.is_none_or(|found| found.0 != *index) {
                return Ok(Err(format!("{id} is not found by the key of its agent")));
            }
        }
    }
    if let Some(pool) = pools.values().find(|pool| !matches!(read.get(POOL_IDS, &pool.id.to_string()), Ok(Some(_)))) {
        return Ok(Err(format!("{} is not found by its id", pool.id)));
    }
    let of_nobody = "belongs to a node that is not there";
    for (table, count, wanted) in
        [(NODE_NAMES.name, read.count(NODE_NAMES)?, nodes.len() as u64), (NODE_KEYS.name, read.count(NODE_KEYS)?, with_key)]
    {
        if count != wanted {
            return Ok(Err(format!("a row of {table} {of_nobody}")));
        }
    }
    let set_for_nodes = [
        (MEMBERSHIPS.name, keys(read, MEMBERSHIPS)?),
        (NODE_THRESHOLDS.name, keys(read, NODE_THRESHOLDS)?),
        (ORDERS.name, keys(read, ORDERS)?),
        (ALLOCATIONS.name, keys(read, ALLOCATIONS)?.into_iter().map(|(node, _)| node).collect()),
    ];
    for (table, of) in set_for_nodes {
        if of.iter().any(|node| !nodes.contains_key(node)) {
            return Ok(Err(format!("a row of {table} {of_nobody}")));
        }
    }
    // Earlier releases left those of deleted pools.
    if keys(read, POOL_THRESHOLDS)?.iter().any(|pool| !pools.contains_key(pool) && !retired_pools.contains_key(pool)) {
        return Ok(Err(format!("a row of {} belongs to a pool that is not there", POOL_THRESHOLDS.name)));
    }
    for ((token, _), node) in rows(read, ENROLMENT_USES)? {
        if read.get(NODE_IDS, &node.to_string())?.is_none() {
            return Ok(dangling(ENROLMENT_USES.name, token, "a node"));
        }
    }
    Ok(Ok((nodes.len() + retired.len() + pools.len() + retired_pools.len()) as u64))
}

/// People, their names and their sessions; how many rows.
pub fn verify_people(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let users = rows(read, USERS)?;
    for (id, user) in &users {
        let named = read.get(USER_NAMES, &username_key(&user.username))?;
        // The name that stands for somebody who was erased may be another person's.
        let is_named = named.as_ref() == Some(&user.id) || subject_keys::is_erased(read, id)?;
        if user.id.as_str() != id || !is_named {
            return Ok(Err(format!("{id} is not found by the name of the person")));
        }
    }
    let known: BTreeSet<&str> = users.iter().map(|(id, _)| id.as_str()).collect();
    if rows(read, USER_NAMES)?.iter().any(|(_, id)| !known.contains(id.as_str())) {
        return Ok(Err("there is a name of a person who is not there".into()));
    }
    let sessions = rows(read, SESSIONS)?;
    if sessions.iter().any(|(_, session)| !known.contains(session.user.as_str())) {
        return Ok(Err("there is a session of a person who is not there".into()));
    }
    Ok(Ok((users.len() + sessions.len()) as u64))
}

/// Each alert that is not over is the open one of its kind, subject and topic; how many alerts there are.
pub fn verify_alerts(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let (mut alerts, mut open) = (0, BTreeSet::new());
    read.for_each(ALERTS, .., |seq, alert| {
        alerts += 1;
        if alert.resolved_at.is_none() {
            open.insert(seq);
        }
        ControlFlow::Continue(())
    })?;
    let listed: BTreeSet<u64> = rows(read, OPEN_ALERTS)?.into_iter().map(|(_, seq)| seq.0).collect();
    if let Some(seq) = open.symmetric_difference(&listed).next() {
        return Ok(Err(format!("alert {seq} is open, and is not in the list of open ones, or the other way round")));
    }
    Ok(if read.count(OPEN_ALERTS)? == listed.len() as u64 { Ok(alerts) } else { Err("an open alert is listed twice".into()) })
}

#[cfg(test)]
mod tests {
    use super::super::tables::{Index, Index64};
    use super::super::testing::{Fixture, act, at, new_node, new_pool, node_id, pool_id};
    use super::super::{alerts, memberships, nodes, people, pools};
    use super::*;
    use crate::domain::alert::Severity;
    use crate::domain::ids::{NodeId, NodeIndex, UserId};
    use crate::domain::user::{PasswordHash, Role, User};
    use crate::storage::fault::TxError;
    use crate::storage::table::WriteTx;

    fn user() -> User {
        User {
            id: UserId::parse("user_0123456789").unwrap(),
            username: "Ada".into(),
            role: Role::SuperAdmin,
            password: PasswordHash { salt: [0; 16], hash: [0; 32] },
            disabled: false,
            created_at: at(0).wall,
            updated_at: at(0).wall,
            second_factor: None,
        }
    }

    /// A node in a pool, one that was deleted, a person, an alert that is open and one that is over.
    fn world() -> Fixture {
        let f = Fixture::new();
        f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("one", 5))).unwrap();
        for n in 1..=2 {
            let new = new_node(&format!("node-{n}"), Some(pool_id(1)));
            f.write(move |tx, directory| nodes::create(tx, directory, &act(), &node_id(n), &new, 10)).unwrap();
        }
        f.write(|tx, directory| nodes::delete(tx, directory, &act(), &node_id(2), false)).unwrap();
        f.write(|tx, _| memberships::set(tx, NodeIndex(index(tx, 1)), 7)).unwrap();
        f.write(|tx, _| people::create_first(tx, &user(), &act())).unwrap();
        f.write(|tx, _| alerts::raise(tx, "clock_untrusted", "", Severity::Warning, "a", at(0).wall)).unwrap();
        f.write(|tx, _| alerts::raise(tx, "books_unbalanced", "", Severity::Warning, "b", at(0).wall)).unwrap();
        f.write(|tx, _| alerts::resolve(tx, "books_unbalanced", "", at(1).wall)).unwrap();
        f
    }

    fn index(read: &impl Read, n: u32) -> u32 {
        read.get(NODE_IDS, &node_id(n).to_string()).unwrap().unwrap().0
    }

    fn wrong(f: &Fixture) -> Vec<String> {
        let read = f.store.read().unwrap();
        [verify_fleet(&read), verify_people(&read), verify_alerts(&read)].into_iter().filter_map(|found| found.unwrap().err()).collect()
    }

    type Damage = fn(&mut WriteTx<'_>) -> Result<(), TxError>;

    fn gone<K: Key, V: Record>(tx: &mut WriteTx<'_>, table: Table<K, V>, key: K) -> Result<(), TxError> {
        assert!(tx.delete(table, &key)?);
        Ok(())
    }

    const DAMAGES: &[(Damage, &str)] = &[
        (|tx| gone(tx, NODE_IDS, node_id(1).to_string()), "node_000001 is not found by its id"),
        (|tx| tx.put(NODE_IDS, &node_id(7).to_string(), &Index(index(tx, 1))), "in node_ids names a node"),
        (|tx| tx.put(POOL_IDS, &"pool_x".to_owned(), &Index(77)), "pool_x in pool_ids names a pool"),
        (|tx| gone(tx, POOL_IDS, pool_id(1).to_string()), "is not found by its id"),
        (
            |tx| {
                let row = tx.scan(NODE_NAMES, .., 1)?.remove(0).0;
                gone(tx, NODE_NAMES, row)
            },
            "is not found by its name",
        ),
        (|tx| tx.put(NODE_NAMES, &(3, "x".to_owned()), &Index(index(tx, 1))), "a row of node_names belongs to a node that is not there"),
        (|tx| tx.put(NODE_KEYS, &[7; 32], &Index(index(tx, 1))), "a row of node_keys belongs to a node that is not there"),
        (|tx| memberships::set(tx, NodeIndex(99), 9), "a row of memberships belongs to a node that is not there"),
        (|tx| tx.put(POOL_THRESHOLDS, &99, &Default::default()), "belongs to a pool that is not there"),
        (
            |tx| {
                let pool = tx.scan(POOLS, .., 9)?.into_iter().find(|(_, pool)| pool.id == pool_id(1)).unwrap().0;
                gone(tx, POOLS, pool)
            },
            "in pool_ids names a pool",
        ),
        (
            |tx| tx.put(ENROLMENT_USES, &("token".to_owned(), [1; 32]), &NodeId::parse("node_nobody").unwrap()),
            "in enrolment_uses names a node",
        ),
        (|tx| gone(tx, USER_NAMES, "ada".to_owned()), "user_0123456789 is not found by the name"),
        (|tx| tx.put(USER_NAMES, &"eve".to_owned(), &UserId::parse("user_nobody").unwrap()), "a name of a person who is not there"),
        (|tx| gone(tx, OPEN_ALERTS, "clock_untrusted ".to_owned()), "alert 1 is open"),
        (|tx| tx.put(OPEN_ALERTS, &"books_unbalanced ".to_owned(), &Index64(2)), "alert 2 is open"),
        (|tx| tx.put(OPEN_ALERTS, &"another ".to_owned(), &Index64(1)), "an open alert is listed twice"),
    ];

    #[test]
    fn a_name_that_leads_nowhere_is_found() {
        let f = world();
        assert_eq!(wrong(&f), Vec::<String>::new());
        for (damage, told) in DAMAGES {
            let f = world();
            f.store.core.write_now(*damage).unwrap();
            let wrong = wrong(&f);
            assert!(wrong.len() == 1 && wrong[0].contains(told), "{told}: {wrong:?}");
        }
    }
}
