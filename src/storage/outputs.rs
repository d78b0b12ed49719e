//! Challenges that are open and outputs that were submitted, as far as they are not durable yet, and what of the last 24 hours is needed to know repeats and
//! duplicates. A flush makes all of it durable that can be; see `hot::outputs`.
//!
//! A challenged slot is written in one row once it takes no answers any more: a crash before loses that the node was challenged together with its answer,
//! and so never counts against it.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::core::{archives, pools};
use super::fault::{Fault, TxError};
use super::file::DbFile;
use super::hot::kept_outputs::{self, KeptOutput};
use super::hot::outputs::{self as log, ChallengeRow};
use super::table::{Read, WriteTx};
use crate::domain::archive::Kind;
use crate::domain::evidence::Beacons;
use crate::domain::ids::{NodeId, NodeIndex, PoolIndex};
use crate::domain::output::{self, CHALLENGE_LEN, Examined, Proof, REMEMBERED_MS, Wrong, Wrongs};
use crate::domain::pool::Pool;
use crate::domain::time::{Now, Slot, Timeline, Timestamp};

/// Outputs of the last 24 hours that are kept apart: a thousand nodes that answer all their challenges, and half as many again. Beyond it nothing is taken.
pub const MAX_REMEMBERED: usize = 450_000;
/// Of these, what is left to nodes whatever people and programs submit.
const LEFT_TO_NODES: usize = 300_000;
/// The same of one node: one in ten seconds. An answer to its challenge is taken beyond.
pub const MAX_OF_NODE: u32 = 8_640;
/// Outputs that wait for the disk.
const MAX_WAITING: usize = 100_000;
/// Bytes of outputs that are to be kept and wait for the disk; what comes beyond is judged as ever, and not kept.
const MAX_WAITING_BYTES: u64 = 16 << 20;
/// From so many on it is time to write them.
const MUCH_WAITING_BYTES: u64 = 4 << 20;
const HOUR_MS: i64 = 3_600_000;

/// An output to be judged.
#[derive(Debug, Clone)]
pub struct Submission {
    pub node: NodeIndex,
    pub id: NodeId,
    pub examined: Examined,
    /// The node's own signature stands under it.
    pub by_node: bool,
    pub score_hundredths: u16,
    pub confidence_hundredths: u8,
    pub took_ms: u32,
    pub batch: Option<[u8; 16]>,
    /// The output itself, where it is to be kept.
    pub data: Option<Vec<u8>>,
}

/// The verdict on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub number: u64,
    pub proof: Proof,
    /// It was submitted before; this is what was said then.
    pub is_repeat: bool,
    /// Who submitted the same output before, when that was another node.
    pub owner: Option<NodeIndex>,
}

/// Why nothing was judged.
#[derive(Debug)]
pub enum NotJudged {
    /// Too much is remembered, or waits for the disk.
    Full,
    Fault(Fault),
}

impl From<Fault> for NotJudged {
    fn from(fault: Fault) -> NotJudged {
        NotJudged::Fault(fault)
    }
}

/// One hour of what is remembered. Keys are hashes; what they lead to is looked at before anything is concluded from it.
#[derive(Debug, Default)]
struct Hour {
    /// Of (node, nonce), and of a valid output -> number of the proof.
    numbers: HashMap<u64, u64>,
    count: usize,
    /// Of these, what people and programs submitted.
    by_others: usize,
    of_nodes: HashMap<NodeIndex, u32>,
}

#[derive(Debug, Default)]
struct State {
    /// Handed out, and not written.
    open: BTreeMap<Slot, ChallengeRow>,
    /// The first slot in which this process could hand out challenges.
    since: Option<Slot>,
    /// Number of the next proof.
    next: u64,
    /// Not durable yet, ascending; and what a write has taken of it.
    waiting: BTreeMap<u64, Proof>,
    writing: BTreeMap<u64, Proof>,
    hours: BTreeMap<i64, Hour>,
    /// By the id of their validation: outputs that are to be kept and are not durable yet, and what a write has taken of them.
    to_keep: BTreeMap<[u8; 16], KeptOutput>,
    keeping: BTreeMap<[u8; 16], KeptOutput>,
    to_keep_bytes: u64,
}

