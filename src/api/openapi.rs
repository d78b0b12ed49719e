//! Makes the OpenAPI 3.1 document from the routes themselves, for `make openapi` and for tests: the program carries what was made (`document`).
//! What is true of many routes is said here once: who may call, and what every request can be answered with besides what its handler declares.

use std::collections::HashMap;
use std::fmt::Write;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use super::access::{self, NODE_ACCESS, NodeAccess, Rule};
use super::alerts::{AlertSort, AskedState as AlertStateAsked};
use super::audit::AuditSort;
use super::audit_export::Format as AuditExportFormat;
use super::compliance::ReportFormat as ComplianceReportFormat;
use super::enrolment::{TokenSort, TokenStatus};
use super::error::ErrorBody;
use super::examples;
use super::fleet::OfFour as FleetNodeStatus;
use super::fleet_scores::HistoryRange;
use super::listing::Order as ListOrder;
use super::nodes::Sort as NodeSort;
use super::payouts::{Format as PayoutExportFormat, Sort as PayoutSort};
use super::people::{Sort as UserSort, UserStatus};
use super::pool_metrics::OverlayRange;
use super::pools::Sort as PoolSort;
use super::resources::{MetricType, TimeRange};
use super::state::AppState;
use super::statements::Format as StatementFormat;
use crate::domain::overlay::Metric;
use crate::domain::scope::Scope;
use crate::domain::user::Role;
use crate::wire::{HEADER_NODE, HEADER_SIGNATURE};

#[derive(OpenApi)]
#[openapi(
    info(title = "Lucid Node Management"),
    // Schemas of query parameters are not found through their routes.
    components(schemas(
        ErrorBody, HistoryRange, Metric, MetricType, Scope, TimeRange, ListOrder, NodeSort, PoolSort, UserSort, UserStatus, TokenSort,
        TokenStatus, PayoutExportFormat, PayoutSort, AlertSort, AlertStateAsked, AuditSort, AuditExportFormat, ComplianceReportFormat, FleetNodeStatus, OverlayRange, StatementFormat
    ))
)]
struct Head;

/// The scheme that routes declare; the document shows the real ones in its place.
pub const SCHEME: &str = "access";

const ABOUT: &str = "Nodes, proof of operational time, work credits and payouts. Errors have the body `ErrorBody`.

The scopes in a route's security requirement are what its caller must have, all of them; `x-roles` are the roles that do. `x-node-access` says what \
     the route is to a node: `none`, `own` (the id in the path must be its own), `each` (every id in the body must be), `any`, \
     `signed` (it is the node's alone, which signs each request with its key). Routes with \
     `x-fresh-factor` want a session that was confirmed within the last minutes.";

const SESSION: &str = "A browser's session, set by `POST /auth/login`. Over plain HTTP the cookie is called `lucid_session`. Requests that change something must come from a page of this origin.";
const TOKEN: &str = "A program's: the `access_token` of `POST /auth/login`, or an API token.";
const NAMED: &str = "The id of the node that sends and signs the request.";
const SIGNATURE: &str = "Hex Ed25519 with the node's key, over what the agent protocol lists: purpose, manager, node, incarnation, number and the SHA-256 of the body.";
const NODE: &str = "A node's, for an hour: `POST /auth/node/token`. It is for that node alone.";

/// The document as the routes declare it.
fn declared() -> utoipa::openapi::OpenApi {
    let (_, routes) = super::documented::<OpenApiRouter<AppState>>().split_for_parts();
    let mut document = head();
    document.merge(routes);
    document
}

/// The document's head; the routes add paths and schemas.
fn head() -> utoipa::openapi::OpenApi {
    let mut document = Head::openapi();
    document.info.description = Some(format!("{ABOUT}\n\n{}", scopes()));
    let components = document.components.get_or_insert_default();
    let bearer = |format: Option<&str>, about: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about));
        SecurityScheme::Http(format.into_iter().fold(scheme, HttpBuilder::bearer_format).build())
    };
    let cookie = ApiKeyValue::with_description("__Host-lucid_session", SESSION);
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let sent = |name: &str, about: &str| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, about)));
    components.add_security_scheme(access::SIGNER, sent(HEADER_NODE, NAMED));
    components.add_security_scheme(access::SIGNATURE, sent(HEADER_SIGNATURE, SIGNATURE));
    components.add_security_scheme("token", bearer(None, TOKEN));
    components.add_security_scheme("node", bearer(Some("JWT"), NODE));
    document
}

