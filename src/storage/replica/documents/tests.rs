use std::collections::BTreeMap;

use super::*;
use crate::crypto::SecretKey;
use crate::domain::alert::{Alert, Severity};
use crate::domain::audit::{Actor, Draft, Entry, Kept};
use crate::domain::batch::Batch;
use crate::domain::epoch::Head;
use crate::domain::ids::AlertId;
use crate::domain::ledger::{Account, Book, Cause, Posting, Settlement};
use crate::domain::money_state::MoneyState;
use crate::domain::node::{Coordinates, Location, MaintenanceWindow, Node, NodeConfiguration, ResourceLimits};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::payout::{Review, ReviewKind};
use crate::domain::payout_schedule::{PayoutSchedule, Whom};
use crate::domain::pool::{Pool, ScalingPolicy};
use crate::domain::replica::COMMON;
use crate::domain::time::Timestamp;
use crate::domain::wallet::{UnknownTransfer, WalletRow};
use crate::domain::webhook::Target;
use crate::storage::core::testing::{Fixture, act, at, hardware, new_node, new_pool, node_id, pool_id};
use crate::storage::core::{alerts, ledger, pools, settings, subject_keys};
use crate::storage::replica::catalog::CATALOG;

const USDT_ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
const LUCID_ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

fn listed(table: &str) -> &'static Listed {
    CATALOG.iter().find(|listed| listed.table == table).unwrap()
}

/// Stored bytes that releases wrote of a type, of every version.
fn golden_bytes(record: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden");
    let mut found = Vec::new();
    for version in 1..9 {
        if let Ok(text) = std::fs::read_to_string(folder.join(format!("{record}.v{version}.hex"))) {
            found.extend(text.lines().filter(|line| !line.is_empty()).map(|line| crate::crypto::unhex(line).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no golden records of {record}");
    found
}

fn golden<V: Record>(record: &str) -> Vec<V> {
    golden_bytes(record).iter().map(|bytes| decode(bytes).unwrap()).collect()
}

fn made(f: &Fixture, table: &str, key: &[u8], bytes: Vec<u8>) -> Document {
    of_row(&f.store.read().unwrap(), &f.store.secrets, listed(table), key, Some(bytes), Rev(7)).unwrap()
}

/// As it is in the store.
fn found(f: &Fixture, table: &str, key: &[u8]) -> Document {
    let read = f.store.read().unwrap();
    document(&read, &read, &f.store.secrets, listed(table), key, Rev(7)).unwrap()
}

fn field(document: &Document, name: &str) -> Value {
    document.fields.iter().find(|(field, _)| *field == name).unwrap_or_else(|| panic!("no {name} in {document:?}")).1.clone()
}

/// The record that a restore puts back.
fn restored<V: Record>(f: &Fixture, document: &Document) -> V {
    let (key, bytes) = opened(&f.store.secrets, document.table, &document.name, document.record.as_ref().unwrap()).unwrap();
    assert_eq!(key, document.key);
    decode(&bytes).unwrap()
}

/// `path type` of every field that any of the documents has a value in; `null` where none has.
fn shape(documents: &[Document]) -> Vec<String> {
    let mut types = Vec::new();
    for document in documents {
        assert!(document.fields.iter().all(|(name, _)| !COMMON.contains(name)), "{document:?}");
        let names: Vec<_> = document.fields.iter().map(|(name, _)| *name).collect();
        let first: Vec<_> = documents[0].fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, first, "the same names in every document of a collection");
        document.fields.iter().for_each(|(name, value)| note(&mut types, (*name).to_owned(), value));
    }
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, kind) in &types {
        let before = known.entry(path).or_insert("null");
        assert!(*kind == "null" || *before == "null" || before == kind, "{path} is {before} and {kind}");
        if *kind != "null" {
            *before = kind;
        }
    }
    let mut order: Vec<&str> = Vec::new();
    types.iter().for_each(|(path, _)| {
        if !order.contains(&path.as_str()) {
            order.push(path)
        }
    });
    // What is within a field is said by the fields of that.
    let is_outer = |path: &str| known.contains_key(path) && types.iter().any(|(other, _)| other.starts_with(&format!("{path}.")));
    order.iter().filter(|path| !(is_outer(path) && known[*path] == "null")).map(|path| format!("{path} {}", known[path])).collect()
}

fn note(types: &mut Vec<(String, &'static str)>, path: String, value: &Value) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Whole(_) | Value::Float(_) => "number",
        Value::Text(_) => "text",
        Value::Date(_) => "date",
        Value::Decimal(_) => "decimal",
        Value::Bytes(_) => "bytes",
        Value::List(values) => {
            types.push((path.clone(), "list"));
            values.iter().for_each(|value| note(types, format!("{path}.[]"), value));
            return;
        }
        Value::Fields(fields) => {
            fields.iter().for_each(|(name, value)| note(types, format!("{path}.{name}"), value));
            return;
        }
    };
    types.push((path, kind));
}

/// The documents have these fields, in this order; each line is names and the type of all of them.
fn assert_shape(documents: &[Document], expected: &[(&str, &str)]) {
    let expected: Vec<String> =
        expected.iter().flat_map(|(names, kind)| names.split(' ').map(move |name| format!("{name} {kind}"))).collect();
    let mut is: Vec<String> = shape(documents);
    let mut expected = expected;
    is.sort();
    expected.sort();
    assert_eq!(is, expected);
}

fn of_golden(f: &Fixture, table: &str, record: &str, key: &[u8]) -> Vec<Document> {
    golden_bytes(record).into_iter().map(|bytes| made(f, table, key, bytes)).collect()
}

/// A store with a node in a pool; the node has everything that a node can have.
fn with_node() -> (Fixture, Node) {
    let f = Fixture::new();
    f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("one", 5))).unwrap();
    let mut new = new_node("node-1", Some(pool_id(1)));
    new.hardware = Some(hardware());
    let node = f.write(move |tx, directory| nodes::create(tx, directory, &act(), &node_id(1), &new, 10)).unwrap();
    (f, node)
}

