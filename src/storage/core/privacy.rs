//! Erasing people and operators of nodes, in one transaction each. What was written about them in the audit log goes with their key; the chain, the
//! ledger and the payouts stay as they are.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::{
    ALERTS, IDEMPOTENCY_KEYS, Index, KNOWN_NETWORKS, NODE_EVENTS, NODE_IDS, NODE_NAMES, NODES, PAYOUT_ADDRESSES, RETIRED_NODES, USER_NAMES,
    USERS,
};
use super::{api_tokens, audit, enrolment_requests, nodes, payouts, people, subject_keys, suspensions};
use crate::domain::alert::Alert;
use crate::domain::audit::Act;
use crate::domain::idempotency::{Outcome, Remembered};
use crate::domain::ids::{NodeId, NodeIndex, UserId};
use crate::domain::ledger::{Book, Settlement};
use crate::domain::money::Currency;
use crate::domain::node::Node;
use crate::domain::privacy::{tombstone, without_operator, without_words};
use crate::domain::refusal::Refusal;
use crate::domain::user::username_key;
use crate::storage::directory::{self, Directory};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Replaces the account with a tombstone, ends what it is signed in with, and destroys its key. People who were removed before can be erased too:
/// the log still names them.
pub fn erase_person(tx: &mut WriteTx<'_>, id: &UserId, act: &Act, reason: &str) -> Result<(), TxError> {
    if subject_keys::is_erased(tx, id.as_str())? {
        return Err(Refusal::AlreadyErased.into());
    }
    match people::user(tx, id)? {
        Some(user) => {
            if people::is_last_super_admin(tx, id)? {
                return Err(Refusal::LastSuperAdmin.into());
            }
            let left = tombstone(&user, act.now.wall);
            tx.delete(USER_NAMES, &username_key(&user.username))?;
            // The name may have been taken on purpose; then the tombstone is found by its id only.
            if tx.get(USER_NAMES, &left.username)?.is_none() {
                tx.put(USER_NAMES, &left.username, id)?;
            }
            tx.put(USERS, &id.to_string(), &left)?;
            tx.delete(KNOWN_NETWORKS, &id.to_string())?;
            people::end_sessions(tx, |_, session| session.user == *id)?;
            api_tokens::end_of(tx, id, act)?;
        }
        None if !subject_keys::is_known(tx, id.as_str())? => return Err(Refusal::UserNotFound.into()),
        None => (),
    }
    forget_answers(tx)?;
    subject_keys::erase(tx, id.as_str(), act.now.wall)?;
    audit::append(tx, act.draft("privacy.erase", id.as_str()).detailed(reason))
}

/// Destroys the key of somebody whom only the API gateway knows (`Secrets::vouched_id`): there is nothing else of theirs.
pub fn erase_vouched(tx: &mut WriteTx<'_>, id: &str, act: &Act, reason: &str) -> Result<(), TxError> {
    if subject_keys::is_erased(tx, id)? {
        return Err(Refusal::AlreadyErased.into());
    }
    if !subject_keys::is_known(tx, id)? {
        return Err(Refusal::UserNotFound.into());
    }
    forget_answers(tx)?;
    subject_keys::erase(tx, id, act.now.wall)?;
    audit::append(tx, act.draft("privacy.erase", id).detailed(reason))
}

/// Answers that are kept for requests sent again may name whom was erased, and are sealed as a whole: they go, and their keys stay used.
fn forget_answers(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    let mut answered = Vec::new();
    tx.for_each(IDEMPOTENCY_KEYS, .., |key, remembered| {
        if matches!(remembered.outcome, Outcome::Answered { .. }) {
            answered.push((key, remembered));
        }
        ControlFlow::Continue(())
    })?;
    for (key, remembered) in answered {
        let outcome = Outcome::NotKept("answers were forgotten with somebody who was erased".into());
        tx.put(IDEMPOTENCY_KEYS, &key, &Remembered { outcome, ..remembered })?;
    }
    Ok(())
}

/// The node of this id, deleted or not.
pub fn node_ever(read: &impl Read, id: &NodeId) -> Result<Option<Node>, Fault> {
    match read.get(NODE_IDS, &id.as_str().to_owned())? {
        Some(Index(index)) => nodes::ever(read, NodeIndex(index)),
        None => Ok(None),
    }
}

