//! Looks at the wallet, so that people and guards know what it holds and what a transfer costs.

use super::{Context, Stopped};
use crate::live::Event;

/// How old a look may get while nothing is signed.
const LOOK_EVERY_MS: u64 = 240_000;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    if !context.gateways.current.has_wallet() {
        return reach(context).await;
    }
    if context.money.wallet_within(LOOK_EVERY_MS, context.clock.now()).is_some() {
        return Ok(());
    }
    look(context).await
}

/// What has no wallet to look at can still be away.
async fn reach(context: &Context) -> Result<(), Stopped> {
    match context.gateways.current.ready().await {
        Ok(()) => context.money.reached(),
        Err(why) => context.money.look_failed(why.to_string(), context.clock.now()),
    }
    Ok(())
}

/// Whether what a transfer costs was seen in this process, or is seen now; true where there is no wallet.
pub async fn is_known(context: &Context) -> Result<bool, Stopped> {
    if context.gateways.current.has_wallet() && context.money.wallet().is_none() {
        look(context).await?;
    }
    Ok(!context.gateways.current.has_wallet() || context.money.wallet().is_some())
}

/// Looks now.
pub async fn look(context: &Context) -> Result<(), Stopped> {
    match context.gateways.current.wallet().await {
        Ok(Some(reading)) => context.money.looked(reading, context.clock.now()),
        Ok(None) => context.money.reached(),
        Err(why) => context.money.look_failed(why.to_string(), context.clock.now()),
    }
    context.events.publish(&Event::Money {});
    Ok(())
}