#[test]
fn a_row_that_cannot_be_read_goes_as_it_is_unless_something_has_to_be_taken_out() {
    let f = Fixture::new();
    let (key, bytes) = ([0; 4], vec![1, 0xff, 0xff]);
    let document = of_row(&f.store.read().unwrap(), &f.store.secrets, listed("nodes"), &key, Some(bytes.clone()), Rev(7)).unwrap();
    assert_eq!(document.fields, Fields::new());
    let record = document.record.unwrap();
    assert_eq!(opened(&f.store.secrets, "nodes", &document.name, &record), Ok((key.to_vec(), bytes.clone())));
    let of_a_person = of_row(&f.store.read().unwrap(), &f.store.secrets, listed("users"), b"ada", Some(bytes), Rev(7));
    assert!(matches!(of_a_person, Err(Fault::Record { table: "users", .. })));
}

#[test]
fn a_node_and_its_pool_read_like_the_seed_and_come_back_as_they_were() {
    let (f, node) = with_node();
    let document = found(&f, "nodes", &node.index.0.to_be_bytes());
    assert_eq!((document.collection, document.rev, &document.name), ("nodes", Rev(7), &document.key));
    assert_eq!(restored::<Node>(&f, &document), node);
    assert_eq!((field(&document, "pool_id"), field(&document, "node_type")), (pool_id(1).to_string().into(), "worker".into()));
    let gone = found(&f, "nodes", &99_u32.to_be_bytes());
    assert_eq!((gone.record, gone.fields), (None, Fields::new()));

    let mut whole = golden::<Node>("Node").swap_remove(0);
    let limits = ResourceLimits { cpu_percent: Some(80.5), memory_bytes: Some(1), disk_bytes: Some(2), network_mbps: Some(100.0) };
    let window = MaintenanceWindow { start_hour: 2, duration_hours: 4 };
    whole.configuration = NodeConfiguration {
        max_sessions: Some(10),
        resource_limits: Some(limits),
        auto_scaling: Some(true),
        maintenance_window: Some(window),
    };
    let text = || Some("a".to_owned());
    let coordinates = Some(Coordinates { latitude: 47.4, longitude: -8.5 });
    whole.location = Some(Location { country: text(), region: text(), city: text(), timezone: text(), coordinates });
    let hardware = whole.hardware.as_mut().unwrap();
    hardware.storage.interface = text();
    hardware.gpu.as_mut().unwrap().compute_capability = text();
    let documents = [document, made(&f, "nodes", &[0; 4], encode(&whole).unwrap())];
    assert_shape(
        &documents,
        &[
            ("node_id name node_type pool_id wanted eligible", "text"),
            ("hardware_info.cpu.cores hardware_info.cpu.frequency_mhz hardware_info.memory.total_bytes", "number"),
            ("hardware_info.cpu.architecture hardware_info.memory.type hardware_info.storage.type", "text"),
            ("hardware_info.storage.total_bytes hardware_info.gpu.memory_bytes", "number"),
            ("hardware_info.storage.interface hardware_info.gpu.model hardware_info.gpu.compute_capability", "text"),
            ("hardware_info.network", "list"),
            ("hardware_info.network.[].interface hardware_info.network.[].mac_address", "text"),
            ("hardware_info.network.[].speed_mbps", "number"),
            ("location.country location.region location.city location.timezone", "text"),
            ("location.coordinates.latitude location.coordinates.longitude configuration.max_sessions", "number"),
            ("configuration.resource_limits.cpu_percent configuration.resource_limits.memory_bytes", "number"),
            ("configuration.resource_limits.disk_bytes configuration.resource_limits.network_mbps", "number"),
            ("configuration.auto_scaling", "bool"),
            ("configuration.maintenance_window.start_hour configuration.maintenance_window.duration_hours", "number"),
            ("created_at updated_at", "date"),
        ],
    );

    let pool = found(&f, "pools", &pools::by_id(&f.store.read().unwrap(), &pool_id(1)).unwrap().unwrap().index.0.to_be_bytes());
    let mut whole = golden::<Pool>("Pool").swap_remove(0);
    let policy = ScalingPolicy { scale_up_threshold: 80.0, scale_down_threshold: 20.5, min_nodes: 1, max_nodes: 9, cooldown_minutes: 15 };
    (whole.resource_limits, whole.scaling_policy) = (Some(limits), Some(policy));
    assert_eq!(pool.collection, "node_pools");
    assert_shape(
        &[pool, made(&f, "pools", &[0; 4], encode(&whole).unwrap())],
        &[
            ("pool_id name description pricing.currency", "text"),
            ("max_nodes resource_limits.cpu_percent resource_limits.memory_bytes", "number"),
            ("resource_limits.disk_bytes resource_limits.network_mbps", "number"),
            ("auto_scaling", "bool"),
            ("scaling_policy.scale_up_threshold scaling_policy.scale_down_threshold scaling_policy.min_nodes", "number"),
            ("scaling_policy.max_nodes scaling_policy.cooldown_minutes", "number"),
            ("pricing.cost_per_hour pricing.reward_per_hour", "decimal"),
            ("created_at updated_at", "date"),
        ],
    );
}

