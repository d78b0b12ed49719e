//! Who is served where. With one listener, everything is answered on it; nodes and operations may have listeners of their own, and then what is theirs
//! is answered nowhere else.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::auth;
use super::error::ApiError;
use super::hosts;
use super::server::Link;
use super::state::AppState;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Whatever has no listener of its own.
    All,
    /// Agents, their enrolment, and what a node asks with its token.
    Node,
    /// Health and metrics.
    Ops,
}

/// Planes that have listeners of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Separate {
    pub node: bool,
    pub ops: bool,
}

/// Refuses what belongs to another listener, as if it did not exist.
pub async fn check(State(state): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let separate = state.settings().transport.separate;
    let Some(link) = request.extensions().get::<Link>().filter(|_| separate != Separate::default()) else {
        return Ok(next.run(request).await);
    };
    let path = request.uri().path();
    let of = if is_ops(path) {
        Plane::Ops
    } else if is_agents(path) || auth::is_node(&state, request.headers()) {
        Plane::Node
    } else {
        Plane::All
    };
    if answers(link.plane, separate, of) { Ok(next.run(request).await) } else { Err(ApiError::no_such_route()) }
}

/// Reports, enrolment, and how a node gets its token.
fn is_agents(path: &str) -> bool {
    path.starts_with(hosts::WIRE) || path.starts_with("/api/v1/auth/node/")
}

fn is_ops(path: &str) -> bool {
    path == "/metrics" || path == "/health" || path.starts_with("/health/")
}

fn answers(here: Plane, separate: Separate, of: Plane) -> bool {
    match here {
        Plane::Node | Plane::Ops => here == of,
        Plane::All => match of {
            Plane::Node => !separate.node,
            Plane::Ops => !separate.ops,
            Plane::All => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_listener_of_its_own_is_answered_there_only() {
        use Plane::{All, Node, Ops};
        let both = Separate { node: true, ops: true };
        let answered = |here, separate| [All, Node, Ops].map(|of| answers(here, separate, of));
        assert_eq!(answered(All, Separate::default()), [true, true, true]);
        assert_eq!(answered(All, Separate { node: true, ops: false }), [true, false, true]);
        assert_eq!(answered(All, Separate { node: false, ops: true }), [true, true, false]);
        assert_eq!(answered(All, both), [true, false, false]);
        assert_eq!(answered(Node, both), [false, true, false]);
        assert_eq!(answered(Ops, both), [false, false, true]);
        assert!(is_agents("/api/v1/agent/report") && is_agents("/api/v1/auth/node/token") && !is_agents("/api/v1/agents"));
        assert!(is_ops("/health/ready") && !is_ops("/healthy") && !is_ops("/api/v1/metrics"));
    }
}
