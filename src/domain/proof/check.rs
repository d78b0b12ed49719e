//! The checks of a document: everything it says is computed again from what it was said to be made of. Pure; the command line, the tests and whoever reads this crate use
//! the same. What the words of a refusal mean is in `data/proof-format.md`.

use serde::Serialize;

use super::document::{CONSISTENCY, ConsistencyDocument, PROOF, ProofDocument, hundredths};
use super::head::{CommittedHead, SignedHead};
use super::leaf::CommittedLeaf;
use super::merkle::{self, Hash};
use super::succession::{self, Succession};
use super::text::Hex;
use super::window::Counted;
use crate::domain::credits::{self, Multiplier};
use crate::domain::evidence::SLOTS_PER_DAY;
use crate::domain::money::{Pico, Units};
use crate::domain::poot::{self, Inputs, Params, Score, ScoreState};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Good,
    Wrong,
    /// The document does not hold what it takes.
    Unchecked,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub outcome: Outcome,
    /// A sentence for people.
    pub said: String,
}

/// What all findings come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Good,
    /// Nothing contradicts anything, and not everything could be checked: nobody vouched for the signer, or the evidence is not in the document.
    Consistent,
    Wrong,
}

impl Verdict {
    pub fn of(findings: &[Finding]) -> Verdict {
        let has = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
        match (has(Outcome::Wrong), has(Outcome::Unchecked)) {
            (true, _) => Verdict::Wrong,
            (false, true) => Verdict::Consistent,
            (false, false) => Verdict::Good,
        }
    }

    /// Of `verify-proof`.
    pub fn exit_status(self) -> u8 {
        match self {
            Verdict::Good => 0,
            Verdict::Consistent => 3,
            Verdict::Wrong => 1,
        }
    }
}

fn finding(check: &'static str, result: Result<String, String>) -> Finding {
    match result {
        Ok(said) => Finding { check, outcome: Outcome::Good, said },
        Err(said) => Finding { check, outcome: Outcome::Wrong, said },
    }
}

