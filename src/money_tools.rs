//! `money …` on the command line, for the store of a manager that is not running.

use clap::{Args, Subcommand};
use lucid::app::{self, App, AppError};
use lucid::config::Config;
use lucid::domain::audit::{Act, Actor};
use lucid::domain::money::Currency;
use lucid::domain::money_state::{MoneyState, RECONCILED_FOR_MS};
use lucid::domain::wallet::Outgoing;
use lucid::live::Job;
use lucid::storage::core::{ledger, money, money_actions, payouts};
use lucid::storage::fault::OpenError;
use std::path::PathBuf;

use crate::{DataDir, Failure, failed, load, misused, print};

#[derive(Subcommand)]
pub enum MoneyCommand {
    /// Say whether payouts may be signed, and what of the wallets is known
    Status(MoneyStore),
    /// Let nothing be signed until somebody unfreezes; audited
    Freeze {
        #[command(flatten)]
        store: MoneyStore,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
    /// Ask the network what left the wallet, and compare it with what is known here
    Reconcile(MoneyStore),
    /// Reconcile, and let payouts be signed again when nothing is unknown; audited
    Unfreeze {
        #[command(flatten)]
        store: MoneyStore,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
}

/// Said when the store is in use: to stop a manager only to freeze it would take the time that a freeze is to save.
const RUNNING: &str = "a manager that runs is told by its API, or on the page Wallet of its UI: GET /api/v1/money, POST /api/v1/money/freeze (or /stop, which also \
                       keeps what is signed from being sent), /reconcile and /unfreeze";

#[derive(Args)]
pub struct MoneyStore {
    #[command(flatten)]
    store: DataDir,
    /// Configuration file (TOML) of the manager: its gateway is asked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(command: MoneyCommand) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        match command {
            MoneyCommand::Status(store) => {
                let app = open(store).await?;
                let told = status(&app);
                close(app).await;
                print(&told?)
            }
            MoneyCommand::Freeze { store, reason } => {
                let app = open(store).await?;
                let act = console(&app);
                let frozen = app.store.write_money(move |tx| money_actions::freeze(tx, &act, None, &reason)).await;
                close(app).await;
                frozen.map_err(failed)?;
                print("payouts are frozen\n")
            }
            MoneyCommand::Reconcile(store) => {
                let app = open(store).await?;
                let found = reconcile(&app).await.and_then(|_| status(&app));
                close(app).await;
                print(&found?)
            }
            MoneyCommand::Unfreeze { store, reason } => {
                let app = open(store).await?;
                let done = unfreeze(&app, reason).await;
                close(app).await;
                done?;
                print("payouts may be signed again\n")
            }
        }
    })
}

async fn open(MoneyStore { store, config }: MoneyStore) -> Result<App, Failure> {
    let config: Config = load(config, Some(store.data_dir), None)?.config;
    if !config.storage.data_dir.join("core.redb").is_file() {
        return Err(misused(format!("there is no store in {}", config.storage.data_dir.display())));
    }
    App::open(&config, &app::system_clock).await.map_err(|error| match error {
        AppError::Open(OpenError::InUse(_)) => Failure::Runtime(format!("{error}; {RUNNING}")),
        error => failed(error),
    })
}

async fn close(app: App) {
    let store = app.store.clone();
    drop(app);
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
}

fn console(app: &App) -> Act {
    Act { actor: Actor::Console, ..Act::system(app.clock.now()) }
}

/// Whether everything that left the wallet is known; true where there is none.
async fn reconcile(app: &App) -> Result<bool, Failure> {
    app.context.run(Job::Wallet).await.map_err(|stopped| Failure::Runtime(stopped.0))?;
    let money = &app.context.money;
    if let Some((why, _)) = money.reconcile_error().or_else(|| money.wallet_error()) {
        return Err(Failure::Runtime(format!("the network cannot be asked: {why}")));
    }
    let is_known = money.reconciled_ms(app.clock.now()).is_some_and(|age| age < RECONCILED_FOR_MS);
    Ok(is_known || !app.context.gateways.current.has_wallet())
}

async fn unfreeze(app: &App, reason: String) -> Result<(), Failure> {
    let (known, act, payer) = (reconcile(app).await?, console(app), app.context.gateways.current.payer());
    app.store.write_money(move |tx| money_actions::unfreeze(tx, &act, &reason, &payer, known)).await.map_err(failed)?;
    Ok(())
}

fn status(app: &App) -> Result<String, Failure> {
    let read = app.store.read().map_err(failed)?;
    let MoneyState { frozen, stopped, live, trx_rate } = money::state(&read).map_err(failed)?;
    let payer = app.context.gateways.current.payer();
    let pin = &payer.pin;
    let mut text = format!(
        "settlement  {}\ngateway     {}, network {}, wallet {}\n",
        app.context.gateways.current.settlement(),
        pin.gateway,
        pin.network,
        pin.wallet
    );
    text += &frozen.map_or("frozen      no\n".to_owned(), |of| format!("frozen      since {}: {}\n", of.since, of.reason));
    text += &stopped.map_or("stopped     no\n".to_owned(), |of| format!("stopped     since {}: {}\n", of.since, of.reason));
    text += &live.map_or("live        nobody has decided\n".to_owned(), |of| format!("live        since {} with {}\n", of.at, of.wallet));
    if let Some(rate) = trx_rate {
        text += &format!("1 TRX       {} USDT, said {}\n", rate.usdt.to_decimal(Currency::Usdt), rate.set_at);
    }
    if let Some(why) = ledger::latched(&read).map_err(failed)? {
        text += &format!("ledger      BROKEN: {why}\n");
    }
    if let Some(row) = money::wallet(&read, pin).map_err(failed)? {
        let at = row.reconciled_at.map_or("never".to_owned(), |at| at.to_string());
        text += &format!("known       through block {}, reconciled {at}\n", row.through_block);
    }
    for row in money::unknown_transfers(&read, true, 100).map_err(failed)? {
        let amount = row.transfer.amount.to_decimal(Currency::Usdt);
        let elsewhere = if payer.pays_over(&row.pin.network) { String::new() } else { format!(", of network {}", row.pin.network) };
        let Outgoing { txid, to, block, .. } = &row.transfer;
        text += &format!("unknown     {amount} USDT to {to} in block {block}, {txid}{elsewhere}\n");
    }
    let (mut open, mut review) = (0u32, 0u32);
    for seq in payouts::open(&read, usize::MAX).map_err(failed)? {
        let Some(payout) = payouts::by_seq(&read, seq).map_err(failed)? else { continue };
        open += 1;
        review += u32::from(payout.review.is_some());
    }
    text += &format!("payouts     {open} have not ended, {review} of them wait for a person\n");
    Ok(text)
}
