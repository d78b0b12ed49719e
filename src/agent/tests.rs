//! The agent against a manager in the test: a real socket, real signatures, driven time.

mod rotation;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet};

use super::clock::Clock;
use super::spool::Spool;
use super::state::tests::Folder;
use super::worker::{Step, Worker};
use super::{AgentConfig, AgentError, ClientError};
use crate::crypto::{PublicKey, SecretKey, SigningKey};
use crate::domain::enrolment::{TokenText, manager_key_hash};
use crate::domain::ids::{EnrolmentId, Incarnation, ManagerId, NodeId};
use crate::domain::proof::succession::Succession;
use crate::domain::time::{SLOT_MS, Slot};
use crate::wire::*;

/// Slot 3_000_000 begins at boot time 0.
const FIRST_SLOT: u32 = 3_000_000;
const PHASE_MS: i64 = 5_000;

/// How the manager behaves just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// 503 with this Retry-After.
    Busy(u64),
    /// Signs with another key.
    Forging,
    /// Closes every connection.
    Gone,
    /// Answers with more than anybody should read.
    Endless,
    Refusing(&'static str),
    /// 202 that often: a person has to approve.
    Waiting(u32),
}

/// What the manager knows; the test looks inside.
struct Manager {
    key: SigningKey,
    /// What it says of its keys to who has pinned another one.
    successions: Vec<Succession>,
    mood: Mood,
    now: Rc<Cell<(i64, i64)>>,
    run: u64,
    node_key: Option<PublicKey>,
    enrolments: u32,
    incarnation: Option<Incarnation>,
    durable_seq: u64,
    /// Of the present run.
    accepted_seq: u64,
    reports: Vec<Report>,
    proven: BTreeMap<u32, &'static str>,
    late: Vec<u32>,
    late_batches: usize,
}

fn node_id() -> NodeId {
    NodeId::parse("node_0001").unwrap()
}

fn beacon(slot: Slot) -> String {
    format!("beacon-{}", slot.0)
}

impl Manager {
    fn slot(&self) -> Slot {
        Slot(FIRST_SLOT + u32::try_from(self.now.get().0 / SLOT_MS).unwrap())
    }

    /// Memory is lost, the store is not.
    fn crash(&mut self) {
        self.run += 1;
        self.accepted_seq = self.durable_seq;
        self.proven.clear();
    }

    fn flush(&mut self) {
        self.durable_seq = self.accepted_seq;
    }

