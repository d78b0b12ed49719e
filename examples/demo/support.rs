//! The harness of the tests, which speaks to a manager as people and agents do.

#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../../tests/support/client.rs"]
pub mod client;
#[path = "../../tests/support/fleet.rs"]
pub mod fleet;
#[path = "../../tests/support/site.rs"]
pub mod site;