/// Payouts of what releases wrote, of a node that is deleted, in a batch that had its time.
fn stored_payouts(f: &Fixture, node: &Node) -> Vec<Payout> {
    let (payouts, batch) = (golden::<Payout>("Payout"), golden::<Batch>("Batch").swap_remove(1));
    let place = |(seq, payout): (u64, Payout)| Payout { seq, node: node.index, ..payout };
    let payouts: Vec<Payout> = (1..).zip(payouts).map(place).collect();
    let batch = Batch { seq: 1, first: 1, count: u32::try_from(payouts.len()).unwrap(), ..batch };
    let (id, rows) = (node.id.clone(), payouts.clone());
    f.write(move |tx, directory| {
        nodes::delete(tx, directory, &act(), &id, false)?;
        tx.put(tables::BATCHES, &1, &batch)?;
        tx.put(tables::BATCH_PAYOUTS, &1, &tables::Index64(1))?;
        rows.iter().try_for_each(|payout| tx.put(tables::PAYOUTS, &payout.seq, payout))
    })
    .unwrap();
    payouts
}

#[test]
fn a_payout_reads_like_the_seed() {
    let (f, node) = with_node();
    let payouts = stored_payouts(&f, &node);
    let documents: Vec<Document> = payouts.iter().map(|payout| found(&f, "payouts", &payout.seq.to_be_bytes())).collect();
    assert!(documents.iter().all(|document| document.collection == "payouts"));
    assert_shape(
        &documents,
        &[
            // Seed 004; its numbers of money are decimals.
            ("payout_id node_id", "text"),
            ("amount", "decimal"),
            ("currency wallet_address status priority transaction_hash batch_id", "text"),
            ("scheduled_at processed_at completed_at", "date"),
            ("error_message", "text"),
            ("retry_count max_retries", "number"),
            ("created_at updated_at", "date"),
            // And what the product says beside it.
            ("settlement wallet_address_hash detailed_status source review_reason", "text"),
        ],
    );
    let texts = |name: &str| -> Vec<String> {
        documents.iter().map(|document| if let Value::Text(text) = field(document, name) { text } else { "-".into() }).collect()
    };
    let steps = ["signed", "review", "seen", "paid", "failed", "cancelled", "dead", "dead"];
    let statuses = ["processing", "processing", "processing", "completed", "failed", "cancelled", "processing", "processing"];
    assert!(texts("detailed_status").ends_with(&steps.map(String::from)), "{:?}", texts("detailed_status"));
    assert!(texts("status").ends_with(&statuses.map(String::from)));
    assert!(texts("node_id").iter().all(|id| id == "node_000001"), "deleted, and known by its id all the same");
    assert!(texts("settlement").iter().any(|settlement| settlement == "simulated"));
    let fourth = &documents[documents.len() - 5];
    let expected = [
        ("amount", Value::Decimal("0.004".parse().unwrap())),
        ("currency", "LUCID".into()),
        ("wallet_address", "…eAed".into()),
        ("wallet_address_hash", f.store.secrets.wallet_hash(LUCID_ADDRESS).into()),
        ("completed_at", Value::Date(Timestamp(1_790_000_000_123))),
        ("processed_at", Value::Date(Timestamp(1_790_000_000_124))),
        ("retry_count", 0_u32.into()),
        ("max_retries", 5_u32.into()),
        ("priority", "urgent".into()),
        ("transaction_hash", "why".into()),
    ];
    expected.into_iter().for_each(|(name, value)| assert_eq!(field(fourth, name), value, "{name}"));
    let planned = Payout { attempts: Vec::new(), review: None, ..payouts[payouts.len() - 8].clone() };
    let planned = made(&f, "payouts", &1_u64.to_be_bytes(), encode(&planned).unwrap());
    assert_eq!((field(&planned, "status"), field(&planned, "detailed_status")), ("pending".into(), "planned".into()));
    assert_eq!((field(&planned, "processed_at"), field(&planned, "retry_count")), (Value::Null, 0_u32.into()));
}

