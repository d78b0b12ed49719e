//! Which key the agent takes for its manager's. One place for all that ask: the handshake of TLS, the signatures of answers, the heads of the history. It moves
//! only along statements that lead on from the key that is pinned, never back, and is on the disk before anything relies on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::ClientError;
use super::state::{Enrolled, State};
use crate::crypto::PublicKey;
use crate::domain::enrolment::manager_key_hash;
use crate::domain::proof::head::CommittedHead;
use crate::domain::proof::succession::{self, Succession};

/// What is known of the key.
#[derive(Debug, Clone)]
enum Held {
    /// From the enrolment token: what `manager_key_hash` gives.
    Hash(String),
    /// Since the enrolment.
    Enrolled(Box<Enrolled>),
}

/// What a key is to this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Known,
    /// Statements lead on to it from the known one.
    Successor,
    /// The manager has replaced it, or it is said to follow one that the manager has replaced otherwise: somebody has a former key.
    Replaced,
    Unknown,
}

#[derive(Debug)]
pub struct Keys {
    held: Mutex<Held>,
    /// Where a successor is kept.
    state: Option<Arc<State>>,
}

/// What an answer says that is signed with a key which was replaced.
pub const REPLACED: &str = "it is signed with a key that the manager has replaced: somebody else has that key, or the manager runs on a copy of its store from before";
const NOT_SIGNED: &str = "the signature is not the manager's";

impl Keys {
    pub fn of_token(manager_key_hash: &str, state: Arc<State>) -> Keys {
        Keys { held: Mutex::new(Held::Hash(manager_key_hash.to_ascii_lowercase())), state: Some(state) }
    }

    pub fn of(enrolled: Enrolled, state: Option<Arc<State>>) -> Keys {
        Keys { held: Mutex::new(Held::Enrolled(Box::new(enrolled))), state }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the manager is told, so that it can lead on who is behind: the hash of the pinned key.
    pub fn named(&self) -> String {
        match &*self.held() {
            Held::Hash(hash) => hash.clone(),
            Held::Enrolled(enrolled) => manager_key_hash(&enrolled.manager_key),
        }
    }

    #[cfg(test)]
    pub fn key(&self) -> Option<PublicKey> {
        match &*self.held() {
            Held::Hash(_) => None,
            Held::Enrolled(enrolled) => Some(enrolled.manager_key),
        }
    }

    /// From the answer to the enrolment, which was held against the token.
    pub fn enrolled(&self, enrolled: Enrolled) {
        *self.held() = Held::Enrolled(Box::new(enrolled));
    }

    /// What somebody is who shows this key and these statements.
    pub fn judge(&self, shown: &PublicKey, said: &[Succession]) -> Word {
        self.held().judge(shown, said)
    }

    /// Whether the manager signed, as `is_signed` says of a key. Where a successor of the pinned key did, that one is pinned from here on.
    pub fn check(&self, said: &[Succession], is_signed: impl Fn(&PublicKey) -> bool) -> Result<(), ClientError> {
        let mut held = self.held();
        let Held::Enrolled(enrolled) = &*held else { return Err(ClientError::BadAnswer(NOT_SIGNED)) };
        if is_signed(&enrolled.manager_key) {
            return Ok(());
        }
        let successions = held.whole(said);
        let successor = held.led_to(&successions).filter(|key| is_signed(key));
        let Some(successor) = successor else {
            let is_replaced = enrolled.former().any(|key| is_signed(&key)) || held.is_rival(said);
            return Err(ClientError::BadAnswer(if is_replaced { REPLACED } else { NOT_SIGNED }));
        };
        let next = Enrolled { manager_key: successor, successions, ..(**enrolled).clone() };
        if let Some(Err(error)) = self.state.as_ref().map(|state| state.set_enrolled(&next)) {
            tracing::warn!(%error, "the manager's new key is not written, and not followed");
            return Err(ClientError::BadAnswer("it has a new key, which cannot be kept"));
        }
        tracing::warn!(old = enrolled.manager_key.to_hex(), new = successor.to_hex(), "the manager's key was replaced, and is followed");
        *held = Held::Enrolled(Box::new(next));
        Ok(())
    }

    /// The head is by a key that was in office for it. Its signature is another matter.
    pub fn signs(&self, head: &CommittedHead) -> bool {
        match &*self.held() {
            Held::Hash(_) => false,
            Held::Enrolled(enrolled) => {
                succession::leads(&enrolled.successions, &enrolled.manager_key.0, &head.manager_key.0, head.sequence)
            }
        }
    }
}

impl Held {
    fn judge(&self, shown: &PublicKey, said: &[Succession]) -> Word {
        if self.is_known(shown) {
            return Word::Known;
        }
        if self.led_to(&self.whole(said)).as_ref() == Some(shown) {
            return Word::Successor;
        }
        let is_former = matches!(self, Held::Enrolled(enrolled) if enrolled.former().any(|key| key == *shown));
        if is_former || self.is_rival(said) { Word::Replaced } else { Word::Unknown }
    }

    fn is_known(&self, key: &PublicKey) -> bool {
        match self {
            Held::Hash(hash) => manager_key_hash(key) == *hash,
            Held::Enrolled(enrolled) => enrolled.manager_key == *key,
        }
    }

    /// Statements that begin with the pinned key, behind those that led to it: none of the keys in either may come back.
    fn whole(&self, said: &[Succession]) -> Vec<Succession> {
        match self {
            Held::Enrolled(enrolled) if said.first().is_some_and(|first| first.old_key.0 == enrolled.manager_key.0) => {
                [&enrolled.successions, said].concat()
            }
            _ => said.to_vec(),
        }
    }

    fn led_to(&self, said: &[Succession]) -> Option<PublicKey> {
        let manager_id = match self {
            Held::Hash(_) => None,
            Held::Enrolled(enrolled) => Some(enrolled.manager_id.as_str()),
        };
        succession::led_to(said, manager_id, |key| self.is_known(&PublicKey(*key))).map(PublicKey)
    }

    /// A former key says that it hands over to another one than it did.
    fn is_rival(&self, said: &[Succession]) -> bool {
        let Held::Enrolled(enrolled) = self else { return false };
        let followed = |key: PublicKey| enrolled.successions.iter().any(|statement| statement.new_key.0 == key.0);
        let is_rival = |statement: &Succession| {
            let (old, new) = (PublicKey(statement.old_key.0), PublicKey(statement.new_key.0));
            enrolled.former().any(|key| key == old) && !followed(new) && statement.is_signed()
        };
        said.iter().any(is_rival)
    }
}
