//! Backups and restores through the front door: beside a manager that works, by its API, its cycle and the command line, and what comes back.

mod restores;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lucid::live::Job;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::binary::{BINARY, eventually, serve, start_manager};
use crate::support::client::{Client, error_name};
use crate::support::site::Site;

const DAY_MS: i64 = 86_400_000;

async fn backup_cycle(site: &Site) {
    site.app.context.tick();
    site.app.context.run(Job::Backup).await.unwrap();
}

async fn listed(client: &Client) -> Value {
    client.get("/backup").await
}

fn names(list: &Value) -> Vec<String> {
    list["backups"].as_array().unwrap().iter().map(|backup| backup["name"].as_str().unwrap().to_owned()).collect()
}

async fn open_alerts(client: &Client) -> Vec<String> {
    let alerts = client.get("/alerts?state=active").await;
    let kinds = alerts["alerts"].as_array().unwrap().iter().map(|alert| alert["kind"].as_str().unwrap().to_owned());
    kinds.filter(|kind| kind.starts_with("backup_")).collect()
}

fn command(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data-dir").arg(folder).env("LUCID__LOG__LEVEL", "error").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The folder that `backup` printed.
fn printed(output: &Output) -> PathBuf {
    assert!(output.status.success(), "{}", said(output));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).lines().next().unwrap())
}

#[tokio::test]
async fn one_is_made_each_day_and_a_missed_one_once() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("backup.at", "03:30"), ("backup.keep", "3")]).await;
    backup_cycle(&site).await;
    let none_yet = listed(&site.client).await;
    assert_eq!(names(&none_yet), Vec::<String>::new(), "a store that was just made has time until 03:30");
    assert_eq!(none_yet["same_disk"], true, "a folder of the store, whether it is there or not");
    site.driver.advance_ms(4 * 3_600_000);
    for _ in 0..3 {
        backup_cycle(&site).await;
    }
    let first = listed(&site.client).await;
    assert_eq!(names(&first).len(), 1, "{first}");
    let made = &first["backups"][0];
    assert_eq!(
        (&made["generation"], &made["files"], &made["problem"], &made["made_at"]),
        (&json!(1), &json!(2), &json!(null), &first["last_good_at"])
    );
    assert_eq!(first["folder"], json!(site.dir.join("backups")), "an admin is told where");
    // A week without power.
    site.driver.advance_ms(7 * DAY_MS);
    for _ in 0..3 {
        backup_cycle(&site).await;
    }
    assert_eq!((names(&listed(&site.client).await).len(), open_alerts(&site.client).await.len()), (2, 0));
    for _ in 0..3 {
        site.driver.advance_ms(DAY_MS);
        backup_cycle(&site).await;
    }
    let kept = names(&listed(&site.client).await);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.is_sorted_by(|a, b| a > b), "newest first: {kept:?}");
    // By hand, at once, whatever the time of day is.
    let (status, run) = site.client.call(Method::POST, "/backup", None).await;
    assert_eq!((status, &run["number"]), (StatusCode::ACCEPTED, &json!(6)), "{run}");
    let (status, refused) = site.client.call(Method::POST, "/backup", None).await;
    assert_eq!((status, error_name(&refused)), (StatusCode::CONFLICT, "BackupRunning"));
    assert_eq!(listed(&site.client).await["running"]["number"], 6);
    backup_cycle(&site).await;
    let after = listed(&site.client).await;
    assert_eq!((&after["running"], names(&after)[1..].to_vec()), (&json!(null), kept[..2].to_vec()));
    let audit = site.client.get("/audit?limit=5").await.to_string();
    assert!(audit.contains("backup.ask") && audit.contains("backup.make"), "{audit}");
    assert!(lucid::storage::verify::verify(&site.app.store).iter().all(|found| found.wrong.is_none()));
}

