//! Cheats that the front door sees: junk outputs, copied keys, new identities. What is said of each is what the month is made of.

use lucid::crypto::{SecretKey, SigningKey, base64, hex, sha256, sha256_parts, unhex};
use lucid::domain::metrics::Sample;
use lucid::domain::time::Timestamp;
use lucid::domain::workload::{WorkloadReport, WorkloadState};
use lucid::live::Job;
use lucid::wire::{OutputRequest, PROTOCOL, SlotChallenge};
use serde_json::{Value, json};

use crate::support::client::error_name;
use crate::support::fleet::{Machine, Node};
use crate::support::site::Site;

/// Kinds of alerts that are open about the node.
pub async fn alerts(site: &Site, node: &str) -> Vec<String> {
    let body = site.client.get("/alerts?state=open&limit=100").await;
    let about = body["alerts"].as_array().unwrap().iter().filter(|alert| alert.to_string().contains(node));
    let mut kinds: Vec<String> = about.map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

async fn judged(site: &Site, node: &Node, data: &[u8], nonce: u32, challenge: &SlotChallenge) -> Value {
    let request = OutputRequest {
        protocol: PROTOCOL,
        output_data: base64(data),
        output_hash: Some(hex(&sha256_parts(&[&unhex(&challenge.challenge).unwrap(), data]))),
        timestamp: Timestamp(site.now_ms()).rfc3339(),
        nonce: format!("nonce-{nonce:08}"),
        challenge_slot: Some(challenge.slot),
    };
    node.submit(&request).await.unwrap()
}

/// Whether answers count that are copied, always the same, or random bytes; and what is told of the copier.
pub struct Junk {
    pub copied: bool,
    pub constant: bool,
    pub random: bool,
    pub told_of_copier: Vec<String>,
    pub told_of_others: Vec<String>,
}

pub async fn junk() -> Junk {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("limits.poot_requests", "100000")]).await;
    site.client.put("/nodes/pools/pool_default", json!({ "outputs_expected": true })).await;
    let mut nodes = Vec::new();
    for name in ["worker", "copier", "constant", "random"] {
        nodes.push(site.enrol(name).await);
    }
    let (mut last, mut counted) = (Vec::new(), vec![Vec::new(); 4]);
    for slot in 0..60u32 {
        site.next_slot(5_000);
        for (at, node) in nodes.iter_mut().enumerate() {
            let Some(challenge) = node.report(site.now_ms(), Sample::default()).await.unwrap().challenge else { continue };
            let data = match at {
                0 => format!("the work of slot {slot}, done by the worker").into_bytes(),
                1 => last.clone(),
                2 => b"sixteen bytes or more, always the same".to_vec(),
                _ => sha256(&slot.to_le_bytes()).to_vec(),
            };
            if data.is_empty() {
                continue;
            }
            let verdict = judged(&site, node, &data, slot * 10 + u32::try_from(at).unwrap(), &challenge).await;
            counted[at].push(verdict["counted"] == true);
            if at == 0 {
                last = data;
            }
        }
    }
    let all = |at: usize| {
        assert!(counted[at].len() >= 3 && counted[at].windows(2).all(|pair| pair[0] == pair[1]), "one way or the other: {counted:?}");
        counted[at][0]
    };
    assert!(all(0), "honest answers count");
    let (copied, constant, random) = (all(1), all(2), all(3));
    let told_of_copier = alerts(&site, nodes[1].id.as_str()).await;
    let mut told_of_others = alerts(&site, nodes[2].id.as_str()).await;
    told_of_others.extend(alerts(&site, nodes[3].id.as_str()).await);
    Junk { copied, constant, random, told_of_copier, told_of_others }
}

/// A workload that runs only to answer, over so many slots: with an agent that says so, and with one that was changed to say that it always runs.
pub struct OnDemand {
    pub slots: u64,
    pub proven_by_honest_agent: u64,
    pub proven_by_changed_agent: u64,
    /// Of the changed one: challenges, and answers that counted.
    pub answered: (u64, u64),
    pub told: Vec<String>,
}

