//! Replication against a server that speaks the protocol.

mod archives;
mod copy;
mod faulty;
mod fleet;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lucid::app::rebuild::{self, Metrics, Wanted};
use lucid::clock::{Clock, Driver};
use lucid::domain::ids::NodeIndex;
use lucid::domain::metrics::Sample;
use lucid::domain::time::{BootMs, Slot, Timestamp, TrustPolicy};
use lucid::gateways::replica::Cluster;
use lucid::jobs::Context;
use lucid::live::{Doing, Job};
use lucid::storage::core::{alerts, epochs, ledger};
use lucid::storage::hot::Parts;
use lucid::storage::hot::hours::first_slot;
use lucid::storage::replica::catalog::leaving;
use lucid::storage::replica::documents::collection;
use lucid::storage::replica::measured;
use lucid::storage::{present, tiers};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::{BINARY, eventually, serve, start_manager};
use crate::support::client::{Client, PASSWORD};
use crate::support::cluster::{Server, all, connect, database};
use crate::support::death::unless_it_dies;
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::site::Site;

use copy::{
    EVERYTHING, assert_equal, assert_same, assert_verifies, brought_back, catch_up, kit, of_store, put_in_place, replicate, restorable,
    site,
};
use faulty::{Fate, Faulty};

#[tokio::test]
async fn everything_goes_once_then_what_changed() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("first").await);
    let site = site(dir.path(), &uri).await;
    let node = site.enrol("attic").await;
    let status = replicate(&site).await;
    assert_eq!((status.doing, status.failure.clone(), status.not_taken), (Doing::Current, None, 0), "{status:?}");
    assert_equal(&site, &database).await;
    let found = all(&database, "nodes", doc! { "node_id": node.id.as_str() }).await;
    assert_eq!((found.len(), found[0].get_str("name").unwrap()), (1, "attic"));

    // Nothing changed: nothing goes.
    let sent = replicate(&site).await.documents;
    assert_eq!(sent, status.documents);
    site.client.put(&format!("/nodes/{}", node.id.as_str()), json!({ "name": "cellar" })).await;
    let status = replicate(&site).await;
    assert!((1..30).contains(&(status.documents - sent)), "{} documents of one change", status.documents - sent);
    assert_equal(&site, &database).await;
    let found = all(&database, "nodes", doc! { "node_id": node.id.as_str() }).await;
    assert_eq!(found[0].get_str("name").unwrap(), "cellar");

    // What goes leaves a document that says so, with nothing of what it was.
    site.client.call(reqwest::Method::DELETE, &format!("/nodes/{}", node.id.as_str()), None).await;
    replicate(&site).await;
    assert_equal(&site, &database).await;
    assert_eq!(all(&database, "nodes", doc! { "name": "cellar" }).await, []);
    let gone = all(&database, "nodes", doc! { "deleted": true }).await;
    assert!(gone.len() == 1 && !gone[0].contains_key("record") && gone[0].get_datetime("deleted_at").is_ok(), "{gone:?}");
    let indexes = database.collection::<Document>("nodes").list_index_names().await.unwrap();
    assert!(indexes.iter().any(|name| name.contains("deleted_at")), "{indexes:?}");
}

/// By the field that says since when a row is gone, the cluster lets go of its document: of one that is there again it must not.
#[tokio::test]
async fn a_row_that_is_there_again_has_no_end() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("there_again").await);
    let site = site(dir.path(), &uri).await;
    let id = site.client.post("/nodes", json!({ "name": "attic", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    replicate(&site).await;
    let path = format!("/nodes/{id}");
    let of_names = doc! { "table": "node_names", "deleted_at": { "$exists": true } };
    site.client.put(&path, json!({ "name": "cellar" })).await;
    replicate(&site).await;
    assert_eq!(all(&database, "manager_records", of_names.clone()).await.len(), 1, "a name that nobody has");
    site.client.put(&path, json!({ "name": "attic" })).await;
    replicate(&site).await;
    let gone = all(&database, "manager_records", of_names).await;
    assert!(gone.len() == 1 && gone[0].get_bool("deleted").unwrap(), "the other one is gone now: {gone:?}");
    assert_equal(&site, &database).await;
}

/// A row that comes back while its table is copied, behind where the copying is, is there in the end: what is buried is of before.
#[tokio::test]
async fn a_row_that_comes_back_while_its_table_is_copied_is_not_buried() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("buried").await);
    let site = site(dir.path(), &uri).await;
    for node in 0..30 {
        site.client.post("/nodes", json!({ "name": format!("node-{node}"), "node_type": "worker" })).await;
    }
    let id = site.client.post("/nodes", json!({ "name": "attic", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    let named = async |name: &str| site.client.put(&format!("/nodes/{id}"), json!({ "name": name })).await;
    replicate(&site).await;
    named("cellar").await;
    site.client.post("/replication/resync", json!({ "collection": "manager_records" })).await;
    let (mut context, real): (_, Arc<dyn Cluster>) = (site.app.context.clone(), site.app.context.cluster.clone().unwrap());
    let run = async |context: &Context| {
        context.replication.wish(|wishes| wishes.now = true);
        context.run(Job::Replication).await.unwrap();
    };
    // Of rows that are not answered, the next ones go a few at a time.
    context.cluster = Some(Faulty::before_rows(Arc::clone(&real), || Fate::Lost));
    for _ in 0..6 {
        run(&context).await;
    }
    context.cluster = Some(Faulty::before_older(Arc::clone(&real), "node_names", || Fate::Lost));
    run(&context).await;
    let at = context.replication.status().positions["node_names"].clone();
    assert!(!at.is_whole && at.through.is_some(), "read, but for its last page, and not buried: {at:?}");
    named("attic").await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
}

/// What goes drop by drop holds no snapshot while others write: pages that they free are used again.
#[tokio::test]
async fn a_limit_of_bandwidth_does_not_make_the_store_grow() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("trickle").await);
    let site = site(dir.path(), &uri).await;
    let limit = async |kb: u32| site.client.put("/settings", json!({ "mongodb.limit_kb_per_second": kb.to_string() })).await;
    let id = site.client.post("/nodes", json!({ "name": "attic", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    limit(2).await;
    for node in 0..60 {
        site.client.post("/nodes", json!({ "name": format!("node-{node}"), "node_type": "worker" })).await;
    }
    let size = || std::fs::metadata(dir.path().join("core.redb")).unwrap().len();
    let before = size();
    let (context, runs) = (site.app.context.clone(), std::sync::atomic::AtomicBool::new(true));
    let run = async {
        context.run(Job::Replication).await.unwrap();
        runs.store(false, Ordering::SeqCst);
    };
    let change = async {
        for turn in 0..600 {
            site.client.put(&format!("/nodes/{id}"), json!({ "name": format!("attic-{turn}") })).await;
        }
        assert!(runs.load(Ordering::SeqCst), "it is under way all the time");
        let grown = size().saturating_sub(before);
        assert!(grown < 40 << 20, "{before} bytes grew by {grown}");
        limit(0).await;
    };
    tokio::join!(run, change);
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
}

/// Beside its row, a node's document says what is seen of it; leaves say the scores.
#[tokio::test]
async fn what_is_seen_of_nodes_is_told_once_an_epoch() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("seen").await);
    let site = site(dir.path(), &uri).await;
    let mut node = site.enrol("attic").await;
    let silent = site.enrol("cellar").await;
    // Longer than the first score waits for.
    for _ in 0..150 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.unwrap();
    }
    site.pass_slots(0).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    let of = async |node: &str| all(&database, "nodes", doc! { "node_id": node }).await.remove(0);
    let found = of(node.id.as_str()).await;
    let view = site.client.get(&format!("/nodes/{}", node.id.as_str())).await;
    let pools = all(&database, "node_pools", doc! {}).await;
    assert_eq!(pools.iter().map(|pool| pool.get("node_count").unwrap().to_string()).collect::<Vec<_>>(), ["2"], "{pools:?}");
    assert_eq!(found.get_str("status").unwrap(), view["status"].as_str().unwrap());
    assert_eq!(found.get_f64("poot_score").ok().map(|score| json!(score)).as_ref(), Some(&view["poot"]["score"]), "{view}");
    let heard = found.get_datetime("last_heartbeat").unwrap().timestamp_millis();
    assert!(site.now_ms() - heard < 60_000);
    let found = of(silent.id.as_str()).await;
    assert_eq!(
        (found.get_str("status").unwrap(), found.get("last_heartbeat") == Some(&mongodb::bson::Bson::Null)),
        ("inactive", true),
        "{found:?}"
    );

    let leaves = all(&database, "poot_scores", doc! {}).await;
    let last = leaves.last().unwrap().get_array("scores").unwrap();
    assert_eq!(last[0].as_document().unwrap().get_str("node_id").unwrap(), node.id.as_str());
    // The session was too old: the client signed in once more, which is in the audit log.
    replicate(&site).await;
    assert_equal(&site, &database).await;

    // A change of the row leaves it as it is; the end of the node does not.
    site.client.put(&format!("/nodes/{}", node.id.as_str()), json!({ "name": "loft" })).await;
    replicate(&site).await;
    let found = of(node.id.as_str()).await;
    assert_eq!((found.get_str("name").unwrap(), found.get_str("status").unwrap()), ("loft", "active"));
}

/// Money is Decimal128, moments are dates, ids are text; every document says whose it is.
#[tokio::test]
async fn documents_have_the_types_of_the_cluster() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("types").await);
    let site = Site::new(dir.path().to_owned(), &[("mongodb.uri", &uri), ("mongodb.region", "attic")]).await;
    site.client.post("/nodes/pools", json!({ "name": "one", "max_nodes": 5 })).await;
    replicate(&site).await;
    let pools = all(&database, "node_pools", doc! {}).await;
    assert!(!pools.is_empty());
    for pool in pools {
        let price = pool.get_document("pricing").unwrap();
        price
            .get("reward_per_hour")
            .and_then(|price| if let mongodb::bson::Bson::Decimal128(_) = price { Some(()) } else { None })
            .unwrap();
        pool.get_datetime("created_at").unwrap();
        assert_eq!(pool.get_str("manager_id").unwrap(), site.app.store.manager_id.as_str());
        assert_eq!(pool.get_str("region").unwrap(), "attic");
        assert!(pool.contains_key("rev") && pool.contains_key("schema_version"));
    }
    let indexes = database.collection::<Document>("nodes").list_index_names().await.unwrap();
    assert!(indexes.len() >= 8, "{indexes:?}");
}

