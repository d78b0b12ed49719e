//! What is known about each slot: who proved it, who was observed, who attested it later; and the beacons that make a
//! proof hard to invent. It proves that a key answered, and says no more.
//!
//! Must not know how rows are stored, nor what they are worth.

use serde::{Deserialize, Serialize};

use super::bits::Bitmap;
use super::ids::{NodeId, NodeIndex};
use super::time::{SLOT_SECONDS, Slot, Timestamp};
use crate::crypto::{self, SecretKey};

/// Slots of a UTC day.
pub const SLOTS_PER_DAY: u32 = 2_880;
/// Days for which evidence and the leaves of epochs are kept.
pub const KEPT_DAYS: u32 = 90;
/// Seconds after its end in which a slot can still be proven.
pub const CLOSES_AFTER_SECONDS: i64 = 90;
/// Seconds after the end of a day when its key is revealed, so that anyone can check the beacons.
pub const REVEAL_AFTER_SECONDS: i64 = 25 * 3_600;
/// Bytes of a beacon; its text has twice as many hex digits.
pub const BEACON_LEN: usize = 16;

/// UTC day of a slot, counted from 1970-01-01.
pub fn day_of(slot: Slot) -> u32 {
    slot.0 / SLOTS_PER_DAY
}

/// The first slot of a day.
pub fn day_start(day: u32) -> Slot {
    Slot(day.saturating_mul(SLOTS_PER_DAY))
}

/// When the key of `day` may be shown to anyone: no slot of that day is open any more.
pub fn revealed_at(day: u32) -> Timestamp {
    Timestamp::from_seconds((i64::from(day) + 1) * i64::from(SLOTS_PER_DAY) * SLOT_SECONDS + REVEAL_AFTER_SECONDS)
}

/// Makes and checks beacons from the manager's beacon secret.
#[derive(Debug, Clone)]
pub struct Beacons(SecretKey);

impl Beacons {
    pub fn new(secret: SecretKey) -> Beacons {
        Beacons(secret)
    }

    pub fn day_key(&self, day: u32) -> SecretKey {
        SecretKey(crypto::mac(&self.0, &[b"lucid/beacon-day/v1", &day.to_le_bytes()]))
    }

    /// Hex; to be given out during `slot` only, and to `node` only.
    pub fn beacon(&self, node: &NodeId, slot: Slot) -> String {
        beacon(&self.day_key(day_of(slot)), node, slot)
    }

    /// True when `text` is the beacon that was given to `node` during `slot`. Whether the slot is still open is another
    /// question: see `closes_at`.
    pub fn verify_witness(&self, node: &NodeId, slot: Slot, text: &str) -> bool {
        crypto::equal(self.beacon(node, slot).as_bytes(), text.as_bytes())
    }
}

/// Whether a witness that comes `now` may still prove its slot: from the day's reveal on, anybody can make one. After weeks of downtime a start opens slots of such days.
pub fn is_secret(slot: Slot, now: Timestamp) -> bool {
    now < revealed_at(day_of(slot))
}

/// The beacon of (node, slot) under a revealed day key: first 16 bytes of HMAC-SHA-256(day key, node id || slot), hex.
pub fn beacon(day_key: &SecretKey, node: &NodeId, slot: Slot) -> String {
    let mac = crypto::mac(day_key, &[node.as_str().as_bytes(), &slot.0.to_le_bytes()]);
    crypto::hex(&mac[..BEACON_LEN])
}

/// The evidence of one slot.
///
/// Invariant: a proven slot is an observed one. `observed` is set while the manager is up, on a trusted clock, with a
/// good link, for nodes in service; in a slot that was reopened after a crash only provers are observed, because
/// silence there has no witness.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SlotRow {
    pub proven: Bitmap,
    pub observed: Bitmap,
    /// Reported without proof: later, without the beacon, or while its workload was not at work. Shown, never paid.
    pub attested: Bitmap,
}

impl SlotRow {
    /// True when this is the node's first proof of the slot: the first wins.
    pub fn prove(&mut self, node: NodeIndex) -> bool {
        self.observed.set(node);
        self.proven.set(node)
    }

    pub fn observe(&mut self, in_service: &Bitmap) {
        self.observed.union(in_service);
    }

    /// True when this is the first word of the node about the slot.
    pub fn attest(&mut self, node: NodeIndex) -> bool {
        !self.proven.get(node) && self.attested.set(node)
    }

    /// The node has said something of the slot.
    pub fn heard(&self, node: NodeIndex) -> bool {
        self.proven.get(node) || self.attested.get(node)
    }

    /// Adds what another row of the same slot knows.
    pub fn merge(&mut self, other: &SlotRow) {
        self.proven.union(&other.proven);
        self.observed.union(&other.observed);
        self.attested.union(&other.attested);
    }

    pub fn is_sound(&self) -> bool {
        self.proven.is_within(&self.observed)
    }
}

