//! `make bench`: what the manager and the agent cost, as one table on standard output and as `bench.json` in the target folder.
//!
//! HTTP figures are of the release binary in a process of its own; the generator is this process, so both share the machine's
//! processors. Figures of epochs and of bytes written are of the library in this process. Nothing here is asserted by tests.
//! `LUCID_BENCH=reports,epochs` runs only the parts whose names are listed; `LUCID_BENCH_DIR` is where stores are made, for what another disk costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on stops")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small known numbers"
)]

mod life;
mod load;
mod local;
mod outputs;
mod payouts;
mod peers;
mod process;
mod replication;
mod storage;
mod table;
mod transport;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use load::{Fleet, Shot};
use lucid::clock::{Clock, Stopwatch};
use lucid::domain::time::{Timestamp, TrustPolicy};
use process::{FlushWatch, Manager, Memory};
use serde_json::{Value, json};
use table::{Table, grouped, megabytes, percentile, sorted};
use transport::Way;

/// The shortest that the configuration takes: far more flushes than a fleet would see.
const FLUSH_SECONDS: u32 = 5;
const TARGET_RATE: f64 = 5_000.0;
const PASSWORD: &str = "correct horse battery";
/// Reports of an hour.
const HOUR_SLOTS: usize = 120;
/// Seconds that an agent reports before its memory is read.
const AGENT_SECONDS: u64 = 75;
/// Samples that the spool of the measured agent holds: two days.
const SPOOLED: u32 = 5_760;

/// Requests of people per second, for how long, over how many connections.
const API_RATE: f64 = 1_000.0;
const API_SECONDS: f64 = 10.0;
const API_CONNECTIONS: usize = 64;

/// Slots with samples of a thousand nodes that make a store of a gigabyte.
const LARGE_SLOTS: u32 = 4_000;

struct Bench {
    dir: PathBuf,
    table: Table,
    only: Option<String>,
}

