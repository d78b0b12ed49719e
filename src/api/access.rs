//! Who may call what. Each route declares it beside its handler: `security(("access" = ["node:write"]))`, or `security(())` for
//! everybody, or `security(("signed" = []))` for what a node signs. From there it gets into the OpenAPI document (`openapi`), which is committed; the table is read from that document, and a layer
//! holds every request to it before the handler runs: what is published is what is enforced, and a route that it says nothing about is refused.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::auth::{self, Caller, Principal};
use super::document::Document;
use super::error::ApiError;
use super::middleware::RequestInfo;
use super::state::AppState;
use super::{rates, signed};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::wire::HEADER_MANAGER_KEY;

/// Extension of routes that nodes use without being named in the path.
pub const NODE_ACCESS: &str = "x-node-access";
/// What that extension says of a route for a node that signs the request, and the two schemes of such a route.
pub const SIGNED: &str = "signed";
pub const SIGNER: &str = "signer";
pub const SIGNATURE: &str = "signature";
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
    /// As the document says of `operation`; None when it says nothing that makes sense.
    pub fn of(path: &str, operation: &Value) -> Option<Rule> {
        if operation[NODE_ACCESS] == SIGNED {
            return (operation["security"] == json!([{ SIGNATURE: [], SIGNER: [] }])).then_some(Rule::Signed);
        }
        let ways: Vec<(&str, &Value)> = match operation["security"].as_array()?.as_slice() {
            [anybody] if anybody.as_object()?.is_empty() => return Some(Rule::Public),
            // One scheme each: they are alternatives.
            ways => ways.iter().map(|way| way.as_object().filter(|way| way.len() == 1)?.iter().next()).collect::<Option<Vec<_>>>()?,
        }
        .into_iter()
        .map(|(scheme, scopes)| (scheme.as_str(), scopes))
        .collect();
        let (_, scopes) = ways.first()?;
        let alike = ways.iter().all(|(_, others)| others == scopes);
        let scopes: Vec<Scope> = scopes.as_array()?.iter().map(|scope| Scope::parse(scope.as_str()?)).collect::<Option<_>>()?;
        let nodes = match operation[NODE_ACCESS].as_str()? {
            "none" => NodeAccess::None,
            "own" => NodeAccess::Own(node_parameter(path)?),
            "each" => NodeAccess::Each,
            "any" => NodeAccess::Any,
            _ => return None,
        };
        let wanted: &[&str] = if nodes == NodeAccess::None { &["session", "token"] } else { &["session", "token", "node"] };
        let complete = ways.iter().map(|(scheme, _)| *scheme).eq(wanted.iter().copied());
        (alike && complete && !scopes.is_empty()).then_some(Rule::Guarded { scopes, nodes, fresh: operation[FRESH_FACTOR] == true })
    }
}

/// The path parameter that names a node: `{node_id}` anywhere, `{id}` right behind `/nodes/`.
pub fn node_parameter(path: &str) -> Option<String> {
    let below_nodes = path.contains("/nodes/{id}").then_some("id");
    path.contains("{node_id}").then_some("node_id").or(below_nodes).map(str::to_owned)
}

/// The rules of all routes.
#[derive(Debug, Default)]
pub struct Rules(HashMap<String, Vec<(Method, Rule)>>);

impl Rules {
    pub fn of(document: &Document<'_>) -> Rules {
        let mut rules = Rules::default();
        for (path, method, operation) in document.operations() {
            let of_path = rules.0.entry(path.to_owned()).or_default();
            of_path.extend(Rule::of(path, &operation).map(|rule| (method, rule)));
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

/// The layer around every documented route: finds out who calls, and lets through who may.
pub async fn guard(State((state, rules)): State<(AppState, Arc<Rules>)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let pinned = parts.headers.get(HEADER_MANAGER_KEY).cloned();
    match admit(&state, &rules, &mut parts).await {
        Ok(()) => signed::led_on(&state, pinned.as_ref(), next.run(Request::from_parts(parts, body)).await),
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
    use super::super::document::Contract;
    use super::*;

    #[test]
    fn what_the_document_does_not_say_or_not_clearly_is_no_rule() {
        let good = json!({ "security": [{ "session": ["node:read"] }, { "token": ["node:read"] }], "x-node-access": "none" });
        let guarded = Rule::Guarded { scopes: vec![Scope::NodeRead], nodes: NodeAccess::None, fresh: false };
        assert_eq!(Rule::of("/x", &good), Some(guarded));
        assert_eq!(Rule::of("/x", &json!({ "security": [{}] })), Some(Rule::Public));
        let but = |place: &str, value: Value| {
            let mut operation = good.clone();
            *operation.pointer_mut(place).unwrap() = value;
            Rule::of("/x", &operation)
        };
        for (place, value) in [
            ("/security", Value::Null),
            ("/security", json!([])),
            ("/security", json!([{}, {}])),
            ("/security", json!([{ "session": ["node:read"] }])),
            ("/security", json!([{ "access": ["node:read"] }])),
            ("/security", json!([{ "session": ["node:read"], "token": ["node:read"] }])),
            ("/security/1", json!({})),
            ("/security/1/token", json!([])),
            ("/security/1/token", json!(["node:write"])),
            ("/security/0/session", json!(["node:fly"])),
            ("/x-node-access", Value::Null),
            ("/x-node-access", json!("some")),
            // Not without the node's scheme, nor without its id in the path.
            ("/x-node-access", json!("any")),
            ("/x-node-access", json!("own")),
        ] {
            assert_eq!(but(place, value.clone()), None, "{place} {value}");
        }
        let signed = json!({ "security": [{ "signature": [], "signer": [] }], "x-node-access": "signed" });
        assert_eq!(Rule::of("/x", &signed), Some(Rule::Signed));
        let half = [
            json!([]),
            json!([{}]),
            json!([{ "signature": [] }]),
            json!([{ "signature": [] }, { "signer": [] }]),
            good["security"].clone(),
        ];
        for security in half {
            assert_eq!(Rule::of("/x", &json!({ "security": security, "x-node-access": "signed" })), None, "{security}");
        }
        assert_eq!(Rule::of("/x", &json!({ "security": signed["security"], "x-node-access": "none" })), None);
        assert!(Rules::of(&Document::default()).find(&Method::GET, "/health").is_err());
    }

    #[test]
    fn a_path_without_rules_is_refused_and_a_head_is_a_get() {
        let rules = &Contract::committed().rules;
        assert_eq!(rules.find(&Method::GET, "/api/v1/nobody/documented/this"), Err(Refusal::NotAllowed));
        assert_eq!(rules.find(&Method::PATCH, "/api/v1/nodes"), Ok(None));
        assert_eq!(rules.find(&Method::HEAD, "/api/v1/nodes"), rules.find(&Method::GET, "/api/v1/nodes"));
        for path in ["/api/v1/agent/report", "/api/v1/agent/late", "/api/v1/agent/commands", "/api/v1/agent/output"] {
            assert_eq!(rules.find(&Method::POST, path), Ok(Some(&Rule::Signed)));
        }
        assert_eq!(rules.find(&Method::GET, "/health"), Ok(Some(&Rule::Public)));
    }
}
