//! Indexes of the collections: those of seed 004, what its times of retention ask for, and what the fleet is filtered by.

use crate::gateways::replica::{GONE_AT, Index};

const fn on(collection: &'static str, fields: &'static [(&'static str, bool)]) -> Index {
    Index { collection, fields, expire_seconds: None }
}

/// That a row is gone is told for so long: no request that still has it is under way by then.
const GONE_SECONDS: u32 = 90 * 86_400;
/// How long evidence and hours stay: longer than in any store.
const YEAR_SECONDS: u32 = 366 * 86_400;
const UP: bool = false;
const DOWN: bool = true;

const fn gone(collection: &'static str) -> Index {
    Index { collection, fields: &[(GONE_AT, UP)], expire_seconds: Some(GONE_SECONDS) }
}

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
    gone("nodes"),
    on("node_pools", &[("pool_id", UP)]),
    on("node_pools", &[("name", UP)]),
    on("node_pools", &[("auto_scaling", UP)]),
    gone("node_pools"),
    on("payouts", &[("payout_id", UP)]),
    on("payouts", &[("node_id", UP), ("created_at", DOWN)]),
    on("payouts", &[("status", UP)]),
    on("payouts", &[("batch_id", UP)]),
    on("payouts", &[("wallet_address", UP)]),
    on("payouts", &[("wallet_address_hash", UP)]),
    on("payouts", &[("transaction_hash", UP)]),
    on("payouts", &[("scheduled_at", UP)]),
    on("poot_scores", &[("scores.node_id", UP), ("timestamp", DOWN)]),
    on("poot_validations", &[("validations.validation_id", UP)]),
    on("poot_validations", &[("validations.node_id", UP), ("timestamp", DOWN)]),
    on("poot_validations", &[("validations.output_hash", UP)]),
    on("poot_validations", &[("validations.is_valid", UP), ("validations.score", DOWN)]),
    // How long a store has them is its own matter, and a restore needs all of these.
    on("poot_validations", &[("timestamp", UP)]),
    Index { collection: "poot_evidence", fields: &[("timestamp", UP)], expire_seconds: Some(YEAR_SECONDS) },
    on("resource_metrics", &[("node_id", UP), ("timestamp", DOWN)]),
    Index { collection: "resource_metrics", fields: &[("timestamp", DOWN)], expire_seconds: Some(90 * 86_400) },
    on("resource_metrics", &[("node_id", UP), ("cpu.usage_percent", UP)]),
    on("resource_metrics", &[("node_id", UP), ("memory.used_bytes", UP)]),
    on("resource_metrics_hourly", &[("node_id", UP), ("timestamp", DOWN)]),
    Index { collection: "resource_metrics_hourly", fields: &[("timestamp", UP)], expire_seconds: Some(YEAR_SECONDS) },
    gone("archives"),
    gone("node_history"),
    gone("alerts"),
    gone("idempotency_keys"),
    gone("manager_records"),
];
