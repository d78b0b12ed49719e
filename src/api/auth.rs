//! Who calls. `Caller` is extracted by every route that is not public.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::error::ApiError;
use super::middleware::RequestInfo;
use super::state::AppState;
use crate::domain::audit::{Actor, Draft};
use crate::domain::ids::{NodeId, UserId};
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;
use crate::domain::user::Role;

/// Who proved to be what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    User { id: UserId, username: String, role: Role },
    Node { node_id: NodeId },
    Anonymous,
}

/// The caller of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub principal: Principal,
    pub request: RequestInfo,
}

impl Caller {
    /// A signed-in person of at least this role.
    pub fn require(&self, role: Role) -> Result<(), ApiError> {
        match &self.principal {
            Principal::User { role: own, .. } if *own >= role => Ok(()),
            Principal::Anonymous => Err(Refusal::NotSignedIn.into()),
            Principal::User { .. } | Principal::Node { .. } => Err(ApiError::from(Refusal::NotAllowed).by(self.actor())),
        }
    }

    /// The node itself, or a person of at least this role.
    pub fn require_node_or(&self, node_id: &NodeId, role: Role) -> Result<(), ApiError> {
        match &self.principal {
            Principal::Node { node_id: own } if own == node_id => Ok(()),
            Principal::Node { .. } => Err(ApiError::from(Refusal::NotYours).by(self.actor())),
            Principal::User { .. } | Principal::Anonymous => self.require(role),
        }
    }

    pub fn actor(&self) -> Actor {
        match &self.principal {
            Principal::User { id, .. } => Actor::User(id.to_string()),
            Principal::Node { node_id } => Actor::Node(node_id.to_string()),
            Principal::Anonymous => Actor::Anonymous,
        }
    }

    /// An audit entry of what this caller does: `operation` is noun, dot, verb (`node.create`).
    pub fn draft(&self, now: Now, operation: &str, subject: impl Into<String>) -> Draft {
        Draft {
            address: Some(self.request.address.to_string()),
            request_id: Some(self.request.request_id.clone()),
            ..Draft::new(now, self.actor(), operation, subject)
        }
    }

    /// The session this caller came with has not ended since.
    pub fn still_signed_in(&self, _state: &AppState) -> bool {
        true
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Caller, ApiError> {
        let request = parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default();
        Ok(Caller { principal: Principal::Anonymous, request })
    }
}
