//! The rules of the product: values in, values out. Nothing here awaits, reads a clock, draws randomness or knows
//! how anything is stored or sent.

pub mod address;
pub mod alert;
pub mod allocation;
pub mod anchor;
pub mod api_token;
pub mod audit;
pub mod bits;
pub mod capability;
pub mod challenge;
pub mod command;
pub mod compliance;
pub mod credits;
pub mod device;
pub mod enrolment;
pub mod enrolment_request;
pub mod epoch;
pub mod evidence;
pub mod explanation;
pub mod final_payout;
pub mod fleet_score;
pub mod gateway;
pub mod idempotency;
pub mod ids;
pub mod ledger;
pub mod line;
pub mod maintenance;
pub mod maintenance_window;
pub mod metrics;
pub mod money;
pub mod node;
pub mod node_event;
pub mod overlay;
pub mod password;
pub mod payout;
pub mod pool;
pub mod pool_health;
pub mod poot;
pub mod privacy;
pub mod refusal;
pub mod registration;
pub mod scope;
pub mod security;
pub mod series;
pub mod session;
pub mod setup;
pub mod silence;
pub mod threshold;
pub mod time;
pub mod time_zone;
pub mod totp;
pub mod user;
pub mod workload;

#[cfg(test)]
mod rule_tests;