pub async fn on_demand() -> OnDemand {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("limits.poot_requests", "100000"), ("poot.min_observation_seconds", "60")];
    let site = Site::new(dir.path().join("data"), &settings).await;
    site.client.put("/nodes/pools/pool_default", json!({ "outputs_expected": true })).await;
    let (mut honest, mut changed) = (site.enrol("honest-agent").await, site.enrol("changed-agent").await);
    let slots = 90;
    let mut asked = None;
    for slot in 0..slots {
        site.next_slot(5_000);
        // What was asked in the slot before has been made meanwhile.
        if let Some(challenge) = asked.take() {
            let data = format!("made when it was asked, in slot {slot}");
            assert_eq!(judged(&site, &changed, data.as_bytes(), slot, &challenge).await["counted"], true);
        }
        asked = changed.report(site.now_ms(), Sample::default()).await.unwrap().challenge;
        // This one runs in one slot of ten, whether or not that is the one in which it would be asked, and as long as it is asked.
        let runs = slot % 10 == 0;
        let state = if runs { WorkloadState::Running } else { WorkloadState::BackingOff };
        honest.workload = Some(WorkloadReport { configured: true, state, ..WorkloadReport::default() });
        if let Some(challenge) = honest.report(site.now_ms(), Sample::default()).await.unwrap().challenge {
            judged(&site, &honest, format!("of an honest agent, slot {slot}").as_bytes(), slot, &challenge).await;
        }
    }
    site.app.context.run(Job::Anomalies).await.unwrap();
    let told = alerts(&site, changed.id.as_str()).await;
    site.pass_slots(8).await;
    let mut proven = Vec::new();
    let mut answered = (0, 0);
    for node in [&honest, &changed] {
        let score = site.client.get(&format!("/nodes/{}/poot/score", node.id)).await;
        let count = |name: &str| score["inputs"][name].as_u64().unwrap();
        answered = (count("challenged"), count("answered"));
        let recent = score["recent_slots"].as_array().unwrap();
        proven.push(recent.iter().filter(|slot| slot["state"] == "proven").count() as u64);
    }
    OnDemand { slots: slots.into(), proven_by_honest_agent: proven[0], proven_by_changed_agent: proven[1], answered, told }
}

/// What comes of one key on two machines.
pub struct Clones {
    /// Of a second machine that says what it is.
    pub refused_as: String,
    pub told_of_stranger: Vec<String>,
    /// Of two machines that report in the same slots, each as the agent that it is, with one fingerprint.
    pub told_of_both: Vec<String>,
    /// Of two that take turns, each with a new start of the agent.
    pub told_of_turns: Vec<String>,
    /// Slots proven by the two that took turns, of so many in which one of them was on: never more than one machine would prove.
    pub proven_in_turns: (u64, u64),
}

/// A second machine with the node's key, the same in all that it says.
fn copied(node: &Node) -> Node {
    let machine = Machine {
        key: SigningKey::from_seed(SecretKey(sha256(b"replaced below"))),
        fingerprint: node.machine.fingerprint.clone(),
        hardware: Machine::hardware(),
        name: node.machine.name.clone(),
    };
    Node::new(&node.base, node.id.clone(), node.manager_id.clone(), node.manager_key, machine)
}

/// A machine whose key is known, so that it can be copied.
fn machine(name: &str, seed: u8) -> (Machine, impl Fn() -> SigningKey) {
    let key = move || SigningKey::from_seed(SecretKey([seed; 32]));
    (Machine { key: key(), ..Machine::new(name) }, key)
}

