//! The rules of the product: values in, values out. Nothing here awaits, reads a clock, draws randomness or knows
//! how anything is stored or sent.

pub mod address;
pub mod alert;
pub mod anchor;
pub mod audit;
pub mod bits;
pub mod challenge;
pub mod command;
pub mod credits;
pub mod enrolment;
pub mod epoch;
pub mod evidence;
pub mod explanation;
pub mod fleet_score;
pub mod idempotency;
pub mod ids;
pub mod ledger;
pub mod metrics;
pub mod money;
pub mod node;
pub mod node_event;
pub mod overlay;
pub mod payout;
pub mod pool;
pub mod poot;
pub mod privacy;
pub mod refusal;
pub mod registration;
pub mod scope;
pub mod series;
pub mod session;
pub mod setup;
pub mod silence;
pub mod time;
pub mod totp;
pub mod user;

#[cfg(test)]
mod rule_tests;
pub mod workload;
