//! What is seen of nodes and pools and is in none of their rows: refreshed once an epoch, in documents that are there.

use super::{Halt, Run};
use crate::domain::credits::Epoch;
use crate::domain::ids::NodeIndex;
use crate::domain::node::Node;
use crate::domain::pool::Pool;
use crate::domain::replica::cluster::Trouble;
use crate::domain::replica::{Fields, Value};
use crate::gateways::replica::Of;
use crate::storage::core::tables::{NODES, POOLS};
use crate::storage::core::{epochs, pools};
use crate::storage::fault::Fault;
use crate::storage::present::{Standings, Statuses};
use crate::storage::replica::documents::{collection, word};
use crate::storage::table::{Key, Read};

impl Run<'_> {
    pub(super) async fn refresh_seen(&mut self) -> Result<(), Halt> {
        let newest = epochs::last(&self.context.store.read()?)?.map(|head| head.epoch);
        if self.memory.seen == Some(newest) {
            return Ok(());
        }
        for (table, seen) in [(NODES.name, self.seen()?), (POOLS.name, self.members()?)] {
            for some in seen.chunks(self.batch().documents) {
                let answer = self.cluster.refresh(Of { collection: collection(table), table }, some).await;
                match self.answered(answer) {
                    // A rule of one collection is no matter of what else goes.
                    Err(Trouble::Refused(why)) => self.refused = Some(format!("{table}: {why}")),
                    answer => answer?,
                }
            }
        }
        self.memory.seen = Some(newest);
        Ok(())
    }

    /// By the names of the documents of pools.
    fn members(&self) -> Result<Vec<(Vec<u8>, Fields)>, Fault> {
        let core = self.context.store.read()?;
        let pools: Vec<(u32, Pool)> = core.scan(POOLS, .., usize::MAX)?;
        let one = |(key, pool): &(u32, Pool)| {
            let count = pools::member_count(&core, pool.index)?;
            Ok((key.encode(), vec![("node_count", count.into()), ("seen_at", Value::Date(self.context.clock.now().wall))]))
        };
        pools.iter().map(one).collect()
    }

    /// By the names of the documents of nodes.
    fn seen(&self) -> Result<Vec<(Vec<u8>, Fields)>, Fault> {
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

/// The newest epoch of which documents say what was seen; None: none of this claim do.
pub(super) type Seen = Option<Option<Epoch>>;
