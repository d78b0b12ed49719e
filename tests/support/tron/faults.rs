//! What goes wrong with a request, by script: rules are matched by path and by how often, or by chance from a seed.

use super::address::Address;
use super::block::VmResult;
use super::random::Random;

/// One thing that goes wrong with one request. Of several that apply to a request, all do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is served, and the connection ends before the answer.
    LostResponse,
    /// The connection is refused or reset; the node never sees the request.
    NotReached,
    /// The request is served, and the connection ends after so many bytes of the body.
    CutBody(usize),
    /// The node is silent until the client gives up; it has served the request.
    TimeoutAfter,
    /// The node is silent until the client gives up; it has done nothing.
    TimeoutBefore,
    /// This HTTP status (401, 403, 413, 429, 500, 503, …) from what stands before the node, which does nothing.
    Status(u16),
    /// This HTTP status from what stands before the node, which has served the request all the same.
    StatusAfter(u16),
    /// The node's own limiter: status 200, `{"Error":"… lack of computing resources"}`. It has done nothing.
    Limiter,
    /// A lite node's text, which is not JSON.
    LiteText,
    /// The answer of a node that keeps no history: `{}` for every transaction.
    HistoryOff,
    /// The transaction is pooled and goes on to others, though the answer says `NOT_ENOUGH_EFFECTIVE_CONNECTION`.
    P2pFailed,
    /// A broadcast refused with this code (`SERVER_BUSY`, `NO_CONNECTION`, `BLOCK_UNSOLIDIFIED`, …) before the pool.
    Refused(&'static str),
    /// Accepted, and no producer ever hears of it.
    NeverIncluded,
    /// Accepted, and held by a producer until so many milliseconds are over.
    IncludedAfter(i64),
    /// `{"Error": …}` with this text.
    ErrorBody(&'static str),
    /// The first half of the JSON, as a whole body.
    Truncated,
    /// So many bytes more than there should be.
    Huge(usize),
    /// A page in HTML, with status 200.
    NotJson,
    /// JSON of another shape: a list.
    WrongShape,
    /// No bytes, with status 200.
    EmptyBody,
    /// This request is answered as the node would have so many blocks ago: the next one behind a load balancer is late.
    Stale(u64),
    /// The answer is changed.
    Lie(Lie),
}

/// What a node says that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lie {
    /// Micro-USDT in the logs of a receipt.
    Amount(u128),
    /// The contract that logged.
    LogContract(Address),
    /// The recipient in the logs.
    Recipient(Address),
    /// The sender in the logs.
    Sender(Address),
    /// The receipt without logs.
    NoLog,
    /// How the call ended; logs stay as they are.
    Result(VmResult),
    /// A receipt of another transaction.
    Id,
    /// A receipt in a block that does not hold the transaction.
    BlockNumber(u64),
    /// A receipt of a payment that never was, when there is none.
    Paid { from: Address, to: Address, amount: u128 },
    /// No receipt of a transaction that there is.
    NoReceipt,
    /// A broadcast is said to be accepted and thrown away.
    Accepted,
    /// The first value of a contract's answer: a balance.
    Value(u128),
    /// The head is so many blocks and slots farther than it is.
    Ahead(u64),
    /// Blocks that do not follow their parents.
    Unlinked,
    /// Blocks without their transactions.
    EmptyBlocks,
    /// A history of transfers without its newest.
    ShortHistory,
    /// A history with a transfer of another token, of the same symbol, that the address seems to have sent.
    JunkHistory { contract: Address, to: Address, amount: u128 },
}

/// Which of the requests that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    Always,
    /// The n-th one since the rule was made, from 1.
    Nth(u64),
    First(u64),
    After(u64),
    /// So many of a thousand.
    Chance(u16),
}

/// A path is matched as a whole, by its end (`getnowblock`, `wallet/getnowblock`) or by its beginning (`walletsolidity`, `v1`);
/// an empty one matches all.
#[derive(Debug, Clone)]
pub struct Rule {
    pub path: String,
    pub when: When,
    pub fault: Fault,
    seen: u64,
}

impl Rule {
    pub fn new(path: &str, when: When, fault: Fault) -> Rule {
        Rule { path: path.trim_matches('/').to_owned(), when, fault, seen: 0 }
    }

    fn matches(&self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        let boundary = |rest: &str, at_end: bool| rest.is_empty() || if at_end { rest.ends_with('/') } else { rest.starts_with('/') };
        self.path.is_empty()
            || path.strip_suffix(self.path.as_str()).is_some_and(|rest| boundary(rest, true))
            || path.strip_prefix(self.path.as_str()).is_some_and(|rest| boundary(rest, false))
    }
}

#[derive(Debug, Clone)]
pub struct Faults {
    rules: Vec<Rule>,
    random: Random,
}

impl Faults {
    pub fn new(seed: u64) -> Faults {
        Faults { rules: Vec::new(), random: Random::new(seed) }
    }

    pub fn add(&mut self, path: &str, when: When, fault: Fault) {
        self.rules.push(Rule::new(path, when, fault));
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// What goes wrong with the next request for this path.
    pub fn next(&mut self, path: &str) -> Vec<Fault> {
        let mut found = Vec::new();
        for rule in &mut self.rules {
            if !rule.matches(path) {
                continue;
            }
            rule.seen += 1;
            let applies = match rule.when {
                When::Always => true,
                When::Nth(n) => rule.seen == n,
                When::First(n) => rule.seen <= n,
                When::After(n) => rule.seen > n,
                When::Chance(per_mille) => self.random.chance(per_mille),
            };
            if applies {
                found.push(rule.fault.clone());
            }
        }
        found
    }
}
