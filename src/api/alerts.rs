//! Alerts.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Query};
use super::page::{Page, PageQuery, Pagination};
use super::state::AppState;
use crate::domain::alert::{Alert, Severity};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::user::Role;
use crate::storage::core::alerts::{self, Filter};

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

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// `open` or `resolved`; default: both.
    state: Option<String>,
    #[param(value_type = Option<Severity>)]
    severity: Option<String>,
}

impl AlertQuery {
    fn check(self) -> Result<Filter, Refusal> {
        let mut errors = FieldErrors::default();
        let is_open = self.state.as_deref().map(|text| text == "open");
        errors.require(matches!(self.state.as_deref(), None | Some("open" | "resolved")), "state", "must be open or resolved");
        let severity: Option<Severity> = self.severity.as_ref().and_then(|text| serde_json::from_value(text.as_str().into()).ok());
        errors.require(severity.is_some() == self.severity.is_some(), "severity", "must be info, warning or critical");
        errors.finish()?;
        Ok(Filter { is_open, severity })
    }
}

/// Alerts, newest first
#[utoipa::path(get, path = "/alerts", tag = "operations", security(("access" = ["alert:read"])), params(PageQuery, AlertQuery),
    responses((status = 200, body = AlertList), (status = 400, body = ErrorBody)))]
pub async fn list(
    State(state): State<AppState>,
    caller: Caller,
    page: Page,
    Query(query): Query<AlertQuery>,
) -> Result<Json<AlertList>, ApiError> {
    caller.require(Role::Viewer)?;
    let (alerts, total) = alerts::page_of(&state.store.read()?, query.check()?, page.offset(), page.limit())?;
    Ok(Json(AlertList { alerts: alerts.into_iter().map(AlertView::from).collect(), pagination: page.of(total) }))
}
