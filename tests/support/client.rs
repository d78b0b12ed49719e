//! A person or program at the API: keeps a bearer token, speaks JSON.

use std::sync::{Arc, Mutex};

use reqwest::{Method, StatusCode};
use serde_json::Value;

#[derive(Clone)]
pub struct Client {
    pub base: String,
    http: reqwest::Client,
    token: Arc<Mutex<Option<String>>>,
    /// Signs in again with these when a session has ended: driven clocks outlive sessions.
    credentials: Option<(String, String)>,
}

pub const USERNAME: &str = "ada";
pub const PASSWORD: &str = "correct horse battery";

impl Client {
    pub fn new(base: impl Into<String>) -> Client {
        // The library picks no crypto provider by itself; a second installation is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client { base: base.into(), http: reqwest::Client::builder().no_proxy().build().unwrap(), token: Arc::default(), credentials: None }
    }

    /// Over a way of the caller's.
    pub fn over(base: impl Into<String>, http: reqwest::Client) -> Client {
        Client { base: base.into(), http, token: Arc::default(), credentials: None }
    }

    /// The same person at another address.
    pub fn at(&self, base: impl Into<String>) -> Client {
        Client { base: base.into(), ..self.clone() }
    }

    /// Answers with status and JSON (null when there is none).
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let (status, text) = self.text(method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn text(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, String) {
        let (status, text) = self.send(method.clone(), path, body.clone()).await;
        match &self.credentials {
            Some((username, password)) if status == StatusCode::UNAUTHORIZED && text.contains("SessionUnknown") => {
                let login = serde_json::json!({ "username": username, "password": password });
                let (_, answer) = self.send(Method::POST, "/auth/login", Some(login)).await;
                self.keep_token(&serde_json::from_str(&answer).unwrap());
                self.send(method, path, body).await
            }
            _ => (status, text),
        }
    }

    /// None when nobody answers, as while a manager is being killed.
    pub async fn attempt(&self, method: Method, path: &str, body: Option<Value>) -> Option<(StatusCode, Value)> {
        let (status, text) = self.try_send(method, path, body).await.ok()?;
        Some((status, serde_json::from_str(&text).ok()?))
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, String) {
        self.try_send(method, path, body).await.expect("the manager answers")
    }

    async fn try_send(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Result<(StatusCode, String)> {
        let url = if path.starts_with("/health") || path.starts_with("/metrics") { path.to_owned() } else { format!("/api/v1{path}") };
        let mut request = self.http.request(method, format!("{}{url}", self.base));
        if let Some(token) = &*self.token.lock().unwrap() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        Ok((status, answer.text().await?))
    }

    fn keep_token(&self, answer: &Value) {
        *self.token.lock().unwrap() = Some(answer["access_token"].as_str().expect("signed in").to_owned());
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert!(status.is_success(), "GET {path}: {status} {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.change(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Value {
        self.change(Method::PUT, path, body).await
    }

    async fn change(&self, method: Method, path: &str, body: Value) -> Value {
        let (mut status, mut answer) = self.call(method.clone(), path, Some(body.clone())).await;
        // Where money moves, the person has to be there: driven clocks outlive that, too.
        if let (Some((_, password)), "FreshFactorNeeded") = (&self.credentials, error_name(&answer)) {
            let confirm = Some(serde_json::json!({ "password": password }));
            let (confirmed, answered) = self.call(Method::POST, "/auth/confirm", confirm).await;
            assert!(confirmed.is_success(), "POST /auth/confirm: {confirmed} {answered}");
            (status, answer) = self.call(method.clone(), path, Some(body)).await;
        }
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    /// Makes the first super_admin and signs in as it.
    pub async fn set_up(&mut self, code: &str, client_time: Option<String>) {
        let mut body = serde_json::json!({ "code": code, "username": USERNAME, "password": PASSWORD });
        if let Some(time) = client_time {
            body["client_time"] = time.into();
        }
        self.post("/setup", body).await;
        self.sign_in(USERNAME, PASSWORD).await;
    }

    pub async fn sign_in(&mut self, username: &str, password: &str) {
        let answer = self.post("/auth/login", serde_json::json!({ "username": username, "password": password })).await;
        self.keep_token(&answer);
        self.credentials = Some((username.to_owned(), password.to_owned()));
    }

    pub fn with_token(&self, token: impl Into<String>) -> Client {
        Client { token: Arc::new(Mutex::new(Some(token.into()))), credentials: None, ..self.clone() }
    }

    /// The token it signed in with.
    pub fn token(&self) -> String {
        self.token.lock().unwrap().clone().expect("signed in")
    }

    pub fn anonymous(&self) -> Client {
        Client { token: Arc::default(), credentials: None, ..self.clone() }
    }
}

/// The code that clients tell refusals apart by.
pub fn error_name(body: &Value) -> &str {
    body["error"]["details"]["name"].as_str().unwrap_or_default()
}