/// What a slot was for a node, as far as is known now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    Proven,
    Missed,
    /// Reported later, without the beacon, or while the workload was not at work.
    Attested,
    /// The manager was not there to see, or the node's time did not count.
    Unobserved,
    /// Not over yet, or still open for a witness.
    Pending,
}

impl SlotState {
    /// `is_decided` is false while the slot may still be proven, or its silence is not recorded yet.
    pub fn of(row: Option<&SlotRow>, node: NodeIndex, is_decided: bool) -> SlotState {
        let has = |bits: fn(&SlotRow) -> &Bitmap| row.is_some_and(|row| bits(row).get(node));
        if has(|row| &row.proven) {
            SlotState::Proven
        } else if has(|row| &row.attested) {
            SlotState::Attested
        } else if !is_decided {
            SlotState::Pending
        } else if has(|row| &row.observed) {
            SlotState::Missed
        } else {
            SlotState::Unobserved
        }
    }
}

/// What a start reopens: slots whose evidence may have been only in the memory of the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reopening {
    /// Newest slot that was closed when the last durable flush was made.
    pub after: Slot,
    pub until: Timestamp,
}

impl Reopening {
    pub fn new(last_durable: Slot, started_at: Timestamp) -> Reopening {
        Reopening { after: last_durable, until: started_at.plus_seconds(CLOSES_AFTER_SECONDS) }
    }
}

/// When `slot` takes no more proofs: 90 s after its end, and for what the last run may have lost not before 90 s after
/// the start of this one. Never earlier for a later slot.
pub fn closes_at(slot: Slot, reopening: Option<Reopening>) -> Timestamp {
    let regular = slot.end().plus_seconds(CLOSES_AFTER_SECONDS);
    match reopening {
        Some(r) if slot > r.after => regular.max(r.until),
        _ => regular,
    }
}

pub fn is_closed(slot: Slot, reopening: Option<Reopening>, now: Timestamp) -> bool {
    now >= closes_at(slot, reopening)
}

/// The newest closed slot; every older one is closed too. None in the first slots of 1970.
pub fn newest_closed(reopening: Option<Reopening>, now: Timestamp) -> Option<Slot> {
    let open_end = now.plus_seconds(-CLOSES_AFTER_SECONDS);
    if open_end < Slot(0).end() {
        return None;
    }
    let regular = open_end.slot().minus(1);
    match reopening {
        Some(r) if now < r.until => Some(regular.min(r.after)),
        _ => Some(regular),
    }
}

/// Running SHA-256 over the accepted reports of one node; acknowledged to its agent, so that an omission can be disputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EvidenceHash(pub [u8; 32]);

impl EvidenceHash {
    /// h' = SHA-256(tag || h || SHA-256 of the report's body).
    pub fn after(self, body_hash: &[u8; 32]) -> EvidenceHash {
        EvidenceHash(crypto::sha256_parts(&[b"lucid/evidence/v1", &self.0, body_hash]))
    }

    pub fn to_hex(self) -> String {
        crypto::hex(&self.0)
    }
}

/// The reports of one node that were accepted in one UTC day, by the manager's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayReports {
    /// Counted from 1970-01-01.
    pub day: u32,
    pub count: u32,
    /// Running, from zeros at the day's beginning.
    pub hash: EvidenceHash,
}

impl DayReports {
    /// With one more report, accepted in `day`; another day begins anew. A clock that was set back over midnight finds the day before ended: it is told as
    /// whole, and what comes counts for the day that has begun.
    pub fn after(self, day: u32, body_hash: &[u8; 32]) -> DayReports {
        let goes_on = self.count > 0 && (self.day == day || self.day == day.saturating_add(1));
        let so_far = if goes_on { self } else { DayReports { day, ..DayReports::default() } };
        DayReports { count: so_far.count.saturating_add(1), hash: so_far.hash.after(body_hash), ..so_far }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::parse(&format!("node_{name}")).unwrap()
    }

    #[test]
    fn no_day_is_counted_twice_by_a_clock_that_goes_back_over_midnight() {
        let counted = |days: &[u32]| days.iter().fold(DayReports::default(), |so_far, day| so_far.after(*day, &[1; 32]));
        let of = |reports: DayReports| (reports.day, reports.count);
        assert_eq!([of(counted(&[7, 7, 8])), of(counted(&[7, 7, 8, 7, 7, 8]))], [(8, 1), (8, 4)]);
        assert_eq!(counted(&[7, 7, 8, 7]).hash, counted(&[8, 8]).hash);
        assert_eq!(of(counted(&[9, 9, 7])), (7, 1), "by more than a day a person set it");
    }

    #[test]
    fn a_beacon_is_for_one_node_one_slot_and_one_manager() {
        let beacons = Beacons::new(SecretKey([1; 32]));
        let (alice, slot) = (node("alice"), Slot(59_000_000));
        let text = beacons.beacon(&alice, slot);
        assert_eq!(text.len(), 2 * BEACON_LEN);
        assert!(beacons.verify_witness(&alice, slot, &text));
        assert!(!beacons.verify_witness(&node("bobby"), slot, &text));
        assert!(!beacons.verify_witness(&alice, slot.plus(1), &text));
        assert!(!beacons.verify_witness(&alice, slot.plus(SLOTS_PER_DAY), &text));
        assert!(!beacons.verify_witness(&alice, slot, &text[1..]));
        assert!(!beacons.verify_witness(&alice, slot, ""));
        assert!(!Beacons::new(SecretKey([2; 32])).verify_witness(&alice, slot, &text));
    }

