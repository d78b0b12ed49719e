//! A fake payment service: takes payouts over HTTP or in the process, settles them on the test's clock, fails by script or at random, and counts what it
//! really paid. It shares no code with the product: it parses requests and makes answers by itself.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use lucid::clock::Driver;
use lucid::gateways::payment::Boxed;
use lucid::gateways::payment::service::{Answered, Method, NoAnswer, Request, Transport};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::random::Random;

/// How late what is late arrives: no network keeps a request for longer than a service keeps its keys.
const LATE_MS: i64 = 20_000;
/// From taking a payout to paying it.
const SETTLES_AFTER_MS: i64 = 45_000;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// No connection.
    Refused,
    /// It never arrives, and no answer comes.
    Lost,
    /// It is done, and no answer comes.
    Deaf,
    /// No answer comes; it arrives at the next tick.
    Late,
    /// This status; nothing is done.
    Status(u16),
    /// It is done, and answered with this status.
    DoneBut(u16),
    /// It is done, and the answer is no JSON.
    Garbage,
    /// It is done, and the answer has no id.
    Nameless,
    /// The answer echoes another amount.
    WrongAmount,
    WrongAddress,
    /// The answer's status is a word that nobody knows.
    StrangeWord,
    /// It does not find what it has.
    Blind,
    /// The manager dies before it has asked.
    DieBefore,
    /// It is done, and the manager dies before it hears the answer.
    DieAfter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Pending,
    Paid { txid: String },
    Failed,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub id: String,
    pub memo: String,
    pub address: String,
    pub amount: Decimal,
    pub state: State,
    taken_ms: i64,
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub key: Option<String>,
    pub body: String,
}

/// What it can do.
#[derive(Debug, Clone, Copy)]
pub struct Promises {
    /// One key pays once, for so long.
    pub remembers_ms: Option<i64>,
    pub finds_keys: bool,
    /// Of a hundred payouts.
    pub fails: u64,
}

struct Inner {
    promises: Promises,
    keys: HashMap<String, (i64, String)>,
    jobs: BTreeMap<String, Job>,
    late: Vec<(i64, Asked)>,
    script: VecDeque<Fault>,
    random: Option<(Random, u64)>,
    down: bool,
    posts: Vec<Asked>,
    transactions: u64,
}

pub struct FakeService {
    driver: Driver,
    inner: Mutex<Inner>,
    /// Told when the manager is to die.
    pub died: Notify,
}

impl std::fmt::Debug for FakeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeService")
    }
}

enum Outcome {
    Answer(u16, String),
    Refused,
    Silent,
    Die,
}

