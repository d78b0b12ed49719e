//! Maintenance of nodes: planned, listed, ended; what evidence makes of it slot by slot, over a crash and an outage; the daily window.

use lucid::domain::ids::NodeIndex;
use lucid::domain::metrics::Sample;
use lucid::domain::time::{Slot, Timestamp};
use lucid::live::Job;
use lucid::storage::core::nodes;
use lucid::storage::hot;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Client, PASSWORD, error_name};
use crate::support::fleet::Node;
use crate::support::site::{START, Site};

fn time(slot: Slot) -> String {
    slot.start().rfc3339()
}

fn slot_of(value: &Value) -> Slot {
    Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap().slot()
}

async fn ask(client: &Client, node: &str, body: Value) -> (u16, Value) {
    let (status, answer) = client.call(Method::POST, &format!("/nodes/{node}/maintenance"), Some(body)).await;
    (status.as_u16(), answer)
}

async fn end(client: &Client, node: &str, number: u64) -> (u16, Value) {
    let (status, answer) = client.call(Method::DELETE, &format!("/nodes/{node}/maintenance/{number}"), None).await;
    (status.as_u16(), answer)
}

async fn list(site: &Site, node: &str) -> Vec<Value> {
    site.client.get(&format!("/nodes/{node}/maintenance?limit=100")).await["maintenance"].as_array().unwrap().clone()
}

/// Number and state, the latest begin first.
async fn states(site: &Site, node: &str) -> Vec<(u64, String)> {
    let one = |period: &Value| (period["number"].as_u64().unwrap(), period["state"].as_str().unwrap().to_owned());
    list(site, node).await.iter().map(one).collect()
}

fn index(site: &Site, node: &Node) -> NodeIndex {
    nodes::by_id(&site.app.store.read().unwrap(), &node.id).unwrap().unwrap().index
}

/// The slots in which the node was observed; every proven one is.
fn observed(site: &Site, node: NodeIndex) -> Vec<u32> {
    let rows = hot::evidence(&site.app.store.hot.read().unwrap(), Slot(0), Slot(u32::MAX)).unwrap();
    assert!(rows.iter().all(|(_, row)| !row.proven.get(node) || row.observed.get(node)));
    rows.into_iter().filter(|(_, row)| row.observed.get(node)).map(|(slot, _)| slot.0).collect()
}

async fn report(site: &Site, node: &mut Node) {
    site.next_slot(5_000);
    node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
    site.app.context.run(Job::Silence).await.unwrap();
}

/// What the newest event of a report of the node said of its status.
fn live_status(site: &Site, node: &Node) -> Option<Value> {
    // From before the first event: all that are kept.
    let run = site.app.context.events.last_id_text();
    let start = format!("{}-0", run.split_once('-')?.0);
    let missed = site.app.context.events.watch(Some(&start)).missed;
    let told = missed.iter().rev().filter(|event| event.name == "report").map(|event| serde_json::from_str::<Value>(&event.json).unwrap());
    told.into_iter().find(|event| event["node_id"] == node.id.as_str()).map(|event| event["status"].clone())
}