    /// Status, extra header and body.
    fn answer(&mut self, path: &str, signature: &str, pinned: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        match self.mood {
            Mood::Busy(seconds) => return (503, format!("retry-after: {seconds}\r\n"), b"{}".to_vec()),
            Mood::Endless => return (200, String::new(), vec![b' '; 100_000]),
            Mood::Refusing(name) => {
                let body = format!(r#"{{"error":{{"code":"LUCID_ERR_5001","message":"no","details":{{"name":"{name}"}}}}}}"#);
                return (409, String::new(), body.into_bytes());
            }
            Mood::Waiting(0) | Mood::Well | Mood::Forging | Mood::Gone => {}
            Mood::Waiting(more) => {
                self.mood = Mood::Waiting(more - 1);
                return (202, "retry-after: 0\r\n".into(), b"{}".to_vec());
            }
        }
        let node = node_id();
        let of = |purpose, incarnation, seq| Envelope { purpose, manager: "manager_0001", node: node.as_str(), incarnation, seq };
        let (theirs, answer) = match path {
            PATH_ENROL => {
                let request: EnrolRequest = serde_json::from_slice(body).unwrap();
                let key = PublicKey::from_hex(&request.public_key).unwrap();
                let ours = Envelope { purpose: Purpose::Enrol, manager: "", node: "", incarnation: Incarnation(0), seq: 0 };
                assert!(ours.verify(&key, body, signature));
                assert!(request.fingerprint.is_well_formed());
                self.enrolments += 1;
                self.node_key = Some(key);
                (of(Purpose::EnrolAnswer, Incarnation(0), 0), serde_json::to_vec(&self.enrol_answer()).unwrap())
            }
            PATH_REPORT => {
                let report: Report = serde_json::from_slice(body).unwrap();
                assert!(of(Purpose::Report, report.incarnation, report.seq).verify(&self.node_key.unwrap(), body, signature));
                let answer = self.accept(&report);
                (of(Purpose::ReportAnswer, report.incarnation, report.seq), serde_json::to_vec(&answer).unwrap())
            }
            PATH_LATE => {
                let batch: LateBatch = serde_json::from_slice(body).unwrap();
                assert!(of(Purpose::Late, batch.incarnation, 0).verify(&self.node_key.unwrap(), body, signature));
                self.late.extend(batch.items.iter().map(|i| i.slot.0));
                self.late_batches += 1;
                let answer = LateAnswer { stored: u32::try_from(batch.items.len()).unwrap(), duplicate: 0, refused: 0 };
                (of(Purpose::LateAnswer, batch.incarnation, 0), serde_json::to_vec(&answer).unwrap())
            }
            other => panic!("{other}"),
        };
        let key = if self.mood == Mood::Forging {
            SigningKey::from_seed(SecretKey([9; 32]))
        } else {
            SigningKey::from_seed(self.key.seed().clone())
        };
        let mut headers = format!("{HEADER_SIGNATURE}: {}\r\n", theirs.sign(&key, &answer));
        // A manager leads on from the key that is named. Somebody who means no good says what he likes.
        let named = self.successions.iter().position(|statement| manager_key_hash(&PublicKey(statement.old_key.0)) == pinned);
        let said = &self.successions[named.unwrap_or(0)..];
        if !said.is_empty() && pinned != manager_key_hash(&self.key.public()) {
            headers += &format!("{HEADER_SUCCESSIONS}: {}\r\n", serde_json::to_string(said).unwrap());
        }
        (200, headers, answer)
    }

    fn enrol_answer(&self) -> EnrolAnswer {
        let manager_id = ManagerId::parse("manager_0001").unwrap();
        EnrolAnswer { node_id: node_id(), node_name: "pi".into(), manager_id, manager_key: self.key.public().to_hex() }
    }

    /// As the store's intake does: only a new seq with the present run is taken.
    fn accept(&mut self, report: &Report) -> ReportAnswer {
        let slot = self.slot();
        assert_eq!(report.items.last().map(|i| i.seq), Some(report.seq));
        if self.incarnation != Some(report.incarnation) && report.run == Some(self.run) {
            self.incarnation = Some(report.incarnation);
            (self.accepted_seq, self.durable_seq) = (0, 0);
        }
        if report.run == Some(self.run) && report.seq > self.accepted_seq {
            self.proven.insert(slot.0, "live");
            for witness in report.items.iter().filter_map(|i| i.witness.as_ref()) {
                assert_eq!(witness.beacon, beacon(witness.slot));
                self.proven.entry(witness.slot.0).or_insert("witness");
            }
            self.accepted_seq = report.seq;
            self.reports.push(report.clone());
        }
        let offset_ms = u64::try_from(self.now.get().0 % SLOT_MS).unwrap();
        ReportAnswer {
            accepted_seq: self.accepted_seq,
            durable_seq: self.durable_seq,
            run: self.run,
            slot: Some(SlotNow { slot, offset_ms, beacon: beacon(slot) }),
            phase_ms: u64::try_from(PHASE_MS).unwrap(),
            evidence_hash: "h".into(),
            durable_reports: None,
            last_day: None,
            unknown_head: false,
            head: None,
            command: None,
            pending: false,
            challenge: None,
        }
    }
}

/// Reads requests off one connection until it ends.
async fn serve(mut stream: TcpStream, manager: Rc<RefCell<Manager>>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let header = |name: &str| head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix(&format!("{name}: ")).map(str::to_owned));
        let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.ok()?;
        if manager.borrow().mood == Mood::Gone {
            return None;
        }
        let path = head.split_whitespace().nth(1).unwrap();
        let (status, extra, body) =
            manager.borrow_mut().answer(path, &header(HEADER_SIGNATURE).unwrap(), &header(HEADER_MANAGER_KEY).unwrap(), &body);
        let head = format!("HTTP/1.1 {status} x\r\n{extra}content-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await.ok()?;
    }
}

/// A manager on a socket, an agent's folder, and the clock of both.
struct World {
    manager: Rc<RefCell<Manager>>,
    now: Rc<Cell<(i64, i64)>>,
    folder: Folder,
    config: AgentConfig,
    server: JoinHandle<()>,
}

