//! What the cluster does not have yet, by what is marked and by how far it was read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use super::catalog::{Listed, Way, leaving};
use super::documents::{archives as archived, collection};
use super::marks;
use super::measured::{self, Measured, Place};
use crate::domain::replica::cluster::Position;
use crate::domain::time::Timestamp;
use crate::storage::Store;
use crate::storage::compaction::Which;
use crate::storage::core::archives;
use crate::storage::fault::Fault;
use crate::storage::hot::hours;
use crate::storage::table::{Key, Read, Snapshot};

/// How far each table is; of another life of the store a position says nothing.
pub type Positions = BTreeMap<String, Position>;

/// One collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub collection: &'static str,
    /// Documents; None: nothing is known of any position.
    pub documents: Option<u64>,
    /// Every table of it was read to its end.
    pub is_whole: bool,
    /// Of measurements, which go hour by hour: everything of before is there.
    pub through: Option<Timestamp>,
}

/// Every collection, by name. Counts rows of what was not read yet, so it takes as long as these are many.
pub fn waiting(store: &Store, positions: &Positions) -> Result<Vec<Waiting>, Fault> {
    let looking = Looking::at(store, positions)?;
    let mut found: BTreeMap<&'static str, Waiting> = BTreeMap::new();
    for listed in leaving() {
        let name = collection(listed.table);
        let of = found.entry(name).or_insert(Waiting { collection: name, documents: Some(0), is_whole: true, through: None });
        of.is_whole &= looking.position(listed).is_some_and(|at| at.is_whole);
        of.documents = match of.documents {
            Some(before) if !positions.is_empty() => Some(before.saturating_add(looking.documents(listed)?)),
            _ => None,
        };
    }
    for of in Measured::ALL {
        // What was never sent may be switched off.
        let at = positions.get(of.table()).and_then(|at| Place::decode(at.through.as_deref()?));
        if let Some(at) = at {
            let is_whole = at.hour >= measured::end(store)?;
            // How many samples an hour has is known when it is read.
            let (collection, documents) = (of.collection(), is_whole.then_some(0));
            let through = Some(hours::first_slot(at.hour).start());
            found.insert(collection, Waiting { collection, documents, is_whole, through });
        }
    }
    let lacking = looking.archives()?;
    let documents = (!positions.is_empty()).then_some(lacking);
    let is_whole = positions.get(archived::TABLE).is_some_and(|at| at.is_whole) && lacking == 0;
    found.insert(archived::COLLECTION, Waiting { collection: archived::COLLECTION, documents, is_whole, through: None });
    Ok(found.into_values().collect())
}

/// Whether anything waits: the same without counting.
pub fn is_waiting(store: &Store, positions: &Positions) -> Result<bool, Fault> {
    let looking = Looking::at(store, positions)?;
    for which in Which::ALL {
        if !marks::pending(looking.file(which), store.marking(which), marks::ANY, None, 1)?.is_empty() {
            return Ok(true);
        }
    }
    for listed in leaving() {
        let Some(position) = looking.position(listed).filter(|at| at.is_whole) else { return Ok(true) };
        if listed.way == Way::Log && rows_after(looking.file(listed.file), listed, position.through.as_deref(), 1)? > 0 {
            return Ok(true);
        }
    }
    Ok(looking.archives()? > 0)
}

/// What people call them.
pub fn collections() -> impl Iterator<Item = &'static str> {
    let names: BTreeSet<&'static str> = leaving()
        .map(|listed| collection(listed.table))
        .chain(Measured::ALL.map(Measured::collection))
        .chain([archived::COLLECTION])
        .collect();
    names.into_iter()
}

struct Looking<'a> {
    store: &'a Store,
    positions: &'a Positions,
    core: Snapshot,
    hot: Snapshot,
    stretch: u32,
}

