//! The same samples in stores that others made, from Debian: `victoria-metrics` and `prometheus`. Where one is not installed its rows are left out.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::http;
use super::process::{Process, free_port};

/// How long one may take to answer for the first time, and to settle after what it was given.
const PATIENCE_SECONDS: u64 = 120;

pub struct Peer {
    pub name: &'static str,
    pub process: Process,
    base: String,
    http: reqwest::Client,
    data: PathBuf,
}

/// One value a sample of a series, by node and field; in order of time.
pub struct Lines<'a> {
    pub metric: &'a str,
    pub node: &'a str,
    pub pool: &'a str,
    pub at_ms: &'a [i64],
    pub values: &'a [f64],
}

impl Peer {
    pub async fn victoria(dir: &Path) -> Option<Peer> {
        let data = dir.join("victoria-metrics");
        let arguments = |address: &str| {
            let flag = |name: &str, value: &str| format!("-{name}={value}");
            let data = data.display().to_string();
            vec![
                flag("storageDataPath", &data),
                flag("httpListenAddr", address),
                flag("retentionPeriod", "100y"),
                flag("search.maxQueryDuration", "5m"),
            ]
        };
        Peer::start("victoria-metrics", &data, arguments, "/health").await
    }

    pub async fn prometheus(dir: &Path) -> Option<Peer> {
        let data = dir.join("prometheus");
        let config = dir.join("prometheus.yml");
        fs::write(&config, "global: {}\n").unwrap();
        let arguments = |address: &str| {
            vec![
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", data.display()),
                format!("--web.listen-address={address}"),
                "--storage.tsdb.retention.time=100y".into(),
                "--web.enable-remote-write-receiver".into(),
                "--web.enable-admin-api".into(),
                "--log.level=warn".into(),
            ]
        };
        Peer::start("prometheus", &data, arguments, "/-/ready").await
    }

    async fn start(name: &'static str, data: &Path, arguments: impl Fn(&str) -> Vec<String>, ready: &str) -> Option<Peer> {
        let address = format!("127.0.0.1:{}", free_port());
        let log = fs::File::create(data.with_extension("log")).unwrap();
        let mut command = Command::new(name);
        command.args(arguments(&address)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = match Process::start(&mut command) {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("   {name} is not installed: its rows are left out");
                return None;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let peer = Peer { name, process, base: format!("http://{address}"), http: http(), data: data.to_owned() };
        peer.wait_until_ready(ready).await;
        Some(peer)
    }

    async fn wait_until_ready(&self, path: &str) {
        for _ in 0..PATIENCE_SECONDS * 10 {
            let answer = self.http.get(format!("{}{path}", self.base)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} does not answer", self.name);
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        text
    }

    async fn post(&self, path: &str, headers: &[(&'static str, &'static str)], body: Vec<u8>) {
        let request =
            headers.iter().fold(self.http.post(format!("{}{path}", self.base)), |request, (name, value)| request.header(*name, *value));
        let answer = request.body(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
    }

    /// JSON lines for VictoriaMetrics' import: whole series, in any order.
    pub async fn import(&self, lines: &[Lines<'_>]) {
        let mut body = String::new();
        for Lines { metric, node, pool, at_ms, values } in lines {
            body.push_str(&format!(r#"{{"metric":{{"__name__":"{metric}","node":"{node}","pool":"{pool}"}},"values":"#));
            body.push_str(&serde_json::to_string(values).unwrap());
            body.push_str(r#","timestamps":"#);
            body.push_str(&serde_json::to_string(at_ms).unwrap());
            body.push_str("}\n");
        }
        self.post("/api/v1/import", &[], body.into_bytes()).await;
    }

    /// What it keeps in memory goes to the disk, and what it will merge some day is merged now.
    pub async fn settle_victoria(&self) {
        for path in ["/internal/force_flush", "/internal/force_merge"] {
            self.get(path).await;
        }
        let merging = r#"vm_active_merges{type="storage/big"}"#;
        for _ in 0..PATIENCE_SECONDS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let text = self.get("/metrics").await;
            if text.lines().any(|line| line.strip_prefix(merging).is_some_and(|rest| rest.trim() == "0")) && self.bytes() > 0 {
                return;
            }
        }
    }

    /// Samples by the protocol of Prometheus: series of a stretch of time that all series share.
    pub async fn remote_write(&self, lines: &[Lines<'_>]) {
        let mut message = Vec::new();
        for Lines { metric, node, pool, at_ms, values } in lines {
            let mut series = Vec::new();
            // Names of labels have to ascend.
            for (name, value) in [("__name__", metric), ("node", node), ("pool", pool)] {
                let mut label = Vec::new();
                put_bytes(&mut label, 1, name.as_bytes());
                put_bytes(&mut label, 2, value.as_bytes());
                put_bytes(&mut series, 1, &label);
            }
            for (at_ms, value) in at_ms.iter().zip(*values) {
                let mut sample = vec![9];
                sample.extend(value.to_le_bytes());
                sample.push(16);
                put_varint(&mut sample, *at_ms as u64);
                put_bytes(&mut series, 2, &sample);
            }
            put_bytes(&mut message, 1, &series);
        }
        let headers =
            [("content-type", "application/x-protobuf"), ("content-encoding", "snappy"), ("x-prometheus-remote-write-version", "0.1.0")];
        self.post("/api/v1/write", &headers, snappy(&message)).await;
    }

    /// Bytes of chunks and index when all of it is written as blocks.
    pub async fn snapshot_prometheus(&self) -> u64 {
        let url = format!("{}/api/v1/admin/tsdb/snapshot", self.base);
        // A block that is merged away meanwhile ends a snapshot.
        for _ in 0..PATIENCE_SECONDS {
            let answer = self.http.post(&url).send().await.unwrap();
            if answer.status().is_success() {
                let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
                return folder_bytes(&self.data.join("snapshots").join(answer["data"]["name"].as_str().unwrap()));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{} makes no snapshot", self.name);
    }

    /// Milliseconds, and the points of the first series.
    pub async fn query_range(&self, query: &str, start: i64, end: i64, step: u32) -> (f64, Vec<(i64, f64)>) {
        let query: String = url_encoded(query);
        let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}&nocache=1");
        let watch = lucid::clock::Stopwatch::start();
        let text = self.get(&path).await;
        let took_ms = watch.elapsed().as_secs_f64() * 1e3;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let values = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
        let point = |value: &Value| (value[0].as_f64().unwrap() as i64, value[1].as_str().unwrap().parse().unwrap());
        (took_ms, values.iter().map(point).collect())
    }

    /// Blocks of its files.
    pub fn bytes(&self) -> u64 {
        folder_bytes(&self.data)
    }
}

fn url_encoded(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Of a file or of all files below a folder, as the disk counts them.
pub fn file_bytes(path: &Path) -> u64 {
    let found = fs::symlink_metadata(path);
    found.map_or(0, |found| if found.is_dir() { folder_bytes(path) } else { found.blocks() * 512 })
}

pub fn folder_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| file_bytes(&entry.path())).sum()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of protobuf that has a length.
fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The block format of Snappy, with nothing compressed: it allows that.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1_000 + 16);
    put_varint(&mut out, bytes.len() as u64);
    for literal in bytes.chunks(65_536) {
        out.push(61 << 2);
        out.extend_from_slice(&(literal.len() as u16).wrapping_sub(1).to_le_bytes());
        out.extend_from_slice(literal);
    }
    out
}
