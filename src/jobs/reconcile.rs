//! Is every transfer out of the wallet known here? Asked before the first signature after a start and within each hour: a store that was restored from an older copy, or whose
//! wallet somebody else uses too, must not sign. What is unknown is recorded and freezes the money.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::audit::{Actor, Draft};
use crate::domain::money::{Currency, Units};
use crate::domain::money_state::{Freeze, FreezeKind};
use crate::domain::payout::{AttemptState, Pin};
use crate::domain::time::{Now, Timestamp};
use crate::domain::wallet::{Absence, Outgoing, OutgoingPage, UNLISTED, UnknownTransfer, WalletRow};
use crate::gateways::payment::{PaymentGateway, Unavailable};
use crate::live::Event;
use crate::storage::core::{money, payouts};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Pages of one run; more follow in the next.
const MAX_PAGES: usize = 200;

/// A reconciliation that is older is made anew, so that one is never too old when something is to be signed.
const DUE_AFTER_MS: u64 = 50 * 60_000;

/// How old the final head may be through which everything is known: what landed after it may be what is to be paid. It is a minute old where all is well.
const MAX_BEHIND_MS: i64 = 120_000;

/// A wallet that was neither signed for nor compared in so long is not compared any more after a start: whoever empties it is not asked why.
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
    if !context.gateways.current.has_wallet() {
        return Ok(());
    }
    let found = compare(context).await;
    let now = context.clock.now();
    match found {
        Ok(()) => context.money.reconciled(now),
        Err(Halt::Frozen) => context.money.unreconciled(None, now),
        Err(Halt::Open(why)) => context.money.unreconciled(Some(why), now),
        Err(Halt::Stopped(stopped)) => return Err(stopped),
    }
    context.events.publish(&Event::Money {});
    Ok(())
}

/// Why not everything is known.
enum Halt {
    /// Something that was found freezes the money.
    Frozen,
    /// It did not come to its end, and why.
    Open(String),
    Stopped(Stopped),
}

impl<E: Into<Stopped>> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::Stopped(error.into())
    }
}

async fn compare(context: &Context) -> Result<(), Halt> {
    let gateway = &context.gateways.current;
    let (row, at) = through(context, gateway).await?;
    let behind_ms = context.clock.now().wall.since(at);
    if behind_ms > MAX_BEHIND_MS {
        return Err(Halt::Open(format!("what the node calls final is {} s old", behind_ms / 1000)));
    }
    let timestamp_ms = signed_through(context, &row, at).await?;
    older_copy(context, at).await?;
    Ok(note(context, &gateway.pin(), timestamp_ms).await?)
}

/// Takes page after page of what left the gateway's wallet, to the end of what is final. The wallet's row as it was before the last page, and the time of the last block.
async fn through(context: &Context, gateway: &Arc<dyn PaymentGateway>) -> Result<(WalletRow, Timestamp), Halt> {
    let pin = gateway.pin();
    for _ in 0..MAX_PAGES {
        let known = money::wallet(&context.store.read()?, &pin)?.filter(|row| row.through_block > 0);
        let row = match known {
            Some(row) => row,
            None if gateway.has_wallet() => begun(context, &pin).await?,
            None => return Err(Halt::Open("it was never compared".into())),
        };
        let page = gateway.outgoing(row.through_block).await.map_err(open)?;
        let (is_last, at) = (page.is_last, page.through_at);
        // A balance that is older than what is known already would be held against transfers that it has not lost yet.
        if is_last && page.balance_block < row.through_block {
            return Err(Halt::Open("the node's balance is older than what was seen before".into()));
        }
        if page.through_block < row.through_block || (!is_last && page.through_block == row.through_block) {
            return Err(Halt::Open("the node's chain is behind what was seen before".into()));
        }
        if !take(context, &pin, page, context.clock.now()).await? {
            return Err(Halt::Frozen);
        }
        if is_last {
            return Ok((row, at));
        }
    }
    Err(Halt::Open("more has left the wallet than one comparison takes; it goes on with the next one".into()))
}

fn open(why: Unavailable) -> Halt {
    Halt::Open(why.to_string())
}

/// The timestamp through which everything that was signed is known, or over. What the signer has signed and this store does not know of, because it is a copy or a death came
/// before the commit, is known once it has landed, and harmless once it has expired.
async fn signed_through(context: &Context, row: &WalletRow, through_at: Timestamp) -> Result<i64, Halt> {
    match context.gateways.current.signed_span().await.map_err(open)? {
        Some(signed) if signed.last_timestamp_ms > row.last_timestamp_ms && through_at < signed.over_at => {
            Err(Halt::Open(format!("the signer has signed what is not known here; it may land until {}", signed.over_at)))
        }
        signed => Ok(signed.map_or(row.last_timestamp_ms, |signed| signed.last_timestamp_ms)),
    }
}

