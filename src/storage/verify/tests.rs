use super::super::testing::{NOW, options, store};
use super::*;
use crate::domain::address::PayoutAddress;
use crate::domain::audit::{Actor, Draft};
use crate::domain::batch::{Batch, NewBatch, Tally};
use crate::domain::ids::{BatchId, NodeIndex, PayoutId, ScheduleId, UserId};
use crate::domain::ledger::{Account, Book, Entry, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::node::Eligible;
use crate::domain::payout::{Priority, Source};
use crate::domain::payout_schedule::{PayoutSchedule, Rule, Run, Whom};
use crate::domain::time::{Slot, Timeline};
use crate::domain::webhook::Target;
use crate::storage::core::outbox::Outgoing;
use crate::storage::core::tables::Index64;
use crate::storage::core::testing::{Fixture, act, at, new_node, node_id};
use crate::storage::core::{batches, final_payouts, ledger, nodes, schedules};
use crate::storage::fault::TxError;
use crate::storage::planning::{self, Granted};
use crate::storage::table::{Table, WriteTx};

fn wrong_parts(store: &Store) -> Vec<String> {
    verify(store).into_iter().filter(|f| f.wrong.is_some()).map(|f| f.part).collect()
}

#[test]
fn a_good_store_has_no_wrong_part_and_a_cut_audit_log_is_found() {
    let (_dir, store) = store();
    for subject in ["a", "b", "c"] {
        store.core.write_now(move |tx| audit::append(tx, Draft::new(NOW, Actor::Console, "test.entry", subject))).unwrap();
    }
    assert_eq!(wrong_parts(&store), Vec::<&str>::new());
    let of_log = || verify(&store).into_iter().find(|found| found.part == "audit log").unwrap();
    assert_eq!(of_log(), Finding { part: "audit log".into(), records: 4, wrong: None, left_out: None });
    store.core.write_now(|tx| tx.delete(tables::AUDIT, &2).map(|_| ())).unwrap();
    assert_eq!(wrong_parts(&store), ["audit log"]);
    assert!(of_log().wrong.unwrap().contains("entry 2"));
}

/// A row that is none of any table's.
fn spoil(tx: &mut WriteTx<'_>, table: &'static str) -> Result<(), TxError> {
    tx.put(Table::<[u8; 3], Unknown>::new(table), &[255; 3], &Unknown(7))
}

/// Of a release that is yet to come.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Unknown(u64);
crate::record! { Unknown = 255 }

#[test]
fn a_record_of_any_table_that_does_not_decode_is_found() {
    for table in tables::ALL {
        let (_dir, store) = store();
        store.core.write_now(|tx| spoil(tx, table)).unwrap();
        let found = verify(&store).into_iter().find(|found| found.part == "records").unwrap();
        assert!(found.wrong.as_ref().is_some_and(|why| why.contains(table)), "{table}: {found:?}");
    }
}

#[test]
fn of_a_store_that_does_not_open_is_checked_what_can_be() {
    let (dir, store) = store();
    store.core.write_now(|tx| spoil(tx, tables::NODES.name)).unwrap();
    store.close();
    drop(store);
    let look = || verify_folder(&options(dir.path()), Entropy::new(), NOW, Depth::Full).unwrap();
    let wrong =
        |findings: &[Finding]| findings.iter().filter(|found| found.wrong.is_some()).map(|found| found.part.clone()).collect::<Vec<_>>();
    let findings = look();
    for part in ["opening", "records", "nodes and pools"] {
        assert!(wrong(&findings).contains(&part.to_owned()), "{part}: {findings:?}");
    }
    let good = |part: &str| findings.iter().any(|found| found.part == part && found.wrong.is_none());
    for part in ["audit log", "ledger", "people", "history of epochs", "archives", "measurements and evidence", "sealed weeks and months"] {
        assert!(good(part), "{part}: {findings:?}");
    }
    std::fs::write(options(dir.path()).dir.join("core.redb"), b"no database").unwrap();
    let findings = look();
    assert_eq!(wrong(&findings), ["opening", "core.redb"], "{findings:?}");
    assert!(findings.iter().any(|found| found.part == "measurements and evidence" && found.records > 0), "{findings:?}");
}

/// Copies the files of a store that is open: what a power cut leaves.
fn cut(store: &Store) -> tempfile::TempDir {
    let left = tempfile::tempdir().unwrap();
    for folder in ["", "cold"] {
        let to = options(left.path()).dir.join(folder);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(store.dir().join(folder)).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    left
}

#[test]
fn files_that_were_not_closed_are_not_called_damaged() {
    let (_dir, store) = store();
    let week = crate::domain::calendar::Week::of_file("raw-2026w40.redb").unwrap();
    store.cold.put_at_open(week, 1, 1, &[]).unwrap();
    let left = cut(&store);
    let dir = options(left.path()).dir;
    std::fs::write(dir.join("hot.redb"), [1; 9_000]).unwrap();
    let look = || verify_folder(&options(left.path()), Entropy::new(), NOW, Depth::Full).unwrap();
    let wrong =
        |findings: &[Finding]| findings.iter().filter(|found| found.wrong.is_some()).map(|found| found.part.clone()).collect::<Vec<_>>();
    let findings = look();
    assert_eq!(wrong(&findings), ["opening", "hot.redb"], "{findings:?}");
    // Nor does what is lacking keep the rest from being looked at.
    std::fs::remove_file(dir.join("secret.key")).unwrap();
    let findings = look();
    assert_eq!(wrong(&findings), ["opening", "hot.redb", "manager's key"], "{findings:?}");
    let audit = findings.iter().find(|found| found.part == "audit log").unwrap();
    assert!(audit.records > 0 && findings.iter().any(|found| found.left_out.as_ref().is_some_and(|what| what.contains("key"))));
}

#[test]
fn who_looks_at_a_store_makes_no_file_and_can_be_stopped() {
    let (dir, store) = store();
    let week = crate::domain::calendar::Week::of_file("raw-2026w40.redb").unwrap();
    store.cold.put_at_open(week, 1, 1, &[]).unwrap();
    let present = store.cold.present().unwrap();
    store.core.write_now(move |tx| cold_files::note(tx, &cold_files::difference(tx, &present)?, "", NOW)).unwrap();
    store.close();
    drop(store);
    let store = Store::open(&options(dir.path()), Entropy::new(), NOW).unwrap();
    let file = store.dir().join("cold/raw-2026w40.redb");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(wrong_parts(&store), ["files of measurements"]);
    store.cold.read(&[], (week.start(), week.end()), |_| true, |_, _| ()).unwrap();
    assert!(!file.exists());
    // What is no damage keeps no file from being read the next time.
    store.cold.put_at_open(week, 1, 1, &[]).unwrap();
    store.cold.note_damage_of("raw-2026w40.redb", Fault::Full);
    assert!(!store.cold.has_damaged() && store.cold.weeks() == [week]);
    store.cold.note_damage_of("raw-2026w40.redb", Fault::Damaged("torn".into()));
    assert!(store.cold.has_damaged() && store.cold.weeks().is_empty());
    let stopped = verify_while(&store, Depth::Full, &|| false);
    assert_eq!(stopped.iter().map(|found| found.part.as_str()).collect::<Vec<_>>().len(), verify(&store).len(), "each part is told");
}

#[test]
fn a_file_of_measurements_that_somebody_deleted_is_told() {
    let (_dir, store) = store();
    let name = "raw-2026w40.redb".to_owned();
    let cold = store.dir().join("cold");
    let take_stock = || {
        let present = store.cold.present().unwrap();
        store.core.write_now(move |tx| cold_files::note(tx, &cold_files::difference(tx, &present)?, "is gone", NOW)).unwrap();
    };
    let week = crate::domain::calendar::Week::of_file(&name).unwrap();
    store.cold.put_at_open(week, 1, 1, &[]).unwrap();
    take_stock();
    let found = || verify(&store).into_iter().find(|found| found.part == "files of measurements").unwrap();
    assert_eq!((found().records, found().wrong, found().left_out), (1, None, None));

    std::fs::remove_file(cold.join(&name)).unwrap();
    assert_eq!(found().wrong.as_deref(), Some("nothing says that raw-2026w40.redb should be gone"));
    // The manager misses it: it is told from then on, and is an alert.
    take_stock();
    let missed = found();
    assert_eq!((missed.wrong, missed.left_out.as_deref()), (None, Some("raw-2026w40.redb, missed since 2026-09-21T14:13:20Z")));
    let is_open = || crate::storage::core::alerts::is_open(&store.read().unwrap(), cold_files::LOST, &name).unwrap();
    assert!(is_open());
    assert_eq!(audit::page(&store.read().unwrap(), 0, 1).unwrap()[0].draft.operation, "storage.lost");

    // Another file of its name is not the one that was lost; that one goes as it should.
    store.cold.put_at_open(week, 1, 1, &[]).unwrap();
    take_stock();
    assert!(is_open() && found().left_out.is_some());
    assert_eq!((found().records, found().wrong), (1, None));
    let draft = Draft::new(NOW, Actor::System, "storage.expire", name.clone());
    store.core.write_now(move |tx| cold_files::expire(tx, draft.clone())).unwrap();
    store.remove(store.too_old(week.end(), Slot(0))[0]).unwrap();
    take_stock();
    assert_eq!((found().records, found().wrong), (0, None));
    let lost = cold_files::lost(&store.read().unwrap()).unwrap();
    let [(lost_name, identity, _)] = &lost[..] else { panic!("{lost:?}") };
    let (lost_name, identity) = (lost_name.clone(), *identity);
    assert!(lost_name == name && identity != 0);
    store.core.write_now(move |tx| cold_files::forget(tx, &lost_name, identity, NOW.wall)).unwrap();
    assert!(!is_open() && found().left_out.is_none());
}

const BOOK: Book = Book { settlement: Settlement::Simulated, currency: Currency::Usdt };
const AMOUNT: Units = Units(1_000_000);
const BATCH: u64 = 1;
const OF_SCHEDULE: u64 = 2;
const QUEUED: u64 = 3;

fn by() -> UserId {
    UserId::parse("user_0123456789").unwrap()
}

fn target() -> Target {
    Target { url: "https://a.example/hook".into(), origin: "https://a.example".into() }
}

fn schedule() -> PayoutSchedule {
    PayoutSchedule {
        id: ScheduleId::parse("schedule_0123456789").unwrap(),
        name: "daily".into(),
        rule: Rule::Cron { fields: "0 6 * * *".into(), time_zone: "Europe/Zurich".into() },
        whom: Whom::AllDue,
        min_amount: None,
        priority: Priority::Normal,
        enabled: true,
        by: by().to_string(),
        made_at: at(0).wall,
        updated_at: at(0).wall,
        revision: 1,
        fired_through: at(0).wall,
        runs: 0,
    }
}

fn batch(seq: u64, id: BatchId) -> Batch {
    let fresh = NewBatch {
        id,
        content: [0; 32],
        by: by().to_string(),
        settlement: Settlement::Simulated,
        priority: Priority::Normal,
        made_at: at(0).wall,
        scheduled_at: None,
        waiting: Vec::new(),
    };
    Batch { seq, notify: Some(target()), ..Batch::new(fresh) }
}

/// Plans payouts to these nodes, and the batch of them.
fn plan(tx: &mut WriteTx<'_>, batch: Batch, nodes: &[u32], source: &Source) -> Result<(), TxError> {
    let address = PayoutAddress::parse("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", Currency::Usdt).unwrap();
    let (mut granted, mut ids) = (Vec::new(), Vec::new());
    for node in nodes {
        let index = NodeIndex(*node);
        ledger::post(tx, Entry::adjustment(BOOK, index, AMOUNT, "a test".into(), by()).unwrap(), at(0))?;
        granted.push(Granted {
            node: index,
            book: BOOK,
            amount: AMOUNT,
            address: address.clone(),
            priority: Priority::Normal,
            free: AMOUNT,
        });
        ids.push(PayoutId::new(uuid::Uuid::from_u128(u128::from(batch.seq) << 64 | u128::from(*node))));
    }
    let first = planning::reserve(tx, &granted, &ids, source, at(0))?;
    let count = u32::try_from(nodes.len()).unwrap();
    batches::put(tx, &batch.planned(first, count, Vec::new(), at(0)), at(0))
}

/// Payouts 1 and 2 in a batch that ended, with its message; 3 of a schedule's run, open; a batch that waits; node 4 leaves with payout 4.
fn world() -> Fixture {
    let f = Fixture::new();
    for n in 0..5 {
        f.write(move |tx, d| nodes::create(tx, d, &act(), &node_id(n), &new_node(&format!("node-{n}"), None), 10).map(drop)).unwrap();
    }
    f.write(|tx, d| {
        let id = BatchId::parse("batch_000001").unwrap();
        plan(tx, batch(BATCH, id.clone()), &[0, 1], &Source::Batch { batch: id.clone(), by: by().to_string() })?;
        batches::cancel(tx, &act(), &id, at(1))?;
        let (schedule, due_at) = (schedule(), at(3_600).wall);
        schedules::create(tx, &schedule, act().draft("test", ""))?;
        let of_run = Batch {
            schedule: Some(schedule.id.clone()),
            scheduled_at: Some(due_at),
            notify: None,
            ..batch(OF_SCHEDULE, schedule.batch_of(due_at).unwrap())
        };
        let run = Run {
            number: 1,
            due_at,
            since: due_at,
            fired_at: due_at,
            batch: Some(of_run.id.clone()),
            planned: 1,
            left_out: Vec::new(),
            left_out_count: 0,
            note: None,
        };
        plan(tx, of_run, &[2], &Source::Schedule { schedule: schedule.id.clone(), by: by().to_string() })?;
        schedules::fired(tx, &schedule, &run)?;
        let wish = crate::domain::batch::Wish {
            node: node_id(3),
            amount: AMOUNT,
            currency: Currency::Usdt,
            address: None,
            priority: Priority::Low,
        };
        batches::put(tx, &Batch { waiting: vec![wish], ..batch(QUEUED, BatchId::parse("batch_000003").unwrap()) }, at(0))?;
        let node = final_payouts::request(tx, d, &act(), &node_id(4), &by())?;
        ledger::post(tx, Entry::adjustment(BOOK, node.index, AMOUNT, "a test".into(), by()).unwrap(), at(0))?;
        let address = PayoutAddress::parse("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", Currency::Usdt).unwrap();
        let last = Granted { node: node.index, book: BOOK, amount: AMOUNT, address, priority: Priority::Normal, free: AMOUNT };
        let id = PayoutId::new(uuid::Uuid::from_u128(4));
        outbox::tell_payouts_to(tx, Some(target()))?;
        let seq = planning::reserve(tx, &[last], &[id], &Source::Final { by: by().to_string() }, at(0))?;
        final_payouts::planned(tx, &act(), &node, seq)
    })
    .unwrap();
    f
}

/// Changes the row, which must be there.
fn change<K: crate::storage::table::Key, V: crate::storage::table::Record>(
    tx: &mut WriteTx<'_>,
    table: crate::storage::table::Table<K, V>,
    key: K,
    change: impl FnOnce(&mut V),
) -> Result<(), TxError> {
    let mut row = tx.get(table, &key)?.unwrap();
    change(&mut row);
    tx.put(table, &key, &row)
}

fn gone<K: crate::storage::table::Key, V: crate::storage::table::Record>(
    tx: &mut WriteTx<'_>,
    table: crate::storage::table::Table<K, V>,
    key: K,
) -> Result<(), TxError> {
    assert!(tx.delete(table, &key)?);
    Ok(())
}

type Damage = fn(&mut WriteTx<'_>) -> Result<(), TxError>;

/// What is damaged, how, and in which parts that shows.
const DAMAGES: &[(&str, Damage, &[&str])] = &[
    ("a payout is gone", |tx| gone(tx, tables::PAYOUTS, 4), &["payouts", "final payouts", "outbox"]),
    (
        "a payout is not found by its id",
        |tx| gone(tx, tables::PAYOUT_IDS, PayoutId::new(uuid::Uuid::from_u128(4)).as_str().to_owned()),
        &["payouts", "outbox"],
    ),
    ("more is reserved than is planned", |tx| change(tx, tables::PAYOUTS, 4, |payout| payout.amount = Units(1)), &["payouts"]),
    (
        "nothing is reserved",
        |tx| gone(tx, tables::BALANCES, ledger::key(BOOK, Account::NodeReserved(NodeIndex(4)))),
        &["ledger", "payouts"],
    ),
    ("a transaction is of no attempt", |tx| tx.put(tables::TXIDS, &"ab".to_owned(), &Index64(4)), &["payouts"]),
    (
        "a node that leaves is in service",
        |tx| change(tx, tables::NODES, 4, |node| node.eligible = Timeline::new(Eligible::InService)),
        &["final payouts"],
    ),
    (
        "a node drains and nobody asked",
        |tx| change(tx, tables::NODES, 3, |node| node.eligible = Timeline::new(Eligible::Draining)),
        &["final payouts"],
    ),
    ("a node that leaves is gone", |tx| gone(tx, tables::NODES, 4), &["final payouts", "nodes and pools"]),
    ("it leaves with somebody else's payout", |tx| change(tx, tables::FINAL_PAYOUTS, 4, |row| row.payout = Some(3)), &["final payouts"]),
    (
        "a batch counts another end",
        |tx| change(tx, tables::BATCHES, BATCH, |batch| batch.tally = Tally { paid: 2, ..Tally::default() }),
        &["batches of payouts"],
    ),
    (
        "a batch has ended too early",
        |tx| change(tx, tables::BATCHES, OF_SCHEDULE, |batch| batch.ended_at = Some(at(9).wall)),
        &["batches of payouts"],
    ),
    (
        "a batch has somebody else's payout",
        |tx| change(tx, tables::PAYOUTS, 1, |payout| payout.source = Source::Automatic),
        &["batches of payouts"],
    ),
    (
        "a payout is of a batch that does not count it",
        |tx| {
            change(tx, tables::PAYOUTS, 4, |payout| {
                payout.source = Source::Batch { batch: BatchId::parse("batch_000001").unwrap(), by: "user_1".into() }
            })
        },
        &["final payouts", "batches of payouts"],
    ),
    ("a batch is not found", |tx| gone(tx, tables::BATCH_IDS, "batch_000003".to_owned()), &["batches of payouts"]),
    ("a batch would never be planned", |tx| gone(tx, tables::QUEUED_BATCHES, QUEUED), &["batches of payouts"]),
    (
        "a schedule may fire again",
        |tx| change(tx, tables::SCHEDULES, schedule().id.to_string(), |s| s.fired_through = at(0).wall),
        &["batches of payouts", "schedules of payouts"],
    ),
    (
        "a schedule's rule is no rule",
        |tx| {
            change(tx, tables::SCHEDULES, schedule().id.to_string(), |s| {
                s.rule = Rule::Cron { fields: "0 6 * *".into(), time_zone: "Europe/Zurich".into() }
            })
        },
        &["schedules of payouts"],
    ),
    (
        "a schedule is of nowhere",
        |tx| {
            change(tx, tables::SCHEDULES, schedule().id.to_string(), |s| {
                s.rule = Rule::Cron { fields: "0 6 * * *".into(), time_zone: "Europe/Nowhere".into() }
            })
        },
        &["schedules of payouts"],
    ),
    ("a run is lost", |tx| gone(tx, tables::SCHEDULE_RUNS, (schedule().id.to_string(), 1u64.to_be_bytes())), &["schedules of payouts"]),
    (
        "a run made another batch",
        |tx| {
            change(tx, tables::SCHEDULE_RUNS, (schedule().id.to_string(), 1u64.to_be_bytes()), |run| {
                run.batch = Some(BatchId::parse("batch_000001").unwrap())
            })
        },
        &["schedules of payouts"],
    ),
    ("a run is nobody's", |tx| gone(tx, tables::SCHEDULES, schedule().id.to_string()), &["schedules of payouts"]),
    (
        "an end was never told",
        |tx| change(tx, tables::WEBHOOKS, "webhooks".to_owned(), |row| row.last = 0).and_then(|()| gone(tx, tables::OUTBOX, 1)),
        &["outbox"],
    ),
    (
        "a message has another id",
        |tx| change(tx, tables::OUTBOX, 1, |Outgoing::Webhook(delivery)| delivery.id = "delivery_00".into()),
        &["outbox"],
    ),
    (
        "a message goes somewhere else",
        |tx| change(tx, tables::OUTBOX, 1, |Outgoing::Webhook(delivery)| delivery.target.url = "https://b.example/".into()),
        &["outbox"],
    ),
    (
        "a message is about nothing",
        |tx| change(tx, tables::OUTBOX, 1, |Outgoing::Webhook(delivery)| delivery.body = "{}".into()),
        &["outbox"],
    ),
    (
        "a step of a payout that is not",
        |tx| change(tx, tables::OUTBOX, 2, |Outgoing::Webhook(delivery)| delivery.body = delivery.body.replace("payout_0", "payout_9")),
        &["outbox"],
    ),
    ("a step was not counted", |tx| change(tx, tables::PAYOUT_NEWS, "payouts".to_owned(), |row| row.told = 0), &["outbox"]),
    ("nobody was told of a step", |tx| gone(tx, tables::PAYOUT_NEWS, "payouts".to_owned()), &["outbox"]),
];

#[test]
fn what_is_damaged_of_payouts_and_what_they_leave_is_found() {
    let f = world();
    for finding in verify(&f.store) {
        assert_eq!(finding.wrong, None, "{}", finding.part);
    }
    let records = |part: &str| verify(&f.store).into_iter().find(|finding| finding.part == part).unwrap().records;
    assert_eq!(["payouts", "final payouts", "batches of payouts", "schedules of payouts", "outbox"].map(records), [4, 1, 3, 2, 2]);
    for (what, damage, parts) in DAMAGES {
        let f = world();
        f.store.core.write_now(*damage).unwrap();
        assert_eq!(
            wrong_parts(&f.store),
            *parts,
            "{what}: {:?}",
            verify(&f.store).iter().filter_map(|f| f.wrong.clone()).collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_was_delivered_leaves_no_row_and_that_is_right() {
    let f = world();
    f.write(|tx, _| outbox::delivered(tx, &[1, 2])).unwrap();
    assert_eq!(wrong_parts(&f.store), Vec::<&str>::new());
}
