//! How another file takes the place of this one while it is written: what a compaction asks of the writer.
//!
//! From `begin` on the writer notes what it touches. Each `round` hands out the notes with a snapshot that has what they name, and `switch` does the same for the last
//! time, in the writer's thread, so that nobody writes until the new file has the name of the old one. A crash before the rename leaves the old file, a crash after it the new
//! one; both are whole, and both have all that was acknowledged until then.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use redb::{Database, Durability};

use super::super::fault::Fault;
use super::super::table::{Snapshot, raw};
use super::super::touched::Touched;
use super::handle::{Opened, Place};
use super::writer::{self, Shared, Writer};
use super::{COMPACTED, DbFile, lock};

/// What changed since the round before, and a view that has it.
pub struct Round {
    snapshot: Snapshot,
    touched: Touched,
}

impl Round {
    /// Rows that changed.
    pub fn len(&self) -> usize {
        self.touched.len()
    }

    /// Brings `database` to what the snapshot has, durably.
    pub fn apply(&self, database: &Database) -> Result<(), Fault> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(|error| Fault::Database(error.to_string()))?;
        for (name, keys) in self.touched.keys() {
            // Touched by a transaction that never was: then the table may not be there.
            let Ok(from) = self.snapshot.open(name) else { continue };
            let mut to = transaction.open_table(raw(name))?;
            for key in keys {
                match redb::ReadableTable::get(&from, key.as_slice())? {
                    Some(row) => drop(to.insert(key.as_slice(), row.value())?),
                    None => drop(to.remove(key.as_slice())?),
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

/// A copy that is being made of a file. Dropped before its end, it leaves the file as it is.
pub struct Replacement<'f> {
    file: &'f DbFile,
    new: Option<Opened>,
    is_done: bool,
}

/// How a switch ended.
pub enum Switched {
    Done,
    /// More has changed than was to be caught up with in the writer's thread.
    Later(Box<Round>),
}

impl DbFile {
    /// Makes an empty file that is to take the place of this one, and a view of what goes into it first.
    pub fn begin_replacement(&self) -> Result<(Replacement<'_>, Snapshot), Fault> {
        let place = &self.shared.place;
        let path = place.temporary(COMPACTED);
        let snapshot = self.between(|shared, writer| {
            if writer.touched.is_some() {
                return Err(Fault::Database("a copy of this file is being made already".into()));
            }
            writer.touched = Some(Touched::default());
            Snapshot::of(&shared.handle.current()?)
        })?;
        let mut replacement = Replacement { file: self, new: None, is_done: false };
        place.device.remove(&path).map_err(|error| failed(place, error))?;
        replacement.new = Some(place.create(&path).map_err(|error| Fault::Database(error.to_string()))?);
        Ok((replacement, snapshot))
    }

    /// Whether it is about to be closed.
    pub fn is_closing(&self) -> bool {
        lock(&self.shared.queues).closing
    }

    /// Runs `work` in the writer's thread between two commits.
    fn between<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>, &mut Writer) -> Result<R, Fault> + Send + 'static,
    ) -> Result<R, Fault> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.interpose(Box::new(move |shared, writer| drop(reply.send(work(shared, writer)))))?;
        answer.recv().unwrap_or_else(|_| Err(Fault::Panic))
    }
}

impl Replacement<'_> {
    fn new_file(&self) -> Result<&Opened, Fault> {
        self.new.as_ref().ok_or_else(|| Fault::Invariant("the new file is in its place already".into()))
    }

    pub fn database(&self) -> Result<&Database, Fault> {
        Ok(&self.new_file()?.database)
    }

    /// What changed since the round before.
    pub fn round(&self) -> Result<Round, Fault> {
        self.file.between(round)
    }

    /// Puts the new file in the place of the old one, unless more than `limit` rows have to be caught up with before. Snapshots of the old file stay what they are.
    pub fn switch(&mut self, limit: usize) -> Result<Switched, Fault> {
        let new = self.new.take().ok_or_else(|| Fault::Invariant("the new file is in its place already".into()))?;
        let done = self.file.between(move |shared, writer| {
            let last = round(shared, writer)?;
            if last.len() > limit {
                return Ok(Err(Box::new((last, new))));
            }
            last.apply(&new.database)?;
            drop(last);
            put_in_place(shared, new).map(|before| {
                writer.touched = None;
                Ok(before)
            })
        })?;
        match done {
            // To close it takes a while; here nobody waits for it.
            Ok(before) => {
                drop(before);
                self.is_done = true;
                Ok(Switched::Done)
            }
            Err(later) => {
                let (round, new) = *later;
                self.new = Some(new);
                Ok(Switched::Later(Box::new(round)))
            }
        }
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        drop(self.new.take());
        if !self.is_done {
            let place = &self.file.shared.place;
            let _ = place.device.remove(&place.temporary(COMPACTED));
        }
        // Last, because from here on another one may begin.
        let _ = self.file.between(|_, writer| {
            writer.touched = None;
            Ok(())
        });
    }
}

fn round(shared: &Arc<Shared>, writer: &mut Writer) -> Result<Round, Fault> {
    let touched = writer.touched.replace(Touched::default()).unwrap_or_default();
    if touched.is_full() {
        return Err(Fault::Database("too much was written for a copy to catch up with; it is tried again later".into()));
    }
    Ok(Round { snapshot: Snapshot::of(&shared.handle.current()?)?, touched })
}

/// The database that was there before.
fn put_in_place(shared: &Arc<Shared>, new: Opened) -> Result<Option<Arc<Opened>>, Fault> {
    let place = &shared.place;
    let io = |error| failed(place, error);
    new.link.file().sync().map_err(io)?;
    place.device.rename(&place.temporary(COMPACTED), &place.path).map_err(io)?;
    // Nothing may be acknowledged that a power cut would take back with the name.
    if let Err(error) = sync_folder(place, place.folder()) {
        shared.failed.store(true, Ordering::Release);
        return Err(io(error));
    }
    writer::listen(shared, &new);
    let before = shared.handle.put(new);
    if let Some(before) = &before {
        shared.written_before.fetch_add(before.link.written_bytes(), Ordering::Relaxed);
    }
    Ok(before)
}

fn sync_folder(place: &Place, folder: &Path) -> std::io::Result<()> {
    let once = || place.device.sync_folder(folder);
    once().or_else(|_| once())
}

fn failed(place: &Place, error: std::io::Error) -> Fault {
    Fault::Database(place.failed(error).to_string())
}
