//! What a manager signed for of a node's reports, against the leaf that counts them.

use std::path::Path;
use std::process::Command;

use lucid::domain::metrics::Sample;
use lucid::domain::proof::check::{Outcome, Verdict};
use lucid::domain::proof::document::ProofDocument;
use lucid::domain::proof::leaf::CommittedReports;
use lucid::domain::proof::receipt::{self, Acknowledged};
use lucid::domain::time::{BootMs, SLOT_MS};
use lucid::live::Job;
use serde_json::{Value, json};

use super::{checked, fleet, key, written};
use crate::support::fleet::Node;
use crate::support::site::Site;

/// What a real agent would have in its folder.
pub(super) fn agent_folder(place: &Path, node: &mut Node) -> std::path::PathBuf {
    let folder = place.join(node.id.as_str());
    std::fs::create_dir_all(&folder).unwrap();
    let enrolled = json!({ "node_id": node.id, "node_name": "n", "manager_id": node.manager_id, "manager_key": node.manager_key.to_hex(), "successions": node.successions });
    std::fs::write(folder.join("node.json"), enrolled.to_string()).unwrap();
    let kept = node.history.to_write(BootMs(0), true).expect("receipts");
    std::fs::write(folder.join("history.json"), serde_json::to_vec(kept).unwrap()).unwrap();
    folder
}

/// The command line with the folder of the node's agent, and the verifier that was written from the format alone.
pub(super) fn verified(file: &Path, folder: &Path) -> (Option<i32>, String) {
    let mut ours = Command::new(env!("CARGO_BIN_EXE_lucid-node-management"));
    ours.arg("verify-proof");
    let mut theirs = Command::new("python3");
    theirs.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proof/verify.py"));
    let [(ours, said), (theirs, also_said)] = [ours, theirs].map(|mut command| {
        let output = command.arg(file).arg("--agent-dir").arg(folder).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    });
    assert_eq!(ours, theirs, "{said}{also_said}");
    (ours, said)
}

fn held_to(file: &Path, folder: &Path, other: &Path) {
    let run = |folder: &Path| verified(file, folder);
    let (status, said) = run(folder);
    assert!(status == Some(0) && said.contains("receipt: good") && said.contains("the leaf counts all"), "{said}");
    let (status, said) = run(other);
    assert!(status == Some(2) && said.contains("its node is"), "{said}");
    assert_eq!(run(file.parent().unwrap()).0, Some(2), "no agent's folder");
    // A receipt that nobody signed is none.
    let history = folder.join("history.json");
    let text = std::fs::read_to_string(&history).unwrap();
    std::fs::write(&history, text.replace("\\\"count\\\":", "\\\"count\\\": 1")).unwrap();
    let (status, said) = run(folder);
    assert!(status == Some(3) && said.contains("receipt: not checked"), "{said}");
}