#[tokio::test]
async fn evidence_follows_its_slots_exactly_over_a_crash_and_an_outage() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let (mut node, mut other) = (site.enrol("worked-on").await, site.enrol("other").await);
    report(&site, &mut node).await;
    let first = Slot(START.slot().0 + 1);
    let (from, until) = (first.plus(10), first.plus(50));
    let (status, planned) = ask(&site.client, node.id.as_str(), json!({ "from": time(from), "duration_minutes": 20 })).await;
    assert_eq!((status, &planned["state"], slot_of(&planned["until"])), (201, &json!("planned"), until), "{planned}");
    let mut reported = vec![first.0];
    for n in 1..60 {
        // A power cut within the period before that is on the disk, and the manager is down at its end.
        if n == 5 {
            site.app.context.run(Job::Flush).await.unwrap();
        }
        if n == 15 {
            site = site.crash().await;
        }
        if n == 46 {
            site.app.context.run(Job::Flush).await.unwrap();
            site.driver.advance_ms(6 * 30_000);
            site = site.crash().await;
        }
        if (46..52).contains(&n) {
            continue;
        }
        for each in [&mut node, &mut other] {
            each.rebase(&site.client.base);
        }
        // It is heard in its maintenance until it is switched off.
        let is_off = (20..40).contains(&n);
        if is_off {
            report(&site, &mut other).await;
        } else {
            report(&site, &mut node).await;
            other.report(site.now_ms(), Sample::default()).await.unwrap();
        }
        assert_eq!(site.now_ms() / 30_000, i64::from(first.0 + n), "the test counts slots");
        reported.push(first.0 + n);
        let shown = site.client.get(&format!("/nodes/{}", node.id)).await;
        assert_eq!(shown["eligible"] == "maintenance", (from.0..until.0).contains(&(first.0 + n + 1)), "slot {n}");
        if !is_off {
            assert_eq!(live_status(&site, &node).unwrap(), shown["status"], "slot {n}");
        }
        assert_eq!(site.client.get("/alerts?state=open").await["pagination"]["total"], 0, "slot {n}");
    }
    for _ in 0..6 {
        site.next_slot(1_000);
    }
    site.app.context.run(Job::Flush).await.unwrap();
    let seen = observed(&site, index(&site, &node));
    let outside = |slot: &u32| !(from.0..until.0).contains(slot);
    let missed: Vec<u32> =
        reported.iter().copied().filter(|slot| outside(slot) && !seen.contains(slot)).map(|slot| slot - first.0).collect();
    assert_eq!(missed, [] as [u32; 0], "what was proven outside of it is observed");
    assert!(seen.iter().all(outside), "no slot of it is: {seen:?}");
    let of_other = observed(&site, index(&site, &other));
    assert!((from.0 + 21..from.0 + 30).all(|slot| of_other.contains(&slot)), "the manager was there to see");
    assert!((first.0 + 46..first.0 + 52).all(|slot| !seen.contains(&slot) && !of_other.contains(&slot)), "nobody was");
    assert_eq!(states(&site, node.id.as_str()).await, [(1, "over".to_owned())]);
}

