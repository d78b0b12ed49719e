//! What about money needs a person: each an alert that is raised while it holds and resolved when it is over.

use super::settle::{Wanted, settle};
use super::{Context, Stopped};
use crate::domain::alert::Severity;
use crate::domain::guard::CARRIED_TOO_LONG_SECONDS;
use crate::domain::money::Currency;
use crate::domain::payout::Skip;
use crate::domain::time::Now;
use crate::domain::wallet::{SUN_PER_TRX, UnknownTransfer};
use crate::storage::core::{money, nodes};
use crate::storage::fault::Fault;

pub const FROZEN: &str = "payouts_frozen";
pub const STOPPED: &str = "payouts_stopped";
pub const REVIEW: &str = "payout_review";
pub const WAITS: &str = "payout_waits";
pub const REFUSED: &str = "payout_refused";
pub const APPROVAL: &str = "payout_approval";
pub const CARRIED: &str = "payout_carried_over";
pub const LOW: &str = "wallet_low";
pub const UNREACHABLE: &str = "wallet_unreachable";
pub const UNBOOKED: &str = "transfers_not_booked";
pub const ORPHANED: &str = "attempt_without_gateway";

/// A payout that waits for something other than time or an approval for so long.
const WAITS_TOO_LONG_MS: i64 = 6 * 3_600_000;
/// The network cannot be asked for so long.
const UNREACHABLE_FOR_MS: i64 = 3_600_000;
/// Transfers that the wallet should be able to pay fees for.
const LOW_FEES_TRANSFERS: u64 = 20;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    for (kind, wanted) in look(context, now)? {
        settle(context, kind, wanted, now).await?;
    }
    Ok(())
}

fn look(context: &Context, now: Now) -> Result<Vec<(&'static str, Wanted)>, Stopped> {
    let open = super::payouts::open(context)?;
    let read = context.store.read()?;
    let state = money::state(&read)?;
    let one = |found: Option<(Severity, String)>| found.map(|found| (String::new(), found)).into_iter().collect::<Wanted>();
    let frozen = state.frozen.map(|freeze| (Severity::Critical, format!("payouts are frozen: {}", freeze.reason)));
    let stopped = state.stopped.map(|stop| (Severity::Critical, format!("payouts are stopped: {}", stop.reason)));
    let (mut review, mut waits, mut orphaned, mut approvals) = (Wanted::new(), Wanted::new(), Wanted::new(), 0u32);
    let (mut refused, refusals) = (Wanted::new(), context.money.refused());
    for payout in &open {
        let amount = || format!("{} {}", payout.amount.to_decimal(payout.book.currency), payout.book.currency);
        if let Some(of) = &payout.review {
            review.insert(payout.id.to_string(), (Severity::Critical, format!("{}: {}", amount(), of.reason)));
            continue;
        }
        if let Some(attempt) = payout.live_attempt() {
            if context.gateways.of(attempt).is_none() {
                let text = format!("{} was signed by gateway {}, which is not configured any more", amount(), attempt.prepared.pin.gateway);
                orphaned.insert(payout.id.to_string(), (Severity::Critical, text));
            } else if let Some(waiting) = refusals.get(&payout.seq) {
                refused.insert(payout.id.to_string(), (Severity::Critical, format!("{}: {}", amount(), waiting.text)));
            }
            continue;
        }
        let Some(waiting) = context.money.waiting(payout.seq) else { continue };
        if waiting.why == "approval" {
            approvals += 1;
        } else if waiting.until.is_none() && now.wall.since(payout.created_at) >= WAITS_TOO_LONG_MS {
            waits.insert(payout.id.to_string(), (Severity::Warning, format!("{} waits: {}", amount(), waiting.text)));
        }
    }
    let approval = (approvals > 0).then(|| (Severity::Warning, format!("{approvals} payouts wait for the approval of a second admin")));
    Ok(vec![
        (FROZEN, one(frozen)),
        (STOPPED, one(stopped)),
        (REVIEW, review),
        (WAITS, waits),
        (ORPHANED, orphaned),
        (REFUSED, refused),
        (APPROVAL, one(approval)),
        (CARRIED, carried(context, now)?),
        (LOW, low(context)?),
        (UNREACHABLE, one(unreachable(context, now))),
        (UNBOOKED, one(unbooked(context)?)),
    ])
}

fn carried(context: &Context, now: Now) -> Result<Wanted, Fault> {
    let (read, book) = (context.store.read()?, super::planning::book(context));
    let mut wanted = Wanted::new();
    for node in nodes::all(&read)? {
        let Some(skipped) = money::skipped(&read, node.index, book)? else { continue };
        let is_fee = matches!(skipped.why, Skip::FeeShare | Skip::RateUnknown);
        let too_long = now.wall.since(skipped.since) >= CARRIED_TOO_LONG_SECONDS * 1_000;
        if (is_fee && too_long) || matches!(skipped.why, Skip::FailedRepeatedly | Skip::BlockedAddress) {
            wanted.insert(node.id.to_string(), (Severity::Warning, format!("{} is not paid: {}", node.name, skipped.why)));
        }
    }
    Ok(wanted)
}

fn low(context: &Context) -> Result<Wanted, Fault> {
    let Some(look) = context.money.wallet() else { return Ok(Wanted::new()) };
    let book = super::planning::book(context);
    let reserved = money::reserved(&context.store.read()?, book)?;
    let mut wanted = Wanted::new();
    if look.reading.balance < reserved {
        let (holds, needs) = (look.reading.balance.to_decimal(Currency::Usdt), reserved.to_decimal(Currency::Usdt));
        wanted.insert("usdt".into(), (Severity::Critical, format!("the wallet holds {holds} USDT, and {needs} are promised to payouts")));
    }
    let fees = look.reading.worst_fee_sun(LOW_FEES_TRANSFERS);
    if look.reading.trx_sun < fees {
        let trx = |sun: u64| format!("{}.{:02}", sun / SUN_PER_TRX, sun % SUN_PER_TRX / 10_000);
        let text = format!("the wallet holds {} TRX; {LOW_FEES_TRANSFERS} transfers may cost {}", trx(look.reading.trx_sun), trx(fees));
        wanted.insert("trx".into(), (Severity::Warning, text));
    }
    Ok(wanted)
}

/// Those of this network freeze.
fn unbooked(context: &Context) -> Result<Option<(Severity, String)>, Fault> {
    let payer = context.gateways.current.payer();
    let mut elsewhere = money::unknown_transfers(&context.store.read()?, true, usize::MAX)?;
    elsewhere.retain(|row| !payer.pays_over(&row.pin.network));
    let text = |row: &UnknownTransfer| {
        let amount = row.transfer.amount.to_decimal(Currency::Usdt);
        format!(
            "{amount} USDT left the wallet {} on another network, and nobody has booked them: that takes the settings of then",
            row.pin.wallet
        )
    };
    Ok(elsewhere.first().map(|row| (Severity::Warning, text(row))))
}

fn unreachable(context: &Context, now: Now) -> Option<(Severity, String)> {
    let failures = [context.money.wallet_error(), context.money.reconcile_error()];
    let (why, _) = failures.into_iter().flatten().find(|(_, since)| now.wall.since(*since) >= UNREACHABLE_FOR_MS)?;
    Some((Severity::Warning, format!("the payment network cannot be asked for an hour: {why}")))
}
