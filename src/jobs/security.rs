//! Raises the security alerts, once a minute: failed authentications, unusual payouts. What was raised is in the store, so a restart says
//! nothing twice; what is over is resolved; a run in which nothing changed writes nothing.

use super::settle::{Wanted, settle};
use super::{Context, Stopped};
use crate::domain::alert::Severity;
use crate::domain::audit::Kept;
use crate::domain::security::{
    FAILED_SIGN_INS, FAILURE_WINDOW_MS, FREQUENT_PAYOUTS, Failure, Paid, RECENT_MS, UNUSUAL_PAYOUT, frequent, is_failed_proof,
    under_attack, unusual_amounts,
};
use crate::domain::time::Now;
use crate::live::network;
use crate::storage::core::audit::{Opener, Shown};
use crate::storage::core::audit_search::{self, Filter, Order};
use crate::storage::core::{nodes, payouts};
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;

/// Refusals of the last minutes that are counted; the counted ones stand for many each.
const MAX_REFUSALS: usize = 2_000;
/// Payouts that are looked at for averages, newest first.
const MAX_PAYOUTS: usize = 20_000;
pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    // Windows are differences of times, and these mean nothing yet.
    if !now.trusted {
        return Ok(());
    }
    let this = context.clone();
    let looking = tokio::task::spawn_blocking(move || look(&this, now));
    let kinds = looking.await.map_err(|error| Stopped(error.to_string()))??;
    for (kind, wanted) in kinds {
        settle(context, kind, wanted, now).await?;
    }
    Ok(())
}

fn look(context: &Context, now: Now) -> Result<Vec<(&'static str, Wanted)>, Fault> {
    let read = context.store.read()?;
    let (amounts, often) = payouts_of(&read, now)?;
    Ok(vec![(FAILED_SIGN_INS, sign_ins(context, &read, now)?), (UNUSUAL_PAYOUT, amounts), (FREQUENT_PAYOUTS, often)])
}

fn sign_ins(context: &Context, read: &Snapshot, now: Now) -> Result<Wanted, Fault> {
    let from = Some(now.wall.plus_ms(-FAILURE_WINDOW_MS));
    let filter = Filter { success: Some(false), from, ..Filter::default() };
    let refused = audit_search::search(read, &filter, Order::NewestFirst, None, 0, MAX_REFUSALS)?;
    let mut opener = Opener::new(read, &context.store.secrets);
    let mut failures = Vec::new();
    for entry in refused.entries {
        let draft = &entry.draft;
        if !is_failed_proof(draft.reason.as_deref().unwrap_or_default(), &draft.subject) {
            continue;
        }
        // What does not open counts all the same: it is nobody's.
        let address = match (&entry.kept, opener.open(&entry)?) {
            (Kept::Nothing, _) | (_, Shown::Erased) => None,
            (_, Shown::Values(personal)) => personal.address.and_then(|address| address.parse().ok()),
        };
        let account = draft.subject.starts_with("user_").then(|| draft.subject.clone());
        failures.push(Failure { account, network: address.map(network), times: draft.times });
    }
    let words = |subject: &str, count: u32| {
        let whose = match subject {
            "" => "in all, on many accounts or from many networks,".to_owned(),
            account if account.starts_with("user_") => "on this account".to_owned(),
            network => format!("from {network}"),
        };
        (Severity::Critical, format!("{count} failed authentications {whose} within 15 minutes"))
    };
    // The counts in memory miss nothing, whatever the log had room for; the log knows what was before this process.
    let mut attacked = context.failures.under_attack(now.boot);
    for (subject, logged) in under_attack(&failures) {
        let count = attacked.entry(subject).or_default();
        *count = logged.max(*count);
    }
    Ok(attacked.into_iter().map(|(subject, count)| (subject.clone(), words(&subject, count))).collect())
}

fn payouts_of(read: &Snapshot, now: Now) -> Result<(Wanted, Wanted), Fault> {
    let (mut amounts, mut often) = (Wanted::new(), Wanted::new());
    let newest = payouts::page(read, payouts::Filter::default(), 0, 1)?.0;
    if newest.first().is_none_or(|payout| now.wall.since(payout.created_at) >= RECENT_MS) {
        return Ok((amounts, often));
    }
    let (mut recent, _) = payouts::page(read, payouts::Filter::default(), 0, MAX_PAYOUTS)?;
    recent.reverse();
    let paid: Vec<Paid> = recent
        .iter()
        .map(|payout| Paid { seq: payout.seq, node: payout.node, book: payout.book, amount: payout.amount, at: payout.created_at })
        .collect();
    for seq in unusual_amounts(&paid, now.wall) {
        let Some(payout) = payouts::by_seq(read, seq)? else { continue };
        let amount = payout.amount.to_decimal(payout.book.currency);
        let message = format!("{amount} {} is more than ten times the average of the node's payouts before", payout.book.currency);
        amounts.insert(payout.id.to_string(), (Severity::Critical, message));
    }
    for (node, count) in frequent(&paid, now.wall) {
        let Some(node) = nodes::ever(read, node)? else { continue };
        often.insert(node.id.to_string(), (Severity::Warning, format!("{count} payouts to {} within an hour", node.name)));
    }
    Ok((amounts, often))
}
