//! A pool of nodes: capacity, limits and what an hour is worth.

use serde::{Deserialize, Serialize};

use super::ids::{PoolId, PoolIndex};
use super::money::{Currency, Units};
use super::node::{ResourceLimits, check_name};
use super::refusal::FieldErrors;
use super::time::{Slot, Timeline, Timestamp};

/// Hard limit of nodes in one pool (seed 004).
pub const MAX_NODES: u32 = 1_000;
pub const DEFAULT_MAX_NODES: u32 = 100;
/// Pools of one manager.
pub const MAX_POOLS: usize = 1_000;
/// The pool that exists from the start and cannot be deleted.
pub const DEFAULT_POOL_ID: &str = "pool_default";

/// Which members of a pool come first, of those who give work to them; a higher number comes earlier.
pub const PRIORITIES: std::ops::RangeInclusive<u8> = 1..=100;
pub const DEFAULT_PRIORITY: u8 = 50;

/// What a pool was told of a member, until the node leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub priority: u8,
}

/// What an operational hour costs and earns, in smallest units of the currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pricing {
    pub cost_per_hour: Units,
    /// What a node earns per hour at score 100 and multiplier 1.
    pub reward_per_hour: Units,
    pub currency: Currency,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScalingPolicy {
    /// Mean CPU use in percent.
    #[schema(minimum = 0, maximum = 100, example = 80)]
    pub scale_up_threshold: f64,
    /// Below `scale_up_threshold`.
    #[schema(minimum = 0, maximum = 100, example = 20)]
    pub scale_down_threshold: f64,
    /// At most `max_nodes`.
    #[schema(minimum = 0, maximum = 1000, example = 1)]
    pub min_nodes: u32,
    /// At most the pool's `max_nodes`.
    #[schema(minimum = 1, maximum = 1000, example = 10)]
    pub max_nodes: u32,
    #[schema(minimum = 1, maximum = 10_080, example = 15)]
    pub cooldown_minutes: u32,
}

/// The stored pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub id: PoolId,
    pub index: PoolIndex,
    pub name: String,
    pub description: String,
    pub max_nodes: u32,
    pub resource_limits: Option<ResourceLimits>,
    pub auto_scaling: bool,
    pub scaling_policy: Option<ScalingPolicy>,
    /// By slot: an epoch is paid at the price of its first slot.
    pub pricing: Timeline<Pricing>,
    /// By slot, in the same way: its nodes are challenged for outputs, which count in their scores.
    pub outputs_expected: Timeline<bool>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a client asks a pool to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPool {
    pub name: String,
    pub description: String,
    pub max_nodes: u32,
    pub resource_limits: Option<ResourceLimits>,
    pub auto_scaling: bool,
    pub scaling_policy: Option<ScalingPolicy>,
    pub pricing: Pricing,
    pub outputs_expected: bool,
}

impl NewPool {
    pub fn into_pool(self, id: PoolId, index: PoolIndex, now: Timestamp) -> Pool {
        Pool {
            id,
            index,
            name: self.name,
            description: self.description,
            max_nodes: self.max_nodes,
            resource_limits: self.resource_limits,
            auto_scaling: self.auto_scaling,
            scaling_policy: self.scaling_policy,
            pricing: Timeline::new(self.pricing),
            outputs_expected: Timeline::new(self.outputs_expected),
            created_at: now,
            updated_at: now,
        }
    }
}

/// A change of a pool; what is absent stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolChange {
    pub name: Option<String>,
    pub description: Option<String>,
    pub max_nodes: Option<u32>,
    pub resource_limits: Option<ResourceLimits>,
    pub auto_scaling: Option<bool>,
    pub scaling_policy: Option<ScalingPolicy>,
    pub pricing: PricingChange,
    pub outputs_expected: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PricingChange {
    pub cost_per_hour: Option<Units>,
    pub reward_per_hour: Option<Units>,
}

impl PricingChange {
    pub fn is_none(self) -> bool {
        self.cost_per_hour.is_none() && self.reward_per_hour.is_none()
    }

    /// Without what is as it was: the same price again is no new one.
    pub fn unlike(self, pricing: Pricing) -> PricingChange {
        PricingChange {
            cost_per_hour: self.cost_per_hour.filter(|cost| *cost != pricing.cost_per_hour),
            reward_per_hour: self.reward_per_hour.filter(|reward| *reward != pricing.reward_per_hour),
        }
    }

    pub fn of(self, pricing: Pricing) -> Pricing {
        Pricing {
            cost_per_hour: self.cost_per_hour.unwrap_or(pricing.cost_per_hour),
            reward_per_hour: self.reward_per_hour.unwrap_or(pricing.reward_per_hour),
            ..pricing
        }
    }
}

impl PoolChange {
    /// What takes effect with a slot changes: the price, or whether outputs are expected.
    pub fn is_timed(&self) -> bool {
        !self.pricing.is_none() || self.outputs_expected.is_some()
    }