    #[test]
    fn a_revealed_day_key_checks_the_beacons_of_its_day() {
        let beacons = Beacons::new(SecretKey([1; 32]));
        let slot = Slot(SLOTS_PER_DAY * 20_000);
        assert_eq!(day_of(slot.minus(1)), 19_999);
        assert_eq!(beacon(&beacons.day_key(20_000), &node("alice"), slot), beacons.beacon(&node("alice"), slot));
        assert_eq!(revealed_at(20_000).since(slot.plus(SLOTS_PER_DAY).start()), REVEAL_AFTER_SECONDS * 1000);
    }

    #[test]
    fn a_proven_slot_is_observed_and_the_first_proof_wins() {
        let mut row = SlotRow::default();
        assert!(row.prove(NodeIndex(3)));
        assert!(!row.prove(NodeIndex(3)));
        row.observe(&[NodeIndex(1), NodeIndex(3)].into_iter().collect());
        assert!(row.is_sound());
        assert_eq!((row.proven.count(), row.observed.count()), (1, 2));
        assert!(!row.attest(NodeIndex(3)), "proven says more than attested");
        assert!(row.attest(NodeIndex(1)));
        assert!(!row.proven.get(NodeIndex(1)));
        row.observed.clear(NodeIndex(3));
        assert!(!row.is_sound());
    }

    #[test]
    fn a_slot_shows_the_best_that_is_known_of_it() {
        let n = NodeIndex(4);
        let row = |proven: bool, observed: bool, attested: bool| {
            let bits = |on: bool| if on { [n].into_iter().collect() } else { Bitmap::EMPTY };
            SlotRow { proven: bits(proven), observed: bits(observed), attested: bits(attested) }
        };
        let cases = [
            (Some(row(true, true, true)), SlotState::Proven, SlotState::Proven),
            (Some(row(false, true, true)), SlotState::Attested, SlotState::Attested),
            (Some(row(false, true, false)), SlotState::Pending, SlotState::Missed),
            (Some(row(false, false, false)), SlotState::Pending, SlotState::Unobserved),
            (None, SlotState::Pending, SlotState::Unobserved),
        ];
        for (row, open, decided) in cases {
            assert_eq!(SlotState::of(row.as_ref(), n, false), open, "{row:?}");
            assert_eq!(SlotState::of(row.as_ref(), n, true), decided, "{row:?}");
        }
    }

    #[test]
    fn slots_close_90_s_after_their_end_or_after_the_start_that_reopened_them() {
        let slot = Slot(1000);
        assert_eq!(closes_at(slot, None), Slot(1004).start());
        assert!(!is_closed(slot, None, Slot(1004).start().plus_ms(-1)));
        assert!(is_closed(slot, None, Slot(1004).start()));

        let started = Slot(5000).start();
        let crash = Some(Reopening::new(slot, started));
        assert_eq!(closes_at(slot, crash), Slot(1004).start(), "durable before the crash");
        assert_eq!(closes_at(slot.plus(1), crash), started.plus_seconds(90));
        assert_eq!(closes_at(Slot(5000), crash), Slot(5004).start(), "later slots close as ever");
    }

    #[test]
    fn the_newest_closed_slot_agrees_with_each_slots_own_closing() {
        let cases =
            [None, Some(Reopening::new(Slot(95), Slot(102).start().plus_ms(7))), Some(Reopening::new(Slot(200), Slot(101).start()))];
        for reopening in cases {
            for ms in (0..SLOT_SECONDS * 1000 * 20).step_by(500) {
                let now = Slot(95).start().plus_ms(ms);
                let naive = Slot(0).until(Slot(300)).rfind(|s| is_closed(*s, reopening, now));
                assert_eq!(newest_closed(reopening, now), naive, "{reopening:?} at {now}");
            }
        }
        assert_eq!(newest_closed(None, Timestamp::from_seconds(119)), None);
        assert_eq!(newest_closed(None, Timestamp::from_seconds(120)), Some(Slot(0)));
    }

    #[test]
    fn the_running_hash_depends_on_every_report_and_their_order() {
        let start = EvidenceHash::default();
        let (a, b) = ([1; 32], [2; 32]);
        assert_ne!(start.after(&a).after(&b), start.after(&b).after(&a));
        assert_ne!(start.after(&a), start);
        let row = SlotRow { proven: [NodeIndex(1)].into_iter().collect(), ..SlotRow::default() };
        assert_eq!(postcard::from_bytes::<SlotRow>(&postcard::to_stdvec(&row).unwrap()).unwrap(), row);
    }
}
