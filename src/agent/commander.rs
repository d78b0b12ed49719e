//! Tells the manager at once what the supervisor did, and waits for the next order while a command is under way. Reports do the same twice a minute;
//! this only makes it quick.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::client::{Client, ClientError};
use super::clock::Clock;
use super::schedule::Backoff;
use super::state::Enrolled;
use super::supervisor::Observation;
use crate::crypto::{Entropy, SigningKey};
use crate::domain::ids::Incarnation;
use crate::domain::workload::{WorkloadOrder, WorkloadReport};
use crate::wire::{self, CommandsRequest};

/// Between two requests: a workload that fails in a loop does not fill the wire.
const PAUSE: Duration = Duration::from_millis(200);

/// What the manager knows of this node, by its last answer.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// It takes reports of this incarnation.
    pub connected: bool,
    /// A command is under way.
    pub pending: bool,
    pub workload: Option<WorkloadReport>,
}

pub struct Commander {
    pub clock: Clock,
    pub entropy: Entropy,
    pub client: Arc<Client>,
    pub key: Arc<SigningKey>,
    pub enrolled: Arc<Enrolled>,
    pub incarnation: Incarnation,
    pub observed: watch::Receiver<Observation>,
    pub orders: watch::Sender<Option<WorkloadOrder>>,
    pub told: watch::Sender<Told>,
}

impl Commander {
    /// Works for ever.
    pub async fn work(mut self) {
        let (mut number, mut backoff) = (0u64, Backoff::default());
        let mut answers = self.told.subscribe();
        loop {
            let seen = self.observed.borrow_and_update().clone();
            let told = answers.borrow_and_update().clone();
            let is_news = told.workload.as_ref().is_none_or(|known| !known.is_like(&seen.report));
            if !told.connected || !(is_news || told.pending) {
                tokio::select! {
                    _ = self.observed.changed() => (),
                    _ = answers.changed() => (),
                }
                continue;
            }
            number += 1;
            let request = CommandsRequest {
                protocol: wire::PROTOCOL,
                incarnation: self.incarnation,
                number,
                wait_ms: if told.pending { wire::MAX_POLL_MS } else { 0 },
                workload: seen.at(self.clock.boot()),
            };
            // What the supervisor does meanwhile is told in the next request.
            let answer = tokio::select! {
                answer = self.client.commands(&self.key, &self.enrolled, &request) => answer,
                _ = self.observed.changed() => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match answer {
                Ok(answer) => {
                    backoff.reset();
                    if answer.command.is_some() {
                        self.orders.send_replace(answer.command);
                    }
                    self.told.send_modify(|told| {
                        (told.pending, told.workload) = (answer.pending && !answer.busy, Some(seen.report));
                    });
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    // The next report is answered with the same; it also tells whether anybody is there.
                    tracing::debug!(%error, "the manager is not told what the workload does");
                    self.told.send_modify(|told| told.connected = told.connected && !matches!(error, ClientError::Refused { .. }));
                    let delay_ms = backoff.next_ms(self.entropy.u64());
                    tokio::time::sleep(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))).await;
                }
            }
        }
    }
}