#[tokio::test]
async fn without_a_cluster_all_is_as_ever_and_it_catches_up_later() {
    let dir = TempDir::new().unwrap();
    let server = Server::start();
    let proxy = Proxy::before(server.address.clone()).await;
    let uri = format!("mongodb://{}/offline?serverSelectionTimeoutMS=200&connectTimeoutMS=200", proxy.address);
    proxy.faults.away.store(true, Ordering::SeqCst);
    let site = site(dir.path(), &uri).await;
    let status = replicate(&site).await;
    assert_eq!((status.doing, status.failures, status.next_try.is_some()), (Doing::Away, 1, true), "{status:?}");
    let node = site.enrol("attic").await;
    // Not before its time has come.
    assert_eq!(replicate(&site).await.failures, 1);
    site.next_slot(1_000);
    assert_eq!(replicate(&site).await.failures, 2);
    proxy.faults.away.store(false, Ordering::SeqCst);
    let database = connect(&server.uri("offline")).await;
    let status = catch_up(&site).await;
    assert_eq!((status.doing, status.failures), (Doing::Current, 0), "{status:?}");
    assert_equal(&site, &database).await;

    // Away again, in the middle of an answer, while things change; and over a crash.
    for cut_after in [0, 7, 60, 300, 1_500] {
        proxy.faults.pass.store(cut_after, Ordering::SeqCst);
        site.client.put(&format!("/nodes/{}", node.id.as_str()), json!({ "name": format!("cut-{cut_after}") })).await;
        site.next_slot(1_000);
        replicate(&site).await;
        proxy.faults.pass.store(-1, Ordering::SeqCst);
    }
    let site = site.crash().await;
    site.client.put(&format!("/nodes/{}", node.id.as_str()), json!({ "name": "after" })).await;
    let status = catch_up(&site).await;
    assert_eq!(status.doing, Doing::Current, "{status:?}");
    assert_equal(&site, &database).await;
}

#[tokio::test]
async fn a_server_that_was_wiped_gets_everything_again() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("wiped").await);
    let site = site(dir.path(), &uri).await;
    replicate(&site).await;
    database.drop().await.unwrap();
    site.client.post("/nodes/pools", json!({ "name": "one", "max_nodes": 5 })).await;
    let status = catch_up(&site).await;
    assert_eq!(status.doing, Doing::Current, "{status:?}");
    assert_equal(&site, &database).await;
    // One collection, when somebody asks for it.
    database.collection::<Document>("nodes").drop().await.unwrap();
    database.collection::<Document>("node_pools").delete_many(doc! {}).await.unwrap();
    for collection in ["nodes", "node_pools"] {
        site.client.post("/replication/resync", json!({ "collection": collection })).await;
    }
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
    assert!(restorable(&site, &uri, &database).await.is_some());
}

#[tokio::test]
async fn managers_share_a_database_and_never_each_others_documents() {
    let (dirs, (uri, database)) = ([TempDir::new().unwrap(), TempDir::new().unwrap()], database("two").await);
    let sites = [site(dirs[0].path(), &uri).await, site(dirs[1].path(), &uri).await];
    for round in 0..3 {
        for (number, site) in sites.iter().enumerate() {
            site.enrol(&format!("node-{number}-{round}")).await;
            assert_eq!(replicate(site).await.doing, Doing::Current);
        }
    }
    for site in &sites {
        assert_equal(site, &database).await;
    }
    assert_eq!(all(&database, "nodes", doc! { "deleted": false }).await.len(), 6);
}

/// What the cluster lets go of by itself, and that nothing misses it: tombstones, measurements that were kept long enough.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_lets_go_of_is_missed_by_nobody() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("expired").await);
    let site = Site::new(dir.path().to_owned(), &[("mongodb.uri", uri.as_str()), ("mongodb.raw_metrics", "true")]).await;
    let mut node = site.enrol("attic").await;
    for _ in 0..150 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.unwrap();
    }
    site.run_cycles().await;
    let gone = site.enrol("cellar").await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    site.client.call(reqwest::Method::DELETE, &format!("/nodes/{}", gone.id.as_str()), None).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);

    let expires = async |collection: &str, field: &str| {
        let answer = database.run_command(doc! { "listIndexes": collection }).await.unwrap();
        let indexes = answer.get_document("cursor").unwrap().get_array("firstBatch").unwrap().clone();
        let of = indexes.iter().filter_map(|index| index.as_document()).find(|index| {
            let keys = index.get_document("key").unwrap();
            keys.len() == 1 && keys.contains_key(field)
        });
        of.unwrap_or_else(|| panic!("{collection} has no index on {field}")).get("expireAfterSeconds").map(ToString::to_string)
    };
    let days = |days: u32| Some((days * 86_400).to_string());
    for collection in leaving().map(|listed| collection(listed.table)).chain(["archives"]).collect::<BTreeSet<_>>() {
        assert_eq!(expires(collection, "deleted_at").await, days(90), "{collection}");
    }
    assert_eq!(expires("resource_metrics", "timestamp").await, days(90));
    assert_eq!(
        (expires("resource_metrics_hourly", "timestamp").await, expires("poot_evidence", "timestamp").await),
        (days(366), days(366))
    );
    assert_eq!(expires("poot_validations", "timestamp").await, None, "a store may keep them for longer");

    // By what these indexes say, all at once.
    let mut let_go = 0;
    for collection in database.list_collection_names().await.unwrap() {
        let of = if collection.starts_with("resource_metrics") {
            doc! {}
        } else {
            doc! { "deleted_at": { "$exists": true } }
        };
        let_go += database.collection::<Document>(&collection).delete_many(of).await.unwrap().deleted_count;
    }
    assert!(let_go > 100, "{let_go} documents");
    site.client.post("/nodes/pools", json!({ "name": "after", "max_nodes": 5 })).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
    let (round, found) = restorable(&site, &uri, &database).await.unwrap();
    assert_same(&of_store(&site).await, &found, &format!("round {round:?}"));
    let kit = kit(&site);
    let place = fresh.path().join("data");
    brought_back(&site, &kit, &place).await;
    assert_verifies(&place);
}