/// What one write makes durable.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub challenged: Vec<(Slot, ChallengeRow)>,
    pub proofs: Vec<(u64, Proof)>,
    pub kept: Vec<([u8; 16], KeptOutput)>,
    /// How many bytes of outputs are kept on the disk.
    keep_bytes: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.challenged.is_empty() && self.proofs.is_empty() && self.kept.is_empty()
    }

    pub(super) fn put(&self, tx: &mut WriteTx<'_>) -> Result<(), TxError> {
        log::put_challenged(tx, &self.challenged)?;
        log::put(tx, &self.proofs)?;
        kept_outputs::put(tx, &self.kept, self.keep_bytes)
    }
}

pub struct Outputs {
    state: Mutex<State>,
    /// Pools that expect outputs now, did or will.
    expecting: RwLock<HashMap<PoolIndex, Timeline<bool>>>,
    beacons: Beacons,
    hasher: RandomState,
    /// How many bytes of outputs are kept.
    keep_bytes: AtomicU64,
}

impl Outputs {
    /// Reads the last 24 hours of the log. `now` may not be trusted: then it is the newest proof that they are counted from.
    pub fn load(core: &impl Read, hot: &impl Read, beacons: Beacons, now: Now) -> Result<Arc<Outputs>, Fault> {
        let expecting = pools::list(core)?.into_iter().filter(expects_ever).map(|pool| (pool.index, pool.outputs_expected)).collect();
        let outputs = Outputs {
            state: Mutex::default(),
            expecting: RwLock::new(expecting),
            beacons,
            hasher: RandomState::new(),
            keep_bytes: AtomicU64::new(0),
        };
        // Where all of them are in archives, the log has none to go on from.
        let archived = archives::newest(core, Kind::Outputs)?.map_or(0, |newest| newest.last);
        let mut state = State { next: log::next_number(hot)?.max(archived.saturating_add(1)), ..State::default() };
        let (mut remembered, mut oldest) = (Vec::new(), None);
        log::for_each_back(hot, |number, proof| {
            let end = *oldest.get_or_insert(if now.trusted { now.wall } else { proof.received_at }.plus_ms(-REMEMBERED_MS));
            // Numbers follow the time but for the moments between judging and writing.
            if proof.received_at < end.plus_ms(-HOUR_MS) || remembered.len() >= MAX_REMEMBERED {
                return ControlFlow::Break(());
            }
            remembered.push((number, *proof));
            ControlFlow::Continue(())
        })?;
        for (number, proof) in remembered.into_iter().rev() {
            outputs.remember(&mut state, number, &proof);
        }
        *outputs.state() = state;
        Ok(Arc::new(outputs))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on so many bytes of outputs are kept.
    pub fn keep(&self, bytes: u64) {
        self.keep_bytes.store(bytes, Ordering::Relaxed);
    }

    pub fn keep_bytes(&self) -> u64 {
        self.keep_bytes.load(Ordering::Relaxed)
    }

    /// So many bytes of outputs wait for the disk that a commit is due.
    pub fn wants_commit(&self) -> bool {
        self.state().to_keep_bytes >= MUCH_WAITING_BYTES
    }

    /// The output of the validation with this id, if it is kept.
    pub fn kept(&self, hot: &DbFile, id: &[u8; 16]) -> Result<Option<KeptOutput>, Fault> {
        // Memory first: what a write moves meanwhile is found in the file.
        let waiting = {
            let state = self.state();
            state.to_keep.get(id).or_else(|| state.keeping.get(id)).cloned()
        };
        match waiting {
            Some(output) => Ok(Some(output)),
            None => kept_outputs::get(&hot.read()?, id),
        }
    }

    /// Whether nodes of the pool are challenged in `slot`.
    fn expects(&self, pool: PoolIndex, slot: Slot) -> bool {
        let expecting = self.expecting.read().unwrap_or_else(PoisonError::into_inner);
        expecting.get(&pool).is_some_and(|timeline| *timeline.at(slot))
    }

    /// What a node is asked in the answer to its report at `now`. Where that proves the present slot and the slot challenges it, it counts as challenged from here
    /// on. The answer that told it may be lost: what waits for an output is told again until there is one, or it is too late; of two, the one of the present slot, else
    /// the one that ends first.
    pub fn hand_out(
        &self,
        node: (NodeIndex, &NodeId),
        pool: Option<PoolIndex>,
        now: Timestamp,
        proves: bool,
    ) -> Option<(Slot, [u8; CHALLENGE_LEN])> {
        let ((index, id), slot) = (node, now.slot());
        let is_due = proves && pool.is_some_and(|pool| self.expects(pool, slot)) && self.beacons.challenges(id, slot);
        let mut state = self.state();
        state.since.get_or_insert(slot);
        if is_due {
            state.open.entry(slot).or_default().challenged.set(index);
        }
        let waits = |(slot, row): &(&Slot, &ChallengeRow)| {
            row.challenged.get(index) && !row.answered.get(index) && now < output::answers_until(**slot)
        };
        let present = state.open.get_key_value(&slot).filter(waits);
        let (slot, _) = present.or_else(|| state.open.iter().find(waits))?;
        Some((*slot, self.beacons.challenge(id, *slot)))
    }

    /// What `node` is or would be asked in `slot`.
    pub fn challenge(&self, node: &NodeId, slot: Slot) -> [u8; CHALLENGE_LEN] {
        self.beacons.challenge(node, slot)
    }

    /// Judges outputs in their order, each knowing those before it. The proofs are in memory then; whoever promises more waits for `Store::commit_outputs`.
    pub fn judge(&self, hot: &DbFile, submissions: &[Submission], now: Timestamp) -> Result<Vec<Judged>, NotJudged> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.hours.retain(|hour, _| (hour + 1) * HOUR_MS > now.0 - REMEMBERED_MS);
        let remembered: usize = state.hours.values().map(|hour| hour.count).sum();
        let of_nodes = submissions.iter().all(|submission| submission.by_node);
        let by_others: usize = state.hours.values().map(|hour| hour.by_others).sum();
        let is_shared = of_nodes || by_others + submissions.len() <= MAX_REMEMBERED - LEFT_TO_NODES;
        let has_room = is_shared && remembered + submissions.len() <= MAX_REMEMBERED;
        // Who was asked is heard, however full the memory is: nobody else may cost a node its answer.
        let is_answer = matches!(submissions, [one] if state.awaits(one));
        if !(is_answer || has_room) || state.waiting.len() + submissions.len() > MAX_WAITING {
            return Err(NotJudged::Full);
        }
        submissions.iter().map(|submission| Ok(self.judge_one(state, hot, submission, now)?)).collect()
    }

