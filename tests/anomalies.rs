//! Anomalies through the front door: each is told with its numbers, is over when it is over, changes no score, and has an honest look-alike that is not told.

use lucid::domain::metrics::{Cpu, Memory, Network, Sample};
use lucid::live::Job;
use serde_json::Value;

use crate::support::fleet::Node;
use crate::support::site::Site;

/// As the machines of these tests enrol.
const TOTAL: u64 = 4_000_000_000;

struct Fleet {
    site: Site,
    nodes: Vec<Node>,
    _dir: tempfile::TempDir,
}

impl Fleet {
    async fn new(nodes: usize) -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("data"), &[("poot.min_observation_seconds", "0")]).await;
        let mut enrolled = Vec::new();
        for n in 0..nodes {
            enrolled.push(site.enrol(&format!("node-{n}")).await);
        }
        Fleet { site, nodes: enrolled, _dir: dir }
    }

    /// So many slots in which the nodes report for which there is a sample; what has ended is closed and looked at.
    async fn pass(&mut self, slots: u32, sample: impl Fn(usize, u32) -> Option<Sample>) {
        for slot in 0..slots {
            self.site.next_slot(1_000);
            let now = self.site.now_ms();
            for (n, node) in self.nodes.iter_mut().enumerate() {
                if let Some(sample) = sample(n, slot) {
                    node.report(now, sample).await.unwrap();
                }
            }
        }
        self.look().await;
    }

    async fn look(&self) {
        self.site.pass_slots(0).await;
        for job in [Job::Rollups, Job::Anomalies] {
            self.site.app.context.run(job).await.unwrap();
        }
    }

    /// (subject, message) of the open alerts of a kind.
    async fn open(&self, kind: &str) -> Vec<(String, String)> {
        let body = self.site.client.get(&format!("/alerts?kind={kind}&state=active&limit=100")).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        body["alerts"].as_array().unwrap().iter().map(|a| (text(&a["subject"]), text(&a["message"]))).collect()
    }

    fn id(&self, n: usize) -> String {
        self.nodes[n].id.to_string()
    }
}

/// A machine that works: everything moves a little.
fn lively(slot: u32) -> Sample {
    let moved = u64::from(slot);
    Sample {
        cpu: Cpu { usage_percent: Some(5.0 + f64::from(slot % 7)), ..Cpu::default() },
        memory: Memory { total_bytes: Some(TOTAL), used_bytes: Some(TOTAL / 4 + moved % 9 * 4_096), ..Memory::default() },
        network: Network { total_bytes_in: Some(1_000_000 + moved * 900), total_bytes_out: Some(moved * 700), ..Network::default() },
        ..Sample::default()
    }
}

#[tokio::test]
async fn an_outlier_of_its_pool_is_told_with_its_numbers_and_keeps_its_score() {
    let mut fleet = Fleet::new(6).await;
    fleet.pass(25, |n, slot| (n != 2 || slot % 2 == 0).then(|| lively(slot))).await;
    let found = fleet.open("poot_deviation").await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (subject, message) = &found[0];
    assert_eq!(*subject, fleet.id(2));
    assert!(message.contains("of 6 members the median is 100.00, the MAD 0.00"), "{message}");
    let score = fleet.site.client.get(&format!("/nodes/{subject}/poot/score")).await;
    let head = &fleet.site.client.get("/poot/epochs").await["epochs"][0];
    assert!(score["score"].as_f64().unwrap() > 40.0 && head["epoch"].is_number(), "{score}");
    // Half of the pool behind a switch that breaks: nobody is an outlier.
    let mut half = Fleet::new(6).await;
    half.pass(25, |n, slot| (n % 2 == 0 || slot % 3 == 0).then(|| lively(slot))).await;
    assert_eq!(half.open("poot_deviation").await, []);
    // Over when the others are like it.
    let mut is_over = false;
    for _ in 0..16 {
        fleet.pass(5, |n, slot| (n == 2 || slot > 0).then(|| lively(slot))).await;
        is_over |= fleet.open("poot_deviation").await.is_empty();
    }
    assert!(is_over);
}

