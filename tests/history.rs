//! Hours and days of epochs say what the epochs say, over crashes and after the leaves are gone; rankings, pools and statements add up to the same.

use std::str::FromStr;

use lucid::crypto::{hex, hmac_sha256, unhex};
use lucid::domain::credits::Epoch;
use lucid::domain::evidence::{SLOTS_PER_DAY, day_of};
use lucid::domain::metrics::Sample;
use lucid::domain::time::SLOT_MS;
use lucid::live::Job;
use lucid::storage::Lane;
use lucid::storage::hot::{days, hours, leaves};
use lucid::storage::verify::verify;
use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::client::error_name;
use crate::support::death::unless_it_dies;
use crate::support::fleet::Node;
use crate::support::site::Site;

const SLOTS_PER_HOUR: u32 = 120;
/// Waits of the roll-ups before the manager dies.
const LONGEST_LIFE: u64 = 12;

async fn slots(site: &Site, count: u32, nodes: &mut [(&mut Node, u32)]) {
    for n in 0..count {
        site.next_slot(5_000);
        for (node, misses_each) in nodes.iter_mut() {
            if n % *misses_each != *misses_each - 1 {
                node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
            }
        }
    }
    for job in [Job::Flush, Job::Epochs] {
        site.app.context.run(job).await.unwrap();
    }
}

async fn history(site: &Site, node: &str, query: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    for page in 1.. {
        let body = site.client.get(&format!("/nodes/{node}/poot/history?limit=100&page={page}&{query}")).await;
        rows.extend(body["epochs"].as_array().unwrap().iter().cloned());
        if body["pagination"]["has_next"] == false {
            assert_eq!(body["pagination"]["total"], rows.len());
            break;
        }
    }
    rows.reverse();
    rows
}

fn exact(value: &Value) -> Decimal {
    Decimal::from_str(value.as_str().unwrap()).unwrap()
}

/// What the rows of some epochs add up to, as a row of an hour or a day says it: added here, naively.
fn assert_adds_up(row: &Value, epochs: &[Value]) {
    let (from, to) = (row["start"].as_str().unwrap(), row["end"].as_str().unwrap());
    let within: Vec<&Value> = epochs.iter().filter(|e| (from..to).contains(&e["start"].as_str().unwrap())).collect();
    let sum = |key: &str| within.iter().map(|e| e[key].as_u64().unwrap()).sum::<u64>();
    for key in ["proven", "observed", "valid", "pending", "invalid"] {
        assert_eq!(row[key].as_u64().unwrap(), sum(key), "{key} of {from}");
    }
    for key in ["accrued", "credits"] {
        assert_eq!(exact(&row[key]), within.iter().map(|e| exact(&e[key])).sum::<Decimal>(), "{key} of {from}");
    }
    assert_eq!(row["epochs"], within.len());
    let scores: Vec<f64> = within.iter().filter_map(|e| e["score"].as_f64()).collect();
    match row["score"].as_f64() {
        Some(mean) => assert!((mean - scores.iter().sum::<f64>() / scores.len() as f64).abs() < 0.005_001, "{from}: {mean} of {scores:?}"),
        None => assert!(scores.is_empty()),
    }
    let last = within.last().map_or(&Value::Null, |e| &e["state"]);
    assert_eq!(&row["state"], last, "{from}");
}

async fn ranking(site: &Site, query: &str) -> Value {
    let mut answer = site.client.get(&format!("/poot/leaderboard?{query}")).await;
    answer.as_object_mut().unwrap().remove("pagination");
    answer
}

