//! One chain and the nodes that answer for it. Everything happens in this process, when it is called.

use super::chain::{Chain, Config};
use super::node::Node;

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The connection ends before the answer.
    Lost,
    /// Nothing comes until the client gives up.
    Silence,
    /// There was no connection.
    Unreachable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub delivery: Delivery,
}

impl Answer {
    pub fn json(status: u16, value: &serde_json::Value) -> Answer {
        Answer { status, content_type: "application/json;charset=utf-8", body: value.to_string().into_bytes(), delivery: Delivery::Whole }
    }

    pub fn text(status: u16, content_type: &'static str, body: &str) -> Answer {
        Answer { status, content_type, body: body.as_bytes().to_vec(), delivery: Delivery::Whole }
    }

    /// Of an answer that arrived as JSON; null when it did not.
    pub fn value(&self) -> serde_json::Value {
        match self.delivery {
            Delivery::Whole => std::str::from_utf8(&self.body).ok().and_then(|text| text.parse().ok()).unwrap_or_default(),
            _ => serde_json::Value::Null,
        }
    }
}

pub struct Network {
    pub chain: Chain,
    pub nodes: Vec<Node>,
}

impl Network {
    /// With `nodes` honest nodes. What is random follows from the seed.
    pub fn new(config: Config, nodes: usize, seed: u64) -> Network {
        let seeds = (seed..).take(nodes);
        Network { chain: Chain::new(config), nodes: seeds.map(Node::new).collect() }
    }

    /// A POST of JSON, as most callers make it.
    pub fn post(&mut self, node: usize, path: &str, body: &serde_json::Value) -> Answer {
        self.answer(node, "POST", path, &[], body.to_string().as_bytes())
    }
}
