//! Who writes: one manager for each id.

use super::indexes::INDEXES;
use super::seen::Seen;
use super::{Halt, Run, alerts};
use crate::crypto::hex;
use crate::domain::replica::Rev;
use crate::domain::replica::cluster::{BEAT_MS, Claim, Managed, Own, Standing, Trouble, standing};
use crate::gateways::replica::Of;
use crate::live::Doing;
use crate::storage::compaction::Which;
use crate::storage::replica::catalog::{CATALOG, Way};
use crate::storage::replica::documents::{collection, document};
use crate::storage::replica::{marks, rows};

impl Run<'_> {
    pub(super) fn held(&self) -> Result<&Claim, Halt> {
        self.memory.claim.as_ref().ok_or(Halt::Trouble(Trouble::Claimed))
    }

    /// None: this manager writes. Else what it does instead.
    pub(super) async fn claimed(&mut self) -> Result<Option<Doing>, Halt> {
        if self.memory.claim.is_some() {
            // There is nobody to take over from.
            self.context.replication.fulfilled(|wishes| wishes.takes_over = false);
            self.beat_if_due().await?;
            return Ok(None);
        }
        let (store, now) = (&self.context.store, self.context.clock.now());
        let found = self.cluster.managed().await?;
        self.context.replication.change(|status| status.was_there = true);
        let state = marks::state(&store.read()?)?;
        let own = Own {
            generation: store.generation,
            run: &store.replica_run,
            known: &state.runs,
            takes_over: self.context.replication.wishes().takes_over,
        };
        let claim = found.as_ref().map(|managed| &managed.claim);
        let doing = match standing(&own, claim, &mut self.memory.watched, now.boot) {
            Standing::Watch => Some(Doing::Watching),
            Standing::Second => Some(Doing::Second),
            Standing::Superseded => Some(Doing::Superseded),
            Standing::Mine | Standing::Free => None,
        };
        if doing.is_some() {
            return Ok(doing);
        }
        // Somebody else wrote after this store was last known to, or this store or the cluster was set back: revisions have to be above all there are, and everything goes again.
        let is_of_others = claim.is_some_and(|claim| {
            claim.generation == own.generation
                && (!state.runs.contains(&claim.run)
                    || claim.starts > state.starts
                    || (claim.run == store.replica_run && claim.beat < self.memory.last_beat))
        });
        // Who wrote last, and knows how far that was, need not look.
        let wrote_last = claim.is_some_and(|claim| claim.run == store.replica_run && self.memory.tended.as_ref() == Some(&claim.copy));
        let is_same_life = claim.is_some_and(|claim| claim.generation == own.generation);
        let is_anew = is_of_others || (is_same_life && !wrote_last && self.is_another_past().await?);
        if let Some(claim) = claim.filter(|_| is_anew) {
            let starts = claim.starts;
            store.begin_marks_above(starts).await?;
        }
        let copy = claim.filter(|_| !is_anew).map_or_else(|| hex(&store.entropy.bytes::<8>()), |claim| claim.copy.clone());
        let mine = Claim {
            generation: store.generation,
            starts: marks::state(&store.read()?)?.starts,
            run: store.replica_run.clone(),
            copy,
            beat: claim.map_or(0, |claim| claim.beat).max(self.memory.last_beat).saturating_add(1),
            is_released: false,
            seen_at: now.wall,
        };
        if !self.cluster.take(&mine, claim).await? {
            // Whoever it was is looked at in the next run.
            return Ok(Some(Doing::Watching));
        }
        let run = mine.run.clone();
        store.write(move |tx| marks::holds(tx, &run)).await?;
        tracing::info!(generation = mine.generation, "replication begins");
        self.memory.last_beat = mine.beat;
        (self.memory.claim, self.memory.watched) = (Some(mine), None);
        self.context.replication.fulfilled(|wishes| wishes.takes_over = false);
        self.memory.beat_at = Some(now.boot);
        // Looked at once more: a round that was given up may have turned late, up to the beat that is new now.
        self.memory.round = self.cluster.managed().await?.and_then(|Managed { round, .. }| round);
        let copy = self.held()?.copy.clone();
        if self.memory.tended.as_ref() != Some(&copy) {
            let positions = self.cluster.positions().await?;
            let opened = positions.into_iter().filter_map(|position| rows::opened_position(&store.secrets, position));
            self.memory.positions = opened.map(|position| (position.table.clone(), position)).collect();
            let indexes = self.cluster.indexes(INDEXES).await?;
            if !indexes.is_empty() {
                tracing::warn!(?indexes, "the cluster has other indexes than it should; they are left as they are");
            }
            self.context.replication.change(|status| status.indexes = indexes);
            (self.memory.tended, self.memory.seen) = (Some(copy), Seen::default());
        }
        self.context.replication.change(|status| {
            status.round.clone_from(&self.memory.round);
            status.positions.clone_from(&self.memory.positions);
        });
        Ok(None)
    }

    /// Whether the logs end in the cluster with something else than here: one of both was set back, and went on from there.
    async fn is_another_past(&self) -> Result<bool, Halt> {
        let store = &self.context.store;
        let positions = self.cluster.positions().await?;
        let core = store.read()?;
        for position in positions.into_iter().filter_map(|position| rows::opened_position(&store.secrets, position)) {
            let logs = || CATALOG.iter().filter(|listed| listed.way == Way::Log && listed.file == Which::Core);
            let (Some(listed), Some(key)) = (logs().find(|listed| listed.table == position.table), position.through) else { continue };
            let of = Of { collection: collection(listed.table), table: listed.table };
            let here = document(&core, &core, &store.secrets, listed, &key, Rev(0))?;
            let there = self.cluster.row(of, &here.name).await?;
            // What was archived meanwhile is not here any more, and what was not taken is not there.
            let differs = here.record.zip(there).is_some_and(|(here, there)| here != there.record);
            if differs || rows::is_after_the_last(&core, listed, &key)? {
                tracing::warn!(table = listed.table, "the cluster has another past than this store: everything goes again");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says that it lives, and finds out whether it still is the one that writes.
    pub(super) async fn beat_if_due(&mut self) -> Result<(), Halt> {
        let now = self.context.clock.now();
        let is_due = self.memory.beat_at.is_none_or(|at| now.boot.0.saturating_sub(at.0) >= BEAT_MS);
        let Some(claim) = self.memory.claim.as_mut().filter(|_| is_due) else { return Ok(()) };
        (claim.beat, claim.seen_at) = (claim.beat.saturating_add(1), now.wall);
        self.cluster.beat(claim).await?;
        (self.memory.beat_at, self.memory.last_beat) = (Some(now.boot), claim.beat);
        // A run may take hours.
        Ok(alerts::tell(self.context, self.memory).await?)
    }
}
