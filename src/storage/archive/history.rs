//! Archives of what happened to nodes, by month: a line is an event as the history of its node has it, node by node.
//!
//! An archive covers of each node what comes before its first event of a later month; how far that is, is kept for each node, so that each event is in one archive
//! whatever the clock did. Words that may name an operator or were written by people are left out: an archive that is signed cannot
//! be changed, and an erasure has to reach everything that can be read. What people did stands in the audit log, with their words sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::content::Content;
use super::names::NodeIds;
use super::{Failed, Writer};
use crate::domain::archive::{Kind, Manifest};
use crate::domain::audit::Actor;
use crate::domain::ids::NodeIndex;
use crate::domain::node_event::{Category, Kind as EventKind, NodeEvent};
use crate::domain::privacy::without_words;
use crate::domain::statement::Month;
use crate::storage::Store;
use crate::storage::core::{archives, node_events};
use crate::storage::fault::{Fault, TxError, WriteError};
use crate::storage::table::WriteTx;

/// Events that are read at once.
const PAGE: usize = 5_000;
/// Events deleted in one transaction.
const ROWS: usize = 2_000;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Event {
    pub node_id: String,
    /// Counts the events of this node, from 1.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub at: String,
    pub category: Category,
    pub kind: EventKind,
    /// Without what may name somebody.
    pub detail: Option<String>,
    /// Id of the person or the node that did it; null when the manager did.
    pub actor: Option<String>,
}

impl Event {
    fn of(node_id: &str, seq: u64, event: NodeEvent) -> Event {
        let event = without_words(event);
        let actor = (event.actor != Actor::System).then(|| event.actor.to_string());
        let (category, kind) = (event.kind.category(), event.kind);
        Event { node_id: node_id.to_owned(), seq, at: event.at.rfc3339(), category, kind, detail: event.detail, actor }
    }
}

/// Events of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    month: Month,
    /// Of the next line: counts over all archives of events.
    number: u64,
    /// The next event that is looked at.
    from: (NodeIndex, u64),
    /// Of each node the last event that was written.
    written: BTreeMap<NodeIndex, u64>,
    ids: NodeIds,
}

impl Content for History {
    const KIND: Kind = Kind::NodeHistory;

    fn due(store: &Store, kept: Month) -> Result<Option<History>, Fault> {
        let core = store.read()?;
        let newest = archives::newest(&core, Kind::NodeHistory)?;
        let after = newest.as_ref().and_then(|newest| Month::parse(&newest.period)).map_or(Month(0), Month::next);
        let Some(oldest) = node_events::oldest(&core)? else { return Ok(None) };
        let month = Month::of(oldest).max(after);
        let number = newest.map_or(1, |newest| newest.last + 1);
        let from = (NodeIndex(0), 0);
        Ok((month < kept).then(|| History { month, number, from, written: BTreeMap::new(), ids: NodeIds::default() }))
    }

    fn period(&self) -> String {
        self.month.to_string()
    }

    fn step(&mut self, store: &Store, writer: &mut Writer) -> Result<bool, Failed> {
        let core = store.read()?;
        let page = node_events::unarchived(&core, self.from, self.month.end(), PAGE)?;
        for (node, seq, event) in page.events {
            let line = Event::of(self.ids.of(&core, node)?, seq, event);
            writer.line(self.number, &line)?;
            self.number += 1;
            self.written.insert(node, seq);
        }
        match page.next {
            Some(next) => self.from = next,
            None => return Ok(true),
        }
        Ok(false)
    }

    fn cover(&self, tx: &mut WriteTx<'_>, _: &Manifest) -> Result<(), TxError> {
        self.written.iter().try_for_each(|(node, seq)| node_events::put_archived(tx, *node, *seq))
    }

    fn is_left(store: &Store, _: &Manifest) -> Result<bool, Fault> {
        Ok(!node_events::archived_rows(&store.read()?, 1)?.is_empty())
    }

    async fn forget(store: &Arc<Store>, _: &Manifest) -> Result<bool, WriteError> {
        store.write(|tx| node_events::forget_archived(tx, ROWS)).await
    }
}
