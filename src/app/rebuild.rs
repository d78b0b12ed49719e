//! Brings a store back from the cluster: fetches its rows, and puts them together to what a backup is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::backup::Manifest;
use crate::domain::replica::cluster::{Managed, Round, Trouble};
use crate::domain::replica::pace::Pace;
use crate::domain::time::Timestamp;
use crate::gateways::replica::{Cluster, Of};
use crate::storage::hot::hours;
use crate::storage::recovery::Contents;
use crate::storage::replica::catalog::{Listed, leaving};
use crate::storage::replica::documents::{archives, collection};
use crate::storage::replica::measured::Measured;
use crate::storage::replica::rebuild::{NotRebuilt, Rebuild, Sealed};
use crate::storage::table::Key;

/// In one request, where the link holds.
const PAGE: usize = 500;
/// Parts of archives, which are larger.
const PARTS: usize = 8;
/// A cluster that did not answer so often in a row is given up: after four minutes of pauses, beside what each answer was waited for.
const TRIES: u32 = 9;

/// What the cluster has of a manager as a whole.
///
/// # Errors
/// It has nothing, or no whole.
pub async fn whole(cluster: &dyn Cluster, manager: &str) -> Result<Managed, NotRebuilt> {
    let managed = cluster.managed().await.map_err(said)?;
    let managed = managed.ok_or_else(|| NotRebuilt(format!("the cluster has nothing of a manager {manager}")))?;
    if managed.round.is_none() {
        let why = "the cluster has no whole state of this manager: everything was being copied to it, for the first time or once more, when it was last heard";
        return Err(NotRebuilt(why.into()));
    }
    Ok(managed)
}

/// Which measurements come along, as far as the cluster has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Metrics {
    /// Every sample, and what hours come to.
    Samples,
    /// What hours come to.
    Hourly,
    None,
}

/// What of measurements is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub metrics: Metrics,
    /// None of earlier hours.
    pub since: Timestamp,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What comes now.
    pub collection: &'static str,
    /// Which one of how many it is, from 1 on.
    pub step: usize,
    pub steps: usize,
    /// How many rows have come, of all collections.
    pub rows: u64,
    /// How often in a row the cluster did not answer.
    pub failures: u32,
}

/// What is fetched in one go.
#[derive(Debug, Clone, Copy)]
enum Part {
    Rows(&'static Listed),
    Measured(Measured),
}

impl Part {
    fn of(self) -> Of<'static> {
        match self {
            Part::Rows(listed) => Of { collection: collection(listed.table), table: listed.table },
            Part::Measured(of) => Of { collection: of.collection(), table: of.table() },
        }
    }

    /// What comes before all that is wanted.
    fn before(self, since: Timestamp) -> Option<Vec<u8>> {
        let hour = hours::hour_of(since.slot());
        let place = match self {
            Part::Rows(_) => return None,
            Part::Measured(Measured::Hourly) => hour,
            Part::Measured(Measured::Raw) => hours::first_slot(hour).0,
        };
        Some((place.checked_sub(1)?, u32::MAX).encode())
    }

    fn put(self, rebuild: &Rebuild, sealed: &[Sealed]) -> Result<(), NotRebuilt> {
        match self {
            Part::Rows(listed) => rebuild.put(listed, sealed),
            Part::Measured(Measured::Hourly) => rebuild.put_hours(sealed),
            Part::Measured(Measured::Raw) => rebuild.put_samples(sealed),
        }
    }
}

/// Makes the folder, which must not be there. `tell` hears of each request how far it is.
///
/// # Errors
/// The cluster is away, has no whole state of the manager or one of a later release, or the manager writes at the same time; rows that the kit does not open.
pub async fn fetch(
    cluster: &dyn Cluster,
    manager: &str,
    kit: &Contents,
    folder: &Path,
    wanted: Wanted,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Fetched, NotRebuilt> {
    if kit.manager_id.as_str() != manager {
        return Err(NotRebuilt(format!("the recovery kit is of manager {}, and not of {manager}", kit.manager_id)));
    }
    let Managed { round, .. } = whole(cluster, manager).await?;
    let Some(round) = round else { return Err(NotRebuilt("the cluster has no whole state of this manager".into())) };
    let positions = cluster.positions().await.map_err(said)?;
    if let Some(of) = positions.iter().find(|of| !is_known(&of.table)) {
        let why =
            format!("the cluster has a table {} of this manager, which this release does not know: take the one that wrote it", of.table);
        return Err(NotRebuilt(why));
    }
    let rebuild = Arc::new(Rebuild::begin(folder, kit, round.clone())?);
    let tables: Vec<Part> = leaving().map(Part::Rows).collect();
    let measured: &[Part] = match wanted.metrics {
        Metrics::Samples => &[Part::Measured(Measured::Hourly), Part::Measured(Measured::Raw)],
        Metrics::Hourly => &[Part::Measured(Measured::Hourly)],
        Metrics::None => &[],
    };
    let progress = Progress { collection: "", step: 0, steps: tables.len() + 1 + measured.len(), rows: 0, failures: 0 };
    let mut fetching = Fetching { cluster, rebuild, round, since: wanted.since, progress, pace: Pace::default(), tell };
    fetching.all(&tables).await?;
    fetching.lay_over().await?;
    let lacking = fetching.archives().await?;
    fetching.all(measured).await?;
    fetching.look_again().await?;
    let rebuild = Arc::into_inner(fetching.rebuild).ok_or_else(|| NotRebuilt("a write is under way".into()))?;
    let manifest = tokio::task::spawn_blocking(move || rebuild.finish()).await??;
    Ok(Fetched { manifest, lacking })
}

/// A backup of what the cluster had.
#[derive(Debug)]
pub struct Fetched {
    pub manifest: Manifest,
    /// Archives of which it did not have every part.
    pub lacking: Vec<String>,
}

fn is_known(table: &str) -> bool {
    table == archives::TABLE || leaving().any(|listed| listed.table == table) || Measured::ALL.iter().any(|of| of.table() == table)
}

struct Fetching<'a> {
    cluster: &'a dyn Cluster,
    rebuild: Arc<Rebuild>,
    round: Round,
    since: Timestamp,
    progress: Progress,
    pace: Pace,
    tell: &'a mut (dyn FnMut(Progress) + Send),
}

