//! The evidence of some slots, turned: rows are written slot by slot, scores and windows are read node by node. That of the newest epoch is kept in memory
//! (`proofs::Recent`), so that the next one reads its own slots alone.

use std::ops::Range;

use super::fault::Fault;
use super::hot;
use super::hot::outputs::ChallengeRow;
use super::table::Read;
use crate::domain::bits::{Bitmap, Columns};
use crate::domain::epoch::Span;
use crate::domain::evidence::SlotRow;
use crate::domain::ids::NodeIndex;
use crate::domain::poot::Params;
use crate::domain::proof::window::NodeBits;
use crate::domain::time::Slot;

/// Slots of a word of a column.
const WORD: u32 = 64;
/// Where a window does not suffice, evidence is read on in steps of this part of one.
const STEPS_PER_WINDOW: u32 = 4;

/// One column of bits for each node.
#[derive(Debug, Clone)]
pub struct Evidence {
    start: Slot,
    end: Slot,
    /// There is no row of any of the slots.
    pub is_empty: bool,
    /// From here to `start` there is no row: of a young store no empty slots are kept.
    since: Slot,
    proven: Columns,
    observed: Columns,
    /// None where nobody was beyond a threshold: a fleet within them has nothing to be turned.
    strained: Option<Columns>,
    /// Who was challenged, and who answered; none where nobody was.
    challenged: Option<Columns>,
    answered: Option<Columns>,
    /// Words of each column, the oldest ones, that no score of a later epoch looks at.
    spent: usize,
}

impl Evidence {
    /// Of the slots `[start, end)`, for the nodes `0..nodes`.
    pub fn read(hot: &impl Read, start: Slot, end: Slot, nodes: usize) -> Result<Evidence, Fault> {
        Ok(Rows::read(hot, start, end)?.turned(&|rows| Columns::of(rows, nodes)))
    }

    /// Of one node.
    pub fn of_node(hot: &impl Read, start: Slot, end: Slot, node: NodeIndex) -> Result<Evidence, Fault> {
        Ok(Rows::read(hot, start, end)?.turned(&|rows| Columns::only(rows, node)))
    }

    /// What the scores of an epoch look at, and its own slots: as far back as until all of `enrolled` were observed together in a whole window of slots, at most
    /// `params.max_age_slots`. A fleet that was there all day needs a third of the 72 h. `before` is that of the epoch before: closed slots do not change, so only
    /// what came since is read, unless it does not reach back far enough.
    pub fn of_epoch(
        before: Option<Evidence>,
        hot: &impl Read,
        enrolled: &Bitmap,
        span: Span,
        params: &Params,
        nodes: usize,
    ) -> Result<Evidence, Fault> {
        let mut evidence = match before.filter(|before| before.can_move_to(span, params)) {
            Some(mut before) => {
                before.move_to(hot, span, nodes)?;
                before
            }
            None => Evidence::first(hot, enrolled, span, params, nodes)?,
        };
        if evidence.spend(enrolled, span, params) {
            return Ok(evidence);
        }
        // Somebody is new since the epoch before.
        evidence = Evidence::first(hot, enrolled, span, params, nodes)?;
        evidence.spend(enrolled, span, params);
        Ok(evidence)
    }

    fn first(hot: &impl Read, enrolled: &Bitmap, span: Span, params: &Params, nodes: usize) -> Result<Evidence, Fault> {
        let end = span.last_slot.plus(1);
        let horizon = horizon(end, params);
        let window = usize::from(params.window_slots);
        let step = u32::from(params.window_slots).div_ceil(STEPS_PER_WINDOW);
        let mut from = word_of(end.minus(u32::from(params.window_slots)).max(horizon).min(span.epoch.first_slot()));
        let mut rows = Rows::read(hot, from, end)?;
        while from > horizon && rows.evidence.iter().filter(|(_, row)| enrolled.is_within(&row.observed)).count() < window {
            let older = word_of(from.minus(step).max(horizon));
            rows = Rows::read(hot, older, from)?.and(rows);
            from = older;
        }
        rows.start = word_of(rows.oldest().unwrap_or(end).min(span.epoch.first_slot()));
        Ok(Evidence { since: from, ..rows.turned(&|rows| Columns::of(rows, nodes)) })
    }

