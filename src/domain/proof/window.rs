//! The slots that a score looked at, as runs: who was there all day is one number. The slots of a window are those from the oldest observed one that the score counts
//! to the last one of the epoch.

use serde::{Deserialize, Serialize};

use super::canonical::Canonical;
use super::merkle::Hash;
use crate::crypto;
use crate::domain::poot::{Inputs, MAX_AGE_SLOTS, Window as Counts};

pub const TAG: &str = "lucid/poot-window/v1";

/// Slots in a row that have something or have it not, in turn: the first number is of slots that have it not, and may be 0; no other one is.
/// Together they are as many as the window has slots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(as = SlotRuns)]
pub struct Runs(pub Vec<u16>);

impl Runs {
    /// Of one bit of each slot `from..rows`, oldest first; `word(n)` has those from 64 n on, the lowest bit first.
    pub fn of(from: usize, rows: usize, word: impl Fn(usize) -> u64) -> Runs {
        let mut runs = Vec::new();
        each_run(from, rows, word, |run| runs.push(run));
        Runs(runs)
    }

    /// The same in every one of `slots`.
    pub fn whole(slots: u16, is_set: bool) -> Runs {
        match (slots, is_set) {
            (0, _) => Runs(Vec::new()),
            (slots, false) => Runs(vec![slots]),
            (slots, true) => Runs(vec![0, slots]),
        }
    }

    /// Slot by slot, oldest first; none when these are not the runs of `slots` slots as they have to be written.
    pub fn slots(&self, slots: u16) -> Option<Vec<bool>> {
        let mut all = Vec::with_capacity(usize::from(slots));
        for (at, run) in self.0.iter().enumerate() {
            if (*run == 0 && at > 0) || all.len() + usize::from(*run) > usize::from(slots) {
                return None;
            }
            all.extend(std::iter::repeat_n(at % 2 == 1, usize::from(*run)));
        }
        let is_whole = all.len() == usize::from(slots) && self.0 != [0];
        is_whole.then_some(all)
    }
}

/// The runs of `Runs::of`, one after the other.
fn each_run(from: usize, rows: usize, word: impl Fn(usize) -> u64, mut run: impl FnMut(u16)) {
    if from >= rows {
        return;
    }
    let (mut began, mut carried) = (from, 0);
    for at in from / 64..rows.div_ceil(64) {
        let begin = at * 64;
        // What is before the first slot counts as unset, what is behind the last one as the last one is: there no run ends.
        let inside = u64::MAX << from.saturating_sub(begin).min(63);
        let bits = word(at) & inside;
        let mut edges = bits ^ (bits << 1 | carried);
        carried = bits >> 63;
        if rows - begin < 64 {
            edges &= !(u64::MAX << (rows - begin));
        }
        while edges != 0 {
            let edge = begin + edges.trailing_zeros() as usize;
            edges &= edges - 1;
            run(small(edge - began));
            began = edge;
        }
    }
    run(small(rows - began));
}

/// A window has at most 72 h of slots.
fn small(slots: usize) -> u16 {
    u16::try_from(slots).unwrap_or(u16::MAX)
}

/// The evidence of one node that its score was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootWindow)]
pub struct Window {
    /// Observed slots in which it proved itself.
    pub proven: Runs,
    pub observed: Runs,
    /// Proven slots in which it was beyond a threshold.
    pub strained: Runs,
    /// Observed slots in which it was challenged to show an output.
    pub challenged: Runs,
    /// Challenged slots that it answered with a valid output.
    pub answered: Runs,
}

impl Window {
    fn tracks(&self) -> [&Runs; 5] {
        [&self.proven, &self.observed, &self.strained, &self.challenged, &self.answered]
    }

    pub fn bytes(&self) -> Vec<u8> {
        let tracks = self.tracks().into_iter();
        let all =
            tracks.fold(Canonical::new(TAG), |bytes, Runs(runs)| runs.iter().fold(bytes.u16(small(runs.len())), |b, run| b.u16(*run)));
        all.finish()
    }

    pub fn hash(&self) -> Hash {
        crypto::sha256(&self.bytes())
    }

    /// What its `slots` slots say, counted one by one; none when the tracks are not of so many slots, or contradict each other.
    pub fn count(&self, slots: u16) -> Option<Counted> {
        if slots > MAX_AGE_SLOTS {
            return None;
        }
        let [proven, observed, strained, challenged, answered] = self.tracks().map(|track| track.slots(slots));
        let (proven, observed, strained, challenged, answered) = (proven?, observed?, strained?, challenged?, answered?);
        let within = |part: &[bool], whole: &[bool]| part.iter().zip(whole).all(|(part, whole)| *whole || !part);
        let is_sound =
            within(&proven, &observed) && within(&strained, &proven) && within(&challenged, &observed) && within(&answered, &challenged);
        // It begins with the oldest slot that counts.
        if !is_sound || observed.first() == Some(&false) {
            return None;
        }
        let number = |bits: &[bool]| small(bits.iter().filter(|bit| **bit).count());
        let seen: Vec<bool> = proven.iter().zip(&observed).filter(|(_, seen)| **seen).map(|(proven, _)| *proven).collect();
        let interruptions = small(seen.windows(2).filter(|pair| pair[0] && !pair[1]).count());
        let inputs = Inputs {
            window: Counts { proven: number(&proven), observed: number(&observed), interruptions },
            samples_within: number(&proven) - number(&strained),
            samples: number(&proven),
            challenged: number(&challenged),
            answered: number(&answered),
            outputs_expected: false,
        };
        Some(Counted { inputs, proven, observed })
    }
}

