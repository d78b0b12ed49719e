//! Hours and days that are rolled up say what their samples and leaves say, over crashes and with samples that come late.

use lucid::domain::metrics::{Cpu, Memory, Network, Sample};
use lucid::domain::time::Slot;
use lucid::live::Job;
use lucid::storage::hot::hours;
use serde_json::{Value, json};

use crate::support::fleet::Node;
use crate::support::site::Site;

const SLOTS_PER_HOUR: u32 = 120;

fn sample(n: u32) -> Sample {
    let cpu = Cpu { usage_percent: Some(f64::from(n % 50)), temperature_celsius: Some(40.0), ..Cpu::default() };
    let memory = Memory { total_bytes: Some(1 << 30), used_bytes: Some(u64::from(n) << 20), ..Memory::default() };
    let network = Network { total_bytes_in: Some(u64::from(n) * 3_000), ..Network::default() };
    Sample { cpu, memory, network, ..Sample::default() }
}

/// Deletes the weeks and months that end by these slots; how many.
fn deleted(site: &Site, (weeks, months): (Slot, Slot)) -> usize {
    let store = &site.app.store;
    let names: Vec<String> = store.too_old(weeks, months).into_iter().map(|going| store.remove(going).unwrap()).collect();
    names.len()
}

async fn slots(site: &Site, range: std::ops::Range<u32>, nodes: &mut [&mut Node]) {
    for n in range {
        site.next_slot(5_000);
        for node in nodes.iter_mut() {
            node.report(site.now_ms(), sample(n)).await.expect("the report is answered");
        }
        if n % 60 == 0 {
            site.app.context.run(Job::Flush).await.unwrap();
        }
    }
    site.app.context.run(Job::Flush).await.unwrap();
}

async fn hourly(site: &Site, node: &Node, granularity: &str) -> Vec<Value> {
    let start = crate::support::site::START.rfc3339();
    let body = site.client.get(&format!("/nodes/{}/resources/metrics?granularity={granularity}&start_time={start}", node.id)).await;
    body["metrics"].as_array().unwrap().clone()
}

/// The same, but for what a roll-up rounds: 0.1 % and 1 KiB.
fn assert_near(rolled: &[Value], exact: &[Value]) {
    assert_eq!(rolled.len(), exact.len());
    for (rolled, exact) in rolled.iter().zip(exact) {
        let (mut rolled, mut exact) = (rolled.clone(), exact.clone());
        for (group, field, step) in [("cpu", "usage_percent", 0.1), ("memory", "used_bytes", 1_024.0)] {
            let [a, b] = [&mut rolled, &mut exact].map(|point| point[group][field].take().as_f64().unwrap());
            assert!((a - b).abs() < step, "{group}.{field}: {a} {b}");
        }
        assert_eq!(rolled, exact);
    }
}

fn rolled(site: &Site) -> u32 {
    hours::rolled(&site.app.store.hot.read().unwrap()).unwrap().hours_before
}

#[tokio::test]
async fn hours_say_the_same_before_and_after_they_are_rolled_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let (mut one, mut two) = (site.enrol("one").await, site.enrol("two").await);
    slots(&site, 0..3 * SLOTS_PER_HOUR + 30, &mut [&mut one, &mut two]).await;
    let before = [hourly(&site, &one, "1h").await, hourly(&site, &one, "3h").await];
    assert_eq!((before[0].len(), before[1].len()), (4, 2));
    assert!(before[0][1]["min"]["cpu_usage_percent"].as_f64() < before[0][1]["max"]["cpu_usage_percent"].as_f64(), "{}", before[0][1]);

    let first = hours::hour_of(crate::support::site::START.slot());
    site.app.context.run(Job::Rollups).await.unwrap();
    assert_eq!(rolled(&site), first + 3);
    let commits = site.app.store.hot.commits();
    site.app.context.run(Job::Rollups).await.unwrap();
    assert_eq!(site.app.store.hot.commits(), commits, "nothing to do, nothing written");
    let after = hourly(&site, &one, "1h").await;
    assert_near(&after, &before[0]);
    assert_near(&hourly(&site, &one, "3h").await, &before[1]);

    // A crash loses no roll-up, and the samples may go: the hours stay.
    site = site.crash().await;
    one.rebase(&site.client.base);
    assert_eq!(hourly(&site, &one, "1h").await, after);
    let pool = site.client.get("/nodes/pools").await["pools"][0]["pool_id"].as_str().unwrap().to_owned();
    let laid = site.client.get(&format!("/nodes/pools/{pool}/resources/metrics?metric=memory")).await;
    assert_eq!(laid["series"].as_array().unwrap().len(), 2, "{laid}");
    assert!(laid["mean"][118].as_f64().unwrap() > laid["mean"][100].as_f64().unwrap(), "{laid}");
    assert_eq!((&laid["mean_members"][118], &laid["mean_members"][119]), (&json!(2), &json!(0)), "the slot that goes on has no mean yet");
    let all = hours::first_slot(first + 3);
    site.app.store.seal(all.plus(10_000)).await.unwrap();
    assert_eq!(site.app.store.tails.count(), 0);
    assert_eq!(deleted(&site, (all.plus(30_000), all)), 1);
    assert_eq!(hourly(&site, &one, "1h").await[..3], after[..3]);
    assert_eq!(site.client.get(&format!("/nodes/{}/resources/metrics?granularity=30s", one.id)).await["granularity"], "30s");

    let laid = site.client.get(&format!("/nodes/pools/{pool}/resources/metrics?metric=network_in&range=7d")).await;
    assert_eq!(
        (laid["step_seconds"].as_u64(), laid["members_total"].as_u64(), laid["unit"].as_str()),
        (Some(3_600), Some(2), Some("bytes_per_second"))
    );
    let values = laid["series"][0]["values"].as_array().unwrap();
    assert_eq!((values.len(), laid["mean"].as_array().unwrap().len()), (168, 168));
    assert_eq!((&values[164], values[165].as_f64(), values[166].as_f64()), (&Value::Null, Some(100.0), Some(100.0)), "3000 bytes a slot");
    for finding in lucid::storage::verify::verify(&site.app.store) {
        assert_eq!(finding.wrong, None, "{}", finding.part);
    }
}

