//! What an answer about a payout means for it. Pure.

use super::dialect::{Dialect, Said, Word};
use crate::domain::address::PayoutAddress;
use crate::domain::money::Amount;
use crate::domain::payout::ReviewKind;

/// Characters of a name or a transaction, at most.
const MAX_NAME: usize = 128;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub amount: Amount,
    pub address: &'a PayoutAddress,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pending,
    Paid { txid: String },
    Failed { reason: String, txid: Option<String> },
    Doubt { kind: ReviewKind, reason: String, evidence: String },
}

/// `reference`: what the service called it before, where that is known.
pub fn judge(dialect: &Dialect, said: &Said, expected: &Expected<'_>, reference: Option<&str>) -> Verdict {
    let doubt = |kind, reason: &str, evidence: String| Verdict::Doubt { kind, reason: reason.to_owned(), evidence };
    if let Some(wrong) = echo(said, expected) {
        return doubt(ReviewKind::Conflict, "the service speaks of another payout than it was asked for", wrong);
    }
    if let (Some(before), Some(id)) = (reference, &said.id)
        && before != id
    {
        return doubt(ReviewKind::Conflict, "the service answers about another payout", format!("asked for {before}, answered for {id}"));
    }
    let Some(status) = &said.status else {
        return doubt(ReviewKind::Ambiguous, "the service names no status", said.to_string());
    };
    match dialect.word(status) {
        Word::Pending => Verdict::Pending,
        Word::Paid => match &said.txid {
            Some(txid) if is_name(txid) => Verdict::Paid { txid: txid.clone() },
            _ => doubt(ReviewKind::Ambiguous, "the service says paid and names no transaction", said.to_string()),
        },
        Word::Failed => {
            let reason = said.reason.clone().unwrap_or_else(|| status.clone());
            Verdict::Failed { reason: format!("the service: {reason}"), txid: said.txid.clone() }
        }
        Word::Unknown => doubt(ReviewKind::Ambiguous, "the service uses a word for its status that is not configured", said.to_string()),
    }
}

/// What the answer says otherwise than it was asked, where it says it at all.
pub fn echo(said: &Said, expected: &Expected<'_>) -> Option<String> {
    if let Some(text) = &said.amount {
        let amount = Amount::parse(text, expected.amount.currency);
        if amount != Ok(expected.amount) {
            return Some(format!("asked for {}, answered {text}", expected.amount));
        }
    }
    let address = expected.address.to_string();
    said.address.as_ref().filter(|said| **said != address).map(|said| format!("asked for {address}, answered {said}"))
}

/// What may stand in a path, and in our records.
pub fn is_reference(text: &str) -> bool {
    is_name(text) && !text.bytes().all(|b| b == b'.')
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The id of a transaction on the chain: 32 bytes in hex.
pub fn is_transaction(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
