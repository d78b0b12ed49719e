//! Replication against a server that speaks the protocol.

use std::collections::BTreeMap;
use std::path::Path;

use lucid::domain::replica::Rev;
use lucid::domain::replica::cluster::{WATCH_MS, wait_ms};
use lucid::live::{Doing, Job, Status};
use lucid::storage::replica::catalog::{CATALOG, Way};
use lucid::storage::replica::documents::collection;
use lucid::storage::replica::rows::{self, Batch};
use lucid::storage::table::Read;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use serde_json::json;
use tempfile::TempDir;

use crate::support::cluster::{all, database};
use crate::support::site::Site;

/// A set-up manager that replicates to a database of this test alone.
async fn site(dir: &Path, uri: &str) -> Site {
    Site::new(dir.to_owned(), &[("mongodb.uri", uri)]).await
}

async fn replicate(site: &Site) -> Status {
    site.app.context.run(Job::Replication).await.unwrap();
    site.app.context.replication.status()
}

/// Everything that would go, as the store has it: what is in a table by its key.
fn of_store(site: &Site, table: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let listed = CATALOG.iter().find(|listed| listed.table == table).unwrap();
    let read = site.app.store.read().unwrap();
    let page =
        rows::page(&read, &site.app.store.secrets, listed, None, Rev(0), Batch { documents: usize::MAX, bytes: usize::MAX }).unwrap();
    page.documents.into_iter().filter_map(|document| Some((document.name, document.record?))).collect()
}

async fn of_cluster(site: &Site, database: &Database, table: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let filter = doc! { "manager_id": site.app.store.manager_id.as_str(), "table": table, "deleted": false };
    let found = all(database, collection(table), filter).await;
    let bytes = |of: &Document, name: &str| of.get_binary_generic(name).unwrap().clone();
    found.iter().map(|of| (bytes(of, "key"), bytes(of, "record"))).collect()
}

/// Every table is there as the store has it.
async fn assert_equal(site: &Site, database: &Database) {
    for listed in CATALOG.iter().filter(|listed| listed.way != Way::Stays) {
        let (ours, theirs) = (of_store(site, listed.table), of_cluster(site, database, listed.table).await);
        let differ: Vec<&Vec<u8>> = ours.keys().chain(theirs.keys()).filter(|key| ours.get(*key) != theirs.get(*key)).collect();
        assert!(differ.is_empty(), "{}: {} rows here, {} there; {differ:?} differ", listed.table, ours.len(), theirs.len());
    }
}

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
}
