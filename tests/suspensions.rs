//! Suspension and appeal through the front door: what it does to the slots of a node, who may do what, and that each step is told and can be undone.

use lucid::domain::metrics::Sample;
use lucid::live::Job;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Client, PASSWORD, error_name};
use crate::support::fleet::Node;
use crate::support::site::Site;

struct Case {
    site: Site,
    node: Node,
    id: String,
    _dir: tempfile::TempDir,
}

impl Case {
    async fn new(settings: &[(&'static str, &str)]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("data"), settings).await;
        let node = site.enrol("accused").await;
        let id = node.id.to_string();
        Case { site, node, id, _dir: dir }
    }

    async fn pass(&mut self, slots: u32) {
        for _ in 0..slots {
            self.site.next_slot(1_000);
            self.node.report(self.site.driver.reading().wall.0, Sample::default()).await.unwrap();
        }
        self.site.pass_slots(0).await;
    }

    /// How many of the last slots, the present one apart, were of each state.
    async fn recent(&self, slots: usize) -> Vec<String> {
        let score = self.score().await;
        let recent = score["recent_slots"].as_array().unwrap();
        recent[recent.len() - 1 - slots..recent.len() - 1].iter().map(|slot| slot["state"].as_str().unwrap().to_owned()).collect()
    }

    async fn score(&self) -> Value {
        self.site.client.get(&format!("/nodes/{}/poot/score", self.id)).await
    }

    async fn person(&self, name: &str, role: &str) -> Client {
        self.site.client.post("/users", json!({ "username": name, "password": PASSWORD, "role": role })).await;
        let mut client = self.site.client.anonymous();
        client.sign_in(name, PASSWORD).await;
        client
    }

    async fn ask(&self, who: &Client, path: &str, body: Value) -> (StatusCode, Value) {
        who.call(Method::POST, &format!("/nodes/{}/{path}", self.id), Some(body)).await
    }

    fn verified(&self) {
        let found = lucid::storage::verify::verify(&self.site.app.store);
        assert!(found.iter().all(|finding| finding.wrong.is_none()), "{found:?}");
    }
}

#[tokio::test]
async fn a_suspended_node_is_neither_observed_nor_paid_until_it_is_lifted() {
    let mut at = Case::new(&[("poot.min_observation_seconds", "0")]).await;
    at.pass(20).await;
    assert_eq!(at.recent(5).await, vec!["proven"; 5]);
    let before = at.score().await;
    assert!(before["suspension"].is_null());

    let admin = at.site.client.clone();
    let (status, said) = at.ask(&admin, "suspend", json!({ "reason": "the same outputs as another node" })).await;
    assert_eq!((status, said["number"].as_u64(), said["until"].is_null()), (StatusCode::OK, Some(1), true), "{said}");
    at.pass(30).await;
    let during = at.score().await;
    assert!(at.recent(10).await.iter().all(|state| state != "proven" && state != "missed"), "{:?}", at.recent(10).await);
    assert_eq!(during["score"], before["score"], "what was proven stands, and nothing is held against it");
    assert_eq!(during["suspension"]["reason"], "the same outputs as another node");
    assert_eq!(admin.get(&format!("/nodes/{}", at.id)).await["eligible"], "suspended");
    let newest = admin.get(&format!("/nodes/{}/poot/history", at.id)).await["epochs"][0].clone();
    assert_eq!((&newest["proven"], &newest["observed"]), (&0.into(), &0.into()), "{newest}");
    assert!(newest["accrued"].as_str().unwrap().parse::<f64>().unwrap() == 0.0);

    // Nothing but the lift brings it back, and it is not to be got rid of.
    for (method, path, body) in [
        (Method::POST, format!("/nodes/{}/start", at.id), None),
        (Method::PUT, format!("/nodes/{}", at.id), Some(json!({ "status": "active" }))),
        (Method::POST, format!("/nodes/{}/maintenance", at.id), Some(json!({}))),
        (Method::DELETE, format!("/nodes/{}", at.id), None),
        (Method::POST, format!("/nodes/{}/suspend", at.id), Some(json!({ "reason": "again" }))),
    ] {
        let (status, answer) = admin.call(method, &path, body).await;
        assert_eq!((status, error_name(&answer)), (StatusCode::CONFLICT, "NodeSuspended"), "{path}");
    }
    at.site = at.site.crash().await;
    at.node.rebase(&at.site.client.base);
    assert_eq!(at.score().await["suspension"]["number"], 1);
    let admin = at.site.client.clone();
    let (status, said) = at.ask(&admin, "unsuspend", json!({ "reason": "an error of mine" })).await;
    assert!(status == StatusCode::OK && said["until"].is_string(), "{said}");
    at.pass(20).await;
    assert_eq!(at.recent(5).await, vec!["proven"; 5]);
    assert!(at.score().await["suspension"].is_null());
    assert_eq!(at.ask(&admin, "unsuspend", json!({ "reason": "again" })).await.0, StatusCode::CONFLICT);
    at.verified();
}

#[tokio::test]
async fn an_operator_appeals_and_another_admin_decides() {
    let at = Case::new(&[]).await;
    let (operator, judge) = (at.person("olga", "operator").await, at.person("judge", "admin").await);
    let accuser = at.site.client.clone();
    let text = || json!({ "text": "the switch was broken, here is the photo" });
    let decide = |decision: &str| json!({ "decision": decision, "reason": "I have looked" });
    assert_eq!(error_name(&at.ask(&operator, "appeal", text()).await.1), "NotSuspended");
    assert_eq!(at.ask(&operator, "suspend", json!({ "reason": "for a test" })).await.0, StatusCode::FORBIDDEN);
    at.ask(&accuser, "suspend", json!({ "reason": "it is in two places" })).await;
    assert_eq!(error_name(&at.ask(&judge, "appeal/decide", decide("uphold")).await.1), "AppealNotFound");
    assert_eq!(at.ask(&operator, "appeal", text()).await.0, StatusCode::OK);
    assert_eq!(error_name(&at.ask(&operator, "appeal", text()).await.1), "AppealOpen");
    assert_eq!(at.site.client.get("/alerts?kind=suspension_appealed&state=active").await["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(at.ask(&operator, "appeal/decide", decide("lift")).await.0, StatusCode::FORBIDDEN);
    let (status, answer) = at.ask(&accuser, "appeal/decide", decide("uphold")).await;
    assert_eq!((status, error_name(&answer)), (StatusCode::FORBIDDEN, "OwnSuspension"));
    let (_, upheld) = at.ask(&judge, "appeal/decide", decide("uphold")).await;
    assert_eq!((&upheld["appeals"][0]["outcome"], &upheld["appeals"][0]["decided_by"]["name"]), (&json!("uphold"), &json!("judge")));
    assert_eq!(at.site.client.get("/alerts?kind=suspension_appealed&state=active").await["alerts"], json!([]));
    at.ask(&operator, "appeal", text()).await;
    let (_, lifted) = at.ask(&judge, "appeal/decide", decide("lift")).await;
    assert!(lifted["until"].is_string() && lifted["appeals"][1]["outcome"] == "lift", "{lifted}");
    let list = operator.get(&format!("/nodes/{}/suspensions", at.id)).await;
    assert_eq!(list["suspensions"].as_array().unwrap().len(), 1);

    // Every step is in the log and in the node's history.
    let log = at.site.client.get(&format!("/audit?subject={}&limit=50", at.id)).await;
    let steps: Vec<&str> = log["entries"].as_array().unwrap().iter().filter_map(|entry| entry["operation"].as_str()).collect();
    for step in ["node.suspend", "node.appeal", "node.appeal.uphold", "node.appeal.lift"] {
        assert!(steps.contains(&step), "{step} of {steps:?}");
    }
    let history = at.site.client.get(&format!("/nodes/{}/history?category=eligibility", at.id)).await;
    let kinds: Vec<&str> = history["entries"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, ["suspension_lifted", "appealed", "appeal_upheld", "appealed", "suspended"]);
    at.verified();
}

#[tokio::test]
async fn what_a_suspended_node_has_earned_is_paid() {
    let dir = tempfile::tempdir().unwrap();
    let site =
        Site::new(dir.path().join("data"), &[("payout.address_cooldown_hours", "0"), ("payout.gateway", "tron"), ("tron.network", "nile")])
            .await;
    let id = site.payee("earner", "worker", json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3" })).await;
    site.first_epoch().await;
    site.owe(&id, ("25", "USDT"), "simulated").await;
    site.client.post(&format!("/nodes/{id}/suspend"), json!({ "reason": "for a test" })).await;
    site.driver.advance_ms(60_000);
    site.app.context.run(Job::Payouts).await.unwrap();
    let payouts = site.client.get(&format!("/nodes/{id}/payouts")).await;
    assert_eq!(payouts["payouts"].as_array().map(Vec::len), Some(1), "{payouts}");
    let found = lucid::storage::verify::verify(&site.app.store);
    assert!(found.iter().all(|finding| finding.wrong.is_none()), "{found:?}");
}