    /// The changed pool; a new price, and outputs that are expected or no more, are in force from `price_from` on.
    pub fn of(&self, pool: &Pool, price_from: Slot) -> Pool {
        let mut changed = Pool {
            name: self.name.clone().unwrap_or_else(|| pool.name.clone()),
            description: self.description.clone().unwrap_or_else(|| pool.description.clone()),
            max_nodes: self.max_nodes.unwrap_or(pool.max_nodes),
            resource_limits: self.resource_limits.or(pool.resource_limits),
            auto_scaling: self.auto_scaling.unwrap_or(pool.auto_scaling),
            scaling_policy: self.scaling_policy.or(pool.scaling_policy),
            ..pool.clone()
        };
        if !self.pricing.is_none() {
            changed.pricing.set(price_from, self.pricing.of(*pool.pricing.latest()));
        }
        if let Some(expected) = self.outputs_expected {
            changed.outputs_expected.set(price_from, expected);
        }
        changed
    }
}

impl Pool {
    /// The rules, and what its `members` nodes say.
    pub fn check_with(&self, members: u32, errors: &mut FieldErrors) {
        self.check(errors);
        errors.require(self.max_nodes >= members, "max_nodes", format!("must not be below the {members} nodes in the pool"));
    }

    pub fn check(&self, errors: &mut FieldErrors) {
        check_name(errors, "name", &self.name);
        errors.require(self.description.chars().count() <= 500, "description", "must have at most 500 characters");
        errors.require((1..=MAX_NODES).contains(&self.max_nodes), "max_nodes", "must be 1 to 1000");
        if let Some(limits) = &self.resource_limits {
            limits.check(errors, "resource_limits", None);
        }
        errors.require(!self.auto_scaling || self.scaling_policy.is_some(), "scaling_policy", "is required when auto_scaling is on");
        if let Some(policy) = &self.scaling_policy {
            policy.check(errors, self.max_nodes);
        }
        let pricing = self.pricing.latest();
        errors.require(pricing.cost_per_hour >= Units::ZERO, "pricing.cost_per_hour", "must not be negative");
        errors.require(pricing.reward_per_hour >= Units::ZERO, "pricing.reward_per_hour", "must not be negative");
        let max = Units(MAX_PRICE_WHOLE * 10i64.pow(pricing.currency.decimals()));
        errors.require(pricing.cost_per_hour <= max, "pricing.cost_per_hour", "must be at most 1000 an hour");
        errors.require(pricing.reward_per_hour <= max, "pricing.reward_per_hour", "must be at most 1000 an hour");
    }
}

/// Highest price of an hour, in whole currency; keeps every product of the accrual far inside i128.
const MAX_PRICE_WHOLE: i64 = 1_000;

impl ScalingPolicy {
    fn check(&self, errors: &mut FieldErrors, pool_max: u32) {
        let percent = |v: f64| (0.0..=100.0).contains(&v);
        errors.require(percent(self.scale_up_threshold), "scaling_policy.scale_up_threshold", "must be 0 to 100");
        errors.require(percent(self.scale_down_threshold), "scaling_policy.scale_down_threshold", "must be 0 to 100");
        let ordered = self.scale_down_threshold < self.scale_up_threshold;
        errors.require(ordered, "scaling_policy.scale_down_threshold", "must be below scale_up_threshold");
        let max_fits = (1..=pool_max).contains(&self.max_nodes);
        errors.require(max_fits, "scaling_policy.max_nodes", "must be 1 to the pool's max_nodes");
        errors.require(self.min_nodes <= self.max_nodes, "scaling_policy.min_nodes", "must not exceed max_nodes");
        let cooldown = (1..=10_080).contains(&self.cooldown_minutes);
        errors.require(cooldown, "scaling_policy.cooldown_minutes", "must be 1 to 10080");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        let price = Units(50_000);
        Pool {
            id: PoolId::parse("pool_one").unwrap(),
            index: PoolIndex(0),
            name: "one".into(),
            description: String::new(),
            max_nodes: 100,
            resource_limits: None,
            auto_scaling: false,
            scaling_policy: None,
            pricing: Timeline::new(Pricing { cost_per_hour: price, reward_per_hour: price, currency: Currency::Usdt }),
            outputs_expected: Timeline::new(false),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn broken(change: impl FnOnce(&mut Pool)) -> Vec<String> {
        let mut p = pool();
        change(&mut p);
        let mut errors = FieldErrors::default();
        p.check(&mut errors);
        errors.0.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn pools_are_checked_at_each_bound() {
        assert!(broken(|_| ()).is_empty());
        for (n, ok) in [(0, false), (1, true), (1000, true), (1001, false)] {
            assert_eq!(broken(|p| p.max_nodes = n).is_empty(), ok, "{n} nodes");
        }
        assert_eq!(broken(|p| p.auto_scaling = true), ["scaling_policy"]);
        assert_eq!(broken(|p| p.description = "ä".repeat(501)), ["description"]);
        let policy =
            ScalingPolicy { scale_up_threshold: 20.0, scale_down_threshold: 80.0, min_nodes: 5, max_nodes: 200, cooldown_minutes: 0 };
        assert_eq!(broken(|p| p.scaling_policy = Some(policy)).len(), 3);
    }
}
