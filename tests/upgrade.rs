//! A store of an earlier release, opened by the real binary.

use crate::support::binary::{serve, start_manager};
use crate::support::client::Client;

/// Earlier releases had fewer tables; an empty one is as good as one that was not there yet.
fn drop_empty_tables(path: &std::path::Path) -> usize {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let names: Vec<String> = transaction.list_tables().unwrap().map(|table| redb::TableHandle::name(&table).to_owned()).collect();
    let mut dropped = 0;
    for name in names {
        let table: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(&name);
        let is_empty = redb::ReadableTableMetadata::is_empty(&transaction.open_table(table).unwrap()).unwrap();
        if is_empty {
            assert!(transaction.delete_table(table).unwrap());
            dropped += 1;
        }
    }
    transaction.commit().unwrap();
    dropped
}

#[tokio::test]
async fn the_binary_opens_a_store_that_lacks_tables() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut manager = start_manager(serve(&data));
    let mut client = Client::new(&manager.base);
    let code = std::fs::read_to_string(data.join("setup-code")).unwrap();
    client.set_up(code.trim(), None).await;
    assert!(manager.process.terminate().success());
    for file in ["core.redb", "hot.redb"] {
        let dropped = drop_empty_tables(&data.join(file));
        assert!(dropped > 3, "{dropped} of {file}");
    }
    let manager = start_manager(serve(&data));
    let client = client.at(&manager.base);
    assert_eq!(client.get("/auth/me").await["user"]["role"], "super_admin");
    assert_eq!(client.get("/nodes/pools").await["pagination"]["total"], 1);
}
