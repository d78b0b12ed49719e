//! Brings what changed to the cluster where many managers meet: logs from where they are, rows that are marked, and where it has to be everything.
//!
//! A run ends with a round: the cluster has one state of the store as a whole, whatever becomes of the next one.

pub mod alerts;
mod archives;
mod claim;
mod indexes;
mod measured;
mod rounds;
mod seen;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::domain::replica::Document;
use crate::domain::replica::cluster::{Claim, Life, Position, Round, Trouble, Watched, wait_ms};
use crate::domain::replica::pace::Pace;
use crate::domain::time::BootMs;
use crate::gateways::replica::{Cluster, NotTaken};
use crate::live::{Doing, Failure};
use crate::storage::compaction::Which;
use crate::storage::replica::catalog::{CATALOG, Listed, leaving};
use crate::storage::replica::documents::{self, collection};
use crate::storage::replica::marks;
use crate::storage::replica::measured::Measured;
use crate::storage::replica::rows::{self, Batch, Fenced};

use super::{Context, Stopped};

/// In one request, where the link holds.
const WHOLE: Batch = Batch { documents: 500, bytes: 1 << 20 };
/// Documents of which names and revisions are asked for at once.
const LOOKED_AT: usize = 2_000;
/// Waiting for the bandwidth that was set, it looks around this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// The same with a snapshot.
const SHORT_SLEEP: Duration = Duration::from_millis(500);
/// Where more of a request are not taken, it is a matter of the collection.
const MOST_NOT_TAKEN: usize = 50;

/// For which a snapshot is held: some MB of pages.
const MOST_COMMITS: u64 = 100;

/// What it knows from one run to the next; gone with the process.
#[derive(Debug, Default)]
pub struct Memory {
    claim: Option<Claim>,
    watched: Option<Watched>,
    positions: BTreeMap<String, Position>,
    round: Option<Round>,
    begun: Option<rounds::Begun>,
    turned: Option<rounds::Turned>,
    buried: Option<tables::Buried>,
    archives: Option<archives::Files>,
    pace: Pace,
    /// Before anything goes again, so that the link is not taken beyond what was set.
    owed: Duration,
    /// The copy of which indexes and what is seen were looked after.
    tended: Option<String>,
    seen: seen::Seen,
    /// The last beat that arrived.
    last_beat: u64,
    /// When it last said that it lives.
    beat_at: Option<BootMs>,
    /// In a row, and nothing arrived in between.
    failures: u32,
    next_try: Option<BootMs>,
    /// When the cluster was last known to have a whole, or this process began to replicate.
    whole_at: Option<BootMs>,
}

/// Why a run stopped.
enum Halt {
    Trouble(Trouble),
    Stopped(Stopped),
    /// A person wants nothing to be sent any more.
    Paused,
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Halt {
        Halt::Trouble(trouble)
    }
}

impl<E: Into<Stopped>> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::Stopped(error.into())
    }
}

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let Some(cluster) = &context.cluster else { return Ok(()) };
    let mut memory = context.replica.lock().await;
    let now = context.clock.now().boot;
    memory.whole_at.get_or_insert(now);
    let ended = run_if_due(context, cluster.as_ref(), &mut memory).await;
    let told = alerts::tell(context, &mut memory).await;
    ended.and(told)
}