/// The signer signs on only for who knows of everything that it has signed.
async fn note(context: &Context, pin: &Pin, timestamp_ms: i64) -> Result<(), Stopped> {
    if money::wallet(&context.store.read()?, pin)?.is_none_or(|row| row.last_timestamp_ms >= timestamp_ms) {
        return Ok(());
    }
    let pin = pin.clone();
    let write = move |tx: &mut WriteTx<'_>| {
        let Some(row) = money::wallet(tx, &pin)? else { return Ok(()) };
        let last_timestamp_ms = row.last_timestamp_ms.max(timestamp_ms);
        money::put_wallet(tx, &pin, &WalletRow { last_timestamp_ms, ..row })
    };
    Ok(context.store.write_money(write).await?)
}

/// An older copy does not know what a later one has signed since: it waits until nothing of that may land any more, and then asks what left the wallets that it paid from
/// before, too. `at`: what left the present wallet is known through then.
async fn older_copy(context: &Context, at: Timestamp) -> Result<(), Halt> {
    let Some(absence) = money::absence(&context.store.read()?)? else { return Ok(()) };
    let Some(lands_within_ms) = context.gateways.current.lands_within_ms() else { return Ok(()) };
    let now = context.clock.now();
    if !now.trusted {
        return Err(Halt::Open("the clock is not trusted, so nobody knows how old this store is".into()));
    }
    // A node may show an old chain, so our own time counts where it is later.
    let looked_at = absence.looked_at.unwrap_or(at.max(now.wall));
    if absence.looked_at.is_none() {
        let looked = Absence { looked_at: Some(looked_at), ..absence };
        context.store.write_money(move |tx| money::put_absence(tx, looked)).await?;
    }
    let (since, over_at) = (absence.written_until, looked_at.plus_ms(lands_within_ms));
    if at < over_at {
        let why = format!("this store was not written from {since} on: what a later copy of it may have signed since is over at {over_at}");
        return Err(Halt::Open(why));
    }
    // A clock that ran ahead has left a mark that says nothing about the copy's age.
    former_wallets(context, since.min(at), over_at).await?;
    Ok(context.store.write_money(money::end_absence).await?)
}

/// `written_until`: the copy was made then, at the latest. Through `over_at`, everything that left them has to be known.
async fn former_wallets(context: &Context, written_until: Timestamp, over_at: Timestamp) -> Result<(), Halt> {
    let pin = context.gateways.current.pin();
    for (former, row) in money::wallets(&context.store.read()?)? {
        let former = Pin { gateway: pin.gateway.clone(), ..former };
        let is_old = written_until.0.saturating_sub(row.through_at.0.max(row.last_timestamp_ms)) > FORMER_FOR_MS;
        if former == pin || former.network != pin.network || is_old {
            continue;
        }
        let of = |why: &str| Halt::Open(format!("of the former wallet {}: {why}", former.wallet));
        let gateway = context.gateways.watching(&former).ok_or_else(|| of("nobody can be asked"))?;
        let (_, at) = through(context, &gateway).await.map_err(|halt| match halt {
            Halt::Open(why) => of(&why),
            other => other,
        })?;
        if at < over_at {
            return Err(of(&format!("what left it is known through {at} alone")));
        }
    }
    Ok(())
}

/// The row of a wallet that is new here: from now on, or from where it was first signed for.
async fn begun(context: &Context, pin: &Pin) -> Result<WalletRow, Halt> {
    let gateway = &context.gateways.current;
    super::wallet::look(context).await?;
    let now = context.clock.now();
    let Some(reading) = context.money.wallet_within(0, now).or_else(|| context.money.wallet().map(|look| look.reading)) else {
        let why = context.money.wallet_error().map_or_else(|| "the wallet cannot be read".to_owned(), |(why, _)| why);
        return Err(Halt::Open(why));
    };
    let now_ms = reading.solid_at.plus_ms(1);
    // What was signed was signed for another store, or for this one before it became an older copy.
    let signed = gateway.signed_span().await.map_err(open)?;
    let begins_at = signed.map_or(now_ms, |signed| signed.begins_at.min(now_ms));
    let row = WalletRow::begun_at(gateway.block_before(begins_at).await.map_err(open)?);
    let pin = pin.clone();
    let write = move |tx: &mut WriteTx<'_>| {
        let before = money::wallet(tx, &pin)?.unwrap_or_default();
        let row = WalletRow { last_timestamp_ms: before.last_timestamp_ms, ..row.clone() };
        money::put_wallet(tx, &pin, &row)?;
        Ok(row)
    };
    Ok(context.store.write_money(write).await?)
}