    fn judge_one(&self, state: &mut State, hot: &DbFile, submission: &Submission, now: Timestamp) -> Result<Judged, Fault> {
        let Submission { node, examined, by_node, .. } = submission;
        let mut wrongs = examined.wrongs;
        let data = examined.data_hash.first_chunk().copied().unwrap_or_default();
        let is_recent = |proof: &Proof| now.since(proof.received_at) <= REMEMBERED_MS;
        if !wrongs.has(Wrong::NonceTooShort)
            && let Some((number, proof)) = state.find(hot, self.nonce_key(*node, &examined.nonce), |proof| {
                (proof.node, proof.nonce) == (*node, examined.nonce) && is_recent(proof)
            })?
        {
            if proof.data == data {
                return Ok(Judged { number, proof, is_repeat: true, owner: None });
            }
            wrongs.add(Wrong::NonceReused);
        }
        let mut owner = None;
        let has_output = ![Wrong::NotBase64, Wrong::TooLarge, Wrong::TooSmall].iter().any(|wrong| wrongs.has(*wrong));
        if has_output
            && let Some((_, proof)) =
                state.find(hot, self.data_key(&data), |proof| proof.data == data && proof.node != *node && is_recent(proof))?
        {
            owner = Some(proof.node);
            wrongs.add(Wrong::OfAnotherNode);
        }
        let mut was_asked = false;
        if let Some(slot) = examined.challenge_slot {
            was_asked = self.check_challenge(state, submission, slot, now, &mut wrongs);
        }
        let of_node: u32 = state.hours.values().filter_map(|hour| hour.of_nodes.get(node)).sum();
        let row = examined.challenge_slot.and_then(|slot| state.open.get_mut(&slot));
        let is_awaited = was_asked && *by_node && row.as_ref().is_some_and(|row| !row.answered.get(*node));
        let is_kept = of_node < MAX_OF_NODE || is_awaited;
        wrongs.add_if(!is_kept, Wrong::TooMany);
        let counted = wrongs.is_none() && is_awaited && row.is_some_and(|row| row.answered.set(*node));
        let proof = Proof {
            node: *node,
            received_at: now,
            timestamp: examined.timestamp,
            wrongs,
            challenge_slot: examined.challenge_slot,
            counted,
            by_node: *by_node,
            output_hash: examined.output_hash,
            data,
            nonce: examined.nonce,
            score_hundredths: submission.score_hundredths,
            confidence_hundredths: submission.confidence_hundredths,
            took_ms: submission.took_ms,
            batch: submission.batch,
        };
        let number = state.next;
        if is_kept {
            state.next += 1;
            state.waiting.insert(number, proof);
            state.keep(proof.id(number).into_bytes(), *node, submission.data.as_deref());
            if state.hours.values().map(|hour| hour.count).sum::<usize>() < MAX_REMEMBERED {
                self.remember(state, number, &proof);
            }
        }
        Ok(Judged { number, proof, is_repeat: false, owner })
    }

