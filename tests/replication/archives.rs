//! Files of archives in the cluster, and on their way back from there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lucid::app::rebuild;
use lucid::clock::Driver;
use lucid::crypto::base64;
use lucid::domain::archive::Kind;
use lucid::domain::replica::lag::BEHIND;
use lucid::domain::replica::{self, Rev};
use lucid::domain::time::{BootMs, Timestamp};
use lucid::jobs::Context;
use lucid::live::{Doing, Job};
use lucid::storage::Store;
use lucid::storage::archive;
use lucid::storage::core::{alerts, archives};
use lucid::storage::hot::outputs;
use lucid::storage::replica::waiting::is_waiting;
use lucid::storage::table::Read;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::copy::{EVERYTHING, assert_verifies, brought_back, catch_up, kit, replicate, site};
use super::faulty::{Fate, Faulty};
use crate::power_cuts::cuts;
use crate::support::client::{PASSWORD, USERNAME};
use crate::support::cluster::{all, database};
use crate::support::crash_device::CrashDevice;
use crate::support::random::Random;
use crate::support::site::Site;

const DAY_MS: i64 = 86_400_000;

/// A hundred outputs a batch, a minute apart.
async fn submit(site: &Site, node: &str, batches: usize) {
    for batch in 0..batches {
        let time = Timestamp(site.now_ms()).rfc3339();
        let output = |n: u32| {
            let (data, nonce) = (base64(format!("output {n} of {batch}").as_bytes()), format!("nonce-{}-{n:04}", site.now_ms()));
            json!({ "output_data": data, "timestamp": time, "nonce": nonce, "node_id": node })
        };
        let outputs: Vec<Value> = (0..100).map(output).collect();
        site.client.post("/nodes/poot/batch-validate", json!({ "validations": outputs })).await;
        site.driver.advance_ms(60_000);
        site.app.context.tick();
    }
    site.app.context.run(Job::Flush).await.unwrap();
}

async fn housekeeping(site: &Site) {
    site.app.context.tick();
    site.app.context.run(Job::Housekeeping).await.unwrap();
}

/// Some months later, with archives of node history and of outputs.
async fn archived(site: &Site, batches: usize) -> String {
    let node = site.enrol("attic").await.id.as_str().to_owned();
    submit(site, &node, batches).await;
    site.driver.advance_ms(400 * DAY_MS);
    housekeeping(site).await;
    node
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let found = std::fs::read_dir(dir.join("archive")).unwrap().map(|entry| entry.unwrap().path());
    found.map(|path| (path.file_name().unwrap().to_str().unwrap().into(), std::fs::read(path).unwrap())).collect()
}

async fn parts(database: &Database) -> Vec<Document> {
    all(database, "archives", doc! { "deleted": false }).await
}

async fn of_outputs(database: &Database) -> Vec<Document> {
    all(database, "archives", doc! { "deleted": false, "kind": "outputs" }).await
}

/// What becomes of requests with parts of archives, and how many there were.
fn counted(context: &mut Context, mut fate: impl FnMut(usize) -> Fate + Send + 'static) -> Arc<AtomicUsize> {
    let (parts, real) = (Arc::new(AtomicUsize::new(0)), context.cluster.clone().unwrap());
    let count = Arc::clone(&parts);
    context.cluster = Some(Faulty::before_table(real, "archive_files", move || fate(count.fetch_add(1, Ordering::SeqCst))));
    parts
}

async fn waiting(site: &Site) -> (u64, bool) {
    let view = site.client.get("/replication").await;
    let of = view["collections"].as_array().unwrap().iter().find(|of| of["collection"] == "archives").cloned().unwrap();
    (of["waiting"].as_u64().unwrap(), of["is_whole"].as_bool().unwrap())
}

fn rows_of_outputs(site: &Site) -> u64 {
    site.app.store.hot.read().unwrap().with("output_proofs", |raw| raw.rows()).unwrap()
}

fn failing(site: &Site) -> [bool; 2] {
    let core = site.app.store.read().unwrap();
    [Kind::Outputs, Kind::NodeHistory].map(|kind| archives::is_failing(&core, kind).unwrap())
}

