//! Measurements, after everything that a restore needs: hour by hour, some requests a run, so that what changes meanwhile does not wait for weeks of them.

use std::sync::Arc;

use super::{Halt, MOST_NOT_TAKEN, Run, reading};
use crate::domain::replica::Rev;
use crate::domain::replica::cluster::{Life, Position};
use crate::live::Job;
use crate::storage::compaction::Which;
use crate::storage::hot::hours;
use crate::storage::replica::documents::measured::gap;
use crate::storage::replica::marks::LateHour;
use crate::storage::replica::measured::{self, Measured, Page, Place};

/// What follows goes in the next run, which comes at once.
const REQUESTS_A_RUN: u32 = 40;
/// Hours of groups of nodes that came late, in one run.
const LATE_A_RUN: usize = 40;

impl Run<'_> {
    pub(super) async fn measurements(&mut self, life: &Life) -> Result<(), Halt> {
        let rules = self.context.settings.get().replication;
        let wanted = |of: &Measured| match of {
            Measured::Hourly => rules.hourly_metrics,
            Measured::Raw => rules.raw_metrics,
        };
        let wanted: Vec<Measured> = Measured::ALL.into_iter().filter(wanted).collect();
        let mut is_done = self.late(&wanted).await?;
        for of in wanted {
            is_done &= self.measurements_of(of, life).await?;
        }
        if !is_done {
            self.context.nudges.nudge(Job::Replication);
        }
        Ok(())
    }

    /// False: more of it waits.
    async fn measurements_of(&mut self, of: Measured, life: &Life) -> Result<bool, Halt> {
        let store = &self.context.store;
        let end = measured::end(store)?;
        // In any life of the store: an hour that is there stays as it is.
        let known = self.memory.positions.get(of.table()).filter(|at| at.life.copy == life.copy).and_then(|at| at.through.clone());
        let mut at = match known.and_then(|bytes| Place::decode(&bytes)) {
            Some(at) => at,
            None => Place::of_hour(measured::beginning(store, of)?),
        };
        if let Some(oldest) = measured::oldest(store, of).filter(|oldest| *oldest > at.hour) {
            let rev = self.fenced().await?.hot_rev;
            self.write(&[gap(&self.context.store.secrets, of, (at.hour, oldest), rev)?]).await?;
            at = Place::of_hour(oldest);
            self.put_place(of, life, at).await?;
        }
        let mut requests = 0;
        while at.hour < end {
            if requests == REQUESTS_A_RUN {
                return Ok(false);
            }
            let fenced = self.fenced().await?;
            let (store, wanted, rev) = (Arc::clone(&self.context.store), self.batch().documents, fenced.hot_rev);
            let page: Page = reading(move || Ok(measured::page(&store, &fenced.core, of, at, rev, wanted)?)).await?;
            at = page.next;
            if page.documents.is_empty() && at.hour < end {
                continue;
            }
            let not_taken = self.write(&page.documents).await?;
            if not_taken.len() > MOST_NOT_TAKEN {
                return Ok(true);
            }
            requests += 1;
            self.put_place(of, life, at).await?;
        }
        Ok(true)
    }

    /// Hours that were rolled up again since they were sent. False: more of them wait.
    async fn late(&mut self, wanted: &[Measured]) -> Result<bool, Halt> {
        let store = &self.context.store;
        let late = store.late_hours(LATE_A_RUN)?;
        let is_done = late.len() < LATE_A_RUN;
        for LateHour { mark, hour, group } in late {
            for of in wanted {
                let fenced = self.fenced().await?;
                let (store, of) = (Arc::clone(&self.context.store), *of);
                let read = move || Ok(measured::documents(&store, &fenced.core, of, hour, &hours::nodes_of(group), fenced.hot_rev)?);
                let documents = reading(read).await?;
                for some in documents.chunks(self.batch().documents) {
                    self.write(some).await?;
                }
            }
            self.context.store.arrived(Which::Hot, vec![mark]).await?;
        }
        Ok(is_done)
    }

    async fn put_place(&mut self, of: Measured, life: &Life, at: Place) -> Result<(), Halt> {
        let table = of.table().into();
        self.put_position(Position { table, life: life.clone(), scan: Rev(0), through: Some(at.encode()), is_whole: true }).await
    }
}
