//! Who writes: one manager for each id.

use super::indexes::INDEXES;
use super::{Halt, Run};
use crate::crypto::hex;
use crate::domain::replica::cluster::{BEAT_MS, Claim, Managed, Own, Standing, Trouble, standing};
use crate::live::Doing;
use crate::storage::replica::{marks, rows};

impl Run<'_> {
    pub(super) fn held(&self) -> Result<&Claim, Halt> {
        self.memory.claim.as_ref().ok_or(Halt::Trouble(Trouble::Claimed))
    }

    /// None: this manager writes. Else what it does instead.
    pub(super) async fn claimed(&mut self) -> Result<Option<Doing>, Halt> {
        if self.memory.claim.is_some() {
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
        // Somebody else wrote after this store was last known to: its revisions have to be above theirs, and everything goes again.
        let is_foreign = claim.is_some_and(|claim| claim.generation == own.generation && !state.runs.contains(&claim.run));
        let starts_above = claim.filter(|claim| is_foreign || (claim.generation == own.generation && claim.starts > state.starts));
        if let Some(claim) = starts_above {
            let starts = claim.starts;
            store.begin_marks_above(starts).await?;
        }
        let mine = Claim {
            generation: store.generation,
            starts: marks::state(&store.read()?)?.starts,
            run: store.replica_run.clone(),
            copy: claim.map_or_else(|| hex(&store.entropy.bytes::<8>()), |claim| claim.copy.clone()),
            beat: claim.map_or(0, |claim| claim.beat).saturating_add(1),
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
        (self.memory.claim, self.memory.watched) = (Some(mine), None);
        self.context.replication.fulfilled(|wishes| wishes.takes_over = false);
        (self.memory.beat_at, self.memory.seen) = (Some(now.boot), None);
        self.memory.round = found.and_then(|Managed { round, .. }| round);
        let positions = self.cluster.positions().await?;
        let opened = positions.into_iter().filter_map(|position| rows::opened_position(&store.secrets, position));
        self.memory.positions = opened.map(|position| (position.table.clone(), position)).collect();
        let indexes = self.cluster.indexes(INDEXES).await?;
        if !indexes.is_empty() {
            tracing::warn!(?indexes, "the cluster has other indexes than it should; they are left as they are");
        }
        self.context.replication.change(|status| {
            status.indexes = indexes;
            status.round.clone_from(&self.memory.round);
            status.positions.clone_from(&self.memory.positions);
        });
        Ok(None)
    }

    /// Says that it lives, and finds out whether it still is the one that writes.
    pub(super) async fn beat_if_due(&mut self) -> Result<(), Halt> {
        let now = self.context.clock.now();
        let is_due = self.memory.beat_at.is_none_or(|at| now.boot.0.saturating_sub(at.0) >= BEAT_MS);
        let Some(claim) = self.memory.claim.as_mut().filter(|_| is_due) else { return Ok(()) };
        (claim.beat, claim.seen_at) = (claim.beat.saturating_add(1), now.wall);
        self.cluster.beat(claim).await?;
        self.memory.beat_at = Some(now.boot);
        Ok(())
    }
}