pub async fn clones() -> Clones {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("poot.min_observation_seconds", "60")]).await;
    let mut pairs = Vec::new();
    for (name, seed) in [("stranger", 71), ("both", 72), ("turns", 73)] {
        let (machine, key) = machine(name, seed);
        let token = site.token(1).await;
        let first = machine.enrol(&site.client.base, &token).await.unwrap();
        let mut second = copied(&first);
        second.machine.key = key();
        pairs.push((first, second));
    }
    pairs[0].1.machine.fingerprint = Machine::new("another").fingerprint;
    let mut refused_as = String::new();
    for slot in 0..40u32 {
        site.next_slot(5_000);
        for (at, (first, second)) in pairs.iter_mut().enumerate() {
            match at {
                0 => {
                    first.report(site.now_ms(), Sample::default()).await.unwrap();
                    let (body, signature) = second.signed(1, first.run);
                    let (_, _, answer) = second.raw("/api/v1/agent/report", &body, &signature).await.unwrap();
                    refused_as = error_name(&serde_json::from_slice(&answer).unwrap()).to_owned();
                }
                // The one that is refused starts again, as agents do now and then.
                1 => {
                    for node in [first, second] {
                        if node.report(site.now_ms(), Sample::default()).await.is_none() && slot % 12 == 11 {
                            node.restart();
                        }
                    }
                }
                _ => {
                    let (on, is_turn) = if slot / 10 % 2 == 0 { (first, slot % 10 == 0) } else { (second, slot % 10 == 0) };
                    if is_turn {
                        on.restart();
                    }
                    on.report(site.now_ms(), Sample::default()).await.unwrap();
                }
            }
        }
    }
    site.app.context.run(Job::Anomalies).await.unwrap();
    let told_of_both = alerts(&site, pairs[1].0.id.as_str()).await;
    let told_of_turns = alerts(&site, pairs[2].0.id.as_str()).await;
    let told_of_stranger = alerts(&site, pairs[0].0.id.as_str()).await;
    site.pass_slots(4).await;
    let score = site.client.get(&format!("/nodes/{}/poot/score", pairs[2].0.id)).await;
    let proven = score["recent_slots"].as_array().unwrap().iter().filter(|slot| slot["state"] == "proven").count();
    Clones { refused_as, told_of_stranger, told_of_both, told_of_turns, proven_in_turns: (proven as u64, 40) }
}

/// What comes of a machine that enrols again with a new key.
pub struct Anew {
    /// Under its old name, and under another one while nothing is heard of the old agent: the node that it was.
    pub same_name: bool,
    pub other_name: bool,
    /// Under another name while the old agent still reports: another node, and what is told of it.
    pub beside: bool,
    pub told_of_beside: Vec<String>,
    /// As a machine of which every part is another one.
    pub changed: bool,
    pub told_of_changed: Vec<String>,
}

pub async fn anew() -> Anew {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut first = site.enrol("worker").await;
    let again = async |name: &str, fingerprint: Option<&Node>| {
        let mut machine = Machine::new(name);
        if let Some(node) = fingerprint {
            machine.fingerprint = node.machine.fingerprint.clone();
        }
        let token = site.token(1).await;
        machine.enrol(&site.client.base, &token).await.unwrap()
    };
    for _ in 0..15 {
        site.next_slot(5_000);
        first.report(site.now_ms(), Sample::default()).await.unwrap();
    }
    let beside = again("beside", Some(&first)).await;
    let told_of_beside = alerts(&site, beside.id.as_str()).await;
    let same_name = again("worker", Some(&first)).await.id == first.id;
    site.pass_slots(20).await;
    let (machine, _) = machine("lonely", 99);
    let token = site.token(1).await;
    let lonely = machine.enrol(&site.client.base, &token).await.unwrap();
    site.pass_slots(20).await;
    let other_name = again("not-lonely", Some(&lonely)).await.id == lonely.id;
    let changed = again("worker", None).await;
    let told_of_changed = alerts(&site, changed.id.as_str()).await;
    Anew { same_name, other_name, beside: beside.id == first.id, told_of_beside, changed: changed.id == first.id, told_of_changed }
}
