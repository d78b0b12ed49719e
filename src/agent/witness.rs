//! What an agent's folder says of its manager, for somebody who holds a proof against it: the pinned key, and what the manager signed for of the node's reports.
//! Only reads, also while the agent runs.

use std::path::Path;

use super::AgentError;
use super::history::{Kept, Receipt};
use super::state::{self, Enrolled};
use crate::crypto::PublicKey;
use crate::domain::ids::{Incarnation, NodeId};
use crate::domain::proof::receipt::Acknowledged;
use crate::wire::{Envelope, Purpose, ReportAnswer};

pub struct Witness {
    enrolled: Enrolled,
    kept: Kept,
}

impl Witness {
    /// None when there is no enrolled node in the folder.
    pub fn read(folder: &Path) -> Result<Option<Witness>, AgentError> {
        let kept = state::read_history(folder);
        Ok(state::read_enrolled(folder)?.map(|enrolled| Witness { enrolled, kept }))
    }

    pub fn node(&self) -> &NodeId {
        &self.enrolled.node_id
    }

    pub fn manager_key(&self) -> &PublicKey {
        &self.enrolled.manager_key
    }

    /// What the manager signed for of the node's reports of a UTC day; none where no receipt of the day is kept, or it is not this manager's.
    pub fn acknowledged(&self, day: u32) -> Option<Acknowledged> {
        let receipt = self.kept.receipts.iter().find(|receipt| receipt.day == day && self.is_signed(receipt))?;
        let answer: ReportAnswer = serde_json::from_str(&receipt.answer.body).ok()?;
        let reports = if receipt.whole { answer.last_day } else { answer.durable_reports };
        reports.filter(|reports| reports.day == day).map(|reports| Acknowledged { reports, whole: receipt.whole })
    }

    fn is_signed(&self, receipt: &Receipt) -> bool {
        let answer = &receipt.answer;
        let envelope = Envelope {
            purpose: Purpose::ReportAnswer,
            manager: self.enrolled.manager_id.as_str(),
            node: self.enrolled.node_id.as_str(),
            incarnation: Incarnation(answer.incarnation),
            seq: answer.seq,
        };
        let mut keys = self.enrolled.former().chain([self.enrolled.manager_key]);
        keys.any(|key| envelope.verify(&key, answer.body.as_bytes(), &answer.signature))
    }
}
