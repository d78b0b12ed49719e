//! Brings a store back from the cluster: fetches its rows, and puts them together to what a backup is.

use std::path::Path;
use std::sync::Arc;

use crate::domain::backup::Manifest;
use crate::domain::replica::cluster::{Managed, Round, Trouble};
use crate::gateways::replica::{Cluster, Of};
use crate::storage::recovery::Contents;
use crate::storage::replica::catalog::leaving;
use crate::storage::replica::documents::collection;
use crate::storage::replica::measured::Measured;
use crate::storage::replica::rebuild::{NotRebuilt, Rebuild, Sealed};

/// In one request.
const PAGE: usize = 500;

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

/// Which measurements come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Metrics {
    /// What hours come to, as far as the cluster has them.
    Hourly,
    None,
}

/// Makes the folder, which must not be there. `tell` hears how many rows have come.
///
/// # Errors
/// The cluster is away, has no whole state of the manager, or the manager writes at the same time; rows that the kit does not open.
pub async fn fetch(
    cluster: &dyn Cluster,
    manager: &str,
    kit: &Contents,
    folder: &Path,
    metrics: Metrics,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<Manifest, NotRebuilt> {
    if kit.manager_id.as_str() != manager {
        return Err(NotRebuilt(format!("the recovery kit is of manager {}, and not of {manager}", kit.manager_id)));
    }
    let Managed { round, .. } = whole(cluster, manager).await?;
    let Some(round) = round else { return Err(NotRebuilt("the cluster has no whole state of this manager".into())) };
    let rebuild = Arc::new(Rebuild::begin(folder, kit, round.clone())?);
    let mut count = 0;
    for listed in leaving() {
        let of = Of { collection: collection(listed.table), table: listed.table };
        let mut last: Option<Vec<u8>> = None;
        while let Some(sealed) = next(cluster, of, &mut last).await? {
            count += u64::try_from(sealed.len()).unwrap_or(u64::MAX);
            let rebuild = Arc::clone(&rebuild);
            tokio::task::spawn_blocking(move || rebuild.put(listed, &sealed)).await??;
            tell(count);
        }
    }
    lay_over(cluster, &rebuild, &round).await?;
    if metrics == Metrics::Hourly {
        let of = Of { collection: Measured::Hourly.collection(), table: Measured::Hourly.table() };
        let mut last: Option<Vec<u8>> = None;
        while let Some(sealed) = next(cluster, of, &mut last).await? {
            count += u64::try_from(sealed.len()).unwrap_or(u64::MAX);
            let rebuild = Arc::clone(&rebuild);
            tokio::task::spawn_blocking(move || rebuild.put_hours(&sealed)).await??;
            tell(count);
        }
    }
    let now = whole(cluster, manager).await?;
    if now.round.is_none_or(|now| now.rev != round.rev) {
        return Err(NotRebuilt("the manager wrote to the cluster meanwhile: end it, and try again".into()));
    }
    let rebuild = Arc::into_inner(rebuild).ok_or_else(|| NotRebuilt("a write is under way".into()))?;
    tokio::task::spawn_blocking(move || rebuild.finish()).await?
}

/// Some documents after the last ones.
async fn next(cluster: &dyn Cluster, of: Of<'_>, last: &mut Option<Vec<u8>>) -> Result<Option<Vec<Sealed>>, NotRebuilt> {
    let rows = cluster.rows(of, last.as_deref(), PAGE).await.map_err(said)?;
    let Some(end) = rows.last() else { return Ok(None) };
    *last = Some(end.name.clone());
    Ok(Some(rows.into_iter().map(|row| (row.name, row.record)).collect()))
}

async fn lay_over(cluster: &dyn Cluster, rebuild: &Arc<Rebuild>, round: &Round) -> Result<(), NotRebuilt> {
    for part in 0..round.parts {
        let sealed = cluster.part(round.rev, part).await.map_err(said)?;
        let sealed = sealed.ok_or_else(|| NotRebuilt("a part of the last round is missing".into()))?;
        let rebuild = Arc::clone(rebuild);
        tokio::task::spawn_blocking(move || rebuild.put_part(&sealed)).await??;
    }
    Ok(())
}

fn said(trouble: Trouble) -> NotRebuilt {
    NotRebuilt(trouble.to_string())
}
