//! Challenges that a node answers with its signature to get a token: each is used once, soon, by the node it was made for. Kept in
//! memory only: after a restart nodes ask again.

use std::collections::{HashMap, VecDeque};

use super::enrolment::CHALLENGE_SECONDS;
use super::ids::NodeId;
use super::refusal::Refusal;
use super::time::BootMs;

/// Challenges that may be open at once; the oldest gives way.
pub const MAX_CHALLENGES: usize = 10_000;

pub type Challenge = [u8; 32];

/// The open challenges. Times are of the boot clock, which no one can set back.
#[derive(Debug, Default)]
pub struct Challenges {
    open: HashMap<Challenge, (NodeId, BootMs)>,
    /// In the order they were made, and so of expiry; holds answered ones until they would have expired.
    order: VecDeque<(Challenge, BootMs)>,
}

impl Challenges {
    /// Remembers fresh random bytes as the challenge of `node`.
    pub fn issue(&mut self, challenge: Challenge, node: NodeId, now: BootMs) {
        while self.order.front().is_some_and(|(_, until)| *until <= now || self.order.len() >= MAX_CHALLENGES) {
            if let Some((oldest, _)) = self.order.pop_front() {
                self.open.remove(&oldest);
            }
        }
        let until = BootMs(now.0.saturating_add(CHALLENGE_SECONDS * 1000));
        self.open.insert(challenge, (node, until));
        self.order.push_back((challenge, until));
    }

    /// Uses a challenge up, whether or not the answer then proves right.
    pub fn take(&mut self, challenge: &Challenge, node: &NodeId, now: BootMs) -> Result<(), Refusal> {
        match self.open.remove(challenge) {
            Some((_, until)) if until <= now => Err(Refusal::ChallengeExpired),
            Some((owner, _)) if owner == *node => Ok(()),
            _ => Err(Refusal::ChallengeUnknown),
        }
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u32) -> NodeId {
        NodeId::parse(&format!("node_{n:08}")).unwrap()
    }

    fn bytes(n: usize) -> Challenge {
        let mut out = [0; 32];
        out[..8].copy_from_slice(&n.to_le_bytes());
        out
    }

    #[test]
    fn a_challenge_is_for_one_node_once_and_soon() {
        let mut challenges = Challenges::default();
        for n in 0..3 {
            challenges.issue(bytes(n), node(1), BootMs(0));
        }
        assert_eq!(challenges.take(&bytes(0), &node(1), BootMs(59_999)), Ok(()));
        assert_eq!(challenges.take(&bytes(0), &node(1), BootMs(1)), Err(Refusal::ChallengeUnknown), "replayed");
        assert_eq!(challenges.take(&bytes(1), &node(2), BootMs(1)), Err(Refusal::ChallengeUnknown), "of another node");
        assert_eq!(challenges.take(&bytes(1), &node(1), BootMs(1)), Err(Refusal::ChallengeUnknown), "used up by the wrong answer");
        assert_eq!(challenges.take(&bytes(2), &node(1), BootMs(60_000)), Err(Refusal::ChallengeExpired));
        assert_eq!(challenges.take(&bytes(9), &node(1), BootMs(0)), Err(Refusal::ChallengeUnknown));
    }

    #[test]
    fn memory_is_bounded_and_expired_ones_leave() {
        let mut challenges = Challenges::default();
        for n in 0..MAX_CHALLENGES + 5 {
            challenges.issue(bytes(n), node(1), BootMs(0));
        }
        assert_eq!((challenges.len(), challenges.open.len()), (MAX_CHALLENGES, MAX_CHALLENGES));
        assert_eq!(challenges.take(&bytes(4), &node(1), BootMs(1)), Err(Refusal::ChallengeUnknown), "the oldest gave way");
        assert_eq!(challenges.take(&bytes(5), &node(1), BootMs(1)), Ok(()));
        challenges.issue(bytes(0), node(1), BootMs(60_000));
        assert_eq!((challenges.len(), challenges.open.len()), (1, 1));
    }
}
