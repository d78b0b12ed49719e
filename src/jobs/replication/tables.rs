//! Tables as a whole, and logs from where they are.

use std::sync::Arc;

use super::{BATCH, Halt, Run, reading};
use crate::domain::replica::Document;
use crate::domain::replica::cluster::{Life, Position};
use crate::gateways::replica::{From, NotTaken, Of};
use crate::storage::replica::catalog::Listed;
use crate::storage::replica::documents::collection;
use crate::storage::replica::marks::Marking;
use crate::storage::replica::rows::{self, Fenced};

impl Run<'_> {
    /// Brings a table from its first row to its last, from where an earlier run got to.
    pub(super) async fn copy(&mut self, listed: &'static Listed, life: &Life) -> Result<(), Halt> {
        let fenced = self.fenced().await?;
        let (_, rev) = fenced.of(listed.file);
        let begun = self.memory.positions.get(listed.table).filter(|at| at.life == *life).cloned();
        let mut at =
            begun.unwrap_or_else(|| Position { table: listed.table.into(), life: life.clone(), scan: rev, through: None, is_whole: false });
        while self.step(listed, &mut at, &fenced).await? {
            self.put_position(at.clone()).await?;
        }
        self.bury(listed, &at, &fenced).await?;
        at.is_whole = true;
        self.put_position(at).await
    }

    /// What was added to a log. False: nothing.
    pub(super) async fn follow(&mut self, listed: &'static Listed, life: &Life, fenced: &Arc<Fenced>) -> Result<bool, Halt> {
        let Some(mut at) = self.memory.positions.get(listed.table).filter(|at| at.life == *life).cloned() else { return Ok(false) };
        let before = at.through.clone();
        while self.step(listed, &mut at, fenced).await? {
            self.put_position(at.clone()).await?;
        }
        let advanced = at.through != before;
        if advanced {
            self.put_position(at).await?;
        }
        Ok(advanced)
    }

    /// One request. False: that was the last one of this table.
    async fn step(&mut self, listed: &'static Listed, at: &mut Position, fenced: &Arc<Fenced>) -> Result<bool, Halt> {
        let (of, secrets, after) = (Arc::clone(fenced), self.context.store.secrets.clone(), at.through.clone());
        let page = reading(move || Ok(rows::page(&of, &secrets, listed, after.as_deref(), BATCH)?)).await?;
        let not_taken = self.write(&page.documents).await?;
        self.again(listed, &page.documents, &not_taken).await?;
        if page.through.is_some() {
            at.through = page.through;
        }
        Ok(!page.is_end)
    }

    /// What is not taken is no reason to stop: it is marked, and tried in each round.
    async fn again(&mut self, listed: &'static Listed, documents: &[Document], not_taken: &[NotTaken]) -> Result<(), Halt> {
        let keys: Vec<Vec<u8>> = not_taken.iter().filter_map(|not| Some(documents.get(not.index)?.key.clone())).collect();
        if !keys.is_empty() {
            self.spurned = true;
            self.context.store.mark_again(listed, keys).await?;
        }
        Ok(())
    }

    /// What the cluster has of a table that was read as a whole, and was not met: it is of before. Of history, what was taken from its start stays there.
    async fn bury(&mut self, listed: &'static Listed, at: &Position, fenced: &Fenced) -> Result<(), Halt> {
        // Their names are their keys.
        let first = if listed.keeps_history() { rows::first_key(fenced, listed)? } else { None };
        let than = match (listed.keeps_history(), &first) {
            // Whether it was never filled or is emptied by now cannot be told from it: what another life of the store had in it is not of this one.
            (true, None) => Marking::of_generation(self.context.store.generation),
            _ => at.scan,
        };
        let (_, rev) = fenced.of(listed.file);
        let of = Of { collection: collection(listed.table), table: listed.table };
        let mut last: Option<Vec<u8>> = None;
        loop {
            let from = match (&last, &first) {
                (Some(last), _) => From::After(last),
                (None, Some(first)) => From::Name(first),
                (None, None) => From::Start,
            };
            let names = self.cluster.older(of, from, than, BATCH.documents).await?;
            let Some(end) = names.last().cloned() else { return Ok(()) };
            let gone = |name: &Vec<u8>| Document {
                collection: of.collection,
                table: listed.table,
                key: Vec::new(),
                name: name.clone(),
                rev,
                fields: Vec::new(),
                record: None,
            };
            let documents: Vec<Document> = names.iter().map(gone).collect();
            self.write(&documents).await?;
            last = Some(end);
        }
    }
}
