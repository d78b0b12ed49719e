//! The audit log, with the verdict on its chain.

use axum::extract::State;
use serde::Serialize;

use super::auth::Caller;
use super::error::ApiError;
use super::json::Json;
use super::page::{Page, PageQuery, Pagination};
use super::state::AppState;
use crate::crypto::hex;
use crate::domain::audit::Entry;
use crate::domain::user::Role;
use crate::storage::core::audit;

/// Entries that every request verifies; the whole chain is what the command `verify` is for.
const VERIFIED: usize = 1_000;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EntryView {
    seq: u64,
    /// RFC 3339, UTC.
    at: String,
    /// False while the clock was not trusted.
    at_trusted: bool,
    actor: String,
    /// Noun, dot, verb.
    operation: String,
    subject: String,
    success: bool,
    reason: Option<String>,
    address: Option<String>,
    request_id: Option<String>,
    /// How many alike this entry stands for.
    times: u32,
    /// Hex SHA-256, chained to the entry before.
    hash: String,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> EntryView {
        let draft = entry.draft;
        EntryView {
            seq: entry.seq,
            at: draft.at.rfc3339(),
            at_trusted: draft.at_trusted,
            actor: draft.actor.to_string(),
            operation: draft.operation,
            subject: draft.subject,
            success: draft.success,
            reason: draft.reason,
            address: draft.address,
            request_id: draft.request_id,
            times: draft.times,
            hash: hex(&entry.hash),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Chain {
    /// The last 1,000 entries follow each other.
    ok: bool,
    /// Hash of the newest entry.
    head: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuditList {
    entries: Vec<EntryView>,
    pagination: Pagination,
    chain: Chain,
}

/// The audit log, newest first
#[utoipa::path(get, path = "/audit", tag = "operations", security(("access" = ["audit:read"])), params(PageQuery), responses((status = 200, body = AuditList)))]
pub async fn list(State(state): State<AppState>, caller: Caller, page: Page) -> Result<Json<AuditList>, ApiError> {
    caller.require(Role::Admin)?;
    let read = state.store.read()?;
    let entries = audit::page(&read, page.offset(), page.limit())?;
    let recent = audit::verify_recent(&read, VERIFIED)?;
    let pagination = page.of(recent.entries);
    let chain = Chain { ok: recent.ok, head: hex(&recent.head) };
    Ok(Json(AuditList { entries: entries.into_iter().map(EntryView::from).collect(), pagination, chain }))
}
