//! Payouts, batches of them, and when they are made by themselves.

use super::{money, node_id, plain};
use crate::domain::address::masked;
use crate::domain::batch::{Batch, LeftOut, Wish};
use crate::domain::money::Currency;
use crate::domain::payout::Payout;
use crate::domain::payout_schedule::{PayoutSchedule, Rule, Whom};
use crate::domain::replica::{Fields, Value};
use crate::storage::Secrets;
use crate::storage::core::batches;
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// Seed 004; `detailed_status` says beside its five states which step the payout stands at.
pub(super) fn payout(read: &impl Read, secrets: &Secrets, payout: &Payout) -> Result<Fields, Fault> {
    let batch = batches::of_payout(read, payout.seq)?;
    let [address, hash] = wallet(secrets, Some(payout.address.as_str()));
    Ok(vec![
        ("payout_id", payout.id.as_str().into()),
        ("node_id", node_id(read, payout.node)?),
        ("amount", money(payout.amount, payout.book.currency)),
        ("currency", payout.book.currency.code().into()),
        ("settlement", payout.book.settlement.to_string().into()),
        address,
        hash,
        ("status", payout.status().as_str().into()),
        ("detailed_status", payout.step().into()),
        ("priority", payout.priority.as_str().into()),
        ("source", plain(&payout.source.name())?),
        ("transaction_hash", payout.txid().into()),
        ("batch_id", batch.as_ref().map(|batch| batch.id.to_string()).into()),
        ("scheduled_at", batch.and_then(|batch| batch.scheduled_at).into()),
        ("processed_at", payout.processed_at().into()),
        ("completed_at", payout.completed_at().into()),
        ("error_message", payout.error_message().into()),
        ("review_reason", payout.review_reason().into()),
        ("retry_count", payout.retry_count().into()),
        ("max_retries", payout.max_retries().into()),
        ("created_at", payout.created_at.into()),
        ("updated_at", payout.updated_at.into()),
    ])
}

/// Its last characters for people, and a keyed hash by which it is found.
fn wallet(secrets: &Secrets, address: Option<&str>) -> [(&'static str, Value); 2] {
    [("wallet_address", address.map(masked).into()), ("wallet_address_hash", address.map(|address| secrets.wallet_hash(address)).into())]
}

/// Of the URL that is told of its end, scheme, host and port.
pub(super) fn batch(secrets: &Secrets, batch: &Batch) -> Result<Fields, Fault> {
    Ok(vec![
        ("batch_id", batch.id.as_str().into()),
        ("status", plain(&batch.status())?),
        ("settlement", batch.settlement.to_string().into()),
        ("priority", batch.priority.as_str().into()),
        ("schedule_id", batch.schedule.as_ref().map(|id| id.as_str()).into()),
        ("created_by", batch.by.as_str().into()),
        ("created_at", batch.made_at.into()),
        ("scheduled_at", batch.scheduled_at.into()),
        ("ended_at", batch.ended_at.into()),
        ("total", count(batch.size())),
        ("open", count(batch.open())),
        ("completed", batch.tally.paid.into()),
        ("failed", batch.tally.failed.into()),
        ("cancelled", batch.cancelled().into()),
        ("left_out", count(batch.left_out.len())),
        ("left_out_nodes", batch.left_out.iter().map(left_out).collect::<Vec<_>>().into()),
        ("payout_requests", wishes(secrets, &batch.waiting)),
        ("notifies", batch.notify.as_ref().map(|target| target.origin.as_str()).into()),
    ])
}

fn count(of: usize) -> Value {
    u64::try_from(of).unwrap_or(u64::MAX).into()
}

fn left_out(left: &LeftOut) -> Fields {
    vec![("node_id", left.node.as_str().into()), ("why", left.why.as_str().into()), ("text", left.text.as_str().into())]
}

fn wishes(secrets: &Secrets, wishes: &[Wish]) -> Value {
    let wish = |wish: &Wish| -> Fields {
        let [address, hash] = wallet(secrets, wish.address.as_deref());
        vec![
            ("node_id", wish.node.as_str().into()),
            ("amount", money(wish.amount, wish.currency)),
            ("currency", wish.currency.code().into()),
            address,
            hash,
            ("priority", wish.priority.as_str().into()),
        ]
    };
    wishes.iter().map(wish).collect::<Vec<_>>().into()
}

/// `min_amount` is in USDT. When it runs next is told by the clock, and no matter of the row.
pub(super) fn schedule(secrets: &Secrets, schedule: &PayoutSchedule) -> Result<Fields, Fault> {
    let (at, cron, timezone) = match &schedule.rule {
        Rule::Once(at) => (Some(*at), None, None),
        Rule::Cron { fields, time_zone } => (None, Some(fields.as_str()), Some(time_zone.as_str())),
    };
    let (pool, listed) = match &schedule.whom {
        Whom::AllDue => (None, None),
        Whom::Pool(id) => (Some(id.as_str()), None),
        Whom::Listed(listed) => (None, Some(wishes(secrets, listed))),
    };
    Ok(vec![
        ("schedule_id", schedule.id.as_str().into()),
        ("name", schedule.name.as_str().into()),
        ("at", at.into()),
        ("cron", cron.into()),
        ("timezone", timezone.into()),
        ("what", plain(&schedule.whom.what())?),
        ("pool_id", pool.into()),
        ("payout_requests", listed.into()),
        ("min_amount", schedule.min_amount.map(|units| money(units, Currency::Usdt)).into()),
        ("priority", schedule.priority.as_str().into()),
        ("enabled", schedule.enabled.into()),
        ("changed_by", schedule.by.as_str().into()),
        ("created_at", schedule.made_at.into()),
        ("updated_at", schedule.updated_at.into()),
        ("fired_through", schedule.fired_through.into()),
        ("run_count", schedule.runs.into()),
    ])
}
