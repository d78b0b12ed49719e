//! Alerts.

use axum::extract::State;
use serde::Serialize;

use super::auth::Caller;
use super::error::ApiError;
use super::json::Json;
use super::page::{Page, PageQuery, Pagination};
use super::state::AppState;
use crate::domain::alert::{Alert, Severity};
use crate::domain::user::Role;
use crate::storage::core::alerts;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertView {
    id: String,
    kind: String,
    severity: Severity,
    /// Id of what it is about; empty when it is about the manager.
    subject: String,
    message: String,
    /// RFC 3339, UTC.
    raised_at: String,
    resolved_at: Option<String>,
}

impl From<Alert> for AlertView {
    fn from(alert: Alert) -> AlertView {
        AlertView {
            id: alert.id.to_string(),
            kind: alert.kind,
            severity: alert.severity,
            subject: alert.subject,
            message: alert.message,
            raised_at: alert.raised_at.rfc3339(),
            resolved_at: alert.resolved_at.map(|at| at.rfc3339()),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertList {
    alerts: Vec<AlertView>,
    pagination: Pagination,
}

/// Alerts, newest first
#[utoipa::path(get, path = "/alerts", tag = "operations", params(PageQuery), responses((status = 200, body = AlertList)))]
pub async fn list(State(state): State<AppState>, caller: Caller, page: Page) -> Result<Json<AlertList>, ApiError> {
    caller.require(Role::Viewer)?;
    let (alerts, total) = alerts::page(&state.store.read()?, page.offset(), page.limit())?;
    Ok(Json(AlertList { alerts: alerts.into_iter().map(AlertView::from).collect(), pagination: page.of(total) }))
}
