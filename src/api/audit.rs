//! The audit log: searched by page, with the verdict on the end of its chain.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::audit_view::{EntryView, Views};
use super::error::ApiError;
use super::json::{Json, Query};
use super::listing::{Order as ListOrder, descending, time, word};
use super::page::{Page, PageQuery, Pagination};
use super::reads;
use super::state::AppState;
use crate::crypto::hex;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::storage::Secrets;
use crate::storage::core::audit_search::{self, Filter, Order};
use crate::storage::core::{audit, people};
use crate::storage::table::Read;

/// Entries that every request verifies; the whole chain is what `/audit/verify` and the command `verify` are for.
const VERIFIED: usize = 1_000;
/// Longest text of a filter, in characters.
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
    #[param(min_length = 1, max_length = 200)]
    operation: Option<String>,
    /// Id of what was acted on.
    #[param(min_length = 1, max_length = 200)]
    subject: Option<String>,
    /// `node`, `pool`, `payout`, `user`, `route`, …
    #[param(min_length = 1, max_length = 200)]
    resource_type: Option<String>,
    /// Who acted: an id, a user name, `system`, `console` or `anonymous`.
    #[param(min_length = 1, max_length = 200)]
    actor: Option<String>,
    #[param(value_type = Option<bool>)]
    success: Option<String>,
    /// RFC 3339: from this time on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Part of the reason, without regard to case.
    #[param(min_length = 1, max_length = 200)]
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
            errors.require(
                text.as_ref().is_none_or(|t| (1..=TEXT_LEN).contains(&t.chars().count())),
                field,
                "must have 1 to 200 characters",
            );
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

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditOrder {
    /// Entries are in the order of their writing.
    #[param(value_type = Option<AuditSort>)]
    sort: Option<String>,
    /// Newest first unless it says otherwise.
    #[param(value_type = Option<ListOrder>)]
    order: Option<String>,
    /// Where an incomplete search goes on: `scan.next_cursor` of its answer.
    #[param(value_type = Option<u64>)]
    cursor: Option<String>,
}

/// The one order there is.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditSort {
    At,
}

impl AuditOrder {
    fn check(&self) -> Result<(Order, Option<u64>), Refusal> {
        let mut errors = FieldErrors::default();
        let _: Option<AuditSort> = word(&mut errors, "sort", self.sort.as_deref(), "at");
        let descending = descending(&mut errors, self.order.as_deref(), ListOrder::Desc);
        let cursor = self.cursor.as_ref().and_then(|text| text.parse().ok());
        errors.require(cursor.is_some() == self.cursor.is_some(), "cursor", "must be a whole number");
        errors.finish()?;
        Ok((if descending { Order::NewestFirst } else { Order::OldestFirst }, cursor))
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
