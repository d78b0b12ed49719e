//! Files of archives. What they hold is in the store no more, so they go before the round that names them, as far as the link and the collection let them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Halt, Run, reading};
use crate::clock::Stopwatch;
use crate::domain::archive::Manifest;
use crate::domain::replica::cluster::{Life, Position, Trouble};
use crate::domain::replica::{Document, Rev};
use crate::domain::time::BootMs;
use crate::gateways::replica::{From, Of, Older};
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
/// So many archives of which a part is not taken are enough for one run.
const MOST_REFUSED: u32 = 3;
/// A file that is not what it should be, or is not taken, is tried again after that.
const TRIED_AGAIN_MS: i64 = 3_600_000;
/// Parts of which names are asked for at once: the server reads all of each.
const LISTED: usize = 64;

/// What is known of the files in the cluster, by their SHA-256.
#[derive(Debug)]
pub(super) struct Files {
    /// Of which they are.
    copy: String,
    /// What was there before it goes again.
    scan: Rev,
    /// The cluster was asked for all that is there.
    is_listed: bool,
    /// Otherwise the last part that it told of.
    listed: Option<Vec<u8>>,
    /// How many bytes are there, from the start of the file.
    there: BTreeMap<[u8; 32], u64>,
    /// Some of what is there may be of before.
    is_mixed: bool,
    /// Archives that were looked at in this run: what of them could go is there.
    seen: BTreeSet<[u8; 32]>,
    /// Since when nothing of a file is tried.
    held: BTreeMap<[u8; 32], BootMs>,
}

impl Files {
    fn new(copy: String, scan: Rev) -> Files {
        let (there, seen, held) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Files { copy, scan, is_listed: false, listed: None, there, is_mixed: false, seen, held }
    }

    fn lacks(&self, manifest: &Manifest) -> bool {
        self.bytes(manifest) < manifest.bytes
    }

    fn bytes(&self, manifest: &Manifest) -> u64 {
        self.there.get(&manifest.sha256.0).copied().unwrap_or_default()
    }

    /// Names come by where parts end.
    fn list(&mut self, older: Older) {
        for (name, rev) in older.rows {
            match made::of_name(&name) {
                Some((sha256, end, from)) if rev >= self.scan => {
                    let bytes = self.there.entry(sha256).or_default();
                    if from <= *bytes {
                        *bytes = end.max(*bytes);
                    }
                }
                // Of before, or as an earlier release called them.
                _ => self.is_mixed = true,
            }
        }
        (self.is_listed, self.listed) = (older.last.is_none(), older.last);
    }
}

