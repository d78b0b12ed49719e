//! The thin loop between the cycle's decisions and the machine, the manager and the spool.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::client::{Address, Client, ClientError, Reported};
use super::clock::Clock;
use super::collector::{Collector, boot_id, fingerprint, hardware_info, host_name};
use super::commander::{Commander, Told};
use super::counted::Counted;
use super::cycle::{Cycle, Failure, Next, SPOOL_AFTER_MS};
use super::history::{Heard, History, SignedAnswer};
use super::keys::Keys;
use super::ring::RingItem;
use super::schedule::Backoff;
use super::socket::{Asked, Desk, Known, socket_path};
use super::spool::Spool;
use super::state::{Carried, Enrolled, State};
use super::supervisor::{Observation, Setting, Supervisor};
use super::{AgentConfig, AgentError};
use crate::crypto::{Entropy, SigningKey};
use crate::domain::enrolment::{Fingerprint, TokenText};
use crate::domain::ids::Incarnation;
use crate::domain::time::{BootMs, Slot, Timestamp};
use crate::domain::workload::{WorkloadOrder, WorkloadState};
use crate::wire::{self, EnrolRequest, LateBatch, ReportAnswer};

/// Longest sleep: a suspended machine wakes to a boot clock that went on while the runtime's timer did not.
const LONGEST_SLEEP_MS: i64 = 5_000;
/// Samples of one late batch, so that the batch with its frame stays below the manager's limit.
const MAX_LATE_BYTES: usize = wire::MAX_BODY - (64 << 10);
/// An anchor is written again only when it moved by more than this, to spare the card.
const ANCHOR_MOVED_MS: i64 = 5_000;
/// No wall clock that is right shows a time before this program was written (2026-01-01).
const EARLIEST_WALL: Timestamp = Timestamp(1_767_225_600_000);

/// What a step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Did,
    WaitUntil(BootMs),
}

pub struct Worker {
    clock: Clock,
    entropy: Entropy,
    state: Arc<State>,
    client: Arc<Client>,
    key: Arc<SigningKey>,
    enrolled: Arc<Enrolled>,
    /// What the supervisor does, what it is told, and what the manager knows of it.
    observed: watch::Receiver<Observation>,
    orders: watch::Sender<Option<WorkloadOrder>>,
    told: watch::Sender<Told>,
    /// What a workload may ask about.
    known: watch::Sender<Known>,
    capabilities: Vec<String>,
    fingerprint: Fingerprint,
    /// Absent while a blocking thread measures with it.
    collector: Option<Collector>,
    cycle: Cycle,
    spool: Option<Spool>,
    /// When something was last put into the spool.
    spooled_at: BootMs,
    spool_folder: PathBuf,
    spool_max_bytes: u64,
    boot_id: String,
    carried: Option<Carried>,
    history: History,
    counted: Counted,
    /// The last complaint, so that each is logged once per change.
    complaint: Option<String>,
}

