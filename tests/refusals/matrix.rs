//! Every route of the OpenAPI document, by every kind of caller, about what is theirs, what is another's, what is no id and what is not
//! there. What is expected is computed from the scopes that the document names and from what roles and nodes have; `roles` holds the
//! document against a list made by hand.

use std::collections::BTreeSet;

use lucid::crypto::{SecretKey, jwt_encode};
use lucid::domain::enrolment::NodeClaims;
use lucid::domain::ids::NodeId;
use lucid::domain::node::NodeType;
use lucid::domain::scope::Scope;
use lucid::domain::user::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::state;
use crate::support::client::{PASSWORD, error_name};
use crate::support::site::Site;

/// A key of 32 bytes, so that it signs as the tokens of nodes are signed.
const GATEWAY_SECRET: &str = "only the gateway and tests know!";

/// One operation of the document.
pub struct Route {
    pub method: Method,
    /// As in the document.
    pub path: String,
    /// None: for everybody.
    pub scopes: Option<Vec<Scope>>,
    pub roles: Vec<String>,
    nodes: String,
    fresh: bool,
    statuses: BTreeSet<u16>,
    parameters: Vec<String>,
}

impl Route {
    fn of(method: &str, path: &str, operation: &Value) -> Route {
        let security = operation["security"].as_array().unwrap_or_else(|| panic!("{method} {path} does not say who may call it"));
        // Every scheme asks for the same; `{}` asks for nothing.
        let asked: BTreeSet<Option<Vec<&str>>> = security
            .iter()
            .map(|one| {
                one.as_object().unwrap().values().next().map(|list| list.as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect())
            })
            .collect();
        assert_eq!(asked.len(), 1, "{method} {path}: {security:?}");
        let scopes = asked.into_iter().next().unwrap().map(|names| names.into_iter().map(|name| Scope::parse(name).unwrap()).collect());
        let words = |name: &str| operation[name].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect();
        let parts = path.split('/').filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned()));
        Route {
            method: method.to_uppercase().parse().unwrap(),
            path: path.to_owned(),
            scopes,
            roles: words("x-roles"),
            nodes: operation["x-node-access"].as_str().unwrap_or("none").to_owned(),
            fresh: operation["x-fresh-factor"] == true,
            statuses: operation["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap()).collect(),
            parameters: parts.collect(),
        }
    }

    pub async fn all(site: &Site) -> Vec<Route> {
        let document = site.client.get("/openapi.json").await;
        let items = document["paths"].as_object().unwrap().iter();
        items
            .flat_map(|(path, item)| {
                item.as_object().unwrap().iter().map(|(method, operation)| Route::of(method, path, operation)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Below `/api/v1` where it is there.
    pub fn short(&self) -> &str {
        self.path.strip_prefix("/api/v1").unwrap_or(&self.path)
    }

    fn changes(&self) -> bool {
        self.method != Method::GET
    }

    /// What a parameter names, told from its place.
    fn names(&self, parameter: &str) -> Thing {
        let place = format!("{{{parameter}}}");
        let before = self.short().split(&place).next().unwrap().trim_end_matches('/').rsplit('/').next().unwrap();
        match (parameter, before) {
            ("node_id", _) | (_, "nodes") => Thing::Node,
            ("pool_id", _) | (_, "pools") => Thing::Pool,
            ("user_id", _) | (_, "users") => Thing::User,
            (_, "enrolment-tokens") => Thing::EnrolmentToken,
            _ => Thing::Other,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Thing {
    Node,
    Pool,
    User,
    EnrolmentToken,
    /// Nothing of its kind is there.
    Other,
}

/// Whose id stands in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Own,
    Foreign,
    Malformed,
    Missing,
}

enum Kind {
    Anonymous,
    Person(Role),
    /// An API token, or somebody of the API gateway.
    Program(Vec<Scope>),
    Node(NodeType),
}

struct Who {
    name: String,
    kind: Kind,
    token: Option<String>,
    /// The node that "own" means: of a person, any that is there.
    node: NodeId,
}

/// A route may, a caller may not: the refusal. None: the caller gets past the door.
fn refusal(route: &Route, who: &Who, id: Id) -> Option<(u16, &'static str, &'static str)> {
    const NOT_ALLOWED: Option<(u16, &str, &str)> = Some((403, "2003", "NotAllowed"));
    // No token, no session and no role stands for a signature.
    if route.nodes == "signed" {
        return Some((401, "2001", "NotSignedIn"));
    }
    let scopes = route.scopes.as_ref()?;
    match &who.kind {
        Kind::Anonymous => Some((401, "2001", "NotSignedIn")),
        Kind::Person(role) if !scopes.iter().all(|scope| role.may(*scope)) => NOT_ALLOWED,
        Kind::Person(_) if route.fresh => Some((403, "2009", "FreshFactorNeeded")),
        Kind::Person(_) => None,
        Kind::Program(own) if !scopes.iter().all(|scope| own.contains(scope)) => NOT_ALLOWED,
        Kind::Program(_) if route.fresh => Some((403, "2003", "PersonNeeded")),
        Kind::Program(_) => None,
        Kind::Node(kind) if !scopes.iter().all(|scope| kind.scopes().contains(scope)) => NOT_ALLOWED,
        Kind::Node(_) => match route.nodes.as_str() {
            "none" => NOT_ALLOWED,
            "own" if id != Id::Own => Some((403, "2003", "NotYours")),
            _ => None,
        },
    }
}

struct World {
    site: Site,
    http: reqwest::Client,
    callers: Vec<Who>,
    foreign: NodeId,
    pool: String,
    user: String,
    token: String,
}

impl World {
    async fn new(dir: &std::path::Path) -> World {
        let generous = [("limits.public_requests", "100000"), ("limits.person_requests", "100000"), ("limits.node_requests", "100000")];
        let tight = [("limits.poot_requests", "100000"), ("limits.payout_requests", "100000")];
        let gateway = [("access.jwt_secret_key", GATEWAY_SECRET)];
        let site = Site::new(dir.join("data"), &[generous.as_slice(), &tight, &gateway].concat()).await;
        let make = async |name: &str, kind: &str| {
            let made = site.client.post("/nodes", json!({ "name": name, "node_type": kind })).await;
            NodeId::parse(made["node_id"].as_str().unwrap()).unwrap()
        };
        let (worker, validator, foreign) =
            (site.enrol("machine").await.id, make("validator", "validator").await, make("other", "worker").await);
        let pool = site.client.post("/nodes/pools", json!({ "name": "pool" })).await["pool_id"].as_str().unwrap().to_owned();
        let token = site.client.post("/enrolment-tokens", json!({})).await["id"].as_str().unwrap().to_owned();
        let mut user = String::new();
        let anonymous = Who { name: "anonymous".into(), kind: Kind::Anonymous, token: None, node: worker.clone() };
        let mut callers = vec![anonymous];
        for role in Role::ALL {
            let name = format!("a_{}", role.as_str());
            let made = site.client.post("/users", json!({ "username": name, "password": PASSWORD, "role": role })).await;
            let mut person = site.client.anonymous();
            person.sign_in(&name, PASSWORD).await;
            callers.push(Who { name, kind: Kind::Person(role), token: Some(person.token()), node: worker.clone() });
            if user.is_empty() {
                user = made["id"].as_str().unwrap().to_owned();
            }
        }
        let of_programs = |role: Role| role.scopes().into_iter().filter(|scope| !scope.for_people_only()).collect::<Vec<_>>();
        let program = |name: &str, token: &str, scopes| Who {
            name: name.to_owned(),
            kind: Kind::Program(scopes),
            token: Some(token.to_owned()),
            node: worker.clone(),
        };
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            let name = format!("token of {}", role.as_str());
            let made = site.client.post("/tokens", json!({ "name": name, "role": role, "expires_in_days": 1 })).await;
            callers.push(program(&name, made["token"].as_str().unwrap(), of_programs(role)));
        }
        let narrow = [Scope::NodeRead, Scope::NodeStop, Scope::AlertRead];
        let asked = json!({ "name": "narrow", "role": "admin", "scopes": narrow, "expires_in_days": 1 });
        let made = site.client.post("/tokens", asked).await;
        callers.push(program("narrow token", made["token"].as_str().unwrap(), narrow.to_vec()));
        let seconds = site.app.state.now().wall.seconds();
        let claims = json!({ "sub": "u-1", "role": "ADMIN", "iat": seconds, "exp": seconds + 3_600, "jti": "j" });
        let vouched = jwt_encode(&SecretKey(GATEWAY_SECRET.as_bytes().try_into().unwrap()), &claims).unwrap();
        callers.push(program("operator of the gateway", &vouched, of_programs(Role::Operator)));
        for (node, kind) in [(worker, NodeType::Worker), (validator, NodeType::Validator)] {
            let claims = NodeClaims::new(node.clone(), kind, site.app.state.now().wall, "jti".into());
            let token = jwt_encode(&site.app.store.secrets.node_tokens, &claims).unwrap();
            callers.push(Who { name: format!("{kind:?}"), kind: Kind::Node(kind), token: Some(token), node });
        }
        World { site, http: reqwest::Client::builder().no_proxy().build().unwrap(), callers, foreign, pool, user, token }
    }

    fn place(&self, route: &Route, who: &Who, id: Id) -> String {
        let fill = |path: String, name: &String| {
            let there = match route.names(name) {
                Thing::Node if id == Id::Own => who.node.as_str(),
                Thing::Node => self.foreign.as_str(),
                Thing::Pool => &self.pool,
                Thing::User => &self.user,
                Thing::EnrolmentToken => &self.token,
                Thing::Other => "0",
            };
            let value = match (id, route.names(name)) {
                (Id::Own | Id::Foreign, _) => there,
                (Id::Malformed, _) => "%20no%2Fid%00",
                (Id::Missing, Thing::Node) => "node_nobody_at_all",
                (Id::Missing, Thing::Pool) => "pool_nobody_at_all",
                (Id::Missing, Thing::User) => "user_nobody_at_all",
                (Id::Missing, _) => "4294967295",
            };
            path.replace(&format!("{{{name}}}"), value)
        };
        route.parameters.iter().fold(route.path.clone(), fill)
    }

    /// The answer; its body only when it is an error.
    async fn ask(
        &self,
        route: &Route,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(route.method.clone(), format!("{}{path}", self.site.client.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let is_endless = answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if status.is_success() {
            // Read to its end, so that an export gives its place back before the next caller asks.
            if !is_endless {
                answer.bytes().await.unwrap();
            }
            return (status, Value::Null);
        }
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    /// One request; whether it was refused at the door.
    async fn check(&self, route: &Route, who: &Who, id: Id) -> bool {
        let place = self.place(route, who, id);
        let what = format!("{} {place} by {}, {id:?}", route.method, who.name);
        // A key that is none is refused right behind the door, so that nothing changes where the caller may come in.
        let no_key = [("idempotency-key", "")];
        let headers: &[(&str, &str)] = if route.changes() { &no_key } else { &[] };
        let (status, body) = self.ask(route, &place, who.token.as_deref(), headers, None).await;
        let code = status.as_u16();
        let named = (code, body["error"]["code"].as_str().unwrap_or_default().trim_start_matches("LUCID_ERR_"), error_name(&body));
        if let Some(expected) = refusal(route, who, id) {
            assert_eq!(named, expected, "{what}: {body}");
            assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {body}");
            return true;
        }
        assert!(route.statuses.contains(&code), "{what} answered {status}, which is not documented: {body}");
        if route.scopes.is_some() {
            assert!(![401, 403].contains(&code), "{what}: {body}");
            match id {
                _ if route.changes() => {
                    assert_eq!(body["error"]["details"]["fields"][0]["field"], "idempotency-key", "{what}: {body}")
                }
                Id::Malformed => assert!([400, 404].contains(&code), "{what}: {status} {body}"),
                Id::Missing => assert_eq!(code, 404, "{what}: {body}"),
                Id::Own | Id::Foreign => {
                    let is_there = status.is_success() || route.parameters.iter().any(|name| route.names(name) == Thing::Other);
                    let has_none = ["AddressNotFound", "ProofNotThere", "ReplicationNotConfigured"].contains(&error_name(&body));
                    assert!(is_there || has_none || code == 400, "{what}: {status} {body}");
                }
            }
        }
        false
    }
}

/// Parts of paths that nobody may take out of the document unnoticed.
const REACHED: [&str; 16] = [
    "/start",
    "/stop",
    "/restart",
    "/commands",
    "/thresholds",
    "/allocate",
    "/allocations",
    "/history",
    "/alerts",
    "/privacy/",
    "/compliance/",
    "/audit/verify",
    "/audit/anchor",
    "/tokens",
    "/enrolment-requests",
    "/settings",
];

#[tokio::test]
async fn every_route_is_for_whom_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let routes = Route::all(&world.site).await;
    assert!(routes.len() > 90, "{} routes", routes.len());
    for part in REACHED {
        assert!(routes.iter().any(|route| route.short().contains(part)), "nothing is asked of {part}");
    }
    // Who signed in a moment ago counts as confirmed; from here on nobody is.
    world.site.driver.advance_ms(6 * 60_000);
    let before = state(&world.site.client).await;
    let (mut refused, mut admitted) = (0, 0);
    for route in &routes {
        let ids: &[Id] = if route.parameters.is_empty() { &[Id::Own] } else { &[Id::Own, Id::Foreign, Id::Malformed, Id::Missing] };
        for who in &world.callers {
            for id in ids {
                if world.check(route, who, *id).await {
                    refused += 1;
                } else {
                    admitted += 1;
                }
            }
        }
        assert_eq!(state(&world.site.client).await, before, "something changed through {} {}", route.method, route.path);
    }
    println!("{} routes: {refused} requests refused, {admitted} admitted", routes.len());
    assert!(refused > 500 && admitted > 500, "{refused} refused, {admitted} admitted");
    // The log knows who was refused, where that was known. Eight commits are written at once; the rest is counted and waits.
    let audit = world.site.client.get("/audit?limit=100").await;
    let known = audit["entries"].as_array().unwrap().iter().filter(|e| e["success"] == false && e["actor"] != "anonymous");
    assert!(known.count() > 3);
    assert_eq!(audit["chain"]["ok"], true);
}

/// The scope lets in; what is asked for is not there or is none: with bodies that would be accepted.
#[tokio::test]
async fn what_is_not_there_is_not_found_by_those_who_may() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let routes = Route::all(&world.site).await;
    let root = world.callers.iter().find(|who| matches!(who.kind, Kind::Person(Role::SuperAdmin))).unwrap();
    let before = state(&world.site.client).await;
    let mut asked = 0;
    for (method, path, _, body) in super::roles::routes() {
        let route =
            routes.iter().find(|route| route.method == method && route.short() == path).unwrap_or_else(|| panic!("{method} {path}"));
        // Only where the path ends in what is looked for: a step has names, not ids.
        if route.parameters.is_empty() || path.contains("{step}") {
            continue;
        }
        for id in [Id::Malformed, Id::Missing] {
            let place = world.place(route, root, id);
            let (status, answer) = world.ask(route, &place, root.token.as_deref(), &[], body.as_ref()).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {place}: {answer}");
            assert!(error_name(&answer).ends_with("NotFound") || error_name(&answer) == "TokenUnknown", "{method} {place}: {answer}");
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    assert_eq!(state(&world.site.client).await, before);
}
