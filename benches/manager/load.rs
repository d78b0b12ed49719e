//! A fleet that speaks to the manager as agents do, from threads of this process. Requests are made and signed before the clock
//! starts, so that the generator takes little of the processors it shares with the manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lucid::clock::Stopwatch;
use lucid::crypto::{SecretKey, SigningKey, sha256};
use lucid::domain::enrolment::Fingerprint;
use lucid::domain::ids::{Incarnation, ManagerId, NodeId};
use lucid::domain::metrics::{Cpu, Disk, Interface, Memory, Network, Sample};
use lucid::domain::node::{CpuInfo, HardwareInfo, MemoryInfo, NetworkInfo, StorageInfo};
use lucid::domain::workload::WorkloadReport;
use lucid::wire::{
    EnrolAnswer, EnrolRequest, Envelope, HEADER_NODE, HEADER_SIGNATURE, Item, PATH_ENROL, PATH_REPORT, PROTOCOL, Purpose, Report,
    ReportAnswer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A keep-alive connection. The manager ends idle ones, so a write may need a new one.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn new(address: &str) -> Connection {
        Connection { address: address.to_owned(), stream: None, buffer: Vec::with_capacity(2_048) }
    }

    pub async fn open(&mut self) -> std::io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends once; a connection that turns out to be closed is made anew.
    pub async fn send(&mut self, request: &[u8]) -> Answer {
        match self.exchange(request).await {
            Some(Head { status, body, .. }) => Answer { status, body: self.buffer[body..].to_vec() },
            None => Answer { status: 0, body: Vec::new() },
        }
    }

    /// The same when the body is only waited for: a list is 130 kB, and the generator shares the processors.
    pub async fn status(&mut self, request: &[u8]) -> u16 {
        self.exchange(request).await.map_or(0, |head| head.status)
    }

    async fn exchange(&mut self, request: &[u8]) -> Option<Head> {
        for _ in 0..2 {
            if let Ok(head) = self.try_send(request).await {
                return Some(head);
            }
            self.stream = None;
        }
        None
    }

    /// The whole answer is in the buffer when it returns.
    async fn try_send(&mut self, request: &[u8]) -> std::io::Result<Head> {
        self.open().await?;
        let Some(stream) = &mut self.stream else { return Err(std::io::ErrorKind::NotConnected.into()) };
        stream.write_all(request).await?;
        self.buffer.clear();
        let mut head = None;
        loop {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            head = head.or_else(|| Head::of(&self.buffer));
            if let Some(head) = head
                && self.buffer.len() >= head.body + head.length
            {
                return Ok(head);
            }
        }
    }
}

/// Bytes that are looked at for the end of a head.
const MAX_HEAD: usize = 2_048;

#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    /// Where the body begins, and its bytes.
    body: usize,
    length: usize,
}

impl Head {
    /// Once all of it is there. Searches texts: that code is in the standard library, built for speed.
    fn of(bytes: &[u8]) -> Option<Head> {
        let text = std::str::from_utf8(&bytes[..bytes.len().min(MAX_HEAD)]).ok()?;
        let (head, _) = text.split_once("\r\n\r\n")?;
        let (_, length) = head.split_once("content-length: ")?;
        let length = length.lines().next()?.parse().ok()?;
        Some(Head { status: head.get(9..12)?.parse().ok()?, body: head.len() + 4, length })
    }
}

/// A person's request.
pub fn asks(method: &str, path: &str, host: &str, token: &str, body: &str) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Sends the requests at a steady rate over `connections`, whether answers come or not; what waits for a connection counts from when it was due.
pub async fn steadily(address: &str, requests: Vec<Vec<u8>>, per_second: f64, connections: usize) -> (Vec<Shot>, f64) {
    let requests = Arc::new(requests);
    let watch = Stopwatch::start();
    let began = Duration::from_millis(100);
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..connections {
        let requests = Arc::clone(&requests);
        let mut connection = Connection::new(address);
        connection.open().await.unwrap();
        workers.spawn(async move {
            let mut shots = Vec::new();
            for (number, request) in requests.iter().enumerate().skip(worker).step_by(connections) {
                let due = began + Duration::from_secs_f64(number as f64 / per_second);
                let idle = due.checked_sub(watch.elapsed());
                if let Some(idle) = idle {
                    tokio::time::sleep(idle).await;
                }
                let from = if idle.is_some() { watch.elapsed() } else { due };
                let accepted = connection.status(request).await == 200;
                shots.push(Shot { at_seconds: from.as_secs_f64(), took_ms: (watch.elapsed() - from).as_secs_f64() * 1e3, accepted });
            }
            shots
        });
    }
    let shots = workers.join_all().await.into_iter().flatten().collect();
    (shots, (watch.elapsed() - began).as_secs_f64())
}

