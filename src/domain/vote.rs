//! Votes: what the chain is told of each node's score, and what became of it. A vote is made of a leaf when it is sent, so nothing waits in a row of its own: the
//! leaves are the outbox, and one row says which epoch is being voted on. A newer epoch replaces what an older one has not sent.

mod stumbles;

use serde::{Deserialize, Serialize};

use super::credits::Epoch;
use super::ids::{NodeId, NodeIndex};
use super::time::Timestamp;
use super::webhook::wait_ms;
use crate::crypto::{SigningKey, hex};

pub use stumbles::Stumbles;

/// What the signed bytes of a vote begin with.
pub const VOTE_TAG: &str = "lucid/vote/v1\0";
/// Rounds that are remembered: an hour of epochs of five minutes.
pub const MAX_ROUNDS: usize = 12;
/// Reasons of refusals that one round keeps; further ones are counted under the last.
pub const MAX_REASONS: usize = 8;
/// Characters of what the chain said that are kept.
pub const MAX_SAID: usize = 120;
/// Characters of the name of a block.
pub const MAX_BLOCK_ID: usize = 128;
/// The chain takes nothing, or refuses something, for so long: a person is told.
pub const TROUBLE_MS: i64 = 3_600_000;
/// No wait is longer, so a time to try again that is further away comes from a clock that was wrong.
const LONGEST_WAIT_MS: i64 = 3_600_000;

/// One vote, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    pub index: NodeIndex,
    pub node: NodeId,
    /// 0 to 10000.
    pub score_hundredths: u16,
    pub epoch: Epoch,
}

impl Vote {
    /// `VOTE_TAG`; length (u16) and bytes of the node's id; score in hundredths (u16); length (u16) and bytes of the block's id; epoch (u32). Numbers are big-endian.
    pub fn signed_bytes(&self, block_id: &str) -> Vec<u8> {
        let mut bytes = VOTE_TAG.as_bytes().to_vec();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            // Ids have at most 128 characters.
            bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        text(&mut bytes, self.node.as_str());
        bytes.extend(self.score_hundredths.to_be_bytes());
        text(&mut bytes, block_id);
        bytes.extend(self.epoch.0.to_be_bytes());
        bytes
    }

    /// The body of its request, in JSON. The same vote is the same bytes, however often it is sent.
    pub fn body(&self, block_id: &str, key: &SigningKey) -> String {
        serde_json::json!({
            "node_id": self.node,
            "score": f64::from(self.score_hundredths) / 100.0,
            "block_id": block_id,
            "epoch": self.epoch.0,
            "signature": hex(&key.sign(&self.signed_bytes(block_id))),
        })
        .to_string()
    }
}

/// What the chain made of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted {
        status: u16,
    },
    /// It has heard and does not want it: the same vote is not sent again.
    Refused {
        status: u16,
        said: String,
    },
    /// The chain is there and failed over this vote: it is sent again, after others.
    Stumbled {
        status: u16,
    },
    /// Nobody knows whether it was heard: it is sent again.
    Away {
        why: String,
        wait_seconds: Option<u32>,
    },
}

/// Success, and 409: it is there already, which is what a vote that is sent twice is told. Where the service is busy, broken, elsewhere or wants to be asked
/// later, nothing is decided; a fault of its own (not one of what stands before it: 502 to 504) may be about this vote alone. Anything else is a refusal.
pub fn judge(status: u16, said: String, wait_seconds: Option<u32>) -> Verdict {
    match status {
        200..=299 | 409 => Verdict::Accepted { status },
        500 | 501 | 505..=599 if wait_seconds.is_none() => Verdict::Stumbled { status },
        408 | 425 | 429 | 300..=399 | 500.. | ..=199 => Verdict::Away { why: format!("answered {status}"), wait_seconds },
        _ => Verdict::Refused { status, said },
    }
}

/// The last vote of a node that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteAnswer {
    pub node: NodeIndex,
    pub epoch: Epoch,
    /// Of HTTP.
    pub status: u16,
    /// Why it was refused, in the words of the chain; None: it was accepted.
    pub refused: Option<String>,
}

/// Why votes were refused, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub status: u16,
    pub said: String,
    pub votes: u32,
}

/// The votes of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    pub epoch: Epoch,
    /// The newest block when the round began: every vote of the round names it, again after a restart too.
    pub block_id: String,
    pub began_at: Timestamp,
    /// When the last vote was answered, or a newer epoch or time ended it.
    pub ended_at: Option<Timestamp>,
    /// Votes that it has.
    pub votes: u32,
    pub accepted: u32,
    /// Of those accepted, answered by 409.
    pub there_already: u32,
    pub refused: u32,
    pub reasons: Vec<Reason>,
}

impl Round {
    pub fn new(epoch: Epoch, block_id: String, votes: u32, now: Timestamp) -> Round {
        Round { epoch, block_id, began_at: now, ended_at: None, votes, accepted: 0, there_already: 0, refused: 0, reasons: Vec::new() }
    }

