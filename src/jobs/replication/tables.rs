//! Tables as a whole, and logs from where they are.

use std::sync::Arc;

use super::{Halt, LOOKED_AT, Run, WHOLE, is_of_all, reading};
use crate::domain::replica::cluster::{Life, Position};
use crate::domain::replica::{Document, Rev};
use crate::gateways::replica::{From, NotTaken, Of};
use crate::storage::replica::catalog::Listed;
use crate::storage::replica::documents::collection;
use crate::storage::replica::marks::Marking;
use crate::storage::replica::rows::{self, Fenced, Page};

/// How far the cluster's rows of a table that was copied were looked at; gone with the process.
#[derive(Debug)]
pub(super) struct Buried {
    table: &'static str,
    scan: Rev,
    last: Vec<u8>,
}

impl Run<'_> {
    /// Brings a table from its first row to its last, from where an earlier run got to. False: its collection does not take it.
    pub(super) async fn copy(&mut self, listed: &'static Listed, life: &Life) -> Result<bool, Halt> {
        let mut fenced = self.fenced().await?;
        let (_, rev) = fenced.of(listed.file);
        let begun = self.memory.positions.get(listed.table).filter(|at| at.life == *life).cloned();
        let mut at =
            begun.unwrap_or_else(|| Position { table: listed.table.into(), life: life.clone(), scan: rev, through: None, is_whole: false });
        loop {
            let page = self.page(listed, &at, &fenced).await?;
            drop(fenced);
            let not_taken = self.write(&page.documents).await?;
            if is_of_all(&not_taken, page.documents.len()) {
                return Ok(false);
            }
            self.again(listed, &page.documents, &not_taken).await?;
            at.through = page.through.or(at.through);
            // What changed since the first one is marked, and goes again: any later one does, and lets go of what the one before held.
            fenced = self.fenced().await?;
            self.put_position(at.clone()).await?;
            if page.is_end {
                break;
            }
        }
        self.bury(listed, &at, &fenced).await?;
        at.is_whole = true;
        self.put_position(at).await?;
        Ok(true)
    }

    /// What was added to a log. False: not all of it as of this snapshot, or what was not taken has a mark by now, which the round has to have.
    pub(super) async fn follow(&mut self, listed: &'static Listed, life: &Life, fenced: &Arc<Fenced>) -> Result<bool, Halt> {
        let Some(mut at) = self.memory.positions.get(listed.table).filter(|at| at.life == *life).cloned() else { return Ok(true) };
        let mut is_through = true;
        loop {
            let page = self.page(listed, &at, fenced).await?;
            if page.documents.is_empty() {
                return Ok(is_through);
            }
            if !self.may_send_of(fenced).await? {
                return Ok(false);
            }
            let not_taken = self.write(&page.documents).await?;
            self.again(listed, &page.documents, &not_taken).await?;
            is_through &= not_taken.is_empty();
            at.through = page.through.or(at.through);
            self.put_position(at.clone()).await?;
            if page.is_end {
                return Ok(is_through);
            }
            if self.is_held_too_long(fenced) {
                return Ok(false);
            }
        }
    }

    async fn page(&self, listed: &'static Listed, at: &Position, fenced: &Arc<Fenced>) -> Result<Page, Halt> {
        let (of, secrets, after, batch) = (Arc::clone(fenced), self.context.store.secrets.clone(), at.through.clone(), self.batch());
        reading(move || Ok(rows::page(&of, &secrets, listed, after.as_deref(), batch)?)).await
    }

    /// What is not taken is no reason to stop: it is marked, and tried in each round.
    async fn again(&mut self, listed: &'static Listed, documents: &[Document], not_taken: &[NotTaken]) -> Result<(), Halt> {
        let keys: Vec<Vec<u8>> = not_taken.iter().filter_map(|not| Some(documents.get(not.index)?.key.clone())).collect();
        if !keys.is_empty() {
            self.context.store.mark_again(listed, keys).await?;
        }
        Ok(())
    }

    /// What the cluster has of a table that was read as a whole, and was not met: it is of before. Of history, what was taken from its start stays there.
    async fn bury(&mut self, listed: &'static Listed, at: &Position, fenced: &Fenced) -> Result<(), Halt> {
        // Their names are their keys.
        let first = if listed.keeps_history() { rows::beginning(fenced, listed)? } else { None };
        // Of a history of which nothing says where it would go on, all that this life of the store has put there may be of it.
        let than = if listed.keeps_history() && first.is_none() { Marking::of_generation(self.context.store.generation) } else { at.scan };
        let of = Of { collection: collection(listed.table), table: listed.table };
        let begun = self.memory.buried.take().filter(|begun| begun.table == listed.table && begun.scan == at.scan);
        let mut last: Option<Vec<u8>> = begun.map(|begun| begun.last);
        loop {
            let from = match (&last, &first) {
                (Some(last), _) => From::After(last),
                (None, Some(first)) => From::Name(first),
                (None, None) => From::Start,
            };
            let answer = self.cluster.older(of, from, than, self.memory.pace.of(LOOKED_AT)).await;
            let older = self.answered(answer)?;
            let gone = |name: &Vec<u8>| Document {
                collection: of.collection,
                table: listed.table,
                key: Vec::new(),
                name: name.clone(),
                // Above what it buries, and below all that was put in its place since.
                rev: at.scan,
                fields: Vec::new(),
                record: None,
            };
            for rows in older.rows.chunks(WHOLE.documents) {
                let documents: Vec<Document> = rows.iter().map(|(name, _)| gone(name)).collect();
                self.write(&documents).await?;
            }
            let Some(end) = older.last else { return Ok(()) };
            self.memory.buried = Some(Buried { table: listed.table, scan: at.scan, last: end.clone() });
            last = Some(end);
            self.beat_if_due().await?;
        }
    }
}
