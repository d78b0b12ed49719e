//! Votes that the chain does not answer while it answers others: they are tried last, each after a wait of its own, so that they delay nobody.

use std::collections::BTreeMap;

use super::LONGEST_WAIT_MS;
use crate::domain::ids::NodeIndex;
use crate::domain::time::Timestamp;
use crate::domain::webhook::wait_ms;

#[derive(Debug, Clone, Copy)]
struct Stumble {
    tries: u32,
    /// Others were answered in the same run. Otherwise it may be the chain that is away.
    is_its_own: bool,
    next_at: Timestamp,
}

/// Known to this process: another one finds out again.
#[derive(Debug, Default)]
pub struct Stumbles(BTreeMap<NodeIndex, Stumble>);

impl Stumbles {
    /// Whether the last vote on this node failed: it goes last.
    pub fn has(&self, node: NodeIndex) -> bool {
        self.0.contains_key(&node)
    }

    /// Its next vote waits. A time further away than any wait comes from a clock that was wrong.
    pub fn rests(&self, node: NodeIndex, now: Timestamp) -> bool {
        self.0.get(&node).is_some_and(|stumble| (1..=LONGEST_WAIT_MS).contains(&stumble.next_at.since(now)))
    }

    /// What came of one run. True when the chain is there: it answered, or stumbled over nothing but what it stumbles over anyway.
    pub fn heard(&mut self, answered: &[NodeIndex], failed: &[NodeIndex], now: Timestamp, random: u64) -> bool {
        for node in answered {
            self.0.remove(node);
        }
        let is_known = |node: &NodeIndex| self.0.get(node).is_some_and(|stumble| stumble.is_its_own);
        let is_there = !answered.is_empty() || failed.iter().all(is_known);
        for node in failed {
            let before = self.0.get(node).filter(|stumble| stumble.is_its_own);
            let tries = if is_there { before.map_or(1, |stumble| stumble.tries.saturating_add(1)) } else { 0 };
            let next_at = if is_there { now.plus_ms(wait_ms(tries, random)) } else { now };
            self.0.insert(*node, Stumble { tries, is_its_own: is_there, next_at });
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_790_000_000_000);

    fn nodes(all: &[u32]) -> Vec<NodeIndex> {
        all.iter().map(|node| NodeIndex(*node)).collect()
    }

    #[test]
    fn a_chain_that_answers_nobody_is_away_and_one_that_answers_others_is_not() {
        let mut stumbles = Stumbles::default();
        for _ in 0..5 {
            assert!(!stumbles.heard(&[], &nodes(&[1, 2]), T, 0), "it may be away, however often");
        }
        assert!(stumbles.has(NodeIndex(1)) && !stumbles.rests(NodeIndex(1), T), "they go last, and wait with the chain");
        assert!(stumbles.heard(&nodes(&[3, 2]), &nodes(&[1]), T, 0));
        assert!(!stumbles.has(NodeIndex(2)) && stumbles.rests(NodeIndex(1), T));
        let mut waits = Vec::new();
        let mut now = T;
        for _ in 0..20 {
            let wait = (1..).map(|seconds| seconds * 1_000).find(|ms| !stumbles.rests(NodeIndex(1), now.plus_ms(*ms))).unwrap();
            waits.push(wait);
            now = now.plus_ms(wait);
            assert!(stumbles.heard(&[], &nodes(&[1]), now, u64::MAX), "nothing else is left to try");
        }
        assert!(waits.is_sorted() && waits[0] <= 2_000 && waits[19] > 1_800_000, "{waits:?}");
        assert!(!stumbles.heard(&[], &nodes(&[1, 4]), now, 0), "somebody else is not answered either");
        assert!(!stumbles.rests(NodeIndex(1), now.plus_ms(-2 * LONGEST_WAIT_MS)), "of a clock that was ahead");
    }
}
