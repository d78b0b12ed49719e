//! `make bench-storage`: a day of a thousand machines with a year of hours beside it, in this store and in those of others. Also as `bench-storage.json` in the target folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lucid::clock::{Clock, Stopwatch};
use lucid::domain::time::{Slot, Timestamp, TrustPolicy};
use serde_json::json;

use super::life::{FIELDS, Life, fields};
use super::local::{self, Day};
use super::peers::{Lines, Peer, file_bytes, folder_bytes};
use super::process;
use super::table::{Table, megabytes, percentile, sorted};
use super::{Bench, FLUSH_SECONDS, Person, set_up_with};

const NODES: usize = 1_000;
const PER_POOL: usize = 200;
const NODE_QUERIES: usize = 200;
const POOL_QUERIES: usize = 50;
/// Days of hours that are asked for, and that peers are given of one metric.
const LONG_DAYS: i64 = 90;
/// The manager gives back what it does not use any more.
const GIVES_BACK_WITHIN: Duration = Duration::from_secs(21);
/// Slots that one request of Prometheus' protocol has of all series: in the order of time, as it wants them.
const SLOTS_AT_ONCE: usize = 10;

/// How long a question took, in milliseconds.
struct Took {
    p50: f64,
    p99: f64,
}

impl Took {
    fn of(times: Vec<f64>) -> Took {
        let all = sorted(times);
        Took { p50: percentile(&all, 0.5), p99: percentile(&all, 0.99) }
    }

    fn text(&self) -> String {
        format!("p50 {:.2} ms, p99 {:.2} ms", self.p50, self.p99)
    }
}

/// One store's answers to the four questions: a node and a pool of 200, over 24 h and over 90 d.
type Answers = [Took; 4];
const QUESTIONS: [(&str, &str, &str); 4] = [
    ("node_24h", "24 h of a node's processor, in steps of 5 min", "1 ms"),
    ("pool_24h", "24 h of a pool of 200, in steps of 5 min", "5 ms"),
    ("node_90d", "90 d of a node, in steps of 3 h", ""),
    ("pool_90d", "90 d of a pool of 200, in steps of 6 h (here 30 d, in steps of 3 h)", ""),
];

fn now() -> Timestamp {
    Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall
}

