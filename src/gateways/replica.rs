//! The cluster where documents of many managers meet. Knows nothing of when and why; one request each, nothing twice. `fleet` reads what all of them wrote.

mod fleet;
mod mongo;
mod values;

use std::fmt;

use crate::domain::replica::cluster::{Claim, Managed, Position, Round, Trouble};
use crate::domain::replica::{Document, Fields, Rev};

pub use mongo::{ANSWER, Mongo, Options, check_uri};

use super::chain::Boxed;

/// A document that the cluster did not take, for a reason of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Its place among what was sent.
    pub index: usize,
    pub why: String,
}

/// The field of what is gone that says since when, by the clock of the server.
pub const GONE_AT: &str = "deleted_at";

/// An index that the collections should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    pub collection: &'static str,
    /// Fields, and whether each goes down.
    pub fields: &'static [(&'static str, bool)],
    /// Documents are deleted by the cluster so many seconds after the one field.
    pub expire_seconds: Option<u32>,
}

/// All of one manager's documents in it; nothing here reads or writes those of another one.
pub trait Cluster: fmt::Debug + Send + Sync {
    /// What it says of this manager; None: nothing yet.
    fn managed(&self) -> Boxed<'_, Result<Option<Managed>, Trouble>>;
    /// Takes the claim, if it still is as it was found. False: somebody else was there first.
    fn take<'a>(&'a self, claim: &'a Claim, found: Option<&'a Claim>) -> Boxed<'a, Result<bool, Trouble>>;
    /// Says that whoever holds the claim lives, or has ended.
    fn beat<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<(), Trouble>>;
    /// From now on the documents are this round; None: no round, while they are copied anew. Only as long as the claim has not beaten since.
    fn turn<'a>(&'a self, claim: &'a Claim, round: Option<&'a Round>) -> Boxed<'a, Result<(), Trouble>>;
    fn positions(&self) -> Boxed<'_, Result<Vec<Position>, Trouble>>;
    /// Over one of an earlier beat of the claim.
    fn put_position<'a>(&'a self, claim: &'a Claim, position: &'a Position) -> Boxed<'a, Result<(), Trouble>>;
    /// Writes what is newer than what it has, in any order.
    fn write<'a>(&'a self, documents: &'a [Document]) -> Boxed<'a, Result<Vec<NotTaken>, Trouble>>;
    /// Sets fields of documents that are there, beside those of their rows: what is seen and not stored.
    fn refresh<'a>(&'a self, of: Of<'a>, seen: &'a [(Vec<u8>, Fields)]) -> Boxed<'a, Result<(), Trouble>>;
    /// Of at most `limit` documents of a table, from the name on or after it: those of rows that are there and whose revision is less.
    fn older<'a>(&'a self, of: Of<'a>, from: From<'a>, than: Rev, limit: usize) -> Boxed<'a, Result<Older, Trouble>>;
    /// Documents of a table that are there, after the name, in order.
    fn rows<'a>(&'a self, of: Of<'a>, after: Option<&'a [u8]>, limit: usize) -> Boxed<'a, Result<Vec<Row>, Trouble>>;
    /// The document of one row, if it is there.
    fn row<'a>(&'a self, of: Of<'a>, name: &'a [u8]) -> Boxed<'a, Result<Option<Row>, Trouble>>;
    /// `attempt` grows with each try: of two that arrive in any order the later one stays.
    fn put_part(&self, round: Rev, part: u32, attempt: Rev, rows: Vec<u8>) -> Boxed<'_, Result<(), Trouble>>;
    fn part(&self, round: Rev, part: u32) -> Boxed<'_, Result<Option<Vec<u8>>, Trouble>>;
    /// Deletes the parts of rounds before one, but those of another one.
    fn drop_parts(&self, before: Rev, but: Option<Rev>) -> Boxed<'_, Result<(), Trouble>>;
    /// Makes what is missing; what is there otherwise than it should be, in words.
    fn indexes<'a>(&'a self, wanted: &'a [Index]) -> Boxed<'a, Result<Vec<String>, Trouble>>;
}

/// A table of the store, and the collection that its rows go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Of<'a> {
    pub collection: &'a str,
    pub table: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From<'a> {
    Start,
    Name(&'a [u8]),
    After(&'a [u8]),
}

/// Some documents of a table that were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Older {
    /// Names, in order, and revisions.
    pub rows: Vec<(Vec<u8>, Rev)>,
    /// After which there may be others; None: there are none.
    pub last: Option<Vec<u8>>,
}

/// A row as it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: Vec<u8>,
    pub rev: Rev,
    /// Sealed.
    pub record: Vec<u8>,
}