/// What was archived is in the store no more: its files go too, come back byte by byte, and go once they were kept long enough.
#[tokio::test(flavor = "multi_thread")]
async fn archives_go_and_come_back() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("archives").await);
    let site = site(dir.path(), &uri).await;
    let node = site.enrol("attic").await;
    submit(&site, node.id.as_str(), 24).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    site.driver.advance_ms(400 * DAY_MS);
    housekeeping(&site).await;
    let before = files(&site.dir);
    let outputs = before.iter().find(|(name, _)| name.starts_with("outputs-") && name.ends_with(".gz")).unwrap();
    assert!(before.len() >= 4 && outputs.1.len() > 140_000, "outputs in parts, and node history: {}", outputs.1.len());

    // A link that breaks within an archive, and a manager that starts anew: what arrived of it does not go again.
    let mut context = site.app.context.clone();
    counted(&mut context, |part| if part == 2 { Fate::Lost } else { Fate::Fine });
    context.run(Job::Replication).await.unwrap();
    drop(context);
    assert_eq!(parts(&database).await.len(), 2, "node history and a part of outputs");
    let driver = site.driver.clone();
    site.end().await;
    let mut site = Site::open(dir.path().to_owned(), driver, vec![("mongodb.uri", uri.clone())]).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    let mut context = site.app.context.clone();
    let sent = counted(&mut context, |_| Fate::Fine);
    for _ in 0..6 {
        context.run(Job::Replication).await.unwrap();
        site.next_slot(1_000);
    }
    assert_eq!(sent.load(Ordering::SeqCst), parts(&database).await.len() - 2, "the others, once");
    drop(context);
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    assert_eq!(waiting(&site).await, (0, true));
    let told = format!("{:?}", parts(&database).await);
    assert!(!told.contains("nonce-"), "lines are sealed");

    let kit = kit(&site);
    let back = async |name: &str| {
        let place = fresh.path().join(name);
        let lacking = brought_back(&site, &kit, &place).await.lacking;
        (place, lacking)
    };
    let opened = async |place: &Path| Site::open(place.to_owned(), site.driver.clone(), vec![]).await;
    let (place, lacking) = back("whole").await;
    assert_eq!((files(&place), lacking), (before.clone(), vec![]));
    let again = opened(&place).await;
    assert!(rows_of_outputs(&again) > 0, "the cluster has them, too");
    // It verifies, and goes on archiving: what came back of rows that are in an archive goes out of the store again.
    housekeeping(&again).await;
    assert_eq!((rows_of_outputs(&again), failing(&again)), (0, [false; 2]));
    again.end().await;
    assert_verifies(&place);

    // A part that somebody took away: what came back as rows stays, and somebody is told, until the files are put in their place.
    let last = of_outputs(&database).await.into_iter().find(|of| of.get("from_byte").unwrap().to_string() != "0").unwrap();
    database.collection::<Document>("archives").delete_one(doc! { "_id": last.get_str("_id").unwrap() }).await.unwrap();
    let (place, lacking) = back("lacking").await;
    assert_eq!((files(&place).len(), lacking), (before.len() - 2, vec![last.get_str("archive").unwrap().to_owned()]));
    let again = opened(&place).await;
    housekeeping(&again).await;
    assert_eq!(failing(&again), [true, false]);
    assert!(rows_of_outputs(&again) > 0, "they are nowhere else");
    again.end().await;
    let told = assert_verifies(&place);
    assert!(told.contains("(without outputs-") && told.contains("did not come back from the cluster"), "{told}");
    for (name, bytes) in before.iter().filter(|(name, _)| name.starts_with("outputs-")) {
        std::fs::write(place.join("archive").join(name), bytes).unwrap();
    }
    let again = opened(&place).await;
    housekeeping(&again).await;
    assert_eq!((files(&place), rows_of_outputs(&again), failing(&again)), (before.clone(), 0, [false; 2]));
    again.end().await;
    assert!(!assert_verifies(&place).contains("did not come back"));

    // Once more from the start: nothing stays of what went before.
    site.client.post("/replication/resync", json!({ "collection": "archives" })).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    assert_eq!(back("again").await.1, Vec::<String>::new());

    // After two years that of node history is not kept any more.
    site.driver.advance_ms(800 * DAY_MS);
    housekeeping(&site).await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let kinds: BTreeSet<String> = parts(&database).await.iter().map(|of| of.get_str("kind").unwrap().to_owned()).collect();
    assert_eq!(kinds, ["outputs".to_owned()].into());
}