fn request(path: &str, host: &str, node: Option<&str>, signature: &str, body: &[u8]) -> Vec<u8> {
    let node = node.map_or(String::new(), |id| format!("{HEADER_NODE}: {id}\r\n"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{node}{HEADER_SIGNATURE}: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A machine that is nobody yet.
pub struct Machine {
    key: SigningKey,
    fingerprint: Fingerprint,
    name: String,
}

impl Machine {
    pub fn new(number: usize) -> Machine {
        let part = |what: &str| Some(Fingerprint::part("bench", what, &format!("{what}-{number}")));
        let fingerprint = Fingerprint {
            machine_id: part("machine-id"),
            board_serial: part("serial"),
            cpu: part("cpu"),
            memory: part("memory"),
            disk_id: part("disk"),
            macs: part("macs"),
        };
        let key = SigningKey::from_seed(SecretKey(sha256(&(number as u64).to_le_bytes())));
        Machine { key, fingerprint, name: format!("bench-{number:05}") }
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn enrol_request(&self, token: &str) -> Vec<u8> {
        let request_body = EnrolRequest {
            protocol: PROTOCOL,
            token: token.to_owned(),
            public_key: self.key.public().to_hex(),
            fingerprint: self.fingerprint.clone(),
            hardware: hardware(),
            name: self.name.clone(),
            agent_version: "bench".into(),
        };
        let body = serde_json::to_vec(&request_body).unwrap();
        let envelope = Envelope { purpose: Purpose::Enrol, manager: "", node: "", incarnation: Incarnation(0), seq: 0 };
        request(PATH_ENROL, "bench", None, &envelope.sign(&self.key, &body), &body)
    }
}

pub fn hardware() -> HardwareInfo {
    HardwareInfo {
        cpu: CpuInfo { cores: 4, ..CpuInfo::default() },
        memory: MemoryInfo { total_bytes: 4_000_000_000, kind: None },
        storage: StorageInfo { total_bytes: 32_000_000_000, ..StorageInfo::default() },
        gpu: None,
        network: vec![NetworkInfo { interface: "eth0".into(), ..NetworkInfo::default() }],
    }
}

/// What a Pi with two interfaces measures; `n` makes it differ from the one before.
pub fn sample(n: u64) -> Sample {
    let jitter = |span: u64, salt: u64| {
        let mixed = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(salt.wrapping_mul(1_442_695_040_888_963_407));
        (mixed >> 33) % span
    };
    let interface = |name: &str, salt: u64| Interface {
        name: name.to_owned(),
        bytes_in: n * 61_000 + jitter(40_000, salt),
        bytes_out: n * 12_000 + jitter(9_000, salt + 1),
        packets_in: n * 70 + jitter(40, salt + 2),
        packets_out: n * 30 + jitter(20, salt + 3),
        errors_in: 0,
        errors_out: 0,
    };
    let used = 1_400_000_000 + jitter(200_000_000, 5);
    Sample {
        cpu: Cpu {
            usage_percent: Some(jitter(10_000, 6) as f64 / 100.0),
            cores: Some(4),
            frequency_mhz: Some(if jitter(4, 7) == 0 { 1_500.0 } else { 600.0 }),
            load_average: Some([jitter(300, 8) as f64 / 100.0, jitter(200, 9) as f64 / 100.0, 0.42]),
            temperature_celsius: Some(45.0 + jitter(150, 10) as f64 / 10.0),
        },
        memory: Memory {
            total_bytes: Some(3_981_000_704),
            used_bytes: Some(used),
            free_bytes: Some(3_981_000_704 - used),
            cached_bytes: Some(900_000_000 + jitter(50_000_000, 11)),
            swap_total_bytes: Some(209_711_104),
            swap_used_bytes: Some(0),
        },
        disk: Disk {
            total_bytes: Some(31_268_536_320),
            used_bytes: Some(9_000_000_000 + n * 4_096),
            free_bytes: Some(22_268_536_320 - n * 4_096),
            read_iops: Some(jitter(30, 12)),
            write_iops: Some(jitter(60, 13)),
            read_throughput_mbps: Some(jitter(200, 14) as f64 / 100.0),
            write_throughput_mbps: Some(jitter(300, 15) as f64 / 100.0),
        },
        network: Network {
            interfaces: vec![interface("eth0", 16), interface("wlan0", 20)],
            total_bytes_in: Some(n * 122_000),
            total_bytes_out: Some(n * 24_000),
            packets_in: Some(n * 140),
            packets_out: Some(n * 60),
            errors_in: Some(0),
            errors_out: Some(0),
        },
        gpu: None,
    }
}

pub struct Node {
    machine: Machine,
    id: NodeId,
    manager_id: ManagerId,
    incarnation: Incarnation,
    seq: u64,
    run: Option<u64>,
    connection: Connection,
}

/// A signed report, ready to be sent.
pub struct Prepared {
    request: Vec<u8>,
    /// What the answer has to acknowledge.
    acknowledged: String,
}

impl Node {
    fn new(machine: Machine, answer: EnrolAnswer, address: &str) -> Node {
        let connection = Connection::new(address);
        let incarnation = Incarnation(u64::from_le_bytes(sha256(machine.name.as_bytes())[..8].try_into().unwrap()));
        Node { machine, id: answer.node_id, manager_id: answer.manager_id, incarnation, seq: 0, run: None, connection }
    }

    /// One report of the present; with `aged_ms` it also brings a measurement of that long ago.
    fn prepare(&mut self, aged_ms: Option<u64>) -> Prepared {
        let mut items = Vec::with_capacity(2);
        for age_ms in aged_ms.into_iter().chain([0]) {
            self.seq += 1;
            items.push(Item { seq: self.seq, age_ms, witness: None, running: None, sample: sample(self.seq) });
        }
        let report = Report {
            protocol: PROTOCOL,
            incarnation: self.incarnation,
            seq: self.seq,
            run: self.run,
            items,
            fingerprint: self.machine.fingerprint.clone(),
            agent_version: "bench".into(),
            dropped: 0,
            // As an agent without a workload on a machine with control groups.
            workload: Some(WorkloadReport::default()),
            head: None,
            contradicts: None,
            capabilities: ["supervisor", "cgroup2", "cgroup2:cpu", "cgroup2:memory"].map(str::to_owned).to_vec(),
        };
        let body = serde_json::to_vec(&report).unwrap();
        let (manager, node) = (self.manager_id.as_str(), self.id.as_str());
        let envelope = Envelope { purpose: Purpose::Report, manager, node, incarnation: self.incarnation, seq: self.seq };
        let signature = envelope.sign(&self.machine.key, &body);
        let request = request(PATH_REPORT, "bench", Some(node), &signature, &body);
        Prepared { request, acknowledged: format!("\"accepted_seq\":{},", self.seq) }
    }

    /// True when the manager took the report.
    async fn report(&mut self, prepared: &Prepared) -> bool {
        let answer = self.connection.send(&prepared.request).await;
        answer.status == 200 && std::str::from_utf8(&answer.body).is_ok_and(|body| body.contains(&prepared.acknowledged))
    }

    /// Learns which run of the manager this is, as the first report of every agent does.
    async fn greet(&mut self) {
        let prepared = self.prepare(None);
        let answer = self.connection.send(&prepared.request).await;
        let answer: ReportAnswer = serde_json::from_slice(&answer.body).expect("an answer to a report");
        (self.run, self.seq) = (Some(answer.run), answer.accepted_seq);
    }
}

pub struct Enrolled {
    pub nodes: Vec<Node>,
    pub seconds: f64,
    pub latencies_ms: Vec<f64>,
}

/// Enrols machines, `concurrency` at a time; each job is (number, token).
pub async fn enrol(address: &str, jobs: Vec<(usize, String)>, concurrency: usize) -> Enrolled {
    let jobs: Vec<(Machine, Vec<u8>)> = jobs
        .into_iter()
        .map(|(number, token)| {
            let machine = Machine::new(number);
            let request = machine.enrol_request(&token);
            (machine, request)
        })
        .collect();
    let (machines, requests): (Vec<Machine>, Vec<Vec<u8>>) = jobs.into_iter().unzip();
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let mut workers = tokio::task::JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        let mut connection = Connection::new(address);
        connection.open().await.unwrap();
        connections.push(connection);
    }
    let watch = Stopwatch::start();
    for mut connection in connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(at) else { return done };
                let watch = Stopwatch::start();
                let answer = connection.send(request).await;
                let took_ms = watch.elapsed().as_secs_f64() * 1e3;
                assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                done.push((at, took_ms, serde_json::from_slice::<EnrolAnswer>(&answer.body).unwrap()));
            }
        });
    }
    let done: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let seconds = watch.elapsed().as_secs_f64();
    let latencies_ms = done.iter().map(|(_, took, _)| *took).collect();
    let mut machines: Vec<Option<Machine>> = machines.into_iter().map(Some).collect();
    let nodes = done.into_iter().filter_map(|(at, _, answer)| Some(Node::new(machines[at].take()?, answer, address))).collect();
    Enrolled { nodes, seconds, latencies_ms }
}