#[tokio::test]
async fn samples_that_come_late_are_shown_at_once_and_rolled_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (mut one, mut two) = (site.enrol("one").await, site.enrol("two").await);
    slots(&site, 0..10, &mut [&mut one, &mut two]).await;
    slots(&site, 10..SLOTS_PER_HOUR + 30, &mut [&mut two]).await;
    site.app.context.run(Job::Rollups).await.unwrap();
    let short = hourly(&site, &one, "1h").await;
    assert_eq!((short.len(), short[0]["late"].is_null()), (1, true));
    let from = crate::support::site::START.slot();
    let items: Vec<_> = (20..40).map(|n| lucid::wire::LateItem { slot: from.plus(n), sample: sample(49) }).collect();
    assert_eq!(one.late(items).await.unwrap().stored, 20);
    let shown = hourly(&site, &one, "1h").await;
    assert_eq!((shown[0]["late"].as_bool(), shown[0]["max"]["cpu_usage_percent"].as_f64()), (Some(true), Some(49.0)), "from the samples");
    site.app.context.run(Job::Rollups).await.unwrap();
    assert_near(&hourly(&site, &one, "1h").await, &shown);
    assert_eq!(hours::stale(&site.app.store.hot.read().unwrap(), 9).unwrap(), []);
}

#[tokio::test]
async fn hours_of_a_day_that_is_over_say_the_same_from_their_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let (mut one, mut two) = (site.enrol("one").await, site.enrol("two").await);
    let first = hours::hour_of(crate::support::site::START.slot());
    let day_end = first / 24 * 24 + 24;
    let end = (day_end - first) * SLOTS_PER_HOUR;
    // But for its first slot, an hour in which nobody heard of one of them.
    slots(&site, 0..SLOTS_PER_HOUR, &mut [&mut one, &mut two]).await;
    slots(&site, SLOTS_PER_HOUR..2 * SLOTS_PER_HOUR, &mut [&mut two]).await;
    slots(&site, 2 * SLOTS_PER_HOUR..end - 10, &mut [&mut one, &mut two]).await;
    site.app.context.run(Job::Rollups).await.unwrap();
    slots(&site, end - 10..end + 10, &mut [&mut one, &mut two]).await;
    let hours_kept = || site.app.store.cold.verify().unwrap().unwrap();
    let rows = hours_kept();
    let before = [hourly(&site, &one, "1h").await, hourly(&site, &one, "3h").await, hourly(&site, &two, "6h").await];
    site.app.context.run(Job::Rollups).await.unwrap();
    assert_eq!(hours_kept(), rows + 2, "the last hour of both, and none twice");
    let after = [hourly(&site, &one, "1h").await, hourly(&site, &one, "3h").await, hourly(&site, &two, "6h").await];
    let last = before[0].len() - 2;
    assert_eq!(after[0][..last], before[0][..last], "what was a row is in the chunk");
    after.iter().zip(&before).for_each(|(after, before)| assert_near(after, before));
    let bounds = |which: &str, of: &str| after[0][0][which][of].as_f64();
    assert_eq!((bounds("min", "temperature_celsius"), bounds("max", "temperature_celsius")), (Some(40.0), Some(40.0)));
    assert_eq!((bounds("min", "disk_used_bytes"), bounds("max", "gpu_usage_percent")), (None, None));

    // What comes for the silent hour is shown at once, and is in the chunk after the next run.
    let from = crate::support::site::START.slot().plus(SLOTS_PER_HOUR + 1);
    let items: Vec<_> = (0..30).map(|n| lucid::wire::LateItem { slot: from.plus(n), sample: sample(n) }).collect();
    assert_eq!(one.late(items).await.unwrap().stored, 30);
    let shown = hourly(&site, &one, "1h").await;
    assert_eq!((shown.len(), shown[1]["late"].as_bool()), (after[0].len(), Some(true)));
    site.app.context.run(Job::Rollups).await.unwrap();
    site = site.crash().await;
    assert_near(&hourly(&site, &one, "1h").await, &shown);
    let commits = site.app.store.hot.commits();
    site.app.context.run(Job::Rollups).await.unwrap();
    assert_eq!(site.app.store.hot.commits(), commits, "nothing to do, nothing written");
    for finding in lucid::storage::verify::verify(&site.app.store) {
        assert_eq!(finding.wrong, None, "{}", finding.part);
    }
}