/// An attempt of a payout, which may land, or what a person has named and paid it: what was proven dead and lands all the same is nobody's plan.
fn is_planned(read: &impl Read, txid: &str) -> Result<bool, Fault> {
    let Some(seq) = payouts::of_transaction(read, txid)? else { return Ok(false) };
    let payout = payouts::by_seq(read, seq)?;
    // One that was proven dead may be what a later attempt is paid by: a person has named it.
    let attempt = payout.and_then(|payout| payout.attempts.into_iter().rev().find(|attempt| attempt.txid() == Some(txid)));
    Ok(attempt.is_none_or(|attempt| !matches!(attempt.state, AttemptState::Dead { .. })))
}

/// The id of what is missing while the wallet's row stands at `block`; another one when that was booked before.
fn unlisted(read: &impl Read, pin: &Pin, block: u64) -> Result<String, Fault> {
    let (mut id, mut nth) = (format!("{UNLISTED}{}-{block}", pin.wallet), 1u32);
    while money::is_booked(read, &id)? {
        nth = nth.saturating_add(1);
        id = format!("{UNLISTED}{}-{block}-{nth}", pin.wallet);
    }
    Ok(id)
}

/// Records a page; false when something in it freezes the money.
async fn take(context: &Context, pin: &Pin, page: OutgoingPage, now: Now) -> Result<bool, Stopped> {
    // What a former wallet held moves on to the present one.
    let (pin, payer) = (pin.clone(), context.gateways.current.payer());
    let write = move |tx: &mut WriteTx<'_>| {
        let row = money::wallet(tx, &pin)?.unwrap_or_default();
        let mut unknown = Vec::new();
        for transfer in page.transfers.iter().filter(|transfer| transfer.to != payer.pin.wallet) {
            if !is_planned(tx, &transfer.txid)? && money::unknown(tx, &transfer.txid)?.is_none() {
                unknown.push(transfer.clone());
            }
        }
        for transfer in &unknown {
            let (pin, transfer) = (pin.clone(), transfer.clone());
            money::put_unknown(tx, &UnknownTransfer { pin, transfer, found_at: now.wall, booked_at: None })?;
        }
        let (next, missing) = row.followed_by(&page, now.wall).map_err(|e| Fault::Invariant(e.to_string()))?;
        // Named by where the wallet's row stands, which stays there until the money is found, or booked by a person.
        let unlisted = unlisted(tx, &pin, row.through_block)?;
        if missing > Units::ZERO {
            let transfer =
                Outgoing { txid: unlisted, to: "unknown".into(), amount: missing, block: page.through_block, at: page.through_at };
            money::put_unknown(tx, &UnknownTransfer { pin: pin.clone(), transfer, found_at: now.wall, booked_at: None })?;
        } else {
            // A node that was behind said too little before.
            money::withdraw_unknown(tx, &unlisted)?;
            money::put_wallet(tx, &pin, &next)?;
        }
        let (kind, reason) = match unknown.first() {
            _ if missing > Units::ZERO => {
                (FreezeKind::MissingFunds, "the wallet holds less than everything that is known to have left it explains".to_owned())
            }
            Some(first) => {
                let amount = first.amount.to_decimal(Currency::Usdt);
                (FreezeKind::UnknownTransfer, format!("{amount} USDT left the wallet to {} and nothing here planned it", first.to))
            }
            None if money::unbooked(tx, &payer)?.is_empty() => return Ok(true),
            None => (FreezeKind::UnknownTransfer, NOT_BOOKED.to_owned()),
        };
        freeze(tx, &pin.wallet, kind, reason, now)?;
        Ok(false)
    };
    Ok(context.store.write_money(write).await?)
}

const NOT_BOOKED: &str = "transfers that nothing here planned are not booked yet";

fn freeze(tx: &mut WriteTx<'_>, wallet: &str, kind: FreezeKind, reason: String, now: Now) -> Result<(), TxError> {
    let draft = Draft::new(now, Actor::System, "money.freeze", wallet).because(reason.clone());
    let freeze = Freeze { kind, reason, since: now.wall, by: None };
    money::change(tx, draft, |state| Ok(state.freeze(freeze))).map(drop)
}

/// What is not booked of the network that payouts go over now holds them, also where it was found and payouts were unfrozen while they went over another one.
pub async fn hold_unbooked(context: &Context) -> Result<(), Stopped> {
    let payer = context.gateways.current.payer();
    let read = context.store.read()?;
    if money::state(&read)?.frozen.is_some() || money::unbooked(&read, &payer)?.is_empty() {
        return Ok(());
    }
    let now = context.clock.now();
    let write = move |tx: &mut WriteTx<'_>| {
        if money::unbooked(tx, &payer)?.is_empty() {
            return Ok(());
        }
        freeze(tx, &payer.pin.wallet, FreezeKind::UnknownTransfer, NOT_BOOKED.to_owned(), now)
    };
    Ok(context.store.write_money(write).await?)
}
