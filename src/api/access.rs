//! Who may call what. Each route declares it beside its handler: `security(("access" = ["node:write"]))`, or `security(())` for
//! everybody; what a node signs itself, `security(("signed" = []))`. The table is read from the OpenAPI document when the router is made, and a layer holds every request to it before the handler
//! runs: what is documented is what is enforced, and a route that says nothing is refused.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

use super::auth::{self, Caller, Principal};
use super::error::ApiError;
use super::middleware::RequestInfo;
use super::state::AppState;
use super::{rates, signed};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;

/// The schemes that routes declare; `openapi` shows the real ones in their place.
pub const SCHEME: &str = "access";
const SIGNED: &str = "signed";
/// Extension of routes that nodes use without being named in the path.
pub const NODE_ACCESS: &str = "x-node-access";
/// Extension of routes that want their person confirmed a moment ago.
pub const FRESH_FACTOR: &str = "x-fresh-factor";

/// What one route asks of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Whoever asks; credentials are not looked at.
    Public,
    /// A node that signs the request with its key, and nobody else.
    Signed,
    Guarded {
        /// All of them are needed.
        scopes: Vec<Scope>,
        nodes: NodeAccess,
        /// The session must have been confirmed lately: no program and no node can.
        fresh: bool,
    },
}

/// What a route is to a node that has its scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAccess {
    /// It is not for nodes.
    None,
    /// The path parameter of this name has to be the node itself.
    Own(String),
    /// The handler checks every id of the body (`Caller::own`).
    Each,
    /// It is about no node.
    Any,
}

impl NodeAccess {
    pub fn as_str(&self) -> &'static str {
        match self {
            NodeAccess::None => "none",
            NodeAccess::Own(_) => "own",
            NodeAccess::Each => "each",
            NodeAccess::Any => "any",
        }
    }
}

impl Rule {
    /// As `operation` declares it; None when it declares none that makes sense.
    pub fn of(path: &str, operation: &Operation) -> Option<Rule> {
        let [requirement] = operation.security.as_deref()? else { return None };
        let requirement: HashMap<String, Vec<String>> = serde_json::to_value(requirement).and_then(serde_json::from_value).ok()?;
        if requirement.is_empty() {
            return Some(Rule::Public);
        }
        if requirement.len() == 1 && requirement.get(SIGNED).is_some_and(Vec::is_empty) {
            return Some(Rule::Signed);
        }
        let scopes = requirement.get(SCHEME).filter(|scopes| requirement.len() == 1 && !scopes.is_empty())?;
        let scopes: Vec<Scope> = scopes.iter().map(|text| Scope::parse(text)).collect::<Option<_>>()?;
        let extension = |name: &str| operation.extensions.as_ref().and_then(|extensions| extensions.get(name));
        let declared = extension(NODE_ACCESS).map(|value| value.as_str().unwrap_or("?"));
        let nodes = match declared {
            Some("each") => NodeAccess::Each,
            Some("any") => NodeAccess::Any,
            Some("none") => NodeAccess::None,
            Some(_) => return None,
            None if scopes.iter().all(|scope| scope.is_of_nodes()) => node_parameter(path).map_or(NodeAccess::None, NodeAccess::Own),
            None => NodeAccess::None,
        };
        Some(Rule::Guarded { scopes, nodes, fresh: extension(FRESH_FACTOR).is_some_and(|value| value == true) })
    }
}

/// The path parameter that names a node: `{node_id}` anywhere, `{id}` right behind `/nodes/`.
fn node_parameter(path: &str) -> Option<String> {
    let below_nodes = path.contains("/nodes/{id}").then_some("id");
    path.contains("{node_id}").then_some("node_id").or(below_nodes).map(str::to_owned)
}

/// The rules of all routes.
#[derive(Debug, Default)]
pub struct Rules(HashMap<String, Vec<(Method, Rule)>>);

impl Rules {
    pub fn of(document: &OpenApi) -> Rules {
        let mut rules = Rules::default();
        for (path, item) in &document.paths.paths {
            let found = operations(item).filter_map(|(method, operation)| Some((method, Rule::of(path, operation)?)));
            rules.0.insert(path.clone(), found.collect());
        }
        rules
    }

    /// Ok(None): the path does not answer this method. A HEAD is a GET without its body.
    fn find(&self, method: &Method, path: &str) -> Result<Option<&Rule>, Refusal> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let rules = self.0.get(path).ok_or(Refusal::NotAllowed)?;
        Ok(rules.iter().find(|(of, _)| of == method).map(|(_, rule)| rule))
    }
}

/// The operations of a path that exist here.
pub fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [(Method::GET, &item.get), (Method::POST, &item.post), (Method::PUT, &item.put), (Method::DELETE, &item.delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// The layer around every documented route: finds out who calls, and lets through who may.
pub async fn guard(State((state, rules)): State<(AppState, Arc<Rules>)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&state, &rules, &mut parts).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    }
}

/// Leaves in `parts` who was let in: a `Caller`, or whom a signed request names.
async fn admit(state: &AppState, rules: &Rules, parts: &mut Parts) -> Result<(), ApiError> {
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let rule = rules.find(&parts.method, path)?.ok_or_else(ApiError::method_not_allowed)?;
    let (scopes, nodes, fresh) = match rule {
        Rule::Signed => return signed::admit(state, parts),
        Rule::Public => {
            let request = parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default();
            rates::by_principal(state, parts, &Principal::Anonymous)?;
            parts.extensions.insert(Caller { principal: Principal::Anonymous, session: None, request });
            return Ok(());
        }
        Rule::Guarded { scopes, nodes, fresh } => (scopes, nodes, fresh),
    };
    let caller = auth::authenticate(state, parts).await?;
    rates::by_principal(state, parts, &caller.principal)?;
    caller.allowed(scopes)?;
    if let Principal::Node { node_id, .. } = &caller.principal {
        match nodes {
            NodeAccess::None => return Err(Refusal::NotAllowed.into()),
            NodeAccess::Own(parameter) if !names(parts, parameter, node_id.as_str()).await => return Err(Refusal::NotYours.into()),
            NodeAccess::Own(_) | NodeAccess::Each | NodeAccess::Any => {}
        }
    }
    if *fresh {
        caller.require_fresh()?;
    }
    parts.extensions.insert(caller);
    Ok(())
}

