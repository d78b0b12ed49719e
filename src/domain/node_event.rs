//! What happened to a node, for its own page: a short history in words, beside the audit log that proves it.

use serde::{Deserialize, Serialize};

use super::audit::{Act, Actor};
use super::node::{Node, Wanted};
use super::time::Timestamp;

/// Events kept of one node; the oldest make room.
pub const MAX_EVENTS: u64 = 1_000;

/// New kinds go to the end: stored records name a kind by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeEventKind)]
pub enum Kind {
    Created,
    Enrolled,
    /// The same machine came with a new key, or enrolled once more.
    Reenrolled,
    Renamed,
    MovedPool,
    /// Maintenance was planned, begun or ended by someone.
    MaintenanceSet,
    /// Wanted running.
    Started,
    /// Wanted stopped.
    Stopped,
    /// Not heard for `OFFLINE_AFTER_SECONDS`.
    Unreachable,
    /// Heard again.
    Back,
    FingerprintDrift,
    FingerprintAccepted,
    AddressChanged,
    PayoutPaid,
    PayoutFailed,
    PayoutReview,
    Deleted,
    AlertRaised,
    /// It got worse or better and is not over.
    AlertChanged,
    AlertAcknowledged,
    AlertResolved,
    /// The machine has other hardware than it had.
    HardwareChanged,
    /// Type, location or configuration were changed.
    Configured,
    ThresholdsSet,
    Allocated,
    Released,
    /// A command that changes nothing of what is wanted: a restart, or the same once more.
    Commanded,
    CommandDone,
    CommandFailed,
    CommandExpired,
    /// The last one of a node that leaves was asked for, taken back, or is held.
    FinalPayout,
    /// An admin corrected what is owed.
    Adjusted,
    /// Given a part of what its pool gave to its members.
    Rewarded,
    /// Taken out of service by an admin.
    Suspended,
    SuspensionLifted,
    /// Its operator says that a suspension is wrong.
    Appealed,
    /// An admin looked, and the suspension stands.
    AppealUpheld,
}

/// What kinds have in common: what a history is filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeEventCategory)]
pub enum Category {
    /// Made, enrolled, renamed, deleted.
    Identity,
    /// Went silent, was heard again.
    Status,
    /// What was asked of its workload, and how that ended.
    Command,
    Membership,
    /// Maintenance and suspension.
    Eligibility,
    Hardware,
    Alert,
    Payout,
    Configuration,
}

impl Kind {
    pub fn category(self) -> Category {
        match self {
            Kind::Created | Kind::Enrolled | Kind::Reenrolled | Kind::Renamed | Kind::Deleted => Category::Identity,
            Kind::Unreachable | Kind::Back => Category::Status,
            Kind::Started | Kind::Stopped | Kind::Commanded | Kind::CommandDone | Kind::CommandFailed | Kind::CommandExpired => {
                Category::Command
            }
            Kind::MovedPool => Category::Membership,
            Kind::MaintenanceSet | Kind::Suspended | Kind::SuspensionLifted | Kind::Appealed | Kind::AppealUpheld => Category::Eligibility,
            Kind::FingerprintDrift | Kind::FingerprintAccepted | Kind::HardwareChanged => Category::Hardware,
            Kind::AlertRaised | Kind::AlertChanged | Kind::AlertAcknowledged | Kind::AlertResolved => Category::Alert,
            Kind::AddressChanged
            | Kind::PayoutPaid
            | Kind::PayoutFailed
            | Kind::PayoutReview
            | Kind::FinalPayout
            | Kind::Adjusted
            | Kind::Rewarded => Category::Payout,
            Kind::Configured | Kind::ThresholdsSet | Kind::Allocated | Kind::Released => Category::Configuration,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    pub at: Timestamp,
    pub kind: Kind,
    pub detail: Option<String>,
    pub actor: Actor,
}

impl NodeEvent {
    pub fn by(act: &Act, kind: Kind, detail: Option<String>) -> NodeEvent {
        NodeEvent { at: act.now.wall, kind, detail, actor: act.actor.clone() }
    }
}

/// What a change of a node's record tells of it. Moves between pools, maintenance and suspensions are told by the store, which knows names, periods and reasons.
pub fn changes(before: &Node, after: &Node) -> Vec<(Kind, Option<String>)> {
    let mut found = Vec::new();
    if before.name != after.name {
        found.push((Kind::Renamed, Some(format!("{} to {}", before.name, after.name))));
    }
    match (&before.identity, &after.identity) {
        (None, Some(_)) => found.push((Kind::Enrolled, None)),
        (Some(old), Some(new)) if old.key != new.key => found.push((Kind::Reenrolled, Some("with a new key".into()))),
        (Some(old), Some(new)) if old.drift != new.drift => {
            found.push(if new.drift.is_some() { (Kind::FingerprintDrift, None) } else { (Kind::FingerprintAccepted, None) });
        }
        _ => (),
    }
    if before.hardware != after.hardware && before.hardware.is_some() {
        found.push((Kind::HardwareChanged, None));
    }
    let configured = |node: &Node| (node.node_type, node.location.clone(), node.configuration.clone());
    if configured(before) != configured(after) {
        found.push((Kind::Configured, None));
    }
    if before.wanted != after.wanted {
        found.push(if after.wanted == Wanted::Running { (Kind::Started, None) } else { (Kind::Stopped, None) });
    }
    found
}
