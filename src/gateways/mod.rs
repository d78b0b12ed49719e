//! What is foreign, a port each. Nothing here decides; it carries out, and says truthfully what it knows and what not.

pub mod chain;
pub mod notify;
pub mod payment;
pub mod replica;
