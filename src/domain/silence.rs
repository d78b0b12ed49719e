//! Who went silent, who is back, and whether a whole fleet is gone: decided from what was heard, once per slot.

use super::bits::Bitmap;
use super::ids::NodeIndex;
use super::node::{Eligible, OFFLINE_AFTER_SECONDS, Wanted};
use super::time::Timestamp;

/// Fewer nodes are no fleet.
pub const FLEET: usize = 3;
/// When nobody was heard for three slots, those who have not passed `OFFLINE_AFTER_SECONDS` yet are on their way to it.
const FADING_AFTER_SECONDS: i64 = 90;
/// Nodes whose change is recorded in one run; the others follow in the next slot.
pub const PER_RUN: usize = 1_000;

/// A node as the watch sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    pub node: NodeIndex,
    pub last_report: Option<Timestamp>,
    pub wanted: Wanted,
    pub eligible: Eligible,
}

impl Watched {
    /// Silence of a node that is meant to be silent, or was never heard, tells nothing.
    fn counts(&self) -> bool {
        self.wanted == Wanted::Running && !matches!(self.eligible, Eligible::Maintenance | Eligible::Draining) && self.last_report.is_some()
    }

    fn heard_within(&self, now: Timestamp, seconds: i64) -> bool {
        self.last_report.is_some_and(|at| now.since(at) <= seconds * 1_000)
    }
}

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Newly unreachable.
    pub gone: Vec<NodeIndex>,
    /// Heard again.
    pub back: Vec<NodeIndex>,
    /// Silence that no longer matters: stopped, in maintenance, leaving, or deleted.
    pub excused: Vec<NodeIndex>,
    /// At least one node that is watched is heard.
    pub someone_heard: bool,
    /// The whole fleet vanished at once: more likely the network than every node, so one alert and not many.
    pub fleet_gone: bool,
}

/// `nodes` is the fleet in index order, `recorded` those whose silence is recorded. While `silence_known` is false nobody is called gone: the manager itself
/// may not have been able to hear.
pub fn judge(nodes: &[Watched], recorded: &Bitmap, now: Timestamp, silence_known: bool) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut fading, mut present) = (0, Bitmap::EMPTY);
    for watched in nodes {
        present.set(watched.node);
        let was_silent = recorded.get(watched.node);
        if !watched.counts() {
            if was_silent {
                verdict.excused.push(watched.node);
            }
            continue;
        }
        let is_heard = watched.heard_within(now, FADING_AFTER_SECONDS);
        verdict.someone_heard |= is_heard;
        if watched.heard_within(now, OFFLINE_AFTER_SECONDS) {
            if was_silent {
                verdict.back.push(watched.node);
            } else if !is_heard {
                fading += 1;
            }
        } else if !was_silent && silence_known {
            verdict.gone.push(watched.node);
        }
    }
    verdict.excused.extend(recorded.iter().filter(|node| !present.get(*node)));
    verdict.fleet_gone = !verdict.gone.is_empty() && !verdict.someone_heard && verdict.gone.len() + fading >= FLEET;
    verdict.gone.truncate(PER_RUN);
    verdict.back.truncate(PER_RUN);
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn node(index: u32, silent_seconds: i64) -> Watched {
        Watched {
            node: NodeIndex(index),
            last_report: Some(NOW.plus_seconds(-silent_seconds)),
            wanted: Wanted::Running,
            eligible: Eligible::InService,
        }
    }

    fn bits(nodes: &[u32]) -> Bitmap {
        nodes.iter().map(|n| NodeIndex(*n)).collect()
    }

    fn named(nodes: &[NodeIndex]) -> Vec<u32> {
        nodes.iter().map(|n| n.0).collect()
    }

    #[test]
    fn silence_is_recorded_once_and_ends_when_heard() {
        let fleet = [node(0, 5), node(1, 300), node(2, 301), node(3, 400), node(4, 10)];
        let verdict = judge(&fleet, &bits(&[3, 4]), NOW, true);
        assert_eq!((named(&verdict.gone), named(&verdict.back), named(&verdict.excused)), (vec![2], vec![4], vec![]));
        assert!(verdict.someone_heard && !verdict.fleet_gone);
        let unknown = judge(&fleet, &bits(&[3, 4]), NOW, false);
        assert_eq!((named(&unknown.gone), named(&unknown.back)), (vec![], vec![4]), "a report is a fact, silence is not");
    }

    #[test]
    fn who_is_meant_to_be_silent_is_not_missed() {
        let stopped = Watched { wanted: Wanted::Stopped, ..node(0, 900) };
        let resting = Watched { eligible: Eligible::Maintenance, ..node(1, 900) };
        let never_heard = Watched { last_report: None, ..node(2, 0) };
        let fleet = [stopped, resting, never_heard];
        assert_eq!(judge(&fleet, &Bitmap::EMPTY, NOW, true), Verdict::default());
        assert_eq!(named(&judge(&fleet, &bits(&[0, 1, 7]), NOW, true).excused), [0, 1, 7], "7 was deleted");
    }

    #[test]
    fn a_fleet_that_vanishes_at_once_is_one_thing_and_the_last_of_many_dead_is_not() {
        let vanishing = [node(0, 301), node(1, 290), node(2, 280)];
        assert!(judge(&vanishing, &Bitmap::EMPTY, NOW, true).fleet_gone, "those on their way count");
        assert!(!judge(&vanishing[..2], &Bitmap::EMPTY, NOW, true).fleet_gone, "two are no fleet");
        assert!(!judge(&vanishing, &bits(&[2]), NOW, false).fleet_gone);
        let one_answers = [node(0, 301), node(1, 301), node(2, 301), node(3, 20)];
        assert!(!judge(&one_answers, &Bitmap::EMPTY, NOW, true).fleet_gone);
        let last_of_many = [node(0, 900), node(1, 900), node(2, 900), node(3, 301)];
        let verdict = judge(&last_of_many, &bits(&[0, 1, 2]), NOW, true);
        assert_eq!((named(&verdict.gone), verdict.fleet_gone), (vec![3], false));
    }
}