    /// This is of an epoch not long before.
    fn can_move_to(&self, span: Span, params: &Params) -> bool {
        let end = span.last_slot.plus(1);
        self.start <= span.epoch.first_slot() && self.end <= end && word_of(self.end) > horizon(end, params)
    }

    fn move_to(&mut self, hot: &impl Read, span: Span, nodes: usize) -> Result<(), Fault> {
        // The slots that share a word with the first new one are read again.
        let (anew, end) = (word_of(self.end), span.last_slot.plus(1));
        let rows = Rows::read(hot, anew, end)?;
        let oldest = self.spent.min(words(self.start, span.epoch.first_slot()));
        let kept = oldest..words(self.start, anew);
        self.proven.slide(kept.clone(), &rows.proven(), nodes);
        self.observed.slide(kept.clone(), &rows.observed(), nodes);
        slide(&mut self.strained, &kept, &rows.strained(), nodes);
        slide(&mut self.challenged, &kept, &rows.challenged(), nodes);
        slide(&mut self.answered, &kept, &rows.answered(), nodes);
        if oldest > 0 {
            self.start = self.start.plus(u32::try_from(oldest).unwrap_or(0) * WORD);
            self.since = self.start;
        }
        self.end = end;
        self.is_empty &= rows.evidence.is_empty();
        Ok(())
    }

    /// Finds what later epochs do not need; false when this one needs more than is here.
    fn spend(&mut self, enrolled: &Bitmap, span: Span, params: &Params) -> bool {
        let horizon = horizon(span.last_slot.plus(1), params);
        let observed = self.observed.all_of(enrolled);
        let too_old = horizon.0.saturating_sub(self.start.0);
        let oldest = usize::try_from(too_old / WORD).unwrap_or(0);
        let mut left = u32::from(params.window_slots);
        for (at, word) in observed.iter().enumerate().skip(oldest).rev() {
            let counts = if at == oldest { word & (u64::MAX << (too_old % WORD)) } else { *word };
            left = left.saturating_sub(counts.count_ones());
            if left == 0 {
                self.spent = at;
                return true;
            }
        }
        self.spent = oldest;
        self.since <= horizon
    }

    /// Whether these are the slots `[start, end)`, and none after.
    pub fn reaches(&self, start: Slot, end: Slot) -> bool {
        self.start <= start && self.end == end
    }

    /// Slots, from the oldest one to the last one of the epoch.
    pub fn rows(&self) -> usize {
        rows(self.start, self.end)
    }

    pub fn bits(&self, node: NodeIndex) -> NodeBits<'_> {
        let [strained, challenged, answered] =
            [&self.strained, &self.challenged, &self.answered].map(|some| some.as_ref().map_or(&[][..], |columns| columns.column(node)));
        NodeBits {
            proven: self.proven.column(node),
            observed: self.observed.column(node),
            strained,
            challenged,
            answered,
            rows: self.rows(),
        }
    }
}

fn slide(columns: &mut Option<Columns>, kept: &Range<usize>, rows: &[&Bitmap], nodes: usize) {
    if columns.is_none() && rows.iter().any(|row| !row.is_empty()) {
        *columns = Some(Columns::of(&vec![NOBODY; kept.end * 64], nodes));
    }
    let Some(some) = columns else { return };
    some.slide(kept.clone(), rows, nodes);
    // Looked at when the oldest ones leave: that is often enough.
    if kept.start > 0 && some.is_clear() {
        *columns = None;
    }
}

fn horizon(end: Slot, params: &Params) -> Slot {
    end.minus(u32::from(params.max_age_slots))
}

/// The first slot of the word that has `slot`: so that words of the same slots are the same in each epoch.
fn word_of(slot: Slot) -> Slot {
    Slot(slot.0 / WORD * WORD)
}

fn rows(start: Slot, end: Slot) -> usize {
    usize::try_from(end.0.saturating_sub(start.0)).unwrap_or(0)
}