async fn run_if_due(context: &Context, cluster: &dyn Cluster, memory: &mut Memory) -> Result<(), Stopped> {
    context.store.begin_marks().await?;
    let is_paused = marks::state(&context.store.read()?)?.is_paused;
    let now = context.clock.now();
    if waits(context, memory) {
        if is_paused {
            paused(context);
        }
        return Ok(());
    }
    context.replication.fulfilled(|wishes| wishes.now = false);
    let mut run = Run::new(context, cluster, memory);
    // Paused, it goes on saying that it lives: nobody takes its place meanwhile.
    let outcome = if is_paused { run.claimed().await.map(while_paused) } else { run.run().await };
    if run.has_arrived && matches!(outcome, Err(Halt::Trouble(Trouble::Away(_)))) {
        // It goes on as far as the link lets it.
        run.memory.failures = 0;
    }
    match outcome {
        Ok(doing) => {
            (memory.failures, memory.next_try) = (0, None);
            context.replication.change(|status| {
                (status.doing, status.failures, status.next_try) = (doing, 0, None);
                status.round.clone_from(&memory.round);
                status.positions.clone_from(&memory.positions);
                if doing == Doing::Current {
                    // Of what was there when it began: the rest is on its way.
                    status.current_at = Some(now.wall);
                }
            });
            Ok(())
        }
        Err(Halt::Paused) => {
            paused(context);
            Ok(())
        }
        Err(Halt::Trouble(trouble)) => {
            failed(context, memory, &trouble);
            if is_paused {
                paused(context);
            }
            Ok(())
        }
        Err(Halt::Stopped(stopped)) => {
            let failure = Failure { why: format!("the store: {}", stopped.0), at: context.clock.now().wall };
            context.replication.change(|status| status.failure = Some(failure));
            Err(stopped)
        }
    }
}

/// Whether it is not time yet for the next try, and nobody wants one.
fn waits(context: &Context, memory: &Memory) -> bool {
    memory.next_try.is_some_and(|at| context.clock.now().boot < at) && !context.replication.wishes().now
}

/// What somebody has to see to comes before a pause: people are told of it by what it does.
fn while_paused(found: Option<Doing>) -> Doing {
    match found {
        Some(graver @ (Doing::Second | Doing::Superseded)) => graver,
        _ => Doing::Paused,
    }
}

fn paused(context: &Context) {
    context.replication.change(|status| (status.doing, status.next_try) = (Doing::Paused, None));
}

/// The claim was lost, or nothing is known of it: it is looked for anew.
fn failed(context: &Context, memory: &mut Memory, trouble: &Trouble) {
    let now = context.clock.now();
    memory.claim = None;
    memory.failures = memory.failures.saturating_add(1);
    let wait = wait_ms(memory.failures, context.store.entropy.u64());
    let wait = i64::try_from(wait).unwrap_or(i64::MAX);
    memory.next_try = Some(BootMs(now.boot.0.saturating_add(wait)));
    // Told once, and again when it is something else.
    let is_new = context.replication.status().failure.is_none_or(|before| before.why != trouble.to_string());
    if is_new || memory.failures == 1 {
        tracing::warn!(why = %trouble, "replication waits");
    }
    context.replication.change(|status| {
        status.doing = Doing::Away;
        status.failures = memory.failures;
        status.failure = Some(Failure { why: trouble.to_string(), at: now.wall });
        status.next_try = Some(now.wall.plus_ms(wait));
    });
}

/// Says that this manager writes no more, so that the next one need not wait; as far as it has anything to say.
pub async fn release(context: &Context) {
    let (Some(cluster), Ok(mut memory)) = (&context.cluster, context.replica.try_lock()) else { return };
    if let Some(claim) = memory.claim.take() {
        let ended = Claim { is_released: true, beat: claim.beat + 1, seen_at: context.clock.now().wall, ..claim };
        if let Err(trouble) = cluster.beat(&ended).await {
            tracing::debug!(why = %trouble, "the cluster was not told of the end");
        }
    }
}

/// One run.
struct Run<'a> {
    context: &'a Context,
    cluster: &'a dyn Cluster,
    memory: &'a mut Memory,
    /// Some of what it sent.
    has_arrived: bool,
    /// Why a collection takes nothing.
    refused: Option<String>,
    archived: archives::Tally,
}