/// What of archives a run has sent.
#[derive(Debug)]
pub(super) struct Tally {
    parts: u32,
    refused: u32,
    since: Stopwatch,
    /// Why the others are for the next run.
    pub(super) cut: Option<Trouble>,
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
        let outcome = self.bring(&mut files, &wanted).await;
        let there = wanted.iter().filter(|manifest| !files.lacks(manifest)).count();
        let (scan, is_listed, is_whole) = (files.scan, files.is_listed, there == wanted.len());
        self.memory.archives = Some(files);
        self.or_cut(outcome)?;
        let now = self.context.clock.now().wall;
        self.context.replication.change(|status| {
            status.archives_wait_since = if is_whole { None } else { Some(status.archives_wait_since.unwrap_or(now)) };
        });
        if is_listed { self.put_files_position(life, scan, (there, is_whole)).await } else { Ok(()) }
    }

    /// Trouble with archives is no matter of everything else.
    pub(super) fn or_cut(&mut self, outcome: Result<(), Halt>) -> Result<(), Halt> {
        match outcome {
            Err(Halt::Trouble(trouble @ (Trouble::Away(_) | Trouble::Refused(_)))) => {
                self.archived.cut = Some(trouble);
                Ok(())
            }
            outcome => outcome,
        }
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

    /// As they are remembered, or nothing yet. Once the collection is to go again, nothing of before is there.
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
        let files = self.memory.archives.take().filter(|files| files.copy == life.copy && files.scan == scan);
        Ok(files.unwrap_or_else(|| Files::new(life.copy.clone(), scan)))
    }

    async fn bring(&mut self, files: &mut Files, wanted: &[Manifest]) -> Result<(), Halt> {
        while !files.is_listed {
            if self.archived.is_over() {
                return Ok(());
            }
            let from = files.listed.as_deref().map_or(From::Start, From::After);
            let answer = self.cluster.older(OF, from, ANY, self.memory.pace.of(LISTED)).await;
            files.list(self.answered(answer)?);
            self.go_on().await?;
        }
        let now = self.context.clock.now().boot;
        files.held.retain(|_, at| now.0.saturating_sub(at.0) < TRIED_AGAIN_MS);
        for manifest in wanted {
            if self.archived.is_over() {
                return Ok(());
            }
            if !files.lacks(manifest) || files.held.contains_key(&manifest.sha256.0) {
                continue;
            }
            let (store, of) = (Arc::clone(&self.context.store), manifest.clone());
            let is_there = reading(move || Ok(archive::is_there(&archive::folder(&store), &of))).await?;
            if let Err(why) = is_there {
                self.hold(files, manifest, &why.to_string());
                continue;
            }
            while files.lacks(manifest) && !self.archived.is_over() {
                if !self.put_archive(files, manifest).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A file that is not what it should be.
    fn hold(&self, files: &mut Files, manifest: &Manifest, why: &str) {
        files.held.insert(manifest.sha256.0, self.context.clock.now().boot);
        let because = format!("{}: {why}", manifest.name());
        tracing::warn!(because, "an archive does not go to the cluster");
        self.context.replication.change(|status| {
            status.not_taken = status.not_taken.saturating_add(1);
            status.not_taken_because = Some(because);
        });
    }

    /// The next part, as large as the link carries. False: no other one of this file is to be tried.
    async fn put_archive(&mut self, files: &mut Files, manifest: &Manifest) -> Result<bool, Halt> {
        let (store, of, rev) = (Arc::clone(&self.context.store), manifest.clone(), self.fenced().await?.core_rev);
        let (from, at_most) = (files.bytes(manifest), self.batch().bytes.min(made::PART_BYTES));
        let made = reading(move || match archive::piece(&store, &of, from, at_most) {
            Ok(bytes) if bytes.is_empty() => Ok(Err("its file became shorter".to_owned())),
            Ok(bytes) => Ok(Ok((made::part(&store.secrets, &of, from, &bytes, rev)?, from + bytes.len() as u64))),
            Err(error) => Ok(Err(error.to_string())),
        });
        let (document, end) = match made.await? {
            Ok(made) => made,
            Err(why) => {
                self.hold(files, manifest, &why);
                return Ok(false);
            }
        };
        self.archived.parts += 1;
        if !self.write(std::slice::from_ref(&document)).await?.is_empty() {
            self.archived.refused += 1;
            files.held.insert(manifest.sha256.0, self.context.clock.now().boot);
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
        let Some(files) = self.memory.archives.as_ref().filter(|files| files.is_listed) else { return Ok(()) };
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
            self.bury_parts(None, scan, &|name| made::of_name(name).is_some_and(|(sha256, ..)| !lacking.contains(&sha256))).await?;
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
            let answer = self.cluster.older(OF, last.as_deref().map_or(From::Start, From::After), than, self.memory.pace.of(LISTED)).await;
            let older = self.answered(answer)?;
            let is_past = of.is_some_and(|of| older.last.as_deref().is_some_and(|last| !last.starts_with(of)));
            let rev = self.fenced().await?.core_rev;
            let gone = older.rows.into_iter().filter(|(name, _)| is_meant(name)).map(|(name, _)| made::gone(name, rev));
            self.write(&gone.collect::<Vec<Document>>()).await?;
            match older.last {
                Some(end) if !is_past => last = Some(end),
                _ => return Ok(()),
            }
        }
    }
}
