//! Files of archives. What they hold is in the store no more, so a round names none whose parts are not there, as far as they can be.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Halt, Run, Stopped, WHOLE, reading};
use crate::domain::archive::Manifest;
use crate::domain::replica::cluster::{Life, Position};
use crate::domain::replica::{Document, Rev};
use crate::gateways::replica::{From, Of};
use crate::storage::archive;
use crate::storage::core::archives;
use crate::storage::replica::documents::archives as made;
use crate::storage::replica::rows::Fenced;
use crate::storage::table::Key;

const OF: Of<'static> = Of { collection: made::COLLECTION, table: made::TABLE };

/// What is known of the parts in the cluster, by the SHA-256 of their files.
#[derive(Debug)]
pub(super) struct Parts {
    /// Of which they are.
    copy: String,
    /// What was there before it goes again.
    scan: Rev,
    /// Names of those that need not go.
    there: BTreeSet<Vec<u8>>,
    /// Archives that were looked at in this run: what of them could go is there.
    seen: BTreeSet<[u8; 32]>,
    /// The same with files that are not what they should be; told once.
    damaged: BTreeSet<[u8; 32]>,
}

impl Parts {
    fn lacks(&self, manifest: &Manifest) -> bool {
        !self.damaged.contains(&manifest.sha256.0)
            && (0..made::parts(manifest)).any(|part| !self.there.contains(&made::name(manifest, part)))
    }
}

fn names(of: &[Manifest]) -> BTreeSet<Vec<u8>> {
    of.iter().flat_map(|manifest| (0..made::parts(manifest)).map(|part| made::name(manifest, part))).collect()
}

impl Run<'_> {
    /// Brings those that the store has by now.
    pub(super) async fn archives(&mut self, life: &Life) -> Result<(), Halt> {
        let wanted = archives::all(&self.context.store.read()?)?;
        let mut parts = self.parts(life).await?;
        parts.seen = wanted.iter().map(|manifest| manifest.sha256.0).collect();
        let outcome = self.put_archives(&mut parts, &wanted).await;
        let is_whole = wanted.iter().all(|manifest| !parts.lacks(manifest));
        let sent = wanted.iter().filter(|manifest| !parts.lacks(manifest)).count();
        let scan = parts.scan;
        self.memory.archives = Some(parts);
        outcome?;
        let through = u32::try_from(sent).unwrap_or(u32::MAX).encode();
        let position = Position { table: OF.table.into(), life: life.clone(), scan, through: Some(through), is_whole };
        if self.memory.positions.get(OF.table) == Some(&position) { Ok(()) } else { self.put_position(position).await }
    }

    /// Whether a snapshot names one that was made since.
    pub(super) fn lacks_archives(&self, at: &Fenced) -> Result<bool, Halt> {
        let all = archives::all(&at.core)?;
        Ok(all.iter().any(|manifest| self.memory.archives.as_ref().is_none_or(|parts| !parts.seen.contains(&manifest.sha256.0))))
    }

    /// What is there: as it was remembered, or found. Once the collection is to go again, nothing of before is.
    async fn parts(&mut self, life: &Life) -> Result<Parts, Halt> {
        let known = self.memory.positions.get(OF.table).filter(|at| at.life.copy == life.copy && at.through.is_some()).map(|at| at.scan);
        let scan = match known {
            Some(scan) => scan,
            None => self.fenced().await?.core_rev,
        };
        if let Some(parts) = self.memory.archives.take().filter(|parts| parts.copy == life.copy && parts.scan == scan) {
            return Ok(parts);
        }
        let mut there = self.found(Rev(u64::MAX >> 1)).await?;
        for before in self.found(scan).await? {
            there.remove(&before);
        }
        Ok(Parts { copy: life.copy.clone(), scan, there, seen: BTreeSet::new(), damaged: BTreeSet::new() })
    }

    /// Names of parts whose revision is less.
    async fn found(&self, than: Rev) -> Result<BTreeSet<Vec<u8>>, Halt> {
        let mut found = BTreeSet::new();
        loop {
            let from = found.last().map_or(From::Start, |last: &Vec<u8>| From::After(last));
            let names = self.cluster.older(OF, from, than, WHOLE.documents).await?;
            if names.is_empty() {
                return Ok(found);
            }
            found.extend(names);
        }
    }

    async fn put_archives(&mut self, parts: &mut Parts, wanted: &[Manifest]) -> Result<(), Halt> {
        for manifest in wanted {
            if !parts.lacks(manifest) {
                continue;
            }
            let (store, of) = (Arc::clone(&self.context.store), manifest.clone());
            let is_there = reading(move || Ok(archive::is_there(&archive::folder(&store), &of))).await?;
            if let Err(why) = is_there {
                parts.damaged.insert(manifest.sha256.0);
                let because = format!("{}: {why}", manifest.name());
                tracing::warn!(because, "an archive does not go to the cluster");
                self.context.replication.change(|status| {
                    status.not_taken = status.not_taken.saturating_add(1);
                    status.not_taken_because = Some(because);
                });
                continue;
            }
            for part in 0..made::parts(manifest) {
                if !parts.there.contains(&made::name(manifest, part)) && !self.put_archive(parts, manifest, part).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// False: the collection does not take it.
    async fn put_archive(&mut self, parts: &mut Parts, manifest: &Manifest, part: u32) -> Result<bool, Halt> {
        let (store, of, rev) = (Arc::clone(&self.context.store), manifest.clone(), self.fenced().await?.core_rev);
        let document = reading(move || {
            let piece = archive::piece(&store, &of, u64::from(part) * made::PART_BYTES, made::PART_BYTES);
            let bytes = piece.map_err(|error| Stopped(format!("{}: {error}", of.name())))?;
            Ok(made::part(&store.secrets, &of, part, &bytes, rev)?)
        });
        let document = document.await?;
        if !self.write(std::slice::from_ref(&document)).await?.is_empty() {
            self.refused = Some(format!("a part of {} was not taken", manifest.name()));
            return Ok(false);
        }
        parts.there.insert(document.name);
        Ok(true)
    }

    /// Those that were kept long enough, once no round names them: parts that are of none go.
    pub(super) async fn bury_archives(&mut self) -> Result<(), Halt> {
        let wanted = names(&archives::all(&self.context.store.read()?)?);
        let of_none = |parts: &Parts| parts.there.difference(&wanted).take(WHOLE.documents).cloned().collect::<Vec<_>>();
        while let Some(gone) = self.memory.archives.as_ref().map(of_none).filter(|gone| !gone.is_empty()) {
            let rev = self.fenced().await?.core_rev;
            let documents: Vec<Document> = gone.iter().map(|name| made::gone(name.clone(), rev)).collect();
            self.write(&documents).await?;
            if let Some(parts) = &mut self.memory.archives {
                parts.there.retain(|name| !gone.contains(name));
            }
        }
        Ok(())
    }
}
