//! Pools: made, changed, deleted. Membership is kept with the nodes.

use std::ops::ControlFlow;

use super::tables::{Index, NODE_NAMES, POOL_IDS, POOLS, RETIRED_POOLS};
use super::{audit, meta};
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
    let mut count = 0;
    read.for_each(NODE_NAMES, (index.0, String::new())..(index.0.saturating_add(1), String::new()), |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
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
        return Err(Refusal::TooManyPools.into());
    }
    let index = meta::next_pool_index(tx)?;
    let pool = new.clone().into_pool(id.clone(), index, act.now.wall);
    tx.put(POOLS, &index.0, &pool)?;
    tx.put(POOL_IDS, &id.as_str().to_owned(), &Index(index.0))?;
    audit::append(tx, act.draft("pool.create", id.as_str()))?;
    Ok(pool)
}

/// A new price is in force from `price_from` on, the first slot of the next epoch.
pub fn update(tx: &mut WriteTx<'_>, act: &Act, id: &PoolId, change: &PoolChange, price_from: Slot) -> Result<Pool, TxError> {
    let pool = require(tx, id)?;
    if !change.pricing.is_none() && !act.now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let mut changed = change.of(&pool, price_from);
    check_change(tx, &changed, &mut FieldErrors::default())?;
    if list(tx)?.iter().any(|other| other.index != pool.index && other.name == changed.name) {
        return Err(Refusal::PoolExists.into());
    }
    changed.updated_at = act.now.wall;
    tx.put(POOLS, &pool.index.0, &changed)?;
    audit::append(tx, act.draft("pool.update", id.as_str()).because(fields(change)))?;
    Ok(changed)
}

/// What the rules and the pool's present members say against `changed`; `errors` may hold what was found before.
pub fn check_change(read: &impl Read, changed: &Pool, errors: &mut FieldErrors) -> Result<(), TxError> {
    changed.check(errors);
    let members = member_count(read, changed.index)?;
    errors.require(changed.max_nodes >= members, "max_nodes", format!("must not be below the {members} nodes in the pool"));
    Ok(std::mem::take(errors).finish()?)
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
    audit::append(tx, act.draft("pool.delete", id.as_str()))
}