#[test]
fn batches_and_schedules_name_wallets_by_their_hashes() {
    let f = Fixture::new();
    let batches = of_golden(&f, "payout_batches", "Batch", &[0; 8]);
    let of_wish = "payout_requests.[].node_id payout_requests.[].currency payout_requests.[].priority";
    let of_wallet = "payout_requests.[].wallet_address payout_requests.[].wallet_address_hash";
    assert_eq!(batches[0].collection, "payout_batches");
    assert_shape(
        &batches,
        &[
            ("batch_id status settlement priority schedule_id created_by notifies", "text"),
            ("created_at scheduled_at ended_at", "date"),
            ("total open completed failed cancelled left_out", "number"),
            ("left_out_nodes payout_requests", "list"),
            ("left_out_nodes.[].node_id left_out_nodes.[].why left_out_nodes.[].text", "text"),
            (of_wish, "text"),
            (of_wallet, "text"),
            ("payout_requests.[].amount", "decimal"),
        ],
    );
    assert_eq!((field(&batches[0], "status"), field(&batches[0], "open")), ("queued".into(), 2_u32.into()));
    let schedules = of_golden(&f, "payout_schedules", "PayoutSchedule", b"schedule_0123456789abcdef");
    assert_eq!(schedules[0].collection, "schedules");
    assert_shape(
        &schedules,
        &[
            ("schedule_id name cron timezone what pool_id priority changed_by", "text"),
            ("at created_at updated_at fired_through", "date"),
            ("payout_requests", "list"),
            (of_wish, "text"),
            (of_wallet, "text"),
            ("payout_requests.[].amount min_amount", "decimal"),
            ("enabled", "bool"),
            ("run_count", "number"),
        ],
    );
    let whats: Vec<Value> = schedules.iter().map(|schedule| field(schedule, "what")).collect();
    assert_eq!(whats, ["listed", "all_due", "pool"].map(Value::from));
}

#[test]
fn what_is_written_down_reads_as_the_api_says_it() {
    let (f, node) = with_node();
    let subject = node.id.to_string();
    f.write(move |tx, _| {
        alerts::raise(tx, "node_unreachable", &subject, Severity::Warning, "it is silent", at(1).wall)?;
        let sealed = Some(vec![1, 2, 3]);
        settings::change(tx, &act(), &[settings::Change { key: "logging.level".into(), sealed, remark: "a -> b".into() }])
    })
    .unwrap();
    let event = found(&f, "node_events", &[&node.index.0.to_be_bytes()[..], &1_u64.to_be_bytes()].concat());
    let created = (field(&event, "node_id"), field(&event, "seq"), field(&event, "kind"), field(&event, "category"));
    assert_eq!(created, ("node_000001".into(), 1_u32.into(), "created".into(), "identity".into()));
    let key = [&node.index.0.to_be_bytes()[..], &1_u64.to_be_bytes()].concat();
    let events = [vec![event], of_golden(&f, "node_events", "NodeEvent", &key)].concat();
    assert_eq!(events[0].collection, "node_history");
    assert_shape(&events, &[("node_id kind category detail actor", "text"), ("seq", "number"), ("at", "date")]);

    let alert = found(&f, "alerts", &1_u64.to_be_bytes());
    assert_eq!((field(&alert, "subject"), field(&alert, "state"), alert.collection), ("node_000001".into(), "open".into(), "alerts"));
    assert_shape(
        &[vec![alert], of_golden(&f, "alerts", "Alert", &[0; 8])].concat(),
        &[
            ("alert_id kind state severity subject topic message acknowledged_by acknowledged_note", "text"),
            ("security", "bool"),
            ("raised_at updated_at resolved_at acknowledged_at unknown_since", "date"),
            ("history", "list"),
            ("history.[].at", "date"),
            ("history.[].change history.[].severity history.[].by history.[].note", "text"),
        ],
    );

    let setting = found(&f, "settings", b"logging.level");
    assert_eq!((field(&setting, "setting"), setting.collection), ("logging.level".into(), "settings"));
    assert_shape(&[setting], &[("setting changed_by", "text"), ("changed_at", "date")]);

    let last = f.store.read().unwrap().last(tables::AUDIT).unwrap().unwrap();
    let entry = found(&f, "audit", &last.0.to_be_bytes());
    assert_eq!((field(&entry, "operation"), field(&entry, "hash")), ("setting.change".into(), hex(&last.1.hash).into()));
    assert_eq!((entry.collection, restored::<Entry>(&f, &entry)), ("audit_logs", last.1));
    assert_shape(
        &[vec![entry], of_golden(&f, "audit", "Entry", &[0; 8])].concat(),
        &[
            ("seq times", "number"),
            ("at", "date"),
            ("at_trusted success compliance_required", "bool"),
            ("actor operation resource_type subject reason request_id previous hash", "text"),
        ],
    );

    let epochs = of_golden(&f, "epochs", "Head", &[0; 4]);
    assert_eq!(epochs[0].collection, "poot_epochs");
    let head = golden::<Head>("Head").into_iter().find(|head| head.seal.is_some()).unwrap();
    let sealed = made(&f, "epochs", &[0; 4], encode(&head).unwrap());
    assert_eq!(field(&sealed, "hash"), hex(&head.hash().unwrap()).into());
    let outer: Vec<Document> = epochs
        .into_iter()
        .chain([sealed.clone()])
        .map(|document| {
            let fields = document.fields.into_iter().filter(|(name, _)| !["params", "signed"].contains(name)).collect();
            Document { fields, ..document }
        })
        .collect();
    assert_shape(
        &outer,
        &[
            ("epoch last_slot slots_per_epoch valid pending invalid leaves_at", "number"),
            ("start end closed_at", "date"),
            ("gap", "bool"),
            ("root previous hash", "text"),
        ],
    );
    let Value::Fields(signed) = field(&sealed, "signed") else { panic!("{sealed:?}") };
    assert_eq!(signed.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["head", "signature"]);

    let requests = of_golden(&f, "idempotency_keys", "Remembered", &[0; 32]);
    assert_eq!(requests[0].collection, "idempotency_keys");
    assert_shape(&requests, &[("begun_at forget_at", "date"), ("outcome content_type note", "text"), ("status", "number")]);
}

