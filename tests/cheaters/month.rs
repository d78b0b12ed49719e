//! A month of two hundred nodes, slot by slot as evidence is written, with everything that counts it for real: who is in service, epochs, scores, credits.

use std::collections::BTreeMap;

use lucid::domain::bits::Bitmap;
use lucid::domain::credits::{self, Epoch, Leaf};
use lucid::domain::evidence::{SLOTS_PER_DAY, SlotRow};
use lucid::domain::ids::NodeIndex;
use lucid::domain::poot::ScoreState;
use lucid::domain::time::{SLOT_MS, Slot, Timestamp};
use lucid::live::Job;
use lucid::storage::Lane;
use lucid::storage::core::nodes;
use lucid::storage::hot::outputs::ChallengeRow;
use lucid::storage::hot::{self, Batch};
use lucid::storage::table::WriteTx;
use serde_json::json;

use super::front_door::alerts;
use crate::support::fleet::Machine;
use crate::support::site::{START, Site};

pub const DAYS: u32 = 30;
const EPOCH_SECONDS: u32 = 21_600;
const SLOTS: u32 = EPOCH_SECONDS / 30;
const HOUR: u32 = 120;
/// Ends with an epoch.
const OUTAGE: u32 = 18 * HOUR;
const WEEK: u32 = 7 * SLOTS_PER_DAY;

/// How a node lives. Each cheat has an honest twin that is up exactly as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Honest,
    HonestWithOutputs,
    /// Up in the first 14.4 hours of each day: 60 %.
    PartTime,
    /// The same share, in three of five slots.
    OnAndOff,
    /// Up 10 % of the time: in the last 36 minutes of each epoch, as if somebody looked only then.
    AroundChecks,
    /// The same share, at the beginning of each day.
    TenthOfDay,
    /// In a pool that expects outputs.
    NoOutputs,
    CopiedOutputs,
    ConstantOutputs,
    RandomOutputs,
    /// Away for 8 hours a week.
    AwayWeekly,
    /// The same 8 hours, as maintenance.
    MaintenanceAbuse,
    /// Away for 18 hours at the beginning of each week but the first: it comes back with a score of 25.
    Outages,
    /// The same, and back with a new key on the same machine.
    SameMachineAnew,
    /// The same, and back as another machine.
    ChangedMachineAnew,
}

use Kind::*;

pub const FLEET: [(Kind, usize); 15] = [
    (Honest, 140),
    (HonestWithOutputs, 16),
    (PartTime, 4),
    (OnAndOff, 4),
    (AroundChecks, 4),
    (TenthOfDay, 4),
    (NoOutputs, 2),
    (CopiedOutputs, 2),
    (ConstantOutputs, 2),
    (RandomOutputs, 2),
    (AwayWeekly, 4),
    (MaintenanceAbuse, 4),
    (Outages, 4),
    (SameMachineAnew, 4),
    (ChangedMachineAnew, 4),
];

/// What nodes are that no cheat is.
const INNOCENT: [Kind; 2] = [Honest, HonestWithOutputs];

/// Numbers that look random and are the same in every run.
fn mixed(a: u32, b: u32) -> u32 {
    let mut x = u64::from(a) << 32 | u64::from(b) | 1;
    for _ in 0..3 {
        x ^= x >> 29;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    u32::try_from(x >> 40).unwrap()
}

impl Kind {
    /// Whether its machine is up in the slot (counted from the month's beginning).
    fn is_up(self, slot: u32) -> bool {
        let (of_day, of_week) = (slot % SLOTS_PER_DAY, slot % WEEK);
        match self {
            PartTime => of_day < SLOTS_PER_DAY * 3 / 5,
            OnAndOff => slot % 5 < 3,
            AroundChecks => slot % SLOTS >= SLOTS - SLOTS / 10,
            TenthOfDay => of_day < SLOTS_PER_DAY / 10,
            AwayWeekly | MaintenanceAbuse => !(10 * HOUR..18 * HOUR).contains(&of_week),
            Outages | SameMachineAnew | ChangedMachineAnew => slot < WEEK || of_week >= OUTAGE,
            _ => true,
        }
    }

    fn is_part_time(self) -> bool {
        [PartTime, OnAndOff, AroundChecks, TenthOfDay].contains(&self)
    }

    fn wants_outputs(self) -> bool {
        [HonestWithOutputs, NoOutputs, CopiedOutputs, ConstantOutputs, RandomOutputs].contains(&self)
    }
}

/// A machine, and the nodes that it has been.
struct Member {
    kind: Kind,
    number: u32,
    lives: Vec<NodeIndex>,
    names: Vec<String>,
    machine: Machine,
}

#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Picos of USDT of each machine, in the order of the fleet; all its nodes together.
    pub earned: BTreeMap<Kind, Vec<i128>>,
    /// Kinds of alerts that were open at the end of some day, of each kind of node.
    pub told: BTreeMap<Kind, Vec<String>>,
    /// Every leaf of each honest machine.
    pub honest: Vec<Vec<(Epoch, Leaf)>>,
}