/// An archive before the newest one does not come back: nothing of what is in it is deleted, here and in the cluster, however often anything is archived.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_archive_that_did_not_come_back_covers_is_not_deleted() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("older_archive").await);
    let mut site = site(dir.path(), &uri).await;
    let node = site.enrol("attic").await.id.as_str().to_owned();
    submit(&site, &node, 3).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    site.driver.advance_ms(40 * DAY_MS);
    site.app.context.tick();
    site.client.sign_in(USERNAME, PASSWORD).await;
    submit(&site, &node, 3).await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    site.driver.advance_ms(400 * DAY_MS);
    for _ in 0..4 {
        housekeeping(&site).await;
    }
    assert_eq!(rows_of_outputs(&site), 0);
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let there = of_outputs(&database).await;
    let oldest = there.iter().min_by_key(|of| of.get_str("period").unwrap()).unwrap();
    assert_eq!(there.len(), 2);
    database.collection::<Document>("archives").delete_one(doc! { "_id": oldest.get_str("_id").unwrap() }).await.unwrap();

    let (kit, place) = (kit(&site), fresh.path().join("back"));
    assert_eq!(brought_back(&site, &kit, &place).await.lacking, [oldest.get_str("archive").unwrap()]);
    let driver = site.driver.clone();
    site.end().await;
    let again = Site::open(place.clone(), driver, vec![("mongodb.uri", uri.clone())]).await;
    let rows = rows_of_outputs(&again);
    assert!(rows > 0);
    for _ in 0..3 {
        housekeeping(&again).await;
    }
    assert_eq!((rows_of_outputs(&again), failing(&again)), (rows, [true, false]));
    let in_cluster = async || all(&database, "poot_validations", doc! { "deleted": false }).await.len();
    let before = in_cluster().await;
    assert_eq!(catch_up(&again).await.doing, Doing::Current);
    assert!(before > 0);
    assert_eq!(in_cluster().await, before);
    assert!(!is_waiting(&again.app.store, &again.app.context.replication.status().positions).unwrap(), "of what is here nothing waits");
    again.end().await;
    assert_verifies(&place);
}

/// Where all outputs are in archives, the next ones go on behind them after a start, and stay until they are archived, too.
#[tokio::test(flavor = "multi_thread")]
async fn outputs_go_on_behind_those_that_are_archived() {
    let (dir, (uri, _)) = (TempDir::new().unwrap(), database("numbers").await);
    let site = site(dir.path(), &uri).await;
    let node = archived(&site, 2).await;
    assert_eq!(rows_of_outputs(&site), 0);
    let driver = site.driver.clone();
    site.end().await;
    let mut site = Site::open(dir.path().to_owned(), driver, vec![("mongodb.uri", uri)]).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    submit(&site, &node, 1).await;
    let rows = rows_of_outputs(&site);
    assert!(rows > 0);
    housekeeping(&site).await;
    assert_eq!((rows_of_outputs(&site), failing(&site)), (rows, [false; 2]));
}