#[tokio::test]
async fn hours_and_days_are_the_sums_of_their_epochs_before_and_after_they_are_rolled_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[("poot.min_observation_seconds", "600")]).await;
    // A few minutes before ten in the evening.
    site.driver.advance_ms(SLOT_MS * 2_632);
    site.app.context.tick();
    let (mut one, mut two) = (site.enrol("one").await, site.enrol("two").await);
    let ids = [one.id.to_string(), two.id.to_string()];
    slots(&site, 450, &mut [(&mut one, u32::MAX), (&mut two, 3)]).await;
    let mut epochs = Vec::new();
    for id in &ids {
        let of_node = history(&site, id, "").await;
        assert!(of_node.len() > 40 && of_node.iter().any(|e| e["state"] == "pending"));
        for granularity in ["hour", "day"] {
            for row in history(&site, id, &format!("granularity={granularity}")).await {
                assert_adds_up(&row, &of_node);
            }
        }
        epochs.push(of_node);
    }
    let all = async |site: &Site| {
        let mut told = Vec::new();
        for id in &ids {
            for granularity in ["hour", "day"] {
                told.extend(history(site, id, &format!("granularity={granularity}")).await);
            }
        }
        for query in ["period=24h", "period=7d&by=score", "period=all", "period=all&by=score"] {
            told.push(ranking(site, query).await);
        }
        told.push(site.client.get(&format!("/nodes/{}/statements", ids[0])).await);
        told
    };
    let before = all(&site).await;

    // Whenever it dies, what is there is right, and nothing is counted twice.
    for waits in 0..LONGEST_LIFE {
        let died = unless_it_dies(site.app.context.run(Job::Rollups), Some(waits)).await.is_none();
        site = site.crash().await;
        assert_eq!(all(&site).await, before, "after {waits} waits, died: {died}");
    }
    for _ in 0..3 {
        site.app.context.run(Job::Rollups).await.unwrap();
    }
    let start = day_of(lucid::domain::time::Timestamp(site.now_ms()).slot());
    let rolled = hours::rolled(&site.app.store.hot.read().unwrap()).unwrap();
    assert_eq!((rolled.days_before, rolled.score_hours_before), (start, start * 24 + 1));
    let commits = site.app.store.hot.commits();
    site.app.context.run(Job::Rollups).await.unwrap();
    assert_eq!(site.app.store.hot.commits(), commits, "nothing to do, nothing written");
    assert_eq!(all(&site).await, before);

    // The leaves of what is rolled up may go, and then the hours of whole days.
    let midnight = start * SLOTS_PER_DAY;
    site.app.store.hot.write(Lane::Ordinary, move |tx| leaves::prune(tx, Epoch(midnight), usize::MAX).map(drop)).await.unwrap();
    assert_eq!(all(&site).await, before);
    site.app.store.hot.write(Lane::Ordinary, move |tx| days::prune_hours(tx, start * 24, usize::MAX).map(drop)).await.unwrap();
    let days_now = history(&site, &ids[1], "granularity=day").await;
    assert_adds_up(&days_now[0], &epochs[1]);
    assert_eq!(ranking(&site, "period=all").await, before[before.len() - 3]);
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(history(&site, &ids[1], "granularity=day").await, days_now);
    let kept: Vec<Value> = history(&site, &ids[0], "granularity=epoch").await;
    assert!(
        kept[0]["state"].is_null() && kept.last().unwrap()["state"] == "valid",
        "their epochs are listed, and nothing is known of them"
    );
}