/// A rule of the owner's, that two nodes never have one name, refuses what two managers have: it is told, all else goes, and the round has it.
#[tokio::test]
async fn a_duplicate_by_the_owners_own_index_is_told_and_stops_nothing() {
    let (dirs, (uri, database)) = ([TempDir::new().unwrap(), TempDir::new().unwrap()], database("duplicate").await);
    let unique =
        doc! { "createIndexes": "nodes", "indexes": [{ "key": { "name": 1 }, "name": "one_of_each", "unique": true, "sparse": true }] };
    database.run_command(unique).await.unwrap();
    let sites = [site(dirs[0].path(), &uri).await, site(dirs[1].path(), &uri).await];
    for site in &sites {
        site.client.post("/nodes", json!({ "name": "attic", "node_type": "worker" })).await;
        site.client.post("/nodes/pools", json!({ "name": "of-all", "max_nodes": 5 })).await;
    }
    let first = replicate(&sites[0]).await;
    assert_eq!((first.doing, first.not_taken), (Doing::Current, 0));
    let status = replicate(&sites[1]).await;
    let because = status.not_taken_because.unwrap_or_default();
    assert!(status.not_taken > 0 && because.starts_with("nodes: ") && because.contains("name"), "{because}");
    assert_eq!(all(&database, "node_pools", doc! { "name": "of-all" }).await.len(), 2, "all else went");
    let (_, found) = restorable(&sites[1], &uri, &database).await.expect("a whole");
    assert_same(&of_store(&sites[1]).await, &found, "what a restore finds");
    // Renamed, it goes.
    let id = sites[1].client.get("/nodes").await["nodes"][0]["node_id"].as_str().unwrap().to_owned();
    sites[1].client.put(&format!("/nodes/{id}"), json!({ "name": "cellar" })).await;
    assert_eq!(catch_up(&sites[1]).await.doing, Doing::Current);
    for site in &sites {
        assert_equal(site, &database).await;
    }
}

/// Somebody tidies up while a manager is off: it begins anew, once, and not at every start.
#[tokio::test]
async fn a_manager_whose_document_was_deleted_begins_anew_once() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("tidied").await);
    let one = site(dir.path(), &uri).await;
    let (driver, settings) = (one.driver.clone(), vec![("mongodb.uri", uri.clone())]);
    for _ in 0..20 {
        replicate(&one).await;
        driver.advance_ms(31_000);
    }
    // Positions are of beats that a new document is far from.
    one.client.post("/replication/resync", json!({ "collection": "manager_records" })).await;
    replicate(&one).await;
    one.end().await;
    database.collection::<Document>("managers").delete_one(doc! {}).await.unwrap();
    let again = Site::open(dir.path().to_owned(), driver.clone(), settings.clone()).await;
    assert_eq!(catch_up(&again).await.doing, Doing::Current);
    let copy = all(&database, "managers", doc! {}).await[0].get_str("copy").unwrap().to_owned();
    let copies: BTreeSet<String> =
        all(&database, "manager_positions", doc! {}).await.iter().map(|at| at.get_str("copy").unwrap().to_owned()).collect();
    assert_eq!(copies, [copy].into());
    assert_equal(&again, &database).await;
    let everything = again.app.context.replication.status().documents;
    again.end().await;
    let third = Site::open(dir.path().to_owned(), driver, settings).await;
    let status = catch_up(&third).await;
    assert!(status.documents < everything / 2, "{} documents of {everything} at a start", status.documents);
}

/// Paused, it is still seen to live: after a link that was cut, and after a start.
#[tokio::test]
async fn who_is_paused_goes_on_saying_that_it_lives() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("paused").await);
    let one = site(dir.path(), &uri).await;
    let (driver, settings) = (one.driver.clone(), vec![("mongodb.uri", uri.clone())]);
    replicate(&one).await;
    one.client.post("/replication/pause", json!({})).await;
    let claim = async || {
        let found = all(&database, "managers", doc! {}).await.remove(0);
        (found.get_str("run").unwrap().to_owned(), found.get("beat").unwrap().to_string().parse::<u64>().unwrap())
    };
    let beats = async |context: &Context| {
        let mut told = Vec::new();
        for _ in 0..6 {
            driver.advance_ms(31_000);
            context.run(Job::Replication).await.unwrap();
            assert_eq!(context.replication.status().doing, Doing::Paused);
            told.push(claim().await.1);
        }
        told
    };
    assert!(beats(&one.app.context).await.windows(2).all(|of| of[0] < of[1]));
    let mut context = one.app.context.clone();
    context.cluster = Some(Faulty::before(one.app.context.cluster.clone().unwrap(), || Fate::Lost));
    let before = claim().await.1;
    assert_eq!(beats(&context).await, [before; 6]);
    drop(context);
    driver.advance_ms(600_000);
    assert!(beats(&one.app.context).await.windows(2).all(|of| of[0] < of[1]));

    one.end().await;
    let again = Site::open(dir.path().to_owned(), driver.clone(), settings).await;
    beats(&again.app.context).await;
    assert_eq!(claim().await.0, again.app.store.replica_run);
    assert_eq!(again.app.context.replication.status().documents, 0, "nothing goes");
}

/// Cuts that are over count no more, and a wish not to wait is one of the next try alone.
#[tokio::test]
async fn who_is_paused_is_silent_for_no_longer_because_of_cuts_that_are_over() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("paused_cuts").await);
    let site = site(dir.path(), &uri).await;
    replicate(&site).await;
    site.client.post("/replication/pause", json!({})).await;
    let beat = async || all(&database, "managers", doc! {}).await.remove(0).get("beat").unwrap().to_string().parse::<u64>().unwrap();
    let (mut context, to_lose) = (site.app.context.clone(), Arc::new(AtomicUsize::new(0)));
    let left = Arc::clone(&to_lose);
    let fate = move || match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => Fate::Lost,
        Err(_) => Fate::Fine,
    };
    context.cluster = Some(Faulty::before(site.app.context.cluster.clone().unwrap(), fate));
    let run_after = async |ms: i64| {
        site.driver.advance_ms(ms);
        context.run(Job::Replication).await.unwrap();
        context.replication.status()
    };
    for cut in 1..9 {
        let before = beat().await;
        to_lose.store(1, Ordering::SeqCst);
        assert_eq!((run_after(31_000).await.failures, beat().await), (1, before), "cut {cut}");
        let status = run_after(31_000).await;
        assert!(status.failures == 0 && status.doing == Doing::Paused && beat().await > before, "cut {cut}: {status:?}");
    }
    to_lose.store(100, Ordering::SeqCst);
    context.replication.wish(|wishes| wishes.now = true);
    for wait_ms in [31_000, 1_000, 1_000] {
        run_after(wait_ms).await;
    }
    assert_eq!(to_lose.load(Ordering::SeqCst), 99, "one try");
}

/// What becomes of the store itself is told, paused or not.
#[tokio::test]
async fn a_store_that_fails_while_it_is_paused_is_told() {
    let (dir, (uri, _)) = (TempDir::new().unwrap(), database("paused_store").await);
    let site = site(dir.path(), &uri).await;
    site.client.post("/replication/pause", json!({})).await;
    let (mut context, store) = (site.app.context.clone(), Arc::clone(&site.app.store));
    let closes = move || {
        store.close();
        Fate::Fine
    };
    context.cluster = Some(Faulty::before(site.app.context.cluster.clone().unwrap(), closes));
    context.run(Job::Replication).await.unwrap_err();
    let failure = context.replication.status().failure;
    assert!(failure.as_ref().is_some_and(|failure| failure.why.starts_with("the store: ")), "{failure:?}");
}

