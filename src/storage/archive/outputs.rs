//! Archives of submitted outputs, by month: a line is what `GET /nodes/{id}/poot/validations` shows of one, in the order in which they were judged.
//!
//! An archive covers a stretch of the log, and the next one begins behind it, so that each output is in one archive whatever the clock did: where time went back, a
//! line stands in the archive after that of its month.

use std::sync::Arc;

use super::content::Content;
use super::names::NodeIds;
use super::{Failed, Writer};
use crate::domain::archive::{Kind, Manifest};
use crate::domain::statement::Month;
use crate::domain::validation::Validation;
use crate::storage::core::archives;
use crate::storage::fault::{Fault, WriteError};
use crate::storage::hot::outputs as log;
use crate::storage::{Lane, Store};

/// Rows of the log that are read at once: some nine thousand outputs.
const PAGE_ROWS: usize = 200;
/// Rows deleted in one transaction.
const ROWS: usize = 2_000;

/// Outputs of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    pub month: Month,
    /// Number of the next output.
    pub from: u64,
    ids: NodeIds,
}

impl Outputs {
    pub fn new(month: Month, from: u64) -> Outputs {
        Outputs { month, from, ids: NodeIds::default() }
    }
}

impl Content for Outputs {
    const KIND: Kind = Kind::Outputs;

    fn due(store: &Store, kept: Month) -> Result<Option<Outputs>, Fault> {
        let newest = archives::newest(&store.read()?, Kind::Outputs)?;
        let from = newest.as_ref().map_or(1, |newest| newest.last + 1);
        let Some((from, proof)) = log::page(&store.hot.read()?, from, 1)?.into_iter().next() else { return Ok(None) };
        let after = newest.and_then(|newest| Month::parse(&newest.period)).map_or(Month(0), Month::next);
        let month = Month::of(proof.received_at).max(after);
        Ok((month < kept).then(|| Outputs::new(month, from)))
    }

    fn period(&self) -> String {
        self.month.to_string()
    }

    fn step(&mut self, store: &Store, writer: &mut Writer) -> Result<bool, Failed> {
        let page = log::page(&store.hot.read()?, self.from, PAGE_ROWS)?;
        let core = store.read()?;
        let Some((last, _)) = page.last() else { return Ok(true) };
        self.from = last + 1;
        for (number, proof) in &page {
            if proof.received_at >= self.month.end() {
                return Ok(true);
            }
            let id = self.ids.of(&core, proof.node)?;
            writer.line(*number, &Validation::of(id, *number, proof))?;
        }
        Ok(false)
    }

    fn is_left(store: &Store, newest: &Manifest) -> Result<bool, Fault> {
        log::begins_within(&store.hot.read()?, newest.last)
    }

    fn holds(store: &Store, archive: &Manifest) -> Result<bool, Fault> {
        let next = log::page(&store.hot.read()?, archive.first, 1)?;
        Ok(next.first().is_some_and(|(number, _)| *number <= archive.last))
    }

    async fn forget(store: &Arc<Store>, newest: &Manifest) -> Result<bool, WriteError> {
        let last = newest.last;
        Ok(store.hot.write(Lane::Ordinary, move |tx| log::prune(tx, last, ROWS)).await? == ROWS)
    }
}