#[tokio::test]
async fn a_history_is_of_a_range_and_as_fine_as_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("one").await;
    slots(&site, 150, &mut [(&mut node, u32::MAX)]).await;
    let now = site.now_ms();
    let at = |ago_ms: i64| lucid::domain::time::Timestamp(now - ago_ms).rfc3339();
    let asked = async |query: String| site.client.get(&format!("/nodes/{}/poot/history?{query}", node.id)).await;
    let day = 86_400_000;
    for (ago, granularity) in [(day, "epoch"), (91 * day, "hour"), (364 * day, "hour"), (366 * day, "day")] {
        assert_eq!(asked(format!("from={}", at(ago))).await["granularity"], granularity);
    }
    assert_eq!(asked(String::new()).await["granularity"], "epoch");
    let some = asked(format!("from={}&to={}", at(3_600_000), at(1_800_000))).await;
    let starts: Vec<&str> = some["epochs"].as_array().unwrap().iter().map(|e| e["start"].as_str().unwrap()).collect();
    let (from, to) = (at(3_600_000), at(1_800_000));
    assert!(starts.len() == 7 && starts.iter().all(|start| *start < to.as_str()) && starts[5] > from.as_str(), "{starts:?}");
    let hours = asked("granularity=hour".to_owned()).await;
    assert_eq!(hours["epochs"].as_array().unwrap().len(), 2);
    assert_eq!((&hours["epochs"][0]["partial"], &hours["epochs"][1]["partial"]), (&json!(true), &json!(false)));

    let path = format!("/nodes/{}/poot/history?granularity=week&from=yesterday&to=x", node.id);
    let (status, refused) = site.client.call(Method::GET, &path, None).await;
    let fields: Vec<&str> =
        refused["error"]["details"]["fields"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (StatusCode::BAD_REQUEST, vec!["granularity", "from", "to"]));
    let (status, _) = site.client.call(Method::GET, &format!("/nodes/{}/poot/history?from={}&to={}", node.id, at(0), at(1)), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn who_did_most_comes_first_and_pools_add_up_what_was_done_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("poot.min_observation_seconds", "60")]).await;
    let empty = site.client.get("/poot/leaderboard").await;
    assert_eq!(
        (&empty["nodes"], &empty["from"], &empty["period"], &empty["by"]),
        (&json!([]), &Value::Null, &json!("7d"), &json!("credits"))
    );
    let (mut a, mut b, mut c, mut gone) =
        (site.enrol("aa1").await, site.enrol("bb1").await, site.enrol("cc1").await, site.enrol("gone").await);
    let mut own = site.enrol("own").await;
    let pool = site.client.post("/nodes/pools", json!({ "name": "second" })).await["pool_id"].as_str().unwrap().to_owned();
    site.client.call(Method::DELETE, &format!("/nodes/pools/pool_default/nodes/{}", own.id), None).await;
    let (status, joined) = site.client.call(Method::POST, &format!("/nodes/pools/{pool}/nodes"), Some(json!({ "node_id": own.id }))).await;
    assert!(status.is_success(), "{joined}");
    let always = u32::MAX;
    slots(&site, 3 * SLOTS_PER_HOUR / 2, &mut [(&mut a, always), (&mut b, 2), (&mut c, always), (&mut gone, always), (&mut own, 4)]).await;
    site.client.call(Method::DELETE, &format!("/nodes/{}?reason=tests&forfeit=true", gone.id), None).await;
    let names = |answer: &Value| -> Vec<(u64, String)> {
        let rows = answer["nodes"].as_array().unwrap().iter();
        rows.map(|row| (row["rank"].as_u64().unwrap(), row["name"].as_str().unwrap().to_owned())).collect()
    };
    let place = |rank: u64, name: &str| (rank, name.to_owned());
    for query in ["", "?by=score", "?period=24h", "?period=30d&by=score", "?period=all"] {
        let answer = site.client.get(&format!("/poot/leaderboard{query}")).await;
        assert_eq!(names(&answer), [place(1, "aa1"), place(1, "cc1"), place(3, "own"), place(4, "bb1")], "{query}");
    }
    let second = site.client.get("/poot/leaderboard?limit=1&page=2").await;
    assert_eq!((names(&second), &second["pagination"]["total"]), (vec![place(1, "cc1")], &json!(4)));
    let (status, refused) = site.client.call(Method::GET, "/poot/leaderboard?period=1y&by=luck", None).await;
    assert_eq!((status, refused["error"]["details"]["fields"].as_array().unwrap().len()), (StatusCode::BAD_REQUEST, 2));

    // Every pool has what its nodes did for it, also who was deleted since or moved on after an epoch; together it is what the epochs say.
    let of_pool = async |id: &str| site.client.get(&format!("/pools/{id}/poot")).await;
    let (default, other) = (of_pool("pool_default").await, of_pool(&pool).await);
    assert_eq!(
        (&default["valid"], &other["valid"], &default["last_day"]["nodes"], &other["last_day"]["nodes"]),
        (&json!(3), &json!(1), &json!(5), &json!(1))
    );
    let (lowest, mean) = (default["lowest"][0]["score"].as_f64().unwrap(), default["mean_score"].as_f64().unwrap());
    assert!(lowest < 51.0 && (mean - (200.0 + lowest) / 3.0).abs() < 0.005_001, "{default}");
    assert_eq!((default["median_score"].as_f64(), default["p10_score"].as_f64()), (Some(100.0), Some(lowest)));
    assert_eq!(other["p90_score"], other["mean_score"]);
    let epochs = site.client.get("/poot/epochs?limit=100").await;
    let accrued: Decimal = epochs["epochs"].as_array().unwrap().iter().map(|epoch| exact(&epoch["accrued"])).sum();
    assert_eq!(exact(&default["last_day"]["accrued"]) + exact(&other["last_day"]["accrued"]), accrued);
    let last = exact(&default["last_epoch"]["accrued"]) + exact(&other["last_epoch"]["accrued"]);
    assert_eq!(last, exact(&epochs["epochs"][0]["accrued"]));
    let (status, refused) = site.client.call(Method::GET, "/pools/pool_nowhere/poot", None).await;
    assert_eq!((status, error_name(&refused)), (StatusCode::NOT_FOUND, "PoolNotFound"));

    // A month says the same as the ranking.
    let statements = site.client.get(&format!("/nodes/{}/statements", a.id)).await;
    let first = &site.client.get("/poot/leaderboard").await["nodes"][0];
    assert_eq!((&statements["statements"][0]["credits"], first["node_id"].as_str()), (&first["credits"], Some(a.id.as_str())));
    assert!(statements["statements"][0]["multiplier"].as_f64().unwrap() > 1.0);
    let table = site.client.text(Method::GET, "/ledger/statements?format=csv", None).await.1;
    assert!(table.lines().next().unwrap().ends_with("fees_sun,credits,multiplier,closing"));
}

