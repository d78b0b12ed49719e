//! Measurements, after everything that a restore needs: hour by hour, some requests a run, so that what changes meanwhile does not wait for weeks of them.

use std::sync::Arc;

use super::{Halt, Run, is_of_all, reading};
use crate::domain::replica::cluster::{Life, Position};
use crate::domain::replica::{Document, Rev};
use crate::live::Job;
use crate::storage::compaction::Which;
use crate::storage::hot::hours;
use crate::storage::replica::documents::measured::gap;
use crate::storage::replica::marks::LateHour;
use crate::storage::replica::measured::{self, Measured, Page, Place};

/// What follows goes in the next run, which comes at once.
const REQUESTS_A_RUN: u32 = 40;
/// Hours of groups of nodes that came late, in one run.
const LATE_A_RUN: usize = 8;

impl Run<'_> {
    pub(super) async fn measurements(&mut self, life: &Life) -> Result<(), Halt> {
        let rules = self.context.settings.get().replication;
        let wanted = |of: &Measured| match of {
            Measured::Hourly => rules.hourly_metrics,
            Measured::Raw => rules.raw_metrics,
        };
        let wanted: Vec<Measured> = Measured::ALL.into_iter().filter(wanted).collect();
        let mut is_done = self.late(&wanted, life).await?;
        for of in Measured::ALL {
            if wanted.contains(&of) {
                is_done &= self.measurements_of(of, life).await?;
            } else if self.place(of, life).is_some() {
                // What comes late of it goes nowhere: switched on again, it begins at the beginning.
                self.put_position(self.position(of, life, None)).await?;
            }
        }
        if !is_done {
            self.context.nudges.nudge(Job::Replication);
        }
        Ok(())
    }

    fn place(&self, of: Measured, life: &Life) -> Option<Place> {
        // In any life of the store: an hour that is there stays as it is.
        let position = self.memory.positions.get(of.table()).filter(|at| at.life.copy == life.copy)?;
        Place::decode(position.through.as_deref()?)
    }

    fn position(&self, of: Measured, life: &Life, at: Option<Place>) -> Position {
        Position { table: of.table().into(), life: life.clone(), scan: Rev(0), through: at.map(Place::encode), is_whole: true }
    }

    /// False: more of it waits.
    async fn measurements_of(&mut self, of: Measured, life: &Life) -> Result<bool, Halt> {
        let store = &self.context.store;
        let mut at = match self.place(of, life) {
            Some(at) => at,
            None => Place::of_hour(measured::beginning(store, of)?),
        };
        if let Some(oldest) = measured::oldest(store, of).filter(|oldest| *oldest > at.hour) {
            let rev = self.fenced().await?.hot_rev;
            self.write(&[gap(&self.context.store.secrets, of, (at.hour, oldest), rev)?]).await?;
            at = Place::of_hour(oldest);
            self.put_position(self.position(of, life, Some(at))).await?;
        }
        for _ in 0..REQUESTS_A_RUN {
            if at.hour >= measured::end(&self.context.store)? {
                return Ok(true);
            }
            let fenced = self.fenced().await?;
            let (store, wanted, rev) = (Arc::clone(&self.context.store), self.batch().documents, fenced.hot_rev);
            let page: Page = reading(move || Ok(measured::page(&store, &fenced.core, of, at, rev, wanted)?)).await?;
            if !self.write_some(&page.documents).await? {
                return Ok(true);
            }
            at = page.next;
            self.put_position(self.position(of, life, Some(at))).await?;
            self.go_on().await?;
        }
        Ok(false)
    }

    /// In as many requests as the link takes. False: their collection takes nothing.
    async fn write_some(&mut self, mut documents: &[Document]) -> Result<bool, Halt> {
        while !documents.is_empty() {
            let (some, rest) = documents.split_at(self.batch().first_of(documents));
            let not_taken = self.write(some).await?;
            if is_of_all(&not_taken, some.len()) {
                return Ok(false);
            }
            documents = rest;
        }
        Ok(true)
    }

    /// Hours that were rolled up again since they were sent. False: more of them wait.
    async fn late(&mut self, wanted: &[Measured], life: &Life) -> Result<bool, Halt> {
        let late = self.context.store.late_hours(LATE_A_RUN)?;
        let is_done = late.len() < LATE_A_RUN;
        for LateHour { mark, hour, group } in late {
            // What was not sent yet goes as it is by then.
            let sent = wanted.iter().filter(|of| self.place(**of, life).is_some_and(|at| at.hour >= hour));
            for of in sent.copied().collect::<Vec<_>>() {
                for nodes in hours::nodes_of(group).chunks((self.batch().documents / of.per_node()).max(1)) {
                    let fenced = self.fenced().await?;
                    let (store, nodes) = (Arc::clone(&self.context.store), nodes.to_vec());
                    let read = move || Ok(measured::documents(&store, &fenced.core, of, hour, &nodes, fenced.hot_rev)?);
                    let documents = reading(read).await?;
                    if !self.write_some(&documents).await? {
                        return Ok(true);
                    }
                }
            }
            self.context.store.arrived(Which::Hot, vec![mark]).await?;
        }
        Ok(is_done)
    }
}