impl Bench {
    pub async fn storage(&mut self) {
        let mut table = Table::default();
        let dir = self.dir.join("storage");
        fs::create_dir_all(&dir).unwrap();
        let data = dir.join("store");
        let day = local::day(&data, NODES, PER_POOL, now().slot()).await;
        of_day(&mut table, &data, &day);
        let ours = self.serve(&mut table, &data, &day).await;
        copies(&mut table, &dir, &data).await;
        let _ = fs::remove_dir_all(&data);
        let small = local::day(&dir.join("small"), 100, 100, now().slot()).await;
        let written = megabytes(small.written);
        let told = format!("{written:.0} MB: core {:.0}, hot {:.0}", megabytes(small.written_core), megabytes(small.written_hot));
        table.add("written_100", "written in a day, 100 nodes, everything running", told, "60 MB", written);
        let _ = fs::remove_dir_all(dir.join("small"));
        if let Some(peer) = Peer::victoria(&dir).await {
            let answers = victoria(&mut table, &peer, &day).await;
            compare(&mut table, "victoria", "VictoriaMetrics", &ours, &answers);
        }
        let _ = fs::remove_dir_all(dir.join("victoria-metrics"));
        if let Some(peer) = Peer::prometheus(&dir).await {
            let answers = prometheus(&mut table, &peer, &day).await;
            compare(&mut table, "prometheus", "Prometheus", &ours, &answers);
        }
        table.write_json(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench-storage.json"));
        println!("\n{}", table.markdown());
        let _ = fs::remove_dir_all(&dir);
    }

    /// The real binary on this store: how fast it is there, what it answers, and how it comes back.
    async fn serve(&mut self, table: &mut Table, data: &Path, day: &Day) -> Answers {
        // A store without backups makes one at once.
        let settings = [("LUCID__BACKUP__ENABLED", "false".to_owned())];
        let (manager, person) = set_up_with(data, &settings).await;
        let first = first_charts(&person, day).await;
        table.add(
            "pool_24h_first",
            "24 h of a pool of 200, in steps of 5 min, the first time after a start, each of 4 metrics",
            first.text(),
            "",
            first.p50,
        );
        let answers = questions(&person, day).await;
        for ((key, what, target), took) in QUESTIONS.into_iter().zip(&answers) {
            table.add(key, what, took.text(), target, took.p50);
            table.with("p99", took.p99);
        }
        let peak = megabytes(manager.process.memory().peak);
        tokio::time::sleep(GIVES_BACK_WITHIN).await;
        let memory = manager.process.memory();
        let [rss, own, files] = [memory.rss, memory.anon, memory.file].map(megabytes);
        let told = format!("{rss:.0} MB: {own:.0} of its own, {files:.0} of files; {peak:.0} MB at most, from the start on");
        table.add("rss", "manager RSS after these questions", told, "64 MB", megabytes(memory.rss));
        tokio::time::sleep(Duration::from_secs(u64::from(FLUSH_SECONDS) + 2)).await;
        manager.process.kill();
        let manager = process::start_manager_with(data, FLUSH_SECONDS, &settings);
        let (ms, size) = (manager.first_answer_ms, folder_bytes(data) as f64 / 1e9);
        table.add("start_after_kill_ms", format!("start after kill -9, store of {size:.2} GB"), format!("{ms:.0} ms"), "1 s", ms);
        manager.process.terminate();
        answers
    }
}

fn of_day(table: &mut Table, data: &Path, day: &Day) {
    let per_value = day.raw_bytes as f64 / (day.sealed * FIELDS.len() as u64) as f64;
    let what = format!("bytes on disk for a value, {NODES} nodes x {} fields x 30 s", FIELDS.len());
    table.add("bytes_per_value", what, format!("{per_value:.3}"), "0.65", per_value);
    let written = megabytes(day.written);
    let (core, hot) = (megabytes(day.written_core), megabytes(day.written_hot));
    let told = format!("{written:.0} MB: core {core:.0}, hot {hot:.0}, weeks and months {:.0}", written - core - hot);
    table.add("written_1000", "written in a day, 1,000 nodes, everything running", told, "250 MB", written);
    let told = format!("{:.0} s", day.cpu);
    table.add("cpu_1000", "processor in that day, from the accepted report on (no HTTP, no signatures)", told, "", day.cpu);
    table.add(
        "hour_bytes",
        "a year of hours beside it: bytes for each hour of a node",
        format!("{:.0}", day.hour_bytes),
        "",
        day.hour_bytes,
    );
    let names = ["core.redb", "hot.redb", "cold"];
    let sizes = names.map(|name| format!("{name} {:.0} MB", megabytes(file_bytes(&data.join(name))))).join(", ");
    table.add("store_mb", "the store then", sizes, "", megabytes(folder_bytes(data)));
}

/// Milliseconds until `path` is answered.
async fn asked_for(person: &Person, path: &str) -> f64 {
    let watch = Stopwatch::start();
    let read = person.get(path).await;
    assert!(read > 1_000, "{path} has {read} bytes");
    watch.elapsed().as_secs_f64() * 1e3
}

fn pool_path(pool: &str, metric: &str, range: &str) -> String {
    format!("/api/v1/nodes/pools/{pool}/resources/metrics?metric={metric}&range={range}")
}

/// Nothing of them is in memory yet.
async fn first_charts(person: &Person, day: &Day) -> Took {
    let mut times = Vec::new();
    for metric in ["cpu", "memory", "disk", "network_in"] {
        for pool in &day.pools {
            times.push(asked_for(person, &pool_path(pool, metric, "24h")).await);
        }
    }
    Took::of(times)
}

async fn questions(person: &Person, day: &Day) -> Answers {
    let iso = |slot: Slot| slot.start().rfc3339();
    let end = day.first.plus(day.slots);
    let query = |path: String| async move { asked_for(person, &path).await };
    let node = |n: usize| day.nodes[n * 7 % day.nodes.len()].as_str();
    let pool = |n: usize| day.pools[n % day.pools.len()].as_str();
    let mut times: [Vec<f64>; 4] = Default::default();
    for n in 0..NODE_QUERIES {
        let (from, until) = (iso(end.minus(2_880)), iso(end));
        let path = format!("/api/v1/nodes/{}/resources/metrics?metric_type=cpu&granularity=5m&start_time={from}&end_time={until}", node(n));
        times[0].push(query(path).await);
        let from = iso(end.minus(LONG_DAYS as u32 * 2_880));
        let path = format!("/api/v1/nodes/{}/resources/metrics?metric_type=cpu&granularity=3h&start_time={from}&end_time={until}", node(n));
        times[2].push(query(path).await);
    }
    for n in 0..POOL_QUERIES {
        times[1].push(query(pool_path(pool(n), "cpu", "24h")).await);
        times[3].push(query(pool_path(pool(n), "cpu", "30d")).await);
    }
    times.map(Took::of)
}

/// Backup, compaction and expiry of a gigabyte.
async fn copies(table: &mut Table, dir: &Path, data: &Path) {
    let binary = process::binary();
    let to = dir.join("backups");
    for (key, what) in
        [("backup_s", "backup of it, read back and verified"), ("backup_again_s", "the next backup: sealed files are shared")]
    {
        let before = unlinked_bytes(&to);
        let watch = Stopwatch::start();
        let done = std::process::Command::new(&binary).args(["backup", "--data-dir"]).arg(data).arg("--to").arg(&to).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let seconds = watch.elapsed().as_secs_f64();
        let new = megabytes(unlinked_bytes(&to).saturating_sub(before));
        table.add(key, what, format!("{seconds:.1} s, {new:.0} MB more on the disk"), "", seconds);
    }
    let _ = fs::remove_dir_all(&to);
    let watch = Stopwatch::start();
    let done = std::process::Command::new(&binary).args(["verify", "--full", "--data-dir"]).arg(data).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let seconds = watch.elapsed().as_secs_f64();
    table.add("verify_s", "verify --full of it: a day of samples, a year of hours", format!("{seconds:.1} s"), "", seconds);
    let (gone, ms, written) = local::expire(data, now().slot().plus(100_000)).await;
    let told = format!("{ms:.0} ms for {:.0} MB, {:.2} MB written", megabytes(gone), megabytes(written));
    table.add("expiry_ms", "expiry of all its weeks and months", told, "", ms);

    let holed = dir.join("holed");
    let live = local::holed_store(&holed, now().slot()).await;
    let settings = [("LUCID__POOT__KEEP_OUTPUTS_MB", "2000".to_owned()), ("LUCID__BACKUP__ENABLED", "false".to_owned())];
    let (manager, person) = set_up_with(&holed, &settings).await;
    let (before, cpu) = (file_bytes(&holed.join("hot.redb")), manager.process.cpu_seconds());
    let watch = Stopwatch::start();
    person.post("/api/v1/storage/compact", json!({ "file": "hot" })).await;
    let mut worst: f64 = 0.0;
    loop {
        let asked = Stopwatch::start();
        let seen = person.get_json("/api/v1/storage").await;
        worst = worst.max(asked.elapsed().as_secs_f64() * 1e3);
        let of_hot = seen["databases"].as_array().unwrap().iter().find(|of| of["file"] == "hot").unwrap().clone();
        if of_hot["compaction"]["phase"] == "idle" && !of_hot["compaction"]["last"].is_null() {
            assert!(of_hot["compaction"]["last"]["failed_because"].is_null(), "{of_hot}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = watch.elapsed().as_secs_f64();
    let after = file_bytes(&holed.join("hot.redb"));
    let told = format!(
        "{seconds:.1} s, {:.1} s of processor: {:.0} MB became {:.0} MB, {:.0} MB live; the slowest answer meanwhile {worst:.0} ms",
        manager.process.cpu_seconds() - cpu,
        megabytes(before),
        megabytes(after),
        megabytes(live)
    );
    table.add("compaction_s", "compaction of a gigabyte while serving", told, "reader < 1 s", seconds);
    manager.process.terminate();
    let _ = fs::remove_dir_all(&holed);
}

/// Of all files below, those with several names once.
fn unlinked_bytes(folder: &Path) -> u64 {
    let mut seen = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let found = entry.metadata().unwrap();
            if found.is_dir() {
                folders.push(entry.path());
            } else {
                seen.insert(found.ino(), found.blocks() * 512);
            }
        }
    }
    seen.values().sum()
}

/// All samples of one node's day.
struct NodeDay {
    name: String,
    pool: String,
    /// By field.
    values: Vec<Vec<f64>>,
}

impl NodeDay {
    /// The same life that our store was given.
    fn of(node: usize, day: &Day) -> NodeDay {
        let mut life = Life::new(node as u64);
        let mut values = vec![Vec::with_capacity(day.slots as usize); FIELDS.len()];
        for _ in 0..day.slots {
            fields(&life.next()).into_iter().zip(&mut values).for_each(|(value, of_field)| of_field.push(value));
        }
        NodeDay { name: day.nodes[node].clone(), pool: day.pools[node / PER_POOL].clone(), values }
    }
}

fn times_ms(day: &Day) -> Vec<i64> {
    day.first.until(day.first.plus(day.slots)).map(|slot| slot.start().0).collect()
}

/// Hours of one metric of every node: what the long questions ask for.
fn long(day: &Day) -> (Vec<i64>, Vec<Vec<f64>>) {
    let end = day.first.start().0 / 3_600_000 * 3_600_000;
    let times = (1..=LONG_DAYS * 24).rev().map(|hours| end - hours * 3_600_000).collect();
    let values = (0..NODES).map(|node| {
        let mut life = Life::new(node as u64);
        (0..LONG_DAYS * 24).map(|_| life.next().cpu.usage_percent.unwrap()).collect()
    });
    (times, values.collect())
}

async fn victoria(table: &mut Table, peer: &Peer, day: &Day) -> Answers {
    let at_ms = times_ms(day);
    let watch = Stopwatch::start();
    for node in 0..NODES {
        let of_node = NodeDay::of(node, day);
        let lines: Vec<Lines<'_>> = FIELDS
            .iter()
            .zip(&of_node.values)
            .map(|(metric, values)| Lines { metric, node: &of_node.name, pool: &of_node.pool, at_ms: &at_ms, values })
            .collect();
        peer.import(&lines).await;
    }
    peer.settle_victoria().await;
    stored(table, "victoria", "VictoriaMetrics", peer, day, peer.bytes(), watch);
    let (at_ms, values) = long(day);
    for (node, values) in values.iter().enumerate() {
        let (node, pool) = (&day.nodes[node], &day.pools[node / PER_POOL]);
        peer.import(&[Lines { metric: "cpu_hour", node, pool, at_ms: &at_ms, values }]).await;
    }
    peer.settle_victoria().await;
    asked(peer, day).await
}

async fn prometheus(table: &mut Table, peer: &Peer, day: &Day) -> Answers {
    let watch = Stopwatch::start();
    // First what is older: it takes no sample far behind the newest one.
    let (long_ms, long_values) = long(day);
    for first in (0..long_ms.len()).step_by(2) {
        let until = (first + 2).min(long_ms.len());
        let line = |(node, values): (usize, &'_ Vec<f64>)| (node, values[first..until].to_vec());
        let part: Vec<(usize, Vec<f64>)> = long_values.iter().enumerate().map(line).collect();
        let lines: Vec<Lines<'_>> = part
            .iter()
            .map(|(node, values)| Lines {
                metric: "cpu_hour",
                node: &day.nodes[*node],
                pool: &day.pools[node / PER_POOL],
                at_ms: &long_ms[first..until],
                values,
            })
            .collect();
        peer.remote_write(&lines).await;
    }
    let before = peer.snapshot_prometheus().await;
    let at_ms = times_ms(day);
    let mut lives: Vec<Life> = (0..NODES).map(|node| Life::new(node as u64)).collect();
    for first in (0..at_ms.len()).step_by(SLOTS_AT_ONCE) {
        let until = (first + SLOTS_AT_ONCE).min(at_ms.len());
        let mut part: Vec<Vec<Vec<f64>>> = Vec::new();
        for life in &mut lives {
            let mut values = vec![Vec::new(); FIELDS.len()];
            for _ in first..until {
                fields(&life.next()).into_iter().zip(&mut values).for_each(|(value, of_field)| of_field.push(value));
            }
            part.push(values);
        }
        let lines: Vec<Lines<'_>> = part
            .iter()
            .enumerate()
            .flat_map(|(node, values)| FIELDS.iter().zip(values).map(move |(metric, values)| (node, metric, values)))
            .map(|(node, metric, values)| Lines {
                metric,
                node: &day.nodes[node],
                pool: &day.pools[node / PER_POOL],
                at_ms: &at_ms[first..until],
                values,
            })
            .collect();
        peer.remote_write(&lines).await;
    }
    let bytes = peer.snapshot_prometheus().await - before;
    stored(table, "prometheus", "Prometheus", peer, day, bytes, watch);
    asked(peer, day).await
}

fn stored(table: &mut Table, key: &str, name: &str, peer: &Peer, day: &Day, bytes: u64, watch: Stopwatch) {
    let key = |of: &str| -> &'static str { format!("{key}_{of}").leak() };
    let per_value = bytes as f64 / (f64::from(day.slots) * (NODES * FIELDS.len()) as f64);
    table.add(
        key("bytes_per_value"),
        format!("{name}, the same samples: bytes on disk for a value"),
        format!("{per_value:.3}"),
        "",
        per_value,
    );
    table.with("ratio", table.value("bytes_per_value") / per_value);
    let written = megabytes(peer.process.written_bytes());
    let a_day = 2_880.0 / f64::from(day.slots);
    let told = format!("{:.0} MB; {:.0} s of processor", written * a_day, peer.process.cpu_seconds() * a_day);
    table.add(
        key("written"),
        format!("… written for a day of them (told in {:.0} s)", watch.elapsed().as_secs_f64()),
        told,
        "",
        written * a_day,
    );
    let memory = megabytes(peer.process.memory().rss);
    table.add(key("rss"), "… its memory then", format!("{memory:.0} MB"), "", memory);
}

async fn asked(peer: &Peer, day: &Day) -> Answers {
    let end = day.first.plus(day.slots).start().0 / 1_000;
    let (until, from, long_from) = (end / 300 * 300, end / 300 * 300 - 86_400, end / 10_800 * 10_800 - LONG_DAYS * 86_400);
    let node = |n: usize| day.nodes[n * 7 % day.nodes.len()].as_str();
    let pool = |n: usize| day.pools[n % day.pools.len()].as_str();
    let mut times: [Vec<f64>; 4] = Default::default();
    for n in 0..NODE_QUERIES {
        let query = format!("avg_over_time(cpu_usage_percent{{node=\"{}\"}}[5m])", node(n));
        let (took, points) = peer.query_range(&query, from, until, 300).await;
        assert!(points.len() > 280, "{query}: {} points", points.len());
        times[0].push(took);
        let query = format!("avg_over_time(cpu_hour{{node=\"{}\"}}[3h])", node(n));
        let (took, points) = peer.query_range(&query, long_from, until, 10_800).await;
        assert!(points.len() > 700, "{query}: {} points", points.len());
        times[2].push(took);
    }
    for n in 0..POOL_QUERIES {
        let query = format!("avg(avg_over_time(cpu_usage_percent{{pool=\"{}\"}}[5m]))", pool(n));
        let (took, points) = peer.query_range(&query, from, until, 300).await;
        assert!(points.len() > 280, "{query}: {} points", points.len());
        times[1].push(took);
        let query = format!("avg(avg_over_time(cpu_hour{{pool=\"{}\"}}[6h]))", pool(n));
        let (took, points) = peer.query_range(&query, long_from, until, 21_600).await;
        assert!(points.len() > 350, "{query}: {} points", points.len());
        times[3].push(took);
    }
    times.map(Took::of)
}

fn compare(table: &mut Table, key: &str, name: &str, ours: &Answers, theirs: &Answers) {
    for (((question, what, _), ours), theirs) in QUESTIONS.into_iter().zip(ours).zip(theirs) {
        let ratio = ours.p50 / theirs.p50;
        let key = format!("{key}_{question}").leak();
        table.add(key, format!("{name}: {what}"), format!("{}; ours takes {ratio:.2} of it", theirs.text()), "", theirs.p50);
        table.with("p99", theirs.p99);
        table.with("ratio", ratio);
    }
}