impl World {
    async fn new() -> World {
        let now = Rc::new(Cell::new((1_000, 0)));
        let key = SigningKey::from_seed(SecretKey([5; 32]));
        let token = token(&key);
        let manager = Rc::new(RefCell::new(Manager {
            key,
            successions: Vec::new(),
            mood: Mood::Well,
            now: now.clone(),
            run: 1,
            node_key: None,
            enrolments: 0,
            incarnation: None,
            durable_seq: 0,
            accepted_seq: 0,
            reports: vec![],
            proven: BTreeMap::new(),
            late: vec![],
            late_batches: 0,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let shared = manager.clone();
        let server = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, shared.clone()));
            }
        });
        let folder = Folder::new();
        let config = AgentConfig { token: Some(token), ..AgentConfig::new(format!("http://{address}/"), folder.path().join("state")) };
        World { manager, now, folder, config, server }
    }

    async fn start(&self) -> Result<Worker, AgentError> {
        Worker::start(&self.config, Clock::Driven(self.now.clone())).await.map(|(worker, _)| worker)
    }

    /// Steps the agent, turning the clock on where it would sleep, until boot time `until_ms`.
    async fn run(&self, worker: &mut Worker, until_ms: i64) {
        loop {
            if let Step::WaitUntil(at) = worker.step().await {
                assert!(at.0 > self.now.get().0, "time goes on");
                if at.0 > until_ms {
                    return self.at(until_ms);
                }
                self.at(at.0);
            }
        }
    }

    fn at(&self, boot_ms: i64) {
        let (boot, wall) = self.now.get();
        self.now.set((boot_ms, wall + boot_ms - boot));
    }

    fn mood(&self, mood: Mood) {
        self.manager.borrow_mut().mood = mood;
    }

    fn spool_exists(&self) -> bool {
        Spool::exists(&self.folder.path().join("state/spool"))
    }
}

fn token(key: &SigningKey) -> String {
    let id = EnrolmentId::parse("enrol_0001").unwrap();
    TokenText { id, secret: "secret".into(), manager_key_hash: manager_key_hash(&key.public()), first_key_hash: None }.to_text()
}

/// Runs `test` in the runtime that the command line uses.
fn with_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { test(World::new().await).await });
}

/// Slots relative to the first.
fn slots(range: std::ops::RangeInclusive<u32>) -> Vec<u32> {
    range.map(|n| FIRST_SLOT + n).collect()
}

fn proven(manager: &Manager) -> Vec<u32> {
    manager.proven.keys().copied().collect()
}

#[test]
fn an_agent_enrols_once_and_proves_every_slot() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        assert!(matches!(world.start().await, Err(AgentError::Locked(_))));
        world.run(&mut worker, 10 * SLOT_MS - 1).await;
        drop(worker);
        let mut again = AgentConfig { token: None, ..world.config.clone() };
        let (mut worker, _) = Worker::start(&again, Clock::Driven(world.now.clone())).await.unwrap();
        world.run(&mut worker, 20 * SLOT_MS - 1).await;
        drop(worker);
        {
            let manager = world.manager.borrow();
            assert_eq!((manager.enrolments, proven(&manager)), (1, slots(0..=19)));
            assert_ne!(manager.reports[0].incarnation, manager.reports[19].incarnation);
            let report = manager.reports.last().unwrap();
            assert!(report.items[0].sample.memory.total_bytes.is_some() && report.fingerprint.is_well_formed());
        }
        again.token = Some(token(&SigningKey::from_seed(SecretKey([6; 32]))));
        assert!(matches!(Worker::start(&again, Clock::Driven(world.now.clone())).await, Err(AgentError::OtherManager(_))));
        world.server.abort();
    });
}

#[test]
fn a_manager_that_the_token_does_not_name_enrols_nobody() {
    with_world(|world| async move {
        world.mood(Mood::Forging);
        let refused = world.start().await.err();
        assert!(matches!(refused, Some(AgentError::NotEnrolled(ClientError::BadAnswer(_)))), "{refused:?}");
        world.manager.borrow_mut().key = SigningKey::from_seed(SecretKey([6; 32]));
        world.mood(Mood::Well);
        let refused = world.start().await.err();
        assert!(matches!(refused, Some(AgentError::NotEnrolled(ClientError::BadAnswer(_)))), "{refused:?}");
        world.mood(Mood::Refusing("TokenExpired"));
        match world.start().await.err() {
            Some(AgentError::NotEnrolled(ClientError::Refused { code, name, message })) => {
                assert_eq!((code.as_str(), name.as_str(), message.as_str()), ("LUCID_ERR_5001", "TokenExpired", "no"));
            }
            other => panic!("{other:?}"),
        }
        let without = AgentConfig { token: None, ..world.config.clone() };
        assert!(matches!(Worker::start(&without, Clock::System).await, Err(AgentError::NoToken)));
        let broken = AgentConfig { token: Some("enrol_0001.half".into()), ..world.config.clone() };
        assert!(matches!(Worker::start(&broken, Clock::System).await, Err(AgentError::TokenMalformed)));
        for url in ["manager", "ftp://manager", "http://"] {
            let config = AgentConfig { manager: url.into(), ..world.config.clone() };
            assert!(matches!(Worker::start(&config, Clock::System).await, Err(AgentError::Manager(..))), "{url}");
        }
    });
}

