//! How the service writes: names of fields, words of states. Reads and writes JSON; numbers are kept as the text that they came as, never as floats.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::judge;
use crate::domain::payout::MAX_LINE_CHARS;
use crate::gateways::payment::Transfer;

/// Payouts that one answer may hold.
const MAX_ANSWERED: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountAs {
    Number,
    String,
}

/// Lists of fields: the first that is there counts; a dot leads into an object.
#[derive(Debug, Clone)]
pub struct Dialect {
    pub amount_as: AmountAs,
    pub recipient: String,
    pub amount: String,
    pub currency: Option<String>,
    pub reference: String,
    pub priority: Option<String>,
    pub id: Vec<String>,
    pub status: Vec<String>,
    pub txid: Vec<String>,
    pub echo_amount: Vec<String>,
    pub echo_address: Vec<String>,
    pub reason: Vec<String>,
    pub paid: Vec<String>,
    pub pending: Vec<String>,
    pub failed: Vec<String>,
}

/// What a word of the status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Paid,
    Pending,
    Failed,
    Unknown,
}

/// What an answer says about one payout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub id: Option<String>,
    pub status: Option<String>,
    pub txid: Option<String>,
    /// As it was written.
    pub amount: Option<String>,
    pub address: Option<String>,
    pub reason: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            [("payout", &self.id), ("status", &self.status), ("transaction", &self.txid), ("amount", &self.amount), ("to", &self.address)];
        let parts: Vec<String> =
            parts.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}"))).collect();
        f.write_str(if parts.is_empty() { "nothing that is understood".to_owned() } else { parts.join(", ") }.as_str())
    }
}

impl Dialect {
    /// Err: a word means two things.
    pub fn check(&self) -> Result<(), String> {
        let words = || [&self.paid, &self.pending, &self.failed].into_iter().flatten();
        let twice = |word: &&String| words().filter(|other| other.eq_ignore_ascii_case(word)).count() > 1;
        match words().find(twice) {
            Some(word) => Err(format!("the status {word} of the payment service is listed twice")),
            None => Ok(()),
        }
    }

    /// The body of a request. The same transfer gives the same bytes.
    pub fn request(&self, transfer: &Transfer, key: &str) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let amount = transfer.amount.units.to_decimal(transfer.amount.currency).to_string();
        let amount = if self.amount_as == AmountAs::Number { amount } else { quoted(&amount) };
        let priority = serde_json::to_string(&transfer.priority).unwrap_or_default();
        let fields = [
            (Some(&self.recipient), quoted(&transfer.address.to_string())),
            (Some(&self.amount), amount),
            (self.currency.as_ref(), quoted(transfer.amount.currency.code())),
            (Some(&self.reference), quoted(key)),
            (self.priority.as_ref(), priority),
        ];
        let fields: Vec<String> =
            fields.into_iter().filter_map(|(name, value)| name.map(|name| format!("{}:{value}", quoted(name)))).collect();
        format!("{{{}}}", fields.join(","))
    }

    pub fn word(&self, status: &str) -> Word {
        let is_in = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case(status));
        match (is_in(&self.paid), is_in(&self.pending), is_in(&self.failed)) {
            (true, ..) => Word::Paid,
            (_, true, _) => Word::Pending,
            (_, _, true) => Word::Failed,
            _ => Word::Unknown,
        }
    }

    /// One payout. None: not an object of JSON.
    pub fn read(&self, body: &[u8]) -> Option<Said> {
        self.said(serde_json::from_slice::<&RawValue>(body).ok()?)
    }

    /// One payout, or a list of them. None: neither.
    pub fn read_all(&self, body: &[u8]) -> Option<Vec<Said>> {
        let whole = serde_json::from_slice::<&RawValue>(body).ok()?;
        match serde_json::from_str::<Vec<&RawValue>>(whole.get()) {
            Ok(list) if list.len() > MAX_ANSWERED => None,
            Ok(list) => list.into_iter().map(|one| self.said(one)).collect(),
            Err(_) => Some(vec![self.said(whole)?]),
        }
    }

    fn said(&self, raw: &RawValue) -> Option<Said> {
        serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()).ok()?;
        let text = |fields: &[String]| fields.iter().find_map(|field| text_at(raw, field));
        Some(Said {
            id: text(&self.id).filter(|id| judge::is_reference(id)),
            status: text(&self.status),
            txid: text(&self.txid).filter(|txid| !txid.is_empty()),
            amount: text(&self.echo_amount),
            address: text(&self.echo_address),
            reason: text(&self.reason).map(|reason| reason.chars().filter(|c| !c.is_control()).take(MAX_LINE_CHARS).collect()),
        })
    }
}

/// The text of a string or of a number, as it was written.
fn text_at(raw: &RawValue, field: &str) -> Option<String> {
    let leaf = field.split('.').try_fold(raw.get(), |text, name| {
        let mut object: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
        object.remove(name).map(RawValue::get)
    })?;
    if leaf.starts_with('"') {
        return serde_json::from_str(leaf).ok();
    }
    leaf.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| leaf.to_owned())
}
