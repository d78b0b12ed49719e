//! Delivers what is to leave this machine: to each destination one message after the other, to several of them at a time.

use tokio::task::JoinSet;

use super::{Context, Stopped};
use crate::domain::webhook::signature;
use crate::gateways::notify::{self, Message};
use crate::storage::core::outbox::{self, Outgoing};

/// Destinations at one time.
const AT_ONCE: usize = 8;
/// Messages of one run to each of them.
const ROUNDS: usize = 20;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    for _ in 0..ROUNDS {
        let now = context.clock.now();
        // The time is signed, and tells when to try again.
        if !now.trusted {
            return Ok(());
        }
        let (due, key) = {
            let read = context.store.read()?;
            (outbox::due(&read, now.wall, AT_ONCE)?, outbox::key(&read, &context.store.secrets)?)
        };
        if due.is_empty() {
            return Ok(());
        }
        let allow_private = context.settings.get().webhooks_allow_private;
        let mut tries = JoinSet::new();
        for (number, outgoing) in due {
            let Outgoing::Webhook(delivery) = &outgoing;
            let timestamp = now.wall.seconds();
            let message = Message {
                url: delivery.target.url.clone(),
                event: delivery.event.clone(),
                delivery: delivery.id.clone(),
                timestamp,
                signature: signature(&key, timestamp, &delivery.body),
                body: delivery.body.clone(),
            };
            tries.spawn(async move { (number, outgoing, notify::post(message, allow_private).await) });
        }
        while let Some(done) = tries.join_next().await {
            let Ok((number, outgoing, answer)) = done else { continue };
            settle(context, number, outgoing, answer).await?;
        }
    }
    Ok(())
}

async fn settle(context: &Context, number: u64, outgoing: Outgoing, answer: Result<(), String>) -> Result<(), Stopped> {
    let Outgoing::Webhook(delivery) = outgoing;
    match answer {
        Ok(()) => context.store.write(move |tx| outbox::delivered(tx, number)).await?,
        Err(why) => {
            let (origin, delivery_id) = (delivery.target.origin.clone(), delivery.id.clone());
            let after = delivery.failed(&why, context.clock.now().wall, context.store.entropy.u64());
            tracing::warn!(origin, delivery = delivery_id, why, given_up = after.dead_at.is_some(), "a message was not delivered");
            let after = Outgoing::Webhook(after);
            context.store.write(move |tx| outbox::not_delivered(tx, number, &after)).await?;
        }
    }
    Ok(())
}
