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
    gone("payouts"),
    gone("payout_batches"),
    gone("schedules"),
    on("poot_scores", &[("scores.node_id", UP), ("timestamp", DOWN)]),
    gone("poot_scores"),
    on("poot_validations", &[("validations.validation_id", UP)]),
    on("poot_validations", &[("validations.node_id", UP), ("timestamp", DOWN)]),
    on("poot_validations", &[("validations.output_hash", UP)]),
    on("poot_validations", &[("validations.is_valid", UP), ("validations.score", DOWN)]),
    on("poot_validations", &[("validations.batch_id", UP)]),
    // How long a store has them is its own matter, and a restore needs all of these.
    on("poot_validations", &[("timestamp", UP)]),
    gone("poot_validations"),
    Index { collection: "poot_evidence", fields: &[("timestamp", UP)], expire_seconds: Some(YEAR_SECONDS) },
    // A tombstone has no time but this.
    gone("poot_evidence"),
    gone("poot_epochs"),
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
    gone("settings"),
    // Rows of logs are gone where another past of the store put them.
    gone("audit_logs"),
    gone("ledger_postings"),
    gone("ledger_balances"),
    gone("accrual_watermarks"),
    gone("manager_records"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::storage::replica::catalog::leaving;
    use crate::storage::replica::documents::{archives, collection};

    /// Of any table rows may go: measurements alone are never buried.
    #[test]
    fn the_cluster_lets_go_of_tombstones_of_every_collection() {
        let of_rows: BTreeSet<&str> = leaving().map(|listed| collection(listed.table)).chain([archives::COLLECTION]).collect();
        let let_go: Vec<&str> = INDEXES.iter().filter(|index| **index == gone(index.collection)).map(|index| index.collection).collect();
        assert_eq!(let_go.iter().copied().collect::<BTreeSet<_>>(), of_rows, "a new collection needs that index");
        assert_eq!(let_go.len(), of_rows.len(), "once");
    }

    #[test]
    fn those_of_one_collection_follow_each_other() {
        let mut collections: Vec<&str> = INDEXES.iter().map(|index| index.collection).collect();
        collections.dedup();
        assert_eq!(collections.len(), collections.iter().collect::<BTreeSet<_>>().len(), "they are looked for once");
    }

    /// In its words: collection, fields, and `-` before those that go down.
    const SEED: &[(&str, &[&str])] = &[
        ("nodes", &["node_id", "status", "pool_id", "node_type", "last_heartbeat", "-poot_score", "location.country location.region"]),
        ("node_pools", &["pool_id", "name", "auto_scaling"]),
        ("poot_validations", &["validation_id", "node_id -timestamp", "output_hash", "is_valid -score", "batch_id"]),
        ("payouts", &["payout_id", "node_id -created_at", "status", "batch_id", "wallet_address", "transaction_hash", "scheduled_at"]),
        ("resource_metrics", &["node_id -timestamp", "-timestamp", "node_id cpu.usage_percent", "node_id memory.used_bytes"]),
    ];

    #[test]
    fn every_index_of_the_seed_is_among_them() {
        for (collection, indexes) in SEED {
            for wanted in *indexes {
                let field = |word: &str| {
                    let (name, goes) = word.strip_prefix('-').map_or((word, UP), |name| (name, DOWN));
                    // Documents of validations are rows of them, which have the time of the last one.
                    let of_each = *collection == "poot_validations" && name != "timestamp";
                    (if of_each { format!("validations.{name}") } else { name.to_owned() }, goes)
                };
                let wanted: Vec<(String, bool)> = wanted.split(' ').map(field).collect();
                let is_it = |index: &&Index| {
                    let fields = index.fields.iter().map(|(name, goes)| ((*name).to_owned(), *goes));
                    index.collection == *collection && fields.eq(wanted.iter().cloned())
                };
                assert!(INDEXES.iter().any(|index| is_it(&index)), "{collection} has no index over {wanted:?}");
            }
        }
    }
}