impl Worker {
    /// Opens the state folder and enrols if need be, trying until the manager answers. The supervisor comes with it, to be driven beside it.
    pub async fn start(config: &AgentConfig, clock: Clock) -> Result<(Worker, Supervisor), AgentError> {
        let token = config.token.as_deref().map(|text| TokenText::parse(text).ok_or(AgentError::TokenMalformed)).transpose()?;
        let address = Address::parse(&config.manager, config.ca_file.as_deref())?;
        let state = Arc::new(State::open(&config.state_dir)?);
        let entropy = Entropy::new();
        let collector = Collector::new("/", &config.state_dir);
        let enrolled_before = state.enrolled()?;
        let key = state.key(|| entropy.bytes())?;
        let client = |keys| Client::new(address, Arc::new(keys));
        let (client, enrolled) = match (enrolled_before, token) {
            (Some(enrolled), Some(token)) if !enrolled.knows(&token.manager_key_hash) => {
                return Err(AgentError::OtherManager(config.state_dir.clone()));
            }
            (Some(enrolled), _) => (client(Keys::of(enrolled.clone(), Some(Arc::clone(&state))))?, enrolled),
            (None, None) => return Err(AgentError::NoToken),
            (None, Some(token)) => {
                let client = client(Keys::of_token(&token.manager_key_hash, Arc::clone(&state)))?;
                let enrolled = enrol(config, &client, &key, &token, &entropy).await?;
                state.set_enrolled(&enrolled)?;
                client.keys().enrolled(enrolled.clone());
                tracing::info!(node = %enrolled.node_id, name = %enrolled.node_name, manager = %enrolled.manager_id, "enrolled");
                (client, enrolled)
            }
        };
        let boot_id = boot_id("/");
        let carried = state.carried();
        // An anchor of this boot still holds.
        let anchor = carried.as_ref().filter(|c| !boot_id.is_empty() && c.boot_id == boot_id).map(|c| c.anchor);
        let (orders, ordered) = watch::channel(None);
        let (supervisor, observed) = Supervisor::new(Setting {
            clock: clock.clone(),
            state: Arc::clone(&state),
            config: config.workload.clone(),
            launcher: config.launcher.clone(),
            boot_id: boot_id.clone(),
            cores: hardware_info("/", &config.state_dir).cpu.cores.max(1),
            orders: ordered,
        });
        let mut worker = Worker {
            cycle: Cycle::new(Incarnation(entropy.u64()), anchor, wire::phase_ms(&enrolled.node_id)),
            fingerprint: fingerprint("/", &config.state_dir, &enrolled.salt),
            collector: Some(collector),
            spool: None,
            spooled_at: clock.boot(),
            spool_folder: state.spool_folder(),
            spool_max_bytes: config.spool_max_bytes,
            complaint: None,
            capabilities: supervisor.capabilities(),
            told: watch::channel(Told::default()).0,
            history: History::new(state.history()),
            counted: Counted::default(),
            known: watch::channel(Known::default()).0,
            observed,
            orders,
            clock,
            entropy,
            state,
            client: Arc::new(client),
            key: Arc::new(key),
            enrolled: Arc::new(enrolled),
            boot_id,
            carried,
        };
        if Spool::exists(&worker.spool_folder) {
            worker.open_spool();
        }
        Ok((worker, supervisor))
    }

    /// Tells what the supervisor does between two reports.
    pub fn commander(&self) -> Commander {
        Commander {
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            client: Arc::clone(&self.client),
            key: Arc::clone(&self.key),
            enrolled: Arc::clone(&self.enrolled),
            incarnation: self.cycle.incarnation(),
            observed: self.observed.clone(),
            orders: self.orders.clone(),
            told: self.told.clone(),
        }
    }

    /// Serves the workload.
    pub fn desk(&self) -> Desk {
        Desk {
            path: socket_path(self.state.folder()),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            client: Arc::clone(&self.client),
            key: Arc::clone(&self.key),
            enrolled: Arc::clone(&self.enrolled),
            known: self.known.clone(),
        }
    }

    /// Works for ever.
    pub async fn work(&mut self) {
        loop {
            if let Step::WaitUntil(until) = self.step().await {
                let wait_ms = (until.0 - self.clock.boot().0).clamp(0, LONGEST_SLEEP_MS);
                tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
            }
        }
    }

    /// The next thing that is due. Dropping the future in the middle loses nothing that an answer has not confirmed.
    pub async fn step(&mut self) -> Step {
        let now = self.clock.boot();
        match self.cycle.next(now, self.slot_of(now, now).is_some()) {
            Next::Measure => self.measure().await,
            Next::Spill => {
                let items = self.cycle.spill(now);
                self.keep(items, now);
            }
            Next::Report => self.report(now).await,
            Next::Late => self.late(now).await,
            Next::WaitUntil(until) => return Step::WaitUntil(until),
        }
        Step::Did
    }

