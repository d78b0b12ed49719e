//! Measurements as they go: of each hour that is over, node by node, its samples and what they come to. They are no part of rounds: an hour that is there says what
//! it says whatever else is.

use std::cmp::Ordering;

use super::documents::measured as made;
use crate::domain::ids::NodeIndex;
use crate::domain::replica::{Document, Rev};
use crate::domain::series::{SLOTS_PER_HOUR, Summary};
use crate::storage::Store;
use crate::storage::fault::Fault;
use crate::storage::hot::{self, Parts, hours};
use crate::storage::table::{Key, Snapshot};
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
    fn per_node(self) -> usize {
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

/// The documents of some nodes of an hour, about as many as wanted. Hours in which nobody measured are passed over.
pub fn page(store: &Store, core: &Snapshot, of: Measured, from: Place, rev: Rev, wanted: usize) -> Result<Page, Fault> {
    let end = end(store)?;
    if from.node == 0 {
        // Whoever sent a sample has a bit in a row of evidence.
        let next = hot::first_evidence(&store.hot.read()?, hours::first_slot(from.hour))?.map_or(end, hours::hour_of).min(end);
        if next.cmp(&from.hour) == Ordering::Greater {
            return Ok(Page { documents: Vec::new(), next: Place::of_hour(next) });
        }
    }
    let last = store.directory.all().iter().map(|node| node.index.0).max().unwrap_or_default();
    let count = u32::try_from((wanted / of.per_node()).max(1)).unwrap_or(u32::MAX);
    let until = from.node.saturating_add(count);
    let nodes: Vec<NodeIndex> = (from.node..until.min(last.saturating_add(1))).map(NodeIndex).collect();
    let documents = documents(store, core, of, from.hour, &nodes, rev)?;
    let next = if until > last { Place::of_hour(from.hour.saturating_add(1)) } else { Place { node: until, ..from } };
    Ok(Page { documents, next })
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