#[test]
fn validations_read_like_the_api_says_them() {
    let f = Fixture::new();
    let rows = of_golden(&f, "output_proofs", "ProofRows", &7_u64.to_be_bytes());
    assert!(rows.iter().all(|row| row.collection == "poot_validations" && field(row, "first") == 7_u64.into()));
    let mut expected = vec![("first".to_owned(), "number"), ("timestamp".to_owned(), "date"), ("validations".to_owned(), "list")];
    for (names, kind) in [
        ("validation_id output_hash batch_id", "text"),
        ("node_id", "null"),
        ("timestamp created_at", "date"),
        ("score confidence validation_time_ms", "number"),
        ("is_valid counted", "bool"),
        ("errors", "list"),
        ("errors.[]", "text"),
    ] {
        expected.extend(names.split(' ').map(|name| (format!("validations.[].{name}"), kind)));
    }
    let expected: Vec<(&str, &str)> = expected.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    assert_shape(&rows, &expected);
}

#[test]
fn the_books_are_exact_and_name_nodes_and_pools_by_their_ids() {
    let (f, node) = with_node();
    let pool = node.pool_now().unwrap();
    let own = |posting: Posting| {
        let mut posting = posting;
        for line in &mut posting.entry.lines {
            line.account = match line.account {
                Account::PoolExpense(_) => Account::PoolExpense(pool),
                Account::NodePayable(_) => Account::NodePayable(node.index),
                Account::NodeReserved(_) => Account::NodeReserved(node.index),
                Account::NodePaid(_) => Account::NodePaid(node.index),
                Account::Forfeited(_) => Account::Forfeited(node.index),
                other => other,
            };
        }
        match &mut posting.entry.cause {
            Cause::Accrual { node: of, .. }
            | Cause::Adjustment { node: of, .. }
            | Cause::Forfeiture { node: of, .. }
            | Cause::GoLive { node: of, .. }
            | Cause::Unexplained { node: Some(of), .. } => *of = node.index,
            Cause::Reward { pool: of, .. } => *of = pool,
            _ => (),
        }
        made(&f, "postings", &posting.seq.to_be_bytes(), encode(&posting).unwrap())
    };
    let documents: Vec<Document> = golden::<Posting>("Posting").into_iter().map(own).collect();
    assert_eq!(documents[0].collection, "ledger_postings");
    assert_shape(
        &documents,
        &[
            ("seq cause.after cause.through", "number"),
            ("at cause.from cause.to", "date"),
            ("settlement currency cause.kind cause.node_id cause.pool_id cause.payout_id cause.split", "text"),
            ("cause.reason cause.by cause.txid", "text"),
            ("lines", "list"),
            ("lines.[].account lines.[].node_id lines.[].pool_id", "text"),
            ("lines.[].amount", "decimal"),
        ],
    );
    let Value::List(lines) = field(&documents[0], "lines") else { panic!("{documents:?}") };
    let text = |text: &str| Value::from(text);
    let amount = |text: &str| Value::Decimal(text.parse().unwrap());
    let first: Fields = vec![
        ("account", text("pool_expense:pool_000001")),
        ("node_id", Value::Null),
        ("pool_id", text("pool_000001")),
        ("amount", amount("-1.234567")),
    ];
    let second: Fields = vec![
        ("account", text("node_payable:node_000001")),
        ("node_id", text("node_000001")),
        ("pool_id", Value::Null),
        ("amount", amount("1.234567")),
    ];
    assert_eq!(lines, [Value::Fields(first), Value::Fields(second)]);

    let book = Book { settlement: Settlement::Simulated, currency: Currency::Lucid };
    let of = |account: Account| -> Vec<Document> { of_golden(&f, "balances", "Balance", &ledger::key(book, account)) };
    let balances = [of(Account::NodePaid(node.index)), of(Account::PoolExpense(pool)), of(Account::Unexplained)].concat();
    assert_eq!(balances[0].collection, "ledger_balances");
    assert_shape(&balances, &[("account node_id pool_id settlement currency", "text"), ("balance credited debited", "decimal")]);
    let last = balances.last().unwrap();
    assert_eq!((field(last, "account"), field(last, "settlement")), (text("unexplained"), text("simulated")));
    assert_eq!(field(last, "balance"), amount("92233720368.54775807"), "the largest there is, exactly");

    let watermarks = of_golden(&f, "accrued", "Accrued", &node.index.0.to_be_bytes());
    assert_eq!(watermarks[0].collection, "accrual_watermarks");
    assert_shape(
        &watermarks,
        &[
            ("node_id", "text"),
            ("from through", "number"),
            ("remainders posted", "list"),
            ("remainders.[].currency posted.[].currency", "text"),
            ("remainders.[].amount", "decimal"),
            ("posted.[].through", "number"),
        ],
    );
}