/// Which junk counts, as the front door says.
#[derive(Debug, Clone, Copy)]
pub struct Counting {
    pub copied: bool,
    pub constant: bool,
    pub random: bool,
}

impl Counting {
    fn answers(self, kind: Kind) -> bool {
        match kind {
            HonestWithOutputs => true,
            CopiedOutputs => self.copied,
            ConstantOutputs => self.constant,
            RandomOutputs => self.random,
            _ => false,
        }
    }
}

struct Month {
    site: Site,
    members: Vec<Member>,
    counting: Counting,
    leaves: BTreeMap<NodeIndex, Vec<(Epoch, Leaf)>>,
    told: BTreeMap<Kind, Vec<String>>,
}

async fn index_of(site: &Site, id: &lucid::domain::ids::NodeId) -> NodeIndex {
    nodes::by_id(&site.app.store.read().unwrap(), id).unwrap().unwrap().index
}

impl Month {
    async fn begin(dir: std::path::PathBuf, with_cheaters: bool, counting: Counting) -> Month {
        let seconds = EPOCH_SECONDS.to_string();
        let settings = [
            ("poot.calculation_interval_seconds", seconds.as_str()),
            ("pools.max_nodes_per_pool", "1000"),
            ("limits.public_requests", "1000000"),
            ("limits.admin_requests", "1000000"),
        ];
        let site = Site::new(dir, &settings).await;
        site.client.put("/nodes/pools/pool_default", json!({ "max_nodes": 1000 })).await;
        let pool = site.client.post("/nodes/pools", json!({ "name": "workers", "max_nodes": 100, "outputs_expected": true })).await;
        let pool = pool["pool_id"].as_str().unwrap().to_owned();
        let mut members = Vec::new();
        for (kind, count) in FLEET {
            if !with_cheaters && !INNOCENT.contains(&kind) {
                continue;
            }
            for number in 0..count {
                let name = format!("{kind:?}-{number}");
                let node = site.enrol(&name).await;
                if kind.wants_outputs() {
                    site.client.post(&format!("/nodes/pools/{pool}/nodes"), json!({ "node_id": node.id.as_str() })).await;
                }
                let index = index_of(&site, &node.id).await;
                let names = vec![node.id.to_string()];
                members.push(Member { kind, number: u32::try_from(number).unwrap(), lives: vec![index], names, machine: node.machine });
            }
        }
        Month { site, members, counting, leaves: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// What happens at the beginning of the epoch that begins with this slot.
    async fn prepare(&mut self, first: u32) {
        if first.is_multiple_of(WEEK) {
            let from = Timestamp((i64::from(START.slot().0) + i64::from(first + 10 * HOUR)) * SLOT_MS).rfc3339();
            for member in self.members.iter().filter(|member| member.kind == MaintenanceAbuse) {
                let path = format!("/nodes/{}/maintenance", member.names[0]);
                self.site.client.post(&path, json!({ "from": from, "duration_minutes": 480 })).await;
            }
        }
        // Back from an outage.
        if first >= WEEK && first % WEEK == OUTAGE {
            for member in &mut self.members {
                if ![SameMachineAnew, ChangedMachineAnew].contains(&member.kind) {
                    continue;
                }
                let mut machine = Machine::new(&member.machine.name);
                if member.kind == SameMachineAnew {
                    machine.fingerprint = member.machine.fingerprint.clone();
                }
                let token = self.site.token(1).await;
                let node = machine.enrol(&self.site.client.base, &token).await.unwrap();
                let index = index_of(&self.site, &node.id).await;
                if member.lives.last() != Some(&index) {
                    member.lives.push(index);
                    member.names.push(node.id.to_string());
                }
            }
        }
    }

    /// Everything of one epoch, in one transaction.
    async fn write(&mut self, first: u32) {
        let entries = self.site.app.store.directory.all();
        let slot_of = |slot: u32| START.slot().plus(slot);
        // Eligibility changes at most once within an epoch: nobody rests for less than one.
        let in_service =
            |slot: u32| -> Bitmap { entries.iter().filter(|node| node.counts_in(slot_of(slot))).map(|node| node.index).collect() };
        let (at_first, at_last) = (in_service(first), in_service(first + SLOTS - 1));
        let mut evidence: Vec<SlotRow> = Vec::new();
        for slot in first..first + SLOTS {
            let mut row = SlotRow::default();
            row.observe(&if at_first == at_last { at_first.clone() } else { in_service(slot) });
            evidence.push(row);
        }
        let mut challenges: Vec<(Slot, ChallengeRow)> = Vec::new();
        for member in &self.members {
            let node = *member.lives.last().unwrap();
            // Everybody misses some slots, and twins the same ones: three in a row, in one epoch of three.
            let missed = match mixed(member.number, first) {
                chance if chance % 3 == 0 && !member.kind.is_part_time() => chance / 3 % (SLOTS - 3)..chance / 3 % (SLOTS - 3) + 3,
                _ => 0..0,
            };
            for (at, row) in (0u32..).zip(&mut evidence) {
                // What is out of service proves nothing.
                if member.kind.is_up(first + at) && !missed.contains(&at) && row.observed.get(node) {
                    row.prove(node);
                }
            }
        }
        for block in (first..first + SLOTS).step_by(10) {
            for member in self.members.iter().filter(|member| member.kind.wants_outputs()) {
                let node = *member.lives.last().unwrap();
                let at = block + mixed(node.0, block) % 10;
                if !evidence[usize::try_from(at - first).unwrap()].proven.get(node) {
                    continue;
                }
                let mut row = ChallengeRow::default();
                row.challenged.set(node);
                if self.counting.answers(member.kind) {
                    row.answered.set(node);
                }
                challenges.push((slot_of(at), row));
            }
        }
        let mut merged: BTreeMap<Slot, ChallengeRow> = BTreeMap::new();
        for (slot, row) in challenges {
            merged.entry(slot).or_default().merge(&row);
        }
        let challenges: Vec<(Slot, ChallengeRow)> = merged.into_iter().collect();
        let evidence: Vec<(Slot, SlotRow)> = (first..).map(slot_of).zip(evidence).collect();
        let batch = Batch { evidence, ..Batch::default() };
        let tails = std::sync::Arc::clone(&self.site.app.store.tails);
        let write = move |tx: &mut WriteTx<'_>| {
            hot::flush(tx, &batch, &tails)?;
            hot::outputs::put_challenged(tx, &challenges)
        };
        self.site.app.store.hot.write(Lane::Ordinary, write).await.unwrap();
    }

    async fn close(&mut self, first: u32) {
        let closed = START.slot().plus(first + SLOTS + 3).start().0 + 1_000;
        self.site.driver.advance_ms(closed - self.site.now_ms());
        self.site.app.context.run(Job::Epochs).await.unwrap();
        let epoch = Epoch(START.slot().0 + first);
        let leaves = hot::leaves::of_epoch(&self.site.app.store.hot.read().unwrap(), epoch).unwrap();
        assert!(!leaves.is_empty(), "epoch {first} is closed");
        for leaf in leaves {
            self.leaves.entry(leaf.node).or_default().push((epoch, leaf));
        }
    }

    async fn look(&mut self) {
        self.site.app.context.run(Job::Anomalies).await.unwrap();
        for kind in FLEET.map(|(kind, _)| kind) {
            let Some(first) = self.members.iter().find(|member| member.kind == kind) else { continue };
            for name in &first.names {
                let found = alerts(&self.site, name).await;
                let told = self.told.entry(kind).or_default();
                told.extend(found);
                told.sort();
                told.dedup();
            }
        }
    }

    fn outcome(self) -> Outcome {
        let mut outcome = Outcome { told: self.told, ..Outcome::default() };
        let last = Epoch(u32::MAX);
        for member in &self.members {
            let mut earned = 0;
            for node in &member.lives {
                let leaves = &self.leaves[node];
                let mut leaves_so_far = leaves.iter().map(|(epoch, leaf)| (*epoch, leaf)).peekable();
                assert!(leaves_so_far.peek().is_some());
                let postable = credits::postable(Epoch(0), last, leaves_so_far).unwrap();
                earned += postable.shares.values().map(|share| share.0).sum::<i128>();
            }
            outcome.earned.entry(member.kind).or_default().push(earned);
            if INNOCENT.contains(&member.kind) {
                outcome.honest.push(self.leaves[&member.lives[0]].clone());
            }
        }
        outcome
    }
}

pub async fn lived(with_cheaters: bool, counting: Counting) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let mut month = Month::begin(dir.path().join("data"), with_cheaters, counting).await;
    for first in (0..DAYS * SLOTS_PER_DAY).step_by(SLOTS as usize) {
        month.prepare(first).await;
        month.write(first).await;
        month.close(first).await;
        if with_cheaters && first % SLOTS_PER_DAY == SLOTS_PER_DAY - SLOTS {
            month.look().await;
        }
    }
    month.outcome()
}

/// Share of epochs in which the nodes' scores were valid.
pub fn valid(leaves: &[(Epoch, Leaf)]) -> usize {
    leaves.iter().filter(|(_, leaf)| leaf.score.state == ScoreState::Valid).count()
}
