//! Archives: what was too old for the store, to be listed and taken away.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::auth::Caller;
use super::chunks::Chunks;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::page::{Page, PageQuery, Pagination};
use super::state::AppState;
use crate::crypto::hex;
use crate::domain::archive::{Kind, Manifest, lines_file, manifest_file};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::storage::archive::folder;
use crate::storage::core::{archives, audit};

/// Bytes of one piece of a file.
const PIECE: usize = 256 << 10;
/// Pieces that wait for a slow client.
const WAITING: usize = 2;
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Archive)]
pub struct ArchiveView {
    pub kind: Kind,
    /// The month.
    #[schema(example = "2025-08")]
    pub period: String,
    /// Lines of the file: one record each.
    #[schema(minimum = 0)]
    pub count: u64,
    /// Length of the file.
    #[schema(minimum = 0)]
    pub bytes: u64,
    /// Of the file.
    #[schema(pattern = "^[a-f0-9]{64}$")]
    pub sha256: String,
    #[schema(format = DateTime, example = "2026-09-21T14:13:21Z")]
    pub made_at: String,
    /// JSON lines, gzipped: the name to ask for.
    #[schema(example = "outputs-2025-08.jsonl.gz")]
    pub file: String,
    /// What the manager signed of it: the name to ask for.
    #[schema(example = "outputs-2025-08.manifest.json")]
    pub manifest: String,
}

impl ArchiveView {
    fn of(manifest: Manifest) -> ArchiveView {
        let name = manifest.name();
        ArchiveView {
            kind: manifest.kind,
            period: manifest.period,
            count: manifest.lines,
            bytes: manifest.bytes,
            sha256: hex(&manifest.sha256.0),
            made_at: manifest.made_at,
            file: lines_file(&name),
            manifest: manifest_file(&name),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ArchiveList {
    pub archives: Vec<ArchiveView>,
    pub pagination: Pagination,
}

/// What was archived, newest first
#[utoipa::path(get, path = "/archives", tag = "operations", security(("access" = ["audit:export"])), params(PageQuery),
    responses((status = 200, body = ArchiveList)))]
pub async fn list(State(state): State<AppState>, page: Page) -> Result<Json<ArchiveList>, ApiError> {
    let all = archives::all(&state.store.read()?)?.into_iter().rev().map(ArchiveView::of).collect();
    let (archives, pagination) = page.slice(all);
    Ok(Json(ArchiveList { archives, pagination }))
}

/// What who exports has to be allowed besides: an archive shows no more than the lists that it continues.
fn also_needed(kind: Kind) -> &'static [Scope] {
    match kind {
        Kind::Outputs | Kind::NodeHistory => &[Scope::NodeRead],
        Kind::Ledger => &[Scope::LedgerRead],
        Kind::Payouts => &[Scope::PayoutRead, Scope::PayoutAddress],
    }
}

/// A file of an archive
///
/// Its lines, gzipped, or its manifest: by the names that the list has for them. Archives of the ledger need the scope `ledger:read` too, of payouts `payout:read` and `payout:address`, of others `node:read`. The export is recorded. An answer that breaks off was not complete.
#[utoipa::path(get, path = "/archives/{name}", tag = "operations", security(("access" = ["audit:export"])),
    params(("name" = String, Path, example = "outputs-2025-08.jsonl.gz")),
    responses((status = 200, description = "the file", content((String = "application/gzip"), (String = "application/json"))),
        (status = 404, body = ErrorBody), (status = 503, description = "other exports are running (`TooManyExports`), or the file cannot be read (`ArchiveUnreadable`)", body = ErrorBody)))]
pub async fn download(State(state): State<AppState>, caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    // Nothing of what is asked for names a file: the list does.
    let known = archives::all(&state.store.read()?)?;
    let lines = known.iter().find(|manifest| lines_file(&manifest.name()) == name);
    let manifest = known.iter().find(|manifest| manifest_file(&manifest.name()) == name);
    caller.allowed(lines.or(manifest).map_or(&[], |manifest| also_needed(manifest.kind)))?;
    let (file, content_type) = match (lines, manifest) {
        (Some(lines), _) => (lines_file(&lines.name()), "application/gzip"),
        (_, Some(manifest)) => (manifest_file(&manifest.name()), "application/json"),
        (None, None) => return Err(Refusal::ArchiveNotFound.into()),
    };
    let busy = |_| ApiError::unavailable("TooManyExports", "other exports are running");
    let turn = Arc::clone(&state.audit_exports).try_acquire_owned().map_err(busy)?;
    let unreadable = |error: std::io::Error| {
        tracing::error!(%error, %file, "an archive cannot be read");
        ApiError::unavailable("ArchiveUnreadable", "the file is not in the folder of archives, or cannot be read")
    };
    let opened = File::open(folder(&state.store).join(&file)).await.map_err(unreadable)?;
    let length = opened.metadata().await.map_err(unreadable)?.len();
    let draft = caller.act(state.now()).draft("archive.export", file.as_str());
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(pump(state, caller, opened, sender, turn));
    let mut response = Body::from_stream(Chunks(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{file}\"")).map_err(|_| ApiError::panicked())?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// Ends when all is sent, the client leaves, its session ends, or the process stops. A piece that fails breaks the answer off.
async fn pump(state: AppState, caller: Caller, mut file: File, out: mpsc::Sender<std::io::Result<Vec<u8>>>, _turn: OwnedSemaphorePermit) {
    let mut stopping = state.stopping.clone();
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = match caller.still_signed_in(&state) {
            true => (&mut file).take(PIECE as u64).read_to_end(&mut piece).await,
            false => Err(std::io::Error::other("the session ended")),
        };
        if matches!(read, Ok(0)) {
            return;
        }
        let failed = read.is_err();
        let sending = tokio::time::timeout(PATIENCE, out.send(read.map(|_| piece)));
        let sent = tokio::select! {
            () = super::server::stopped(&mut stopping) => return,
            sent = sending => matches!(sent, Ok(Ok(()))),
        };
        if failed || !sent {
            return;
        }
    }
}
