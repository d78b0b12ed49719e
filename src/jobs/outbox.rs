//! Delivers what is to leave this machine: to each URL one message after the other, to several of them at a time.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Context, Stopped};
use crate::clock::Stopwatch;
use crate::crypto::SecretKey;
use crate::domain::webhook::signature;
use crate::gateways::notify::{self, Message};
use crate::live::Job;
use crate::storage::core::outbox::{self, Outgoing};
use crate::storage::table::WriteTx;

/// Destinations at one time.
const AT_ONCE: usize = 8;
/// Messages to each of them, and time, before what was delivered is written down: after a crash as many come twice.
const EACH: usize = 20;
const LONGEST: Duration = Duration::from_secs(2);

pub async fn run(context: &Context) -> Result<(), Stopped> {
    // The time is signed, and tells when to try again.
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    let (due, key) = {
        let read = context.store.read()?;
        (outbox::due(&read, now.wall, AT_ONCE, EACH)?, outbox::key(&read, &context.store.secrets)?)
    };
    let mut lanes = JoinSet::new();
    for lane in due {
        lanes.spawn(deliver(context.clone(), lane, key.clone()));
    }
    while let Some(done) = lanes.join_next().await {
        if let Ok(lane) = done {
            let is_open = lane.failed.is_none();
            settle(context, lane).await?;
            // More may wait behind it. Not where nothing could be written down: the same would be sent again without a pause.
            if is_open {
                context.nudges.nudge(Job::Outbox);
            }
        }
    }
    Ok(())
}

/// What became of the messages to one destination.
#[derive(Default)]
struct Lane {
    delivered: Vec<u64>,
    /// The first that was not taken; what was behind it has not been tried.
    failed: Option<(u64, Outgoing, String)>,
}

async fn deliver(context: Context, messages: Vec<(u64, Outgoing)>, key: SecretKey) -> Lane {
    let (mut lane, began) = (Lane::default(), Stopwatch::start());
    let allow_private = context.settings.get().webhooks_allow_private;
    for (number, outgoing) in messages {
        let Outgoing::Webhook(delivery) = &outgoing;
        let now = context.clock.now();
        if !now.trusted || began.elapsed() > LONGEST {
            break;
        }
        let timestamp = now.wall.seconds();
        let message = Message {
            number,
            url: delivery.target.url.clone(),
            event: delivery.event.clone(),
            delivery: delivery.id.clone(),
            timestamp,
            signature: signature(&key, timestamp, &delivery.body),
            body: delivery.body.clone(),
        };
        match notify::post(message, allow_private).await {
            Ok(()) => lane.delivered.push(number),
            Err(why) => {
                lane.failed = Some((number, outgoing, why));
                break;
            }
        }
    }
    lane
}

async fn settle(context: &Context, Lane { delivered, failed }: Lane) -> Result<(), Stopped> {
    let now = context.clock.now();
    // A clock that nobody trusts any more does not tell how long to wait.
    let after = failed.filter(|_| now.trusted).map(|(number, Outgoing::Webhook(delivery), why)| {
        let (origin, delivery_id) = (delivery.target.origin.clone(), delivery.id.clone());
        let after = delivery.failed(&why, now.wall, context.store.entropy.u64());
        tracing::warn!(origin, delivery = delivery_id, why, given_up = after.dead_at.is_some(), "a message was not delivered");
        (number, Outgoing::Webhook(after))
    });
    let write = move |tx: &mut WriteTx<'_>| {
        outbox::delivered(tx, &delivered)?;
        after.iter().try_for_each(|(number, after)| outbox::not_delivered(tx, *number, after))
    };
    Ok(context.store.write(write).await?)
}
