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
        let (mut runs, mut run, mut is_set) = (Vec::new(), 0, false);
        let mut at = from;
        while at < rows {
            let word = word(at / 64) >> (at % 64);
            let left = (64 - at % 64).min(rows - at);
            let same = usize::try_from((if is_set { !word } else { word }).trailing_zeros()).unwrap_or(64).min(left);
            run += same;
            at += same;
            if same < left {
                runs.push(small(run));
                (run, is_set) = (0, !is_set);
            }
        }
        if from < rows {
            runs.push(small(run));
        }
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
        let word = |column: &[u64], at: usize| column.get(at).copied().unwrap_or(0);
        let seen = |column: &[u64], at| word(column, at) & word(self.observed, at);
        let runs = |column: &[u64], within: &[u64]| {
            if column.is_empty() {
                return Runs::whole(small(self.rows.saturating_sub(from)), false);
            }
            Runs::of(from, self.rows, |at| seen(column, at) & word(within, at))
        };
        Window {
            proven: runs(self.proven, self.observed),
            observed: runs(self.observed, self.observed),
            strained: runs(self.strained, self.proven),
            challenged: runs(self.challenged, self.observed),
            answered: runs(self.answered, self.challenged),
        }
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
            let from = poot::window_from(&words(&observed), rows, &params);
            let none = Runs::whole(u16::try_from(rows - from).unwrap(), false);
            let window = Window { proven: runs(&proven, from), observed: runs(&observed, from), strained: runs(&strained, from), challenged: none.clone(), answered: none };
            let counted = window.count(u16::try_from(rows - from).unwrap()).unwrap();
            prop_assert_eq!(counted.inputs.window, poot::window(&words(&proven), &words(&observed), rows, &params));
            let beyond = poot::strained(&words(&strained), &words(&proven), &words(&observed), rows, &params);
            prop_assert_eq!(counted.inputs.samples - counted.inputs.samples_within, beyond);
        }
    }
}