/// Scopes by the lowest role that has them.
fn scopes() -> String {
    let mut text = String::from("| scope | from role | programs |\n|---|---|---|\n");
    for scope in Scope::ALL {
        let programs = if scope.for_people_only() { "no" } else { "yes" };
        let _ = writeln!(text, "| `{scope}` | {} | {programs} |", scope.lowest_role().as_str());
    }
    text
}

/// The whole document, pretty, with a newline at its end.
pub fn openapi_json() -> String {
    let document = declared();
    // Extensions of an operation come in no order; a JSON value sorts them.
    let mut published = serde_json::to_value(&document).unwrap_or_default();
    published["components"]["responses"] = Problem::ALL.iter().map(|problem| (problem.name().to_owned(), problem.response())).collect();
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            let method_name = method.as_str().to_ascii_lowercase();
            let published = &mut published["paths"][path][&method_name];
            published["operationId"] = operation_id(&method_name, path).into();
            let rule = rule(path, operation);
            match &rule {
                Some(Rule::Guarded { scopes, nodes, .. }) => say_who(published, scopes, nodes),
                Some(Rule::Signed) => {
                    published["security"] = json!([{ access::SIGNER: [], access::SIGNATURE: [] }]);
                    published[NODE_ACCESS] = access::SIGNED.into();
                }
                Some(Rule::Public) | None => (),
            }
            add_answers(published, &method, path, rule.as_ref());
        }
    }
    rename_unsigned(&mut published);
    examples::fill(&mut published);
    let mut text = serde_json::to_string_pretty(&published).unwrap_or_default();
    text.push('\n');
    text
}

/// The OpenAPI format registry calls them `uint8` to `uint64`; utoipa writes `u-int8`.
fn rename_unsigned(value: &mut Value) {
    if let Some(size) = value["format"].as_str().and_then(|format| format.strip_prefix("u-int")) {
        value["format"] = format!("uint{size}").into();
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(rename_unsigned),
        Value::Array(items) => items.iter_mut().for_each(rename_unsigned),
        _ => (),
    }
}

