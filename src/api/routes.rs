//! One list of routes, read in two ways: as what answers requests, and as what the OpenAPI document is made of. Only the first is in the
//! program; `openapi` alone asks for the second.

use axum::Router;
use axum::routing::MethodRouter;
use utoipa::openapi::HttpMethod;
use utoipa_axum::PathItemExt;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::state::AppState;

/// The handlers of one path, made by [`routes!`].
pub trait Handlers {
    fn served() -> (String, MethodRouter<AppState>);
    fn documented() -> UtoipaMethodRouter<AppState>;
}

/// What a list of routes becomes.
pub trait Routes {
    fn empty() -> Self;
    fn routes<H: Handlers>(self, handlers: H) -> Self;
    fn below(self, prefix: &str, inner: Self) -> Self;
}

impl Routes for Router<AppState> {
    fn empty() -> Self {
        Router::new()
    }

    fn routes<H: Handlers>(self, _: H) -> Self {
        let (path, handlers) = H::served();
        Router::route(self, &path, handlers)
    }

    fn below(self, prefix: &str, inner: Self) -> Self {
        self.nest(prefix, inner)
    }
}

impl Routes for OpenApiRouter<AppState> {
    fn empty() -> Self {
        OpenApiRouter::new()
    }

    fn routes<H: Handlers>(self, _: H) -> Self {
        OpenApiRouter::routes(self, H::documented())
    }

    fn below(self, prefix: &str, inner: Self) -> Self {
        self.nest(prefix, inner)
    }
}

/// `methods` of one handler.
pub fn on<H, T>(router: MethodRouter<AppState>, methods: &[HttpMethod], handler: H) -> MethodRouter<AppState>
where
    H: axum::handler::Handler<T, AppState> + Clone,
    T: 'static,
{
    methods.iter().fold(router, |router, method| router.on(method.to_method_filter(), handler.clone()))
}

/// Handlers of one path, each with what `utoipa::path` says of it.
macro_rules! routes {
    ($module:ident::$handler:ident $(, $more_in:ident::$more:ident)* $(,)?) => {{
        struct Here;
        impl $crate::api::routes::Handlers for Here {
            fn served() -> (String, axum::routing::MethodRouter<$crate::api::AppState>) {
                use utoipa::Path;
                utoipa_axum::paste! {
                    let router = axum::routing::MethodRouter::new();
                    let router = $crate::api::routes::on(router, &$module::[<__path_ $handler>]::methods(), $module::$handler);
                    $(let router = $crate::api::routes::on(router, &$more_in::[<__path_ $more>]::methods(), $more_in::$more);)*
                    ($module::[<__path_ $handler>]::path(), router)
                }
            }

            fn documented() -> utoipa_axum::router::UtoipaMethodRouter<$crate::api::AppState> {
                utoipa_axum::routes!($module::$handler $(, $more_in::$more)*)
            }
        }
        Here
    }};
}

pub(crate) use routes;
