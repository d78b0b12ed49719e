//! Makes documents of rows: what a restore puts back, and beside it what people and the fleet's pages read.

use super::catalog::Listed;
use crate::domain::node::Node;
use crate::domain::payout::Payout;
use crate::domain::pool::Pool;
use crate::domain::replica::{Document, Fields, NotPlain, Rev, Value};
use crate::domain::user::{PasswordHash, User};
use crate::storage::core::{pools, tables};
use crate::storage::fault::Fault;
use crate::storage::table::{Read, decode, encode};

/// Of rows that nobody reads but a restore.
const RECORDS: &str = "manager_records";

/// The collection of a table.
pub fn collection(table: &str) -> &'static str {
    match table {
        table if table == tables::NODES.name => "nodes",
        table if table == tables::POOLS.name => "node_pools",
        table if table == tables::PAYOUTS.name => "payouts",
        _ => RECORDS,
    }
}

/// The document of a row as it is now; one without a record where there is no such row.
pub fn document(read: &impl Read, listed: &Listed, key: &[u8], rev: Rev) -> Result<Document, Fault> {
    let mut stored = None;
    read.with(listed.table, |raw| {
        raw.look(key, &mut |bytes| {
            stored = Some(bytes.to_vec());
            Ok(())
        })
    })?;
    of_row(read, listed, key, stored, rev)
}

/// The same of a row that was read.
pub fn of_row(read: &impl Read, listed: &Listed, key: &[u8], stored: Option<Vec<u8>>, rev: Rev) -> Result<Document, Fault> {
    let (fields, record) = match stored {
        Some(bytes) => shown(read, listed.table, key, bytes)?,
        None => (Fields::new(), None),
    };
    Ok(Document { collection: collection(listed.table), table: listed.table, key: key.to_vec(), rev, fields, record })
}

/// What is readable of a row, and its bytes without what never leaves.
fn shown(read: &impl Read, table: &'static str, key: &[u8], bytes: Vec<u8>) -> Result<(Fields, Option<Vec<u8>>), Fault> {
    let of = |why: String| Fault::Record { table, key: crate::crypto::hex(key), why };
    Ok(match table {
        table if table == tables::NODES.name => {
            let fields = node(read, &decode(&bytes).map_err(of)?)?;
            (fields, Some(bytes))
        }
        table if table == tables::POOLS.name => (pool(&decode(&bytes).map_err(of)?)?, Some(bytes)),
        table if table == tables::PAYOUTS.name => {
            let mut payout: Payout = decode(&bytes).map_err(of)?;
            // Whoever has a signed transfer can send it.
            payout.attempts.iter_mut().for_each(|attempt| attempt.prepared.bytes.clear());
            (Fields::new(), Some(encode(&payout)?))
        }
        table if table == tables::USERS.name => {
            let user: User = decode(&bytes).map_err(of)?;
            (Fields::new(), Some(encode(&without_secrets(user))?))
        }
        _ => (Fields::new(), Some(bytes)),
    })
}

/// Nobody signs in with it: who restores it sets a password at the console.
fn without_secrets(user: User) -> User {
    User { password: PasswordHash { salt: [0; 16], hash: [0; 32] }, second_factor: None, ..user }
}

fn plain(found: Result<Value, NotPlain>) -> Result<Value, Fault> {
    found.map_err(|why| Fault::Invariant(why.to_string()))
}

/// Seed 004, with what was wanted and allowed of the node instead of its status, which is no matter of the row.
fn node(read: &impl Read, node: &Node) -> Result<Fields, Fault> {
    let pool = node.pool_now().map(|pool| pools::by_index(read, pool)).transpose()?.flatten();
    Ok(vec![
        ("node_id", node.id.as_str().into()),
        ("name", node.name.as_str().into()),
        ("node_type", plain(Value::of(&node.node_type))?),
        ("pool_id", pool.map(|pool| pool.id.to_string()).into()),
        ("hardware_info", plain(Value::of(&node.hardware))?),
        ("location", plain(Value::of(&node.location))?),
        ("configuration", plain(Value::of(&node.configuration))?),
        ("wanted", plain(Value::of(&node.wanted))?),
        ("eligible", plain(Value::of(node.eligible.latest()))?),
        ("created_at", node.created_at.into()),
        ("updated_at", node.updated_at.into()),
    ])
}