/// A node is where its manager is by now.
#[tokio::test]
async fn who_moves_to_another_region_takes_its_nodes_along() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("moved").await);
    let settings = |region: &str| vec![("mongodb.uri", uri.clone()), ("mongodb.region", region.to_owned())];
    let one = Site::new(dir.path().to_owned(), &[("mongodb.uri", uri.as_str()), ("mongodb.region", "attic")]).await;
    one.client.post("/nodes", json!({ "name": "one", "node_type": "worker" })).await;
    assert_eq!(replicate(&one).await.doing, Doing::Current);
    let driver = one.driver.clone();
    one.end().await;
    let again = Site::open(dir.path().to_owned(), driver, settings("cellar")).await;
    assert_eq!(catch_up(&again).await.doing, Doing::Current);
    let nodes = all(&database, "nodes", doc! {}).await;
    assert_eq!(nodes.iter().map(|node| node.get_str("region").unwrap()).collect::<Vec<_>>(), ["cellar"]);
}

/// A manager that replicates, and what a copy of its card makes.
async fn original_and_copy(dir: &Path, copied: &Path, uri: &str) -> (Site, Site) {
    let original = site(dir, uri).await;
    replicate(&original).await;
    let (driver, settings) = (original.driver.clone(), vec![("mongodb.uri", uri.to_owned())]);
    original.end().await;
    crate::support::copy(dir, copied);
    let original = Site::open(dir.to_owned(), driver.clone(), settings.clone()).await;
    assert_eq!(catch_up(&original).await.doing, Doing::Current);
    (original, Site::open(copied.to_owned(), driver, settings).await)
}

#[tokio::test]
async fn a_copy_of_the_card_is_noticed_and_does_not_write() {
    let (dir, copied, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("second").await);
    let (original, second) = original_and_copy(dir.path(), copied.path(), &uri).await;
    let (driver, settings) = (original.driver.clone(), vec![("mongodb.uri", uri.clone())]);
    let mut seen = Vec::new();
    for _ in 0..8 {
        seen.push(replicate(&second).await.doing);
        assert_eq!(replicate(&original).await.doing, Doing::Current);
        driver.advance_ms(31_000);
    }
    assert_eq!(seen, [Doing::Second; 8], "it knows that a run wrote which it does not know");
    assert_equal(&original, &database).await;
    // A wiped cluster is for who wrote until then, whoever looks first.
    database.drop().await.unwrap();
    for _ in 0..3 {
        let doing = replicate(&second).await.doing;
        assert!(doing == Doing::Watching || doing == Doing::Second, "{doing:?}");
        replicate(&original).await;
        driver.advance_ms(15_000);
    }
    assert_eq!(catch_up(&original).await.doing, Doing::Current);
    assert_eq!(replicate(&second).await.doing, Doing::Second);
    assert_equal(&original, &database).await;

    // The original ends and says so. The copy stays the second, until a person says that the other one is gone.
    lucid::jobs::replication::release(&original.app.context).await;
    original.end().await;
    assert_eq!(replicate(&second).await.doing, Doing::Second);
    second.app.context.replication.wish(|wishes| wishes.takes_over = true);
    assert_eq!(replicate(&second).await.doing, Doing::Current);
    // That its alert is over goes with the next run.
    assert_eq!(replicate(&second).await.doing, Doing::Current);
    assert_equal(&second, &database).await;
    // And now the original is the one that is not known.
    let mut original = Site::open(dir.path().to_owned(), driver, settings).await;
    assert_eq!(catch_up(&original).await.doing, Doing::Second);
    original.client.sign_in(crate::support::client::USERNAME, PASSWORD).await;
    original.client.post("/nodes/pools", json!({ "name": "of-the-original", "max_nodes": 5 })).await;
    // It takes over in its turn, and what the copy had done meanwhile is no more.
    lucid::jobs::replication::release(&second.app.context).await;
    second.end().await;
    original.app.context.replication.wish(|wishes| wishes.takes_over = true);
    assert_eq!(catch_up(&original).await.doing, Doing::Current);
    assert_equal(&original, &database).await;
}

/// A pause is no reason to keep from people that another manager has this id; when that is over, it is over.
#[tokio::test]
async fn a_copy_that_is_paused_tells_of_the_other_all_the_same() {
    let (dir, copied, (uri, _)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("second_paused").await);
    let (original, mut second) = original_and_copy(dir.path(), copied.path(), &uri).await;
    second.client.sign_in(crate::support::client::USERNAME, PASSWORD).await;
    second.client.post("/replication/pause", json!({})).await;
    let is_told = || alerts::is_open(&second.app.store.read().unwrap(), "replication_second", "").unwrap();
    assert_eq!((replicate(&second).await.doing, is_told()), (Doing::Second, true));
    let shown = second.client.get("/replication").await;
    assert!(shown["state"] == "paused" && shown["text"].as_str().unwrap().contains("another manager with the id of this one"), "{shown}");
    assert_eq!(second.client.get("/health").await["checks"]["external_services"]["mongodb"], "unhealthy");
    second.client.post("/replication/resume", json!({})).await;
    assert_eq!(replicate(&second).await.doing, Doing::Second);
    assert_eq!(second.client.get("/replication").await["state"], "second");

    second.client.post("/replication/pause", json!({})).await;
    lucid::jobs::replication::release(&original.app.context).await;
    original.end().await;
    assert_eq!((replicate(&second).await.doing, is_told()), (Doing::Second, true));
    second.app.context.replication.wish(|wishes| wishes.takes_over = true);
    assert_eq!((replicate(&second).await.doing, is_told()), (Doing::Paused, false));
}

/// A snapshot of a card, or a card that lost what it had synced: what it wrote after that is in the cluster, and it knows nothing of it.
#[tokio::test]
async fn a_store_that_was_set_back_is_noticed_and_goes_as_a_whole() {
    let (dir, before, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("set_back").await);
    let site = site(dir.path(), &uri).await;
    replicate(&site).await;
    crate::support::copy(dir.path(), before.path());
    site.client.post("/nodes/pools", json!({ "name": "lost", "max_nodes": 5 })).await;
    replicate(&site).await;
    lucid::jobs::replication::release(&site.app.context).await;
    let (driver, settings) = (site.driver.clone(), vec![("mongodb.uri", uri.clone())]);
    site.end().await;
    let mut back = Site::open(before.path().to_owned(), driver, settings).await;
    back.client.sign_in(crate::support::client::USERNAME, PASSWORD).await;
    back.client.post("/nodes/pools", json!({ "name": "instead", "max_nodes": 5 })).await;
    assert_eq!(catch_up(&back).await.doing, Doing::Current);
    assert_equal(&back, &database).await;
    assert!(restorable(&back, &uri, &database).await.is_some());
}

/// Every posting is in an archive, and none is in the store: what the cluster has of them is no other past, at whatever start.
#[tokio::test]
async fn a_ledger_that_was_archived_to_its_end_does_not_go_again() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("archived_ledger").await);
    let settings = [("mongodb.uri", uri.as_str()), ("payout.threshold_usdt", "100")];
    let mut site = Site::new(dir.path().to_owned(), &settings).await;
    let mut node = site.enrol("attic").await;
    node.report(site.now_ms(), Sample::default()).await.unwrap();
    site.first_epoch().await;
    let payee = site.payee("payee", "worker", json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3" })).await;
    site.owe(&payee, ("25", "USDT"), "simulated").await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    for days in [20, 731] {
        site.driver.advance_ms(days * 86_400_000);
        site.pass_slots(1).await;
        site.run_cycles().await;
        site.app.context.run(Job::Housekeeping).await.unwrap();
    }
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let is_posting = |(table, _): &(&str, Vec<u8>)| *table == "postings";
    assert!(ledger::archived(&site.app.store.read().unwrap()).unwrap() > 0 && !of_store(&site).await.keys().any(is_posting));
    let copy = async || all(&database, "managers", doc! {}).await[0].get_str("copy").unwrap().to_owned();
    let before = copy().await;
    assert!(!all(&database, "ledger_postings", doc! { "deleted": false }).await.is_empty(), "history stays");
    for _ in 0..2 {
        site = site.crash().await;
        assert_eq!((catch_up(&site).await.doing, copy().await), (Doing::Current, before.clone()));
    }

    // The next one follows them.
    site.owe(&payee, ("1", "USDT"), "simulated").await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    assert_eq!(of_store(&site).await.keys().filter(|key| is_posting(key)).count(), 1);
}