#[tokio::test]
async fn it_is_planned_listed_ended_and_called_off() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let node = site.enrol("pi").await.id.to_string();
    let mut operator = site.client.anonymous();
    site.client.post("/users", json!({ "username": "olga", "password": PASSWORD, "role": "operator" })).await;
    operator.sign_in("olga", PASSWORD).await;
    let mut viewer = site.client.anonymous();
    site.client.post("/users", json!({ "username": "vera", "password": PASSWORD, "role": "viewer" })).await;
    viewer.sign_in("vera", PASSWORD).await;
    let after = |minutes: u32| time(START.slot().plus(2 * minutes));
    let refused = |(status, body): (u16, Value)| (status, error_name(&body).to_owned());
    let named = |status: u16, name: &str| (status, name.to_owned());

    // An operator an hour ahead, an admin at once; both within 8 hours.
    assert_eq!(refused(ask(&operator, &node, json!({ "from": after(59) })).await), named(422, "MaintenanceTooSoon"));
    assert_eq!(refused(ask(&site.client, &node, json!({ "from": after(0) })).await), named(422, "MaintenanceTooSoon"));
    assert_eq!(refused(ask(&operator, &node, json!({ "from": after(60 * 24 * 91) })).await), named(422, "MaintenanceTooFar"));
    assert_eq!(refused(ask(&viewer, &node, json!({})).await), named(403, "NotAllowed"));
    for body in
        [json!({ "from": "tomorrow" }), json!({ "duration_minutes": 0 }), json!({ "duration_minutes": 481 }), json!({ "length": 3 })]
    {
        assert_eq!(ask(&site.client, &node, body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(ask(&operator, "node_nobody_at_all", json!({})).await.0, 404);
    let audited = |site: &Site| site.app.store.read().unwrap();
    let entries = |site: &Site| lucid::storage::table::Read::count(&audited(site), lucid::storage::core::tables::AUDIT).unwrap();
    let before = entries(&site);
    let (status, planned) = ask(&operator, &node, json!({ "from": after(60), "duration_minutes": 240 })).await;
    assert_eq!((status, planned["created_by"]["name"].as_str()), (201, Some("olga")), "{planned}");
    assert_eq!((planned["until"].as_str(), &planned["ended_at"]), (Some(after(300).as_str()), &Value::Null));
    assert_eq!(refused(ask(&operator, &node, json!({ "from": after(200) })).await), named(409, "MaintenanceOverlaps"));
    assert_eq!(
        refused(ask(&operator, &node, json!({ "from": after(400), "duration_minutes": 241 })).await),
        named(422, "MaintenanceUsedUp")
    );
    assert_eq!(ask(&operator, &node, json!({ "from": after(400), "duration_minutes": 200 })).await.0, 201);
    let (status, shorter) = ask(&site.client, &node, json!({})).await;
    assert_eq!(
        (status, slot_of(&shorter["until"]).0 - slot_of(&shorter["from"]).0),
        (201, 80),
        "the forty minutes that are left: {shorter}"
    );
    assert_eq!(entries(&site), before + 3, "one entry each, and none for what was refused");
    let expected = [(2, "planned"), (1, "planned"), (3, "in_force")].map(|(n, s)| (n, s.to_owned()));
    assert_eq!(states(&site, &node).await, expected, "the latest begin first; with the next slot is as good as now");
    assert_eq!(site.client.get(&format!("/nodes/{node}/maintenance?limit=1")).await["pagination"]["total"], 3);
    let left = site.client.get(&format!("/nodes/{node}/maintenance")).await["minutes_left"].clone();
    assert_eq!(left, 0, "it is in maintenance");
    assert_eq!(site.client.get(&format!("/nodes/{node}")).await["status"], "maintenance");

    // Ended, called off, over.
    site.next_slot(1_000);
    site.next_slot(1_000);
    assert_eq!(refused(end(&viewer, &node, 3).await), named(403, "NotAllowed"));
    let (status, ended) = end(&operator, &node, 3).await;
    assert_eq!((status, &ended["state"], ended["ended_by"]["name"].as_str()), (200, &json!("over"), Some("olga")), "{ended}");
    assert_eq!(slot_of(&ended["ended_at"]), START.slot().plus(3), "with the present slot");
    let (status, off) = end(&operator, &node, 2).await;
    assert_eq!((status, &off["state"], &off["ended_at"]), (200, &json!("called_off"), &off["from"]));
    for (number, expected) in
        [(2, named(409, "MaintenanceOver")), (3, named(409, "MaintenanceOver")), (9, named(404, "MaintenanceNotFound"))]
    {
        assert_eq!(refused(end(&operator, &node, number).await), expected);
    }
    let (status, body) = operator.call(Method::DELETE, &format!("/nodes/{node}/maintenance/x"), None).await;
    assert_eq!((status, error_name(&body)), (StatusCode::NOT_FOUND, "MaintenanceNotFound"));
    let told: Vec<Value> = site.client.get("/audit?limit=10").await["entries"].as_array().unwrap().clone();
    let operations: Vec<&str> =
        told.iter().map(|entry| entry["operation"].as_str().unwrap()).filter(|o| o.contains("maintenance")).collect();
    assert_eq!(operations[..2], ["node.maintenance.cancel", "node.maintenance.end"]);

    // The status issues one of the default length, and takes it back.
    let set = async |status: &str| site.client.put(&format!("/nodes/{node}"), json!({ "status": status })).await;
    end(&operator, &node, 1).await;
    let shown = set("maintenance").await;
    assert_eq!(slot_of(&shown["maintenance"]["until"]), START.slot().plus(3 + 240), "two hours: {shown}");
    assert_eq!(list(&site, &node).await.iter().filter(|p| p["origin"] == "status" && p["state"] == "in_force").count(), 1);
    assert_eq!(set("active").await.get("maintenance"), None);
    for finding in lucid::storage::verify::verify(&site.app.store) {
        assert_eq!(finding.wrong, None, "{}", finding.part);
    }
}

#[tokio::test]
async fn the_daily_window_plans_itself_within_the_eight_hours() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let node = site.enrol("pi").await.id.to_string();
    let path = format!("/nodes/{node}");
    let run = async || site.app.context.run(Job::Maintenance).await.unwrap();
    let begins = async || {
        let hour = |p: &Value| (i64::from(slot_of(&p["from"]).0) - i64::from(START.slot().0)) / 120;
        let mut open: Vec<i64> = list(&site, &node).await.iter().filter(|p| p["state"] == "planned").map(hour).collect();
        open.sort_unstable();
        open
    };
    let next = async || site.client.get(&format!("{path}/maintenance")).await["window"].clone();
    let skipped = async || next().await["skipped_because"].as_str().map(str::to_owned);
    run().await;
    assert_eq!(next().await, Value::Null);
    let window =
        |hour: u32, hours: u32| json!({ "configuration": { "maintenance_window": { "start_hour": hour, "duration_hours": hours } } });
    // Midnight in September: an hour ahead or more, and within 26 hours.
    site.client.put(&path, window(1, 3)).await;
    run().await;
    assert_eq!(begins().await, [1, 25]);
    let first = START.slot().plus(120);
    assert_eq!(next().await, json!({ "next_from": time(first), "next_until": time(first.plus(360)), "skipped_because": null }));
    assert!(list(&site, &node).await.iter().all(|p| p["origin"] == "window" && p["created_by"] == Value::Null));
    let commits = site.app.store.core.commits();
    run().await;
    assert_eq!(site.app.store.core.commits(), commits, "nothing new, nothing written");

    // By the clocks of the node's place: two hours ahead of UTC there. What was planned is withdrawn.
    site.client.put(&path, json!({ "location": { "timezone": "Europe/Zurich" } })).await;
    run().await;
    assert_eq!(begins().await, [23], "at one o'clock of Zurich; today's is over");
    site.client.put(&path, window(6, 3)).await;
    run().await;
    assert_eq!(begins().await, [4]);

    // Called off by a person it stays off; the days after go on until the 8 hours are used up.
    let number = list(&site, &node).await[0]["number"].as_u64().unwrap();
    assert_eq!(end(&site.client, &node, number).await.0, 200);
    run().await;
    assert_eq!(begins().await, [] as [i64; 0]);
    assert_eq!(skipped().await.as_deref(), Some("it was called off"));
    let (mut had, mut left_out) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for _ in 0..10 * 24 {
        site.driver.advance_ms(3_600_000);
        site.app.context.tick();
        run().await;
        had.extend(begins().await);
        if let Some(why) = skipped().await {
            assert!(why.contains("it was called off") || why.contains("taken is the time from "), "{why}");
            left_out.insert((i64::from(slot_of(&next().await["next_from"]).0) - i64::from(START.slot().0)) / 120);
        }
    }
    let days: Vec<i64> = had.iter().map(|hour| (hour - 4) / 24).collect();
    assert_eq!(days, [1, 2, 8, 9], "two windows of three hours in any seven days");
    let days: Vec<i64> = left_out.iter().map(|hour| (hour - 4) / 24).collect();
    assert_eq!(days, [0, 3, 4, 5, 6, 7, 10], "of the others people are told that they are left out, and why");
    site.client.put(&path, json!({ "configuration": {} })).await;
    run().await;
    assert_eq!(begins().await, [] as [i64; 0], "no window, no plans");
    assert!(!list(&site, &node).await.is_empty(), "the past stays");
}

#[tokio::test]
async fn reports_that_waited_for_the_clock_prove_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("pi").await;
    for _ in 0..3 {
        report(&site, &mut node).await;
    }
    let from = START.slot().plus(6);
    assert_eq!(ask(&site.client, node.id.as_str(), json!({ "from": time(from), "duration_minutes": 2 })).await.0, 201);
    let wrong_by = 3_600_000;
    site.driver.set_synchronised(false);
    site.driver.set_wall(site.driver.reading().wall.plus_ms(wrong_by));
    for _ in 4..14 {
        site.next_slot(5_000);
        let answer = node.report(site.now_ms(), Sample::default()).await.unwrap();
        assert_eq!(answer.slot, None, "nobody knows what slot this is");
    }
    site.driver.set_wall(site.driver.reading().wall.plus_ms(-wrong_by));
    site.driver.set_synchronised(true);
    for _ in 0..5 {
        site.next_slot(1_000);
    }
    site.app.context.run(Job::Flush).await.unwrap();
    let seen: Vec<u32> =
        observed(&site, index(&site, &node)).into_iter().map(|slot| slot - START.slot().0).filter(|n| (4..14).contains(n)).collect();
    assert_eq!(seen, [4, 5, 10, 11, 12, 13], "and all of the rest");
}