    /// Votes that nobody has answered.
    pub fn waiting(&self) -> u32 {
        self.votes.saturating_sub(self.accepted).saturating_sub(self.refused)
    }

    fn count(&mut self, answer: &VoteAnswer) {
        let Some(said) = &answer.refused else {
            self.accepted = self.accepted.saturating_add(1);
            self.there_already = self.there_already.saturating_add(u32::from(answer.status == 409));
            return;
        };
        self.refused = self.refused.saturating_add(1);
        let full = self.reasons.len() >= MAX_REASONS;
        let same = self.reasons.iter().position(|reason| reason.status == answer.status && reason.said == *said);
        match same.or_else(|| full.then_some(MAX_REASONS - 1)).and_then(|at| self.reasons.get_mut(at)) {
            Some(reason) => reason.votes = reason.votes.saturating_add(1),
            None => self.reasons.push(Reason { status: answer.status, said: said.clone(), votes: 1 }),
        }
    }
}

/// The chain cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub since: Timestamp,
    pub tries: u32,
    pub next_at: Timestamp,
    pub why: String,
}

/// One row: where the votes stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VoteRow {
    /// Oldest first; the last one is under way unless it has ended.
    pub rounds: Vec<Round>,
    pub trouble: Option<Trouble>,
    /// Since when every round has had refusals.
    pub refused_since: Option<Timestamp>,
    /// Votes that were never answered, because a newer epoch or their age ended their round.
    pub unanswered: u64,
}

impl VoteRow {
    pub fn round(&self) -> Option<&Round> {
        self.rounds.last()
    }

    /// After a failure it waits for so long.
    pub fn rests(&self, now: Timestamp) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| {
            let left = trouble.next_at.since(now);
            left > 0 && left <= LONGEST_WAIT_MS
        })
    }

    /// Begins a round, and ends the one before.
    pub fn begin(&mut self, round: Round, now: Timestamp) {
        self.end(now);
        self.rounds.push(round);
        let beyond = self.rounds.len().saturating_sub(MAX_ROUNDS);
        self.rounds.drain(..beyond);
    }

    /// What is not answered by now never will be.
    pub fn end(&mut self, now: Timestamp) {
        let Some(round) = self.rounds.last_mut().filter(|round| round.ended_at.is_none()) else { return };
        round.ended_at = Some(now);
        self.unanswered = self.unanswered.saturating_add(u64::from(round.waiting()));
        if round.refused == 0 {
            self.refused_since = None;
        } else {
            self.refused_since.get_or_insert(round.began_at);
        }
    }

    /// Answers of the round under way, which ends with the last of them. An answer is a sign of life.
    pub fn answered(&mut self, answers: &[VoteAnswer], now: Timestamp) {
        let Some(round) = self.rounds.last_mut().filter(|_| !answers.is_empty()) else { return };
        answers.iter().for_each(|answer| round.count(answer));
        self.trouble = None;
        if self.rounds.last().is_some_and(|round| round.waiting() == 0) {
            self.end(now);
        }
    }

    /// The chain could not be asked. `random` spreads managers that lost it together; the chain may ask for a longer wait.
    pub fn failed(&mut self, why: &str, wait_seconds: Option<u32>, now: Timestamp, random: u64) {
        let before = self.trouble.take();
        let tries = before.as_ref().map_or(0, |trouble| trouble.tries).saturating_add(1);
        let asked = i64::from(wait_seconds.unwrap_or(0)).saturating_mul(1_000).min(LONGEST_WAIT_MS);
        self.trouble = Some(Trouble {
            since: before.map_or(now, |trouble| trouble.since),
            tries,
            next_at: now.plus_ms(wait_ms(tries, random).max(asked)),
            why: short(why),
        });
    }

    /// What a person is to be told, once it has gone on for an hour.
    pub fn alarm(&self, now: Timestamp) -> Option<String> {
        let is_long = |since: Timestamp| now.since(since) >= TROUBLE_MS;
        if let Some(trouble) = self.trouble.as_ref().filter(|trouble| is_long(trouble.since)) {
            let Trouble { since, tries, why, .. } = trouble;
            return Some(format!("no vote has reached the chain since {}, in {tries} tries: {why}", since.rfc3339()));
        }
        let since = self.refused_since.filter(|since| is_long(*since))?;
        let round = self.rounds.iter().rev().find(|round| round.refused > 0)?;
        let said = round.reasons.first().map(|reason| format!(": {} {}", reason.status, reason.said)).unwrap_or_default();
        Some(format!(
            "the chain has refused votes in every round since {}, {} of {} in the last{said}",
            since.rfc3339(),
            round.refused,
            round.votes
        ))
    }
}