#[tokio::test]
async fn credentials_are_told_to_nobody() {
    let (dir, server) = (TempDir::new().unwrap(), Server::start());
    let uri = format!("mongodb://me:hunter2-secret@{}/x?serverSelectionTimeoutMS=500", server.address);
    connect(&server.uri("x")).await;
    let site = site(dir.path(), &uri).await;
    let status = replicate(&site).await;
    assert_eq!(status.doing, Doing::Away, "{status:?}");
    assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
}

/// Place of one of so many.
fn any(random: &mut Random, of: usize) -> usize {
    usize::try_from(random.within(0, u64::try_from(of).unwrap())).unwrap()
}

/// One thing that a person does.
async fn change(client: &Client, random: &mut Random) {
    let nodes = client.get("/nodes").await;
    let nodes = nodes["nodes"].as_array().unwrap();
    let name = format!("n{}", random.within(0, 1 << 40));
    let of_them =
        |random: &mut Random| (!nodes.is_empty()).then(|| nodes[any(random, nodes.len())]["node_id"].as_str().unwrap().to_owned());
    let answer: (reqwest::StatusCode, Value) = match (random.within(0, 5), of_them(random)) {
        (0 | 1, _) | (_, None) => client.call(reqwest::Method::POST, "/nodes", Some(json!({ "name": name, "node_type": "worker" }))).await,
        (2, Some(node)) => client.call(reqwest::Method::PUT, &format!("/nodes/{node}"), Some(json!({ "name": name }))).await,
        (3, Some(node)) => client.call(reqwest::Method::DELETE, &format!("/nodes/{node}"), None).await,
        (_, Some(_)) => client.call(reqwest::Method::POST, "/nodes/pools", Some(json!({ "name": name, "max_nodes": 5 }))).await,
    };
    // A node with money stays.
    assert!(answer.0.is_success() || answer.0 == reqwest::StatusCode::CONFLICT, "{answer:?}");
}

/// Faults of every kind at any request, deaths at any await: whatever there is in between, a restore finds one state that the store was in, and in the end both are the same.
#[tokio::test]
async fn any_history_of_changes_and_faults_ends_equal_and_is_restorable_all_the_time() {
    let mut random = Random::new();
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("histories").await);
    let mut site = site(dir.path(), &uri).await;
    let mut machines = [site.enrol("attic").await, site.enrol("cellar").await];
    let mut whole: Option<(lucid::domain::replica::Rev, copy::State)> = None;
    let (mut rounds, mut deaths) = (0, 0);
    // Before anybody deletes them: there are scores, whatever follows.
    for _ in 0..30 {
        site.next_slot(5_000);
        for machine in &mut machines {
            machine.report(site.now_ms(), Sample::default()).await.unwrap();
        }
    }
    site.pass_slots(0).await;
    for _ in 0..60 {
        for _ in 0..random.within(0, 4) {
            change(&site.client, &mut random).await;
        }
        if random.within(0, 3) == 0 {
            for _ in 0..12 {
                site.next_slot(5_000);
                for machine in &mut machines {
                    // Deleted meanwhile, it is refused.
                    machine.report(site.now_ms(), Sample::default()).await;
                }
            }
            site.pass_slots(0).await;
        }
        site.next_slot(1_000);
        let before = of_store(&site).await;
        match random.within(0, 4) {
            0 => {
                replicate(&site).await;
            }
            1 => {
                let waits = Some(random.within(0, 400));
                let died = unless_it_dies(site.app.context.run(Job::Replication), waits).await.is_none();
                if died {
                    deaths += 1;
                    site = site.crash().await;
                    machines.iter_mut().for_each(|machine| machine.rebase(&site.client.base));
                }
            }
            _ => {
                let at = random.within(0, 25);
                let kinds = [Fate::Lost, Fate::Unanswered, Fate::Half, Fate::Spurned];
                let (kind, mut calls) = (kinds[any(&mut random, kinds.len())], 0);
                let real: Arc<dyn Cluster> = site.app.context.cluster.clone().unwrap();
                let mut context = site.app.context.clone();
                context.cluster = Some(Faulty::before(real, move || {
                    calls += 1;
                    if calls > at && calls <= at + 2 { kind } else { Fate::Fine }
                }));
                context.run(Job::Replication).await.unwrap();
            }
        }
        match restorable(&site, &uri, &database).await {
            Some((round, state)) => {
                if whole.as_ref().is_none_or(|(rev, _)| *rev != round.rev) {
                    rounds += 1;
                    whole = Some((round.rev, before));
                }
                assert_same(&whole.as_ref().unwrap().1, &state, "what can be restored is no state of the store");
            }
            None => whole = None,
        }
    }
    println!("{rounds} rounds, {deaths} deaths");
    for collection in ["poot_scores", "poot_evidence", "poot_epochs", "node_history"] {
        assert!(!all(&database, collection, doc! { "deleted": false }).await.is_empty(), "{collection}");
    }
    assert!(rounds > 5, "{rounds} rounds");
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
}

/// Hours that are over, as samples and as what they come to; what expired meanwhile is told as a gap, and nothing is sent twice.
#[tokio::test]
async fn measurements_go_hour_by_hour_and_gaps_are_told() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("measured").await);
    let settings = [("mongodb.uri", uri.as_str()), ("mongodb.raw_metrics", "true"), ("storage.raw_days", "7")];
    let site = Site::new(dir.path().to_owned(), &settings).await;
    let mut node = site.enrol("attic").await;
    let id = node.id.as_str().to_owned();
    let mut sample = Sample::default();
    (sample.cpu.usage_percent, sample.memory.used_bytes) = (Some(12.5), Some(1 << 33));
    let mut measure = async |slots: u32| {
        for _ in 0..slots {
            site.next_slot(5_000);
            node.report(site.now_ms(), sample.clone()).await.unwrap();
        }
        site.run_cycles().await;
        replicate(&site).await;
    };
    measure(300).await;
    let of = async |collection: &str| all(&database, collection, doc! {}).await;
    let (raw, hourly) = (of("resource_metrics").await, of("resource_metrics_hourly").await);
    assert_eq!((raw.len(), hourly.len()), (239, 2), "the hour that is not over waits, and the first slot had passed");
    let first = &raw[0];
    assert_eq!(first.get_str("node_id").unwrap(), id);
    assert_eq!(first.get_document("cpu").unwrap().get_f64("usage_percent").ok().map(|usage| json!(usage)), Some(json!(12.5)));
    assert_eq!(first.get_document("memory").unwrap().get_i64("used_bytes").unwrap(), 1 << 33);
    let at = first.get_datetime("timestamp").unwrap().timestamp_millis();
    assert_eq!(at % 30_000, 0);
    let counts: Vec<String> = hourly.iter().map(|hour| hour.get("samples").unwrap().to_string()).collect();
    assert_eq!(counts, ["119", "120"]);
    let sent = replicate(&site).await.documents;
    assert_eq!(replicate(&site).await.documents, sent, "nothing goes twice");
    let shown = site.client.get("/replication").await;
    let shown = shown["collections"].as_array().unwrap().iter().find(|of| of["collection"] == "resource_metrics").unwrap().clone();
    assert_eq!((&shown["waiting"], &shown["is_whole"]), (&json!(0), &json!(true)));

    // Paused for three weeks, with a week's retention: what was measured at their beginning is gone when it goes on.
    site.client.post("/replication/pause", json!({})).await;
    measure(300).await;
    let shown = site.client.get("/replication").await;
    let shown = shown["collections"].as_array().unwrap().iter().find(|of| of["collection"] == "resource_metrics").unwrap().clone();
    // As old as the first hour of which something waits.
    assert!(shown["waiting"].is_null() && (9_000..9_000 + 3_600).contains(&shown["behind_seconds"].as_u64().unwrap()), "{shown}");
    for _ in 0..3 {
        site.driver.advance_ms(7 * 86_400_000);
        measure(300).await;
    }
    assert_eq!(of("resource_metrics").await.len(), 239);
    // Whoever signed in before is not any more.
    site.app.store.write(|tx| lucid::storage::replica::marks::pause(tx, false)).await.unwrap();
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let gaps = of("resource_metrics_gaps").await;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (from, until) = (*gaps[0].get_datetime("from").unwrap(), *gaps[0].get_datetime("until").unwrap());
    assert!(until.timestamp_millis() - from.timestamp_millis() > 7 * 86_400_000, "{gaps:?}");
    let raw = of("resource_metrics").await;
    let times = raw.iter().map(|found| *found.get_datetime("timestamp").unwrap());
    assert!(times.clone().any(|at| at >= until) && !times.clone().any(|at| from <= at && at < until), "{gaps:?}");
}

