//! `core.redb`: everything that is answered only after a commit. One file of verbs per noun.

pub mod audit;
pub mod epochs;
pub mod ledger;
pub mod meta;
pub mod payouts;
pub mod people;
pub mod tables;