/// One short line of what somebody else wrote.
pub fn short(said: &str) -> String {
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{SecretKey, unhex};

    const T: Timestamp = Timestamp(1_790_000_000_000);

    fn vote() -> Vote {
        Vote { index: NodeIndex(3), node: NodeId::parse("node_000001").unwrap(), score_hundredths: 9_875, epoch: Epoch(0x0102_0304) }
    }

    #[test]
    fn the_signature_is_over_every_field() {
        let bytes = vote().signed_bytes("b7");
        assert_eq!(bytes, *b"lucid/vote/v1\0\0\x0bnode_000001\x26\x93\0\x02b7\x01\x02\x03\x04");
        let key = SigningKey::from_seed(SecretKey([7; 32]));
        let body: serde_json::Value = serde_json::from_str(&vote().body("b7", &key)).unwrap();
        assert_eq!((&body["score"], &body["epoch"]), (&serde_json::json!(98.75), &serde_json::json!(0x0102_0304)));
        let signature = unhex(body["signature"].as_str().unwrap()).unwrap();
        assert!(key.public().verifies(&bytes, &signature));
        assert!(!key.public().verifies(&vote().signed_bytes("b8"), &signature));
    }

    #[test]
    fn a_status_decides_once_and_for_all_only_where_it_was_heard() {
        let verdict = |status| judge(status, "no".into(), None);
        for status in [200, 201, 202, 204, 409] {
            assert_eq!(verdict(status), Verdict::Accepted { status });
        }
        for status in [400, 401, 403, 404, 410, 422] {
            assert_eq!(verdict(status), Verdict::Refused { status, said: "no".into() });
        }
        for status in [100, 301, 307, 408, 425, 429, 502, 503, 504, 600] {
            assert!(matches!(verdict(status), Verdict::Away { .. }), "{status}");
        }
        for status in [500, 501, 505, 599] {
            assert_eq!(verdict(status), Verdict::Stumbled { status });
            let asked_to_wait = judge(status, "no".into(), Some(9));
            assert_eq!(asked_to_wait, Verdict::Away { why: format!("answered {status}"), wait_seconds: Some(9) });
        }
    }

    fn answer(node: u32, status: u16, refused: Option<&str>) -> VoteAnswer {
        VoteAnswer { node: NodeIndex(node), epoch: Epoch(10), status, refused: refused.map(str::to_owned) }
    }

    #[test]
    fn rounds_are_counted_and_few_are_kept() {
        let mut row = VoteRow::default();
        row.begin(Round::new(Epoch(10), "b".into(), 4, T), T);
        row.answered(&[answer(1, 200, None), answer(2, 409, None), answer(3, 422, Some("low"))], T);
        let round = row.round().unwrap();
        assert_eq!((round.accepted, round.there_already, round.refused, round.waiting(), round.ended_at), (2, 1, 1, 1, None));
        row.begin(Round::new(Epoch(20), "c".into(), 1, T), T);
        assert_eq!((row.unanswered, row.refused_since), (1, Some(T)), "a newer epoch replaces what was not sent");
        row.answered(&[answer(1, 200, None)], T);
        assert_eq!((row.round().unwrap().ended_at, row.refused_since), (Some(T), None));
        for n in 0..50 {
            row.begin(Round::new(Epoch(30 + n), "d".into(), 1, T), T);
        }
        assert_eq!((row.rounds.len(), row.rounds[0].epoch, row.round().unwrap().epoch), (MAX_ROUNDS, Epoch(68), Epoch(79)));
        let mut round = Round::new(Epoch(1), "e".into(), 20, T);
        (0..20).for_each(|n| round.count(&answer(n, 400, Some(&n.to_string()))));
        assert_eq!((round.refused, round.reasons.len(), round.reasons.iter().map(|r| r.votes).sum()), (20, MAX_REASONS, 20));
    }

    #[test]
    fn waits_grow_to_an_hour_and_an_hour_is_told() {
        let mut row = VoteRow::default();
        let mut now = T;
        let mut waits = Vec::new();
        for _ in 0..20 {
            row.failed("away", None, now, u64::MAX);
            let next = row.trouble.as_ref().unwrap().next_at;
            assert!(row.rests(now) && !row.rests(next));
            waits.push(next.since(now));
            now = next;
        }
        assert!(waits.is_sorted() && waits[0] <= 2_000 && waits[19] <= 3_600_000 && waits[19] > 1_800_000, "{waits:?}");
        assert_eq!(row.trouble.as_ref().unwrap().since, T);
        assert_eq!(row.alarm(T.plus_ms(TROUBLE_MS - 1)), None);
        assert!(row.alarm(T.plus_ms(TROUBLE_MS)).unwrap().contains("20 tries: away"));
        assert!(!row.rests(T.plus_ms(-86_400_000)), "the clock was ahead when that was written");
        row.failed("busy", Some(86_400), now, 0);
        assert_eq!(row.trouble.as_ref().unwrap().next_at.since(now), 3_600_000, "no longer than an hour, whoever asks");
    }

    #[test]
    fn what_others_write_is_one_short_line() {
        assert_eq!(short(" a\n\tb\u{7}  c "), "a b c");
        assert_eq!(short(&"x".repeat(500)).len(), MAX_SAID);
    }
}
