//! Rounds: what the cluster has becomes one state of the store as a whole.

use std::fmt;
use std::sync::Arc;

use super::{Halt, Run, reading};
use crate::clock::Stopwatch;
use crate::domain::replica::Rev;
use crate::domain::replica::cluster::{Life, Round, Through};
use crate::domain::time::{BootMs, Timestamp};
use crate::live::Doing;
use crate::storage::compaction::Which;
use crate::storage::replica::catalog::{CATALOG, Listed, Way};
use crate::storage::replica::marks::Mark;
use crate::storage::replica::rows::{self, Fenced, Marked};

/// Requests for which logs are read from one snapshot: as long as one is held, pages that are freed are not used again.
const MOST_OF_A_SNAPSHOT: usize = 200;

/// Parts of a round that has not turned yet. Whatever ends a run, the next one goes on from here; gone with the process.
#[derive(Debug)]
pub(super) struct Begun {
    life: Life,
    /// The round before it.
    after: Option<Rev>,
    rev: Rev,
    parts: u32,
    pass: Pass,
}

/// A round that has turned, and whose documents are not all there. They have to be what its parts say until they are, so its snapshot is held.
pub(super) struct Turned {
    rev: Rev,
    at: Arc<Fenced>,
    file: Which,
    last: Option<Mark>,
    /// When some of them last arrived.
    moved_at: BootMs,
}

/// Where none did for so long, the snapshot is let go: pages that are freed meanwhile are not used again. What is left goes with another round. In ms.
const HELD_MS: i64 = 3_600_000;

impl Turned {
    pub(super) fn is_stale(&self, now: BootMs) -> bool {
        now.0.saturating_sub(self.moved_at.0) > HELD_MS
    }
}

impl fmt::Debug for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turned")
    }
}

/// Once over the marks of both files.
#[derive(Debug, Clone)]
struct Pass {
    /// Of each file, what is not above is in the parts of passes before.
    above: Revs,
    /// Of the snapshot that it began with. A pass of one snapshot has all that there was; one that was cut has not, and another one follows.
    of: Revs,
    file: Which,
    last: Option<Mark>,
}

/// Of core and hot.
type Revs = [Rev; 2];

impl Pass {
    fn begin(above: Revs, at: &Fenced) -> Pass {
        Pass { above, of: revs(at), file: Which::Core, last: None }
    }

    fn above(&self) -> Rev {
        let [core, hot] = self.above;
        if self.file == Which::Core { core } else { hot }
    }
}

fn revs(at: &Fenced) -> Revs {
    [at.core_rev, at.hot_rev]
}

fn logs() -> impl Iterator<Item = &'static Listed> {
    CATALOG.iter().filter(|listed| listed.way == Way::Log)
}