#[tokio::test]
async fn one_that_fails_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let elsewhere = dir.path().join("usb");
    std::fs::write(&elsewhere, "a file, and no folder").unwrap();
    site.client.put("/settings", json!({ "backup.dir": elsewhere, "backup.at": "03:30" })).await;
    site.driver.advance_ms(4 * 3_600_000);
    backup_cycle(&site).await;
    assert_eq!(open_alerts(&site.client).await, ["backup_failed"]);
    let failure = listed(&site.client).await["last_failure"].clone();
    assert!(failure["message"].as_str().unwrap().contains("usb"), "{failure}");
    std::fs::remove_file(&elsewhere).unwrap();
    backup_cycle(&site).await;
    assert_eq!(names(&listed(&site.client).await), Vec::<String>::new(), "not within the hour");
    site.driver.advance_ms(3_600_000);
    backup_cycle(&site).await;
    assert_eq!((names(&listed(&site.client).await).len(), open_alerts(&site.client).await.len()), (1, 0));
    assert_eq!(std::fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o700);
    // The disk is pulled out, and nobody is there for three days.
    std::fs::rename(&elsewhere, dir.path().join("away")).unwrap();
    std::fs::write(&elsewhere, "").unwrap();
    for _ in 0..3 {
        site.driver.advance_ms(DAY_MS);
        backup_cycle(&site).await;
    }
    let mut open = open_alerts(&site.client).await;
    open.sort();
    assert_eq!(open, ["backup_failed", "backup_overdue"]);
    // Whoever makes backups by other means turns these off, and is left alone.
    site.client.put("/settings", json!({ "backup.enabled": false })).await;
    backup_cycle(&site).await;
    assert_eq!(open_alerts(&site.client).await, ["backup_failed"]);
    site.client.put("/settings", json!({ "backup.enabled": true, "backup.dir": "" })).await;
    site.driver.advance_ms(3_600_000);
    backup_cycle(&site).await;
    assert_eq!((names(&listed(&site.client).await).len(), open_alerts(&site.client).await.len()), (1, 0));
    assert_eq!(listed(&site.client).await["same_disk"], true);
    for (dir, told) in [("/proc", json!(false)), ("/pulled/out", json!(null))] {
        site.client.put("/settings", json!({ "backup.dir": dir })).await;
        assert_eq!(listed(&site.client).await["same_disk"], told, "{dir}");
    }
    let (status, refused) = site.client.call(Method::PUT, "/settings", Some(json!({ "backup.dir": "somewhere" }))).await;
    assert!(status.is_client_error(), "{refused}");
}

#[tokio::test]
async fn the_command_works_beside_a_manager_and_without_one() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than the name of a socket may be.
    let data = dir.path().join("a".repeat(80)).join("b".repeat(60));
    std::fs::create_dir_all(data.parent().unwrap()).unwrap();
    let mut manager = start_manager(serve(&data));
    let socket = data.join("control.sock");
    eventually("the socket", async || socket.exists().then_some(())).await;
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let beside = printed(&command(&["backup"], &data));
    assert_eq!(beside.parent().unwrap(), data.join("backups"));
    let elsewhere = dir.path().join("usb");
    let other = printed(&command(&["backup", "--to", elsewhere.to_str().unwrap()], &data));
    assert_eq!(other.parent().unwrap(), elsewhere);
    for backup in [&beside, &other] {
        let verified = command(&["verify", "--full"], backup);
        assert!(verified.status.success(), "{}", said(&verified));
        assert!(!backup.join("secret.key").exists());
    }
    // The store itself, while the manager runs on it.
    let verified = command(&["verify", "--full", "--json"], &data);
    let told: Vec<Value> = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(verified.status.success() && told.iter().all(|found| found["wrong"].is_null()), "{}", said(&verified));
    assert!(told.iter().any(|found| found["part"] == "audit log" && found["records"].as_u64() > Some(1)), "{told:?}");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let failed = command(&["backup", "--to", dir.path().join("file").to_str().unwrap()], &data);
    assert_eq!(failed.status.code(), Some(1), "{}", said(&failed));
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(data.join("cold"), &link).unwrap();
    for of_store in [data.clone(), data.join("cold"), data.join("archive/more"), link.join("more")] {
        let failed = command(&["backup", "--to", of_store.to_str().unwrap()], &data);
        assert!(failed.status.code() == Some(1) && said(&failed).contains("a folder of the store itself"), "{}", said(&failed));
    }
    manager.process.kill();
    assert!(socket.exists(), "left by the kill");
    let without = printed(&command(&["backup"], &data));
    assert!(without > beside);
    let manager = start_manager(serve(&data));
    eventually("the new socket", async || command(&["backup"], &data).status.success().then_some(())).await;
    drop(manager);
    let mut bytes = std::fs::read(other.join("hot.redb")).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(other.join("hot.redb"), bytes).unwrap();
    let verified = command(&["verify"], &other);
    assert!(verified.status.code() == Some(1) && said(&verified).contains("hot.redb"), "{}", said(&verified));
    let told: Value = serde_json::from_slice(&command(&["verify", "--json"], &other).stdout).unwrap();
    assert!(told[0]["part"] == "files" && told[0]["wrong"].as_str().unwrap().contains("hot.redb"), "{told}");
    assert_eq!(command(&["backup"], dir.path()).status.code(), Some(2), "there is no store");
    // Of a store that does not open, too: this is no backup any more.
    std::fs::remove_file(other.join("manifest.json")).unwrap();
    std::fs::copy(data.join("secret.key"), other.join("secret.key")).unwrap();
    std::fs::write(other.join("hot.redb"), [1; 9_000]).unwrap();
    let verified = command(&["verify", "--json"], &other);
    let told: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(verified.status.code() == Some(1) && told[0]["wrong"].as_str().unwrap().contains("magic number"), "{told}");
}