    /// Keeps what no manager has seen and where the slots are.
    pub fn stop(&mut self) {
        let now = self.clock.boot();
        let items = self.cycle.spill_unsent();
        if self.slot_of(now, now).is_some() && !items.is_empty() {
            self.keep(items, now);
        }
        if let Some(Err(error)) = self.spool.as_mut().map(Spool::flush) {
            tracing::warn!(%error, "the spool is not flushed");
        }
        self.remove_drained_spool();
        self.carry(true);
        self.keep_history(true);
        tracing::info!(node = %self.enrolled.node_id, dropped = self.cycle.dropped(), "the agent stops");
    }

    async fn measure(&mut self) {
        let Some(mut collector) = self.collector.take() else {
            // A measurement was cancelled while its thread had the collector.
            self.collector = Some(Collector::new("/", self.state.folder()));
            return;
        };
        let at = self.clock.boot();
        let sample = if collector.blocks() {
            let measured = tokio::task::spawn_blocking(move || {
                let sample = collector.sample(at);
                (collector, sample)
            });
            let Ok((back, sample)) = measured.await else { return };
            self.collector = Some(back);
            sample
        } else {
            let sample = collector.sample(at);
            self.collector = Some(collector);
            sample
        };
        let workload = &self.observed.borrow().report;
        let running = workload.configured.then_some(workload.state == WorkloadState::Running);
        self.cycle.measured(at, sample, running);
    }

    async fn report(&mut self, sent_at: BootMs) {
        let mut report = self.cycle.report(sent_at, self.fingerprint.clone());
        let seen = self.observed.borrow().clone();
        report.workload = Some(seen.at(sent_at));
        report.capabilities.clone_from(&self.capabilities);
        self.history.put(&mut report);
        let answer = self.client.report(&self.key, &self.enrolled, &report).await;
        let now = self.clock.boot();
        match answer {
            Ok(Reported { answer, signed, report_hash }) => {
                if !self.counted.answered(&report, &report_hash, &answer) {
                    tracing::warn!(
                        "the manager's count of this node's reports does not go on by this one: it leaves some out, or another machine has this node's key"
                    );
                }
                self.remember(&answer, &signed);
                self.cycle.answered(&report, sent_at, now, &answer);
                let (asked, anchor) = (answer.challenge.as_ref().and_then(|asked| Asked::of(asked, sent_at)), self.cycle.anchor());
                self.known.send_modify(|known| {
                    known.hear(asked, now);
                    known.anchor = anchor;
                });
                let connected = report.run == Some(answer.run);
                self.told.send_replace(Told { connected, pending: answer.pending, workload: Some(seen.report).filter(|_| connected) });
                if answer.command.is_some() {
                    self.orders.send_replace(answer.command);
                }
                tracing::debug!(seq = report.seq, items = report.items.len(), durable = answer.durable_seq, "reported");
                if self.complaint.take().is_some() {
                    tracing::info!("the manager accepts reports again");
                }
                self.carry(false);
                self.keep_history(false);
                // A spool that was needed a moment ago will be needed again if the manager still cannot write.
                if now.0 - self.spooled_at.0 > SPOOL_AFTER_MS {
                    self.remove_drained_spool();
                }
            }
            Err(error) => {
                self.counted.lost();
                self.complain(&error);
                self.cycle.failed(now, failure(&error), self.entropy.u64());
            }
        }
    }

    /// What the manager's word is held against later.
    fn remember(&mut self, answer: &ReportAnswer, signed: &SignedAnswer) {
        match self.history.answered(answer, |head| self.client.keys().signs(head)) {
            Some(Heard::Foreign) => tracing::warn!("the manager's newest head is not signed by its key, and is not kept"),
            Some(Heard::Forked) => tracing::warn!("the manager went on from an older copy of its store, and says so"),
            Some(Heard::Contradicts) => {
                tracing::warn!("the manager does not know a head that it signed: it is shown it with the next report")
            }
            Some(Heard::Follows) | None => (),
        }
        if self.history.keep_receipts(answer, signed) {
            tracing::warn!("the manager takes back what it signed for of this node's reports: both answers are kept");
        }
    }