/// The columns of one node (`bits::Columns`), `rows` slots of each; a column that is empty has nothing set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeBits<'a> {
    pub proven: &'a [u64],
    pub observed: &'a [u64],
    pub strained: &'a [u64],
    pub challenged: &'a [u64],
    pub answered: &'a [u64],
    pub rows: usize,
}

impl NodeBits<'_> {
    /// From the row `from` on; each track within the one that holds it.
    pub fn window(&self, from: usize) -> Window {
        let [proven, observed, strained, challenged, answered] = self.tracks().map(|track| {
            let mut runs = Vec::new();
            self.each_run(track, from, |run| runs.push(run));
            Runs(runs)
        });
        Window { proven, observed, strained, challenged, answered }
    }

    /// The canonical bytes of `window(from)` behind its tag: they are all numbers of two bytes.
    fn put_window(&self, from: usize, bytes: &mut Vec<[u8; 2]>) {
        for track in self.tracks() {
            let at = bytes.len();
            bytes.push([0; 2]);
            self.each_run(track, from, |run| bytes.push(run.to_be_bytes()));
            bytes[at] = small(bytes.len() - at - 1).to_be_bytes();
        }
    }

    /// Each with the one that holds it.
    fn tracks(&self) -> [(&[u64], &[u64]); 5] {
        let NodeBits { proven, observed, strained, challenged, answered, rows: _ } = *self;
        [(proven, observed), (observed, observed), (strained, proven), (challenged, observed), (answered, challenged)]
    }

    fn each_run(&self, (column, within): (&[u64], &[u64]), from: usize, mut run: impl FnMut(u16)) {
        let word = |column: &[u64], at: usize| column.get(at).copied().unwrap_or(0);
        match column.is_empty() {
            true if from >= self.rows => {}
            true => run(small(self.rows - from)),
            false => each_run(from, self.rows, |at| word(column, at) & word(within, at) & word(self.observed, at), run),
        }
    }
}

/// Hashes the windows of one node after the other, without making them.
#[derive(Debug, Default)]
pub struct WindowHasher<'a> {
    /// Of one window after the other.
    bytes: Vec<[u8; 2]>,
    /// Most nodes of a fleet were there all day: their windows are one.
    before: Option<(NodeBits<'a>, usize, Hash)>,
}

impl<'a> WindowHasher<'a> {
    /// Of `bits.window(from)`.
    pub fn hash(&mut self, bits: NodeBits<'a>, from: usize) -> Hash {
        if let Some((of, since, hash)) = self.before
            && (of, since) == (bits, from)
        {
            return hash;
        }
        self.bytes.clear();
        bits.put_window(from, &mut self.bytes);
        let hash = crypto::sha256_parts(&[TAG.as_bytes(), &[0], self.bytes.as_flattened()]);
        self.before = Some((bits, from, hash));
        hash
    }
}