/// Archives are there before anything ever went, and the link breaks after each part: it gets there all the same, and each part goes once.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_of_archives_goes_on_where_the_link_broke() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("first_archives").await);
    let site = site(dir.path(), &uri).await;
    archived(&site, 24).await;
    let mut context = site.app.context.clone();
    let sent = counted(&mut context, |part| if part % 2 == 1 { Fate::Lost } else { Fate::Fine });
    let runs = async |context: &Context| {
        for run in 0..20 {
            context.replication.wish(|wishes| wishes.now = true);
            context.run(Job::Replication).await.unwrap();
            if context.replication.status().doing == Doing::Current {
                return run;
            }
        }
        panic!("{:?}", context.replication.status());
    };
    assert!(runs(&context).await > 0);
    let there = parts(&database).await.len();
    assert!((3..=4).contains(&there), "in smaller parts after each break: {there}");
    assert!(sent.load(Ordering::SeqCst) < 2 * there + 1, "{sent:?} for {there}");

    // The same when all of it goes again.
    site.client.post("/replication/resync", json!({ "collection": "archives" })).await;
    assert!(runs(&context).await > 0);
    let fresh = TempDir::new().unwrap();
    assert_eq!(brought_back(&site, &kit(&site), &fresh.path().join("back")).await.lacking, Vec::<String>::new());

    // A part as an earlier release called it is in nobody's way, and goes.
    let there = parts(&database).await.len();
    let manifests = archives::all(&site.app.store.read().unwrap()).unwrap();
    let name = [&manifests.last().unwrap().sha256.0[..], &1u32.to_be_bytes()].concat();
    let (collection, table, key) = ("archives", "archive_files", name.clone());
    let part = replica::Document { collection, table, key, name, rev: Rev(1), fields: Vec::new(), record: Some(vec![1, 2, 3]) };
    assert_eq!(site.app.context.cluster.as_ref().unwrap().write(&[part]).await.unwrap(), []);
    assert_eq!(parts(&database).await.len(), there + 1);
    assert_eq!(brought_back(&site, &kit(&site), &fresh.path().join("again")).await.lacking, Vec::<String>::new());
    drop(context);
    let site = site.crash().await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_eq!(parts(&database).await.len(), there);
}

/// A link that carries everything but parts of archives, and a collection that takes none: all else goes, and somebody is told.
#[tokio::test(flavor = "multi_thread")]
async fn archives_that_do_not_get_through_keep_nothing_else_away() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("stuck_archives").await);
    let mut site = site(dir.path(), &uri).await;
    let id = site.client.post("/nodes", json!({ "name": "loft", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    archived(&site, 2).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    for (fate, doing, name) in [(Fate::Lost, Doing::Sending, "attic"), (Fate::Refuses("archives"), Doing::Current, "cellar")] {
        site.client.put(&format!("/nodes/{id}"), json!({ "name": name, "node_type": "worker" })).await;
        let mut context = site.app.context.clone();
        let tried = counted(&mut context, move |_| fate);
        for _ in 0..3 {
            site.driver.advance_ms(3_600_000);
            context.tick();
            context.run(Job::Replication).await.unwrap();
        }
        assert_eq!(context.replication.status().doing, doing);
        let told = all(&database, "nodes", doc! { "node_id": &id }).await[0].get_str("name").unwrap().to_owned();
        assert_eq!(told, name);
        // Of a collection that takes nothing each archive is tried.
        assert!(tried.load(Ordering::SeqCst) >= if doing == Doing::Current { 6 } else { 3 });
        site.client.sign_in(USERNAME, PASSWORD).await;
        assert_eq!(waiting(&site).await, (2, false));
        assert!(alerts::is_open(&site.app.store.read().unwrap(), BEHIND, "").unwrap());
    }
    site.driver.advance_ms(3_600_000);
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_eq!(waiting(&site).await, (0, true));
    assert!(!alerts::is_open(&site.app.store.read().unwrap(), BEHIND, "").unwrap());
}

/// Three archives of which nothing is taken: the others go with the next run, and these are tried again later.
#[tokio::test(flavor = "multi_thread")]
async fn archives_that_are_not_taken_keep_no_others_back() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("starved_archives").await);
    let mut site = site(dir.path(), &uri).await;
    let node = site.enrol("attic").await.id.as_str().to_owned();
    for _ in 0..4 {
        site.client.sign_in(USERNAME, PASSWORD).await;
        submit(&site, &node, 1).await;
        site.driver.advance_ms(31 * DAY_MS);
        site.app.context.tick();
    }
    site.driver.advance_ms(400 * DAY_MS);
    for _ in 0..6 {
        housekeeping(&site).await;
    }
    let made = archives::all(&site.app.store.read().unwrap()).unwrap().len();
    assert!(made >= 5, "{made}");
    let mut context = site.app.context.clone();
    counted(&mut context, |part| if part < 3 { Fate::Refuses("archives") } else { Fate::Fine });
    let run = async || {
        context.run(Job::Replication).await.unwrap();
        parts(&database).await.len()
    };
    assert_eq!((run().await, run().await), (0, made - 3));
    site.driver.advance_ms(3_600_000);
    context.tick();
    assert_eq!(run().await, made);
}

