//! What a restored manager is: the store of then, in another life, that pays nothing until somebody has looked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lucid::live::Job;
use lucid::storage::device;
use lucid::storage::restore::Order;
use reqwest::Method;
use serde_json::json;

use super::{backup_cycle, command, listed, names, printed, said};
use crate::support::binary::{BINARY, Process, eventually, serve, start_manager};
use crate::support::client::{PASSWORD, USERNAME, error_name};
use crate::support::copy;
use crate::support::desk::Desk;
use crate::support::random::Random;
use crate::support::rig::Rig;
use crate::support::site::{START, Site};
use crate::support::tron::{Config, Network};

fn restore(from: &Path, data: &Path) -> std::process::Output {
    command(&["restore", "--from", from.to_str().unwrap()], data)
}

/// One backup by hand; its folder.
async fn backed_up(site: &Site) -> PathBuf {
    site.client.post("/backup", json!({})).await;
    backup_cycle(site).await;
    site.dir.join("backups").join(&names(&listed(&site.client).await)[0])
}

#[tokio::test]
async fn agents_go_on_and_money_waits() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let site = Site::new(data.clone(), &[]).await;
    let mut node = site.enrol("one").await;
    site.client.post(&format!("/nodes/{}/stop", node.id), json!({})).await;
    for _ in 0..15 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Default::default()).await.unwrap();
    }
    for job in [Job::Flush, Job::Epochs] {
        site.app.context.run(job).await.unwrap();
    }
    let backup = backed_up(&site).await;
    let head = site.client.get("/poot/epochs?limit=1").await["epochs"][0].clone();
    // What comes after the backup is in no restored store.
    let late = site.enrol("two").await;
    site.client.post(&format!("/nodes/{}/start", node.id), json!({})).await;
    site.next_slot(5_000);
    node.report(site.now_ms(), Default::default()).await.unwrap();
    let (driver, before) = (site.driver.clone(), node.held.len());
    site.end().await;

    let restored = restore(&backup, &data);
    assert!(restored.status.success() && said(&restored).contains("generation 2"), "{}", said(&restored));
    let mut site = Site::open(data.clone(), driver, Vec::new()).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    assert_eq!(site.client.get("/about").await["store"]["generation"], 2);
    let (status, _) = site.client.call(Method::GET, &format!("/nodes/{}", late.id), None).await;
    assert_eq!(status.as_u16(), 404);
    let state = site.client.get("/money").await;
    assert_eq!(state["frozen"]["kind"], "restored", "{state}");
    // The agent has newer orders than the manager: those of this life are followed all the same.
    node.rebase(&site.client.base);
    site.next_slot(5_000);
    let answer = node.report(site.now_ms(), Default::default()).await.unwrap();
    assert!(node.held.len() >= before.min(1), "what was not durable in the backup is still held: {answer:?}");
    let shown = site.client.get(&format!("/nodes/{}", node.id)).await;
    assert_eq!(shown["wanted"], "stopped", "{shown}");
    for _ in 0..20 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Default::default()).await.unwrap();
    }
    for job in [Job::Flush, Job::Epochs] {
        site.app.context.run(job).await.unwrap();
    }
    let next = site.client.get("/poot/epochs?limit=1").await["epochs"][0].clone();
    assert_ne!(next, head, "epochs go on");
    let frozen = site.client.call(Method::POST, "/money/unfreeze", Some(json!({ "reason": "looked" }))).await;
    assert!(frozen.0.is_success() || error_name(&frozen.1) == "FreshFactorNeeded", "{frozen:?}");
    assert!(lucid::storage::verify::verify(&site.app.store).iter().all(|found| found.wrong.is_none()));
    // A backup of the new life, and the two are told apart.
    site.driver.advance_ms(1_000);
    let second = backed_up(&site).await;
    let list = listed(&site.client).await;
    let generations: Vec<u64> = list["backups"].as_array().unwrap().iter().map(|backup| backup["generation"].as_u64().unwrap()).collect();
    assert_eq!((generations, second > backup), (vec![2, 1], true));
}

