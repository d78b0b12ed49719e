//! Archives of submitted outputs, by month: a line is what `GET /nodes/{id}/poot/validations` shows of one, in the order in which they were judged.
//!
//! An archive covers a stretch of the log, and the next one begins behind it, so that each output is in one archive whatever the clock did: where time went back, a
//! line stands in the archive after that of its month.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Failed, Writer};
use crate::domain::archive::{Kind, Manifest};
use crate::domain::ids::NodeIndex;
use crate::domain::statement::Month;
use crate::domain::time::Timestamp;
use crate::domain::validation::Validation;
use crate::storage::Store;
use crate::storage::core::{archives, nodes};
use crate::storage::fault::Fault;
use crate::storage::hot::outputs as log;

/// Rows of the log that are read at once: some nine thousand outputs.
const PAGE_ROWS: usize = 200;

/// What is to be archived next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub month: Month,
    /// Number of the first output.
    pub from: u64,
}

/// The oldest month that is not archived, if it is before `kept`.
pub fn due(store: &Store, kept: Month) -> Result<Option<Due>, Fault> {
    let newest = archives::newest(&store.read()?, Kind::Outputs)?;
    let from = newest.as_ref().map_or(1, |newest| newest.last + 1);
    let Some((from, proof)) = log::page(&store.hot.read()?, from, 1)?.into_iter().next() else { return Ok(None) };
    let after = newest.and_then(|newest| Month::parse(&newest.period)).map_or(Month(0), Month::next);
    let month = Month::of(proof.received_at).max(after);
    Ok((month < kept).then_some(Due { month, from }))
}

/// An archive that is being made.
pub struct Making {
    writer: Writer,
    next: u64,
    until: Timestamp,
    names: HashMap<NodeIndex, String>,
}

impl Making {
    pub fn begin(store: &Store, due: Due) -> Result<Making, Failed> {
        let writer = Writer::begin(store, Kind::Outputs, &due.month.to_string())?;
        Ok(Making { writer, next: due.from, until: due.month.end(), names: HashMap::new() })
    }

    /// Writes the next page; true when all is written. A snapshot each: one for the whole month would keep old pages of the store alive.
    pub fn step(&mut self, store: &Store) -> Result<bool, Failed> {
        self.writer.has_room()?;
        let page = log::page(&store.hot.read()?, self.next, PAGE_ROWS)?;
        let core = store.read()?;
        let Some((last, _)) = page.last() else { return Ok(true) };
        self.next = last + 1;
        for (number, proof) in &page {
            if proof.received_at >= self.until {
                return Ok(true);
            }
            let id = match self.names.entry(proof.node) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let never = || Fault::Invariant(format!("output {number} names node {}, which never was", proof.node.0));
                    unknown.insert(nodes::ever(&core, proof.node)?.ok_or_else(never)?.id.to_string())
                }
            };
            self.writer.line(*number, &Validation::of(id, *number, proof))?;
        }
        Ok(false)
    }

    pub fn finish(self, store: &Store, now: Timestamp) -> Result<Manifest, Failed> {
        self.writer.finish(&store.signing_key, now)
    }
}
