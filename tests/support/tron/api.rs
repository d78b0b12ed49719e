//! A request and its answer: which call it is, and what its faults make of it.

use serde_json::{Value, json};

use super::address::{hex, unhex};
use super::broadcast::Verdict;
use super::chain::Inclusion;
use super::faults::{Fault, Lie};
use super::json::{self, Object};
use super::network::{Answer, Delivery, Network};
use super::node::View;
use super::transaction::Transaction;
use super::{history, lies, queries};

pub const LITE: &str = "this API is closed because this node is a lite fullnode";
pub const API_KEY: &str = "tron-pro-api-key";

/// Calls that a lite node does not answer.
const CLOSED_ON_LITE: &[&str] = &[
    "getblockbyid",
    "getblockbylatestnum",
    "getblockbylimitnext",
    "getblockbynum",
    "gettransactionbyid",
    "gettransactioninfobyid",
    "gettransactioninfobyblocknum",
];

impl Network {
    /// Answers as node number `node`. `path` may have a query; names of headers are compared without case.
    pub fn answer(&mut self, node: usize, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let known = &mut self.nodes[node];
        match known.requests.get_mut(path) {
            Some(count) => *count += 1,
            None => drop(known.requests.insert(path.to_owned(), 1)),
        }
        let faults = known.faults.next(path);
        let refused = faults.iter().find_map(before).or_else(|| self.gate(node, headers, body));
        let mut answer = match refused {
            Some(answer) => answer,
            None => self.serve(node, method, path, query, body, &faults),
        };
        for fault in &faults {
            after(fault, &mut answer);
        }
        answer
    }

    /// What stands before the node: keys, rates, sizes.
    fn gate(&mut self, node: usize, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let second = self.chain.now_ms.div_euclid(1_000);
        let node = &mut self.nodes[node];
        if let Some(key) = &node.api_key {
            let given = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(API_KEY));
            if given.is_none_or(|(_, value)| value != key) {
                return Some(status(401));
            }
        }
        if let Some(limit) = node.requests_per_second {
            if node.second.0 != second {
                node.second = (second, 0);
            }
            node.second.1 += 1;
            if node.second.1 > limit {
                return Some(status(429));
            }
        }
        (body.len() > node.max_body).then(|| status(413))
    }

    fn serve(&mut self, node: usize, method: &str, path: &str, query: &str, body: &[u8], faults: &[Fault]) -> Answer {
        if !matches!(method, "GET" | "POST") {
            return Answer::text(405, "text/html", "<html><body><h2>HTTP ERROR 405 Method Not Allowed</h2></body></html>");
        }
        if path.starts_with("/v1/") {
            return self.serve_grid(node, path, query, faults);
        }
        let (solidity, call) = match path.split_once("/walletsolidity/") {
            Some(("", call)) => (true, call),
            _ => match path.split_once("/wallet/") {
                Some(("", call)) => (false, call),
                _ => return not_found(),
            },
        };
        if self.nodes[node].lite && CLOSED_ON_LITE.contains(&call) {
            return Answer::text(200, "text/plain", LITE);
        }
        let request = match read(method, query, body) {
            Ok(request) => request,
            Err(answer) => return answer,
        };
        if !solidity && matches!(call, "broadcasttransaction" | "broadcasthex") {
            return self.serve_broadcast(node, call, &request, faults);
        }
        let stale = faults.iter().map(|fault| if let Fault::Stale(blocks) = fault { *blocks } else { 0 }).sum();
        let settings = queries::Settings {
            history: self.nodes[node].history && !faults.contains(&Fault::HistoryOff),
            estimates_energy: self.nodes[node].estimates_energy,
            index: node,
        };
        let now_ms = self.chain.now_ms;
        let mut view = self.nodes[node].view(&self.chain, stale);
        if solidity {
            view = view.solidity();
        }
        let Some(mut value) = queries::answer(&view, solidity, call, &request, &settings, now_ms) else {
            return not_found();
        };
        tell(faults, &view, call, &request, &mut value);
        Answer::json(200, &value)
    }

    fn serve_grid(&mut self, node: usize, path: &str, query: &str, faults: &[Fault]) -> Answer {
        if !self.nodes[node].grid {
            return not_found();
        }
        let stale = faults.iter().map(|fault| if let Fault::Stale(blocks) = fault { *blocks } else { 0 }).sum();
        let now_ms = self.chain.now_ms;
        let view = self.nodes[node].view(&self.chain, stale);
        let Some((status, mut value)) = history::answer(&view, path, query, now_ms) else {
            return not_found();
        };
        tell(faults, &view, "trc20", &Value::Null, &mut value);
        Answer::json(status, &value)
    }

    fn serve_broadcast(&mut self, node: usize, call: &str, request: &Value, faults: &[Fault]) -> Answer {
        let visible = json::boolean(request, "visible");
        let transaction = if call == "broadcasthex" {
            let Some(bytes) = unhex(json::text(request, "transaction").unwrap_or("")) else {
                return error("class org.bouncycastle.util.encoders.DecoderException : exception decoding Hex string");
            };
            match Transaction::decode(&bytes) {
                Ok(transaction) => transaction,
                Err(_) => {
                    return error(
                        "class com.google.protobuf.InvalidProtocolBufferException : Protocol message contained an invalid tag (zero).",
                    );
                }
            }
        } else {
            match json::read_transaction(request) {
                Some(transaction) => transaction,
                None => return error("class java.lang.NullPointerException : null"),
            }
        };
        let mut inclusion = Inclusion::Next;
        let (mut refused, mut p2p_failed) = (None, false);
        for fault in faults {
            match fault {
                Fault::NeverIncluded => inclusion = Inclusion::Never,
                Fault::IncludedAfter(ms) => inclusion = Inclusion::NotBefore(self.chain.now_ms + ms),
                Fault::Refused(code) => refused = Some(Verdict::refused(code)),
                Fault::P2pFailed => p2p_failed = true,
                Fault::Lie(Lie::Accepted) => refused = Some(Verdict::success()),
                _ => {}
            }
        }
        let shown = transaction.clone();
        let mut verdict = match refused {
            Some(verdict) => verdict,
            None => self.broadcast(node, transaction, inclusion),
        };
        if p2p_failed && verdict.accepted() {
            verdict = Verdict::refused("NOT_ENOUGH_EFFECTIVE_CONNECTION");
        }
        let txid = hex(&shown.txid);
        if call == "broadcasthex" {
            let parsed = Value::Object(json::transaction(&shown, None, true)).to_string();
            return Answer::json(
                200,
                &json!({ "result": verdict.accepted(), "code": verdict.code, "message": verdict.message, "transaction": parsed, "txid": txid }),
            );
        }
        let mut object = Object::new();
        if verdict.accepted() {
            object.insert("result".to_owned(), true.into());
        } else {
            object.insert("code".to_owned(), verdict.code.into());
            object.insert("message".to_owned(), json::words(&verdict.message, visible).into());
        }
        object.insert("txid".to_owned(), txid.into());
        Answer::json(200, &Value::Object(object))
    }
}

