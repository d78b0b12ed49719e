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
        rest.until_ms = now.saturating_add(rest_ms(url, rest.failures, now));
        rest.failures = rest.failures.saturating_add(1);
        rest.missing = missing;
        why.clone_into(&mut rest.why);
    }

    /// Whoever panicked left rests of which each is a valid one.
    fn rests(&self) -> MutexGuard<'_, HashMap<(String, String), Rest>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between three and five quarters of the doubled time, so that managers that failed together do not come back together.
fn rest_ms(url: &str, failures: u32, now_ms: i64) -> i64 {
    let whole = FIRST_REST_MS.saturating_mul(1i64.checked_shl(failures.min(16)).unwrap_or(1)).min(MAX_REST_MS);
    let [a, b, ..] = crypto::sha256_parts(&[url.as_bytes(), &failures.to_be_bytes(), &now_ms.to_be_bytes()]);
    let share = i64::from(u16::from_be_bytes([a, b]));
    whole * 3 / 4 + whole / 2 * share / i64::from(u16::MAX)
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
            let limited = ["lack of computing resources", "exceeded", "suspended", "limit"].iter().any(|word| text.contains(word));
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
