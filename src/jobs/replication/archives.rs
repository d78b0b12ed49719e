//! Files of archives. What they hold is in the store no more, so they go before the round that names them, as far as the link and the collection let them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Halt, LOOKED_AT, Run, Stopped, WHOLE, reading};
use crate::clock::Stopwatch;
use crate::domain::archive::Manifest;
use crate::domain::replica::cluster::{Life, Position, Trouble};
use crate::domain::replica::{Document, Rev};
use crate::domain::time::BootMs;
use crate::gateways::replica::{From, Of};
use crate::storage::archive;
use crate::storage::core::archives;
use crate::storage::replica::documents::archives as made;
use crate::storage::replica::rows::Fenced;
use crate::storage::table::Key;

const OF: Of<'static> = Of { collection: made::COLLECTION, table: made::TABLE };

/// Above all revisions.
const ANY: Rev = Rev(u64::MAX >> 1);
/// In one run: everything else does not wait for more.
const MOST_PARTS: u32 = 400;
const LONGEST: Duration = Duration::from_secs(600);
/// So many archives of which a part is not taken are a matter of the collection.
const MOST_REFUSED: u32 = 3;
/// A file that is not what it should be is looked at again after that.
const LOOKS_AGAIN_MS: i64 = 3_600_000;

/// What is known of the files in the cluster, by their SHA-256.
#[derive(Debug)]
pub(super) struct Files {
    /// Of which they are.
    copy: String,
    /// What was there before it goes again.
    scan: Rev,
    /// How many bytes are there, from the start of the file.
    there: BTreeMap<[u8; 32], u64>,
    /// Some of what is there may be of before.
    is_mixed: bool,
    /// Archives that were looked at in this run: what of them could go is there.
    seen: BTreeSet<[u8; 32]>,
    /// When files were found to be not what they should be.
    damaged: BTreeMap<[u8; 32], BootMs>,
}

impl Files {
    fn lacks(&self, manifest: &Manifest) -> bool {
        self.bytes(manifest) < manifest.bytes
    }

    fn bytes(&self, manifest: &Manifest) -> u64 {
        self.there.get(&manifest.sha256.0).copied().unwrap_or_default()
    }
}

/// What of archives a run has sent.
#[derive(Debug)]
pub(super) struct Tally {
    parts: u32,
    refused: u32,
    since: Stopwatch,
    /// The link did not carry one: the others are for the next run.
    pub(super) cut: Option<String>,
}

impl Tally {
    pub(super) fn begin() -> Tally {
        Tally { parts: 0, refused: 0, since: Stopwatch::start(), cut: None }
    }

    fn is_over(&self) -> bool {
        self.cut.is_some() || self.parts >= MOST_PARTS || self.refused >= MOST_REFUSED || self.since.elapsed() > LONGEST
    }
}