#[tokio::test]
async fn one_key_on_two_machines_is_told_and_an_agent_that_starts_again_is_not() {
    let mut fleet = Fleet::new(2).await;
    let original = &fleet.nodes[0];
    let twin = Node::new(&original.base, original.id.clone(), original.manager_id.clone(), original.manager_key, original.machine.copied());
    let mut both = [fleet.nodes.remove(0), twin];
    let id = both[0].id.to_string();
    for round in 0..4 {
        fleet.site.next_slot(1_000);
        let now = fleet.site.now_ms();
        for node in &mut both {
            let _ = node.report(now, lively(round)).await;
        }
        // The honest one crashes in a loop.
        fleet.nodes[0].restart();
        fleet.nodes[0].report(now, lively(round)).await.unwrap();
    }
    fleet.look().await;
    let found = fleet.open("cloned_key").await;
    assert!(found.len() == 1 && found[0].0 == id, "{found:?}");
    assert!(found[0].1.contains("two machines at once: 3 new reports"), "{}", found[0].1);
    // A recorded report, again and again, is no second machine.
    let (recorded, signature) = fleet.nodes[0].signed(fleet.nodes[0].seq, fleet.nodes[0].run);
    fleet.nodes[0].restart();
    fleet.nodes[0].report(fleet.site.now_ms(), lively(0)).await.unwrap();
    for _ in 0..5 {
        fleet.nodes[0].raw(lucid::wire::PATH_REPORT, &recorded, &signature).await.unwrap();
    }
    fleet.look().await;
    assert_eq!(fleet.open("cloned_key").await.len(), 1);
    fleet.site.driver.advance_ms(3_700_000);
    fleet.site.app.context.tick();
    fleet.look().await;
    assert_eq!(fleet.open("cloned_key").await, []);
}

#[tokio::test]
async fn what_the_hardware_cannot_do_is_told_and_over_with_the_next_hour() {
    let mut fleet = Fleet::new(2).await;
    let with = |used: u64| Sample { memory: Memory { total_bytes: Some(TOTAL), used_bytes: Some(used), ..Memory::default() }, ..lively(0) };
    fleet.pass(2, |n, _| Some(with(if n == 0 { 2 * TOTAL } else { TOTAL }))).await;
    let found = fleet.open("impossible_metrics").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0 == fleet.id(0) && found[0].1.contains(&format!("{} of {} bytes", 2 * TOTAL, TOTAL)), "{found:?}");
    fleet.pass(240, |_, slot| Some(lively(slot))).await;
    assert_eq!(fleet.open("impossible_metrics").await, []);
}

#[tokio::test]
async fn a_machine_on_which_nothing_moves_is_told_and_an_idle_one_is_not() {
    let mut fleet = Fleet::new(3).await;
    let idle = |slot: u32| {
        let mut sample = lively(0);
        sample.network.total_bytes_out = Some(u64::from(slot) * 300);
        sample
    };
    fleet
        .pass(365, |n, slot| {
            Some(match n {
                0 => lively(0),
                1 => idle(slot),
                _ => lively(slot),
            })
        })
        .await;
    let found = fleet.open("no_jitter").await;
    assert_eq!(found.iter().map(|(subject, _)| subject.clone()).collect::<Vec<_>>(), [fleet.id(0)], "{found:?}");
    assert!(found[0].1.contains("120 samples with CPU 5.0 %"), "{}", found[0].1);
    fleet.pass(125, |_, slot| Some(lively(slot))).await;
    assert_eq!(fleet.open("no_jitter").await, []);
}

#[tokio::test]
async fn a_node_unlike_its_own_history_is_told_and_a_nightly_job_is_not() {
    let mut fleet = Fleet::new(2).await;
    let busy = |percent: f64| {
        let mut sample = lively(0);
        sample.cpu.usage_percent = Some(percent);
        sample
    };
    // Four reports an hour are enough of a history.
    let mut told = Vec::new();
    for hour in 0..76u32 {
        for _ in 0..4 {
            fleet.site.driver.advance_ms(890_000);
            fleet.site.next_slot(1_000);
            let now = fleet.site.now_ms();
            let nightly = if hour % 24 == 3 { 97.0 } else { 4.0 + f64::from(hour % 3) };
            let miner = if hour >= 74 { 97.0 } else { 4.0 + f64::from(hour % 3) };
            for (node, percent) in fleet.nodes.iter_mut().zip([nightly, miner]) {
                node.report(now, busy(percent)).await.unwrap();
            }
        }
        // Before, nobody has a history.
        if hour < 47 {
            continue;
        }
        fleet.look().await;
        told.extend(
            fleet.open("unlike_its_history").await.into_iter().filter(|(_, message)| message.contains("CPU")).map(|(id, m)| (hour, id, m)),
        );
    }
    assert!(!told.is_empty() && told.iter().all(|(hour, id, _)| *hour >= 74 && *id == fleet.id(1)), "{told:?}");
    assert!(told[0].2.contains("hours before the median is"), "{}", told[0].2);
}