    /// Whether the node was asked by this process and may still answer.
    fn check_challenge(&self, state: &State, submission: &Submission, slot: Slot, now: Timestamp, wrongs: &mut Wrongs) -> bool {
        let was_asked = state.open.get(&slot).is_some_and(|row| row.challenged.get(submission.node));
        // What an earlier process asked is not known any more; that it would have asked is. Such an answer is valid, and counts for nothing.
        let may_have_been = slot <= now.slot() && self.beacons.challenges(&submission.id, slot);
        let by_another = state.since.is_none_or(|since| slot <= since);
        let is_over = now >= output::answers_until(slot);
        if !was_asked && !(may_have_been && (by_another || is_over)) {
            wrongs.add(Wrong::ChallengeUnknown);
        } else if is_over {
            wrongs.add(Wrong::ChallengeLate);
        }
        was_asked
    }

    fn nonce_key(&self, node: NodeIndex, nonce: &[u8; 16]) -> u64 {
        self.hasher.hash_one((node, nonce))
    }

    fn data_key(&self, data: &[u8; 16]) -> u64 {
        self.hasher.hash_one(data)
    }

    /// First come, first known: what is there already stays.
    fn remember(&self, state: &mut State, number: u64, proof: &Proof) {
        let hour = state.hours.entry(proof.received_at.0.div_euclid(HOUR_MS)).or_default();
        hour.count += 1;
        hour.by_others += usize::from(!proof.by_node);
        *hour.of_nodes.entry(proof.node).or_default() += 1;
        if !proof.wrongs.has(Wrong::NonceTooShort) {
            hour.numbers.entry(self.nonce_key(proof.node, &proof.nonce)).or_insert(number);
        }
        if proof.is_valid() {
            hour.numbers.entry(self.data_key(&proof.data)).or_insert(number);
        }
    }

    /// Takes what can become durable: all proofs, and the challenges of slots that take no answers any more. Of these, what was not answered counts where the
    /// manager could hear all the time that an answer had. `watched` says it of a slot, None where it does not know yet. One write at a time; call `committed`
    /// or `failed` afterwards.
    pub(super) fn start_write(&self, now: Now, watched: impl Fn(Slot) -> Option<bool>) -> Batch {
        let mut guard = self.state();
        let state = &mut *guard;
        let is_closed = |slot: &Slot| now.trusted && now.wall >= output::answers_until(*slot);
        let heard = |slot: Slot| output::answering_slots(slot).try_fold(true, |all, slot| Some(all & watched(slot)?));
        let closed: Vec<Slot> = state.open.keys().copied().filter(is_closed).collect();
        let mut challenged = Vec::new();
        for slot in closed {
            // Not known yet: it stays open.
            let Some(heard) = heard(slot) else { continue };
            let Some(mut row) = state.open.remove(&slot) else { continue };
            if !heard {
                row.challenged = row.answered.clone();
            }
            if !row.challenged.is_empty() {
                challenged.push((slot, row));
            }
        }
        let taken = std::mem::take(&mut state.waiting);
        state.writing.extend(taken.iter().map(|(number, proof)| (*number, *proof)));
        let kept: Vec<_> = std::mem::take(&mut state.to_keep).into_iter().collect();
        state.to_keep_bytes = 0;
        state.keeping.extend(kept.iter().cloned());
        Batch { challenged, proofs: taken.into_iter().collect(), kept, keep_bytes: self.keep_bytes() }
    }