fn tell(faults: &[Fault], view: &View<'_>, call: &str, request: &Value, value: &mut Value) {
    for fault in faults {
        if let Fault::Lie(lie) = fault {
            lies::tell(lie, view, call, request, value);
        }
    }
}

/// The body, or what a GET says in its query.
fn read(method: &str, query: &str, body: &[u8]) -> Result<Value, Answer> {
    if method == "GET" || body.is_empty() {
        let fields = query_fields(query).map(|(key, value)| (key.to_owned(), Value::from(value)));
        return Ok(Value::Object(fields.collect()));
    }
    let text = std::str::from_utf8(body).unwrap_or("");
    match text.parse::<Value>() {
        Ok(value) if value.is_object() => Ok(value),
        _ => Err(error("class com.alibaba.fastjson.JSONException : syntax error, pos 1")),
    }
}

pub fn query_fields(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|field| field.split_once('='))
}

pub fn error(text: &str) -> Answer {
    Answer::json(200, &json!({ "Error": text }))
}

fn not_found() -> Answer {
    Answer::text(404, "text/html", "<html><body><h2>HTTP ERROR 404 Not Found</h2></body></html>")
}

/// What gateways say with this status.
fn status(code: u16) -> Answer {
    let text = match code {
        401 => "ApiKey not exists",
        403 => "request rate exceeded the allowed_rps(10), and the query server is suspended for 5 s",
        413 => return Answer::text(413, "text/html", "<h1>Bad Message 413</h1><pre>reason: Payload Too Large</pre>"),
        429 => "request rate exceeded the allowed_rps(10), and the query server is suspended for 5 s",
        503 => return Answer::text(503, "text/html", "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"),
        _ => return Answer::text(code, "text/html", &format!("<html><body><h1>{code}</h1></body></html>")),
    };
    Answer::json(code, &json!({ "Error": text }))
}

/// What is answered without asking the node.
fn before(fault: &Fault) -> Option<Answer> {
    let nothing = |delivery| Answer { delivery, ..Answer::text(200, "text/plain", "") };
    match fault {
        Fault::NotReached => Some(nothing(Delivery::Unreachable)),
        Fault::TimeoutBefore => Some(nothing(Delivery::Silence)),
        Fault::Status(code) => Some(status(*code)),
        Fault::Limiter => Some(error("class java.lang.IllegalAccessException : lack of computing resources")),
        Fault::LiteText => Some(Answer::text(200, "text/plain", LITE)),
        Fault::ErrorBody(text) => Some(error(text)),
        Fault::NotJson => {
            Some(Answer::text(200, "text/html", "<!DOCTYPE html><html><body>Checking your browser before accessing</body></html>"))
        }
        Fault::WrongShape => Some(Answer::text(200, "application/json", "[[], null, 7]")),
        Fault::EmptyBody => Some(Answer::text(200, "application/json", "")),
        _ => None,
    }
}

/// What happens to an answer on its way.
fn after(fault: &Fault, answer: &mut Answer) {
    match fault {
        Fault::StatusAfter(code) => *answer = Answer { delivery: answer.delivery, ..status(*code) },
        Fault::LostResponse => answer.delivery = Delivery::Lost,
        Fault::TimeoutAfter => answer.delivery = Delivery::Silence,
        Fault::CutBody(bytes) => answer.delivery = Delivery::Cut((*bytes).min(answer.body.len().saturating_sub(1))),
        Fault::Truncated => answer.body.truncate(answer.body.len() / 2),
        // Still JSON, so that nothing but its size is wrong with it.
        Fault::Huge(bytes) => answer.body.resize(answer.body.len() + bytes, b' '),
        _ => {}
    }
}
