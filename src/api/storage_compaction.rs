//! How full the database files are, and their compaction.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::state::AppState;
use crate::domain::refusal::Refusal;
use crate::live::Job;
use crate::storage::compaction::{LastRun, Phase, State as Progress, Which};
use crate::storage::core::audit;
use crate::storage::{Store, Usage};

/// How much is rows is counted anew when it was counted longer ago.
const COUNTED_FOR_MS: i64 = 600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseFile {
    /// Nodes, people, money, the audit log.
    Core,
    /// Measurements and evidence.
    Hot,
}

impl From<Which> for DatabaseFile {
    fn from(which: Which) -> DatabaseFile {
        match which {
            Which::Core => DatabaseFile::Core,
            Which::Hot => DatabaseFile::Hot,
        }
    }
}

impl From<DatabaseFile> for Which {
    fn from(file: DatabaseFile) -> Which {
        match file {
            DatabaseFile::Core => Which::Core,
            DatabaseFile::Hot => Which::Hot,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompactionPhase {
    /// None goes on.
    Idle,
    /// Asked for, and not begun.
    Waiting,
    Measuring,
    Copying,
    /// What was written meanwhile is copied.
    CatchingUp,
    /// Nobody can write, for a moment.
    Switching,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LastCompaction {
    /// RFC 3339, UTC.
    ended_at: String,
    before_bytes: u64,
    after_bytes: u64,
    /// How long nobody could write, in milliseconds.
    barrier_ms: u64,
    /// Why there was none; the file is as it was.
    failed_because: Option<String>,
}

impl From<LastRun> for LastCompaction {
    fn from(run: LastRun) -> LastCompaction {
        let LastRun { at, before_bytes, after_bytes, barrier_ms, failed } = run;
        LastCompaction { ended_at: at.rfc3339(), before_bytes, after_bytes, barrier_ms, failed_because: failed }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CompactionView {
    phase: CompactionPhase,
    /// Rows that were copied so far.
    rows: u64,
    /// Rows that there are to copy.
    all_rows: u64,
    /// Since the manager started.
    last: Option<LastCompaction>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TableView {
    name: String,
    rows: u64,
    /// Of the pages that hold it.
    bytes: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DatabaseView {
    file: DatabaseFile,
    length_bytes: u64,
    /// On the medium: less than the length where the file has holes.
    allocated_bytes: u64,
    /// Of the pages that hold rows.
    live_bytes: u64,
    /// How much of it holds no rows. A compaction gives back most of it.
    free_percent: u8,
    /// The largest first.
    tables: Vec<TableView>,
    /// When this was counted, RFC 3339, UTC: within ten minutes.
    counted_at: String,
    /// Handed to the file since the manager started.
    written_bytes: u64,
    compaction: CompactionView,
}

fn compaction(store: &Store, which: Which) -> CompactionView {
    let of = store.compactions.of(which);
    let Progress { phase, rows, all_rows, .. } = of.progress.state();
    let phase = match phase {
        Phase::Idle if of.is_asked() => CompactionPhase::Waiting,
        Phase::Idle => CompactionPhase::Idle,
        Phase::Measuring => CompactionPhase::Measuring,
        Phase::Copying => CompactionPhase::Copying,
        Phase::CatchingUp => CompactionPhase::CatchingUp,
        Phase::Switching => CompactionPhase::Switching,
    };
    CompactionView { phase, rows, all_rows, last: of.last().map(LastCompaction::from) }
}

/// Each file. Reads all of them where that was not done lately.
pub fn databases(state: &AppState) -> Result<Vec<DatabaseView>, ApiError> {
    let store = &state.store;
    let view = |which: Which| {
        let (counted_at, usage) = store.compactions.of(which).usage(store.file(which), state.now().wall, COUNTED_FOR_MS)?;
        let (live_bytes, free_percent) = (usage.live_bytes(), usage.free_percent());
        let Usage { length_bytes, allocated_bytes, tables } = usage;
        let tables = tables.into_iter().map(|table| TableView { name: table.name, rows: table.rows, bytes: table.bytes }).collect();
        Ok(DatabaseView {
            file: which.into(),
            length_bytes,
            allocated_bytes,
            live_bytes,
            free_percent,
            tables,
            counted_at: counted_at.rfc3339(),
            written_bytes: store.file(which).written_bytes(),
            compaction: compaction(store, which),
        })
    };
    Which::ALL.into_iter().map(view).collect()
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompactRequest {
    /// Without it: both, one after the other.
    #[serde(default)]
    file: Option<DatabaseFile>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CompactionsView {
    /// What was asked for.
    files: Vec<DatabaseFile>,
}

/// Compact the database files
///
/// Copies what is live into a new file while everything goes on, and puts it in the place of the old one. `GET /storage` tells how far it is and how it ended. It takes
/// room for a second copy. 409 `CompactionRunning` while one of the files is being compacted.
#[utoipa::path(post, path = "/storage/compact", tag = "operations", security(("access" = ["storage:check"])), request_body = CompactRequest, responses(
    (status = 202, body = CompactionsView), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn compact(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<CompactRequest>,
) -> Result<(StatusCode, Json<CompactionsView>), ApiError> {
    let wanted = request.file.map_or_else(|| Which::ALL.to_vec(), |file| vec![file.into()]);
    let compactions = &state.store.compactions;
    if wanted.iter().any(|which| compactions.of(*which).is_asked() || compactions.of(*which).goes_on()) {
        return Err(Refusal::CompactionRunning.into());
    }
    let act = caller.act(state.now());
    let drafts: Vec<_> = wanted.iter().map(|which| act.draft("storage.compact", which.name())).collect();
    state.store.write(move |tx| drafts.iter().try_for_each(|draft| audit::append(tx, draft.clone()))).await?;
    for which in &wanted {
        compactions.of(*which).ask();
    }
    state.nudges.nudge(Job::Compaction);
    Ok((StatusCode::ACCEPTED, Json(CompactionsView { files: wanted.into_iter().map(DatabaseFile::from).collect() })))
}
