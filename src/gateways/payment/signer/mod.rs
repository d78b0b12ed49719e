//! The signer: a process of its own that holds the wallet's key and signs one transfer per payout, within its own caps and by
//! its own log. The manager talks to it over a Unix socket, through `SignerClient`.
//!
//! Must not know the manager's store, and never touches the network.

mod client;
mod core;
mod keystore;
mod log;
mod process;
mod protocol;
mod server;
mod service;
mod spawn;

#[cfg(test)]
mod core_tests;
#[cfg(test)]
pub(crate) mod testing;

pub use client::{ClientError, SignerClient, judge};
pub use core::{DEATH_WAIT_MS, MAX_PAYOUTS, MIN_WITNESSES};
pub use keystore::{COST, Fresh, Keystore, KeystoreError, MIN_PASSPHRASE_CHARS, Passphrase};
pub use log::{LOG_FILE, LogError};
pub use process::{end_with_parent, harden};
pub use protocol::{Answer, Caps, Refusal, Refused, Request, Resolution, SignRequest, Signed, Status, Wallet};
pub use server::Socket;
pub use service::{Signer, SignerError};
pub use spawn::{Launch, SignerChild};
