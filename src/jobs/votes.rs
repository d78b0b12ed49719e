//! Tells the chain the scores of the newest closed epoch. The leaves are what waits: the store keeps which epoch is being voted on and the last answer of each
//! node, so a crash sends again what was sent since the last commit, byte for byte, and a chain that is away for a week costs nothing that grows.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Context, Stopped};
use crate::clock::Stopwatch;
use crate::domain::credits::Epoch;
use crate::domain::ids::NodeIndex;
use crate::domain::poot::ScoreState;
use crate::domain::time::Now;
use crate::domain::vote::{Round, Stumbles, Verdict, Vote, VoteAnswer, VoteRow};
use crate::gateways::chain::Chain;
use crate::live::Job;
use crate::storage::core::{alerts, epochs, nodes, votes};
use crate::storage::fault::Fault;
use crate::storage::hot;

/// Votes under way at one time.
const AT_ONCE: usize = 8;
/// Votes, and time, between two commits: after a crash as many are sent again.
const CHUNK: usize = 256;
/// So many answers make up for one vote that it stumbles over.
const ANSWERS_A_STUMBLE: usize = 4;
const LONGEST: Duration = Duration::from_secs(30);

/// One run never overlaps another: the scheduler has one task for it.
pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    let row = votes::row(&context.store.read()?)?;
    let Some(chain) = context.chain.clone() else { return settle(context, None, now).await };
    settle(context, row.alarm(now.wall), now).await?;
    if row.rests(now.wall) {
        return Ok(());
    }
    let (looking, of_row) = (context.clone(), row.clone());
    let due = tokio::task::spawn_blocking(move || Due::find(&looking, &of_row, now)).await;
    match due.map_err(|error| Stopped(error.to_string()))?? {
        Due::Nothing => Ok(()),
        Due::Over => {
            let mut row = row;
            row.end(now.wall);
            put(context, row, Vec::new(), now).await
        }
        Due::Votes { epoch, total, votes } => {
            let Some(row) = begun(context, &*chain, row, epoch, total).await? else { return Ok(()) };
            send(context, chain, row, votes).await
        }
    }
}

/// What there is to do.
enum Due {
    Nothing,
    /// The round under way is too old.
    Over,
    Votes {
        epoch: Epoch,
        /// Of the epoch, answered ones included.
        total: u32,
        votes: VecDeque<Vote>,
    },
}

impl Due {
    fn find(context: &Context, row: &VoteRow, now: Now) -> Result<Due, Fault> {
        let read = context.store.read()?;
        let Some(epoch) = epochs::last(&read)?.and_then(|head| head.leaves_at) else { return Ok(Due::Nothing) };
        let round = row.round();
        let is_done = |round: &Round| round.epoch > epoch || (round.epoch == epoch && round.ended_at.is_some());
        if round.is_some_and(is_done) {
            return Ok(Due::Nothing);
        }
        let under_way = round.is_some_and(|round| round.ended_at.is_none());
        let Some(head) = epochs::by_epoch(&read, epoch)? else { return Ok(Due::Nothing) };
        let age_ms = now.wall.since(head.last_slot.end());
        if age_ms > context.settings.get().vote_expiry_ms {
            return Ok(if under_way { Due::Over } else { Due::Nothing });
        }
        let answers = votes::answers(&read)?;
        let mut leaves = hot::leaves::of_epoch(&context.store.hot.read()?, epoch)?;
        leaves.retain(|leaf| leaf.score.state != ScoreState::Pending);
        let total = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
        let last = |node: NodeIndex| answers.get(&node).map(|answer| answer.epoch);
        leaves.retain(|leaf| last(leaf.node) < Some(epoch));
        let is_over = leaves.is_empty();
        {
            let stumbles = context.stumbles();
            leaves.retain(|leaf| !stumbles.rests(leaf.node, now.wall));
            // Who has waited longest comes first: with a chain that is slower than epochs are short, everybody has a turn.
            leaves.sort_by_key(|leaf| (stumbles.has(leaf.node), last(leaf.node), leaf.node));
        }
        let mut votes = VecDeque::with_capacity(leaves.len().min(CHUNK));
        for leaf in leaves.iter().take(CHUNK) {
            let Some(node) = nodes::ever(&read, leaf.node)? else { continue };
            votes.push_back(Vote { index: leaf.node, node: node.id, score_hundredths: leaf.score.score_hundredths, epoch });
        }
        match votes.is_empty() {
            true if under_way && is_over => Ok(Due::Over),
            true => Ok(Due::Nothing),
            false => Ok(Due::Votes { epoch, total, votes }),
        }
    }
}

