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

/// An alert began or ended: what people who watch are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertChange {
    pub alert_id: AlertId,
    pub kind: String,
    pub severity: Severity,
    pub subject: String,
    pub change: Turn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    Raised,
    Resolved,
}

impl AlertChange {
    pub fn of(alert: &Alert) -> AlertChange {
        AlertChange {
            alert_id: alert.id.clone(),
            kind: alert.kind.clone(),
            severity: alert.severity,
            subject: alert.subject.clone(),
            change: if alert.resolved_at.is_some() { Turn::Resolved } else { Turn::Raised },
        }
    }
}
