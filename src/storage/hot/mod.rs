//! `hot.redb`: what one flush makes durable together (blocks of samples, evidence, acknowledgements), and the leaves
//! of epochs.

use serde::{Deserialize, Serialize};

use super::fault::{Fault, TxError};
use super::table::{Read, Table, WriteTx};
use crate::domain::time::Timestamp;
use crate::record;

/// One row.
pub const META: Table<String, Meta> = Table::new("meta");

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    pub store_id: String,
    pub generation: u32,
    /// Trusted wall time of the last flush: the clock must not fall behind it.
    pub flushed_at: Timestamp,
}

record! { Meta = 1 }

const ROW: &str = "row";

pub fn initialise(tx: &mut WriteTx<'_>, meta: &Meta) -> Result<(), TxError> {
    tx.put(META, &ROW.to_owned(), meta)
}

pub fn meta(read: &impl Read) -> Result<Meta, Fault> {
    read.get(META, &ROW.to_owned())?.ok_or_else(|| Fault::Invariant("hot.redb has no description of itself".into()))
}