    /// Writes it, once an hour and at the end.
    fn keep_history(&mut self, stopping: bool) {
        let now = self.clock.boot();
        if let Some(Err(error)) = self.history.to_write(now, stopping).map(|kept| self.state.set_history(kept)) {
            tracing::warn!(%error, "the manager's newest head is not written");
        }
    }

    async fn late(&mut self, now: BootMs) {
        let limit = self.cycle.late_items();
        let items = match self.spool.as_mut().map(|spool| spool.oldest(limit, MAX_LATE_BYTES)) {
            Some(Ok(items)) => items,
            Some(Err(error)) => return self.give_up_spool(&error),
            None => return self.cycle.set_backlog(false),
        };
        if !items.is_empty() {
            let batch = LateBatch { protocol: wire::PROTOCOL, incarnation: self.cycle.incarnation(), items };
            match self.client.late(&self.key, &self.enrolled, &batch).await {
                Ok(answer) => {
                    tracing::info!(stored = answer.stored, duplicate = answer.duplicate, refused = answer.refused, "late items sent");
                    self.cycle.late_answered();
                    if let Some(Err(error)) = self.spool.as_mut().map(|spool| spool.remove(&batch.items)) {
                        return self.give_up_spool(&error);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, items = batch.items.len(), "late items are not sent");
                    return self.cycle.late_failed(self.clock.boot().max(now), failure(&error), self.entropy.u64());
                }
            }
        }
        self.cycle.set_backlog(self.spool.as_ref().is_some_and(|spool| !spool.is_empty()));
    }

    /// Moves items to the spool; what cannot be kept is counted as lost.
    fn keep(&mut self, items: Vec<RingItem>, now: BootMs) {
        if self.spool.is_none() {
            self.open_spool();
        }
        for item in items {
            let kept = match (self.slot_of(item.measured_at, now), self.spool.as_mut()) {
                (Some(slot), Some(spool)) => spool.push(slot, &item.sample),
                _ => Ok(1),
            };
            match kept {
                Ok(dropped) => self.cycle.lost(dropped),
                Err(error) => {
                    self.cycle.lost(1);
                    self.give_up_spool(&error);
                }
            }
        }
        self.spooled_at = now;
        self.cycle.set_backlog(self.spool.is_some());
    }

    fn open_spool(&mut self) {
        match Spool::open(&self.spool_folder, self.spool_max_bytes) {
            Ok(spool) => {
                tracing::info!("the spool is open");
                self.spool = Some(spool);
                self.cycle.set_backlog(true);
            }
            Err(error) => tracing::warn!(%error, "the spool does not open; old measurements are lost"),
        }
    }

    /// The files stay for the next start.
    fn give_up_spool(&mut self, error: &super::spool::SpoolError) {
        tracing::warn!(%error, "the spool fails and is closed");
        self.spool = None;
        self.cycle.set_backlog(false);
    }

    fn remove_drained_spool(&mut self) {
        if let Some(spool) = self.spool.take_if(|spool| spool.is_empty()) {
            self.cycle.set_backlog(false);
            match spool.delete() {
                Ok(()) => tracing::info!("the spool is drained and removed"),
                Err(error) => tracing::warn!(%error, "the drained spool is not removed"),
            }
        }
    }

    /// The slot of a measurement: by the manager's anchor carried on the boot clock; after a reboot without one by the
    /// wall clock, unless that is plainly wrong.
    fn slot_of(&self, at: BootMs, now: BootMs) -> Option<Slot> {
        if let Some(anchor) = self.cycle.anchor() {
            return Some(anchor.slot_at(at));
        }
        let wall = self.clock.wall();
        let known = self.carried.as_ref().map_or(EARLIEST_WALL, |carried| carried.anchor.slot.start().max(EARLIEST_WALL));
        (wall >= known).then(|| wall.plus_ms(at.0 - now.0).slot())
    }