#[tokio::test]
async fn a_day_is_the_sum_of_its_epochs_once_the_last_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut one = site.enrol("one").await;
    let quiet = site.enrol("quiet").await;
    for n in 0..2_880 {
        site.next_slot(5_000);
        if n % 8 != 0 {
            one.report(site.now_ms(), Sample::default()).await.unwrap();
        }
        if n % 120 == 3 {
            site.run_cycles().await;
        }
    }
    let path = format!("/nodes/{}/poot/uptime", one.id);
    let uptime = async || site.client.get(&path).await;
    let body = uptime().await;
    let states = body["slots"]["states"].as_str().unwrap();
    assert_eq!(
        (states.len(), states.chars().next(), body["days"][0]["partial"].as_bool()),
        (2_880, Some('u'), Some(true)),
        "{}",
        body["days"]
    );
    assert!(states.contains("mppppppp") && states.ends_with(['o', 'p']), "{states}");

    // The day goes on being open until its last epoch is closed, ten slots and 90 s into the next.
    for _ in 0..20 {
        site.next_slot(5_000);
        one.report(site.now_ms(), Sample::default()).await.unwrap();
    }
    site.run_cycles().await;
    let open = uptime().await["days"].clone();
    assert_eq!(open.as_array().unwrap().len(), 2, "{open}");
    let day = &open[0];
    assert_eq!((day["partial"].as_bool(), day["date"].as_str()), (Some(false), crate::support::site::START.rfc3339().get(..10)), "{day}");
    assert_eq!((day["state"].as_str(), day["currency"].as_str()), (Some("valid"), Some("USDT")));
    let (proven, observed) = (day["proven"].as_u64().unwrap(), day["observed"].as_u64().unwrap());
    assert!(proven > 2_500 && observed > 2_860 && proven < observed, "{day}");
    assert!(open[1]["partial"].as_bool().unwrap());

    let epochs = async |page: u32| site.client.get(&format!("/nodes/{}/poot/history?limit=100&page={page}", one.id)).await;
    let mut sum = 0;
    for page in 1..=3 {
        for epoch in epochs(page).await["epochs"].as_array().unwrap() {
            if epoch["start"].as_str().unwrap().starts_with(day["date"].as_str().unwrap()) {
                sum += epoch["proven"].as_u64().unwrap();
            }
        }
    }
    assert_eq!(sum, proven);
    let other = site.client.get(&format!("/nodes/{}/poot/uptime", quiet.id)).await;
    assert_eq!(other["days"][0]["proven"], 0);
}

