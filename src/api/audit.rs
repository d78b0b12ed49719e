//! The audit log: searched by page, with the verdict on the end of its chain.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::audit_view::{EntryView, Views};
use super::error::ApiError;
use super::json::{Json, Query};
use super::page::{Page, PageQuery, Pagination};
use super::reads;
use super::state::AppState;
use crate::crypto::hex;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::time::Timestamp;
use crate::storage::Secrets;
use crate::storage::core::audit_search::{self, Filter, Order};
use crate::storage::core::{audit, people};
use crate::storage::table::Read;

/// Entries that every request verifies; the whole chain is what `/audit/verify` and the command `verify` are for.
const VERIFIED: usize = 1_000;
/// Longest text of a filter, in bytes.
const TEXT_LEN: usize = 200;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Chain {
    /// The last 1,000 entries follow each other.
    ok: bool,
    /// Hash of the newest entry.
    head: String,
}

/// How far a search looked.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Scan {
    /// Entries that were looked at; one search looks at 50,000 at most.
    scanned: u64,
    /// False: `pagination` counts what was found so far; go on with `cursor`.
    complete: bool,
    next_cursor: Option<u64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuditList {
    entries: Vec<EntryView>,
    pagination: Pagination,
    chain: Chain,
    scan: Scan,
}

/// What to look for in the log.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Beginning of the operation: `auth.`, `node.create`.
    operation: Option<String>,
    /// Id of what was acted on.
    subject: Option<String>,
    /// `node`, `pool`, `payout`, `user`, `route`, …
    resource_type: Option<String>,
    /// Who acted: an id, a user name, `system`, `console` or `anonymous`.
    actor: Option<String>,
    #[param(value_type = Option<bool>)]
    success: Option<String>,
    /// RFC 3339: from this time on.
    from: Option<String>,
    /// RFC 3339: before this time.
    to: Option<String>,
    /// Part of the reason, without regard to case.
    text: Option<String>,
}

impl AuditQuery {
    /// The filter, with every field that is wrong.
    pub fn check(&self, read: &impl Read, secrets: &Secrets) -> Result<Filter, ApiError> {
        let mut errors = FieldErrors::default();
        let texts = [
            ("operation", &self.operation),
            ("subject", &self.subject),
            ("resource_type", &self.resource_type),
            ("actor", &self.actor),
            ("text", &self.text),
        ];
        for (field, text) in texts {
            errors.require(text.as_ref().is_none_or(|t| (1..=TEXT_LEN).contains(&t.len())), field, "must have 1 to 200 characters");
        }
        let success = self.success.as_deref().map(|text| text == "true");
        errors.require(matches!(self.success.as_deref(), None | Some("true" | "false")), "success", "must be true or false");
        let (from, until) = (time(&mut errors, "from", self.from.as_deref()), time(&mut errors, "to", self.to.as_deref()));
        errors.require(from.zip(until).is_none_or(|(from, until)| from < until), "from", "must be before to");
        errors.finish()?;
        let actor = match &self.actor {
            Some(name) => Some(match people::user_by_name(read, name)? {
                Some(user) => user.id.to_string(),
                None => secrets.vouched(name).unwrap_or_else(|| name.clone()),
            }),
            None => None,
        };
        let Self { operation, subject, resource_type, text, .. } = self.clone();
        Ok(Filter { operation, subject, resource_type, actor, success, text, from, until })
    }

    /// What was asked for, for the audit entry of an export.
    pub fn summary(&self) -> String {
        let parts = [
            ("operation", &self.operation),
            ("subject", &self.subject),
            ("resource_type", &self.resource_type),
            ("success", &self.success),
            ("from", &self.from),
            ("to", &self.to),
        ];
        parts.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}"))).collect::<Vec<_>>().join(" ")
    }
}

/// A time of a query; None when it is absent or wrong, which `errors` then says.
pub fn time(errors: &mut FieldErrors, field: &str, text: Option<&str>) -> Option<Timestamp> {
    let parsed = text.and_then(Timestamp::parse_rfc3339);
    errors.require(text.is_none() || parsed.is_some(), field, "must be a time as in RFC 3339: 2026-11-21T08:00:00Z");
    parsed
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditOrder {
    /// `at`: entries are in the order of their writing.
    #[param(value_type = Option<String>)]
    sort: Option<String>,
    /// `desc` (newest first, the default) or `asc`.
    order: Option<String>,
    /// Where an incomplete search goes on: `scan.next_cursor` of its answer.
    #[param(value_type = Option<u64>)]
    cursor: Option<String>,
}

impl AuditOrder {
    fn check(&self) -> Result<(Order, Option<u64>), Refusal> {
        let mut errors = FieldErrors::default();
        errors.require(matches!(self.sort.as_deref(), None | Some("at")), "sort", "must be at");
        errors.require(matches!(self.order.as_deref(), None | Some("asc" | "desc")), "order", "must be asc or desc");
        let cursor = self.cursor.as_ref().and_then(|text| text.parse().ok());
        errors.require(cursor.is_some() == self.cursor.is_some(), "cursor", "must be a whole number");
        errors.finish()?;
        Ok((if self.order.as_deref() == Some("asc") { Order::OldestFirst } else { Order::NewestFirst }, cursor))
    }
}

/// The audit log, newest first
///
/// One search looks at 50,000 entries at most; `scan` says whether that was all. Entries made while the clock was not trusted are found by their
/// place between the others, not by their guessed time.
#[utoipa::path(get, path = "/audit", tag = "operations", params(PageQuery, AuditQuery, AuditOrder), security(("access" = ["audit:read"])),
    responses((status = 200, body = AuditList)))]
pub async fn list(
    State(state): State<AppState>,
    page: Page,
    Query(query): Query<AuditQuery>,
    Query(order): Query<AuditOrder>,
) -> Result<Json<AuditList>, ApiError> {
    let (order, cursor) = order.check()?;
    reads::long(&state, move |state| {
        let read = state.store.read()?;
        let filter = query.check(&read, &state.store.secrets)?;
        let found = audit_search::search(&read, &filter, order, cursor, page.offset(), page.limit())?;
        let recent = audit::verify_recent(&read, VERIFIED)?;
        let mut views = Views::new(&read, &state.store.secrets);
        let entries = found.entries.into_iter().map(|entry| views.view(entry)).collect::<Result<_, _>>()?;
        let chain = Chain { ok: recent.ok, head: hex(&recent.head) };
        let scan = Scan { scanned: found.scanned, complete: found.next.is_none(), next_cursor: found.next };
        Ok(Json(AuditList { entries, pagination: page.of(found.fitting), chain, scan }))
    })
    .await
}
