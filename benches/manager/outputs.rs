//! What it costs to judge outputs: one at a time, and in batches.

use lucid::clock::{Clock, Stopwatch};
use lucid::crypto::base64;
use lucid::domain::time::{Timestamp, TrustPolicy};
use serde_json::{Value, json};

use super::table::{grouped, percentile, sorted};
use super::{Bench, load, set_up_with};

/// Nodes whose outputs these are.
const NODES: usize = 100;
const BATCH: usize = 1_000;

/// Bytes that no other number has.
fn output(number: usize, bytes: usize) -> String {
    let text = format!("output {number} ").repeat(bytes / 8);
    base64(&text.as_bytes()[..bytes])
}

impl Bench {
    pub async fn outputs(&mut self) {
        let data = self.dir.join("outputs");
        let (manager, person) = set_up_with(&data, &[("LUCID__LIMITS__POOT_REQUESTS", "1000000".to_owned())]).await;
        let mut nodes = Vec::new();
        for n in 0..NODES {
            let made = person.post("/api/v1/nodes", json!({ "name": format!("bench-{n}"), "node_type": "worker" })).await;
            nodes.push(made["node_id"].as_str().unwrap().to_owned());
        }
        let mut number = 0;
        let mut item = |bytes: usize| {
            number += 1;
            let now = Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall.rfc3339();
            json!({ "output_data": output(number, bytes), "timestamp": now, "nonce": format!("bench-{number:08}") })
        };
        let mut connection = load::Connection::new(manager.address());
        let mut timed = async |path: &str, body: &Value| {
            let request = load::asks("POST", path, manager.address(), &person.token, &body.to_string());
            let watch = Stopwatch::start();
            let answer = connection.send(&request).await;
            let took_ms = watch.elapsed().as_secs_f64() * 1e3;
            let answer_text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 200 && !answer_text.contains("\"is_valid\":false"), "{} {answer_text:.300}", answer.status);
            took_ms
        };
        let singles = [("validate_1kb", "validate an output of 1 KB, durable", 1_000, 300), ("validate_1mb", "… of 1 MB", 1 << 20, 20)];
        for (key, what, bytes, count) in singles {
            let mut took = Vec::new();
            for n in 0..count {
                took.push(timed(&format!("/api/v1/nodes/{}/poot/validate", nodes[n % NODES]), &item(bytes)).await);
            }
            let all = sorted(took);
            let text = format!("p50 {:.2} ms, p99 {:.2} ms", percentile(&all, 0.5), percentile(&all, 0.99));
            self.table.add(key, what, text, "500 ms", percentile(&all, 0.5));
        }
        let batches = [("batch_1kb", "batch of 1,000 outputs of 1 KB, durable", 1_000, "100 ms"), ("batch_5kb", "… of 5 KB", 5_000, "2 s")];
        for (key, what, bytes, target) in batches {
            let mut took = Vec::new();
            let cpu = manager.process.cpu_seconds();
            for _ in 0..10 {
                let validations: Vec<Value> = (0..BATCH)
                    .map(|n| {
                        let mut one = item(bytes);
                        one["node_id"] = nodes[n % NODES].as_str().into();
                        one
                    })
                    .collect();
                took.push(timed("/api/v1/nodes/poot/batch-validate", &json!({ "validations": validations })).await);
            }
            let cpu_ms = (manager.process.cpu_seconds() - cpu) * 100.0;
            let all = sorted(took);
            let text = format!("p50 {:.0} ms, max {:.0} ms; {} ms CPU each", percentile(&all, 0.5), percentile(&all, 1.0), grouped(cpu_ms));
            self.table.add(key, what, text, target, percentile(&all, 0.5));
        }
        let stored = std::fs::metadata(data.join("hot.redb")).unwrap().len();
        self.table.add("outputs_file", "hot.redb after these 20,320 outputs", format!("{:.1} MB", stored as f64 / 1e6), "", stored as f64);
        manager.process.terminate();
    }
}
