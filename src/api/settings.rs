//! The settings in force, with where each comes from. They are changed in the file or the environment, and read at the start.

use axum::extract::State;
use serde::Serialize;

use super::auth::Caller;
use super::error::ApiError;
use super::json::Json;
use super::state::AppState;
use crate::domain::user::Role;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    Default,
    File,
    Environment,
    Flag,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SettingView {
    /// `section.field`, as in the file.
    pub key: String,
    /// As it was written; of a secret only `set` or `not set`.
    pub value: String,
    pub default: String,
    pub source: SettingSource,
    /// File and line, environment variable, or flag.
    pub source_name: Option<String>,
    /// Completes "must be ...".
    pub allowed: String,
    pub meaning: String,
    /// A change takes a restart.
    pub restart_needed: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SettingList {
    settings: Vec<SettingView>,
}

/// Settings in force
#[utoipa::path(get, path = "/settings", tag = "operations", security(("access" = ["settings:read"])), responses((status = 200, body = SettingList)))]
pub async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<SettingList>, ApiError> {
    caller.require(Role::Admin)?;
    Ok(Json(SettingList { settings: state.settings.listed.clone() }))
}