/// The question what of archives is there gets no answer: all else goes.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_what_is_known_of_archives() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("unlisted_archives").await);
    let mut site = site(dir.path(), &uri).await;
    archived(&site, 2).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    let id = site.client.post("/nodes", json!({ "name": "loft", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    let site = site.crash().await;
    site.client.put(&format!("/nodes/{id}"), json!({ "name": "cellar", "node_type": "worker" })).await;
    let mut context = site.app.context.clone();
    context.cluster = Some(Faulty::before_older(context.cluster.clone().unwrap(), "archive_files", || Fate::Lost));
    for _ in 0..6 {
        context.run(Job::Replication).await.unwrap();
        site.next_slot(1_000);
    }
    assert_eq!(context.replication.status().doing, Doing::Sending);
    assert!(context.replication.status().failure.is_some_and(|failure| failure.why.starts_with("archives: ")));
    assert_eq!(all(&database, "nodes", doc! { "node_id": &id }).await[0].get_str("name").unwrap(), "cellar");
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
}

/// A part that somebody took away goes again once the manager looks what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_an_archive_is_filled() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("hole_in_archive").await);
    let site = site(dir.path(), &uri).await;
    archived(&site, 24).await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let there = of_outputs(&database).await;
    let first = there.iter().find(|of| of.get("from_byte").unwrap().to_string() == "0").unwrap();
    assert!(there.len() > 1);
    database.collection::<Document>("archives").delete_one(doc! { "_id": first.get_str("_id").unwrap() }).await.unwrap();
    let site = site.crash().await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_eq!(of_outputs(&database).await.len(), there.len());
    assert_eq!(brought_back(&site, &kit(&site), &fresh.path().join("back")).await.lacking, Vec::<String>::new());
}

/// The newest archive was kept long enough, or did not come back and was given up after as long: what of it came back as rows goes, and archiving goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_kept_long_enough_keeps_nothing_back() {
    let (uri, database) = database("kept_archives").await;
    for lacks in [false, true] {
        let (dir, fresh) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let years = ("retention.validations_archive_years", "1");
        let site = Site::new(dir.path().to_owned(), &[("mongodb.uri", &uri), years]).await;
        let node = site.enrol("attic").await.id.as_str().to_owned();
        submit(&site, &node, 3).await;
        assert_eq!(replicate(&site).await.doing, Doing::Current);
        site.driver.advance_ms(400 * DAY_MS);
        housekeeping(&site).await;
        assert_eq!(catch_up(&site).await.doing, Doing::Current);
        if lacks {
            let of_site = doc! { "manager_id": site.app.store.manager_id.as_str(), "kind": "outputs" };
            database.collection::<Document>("archives").delete_many(of_site).await.unwrap();
        } else {
            site.driver.advance_ms(800 * DAY_MS);
            housekeeping(&site).await;
            assert_eq!(catch_up(&site).await.doing, Doing::Current);
        }
        let place = fresh.path().join("back");
        assert_eq!(brought_back(&site, &kit(&site), &place).await.lacking.len(), usize::from(lacks));
        let driver = site.driver.clone();
        site.end().await;
        let again = Site::open(place, driver, vec![(years.0, years.1.into())]).await;
        let rows = rows_of_outputs(&again);
        assert!(rows > 0);
        if lacks {
            housekeeping(&again).await;
            assert_eq!((rows_of_outputs(&again), failing(&again)), (rows, [true, false]));
            again.driver.advance_ms(800 * DAY_MS);
        }
        for _ in 0..3 {
            housekeeping(&again).await;
        }
        assert_eq!((rows_of_outputs(&again), failing(&again)), (0, [false; 2]), "lacks: {lacks}");
    }
}

