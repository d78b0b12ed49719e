//! Indexes of the collections: those of seed 004, what its times of retention ask for, and what the fleet is filtered by.

use crate::gateways::replica::Index;

const fn on(collection: &'static str, fields: &'static [(&'static str, bool)]) -> Index {
    Index { collection, fields, expire_seconds: None }
}

/// How long the data model keeps single validations.
const YEAR_SECONDS: u32 = 366 * 86_400;
const UP: bool = false;
const DOWN: bool = true;

/// Those of one collection follow each other. None is unique: many managers write into one collection.
pub const INDEXES: &[Index] = &[
    on("nodes", &[("node_id", UP)]),
    on("nodes", &[("manager_id", UP)]),
    on("nodes", &[("region", UP)]),
    on("nodes", &[("status", UP)]),
    on("nodes", &[("pool_id", UP)]),
    on("nodes", &[("node_type", UP)]),
    on("nodes", &[("last_heartbeat", UP)]),
    on("nodes", &[("poot_score", DOWN)]),
    on("nodes", &[("location.country", UP), ("location.region", UP)]),
    on("node_pools", &[("pool_id", UP)]),
    on("node_pools", &[("name", UP)]),
    on("node_pools", &[("auto_scaling", UP)]),
    on("payouts", &[("payout_id", UP)]),
    on("payouts", &[("node_id", UP), ("created_at", DOWN)]),
    on("payouts", &[("status", UP)]),
    on("payouts", &[("batch_id", UP)]),
    on("payouts", &[("wallet_address", UP)]),
    on("payouts", &[("transaction_hash", UP)]),
    on("payouts", &[("scheduled_at", UP)]),
    on("poot_scores", &[("scores.node_id", UP), ("timestamp", DOWN)]),
    Index { collection: "poot_evidence", fields: &[("timestamp", UP)], expire_seconds: Some(YEAR_SECONDS) },
];
