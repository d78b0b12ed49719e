//! What is refused: each with its status, code and name, an audit entry where access was tried, and nothing changed.

mod config;
mod enrolment;
mod matrix;
mod nodes;
mod people;
mod roles;
mod sessions;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Client, error_name};
use crate::support::site::Site;

type Answer = (StatusCode, Value);

/// What a refusal is expected to say: status, number of the code, name.
type Expected = (u16, &'static str, &'static str);

/// Everything that a refusal must leave alone.
async fn state(client: &Client) -> Value {
    let (mut nodes, mut pools) = (client.get("/nodes?limit=100").await, client.get("/nodes/pools?limit=100").await);
    // A refusal may raise an alert, which these count.
    nodes["nodes"].as_array_mut().unwrap().iter_mut().for_each(|node| node["open_alerts"] = Value::Null);
    pools["pools"].as_array_mut().unwrap().iter_mut().for_each(|pool| pool["health"] = Value::Null);
    let (users, tokens) = (client.get("/users?limit=100").await, client.get("/enrolment-tokens?limit=100").await);
    json!([nodes, pools, users, tokens])
}

/// A site whose state is known: every refusal is compared with it.
struct Guarded<'a> {
    site: &'a Site,
    before: Value,
}

impl<'a> Guarded<'a> {
    async fn new(site: &'a Site) -> Guarded<'a> {
        Guarded { site, before: state(&site.client).await }
    }

    async fn refused(&self, what: &str, answer: Answer, (status, code, name): Expected) {
        let (found, body) = answer;
        let error = &body["error"];
        let found = (found.as_u16(), error["code"].as_str().unwrap_or_default(), error_name(&body));
        assert_eq!(found, (status, format!("LUCID_ERR_{code}").as_str(), name), "{what}: {body}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {body}");
        assert_eq!(state(&self.site.client).await, self.before, "{what}: something changed");
        if [401, 403, 429].contains(&status) && name != "NotSignedIn" {
            self.recorded(what, name).await;
        }
    }

    /// The audit log has it. Repetitions of one kind are counted, so it may be older than the newest entry.
    async fn recorded(&self, what: &str, name: &str) {
        let audit = self.site.client.get("/audit?limit=100").await;
        let entries = audit["entries"].as_array().unwrap();
        let found = entries.iter().any(|entry| entry["success"] == false && entry["reason"] == name);
        assert!(found, "{what}: no audit entry of {name}");
        assert_eq!(audit["chain"]["ok"], true);
    }

    async fn call(&self, what: &str, method: Method, path: &str, body: Option<Value>, expected: Expected) {
        self.refused(what, self.site.client.call(method, path, body).await, expected).await;
    }

    /// Refused for these fields, all in one answer.
    async fn invalid(&self, method: Method, path: &str, body: Value, fields: &[&str]) {
        let answer = self.site.client.call(method, path, Some(body.clone())).await;
        let mut named: Vec<&str> = fields_of(&answer.1);
        named.sort_unstable();
        named.dedup();
        assert_eq!(named, fields, "{path} {body}: {}", answer.1);
        self.refused(path, answer.clone(), (400, "1002", "Invalid")).await;
    }

    /// Not of the shape of the request; `field` is the place.
    async fn malformed(&self, method: Method, path: &str, body: Value, field: &str) {
        let answer = self.site.client.call(method, path, Some(body.clone())).await;
        assert_eq!(fields_of(&answer.1), [field], "{path} {body}: {}", answer.1);
        self.refused(path, answer.clone(), (400, "1001", "Malformed")).await;
    }
}

fn fields_of(body: &Value) -> Vec<&str> {
    let fields = body["error"]["details"]["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    fields.iter().map(|field| field["field"].as_str().unwrap()).collect()
}

/// A request with headers of its own; answers with the headers of the answer.
async fn request(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> (reqwest::header::HeaderMap, Answer) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.request(method, format!("{}{path}", client.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (headers, (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null)))
}
