//! `core.redb`: everything that is answered only after a commit. One file of verbs per noun.

pub mod alerts;
pub mod allocations;
pub mod api_tokens;
pub mod archives;
pub mod audit;
pub mod audit_search;
pub mod backups;
pub mod batches;
pub mod chain;
pub mod checkpoints;
pub mod cold_files;
pub mod commands;
pub mod enrolment;
pub mod enrolment_requests;
pub mod epochs;
pub mod final_payouts;
pub mod idempotency;
pub mod ledger;
pub mod ledger_check;
pub mod ledger_entries;
#[cfg(test)]
mod ledger_model;
pub mod maintenance;
pub mod memberships;
pub mod meta;
pub mod money;
pub mod money_actions;
pub mod node_actions;
pub mod node_events;
pub mod nodes;
pub mod outbox;
pub mod payouts;
pub mod people;
pub mod pools;
pub mod privacy;
pub mod references;
pub mod schedules;
pub mod second_factor;
pub mod settings;
pub mod setup_steps;
pub mod statements;
pub mod subject_keys;
pub mod suspensions;
pub mod tables;
pub mod thresholds;
pub mod votes;

#[cfg(test)]
pub(in crate::storage) mod golden;
#[cfg(test)]
pub mod testing;