impl<'a> Run<'a> {
    fn new(context: &'a Context, cluster: &'a dyn Cluster, memory: &'a mut Memory) -> Run<'a> {
        Run { context, cluster, memory, has_arrived: false, refused: None, archived: archives::Tally::begin() }
    }
}

impl Run<'_> {
    async fn run(&mut self) -> Result<Doing, Halt> {
        if let Some(waiting) = self.claimed().await? {
            return Ok(waiting);
        }
        let life = self.life()?;
        self.forget_what_is_to_go_again().await?;
        let is_open = |listed: &&Listed| !self.memory.positions.get(listed.table).is_some_and(|at| at.life == life && at.is_whole);
        let open: Vec<&'static Listed> = leaving().filter(is_open).collect();
        let mut is_whole = true;
        if !open.is_empty() {
            self.context.replication.change(|status| status.doing = Doing::Copying);
            self.turn(None).await?;
            for listed in open {
                is_whole &= self.copy(listed, &life).await?;
            }
        }
        if is_whole {
            self.round(&life).await?
        } else {
            self.without_a_round(&life).await?
        }
        let buried = self.bury_archives().await;
        self.or_cut(buried)?;
        self.refresh_seen().await?;
        self.measurements(&life).await?;
        self.beat_if_due().await?;
        // All others have what they should.
        match (self.refused.take(), self.archived.cut.take()) {
            (Some(why), _) => Err(Trouble::Refused(why).into()),
            (None, Some(trouble)) => {
                // The cluster is there, so the claim is kept and heard of, and the next run tries again.
                let failure = Failure { why: format!("archives: {trouble}"), at: self.context.clock.now().wall };
                self.context.replication.change(|status| status.failure = Some(failure));
                Ok(Doing::Sending)
            }
            (None, None) => Ok(Doing::Current),
        }
    }

    /// Where somebody asked for it, a collection goes from the start; its tables are looked for by that, whatever is found of them there.
    async fn forget_what_is_to_go_again(&mut self) -> Result<(), Halt> {
        let wanted = marks::state(&self.context.store.read()?)?.resync;
        if wanted.is_empty() {
            return Ok(());
        }
        let of = |table: &str| wanted.iter().any(|wanted| wanted == collection_of(table));
        let again: Vec<Position> = self.memory.positions.values().filter(|at| of(&at.table)).cloned().collect();
        for position in again {
            let fenced = self.fenced().await?;
            let file = CATALOG.iter().find(|listed| listed.table == position.table).map_or(Which::Hot, |listed| listed.file);
            self.put_position(Position { scan: fenced.of(file).1, through: None, is_whole: false, ..position }).await?;
        }
        Ok(self.context.store.write(move |tx| marks::goes_again(tx, &wanted)).await?)
    }

    fn life(&self) -> Result<Life, Halt> {
        let state = marks::state(&self.context.store.read()?)?;
        Ok(Life { generation: self.context.store.generation, stretch: state.stretch, copy: self.held()?.copy.clone() })
    }

    /// Everything that is committed.
    async fn fenced(&self) -> Result<Arc<Fenced>, Halt> {
        let fenced = self.context.store.fenced().await?;
        Ok(Arc::new(fenced.ok_or_else(|| Stopped("no marks are kept".into()))?))
    }

    /// Every commit while a snapshot is held takes pages that it cannot use again.
    fn is_held_too_long(&self, at: &Fenced) -> bool {
        let since = |which: Which| self.context.store.revisions_since(which, at.of(which).1);
        Which::ALL.into_iter().any(|which| since(which) > MOST_COMMITS)
    }

    async fn turn(&mut self, round: Option<Round>) -> Result<(), Halt> {
        if self.memory.round != round {
            self.cluster.turn(self.held()?, round.as_ref()).await?;
            self.memory.round = round;
            // Of another one, which nothing is written of any more.
            self.memory.turned = None;
            self.context.replication.change(|status| status.round.clone_from(&self.memory.round));
        }
        Ok(())
    }

    async fn put_position(&mut self, position: Position) -> Result<(), Halt> {
        let sealed = rows::sealed_position(&self.context.store.secrets, &position);
        self.cluster.put_position(self.held()?, &sealed).await?;
        self.memory.positions.insert(position.table.clone(), position.clone());
        self.context.replication.change(|status| drop(status.positions.insert(position.table.clone(), position)));
        Ok(())
    }