impl Run<'_> {
    /// Brings those that the store has by now. What does not get through keeps nothing else from going.
    pub(super) async fn archives(&mut self, life: &Life) -> Result<(), Halt> {
        let wanted = archives::all(&self.context.store.read()?)?;
        let mut files = self.files(life).await?;
        files.seen = wanted.iter().map(|manifest| manifest.sha256.0).collect();
        let outcome = self.put_archives(&mut files, &wanted).await;
        let there = wanted.iter().filter(|manifest| !files.lacks(manifest)).count();
        let (scan, is_whole) = (files.scan, there == wanted.len());
        self.memory.archives = Some(files);
        let now = self.context.clock.now().wall;
        self.context.replication.change(|status| {
            status.archives_wait_since = if is_whole { None } else { Some(status.archives_wait_since.unwrap_or(now)) };
        });
        match outcome {
            Err(Halt::Trouble(Trouble::Away(why))) => self.archived.cut = Some(why),
            outcome => outcome?,
        }
        self.put_files_position(life, scan, (there, is_whole)).await
    }

    async fn put_files_position(&mut self, life: &Life, scan: Rev, (there, is_whole): (usize, bool)) -> Result<(), Halt> {
        let through = u32::try_from(there).unwrap_or(u32::MAX).encode();
        let position = Position { table: OF.table.into(), life: life.clone(), scan, through: Some(through), is_whole };
        if self.memory.positions.get(OF.table) == Some(&position) { Ok(()) } else { self.put_position(position).await }
    }

    /// Whether a snapshot names one that was made since.
    pub(super) fn lacks_archives(&self, at: &Fenced) -> Result<bool, Halt> {
        let all = archives::all(&at.core)?;
        Ok(all.iter().any(|manifest| self.memory.archives.as_ref().is_none_or(|files| !files.seen.contains(&manifest.sha256.0))))
    }

    /// What is there: as it was remembered, or found. Once the collection is to go again, nothing of before is.
    async fn files(&mut self, life: &Life) -> Result<Files, Halt> {
        let known = self.memory.positions.get(OF.table).filter(|at| at.life.copy == life.copy && at.through.is_some()).map(|at| at.scan);
        let scan = match known {
            Some(scan) => scan,
            None => {
                // From now on what arrives counts, whatever becomes of this run.
                let scan = self.fenced().await?.core_rev;
                self.put_files_position(life, scan, (0, false)).await?;
                scan
            }
        };
        if let Some(files) = self.memory.archives.take().filter(|files| files.copy == life.copy && files.scan == scan) {
            return Ok(files);
        }
        let before: BTreeSet<Vec<u8>> = self.found(scan).await?.into_iter().collect();
        let (mut there, mut is_mixed) = (BTreeMap::new(), !before.is_empty());
        for name in self.found(ANY).await? {
            match made::of_name(&name) {
                Some((sha256, end)) if !before.contains(&name) => {
                    let bytes: &mut u64 = there.entry(sha256).or_default();
                    *bytes = end.max(*bytes);
                }
                // Of before, or as an earlier release called them.
                _ => is_mixed = true,
            }
        }
        Ok(Files { copy: life.copy.clone(), scan, there, is_mixed, seen: BTreeSet::new(), damaged: BTreeMap::new() })
    }

    /// Names of parts whose revision is less.
    async fn found(&self, than: Rev) -> Result<Vec<Vec<u8>>, Halt> {
        let (mut found, mut last) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let older = self.cluster.older(OF, last.as_deref().map_or(From::Start, From::After), than, LOOKED_AT).await?;
            found.extend(older.names);
            match older.last {
                Some(end) => last = Some(end),
                None => return Ok(found),
            }
        }
    }

    async fn put_archives(&mut self, files: &mut Files, wanted: &[Manifest]) -> Result<(), Halt> {
        let now = self.context.clock.now().boot;
        files.damaged.retain(|_, at| now.0.saturating_sub(at.0) < LOOKS_AGAIN_MS);
        for manifest in wanted {
            if self.archived.is_over() {
                return Ok(());
            }
            if !files.lacks(manifest) || files.damaged.contains_key(&manifest.sha256.0) {
                continue;
            }
            let (store, of) = (Arc::clone(&self.context.store), manifest.clone());
            let is_there = reading(move || Ok(archive::is_there(&archive::folder(&store), &of))).await?;
            if let Err(why) = is_there {
                files.damaged.insert(manifest.sha256.0, now);
                let because = format!("{}: {why}", manifest.name());
                tracing::warn!(because, "an archive does not go to the cluster");
                self.context.replication.change(|status| {
                    status.not_taken = status.not_taken.saturating_add(1);
                    status.not_taken_because = Some(because);
                });
                continue;
            }
            while files.lacks(manifest) && !self.archived.is_over() {
                if !self.put_archive(files, manifest).await? {
                    self.archived.refused += 1;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next part, as large as the link carries. False: the collection does not take it.
    async fn put_archive(&mut self, files: &mut Files, manifest: &Manifest) -> Result<bool, Halt> {
        let (store, of, rev) = (Arc::clone(&self.context.store), manifest.clone(), self.fenced().await?.core_rev);
        let (from, at_most) = (files.bytes(manifest), self.batch().bytes.min(made::PART_BYTES));
        let document = reading(move || {
            let piece = archive::piece(&store, &of, from, at_most);
            let bytes = piece.map_err(|error| Stopped(format!("{}: {error}", of.name())))?;
            let end = from + bytes.len() as u64;
            if end == from {
                return Err(Stopped(format!("{}: its file became shorter", of.name())));
            }
            Ok((made::part(&store.secrets, &of, from, &bytes, rev)?, end))
        });
        let (document, end) = document.await?;
        self.archived.parts += 1;
        if !self.write(std::slice::from_ref(&document)).await?.is_empty() {
            return Ok(false);
        }
        files.there.insert(manifest.sha256.0, end);
        Ok(true)
    }

    /// Of those that were kept long enough, once no round names them, and of what went again: what is not needed goes.
    pub(super) async fn bury_archives(&mut self) -> Result<(), Halt> {
        let (kept, is_whole) = {
            let core = self.context.store.read()?;
            // What a restore did not find as a whole may be whole by what else there is of it.
            let (all, lacking) = (archives::all(&core)?, archives::lacking(&core)?);
            let is_whole = self.memory.archives.as_ref().is_some_and(|files| all.iter().all(|manifest| !files.lacks(manifest)));
            (all.into_iter().chain(lacking).map(|manifest| manifest.sha256.0).collect::<BTreeSet<_>>(), is_whole)
        };
        let Some(files) = &self.memory.archives else { return Ok(()) };
        let (scan, is_mixed) = (files.scan, files.is_mixed);
        let of_none: Vec<[u8; 32]> = files.there.keys().filter(|sha256| !kept.contains(*sha256)).copied().collect();
        for sha256 in of_none {
            self.bury_parts(Some(&sha256), ANY, &|name| name.starts_with(&sha256)).await?;
            if let Some(files) = &mut self.memory.archives {
                files.there.remove(&sha256);
            }
        }
        if is_mixed && is_whole {
            let lacking: BTreeSet<[u8; 32]> =
                archives::lacking(&self.context.store.read()?)?.iter().map(|manifest| manifest.sha256.0).collect();
            self.bury_parts(None, scan, &|name| made::of_name(name).is_some_and(|(sha256, _)| !lacking.contains(&sha256))).await?;
            self.bury_parts(None, ANY, &|name| made::of_name(name).is_none()).await?;
            if let Some(files) = &mut self.memory.archives {
                files.is_mixed = false;
            }
        }
        Ok(())
    }

    /// Parts that are meant; of one file, or of all.
    async fn bury_parts(&mut self, of: Option<&[u8; 32]>, than: Rev, is_meant: &(dyn Fn(&[u8]) -> bool + Sync)) -> Result<(), Halt> {
        let mut last = of.map(made::before);
        loop {
            let older = self.cluster.older(OF, last.as_deref().map_or(From::Start, From::After), than, WHOLE.documents).await?;
            let is_past = of.is_some_and(|of| older.last.as_deref().is_some_and(|last| !last.starts_with(of)));
            let rev = self.fenced().await?.core_rev;
            let gone = older.names.into_iter().filter(|name| is_meant(name)).map(|name| made::gone(name, rev));
            self.write(&gone.collect::<Vec<Document>>()).await?;
            match older.last {
                Some(end) if !is_past => last = Some(end),
                _ => return Ok(()),
            }
        }
    }
}
