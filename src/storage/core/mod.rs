//! `core.redb`: everything that is answered only after a commit. One file of verbs per noun.

pub mod alerts;
pub mod allocations;
pub mod audit;
pub mod enrolment;
pub mod epochs;
pub mod ledger;
pub mod meta;
pub mod node_actions;
pub mod node_events;
pub mod nodes;
pub mod payouts;
pub mod people;
pub mod pools;
pub mod setup_steps;
pub mod tables;
pub mod thresholds;

#[cfg(test)]
pub(in crate::storage) mod golden;
#[cfg(test)]
pub mod testing;