/// Thousands of rows wait, and the link breaks at any request again and again: each run goes on where the one before got to, until there is a round.
#[tokio::test]
async fn over_a_link_that_breaks_again_and_again_a_round_gets_through() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("breaks").await);
    let site = site(dir.path(), &uri).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    let first = of_store(&site).await;
    for node in 0..120 {
        site.client.post("/nodes", json!({ "name": format!("node-{node}"), "node_type": "worker" })).await;
    }
    let (mut context, mut requests) = (site.app.context.clone(), 0);
    let real: Arc<dyn Cluster> = site.app.context.cluster.clone().unwrap();
    context.cluster = Some(Faulty::before(real, move || {
        requests += 1;
        if requests <= 8 || requests % 12 == 0 { Fate::Lost } else { Fate::Fine }
    }));
    let (mut runs, mut is_whole) = (0, false);
    loop {
        // Rows change between the runs, also those that are in parts already.
        if runs % 3 == 0 {
            site.client.post("/nodes/pools", json!({ "name": format!("pool-{runs}"), "max_nodes": 5 })).await;
            let earlier = site.client.get("/nodes?limit=1").await["nodes"][0]["node_id"].as_str().unwrap().to_owned();
            site.client.put(&format!("/nodes/{earlier}"), json!({ "name": format!("renamed-{runs}") })).await;
        }
        let before = of_store(&site).await;
        context.replication.wish(|wishes| wishes.now = true);
        context.run(Job::Replication).await.unwrap();
        let status = context.replication.status();
        assert!(runs < 10 || status.failures <= 1, "something arrives in each run: {status:?}");
        let (_, state) = restorable(&site, &uri, &database).await.expect("there is a round all the time");
        if !is_whole && state != first {
            assert_same(&before, &state, "the round that got through is no state of the store");
            is_whole = true;
        }
        runs += 1;
        if status.doing == Doing::Current {
            break;
        }
        assert!(runs < 120, "{status:?}");
        site.next_slot(5_000);
    }
    assert!(is_whole && runs > 10, "{runs} runs");
    assert_equal(&site, &database).await;
}

/// The real binary, killed while half of a request has arrived; who opens its store goes on from there.
#[tokio::test]
async fn killed_in_the_middle_of_a_batch_it_goes_on_and_nothing_is_lost() {
    let (mut random, server) = (Random::new(), Server::start());
    for kill in 0..4 {
        let dir = TempDir::new().unwrap();
        let uri = server.uri(&format!("killed_{kill}"));
        let database = connect(&uri).await;
        let site = Site::new(dir.path().to_owned(), &[]).await;
        for node in 0..60 {
            site.client.post("/nodes", json!({ "name": format!("node-{node}"), "node_type": "worker" })).await;
        }
        site.end().await;
        let proxy = Proxy::before(server.address.clone()).await;
        proxy.faults.reach.store(i64::try_from(random.within(3_000, 150_000)).unwrap(), Ordering::SeqCst);
        let mut command = serve(dir.path());
        command.env("MONGODB_URI", format!("mongodb://{}/killed_{kill}", proxy.address));
        let mut manager = start_manager(command);
        eventually("the link is full", async || (proxy.faults.reach.load(Ordering::SeqCst) == 0).then_some(())).await;
        manager.process.kill();
        let taken = all(&database, "manager_positions", doc! {}).await.len();
        println!("killed after {taken} positions");

        let now = Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall;
        let driver = Driver::new(now, BootMs(60_000));
        driver.set_synchronised(true);
        let mut again = Site::open(dir.path().to_owned(), driver, vec![("mongodb.uri", uri.clone())]).await;
        again.client.sign_in(crate::support::client::USERNAME, PASSWORD).await;
        again.client.post("/nodes/pools", json!({ "name": "after", "max_nodes": 5 })).await;
        assert_eq!(catch_up(&again).await.doing, Doing::Current);
        assert_equal(&again, &database).await;
        let (_, state) = restorable(&again, &uri, &database).await.expect("a whole");
        assert_same(&of_store(&again).await, &state, "what can be restored");
    }
}

/// A server that takes a request and says nothing: people and nodes are answered as ever, and it goes on where it was.
#[tokio::test]
async fn a_slow_server_is_nobodys_matter() {
    let (dir, server) = (TempDir::new().unwrap(), Server::start());
    let proxy = Proxy::before(server.address.clone()).await;
    let database = connect(&server.uri("slow")).await;
    let site = site(dir.path(), &format!("mongodb://{}/slow", proxy.address)).await;
    let mut node = site.enrol("attic").await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    site.client.post("/nodes/pools", json!({ "name": "before", "max_nodes": 5 })).await;
    proxy.faults.stalls.store(true, Ordering::SeqCst);
    let context = site.app.context.clone();
    let replicating = tokio::spawn(async move { context.run(Job::Replication).await.unwrap() });
    for slot in 0..20 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.unwrap();
        site.client.post("/nodes/pools", json!({ "name": format!("pool-{slot}"), "max_nodes": 5 })).await;
    }
    site.pass_slots(0).await;
    assert!(!replicating.is_finished(), "it waits for the answer");
    proxy.faults.stalls.store(false, Ordering::SeqCst);
    replicating.await.unwrap();
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
}

/// Somebody's rule of one collection is no matter of the others, and none of a restore.
#[tokio::test]
async fn a_collection_that_takes_nothing_does_not_stop_the_others() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("refuses").await);
    let site = site(dir.path(), &uri).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    for node in 0..60 {
        site.client.post("/nodes", json!({ "name": format!("node-{node}"), "node_type": "worker" })).await;
    }
    let mut refusing = site.app.context.clone();
    refusing.cluster = Some(Faulty::before_rows(site.app.context.cluster.clone().unwrap(), || Fate::Refuses("nodes")));
    for again in 0..3 {
        if again == 2 {
            // From the start once more: there is no whole until the collection takes its rows.
            site.client.post("/replication/resync", json!({ "collection": "nodes" })).await;
        }
        site.client.post("/nodes/pools", json!({ "name": format!("pool-{again}"), "max_nodes": 5 })).await;
        refusing.run(Job::Replication).await.unwrap();
        let status = refusing.replication.status();
        assert_eq!((status.doing, status.failures), (Doing::Away, again + 1), "{status:?}");
        assert!(status.failure.unwrap().why.contains("did not take 60 of"));
        assert_eq!(all(&database, "nodes", doc! { "deleted": false }).await, []);
        assert_eq!(all(&database, "node_pools", doc! { "name": format!("pool-{again}") }).await.len(), 1, "others go on");
        match restorable(&site, &uri, &database).await {
            Some((_, state)) => assert_same(&of_store(&site).await, &state, "a restore lacks what was refused"),
            None => assert_eq!(again, 2),
        }
        site.next_slot(5_000);
        site.driver.advance_ms(60_000);
    }
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
    assert!(restorable(&site, &uri, &database).await.is_some());
}