/// A window, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// But for what the pool expects, which no slot says.
    pub inputs: Inputs,
    /// Slot by slot, oldest first.
    pub proven: Vec<bool>,
    pub observed: Vec<bool>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::poot::{self, Params};

    fn words(bits: &[bool]) -> Vec<u64> {
        bits.chunks(64).map(|chunk| chunk.iter().enumerate().fold(0, |word, (at, bit)| word | u64::from(*bit) << at)).collect()
    }

    fn runs(bits: &[bool], from: usize) -> Runs {
        let words = words(bits);
        Runs::of(from, bits.len(), |at| words[at])
    }

    #[test]
    fn runs_of_known_windows() {
        let of = |text: &str| runs(&text.chars().map(|c| c == '1').collect::<Vec<_>>(), 0).0;
        assert_eq!(of(""), [] as [u16; 0]);
        assert_eq!((of("000"), of("111"), of("0110"), of("1")), (vec![3], vec![0, 3], vec![1, 2, 1], vec![0, 1]));
        assert_eq!(runs(&vec![true; 2_880], 0), Runs::whole(2_880, true));
        assert_eq!(runs(&vec![false; 2_880], 100), Runs::whole(2_780, false));
        assert_eq!(runs(&[], 0), Runs::whole(0, true));
    }

    #[test]
    fn there_is_one_way_to_write_a_track() {
        let read = |runs: &[u16], slots| Runs(runs.to_vec()).slots(slots).map(|bits| bits.len());
        assert_eq!((read(&[], 0), read(&[3], 3), read(&[0, 3], 3)), (Some(0), Some(3), Some(3)));
        for (runs, slots) in [(&[][..], 1), (&[0], 0), (&[1, 0, 2], 3), (&[3], 2), (&[3], 4), (&[3, 0], 3), (&[u16::MAX, u16::MAX], 2_880)]
        {
            assert_eq!(read(runs, slots), None, "{runs:?} of {slots}");
        }
    }

    #[test]
    fn tracks_that_contradict_each_other_are_no_window() {
        let all = Runs::whole(4, true);
        let none = Runs::whole(4, false);
        let good =
            Window { proven: all.clone(), observed: all.clone(), strained: none.clone(), challenged: none.clone(), answered: none.clone() };
        assert!(good.count(4).is_some());
        let broken = [
            Window { observed: none.clone(), ..good.clone() },
            Window { strained: all.clone(), proven: none.clone(), ..good.clone() },
            Window { answered: all.clone(), ..good.clone() },
            Window { proven: none.clone(), observed: Runs(vec![1, 3]), ..good.clone() },
            Window { observed: Runs(vec![0, 3]), ..good.clone() },
        ];
        broken.iter().for_each(|window| assert_eq!(window.count(4), None, "{window:?}"));
        assert_eq!(good.count(8_641), None);
    }

    proptest! {
        #[test]
        fn runs_are_the_slots(bits in prop::collection::vec(prop::bool::weighted(0.9), 0..400), from in 0usize..400) {
            let from = from.min(bits.len());
            let track = runs(&bits, from);
            let slots = u16::try_from(bits.len() - from).unwrap();
            prop_assert_eq!(track.slots(slots).unwrap(), &bits[from..]);
        }

        /// What is hashed while runs are found is what a window says of itself.
        #[test]
        fn the_hash_of_a_window_needs_no_window(
            slots in prop::collection::vec((prop::bool::weighted(0.9), prop::bool::weighted(0.9), any::<bool>(), any::<bool>(), any::<bool>()), 0..400),
            from in 0usize..400, has in any::<[bool; 3]>(),
        ) {
            let column = |bit: fn(&(bool, bool, bool, bool, bool)) -> bool| words(&slots.iter().map(bit).collect::<Vec<_>>());
            let [proven, observed, strained, challenged, answered] = [column(|s| s.0), column(|s| s.1), column(|s| s.2), column(|s| s.3), column(|s| s.4)];
            let some = |has: bool, column| if has { column } else { &[][..] };
            let bits = NodeBits {
                proven: &proven,
                observed: &observed,
                strained: some(has[0], &strained),
                challenged: some(has[1], &challenged),
                answered: some(has[1] && has[2], &answered),
                rows: slots.len(),
            };
            let from = from.min(slots.len());
            let mut bytes = Vec::new();
            bits.put_window(from, &mut bytes);
            prop_assert_eq!([TAG.as_bytes(), &[0], bytes.as_flattened()].concat(), bits.window(from).bytes());
            let mut hasher = WindowHasher::default();
            for from in [from, from, from / 2, slots.len()] {
                prop_assert_eq!(hasher.hash(bits, from), bits.window(from).hash());
                let nobody = NodeBits { rows: slots.len(), ..NodeBits::default() };
                prop_assert_eq!(hasher.hash(nobody, from), nobody.window(from).hash());
            }
            // And this is slot by slot what the bits say.
            let within = |at: usize, of: [bool; 5]| {
                let (p, o, s, c, a) = slots[at];
                let [p, o, s, c, a] = [p && o, o, s && p && o && has[0], c && o && has[1], a && c && o && has[1] && has[2]];
                of == [p, o, s, c, a]
            };
            let tracks = bits.window(from);
            let length = u16::try_from(slots.len() - from).unwrap();
            let read: Vec<Vec<bool>> = tracks.tracks().iter().map(|track| track.slots(length).unwrap()).collect();
            for at in from..slots.len() {
                prop_assert!(within(at, [0, 1, 2, 3, 4].map(|track| read[track][at - from])), "slot {}", at);
            }
        }

        /// What is counted slot by slot is what the score was computed from, word by word.
        #[test]
        fn a_counted_window_is_what_the_score_looked_at(
            slots in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.8), any::<bool>()), 1..300), window_slots in 1u16..200,
        ) {
            let params = Params { window_slots, max_age_slots: 250, ..Params::default() };
            let observed: Vec<bool> = slots.iter().map(|s| s.1).collect();
            let proven: Vec<bool> = slots.iter().map(|s| s.0 && s.1).collect();
            let strained: Vec<bool> = slots.iter().map(|s| s.0 && s.1 && s.2).collect();
            let rows = slots.len();
            let (window, from) = poot::window(&words(&proven), &words(&observed), rows, &params);
            let none = Runs::whole(u16::try_from(rows - from).unwrap(), false);
            let shown = Window { proven: runs(&proven, from), observed: runs(&observed, from), strained: runs(&strained, from), challenged: none.clone(), answered: none };
            let counted = shown.count(u16::try_from(rows - from).unwrap()).unwrap();
            prop_assert_eq!(counted.inputs.window, window);
            let beyond = poot::strained(&words(&strained), &words(&proven), &words(&observed), rows, &params);
            prop_assert_eq!(counted.inputs.samples - counted.inputs.samples_within, beyond);
        }
    }
}
