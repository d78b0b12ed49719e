//! Makes documents of rows: what a restore puts back, sealed, and beside it what people and the fleet's pages read.
//!
//! Readable fields are chosen one by one, and every text in them is veiled: the cluster is shared by many managers and by whoever reads it. The record is sealed as a
//! whole, because texts and keys of rows hold what the store does not show everybody: addresses of wallets, URLs, names. Only the same manager opens it, which also
//! means that nobody else can put rows into a store that is restored.

pub mod archives;
mod books;
mod fleet;
mod logs;
pub mod measured;
mod payouts;
mod proof;

use serde::Serialize;

use super::catalog::{Listed, Way};
use crate::crypto::hex;
use crate::domain::ids::NodeIndex;
use crate::domain::money::{Currency, Units};
use crate::domain::payout::Payout;
use crate::domain::replica::{Document, Fields, NotPlain, Rev, Value, veiled};
use crate::domain::user::{PasswordHash, User};
use crate::storage::Secrets;
use crate::storage::compaction::Which;
use crate::storage::core::{nodes, tables};
use crate::storage::fault::Fault;
use crate::storage::hot::replicated as hot;
use crate::storage::table::{Key, Read, Record, decode, encode};

/// Of rows that nobody reads but a restore.
const RECORDS: &str = "manager_records";

const NODES: &str = tables::NODES.name;
const POOLS: &str = tables::POOLS.name;
const NODE_EVENTS: &str = tables::NODE_EVENTS.name;
const PAYOUTS: &str = tables::PAYOUTS.name;
const BATCHES: &str = tables::BATCHES.name;
const SCHEDULES: &str = tables::SCHEDULES.name;
const ALERTS: &str = tables::ALERTS.name;
const SETTINGS: &str = tables::SETTINGS.name;
const AUDIT: &str = tables::AUDIT.name;
const EPOCHS: &str = tables::EPOCHS.name;
const POSTINGS: &str = tables::POSTINGS.name;
const ACCRUED: &str = tables::ACCRUED.name;
const BALANCES: &str = tables::BALANCES.name;
const IDEMPOTENCY_KEYS: &str = tables::IDEMPOTENCY_KEYS.name;
const LEAVES: &str = hot::LEAVES.name;
const EVIDENCE: &str = hot::EVIDENCE.name;
const PROOFS: &str = hot::PROOFS.name;
const USERS: &str = tables::USERS.name;

/// The collection of a table.
pub fn collection(table: &str) -> &'static str {
    match table {
        NODES => "nodes",
        POOLS => "node_pools",
        NODE_EVENTS => "node_history",
        PAYOUTS => "payouts",
        BATCHES => "payout_batches",
        SCHEDULES => "schedules",
        ALERTS => "alerts",
        SETTINGS => "settings",
        AUDIT => "audit_logs",
        EPOCHS => "poot_epochs",
        POSTINGS => "ledger_postings",
        ACCRUED => "accrual_watermarks",
        BALANCES => "ledger_balances",
        IDEMPOTENCY_KEYS => "idempotency_keys",
        LEAVES => "poot_scores",
        EVIDENCE => "poot_evidence",
        PROOFS => "poot_validations",
        _ => RECORDS,
    }
}

/// The document of a row of a file as it is now, with what the core says of it; one without fields and record where there is no such row.
///
/// # Errors
/// The row does not decode, or it is of a table that stays here.
pub fn document(of: &impl Read, core: &impl Read, secrets: &Secrets, listed: &Listed, key: &[u8], rev: Rev) -> Result<Document, Fault> {
    let mut stored = None;
    of.with(listed.table, |raw| {
        raw.look(key, &mut |bytes| {
            stored = Some(bytes.to_vec());
            Ok(())
        })
    })?;
    of_row(core, secrets, listed, key, stored, rev)
}

/// The same of a row that was read.
pub fn of_row(
    read: &impl Read,
    secrets: &Secrets,
    listed: &Listed,
    key: &[u8],
    stored: Option<Vec<u8>>,
    rev: Rev,
) -> Result<Document, Fault> {
    let table = listed.table;
    if listed.way == Way::Stays {
        return Err(Fault::Invariant(format!("rows of {table} do not leave this machine")));
    }
    let name = name(secrets, listed, key);
    let (fields, record) = match stored {
        Some(bytes) => {
            let row = Row { table, key, bytes: &bytes };
            let plain = postcard::to_stdvec(&(key, leaving(&row)?)).map_err(|why| Fault::Invariant(why.to_string()))?;
            // What cannot be read of it is no reason to keep anything back: it is in the record as it is, as long as there is nothing to be taken out of it.
            let readable = match fields(read, secrets, &row) {
                Err(fault @ (Fault::Record { .. } | Fault::Invariant(_))) => {
                    tracing::warn!(%fault, "a row goes to the cluster without anything readable");
                    Fields::new()
                }
                readable => readable?,
            };
            (veiled(readable), Some(secrets.seal_row(&context(table, &name), &plain)))
        }
        None => (Fields::new(), None),
    };
    Ok(Document { collection: collection(table), table, key: key.to_vec(), name, rev, fields, record })
}