/// The operations of a path that exist here.
fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [(Method::GET, &item.get), (Method::POST, &item.post), (Method::PUT, &item.put), (Method::DELETE, &item.delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// As `operation` declares it; None when it declares none that makes sense.
fn rule(path: &str, operation: &Operation) -> Option<Rule> {
    let [requirement] = operation.security.as_deref()? else { return None };
    let requirement: HashMap<String, Vec<String>> = serde_json::to_value(requirement).and_then(serde_json::from_value).ok()?;
    if requirement.is_empty() {
        return Some(Rule::Public);
    }
    if requirement.len() == 1 && requirement.get(access::SIGNED).is_some_and(Vec::is_empty) {
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
        None if scopes.iter().all(|scope| scope.is_of_nodes()) => access::node_parameter(path).map_or(NodeAccess::None, NodeAccess::Own),
        None => NodeAccess::None,
    };
    Some(Rule::Guarded { scopes, nodes, fresh: extension(access::FRESH_FACTOR).is_some_and(|value| value == true) })
}

/// The real schemes in place of the declared one, and what follows from it.
fn say_who(operation: &mut Value, scopes: &[Scope], nodes: &NodeAccess) {
    let schemes = ["session", "token"].into_iter().chain((*nodes != NodeAccess::None).then_some("node"));
    operation["security"] = schemes.map(|scheme| json!({ scheme: scopes })).collect();
    let roles = Role::ALL.into_iter().filter(|role| scopes.iter().all(|scope| role.may(*scope)));
    operation["x-roles"] = roles.map(|role| Value::from(role.as_str())).collect();
    operation[NODE_ACCESS] = nodes.as_str().into();
}

/// Answers that come from the layers around the handlers and from what they all use.
fn add_answers(operation: &mut Value, method: &Method, path: &str, rule: Option<&Rule>) {
    let has_body = operation.get("requestBody").is_some();
    let guarded = matches!(rule, Some(Rule::Guarded { .. }));
    let changes = *method != Method::GET;
    let api = path.starts_with("/api/");
    // A parameter that no route knows is refused everywhere, and so is a host name that is not ours.
    let mut problems = vec![Problem::Malformed, Problem::WrongHost, Problem::Internal];
    problems.extend([Problem::TooManyRequests, Problem::Unavailable].into_iter().filter(|_| api));
    problems.extend([Problem::NotSignedIn, Problem::Forbidden].into_iter().filter(|_| guarded));
    problems.extend([Problem::BodyTooSlow, Problem::BodyTooLarge, Problem::NotJson].into_iter().filter(|_| has_body));
    problems.extend((guarded && changes).then_some(Problem::Conflict));
    problems.extend(path.contains('{').then_some(Problem::NotFound));
    if !operation["responses"].is_object() {
        operation["responses"] = Value::Object(Map::new());
    }
    let Some(answers) = operation["responses"].as_object_mut() else { return };
    for problem in problems {
        let reference = json!({ "$ref": format!("#/components/responses/{}", problem.name()) });
        let declared = answers.entry(problem.status().as_str()).or_insert(Value::Null);
        // One that the handler describes has the body all the same.
        if declared.get("description").is_none_or(|text| text == "") && declared.get("content").is_none_or(is_error_body) {
            *declared = reference;
        }
    }
    for (status, answer) in answers.iter_mut() {
        let failed = status.starts_with('4') || status.starts_with('5');
        let bare = answer.get("$ref").is_none() && answer.get("content").is_none();
        if failed && bare {
            answer["content"] = error_content();
        }
        // OpenAPI wants one, empty or not.
        if answer.get("$ref").is_none() && answer.get("description").is_none() {
            let reason = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()?.canonical_reason());
            answer["description"] = reason.unwrap_or_default().into();
        }
    }
}

fn error_content() -> Value {
    json!({ "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } })
}

fn is_error_body(content: &Value) -> bool {
    *content == error_content()
}

macro_rules! problems {
    ($($name:ident = $status:ident, $description:literal);+ $(;)?) => {
        /// Refusals and failures that many routes share.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Problem {
            $($name),+
        }

        impl Problem {
            const ALL: &'static [Problem] = &[$(Problem::$name),+];

            fn name(self) -> &'static str {
                match self {
                    $(Problem::$name => stringify!($name)),+
                }
            }

            fn status(self) -> StatusCode {
                match self {
                    $(Problem::$name => StatusCode::$status),+
                }
            }

            fn description(self) -> &'static str {
                match self {
                    $(Problem::$name => $description),+
                }
            }
        }
    };
}

problems! {
    Malformed = BAD_REQUEST, "A field, a parameter or a header is not what this route reads; `details.fields` lists all of them.";
    NotSignedIn = UNAUTHORIZED, "No credentials, or such as do not hold any more.";
    Forbidden = FORBIDDEN, "The caller lacks a scope, is a node that asks about another, is not confirmed, or the page is of another origin.";
    NotFound = NOT_FOUND, "Nothing has this id.";
    BodyTooSlow = REQUEST_TIMEOUT, "The body did not arrive in time.";
    Conflict = CONFLICT, "It contradicts what is there, or the idempotency key was used for another request.";
    BodyTooLarge = PAYLOAD_TOO_LARGE, "The body is larger than 10 MiB.";
    NotJson = UNSUPPORTED_MEDIA_TYPE, "The body is not sent as `application/json` in UTF-8, or with a `Content-Encoding`.";
    WrongHost = MISDIRECTED_REQUEST, "The request names a host that is not this manager.";
    TooManyRequests = TOO_MANY_REQUESTS, "Too many requests or attempts; `Retry-After` says how long to wait.";
    Internal = INTERNAL_SERVER_ERROR, "A fault of the manager; its log has it under the request id.";
    Unavailable = SERVICE_UNAVAILABLE, "The store is busy or failed, or the clock is not trusted; `Retry-After` says how long to wait.";
}

