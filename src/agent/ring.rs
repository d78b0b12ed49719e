//! Measurements that the manager has not made durable yet, in memory. Pure: times and samples are arguments.

use std::collections::VecDeque;

use crate::domain::metrics::Sample;
use crate::domain::time::BootMs;
use crate::wire::{self, Witness};

/// A full ring still fits in one report.
pub const CAPACITY: usize = wire::MAX_ITEMS;

#[derive(Debug, Clone, PartialEq)]
pub struct RingItem {
    pub seq: u64,
    pub measured_at: BootMs,
    /// What the manager gave out when it first accepted the item.
    pub witness: Option<Witness>,
    /// Whether the configured workload ran then.
    pub running: Option<bool>,
    pub sample: Sample,
}

/// Items in ascending seq. Those above `accepted_seq` still have to be sent; those up to `durable_seq` are forgotten.
#[derive(Debug, Default)]
pub struct Ring {
    items: VecDeque<RingItem>,
    last_seq: u64,
    accepted_seq: u64,
    durable_seq: u64,
}

impl Ring {
    /// Adds a measurement with the next seq. A full ring gives up its oldest item, which is returned.
    pub fn push(&mut self, measured_at: BootMs, sample: Sample, running: Option<bool>) -> Option<RingItem> {
        let evicted = if self.items.len() >= CAPACITY { self.items.pop_front() } else { None };
        self.last_seq += 1;
        self.items.push_back(RingItem { seq: self.last_seq, measured_at, witness: None, running, sample });
        evicted
    }

    /// Seq of the newest measurement ever pushed; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// What the manager has not accepted yet, oldest first.
    pub fn unsent(&self) -> impl Iterator<Item = &RingItem> {
        self.items.iter().filter(|item| item.seq > self.accepted_seq)
    }

    /// When the oldest item kept was measured.
    pub fn oldest(&self) -> Option<BootMs> {
        self.items.front().map(|item| item.measured_at)
    }

    /// The manager holds everything up to `seq` in memory. It may say less than before: then it lost something.
    pub fn accept(&mut self, seq: u64) {
        self.accepted_seq = seq.min(self.last_seq).max(self.durable_seq);
    }

    /// The manager will not lose anything up to `seq`: forget it.
    pub fn acknowledge(&mut self, seq: u64) {
        self.durable_seq = self.durable_seq.max(seq.min(self.last_seq));
        self.accepted_seq = self.accepted_seq.max(self.durable_seq);
        while self.items.front().is_some_and(|item| item.seq <= self.durable_seq) {
            self.items.pop_front();
        }
    }

    /// The manager started anew: what is not durable has to be sent again.
    pub fn fall_back(&mut self) {
        self.accepted_seq = self.durable_seq;
    }

    /// Keeps the first witness of item `seq` until it is durable.
    pub fn remember(&mut self, seq: u64, witness: Witness) {
        if let Some(item) = self.items.iter_mut().find(|item| item.seq == seq) {
            item.witness.get_or_insert(witness);
        }
    }

    /// Removes and returns what was measured before `limit`.
    pub fn take_before(&mut self, limit: BootMs) -> Vec<RingItem> {
        let count = self.items.partition_point(|item| item.measured_at < limit);
        self.items.drain(..count).collect()
    }

