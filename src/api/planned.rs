//! Routes that are planned and not built: one table. Each answers 501 and is marked `x-planned` in the OpenAPI document. Who builds a
//! route takes its line out.

use axum::routing::{MethodFilter, on};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::{HttpMethod, ResponseBuilder};
use utoipa_axum::PathItemExt;
use utoipa_axum::router::OpenApiRouter;

use super::error::ApiError;
use super::state::AppState;
use crate::domain::refusal::Refusal;

use HttpMethod::{Delete, Get, Post, Put};

/// Below `/api/v1`.
const PLANNED: &[(HttpMethod, &str, &str, &str)] = &[
    (Post, "/nodes/{id}/start", "nodes", "Start the node's workload"),
    (Post, "/nodes/{id}/stop", "nodes", "Stop the node's workload"),
    (Post, "/nodes/{id}/restart", "nodes", "Restart the node's workload"),
    (Post, "/nodes/{id}/poot/validate", "poot", "Validate an output of a node"),
    (Post, "/nodes/poot/batch-validate", "poot", "Validate outputs of several nodes"),
    (Get, "/poot/{node_id}", "poot", "The proof document of a node"),
    (Post, "/poot/calculate", "poot", "Close an epoch now"),
    (Post, "/nodes/payouts/batch", "payouts", "Pay several nodes"),
    (Get, "/nodes/payouts/schedule", "payouts", "When nodes are paid"),
    (Post, "/nodes/payouts/schedule", "payouts", "Schedule payouts"),
    (Get, "/tokens", "people", "API tokens"),
    (Post, "/tokens", "people", "Make an API token"),
    (Delete, "/tokens/{id}", "people", "Revoke an API token"),
    (Get, "/wallet", "payouts", "The wallet that pays"),
    (Get, "/replication", "operations", "State of the replication"),
    (Get, "/fleet/managers", "fleet", "The managers of the cluster"),
    (Get, "/fleet/nodes", "fleet", "The nodes of all managers"),
    (Get, "/fleet/summary", "fleet", "The cluster in numbers"),
    (Post, "/backup", "operations", "Make a backup"),
    (Put, "/settings", "operations", "Change settings"),
];

async fn not_built() -> ApiError {
    Refusal::NotBuilt.into()
}

pub fn routes() -> OpenApiRouter<AppState> {
    PLANNED.iter().fold(OpenApiRouter::new(), |router, (method, path, tag, summary)| {
        let filter: MethodFilter = method.to_method_filter();
        let mut router = router.route(path, on(filter, not_built));
        let operation = OperationBuilder::new()
            .tag(*tag)
            .summary(Some(*summary))
            .response("501", ResponseBuilder::new().description("planned, not built yet").build())
            .extensions(Some(ExtensionsBuilder::new().add("x-planned", true).build()));
        router.get_openapi_mut().paths.add_path_operation(path, vec![method.clone()], operation.build());
        router
    })
}
