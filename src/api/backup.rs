//! Backups: which there are, how far the one is that is being made, and asking for one.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::page::{Page, PageQuery, Pagination};
use super::reads;
use super::state::AppState;
use crate::domain::backup::Manifest;
use crate::live::Job;
use crate::storage::backup::runs::{self, Ended};
use crate::storage::backup::{Listed, Phase, free_bytes, list, same_disk};
use crate::storage::core::{audit, backups};

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Backup)]
pub struct BackupView {
    /// Its folder, within the folder of backups.
    #[schema(example = "2026-11-22T03-30-00Z")]
    pub name: String,
    /// Null where `problem` says why.
    #[schema(format = DateTime)]
    pub made_at: Option<String>,
    /// Version of the program that made it.
    pub release: Option<String>,
    /// Of the store: restores raise it.
    pub generation: Option<u32>,
    pub files: Option<usize>,
    /// Length of all files; what is sealed is shared with other backups.
    pub bytes: Option<u64>,
    /// Of these, what no other backup shares.
    pub own_bytes: u64,
    /// Why it is of no use, as far as its manifest tells.
    pub problem: Option<String>,
}

impl BackupView {
    fn of(Listed { name, manifest, own_bytes }: Listed) -> BackupView {
        let problem = manifest.as_ref().err().cloned();
        let manifest = manifest.ok();
        let told = manifest.as_ref();
        BackupView {
            name,
            made_at: told.map(|manifest| manifest.made_at.clone()),
            release: told.map(|manifest| manifest.release.clone()),
            generation: told.map(|manifest| manifest.generation),
            files: told.map(|manifest| manifest.files.len()),
            bytes: told.map(Manifest::bytes),
            own_bytes,
            problem,
        }
    }
}

/// The one that is being made, or waits for its turn.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BackupRun {
    /// Counted from the start of the manager.
    pub number: u64,
    /// Null while it waits.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    pub phase: Option<Phase>,
    /// Of this phase.
    pub bytes: u64,
    pub total_bytes: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BackupFailure {
    #[schema(format = DateTime)]
    pub at: String,
    pub message: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BackupList {
    /// Newest first.
    pub backups: Vec<BackupView>,
    pub pagination: Pagination,
    pub running: Option<BackupRun>,
    /// How the last one failed, of those since the newest good one.
    pub last_failure: Option<BackupFailure>,
    /// When the newest good one was made: read back and verified.
    #[schema(format = DateTime)]
    pub last_good_at: Option<String>,
    /// Where they are, for admins only.
    pub folder: Option<String>,
    /// What its file system has left; null while it is not there.
    pub free_bytes: Option<u64>,
    /// It is the store's own disk, which takes both when it dies. Null while the folder is not there.
    pub same_disk: Option<bool>,
}

fn run(state: &runs::State) -> Option<BackupRun> {
    let waiting = state.asked.as_ref().map(|asked| BackupRun { number: asked.number, since: None, phase: None, bytes: 0, total_bytes: 0 });
    let running = state.running.as_ref().map(|running| BackupRun {
        number: running.number,
        since: Some(running.since.rfc3339()),
        phase: running.progress.map(|progress| progress.phase),
        bytes: running.progress.map_or(0, |progress| progress.bytes),
        total_bytes: running.progress.map_or(0, |progress| progress.total),
    });
    running.or(waiting)
}

/// Backups
///
/// Those in the folder of the settings, newest first, the one that is being made, and how the last one failed.
#[utoipa::path(get, path = "/backup", tag = "operations", security(("access" = ["storage:read"])), params(PageQuery),
    responses((status = 200, body = BackupList)))]
pub async fn show(State(state): State<AppState>, caller: Caller, page: Page) -> Result<Json<BackupList>, ApiError> {
    let admin = caller.is_admin();
    reads::long(&state, move |state| {
        let folder = state.settings().backup.folder(state.store.dir());
        let known = backups::state(&state.store.read()?)?;
        let (backups, pagination) = page.slice(list(&folder).into_iter().map(BackupView::of).collect());
        let runs = state.store.backups.state();
        // One into another folder is in memory alone.
        let elsewhere = runs.ended.as_ref().and_then(|Ended { at, outcome, .. }| Some((*at, outcome.as_ref().err()?.clone())));
        let failed = known.failed.map(|failed| (failed.at, failed.why)).or(elsewhere);
        Ok(Json(BackupList {
            backups,
            pagination,
            running: run(&runs),
            last_failure: failed.map(|(at, message)| BackupFailure { at: at.rfc3339(), message }),
            last_good_at: known.good.map(|good| good.at.rfc3339()),
            free_bytes: free_bytes(&folder).ok(),
            same_disk: same_disk(&folder, state.store.dir()),
            folder: admin.then(|| folder.display().to_string()),
        }))
    })
    .await
}

/// Make a backup
///
/// It is made beside everything else: the answer says its number, and `GET /backup` how far it is. One at a time.
#[utoipa::path(post, path = "/backup", tag = "operations", security(("access" = ["storage:backup"])), responses(
    (status = 202, body = BackupRun), (status = 409, description = "one is being made (`BackupRunning`)", body = ErrorBody)))]
pub async fn make(State(state): State<AppState>, caller: Caller) -> Result<(StatusCode, Json<BackupRun>), ApiError> {
    let number = state.store.backups.ask(None)?;
    let draft = caller.act(state.now()).draft("backup.ask", "");
    // Asked for is asked for: the entry is written beside it, and a store that takes none makes no backup either.
    let written = state.store.write(move |tx| audit::append(tx, draft.clone())).await;
    state.nudges.nudge(Job::Backup);
    written?;
    Ok((StatusCode::ACCEPTED, Json(BackupRun { number, since: None, phase: None, bytes: 0, total_bytes: 0 })))
}
