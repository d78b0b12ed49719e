//! Measurements as they go: of each hour that is over, node by node, its samples and what they come to. They are no part of rounds: an hour that is there says what
//! it says whatever else is.

use std::collections::BTreeSet;

use super::documents::measured as made;
use crate::domain::ids::NodeIndex;
use crate::domain::node::Node;
use crate::domain::replica::{Document, Rev};
use crate::domain::series::{SLOTS_PER_HOUR, Summary};
use crate::domain::time::Slot;
use crate::storage::Store;
use crate::storage::core::tables::RETIRED_NODES;
use crate::storage::fault::Fault;
use crate::storage::hot::{self, Parts, hours};
use crate::storage::table::{Key, Read, Snapshot};
use crate::storage::{present, tiers};

/// Which measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// What the samples of an hour come to.
    Hourly,
    /// Every sample.
    Raw,
}

/// Where one that was never sent begins when no file says what the oldest is: what is in none is not older. In hours.
const UNSEALED_HOURS: u32 = 72;

impl Measured {
    pub const ALL: [Measured; 2] = [Measured::Hourly, Measured::Raw];

    /// In ids and positions, beside the tables of the store.
    pub fn table(self) -> &'static str {
        match self {
            Measured::Hourly => "metrics_hourly",
            Measured::Raw => "metrics_raw",
        }
    }

    pub fn collection(self) -> &'static str {
        match self {
            Measured::Hourly => "resource_metrics_hourly",
            Measured::Raw => "resource_metrics",
        }
    }

    /// Documents of one node and hour, at most.
    pub fn per_node(self) -> usize {
        match self {
            Measured::Hourly => 1,
            Measured::Raw => SLOTS_PER_HOUR as usize,
        }
    }
}

/// The next node of an hour: all before it are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub hour: u32,
    pub node: u32,
}

impl Place {
    pub fn of_hour(hour: u32) -> Place {
        Place { hour, node: 0 }
    }

    pub fn encode(self) -> Vec<u8> {
        (self.hour, self.node).encode()
    }

    pub fn decode(bytes: &[u8]) -> Option<Place> {
        let (hour, node) = <(u32, u32)>::decode(bytes)?;
        Some(Place { hour, node })
    }
}

/// Hours before it are over and rolled up.
pub fn end(store: &Store) -> Result<u32, Fault> {
    Ok(hours::rolled(&store.hot.read()?)?.hours_before)
}

/// From which hour on they are kept; None: that cannot be told.
pub fn oldest(store: &Store, of: Measured) -> Option<u32> {
    match of {
        Measured::Hourly => store.cold.months().first().map(|month| month.start_hour()),
        Measured::Raw => store.cold.weeks().first().map(|week| hours::hour_of(week.start())),
    }
}

/// Where to begin with what was never sent.
pub fn beginning(store: &Store, of: Measured) -> Result<u32, Fault> {
    let end = end(store)?;
    Ok(oldest(store, of).unwrap_or_else(|| end.saturating_sub(UNSEALED_HOURS)).min(end))
}

#[derive(Debug)]
pub struct Page {
    pub documents: Vec<Document>,
    pub next: Place,
}

/// Looks at hours and some of their nodes for one page, at most: so that who finds nothing for years stops now and then.
const LOOKS: usize = 200;

/// About as many documents as wanted, from a place on. Hours of which evidence says that nobody measured are passed over.
pub fn page(store: &Store, core: &Snapshot, of: Measured, from: Place, rev: Rev, wanted: usize) -> Result<Page, Fault> {
    let (end, at_once) = (end(store)?, (wanted / of.per_node()).max(1));
    let known = hot::first_evidence(&store.hot.read()?, Slot(0))?.map_or(end, hours::hour_of);
    let mut page = Page { documents: Vec::new(), next: from };
    for _ in 0..LOOKS {
        let at = page.next;
        if at.hour >= end || page.documents.len() + at_once * of.per_node() > wanted.max(of.per_node()) {
            break;
        }
        // Whoever sent a sample has a bit in a row of evidence, as long as that is kept: of hours before the first row it says nothing.
        if at.node == 0 && at.hour > known {
            let next = hot::first_evidence(&store.hot.read()?, hours::first_slot(at.hour))?.map_or(end, hours::hour_of).min(end);
            if next > at.hour {
                page.next = Place::of_hour(next);
                continue;
            }
        }
        let nodes = nodes_from(store, core, at.node, at_once)?;
        page.documents.extend(documents(store, core, of, at.hour, &nodes, rev)?);
        page.next = match nodes.last() {
            Some(last) if nodes.len() == at_once => Place { node: last.0.saturating_add(1), ..at },
            _ => Place::of_hour(at.hour.saturating_add(1)),
        };
    }
    Ok(page)
}

/// The next nodes from an index on, deleted ones among them.
fn nodes_from(store: &Store, core: &Snapshot, from: u32, limit: usize) -> Result<Vec<NodeIndex>, Fault> {
    let deleted: Vec<(u32, Node)> = core.scan(RETIRED_NODES, from.., limit)?;
    let living = store.directory.all().into_iter().map(|node| node.index.0).filter(|index| *index >= from);
    let all: BTreeSet<u32> = deleted.into_iter().map(|(index, _)| index).chain(living).collect();
    Ok(all.into_iter().take(limit).map(NodeIndex).collect())
}

/// Of nodes, which ascend, in one hour.
pub fn documents(store: &Store, core: &Snapshot, of: Measured, hour: u32, nodes: &[NodeIndex], rev: Rev) -> Result<Vec<Document>, Fault> {
    let mut documents = Vec::new();
    match of {
        Measured::Raw => {
            let (from, until) = (hours::first_slot(hour), hours::first_slot(hour.saturating_add(1)));
            for (node, points) in tiers::points_of(store, nodes, from, until, Parts::ALL)? {
                for point in points {
                    documents.push(made::sample(core, &store.secrets, node, &point, rev)?);
                }
            }
        }
        Measured::Hourly => {
            let mut found: Vec<(NodeIndex, Summary)> = Vec::new();
            present::hours(store, nodes, (hour, hour.saturating_add(1)), |node, _, summary| found.push((node, summary)))?;
            for (node, summary) in found {
                documents.push(made::hour(core, &store.secrets, node, hour, summary, rev)?);
            }
        }
    }
    Ok(documents)
}