    /// Writes the anchor for the next start of the agent in this boot: when it is new, moved, or at the end.
    fn carry(&mut self, stopping: bool) {
        let Some(anchor) = self.cycle.anchor() else { return };
        let holds = |c: &Carried| c.boot_id == self.boot_id && c.anchor.distance_ms(&anchor) <= ANCHOR_MOVED_MS;
        if !stopping && self.carried.as_ref().is_some_and(holds) {
            return;
        }
        let carried = Carried { boot_id: self.boot_id.clone(), anchor, evidence_hash: self.cycle.evidence_hash().to_owned() };
        if let Err(error) = self.state.set_carried(&carried) {
            tracing::warn!(%error, "the anchor of the slots is not written");
        }
        self.carried = Some(carried);
    }

    #[cfg(test)]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    #[cfg(test)]
    pub fn enrolled_key(&self) -> crate::crypto::PublicKey {
        self.client.keys().key().unwrap()
    }

    fn complain(&mut self, error: &ClientError) {
        let text = error.to_string();
        if self.complaint.as_ref() != Some(&text) {
            tracing::warn!(error = %text, "the report is not accepted; measuring goes on");
            self.complaint = Some(text);
        }
    }
}

fn failure(error: &ClientError) -> Failure {
    match error {
        ClientError::Busy { retry_after_seconds } | ClientError::ApprovalPending { retry_after_seconds } => {
            Failure::Busy { retry_after_ms: retry_after_seconds.saturating_mul(1000) }
        }
        ClientError::Refused { name, .. } if name == "ReportReplayed" => Failure::Replayed,
        ClientError::Refused { .. } => Failure::Refused,
        ClientError::Unreachable(_) | ClientError::BadAnswer(_) => Failure::Unreachable,
    }
}

/// Tries until the manager answers; a refusal ends it. A lost reply does not matter: the same key gets the same answer.
async fn enrol(
    config: &AgentConfig,
    client: &Client,
    key: &SigningKey,
    token: &TokenText,
    entropy: &Entropy,
) -> Result<Enrolled, AgentError> {
    let mut backoff = Backoff::default();
    let mut waits = false;
    let request = EnrolRequest {
        protocol: wire::PROTOCOL,
        token: token.to_text(),
        public_key: key.public().to_hex(),
        // Salted with the hash of the manager's first key: known before and after enrolment, while its id is told only in the answer.
        fingerprint: fingerprint("/", &config.state_dir, token.salt()),
        hardware: hardware_info("/", &config.state_dir),
        name: node_name(&config.name.clone().unwrap_or_else(|| host_name("/"))),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    loop {
        let delay_ms = match client.enrol(key, token, &request).await {
            Ok(enrolled) => return Ok(enrolled),
            Err(ClientError::Busy { retry_after_seconds }) => retry_after_seconds.clamp(1, 300) * 1000,
            Err(ClientError::ApprovalPending { retry_after_seconds }) => {
                if !std::mem::replace(&mut waits, true) {
                    tracing::info!(key = request.public_key, "waiting until an admin approves this machine");
                }
                backoff.next_ms(entropy.u64()).max(retry_after_seconds.clamp(0, 300) * 1000)
            }
            Err(error @ ClientError::Unreachable(_)) => {
                let delay_ms = backoff.next_ms(entropy.u64());
                tracing::warn!(%error, delay_ms, "not enrolled yet");
                delay_ms
            }
            Err(error) => return Err(AgentError::NotEnrolled(error)),
        };
        tokio::time::sleep(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))).await;
    }
}

/// A name that the manager takes: 3 to 100 of letters, digits, `_` and `-`.
fn node_name(wanted: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    let name: String = wanted.trim().chars().map(plain).take(100).collect();
    if name.len() < 3 { format!("node-{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::check_name;
    use crate::domain::refusal::FieldErrors;

    #[test]
    fn every_host_name_becomes_a_name_that_the_manager_takes() {
        assert_eq!(node_name("raspberrypi\n"), "raspberrypi");
        assert_eq!(node_name("pi.local"), "pi-local");
        for wanted in ["", "a", "ä b", "x".repeat(300).as_str(), "   "] {
            let mut errors = FieldErrors::default();
            check_name(&mut errors, "name", &node_name(wanted));
            assert!(errors.0.is_empty(), "{wanted}");
        }
    }
}
