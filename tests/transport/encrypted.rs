//! TLS and plain HTTP on one port: what people, programs and agents get.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lucid::api::capacity::Limits;
use lucid::api::certificates;
use lucid::crypto::{SecretKey, SigningKey, sha256};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{SHORT, browser, certificate, exchange, serve, status};
use crate::support::binary::{self, BINARY, Process, eventually};
use crate::support::client::{Client, PASSWORD, USERNAME};

fn cookie(answer: &reqwest::Response) -> String {
    answer.headers()[header::SET_COOKIE].to_str().unwrap().to_owned()
}

async fn sign_in(http: &reqwest::Client, base: &str, proxied: bool) -> reqwest::Response {
    let request = http.post(format!("{base}/api/v1/auth/login")).header("content-type", "application/json");
    let request = if proxied { request.header("x-forwarded-proto", "https") } else { request };
    let answer = request.body(json!({ "username": USERNAME, "password": PASSWORD }).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer
}

#[tokio::test]
async fn one_port_on_loopback_speaks_both_and_cookies_fit_each() {
    let dir = tempfile::tempdir().unwrap();
    let manager = serve(dir.path(), &[], SHORT, Limits::default()).await;
    let (plain, encrypted) = (format!("http://{}", manager.main), format!("https://{}", manager.main));
    let mut person = Client::new(&plain);
    person.set_up(&manager.setup_code, None).await;
    let shown = certificate(dir.path());
    let http = browser(shown.clone());

    let answer = sign_in(&http, &plain, false).await;
    assert!(cookie(&answer).starts_with("lucid_session=") && !cookie(&answer).contains("Secure"), "{}", cookie(&answer));
    let answer = sign_in(&http, &plain, true).await;
    assert!(cookie(&answer).starts_with("__Host-lucid_session="), "a proxy on this machine ended TLS");
    let answer = sign_in(&http, &encrypted, false).await;
    assert!(cookie(&answer).starts_with("__Host-lucid_session=") && cookie(&answer).ends_with("; Secure"), "{}", cookie(&answer));
    let generated = answer.headers().get(header::STRICT_TRANSPORT_SECURITY);
    assert_eq!(generated, None, "a generated certificate may be made anew, and browsers would not let anybody past it");
    let session = cookie(&answer).split(';').next().unwrap().to_owned();
    let me = async |base: &str, cookie: &str| {
        http.get(format!("{base}/api/v1/auth/me")).header(header::COOKIE, cookie).send().await.unwrap().status()
    };
    assert_eq!(me(&encrypted, &session).await, StatusCode::OK);
    assert_eq!(me(&plain, &session).await, StatusCode::UNAUTHORIZED, "a cookie of TLS is none of plain HTTP");

    let told = person.get("/about").await["certificate"].clone();
    assert_eq!(told["generated"], Value::Bool(true));
    assert_eq!(told["sha256"].as_str().unwrap().replace(':', "").to_lowercase(), lucid::crypto::hex(&sha256(&shown)));
    let other = tempfile::tempdir().unwrap();
    certificates::generated(other.path(), &["127.0.0.1".into()], None).unwrap();
    assert!(browser(certificate(other.path())).get(&encrypted).send().await.is_err(), "who trusts another certificate is not content");
}

#[tokio::test]
async fn the_owners_certificate_is_shown_and_made_strict() {
    let (dir, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates::generated(own.path(), &["127.0.0.1".into()], None).unwrap();
    let file = |name: &str| own.path().join("tls").join(name).to_str().unwrap().to_owned();
    let (certificate_file, key_file) = (file("certificate.pem"), file("key.pem"));
    let settings = [("server.certificate_file", certificate_file.as_str()), ("server.key_file", key_file.as_str())];
    let manager = serve(dir.path(), &settings, SHORT, Limits::default()).await;
    let http = browser(certificate(own.path()));
    let strict = async |base: &str| {
        let answer = http.get(format!("{base}://{}/health/live", manager.main)).send().await.unwrap();
        answer.headers().get(header::STRICT_TRANSPORT_SECURITY).is_some()
    };
    assert!(strict("https").await);
    assert!(!strict("http").await, "plain HTTP must not say so: RFC 6797, section 7.2");
    assert!(!dir.path().join("tls").exists());
}

#[tokio::test]
async fn where_tls_is_required_reading_is_led_to_it_and_writing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let manager = serve(dir.path(), &[("server.tls", "required")], SHORT, Limits::default()).await;
    let http = browser(certificate(dir.path()));
    let plain = format!("http://{}", manager.main);
    let answer = http.get(format!("{plain}/nodes?page=2")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
    let location = answer.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(location, format!("https://{}/nodes?page=2", manager.main));
    assert_eq!(http.get(location).send().await.unwrap().status(), StatusCode::OK);
    for (method, path) in
        [(Method::POST, "/api/v1/auth/login"), (Method::POST, "/api/v1/agent/report"), (Method::DELETE, "/api/v1/nodes/x")]
    {
        let answer = http.request(method, format!("{plain}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["details"]["name"], "PlainHttpRefused", "{path}");
        assert!(body["error"]["message"].as_str().unwrap().ends_with(&format!("https://{}", manager.main)), "{body}");
    }
    // Nobody is led to where a name of somebody else points.
    let led = exchange(manager.main, "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&led), 421);
}

/// The real binary that takes TLS alone, and what it printed.
fn strict_manager(data_dir: &Path) -> binary::Manager {
    let mut command = binary::serve(data_dir);
    command.env("LUCID__SERVER__TLS", "required").env("LUCID__CLOCK__TRUST", "always");
    binary::start_manager(command)
}

#[tokio::test]
async fn agents_know_their_manager_by_its_key_even_when_they_are_sent_by_plain_http() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("manager");
    let mut manager = strict_manager(&data_dir);
    assert!(manager.base.starts_with("https://"), "{}", manager.base);
    let shown = certificate(&data_dir);
    let mut person = Client::over(&manager.base, browser(shown.clone()));
    let code = fs::read_to_string(data_dir.join("setup-code")).unwrap();
    person.set_up(code.trim(), None).await;
    let token = person.post("/enrolment-tokens", json!({ "uses": 1 })).await;
    assert!(token["command"].as_str().unwrap().contains(&manager.base), "{token}");
    let second = person.post("/enrolment-tokens", json!({ "uses": 1 })).await;
    let plain = manager.base.replace("https://", "http://");
    let text = |token: &Value| token["token"].as_str().unwrap().to_owned();
    let _by_key = binary::start_agent(&manager.base, &dir.path().join("one"), "one-by-key", &text(&token));
    let _led = binary::start_agent(&plain, &dir.path().join("two"), "two-was-led", &text(&second));
    let both = async || (person.get("/nodes").await["pagination"]["total"] == 2).then_some(());
    eventually("both agents", both).await;
    drop((_by_key, _led));

    assert!(manager.process.terminate().success());
    let again = strict_manager(&data_dir);
    assert_eq!(certificate(&data_dir), shown, "the certificate is made once");
    let answer = browser(shown).get(format!("{}/health/live", again.base)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Somebody between an agent and its manager: has a manager's certificate, of another key.
#[tokio::test]
async fn an_agent_tells_nothing_to_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let ours = SigningKey::from_seed(SecretKey([1; 32]));
    let shown = certificates::of_manager("manager", &SigningKey::from_seed(SecretKey([2; 32])), &[]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let (tried, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (tries, hears) = (Arc::clone(&tried), Arc::clone(&heard));
    tokio::spawn(async move {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(shown.key.as_ref().clone()));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_cert_resolver(resolver)));
        while let Ok((stream, _)) = listener.accept().await {
            tries.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut stream) = acceptor.accept(stream).await
                && stream.read_u8().await.is_ok()
            {
                hears.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let token = format!("enrol_abcdefgh.{}.{}", "s".repeat(32), lucid::domain::enrolment::manager_key_hash(&ours.public()));
    let log = dir.path().join("agent.log");
    fs::write(dir.path().join("token"), token).unwrap();
    let mut agent = Command::new(BINARY);
    agent.args(["agent", "--manager", &base, "--token-file"]).arg(dir.path().join("token"));
    agent.arg("--state-dir").arg(dir.path().join("agent")).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let mut agent = Process(agent.spawn().unwrap());
    let complaint = eventually("the agent's complaint", async || {
        let mut text = String::new();
        fs::File::open(&log).unwrap().read_to_string(&mut text).unwrap();
        text.contains("does not show the key of this agent's manager").then_some(text)
    })
    .await;
    assert!(complaint.contains("no authority vouches for it"), "{complaint}");
    agent.kill();
    assert!(tried.load(Ordering::Relaxed) >= 2, "with the pinned key, then with authorities");
    assert_eq!(heard.load(Ordering::Relaxed), 0, "no byte of a request was sent");
}