/// Takes the operator out of a node: see `domain::privacy`. Its payout address goes; without one nothing more is paid, and a payout that is under way must
/// end first. Payouts that were made keep the address they went to: it is the record of money, and public on its chain.
pub fn erase_operator(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, id: &NodeId, act: &Act, reason: &str) -> Result<(), TxError> {
    let before = node_ever(tx, id)?.ok_or(Refusal::NodeNotFound)?;
    if subject_keys::is_erased(tx, id.as_str())? {
        return Err(Refusal::AlreadyErased.into());
    }
    for settlement in [Settlement::Live, Settlement::Simulated] {
        for currency in [Currency::Usdt, Currency::Lucid] {
            if payouts::unresolved(tx, before.index, Book { settlement, currency })?.is_some() {
                return Err(Refusal::Rule("PayoutUnderWay", "a payout to the node is under way; it must end first".into()).into());
            }
        }
    }
    let mut left = without_operator(&before, act.now.wall);
    if nodes::by_index(tx, before.index)?.is_some() {
        // Somebody may have given another node this very name.
        let name = left.name.clone();
        for number in 2.. {
            let named = tx.get(NODE_NAMES, &nodes::name_key(left.pool_now(), &left.name))?;
            if named.is_none_or(|named| named.0 == left.index.0) {
                break;
            }
            left.name = format!("{name}-{number}");
        }
        tx.delete(NODE_NAMES, &nodes::name_key(before.pool_now(), &before.name))?;
        tx.put(NODE_NAMES, &nodes::name_key(left.pool_now(), &left.name), &Index(left.index.0))?;
        tx.put(NODES, &left.index.0, &left)?;
        directory::follow(tx, directory, &left)?;
    } else {
        tx.put(RETIRED_NODES, &left.index.0, &left)?;
    }
    tx.delete(PAYOUT_ADDRESSES, &left.index.0)?;
    if let Some(identity) = &before.identity {
        enrolment_requests::forget(tx, &identity.key)?;
    }
    silence_words(tx, &left)?;
    suspensions::silence(tx, left.index)?;
    forget_answers(tx)?;
    subject_keys::erase(tx, id.as_str(), act.now.wall)?;
    audit::append(tx, act.draft("privacy.erase", id.as_str()).detailed(reason))
}

