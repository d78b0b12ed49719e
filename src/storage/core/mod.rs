//! `core.redb`: everything that is answered only after a commit. One file of verbs per noun.

pub mod alerts;
pub mod audit;
pub mod audit_search;
pub mod commands;
pub mod enrolment;
pub mod epochs;
pub mod idempotency;
pub mod ledger;
pub mod meta;
pub mod node_actions;
pub mod node_events;
pub mod nodes;
pub mod payouts;
pub mod people;
pub mod pools;
pub mod privacy;
pub mod second_factor;
pub mod setup_steps;
pub mod subject_keys;
pub mod tables;

#[cfg(test)]
pub(in crate::storage) mod golden;
#[cfg(test)]
pub mod testing;