/// A file that is damaged is not in the cluster, and is not said to be; once it is whole again, it goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_waits_until_it_is_whole() {
    let (dir, (uri, database)) = (TempDir::new().unwrap(), database("damaged_archive").await);
    let mut site = site(dir.path(), &uri).await;
    archived(&site, 2).await;
    let name = files(dir.path()).into_keys().find(|name| name.starts_with("outputs-") && name.ends_with(".gz")).unwrap();
    let file = dir.path().join("archive").join(name);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..100]).unwrap();
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    site.client.sign_in(USERNAME, PASSWORD).await;
    assert_eq!((of_outputs(&database).await.len(), waiting(&site).await), (0, (1, false)));
    let status = site.app.context.replication.status();
    assert!(status.not_taken == 1 && status.not_taken_because.is_some_and(|why| why.contains("outputs-")));
    std::fs::write(&file, &whole).unwrap();
    site.driver.advance_ms(3_600_000);
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    assert_eq!((of_outputs(&database).await.len(), waiting(&site).await), (1, (0, true)));
}

/// Numbers of all outputs that are to be found in a store and in its archives, whose files are whole.
fn numbers(store: &Store) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    outputs::for_each_back(&store.hot.read().unwrap(), |number, _| {
        found.insert(number);
        ControlFlow::Continue(())
    })
    .unwrap();
    for manifest in archives::all(&store.read().unwrap()).unwrap().iter().filter(|manifest| manifest.kind == Kind::Outputs) {
        archive::is_there(&archive::folder(store), manifest).unwrap();
        assert_eq!(manifest.lines, manifest.last - manifest.first + 1);
        found.extend(manifest.first..=manifest.last);
    }
    found
}

/// Every database below a folder is on a device of which the power can go, and every other file goes with it.
fn powered(data: &Path, seed: u64) -> CrashDevice {
    let (device, mut databases) = (CrashDevice::new(seed), Vec::new());
    for folder in [data.to_owned(), data.join("cold")].iter().filter(|folder| folder.is_dir()) {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        databases.extend(
            paths.filter(|path| path.extension().is_some_and(|end| end == "redb")).map(|path| (path.clone(), std::fs::read(path).unwrap())),
        );
    }
    device.fill(&databases);
    databases.iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
    device.with_plain_files(data);
    device
}

/// The power goes soon after the files of an archive that did not come back were put in their place: they are there to stay before anything goes for them.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_put_in_their_place_stay_over_a_power_cut() {
    let (dir, fresh, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("archives_and_power").await);
    let site = site(dir.path(), &uri).await;
    let node = site.enrol("attic").await.id.as_str().to_owned();
    submit(&site, &node, 3).await;
    assert_eq!(replicate(&site).await.doing, Doing::Current);
    site.driver.advance_ms(400 * DAY_MS);
    housekeeping(&site).await;
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let whole: Vec<_> = files(dir.path()).into_iter().filter(|(name, _)| name.starts_with("outputs-")).collect();
    database.collection::<Document>("archives").delete_many(doc! { "kind": "outputs" }).await.unwrap();
    let place = fresh.path().join("back");
    assert_eq!(brought_back(&site, &kit(&site), &place).await.lacking.len(), 1);
    let wall = site.driver.reading().wall;
    site.end().await;

    let (mut is_gone, mut cut) = (0, 0);
    for seed in cuts::seeds(24) {
        let (place_of, what) = (TempDir::new().unwrap(), format!("LUCID_SEED={seed}"));
        let data = place_of.path().join("data");
        crate::support::copy(&place, &data);
        let (config, device, driver) =
            (cuts::config(&data, &[("server.tls", "off")]), powered(&data, seed), Driver::new(wall, BootMs(60_000)));
        driver.set_synchronised(true);
        let app = cuts::manager(&config, &driver, device.device()).await.unwrap();
        for (name, bytes) in &whole {
            std::fs::write(data.join("archive").join(name), bytes).unwrap();
        }
        // From before anything was done to after everything was.
        device.cut_after(Random::of(seed * 2).within(1, 40));
        let _ = app.context.run(Job::Housekeeping).await;
        cut += u32::from(device.is_off());
        drop(app);
        device.power_cycle();
        let store = cuts::store(&config, &driver, device.device(), &what);
        assert_eq!(numbers(&store), (1..=300).collect(), "{what}");
        is_gone += u32::from(outputs::page(&store.hot.read().unwrap(), 1, 1).unwrap().is_empty());
        store.close();
    }
    println!("{cut} cuts, {is_gone} after the rows went");
    assert!(std::env::var("LUCID_SEED").is_ok() || (cut > 4 && is_gone > 4), "{cut} cuts, {is_gone} after the rows went");
}