/// The hash of a day's reports is in the leaf of the next day's first epoch, and is what the node was told.
#[tokio::test]
async fn a_node_can_hold_the_manager_to_the_reports_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    site.driver.advance_ms(SLOT_MS * (2_880 - 40));
    site.next_slot(0);
    let mut nodes = fleet(&site, 2).await;
    // 38 slots of the first day; the second node is gone for its last 20. What is told in between is short of the last reports: a flush comes every ten slots.
    let (mut told, mut short) = (None, None);
    for slot in 0..80u32 {
        site.next_slot(5_000);
        let day = u32::try_from(site.now_ms() / 86_400_000).unwrap();
        for (place, node) in nodes.iter_mut().enumerate() {
            if place == 1 && (18..45).contains(&slot) {
                continue;
            }
            let answer = node.report(site.now_ms(), Sample::default()).await.unwrap();
            if place == 0 {
                short = answer.durable_reports.filter(|reports| reports.day < day).or(short);
                assert!(answer.last_day.is_none_or(|reports| reports.day < day && told.is_none_or(|told| told == reports)));
                told = answer.last_day.or(told);
            }
        }
        if slot % 10 == 3 {
            for job in [Job::Flush, Job::Epochs] {
                site.app.context.run(job).await.unwrap();
            }
        }
    }
    site.pass_slots(10).await;
    let (mut committed, mut counting): (Vec<Vec<Value>>, Vec<Value>) = (Vec::new(), Vec::new());
    let epochs = site.client.get("/poot/epochs?limit=100").await;
    for node in &nodes {
        let mut of_node = Vec::new();
        for epoch in epochs["epochs"].as_array().unwrap().iter().rev().filter(|epoch| epoch["gap"] == false) {
            let document = site.client.get(&format!("/poot/{}?epoch={}", node.id, epoch["epoch"])).await;
            assert_eq!(Verdict::of(&checked(&document, Some(&key(&site)))), Verdict::Good);
            let reports = document["leaf"]["reports"].clone();
            if !reports.is_null() {
                of_node.push(reports);
                counting.push(document);
            }
        }
        committed.push(of_node);
    }
    assert_eq!(committed.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1], "once, in the first epoch of the second day: {committed:?}");
    let (told, short) = (told.expect("the node was told of its first day, once all of it was durable"), short.unwrap());
    assert_eq!(committed[0][0], serde_json::to_value(told).unwrap(), "exactly");
    assert!(short.day == told.day && short.count < told.count, "{short:?}: the last word before was of fewer reports");
    assert_eq!(committed[1][0]["count"], 18);
    let other = agent_folder(dir.path(), &mut nodes[1]);
    let folder = agent_folder(dir.path(), &mut nodes[0]);
    held_to(&written(dir.path(), &counting[0]), &folder, &other);
    let document: ProofDocument = serde_json::from_value(counting[0].clone()).unwrap();
    let judged = |document: &ProofDocument, whole| {
        let all = [Acknowledged { reports: if whole { told } else { short }, whole, history: document.head.incarnation }];
        receipt::check(document, &all).outcome
    };
    let with = |count: Option<u32>| {
        let mut document = document.clone();
        document.leaf.reports = count.map(|count| CommittedReports { count, ..told });
        document
    };
    assert_eq!([true, false].map(|whole| judged(&document, whole)), [Outcome::Good; 2]);
    assert_eq!(
        [true, false].map(|whole| judged(&with(Some(told.count + 1)), whole)),
        [Outcome::Wrong, Outcome::Good],
        "it may count more than was told"
    );
    assert_eq!([true, false].map(|whole| judged(&with(Some(short.count)), whole)), [Outcome::Wrong; 2], "fewer, or as many other ones");
    assert_eq!([true, false].map(|whole| judged(&with(None), whole)), [Outcome::Wrong; 2], "none");
    let mut replayed = document.clone();
    replayed.leaf.reports = Some(CommittedReports { day: told.day - 1, ..told });
    assert_eq!([true, false].map(|whole| judged(&replayed, whole)), [Outcome::Wrong; 2], "an older day once more");
    let mut other_life = document.clone();
    other_life.head.incarnation += 1;
    let known = [Acknowledged { reports: short, whole: true, history: document.head.incarnation }];
    assert_eq!(receipt::check(&other_life, &known).outcome, Outcome::Unchecked, "which may have forgotten it, openly");
    let taken_back = [true, false].map(|whole| Acknowledged {
        reports: if whole { told } else { CommittedReports { count: told.count + 1, ..told } },
        whole,
        history: document.head.incarnation,
    });
    assert_eq!(receipt::check(&document, &taken_back).outcome, Outcome::Wrong, "more was acknowledged before");
    let mut later = with(None);
    later.head.epoch += 10;
    assert_eq!(judged(&later, true), Outcome::Unchecked, "a later epoch of the day counts nothing");
    // Also by a manager that did not live then.
    let site = site.crash().await;
    nodes[0].rebase(&site.client.base);
    for _ in 0..2 {
        let answer = nodes[0].report(site.now_ms(), Sample::default()).await.unwrap();
        assert_eq!(answer.last_day, Some(told));
        site.next_slot(5_000);
    }
}