/// When a report was sent, how long its answer took, and whether it was accepted.
#[derive(Debug, Clone, Copy)]
pub struct Shot {
    pub at_seconds: f64,
    pub took_ms: f64,
    pub accepted: bool,
}

pub struct Fleet(Vec<Node>);

impl Fleet {
    /// Opens a connection per node and says hello.
    pub async fn connect(mut nodes: Vec<Node>) -> Fleet {
        for node in &mut nodes {
            node.greet().await;
        }
        Fleet(nodes)
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|node| node.id.as_str())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn prepare(&mut self, rounds: usize, aged_ms: impl Fn(usize) -> Option<u64> + Sync) -> Vec<Vec<Prepared>> {
        let half = self.0.len().div_ceil(2);
        let aged_ms = &aged_ms;
        std::thread::scope(|scope| {
            let parts: Vec<_> = self
                .0
                .chunks_mut(half)
                .map(|nodes| {
                    scope.spawn(move || {
                        nodes.iter_mut().map(|node| (0..rounds).map(|round| node.prepare(aged_ms(round))).collect()).collect::<Vec<_>>()
                    })
                })
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
        })
    }

    /// Every node reports `rounds` times, `concurrency` of them at any moment, as fast as the answers come.
    pub async fn flood(
        &mut self,
        rounds: usize,
        concurrency: usize,
        aged_ms: impl Fn(usize) -> Option<u64> + Sync,
        watch: Stopwatch,
    ) -> (Vec<Shot>, f64) {
        let prepared = self.prepare(rounds, aged_ms);
        let per_worker = self.0.len().div_ceil(concurrency);
        let mut queue: Vec<(Node, Vec<Prepared>)> = self.0.drain(..).zip(prepared).collect();
        let mut workers = tokio::task::JoinSet::new();
        let began = watch.elapsed();
        while !queue.is_empty() {
            let mut mine: Vec<_> = queue.drain(..per_worker.min(queue.len())).collect();
            workers.spawn(async move {
                let mut shots = Vec::with_capacity(mine.len() * rounds);
                for round in 0..rounds {
                    for (node, prepared) in &mut mine {
                        let at = watch.elapsed();
                        let accepted = node.report(&prepared[round]).await;
                        shots.push(Shot { at_seconds: at.as_secs_f64(), took_ms: (watch.elapsed() - at).as_secs_f64() * 1e3, accepted });
                    }
                }
                (mine.into_iter().map(|(node, _)| node).collect::<Vec<_>>(), shots)
            });
        }
        let done = workers.join_all().await;
        let seconds = (watch.elapsed() - began).as_secs_f64();
        let mut all = Vec::new();
        for (nodes, shots) in done {
            self.0.extend(nodes);
            all.extend(shots);
        }
        (all, seconds)
    }