    /// What a write that nobody waited for has taken is durable as well: writes follow each other.
    pub(super) fn committed(&self) {
        let mut state = self.state();
        state.writing.clear();
        state.keeping.clear();
    }

    pub(super) fn failed(&self, batch: Batch) {
        let mut state = self.state();
        for (number, proof) in batch.proofs {
            state.writing.remove(&number);
            state.waiting.insert(number, proof);
        }
        for (slot, row) in batch.challenged {
            state.open.entry(slot).or_default().merge(&row);
        }
        for (id, output) in batch.kept {
            state.keeping.remove(&id);
            state.to_keep_bytes += output.bytes();
            state.to_keep.insert(id, output);
        }
    }

    /// Proofs that are not durable yet, newest first.
    pub fn pending(&self, node: NodeIndex) -> Vec<(u64, Proof)> {
        let state = self.state();
        let all = state.writing.iter().chain(&state.waiting).filter(|(_, proof)| proof.node == node);
        let mut found: Vec<(u64, Proof)> = all.map(|(number, proof)| (*number, *proof)).collect();
        found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        found
    }

    fn follow(&self, pool: &Pool) {
        let mut expecting = self.expecting.write().unwrap_or_else(PoisonError::into_inner);
        if expects_ever(pool) {
            expecting.insert(pool.index, pool.outputs_expected.clone());
        } else {
            expecting.remove(&pool.index);
        }
    }
}

impl State {
    fn keep(&mut self, id: [u8; 16], node: NodeIndex, data: Option<&[u8]>) {
        let Some(data) = data else { return };
        let bytes = data.len() as u64;
        if self.to_keep_bytes + bytes > MAX_WAITING_BYTES {
            return;
        }
        let output = KeptOutput { node, data: data.to_vec() };
        self.to_keep_bytes += output.bytes();
        self.to_keep.insert(id, output);
    }

    /// It is a node's own word about a challenge that was handed out, and the first one that could count.
    fn awaits(&self, submission: &Submission) -> bool {
        let row = submission.examined.challenge_slot.and_then(|slot| self.open.get(&slot));
        submission.by_node && row.is_some_and(|row| row.challenged.get(submission.node) && !row.answered.get(submission.node))
    }

    /// The oldest proof that a key leads to and that fits.
    fn find(&self, hot: &DbFile, key: u64, fits: impl Fn(&Proof) -> bool) -> Result<Option<(u64, Proof)>, Fault> {
        for number in self.hours.values().filter_map(|hour| hour.numbers.get(&key)).copied() {
            let proof = match self.waiting.get(&number).or_else(|| self.writing.get(&number)) {
                Some(proof) => Some(*proof),
                None => log::by_number(&hot.read()?, number)?,
            };
            if let Some(proof) = proof.filter(&fits) {
                return Ok(Some((number, proof)));
            }
        }
        Ok(None)
    }
}

fn expects_ever(pool: &Pool) -> bool {
    pool.outputs_expected != Timeline::new(false)
}