fn require(is_so: bool, otherwise: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// All checks of a proof, in the order of the chain from the score to the signer. `pinned` is the manager's key from somewhere else than the document.
pub fn proof(document: &ProofDocument, pinned: Option<&[u8; 32]>) -> Vec<Finding> {
    let ProofDocument { format, head, leaf, window, successions, .. } = document;
    let counted = window.as_ref().map(|window| {
        require(window.hash() == leaf.window_hash.0, "the evidence is not the one that the leaf names by its hash")?;
        window
            .count(leaf.window_slots)
            .ok_or_else(|| "the evidence contradicts itself, or is not of as many slots as the leaf says".to_owned())
    });
    let mut findings = vec![
        finding("format", require(format == PROOF, "is not a proof of this version").map(|()| format.clone())),
        finding("summary", summary(document)),
        finding("epoch", epoch(head, leaf)),
    ];
    match counted {
        None => findings.push(Finding {
            check: "evidence",
            outcome: Outcome::Unchecked,
            said: "is not in the document: the counts are those that the leaf names".into(),
        }),
        Some(counted) => findings.push(finding("evidence", counted.and_then(|counted| evidence(head, leaf, &counted)))),
    }
    findings.push(finding("score", score(head, leaf)));
    findings.push(finding("credits", accrual(head, leaf)));
    findings.push(finding("tree", tree(document)));
    let signed = SignedHead { head: head.clone(), signature: document.signature };
    findings.extend(signer(&[&signed], successions, pinned));
    findings
}

fn summary(document: &ProofDocument) -> Result<String, String> {
    let ProofDocument { node_id, state, score, confidence, leaf, .. } = document;
    require(*node_id == leaf.node_id, "names another node than its leaf")?;
    let same = *state == leaf.state
        && *score == hundredths(leaf.score_hundredths.into())
        && *confidence == hundredths(leaf.confidence_hundredths.into());
    require(same, "says another score than its leaf")?;
    Ok(format!("{node_id}: {score}, confidence {confidence}"))
}

fn epoch(head: &CommittedHead, leaf: &CommittedLeaf) -> Result<String, String> {
    require((leaf.epoch, leaf.last_slot) == (head.epoch, head.last_slot), "the leaf is of another epoch than the head")?;
    require(head.epoch <= head.last_slot && !head.gap && head.leaves_at == Some(head.epoch), "the head is not of an epoch with leaves")?;
    let slots = u64::from(head.last_slot - head.epoch) + 1;
    require(slots <= u64::from(head.slots_per_epoch), "the epoch is longer than one")?;
    let is_possible = leaf.proven <= leaf.observed && u64::from(leaf.observed) <= slots;
    require(is_possible, "more slots are proven or observed than the epoch has")?;
    if let Some(reports) = leaf.reports {
        require(reports.day < head.epoch / SLOTS_PER_DAY && reports.count > 0, "the reports are not those of a day before")?;
    }
    Ok(format!("slots {} to {}", head.epoch, head.last_slot))
}

/// The counts of the leaf are those of its slots.
fn evidence(head: &CommittedHead, leaf: &CommittedLeaf, counted: &Counted) -> Result<String, String> {
    let params = Params::from(head.params);
    let inputs = Inputs { outputs_expected: leaf.inputs.outputs_expected, ..counted.inputs };
    require(inputs == Inputs::from(leaf.inputs), "the slots, counted, are not what the leaf says")?;
    let is_within = leaf.window_slots <= params.max_age_slots && inputs.window.observed <= params.window_slots;
    require(is_within, "the window is longer than the parameters allow")?;
    // The slots of the epoch are the last ones of the window, as far as it reaches.
    let slots = usize::try_from(u64::from(head.last_slot.saturating_sub(head.epoch)) + 1).unwrap_or(usize::MAX);
    let of_epoch = |bits: &[bool]| bits.iter().rev().take(slots).filter(|bit| **bit).count();
    let is_whole = inputs.window.observed < params.window_slots || usize::from(leaf.window_slots) >= slots;
    let same = of_epoch(&counted.proven) == usize::from(leaf.proven) && of_epoch(&counted.observed) == usize::from(leaf.observed);
    require(same || !is_whole, "the slots of the epoch, counted, are not what the leaf says")?;
    Ok(format!("{} of {} observed slots proven, in {} slots", inputs.window.proven, inputs.window.observed, leaf.window_slots))
}

fn score(head: &CommittedHead, leaf: &CommittedLeaf) -> Result<String, String> {
    let params = Params::from(head.params);
    require(params.version == poot::VERSION, "the formulas are of a version that this program does not know")?;
    let said = Score { state: leaf.state, score_hundredths: leaf.score_hundredths, confidence_hundredths: leaf.confidence_hundredths };
    require(poot::score(&leaf.inputs.into(), &params) == said, "does not follow from the inputs and the parameters")?;
    Ok(format!("{} follows from the inputs", hundredths(leaf.score_hundredths.into())))
}

fn accrual(head: &CommittedHead, leaf: &CommittedLeaf) -> Result<String, String> {
    let multiplier = Multiplier::grown(leaf.multiplier_grown_slots).ok_or("the multiplier has grown beyond its end")?;
    let params = Params::from(head.params);
    let expected = match &leaf.payer {
        Some(payer) if leaf.state != ScoreState::Invalid => {
            credits::accrue(leaf.proven, leaf.score_hundredths, multiplier, &params, Units(payer.reward_per_hour))
                .map_err(|e| e.to_string())?
        }
        _ => Pico::ZERO,
    };
    require(expected.0 == leaf.accrual_pico, "do not follow from proven time, score, multiplier and price")?;
    Ok(format!("{} millionths of the smallest unit follow from proven time, score, multiplier and price", leaf.accrual_pico))
}

fn tree(document: &ProofDocument) -> Result<String, String> {
    let ProofDocument { head, leaf, leaf_index, path, .. } = document;
    let is_in = merkle::includes(&leaf.hash(), *leaf_index, head.leaves(), &hashes(path), &head.root.0);
    require(is_in, "the path does not lead from the leaf to the root")?;
    Ok(format!("leaf {leaf_index} of {} is under the root", head.leaves()))
}

fn hashes(path: &[Hex<32>]) -> Vec<Hash> {
    path.iter().map(|hash| hash.0).collect()
}

/// Who signed the heads, and whether that is whom `pinned` means.
fn signer(heads: &[&SignedHead], successions: &[Succession], pinned: Option<&[u8; 32]>) -> Vec<Finding> {
    let signed = heads.iter().all(|head| head.is_signed());
    let said = require(signed, "is not the signature of the key that the head names").map(|()| "by the key that the head names".to_owned());
    let believed = |known: &[u8; 32]| {
        let all = heads.iter().all(|head| succession::leads(successions, known, &head.head.manager_key.0, head.head.sequence));
        require(all, "is not the manager whose key was given").map(|()| "the manager whose key was given".to_owned())
    };
    let who = match (pinned, successions) {
        (Some(known), _) => finding("signer", believed(known)),
        (None, []) => unpinned(),
        // Nobody vouches for any of them, but they must vouch for each other.
        (None, [first, ..]) => match believed(&first.old_key.0) {
            Ok(_) => unpinned(),
            Err(_) => finding("signer", Err("the keys do not take over from each other".into())),
        },
    };
    vec![finding("signature", said), who]
}

fn unpinned() -> Finding {
    Finding { check: "signer", outcome: Outcome::Unchecked, said: "not pinned: give the manager's key to know whose proof this is".into() }
}

/// All checks of a document about two heads.
pub fn consistency(document: &ConsistencyDocument, pinned: Option<&[u8; 32]>) -> Vec<Finding> {
    let ConsistencyDocument { format, first, second, successions, .. } = document;
    let mut findings = vec![
        finding("format", require(format == CONSISTENCY, "is not a document of this version").map(|()| format.clone())),
        finding("history", history(document)),
    ];
    findings.extend(signer(&[first, second], successions, pinned));
    findings
}

fn history(document: &ConsistencyDocument) -> Result<String, String> {
    let ConsistencyDocument { first, second, inclusion, consistency, .. } = document;
    let (a, b) = (&first.head, &second.head);
    require(a.chain == b.chain, "the heads are of two histories")?;
    if first == second {
        require(inclusion.is_none() && consistency.is_none(), "nothing is needed to show a head to be itself")?;
        return Ok("both are the same head".into());
    }
    require(a.place() < b.place() && a.sequence < b.sequence, "the second head is not a later one")?;
    let leaf = merkle::leaf_hash(&first.hash());
    let inclusion = inclusion.as_deref().map(hashes).ok_or("the path from the first head is not there")?;
    require(
        merkle::includes(&leaf, a.sequence, b.sequence, &inclusion, &b.history.0),
        "the first head is not in the history of the second",
    )?;
    let is_next = b.sequence == a.sequence + 1;
    require(!is_next || b.previous.0 == first.hash(), "the second head does not name the first one as the one before it")?;
    match consistency.as_deref().map(hashes) {
        None => require(a.sequence == 0, "the hashes between the two histories are not there")?,
        Some(path) => {
            let begins = merkle::is_beginning(a.sequence, &a.history.0, b.sequence, &b.history.0, &path);
            require(begins, "the history before the first head is not the beginning of the one before the second")?;
        }
    }
    Ok(format!("head {} is in the history of head {}, {} heads later", a.sequence, b.sequence, b.sequence - a.sequence))
}