impl<'a> Looking<'a> {
    fn at(store: &'a Store, positions: &'a Positions) -> Result<Looking<'a>, Fault> {
        // Leaves of an epoch are written before its head: what waits for one is not there yet.
        let hot = store.hot.read()?;
        let core = store.read()?;
        let stretch = marks::state(&core)?.stretch;
        Ok(Looking { store, positions, core, hot, stretch })
    }

    fn file(&self, which: Which) -> &Snapshot {
        match which {
            Which::Core => &self.core,
            Which::Hot => &self.hot,
        }
    }

    fn position(&self, listed: &Listed) -> Option<&'a Position> {
        let is_of_now = |at: &&Position| (at.life.generation, at.life.stretch) == (self.store.generation, self.stretch);
        self.positions.get(listed.table).filter(is_of_now)
    }

    /// Those that are not there as a whole.
    fn archives(&self) -> Result<u64, Fault> {
        let there = self.positions.get(archived::TABLE).and_then(|at| u32::decode(at.through.as_deref()?));
        let all = u64::try_from(archives::all(&self.core)?.len()).unwrap_or(u64::MAX);
        Ok(all.saturating_sub(there.map_or(0, u64::from)))
    }

    fn documents(&self, listed: &Listed) -> Result<u64, Fault> {
        let (position, read) = (self.position(listed), self.file(listed.file));
        let through = position.and_then(|at| at.through.as_deref());
        if !position.is_some_and(|at| at.is_whole) {
            // Most of what is marked meanwhile is among the rows that are still to be read.
            return match through {
                None => read.with(listed.table, |raw| raw.rows()),
                Some(_) => rows_after(read, listed, through, u64::MAX),
            };
        }
        let unread = if listed.way == Way::Log { rows_after(read, listed, through, u64::MAX)? } else { 0 };
        // Those of a log are what the cluster did not take.
        Ok(unread.saturating_add(marks::count(read, self.store.marking(listed.file), listed.number)?))
    }
}

/// At most `limit` are counted.
fn rows_after(read: &impl Read, listed: &Listed, after: Option<&[u8]>, limit: u64) -> Result<u64, Fault> {
    let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
    let mut count = 0;
    read.with(listed.table, |raw| {
        raw.walk_bytes((from, Bound::Unbounded), false, &mut |_, _| {
            count += 1;
            Ok(if count < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
    })?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Act;
    use crate::domain::replica::Rev;
    use crate::domain::replica::cluster::Life;
    use crate::storage::core::audit;
    use crate::storage::core::tables::{AUDIT, Index, NODE_IDS};
    use crate::storage::testing::{NOW, store};

    fn at(table: &str, through: Option<Vec<u8>>, is_whole: bool) -> (String, Position) {
        let life = Life { generation: 1, stretch: 1, copy: "c".into() };
        (table.to_owned(), Position { table: table.to_owned(), life, scan: Rev(0), through, is_whole })
    }

    fn whole() -> Positions {
        leaving().map(|listed| at(listed.table, None, true)).collect()
    }

    fn of(store: &crate::storage::Store, positions: &Positions, name: &str) -> (Option<u64>, bool) {
        let found = waiting(store, positions).unwrap();
        let sent = collections().filter(|name| !name.starts_with("resource_metrics"));
        assert_eq!(found.iter().map(|of| of.collection).collect::<Vec<_>>(), sent.collect::<Vec<_>>(), "none of measurements were");
        let of = found.iter().find(|of| of.collection == name).unwrap();
        (of.documents, of.is_whole)
    }

    #[tokio::test]
    async fn marks_wait_of_tables_and_rows_after_the_position_of_logs() {
        let (_dir, store) = store();
        let note =
            |name: &'static str| move |tx: &mut crate::storage::table::WriteTx<'_>| audit::append(tx, Act::system(NOW).draft(name, ""));
        store.write(|tx| tx.put(NODE_IDS, &"before".to_owned(), &Index(1))).await.unwrap();
        store.write(note("one")).await.unwrap();
        let rows = store.read().unwrap().count(AUDIT).unwrap();
        assert_eq!(of(&store, &Positions::new(), "audit_logs"), (None, false), "nothing is known");
        let begun: Positions = [at("nodes", None, true)].into();
        assert_eq!(of(&store, &begun, "audit_logs"), (Some(rows), false), "what was not begun waits as a whole");

        store.begin_marks().await.unwrap();
        let mut positions = whole();
        assert_eq!(of(&store, &positions, "audit_logs"), (Some(rows), true));
        let last = store.read().unwrap().last(AUDIT).unwrap().unwrap().0;
        positions.extend([at(AUDIT.name, Some(crate::storage::table::Key::encode(&last)), true)]);
        let clean = |positions: &Positions| {
            (of(&store, positions, "audit_logs").0, of(&store, positions, "manager_records").0, is_waiting(&store, positions).unwrap())
        };
        assert_eq!(clean(&positions), (Some(0), Some(0), false));
        store.write(|tx| tx.put(NODE_IDS, &"after".to_owned(), &Index(2))).await.unwrap();
        assert_eq!(clean(&positions), (Some(0), Some(1), true));
        store.write(note("two")).await.unwrap();
        assert_eq!(clean(&positions).0, Some(1));
        positions.values_mut().for_each(|at| at.life.stretch = 2);
        assert_eq!(of(&store, &positions, "nodes"), (Some(0), false), "positions of another stretch say nothing");
    }
}
