//! The real binary is killed while it compacts a file of its store, and while it makes a backup. What it had acknowledged is there, and nothing is left of what was cut off.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lucid::storage::Lane;
use lucid::storage::compaction::Which;
use lucid::storage::table::Table;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::binary::{BINARY, eventually, serve, start_manager};
use crate::support::client::{Client, PASSWORD, USERNAME};
use crate::support::random::Random;
use crate::support::site::Site;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Filler(Vec<u8>);
lucid::record!(Filler = 1);

const FILLER: Table<u32, Filler> = Table::new("filler");
/// Of 15 kB each: a copy of them takes long enough to be killed in.
const ROWS: u32 = 800;
const KILLS: usize = 4;
/// Where none of these was in the middle, because the machine was fast or the test was kept waiting, so many at most.
const MOST_KILLS: usize = 20;

/// A set-up store with a file that is half full and half free.
async fn lived(data: &Path, which: Which) {
    let site = Site::new(data.to_owned(), &[]).await;
    let file = site.app.store.file(which);
    file.write(Lane::Ordinary, |tx| (0..ROWS).try_for_each(|n| tx.put(FILLER, &n, &Filler(vec![7; 15_000])))).await.unwrap();
    file.write(Lane::Ordinary, |tx| (0..ROWS / 2).try_for_each(|n| tx.delete(FILLER, &(n * 2)).map(drop))).await.unwrap();
    site.end().await;
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn is_left_over(name: &str) -> bool {
    name.contains(".tmp") || name.contains(".compact")
}

fn verified(folder: &Path) {
    let output = Command::new(BINARY).args(["verify", "--data-dir"]).arg(folder).env("LUCID__LOG__LEVEL", "error").output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

async fn pools(client: &Client) -> Vec<String> {
    let mut names = Vec::new();
    for page in 1.. {
        let all = client.get(&format!("/nodes/pools?limit=100&page={page}")).await;
        let of_page = all["pools"].as_array().unwrap();
        names.extend(of_page.iter().map(|pool| pool["name"].as_str().unwrap().to_owned()));
        if of_page.len() < 100 {
            break;
        }
    }
    names
}

/// Kills a manager in the middle of what `ask` asks it for, again and again: as soon as something unfinished lies in `folder`, or up to so many milliseconds later. What was
/// acknowledged meanwhile is there each time, once. How often it was really in the middle.
async fn killed_in(data: &Path, folder: PathBuf, ask: (&str, Value), longest_ms: u64) -> usize {
    let (mut random, mut promised, mut in_the_middle) = (Random::new(), Vec::<String>::new(), 0);
    let unfinished = || names(&folder).iter().any(|name| is_left_over(name));
    for kill in 0..MOST_KILLS {
        if kill >= KILLS && in_the_middle > 0 {
            break;
        }
        let mut manager = start_manager(serve(data));
        let mut client = Client::new(manager.base.clone());
        client.sign_in(USERNAME, PASSWORD).await;
        let there = pools(&client).await;
        for name in &promised {
            assert_eq!(there.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
        assert!(!names(data).iter().any(|name| is_left_over(name)), "a start removes what was cut off: {:?}", names(data));
        let (status, answer) = client.call(Method::POST, ask.0, Some(ask.1.clone())).await;
        assert!(status.is_success(), "{answer}");
        // People go on beside it.
        let own = client.clone();
        let working = tokio::spawn(async move {
            let mut made = Vec::new();
            for n in 0.. {
                let name = format!("pool-{kill}-{n}");
                match own.attempt(Method::POST, "/nodes/pools", Some(json!({ "name": name }))).await {
                    Some((StatusCode::CREATED, _)) => made.push(name),
                    Some((_, answer)) => panic!("{answer}"),
                    None => return made,
                }
            }
            made
        });
        for _ in 0..2_000 {
            if unfinished() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if (1..KILLS).contains(&kill) {
            tokio::time::sleep(Duration::from_millis(random.within(0, longest_ms))).await;
        }
        manager.process.kill();
        in_the_middle += usize::from(unfinished());
        promised.extend(working.await.unwrap());
        verified(data);
    }
    assert!(!promised.is_empty());
    let manager = start_manager(serve(data));
    let mut client = Client::new(manager.base.clone());
    client.sign_in(USERNAME, PASSWORD).await;
    let there = pools(&client).await;
    assert!(promised.iter().all(|name| there.iter().filter(|other| *other == name).count() == 1), "{promised:?}");
    in_the_middle
}

#[tokio::test]
async fn killed_in_a_compaction_it_has_one_core_and_all_that_was_acknowledged() {
    killed_in_a_compaction(Which::Core, "core").await;
}

#[tokio::test]
async fn killed_in_a_compaction_it_has_one_hot_file() {
    killed_in_a_compaction(Which::Hot, "hot").await;
}

async fn killed_in_a_compaction(which: Which, name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    lived(&data, which).await;
    let in_the_middle = killed_in(&data, data.clone(), ("/storage/compact", json!({ "file": name })), 60).await;
    assert!(in_the_middle > 0, "it was always over");
    let manager = start_manager(serve(&data));
    let mut client = Client::new(manager.base.clone());
    client.sign_in(USERNAME, PASSWORD).await;
    client.post("/storage/compact", json!({ "file": name })).await;
    let last = eventually("a compaction that nobody cuts", async || {
        let storage = client.get("/storage").await;
        let found = storage["databases"].as_array().unwrap().iter().find(|database| database["file"] == name).unwrap().clone();
        Some(found["compaction"]["last"].clone()).filter(|last| !last.is_null())
    })
    .await;
    assert_eq!(last["failed_because"], Value::Null, "{last}");
}

#[tokio::test]
async fn killed_in_a_backup_it_leaves_whole_ones_and_the_next_removes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let folder = data.join("backups");
    lived(&data, Which::Core).await;
    let in_the_middle = killed_in(&data, folder.clone(), ("/backup", json!({})), 400).await;
    assert!(in_the_middle > 0, "it was always over");
    for name in names(&folder).iter().filter(|name| !is_left_over(name)) {
        verified(&folder.join(name));
    }
    let manager = start_manager(serve(&data));
    let mut client = Client::new(manager.base.clone());
    client.sign_in(USERNAME, PASSWORD).await;
    let before = names(&folder).iter().filter(|name| !is_left_over(name)).count();
    client.post("/backup", json!({})).await;
    eventually("a backup that nobody cuts", async || {
        let there = names(&folder);
        (there.len() > before && !there.iter().any(|name| is_left_over(name))).then_some(())
    })
    .await;
    names(&folder).iter().for_each(|name| verified(&folder.join(name)));
}