impl FakeService {
    pub fn new(driver: &Driver, promises: Promises) -> Arc<FakeService> {
        let inner = Inner {
            promises,
            keys: HashMap::new(),
            jobs: BTreeMap::new(),
            late: Vec::new(),
            script: VecDeque::new(),
            random: None,
            down: false,
            posts: Vec::new(),
            transactions: 0,
        };
        Arc::new(FakeService { driver: driver.clone(), inner: Mutex::new(inner), died: Notify::new() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn now_ms(&self) -> i64 {
        self.driver.reading().wall.0
    }

    /// The next requests, in order; after them nothing fails.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner().script.extend(faults);
    }

    /// So many requests of a hundred fail; None: none.
    pub fn at_random(&self, random: Option<(Random, u64)>) {
        self.inner().random = random;
    }

    pub fn set_down(&self, down: bool) {
        self.inner().down = down;
    }

    /// It forgets what it took, as one does that keeps it in memory; what it paid stays paid.
    pub fn restart(&self) {
        let mut inner = self.inner();
        inner.keys.clear();
        let forgotten: Vec<(String, Job)> = std::mem::take(&mut inner.jobs).into_iter().collect();
        for (id, job) in forgotten {
            inner.jobs.insert(format!("forgotten {id}"), job);
        }
    }

    pub fn jobs(&self) -> Vec<Job> {
        self.inner().jobs.values().cloned().collect()
    }

    pub fn posts(&self) -> Vec<Asked> {
        self.inner().posts.clone()
    }

    /// It names one transaction for all it pays.
    pub fn name_one_transaction(&self) {
        for job in self.inner().jobs.values_mut() {
            job.state = State::Paid { txid: "ab".repeat(32) };
        }
    }

    /// A request is still on its way.
    pub fn has_late(&self) -> bool {
        !self.inner().late.is_empty()
    }

    /// What was late arrives; what was taken is paid.
    pub fn tick(&self) {
        let now = self.now_ms();
        let mut inner = self.inner();
        for (at, asked) in std::mem::take(&mut inner.late) {
            inner.take(&asked, at + LATE_MS);
        }
        let Inner { jobs, transactions, promises, .. } = &mut *inner;
        for (n, job) in jobs.values_mut().enumerate() {
            if job.state == State::Pending && now - job.taken_ms >= SETTLES_AFTER_MS {
                *transactions += 1;
                let fails = (*transactions * 37 + n as u64) % 100 < promises.fails;
                job.state = if fails { State::Failed } else { State::Paid { txid: format!("{:064x}", 0xfeed_0000 + *transactions) } };
            }
        }
    }

    /// The auditor: payout -> how often it was paid, and with how much each time. Attempts of one payout count as one payout.
    pub fn paid(&self) -> BTreeMap<String, Vec<(String, Decimal)>> {
        let mut paid: BTreeMap<String, Vec<(String, Decimal)>> = BTreeMap::new();
        for job in self.inner().jobs.values() {
            if matches!(job.state, State::Paid { .. }) {
                paid.entry(payout_of(&job.memo)).or_default().push((job.address.clone(), job.amount));
            }
        }
        paid
    }

    pub fn jobs_of(&self, payout: &str) -> Vec<Job> {
        self.inner().jobs.values().filter(|job| payout_of(&job.memo) == payout).cloned().collect()
    }

    fn handle(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> Outcome {
        let now = self.now_ms();
        let mut inner = self.inner();
        if inner.down {
            return Outcome::Refused;
        }
        let fault = inner.fault(method);
        match fault {
            Fault::Refused => return Outcome::Refused,
            Fault::Lost => return Outcome::Silent,
            Fault::DieBefore => return Outcome::Die,
            Fault::Status(status) => return Outcome::Answer(status, json!({ "detail": "not now" }).to_string()),
            _ => (),
        }
        if method == "GET" {
            let found = if fault == Fault::Blind { None } else { inner.find(path) };
            return match found {
                Some(body) => spoiled(fault, 200, body),
                None => Outcome::Answer(404, json!({ "detail": "no such payout" }).to_string()),
            };
        }
        let asked = Asked { path: path.to_owned(), key: key.map(str::to_owned), body: body.to_owned() };
        if fault == Fault::Late {
            inner.late.push((now, asked));
            return Outcome::Silent;
        }
        let (status, answer) = inner.take(&asked, now);
        spoiled(fault, status, answer)
    }

    /// Serves it on a port until the handle is aborted.
    pub async fn serve(self: &Arc<Self>) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = Arc::clone(self);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(Arc::clone(&service), stream));
            }
        });
        (base, serving)
    }
}

/// One request, one answer, and the connection ends.
async fn answer(service: Arc<FakeService>, mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    let (head, mut body) = loop {
        let mut some = [0u8; 4096];
        let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
        read.extend_from_slice(&some[..n]);
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8(read[..end].to_vec()).ok()?, read[end + 4..].to_vec());
        }
    };
    let header = |name: &str| {
        let of = |line: &str| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned());
        head.lines().find_map(of)
    };
    let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
    while body.len() < length {
        let mut some = [0u8; 4096];
        let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
        body.extend_from_slice(&some[..n]);
    }
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    let body = String::from_utf8(body).ok()?;
    if header("authorization").as_deref() != Some("Bearer hush") {
        return write(&mut stream, 401, "{}").await;
    }
    match service.handle(method, path, header("idempotency-key").as_deref(), &body) {
        Outcome::Answer(status, body) => write(&mut stream, status, &body).await,
        // The connection is cut.
        Outcome::Refused | Outcome::Silent | Outcome::Die => None,
    }
}

async fn write(stream: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.ok()
}

impl Inner {
    fn fault(&mut self, method: &str) -> Fault {
        if let Some(fault) = self.script.pop_front() {
            return fault;
        }
        let Some((random, percent)) = &mut self.random else { return Fault::None };
        if random.within(0, 100) >= *percent {
            return Fault::None;
        }
        let posts = [
            Fault::Refused,
            Fault::Lost,
            Fault::Deaf,
            Fault::Deaf,
            Fault::Late,
            Fault::Status(500),
            Fault::Status(503),
            Fault::Status(429),
            Fault::Status(401),
            Fault::Status(422),
            Fault::DoneBut(500),
            Fault::DoneBut(409),
            Fault::Garbage,
            Fault::Nameless,
            Fault::WrongAmount,
            Fault::WrongAddress,
            Fault::DieBefore,
            Fault::DieAfter,
            Fault::DieAfter,
        ];
        let gets = [
            Fault::Refused,
            Fault::Lost,
            Fault::Status(500),
            Fault::Status(429),
            Fault::Garbage,
            Fault::WrongAmount,
            Fault::StrangeWord,
            Fault::Blind,
            Fault::DieBefore,
            Fault::DieAfter,
        ];
        let kinds: &[Fault] = if method == "GET" { &gets } else { &posts };
        kinds[usize::try_from(random.within(0, kinds.len() as u64)).unwrap()]
    }

