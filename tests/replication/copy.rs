//! What the cluster has, beside what the store has.

use std::collections::BTreeMap;
use std::path::Path;

use lucid::app::rebuild::{self, Fetched, Metrics, Wanted};
use lucid::domain::replica::cluster::Round;
use lucid::domain::time::Timestamp;
use lucid::gateways::replica::{ANSWER, Cluster, Mongo, Options};
use lucid::live::{Job, Status};
use lucid::storage::device;
use lucid::storage::recovery::{self, Contents};
use lucid::storage::replica::catalog::{Listed, Way, by_number, leaving};
use lucid::storage::replica::documents::collection;
use lucid::storage::replica::rows::{self, Batch};
use lucid::storage::restore::{self, Order};
use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::support::binary::BINARY;
use crate::support::cluster::all;
use crate::support::site::Site;

/// Sealed rows by table and name.
pub type State = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// A set-up manager that replicates.
pub async fn site(dir: &Path, uri: &str) -> Site {
    Site::new(dir.to_owned(), &[("mongodb.uri", uri)]).await
}

/// One run, and what it came to.
pub async fn replicate(site: &Site) -> Status {
    site.app.context.run(Job::Replication).await.unwrap();
    site.app.context.replication.status()
}

/// Runs as they come, half a minute apart, as long as it takes for a manager that was killed to be seen to be over.
pub async fn catch_up(site: &Site) -> Status {
    for _ in 0..6 {
        replicate(site).await;
        site.next_slot(1_000);
    }
    replicate(site).await
}

pub async fn of_store(site: &Site) -> State {
    let store = &site.app.store;
    let at = store.fenced().await.unwrap().expect("marks are kept");
    let everything = Batch { documents: usize::MAX, bytes: usize::MAX };
    let of = |listed: &'static Listed| {
        let page = rows::page(&at, &store.secrets, listed, None, everything).unwrap();
        page.documents.into_iter().map(|document| ((listed.table, document.name), document.record.unwrap()))
    };
    leaving().flat_map(of).collect()
}

pub async fn of_cluster(site: &Site, database: &Database) -> State {
    let mut state = State::new();
    for listed in leaving() {
        let filter = doc! { "manager_id": site.app.store.manager_id.as_str(), "table": listed.table, "deleted": false };
        let bytes = |of: &Document, name: &str| of.get_binary_generic(name).unwrap().clone();
        for found in all(database, collection(listed.table), filter).await {
            state.insert((listed.table, bytes(&found, "key")), bytes(&found, "record"));
        }
    }
    state
}

/// What a restore would find: the documents, with what the last round has of those that it changed, and of logs what was there then.
pub async fn restorable(site: &Site, uri: &str, database: &Database) -> Option<(Round, State)> {
    let manager = site.app.store.manager_id.as_str().to_owned();
    let cluster = Mongo::new(Options { uri: uri.into(), manager, region: String::new(), version: String::new(), patience: ANSWER });
    let round = cluster.managed().await.unwrap()?.round?;
    let mut state = of_cluster(site, database).await;
    for part in 0..round.parts {
        let sealed = cluster.part(round.rev, part).await.unwrap().expect("every part is there");
        for row in rows::opened_part(&site.app.store.secrets, round.rev, &sealed).expect("a part opens") {
            let at = (by_number(row.table).unwrap().table, row.name);
            match row.record {
                Some(record) => state.insert(at, record),
                None => state.remove(&at),
            };
        }
    }
    for listed in leaving().filter(|listed| listed.way == Way::Log) {
        let end = round.through.iter().find(|through| through.table == listed.table).map(|through| through.key.clone());
        state.retain(|(table, name), _| *table != listed.table || end.as_ref().is_some_and(|end| name <= end));
    }
    Some((round, state))
}

pub fn assert_same(ours: &State, theirs: &State, what: &str) {
    let differ: Vec<String> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|at| ours.get(*at) != theirs.get(*at))
        .map(|(table, name)| {
            format!(
                "{table} {name:02x?}: here {}, there {}",
                ours.contains_key(&(table, name.clone())),
                theirs.contains_key(&(table, name.clone()))
            )
        })
        .collect();
    assert!(differ.is_empty(), "{what}: {differ:#?}");
}

/// Every row is there as the store has it, and nothing else.
pub async fn assert_equal(site: &Site, database: &Database) {
    assert_same(&of_store(site).await, &of_cluster(site, database).await, "the store and the cluster differ");
}

/// All measurements that the cluster has.
pub const EVERYTHING: Wanted = Wanted { metrics: Metrics::Samples, since: Timestamp(0) };

pub fn kit(site: &Site) -> Contents {
    let store = &site.app.store;
    let salt = recovery::salt(&store.entropy);
    let kit = recovery::make(store, &lucid::crypto::stretch("correct horse", &salt), &salt, site.driver.reading().wall).unwrap();
    recovery::open(&kit, "correct horse").unwrap()
}

/// What the cluster has, in a place that is not there yet.
pub async fn brought_back(site: &Site, kit: &Contents, place: &Path) -> Fetched {
    let from = place.with_extension("fetched");
    let cluster = site.app.context.cluster.clone().unwrap();
    let fetched = rebuild::fetch(cluster.as_ref(), site.app.store.manager_id.as_str(), kit, &from, EVERYTHING, &mut |_| ()).await.unwrap();
    put_in_place(site, kit, &from, place);
    fetched
}

/// As the command does with what it has fetched.
pub fn put_in_place(site: &Site, kit: &Contents, from: &Path, place: &Path) {
    let order = Order { from, dir: place, kit: Some(kit), boot_id: "boot".into(), now: site.app.clock.now(), device: device::real() };
    let restored = tokio::task::block_in_place(|| restore::restore(&order, &mut |_, _| ())).unwrap().unwrap();
    assert_eq!(restored.generation, 2);
}

/// By the command, to the last row; what it said.
pub fn assert_verifies(place: &Path) -> String {
    let checked = std::process::Command::new(BINARY).args(["verify", "--full", "--data-dir", place.to_str().unwrap()]).output().unwrap();
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{told}");
    told
}
