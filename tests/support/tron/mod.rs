//! A TRON network that only a test moves: a chain on a virtual clock, nodes that answer for it (in this process or over HTTP), faults by
//! script, and an auditor that reads what the chain did. It shares no code with the product, so that what the product misunderstands is
//! not misunderstood here in the same way. Times are milliseconds since 1970, TRX amounts are sun (10^-6), USDT amounts micro-USDT.
//!
//! A test makes a [`Network`], gives accounts money (`chain.give_usdt`), lets the product ask its nodes (`Network::answer` in this process,
//! or `server::Server` over HTTP), moves the time (`chain.advance`), breaks things (`nodes[n].faults.add`, `chain.reorg`, `nodes[n].lag`),
//! and at the end reads what was really paid (`chain.audit`). The same calls and the same seed give the same network, to the last byte.
//!
//! What it leaves out: a virtual machine (the token's rules are written down), kinds of transactions besides TRX transfers and contract
//! calls, energy penalties, signatures of block producers. A node's own branch holds empty blocks; of a view that is late, balances and
//! blocks are late, resources used are not. A transaction is judged against the head, not against what waits before it in the pool.

#![allow(dead_code, unused_imports, reason = "each user of the fake needs a part of it")]

pub mod account;
pub mod address;
pub mod api;
pub mod auditor;
pub mod block;
pub mod broadcast;
pub mod chain;
pub mod execution;
pub mod faults;
pub mod forks;
pub mod history;
pub mod json;
pub mod lies;
pub mod network;
pub mod node;
pub mod protobuf;
pub mod queries;
pub mod random;
pub mod server;
pub mod token;
pub mod transaction;
pub mod wallet;

pub use address::{Address, Hash};
pub use chain::{Chain, Config};
pub use faults::{Fault, Lie, Rule, When};
pub use forks::Replay;
pub use network::{Answer, Delivery, Network};
pub use wallet::Wallet;