impl Problem {
    fn response(self) -> Value {
        let mut response = json!({ "description": self.description(), "content": error_content() });
        if matches!(self, Problem::TooManyRequests | Problem::Unavailable) {
            response["headers"] = json!({ "Retry-After": { "description": "Seconds.", "schema": { "type": "integer", "minimum": 1 } } });
        }
        response
    }
}

/// `get_nodes_id_resources`: names of handlers are unique in their file only, and these have to be in the document.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
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
        match rule(path, &operation(scopes).build()) {
            Some(Rule::Guarded { nodes, .. }) => nodes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_declared_or_not_understood_is_no_rule() {
        assert_eq!(rule("/x", &OperationBuilder::new().build()), None);
        assert_eq!(rule("/x", &operation(&[]).build()), None);
        assert_eq!(rule("/x", &operation(&["node:fly"]).build()), None);
        assert_eq!(rule("/x", &operation(&["node:read"]).security(SecurityRequirement::default()).build()), None, "one of two");
        let signed = |scopes: &[&str]| OperationBuilder::new().security(SecurityRequirement::new(access::SIGNED, scopes.iter().copied()));
        assert_eq!(rule("/x", &signed(&[]).build()), Some(Rule::Signed));
        assert_eq!(rule("/x", &signed(&["node:read"]).build()), None, "a signature has no scopes");
        let other = OperationBuilder::new().security(SecurityRequirement::new("session", ["node:read"]));
        assert_eq!(rule("/x", &other.build()), None);
        let odd = operation(&["node:read"]).extensions(Some(ExtensionsBuilder::new().add(NODE_ACCESS, "some").build()));
        assert_eq!(rule("/x", &odd.build()), None);
        assert_eq!(rule("/x", &OperationBuilder::new().security(SecurityRequirement::default()).build()), Some(Rule::Public));
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
        let document = declared();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                assert!(
                    rule(path, operation).is_some(),
                    "{method} {path} declares no access: security((\"access\" = [..])) or security(())"
                );
            }
        }
        assert!(document.paths.paths.len() > 50);
    }

    #[test]
    fn whole_numbers_have_the_range_of_their_type() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let format = |schema: &str, field: &str| document["components"]["schemas"][schema]["properties"][field]["format"].clone();
        assert_eq!(format("ReportAnswer", "run"), "uint64", "any of 64 bits");
        assert_eq!([format("ScoreBin", "from"), format("Pagination", "page")], ["uint8", "uint32"]);
        assert_eq!(format("WorkloadExit", "code"), "int32");
        assert!(!document.to_string().contains("u-int"));
    }

    #[test]
    fn every_operation_says_who_and_every_refusal_has_the_body_of_the_contract() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let get = &document["paths"]["/api/v1/nodes/{id}"]["get"];
        assert_eq!(get["security"], json!([{ "session": ["node:read"] }, { "token": ["node:read"] }, { "node": ["node:read"] }]));
        assert_eq!(get["x-roles"], json!(["viewer", "operator", "admin", "super_admin"]));
        assert_eq!(get[access::NODE_ACCESS], "own");
        assert_eq!(document["paths"]["/api/v1/clock/accept"]["post"]["x-roles"], json!(["super_admin"]));
        assert!(!document.to_string().contains("\"access\""), "the declared scheme is not published");
        let mut failures = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let place = format!("{method} {path} {status}");
                    let resolved = answer["$ref"].as_str().map_or(answer, |to| document.pointer(to.trim_start_matches('#')).unwrap());
                    assert!(resolved["description"].is_string(), "{place}");
                    let health = path.starts_with("/health") && status == "503";
                    if (status.starts_with('4') || status.starts_with('5')) && !health {
                        assert!(is_error_body(&resolved["content"]), "{place}: {resolved}");
                        failures += 1;
                    }
                }
            }
        }
        assert!(failures > 300, "{failures}");
    }
}