fn main() {
    let dir = std::env::var_os("LUCID_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from).join("bench");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let mut bench = Bench { dir, table: Table::default(), only: std::env::var("LUCID_BENCH").ok() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(bench.run());
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let fsyncs_ms = fsyncs_ms(&bench.dir);
    println!(
        "\n{cpus} processors shared with the load generator; fsync of 4 KiB takes {:.2} ms, one in a hundred {:.2} ms.\n\n{}",
        percentile(&fsyncs_ms, 0.5),
        percentile(&fsyncs_ms, 0.99),
        bench.table.markdown()
    );
    bench.table.write_json(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench.json"));
    let _ = fs::remove_dir_all(&bench.dir);
}

/// Sorted.
fn fsyncs_ms(dir: &Path) -> Vec<f64> {
    let mut file = fs::File::create(dir.join("fsync")).unwrap();
    let times = (0..500).map(|_| {
        file.write_all(&[1; 4096]).unwrap();
        let watch = Stopwatch::start();
        file.sync_data().unwrap();
        watch.elapsed().as_secs_f64() * 1e3
    });
    sorted(times.collect::<Vec<_>>())
}

impl Bench {
    fn is_named(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|name| name == part))
    }

    fn wants(&self, part: &str) -> bool {
        let wanted = self.is_named(part);
        if wanted {
            eprintln!("== {part}");
        }
        wanted
    }

    async fn run(&mut self) {
        let size = megabytes(fs::metadata(process::binary()).unwrap().len());
        self.table.add("binary_mb", "binary, x86-64 with the UI", format!("{size:.1} MB"), "12 MB", size);
        if self.wants("reports") {
            self.reports().await;
        }
        if self.wants("registrations") {
            self.registrations().await;
        }
        if ["api", "list", "detail", "status"].iter().any(|part| self.wants(part)) {
            self.api().await;
        }
        if self.wants("small") {
            self.small_fleet().await;
        }
        if self.wants("epochs") {
            self.epochs().await;
        }
        if self.wants("proofs") {
            self.proofs().await;
        }
        if self.wants("writes") {
            self.writes().await;
        }
        // By its name alone, as the next one: it takes minutes, and the server of the tests.
        if self.only.is_some() && self.wants("replication") {
            self.replication().await;
        }
        // The peers have to be installed.
        if self.only.is_some() && self.wants("storage") {
            self.storage().await;
        }
        if self.wants("outputs") {
            self.outputs().await;
        }
        if self.wants("transport") {
            self.transport().await;
        }
        if self.wants("signer") {
            self.signer().await;
        }
        if self.wants("payouts") {
            self.payouts().await;
        }
        if self.wants("start") {
            self.start().await;
        }
    }

    async fn reports(&mut self) {
        let data = self.dir.join("reports");
        let (manager, _) = set_up(&data).await;
        let token = pool_token(&manager, "bench", 1_000).await;
        let enrolled = load::enrol(manager.address(), (0..1_000).map(|n| (n, token.clone())).collect(), 64).await;
        let mut fleet = Fleet::connect(enrolled.nodes).await;
        fleet.flood(1, 64, |_| None, Stopwatch::start()).await;
        self.hour_of_reports(&mut fleet, &manager, "manager_1000", "manager RSS, 1,000 nodes, after an hour of reports", "64 MB").await;

        let watch = Stopwatch::start();
        let flushes = FlushWatch::start(manager.process.pid(), watch);
        let cpu = manager.process.cpu_seconds();
        let (shots, seconds) = fleet.flood(100, 64, |_| None, watch).await;
        let flushes = flushes.finish();
        let cpu = manager.process.cpu_seconds() - cpu;
        let rate = accepted(&shots) / seconds;
        let text =
            format!("{}/s over {seconds:.0} s, {} flushes; {:.0} µs CPU each", grouped(rate), flushes.len(), cpu * 1e6 / accepted(&shots));
        self.table.add("reports_per_second", "reports accepted, 1,000 nodes, as fast as it goes (64 in flight)", text, "5,000/s", rate);
        self.latencies("reports_max_rate", "… latency then", &shots, &flushes, "");

        let watch = Stopwatch::start();
        let flushes = FlushWatch::start(manager.process.pid(), watch);
        let (shots, seconds) = fleet.steady(TARGET_RATE, 100, |_| None, watch).await;
        let flushes = flushes.finish();
        let rate = accepted(&shots) / seconds;
        let text =
            format!("{}/s over {seconds:.0} s, {} of {} accepted", grouped(rate), grouped(accepted(&shots)), grouped(shots.len() as f64));
        self.table.add("steady_reports_per_second", "reports at a steady 5,000/s, 1,000 nodes", text, "5,000/s", rate);
        self.latencies("reports_steady", "… latency then", &shots, &flushes, "p99 < 20 ms");

        let memory = manager.process.memory();
        self.table.add(
            "manager_1000_flooded",
            "… after these floods: a day of reports in a minute",
            shown(memory),
            "",
            megabytes(memory.rss),
        );
        manager.process.terminate();
    }

    fn latencies(&mut self, key: &'static str, what: &str, shots: &[Shot], flushes: &[(f64, f64)], target: &'static str) {
        let all = sorted(shots.iter().map(|shot| shot.took_ms));
        let overlaps =
            |shot: &&Shot| flushes.iter().any(|(begin, end)| shot.at_seconds < *end && shot.at_seconds + shot.took_ms / 1e3 > *begin);
        let during = sorted(shots.iter().filter(overlaps).map(|shot| shot.took_ms));
        let p99 = percentile(&all, 0.99);
        let flushed_ms: f64 = flushes.iter().map(|(begin, end)| (end - begin) * 1e3).sum::<f64>() / flushes.len() as f64;
        let text = format!(
            "p50 {:.2} ms, p99 {p99:.2} ms, max {:.1} ms; of the {} during a flush ({flushed_ms:.0} ms on average): p99 {:.2} ms, max {:.1} ms",
            percentile(&all, 0.5),
            percentile(&all, 1.0),
            grouped(during.len() as f64),
            percentile(&during, 0.99),
            percentile(&during, 1.0),
        );
        self.table.add(key, what, text, target, p99);
    }

    /// Each node's reports of an hour, sent in a minute: each brings the measurement of an older slot with the present one, so that the hour's 120
    /// slots are stored, ten with every flush. Then what people do: sign in, look at the list, scrape.
    async fn hour_of_reports(&mut self, fleet: &mut Fleet, manager: &Manager, key: &'static str, what: &str, target: &'static str) {
        let age = |round: usize| Some(((HOUR_SLOTS - round) * 30_000) as u64);
        let (shots, _) = fleet.steady(fleet.len() as f64 * 2.0, HOUR_SLOTS, age, Stopwatch::start()).await;
        tokio::time::sleep(Duration::from_secs(u64::from(FLUSH_SECONDS) + 1)).await;
        let bare = manager.process.memory();
        let person = Person::sign_in(&manager.base).await;
        let person_again = Person::sign_in(&manager.base).await;
        person.get("/api/v1/nodes?limit=100").await;
        person_again.get("/metrics").await;
        let memory = manager.process.memory();
        let text = format!("{} (before two people signed in: {}; {} reports)", shown(memory), shown(bare), grouped(accepted(&shots)));
        self.table.add(key, what, text, target, megabytes(memory.rss));
    }

    async fn registrations(&mut self) {
        let data = self.dir.join("registrations");
        let (manager, person) = set_up(&data).await;
        let mut first = 0;
        for (key, concurrency, count) in [("registrations_64", 64, 2_000), ("registrations_256", 256, 4_000)] {
            let mut tokens = Vec::new();
            for pool in 0..count / 1_000 {
                tokens.push(person.pool_token(&format!("pool-{concurrency}-{pool}"), 1_000).await);
            }
            let jobs = (0..count).map(|n| (first + n, tokens[n / 1_000].clone())).collect();
            first += count;
            let cpu = manager.process.cpu_seconds();
            let enrolled = load::enrol(manager.address(), jobs, concurrency).await;
            let cpu = manager.process.cpu_seconds() - cpu;
            let (rate, all) = (count as f64 / enrolled.seconds, sorted(enrolled.latencies_ms));
            let text = format!(
                "{}/s, p50 {:.1} ms, p99 {:.1} ms; {:.0} µs CPU each",
                grouped(rate),
                percentile(&all, 0.5),
                percentile(&all, 0.99),
                cpu * 1e6 / count as f64
            );
            let what = format!(
                "registrations, durable, {concurrency} at a time ({} to {} nodes)",
                grouped((first - count) as f64),
                grouped(first as f64)
            );
            self.table.add(key, what, text, "1,000/s, p99 < 100 ms", rate);
        }
        manager.process.terminate();
    }

    /// What people and programs ask most, at a steady rate, while a thousand nodes have reported and a day of their epochs is not posted.
    async fn api(&mut self) {
        let data = self.dir.join("api");
        let now = Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall;
        local::closed_day(&data, 1_000, now).await;
        let (manager, person) = set_up(&data).await;
        let token = person.pool_token("again", 1_000).await;
        // The nodes of that day, with the keys they had.
        let enrolled = load::enrol(manager.address(), (0..1_000).map(|n| (n, token.clone())).collect(), 64).await;
        let mut fleet = Fleet::connect(enrolled.nodes).await;
        fleet.flood(1, 64, |_| None, Stopwatch::start()).await;
        let ids: Vec<String> = fleet.ids().map(str::to_owned).collect();
        let asks = |method: &str, path: &str, body: &str| load::asks(method, path, manager.address(), &person.token, body);
        let count = (API_RATE * API_SECONDS) as usize;
        let node = |n: usize| format!("/api/v1/nodes/{}", ids[n % ids.len()]);
        let list = (0..count).map(|n| asks("GET", &format!("/api/v1/nodes?limit=100&page={}", n % 10 + 1), "")).collect();
        let detail = (0..count).map(|n| asks("GET", &node(n * 7), "")).collect();
        let status = |n: usize| if (n / ids.len()).is_multiple_of(2) { r#"{"status":"maintenance"}"# } else { r#"{"status":"active"}"# };
        let update = (0..count).map(|n| asks("PUT", &node(n), status(n))).collect();
        let rows: [(&str, &'static str, &str, Vec<Vec<u8>>); 3] = [
            ("list", "api_node_list", "node list, 1,000 nodes, pages of 100, at 1,000/s", list),
            ("detail", "api_node_detail", "node detail, at 1,000/s", detail),
            ("status", "api_node_status", "node status update, durable, at 1,000/s", update),
        ];
        for (part, key, what, requests) in rows {
            if !self.is_named("api") && !self.is_named(part) {
                continue;
            }
            let (cpu, commits) = (manager.process.cpu_seconds(), person.commits().await);
            let (shots, seconds) = load::steadily(manager.address(), requests, API_RATE, API_CONNECTIONS).await;
            let cpu = (manager.process.cpu_seconds() - cpu) * 1e6 / shots.len() as f64;
            let commits = (person.commits().await - commits) / seconds;
            let all = sorted(shots.iter().map(|shot| shot.took_ms));
            let p99 = percentile(&all, 0.99);
            let text = format!(
                "p50 {:.2} ms, p99 {p99:.2} ms, max {:.1} ms; {}/s, {} of {} answered 200; {cpu:.0} µs CPU each; {commits:.0} commits/s",
                percentile(&all, 0.5),
                percentile(&all, 1.0),
                grouped(accepted(&shots) / seconds),
                grouped(accepted(&shots)),
                grouped(shots.len() as f64),
            );
            self.table.add(key, what, text, "p99 < 5 ms", p99);
        }
        manager.process.terminate();
    }

    /// A hundred nodes, one of them a real agent.
    async fn small_fleet(&mut self) {
        let data = self.dir.join("small");
        let (manager, person) = set_up(&data).await;
        let state = self.dir.join("agent");
        let agent = process::start_agent(&manager.base, &state, Some(&person.pool_token("agent", 1).await));
        let began = Stopwatch::start();
        let token = person.pool_token("bench", 1_000).await;
        let enrolled = load::enrol(manager.address(), (0..99).map(|n| (n, token.clone())).collect(), 16).await;
        let mut fleet = Fleet::connect(enrolled.nodes).await;
        self.hour_of_reports(&mut fleet, &manager, "manager_100", "manager RSS, 100 nodes, after an hour of reports", "40 MB").await;
        drop(fleet);

        tokio::time::sleep(Duration::from_secs(AGENT_SECONDS).saturating_sub(began.elapsed())).await;
        let memory = agent.memory();
        self.table.add("agent_online", "agent RSS, online", agent_memory(memory), "6 MB", megabytes(memory.rss));
        agent.terminate();
        manager.process.terminate();

        // The manager is away and the spool has rows of an outage: the agent opens it at its start and keeps it open.
        fill_spool(&state.join("spool"));
        let agent = process::start_agent(&manager.base, &state, None);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let memory = agent.memory();
        let what = format!("agent RSS, manager away, {} samples in the spool", grouped(f64::from(SPOOLED)));
        self.table.add("agent_spooling", what, agent_memory(memory), "24 MB", megabytes(memory.rss));
    }

    async fn epochs(&mut self) {
        let cases = [
            ("epoch_1000", 1_000, false, "5 ms"),
            ("epoch_1000_newcomer", 1_000, true, "5 ms"),
            ("epoch_10000", 10_000, false, "50 ms"),
            ("epoch_10000_newcomer", 10_000, true, "50 ms"),
        ];
        for (key, nodes, newcomer, target) in cases {
            let dir = self.dir.join(key);
            let local::Closes { cpu_ms, wall_ms, first_ms } = local::epoch(&dir, nodes, newcomer).await;
            let seen =
                if newcomer { "one of them new: scores look at all of it" } else { "all observed all day: scores look at a day of it" };
            let what = format!("epoch over {} nodes, 72 h of evidence, {seen}", grouped(nodes as f64));
            let measured =
                format!("{cpu_ms:.1} ms of CPU ({wall_ms:.1} ms, with two fsyncs); the first one after a start {first_ms:.1} ms");
            self.table.add(key, what, measured, target, cpu_ms);
            let _ = fs::remove_dir_all(dir);
        }
    }

    async fn proofs(&mut self) {
        let keys =
            [["proof_1000", "proof_1000_earlier", "proof_1000_checked"], ["proof_10000", "proof_10000_earlier", "proof_10000_checked"]];
        for ([made, earlier, checked], nodes) in keys.into_iter().zip([1_000, 10_000]) {
            let dir = self.dir.join(made);
            let local::Proofs { made_ms, checked_ms, earlier_ms, bytes } = local::proofs(&dir, nodes).await;
            let of = format!("of one of {} nodes", grouped(nodes as f64));
            self.table.add(made, format!("proof document {of}, newest epoch"), format!("{made_ms:.2} ms"), "1 ms", made_ms);
            self.table.add(earlier, "the same of an earlier epoch, its tree made anew", format!("{earlier_ms:.1} ms"), "", earlier_ms);
            let what = format!("checking it ({:.1} KB of JSON, read included)", bytes / 1e3);
            self.table.add(checked, what, format!("{checked_ms:.2} ms"), "1 ms", checked_ms);
            let _ = fs::remove_dir_all(dir);
        }
    }

    async fn writes(&mut self) {
        for (nodes, keys, target) in [
            (100, ["written_100", "written_100_epochs", "written_100_evidence", "stored_100"], "60 MB"),
            (1_000, ["written_1000", "written_1000_epochs", "written_1000_evidence", "stored_1000"], "250 MB"),
        ] {
            let mut of = Vec::new();
            for work in [(true, true), (true, false), (false, false)] {
                let dir = self.dir.join(keys[0]);
                of.push(local::written_per_day(&dir, nodes, 4, local::Work { samples: work.0, epochs: work.1 }).await);
                let _ = fs::remove_dir_all(dir);
            }
            let [all, without_epochs, reports] = [&of[0], &of[1], &of[2]].map(|of| of.written);
            let what = format!("written to the disk in a day, {} nodes (from four driven hours)", grouped(nodes as f64));
            self.table.add(keys[0], what, format!("{:.0} MB", all / 1e6), target, all / 1e6);
            let per_node = |bytes: f64| bytes / nodes as f64 / 1e3;
            let epochs = per_node(all - without_epochs);
            self.table.add(keys[1], "… of it epochs, proofs and postings, for each node", format!("{epochs:.1} KB"), "", epochs);
            let reports = per_node(reports);
            self.table.add(keys[2], "… of it evidence and acknowledgements, for each node", format!("{reports:.1} KB"), "", reports);
            let [evidence, leaves, heads] = of[0].stored_of_a_node.map(|bytes| bytes / 1e3);
            let told = format!("{evidence:.2} KB + {leaves:.1} KB + {heads:.2} KB");
            self.table.add(keys[3], "… stored for each: evidence + leaves + heads", told, "", evidence + leaves + heads);
        }
    }

    async fn replication(&mut self) {
        let (_cluster, address) = process::start_cluster();
        let uri = |database: &str| format!("mongodb://{address}/{database}");
        let [without, away, there] = ["without", "away", "there"].map(|name| self.dir.join(format!("replication-{name}")));
        let now = Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall;
        let weeks = replication::weeks([&without, &away, &there], [&uri("away"), &uri("there")], now).await;
        let day = |bytes: f64| format!("{:.1} MB a day", bytes / f64::from(replication::DAYS) / 1e6);
        let [none, offline, online] = weeks.each_ref().map(|week| week.written);
        self.table.add("week_without", "written in a week of 100 nodes, no cluster configured", day(none), "", none / 1e6);
        for (key, what, bytes) in [("week_away", "… the cluster away all week", offline), ("week_there", "… the cluster there", online)]
        {
            self.table.add(key, what, format!("{}: {:.3} of that", day(bytes), bytes / none), "", bytes / none);
        }
        let [away_ratio, there_ratio] = [1, 2].map(|week: usize| weeks[week].cpu / weeks[0].cpu);
        let what = "processor for reports, flushes, epochs and postings of that week, the cluster away / there, beside none configured";
        let text = format!("{away_ratio:.3} / {there_ratio:.3} of {:.0} s", weeks[0].cpu);
        self.table.add("week_cpu", what, text, "1.05", away_ratio.max(there_ratio));

        let (idle, _) = set_up(&without).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let (bare, start_bytes) = (idle.process.memory(), idle.process.written_bytes() as f64);
        idle.process.terminate();
        let (manager, person) = set_up_with(&away, &[("MONGODB_URI", uri("away"))]).await;
        let caught_up = replication::until(&person, &manager, |view| view["state"] == "current" && !view["consistent_at"].is_null()).await;
        let text = format!(
            "{} documents, {:.1} MB in {:.1} s: {}/s; RSS at most {:.0} MB, {:.0} without; {:.1} MB written since the start, {:.1} without",
            grouped(caught_up.documents),
            caught_up.bytes / 1e6,
            caught_up.seconds,
            grouped(caught_up.documents / caught_up.seconds),
            megabytes(manager.process.memory().peak),
            megabytes(bare.peak),
            caught_up.written / 1e6,
            start_bytes / 1e6,
        );
        let rate = caught_up.documents / caught_up.seconds;
        self.table.add("catch_up", "catching up after that week", text, "", rate);
        manager.process.terminate();

        let settings = [("MONGODB_URI", uri("away")), ("LUCID__MONGODB__RAW_METRICS", "true".to_owned())];
        let manager = process::start_manager_with(&away, FLUSH_SECONDS, &settings);
        let person = Person::sign_in(&manager.base).await;
        let raw = replication::until(&person, &manager, |view| view["documents_sent"].as_f64() > Some(100_000.0)).await;
        let rate = raw.documents / raw.seconds;
        let text = format!(
            "{}/s, {:.0} bytes each; RSS at most {:.0} MB",
            grouped(rate),
            raw.bytes / raw.documents,
            megabytes(manager.process.memory().peak)
        );
        self.table.add("catch_up_raw", "… every sample of it, the first hundred thousand", text, "", rate);
        manager.process.terminate();
    }

    /// Plain HTTP beside TLS, each with a manager of its own: what one has freed would be memory that the other does not ask for.
    async fn transport(&mut self) {
        const LISTENERS: usize = 250;
        for (name, requests_key, events_key) in [("HTTP", "requests_plain", "events_plain_kb"), ("TLS", "requests_tls", "events_tls_kb")] {
            let data = self.dir.join(format!("transport-{name}"));
            let (manager, person) = set_up(&data).await;
            let tls = name == "TLS";
            let way = if tls { Way::encrypted(manager.address(), &data) } else { Way::plain(manager.address()) };
            let mut tokens = Vec::new();
            for number in 0..LISTENERS.div_ceil(transport::STREAMS_EACH) {
                let asked = json!({ "name": format!("watcher-{number}"), "role": "viewer", "expires_in_days": 1 });
                tokens.push(person.post("/api/v1/tokens", asked).await["token"].as_str().unwrap().to_owned());
            }
            let before = manager.process.memory();
            let open = transport::listeners(&way, &tokens, LISTENERS).await;
            let after = manager.process.memory();
            let each = after.anon.saturating_sub(before.anon) as f64 / LISTENERS as f64 / 1e3;
            let text = format!("{each:.0} kB each ({LISTENERS} clients)");
            self.table.add(events_key, format!("memory of an idle client of events over {name}"), text, "–", each);
            drop(open);
            let cpu = manager.process.cpu_seconds();
            let rate = transport::requests(&way, &person.token).await;
            let cpu = manager.process.cpu_seconds() - cpu;
            let text = format!("{}/s; {:.0} µs CPU each", grouped(rate), cpu * 1e6 / (rate * 6.0));
            self.table.add(requests_key, format!("requests over {name}, 64 connections that stay"), text, "–", rate);
            if tls {
                let cpu = manager.process.cpu_seconds();
                let rate = transport::handshakes(&way).await;
                let cpu = manager.process.cpu_seconds() - cpu;
                let text = format!("{}/s; {:.0} µs CPU each", grouped(rate), cpu * 1e6 / (rate * 6.0));
                self.table.add("handshakes_per_second", "TLS handshakes, none of them resumed", text, "–", rate);
            }
            manager.process.terminate();
        }
    }

    async fn start(&mut self) {
        let data = self.dir.join("large");
        let now = Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall;
        let bytes = local::large_store(&data, 1_000, LARGE_SLOTS, now.plus_seconds(-600)).await;
        let store = format!("{:.2} GB store, 1,000 nodes", bytes as f64 / 1e9);
        // The first start closes what the history left open; the second is the ordinary one.
        process::start_manager(&data, FLUSH_SECONDS).process.terminate();
        let manager = process::start_manager(&data, FLUSH_SECONDS);
        let ms = manager.first_answer_ms;
        self.table.add("start_ms", format!("start to first answer, {store}"), format!("{ms:.0} ms"), "1 s", ms);
        // Somebody must have written for a kill to interrupt anything.
        tokio::time::sleep(Duration::from_secs(u64::from(FLUSH_SECONDS) + 2)).await;
        manager.process.kill();
        let manager = process::start_manager(&data, FLUSH_SECONDS);
        let ms = manager.first_answer_ms;
        self.table.add("start_after_kill_ms", "… after kill -9", format!("{ms:.0} ms"), "1 s", ms);
        manager.process.terminate();
    }
}

fn accepted(shots: &[Shot]) -> f64 {
    shots.iter().filter(|shot| shot.accepted).count() as f64
}

fn shown(memory: Memory) -> String {
    let [rss, anon, file, peak] = [memory.rss, memory.anon, memory.file, memory.peak].map(megabytes);
    format!("{rss:.1} MB (anonymous {anon:.1}, file {file:.1}; peak {peak:.1})")
}

fn agent_memory(memory: Memory) -> String {
    format!("{}; PSS {:.1} MB", shown(memory), megabytes(memory.pss))
}

/// Rows as the agent's spool keeps them, of the two days before now.
fn fill_spool(folder: &Path) {
    let now = Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall.slot();
    let db = sled::Config::new().path(folder).mode(sled::Mode::LowSpace).flush_every_ms(None).open().unwrap();
    for slot in now.minus(SPOOLED).until(now) {
        let value = serde_json::to_vec(&load::sample(u64::from(slot.0 % 100_000))).unwrap();
        db.insert(slot.0.to_be_bytes(), value).unwrap();
    }
    db.flush().unwrap();
}

/// A new manager with its first super_admin, who is signed in.
async fn set_up(data: &Path) -> (Manager, Person) {
    set_up_with(data, &[]).await
}

async fn set_up_with(data: &Path, settings: &[(&str, String)]) -> (Manager, Person) {
    let manager = process::start_manager_with(data, FLUSH_SECONDS, settings);
    let code = manager.setup_code.clone().expect("a new store has a setup code");
    let person = Person { base: manager.base.clone(), http: http(), token: String::new() };
    person.post("/api/v1/setup", json!({ "code": code, "username": "ada", "password": PASSWORD })).await;
    let person = Person::sign_in(&manager.base).await;
    (manager, person)
}

async fn pool_token(manager: &Manager, pool: &str, uses: u32) -> String {
    Person::sign_in(&manager.base).await.pool_token(pool, uses).await
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub struct Person {
    base: String,
    http: reqwest::Client,
    token: String,
}

impl Person {
    async fn sign_in(base: &str) -> Person {
        let mut person = Person { base: base.to_owned(), http: http(), token: String::new() };
        let answer = person.post("/api/v1/auth/login", json!({ "username": "ada", "password": PASSWORD })).await;
        person.token = answer["access_token"].as_str().expect("signed in").to_owned();
        person
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "POST {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub async fn get_json(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn get(&self, path: &str) -> usize {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await.unwrap();
        assert!(answer.status().is_success(), "GET {path}: {}", answer.status());
        answer.bytes().await.unwrap().len()
    }

    /// Commits of the core file since the manager started; each is one fsync.
    async fn commits(&self) -> f64 {
        let answer = self.http.get(format!("{}/metrics", self.base)).bearer_auth(&self.token).send().await.unwrap().text().await.unwrap();
        let line = answer.lines().find(|line| line.contains("file=\"core\"") && line.contains("operation=\"commit\"")).expect("commits");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// A new pool for up to a thousand nodes, and a token for it.
    async fn pool_token(&self, pool: &str, uses: u32) -> String {
        let made = self.post("/api/v1/nodes/pools", json!({ "name": pool, "max_nodes": 1_000 })).await;
        let body = json!({ "pool_id": made["pool_id"], "uses": uses, "expires_in_seconds": 3600 });
        self.post("/api/v1/enrolment-tokens", body).await["token"].as_str().unwrap().to_owned()
    }
}