    /// Sends documents; those that the cluster does not take are counted and told.
    async fn write(&mut self, documents: &[Document]) -> Result<Vec<NotTaken>, Halt> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        self.may_send().await?;
        let sent = Stopwatch::start();
        let answer = self.cluster.write(documents).await;
        let not_taken = self.answered(answer)?;
        if let Some(last) = not_taken.last() {
            let NotTaken { index, why } = last;
            let of = documents.get(*index).map_or("?", |document| document.table);
            let because = format!("{of}: {why}");
            if is_of_all(&not_taken, documents.len()) {
                self.refused = Some(format!("it did not take {} of {} documents; {because}", not_taken.len(), documents.len()));
            }
            tracing::warn!(count = not_taken.len(), because, "the cluster did not take documents");
            let count = u64::try_from(not_taken.len()).unwrap_or(u64::MAX);
            self.context.replication.change(|status| {
                status.not_taken = status.not_taken.saturating_add(count);
                status.not_taken_because = Some(because);
            });
        }
        self.sent(documents.len() - not_taken.len(), documents.iter().map(Document::size).sum(), &sent);
        Ok(not_taken)
    }

    /// What one request may hold.
    fn batch(&self) -> Batch {
        let pace = &self.memory.pace;
        Batch { documents: pace.of(WHOLE.documents), bytes: pace.of(WHOLE.bytes) }
    }

    /// How much went with a request is what the next one goes by.
    fn answered<T>(&mut self, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        match &answer {
            Ok(_) => {
                self.has_arrived = true;
                self.memory.pace.went();
            }
            Err(Trouble::Away(_)) => self.memory.pace.broke(),
            Err(Trouble::Refused(_) | Trouble::Claimed) => (),
        }
        answer
    }

    /// After each request: counted, and what it took of the bandwidth that was set is owed.
    fn sent(&mut self, documents: usize, bytes: usize, took: &Stopwatch) {
        let count = |of: usize| u64::try_from(of).unwrap_or(u64::MAX);
        let took = took.elapsed();
        self.context.replication.change(|status| {
            status.documents += count(documents);
            status.bytes += count(bytes);
            status.sending_ms += u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        });
        let limit = self.context.settings.get().replication.limit_kb_per_second;
        if limit > 0 {
            let needs = Duration::from_millis(count(bytes).saturating_mul(1_000) / (u64::from(limit) << 10));
            self.memory.owed = needs.saturating_sub(took);
        }
    }

    /// Before each request that carries rows: not before what went has been noted, so that none goes twice for having been waited for.
    async fn may_send(&mut self) -> Result<(), Halt> {
        self.go_on().await?;
        while self.memory.owed > Duration::ZERO {
            self.pay(LONGEST_SLEEP).await;
            self.go_on().await?;
        }
        Ok(())
    }

    /// The same of rows of a snapshot. False: it was held for too long, as others wrote; the next one is taken.
    async fn may_send_of(&mut self, at: &Fenced) -> Result<bool, Halt> {
        self.go_on().await?;
        while self.memory.owed > Duration::ZERO {
            self.pay(SHORT_SLEEP).await;
            self.go_on().await?;
            if self.memory.owed > Duration::ZERO && self.is_held_too_long(at) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn pay(&mut self, at_most: Duration) {
        if self.context.settings.get().replication.limit_kb_per_second == 0 {
            self.memory.owed = Duration::ZERO;
        }
        let some = self.memory.owed.min(at_most);
        tokio::time::sleep(some).await;
        self.memory.owed -= some;
    }

    /// A pause that was asked for begins here; a sign of life where it is time for one.
    async fn go_on(&mut self) -> Result<(), Halt> {
        if marks::state(&self.context.store.read()?)?.is_paused {
            return Err(Halt::Paused);
        }
        self.beat_if_due().await
    }
}

/// Of a position.
fn collection_of(table: &str) -> &'static str {
    let of_measured = Measured::ALL.into_iter().find(|of| of.table() == table).map(Measured::collection);
    if table == documents::archives::TABLE { documents::archives::COLLECTION } else { of_measured.unwrap_or_else(|| collection(table)) }
}

/// Whether so many that were not taken are no matter of each of them.
fn is_of_all(not_taken: &[NotTaken], sent: usize) -> bool {
    not_taken.len() > MOST_NOT_TAKEN || (not_taken.len() == sent && sent > 1)
}

/// Rows are read and made documents where nothing waits for it.
async fn reading<R: Send + 'static>(read: impl FnOnce() -> Result<R, Stopped> + Send + 'static) -> Result<R, Halt> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => Ok(read?),
        Err(error) => Err(Stopped(error.to_string()).into()),
    }
}