impl Run<'_> {
    /// What the logs have, then what changed as parts of the round, then the round, then the documents of what changed: a restore finds one state of the store at any moment.
    pub(super) async fn round(&mut self, life: &Life) -> Result<(), Halt> {
        self.apply_turned().await?;
        let (at, when) = self.follow_logs(life).await?;
        let (rev, parts) = self.put_parts(&at, life).await?;
        let through: Vec<Through> = logs()
            .filter_map(|listed| {
                let key = self.memory.positions.get(listed.table)?.through.clone()?;
                Some(Through { table: listed.table.into(), key })
            })
            .collect();
        if parts > 0 || self.memory.round.as_ref().is_none_or(|round| round.through != through) {
            self.turn(Some(Round { rev, at: when, parts, through })).await?;
            self.begin_to_apply(at, rev);
            self.cluster.drop_parts(rev, None).await?;
        }
        self.apply_turned().await
    }

    /// The same while there is no round: some tables cannot be read to their end, which is no matter of the others.
    pub(super) async fn without_a_round(&mut self, life: &Life) -> Result<(), Halt> {
        let (at, _) = self.follow_logs(life).await?;
        // Of none: whatever becomes of this, there is another snapshot in the next run.
        self.begin_to_apply(at, Rev(0));
        self.apply().await
    }

    /// Logs up to a snapshot, which is the one of the round, and when it was taken.
    async fn follow_logs(&mut self, life: &Life) -> Result<(Arc<Fenced>, Timestamp), Halt> {
        loop {
            let when = self.context.clock.now().wall;
            let at = self.fenced().await?;
            let (mut requests, mut spurned) = (0, false);
            for listed in logs() {
                let followed = self.follow(listed, life, &at).await?;
                requests += followed.requests;
                spurned |= followed.spurned;
            }
            // What a log lacks there has a mark by now, which the round has to have.
            if !spurned && requests < MOST_OF_A_SNAPSHOT {
                return Ok((at, when));
            }
        }
    }

    async fn marked(&self, at: &Arc<Fenced>, which: Which, above: Rev, after: Option<Mark>) -> Result<Marked, Halt> {
        let (at, store, batch) = (Arc::clone(at), Arc::clone(&self.context.store), self.batch());
        reading(move || Ok(rows::marked(&store, &at, which, above, after.as_ref(), batch)?)).await
    }

    /// Brings the parts up to the snapshot; the round's name, and how many parts it has.
    async fn put_parts(&mut self, at: &Arc<Fenced>, life: &Life) -> Result<(Rev, u32), Halt> {
        let after = self.memory.round.as_ref().map(|round| round.rev);
        let mut begun = match self.memory.begun.take() {
            Some(begun) if begun.life == *life && begun.after == after => begun,
            _ => Begun { life: life.clone(), after, rev: at.core_rev, parts: 0, pass: Pass::begin([Rev(0); 2], at) },
        };
        let ended = self.put_parts_of(&mut begun, at).await;
        let done = (begun.rev, begun.parts);
        self.memory.begun = Some(begun);
        ended.map(|()| done)
    }

    async fn put_parts_of(&mut self, begun: &mut Begun, at: &Arc<Fenced>) -> Result<(), Halt> {
        loop {
            let pass = &begun.pass;
            let marked = self.marked(at, pass.file, pass.above(), pass.last.clone()).await?;
            let Some(last) = marked.marks.last().cloned() else {
                match (pass.file, pass.of == revs(at)) {
                    (Which::Core, _) => (begun.pass.file, begun.pass.last) = (Which::Hot, None),
                    (Which::Hot, true) => return Ok(()),
                    (Which::Hot, false) => begun.pass = Pass::begin(pass.of, at),
                }
                continue;
            };
            self.context.replication.change(|status| status.doing = Doing::Sending);
            if begun.parts == 0 {
                // What an earlier process left.
                self.cluster.drop_parts(begun.rev, begun.after).await?;
            }
            let part = rows::part(&self.context.store.secrets, begun.rev, &marked)?;
            self.may_send().await?;
            let (sent, size) = (Stopwatch::start(), part.len());
            let arrived = self.cluster.put_part(begun.rev, begun.parts, at.core_rev, part).await;
            self.answered(arrived)?;
            begun.parts = begun.parts.saturating_add(1);
            begun.pass.last = Some(last);
            self.sent(0, size, &sent);
        }
    }

    fn begin_to_apply(&mut self, at: Arc<Fenced>, rev: Rev) {
        // Parts of a round to come would lack what loses its mark from now on.
        self.memory.begun = None;
        let moved_at = self.context.clock.now().boot;
        self.memory.turned = Some(Turned { rev, at, file: Which::Core, last: None, moved_at });
    }

    /// The rest of the documents of the round that the cluster has, if it is this process's.
    async fn apply_turned(&mut self) -> Result<(), Halt> {
        let round = self.memory.round.as_ref().map(|round| round.rev);
        match &self.memory.turned {
            Some(turned) if round == Some(turned.rev) => self.apply().await,
            _ => {
                self.memory.turned = None;
                Ok(())
            }
        }
    }

    /// What is marked becomes documents; where one is not taken, its mark stays.
    async fn apply(&mut self) -> Result<(), Halt> {
        while let Some(Turned { at, file, last, .. }) = &self.memory.turned {
            let file = *file;
            let marked = self.marked(at, file, Rev(0), last.clone()).await?;
            let end = marked.marks.last().cloned();
            let Some(turned) = &mut self.memory.turned else { break };
            if end.is_none() {
                match file {
                    Which::Core => (turned.file, turned.last) = (Which::Hot, None),
                    Which::Hot => self.memory.turned = None,
                }
                continue;
            }
            let not_taken = self.write(&marked.documents).await?;
            if let Some(turned) = &mut self.memory.turned {
                (turned.last, turned.moved_at) = (end, self.context.clock.now().boot);
            }
            let kept = |at: usize| not_taken.iter().any(|not| not.index == at);
            let arrived = marked.marks.into_iter().enumerate().filter(|(at, _)| !kept(*at)).map(|(_, mark)| mark);
            self.context.store.arrived(file, arrived.collect()).await?;
        }
        Ok(())
    }
}
