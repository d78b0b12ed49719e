//! Plans and reserves what is due, and notes why the others are left out.

use super::{Context, Stopped, postings, wallet};
use crate::domain::audit::{Act, Actor, Draft};
use crate::domain::final_payout::Stage;
use crate::domain::ids::{NodeIndex, PayoutId, UserId};
use crate::domain::ledger::{Account, Book};
use crate::domain::money::{Currency, Units};
use crate::domain::node::Node;
use crate::domain::paying::Paying;
use crate::domain::payout::{self, PayoutError, Plan, Priority, Skip, Source};
use crate::domain::time::Now;
use crate::live::Event;
use crate::storage::core::{audit, final_payouts as stored, ledger, money, nodes, payouts};
use crate::storage::fault::{Fault, TxError};
use crate::storage::planning::{self, Plans};
use crate::storage::table::{Read, WriteTx};

pub use crate::storage::planning::Terms;

/// Nodes whose reason is noted in one transaction.
const PER_COMMIT: usize = 200;

/// The book that this manager pays from.
pub fn book(context: &Context) -> Book {
    Book { settlement: context.gateways.current.settlement(), currency: Currency::Usdt }
}

/// What every plan is held against now.
pub fn paying(context: &Context) -> Paying {
    let (by, settings) = (context.gateways.current.payer(), context.settings.get());
    let fee_sun = context.money.wallet().map(|look| look.reading.fee_sun(true)).filter(|_| by.has_wallet);
    Paying { by, rules: settings.payouts(), fee_sun }
}

pub fn plans<'a>(context: &'a Context, paying: &'a Paying, now: Now) -> Plans<'a> {
    Plans { secrets: &context.store.secrets, paying, now }
}

pub async fn run(context: &Context, now: Now) -> Result<(), Stopped> {
    let book = book(context);
    // Books that do not add up are no ground for a payout.
    if ledger::latched(&context.store.read()?)?.is_some() {
        return Ok(());
    }
    // Nobody can tell yet whose payout its fee would eat up.
    if !wallet::is_known(context).await? {
        return Ok(());
    }
    let Some(newest) = postings::newest(context)? else { return Ok(()) };
    let due = {
        let core = context.store.read()?;
        let hot = context.store.hot.read()?;
        let paying = paying(context);
        planning::due(plans(context, &paying, now), &core, &hot, nodes::all(&core)?, book, Terms::Automatic)?
    };
    let mut skipped: Vec<_> = due.skipped.into_iter().map(|(node, skip)| (node.index, skip)).collect();
    let pays: Vec<Node> = due.pays.into_iter().map(|(node, _)| node).collect();
    skipped.extend(pays.iter().map(|node| (node.index, None)));
    postings::post(context, &pays, newest).await?;
    for node in pays {
        plan_node(context, node, book, now, None).await?;
    }
    note(context, book, skipped, now).await
}

/// The guards of a plan by the terms, as of this read.
pub fn guard(
    context: &Context,
    read: &impl Read,
    node: &Node,
    book: Book,
    now: Now,
    free: Units,
    terms: Terms,
) -> Result<Result<Units, Skip>, Fault> {
    planning::guard(plans(context, &paying(context), now), read, node, book, free, terms)
}

async fn note(context: &Context, book: Book, skipped: Vec<(NodeIndex, Option<Skip>)>, now: Now) -> Result<(), Stopped> {
    let changed: Vec<_> = {
        let core = context.store.read()?;
        let is_new = |(node, skip): &(NodeIndex, Option<Skip>)| -> Result<bool, Fault> {
            Ok(match (money::skipped(&core, *node, book)?, skip) {
                (Some(before), Some(why)) => !before.why.is_same_reason(why),
                (before, why) => before.is_some() != why.is_some(),
            })
        };
        let mut changed = Vec::new();
        for row in skipped {
            if is_new(&row)? {
                changed.push(row);
            }
        }
        changed
    };
    for some in changed.chunks(PER_COMMIT) {
        let some = some.to_vec();
        let write = move |tx: &mut WriteTx<'_>| some.iter().try_for_each(|(node, skip)| money::skip(tx, *node, book, *skip, now.wall));
        context.store.write_money(write).await?;
    }
    Ok(())
}

/// Plans and reserves in one transaction, in which every guard is checked again. `leaves_by` is who asked for the final payout of a node that leaves: such a
/// node is paid by no other terms.
pub async fn plan_node(context: &Context, node: Node, book: Book, now: Now, leaves_by: Option<UserId>) -> Result<(), Stopped> {
    let terms = if leaves_by.is_some() { Terms::Final } else { Terms::Automatic };
    let id = PayoutId::new(context.store.entropy.uuid(now.wall.0));
    let this = context.clone();
    let planned = context.store.write_money(move |tx| {
        let free = ledger::balance(tx, book, Account::NodePayable(node.index))?;
        let Some(node) = nodes::by_index(tx, node.index)? else { return Ok(None) };
        let leaving = stored::of_node(tx, node.index)?;
        // Whose last epoch is open is not paid yet: it was cancelled and asked for again meanwhile.
        if leaving.is_some() != leaves_by.is_some() || leaving.is_some_and(|row| row.stage == Stage::Closing) {
            return Ok(None);
        }
        let Ok(amount) = guard(&this, tx, &node, book, now, free, terms)? else { return Ok(None) };
        let Some(record) = payouts::address(tx, &this.store.secrets, node.index)? else { return Ok(None) };
        let seq = payouts::next_seq(tx)?;
        let source = leaves_by.as_ref().map_or(Source::Automatic, |by| Source::Final { by: by.to_string() });
        let priority = Priority::Normal;
        let plan = Plan { id: id.clone(), seq, node: node.index, book, amount, address: record.address, source, priority };
        let (payout, entry) = payout::plan(plan, free, None, now).map_err(|e| invariant(&e))?;
        payouts::step(tx, None, &payout, Some(entry), now)?;
        if leaves_by.is_some() {
            stored::planned(tx, &Act::system(now), &node, seq)?;
        }
        audit::append(
            tx,
            Draft::new(now, Actor::System, "payout.plan", payout.id.to_string()).because(payout.book.settlement.to_string()),
        )?;
        Ok(Some(payout.id))
    });
    if let Some(payout_id) = planned.await? {
        context.events.publish(&Event::Payout { payout_id });
    }
    Ok(())
}

fn invariant(error: &PayoutError) -> TxError {
    TxError::Fault(Fault::Invariant(error.to_string()))
}
