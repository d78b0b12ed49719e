//! The one integration binary: behaviour through the front door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

mod anomalies;
mod backup;
mod cheaters;
mod commands;
mod compaction;
mod crash;
mod days;
mod deliveries;
mod demo;
mod departure;
mod epochs_now;
mod fees;
mod guards;
mod history;
mod journey;
mod kills;
mod layering;
mod ledger;
mod licences;
mod limits;
mod maintenance;
mod metrics;
mod money;
mod openapi;
mod outputs;
mod payment_service;
mod payout_moments;
mod payout_runs;
mod power_cuts;
mod proof;
mod refusals;
mod replication;
mod rollups;
mod score_model;
mod security;
mod seed_schemas;
mod settings;
mod signer;
mod silence;
mod supervisor;
mod suspensions;
mod thresholds;
mod transport;
mod tron_gateway;
mod tron_node;
mod upgrade;
mod votes;
mod wear;
