//! What an agent's folder says of its manager, for somebody who holds a proof against it: the pinned key, and what the manager signed for of the node's reports.
//! Only reads, also while the agent runs.

use std::path::Path;

use super::AgentError;
use super::history::{Kept, Receipt};
use super::state::{self, Enrolled};
use crate::crypto::PublicKey;
use crate::domain::ids::{Incarnation, NodeId};
use crate::domain::proof::receipt::Acknowledged;
use crate::domain::proof::succession::Succession;
use crate::wire::{Envelope, Purpose};

pub struct Witness {
    enrolled: Enrolled,
    kept: Kept,
}

impl Witness {
    /// None when there is no enrolled node in the folder.
    pub fn read(folder: &Path) -> Result<Option<Witness>, AgentError> {
        let kept = state::read_history(folder)?;
        Ok(state::read_enrolled(folder)?.map(|enrolled| Witness { enrolled, kept }))
    }

    pub fn node(&self) -> &NodeId {
        &self.enrolled.node_id
    }

    pub fn manager_key(&self) -> &PublicKey {
        &self.enrolled.manager_key
    }

    /// Keys of the manager that took over from each other until the pinned one, as far as the agent had to know.
    pub fn successions(&self) -> &[Succession] {
        &self.enrolled.successions
    }

    /// What the manager signed for of the node's reports; receipts of anybody else are none.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        let signed = self.kept.receipts.iter().filter(|receipt| self.is_signed(receipt));
        let told = |receipt: &Receipt| Some(Acknowledged { reports: receipt.reports()?, whole: receipt.whole, history: receipt.history });
        signed.filter_map(told).collect()
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