/// Events and alerts say names in words.
fn silence_words(tx: &mut WriteTx<'_>, node: &Node) -> Result<(), TxError> {
    let (mut events, mut alerts) = (Vec::new(), Vec::new());
    tx.for_each(NODE_EVENTS, (node.index.0, 0)..=(node.index.0, u64::MAX), |key, event| {
        events.push((key, event));
        ControlFlow::Continue(())
    })?;
    for (key, event) in events {
        tx.put(NODE_EVENTS, &key, &without_words(event))?;
    }
    tx.for_each(ALERTS, .., |seq, alert| {
        if alert.subject == node.id.as_str() {
            alerts.push((seq, alert));
        }
        ControlFlow::Continue(())
    })?;
    for (seq, alert) in alerts {
        let message = format!("{} (its words were erased)", alert.kind);
        tx.put(ALERTS, &seq, &Alert { message, ..alert })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::{AddressRecord, PayoutAddress};
    use crate::domain::audit::{Actor, Seed};
    use crate::domain::ledger::{Account, Cause, Entry, Line};
    use crate::domain::money::Units;
    use crate::domain::node::{Coordinates, Identity, Location};
    use crate::domain::session::{Carrier, Session};
    use crate::domain::user::{PasswordHash, Role, User};
    use crate::storage::core::ledger;
    use crate::storage::core::payouts::SealedAddress;
    use crate::storage::core::tables::SESSIONS;
    use crate::storage::core::testing::{Fixture, at, fingerprint, hardware, key, new_node, node_id};
    use crate::storage::verify::verify;

    /// Everything personal in these tests carries it.
    const MARK: &str = "marked";

    fn act_of(id: &str) -> Act {
        let personal = |what: &str| Some(format!("{MARK}-{what}"));
        Act {
            actor: Actor::User(id.into()),
            address: personal("address"),
            user_agent: personal("agent"),
            seed: Seed(Some([9; 32])),
            ..Act::system(at(0))
        }
    }

    fn person(id: &UserId, role: Role) -> User {
        let password = PasswordHash { salt: [0; 16], hash: [1; 32] };
        let (created_at, updated_at) = (at(0).wall, at(0).wall);
        let username = format!("{MARK}-{}", role.as_str());
        User { id: id.clone(), username, role, password, disabled: false, second_factor: None, created_at, updated_at }
    }

    fn good(fixture: &Fixture) -> bool {
        verify(&fixture.store).iter().all(|finding| finding.wrong.is_none())
    }

    /// Places of the mark in the file after its pages were packed by writing every table anew: what a compacted file or a copy made afterwards holds.
    fn marks_when_packed(fixture: &Fixture) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy.redb");
        let tables = crate::storage::core::tables::ALL;
        let target = redb::Database::create(&copy).unwrap();
        let transaction = target.begin_write().unwrap();
        let read = fixture.store.read().unwrap();
        for name in tables {
            let raw: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(name);
            let mut table = transaction.open_table(raw).unwrap();
            let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let visit = |source: &dyn crate::storage::table::RawTable| {
                source.walk_bytes(everything.clone(), false, &mut |key, value| {
                    table.insert(key, value).unwrap();
                    Ok(ControlFlow::Continue(()))
                })
            };
            read.with(name, visit).unwrap();
        }
        transaction.commit().unwrap();
        drop(target);
        std::fs::read(&copy).unwrap().windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count()
    }

    #[test]
    fn a_person_goes_and_the_log_stands() {
        let fixture = Fixture::new();
        let (root, bob) = (UserId::parse("user_root").unwrap(), UserId::parse("user_bob").unwrap());
        for (id, role) in [(&root, Role::SuperAdmin), (&bob, Role::Operator)] {
            let user = person(id, role);
            fixture.write(move |tx, _| people::create(tx, &user, &Act::system(at(0)))).unwrap();
        }
        let who = bob.clone();
        let answered = Remembered {
            outcome: Outcome::Answered { status: 201, content_type: None, sealed: b"marked".to_vec() },
            ..Remembered::committed([0; 32], at(0).wall)
        };
        let session = Session { address: Some(format!("{MARK}-address")), ..Session::new(bob.clone(), Carrier::Cookie, at(0).wall) };
        fixture
            .write(move |tx, _| {
                tx.put(SESSIONS, &[1; 32], &session)?;
                tx.put(IDEMPOTENCY_KEYS, &[2; 32], &answered)?;
                audit::append(tx, act_of(who.as_str()).draft("node.update", "node_a").detailed(format!("{MARK}-details")))
            })
            .unwrap();
        assert_eq!(marks_when_packed(&fixture), 6, "two names, each of them a key too, a session and an answer");
        let erase = |id: &UserId| {
            let id = id.clone();
            fixture.write(move |tx, _| erase_person(tx, &id, &Act::system(at(1)), "asked for it"))
        };
        let entries = fixture.audited();
        assert_eq!(erase(&root), Err(Refusal::LastSuperAdmin));
        assert_eq!(erase(&UserId::parse("user_nobody").unwrap()), Err(Refusal::UserNotFound));
        assert_eq!(fixture.audited(), entries);
        erase(&bob).unwrap();
        assert_eq!(erase(&bob), Err(Refusal::AlreadyErased));
        assert!(good(&fixture));
        let left = people::user(&fixture.store.read().unwrap(), &bob).unwrap().unwrap();
        assert_eq!((left.username.as_str(), left.disabled), ("erased-bob", true));
        assert_eq!(fixture.store.read().unwrap().count(SESSIONS), Ok(0));
        assert_eq!(marks_when_packed(&fixture), 2, "the name of the one who stays");
    }

    #[test]
    fn a_removed_person_can_still_be_erased() {
        let fixture = Fixture::new();
        let id = UserId::parse("user_gone").unwrap();
        fixture.write(|tx, _| audit::append(tx, act_of("user_gone").draft("node.update", "node_a"))).unwrap();
        let gone = id.clone();
        fixture.write(move |tx, _| erase_person(tx, &gone, &Act::system(at(1)), "asked for it")).unwrap();
        assert!(subject_keys::is_erased(&fixture.store.read().unwrap(), id.as_str()).unwrap() && good(&fixture));
    }

    #[test]
    fn an_operator_goes_and_the_ledger_stands() {
        let fixture = Fixture::new();
        let id = node_id(1);
        let made = id.clone();
        let node = fixture.write(move |tx, directory| {
            nodes::create(tx, directory, &act_of("user_root"), &made, &new_node(&format!("{MARK}-pi"), None), 10)
        });
        let index = node.unwrap().index;
        let address = PayoutAddress::parse("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", Currency::Usdt).unwrap();
        let record = AddressRecord::register(None, address, at(0), 0);
        let sealed = SealedAddress::seal(&fixture.store.secrets, &fixture.store.entropy, index, &record).unwrap();
        let book = Book { settlement: Settlement::Simulated, currency: Currency::Usdt };
        let changed = id.clone();
        fixture
            .write(move |tx, directory| {
                let mut node = nodes::require(tx, &changed)?;
                let mark = |what: &str| Some(format!("{MARK}-{what}"));
                let mut machine = hardware();
                machine.network[0].mac_address = mark("mac");
                node.hardware = Some(machine);
                let coordinates = Some(Coordinates { latitude: 1.5, longitude: 2.5 });
                let country = Some("DE".to_owned());
                node.location = Some(Location { country, region: mark("region"), city: mark("city"), coordinates, timezone: None });
                node.identity = Some(Identity { key: key(1), fingerprint: fingerprint(1), drift: None, enrolled_at: at(0).wall });
                tx.put(NODES, &node.index.0, &node)?;
                tx.put(super::super::tables::NODE_KEYS, &key(1).0, &Index(node.index.0))?;
                directory::follow(tx, directory, &node)?;
                crate::storage::core::alerts::raise(
                    tx,
                    "test",
                    changed.as_str(),
                    crate::domain::alert::Severity::Info,
                    &format!("{MARK}-pi is ill"),
                    at(0).wall,
                )?;
                payouts::put_address(tx, node.index, &sealed)?;
                let lines = [(Account::Adjustment, Units(-5)), (Account::NodePayable(node.index), Units(5))];
                let lines = lines.map(|(account, amount)| Line { account, amount }).to_vec();
                let cause = Cause::Adjustment {
                    node: node.index,
                    reason: "test".into(),
                    by: UserId::parse("user_root").map_err(|_| Refusal::UserNotFound)?,
                };
                ledger::post(tx, Entry { book, cause, lines }, at(0))
            })
            .unwrap();
        assert!(marks_when_packed(&fixture) > 4);
        let balances = || ledger::balances(&fixture.store.read().unwrap()).unwrap();
        let before = balances();
        let erase = || {
            let id = id.clone();
            fixture.write(move |tx, directory| erase_operator(tx, directory, &id, &Act::system(at(1)), "asked for it"))
        };
        erase().unwrap();
        assert_eq!(erase(), Err(Refusal::AlreadyErased));
        let read = fixture.store.read().unwrap();
        let left = nodes::by_id(&read, &id).unwrap().unwrap();
        assert_eq!((left.name.as_str(), left.location.unwrap().country.as_deref()), ("erased-0", Some("DE")));
        let fingerprint = left.identity.unwrap().fingerprint;
        assert!(fingerprint.board_serial.is_none() && fingerprint.macs.is_none() && fingerprint.machine_id.is_none());
        assert_eq!(payouts::address(&read, &fixture.store.secrets, index).unwrap(), None);
        assert_eq!((balances(), good(&fixture)), (before, true));
        assert_eq!(marks_when_packed(&fixture), 0);
        let unknown = node_id(2);
        let none = fixture.write(move |tx, directory| erase_operator(tx, directory, &unknown, &Act::system(at(1)), "asked for it"));
        assert_eq!(none, Err(Refusal::NodeNotFound));
    }
}