/// What changes while it is sent goes as it is in the end.
#[tokio::test]
async fn changes_while_a_run_is_under_way_are_not_lost() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("meanwhile").await);
    let site = site(dir.path(), &uri).await;
    let mut random = Random::new();
    for _ in 0..6 {
        change(&site.client, &mut random).await;
    }
    for _ in 0..8 {
        let changes = async {
            for _ in 0..6 {
                change(&site.client, &mut random).await;
            }
        };
        tokio::join!(replicate(&site), changes);
    }
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    assert_equal(&site, &database).await;
}

#[tokio::test]
async fn who_has_no_cluster_keeps_no_marks_and_who_gets_one_again_sends_everything() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("again").await);
    let open = async |driver, uri: Option<&str>| {
        let settings = uri.map(|uri| ("mongodb.uri", uri.to_owned())).into_iter().collect();
        let mut site = Site::open(dir.path().to_owned(), driver, settings).await;
        site.client.sign_in(crate::support::client::USERNAME, PASSWORD).await;
        site
    };
    let first = site(dir.path(), &uri).await;
    replicate(&first).await;
    lucid::jobs::replication::release(&first.app.context).await;
    let driver = first.driver.clone();
    first.end().await;
    for _ in 0..2 {
        let without = open(driver.clone(), None).await;
        without.client.post("/nodes/pools", json!({ "name": format!("p{}", driver.reading().boot.0), "max_nodes": 5 })).await;
        driver.advance_ms(1_000);
        without.end().await;
    }
    let again = open(driver, Some(&uri)).await;
    assert_eq!(catch_up(&again).await.doing, Doing::Current);
    assert_equal(&again, &database).await;
}

/// A manager whose card is gone: from the cluster and the kit comes back row by row what it was, with money frozen; and what it was never writes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_comes_back_from_the_cluster() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("restore").await);
    let site = Site::new(dir.path().to_owned(), &[("mongodb.uri", uri.as_str()), ("mongodb.raw_metrics", "true")]).await;
    let mut machine = site.enrol("attic").await;
    for _ in 0..150 {
        site.next_slot(5_000);
        let mut sample = Sample::default();
        (sample.cpu.usage_percent, sample.memory.used_bytes) = (Some(12.5), Some(1 << 33));
        machine.report(site.now_ms(), sample).await.unwrap();
    }
    site.run_cycles().await;
    let payee = site.payee("cellar", "worker", json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", "currency": "USDT" })).await;
    site.owe(&payee, ("25", "USDT"), "simulated").await;
    site.run_cycles().await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    // What changes now is cut off in the middle of going, after the round was turned: the round is what comes back.
    site.client.post("/nodes/pools", json!({ "name": "last", "max_nodes": 5 })).await;
    let real: Arc<dyn Cluster> = site.app.context.cluster.clone().unwrap();
    let (mut context, mut writes) = (site.app.context.clone(), 0);
    context.cluster = Some(Faulty::before_rows(Arc::clone(&real), move || {
        writes += 1;
        // That of the audit log and the part of the round, then those of the documents.
        if writes > 2 { Fate::Half } else { Fate::Fine }
    }));
    context.run(Job::Replication).await.unwrap();
    let whole = of_store(&site).await;

    let kit = kit(&site);
    let (manager, from) = (site.app.store.manager_id.as_str().to_owned(), fresh.path().join("fetched"));
    let (mut told, mut requests) = (Vec::new(), 0);
    let breaks = Faulty::before(Arc::clone(&real), move || {
        requests += 1;
        if requests % 20 == 10 { Fate::Unanswered } else { Fate::Fine }
    });
    let manifest = rebuild::fetch(breaks.as_ref(), &manager, &kit, &from, EVERYTHING, &mut |at| told.push(at)).await.unwrap().manifest;
    assert!(told.iter().any(|at| at.failures > 0), "the link broke");
    assert!(told.is_sorted_by_key(|at| (at.step, at.rows)) && told.iter().all(|at| (1..=at.steps).contains(&at.step)), "{told:?}");
    assert_eq!(told.last().map(|at| (at.collection, at.step)), told.first().map(|at| ("resource_metrics", at.steps)));
    assert_eq!(manifest.manager_id, manager);
    let none = Wanted { metrics: Metrics::Samples, since: site.driver.reading().wall };
    let mut rows = 0;
    rebuild::fetch(real.as_ref(), &manager, &kit, &fresh.path().join("since"), none, &mut |at| rows = at.rows).await.unwrap();
    let measured = all(&database, "resource_metrics", doc! {}).await.len() + all(&database, "resource_metrics_hourly", doc! {}).await.len();
    assert_eq!(told.last().unwrap().rows - rows, measured as u64, "none of before that day");
    let other = rebuild::fetch(real.as_ref(), "manager_of_others", &kit, &fresh.path().join("other"), none, &mut |_| ()).await;
    assert!(other.unwrap_err().0.contains("recovery kit"));
    let place = fresh.path().join("data");
    put_in_place(&site, &kit, &from, &place);

    let again = Site::open(place, site.driver.clone(), vec![("mongodb.uri", uri.clone())]).await;
    let brought = of_store(&again).await;
    let differ: BTreeSet<&str> =
        whole.keys().chain(brought.keys()).filter(|at| whole.get(*at) != brought.get(*at)).map(|(table, _)| *table).collect();
    // Its generation, that money is frozen, since when the wallet was not looked at, and that all this happened.
    assert!(differ.iter().all(|table| ["store", "money", "absences", "audit"].contains(table)), "{differ:?}");
    let kept = |(table, name): &(&str, Vec<u8>)| *table != "audit" || brought.contains_key(&("audit", name.clone()));
    assert!(whole.keys().all(kept));

    // What was measured in hours that were over is there again, to the last digit.
    let hours = |site: &Site| {
        let (mut found, end) = (Vec::new(), measured::end(&site.app.store).unwrap());
        let nodes: Vec<NodeIndex> = (0..10).map(NodeIndex).collect();
        present::hours(&site.app.store, &nodes, (end - 48, end), |node, hour, summary| found.push((node, hour, summary))).unwrap();
        found
    };
    let before = hours(&site);
    assert!(!before.is_empty());
    assert_eq!(hours(&again), before);
    let samples = |site: &Site| {
        let (until, nodes) = (first_slot(measured::end(&site.app.store).unwrap()), [NodeIndex(0), NodeIndex(1)]);
        tiers::points_of(&site.app.store, &nodes, Slot(until.0 - 2_880), until, Parts::ALL).unwrap()
    };
    let before = samples(&site);
    assert!(before[0].1.len() > 100);
    assert_eq!(samples(&again), before);

    // It takes over once the former one is not heard any more, and that one never writes again.
    assert_eq!(catch_up(&again).await.doing, Doing::Current);
    assert_equal(&again, &database).await;
    assert_eq!(catch_up(&site).await.doing, Doing::Superseded);
}

/// Leaves that a card let go of before they could be sent are a hole among those that the cluster has: what comes back has what the card had.
#[tokio::test(flavor = "multi_thread")]
async fn what_expired_before_it_was_sent_leaves_no_hole_in_what_comes_back() {
    let (uri, database) = database("hole").await;
    let of_leaves = async |site: &Site| of_store(site).await.into_keys().filter(|(table, _)| *table == "leaves").collect::<Vec<_>>();
    // Epochs close again after the hole; the one that tells of it is the last; there is none since.
    for (closes, reports) in [(true, true), (true, false), (false, false)] {
        let (dir, fresh) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let site = site(dir.path(), &uri).await;
        let of_site = doc! { "manager_id": site.app.store.manager_id.as_str() };
        let mut machine = site.enrol("attic").await;
        let mut live = async |site: &Site| {
            for _ in 0..40 {
                site.next_slot(5_000);
                machine.report(site.now_ms(), Sample::default()).await.unwrap();
            }
            site.run_cycles().await;
        };
        live(&site).await;
        assert_eq!(replicate(&site).await.doing, Doing::Current);
        let sent = all(&database, "poot_scores", of_site.clone()).await.len();
        live(&site).await;
        site.driver.advance_ms(100 * 86_400_000);
        site.app.context.tick();
        site.app.context.run(Job::Housekeeping).await.unwrap();
        if reports {
            live(&site).await;
        } else if closes {
            site.run_cycles().await;
        }
        site.app.context.run(Job::Housekeeping).await.unwrap();
        assert_eq!(catch_up(&site).await.doing, Doing::Current);
        assert_eq!((all(&database, "poot_scores", of_site).await.len() > sent, sent > 0), (reports, true));

        let kit = kit(&site);
        let place = fresh.path().join("data");
        brought_back(&site, &kit, &place).await;
        assert_verifies(&place);
        let ours = of_leaves(&site).await;
        let again = Site::open(place, site.driver.clone(), vec![("mongodb.uri", uri.clone())]).await;
        replicate(&again).await;
        assert_eq!(!ours.is_empty(), reports);
        assert_eq!(of_leaves(&again).await, ours);
    }
}