/// Key and bytes of the row that was sealed as the record of the document of this name.
///
/// # Errors
/// It was sealed by another manager, for another row, or was changed since.
pub fn opened(secrets: &Secrets, table: &'static str, name: &[u8], record: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let wrong = |why: &str| Fault::Record { table, key: hex(name), why: why.into() };
    let plain = secrets.open_row(&context(table, name), record).map_err(|_| wrong("does not open with secret.key"))?;
    postcard::from_bytes(&plain).map_err(|_| wrong("is no row"))
}

fn context(table: &str, name: &[u8]) -> Vec<u8> {
    [table.as_bytes(), &[0], name].concat()
}

/// Keys of rows that nobody reads may be names of people or addresses of wallets, and the name of a document outlives its row. Those of the other collections are
/// numbers, ids, hashes and names of settings; those of `hot.redb` are times, numbers of groups and ids.
fn name(secrets: &Secrets, listed: &Listed, key: &[u8]) -> Vec<u8> {
    let is_of_records = listed.file == Which::Core && collection(listed.table) == RECORDS;
    if is_of_records { secrets.replica_name(listed.table, key).to_vec() } else { key.to_vec() }
}

/// A row as it is stored.
struct Row<'a> {
    table: &'static str,
    key: &'a [u8],
    bytes: &'a [u8],
}

impl Row<'_> {
    fn record<V: Record>(&self) -> Result<V, Fault> {
        decode(self.bytes).map_err(|why| self.wrong(why))
    }

    fn key<K: Key>(&self) -> Result<K, Fault> {
        K::decode(self.key).ok_or_else(|| self.wrong("the key does not decode".into()))
    }

    fn wrong(&self, why: String) -> Fault {
        Fault::Record { table: self.table, key: hex(self.key), why }
    }
}

/// The bytes of a row without what never leaves, sealed or not.
fn leaving(row: &Row<'_>) -> Result<Vec<u8>, Fault> {
    match row.table {
        PAYOUTS => {
            let mut payout: Payout = row.record()?;
            // Whoever has a signed transfer can send it.
            payout.attempts.iter_mut().for_each(|attempt| attempt.prepared.bytes = attempt.prepared.unsigned());
            encode(&payout)
        }
        USERS => encode(&without_secrets(row.record()?)),
        _ => Ok(row.bytes.to_vec()),
    }
}

/// Nobody signs in with it: who restores it sets a password at the console.
fn without_secrets(user: User) -> User {
    User { password: PasswordHash { salt: [0; 16], hash: [0; 32] }, second_factor: None, ..user }
}

/// What is readable of a row.
fn fields(read: &impl Read, secrets: &Secrets, row: &Row<'_>) -> Result<Fields, Fault> {
    match row.table {
        NODES => fleet::node(read, &row.record()?),
        POOLS => fleet::pool(&row.record()?),
        NODE_EVENTS => fleet::node_event(read, row.key()?, &row.record()?),
        PAYOUTS => payouts::payout(read, secrets, &row.record()?),
        BATCHES => payouts::batch(secrets, &row.record()?),
        SCHEDULES => payouts::schedule(secrets, &row.record()?),
        ALERTS => logs::alert(&row.record()?),
        SETTINGS => Ok(logs::setting(row.key()?, &row.record()?)),
        AUDIT => Ok(logs::audit(&row.record()?)),
        EPOCHS => logs::epoch(&row.record()?),
        POSTINGS => books::posting(read, &row.record()?),
        ACCRUED => books::accrued(read, row.key()?, &row.record()?),
        BALANCES => books::balance(read, row.key()?, &row.record()?),
        IDEMPOTENCY_KEYS => Ok(logs::remembered(&row.record()?)),
        LEAVES => proof::leaves(read, row.key()?, &row.record()?),
        EVIDENCE => Ok(proof::evidence(row.key()?, &row.record()?)),
        PROOFS => proof::validations(read, row.key()?, &row.record()?),
        _ => Ok(Fields::new()),
    }
}

/// A word of an enum, as everybody spells it.
pub fn word(it: &impl Serialize) -> Result<Value, Fault> {
    plain(it)
}

/// By the names that the type has.
fn plain(it: &impl Serialize) -> Result<Value, Fault> {
    Value::of(it).map_err(|NotPlain(why)| Fault::Invariant(why))
}

fn money(units: Units, currency: Currency) -> Value {
    units.to_decimal(currency).into()
}

/// Id of a node, deleted or not; null where the store does not know it.
fn node_id(read: &impl Read, index: NodeIndex) -> Result<Value, Fault> {
    Ok(nodes::ever(read, index)?.map(|node| node.id.to_string()).into())
}

#[cfg(test)]
mod tests;
