//! Settings that people change while the manager runs. They are kept in the store, above the file and below environment and flags; what is needed
//! before the store is open, or is used up when a store is made, cannot be kept there.

use super::rules::Key;
use super::settings;
use super::sources::{Origin, Values};
use super::{Config, ConfigErrors};

/// What a change of a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is in force at once, or from the next run of the cycle that it belongs to.
    AtOnce,
    AfterRestart,
    /// It cannot be stored, for this reason.
    Never(&'static str),
}

const BEFORE_THE_STORE: &str = "is needed before the store is open: set it in the file, the environment or by a flag";
const BESIDE_THE_STORE: &str = "must not be kept in the store that it protects: set it in the file, the environment or by a flag";
const NEW_STORES_ONLY: &str = "is used when a store is made; change the default pool itself";

pub fn effect(key: &str) -> Effect {
    match key {
        "server.public_url" | "server.allowed_hosts" => Effect::AtOnce,
        "storage.flush_seconds" | "storage.raw_days" | "storage.raw_max_mb" | "storage.hourly_days" | "storage.hourly_max_mb" => {
            Effect::AtOnce
        }
        "storage.max_mb" | "storage.card_rating_tb" => Effect::AtOnce,
        "storage.maintenance_start_hour" | "storage.maintenance_hours" | "storage.compact_above_percent" => Effect::AtOnce,
        "backup.enabled" | "backup.at" | "backup.dir" | "backup.keep" => Effect::AtOnce,
        _ if key.starts_with("retention.") => Effect::AtOnce,
        "limits.max_nodes" | "pools.max_nodes_per_pool" => Effect::AtOnce,
        "poot.min_observation_seconds" | "poot.score_multiplier" | "poot.min_score" | "poot.keep_outputs_mb" => Effect::AtOnce,
        "payout.threshold_usdt" | "payout.processing_interval_seconds" | "payout.frequency_hours" | "payout.address_cooldown_hours" => {
            Effect::AtOnce
        }
        "payout.max_usdt" | "payout.max_hour_usdt" | "payout.max_day_usdt" | "payout.approval_above_usdt" => Effect::AtOnce,
        "payout.max_fee_percent" | "payout.class_limits" | "payout.blocked_addresses" => Effect::AtOnce,
        "tron.keystore" | "tron.passphrase" | "tron.signer_socket" | "tron.wallet" | "tron.signer_key" | "tron.permission_id" => {
            Effect::Never(BESIDE_THE_STORE)
        }
        "blockchain.vote_expiry_seconds" => Effect::AtOnce,
        "mongodb.limit_kb_per_second" | "mongodb.lag_alert_minutes" | "mongodb.hourly_metrics" | "mongodb.raw_metrics" => Effect::AtOnce,
        "log.level" => Effect::AtOnce,
        _ => match key.split('.').next().unwrap_or_default() {
            "server" | "storage" | "clock" | "log" => Effect::Never(BEFORE_THE_STORE),
            "default_pool" => Effect::Never(NEW_STORES_ONLY),
            _ => Effect::AfterRestart,
        },
    }
}

/// The layers below and above what is stored, so that it can be laid between them at any time.
#[derive(Debug, Clone, Default)]
pub(super) struct Base(pub(super) Values);

/// Where values come from is no part of what they are.
impl PartialEq for Base {
    fn eq(&self, _: &Base) -> bool {
        true
    }
}

impl Config {
    /// This configuration with `stored` (key, text) over the file and below environment and flags. Everything that is wrong with a stored value is told.
    pub fn with_stored(&self, stored: &[(String, String)]) -> Result<Config, ConfigErrors> {
        let keys = settings::keys();
        let mut errors = ConfigErrors::default();
        let mut values = self.base.0.clone();
        for (name, text) in stored {
            if let Some(key) = storable(&keys, name)
                && let Some(Origin::Default | Origin::File { .. }) = values.origin(name)
            {
                values.set(key, text.clone(), Origin::Stored);
            }
        }
        let mut config = Config::checked(&keys, values, &mut errors).ok_or(errors)?;
        // They are bound already, perhaps to a port that the system chose.
        let (bound, server) = (&self.server, &mut config.server);
        (server.listen, server.node_listen, server.ops_listen) = (bound.listen, bound.node_listen, bound.ops_listen);
        // Later changes start from the same layers.
        config.base = self.base.clone();
        Ok(config)
    }

    /// Why this setting cannot be stored, or would have no effect; None when it can.
    pub fn why_not_stored(&self, name: &str) -> Option<String> {
        match self.base.0.origin(name) {
            None => Some("is no setting".to_owned()),
            Some(_) if let Effect::Never(why) = effect(name) => Some(why.to_owned()),
            Some(Origin::Env(variable)) => Some(format!("is set by the environment ({variable}), which stands above what is stored")),
            Some(Origin::Flag(flag)) => Some(format!("is set by the flag {flag}, which stands above what is stored")),
            Some(_) => None,
        }
    }
}

fn storable<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.name == name && !matches!(effect(name), Effect::Never(_)))
}