/// Name of the table, type of its keys, type of its records, of every table of both files.
fn declared() -> Vec<(String, String, String)> {
    let hot = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/hot")).unwrap();
    let hot = hot.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let source = std::iter::once(include_str!("../../core/tables.rs").to_owned()).chain(hot).collect::<String>();
    let tables = source.lines().filter_map(|line| {
        let line = line.strip_prefix("pub const ").or_else(|| line.strip_prefix("pub(in crate::storage) const "))?;
        let (types, name) = line.split_once(": Table<")?.1.split_once("> = Table::new(\"")?;
        let (key, record) = types.rsplit_once(", ")?;
        Some((name.strip_suffix("\");")?.to_owned(), key.to_owned(), record.to_owned()))
    });
    tables.collect()
}

/// A key of that type.
fn any_key(of: &str) -> Vec<u8> {
    match of {
        "u32" => vec![0; 4],
        "u64" | "(u32, u32)" => vec![0; 8],
        "(u32, u64)" => vec![0; 12],
        "[u8; 7]" => vec![0; 7],
        _ => b"some key".to_vec(),
    }
}

#[test]
fn every_record_of_every_table_that_goes_makes_a_document() {
    let f = Fixture::new();
    let read = f.store.read().unwrap();
    let declared = declared();
    for listed in CATALOG {
        let (_, key, record) = declared.iter().find(|(name, ..)| name == listed.table).expect(listed.table);
        for bytes in golden_bytes(record) {
            let made = of_row(&read, &f.store.secrets, listed, &any_key(key), Some(bytes), Rev(1));
            match listed.way {
                Way::Stays => assert!(made.is_err(), "{} stays here", listed.table),
                Way::State | Way::History | Way::Log => {
                    let document = made.unwrap_or_else(|why| panic!("{}: {why:?}", listed.table));
                    assert!(document.record.is_some() && document.size() > 0);
                    assert_eq!(document.collection == RECORDS, document.fields.is_empty(), "{}", listed.table);
                    let is_hidden = document.collection == RECORDS && listed.file == Which::Core;
                    assert_eq!(is_hidden, document.name != document.key, "{}", listed.table);
                }
            }
        }
    }
}

#[test]
fn a_record_opens_for_its_own_manager_and_place_only_and_is_the_same_when_it_is_sent_again() {
    let f = Fixture::new();
    let (counters, node) = (golden_bytes("Counters").swap_remove(0), golden_bytes("Node"));
    let document = made(&f, "counters", b"counters", counters.clone());
    assert_eq!(document, made(&f, "counters", b"counters", counters.clone()));
    let (secrets, record) = (&f.store.secrets, document.record.as_ref().unwrap());
    assert_eq!(opened(secrets, "counters", &document.name, record).unwrap(), (b"counters".to_vec(), counters));
    let other = Secrets::new(SecretKey([1; 32]));
    assert!(opened(&other, "counters", &document.name, record).is_err());
    assert_ne!(other.wallet_hash(USDT_ADDRESS), secrets.wallet_hash(USDT_ADDRESS), "nobody else's hashes say whose wallet it is");
    assert!(opened(secrets, "money", &document.name, record).is_err());
    assert!(opened(secrets, "counters", b"counters", record).is_err());
    let mut changed = record.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(opened(secrets, "counters", &document.name, &changed).is_err());
    let nonces: Vec<Vec<u8>> = node.iter().map(|bytes| made(&f, "nodes", &[0; 4], bytes.clone()).record.unwrap()[..12].to_vec()).collect();
    assert!((1..nonces.len()).all(|n| !nonces[..n].contains(&nonces[n])), "rows that differ have nonces of their own");
    let tombstone = found(&f, "counters", b"other");
    assert_eq!((tombstone.record, tombstone.name), (None, made(&f, "counters", b"other", vec![1, 1, 1]).name));
}

