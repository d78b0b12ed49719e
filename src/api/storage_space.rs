//! How full the disk is and how worn the card, as `GET /storage` shows it.

use serde::Serialize;

use super::error::ApiError;
use super::state::AppState;
use crate::domain::evidence::day_start;
use crate::domain::space::{Figures, Level};
use crate::domain::wear::{Written, years_left_hundredths};

/// Characters of the date in RFC 3339.
const DATE: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageLevel {
    Ample,
    /// From 85 %: the oldest measurements go early.
    High,
    /// From 95 %: metrics are thinned.
    Critical,
}

impl From<Level> for StorageLevel {
    fn from(level: Level) -> StorageLevel {
        match level {
            Level::Ample => StorageLevel::Ample,
            Level::High => StorageLevel::High,
            Level::Critical => StorageLevel::Critical,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SpaceView {
    /// Of the whole file system.
    total_bytes: u64,
    /// What this manager may still use of it.
    free_bytes: u64,
    /// By whomever. With what is free it is less than the whole where the file system keeps some for root.
    used_bytes: u64,
    /// Used share of what can be used, as df counts it; to a tenth.
    used_percent: f64,
    /// What the store may take (`storage.max_mb`); null where the disk alone is the limit.
    limit_bytes: Option<u64>,
    /// What it takes on the medium: databases, weeks, months, archives and the reserve. Backups and logs are not part of it.
    store_bytes: u64,
    /// Set aside for money and the audit log on a full disk. 0 while it is in use, or there was no room for it.
    reserve_bytes: u64,
    /// By the fuller of disk and limit, as it was judged within the last minute. It falls three points below where it rises.
    level: StorageLevel,
    /// Of each node one sample in ten is kept at present; scores see all of them.
    thinned: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WrittenFile {
    /// `core.redb`, `hot.redb`, `cold` (weeks and months) or `other` (backups, archives, the log, and whole pages where less was to be written).
    name: &'static str,
    bytes: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WrittenDay {
    /// UTC.
    #[schema(format = Date)]
    day: String,
    bytes: u64,
    files: Vec<WrittenFile>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WearView {
    /// What the card may have written in its life (`storage.card_rating_tb`), in terabytes; 0: not known.
    rating_tb: f64,
    /// When counting began.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// By this store since then.
    written_bytes: u64,
    /// The newest 30, oldest first, today last.
    days: Vec<WrittenDay>,
    /// Mean of the last 30 whole days, or of as many as there are; null before one is over.
    bytes_per_day: Option<u64>,
    /// Until what the card is rated for is written; null where that cannot be told yet.
    years_left: Option<f64>,
}

/// Of numbers that are far below 2^53 wherever they matter.
#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn float(value: u64, parts: f64) -> f64 {
    value as f64 / parts
}

pub fn figures(state: &AppState) -> Result<Figures, ApiError> {
    state.store.figures(state.settings().limit_bytes).map_err(|fault| {
        tracing::warn!(%fault, "the space of the data folder is not known");
        ApiError::unavailable("StorageUnknown", "the file system does not answer")
    })
}

pub fn space(state: &AppState, figures: &Figures) -> SpaceView {
    let Figures { total, free, used, store, limit } = *figures;
    SpaceView {
        total_bytes: total,
        free_bytes: free,
        used_bytes: used,
        used_percent: float(figures.disk_permille().into(), 10.0),
        limit_bytes: limit,
        store_bytes: store,
        reserve_bytes: state.store.room.reserved_bytes(),
        level: state.store.space.level().into(),
        thinned: state.store.space.is_thinned(),
    }
}

pub fn wear(state: &AppState) -> Result<WearView, ApiError> {
    let (wear, rating) = (state.store.wear(state.now())?, state.settings().card_rating_bytes);
    let left = wear.bytes_per_day.filter(|_| rating > 0).and_then(|per_day| years_left_hundredths(rating, wear.total, per_day));
    Ok(WearView {
        rating_tb: float(rating, 1e12),
        since: wear.since.map(|since| since.rfc3339()),
        written_bytes: wear.total,
        days: wear.days.iter().map(|(day, written)| view(*day, written)).collect(),
        bytes_per_day: wear.bytes_per_day,
        years_left: left.map(|hundredths| float(hundredths, 100.0)),
    })
}

fn view(day: u32, written: &Written) -> WrittenDay {
    let date = day_start(day).start().rfc3339().chars().take(DATE).collect();
    let files = written.by_name().into_iter().map(|(name, bytes)| WrittenFile { name, bytes }).collect();
    WrittenDay { day: date, bytes: written.total(), files }
}
