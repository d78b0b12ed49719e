//! The audit log as a file: read a piece at a time and sent as fast as the client takes it, so that neither the log nor a slow client fills memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::audit::AuditQuery;
use super::audit_view::{EntryView, Views};
use super::auth::Caller;
use super::chunks::Chunks;
use super::error::{ApiError, ErrorBody};
use super::json::Query;
use super::listing::word;
use super::reads;
use super::state::AppState;
use crate::domain::refusal::FieldErrors;
use crate::storage::core::audit;
use crate::storage::core::audit_search::{self, Filter};

/// Exports at one time.
pub const EXPORTS: usize = 2;
/// Entries that are looked at for one piece.
const PIECE: u64 = 2_000;
/// Pieces that wait for a slow client.
const WAITING: usize = 2;
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditExportFormat)]
pub enum Format {
    Csv,
    #[serde(rename = "jsonl")]
    JsonLines,
}

impl Format {
    /// Content type and file name.
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
            Format::JsonLines => ("application/x-ndjson", "attachment; filename=\"audit.jsonl\""),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `jsonl`, the default: one JSON object a line.
    #[param(value_type = Option<Format>)]
    format: Option<String>,
}

/// The audit log as a file
///
/// Oldest entry first, as of the moment of asking. The same filters as `/audit`, without its bound. In CSV, cells that a spreadsheet would take for a formula
/// begin with an apostrophe. The export itself is recorded. An answer that breaks off was not complete.
#[utoipa::path(get, path = "/audit/export", tag = "operations", params(ExportQuery, AuditQuery), security(("access" = ["audit:export"])),
    responses((status = 200, description = "JSON lines or CSV", content((String = "application/x-ndjson"), (String = "text/csv"))), (status = 503, description = "other exports are running", body = ErrorBody)))]
pub async fn export(
    State(state): State<AppState>,
    caller: Caller,
    Query(export): Query<ExportQuery>,
    Query(query): Query<AuditQuery>,
) -> Result<Response, ApiError> {
    let mut errors = FieldErrors::default();
    let format = word(&mut errors, "format", export.format.as_deref(), "csv or jsonl").unwrap_or(Format::JsonLines);
    errors.finish()?;
    let (filter, first, last) = {
        let read = state.store.read()?;
        let filter = query.check(&read, &state.store.secrets)?;
        let (first, last) = audit_search::range(&read, &filter)?;
        (filter, first, last)
    };
    let busy = |_| ApiError::unavailable("TooManyExports", "other exports are running");
    let turn = Arc::clone(&state.audit_exports).try_acquire_owned().map_err(busy)?;
    let format_name = if format == Format::Csv { "csv" } else { "jsonl" };
    let remark = format!("{format_name} entries {first} to {last} {}", query.summary());
    let draft = caller.act(state.now()).draft("audit.export", "").because(remark.trim_end());
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(pump(Export { state, caller, filter, format, last }, first, sender, turn));
    let (content_type, disposition) = format.file();
    let mut response = Body::from_stream(Chunks(receiver)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    Ok(response)
}

struct Export {
    state: AppState,
    caller: Caller,
    filter: Filter,
    format: Format,
    /// The newest entry when the export was asked for.
    last: u64,
}

/// Ends when all is sent, the client leaves, its session ends, or the process stops. A piece that fails breaks the answer off.
async fn pump(export: Export, first: u64, out: mpsc::Sender<std::io::Result<Vec<u8>>>, _turn: OwnedSemaphorePermit) {
    let mut stopping = export.state.stopping.clone();
    let mut from = Some(first).filter(|first| *first <= export.last);
    let mut head = (export.format == Format::Csv).then(csv_head);
    loop {
        let piece = match (head.take(), from) {
            (Some(head), _) => Ok(head),
            (None, None) => return,
            (None, Some(start)) if export.caller.still_signed_in(&export.state) => export.piece(start).await.map(|(bytes, next)| {
                from = next;
                bytes
            }),
            (None, Some(_)) => Err("the session ended".to_owned()),
        };
        let failed = piece.is_err();
        let sending = tokio::time::timeout(PATIENCE, out.send(piece.map_err(std::io::Error::other)));
        let sent = tokio::select! {
            () = super::server::stopped(&mut stopping) => return,
            sent = sending => matches!(sent, Ok(Ok(()))),
        };
        if failed || !sent {
            return;
        }
    }
}

impl Export {
    async fn piece(&self, start: u64) -> Result<(Vec<u8>, Option<u64>), String> {
        let (filter, format, last) = (self.filter.clone(), self.format, self.last);
        let read = reads::long(&self.state, move |state| {
            // A snapshot a piece: one for the whole export would keep old pages of the file alive as long as the client is slow.
            let read = state.store.read()?;
            let (entries, next) = audit_search::piece(&read, &filter, start, last, PIECE)?;
            let mut views = Views::new(&read, &state.store.secrets);
            let views = entries.into_iter().map(|entry| views.view(entry)).collect::<Result<Vec<_>, _>>()?;
            let bytes = match format {
                Format::Csv => csv(&views),
                Format::JsonLines => json_lines(&views),
            };
            Ok((bytes.map_err(|_| ApiError::panicked())?, next))
        });
        read.await.map_err(|error| error.message)
    }
}

fn json_lines(views: &[EntryView]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for view in views {
        serde_json::to_writer(&mut bytes, view)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

const COLUMNS: [&str; 19] = [
    "seq",
    "at",
    "at_trusted",
    "actor",
    "actor_name",
    "operation",
    "resource_type",
    "subject",
    "subject_name",
    "success",
    "reason",
    "details",
    "address",
    "user_agent",
    "request_id",
    "times",
    "compliance_required",
    "erased",
    "hash",
];

fn csv_head() -> Vec<u8> {
    format!("{}\r\n", COLUMNS.join(",")).into_bytes()
}

fn csv(views: &[EntryView]) -> std::io::Result<Vec<u8>> {
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for view in views {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let row: [String; COLUMNS.len()] = [
            view.seq.to_string(),
            view.at.clone(),
            view.at_trusted.to_string(),
            view.actor.clone(),
            text(&view.actor_name),
            view.operation.clone(),
            view.resource_type.clone(),
            view.subject.clone(),
            text(&view.subject_name),
            view.success.to_string(),
            text(&view.reason),
            text(&view.details),
            text(&view.address),
            text(&view.user_agent),
            text(&view.request_id),
            view.times.to_string(),
            view.compliance_required.to_string(),
            view.erased.to_string(),
            view.hash.clone(),
        ];
        table.write_record(row.map(|cell| super::chunks::cell(&cell)))?;
    }
    table.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
}
