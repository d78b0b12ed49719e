//! Agents without a machine: they sign and speak like real ones, and measure what the test says.

use std::sync::atomic::{AtomicU64, Ordering};

use lucid::agent::history::{History, SignedAnswer};
use lucid::crypto::{PublicKey, SecretKey, SigningKey, sha256};
use lucid::domain::enrolment::Fingerprint;
use lucid::domain::ids::{Incarnation, ManagerId, NodeId};
use lucid::domain::metrics::Sample;
use lucid::domain::node::{CpuInfo, HardwareInfo, MemoryInfo, NetworkInfo, StorageInfo};
use lucid::domain::proof::head::{CommittedHead, SignedHead};
use lucid::domain::proof::succession::{Succession, leads};
use lucid::domain::workload::{WorkloadOrder, WorkloadReport, WorkloadState};
use lucid::wire::{
    CommandsAnswer, CommandsRequest, EnrolAnswer, EnrolRequest, Envelope, HEADER_NODE, HEADER_SIGNATURE, Item, LateAnswer, LateBatch,
    LateItem, OutputRequest, PATH_COMMANDS, PATH_ENROL, PATH_LATE, PATH_OUTPUT, PATH_REPORT, PROTOCOL, Purpose, Report, ReportAnswer,
    Witness,
};
use reqwest::StatusCode;
use serde_json::Value;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A machine that is nobody yet.
pub struct Machine {
    pub key: SigningKey,
    pub fingerprint: Fingerprint,
    pub hardware: HardwareInfo,
    pub name: String,
}

impl Machine {
    pub fn new(name: &str) -> Machine {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let part = |what: &str| Some(Fingerprint::part("test", what, &format!("{what}-{number}")));
        let fingerprint = Fingerprint {
            machine_id: part("machine-id"),
            board_serial: part("serial"),
            cpu: part("cpu"),
            memory: part("memory"),
            disk_id: part("disk"),
            macs: part("macs"),
        };
        let key = SigningKey::from_seed(SecretKey(sha256(&number.to_le_bytes())));
        Machine { key, fingerprint, hardware: Machine::hardware(), name: name.to_owned() }
    }