/// The parameter of the path, as handlers read it, is this id.
async fn names(parts: &mut Parts, parameter: &str, id: &str) -> bool {
    let Ok(given) = RawPathParams::from_request_parts(parts, &()).await else { return false };
    given.iter().any(|(name, value)| name == parameter && value == id)
}

impl Caller {
    /// Every scope is the caller's.
    pub fn allowed(&self, scopes: &[Scope]) -> Result<(), Refusal> {
        if self.principal == Principal::Anonymous {
            return Err(Refusal::NotSignedIn);
        }
        if scopes.iter().all(|scope| self.may(*scope)) { Ok(()) } else { Err(Refusal::NotAllowed) }
    }

    pub fn may(&self, scope: Scope) -> bool {
        match &self.principal {
            Principal::User { role, .. } => role.may(scope),
            Principal::Node { node_type, .. } => node_type.scopes().contains(&scope),
            Principal::Token { scopes, .. } => scopes.contains(&scope),
            Principal::Gateway { role, .. } => role.may(scope) && !scope.for_people_only(),
            Principal::Anonymous => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::openapi::extensions::ExtensionsBuilder;
    use utoipa::openapi::path::OperationBuilder;
    use utoipa::openapi::security::SecurityRequirement;

    fn operation(scopes: &[&str]) -> OperationBuilder {
        OperationBuilder::new().security(SecurityRequirement::new(SCHEME, scopes.iter().copied()))
    }

    fn nodes(path: &str, scopes: &[&str]) -> NodeAccess {
        match Rule::of(path, &operation(scopes).build()) {
            Some(Rule::Guarded { nodes, .. }) => nodes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_declared_or_not_understood_is_no_rule() {
        assert_eq!(Rule::of("/x", &OperationBuilder::new().build()), None);
        assert_eq!(Rule::of("/x", &operation(&[]).build()), None);
        assert_eq!(Rule::of("/x", &operation(&["node:fly"]).build()), None);
        assert_eq!(Rule::of("/x", &operation(&["node:read"]).security(SecurityRequirement::default()).build()), None, "one of two");
        let signed = |scopes: &[&str]| OperationBuilder::new().security(SecurityRequirement::new(SIGNED, scopes.iter().copied()));
        assert_eq!(Rule::of("/x", &signed(&[]).build()), Some(Rule::Signed));
        assert_eq!(Rule::of("/x", &signed(&["node:read"]).build()), None, "a signature has no scopes");
        let other = OperationBuilder::new().security(SecurityRequirement::new("session", ["node:read"]));
        assert_eq!(Rule::of("/x", &other.build()), None);
        let odd = operation(&["node:read"]).extensions(Some(ExtensionsBuilder::new().add(NODE_ACCESS, "some").build()));
        assert_eq!(Rule::of("/x", &odd.build()), None);
        assert_eq!(Rule::of("/x", &OperationBuilder::new().security(SecurityRequirement::default()).build()), Some(Rule::Public));
    }

    #[test]
    fn nodes_are_let_in_where_the_path_names_one_and_the_scope_is_theirs() {
        assert_eq!(nodes("/api/v1/nodes/{id}", &["node:read"]), NodeAccess::Own("id".into()));
        assert_eq!(nodes("/api/v1/poot/{node_id}", &["poot:read"]), NodeAccess::Own("node_id".into()));
        assert_eq!(nodes("/api/v1/nodes", &["node:read"]), NodeAccess::None);
        assert_eq!(nodes("/api/v1/nodes/{id}", &["node:write"]), NodeAccess::None);
        assert_eq!(nodes("/api/v1/nodes/{id}", &["node:read", "node:stop"]), NodeAccess::None);
        assert_eq!(nodes("/api/v1/pools/{id}", &["node:read"]), NodeAccess::None);
    }

    #[test]
    fn every_route_has_a_rule() {
        let document = super::super::declared();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                assert!(
                    Rule::of(path, operation).is_some(),
                    "{method} {path} declares no access: security((\"access\" = [..])) or security(())"
                );
            }
        }
        assert!(document.paths.paths.len() > 50);
    }

    #[test]
    fn a_path_without_rules_is_refused_and_a_head_is_a_get() {
        let rules = Rules::of(&super::super::declared());
        assert_eq!(rules.find(&Method::GET, "/api/v1/nobody/documented/this"), Err(Refusal::NotAllowed));
        assert_eq!(rules.find(&Method::PATCH, "/api/v1/nodes"), Ok(None));
        assert_eq!(rules.find(&Method::HEAD, "/api/v1/nodes"), rules.find(&Method::GET, "/api/v1/nodes"));
        for path in ["/api/v1/agent/report", "/api/v1/agent/late", "/api/v1/agent/commands"] {
            assert_eq!(rules.find(&Method::POST, path), Ok(Some(&Rule::Signed)));
        }
        assert_eq!(rules.find(&Method::GET, "/health"), Ok(Some(&Rule::Public)));
    }
}
