//! Is every transfer out of the wallet known here? Asked before the first signature after a start and within each hour: a store that was restored from an older copy, or whose
//! wallet somebody else uses too, must not sign. What is unknown is recorded and freezes the money.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::audit::{Actor, Draft};
use crate::domain::money::{Currency, Units};
use crate::domain::money_state::{Freeze, FreezeKind};
use crate::domain::payout::Pin;
use crate::domain::time::{Now, Timestamp};
use crate::domain::wallet::{Outgoing, OutgoingPage, UNLISTED, UnknownTransfer, WalletRow};
use crate::gateways::payment::PaymentGateway;
use crate::storage::core::{money, payouts};
use crate::storage::fault::Fault;
use crate::storage::table::WriteTx;

/// Pages of one run; more follow in the next.
const MAX_PAGES: usize = 200;

/// A reconciliation that is older is made anew, so that one is never too old when something is to be signed.
const DUE_AFTER_MS: u64 = 50 * 60_000;

/// A store that was written so short before the first look at the network is no older copy: longer than between two flushes.
const SHORT_ABSENCE_MS: i64 = 6 * 60_000;

/// A wallet that was not signed for in so long is not compared any more after a start: whoever empties it is not asked why.
const FORMER_FOR_MS: i64 = 90 * 86_400_000;

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
    let found = match through(context, gateway).await? {
        Comparison::Complete { row, at } => match open_end(context, &row, at).await {
            Some(why) => Comparison::Open(why),
            None => former_wallets(context, at).await?,
        },
        other => other,
    };
    let now = context.clock.now();
    match found {
        Comparison::Complete { .. } => context.money.reconciled(now),
        Comparison::Frozen => context.money.unreconciled(None, now),
        Comparison::Open(why) => context.money.unreconciled(Some(why), now),
    }
    Ok(())
}

/// What a comparison of one wallet came to.
enum Comparison {
    /// Everything final that left it through a block of that time is known. The row is as it was before the last page.
    Complete { row: WalletRow, at: Timestamp },
    /// Something in it freezes the money.
    Frozen,
    /// It did not come to its end, and why.
    Open(String),
}

/// Takes page after page of what left the gateway's wallet, to the end of what is final.
async fn through(context: &Context, gateway: &Arc<dyn PaymentGateway>) -> Result<Comparison, Stopped> {
    let pin = gateway.pin();
    for _ in 0..MAX_PAGES {
        let known = money::wallet(&context.store.read()?, &pin)?.filter(|row| row.through_block > 0);
        let row = match known {
            Some(row) => row,
            None if !gateway.has_wallet() => return Ok(Comparison::Open("it was never compared".into())),
            None => match begun(context, &pin).await? {
                Ok(row) => row,
                Err(why) => return Ok(Comparison::Open(why)),
            },
        };
        let page = match gateway.outgoing(row.through_block).await {
            Ok(page) => page,
            Err(why) => return Ok(Comparison::Open(why.to_string())),
        };
        let (is_last, at) = (page.is_last, page.through_at);
        if page.through_block < row.through_block || (!is_last && page.through_block == row.through_block) {
            return Ok(Comparison::Open("the node's chain is behind what was seen before".into()));
        }
        if !take(context, &pin, page, context.clock.now()).await? {
            return Ok(Comparison::Frozen);
        }
        if is_last {
            return Ok(Comparison::Complete { row, at });
        }
    }
    Ok(Comparison::Open("more has left the wallet than one comparison takes; it goes on with the next one".into()))
}

/// Why what is final does not tell yet what left: something was signed that this store does not know of, because it is an older copy or a death came before the
/// commit. Such a transfer is known once it has landed, and harmless once it has expired.
async fn open_end(context: &Context, row: &WalletRow, through_at: Timestamp) -> Option<String> {
    match context.gateways.current.signed_span().await {
        Ok(Some(signed)) if signed.last_timestamp_ms > row.last_timestamp_ms && through_at < signed.over_at => {
            return Some(format!("the signer has signed what is not known here; it may land until {}", signed.over_at));
        }
        Ok(_) => (),
        Err(why) => return Some(why.to_string()),
    }
    let over_at = copies_end(context, through_at)?;
    let since = context.written_until;
    (through_at < over_at)
        .then(|| format!("this store was last written at {since}: what a later copy of it has signed since may land until {over_at}"))
}

/// When nothing may land any more that a later copy of this store has signed, by the network's time, of which `through_at` is the newest. None: it was written until a
/// moment before this process opened it, so there is no later copy.
fn copies_end(context: &Context, through_at: Timestamp) -> Option<Timestamp> {
    let opened_at = context.money.first_look(through_at);
    let away_ms = opened_at.since(context.written_until).saturating_abs();
    (away_ms > SHORT_ABSENCE_MS).then_some(()).and(context.gateways.current.lands_within_ms()).map(|ms| opened_at.plus_ms(ms))
}

/// What left the wallets that this store paid from before: one that was written until a moment ago knows it, an older copy does not. Asked once in each process.
async fn former_wallets(context: &Context, through_at: Timestamp) -> Result<Comparison, Stopped> {
    let done = Comparison::Complete { row: WalletRow::default(), at: through_at };
    if copies_end(context, through_at).is_none() || context.money.formers_are_known() {
        return Ok(done);
    }
    let pin = context.gateways.current.pin();
    let since_ms = through_at.0.saturating_sub(FORMER_FOR_MS);
    for row in money::wallets(&context.store.read()?)? {
        let former = Pin { gateway: pin.gateway.clone(), ..row.0 };
        if former == pin || former.network != pin.network || row.1.last_timestamp_ms < since_ms {
            continue;
        }
        let Some(gateway) = context.gateways.watching(&former) else { continue };
        match through(context, &gateway).await? {
            Comparison::Complete { .. } => (),
            Comparison::Open(why) => return Ok(Comparison::Open(format!("of the former wallet {}: {why}", former.wallet))),
            Comparison::Frozen => return Ok(Comparison::Frozen),
        }
    }
    context.money.formers_known();
    Ok(done)
}

/// The row of a wallet that is new here: from now on, or from where it was first signed for.
async fn begun(context: &Context, pin: &Pin) -> Result<Result<WalletRow, String>, Stopped> {
    let gateway = &context.gateways.current;
    super::wallet::look(context).await?;
    let now = context.clock.now();
    let Some(reading) = context.money.wallet_within(0, now).or_else(|| context.money.wallet().map(|look| look.reading)) else {
        return Ok(Err(context.money.wallet_error().map_or_else(|| "the wallet cannot be read".to_owned(), |(why, _)| why)));
    };
    let begun = match gateway.signed_span().await {
        // By another store, or by this one before it became an older copy.
        Ok(Some(signed)) if signed.begins_at < reading.solid_at => {
            gateway.block_before(signed.begins_at).await.map(WalletRow::begun_at).map_err(|why| why.to_string())
        }
        Ok(_) => Ok(WalletRow::begun(&reading)),
        Err(why) => Err(why.to_string()),
    };
    let row = match begun {
        Ok(row) => row,
        Err(why) => return Ok(Err(why)),
    };
    let pin = pin.clone();
    let write = move |tx: &mut WriteTx<'_>| {
        let before = money::wallet(tx, &pin)?.unwrap_or_default();
        let row = WalletRow { last_timestamp_ms: before.last_timestamp_ms, ..row.clone() };
        money::put_wallet(tx, &pin, &row)?;
        Ok(row)
    };
    Ok(Ok(context.store.write_money(write).await?))
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