/// Whole words from one slot to the other.
fn words(start: Slot, end: Slot) -> usize {
    rows(start, end) / 64
}

static NOBODY: &Bitmap = &Bitmap::EMPTY;

/// What is stored of the slots `[start, end)`, ascending; slots without a row are missing.
struct Rows {
    start: Slot,
    end: Slot,
    evidence: Vec<(Slot, SlotRow)>,
    strained: Vec<(Slot, Bitmap)>,
    challenged: Vec<(Slot, ChallengeRow)>,
}

impl Rows {
    fn read(hot: &impl Read, start: Slot, end: Slot) -> Result<Rows, Fault> {
        Ok(Rows {
            start,
            end,
            evidence: hot::evidence(hot, start, end)?,
            strained: hot::strained::rows(hot, start, end)?,
            challenged: hot::outputs::challenged(hot, start, end)?,
        })
    }

    /// These, and those that follow.
    fn and(mut self, newer: Rows) -> Rows {
        self.end = newer.end;
        self.evidence.extend(newer.evidence);
        self.strained.extend(newer.strained);
        self.challenged.extend(newer.challenged);
        self
    }

    fn oldest(&self) -> Option<Slot> {
        let firsts =
            [self.evidence.first().map(|row| row.0), self.strained.first().map(|row| row.0), self.challenged.first().map(|row| row.0)];
        firsts.into_iter().flatten().min()
    }

    fn turned(&self, turn: &impl Fn(&[&Bitmap]) -> Columns) -> Evidence {
        Evidence {
            start: self.start,
            end: self.end,
            is_empty: self.evidence.is_empty(),
            since: self.start,
            proven: turn(&self.proven()),
            observed: turn(&self.observed()),
            strained: (!self.strained.is_empty()).then(|| turn(&self.strained())),
            challenged: (!self.challenged.is_empty()).then(|| turn(&self.challenged())),
            answered: (!self.challenged.is_empty()).then(|| turn(&self.answered())),
            spent: 0,
        }
    }

    fn proven(&self) -> Vec<&Bitmap> {
        self.slots(&self.evidence, |row| &row.proven)
    }

    fn observed(&self) -> Vec<&Bitmap> {
        self.slots(&self.evidence, |row| &row.observed)
    }

    fn strained(&self) -> Vec<&Bitmap> {
        self.slots(&self.strained, |row| row)
    }

    fn challenged(&self) -> Vec<&Bitmap> {
        self.slots(&self.challenged, |row| &row.challenged)
    }

    fn answered(&self) -> Vec<&Bitmap> {
        self.slots(&self.challenged, |row| &row.answered)
    }