    /// Removes and returns everything that was never accepted.
    pub fn take_unsent(&mut self) -> Vec<RingItem> {
        let start = self.items.partition_point(|item| item.seq <= self.accepted_seq);
        self.items.drain(start..).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::time::Slot;

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Accept(u64),
        Acknowledge(u64),
        FallBack,
        Remember(u64, u32),
        TakeBefore(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Push),
            2 => (0u64..120).prop_map(Step::Accept),
            1 => (0u64..120).prop_map(Step::Acknowledge),
            1 => Just(Step::FallBack),
            1 => (0u64..120, 0u32..9).prop_map(|(seq, slot)| Step::Remember(seq, slot)),
            1 => (0i64..120).prop_map(Step::TakeBefore),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// Every item ever pushed, with flags instead of positions.
    #[derive(Default)]
    struct Naive {
        items: Vec<(u64, Option<u32>, bool)>,
        accepted: u64,
        durable: u64,
    }

    impl Naive {
        fn kept(&self) -> Vec<(u64, Option<u32>)> {
            self.items.iter().filter(|i| !i.2 && i.0 > self.durable).map(|i| (i.0, i.1)).collect()
        }
    }

    /// Item n is measured at time n.
    fn at(seq: u64) -> BootMs {
        BootMs(i64::try_from(seq).unwrap())
    }

    fn witness(slot: u32) -> Witness {
        Witness { slot: Slot(slot), beacon: String::new() }
    }

    proptest! {
        #[test]
        fn the_ring_agrees_with_a_list_of_everything(steps in steps()) {
            let (mut ring, mut naive) = (Ring::default(), Naive::default());
            for step in steps {
                let last = naive.items.last().map_or(0, |i| i.0);
                match step {
                    Step::Push => {
                        let evicted = ring.push(at(last + 1), Sample::default(), None);
                        let kept = naive.kept();
                        prop_assert_eq!(evicted.map(|e| e.seq), (kept.len() == CAPACITY).then(|| kept[0].0));
                        if kept.len() == CAPACITY {
                            naive.items.iter_mut().filter(|i| i.0 == kept[0].0).for_each(|i| i.2 = true);
                        }
                        naive.items.push((last + 1, None, false));
                    }
                    Step::Accept(seq) => {
                        ring.accept(seq);
                        naive.accepted = seq.min(last);
                    }
                    Step::Acknowledge(seq) => {
                        ring.acknowledge(seq);
                        naive.durable = naive.durable.max(seq.min(last));
                    }
                    Step::FallBack => {
                        ring.fall_back();
                        naive.accepted = 0;
                    }
                    Step::Remember(seq, slot) => {
                        ring.remember(seq, witness(slot));
                        if let Some(item) = naive.items.iter_mut().find(|i| i.0 == seq) {
                            item.1 = item.1.or(Some(slot));
                        }
                    }
                    Step::TakeBefore(limit) => {
                        let taken: Vec<u64> = ring.take_before(BootMs(limit)).iter().map(|i| i.seq).collect();
                        let expected: Vec<u64> = naive.kept().iter().map(|i| i.0).filter(|seq| at(*seq).0 < limit).collect();
                        for item in &mut naive.items {
                            item.2 |= expected.contains(&item.0);
                        }
                        prop_assert_eq!(taken, expected);
                    }
                }
                let kept: Vec<_> = ring.items.iter().map(|i| (i.seq, i.witness.as_ref().map(|w| w.slot.0))).collect();
                let expected = naive.kept();
                prop_assert_eq!(ring.oldest(), expected.first().map(|i| at(i.0)));
                let sendable: Vec<u64> = expected.iter().map(|i| i.0).filter(|seq| *seq > naive.accepted).collect();
                prop_assert_eq!(ring.unsent().map(|i| i.seq).collect::<Vec<_>>(), sendable);
                prop_assert_eq!(kept, expected);
                prop_assert!(ring.items.len() <= CAPACITY);
            }
        }
    }

    #[test]
    fn an_answer_beyond_what_was_sent_acknowledges_nothing_to_come() {
        let mut ring = Ring::default();
        ring.push(BootMs(1), Sample::default(), None);
        ring.acknowledge(u64::MAX);
        ring.accept(u64::MAX);
        ring.push(BootMs(2), Sample::default(), None);
        assert_eq!(ring.unsent().map(|i| i.seq).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_was_never_accepted_can_be_taken_at_the_end() {
        let mut ring = Ring::default();
        for at in 1..=4 {
            ring.push(BootMs(at), Sample::default(), None);
        }
        ring.accept(2);
        assert_eq!(ring.take_unsent().iter().map(|i| i.seq).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(ring.items.len(), 2);
    }
}