fn pool(pool: &Pool) -> Result<Fields, Fault> {
    let price = *pool.pricing.latest();
    let money = |units: crate::domain::money::Units| Value::Decimal(units.to_decimal(price.currency));
    Ok(vec![
        ("pool_id", pool.id.as_str().into()),
        ("name", pool.name.as_str().into()),
        ("description", pool.description.as_str().into()),
        ("max_nodes", pool.max_nodes.into()),
        ("resource_limits", plain(Value::of(&pool.resource_limits))?),
        ("auto_scaling", pool.auto_scaling.into()),
        ("scaling_policy", plain(Value::of(&pool.scaling_policy))?),
        (
            "pricing",
            Value::Fields(vec![
                ("cost_per_hour", money(price.cost_per_hour)),
                ("reward_per_hour", money(price.reward_per_hour)),
                ("currency", price.currency.code().into()),
            ]),
        ),
        ("created_at", pool.created_at.into()),
        ("updated_at", pool.updated_at.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::core::testing::{Fixture, act, hardware, new_node, new_pool, node_id, pool_id};
    use crate::storage::core::{nodes, pools};
    use crate::storage::replica::catalog::CATALOG;
    use crate::storage::table::Record;

    fn listed(table: &str) -> &'static Listed {
        CATALOG.iter().find(|listed| listed.table == table).unwrap()
    }

    #[test]
    fn a_node_and_its_pool_read_like_the_seed_and_come_back_as_they_were() {
        let f = Fixture::new();
        f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("one", 5))).unwrap();
        let mut new = new_node("node-1", Some(pool_id(1)));
        new.hardware = Some(hardware());
        let node = f.write(move |tx, directory| nodes::create(tx, directory, &act(), &node_id(1), &new, 10)).unwrap();
        let read = f.store.read().unwrap();
        let found = document(&read, listed("nodes"), &node.index.0.to_be_bytes(), Rev(7)).unwrap();
        assert_eq!((found.collection, found.rev), ("nodes", Rev(7)));
        assert_eq!(decode::<Node>(found.record.as_ref().unwrap()), Ok(node));
        let field = |name: &str| found.fields.iter().find(|(field, _)| *field == name).unwrap().1.clone();
        assert_eq!((field("pool_id"), field("node_type")), (pool_id(1).to_string().into(), "worker".into()));
        let Value::Fields(hardware) = field("hardware_info") else { panic!("{found:?}") };
        let names: Vec<&str> = hardware.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["cpu", "memory", "storage", "gpu", "network"]);
        let gone = document(&read, listed("nodes"), &99_u32.to_be_bytes(), Rev(8)).unwrap();
        assert_eq!((gone.record, gone.fields), (None, Fields::new()));
    }

    /// Stored bytes of every kind there is.
    fn golden<V: Record>(file: &str) -> Vec<V> {
        let bytes =
            |line: &str| (0..line.len() / 2).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<u8>>();
        file.lines().filter(|line| !line.is_empty()).map(|line| decode(&bytes(line)).unwrap()).collect()
    }

    #[test]
    fn signed_transfers_and_what_signs_people_in_stay_here() {
        let f = Fixture::new();
        let read = f.store.read().unwrap();
        let sent = |table: &'static str, bytes: Vec<u8>| shown(&read, table, b"key", bytes).unwrap().1.unwrap();
        let payouts: Vec<Payout> = golden(include_str!("../../../data/golden/Payout.v2.hex"));
        assert!(payouts.iter().flat_map(|payout| &payout.attempts).any(|attempt| !attempt.prepared.bytes.is_empty()));
        for payout in payouts {
            let left: Payout = decode(&sent("payouts", encode(&payout).unwrap())).unwrap();
            assert!(left.attempts.iter().all(|attempt| attempt.prepared.bytes.is_empty()));
            assert_eq!((&left.id, left.amount, left.attempts.len()), (&payout.id, payout.amount, payout.attempts.len()));
        }
        let users: Vec<User> = golden(include_str!("../../../data/golden/User.v2.hex"));
        assert!(users.iter().any(|user| user.second_factor.is_some() && user.password.hash != [0; 32]));
        for user in users {
            let left: User = decode(&sent("users", encode(&user).unwrap())).unwrap();
            assert_eq!((left.password.hash, left.password.salt, left.second_factor), ([0; 32], [0; 16], None));
            assert_eq!((left.id, left.username, left.role), (user.id, user.username, user.role));
        }
    }
}
