//! A manager that pays over the fake network, as people use it: nodes with addresses that are owed something, and a clock that only the test moves.

use lucid::clock::Driver;
use lucid::domain::time::BootMs;
use lucid::live::Job;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{Rig, payee};
use super::site::{START, Site};

pub struct Desk {
    pub site: Site,
    pub rig: Rig,
    /// Their ids, in the order of their making.
    pub nodes: Vec<String>,
}

impl Desk {
    /// The network's clock has to stand at `START`.
    pub async fn over(dir: &TempDir, rig: Rig, settings: &[(&'static str, &str)]) -> Desk {
        let driver = Driver::new(START, BootMs(60_000));
        driver.set_synchronised(true);
        let always = [("payout.threshold_usdt", "2"), ("payout.address_cooldown_hours", "0")];
        let settings = always.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut site = Site::open_with(dir.path().join("data"), driver, settings, rig.gateway.clone()).await;
        site.set_up().await;
        let desk = Desk { site, rig, nodes: Vec::new() };
        // Nothing is planned before an epoch was closed.
        for _ in 0..15 {
            desk.pass(30).await;
        }
        for job in [Job::Flush, Job::Epochs] {
            desk.run(job).await;
        }
        desk
    }

    /// A node of that class whose address is that of a payee of its own number, from 1 on, and which is owed so much in the live book.
    pub async fn owe(&mut self, class: &str, usdt: &str) {
        let number = self.nodes.len() as u64 + 1;
        let address = json!({ "address": payee(number).base58() });
        let node = self.site.payee(&format!("{class}-{number}"), class, address).await;
        self.site.owe(&node, (usdt, "USDT"), "live").await;
        self.nodes.push(node);
    }

    pub async fn go_live(&self) {
        self.site.client.post("/money/live", json!({ "owed": "everything" })).await;
    }

    pub async fn pass(&self, seconds: i64) {
        self.site.driver.advance_ms(seconds * 1_000);
        self.rig.advance(seconds);
        self.site.app.context.tick();
    }

    pub async fn run(&self, job: Job) {
        self.site.app.context.run(job).await.unwrap();
    }

    /// Three cycles, after which what was sent is final.
    pub async fn pay(&self) {
        for _ in 0..3 {
            self.run(Job::Payouts).await;
            self.pass(120).await;
        }
    }

    pub async fn payouts(&self) -> Vec<Value> {
        self.site.client.get("/nodes/payouts/history?order=asc").await["payouts"].as_array().unwrap().clone()
    }

    pub async fn payout(&self, listed: &Value) -> Value {
        self.site.client.get(&format!("/nodes/payouts/{}", listed["payout_id"].as_str().unwrap())).await
    }

    /// How often bytes were sent to any node.
    pub fn broadcasts(&self) -> u64 {
        self.rig.network().nodes.iter().filter_map(|node| node.requests.get("/wallet/broadcasthex")).sum()
    }
}