#[tokio::test]
async fn a_new_machine_needs_the_kit_and_a_running_manager_is_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (data, fresh) = (dir.path().join("data"), dir.path().join("fresh"));
    let site = Site::new(data.clone(), &[]).await;
    let kit = site.client.post("/recovery-kit", json!({ "passphrase": "correct horse battery", "password": PASSWORD })).await;
    let backup = backed_up(&site).await;
    let refused = restore(&backup, &data);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("stop the manager first"), "{}", said(&refused));
    let key = site.app.store.manager_key().to_hex();
    site.end().await;
    let refused = restore(&backup, &fresh);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("--kit"), "{}", said(&refused));
    let (kit_file, passphrase) = (dir.path().join("kit.json"), dir.path().join("passphrase"));
    let kit = kit.get("kit").cloned().unwrap_or(kit);
    std::fs::write(&kit_file, kit.to_string()).unwrap();
    let with_kit = |words: &str| {
        std::fs::write(&passphrase, words).unwrap();
        let arguments = ["restore", "--from", backup.to_str().unwrap(), "--kit", kit_file.to_str().unwrap(), "--passphrase-file"];
        command(&[&arguments[..], &[passphrase.to_str().unwrap()]].concat(), &fresh)
    };
    let refused = with_kit("a wrong passphrase\n");
    assert!(refused.status.code() == Some(1) && said(&refused).contains("passphrase is wrong"), "{}", said(&refused));
    let restored = with_kit("correct horse battery\n");
    assert!(restored.status.success() && said(&restored).contains("Payouts are frozen"), "{}", said(&restored));
    let manager = start_manager(serve(&fresh));
    let mut client = crate::support::client::Client::new(manager.base.clone());
    client.sign_in(USERNAME, PASSWORD).await;
    assert_eq!(client.get("/poot/manager-key").await["public_key"], key);
}

/// The store has a person's name that only the one before or only the one after has.
fn life_of(data: &Path) -> String {
    let verified = command(&["verify"], data);
    assert!(verified.status.success(), "{}", said(&verified));
    let status = command(&["money", "status"], data);
    assert!(status.status.success(), "{}", said(&status));
    said(&status).lines().find(|line| line.starts_with("frozen")).unwrap().to_owned()
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_restore_leaves_one_store_or_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template");
    let site = Site::new(template.clone(), &[]).await;
    let backup = backed_up(&site).await;
    let aside = dir.path().join("backup");
    copy(&backup, &aside);
    site.end().await;
    let mut random = Random::of(7);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..8 {
        let data = dir.path().join(format!("data-{round}"));
        copy(&template, &data);
        let mut restoring = Command::new(BINARY);
        restoring.args(["restore", "--from", aside.to_str().unwrap(), "--data-dir"]).arg(&data).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process(restoring.spawn().unwrap());
        std::thread::sleep(Duration::from_millis(random.within(5, 400)));
        process.kill();
        let life = life_of(&data);
        assert!(life.contains("no") || life.contains("restored"), "{life}");
        seen.insert(life.contains("restored"));
        let again = restore(&aside, &data);
        assert!(again.status.success(), "{}", said(&again));
        assert!(life_of(&data).contains("restored"));
        assert!(!data.join("restore.tmp").exists() && !data.join("restore.ready").exists());
    }
    assert!(!seen.is_empty());
}