#[test]
fn a_manager_that_crashes_gets_its_lost_slots_back_by_their_beacons() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.run(&mut worker, 4 * SLOT_MS - 1).await;
        world.manager.borrow_mut().flush();
        world.run(&mut worker, 7 * SLOT_MS - 1).await;
        world.manager.borrow_mut().crash();
        world.run(&mut worker, 8 * SLOT_MS - 1).await;
        let manager = world.manager.borrow();
        assert_eq!(proven(&manager), slots(4..=7), "what was durable is not sent again");
        assert_eq!(manager.proven[&(FIRST_SLOT + 5)], "witness");
        assert_eq!(manager.reports.last().map(|r| r.items.len()), Some(4));
    });
}

#[test]
fn an_outage_of_an_hour_is_spooled_and_sent_later_oldest_first() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.run(&mut worker, 2 * SLOT_MS - 1).await;
        world.manager.borrow_mut().flush();
        world.run(&mut worker, 3 * SLOT_MS - 1).await;
        world.mood(Mood::Gone);
        world.run(&mut worker, 13 * SLOT_MS - 1).await;
        assert!(!world.spool_exists(), "memory is enough for ten minutes");
        world.run(&mut worker, 120 * SLOT_MS - 1).await;
        assert!(world.spool_exists());
        world.mood(Mood::Well);
        let reports = world.manager.borrow().reports.len();
        world.run(&mut worker, 122 * SLOT_MS - 1).await;
        {
            let manager = world.manager.borrow();
            let first_back = &manager.reports[reports];
            assert_eq!((first_back.dropped, proven(&manager)), (0, [slots(0..=2), slots(120..=121)].concat()));
            // Slot 2 was accepted but never durable, so it is sent again; 3 to the last ten minutes were never accepted.
            let live = u32::try_from(first_back.items.len()).unwrap();
            let all: Vec<u32> = slots(2..=120 - live);
            assert_eq!(manager.late[..all.len()], all);
        }
        assert!(world.spool_exists(), "it may be needed again at once");
        for slot in 123..145 {
            world.manager.borrow_mut().flush();
            world.run(&mut worker, slot * SLOT_MS - 1).await;
        }
        assert!(!world.spool_exists(), "drained");
        assert_eq!(world.manager.borrow().reports.last().map(|r| (r.dropped, r.items.len())), Some((0, 1)));
    });
}

#[test]
fn what_no_manager_saw_survives_a_restart_of_the_agent() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.run(&mut worker, 2 * SLOT_MS - 1).await;
        world.mood(Mood::Gone);
        world.run(&mut worker, 5 * SLOT_MS - 1).await;
        worker.stop();
        drop(worker);
        assert!(world.spool_exists());
        world.mood(Mood::Well);
        let mut worker = world.start().await.unwrap();
        world.run(&mut worker, 7 * SLOT_MS - 1).await;
        assert_eq!(world.manager.borrow().late, slots(2..=4));
        worker.stop();
        assert!(!world.spool_exists());
    });
}

#[test]
fn a_full_backlog_goes_out_in_bounded_batches() {
    with_world(|world| async move {
        let worker = world.start().await.unwrap();
        drop(worker);
        let mut spool = Spool::open(&world.folder.path().join("state/spool"), 0).unwrap();
        for slot in 1..=u32::try_from(MAX_LATE_ITEMS + 1).unwrap() {
            spool.push(Slot(slot), &crate::domain::metrics::Sample::default()).unwrap();
        }
        spool.flush().unwrap();
        drop(spool);
        let mut worker = world.start().await.unwrap();
        world.run(&mut worker, SLOT_MS - 1).await;
        let manager = world.manager.borrow();
        assert_eq!((manager.late.len(), manager.late_batches), (MAX_LATE_ITEMS + 1, 2));
        assert!(manager.late.is_sorted());
    });
}