#[tokio::test]
async fn the_key_of_a_day_is_told_25_hours_after_its_end_and_checks_its_beacons() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("one").await;
    site.next_slot(5_000);
    let given = node.report(site.now_ms(), Sample::default()).await.unwrap().slot.unwrap();
    let day = lucid::domain::time::Timestamp(site.now_ms()).rfc3339()[..10].to_owned();
    let path = format!("/poot/day-keys/{day}");
    site.driver.advance_ms(SLOT_MS * (i64::from(SLOTS_PER_DAY) + 25 * 120 - 1) - 5_001);
    site.app.context.tick();
    let (status, refused) = site.client.call(Method::GET, &path, None).await;
    assert_eq!((status, error_name(&refused)), (StatusCode::CONFLICT, "DayKeySealed"));
    site.driver.advance_ms(1);
    let told = site.client.get(&path).await;
    assert_eq!(
        (told["day"].as_str(), told["last_slot"].as_u64().unwrap() - told["first_slot"].as_u64().unwrap()),
        (Some(day.as_str()), 2_879)
    );

    // As it is written for others to do.
    let (id, slot) = (node.id.as_str().as_bytes(), given.slot.0.to_le_bytes());
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap().to_le_bytes();
    let mac = hmac_sha256(&unhex(told["key"].as_str().unwrap()).unwrap(), &[&length(id), id, &length(&slot), &slot]);
    assert_eq!(hex(&mac[..16]), given.beacon);
    for wrong in ["2026-02-30", "today", "20717"] {
        let (status, refused) = site.client.call(Method::GET, &format!("/poot/day-keys/{wrong}"), None).await;
        assert_eq!((status, error_name(&refused)), (StatusCode::NOT_FOUND, "DayNotFound"));
    }
    assert_eq!(site.client.anonymous().call(Method::GET, &path, None).await.0, StatusCode::UNAUTHORIZED);
}

/// What a node's own page shows of it stays a year, and goes into an archive of its month then; that goes after two more.
#[tokio::test]
async fn what_happened_to_a_node_is_archived_after_a_year() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("retention.node_history_months", "12")]).await;
    let node = site.enrol("one").await;
    let rename = async |name: &str| site.client.put(&format!("/nodes/{}", node.id), json!({ "name": name })).await;
    rename("two").await;
    let later = async |days: i64| {
        site.driver.advance_ms(days * 86_400_000);
        site.app.context.tick();
        site.app.context.run(Job::Housekeeping).await.unwrap();
    };
    let shown = async || {
        let (events, history) = (
            site.client.get(&format!("/nodes/{}/events?limit=100", node.id)).await,
            site.client.get(&format!("/nodes/{}/history?limit=100&order=asc", node.id)).await,
        );
        let (mut seqs, in_order): (Vec<u64>, Vec<u64>) = (
            events["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect(),
            history["entries"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect(),
        );
        seqs.reverse();
        assert_eq!(seqs, in_order);
        assert_eq!(events["pagination"]["total"].as_u64(), Some(seqs.len() as u64));
        assert_eq!(events["archived_through"], history["archived_through"]);
        (seqs, events["archived_through"].as_u64().unwrap())
    };
    let (first, _) = shown().await;
    assert!(first.len() >= 3, "made, enrolled, renamed: {first:?}");
    later(350).await;
    rename("three").await;
    assert_eq!(shown().await.1, 0);
    later(31).await;
    let (left, archived_through) = shown().await;
    assert_eq!(archived_through, first.len() as u64);
    assert!(left.contains(&(archived_through + 1)) && !left.contains(&archived_through));
    let archives = site.client.get("/archives").await["archives"].clone();
    let archive = archives.as_array().unwrap().iter().find(|archive| archive["kind"] == "node_history").expect("an archive").clone();
    assert_eq!(archive["count"].as_u64(), Some(archived_through));
    let file = archive["file"].as_str().unwrap().to_owned();
    assert!(file.starts_with("node_history-2026-09."), "{file}");
    assert!(dir.path().join("data/archive").join(&file).exists());
    assert!(verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()));

    // Two years after it was made, by whole months.
    later(365 * 2).await;
    assert!(dir.path().join("data/archive").join(&file).exists());
    later(31).await;
    assert!(!dir.path().join("data/archive").join(&file).exists());
    let listed = site.client.get("/archives").await["archives"].clone();
    assert!(listed.as_array().unwrap().iter().all(|archive| archive["file"] != file.as_str()));
    let audit = site.client.get("/audit?operation=archive.expire").await;
    assert!(
        audit["entries"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["reason"].as_str().unwrap().contains(archive["sha256"].as_str().unwrap())),
        "{audit}"
    );
    assert!(verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()), "it is known to be gone");
}