/// The row with the round of this epoch, whose block is committed before any vote names it. None: the chain could not be asked.
async fn begun(context: &Context, chain: &dyn Chain, mut row: VoteRow, epoch: Epoch, total: u32) -> Result<Option<VoteRow>, Stopped> {
    if row.round().is_some_and(|round| round.epoch == epoch) {
        return Ok(Some(row));
    }
    let asked = chain.newest_block().await;
    let now = context.clock.now();
    let went_well = match asked {
        Ok(block) => {
            row.begin(Round::new(epoch, block, total, now.wall), now.wall);
            true
        }
        Err(no) => {
            row.failed(&no.why, no.wait_seconds, now.wall, context.store.entropy.u64());
            false
        }
    };
    // Times of a clock that nobody trusts any more are not written.
    if !now.trusted {
        return Ok(None);
    }
    put(context, row.clone(), Vec::new(), now).await?;
    Ok(went_well.then_some(row))
}

async fn send(context: &Context, chain: Arc<dyn Chain>, mut row: VoteRow, mut votes: VecDeque<Vote>) -> Result<(), Stopped> {
    let Some(block) = row.round().map(|round| round.block_id.clone()) else { return Ok(()) };
    let (mut under_way, mut answers, mut stumbled, mut failure) = (JoinSet::new(), Vec::new(), Vec::new(), None);
    let began = Stopwatch::start();
    loop {
        // A chain that is away is left alone. One that stumbles over a vote is sent the others, as long as it answers most of them.
        let is_there = failure.is_none() && stumbled.len() * ANSWERS_A_STUMBLE <= answers.len();
        while is_there && under_way.len() < AT_ONCE && began.elapsed() < LONGEST && context.clock.now().trusted {
            let Some(vote) = votes.pop_front() else { break };
            let (chain, body) = (Arc::clone(&chain), vote.body(&block, &context.store.signing_key));
            under_way.spawn(async move { (vote, chain.vote(body).await) });
        }
        let Some(ended) = under_way.join_next().await else { break };
        let (vote, verdict) = ended.map_err(|error| Stopped(error.to_string()))?;
        let (status, refused) = match verdict {
            Verdict::Accepted { status } => (status, None),
            Verdict::Refused { status, said } => (status, Some(said)),
            Verdict::Stumbled { status } => {
                stumbled.push((vote.index, status));
                continue;
            }
            Verdict::Away { why, wait_seconds } => {
                failure.get_or_insert((why, wait_seconds));
                continue;
            }
        };
        answers.push(VoteAnswer { node: vote.index, epoch: vote.epoch, status, refused });
    }
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    row.answered(&answers, now.wall);
    let answered: Vec<NodeIndex> = answers.iter().map(|answer| answer.node).collect();
    let nodes: Vec<NodeIndex> = stumbled.iter().map(|(node, _)| *node).collect();
    let random = context.store.entropy.u64();
    let is_there = context.stumbles().heard(&answered, &nodes, now.wall, random);
    if let Some((node, status)) = stumbled.first() {
        tracing::warn!(node = node.0, status, votes = stumbled.len(), "the chain fails over votes");
        if !is_there {
            failure.get_or_insert_with(|| (format!("answered {status}"), None));
        }
    }
    let goes_on = failure.is_none() && !answered.is_empty();
    if let Some((why, wait_seconds)) = failure {
        tracing::warn!(why, "the chain takes no votes");
        row.failed(&why, wait_seconds, now.wall, random);
    } else if !goes_on {
        return Ok(());
    }
    put(context, row, answers, now).await?;
    if goes_on {
        context.nudges.nudge(Job::Votes);
    }
    Ok(())
}

impl Context {
    /// Whoever panicked left a map of which each entry is a valid one.
    fn stumbles(&self) -> MutexGuard<'_, Stumbles> {
        self.stumbles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn put(context: &Context, row: VoteRow, answers: Vec<VoteAnswer>, now: Now) -> Result<(), Stopped> {
    Ok(context.store.write(move |tx| votes::put(tx, &row, &answers, now.wall)).await?)
}

/// The alert, where nothing else is written.
async fn settle(context: &Context, alarm: Option<String>, now: Now) -> Result<(), Stopped> {
    if alerts::is_open(&context.store.read()?, votes::ALERT, "")? == alarm.is_some() {
        return Ok(());
    }
    Ok(context.store.write(move |tx| votes::settle(tx, alarm.clone(), now.wall)).await?)
}
