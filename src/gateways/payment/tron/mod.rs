//! TRON. What needs no network: transfers, their bytes, keys and signatures (`transaction`, `key`). What asks nodes: `TronGateway`, which makes, sends and
//! resolves transfers. Source: java-tron and the official documentation; the vectors in `tests/fixtures/tron_vectors.json` are what independent clients
//! agree on.
//!
//! Signs nothing but transfers that are built here, and takes no node's word for what a second look can show.

mod answers;
mod gateway;
pub mod hex_text;
mod key;
mod link;
mod look;
mod network;
mod node;
mod prepare;
mod protobuf;
mod read;
mod scan;
mod send;
mod transaction;
mod transport;

pub use gateway::{Setup, Signs, TronGateway};
pub use key::{Signature, WalletKey};
pub use link::Clock;
pub use network::Network;
pub use transaction::{NotOurs, ReferenceBlock, SignedTransfer, TransferTransaction, Txid};
pub use transport::{Answered, Http, NoAnswer, Transport};