/// Months go by, links break, managers start anew, and collections go again: every output that was taken is in the store or in an archive, here and in what comes back,
/// and stays there whatever housekeeping and replication do next.
#[tokio::test(flavor = "multi_thread")]
async fn any_history_of_archives_and_faults_loses_no_output() {
    let mut random = Random::new();
    let (dir, fresh, uri) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("output_histories").await.0);
    let settings = [("mongodb.uri", uri.as_str()), ("retention.validations_months", "1")];
    let mut site = Site::new(dir.path().to_owned(), &settings).await;
    let node = site.enrol("attic").await.id.as_str().to_owned();
    let (mut submitted, mut made, mut came_back) = (0, 0, 0);
    let every = |until: u64| (1..=until).collect::<BTreeSet<u64>>();
    for step in 0..24 {
        site.client.sign_in(USERNAME, PASSWORD).await;
        match random.within(0, 7) {
            0..=2 => {
                let batches = random.within(1, 3);
                submit(&site, &node, usize::try_from(batches).unwrap()).await;
                submitted += batches * 100;
            }
            3 | 4 => {
                site.driver.advance_ms(i64::try_from(random.within(20, 70)).unwrap() * DAY_MS);
                housekeeping(&site).await;
            }
            5 => site = site.crash().await,
            _ => {
                site.client.post("/replication/resync", json!({ "collection": "archives" })).await;
            }
        }
        assert_eq!(numbers(&site.app.store), every(submitted), "step {step}");
        let (at, kind) =
            (random.within(0, 30), [Fate::Lost, Fate::Unanswered, Fate::Fine][usize::try_from(random.within(0, 3)).unwrap() % 3]);
        let (mut context, mut calls) = (site.app.context.clone(), 0);
        context.cluster = Some(Faulty::before(context.cluster.clone().unwrap(), move || {
            calls += 1;
            if calls > at && calls <= at + 2 { kind } else { Fate::Fine }
        }));
        context.replication.wish(|wishes| wishes.now = true);
        context.run(Job::Replication).await.unwrap();
        drop(context);
        if random.within(0, 4) == 0 {
            assert_eq!(catch_up(&site).await.doing, Doing::Current);
            let (kit, place) = (kit(&site), fresh.path().join(step.to_string()));
            assert_eq!(brought_back(&site, &kit, &place).await.lacking, Vec::<String>::new());
            let back = Site::open(place.clone(), site.driver.clone(), vec![("retention.validations_months", "1".into())]).await;
            assert_eq!(numbers(&back.app.store), every(submitted), "what came back at step {step}");
            housekeeping(&back).await;
            housekeeping(&back).await;
            assert_eq!(numbers(&back.app.store), every(submitted), "what came back at step {step}, after housekeeping");
            back.end().await;
            assert_verifies(&place);
            came_back += 1;
        }
        made = archives::all(&site.app.store.read().unwrap()).unwrap().len();
    }
    println!("{submitted} outputs, {made} archives, {came_back} restores");

    // What came back goes on in the place of what it was, and comes back once more.
    assert_eq!(catch_up(&site).await.doing, Doing::Current);
    let (kit, place) = (kit(&site), fresh.path().join("goes on"));
    brought_back(&site, &kit, &place).await;
    let (driver, settings) = (site.driver.clone(), vec![("mongodb.uri", uri.clone()), ("retention.validations_months", "1".into())]);
    site.end().await;
    driver.advance_ms(90 * DAY_MS);
    let again = Site::open(place, driver, settings).await;
    for _ in 0..4 {
        housekeeping(&again).await;
    }
    assert_eq!(catch_up(&again).await.doing, Doing::Current);
    assert_eq!(numbers(&again.app.store), every(submitted));
    let place = fresh.path().join("once more");
    let from = place.with_extension("fetched");
    let cluster = again.app.context.cluster.clone().unwrap();
    let told = rebuild::fetch(cluster.as_ref(), again.app.store.manager_id.as_str(), &kit, &from, EVERYTHING, &mut |_| ()).await.unwrap();
    assert_eq!(told.lacking, Vec::<String>::new());
}
