//! Alerts: something that a person should know, open until it is over.

use serde::{Deserialize, Serialize};

use super::ids::AlertId;
use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub id: AlertId,
    /// What kind of thing: `node_unreachable`, `clock_untrusted`, `books_unbalanced`.
    pub kind: String,
    /// Id of what it is about; empty when it is about the manager.
    pub subject: String,
    pub severity: Severity,
    pub message: String,
    pub raised_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
}
