//! One request as it is committed before it leaves: where to, under which key, and the very bytes of its body. A changed configuration changes nothing of it.

use serde::{Deserialize, Serialize};

use super::dialect::Dialect;
use super::judge::Expected;
use crate::domain::address::PayoutAddress;
use crate::domain::ids::PayoutId;
use crate::domain::money::Amount;
use crate::gateways::payment::Transfer;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub path: String,
    pub key: String,
    pub body: String,
    amount: Amount,
    address: PayoutAddress,
}

impl Outgoing {
    pub fn new(path: &str, dialect: &Dialect, transfer: &Transfer) -> Outgoing {
        let key = key(&transfer.payout, transfer.attempt);
        let body = dialect.request(transfer, &key);
        Outgoing { path: path.to_owned(), key, body, amount: transfer.amount, address: transfer.address.clone() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn read(bytes: &[u8]) -> Option<Outgoing> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn expected(&self) -> Expected<'_> {
        Expected { amount: self.amount, address: &self.address }
    }
}

/// The payout's id; a later attempt, which exists only because the one before pays nothing any more, has its number behind it.
pub fn key(payout: &PayoutId, attempt: u32) -> String {
    if attempt <= 1 { payout.to_string() } else { format!("{payout}-{attempt}") }
}

/// As it stands in a path or a query.
pub fn in_path(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
