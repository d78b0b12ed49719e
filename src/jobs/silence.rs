//! Notices who went silent and who is back, once per slot. What it said is in the store, so a restart says nothing twice; a run in which nothing changed
//! writes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::alert::Severity;
use crate::domain::audit::Act;
use crate::domain::ids::NodeIndex;
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::silence::{PER_RUN, Verdict, Watched, judge};
use crate::domain::time::Now;
use crate::live::{Change, Event};
use crate::storage::NodeEntry;
use crate::storage::core::{alerts, node_events};
use crate::storage::fault::TxError;
use crate::storage::table::WriteTx;

/// One node went silent.
pub const NODE_ALERT: &str = "node_unreachable";
/// A whole fleet did; the closing of epochs raises it too.
pub const FLEET_ALERT: &str = "fleet_silent";
const FLEET_MESSAGE: &str = "no node of the fleet is heard any more, although the manager's own link is up";

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    // Silence is a difference of times, and these mean nothing yet.
    if !now.trusted {
        return Ok(());
    }
    let Some(plan) = Plan::make(context, now)? else { return Ok(()) };
    let plan = Arc::new(plan);
    let written = Arc::clone(&plan);
    context.store.write(move |tx| written.record(tx, now)).await?;
    for entry in &plan.changed {
        context.events.publish(&Event::Node { node_id: entry.id.clone(), change: Change::Status });
    }
    Ok(())
}

/// What one run writes.
struct Plan {
    verdict: Verdict,
    /// The nodes whose status changed.
    changed: Vec<Arc<NodeEntry>>,
    /// Nodes to alert about: id and name.
    raises: Vec<(String, String)>,
    /// Subjects of alerts that are over.
    resolves: Vec<String>,
    raises_fleet: bool,
    resolves_fleet: bool,
}

impl Plan {
    /// None when there is nothing to write.
    fn make(context: &Context, now: Now) -> Result<Option<Plan>, Stopped> {
        let (store, directory) = (&context.store, &context.store.directory);
        let last = store.intake.last_reports();
        let next = now.wall.slot().plus(1);
        let fleet = directory.all();
        let watched: Vec<Watched> = fleet
            .iter()
            .filter(|entry| entry.key.is_some())
            .map(|entry| Watched {
                node: entry.index,
                last_report: last.get(entry.index.position()).copied().flatten(),
                wanted: entry.wanted,
                eligible: *entry.eligible.at(next),
            })
            .collect();
        let core = store.read()?;
        let recorded = node_events::silent(&core)?;
        let verdict = judge(&watched, &recorded, now.wall, store.intake.silence_known(now));
        let fleet_alert = alerts::is_open(&core, FLEET_ALERT, "")?;
        let open = alerts::open_subjects(&core, NODE_ALERT)?;
        let is_fleet = fleet_alert || verdict.fleet_gone;
        let silent: BTreeSet<NodeIndex> = recorded.iter().chain(verdict.gone.iter().copied()).collect();
        let over: BTreeSet<NodeIndex> = verdict.back.iter().chain(&verdict.excused).copied().collect();
        let still = |index: &NodeIndex| silent.contains(index) && !over.contains(index);
        let about: Vec<&Arc<NodeEntry>> = fleet.iter().filter(|entry| still(&entry.index)).collect();
        // While the whole fleet is gone, one alert says so. When it is back, those who stay away are alerted about from the next slot on.
        let missing = about.iter().filter(|entry| !is_fleet && !open.contains(entry.id.as_str()));
        let raises = missing.take(PER_RUN).map(|entry| (entry.id.to_string(), entry.name.clone())).collect::<Vec<_>>();
        let wanted: BTreeSet<&str> = about.iter().map(|entry| entry.id.as_str()).collect();
        let resolves: Vec<String> = open.into_iter().filter(|subject| !wanted.contains(subject.as_str())).take(PER_RUN).collect();
        let changed = fleet.iter().filter(|entry| verdict.gone.contains(&entry.index) || verdict.back.contains(&entry.index));
        let plan = Plan {
            changed: changed.cloned().collect(),
            raises,
            resolves,
            raises_fleet: verdict.fleet_gone && !fleet_alert,
            resolves_fleet: fleet_alert && verdict.someone_heard,
            verdict,
        };
        Ok(Some(plan).filter(|plan| !plan.is_empty()))
    }

    fn is_empty(&self) -> bool {
        let quiet = self.verdict.gone.is_empty() && self.verdict.back.is_empty() && self.verdict.excused.is_empty();
        quiet && self.raises.is_empty() && self.resolves.is_empty() && !self.raises_fleet && !self.resolves_fleet
    }

    fn record(&self, tx: &mut WriteTx<'_>, now: Now) -> Result<(), TxError> {
        let verdict = &self.verdict;
        let mut silent = node_events::silent(tx)?;
        let act = Act::system(now);
        for node in &verdict.gone {
            silent.set(*node);
            node_events::append(tx, *node, NodeEvent::by(&act, Kind::Unreachable, None))?;
        }
        for node in &verdict.back {
            silent.clear(*node);
            node_events::append(tx, *node, NodeEvent::by(&act, Kind::Back, None))?;
        }
        verdict.excused.iter().for_each(|node| silent.clear(*node));
        if node_events::silent(tx)? != silent {
            node_events::put_silent(tx, &silent)?;
        }
        for (id, name) in &self.raises {
            let message = format!("{name} has not been heard for more than five minutes");
            alerts::raise(tx, NODE_ALERT, id, Severity::Warning, &message, now.wall)?;
        }
        for id in &self.resolves {
            alerts::resolve(tx, NODE_ALERT, id, now.wall)?;
        }
        if self.raises_fleet {
            alerts::raise(tx, FLEET_ALERT, "", Severity::Critical, FLEET_MESSAGE, now.wall)?;
        }
        if self.resolves_fleet {
            alerts::resolve(tx, FLEET_ALERT, "", now.wall)?;
        }
        Ok(())
    }
}
