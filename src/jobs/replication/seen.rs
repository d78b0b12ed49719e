//! What is seen of nodes and pools and is in none of their rows: refreshed with each epoch and every five minutes, in documents that are there.

use super::{Halt, Run};
use crate::domain::credits::Epoch;
use crate::domain::ids::NodeIndex;
use crate::domain::node::Node;
use crate::domain::pool::Pool;
use crate::domain::replica::cluster::Trouble;
use crate::domain::replica::{Fields, Value};
use crate::domain::time::BootMs;
use crate::gateways::replica::Of;
use crate::storage::core::tables::{NODES, POOLS};
use crate::storage::core::{epochs, pools};
use crate::storage::fault::Fault;
use crate::storage::present::{Standings, Statuses};
use crate::storage::replica::documents::{collection, word};
use crate::storage::table::{Key, Read};

/// What documents say by now.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of what was taken together last the newest epoch, how many nodes there were, and when it was; None: nothing was of this claim.
    taken: Option<(Option<Epoch>, usize, BootMs)>,
    /// What of it did not arrive yet, the last one first: over a bad link each run sends some.
    rest: Vec<(&'static str, OfDocument)>,
}

/// The name of a document, and what is set in it.
type OfDocument = (Vec<u8>, Fields);

/// Without a new epoch, as where the clock is not trusted: five minutes.
const LONGEST_MS: i64 = 300_000;

impl Run<'_> {
    pub(super) async fn refresh_seen(&mut self) -> Result<(), Halt> {
        let newest = epochs::last(&self.context.store.read()?)?.map(|head| head.epoch);
        let (now, count) = (self.context.clock.now().boot, self.context.store.directory.len());
        let is_of_now = |of: Option<Epoch>, nodes, at: BootMs| (of, nodes) == (newest, count) && now.0.saturating_sub(at.0) < LONGEST_MS;
        let is_new = self.memory.seen.taken.is_none_or(|(of, nodes, at)| !is_of_now(of, nodes, at));
        if self.memory.seen.rest.is_empty() && is_new {
            let nodes = self.seen()?.into_iter().map(|of| (NODES.name, of));
            let pools = self.members()?.into_iter().map(|of| (POOLS.name, of));
            let rest = pools.chain(nodes).rev().collect();
            self.memory.seen = Seen { taken: Some((newest, count, now)), rest };
        }
        while let Some(table) = self.memory.seen.rest.last().map(|(table, _)| *table) {
            let rest = &self.memory.seen.rest;
            let next = rest.iter().rev().take_while(|(of, _)| *of == table).take(self.batch().documents);
            let some: Vec<OfDocument> = next.map(|(_, of)| of.clone()).collect();
            let answer = self.cluster.refresh(Of { collection: collection(table), table }, &some).await;
            match self.answered(answer) {
                // A rule of one collection is no matter of what else goes.
                Err(Trouble::Refused(why)) => self.refused = Some(format!("{table}: {why}")),
                answer => answer?,
            }
            let left = self.memory.seen.rest.len() - some.len();
            self.memory.seen.rest.truncate(left);
        }
        Ok(())
    }

    /// By the names of the documents of pools.
    fn members(&self) -> Result<Vec<OfDocument>, Fault> {
        let core = self.context.store.read()?;
        let pools: Vec<(u32, Pool)> = core.scan(POOLS, .., usize::MAX)?;
        let one = |(key, pool): &(u32, Pool)| {
            let count = pools::member_count(&core, pool.index)?;
            Ok((key.encode(), vec![("node_count", count.into()), ("seen_at", Value::Date(self.context.clock.now().wall))]))
        };
        pools.iter().map(one).collect()
    }

    /// By the names of the documents of nodes.
    fn seen(&self) -> Result<Vec<OfDocument>, Fault> {
        let (store, now) = (&self.context.store, self.context.clock.now());
        let core = store.read()?;
        let nodes: Vec<(u32, Node)> = core.scan(NODES, .., usize::MAX)?;
        let indices: Vec<NodeIndex> = nodes.iter().map(|(_, node)| node.index).collect();
        let standings = Standings::load(store, &indices, self.context.settings.get().params, now)?;
        let statuses = Statuses::new(store, &core, now)?;
        let one = |(key, node): &(u32, Node)| {
            let last_heartbeat = store.intake.last_report(node.index);
            let status = statuses.of(node, statuses.observed(node, last_heartbeat));
            let score = standings.of(node.index).known_score().map(|score| f64::from(score.score_hundredths) / 100.0);
            let fields = vec![
                ("status", word(&status.of_four())?),
                ("detailed_status", word(&status)?),
                ("poot_score", score.into()),
                ("last_heartbeat", last_heartbeat.into()),
                ("seen_at", Value::Date(now.wall)),
            ];
            Ok((key.encode(), fields))
        };
        nodes.iter().map(one).collect()
    }
}
