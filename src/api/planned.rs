//! Routes that are planned and not built: one table. Each answers 501 and is marked `x-planned` in the OpenAPI document. Who builds a
//! route takes its line out.

use axum::routing::on;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{HttpMethod, ResponseBuilder};
use utoipa_axum::PathItemExt;

use super::error::ApiError;
use super::openapi::SCHEME;
use super::routes::Routes;
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;

use HttpMethod::Get;

/// Below `/api/v1`.
const PLANNED: &[(HttpMethod, &str, &str, Scope, &str)] = &[
    (Get, "/fleet/managers", "fleet", Scope::FleetRead, "The managers of the cluster"),
    (Get, "/fleet/nodes", "fleet", Scope::FleetRead, "The nodes of all managers"),
    (Get, "/fleet/summary", "fleet", Scope::FleetRead, "The cluster in numbers"),
];

async fn not_built() -> ApiError {
    Refusal::NotBuilt.into()
}

pub fn add<R: Routes>(routes: R) -> R {
    PLANNED.iter().fold(routes, |routes, (method, path, tag, scope, summary)| {
        routes.route(path, method.clone(), on(method.to_method_filter(), not_built), || {
            OperationBuilder::new()
                .tag(*tag)
                .summary(Some(*summary))
                .security(SecurityRequirement::new(SCHEME, [scope.as_str()]))
                .response("501", ResponseBuilder::new().description("planned, not built yet").build())
                .extensions(Some(ExtensionsBuilder::new().add("x-planned", true).build()))
                .build()
        })
    })
}