#[test]
fn signed_transfers_and_what_signs_people_in_are_not_even_sealed() {
    let f = Fixture::new();
    let payouts: Vec<Payout> = golden("Payout");
    assert!(payouts.iter().flat_map(|payout| &payout.attempts).any(|attempt| !attempt.prepared.bytes.is_empty()));
    for payout in payouts {
        let left: Payout = restored(&f, &made(&f, "payouts", &[0; 8], encode(&payout).unwrap()));
        let bytes = |of: &Payout| of.attempts.iter().map(|attempt| attempt.prepared.bytes.clone()).collect::<Vec<_>>();
        assert_eq!(bytes(&left), payout.attempts.iter().map(|attempt| attempt.prepared.unsigned()).collect::<Vec<_>>());
        assert_eq!((&left.id, left.amount, left.attempts.len()), (&payout.id, payout.amount, payout.attempts.len()));
        assert_eq!(left.address, payout.address);
    }
    let users: Vec<User> = golden("User");
    assert!(users.iter().any(|user| user.second_factor.is_some() && user.password.hash != [0; 32]));
    for user in users {
        let left: User = restored(&f, &made(&f, "users", b"user", encode(&user).unwrap()));
        assert_eq!((left.password.hash, left.password.salt, left.second_factor), ([0; 32], [0; 16], None));
        assert_eq!((left.id, left.username, left.role), (user.id, user.username, user.role));
    }
}

/// Every byte of a document that leaves.
fn leaves(document: &Document) -> Vec<u8> {
    fn of(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Text(text) => out.extend(text.as_bytes()),
            Value::Bytes(bytes) => out.extend(bytes),
            Value::List(values) => values.iter().for_each(|value| of(value, out)),
            Value::Fields(fields) => fields.iter().for_each(|(name, value)| {
                out.extend(name.as_bytes());
                of(value, out);
            }),
            Value::Null | Value::Bool(_) | Value::Whole(_) | Value::Float(_) | Value::Date(_) | Value::Decimal(_) => (),
        }
    }
    let mut out = document.name.clone();
    of(&Value::Fields(document.fields.clone()), &mut out);
    out.extend(document.record.iter().flatten());
    out
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Rows with secrets in every place that has room for one: table, key, record, and what of it must not leave.
fn telling_rows() -> Vec<(&'static str, Vec<u8>, Vec<u8>, Vec<Vec<u8>>)> {
    const URL: &str = "https://hooks.example/s3cret-path?token=abc";
    let said = format!("sent to {USDT_ADDRESS} and {LUCID_ADDRESS}, told {URL}");
    let needles = || vec![USDT_ADDRESS.into(), LUCID_ADDRESS.into(), b"s3cret-path".to_vec()];
    let target = Some(Target { url: URL.into(), origin: "https://hooks.example".into() });
    let mut rows = Vec::new();

    for payout in golden::<Payout>("Payout") {
        let mut payout = Payout { review: Some(Review::new(ReviewKind::Conflict, said.clone(), vec![said.clone()], at(0).wall)), ..payout };
        payout.attempts[0].prepared.bytes = b"the bytes of a signed transfer".to_vec();
        payout.attempts[0].prepared.urls = vec![URL.into()];
        let found = [needles(), vec![b"the bytes of a signed transfer".to_vec()]].concat();
        rows.push(("payouts", vec![0; 8], encode(&payout).unwrap(), found));
    }
    let mut user = golden::<User>("User").into_iter().find(|user| user.second_factor.is_some()).unwrap();
    user.password = PasswordHash { salt: [0xA5; 16], hash: [0xA7; 32] };
    let factor = user.second_factor.as_mut().unwrap();
    (factor.sealed_secret, factor.recovery) = (b"a sealed second factor".to_vec(), vec![[0xB1; 32]]);
    let found =
        vec![vec![0xA5; 16], vec![0xA7; 32], b"a sealed second factor".to_vec(), vec![0xB1; 32], user.username.clone().into_bytes()];
    rows.push(("users", user.id.as_str().into(), encode(&user).unwrap(), found));
    rows.push(("user_names", b"ada.lovelace".to_vec(), golden_bytes("UserId").swap_remove(0), vec![b"ada.lovelace".to_vec()]));

    let mut batch = golden::<Batch>("Batch").swap_remove(0);
    batch.waiting[0].address = Some(USDT_ADDRESS.into());
    batch.waiting[1].address = Some(LUCID_ADDRESS.into());
    batch.notify = target;
    rows.push(("payout_batches", vec![0; 8], encode(&batch).unwrap(), needles()));
    let mut schedule = golden::<PayoutSchedule>("PayoutSchedule").swap_remove(0);
    (schedule.whom, schedule.name) = (Whom::Listed(batch.waiting.clone()), said.clone());
    rows.push(("payout_schedules", b"schedule_a1".to_vec(), encode(&schedule).unwrap(), needles()));

    let alert = Alert::new(AlertId::parse("alert_0000000001").unwrap(), "kind", USDT_ADDRESS, Severity::Info, &said, at(0).wall);
    rows.push(("alerts", vec![0; 8], encode(&alert).unwrap(), needles()));
    rows.push(("open_alerts", said.clone().into_bytes(), golden_bytes("Index64").swap_remove(0), needles()));
    let event = NodeEvent { at: at(0).wall, kind: Kind::PayoutReview, detail: Some(said.clone()), actor: Actor::System };
    rows.push(("node_events", vec![0; 12], encode(&event).unwrap(), needles()));
    let draft = Draft::new(at(0), Actor::System, "money.live", USDT_ADDRESS).because(said.clone());
    let entry = Entry::chained(1, [0; 32], draft, Kept::Clear { address: Some("192.0.2.77".into()) }).unwrap();
    rows.push(("audit", vec![0; 8], encode(&entry).unwrap(), [needles(), vec![b"192.0.2.77".to_vec()]].concat()));
    let mut posting = golden::<Posting>("Posting").swap_remove(0);
    posting.entry.cause = Cause::Unexplained { node: None, txid: format!("unlisted-{USDT_ADDRESS}-70000000") };
    rows.push(("postings", vec![0; 8], encode(&posting).unwrap(), vec![USDT_ADDRESS.into()]));

    let mut money = golden::<MoneyState>("MoneyState").swap_remove(0);
    money.live.as_mut().unwrap().wallet = USDT_ADDRESS.into();
    rows.push(("money", b"money".to_vec(), encode(&money).unwrap(), vec![USDT_ADDRESS.into()]));
    let wallet: WalletRow = golden("WalletRow").swap_remove(0);
    rows.push(("wallets", format!("{URL}/c/{USDT_ADDRESS}").into_bytes(), encode(&wallet).unwrap(), vec![USDT_ADDRESS.into(), URL.into()]));
    let mut unknown = golden::<UnknownTransfer>("UnknownTransfer").swap_remove(0);
    (unknown.transfer.to, unknown.pin.wallet) = (LUCID_ADDRESS.into(), USDT_ADDRESS.into());
    let key = format!("unlisted-{USDT_ADDRESS}-1").into_bytes();
    rows.push(("unknown_transfers", key, encode(&unknown).unwrap(), vec![USDT_ADDRESS.into(), LUCID_ADDRESS.into()]));
    rows
}

