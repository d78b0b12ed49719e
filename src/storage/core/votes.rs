//! Where the votes stand: one row, and of each node the last answer, in rows of neighbouring nodes. What waits is in no table: it is made of the leaves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alerts;
use super::tables::{VOTE_ANSWERS, VOTES};
use crate::domain::alert::Severity;
use crate::domain::ids::NodeIndex;
use crate::domain::time::Timestamp;
use crate::domain::vote::{MAX_REASONS, MAX_ROUNDS, Round, VoteAnswer, VoteRow};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

const ROW: &str = "votes";
/// The chain takes no votes, or not all of them, for an hour.
pub const ALERT: &str = "votes_not_taken";
/// Nodes of one row of answers.
const NODES_PER_ROW: u32 = 96;

/// In node order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VoteAnswers(pub Vec<VoteAnswer>);

pub fn row(read: &impl Read) -> Result<VoteRow, Fault> {
    Ok(read.get(VOTES, &ROW.to_owned())?.unwrap_or_default())
}

/// Writes the row and the answers that came; the alert is open while there is something to be told.
pub fn put(tx: &mut WriteTx<'_>, row: &VoteRow, answers: &[VoteAnswer], now: Timestamp) -> Result<(), TxError> {
    tx.put(VOTES, &ROW.to_owned(), row)?;
    let mut groups: BTreeMap<u32, Vec<&VoteAnswer>> = BTreeMap::new();
    for answer in answers {
        groups.entry(answer.node.0 / NODES_PER_ROW).or_default().push(answer);
    }
    for (group, new) in groups {
        let mut of_group: BTreeMap<NodeIndex, VoteAnswer> = BTreeMap::new();
        let before = tx.get(VOTE_ANSWERS, &group)?.unwrap_or_default().0;
        of_group.extend(before.into_iter().chain(new.into_iter().cloned()).map(|answer| (answer.node, answer)));
        tx.put(VOTE_ANSWERS, &group, &VoteAnswers(of_group.into_values().collect()))?;
    }
    settle(tx, row.alarm(now), now)
}

/// Raises or resolves the alert.
pub fn settle(tx: &mut WriteTx<'_>, alarm: Option<String>, now: Timestamp) -> Result<(), TxError> {
    match alarm {
        Some(message) => alerts::raise(tx, ALERT, "", Severity::Warning, &message, now).map(drop),
        None => alerts::resolve(tx, ALERT, "", now).map(drop),
    }
}

/// The last answer of every node that has one.
pub fn answers(read: &impl Read) -> Result<BTreeMap<NodeIndex, VoteAnswer>, Fault> {
    let rows = read.scan(VOTE_ANSWERS, .., usize::MAX)?;
    Ok(rows.into_iter().flat_map(|(_, VoteAnswers(answers))| answers).map(|answer| (answer.node, answer)).collect())
}

/// The last answer of one node.
pub fn of_node(read: &impl Read, node: NodeIndex) -> Result<Option<VoteAnswer>, Fault> {
    let group = read.get(VOTE_ANSWERS, &(node.0 / NODES_PER_ROW))?;
    Ok(group.and_then(|VoteAnswers(answers)| answers.into_iter().find(|answer| answer.node == node)))
}

/// Number of rounds and answers when they fit together; else what does not.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let row = row(read)?;
    if row.rounds.len() > MAX_ROUNDS || !row.rounds.is_sorted_by(|a, b| a.epoch < b.epoch) {
        return Ok(Err("rounds of votes are not in the order of their epochs".into()));
    }
    let is_right = |round: &Round| {
        let reasons: u32 = round.reasons.iter().map(|reason| reason.votes).sum();
        round.there_already <= round.accepted
            && round.accepted.saturating_add(round.refused) <= round.votes
            && reasons == round.refused
            && round.reasons.len() <= MAX_REASONS
    };
    if let Some(round) = row.rounds.iter().find(|round| !is_right(round)) {
        return Ok(Err(format!("the votes of epoch {} do not add up", round.epoch.0)));
    }
    let newest = row.round().map(|round| round.epoch);
    let mut count = u64::try_from(row.rounds.len()).unwrap_or(u64::MAX);
    for (group, VoteAnswers(answers)) in read.scan(VOTE_ANSWERS, .., usize::MAX)? {
        let in_order = answers.is_sorted_by(|a, b| a.node < b.node);
        let fits = |answer: &VoteAnswer| answer.node.0 / NODES_PER_ROW == group && Some(answer.epoch) <= newest;
        if !in_order || !answers.iter().all(fits) {
            return Ok(Err(format!("row {group} of answers to votes holds what is not of it")));
        }
        count = count.saturating_add(u64::try_from(answers.len()).unwrap_or(u64::MAX));
    }
    Ok(Ok(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credits::Epoch;
    use crate::storage::testing::store;

    const T: Timestamp = Timestamp(1_000);

    fn answer(node: u32, epoch: u32) -> VoteAnswer {
        VoteAnswer { node: NodeIndex(node), epoch: Epoch(epoch), status: 200, refused: None }
    }

    #[test]
    fn the_newest_answer_of_a_node_stays_and_verify_sees_what_does_not_fit() {
        let (_dir, store) = store();
        let mut row = VoteRow::default();
        row.begin(Round::new(Epoch(10), "b".into(), 3, T), T);
        let first = [answer(1, 10), answer(95, 10), answer(96, 10)];
        row.answered(&first, T);
        let written = row.clone();
        store.core.write_now(move |tx| put(tx, &written, &first, T)).unwrap();
        row.begin(Round::new(Epoch(20), "c".into(), 2, T), T);
        row.answered(&[answer(95, 20)], T);
        let written = row.clone();
        store.core.write_now(move |tx| put(tx, &written, &[answer(95, 20)], T)).unwrap();
        let read = store.read().unwrap();
        let epochs: Vec<_> = answers(&read).unwrap().into_values().map(|a| (a.node.0, a.epoch.0)).collect();
        assert_eq!(epochs, [(1, 10), (95, 20), (96, 10)]);
        assert_eq!(of_node(&read, NodeIndex(95)).unwrap(), Some(answer(95, 20)));
        assert_eq!((of_node(&read, NodeIndex(2)).unwrap(), super::row(&read).unwrap()), (None, row.clone()));
        assert_eq!(verify(&read).unwrap(), Ok(5));
        drop(read);
        for (wrong, tampered) in [
            ("order", VoteRow { rounds: row.rounds.iter().rev().cloned().collect(), ..row.clone() }),
            ("add up", VoteRow { rounds: vec![Round { accepted: 9, ..row.rounds[1].clone() }], ..row.clone() }),
            ("not of it", VoteRow { rounds: vec![row.rounds[0].clone()], ..row.clone() }),
        ] {
            store.core.write_now(move |tx| put(tx, &tampered, &[], T)).unwrap();
            let found = verify(&store.read().unwrap()).unwrap();
            assert!(found.as_ref().is_err_and(|why| why.contains(wrong)), "{found:?}");
        }
    }
}