impl Fetching<'_> {
    async fn all(&mut self, parts: &[Part]) -> Result<(), NotRebuilt> {
        for part in parts.iter().copied() {
            let (of, mut last) = (part.of(), part.before(self.since));
            (self.progress.collection, self.progress.step) = (of.collection, self.progress.step + 1);
            loop {
                (self.tell)(self.progress);
                let rows = self.asked(async |cluster, limit| cluster.rows(of, last.as_deref(), limit).await).await?;
                let Some(end) = rows.last() else { break };
                last = Some(end.name.clone());
                self.progress.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
                let sealed: Vec<Sealed> = rows.into_iter().map(|row| (row.name, row.record)).collect();
                let rebuild = Arc::clone(&self.rebuild);
                tokio::task::spawn_blocking(move || part.put(&rebuild, &sealed)).await??;
            }
        }
        Ok(())
    }

    /// What the round has, over what documents have.
    async fn lay_over(&mut self) -> Result<(), NotRebuilt> {
        let of = self.round.rev;
        for part in 0..self.round.parts {
            let Some(sealed) = self.asked(async |cluster, _| cluster.part(of, part).await).await? else {
                self.look_again().await?;
                return Err(NotRebuilt("a part of the last round is missing".into()));
            };
            let rebuild = Arc::clone(&self.rebuild);
            tokio::task::spawn_blocking(move || rebuild.put_part(&sealed)).await??;
        }
        Ok(())
    }

    /// Files of the archives that are rows by now; names of those that did not come as a whole.
    async fn archives(&mut self) -> Result<Vec<String>, NotRebuilt> {
        let of = Of { collection: archives::COLLECTION, table: archives::TABLE };
        (self.progress.collection, self.progress.step) = (of.collection, self.progress.step + 1);
        let mut lacking = Vec::new();
        for manifest in self.rebuild.archives()? {
            let (mut last, mut here) = (archives::before(&manifest.sha256.0), 0);
            'parts: loop {
                (self.tell)(self.progress);
                let rows = self.asked(async |cluster, limit| cluster.rows(of, Some(&last), limit.div_ceil(PAGE / PARTS)).await).await?;
                if rows.is_empty() {
                    break;
                }
                for row in rows {
                    if !row.name.starts_with(&manifest.sha256.0) {
                        break 'parts;
                    }
                    last.clone_from(&row.name);
                    self.progress.rows += 1;
                    let (rebuild, manifest) = (Arc::clone(&self.rebuild), manifest.clone());
                    let put = move || rebuild.put_archive(&manifest, here, &(row.name, row.record));
                    here = tokio::task::spawn_blocking(put).await??;
                }
            }
            let (rebuild, of) = (Arc::clone(&self.rebuild), manifest.clone());
            if !tokio::task::spawn_blocking(move || rebuild.end_archive(&of)).await?? {
                lacking.push(manifest.name());
            }
        }
        Ok(lacking)
    }

    /// Whether what came is of one state: nobody wrote in between.
    async fn look_again(&mut self) -> Result<(), NotRebuilt> {
        let now = self.asked(async |cluster, _| cluster.managed().await).await?;
        if now.and_then(|now| now.round).is_none_or(|now| now.rev != self.round.rev) {
            return Err(NotRebuilt("the manager wrote to the cluster meanwhile: end it, and try again".into()));
        }
        Ok(())
    }

    /// One request; again, for less, while no answer comes.
    async fn asked<T>(&mut self, ask: impl AsyncFn(&dyn Cluster, usize) -> Result<T, Trouble>) -> Result<T, NotRebuilt> {
        loop {
            match ask(self.cluster, self.pace.of(PAGE)).await {
                Ok(answer) => {
                    self.progress.failures = 0;
                    self.pace.went();
                    return Ok(answer);
                }
                Err(Trouble::Away(_)) if self.progress.failures + 1 < TRIES => {
                    self.progress.failures += 1;
                    self.pace.broke();
                    (self.tell)(self.progress);
                    tokio::time::sleep(Duration::from_millis(500 << self.progress.failures)).await;
                }
                Err(trouble) => return Err(said(trouble)),
            }
        }
    }
}

fn said(trouble: Trouble) -> NotRebuilt {
    NotRebuilt(trouble.to_string())
}