    /// The same card in another box of the same kind: key, fingerprint and all.
    pub fn copied(&self) -> Machine {
        let key = SigningKey::from_seed(self.key.seed().clone());
        Machine { key, fingerprint: self.fingerprint.clone(), hardware: self.hardware.clone(), name: self.name.clone() }
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

    pub async fn enrol(self, base: &str, token: &str) -> Result<Node, (StatusCode, Value)> {
        let answer = self.try_enrol(base, token, None).await?;
        Ok(Node::new(base, answer.node_id, answer.manager_id, PublicKey::from_hex(&answer.manager_key).unwrap(), self))
    }

    /// `signature` replaces the right one.
    pub async fn try_enrol(&self, base: &str, token: &str, signature: Option<String>) -> Result<EnrolAnswer, (StatusCode, Value)> {
        let request = EnrolRequest {
            protocol: PROTOCOL,
            token: token.to_owned(),
            public_key: self.key.public().to_hex(),
            fingerprint: self.fingerprint.clone(),
            hardware: self.hardware.clone(),
            name: self.name.clone(),
            agent_version: "test".into(),
        };
        let body = serde_json::to_vec(&request).unwrap();
        let envelope = Envelope { purpose: Purpose::Enrol, manager: "", node: "", incarnation: Incarnation(0), seq: 0 };
        let signature = signature.unwrap_or_else(|| envelope.sign(&self.key, &body));
        let sent = http()
            .post(format!("{base}{PATH_ENROL}"))
            .header(HEADER_SIGNATURE, signature)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .expect("the manager answers");
        let status = sent.status();
        let bytes = sent.bytes().await.unwrap();
        if status == StatusCode::OK { Ok(serde_json::from_slice(&bytes).unwrap()) } else { Err((status, json(&bytes))) }
    }
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

/// An enrolled agent.
pub struct Node {
    pub base: String,
    pub id: NodeId,
    pub manager_id: ManagerId,
    pub manager_key: PublicKey,
    /// Keys of the manager that took over until this one.
    pub successions: Vec<Succession>,
    pub incarnation: Incarnation,
    pub seq: u64,
    pub run: Option<u64>,
    /// Not durable yet, with the time of their making in milliseconds of the test.
    pub held: Vec<(Item, i64)>,
    pub machine: Machine,
    /// What its supervisor says; none as in agents without one.
    pub workload: Option<WorkloadReport>,
    /// Of the last request for commands.
    pub number: u64,
    /// What it keeps of the manager's word.
    pub history: History,
    /// A head that it shows the manager as one that contradicts it.
    pub shows: Option<SignedHead>,
    http: reqwest::Client,
}

impl Node {
    /// The agent of a node that is enrolled, as after its start.
    pub fn new(base: &str, id: NodeId, manager_id: ManagerId, manager_key: PublicKey, machine: Machine) -> Node {
        Node {
            base: base.to_owned(),
            id,
            manager_id,
            manager_key,
            successions: Vec::new(),
            incarnation: Incarnation(NUMBERS.fetch_add(1, Ordering::Relaxed)),
            seq: 0,
            run: None,
            held: Vec::new(),
            machine,
            workload: None,
            number: 0,
            history: History::default(),
            shows: None,
            http: http(),
        }
    }

    pub fn rebase(&mut self, base: &str) {
        self.base = base.to_owned();
    }

    /// A new start of the agent: everything in memory is gone.
    pub fn restart(&mut self) {
        self.incarnation = Incarnation(NUMBERS.fetch_add(1, Ordering::Relaxed));
        (self.seq, self.run) = (0, None);
        self.held.clear();
    }

    /// Measures and reports as the real agent does: everything not accepted yet, and once more when the manager is a new one. None
    /// when the manager is away.
    pub async fn report(&mut self, now_ms: i64, sample: Sample) -> Option<ReportAnswer> {
        self.seq += 1;
        self.held.push((Item { seq: self.seq, age_ms: 0, witness: None, running: None, sample }, now_ms));
        let mut accepted = self.held.iter().take_while(|(item, _)| item.witness.is_some()).last().map_or(0, |(item, _)| item.seq);
        for _ in 0..2 {
            let report = self.make(now_ms, accepted);
            let body = serde_json::to_vec(&report).unwrap();
            let (answer, signed) = match self.exchange(PATH_REPORT, Purpose::Report, Purpose::ReportAnswer, report.seq, &body).await {
                Some(Ok(answered)) => answered,
                _ => return None,
            };
            let body = String::from_utf8(answer).unwrap();
            let answer: ReportAnswer = serde_json::from_str(&body).unwrap();
            let signed = SignedAnswer { incarnation: self.incarnation.0, seq: report.seq, body, signature: signed };
            self.history.keep_receipts(&answer, &signed);
            let ours = |head: &CommittedHead| leads(&self.successions, &self.manager_key.0, &head.manager_key.0, head.sequence);
            self.history.answered(&answer, ours);
            self.held.retain(|(item, _)| item.seq > answer.durable_seq);
            if self.run == Some(answer.run) {
                if let Some(slot) = &answer.slot
                    && let Some((item, _)) = self.held.iter_mut().find(|(item, _)| item.seq == report.seq)
                {
                    item.witness.get_or_insert(Witness { slot: slot.slot, beacon: slot.beacon.clone() });
                }
                return Some(answer);
            }
            (self.run, accepted) = (Some(answer.run), answer.durable_seq);
        }
        None
    }

    fn make(&self, now_ms: i64, accepted: u64) -> Report {
        let items = self.held.iter().filter(|(item, _)| item.seq > accepted);
        let items: Vec<Item> = items.map(|(item, at)| Item { age_ms: u64::try_from(now_ms - at).unwrap(), ..item.clone() }).collect();
        let skip = items.len().saturating_sub(lucid::wire::MAX_ITEMS);
        let mut report = Report {
            protocol: PROTOCOL,
            incarnation: self.incarnation,
            seq: self.seq,
            run: self.run,
            items: items.into_iter().skip(skip).collect(),
            fingerprint: self.machine.fingerprint.clone(),
            agent_version: "test".into(),
            dropped: 0,
            workload: self.workload.clone(),
            head: None,
            contradicts: None,
            capabilities: self.workload.iter().map(|_| "supervisor".to_owned()).collect(),
        };
        self.history.put(&mut report);
        report.contradicts = self.shows.clone().map(Box::new).or(report.contradicts);
        report
    }

    /// A signed report of one item, as bytes and signature: for tests that tamper with it.
    pub fn signed(&self, seq: u64, run: Option<u64>) -> (Vec<u8>, String) {
        let item = Item { seq, age_ms: 0, witness: None, running: None, sample: Sample::default() };
        let report = Report { items: vec![item], seq, run, ..self.make(0, u64::MAX) };
        let body = serde_json::to_vec(&report).unwrap();
        let signature = self.envelope(Purpose::Report, seq).sign(&self.machine.key, &body);
        (body, signature)
    }

    /// Says what its supervisor does, and waits for an order so long.
    pub async fn ask(&mut self, wait_ms: u64) -> Result<CommandsAnswer, (StatusCode, Value)> {
        self.number += 1;
        let workload = self.workload.clone().unwrap_or_default();
        let request = CommandsRequest { protocol: PROTOCOL, incarnation: self.incarnation, number: self.number, wait_ms, workload };
        let body = serde_json::to_vec(&request).unwrap();
        self.send(PATH_COMMANDS, Purpose::Commands, Purpose::CommandsAnswer, self.number, &body).await.expect("the manager answers")
    }

    /// Takes an order over, as a supervisor does, and says that it has come to `state`.
    pub fn follow(&mut self, order: &WorkloadOrder, state: WorkloadState) {
        let report = self.workload.get_or_insert_default();
        (report.generation, report.revision, report.asked, report.state) = (order.generation, order.revision, order.limits, state);
    }

    pub async fn late(&self, items: Vec<LateItem>) -> Result<LateAnswer, (StatusCode, Value)> {
        let batch = LateBatch { protocol: PROTOCOL, incarnation: self.incarnation, items };
        let body = serde_json::to_vec(&batch).unwrap();
        self.send(PATH_LATE, Purpose::Late, Purpose::LateAnswer, 0, &body).await.expect("the manager answers")
    }

    /// Submits an output as agents do.
    pub async fn submit(&self, output: &OutputRequest) -> Result<Value, (StatusCode, Value)> {
        let body = serde_json::to_vec(output).unwrap();
        let signature = self.output_signature(&body);
        let (status, headers, bytes) = self.raw(PATH_OUTPUT, &body, &signature).await.expect("the manager answers");
        if !status.is_success() {
            return Err((status, json(&bytes)));
        }
        let signed = headers.get(HEADER_SIGNATURE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let envelope = Envelope { incarnation: Incarnation(0), ..self.envelope(Purpose::OutputAnswer, 0) };
        assert!(envelope.verify(&self.manager_key, &bytes, signed), "the manager's signature");
        Ok(json(&bytes))
    }

    pub fn output_signature(&self, body: &[u8]) -> String {
        Envelope { incarnation: Incarnation(0), ..self.envelope(Purpose::Output, 0) }.sign(&self.machine.key, body)
    }

    fn envelope(&self, purpose: Purpose, seq: u64) -> Envelope<'_> {
        Envelope { purpose, manager: self.manager_id.as_str(), node: self.id.as_str(), incarnation: self.incarnation, seq }
    }

    /// None when nobody answers; panics when the manager's signature does not fit.
    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        purpose: Purpose,
        answer: Purpose,
        seq: u64,
        body: &[u8],
    ) -> Option<Result<T, (StatusCode, Value)>> {
        let answered = self.exchange(path, purpose, answer, seq, body).await?;
        Some(answered.map(|(bytes, _)| serde_json::from_slice(&bytes).unwrap()))
    }

    /// The same, as it was signed.
    async fn exchange(
        &self,
        path: &str,
        purpose: Purpose,
        answer: Purpose,
        seq: u64,
        body: &[u8],
    ) -> Option<Result<(Vec<u8>, String), (StatusCode, Value)>> {
        let signature = self.envelope(purpose, seq).sign(&self.machine.key, body);
        let (status, headers, bytes) = self.raw(path, body, &signature).await?;
        if !status.is_success() {
            return Some(Err((status, json(&bytes))));
        }
        let signed = headers.get(HEADER_SIGNATURE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        assert!(self.envelope(answer, seq).verify(&self.manager_key, &bytes, signed), "the manager's signature");
        Some(Ok((bytes, signed.to_owned())))
    }

    pub async fn raw(&self, path: &str, body: &[u8], signature: &str) -> Option<(StatusCode, reqwest::header::HeaderMap, Vec<u8>)> {
        let request = self.http.post(format!("{}{path}", self.base)).header(HEADER_NODE, self.id.as_str());
        let request = request.header(HEADER_SIGNATURE, signature).header("content-type", "application/json").body(body.to_vec());
        let sent = request.send().await.ok()?;
        let (status, headers) = (sent.status(), sent.headers().clone());
        Some((status, headers, sent.bytes().await.ok()?.to_vec()))
    }
}