    /// One bitmap for each slot.
    fn slots<'a, T>(&self, rows: &'a [(Slot, T)], bits: impl Fn(&'a T) -> &'a Bitmap) -> Vec<&'a Bitmap> {
        let mut rest = rows.iter().peekable();
        self.start.until(self.end).map(|slot| rest.next_if(|(at, _)| *at == slot).map_or(NOBODY, |(_, row)| bits(row))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::credits::Epoch;
    use crate::domain::metrics::Sample;
    use crate::domain::poot;
    use crate::domain::proof::window::{Runs, Window};
    use crate::storage::hot::{Batch, EncodedSample, PendingSample};
    use crate::storage::testing::store;

    /// The node of these tests, in several words of a row.
    fn node(n: u32) -> NodeIndex {
        NodeIndex(n * 23)
    }

    /// Whether something is so of a node in a slot, by lot; `one_in` 0 is never.
    fn by_lot(seed: u64, what: u64, n: u32, slot: u32, one_in: u64) -> bool {
        let mixed = (seed ^ what << 56 ^ u64::from(n) << 40 ^ u64::from(slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        one_in > 0 && (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33 < (1 << 31) / one_in
    }

    #[derive(Debug, Clone)]
    struct History {
        seed: u64,
        /// The first slot of each node, counted from the first of the history.
        since: Vec<u32>,
        /// One in so many slots is strained, or challenged; 0 is none.
        strained: u64,
        challenged: u64,
    }

    const BEGIN: u32 = 1_000_003;
    const SLOTS: u32 = 900;

    impl History {
        fn has_row(&self, slot: u32) -> bool {
            !by_lot(self.seed, 1, 0, slot, 19) && !by_lot(self.seed, 2, 0, slot / 50, 9)
        }

        /// Proven, observed, strained, challenged, answered.
        fn bits(&self, n: u32, slot: u32) -> [bool; 5] {
            let since = self.since.get(n as usize).is_some_and(|since| BEGIN + since <= slot);
            // Out of service for 40 slots now and then.
            let observed = self.has_row(slot) && since && !by_lot(self.seed, 3, n, slot / 40, 12);
            let proven = observed && !by_lot(self.seed, 4, n, slot, 10);
            let challenged = observed && by_lot(self.seed, 5, n, slot, self.challenged);
            [proven, observed, proven && by_lot(self.seed, 6, n, slot, self.strained), challenged, challenged && slot.is_multiple_of(3)]
        }

        fn all(&self, slot: u32, track: usize) -> Bitmap {
            (0..4).filter(|n| self.bits(*n, slot)[track]).map(node).collect()
        }

        fn store(&self) -> (tempfile::TempDir, crate::storage::Store) {
            let (dir, store) = store();
            let slots = BEGIN..BEGIN + SLOTS;
            let row = |slot| SlotRow { proven: self.all(slot, 0), observed: self.all(slot, 1), attested: Bitmap::EMPTY };
            let evidence = slots.clone().filter(|slot| self.has_row(*slot)).map(|slot| (Slot(slot), row(slot))).collect();
            let pending = || PendingSample { late: false, encoded: EncodedSample::new(&Sample::default()) };
            let strained: BTreeMap<Slot, BTreeMap<NodeIndex, PendingSample>> =
                slots.clone().map(|slot| (Slot(slot), self.all(slot, 2).iter().map(|node| (node, pending())).collect())).collect();
            let challenged: Vec<(Slot, ChallengeRow)> = slots
                .map(|slot| (Slot(slot), ChallengeRow { challenged: self.all(slot, 3), answered: self.all(slot, 4) }))
                .filter(|(_, row)| !row.challenged.is_empty())
                .collect();
            let batch = Batch { evidence, ..Batch::default() };
            let tails = std::sync::Arc::clone(&store.tails);
            store
                .hot
                .write_now(move |tx| {
                    hot::flush(tx, &batch, &tails)?;
                    hot::strained::put(tx, &strained, |_, _| false)?;
                    hot::outputs::put_challenged(tx, &challenged)
                })
                .unwrap();
            (dir, store)
        }

        /// Slot by slot: what a score of node `n` looks at in an epoch that ends before `end`.
        fn window(&self, n: u32, end: u32, params: &Params) -> (usize, Window) {
            let looked_at = (end - u32::from(params.max_age_slots)..end).rev().filter(|slot| self.bits(n, *slot)[1]);
            let from = looked_at.take(usize::from(params.window_slots)).last().unwrap_or(end);
            let track = |track: usize| {
                let bits: Vec<u64> = (from..end).map(|slot| u64::from(self.bits(n, slot)[track])).collect();
                Runs::of(0, bits.len(), |at| bits.iter().skip(at * 64).take(64).rev().fold(0, |word, bit| word << 1 | bit))
            };
            let [proven, observed, strained, challenged, answered] = [0, 1, 2, 3, 4].map(track);
            ((end - from) as usize, Window { proven, observed, strained, challenged, answered })
        }
    }

    fn histories() -> impl Strategy<Value = History> {
        let since = prop_oneof![3 => Just(0u32), 2 => 1u32..700];
        let one_in = prop_oneof![Just(0u64), Just(4), Just(300)];
        (any::<u64>(), prop::collection::vec(since, 1..4), one_in.clone(), one_in).prop_map(|(seed, since, strained, challenged)| History {
            seed,
            since,
            strained,
            challenged,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        /// Epochs that follow each other at once, after gaps, closed early, with nodes that come and leave; nothing kept, and what an epoch before has kept.
        #[test]
        fn what_is_kept_of_an_epoch_before_is_what_would_be_read(
            history in histories(),
            epochs in prop::collection::vec((1u32..30, prop_oneof![9 => Just(0u32), 1 => 1u32..200], 0u32..8), 1..30),
            (window_slots, max_age_slots) in (1u16..150, 150u16..300),
        ) {
            let params = Params { window_slots, max_age_slots, ..Params::default() };
            let (_dir, store) = history.store();
            let read = store.hot.read().unwrap();
            let (mut kept, mut next) = (None, BEGIN + 100);
            for (length, gap, event) in epochs {
                let (first, end) = (next + gap, next + gap + length);
                if end > BEGIN + SLOTS {
                    break;
                }
                let here = |n: u32| BEGIN + history.since[n as usize] < end && !(n == 0 && end > BEGIN + 500);
                let nodes: Vec<u32> = (0..u32::try_from(history.since.len()).unwrap()).filter(|n| here(*n)).collect();
                let enrolled: Bitmap = nodes.iter().copied().map(node).collect();
                let count = nodes.last().map_or(0, |n| node(*n).position() + 1);
                let span = Span { epoch: Epoch(first), last_slot: Slot(end - 1) };
                let evidence = Evidence::of_epoch(kept.take(), &read, &enrolled, span, &params, count).unwrap();
                for n in nodes {
                    let bits = evidence.bits(node(n));
                    let (_, from) = poot::window(bits.proven, bits.observed, bits.rows, &params);
                    let (slots, window) = history.window(n, end, &params);
                    prop_assert_eq!((bits.rows - from, bits.window(from)), (slots, window), "node {} at {}..{}", n, first, end);
                    let proven = (first..end).filter(|slot| history.bits(n, *slot)[0]).count();
                    let counted = crate::domain::bits::count_from(bits.proven, bits.rows - length as usize);
                    prop_assert_eq!(counted as usize, proven);
                    let alone = Evidence::of_node(&read, Slot(end - slots as u32), Slot(end), node(n)).unwrap();
                    prop_assert_eq!(alone.bits(node(n)).window(0), bits.window(from));
                }
                // An epoch that was not committed is closed anew, a manager that was started anew has kept nothing.
                kept = Some(evidence).filter(|_| event != 0);
                next = if event == 1 { first } else { end };
            }
        }
    }

    #[test]
    fn no_more_is_read_and_kept_than_scores_look_at() {
        // Node 2 comes late; everybody is out of service now and then.
        let history = History { seed: 7, since: vec![0, 0, 430], strained: 0, challenged: 0 };
        let params = Params { window_slots: 128, max_age_slots: 400, ..Params::default() };
        let (_dir, store) = history.store();
        let read = store.hot.read().unwrap();
        let (mut kept, mut kept_since, mut depths) = (None, None, BTreeSet::new());
        for end in (BEGIN + 20..BEGIN + SLOTS).step_by(10) {
            let here: Bitmap = (0..3).filter(|n| BEGIN + history.since[*n as usize] < end).map(node).collect();
            let span = Span { epoch: Epoch(end - 10), last_slot: Slot(end - 1) };
            let evidence = Evidence::of_epoch(kept.take(), &read, &here, span, &params, 70).unwrap();
            let needed = Evidence::first(&read, &here, span, &params, 70).unwrap();
            assert!(
                evidence.start >= needed.start.minus(256) && evidence.rows() <= 400 + 128,
                "{} slots at {}",
                evidence.rows(),
                end - BEGIN
            );
            assert!(evidence.start >= word_of(Slot(BEGIN)), "a young store has nothing older");
            // Until node 2 comes nothing is read anew: the two others were there for all that was read at first.
            assert!(end > BEGIN + 430 || kept_since.is_none_or(|since| since <= evidence.since), "and is not read anew for that");
            kept_since = Some(evidence.since);
            depths.insert(evidence.rows() / 64);
            kept = Some(evidence);
        }
        assert!(depths.len() > 3, "rows are read as needed: {depths:?}");
    }
}
