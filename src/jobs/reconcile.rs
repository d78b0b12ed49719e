//! Is every transfer out of the wallet known here? Asked before the first signature after a start and within each hour: a store that was restored from an older copy, or whose
//! wallet somebody else uses too, must not sign. What is unknown is recorded and freezes the money.

use super::{Context, Stopped};
use crate::domain::audit::{Actor, Draft};
use crate::domain::money::{Currency, Units};
use crate::domain::money_state::{Freeze, FreezeKind};
use crate::domain::payout::Pin;
use crate::domain::time::{Now, Timestamp};
use crate::domain::wallet::{Outgoing, OutgoingPage, UNLISTED, UnknownTransfer, WalletRow};
use crate::live::Event;
use crate::storage::core::{money, payouts};
use crate::storage::fault::Fault;
use crate::storage::table::WriteTx;

/// Pages of one run; more follow in the next.
const MAX_PAGES: usize = 200;

/// A reconciliation that is older is made anew, so that one is never too old when something is to be signed.
const DUE_AFTER_MS: u64 = 50 * 60_000;

/// Once within each hour.
pub async fn run_if_due(context: &Context) -> Result<(), Stopped> {
    let age = context.money.reconciled_ms(context.clock.now());
    if age.is_some_and(|age| age < DUE_AFTER_MS) {
        return Ok(());
    }
    run(context).await
}

/// After it, `live::Money` knows whether everything is known.
pub async fn run(context: &Context) -> Result<(), Stopped> {
    let gateway = &context.gateways.current;
    if !gateway.has_wallet() {
        return Ok(());
    }
    let pin = gateway.pin();
    for _ in 0..MAX_PAGES {
        let now = context.clock.now();
        let Some(row) = begun(context, &pin).await? else { return Ok(()) };
        let page = match gateway.outgoing(row.through_block).await {
            Ok(page) => page,
            Err(why) => {
                context.money.unreconciled(Some(why.to_string()), now);
                return Ok(());
            }
        };
        let (is_last, through_at) = (page.is_last, page.through_at);
        if page.through_block < row.through_block || (!is_last && page.through_block == row.through_block) {
            context.money.unreconciled(Some("the node's chain is behind what was seen before".into()), now);
            return Ok(());
        }
        if !take(context, &pin, page, now).await? {
            context.money.unreconciled(None, now);
            context.events.publish(&Event::Money {});
            return Ok(());
        }
        if is_last && let Some(why) = still_open(context, &row, through_at).await {
            context.money.unreconciled(Some(why), now);
            return Ok(());
        }
        if is_last {
            context.money.reconciled(now);
            context.events.publish(&Event::Money {});
            return Ok(());
        }
    }
    Ok(())
}

/// Why what is final does not tell yet what left: the signer has signed what this store does not know of, because it is an older copy or a death came before the
/// commit. Such a transfer is known once it has landed, and harmless once it has expired.
async fn still_open(context: &Context, row: &WalletRow, through_at: Timestamp) -> Option<String> {
    match context.gateways.current.signed_until().await {
        Ok(Some(signed)) if signed.timestamp_ms > row.last_timestamp_ms && through_at < signed.over_at => {
            Some(format!("the signer has signed what is not known here; it may land until {}", signed.over_at))
        }
        Ok(_) => None,
        Err(why) => Some(why.to_string()),
    }
}

/// The wallet's row; of a wallet that is new here, from now on.
async fn begun(context: &Context, pin: &Pin) -> Result<Option<WalletRow>, Stopped> {
    let row = money::wallet(&context.store.read()?, pin)?;
    if let Some(row) = row.filter(|row| row.through_block > 0) {
        return Ok(Some(row));
    }
    super::wallet::look(context).await?;
    let now = context.clock.now();
    let Some(reading) = context.money.wallet_within(0, now).or_else(|| context.money.wallet().map(|look| look.reading)) else {
        let why = context.money.wallet_error().map_or_else(|| "the wallet cannot be read".to_owned(), |(why, _)| why);
        context.money.unreconciled(Some(why), now);
        return Ok(None);
    };
    let pin = pin.clone();
    let write = move |tx: &mut WriteTx<'_>| {
        let before = money::wallet(tx, &pin)?.unwrap_or_default();
        let row = WalletRow { last_timestamp_ms: before.last_timestamp_ms, ..WalletRow::begun(&reading) };
        money::put_wallet(tx, &pin, &row)?;
        Ok(row)
    };
    Ok(Some(context.store.write_money(write).await?))
}

/// Records a page; false when something in it freezes the money.
async fn take(context: &Context, pin: &Pin, page: OutgoingPage, now: Now) -> Result<bool, Stopped> {
    let pin = pin.clone();
    let write = move |tx: &mut WriteTx<'_>| {
        let row = money::wallet(tx, &pin)?.unwrap_or_default();
        let mut unknown = Vec::new();
        for transfer in &page.transfers {
            let is_known = payouts::of_transaction(tx, &transfer.txid)?.is_some();
            if !is_known && money::unknown(tx, &transfer.txid)?.is_none() {
                unknown.push(transfer.clone());
            }
        }
        for transfer in &unknown {
            let (pin, transfer) = (pin.clone(), transfer.clone());
            money::put_unknown(tx, &UnknownTransfer { pin, transfer, found_at: now.wall, booked_at: None })?;
        }
        let (next, missing) = row.followed_by(&page, now.wall).map_err(|e| Fault::Invariant(e.to_string()))?;
        // Named by where the wallet's row stands, which stays there until the money is found, or booked by a person.
        let unlisted = format!("{UNLISTED}{}", row.through_block);
        if missing > Units::ZERO {
            let transfer =
                Outgoing { txid: unlisted, to: "unknown".into(), amount: missing, block: page.through_block, at: page.through_at };
            money::put_unknown(tx, &UnknownTransfer { pin: pin.clone(), transfer, found_at: now.wall, booked_at: None })?;
        } else {
            // A node that was behind said too little before.
            money::withdraw_unknown(tx, &unlisted)?;
            money::put_wallet(tx, &pin, &next)?;
        }
        let kind = match money::unknown_transfers(tx, true, 1)?.is_empty() {
            _ if missing > Units::ZERO => FreezeKind::MissingFunds,
            false => FreezeKind::UnknownTransfer,
            true => return Ok(true),
        };
        let reason = match (kind, unknown.first()) {
            (FreezeKind::UnknownTransfer, Some(first)) => {
                format!("{} USDT left the wallet to {} and nothing here planned it", first.amount.to_decimal(Currency::Usdt), first.to)
            }
            (FreezeKind::UnknownTransfer, None) => "transfers that nothing here planned are not booked yet".to_owned(),
            _ => "the wallet holds less than everything that is known to have left it explains".to_owned(),
        };
        let draft = Draft::new(now, Actor::System, "money.freeze", pin.wallet.clone()).because(reason.clone());
        let freeze = Freeze { kind, reason, since: now.wall, by: None };
        money::change(tx, draft, |state| Ok(state.freeze(freeze.clone())))?;
        Ok(false)
    };
    Ok(context.store.write_money(write).await?)
}