    /// The fleet reports at a steady rate, whether answers come or not: every node at its own moment. A report that has to wait for the node's
    /// answer before it counts from when it was due; a late timer of the generator does not count.
    pub async fn steady(
        &mut self,
        per_second: f64,
        rounds: usize,
        aged_ms: impl Fn(usize) -> Option<u64> + Sync,
        watch: Stopwatch,
    ) -> (Vec<Shot>, f64) {
        let nodes = self.0.len() as f64;
        let prepared = self.prepare(rounds, aged_ms);
        let mut workers = tokio::task::JoinSet::new();
        let began = watch.elapsed() + Duration::from_millis(100);
        for (number, (mut node, prepared)) in self.0.drain(..).zip(prepared).enumerate() {
            workers.spawn(async move {
                let mut shots = Vec::with_capacity(rounds);
                for (round, prepared) in prepared.iter().enumerate() {
                    let due = began + Duration::from_secs_f64((round as f64 * nodes + number as f64) / per_second);
                    let idle = due.checked_sub(watch.elapsed());
                    if let Some(idle) = idle {
                        tokio::time::sleep(idle).await;
                    }
                    let from = if idle.is_some() { watch.elapsed() } else { due };
                    let accepted = node.report(prepared).await;
                    shots.push(Shot { at_seconds: from.as_secs_f64(), took_ms: (watch.elapsed() - from).as_secs_f64() * 1e3, accepted });
                }
                (node, shots)
            });
        }
        let done = workers.join_all().await;
        let seconds = (watch.elapsed() - began).as_secs_f64();
        let mut all = Vec::new();
        for (node, shots) in done {
            self.0.push(node);
            all.extend(shots);
        }
        (all, seconds)
    }
}
