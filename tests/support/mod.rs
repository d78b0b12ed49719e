//! The harness: a manager in this process on a driven clock, the real binary in processes of its own, and agents that speak
//! the wire protocol.

pub mod bank;
pub mod binary;
pub mod client;
pub mod death;
pub mod fleet;
pub mod payment_service;
pub mod random;
pub mod rig;
pub mod site;
pub mod tron;