/// Has the challenges follow a pool once this transaction commits.
pub fn follow(tx: &mut WriteTx<'_>, outputs: &Arc<Outputs>, pool: &Pool) {
    let (outputs, pool) = (Arc::clone(outputs), pool.clone());
    tx.after_commit(move || outputs.follow(&pool));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;
    use crate::domain::time::SLOT_MS;
    use crate::storage::testing::{NOW, store};

    fn submission(number: u32, by_node: bool, slot: Option<Slot>) -> Submission {
        let hash = sha256(&number.to_le_bytes());
        let wrongs = Wrongs::default();
        let nonce = *hash.first_chunk().unwrap();
        let examined = Examined { data_hash: hash, output_hash: hash, nonce, timestamp: NOW.wall, challenge_slot: slot, wrongs };
        Submission {
            node: NodeIndex(3),
            id: NodeId::parse("node_three").unwrap(),
            examined,
            by_node,
            score_hundredths: 0,
            confidence_hundredths: 0,
            took_ms: 0,
            batch: None,
            data: None,
        }
    }

    #[test]
    fn what_others_submit_for_a_node_keeps_it_from_no_answer() {
        let (_dir, store) = store();
        let outputs = &store.outputs;
        outputs.expecting.write().unwrap().insert(PoolIndex(0), Timeline::new(true));
        let node = (NodeIndex(3), NodeId::parse("node_three").unwrap());
        let slot = (0..20).map(|n| NOW.wall.slot().plus(n)).find(|slot| outputs.beacons.challenges(&node.1, *slot)).unwrap();
        let hand_out = |slot: Slot, proves| outputs.hand_out((node.0, &node.1), Some(PoolIndex(0)), slot.start(), proves);
        assert_eq!(hand_out(slot, false), None, "it did not prove the slot");
        assert!(hand_out(slot, true).is_some() && hand_out(slot, false).is_some(), "a repeat is told again");
        let asked = |ms: i64| outputs.hand_out((node.0, &node.1), None, slot.start().plus_ms(ms), false).map(|(slot, _)| slot);
        assert_eq!([asked(SLOT_MS), asked(119_999), asked(120_000)], [Some(slot), Some(slot), None], "until it is too late");
        let elsewhere = (NodeIndex(4), NodeId::parse("node_four").unwrap());
        assert_eq!(outputs.hand_out((elsewhere.0, &elsewhere.1), None, slot.start(), true), None, "in no pool");
        let now = slot.start();
        let judge = |all: &[Submission]| outputs.judge(&store.hot, all, now).unwrap();
        let many: Vec<Submission> = (0..MAX_OF_NODE).map(|n| submission(n, false, None)).collect();
        assert!(many.chunks(1_000).flat_map(judge).all(|judged| judged.proof.is_valid()));
        let beyond = judge(&[submission(1_000_000, false, None)]);
        assert_eq!(beyond[0].proof.wrongs.iter().collect::<Vec<_>>(), [Wrong::TooMany]);
        let by_another = judge(&[submission(1_000_001, false, Some(slot))]);
        assert!(!by_another[0].proof.is_valid(), "nobody else answers for it");
        let answers = judge(&[submission(1_000_002, true, Some(slot)), submission(1_000_003, true, Some(slot))]);
        assert_eq!(answers.iter().map(|judged| judged.proof.counted).collect::<Vec<_>>(), [true, false]);
        assert_eq!((asked(0), hand_out(slot, true)), (None, None), "answered");
        assert_eq!(answers[1].proof.wrongs.iter().collect::<Vec<_>>(), [Wrong::TooMany]);
        assert_eq!(judge(&[submission(7, false, None)])[0].number, 8, "a repeat is no new one");
        // Closed is written, open is not.
        let at = |ms: i64| Now { wall: output::answers_until(slot).plus_ms(ms), ..NOW };
        assert!(outputs.start_write(at(-1), |_| Some(true)).challenged.is_empty());
        let batch = outputs.start_write(at(0), |_| Some(true));
        assert_eq!(
            batch.challenged,
            [(slot, ChallengeRow { challenged: [node.0].into_iter().collect(), answered: [node.0].into_iter().collect() })]
        );
        outputs.failed(batch.clone());
        assert_eq!(outputs.start_write(at(0), |_| Some(true)).challenged, batch.challenged, "a write that failed is made again");
        // However full the memory is, who was asked is heard, once.
        let next = (1..40).map(|n| slot.plus(n)).find(|slot| outputs.beacons.challenges(&node.1, *slot)).unwrap();
        assert!(hand_out(next, true).is_some());
        outputs.state().hours.insert(now.0.div_euclid(HOUR_MS) - 1, Hour { count: MAX_REMEMBERED, ..Hour::default() });
        let answer = |number| outputs.judge(&store.hot, &[submission(number, true, Some(next))], next.start());
        assert!(answer(2_000_000).unwrap()[0].proof.counted);
        assert!(matches!(answer(2_000_001), Err(NotJudged::Full)));
    }

    #[test]
    fn what_nobody_could_hear_was_not_missed() {
        let (_dir, store) = store();
        let outputs = &store.outputs;
        let slot = NOW.wall.slot();
        let over = Now { wall: output::answers_until(slot), ..NOW };
        let row = |challenged: &[u32], answered: &[u32]| {
            let set = |nodes: &[u32]| nodes.iter().map(|node| NodeIndex(*node)).collect();
            ChallengeRow { challenged: set(challenged), answered: set(answered) }
        };
        let written = |deaf: Option<u32>, known: u32, asked: ChallengeRow| {
            outputs.state().open.insert(slot, asked);
            let watched = |at: Slot| (at.0 - slot.0 < known).then(|| Some(at.0 - slot.0) != deaf);
            outputs.start_write(over, watched).challenged
        };
        for deaf in 0..4 {
            assert_eq!(written(Some(deaf), 4, row(&[3, 70], &[70])), [(slot, row(&[70], &[70]))], "deaf in slot {deaf}");
            assert_eq!(written(Some(deaf), 4, row(&[3], &[])), []);
        }
        assert_eq!(written(Some(4), 5, row(&[3], &[])), [(slot, row(&[3], &[]))], "deaf when it was over");
        assert_eq!(written(None, 3, row(&[3], &[])), [], "not known yet");
        assert_eq!(outputs.start_write(over, |_| Some(true)).challenged, [(slot, row(&[3], &[]))], "and kept until it is");
        assert_eq!(written(None, 4, row(&[3], &[])), [(slot, row(&[3], &[]))]);
    }

    #[test]
    fn outputs_to_be_kept_wait_within_bounds_and_survive_a_write_that_fails() {
        let (_dir, store) = store();
        let outputs = &store.outputs;
        outputs.keep(1 << 30);
        let judged = |number: u32, bytes: usize| {
            let submission = Submission { data: Some(vec![1; bytes]), ..submission(number, true, None) };
            let judged = outputs.judge(&store.hot, &[submission], NOW.wall).unwrap().remove(0);
            judged.proof.id(judged.number).into_bytes()
        };
        let is_kept = |id| outputs.kept(&store.hot, id).unwrap().is_some();
        let first = judged(0, 1 << 20);
        assert!(is_kept(&first) && !outputs.wants_commit());
        let ids: Vec<_> = (1..20).map(|number| judged(number, 1 << 20)).collect();
        assert!(outputs.wants_commit());
        assert_eq!(ids.iter().filter(|id| is_kept(id)).count(), 14, "16 MB with the first one, less what rows take");
        let batch = outputs.start_write(NOW, |_| Some(true));
        assert!(is_kept(&first) && !outputs.wants_commit(), "a write has it");
        outputs.failed(batch);
        assert!(is_kept(&first) && outputs.wants_commit());
        let batch = outputs.start_write(NOW, |_| Some(true));
        assert_eq!((batch.kept.len(), batch.proofs.len()), (15, 20), "all were judged");
        let written = batch.clone();
        store.hot.write_now(move |tx| written.put(tx)).unwrap();
        outputs.committed();
        assert!(is_kept(&first));
    }

    #[test]
    fn people_and_programs_leave_room_for_nodes() {
        let (_dir, store) = store();
        let share = MAX_REMEMBERED - LEFT_TO_NODES;
        let remember = |count, by_others| {
            let hour = Hour { count, by_others, ..Hour::default() };
            store.outputs.state().hours.insert(NOW.wall.0.div_euclid(HOUR_MS), hour);
        };
        let judge = |number, by_node| store.outputs.judge(&store.hot, &[submission(number, by_node, None)], NOW.wall);
        remember(share, share);
        assert!(matches!(judge(1, false), Err(NotJudged::Full)));
        assert!(judge(1, true).is_ok());
        remember(LEFT_TO_NODES, 0);
        assert!(judge(2, false).is_ok(), "what nodes submitted is none of theirs");
        remember(MAX_REMEMBERED, 0);
        assert!(matches!(judge(3, true), Err(NotJudged::Full)) && matches!(judge(3, false), Err(NotJudged::Full)));
    }
}