#[test]
fn nothing_that_is_secret_is_in_what_leaves() {
    let f = Fixture::new();
    for (table, key, bytes, secrets) in telling_rows() {
        let stored = [&key[..], &bytes].concat();
        let left = leaves(&made(&f, table, &key, bytes));
        for secret in secrets {
            let shown = String::from_utf8_lossy(&secret).into_owned();
            assert!(has(&stored, &secret), "the row of {table} has no {shown}: nothing is tested");
            assert!(!has(&left, &secret), "{shown} leaves with {table}");
        }
    }
}

#[test]
fn what_can_sign_or_send_is_not_in_the_record_that_a_restore_opens() {
    let f = Fixture::new();
    let never =
        [b"the bytes of a signed transfer".to_vec(), vec![0xA5; 16], vec![0xA7; 32], b"a sealed second factor".to_vec(), vec![0xB1; 32]];
    for (table, key, bytes, _) in telling_rows() {
        let document = made(&f, table, &key, bytes.clone());
        let (_, row) = opened(&f.store.secrets, document.table, &document.name, document.record.as_ref().unwrap()).unwrap();
        never.iter().for_each(|secret| assert!(!has(&row, secret), "{table}"));
        assert_eq!(row == bytes, !never.iter().any(|secret| has(&bytes, secret)), "all else of {table} is as it was");
    }
}

#[test]
fn keys_of_subjects_are_sealed_in_their_rows_already() {
    let f = Fixture::new();
    let mut person = act();
    (person.actor, person.address) = (Actor::User("user_ada".into()), Some("192.0.2.77".into()));
    person.seed = crate::domain::audit::Seed(Some([9; 32]));
    f.write(move |tx, _| crate::storage::core::audit::append(tx, person.draft("auth.login", "user_ada"))).unwrap();
    let read = f.store.read().unwrap();
    let subject_keys::Found::Live(key) = subject_keys::find(&read, &f.store.secrets, "user_ada").unwrap() else { panic!("no key") };
    let document = found(&f, "subject_keys", b"user_ada");
    let (_, row) = opened(&f.store.secrets, "subject_keys", &document.name, document.record.as_ref().unwrap()).unwrap();
    assert!(!has(&row, &key.0) && !has(&leaves(&document), &key.0));
    let last = read.last(tables::AUDIT).unwrap().unwrap().0;
    assert!(!has(&leaves(&found(&f, "audit", &last.to_be_bytes())), b"192.0.2.77"));
}
