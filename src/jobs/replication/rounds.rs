//! Rounds: what the cluster has becomes one state of the store as a whole.

use std::sync::Arc;

use super::{Halt, Run, reading};
use crate::clock::Stopwatch;
use crate::domain::replica::Rev;
use crate::domain::replica::cluster::{Life, Round, Through};
use crate::domain::time::Timestamp;
use crate::live::Doing;
use crate::storage::compaction::Which;
use crate::storage::replica::catalog::{CATALOG, Listed, Way};
use crate::storage::replica::marks::{ANY, Mark};
use crate::storage::replica::rows::{self, Fenced, Marked};

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

/// A round that has turned, and whose documents are not all there.
#[derive(Debug)]
pub(super) struct Turned {
    /// None: it is of no round, and goes with the run.
    rev: Option<Rev>,
    /// Of the snapshot of its parts. A row whose mark is not above has not changed since: read later, it is what they say.
    of: Revs,
    file: Which,
    last: Option<Mark>,
}

impl Turned {
    fn of(&self) -> Rev {
        let [core, hot] = self.of;
        if self.file == Which::Core { core } else { hot }
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
        let (at, when, rev, parts) = loop {
            self.archives(life).await?;
            let (at, when) = self.follow_logs(life).await?;
            if self.lacks_archives(&at)? {
                continue;
            }
            // Otherwise it goes on with a newer snapshot, which is another moment for logs, too.
            if let Some((rev, parts)) = self.put_parts(&at, life).await? {
                break (revs(&at), when, rev, parts);
            }
        };
        let through: Vec<Through> = logs()
            .filter_map(|listed| {
                let key = self.memory.positions.get(listed.table)?.through.clone()?;
                Some(Through { table: listed.table.into(), key })
            })
            .collect();
        if parts > 0 || self.memory.round.as_ref().is_none_or(|round| round.through != through) {
            self.turn(Some(Round { rev, at: when, parts, through })).await?;
            self.begin_to_apply(at, Some(rev));
            self.cluster.drop_parts(rev, None).await?;
        }
        self.apply_turned().await
    }

    /// The same while there is no round: some tables cannot be read to their end, which is no matter of the others.
    pub(super) async fn without_a_round(&mut self, life: &Life) -> Result<(), Halt> {
        self.archives(life).await?;
        let (at, _) = self.follow_logs(life).await?;
        self.begin_to_apply(revs(&at), None);
        self.apply().await
    }

    /// Logs up to a snapshot, which is the one of the round, and when it was taken.
    async fn follow_logs(&mut self, life: &Life) -> Result<(Arc<Fenced>, Timestamp), Halt> {
        loop {
            let when = self.context.clock.now().wall;
            let at = self.fenced().await?;
            let mut is_through = true;
            for listed in logs() {
                is_through &= self.follow(listed, life, &at).await?;
            }
            if is_through {
                return Ok((at, when));
            }
        }
    }

    async fn marked(&self, at: &Arc<Fenced>, which: Which, within: (Rev, Rev), after: Option<Mark>) -> Result<Marked, Halt> {
        let (at, store, batch) = (Arc::clone(at), Arc::clone(&self.context.store), self.batch());
        reading(move || Ok(rows::marked(&store, &at, which, within, after.as_ref(), batch)?)).await
    }

    /// Brings the parts up to the snapshot; the round's name, and how many parts it has. None: not in the time for which a snapshot is held.
    async fn put_parts(&mut self, at: &Arc<Fenced>, life: &Life) -> Result<Option<(Rev, u32)>, Halt> {
        let after = self.memory.round.as_ref().map(|round| round.rev);
        let mut begun = match self.memory.begun.take() {
            Some(begun) if begun.life == *life && begun.after == after => begun,
            _ => Begun { life: life.clone(), after, rev: at.core_rev, parts: 0, pass: Pass::begin([Rev(0); 2], at) },
        };
        let ended = self.put_parts_of(&mut begun, at).await;
        let done = (begun.rev, begun.parts);
        self.memory.begun = Some(begun);
        ended.map(|is_done| is_done.then_some(done))
    }

    async fn put_parts_of(&mut self, begun: &mut Begun, at: &Arc<Fenced>) -> Result<bool, Halt> {
        loop {
            let pass = &begun.pass;
            let marked = self.marked(at, pass.file, (pass.above(), ANY.1), pass.last.clone()).await?;
            let Some(last) = marked.marks.last().cloned() else {
                match (pass.file, pass.of == revs(at)) {
                    (Which::Core, _) => (begun.pass.file, begun.pass.last) = (Which::Hot, None),
                    (Which::Hot, true) => return Ok(true),
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
            if !self.may_send_of(at).await? {
                return Ok(false);
            }
            let (sent, size) = (Stopwatch::start(), part.len());
            let arrived = self.cluster.put_part(begun.rev, begun.parts, at.core_rev, part).await;
            self.answered(arrived)?;
            begun.parts = begun.parts.saturating_add(1);
            begun.pass.last = Some(last);
            self.sent(0, size, &sent);
            if self.is_held_too_long(at) {
                return Ok(false);
            }
        }
    }

    fn begin_to_apply(&mut self, of: Revs, rev: Option<Rev>) {
        // Parts of a round to come would lack what loses its mark from now on.
        self.memory.begun = None;
        self.memory.turned = Some(Turned { rev, of, file: Which::Core, last: None });
    }

    /// The rest of the documents of the round that the cluster has, if it is this process's.
    async fn apply_turned(&mut self) -> Result<(), Halt> {
        let round = self.memory.round.as_ref().map(|round| round.rev);
        match &self.memory.turned {
            Some(turned) if round.is_some() && round == turned.rev => self.apply().await,
            _ => {
                self.memory.turned = None;
                Ok(())
            }
        }
    }

    /// What is marked becomes documents; where one is not taken, its mark stays. What changed since the round has another mark, and goes with the next one.
    async fn apply(&mut self) -> Result<(), Halt> {
        while let Some(turned) = &self.memory.turned {
            let (file, within, last) = (turned.file, (Rev(0), turned.of()), turned.last.clone());
            let at = self.fenced().await?;
            let marked = self.marked(&at, file, within, last).await?;
            drop(at);
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
                turned.last = end;
            }
            let kept = |at: usize| not_taken.iter().any(|not| not.index == at);
            let arrived = marked.marks.into_iter().enumerate().filter(|(at, _)| !kept(*at)).map(|(_, mark)| mark);
            self.context.store.arrived(file, arrived.collect()).await?;
        }
        Ok(())
    }
}