#[tokio::test]
async fn where_samples_have_gone_a_series_nobody_chose_the_granularity_of_is_in_hours() {
    const WEEK_SLOTS: u32 = 7 * 2_880;
    const SLOT_MS: i64 = 30_000;
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let mut one = site.enrol("one").await;
    // A Monday, and the last hours of its week.
    let monday = crate::support::site::START.slot().plus(WEEK_SLOTS);
    site.driver.advance_ms(i64::from(WEEK_SLOTS - 2 * SLOTS_PER_HOUR) * SLOT_MS);
    site = site.crash().await;
    one.rebase(&site.client.base);
    slots(&site, 0..2 * SLOTS_PER_HOUR, &mut [&mut one]).await;
    let mut two = site.enrol("two").await;
    slots(&site, 2 * SLOTS_PER_HOUR..3 * SLOTS_PER_HOUR + 10, &mut [&mut one, &mut two]).await;
    site.app.context.run(Job::Rollups).await.unwrap();
    site.app.store.seal(monday.plus(WEEK_SLOTS)).await.unwrap();

    let around = async |id: &str, from: u32, granularity: &str| {
        let [start, end] = [from, monday.0 + 60].map(|slot| lucid::domain::time::Slot(slot).start().rfc3339());
        let body =
            site.client.get(&format!("/nodes/{id}/resources/metrics?metric_type=cpu&start_time={start}&end_time={end}{granularity}")).await;
        (body["granularity"].as_str().unwrap().to_owned(), body["metrics"].as_array().unwrap().len())
    };
    let before = monday.0 - 60;
    assert_eq!(around(one.id.as_str(), before, "").await, ("30s".into(), 120), "nothing has gone");
    assert_eq!(deleted(&site, (monday, crate::support::site::START.slot())), 1);
    assert_eq!(around(one.id.as_str(), before, "").await, ("1h".into(), 2));
    assert_eq!(around(one.id.as_str(), before, "&granularity=30s").await, ("30s".into(), 60), "as asked");
    assert_eq!(around(one.id.as_str(), monday.0, "").await, ("30s".into(), 60), "all of it is there");
    assert_eq!(around(two.id.as_str(), before, "").await, ("30s".into(), 59), "it has nothing of before");

    let range = async |range: &str| {
        let body = site.client.get(&format!("/nodes/{}/resources?time_range={range}", one.id)).await;
        body["series"].as_array().unwrap().iter().map(|point| point["timestamp"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let hours: Vec<String> = (0..4).map(|hour| monday.minus(2 * SLOTS_PER_HOUR).plus(hour * SLOTS_PER_HOUR).start().rfc3339()).collect();
    assert_eq!(range("7d").await, hours);
    assert!(range("1h").await.len() >= 120, "of samples");
}

#[tokio::test]
async fn rates_of_pools_leave_out_hours_that_are_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut one = site.enrol("one").await;
    slots(&site, 0..2 * SLOTS_PER_HOUR - 15, &mut [&mut one]).await;
    slots(&site, 2 * SLOTS_PER_HOUR - 15..2 * SLOTS_PER_HOUR - 1, &mut []).await;
    slots(&site, 2 * SLOTS_PER_HOUR - 1..4 * SLOTS_PER_HOUR + 10, &mut [&mut one]).await;
    site.app.context.run(Job::Rollups).await.unwrap();
    let pool = site.client.get("/nodes/pools").await["pools"][0]["pool_id"].as_str().unwrap().to_owned();
    let laid = site.client.get(&format!("/nodes/pools/{pool}/resources/metrics?metric=network_in&range=7d")).await;
    let values = laid["series"][0]["values"].as_array().unwrap();
    assert_eq!(values[163..], [json!(null), json!(null), json!(100.0), json!(100.0), json!(100.0)], "3000 bytes a slot");
    let used = site.client.get(&format!("/nodes/pools/{pool}/resources/metrics?metric=memory&range=7d")).await;
    assert!(used["series"][0]["values"][164].is_number(), "a mean is of what there is: {used}");
}

#[tokio::test]
async fn the_newest_stored_sample_is_current_until_the_node_reports_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let (mut one, quiet) = (site.enrol("one").await, site.enrol("quiet").await);
    slots(&site, 0..20, &mut [&mut one]).await;
    let told = site.driver.reading().wall.slot().start().rfc3339();
    let resources = async |site: &Site, node: &Node| site.client.get(&format!("/nodes/{}/resources", node.id)).await;
    let of = |body: &Value| (body["current"]["timestamp"].clone(), body["current"]["memory"]["used_bytes"].as_u64());

    for is_sealed in [false, true] {
        if is_sealed {
            site.app.store.seal(crate::support::site::START.slot().plus(10_000)).await.unwrap();
            assert_eq!(site.app.store.tails.count(), 0);
        }
        site = site.crash().await;
        let body = resources(&site, &one).await;
        assert_eq!(of(&body), (json!(told), Some(19 << 20)), "{body}");
        site.pass_slots(10).await;
        let body = resources(&site, &one).await;
        assert_eq!((of(&body), body["stale_since"].as_str()), ((json!(told), Some(19 << 20)), Some(told.as_str())), "{body}");
    }
    assert_eq!(resources(&site, &quiet).await["current"], Value::Null, "it was never heard");
    one.rebase(&site.client.base);
    site.next_slot(5_000);
    one.report(site.now_ms(), sample(77)).await.unwrap();
    let body = resources(&site, &one).await;
    assert_eq!((of(&body).1, &body["stale_since"]), (Some(77 << 20), &Value::Null), "{body}");
}
