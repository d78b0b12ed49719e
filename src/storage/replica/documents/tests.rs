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
    let bytes = |line: &str| (0..line.len() / 2).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<u8>>();
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
