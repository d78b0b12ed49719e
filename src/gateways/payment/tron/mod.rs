//! What is TRON's and needs no network: transfers, their bytes, keys and signatures. Source: java-tron and the official
//! documentation; the vectors in `tests/fixtures/tron_vectors.json` are what independent clients agree on.
//!
//! Must not know payouts, and signs nothing but transfers that it has built itself.

pub mod hex_text;
mod key;
mod protobuf;
mod transaction;

pub use key::{Signature, WalletKey};
pub use transaction::{NotOurs, ReferenceBlock, SignedTransfer, TransferTransaction, Txid};
