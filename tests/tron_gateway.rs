//! The TRON gateway against the fake network: what it makes, sends, believes and refuses to believe.

mod deaths;
mod http;
mod making;
mod permissions;
mod receipts;
mod sending;
mod wallet;