    fn take(&mut self, asked: &Asked, now: i64) -> (u16, Value) {
        self.posts.push(asked.clone());
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        if let (Some(ttl), Some(key)) = (self.promises.remembers_ms, &asked.key)
            && let Some((_, id)) = self.keys.get(key).filter(|(at, _)| now - at < ttl)
        {
            return (200, shown(&self.jobs[id]));
        }
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let amount = body["amount"].as_str().map_or_else(|| body["amount"].to_string(), str::to_owned);
        let id = format!("svc-{}", self.jobs.len() + 1);
        let job = Job {
            id: id.clone(),
            memo: text("memo"),
            address: text("recipient_address"),
            amount: amount.parse().unwrap(),
            state: State::Pending,
            taken_ms: now,
        };
        if let Some(key) = &asked.key {
            self.keys.insert(key.clone(), (now, id.clone()));
        }
        let answer = shown(&job);
        self.jobs.insert(id, job);
        (202, answer)
    }

    fn find(&self, path: &str) -> Option<Value> {
        if let Some((_, key)) = path.split_once("?memo=") {
            assert!(self.promises.finds_keys);
            return Some(Value::Array(
                self.jobs.iter().filter(|(id, job)| job.memo == key && **id == job.id).map(|(_, job)| shown(job)).collect(),
            ));
        }
        self.jobs.get(path.rsplit('/').next()?).map(shown)
    }
}

/// The payout of an attempt's key.
fn payout_of(memo: &str) -> String {
    memo.split('-').next().unwrap().to_owned()
}

fn shown(job: &Job) -> Value {
    let mut shown = json!({ "payout_id": job.id, "recipient_address": job.address, "amount": job.amount.to_string() });
    match &job.state {
        State::Pending => shown["status"] = json!("processing"),
        State::Failed => (shown["status"], shown["failure_reason"]) = (json!("failed"), json!("no liquidity")),
        State::Paid { txid } => (shown["status"], shown["tx_id"]) = (json!("completed"), json!(txid)),
    }
    shown
}

fn spoiled(fault: Fault, status: u16, mut body: Value) -> Outcome {
    let mut nothing = Value::Null;
    let shown = match &mut body {
        Value::Array(all) => all.first_mut().unwrap_or(&mut nothing),
        one => one,
    };
    let is_there = shown.is_object();
    match fault {
        Fault::Deaf => return Outcome::Silent,
        Fault::DieAfter => return Outcome::Die,
        Fault::Garbage => return Outcome::Answer(status, "<html>oops</html>".into()),
        Fault::DoneBut(status) => return Outcome::Answer(status, json!({ "detail": "oops" }).to_string()),
        Fault::Nameless if is_there => shown["payout_id"] = Value::Null,
        Fault::WrongAmount if is_there => shown["amount"] = json!("1.000001"),
        Fault::WrongAddress if is_there => shown["recipient_address"] = json!("TVjsyZ7fYF3qLF6BQgPmTEZy1xrNNyVAAA"),
        Fault::StrangeWord if is_there => shown["status"] = json!("reticulating"),
        _ => (),
    }
    Outcome::Answer(status, body.to_string())
}

/// The same without a network: what the manager's own transport is tested without.
#[derive(Debug)]
pub struct Wire(pub Arc<FakeService>);

impl Transport for Wire {
    fn call<'a>(&'a self, request: Request<'a>) -> Boxed<'a, Result<Answered, NoAnswer>> {
        Box::pin(async move {
            let path = request.url.strip_prefix("http://service.test").expect("its base URL");
            let method = if request.method == Method::Get { "GET" } else { "POST" };
            match self.0.handle(method, path, request.key, request.body.unwrap_or("")) {
                Outcome::Answer(status, body) => Ok(Answered { status, retry_after_seconds: None, body: body.into_bytes() }),
                Outcome::Refused => Err(NoAnswer { was_sent: false, why: "connection refused".into() }),
                Outcome::Silent => Err(NoAnswer { was_sent: true, why: "no answer in time".into() }),
                Outcome::Die => {
                    self.0.died.notify_one();
                    std::future::pending().await
                }
            }
        })
    }
}
