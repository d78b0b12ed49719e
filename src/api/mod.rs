//! HTTP: the only layer that knows axum. This file is the index of the API; handlers extract, run one verb of the store in one
//! transaction, and show the result. Rules live in `domain`, writes in `storage`; cycles are woken through `live::Nudges`.

pub mod assets;
pub mod auth;
pub mod error;
pub mod events;
pub mod health;
pub mod json;
pub mod middleware;
pub mod openapi;
pub mod page;
mod planned;
pub mod server;
pub mod state;

pub use auth::{Caller, Principal};
pub use error::ApiError;
pub use json::{Json, Path, Query};
pub use middleware::RequestInfo;
pub use openapi::openapi_json;
pub use page::{Page, PageQuery, Pagination};
pub use state::{ApiSettings, AppState, Parts};

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Everything that is in the OpenAPI document.
fn routes() -> OpenApiRouter<AppState> {
    let v1 = OpenApiRouter::new().routes(routes!(openapi::document)).routes(routes!(events::stream)).merge(planned::routes());
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .nest("/api/v1", v1)
}

/// The whole site.
pub fn router(state: AppState) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(assets::serve)
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(axum::middleware::from_fn_with_state(state.clone(), middleware::observe))
        .with_state(state)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
