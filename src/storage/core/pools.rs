//! Pools: made, changed, deleted. Membership is kept with the nodes.

use super::tables::{Index, NODE_NAMES, POOL_IDS, POOLS, RETIRED_POOLS};
use super::{audit, meta, thresholds};
use crate::domain::audit::Act;
use crate::domain::ids::{PoolId, PoolIndex};
use crate::domain::pool::{DEFAULT_POOL_ID, MAX_POOLS, NewPool, Pool, PoolChange, Pricing};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::time::Slot;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

pub fn by_id(read: &impl Read, id: &PoolId) -> Result<Option<Pool>, Fault> {
    match read.get(POOL_IDS, &id.as_str().to_owned())? {
        Some(Index(index)) => read.get(POOLS, &index),
        None => Ok(None),
    }
}

pub fn by_index(read: &impl Read, index: PoolIndex) -> Result<Option<Pool>, Fault> {
    read.get(POOLS, &index.0)
}

/// The pool, deleted or not: what the price was in a slot of the past.
pub fn ever(read: &impl Read, index: PoolIndex) -> Result<Option<Pool>, Fault> {
    match by_index(read, index)? {
        Some(pool) => Ok(Some(pool)),
        None => read.get(RETIRED_POOLS, &index.0),
    }
}

pub fn require(read: &impl Read, id: &PoolId) -> Result<Pool, TxError> {
    Ok(by_id(read, id)?.ok_or(Refusal::PoolNotFound)?)
}

/// All pools in the order they were made; there are at most `MAX_POOLS`.
pub fn list(read: &impl Read) -> Result<Vec<Pool>, Fault> {
    Ok(read.scan(POOLS, .., MAX_POOLS)?.into_iter().map(|(_, pool)| pool).collect())
}

/// Nodes in the pool.
pub fn member_count(read: &impl Read, index: PoolIndex) -> Result<u32, Fault> {
    let members = (index.0, String::new())..(index.0.saturating_add(1), String::new());
    Ok(u32::try_from(read.count_in(NODE_NAMES, members)?).unwrap_or(u32::MAX))
}

/// Makes the pool that every store has, when it has none yet. True when it was made.
pub fn ensure_default(tx: &mut WriteTx<'_>, act: &Act, pricing: Pricing, max_nodes: u32) -> Result<bool, TxError> {
    if tx.get(POOL_IDS, &DEFAULT_POOL_ID.to_owned())?.is_some() {
        return Ok(false);
    }
    let id = PoolId::parse(DEFAULT_POOL_ID).map_err(|e| Fault::Invariant(e.to_string()))?;
    let new = NewPool {
        name: "default".into(),
        description: "The pool that exists from the start.".into(),
        max_nodes,
        resource_limits: None,
        auto_scaling: false,
        scaling_policy: None,
        pricing,
        outputs_expected: false,
    };
    create(tx, act, &id, &new)?;
    Ok(true)
}

pub fn create(tx: &mut WriteTx<'_>, act: &Act, id: &PoolId, new: &NewPool) -> Result<Pool, TxError> {
    // Checked with a stand-in index, because taking one is the first mutation.
    check(&new.clone().into_pool(id.clone(), PoolIndex(u32::MAX), act.now.wall))?;
    let others = list(tx)?;
    if tx.get(POOL_IDS, &id.as_str().to_owned())?.is_some() || others.iter().any(|pool| pool.name == new.name) {
        return Err(Refusal::PoolExists.into());
    }
    if others.len() >= MAX_POOLS {
        return Err(Refusal::Rule("TooManyPools", format!("a manager has at most {MAX_POOLS} pools")).into());
    }
    let index = meta::next_pool_index(tx)?;
    let pool = new.clone().into_pool(id.clone(), index, act.now.wall);
    tx.put(POOLS, &index.0, &pool)?;
    tx.put(POOL_IDS, &id.as_str().to_owned(), &Index(index.0))?;
    audit::append(tx, act.draft("pool.create", id.as_str()))?;
    Ok(pool)
}

/// A new price, and outputs that are expected or no more, are in force from `price_from` on, the first slot of the next epoch.
pub fn update(tx: &mut WriteTx<'_>, act: &Act, id: &PoolId, change: &PoolChange, price_from: Slot) -> Result<Pool, TxError> {
    let pool = require(tx, id)?;
    if change.is_timed() && !act.now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let mut changed = change.of(&pool, price_from);
    let mut errors = FieldErrors::default();
    changed.check_with(member_count(tx, changed.index)?, &mut errors);
    errors.finish()?;
    if list(tx)?.iter().any(|other| other.index != pool.index && other.name == changed.name) {
        return Err(Refusal::PoolExists.into());
    }
    changed.updated_at = act.now.wall;
    tx.put(POOLS, &pool.index.0, &changed)?;
    audit::append(tx, act.draft("pool.update", id.as_str()).because(fields(change)))?;
    Ok(changed)
}

fn check(pool: &Pool) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    pool.check(&mut errors);
    errors.finish()
}

