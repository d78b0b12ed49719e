//! The ledger: postings, balances, and how far accruals are posted.

use super::{money, node_id};
use crate::domain::ids::{NodeIndex, PayoutId, PoolIndex};
use crate::domain::ledger::{Account, Cause, Posting, Split};
use crate::domain::replica::{Fields, Value};
use crate::domain::time::Timestamp;
use crate::storage::core::ledger::{Accrued, Balance, split};
use crate::storage::core::pools;
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// Its lines sum to zero.
pub(super) fn posting(read: &impl Read, posting: &Posting) -> Result<Fields, Fault> {
    let book = posting.entry.book;
    let mut lines = Vec::with_capacity(posting.entry.lines.len());
    for line in &posting.entry.lines {
        let mut of = account(read, line.account)?;
        of.push(("amount", money(line.amount, book.currency)));
        lines.push(of);
    }
    Ok(vec![
        ("seq", posting.seq.into()),
        ("at", posting.at.into()),
        ("settlement", book.settlement.to_string().into()),
        ("currency", book.currency.code().into()),
        ("cause", Value::Fields(cause(read, &posting.entry.cause)?)),
        ("lines", lines.into()),
    ])
}

/// `account` as the API writes it, and whose it is.
fn account(read: &impl Read, account: Account) -> Result<Fields, Fault> {
    let node = account.node().map_or(Ok(Value::Null), |node| node_id(read, node))?;
    let pool = account.pool().map_or(Ok(Value::Null), |pool| pool_id(read, pool))?;
    let text = match (&node, &pool) {
        (Value::Text(id), _) | (_, Value::Text(id)) => format!("{}:{id}", account.kind()),
        _ => account.kind().to_owned(),
    };
    Ok(vec![("account", text.into()), ("node_id", node), ("pool_id", pool)])
}

fn pool_id(read: &impl Read, index: PoolIndex) -> Result<Value, Fault> {
    Ok(pools::ever(read, index)?.map(|pool| pool.id.to_string()).into())
}

/// What there is to say of a cause; of most, most of it is not.
#[derive(Default)]
struct Told<'a> {
    node: Option<NodeIndex>,
    pool: Option<PoolIndex>,
    payout: Option<&'a PayoutId>,
    /// Epochs (after, through].
    epochs: Option<(u32, u32)>,
    split: Option<&'static str>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    reason: Option<&'a str>,
    by: Option<&'a str>,
    txid: Option<&'a str>,
}

fn cause(read: &impl Read, cause: &Cause) -> Result<Fields, Fault> {
    let told = Told::default;
    let (kind, told) = match cause {
        Cause::Accrual { node, after, through } => ("accrual", Told { node: Some(*node), epochs: Some((after.0, through.0)), ..told() }),
        Cause::Reserve { payout } => ("reserve", Told { payout: Some(payout), ..told() }),
        Cause::Release { payout } => ("release", Told { payout: Some(payout), ..told() }),
        Cause::Paid { payout } => ("paid", Told { payout: Some(payout), ..told() }),
        Cause::Adjustment { node, reason, by } => {
            ("adjustment", Told { node: Some(*node), reason: Some(reason), by: Some(by.as_str()), ..told() })
        }
        Cause::Forfeiture { node, reason, by } => {
            ("forfeiture", Told { node: Some(*node), reason: Some(reason), by: Some(by.as_str()), ..told() })
        }
        Cause::Reward { pool, split, reason, by } => {
            let (split, from, to) = match split {
                Split::Equal => ("equal", None, None),
                Split::Credits { from, to } => ("credits", Some(*from), Some(*to)),
            };
            let (split, reason, by) = (Some(split), Some(reason.as_str()), Some(by.as_str()));
            ("reward", Told { pool: Some(*pool), split, from, to, reason, by, ..told() })
        }
        Cause::Unexplained { node, txid } => ("unexplained", Told { node: *node, txid: Some(txid), ..told() }),
        Cause::GoLive { node, from, by } => ("go_live", Told { node: Some(*node), from: Some(*from), by: Some(by.as_str()), ..told() }),
    };
    let (after, through) = told.epochs.unzip();
    Ok(vec![
        ("kind", kind.into()),
        ("node_id", told.node.map_or(Ok(Value::Null), |node| node_id(read, node))?),
        ("pool_id", told.pool.map_or(Ok(Value::Null), |pool| pool_id(read, pool))?),
        ("payout_id", told.payout.map(PayoutId::as_str).into()),
        ("after", after.into()),
        ("through", through.into()),
        ("split", told.split.into()),
        ("from", told.from.into()),
        ("to", told.to.into()),
        ("reason", told.reason.into()),
        ("by", told.by.into()),
        ("txid", told.txid.into()),
    ])
}

/// `key` is book and account. `credited` and `debited` are all that was ever added and taken.
pub(super) fn balance(read: &impl Read, key: [u8; 7], balance: &Balance) -> Result<Fields, Fault> {
    let (book, of) = split(key).ok_or_else(|| Fault::Invariant("a balance is of no account".into()))?;
    let currency = book.currency;
    let mut fields = account(read, of)?;
    fields.extend([
        ("settlement", book.settlement.to_string().into()),
        ("currency", currency.code().into()),
        ("balance", money(balance.units, currency)),
        ("credited", money(balance.credited, currency)),
        ("debited", money(balance.debited, currency)),
    ]);
    Ok(fields)
}

/// `from`, `through` and those of `posted` are epochs; a remainder is what stayed below the smallest unit.
pub(super) fn accrued(read: &impl Read, node: u32, accrued: &Accrued) -> Result<Fields, Fault> {
    let mut remainders = Vec::new();
    for (currency, remainder) in &accrued.remainders {
        let amount = remainder.to_decimal(*currency).map_err(|why| Fault::Invariant(why.to_string()))?;
        remainders.push(vec![("currency", Value::from(currency.code())), ("amount", amount.into())]);
    }
    let posted = accrued.posted.iter().map(|(currency, end)| vec![("currency", Value::from(currency.code())), ("through", end.0.into())]);
    Ok(vec![
        ("node_id", node_id(read, NodeIndex(node))?),
        ("from", accrued.from.0.into()),
        ("through", accrued.through.0.into()),
        ("remainders", remainders.into()),
        ("posted", posted.collect::<Vec<_>>().into()),
    ])
}
