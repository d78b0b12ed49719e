//! What every node is asked through: the transport, and the rest that a node is given which refused, failed or spoke nonsense. Nothing here waits: what is
//! asked during a rest fails at once, and the next cycle comes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::transport::{Answered, MAX_ANSWER, NoAnswer, Transport};
use crate::crypto;
use crate::domain::time::Now;

/// The first rest, about as long as TronGrid suspends who asks too often; each further failure doubles it.
const FIRST_REST_MS: i64 = 5_000;
const MAX_REST_MS: i64 = 600_000;
/// Nodes, and calls of nodes, that rest at the same time.
const MAX_RESTS: usize = 256;
/// Characters of what a node said that are kept for people.
const MAX_SAID: usize = 200;

/// What reads the clock: a gateway is told the time by its callers only where that decides about money.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// Why a node gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeError {
    /// It was not asked: it rests after a failure.
    Resting(String),
    /// It does not have this call.
    Missing(String),
    /// It failed, refused, or said what makes no sense. What was sent may have arrived.
    Failed(String),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Resting(why) | NodeError::Missing(why) | NodeError::Failed(why) => f.write_str(why),
        }
    }
}

pub struct Link {
    transport: Arc<dyn Transport>,
    clock: Clock,
    rests: Mutex<HashMap<(String, String), Rest>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({:?})", self.transport)
    }
}

#[derive(Debug, Clone)]
struct Rest {
    failures: u32,
    until_ms: i64,
    why: String,
    /// The call was not there.
    missing: bool,
}

/// How far a failure reaches.
enum Scope {
    /// The node as a whole: it is away, or wants to be left alone.
    Node,
    /// This call: others are answered.
    Call,
}

impl Link {
    pub fn new(transport: Arc<dyn Transport>, clock: Clock) -> Link {
        Link { transport, clock, rests: Mutex::default() }
    }

    pub fn now(&self) -> Now {
        (self.clock)()
    }

    /// A POST of JSON, and the JSON of the answer, which is no error.
    pub async fn post(&self, url: &str, path: &str, body: &Value) -> Result<Value, NodeError> {
        self.ask(url, path, Some(body.to_string())).await
    }

    /// A GET; a query may follow the path.
    pub async fn get(&self, url: &str, path: &str) -> Result<Value, NodeError> {
        self.ask(url, path, None).await
    }

    async fn ask(&self, url: &str, path: &str, body: Option<String>) -> Result<Value, NodeError> {
        let call = path.split_once('?').map_or(path, |(call, _)| call);
        // Addresses in a path are not another call.
        let call = if call.starts_with("/v1/") { "/v1/" } else { call };
        if let Some(rest) = self.resting(url, call) {
            let text = format!("{url} rests after a failure: {}", rest.why);
            return Err(if rest.missing { NodeError::Missing(text) } else { NodeError::Resting(text) });
        }
        let answer = self.transport.call(url, path, body).await;
        match judge(answer) {
            Ok(value) => {
                self.answered(url, call);
                Ok(value)
            }
            Err((scope, why, status)) => {
                let missing = matches!(status, Some(404 | 405));
                self.failed(url, call, &scope, &why, missing);
                let text = format!("{url}{call}: {why}");
                Err(if missing { NodeError::Missing(text) } else { NodeError::Failed(text) })
            }
        }
    }

    fn resting(&self, url: &str, call: &str) -> Option<Rest> {
        let (now, rests) = (self.now().boot.0, self.rests());
        let of = |call: &str| rests.get(&(url.to_owned(), call.to_owned())).filter(|rest| rest.until_ms > now).cloned();
        of("").or_else(|| of(call))
    }

    fn answered(&self, url: &str, call: &str) {
        let mut rests = self.rests();
        if !rests.is_empty() {
            rests.remove(&(url.to_owned(), String::new()));
            rests.remove(&(url.to_owned(), call.to_owned()));
        }
    }

    fn failed(&self, url: &str, call: &str, scope: &Scope, why: &str, missing: bool) {
        let now = self.now().boot.0;
        let mut rests = self.rests();
        let key = (url.to_owned(), if matches!(scope, Scope::Node) { String::new() } else { call.to_owned() });
        if rests.len() >= MAX_RESTS && !rests.contains_key(&key) {
            rests.retain(|_, rest| rest.until_ms > now);
            if rests.len() >= MAX_RESTS {
                return;
            }
        }
        let rest = rests.entry(key).or_insert(Rest { failures: 0, until_ms: 0, why: String::new(), missing });
        rest.until_ms = now.saturating_add(rest_ms(url, rest.failures, suspended_ms(why), now));
        rest.failures = rest.failures.saturating_add(1);
        rest.missing = missing;
        why.clone_into(&mut rest.why);
    }