fn fields(change: &PoolChange) -> String {
    let fields = [
        ("name", change.name.is_some()),
        ("description", change.description.is_some()),
        ("max_nodes", change.max_nodes.is_some()),
        ("resource_limits", change.resource_limits.is_some()),
        ("auto_scaling", change.auto_scaling.is_some()),
        ("scaling_policy", change.scaling_policy.is_some()),
        ("pricing", !change.pricing.is_none()),
        ("outputs_expected", change.outputs_expected.is_some()),
    ];
    let names: Vec<_> = fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Empty pools only. The id stays taken, and the price of the past stays known.
pub fn delete(tx: &mut WriteTx<'_>, act: &Act, id: &PoolId) -> Result<(), TxError> {
    let pool = require(tx, id)?;
    if id.as_str() == DEFAULT_POOL_ID {
        return Err(Refusal::PoolProtected.into());
    }
    if member_count(tx, pool.index)? > 0 {
        return Err(Refusal::PoolNotEmpty.into());
    }
    tx.delete(POOLS, &pool.index.0)?;
    tx.put(RETIRED_POOLS, &pool.index.0, &pool)?;
    thresholds::forget_pool(tx, pool.index)?;
    audit::append(tx, act.draft("pool.delete", id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::nodes;
    use super::super::testing::{Fixture, act, at, new_node, new_pool, node_id, pool_id, price};
    use super::*;
    use crate::domain::money::Units;
    use crate::domain::node::MAX_NODES;
    use crate::domain::pool::PricingChange;
    use crate::domain::time::Now;

    #[test]
    fn the_default_pool_is_made_once_and_stays() {
        let f = Fixture::new();
        let cheap = Pricing { reward_per_hour: Units(1), ..price() };
        assert_eq!(f.write(move |tx, _| ensure_default(tx, &act(), cheap, 5)), Ok(false));
        let id = PoolId::parse(DEFAULT_POOL_ID).unwrap();
        let pool = by_id(&f.store.read().unwrap(), &id).unwrap().unwrap();
        assert_eq!((pool.pricing.latest(), pool.max_nodes), (&price(), 100));
        assert_eq!(f.write(move |tx, _| delete(tx, &act(), &id)), Err(Refusal::PoolProtected));
    }

    #[test]
    fn ids_and_names_are_unique_and_ids_are_never_reused() {
        let f = Fixture::new();
        let make = |n: u32, name: &'static str| f.write(move |tx, _| create(tx, &act(), &pool_id(n), &new_pool(name, 9)));
        let first = make(1, "one").unwrap();
        let audited = f.audited();
        assert_eq!(make(1, "two"), Err(Refusal::PoolExists));
        assert_eq!(make(2, "one"), Err(Refusal::PoolExists));
        assert!(matches!(make(2, "x"), Err(Refusal::Invalid(_))));
        assert_eq!(f.audited(), audited, "a refusal leaves nothing");
        f.write(|tx, _| delete(tx, &act(), &pool_id(1))).unwrap();
        assert_eq!(f.write(|tx, _| delete(tx, &act(), &pool_id(1))), Err(Refusal::PoolNotFound));
        assert_eq!(make(1, "one"), Err(Refusal::PoolExists));
        assert!(make(2, "one").unwrap().index > first.index);
        assert_eq!(ever(&f.store.read().unwrap(), first.index).unwrap(), Some(first));
    }

    #[test]
    fn a_new_price_waits_for_its_slot_and_for_a_trusted_clock() {
        let f = Fixture::new();
        let id = PoolId::parse(DEFAULT_POOL_ID).unwrap();
        let change =
            PoolChange { pricing: PricingChange { reward_per_hour: Some(Units(7)), ..PricingChange::default() }, ..PoolChange::default() };
        let from = at(0).wall.slot().next_epoch(10);
        let untrusted = Act::system(Now { trusted: false, ..at(0) });
        let (again, same) = (change.clone(), id.clone());
        assert_eq!(f.write(move |tx, _| update(tx, &untrusted, &same, &again, from)), Err(Refusal::ClockUntrusted));
        let pool = f.write(move |tx, _| update(tx, &act(), &id, &change, from)).unwrap();
        assert_eq!((pool.pricing.at(from.minus(1)), pool.pricing.at(from).reward_per_hour), (&price(), Units(7)));
        assert_eq!(pool.pricing.at(from).cost_per_hour, price().cost_per_hour);
    }

    #[test]
    fn a_pool_with_nodes_is_neither_deleted_nor_made_too_small() {
        let f = Fixture::new();
        f.write(|tx, _| create(tx, &act(), &pool_id(1), &new_pool("one", 2))).unwrap();
        for (n, name) in [(1, "n-one"), (2, "n-two")] {
            f.write(move |tx, d| nodes::create(tx, d, &act(), &node_id(n), &new_node(name, Some(pool_id(1))), MAX_NODES)).unwrap();
        }
        let full = f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(3), &new_node("n-three", Some(pool_id(1))), MAX_NODES));
        assert_eq!(full, Err(Refusal::PoolFull));
        assert_eq!(f.write(|tx, _| delete(tx, &act(), &pool_id(1))), Err(Refusal::PoolNotEmpty));
        let resize = |max_nodes| {
            let change = PoolChange { max_nodes: Some(max_nodes), ..PoolChange::default() };
            f.write(move |tx, _| update(tx, &act(), &pool_id(1), &change, Slot(0)))
        };
        assert!(matches!(resize(1), Err(Refusal::Invalid(fields)) if fields[0].field == "max_nodes"));
        assert_eq!(resize(3).unwrap().max_nodes, 3);
    }
}