/// What of a table is of before is asked page by page: where the link breaks after each of them, a copy goes on behind the last one.
#[tokio::test]
async fn a_copy_gets_to_its_end_over_a_link_that_breaks_after_each_answer() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("answers").await);
    let site = site(dir.path(), &uri).await;
    for node in 0..20 {
        site.client.post("/nodes", json!({ "name": format!("node-{node}"), "node_type": "worker" })).await;
    }
    let (mut context, mut asked) = (site.app.context.clone(), 0);
    context.cluster = Some(Faulty::before_older(context.cluster.clone().unwrap(), "node_names", move || {
        asked += 1;
        if asked % 2 == 0 { Fate::Lost } else { Fate::Fine }
    }));
    for _ in 0..6 {
        context.replication.wish(|wishes| wishes.now = true);
        context.run(Job::Replication).await.unwrap();
    }
    assert_eq!(context.replication.status().doing, Doing::Current);
    assert_equal(&site, &database).await;
}

/// A collection goes again after all of a history expired here: what the cluster has of it stays there.
#[tokio::test]
async fn history_that_expired_here_stays_there_when_it_goes_again() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("days").await);
    let mut site = site(dir.path(), &uri).await;
    let mut machine = site.enrol("attic").await;
    let mut live = async |site: &Site, slots: u32| {
        for _ in 0..slots {
            site.next_slot(5_000);
            machine.report(site.now_ms(), Sample::default()).await.unwrap();
        }
        site.run_cycles().await;
        site.app.context.run(Job::Flush).await.unwrap();
    };
    live(&site, 40).await;
    site.driver.advance_ms(86_400_000);
    site.app.context.tick();
    live(&site, 1).await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let there = async || {
        let mut found = Vec::new();
        for table in ["day_reports", "days", "score_hours"] {
            found.push(all(&database, "manager_records", doc! { "deleted": false, "table": table }).await.len());
        }
        found
    };
    let before = there().await;
    assert!(before.iter().sum::<usize>() >= 2, "{before:?}");
    site.driver.advance_ms(800 * 86_400_000);
    site.app.context.tick();
    for _ in 0..5 {
        site.app.context.run(Job::Housekeeping).await.unwrap();
    }
    site.client.sign_in(crate::support::client::USERNAME, PASSWORD).await;
    site.client.post("/replication/resync", json!({ "collection": "manager_records" })).await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_eq!(there().await, before);
}

/// A store that came back, and whose machines were silent until all its evidence was too old: what the cluster has of it stays there.
#[tokio::test(flavor = "multi_thread")]
async fn history_outlives_a_store_that_came_back_and_has_none_left() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("late").await);
    let site = site(dir.path(), &uri).await;
    let mut machine = site.enrol("attic").await;
    for _ in 0..40 {
        site.next_slot(5_000);
        machine.report(site.now_ms(), Sample::default()).await.unwrap();
    }
    site.run_cycles().await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    let there = async || {
        let mut found = Vec::new();
        for collection in ["poot_scores", "poot_evidence", "poot_epochs"] {
            found.push(all(&database, collection, doc! { "deleted": false }).await.len());
        }
        found
    };
    let mut before = there().await;
    // That of an epoch which is not closed is of no whole.
    let last = epochs::last(&site.app.store.read().unwrap()).unwrap().unwrap().last_slot.0.to_be_bytes();
    let is_closed = |(table, name): &(&str, Vec<u8>)| *table == "evidence" && name[..] <= last[..];
    before[1] = of_store(&site).await.keys().filter(|of| is_closed(of)).count();
    let (kit, place) = (kit(&site), fresh.path().join("back"));
    brought_back(&site, &kit, &place).await;
    let driver = site.driver.clone();
    site.end().await;
    driver.advance_ms(100 * 86_400_000);
    let again = Site::open(place, driver, vec![("mongodb.uri", uri.clone())]).await;
    again.app.context.tick();
    again.app.context.run(Job::Housekeeping).await.unwrap();
    assert!(of_store(&again).await.keys().all(|(table, _)| *table != "leaves"));
    assert_eq!(catch_up(&again).await.doing, Doing::Current);
    let after = there().await;
    assert!(before.iter().zip(&after).all(|(before, after)| *before > 0 && after >= before), "{before:?}, then {after:?}");
}

#[tokio::test]
async fn the_command_line_brings_a_store_back_and_says_why_not() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("command_line").await);
    let site = site(dir.path(), &uri).await;
    let kit = site.client.post("/recovery-kit", json!({ "passphrase": "a kit in a safe", "password": PASSWORD })).await;
    let (kit_file, passphrase) = (fresh.path().join("kit.json"), fresh.path().join("passphrase"));
    std::fs::write(&kit_file, kit.to_string()).unwrap();
    std::fs::write(&passphrase, "a kit in a safe\n").unwrap();
    let manager = site.app.store.manager_id.as_str().to_owned();
    let place = fresh.path().join("data");
    let run = |uri: &str, manager: &str| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["restore", "--from-mongodb", uri, "--manager", manager, "--data-dir", place.to_str().unwrap(), "--kit"]);
        let ended = command.arg(&kit_file).arg("--passphrase-file").arg(&passphrase).output().unwrap();
        (ended.status.success(), String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
    };
    let refused = |(ok, text): (bool, String), why: &str| assert!(!ok && text.contains(why), "{text}");
    refused(run(&uri, &manager), "the cluster has nothing of a manager");
    refused(run(&uri, "manager_of_others"), "the recovery kit is of manager");
    refused(run("mongodb://me:hunter2@", &manager), "the connection string is none that the driver reads");
    let away = "mongodb://me:hunter2@127.0.0.1:1/x?serverSelectionTimeoutMS=300";
    let (_, text) = run(away, &manager);
    assert!(text.contains("does not answer") && !text.contains("hunter2"), "{text}");

    assert_eq!(replicate(&site).await.doing, Doing::Current);
    let mut managers = database.collection::<Document>("managers").find_one(doc! {}).await.unwrap().unwrap();
    database.collection::<Document>("managers").update_one(doc! {}, doc! { "$set": { "round": mongodb::bson::Bson::Null } }).await.unwrap();
    refused(run(&uri, &manager), "no whole state of this manager");
    let round = managers.remove("round").unwrap();
    database.collection::<Document>("managers").update_one(doc! {}, doc! { "$set": { "round": round } }).await.unwrap();
    let mut later = all(&database, "manager_positions", doc! { "table": "nodes" }).await.remove(0);
    later.extend(doc! { "_id": format!("{manager}/of_tomorrow"), "table": "of_tomorrow" });
    let positions = database.collection::<Document>("manager_positions");
    positions.insert_one(&later).await.unwrap();
    refused(run(&uri, &manager), "a table of_tomorrow of this manager, which this release does not know");
    positions.delete_one(doc! { "_id": later.get_str("_id").unwrap() }).await.unwrap();
    // What is left of one that was killed is no place for a new manager.
    std::fs::create_dir_all(place.join("restore.cluster")).unwrap();
    let begun = std::process::Command::new(BINARY).args(["serve", "--data-dir", place.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&begun.stderr).contains("a restore from the cluster was cut"), "{begun:?}");
    let (ok, text) = run(&uri, &manager);
    assert!(ok && text.contains("as generation 2; verified") && text.contains("reset-password"), "{text}");
    assert!(!place.join("restore.cluster").exists());
    assert_verifies(&place);
}