    /// Whoever panicked left rests of which each is a valid one.
    fn rests(&self) -> MutexGuard<'_, HashMap<(String, String), Rest>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between three and five quarters of the doubled time, so that managers that failed together do not come back together; not before a suspension is over.
fn rest_ms(url: &str, failures: u32, suspended_ms: i64, now_ms: i64) -> i64 {
    let doubled = FIRST_REST_MS.saturating_mul(1i64.checked_shl(failures.min(16)).unwrap_or(1)).min(MAX_REST_MS);
    let whole = doubled.max(suspended_ms.min(MAX_REST_MS) * 4 / 3 + 1);
    let [a, b, ..] = crypto::sha256_parts(&[url.as_bytes(), &failures.to_be_bytes(), &now_ms.to_be_bytes()]);
    let share = i64::from(u16::from_be_bytes([a, b]));
    whole * 3 / 4 + whole / 2 * share / i64::from(u16::MAX)
}

/// TronGrid says how long it does not answer who asked too often: `… is suspended for 5 s`. Zero where nothing is said.
fn suspended_ms(why: &str) -> i64 {
    let said = why.split_once("suspended for ").map_or("", |(_, said)| said);
    let (digits, unit) = said.split_at(said.find(|c: char| !c.is_ascii_digit()).unwrap_or(said.len()));
    let seconds = if unit.trim_start().starts_with('s') { digits.parse().unwrap_or(0) } else { 0 };
    i64::saturating_mul(seconds, 1_000)
}

/// The JSON of an answer that is none of the documented errors.
fn judge(answer: Result<Answered, NoAnswer>) -> Result<Value, (Scope, String, Option<u16>)> {
    let Answered { status, body } = answer.map_err(|NoAnswer(why)| (Scope::Node, why, None))?;
    if body.len() > MAX_ANSWER {
        return Err((Scope::Call, format!("the answer has more than {MAX_ANSWER} bytes"), None));
    }
    let said = || said(&body);
    match status {
        200 => {}
        // The call is not there, or takes no such body; others are fine.
        400 | 404 | 405 | 413 => return Err((Scope::Call, format!("{status} {}", said()), Some(status))),
        _ => return Err((Scope::Node, format!("{status} {}", said()), Some(status))),
    }
    let Ok(value) = serde_json::from_slice::<Value>(&body) else {
        // A lite node closes some of its calls and says so in plain text.
        let scope = if body.starts_with(b"this API is closed") { Scope::Call } else { Scope::Node };
        return Err((scope, format!("no JSON: {}", said()), None));
    };
    match value.get("Error") {
        Some(error) => {
            let text = error.as_str().unwrap_or("an error");
            let lower = text.to_lowercase();
            let limited = ["lack of computing resources", "exceed", "suspended", "limit"].iter().any(|word| lower.contains(word));
            Err((if limited { Scope::Node } else { Scope::Call }, readable(text), None))
        }
        None => Ok(value),
    }
}

fn said(body: &[u8]) -> String {
    readable(&String::from_utf8_lossy(body.get(..MAX_SAID * 4).unwrap_or(body)))
}

/// One short line without control characters.
pub fn readable(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use serde_json::json;

    use super::*;
    use crate::domain::time::{BootMs, Timestamp};
    use crate::gateways::payment::Boxed;

    const NODE: &str = "http://node.example";
    const OTHER: &str = "http://other.example";
    const CALL: &str = "/wallet/broadcasthex";
    const ANOTHER_CALL: &str = "/wallet/getnowblock";

    /// Answers everybody and everything the same, and counts.
    #[derive(Debug)]
    struct Says {
        answer: Mutex<Result<Answered, NoAnswer>>,
        asked: AtomicI64,
    }

    impl Transport for Says {
        fn call<'a>(&'a self, _: &'a str, _: &'a str, _: Option<String>) -> Boxed<'a, Result<Answered, NoAnswer>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = self.answer.lock().unwrap().clone();
            Box::pin(async { answer })
        }
    }

    struct Asking {
        says: Arc<Says>,
        now_ms: Arc<AtomicI64>,
        link: Link,
    }

    impl Asking {
        fn new(answer: Result<Answered, NoAnswer>) -> Asking {
            let (says, now_ms) = (Arc::new(Says { answer: Mutex::new(answer), asked: AtomicI64::new(0) }), Arc::new(AtomicI64::new(0)));
            let reads = Arc::clone(&now_ms);
            let clock: Clock = Arc::new(move || {
                let ms = reads.load(Ordering::Relaxed);
                Now { wall: Timestamp(ms), boot: BootMs(ms), trusted: true }
            });
            Asking { link: Link::new(Arc::clone(&says) as Arc<dyn Transport>, clock), says, now_ms }
        }

        fn now_says(&self, answer: &Result<Answered, NoAnswer>) {
            self.says.answer.lock().unwrap().clone_from(answer);
        }

        /// What it said, and whether the node was asked for it.
        async fn ask(&self, node: &str, call: &str) -> (Result<Value, NodeError>, bool) {
            let before = self.says.asked.load(Ordering::Relaxed);
            let said = self.link.post(node, call, &json!({})).await;
            (said, self.says.asked.load(Ordering::Relaxed) > before)
        }

        async fn is_asked(&self, node: &str, call: &str) -> bool {
            self.ask(node, call).await.1
        }

        /// How long after a failure the call is asked for again, to a quarter of a second; the clock goes on by that.
        async fn rests_for_ms(&self) -> i64 {
            let from = self.now_ms.load(Ordering::Relaxed);
            while !self.is_asked(NODE, CALL).await {
                self.now_ms.fetch_add(250, Ordering::Relaxed);
            }
            self.now_ms.load(Ordering::Relaxed) - from
        }
    }

    fn answered(status: u16, body: &str) -> Result<Answered, NoAnswer> {
        Ok(Answered { status, body: body.as_bytes().to_vec() })
    }

    /// Who rests, and what a failure is.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Rests {
        Node,
        Call,
        /// The call alone, and it is said not to be there.
        MissingCall,
    }

    const SUSPENDED: &str = r#"{"Error":"request rate exceeded the allowed_rps(10), and the query server is suspended for 5 s"}"#;

    /// Each documented way in which a node or what stands before it gives no answer: who rests, for how many seconds at least, and words that people are told.
    fn documented() -> Vec<(Result<Answered, NoAnswer>, Rests, i64, &'static str)> {
        use Rests::{Call, MissingCall, Node};
        let limiter = r#"{"Error":"class java.lang.IllegalAccessException : lack of computing resources"}"#;
        vec![
            (answered(401, r#"{"Error":"ApiKey not exists"}"#), Node, 0, "401 {\"Error\":\"ApiKey not exists"),
            (answered(403, SUSPENDED), Node, 5, "403"),
            (answered(429, SUSPENDED), Node, 5, "429"),
            (answered(429, "Too Many Requests"), Node, 0, "429 Too Many Requests"),
            (
                answered(429, r#"{"Error":"The key exceeds the frequency limit(15), and the query server is suspended for 60s"}"#),
                Node,
                60,
                "60s",
            ),
            (answered(503, "<html><h1>503 Service Temporarily Unavailable</h1></html>"), Node, 0, "503"),
            (answered(500, ""), Node, 0, "500"),
            (answered(302, ""), Node, 0, "302"),
            (answered(200, SUSPENDED), Node, 5, "suspended for 5 s"),
            (answered(200, r#"{"Error":"Exceed the user daily usage (100000)"}"#), Node, 0, "daily usage"),
            (answered(200, limiter), Node, 0, "lack of computing resources"),
            (answered(200, "<!DOCTYPE html><html>Checking your browser</html>"), Node, 0, "no JSON"),
            (answered(200, ""), Node, 0, "no JSON"),
            (answered(200, r#"{"result":tr"#), Node, 0, "no JSON"),
            (Err(NoAnswer("no answer in time".into())), Node, 0, "no answer in time"),
            (answered(404, "<h2>HTTP ERROR 404 Not Found</h2>"), MissingCall, 0, "404"),
            (answered(405, ""), MissingCall, 0, "405"),
            (answered(400, "bad request"), Call, 0, "400 bad request"),
            (answered(413, "<pre>reason: Payload Too Large</pre>"), Call, 0, "413"),
            (answered(200, "this API is closed because this node is a lite fullnode"), Call, 0, "lite fullnode"),
            (answered(200, r#"{"Error":"class java.lang.NullPointerException : null"}"#), Call, 0, "NullPointerException"),
            (answered(200, &" ".repeat(MAX_ANSWER + 1)), Call, 0, "more than"),
        ]
    }

    #[tokio::test]
    async fn every_documented_failure_makes_the_node_or_the_call_rest_and_tells_people_why() {
        for (answer, rests, least_seconds, words) in documented() {
            let (case, asking) = (format!("{rests:?}: {words}"), Asking::new(answer.clone()));
            let (said, was_asked) = asking.ask(NODE, CALL).await;
            let why = said.clone().unwrap_err().to_string();
            assert!(was_asked && why.contains(words) && why.contains(NODE) && why.contains(CALL), "{case}: {why}");
            let is_missing = rests == Rests::MissingCall;
            assert_eq!(matches!(said, Err(NodeError::Missing(_))), is_missing, "{case}");
            assert_eq!(matches!(said, Err(NodeError::Failed(_))), !is_missing, "{case}: it may have arrived");

            let (said, was_asked) = asking.ask(NODE, CALL).await;
            let why = said.clone().unwrap_err().to_string();
            assert!(!was_asked && why.contains("rests after a failure") && why.contains(words), "{case}: {why}");
            assert_eq!(matches!(said, Err(NodeError::Resting(_))), !is_missing, "{case}: it did not arrive");
            assert!(asking.is_asked(OTHER, ANOTHER_CALL).await, "{case}: another node has done nothing");

            asking.now_says(&answered(200, "{}"));
            assert_eq!(asking.is_asked(NODE, ANOTHER_CALL).await, rests != Rests::Node, "{case}");
            assert!(!asking.is_asked(NODE, CALL).await, "{case}: an answer to another call changes nothing about this one");
            asking.now_says(&answer);

            // Asked again at its end, which is a failure again: the next rest is longer.
            let (least, first) = (least_seconds * 1_000, asking.rests_for_ms().await);
            let most = 6_500.max(least * 5 / 3 + 250);
            assert!((least.max(3_750)..=most).contains(&first), "{case}: {first} ms");
            let second = asking.rests_for_ms().await;
            assert!((least.max(7_500)..=most.max(12_750)).contains(&second), "{case}: {second} ms");
            // An answer ends all of it.
            asking.now_says(&answered(200, "{}"));
            asking.rests_for_ms().await;
            assert!(asking.is_asked(NODE, CALL).await, "{case}");
            asking.now_says(&answer);
            asking.ask(NODE, CALL).await.0.unwrap_err();
            assert!(asking.rests_for_ms().await <= most, "{case}: it begins anew");
        }
    }

    #[tokio::test]
    async fn rests_grow_to_ten_minutes_and_no_further_whatever_a_node_says() {
        let asking = Asking::new(answered(429, r#"{"Error":"suspended for 99999999999 s"}"#));
        asking.ask(NODE, CALL).await.0.unwrap_err();
        let asked_for_a_year = asking.rests_for_ms().await;
        assert!((MAX_REST_MS..=MAX_REST_MS * 5 / 3 + 250).contains(&asked_for_a_year), "{asked_for_a_year}");
        let asking = Asking::new(answered(503, ""));
        asking.ask(NODE, CALL).await.0.unwrap_err();
        let mut last = 0;
        for _ in 0..12 {
            last = asking.rests_for_ms().await;
        }
        assert!((MAX_REST_MS * 3 / 4..=MAX_REST_MS * 5 / 4 + 250).contains(&last), "{last}");
    }

    /// What a node says of a transaction is an answer: `send` judges it, and nobody rests for it.
    #[tokio::test]
    async fn a_refused_broadcast_is_an_answer() {
        for code in ["SERVER_BUSY", "NO_CONNECTION", "NOT_ENOUGH_EFFECTIVE_CONNECTION", "BLOCK_UNSOLIDIFIED", "TAPOS_ERROR", "SIGERROR"] {
            let asking = Asking::new(answered(200, &json!({ "code": code, "message": "P2P broadcast failed." }).to_string()));
            assert_eq!(asking.ask(NODE, CALL).await.0.unwrap()["code"], code);
            assert!(asking.is_asked(NODE, CALL).await, "{code}");
        }
    }
}