#[test]
fn answers_that_are_forged_or_endless_change_nothing_and_busy_managers_are_waited_for() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.run(&mut worker, SLOT_MS - 1).await;
        for (slot, mood) in [Mood::Forging, Mood::Endless, Mood::Gone, Mood::Refusing("NodeNotFound")].into_iter().enumerate() {
            world.mood(mood);
            world.run(&mut worker, SLOT_MS * (i64::try_from(slot).unwrap() + 2) - 1).await;
        }
        world.mood(Mood::Busy(70));
        let tries = world.manager.borrow().reports.len();
        world.run(&mut worker, 8 * SLOT_MS - 1).await;
        world.mood(Mood::Well);
        world.run(&mut worker, 10 * SLOT_MS - 1).await;
        let manager = world.manager.borrow();
        let first_good = &manager.reports[tries];
        assert!(first_good.items.len() >= 8, "nothing was taken for accepted: {}", first_good.items.len());
        assert!(first_good.items.iter().all(|i| i.witness.is_none()), "and no beacon was believed");
    });
}

#[test]
fn a_report_seen_before_is_followed_by_a_new_one() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.mood(Mood::Refusing("ReportReplayed"));
        for _ in 0..4 {
            worker.step().await;
        }
        world.mood(Mood::Well);
        world.run(&mut worker, 5 * SLOT_MS - 1).await;
        assert!(world.manager.borrow().reports[0].items.len() >= 2);
    });
}

#[test]
fn without_any_manager_since_boot_only_a_plausible_wall_clock_dates_the_spool() {
    for (wall, spooled) in [(0, false), (1_790_000_000_000, true)] {
        with_world(|mut world| async move {
            let mut worker = world.start().await.unwrap();
            world.server.abort();
            assert!((&mut world.server).await.is_err_and(|e| e.is_cancelled()));
            // The connection of the enrolment is still open.
            world.mood(Mood::Gone);
            world.now.set((1_000, wall));
            world.run(&mut worker, 40 * SLOT_MS).await;
            assert_eq!(world.spool_exists(), spooled, "a refused connection is no reason to stop");
            drop(worker);
            if spooled {
                let mut spool = Spool::open(&world.folder.path().join("state/spool"), 0).unwrap();
                let rows: Vec<u32> = spool.oldest(99, usize::MAX).unwrap().iter().map(|i| i.slot.0).collect();
                let first = crate::domain::time::Timestamp(wall).slot().0;
                assert_eq!(rows, (first..first + u32::try_from(rows.len()).unwrap()).collect::<Vec<_>>());
                assert!(rows.len() >= 20);
            }
        });
    }
}

#[test]
fn the_agent_stops_when_told() {
    with_world(|world| async move {
        let config = world.config.clone();
        let manager = world.manager.clone();
        // Told after the first report; the phase of the next slot is seconds away.
        let shutdown = async move {
            while manager.borrow().reports.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        super::run(config.clone(), shutdown).await.unwrap();
        super::run(config, std::future::ready(())).await.unwrap();
        assert_eq!(world.manager.borrow().reports.len(), 1);
    });
}

#[test]
fn the_agent_asks_again_until_it_is_approved_and_gives_up_when_it_is_not() {
    with_world(|world| async move {
        world.mood(Mood::Waiting(1));
        world.start().await.unwrap();
        assert_eq!((world.manager.borrow().enrolments, world.manager.borrow().mood), (1, Mood::Waiting(0)));
    });
    with_world(|world| async move {
        world.mood(Mood::Refusing("EnrolmentRejected"));
        let refused = world.start().await.err();
        assert!(matches!(refused, Some(AgentError::NotEnrolled(ClientError::Refused { .. }))), "{refused:?}");
    });
}

#[test]
fn the_agent_stops_while_it_waits_for_a_manager_to_enrol_with() {
    with_world(|mut world| async move {
        world.server.abort();
        assert!((&mut world.server).await.is_err_and(|e| e.is_cancelled()));
        let shutdown = tokio::time::sleep(std::time::Duration::from_millis(50));
        super::run(world.config.clone(), shutdown).await.unwrap();
    });
}

#[test]
fn certificates_that_do_not_load_are_told_at_once() {
    let folder = Folder::new();
    let ca_file = folder.path().join("ca.pem");
    let config = AgentConfig { ca_file: Some(ca_file.clone()), ..AgentConfig::new("https://127.0.0.1:1", folder.path()) };
    with_world(|world| async move {
        let clock = || Clock::Driven(world.now.clone());
        assert!(matches!(Worker::start(&config, clock()).await, Err(AgentError::Manager(..))), "no such file");
        std::fs::write(&ca_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(matches!(Worker::start(&config, clock()).await, Err(AgentError::Manager(..))), "no certificate");
        let built_in = AgentConfig { ca_file: None, ..config };
        assert!(matches!(Worker::start(&built_in, clock()).await, Err(AgentError::NoToken)));
    });
}