#[tokio::test]
async fn a_manager_that_is_killed_while_it_makes_a_backup_leaves_nothing_that_looks_like_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut random = Random::of(11);
    for _ in 0..4 {
        let mut manager = start_manager(serve(&data));
        let socket = data.join("control.sock");
        eventually("the socket", async || std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(())).await;
        let mut asking = Command::new(BINARY);
        asking.args(["backup", "--data-dir"]).arg(&data).stdout(Stdio::null()).stderr(Stdio::null());
        let mut asking = Process(asking.spawn().unwrap());
        std::thread::sleep(Duration::from_millis(random.within(5, 300)));
        manager.process.kill();
        let _ = asking.0.wait();
        for entry in std::fs::read_dir(data.join("backups")).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "tmp") {
                let verified = command(&["verify"], &path);
                assert!(verified.status.success(), "{}", said(&verified));
            }
        }
    }
    let made = printed(&command(&["backup"], &data));
    assert!(std::fs::read_dir(made.parent().unwrap()).unwrap().all(|entry| entry.unwrap().path().extension().is_none()));
}

#[tokio::test]
async fn what_was_paid_after_the_backup_is_not_paid_again() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::over(Network::new(Config::at(START.0), 2, 1));
    let mut desk = Desk::over(&dir, rig, &[("payout.max_fee_percent", "0")]).await;
    desk.run(Job::Wallet).await;
    desk.go_live().await;
    desk.owe("worker", "25").await;
    let backup = backed_up(&desk.site).await;
    // The store pays, and is lost.
    desk.pay().await;
    assert_eq!((&desk.payouts().await[0]["status"], desk.rig.payments(1)), (&json!("completed"), 1));
    let Desk { site, mut rig, nodes } = desk;
    let (data, driver) = (site.dir.clone(), site.driver.clone());
    let now = site.app.clock.now();
    site.end().await;
    let place = data.clone();
    let restoring = tokio::task::spawn_blocking(move || {
        let order = Order { from: &backup, dir: &place, kit: None, boot_id: "another boot".into(), now, device: device::real() };
        lucid::storage::restore::restore(&order, &mut |_, _| {}).unwrap().unwrap()
    });
    assert_eq!(restoring.await.unwrap().generation, 2);
    rig.restart();
    let settings = [("payout.threshold_usdt", "2"), ("payout.address_cooldown_hours", "0"), ("payout.max_fee_percent", "0")];
    let settings = settings.map(|(key, value)| (key, value.to_owned())).to_vec();
    let mut site = Site::open_with(data, driver, settings, rig.gateway.clone()).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    let desk = Desk { site, rig, nodes };

    // The node is owed 25 as it was then, and nothing is signed.
    let broadcasts = desk.broadcasts();
    for _ in 0..8 {
        desk.pay().await;
        desk.run(Job::Wallet).await;
    }
    let money = desk.site.client.get("/money").await;
    assert_eq!((desk.broadcasts(), desk.rig.payments(1), &money["frozen"]["kind"]), (broadcasts, 1, &json!("restored")), "{money}");
    desk.site.client.post("/auth/confirm", json!({ "password": PASSWORD })).await;
    let (_, refused) = desk.site.client.call(Method::POST, "/money/unfreeze", Some(json!({ "reason": "I am sure" }))).await;
    assert_eq!(error_name(&refused), "NotReconciled", "{refused}");
    let unknown = desk.site.client.get("/money/unknown-transfers").await["transfers"][0].clone();
    let book = format!("/money/unknown-transfers/{}/book", unknown["transaction_hash"].as_str().unwrap());
    desk.site.client.post(&book, json!({ "node_id": desk.nodes[0] })).await;
    // What the store of before had signed may still have been under way: ten more minutes until nothing can land.
    for _ in 0..4 {
        desk.run(Job::Wallet).await;
        desk.pass(240).await;
    }
    desk.run(Job::Wallet).await;
    desk.site.client.post("/money/unfreeze", json!({ "reason": "it is booked to the node that it was paid to" })).await;
    for _ in 0..3 {
        desk.pay().await;
    }
    assert_eq!((desk.broadcasts(), desk.rig.payments(1)), (broadcasts, 1), "paid once");
    assert!(lucid::storage::verify::verify(&desk.site.app.store).iter().all(|found| found.wrong.is_none()));
}
