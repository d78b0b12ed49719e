//! What is to leave this machine, written in the transaction that caused it, and delivered by its own cycle. Bounded: a destination that is gone for days must not
//! fill the card.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::tables::{OUTBOX, PAYOUT_NEWS, WEBHOOKS};
use super::{alerts, audit, batches, meta, nodes, payouts};
use crate::crypto::SecretKey;
use crate::domain::alert::Severity;
use crate::domain::audit::Draft;
use crate::domain::batch::Batch;
use crate::domain::payout::{Change, Payout};
use crate::domain::refusal::Refusal;
use crate::domain::time::{Now, Timestamp};
use crate::domain::webhook::{self, Delivery, Target};
use crate::storage::Secrets;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Rows, those that were given up included.
pub const MAX_ROWS: u64 = 10_000;
const ROW: &str = "webhooks";
const NEWS_ROW: &str = "payouts";
/// Messages to a destination were given up; about its origin.
pub const ALERT: &str = "webhook_given_up";

/// One thing that leaves. New kinds go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outgoing {
    Webhook(Delivery),
}

impl Outgoing {
    pub fn delivery(&self) -> &Delivery {
        match self {
            Outgoing::Webhook(delivery) => delivery,
        }
    }
}

/// One row: what numbers deliveries, and what their key is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Webhooks {
    /// The last number that was given.
    pub last: u64,
    /// Random; with it the key is derived from `secret.key`. Empty until somebody asks for the key: nobody could check a signature before.
    pub salt: Vec<u8>,
    pub key_made_at: Option<Timestamp>,
    /// Rows that made room for newer ones without having been delivered.
    pub dropped: u64,
}

/// One row: to whom the steps of payouts are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PayoutNews {
    pub target: Option<Target>,
    /// Messages that were made, for any target.
    pub told: u64,
}

pub fn webhooks(read: &impl Read) -> Result<Webhooks, Fault> {
    Ok(read.get(WEBHOOKS, &ROW.to_owned())?.unwrap_or_default())
}

/// The key that deliveries are signed with now.
pub fn key(read: &impl Read, secrets: &Secrets) -> Result<SecretKey, Fault> {
    Ok(derived(secrets, &webhooks(read)?.salt))
}

fn derived(secrets: &Secrets, salt: &[u8]) -> SecretKey {
    secrets.root().derive(&format!("webhooks/{}", crate::crypto::hex(salt)))
}

/// Makes another key out of `salt`, which is random; it signs from now on, retries of earlier messages too.
pub fn rotate_key(tx: &mut WriteTx<'_>, secrets: &Secrets, salt: [u8; 32], draft: Draft, now: Now) -> Result<SecretKey, TxError> {
    let row = Webhooks { salt: salt.to_vec(), key_made_at: Some(now.wall), ..webhooks(tx)? };
    tx.put(WEBHOOKS, &ROW.to_owned(), &row)?;
    audit::append(tx, draft)?;
    Ok(derived(secrets, &row.salt))
}

/// Leaves a message in the outbox. When it is full the oldest goes, which may have been given up: what happens here must not wait for somebody's server.
pub fn tell(tx: &mut WriteTx<'_>, target: Target, event: &str, body: String, now: Now) -> Result<(), TxError> {
    let mut row = webhooks(tx)?;
    if tx.count(OUTBOX)? >= MAX_ROWS
        && let Some((number, oldest)) = tx.scan(OUTBOX, .., 1)?.first()
    {
        take_out(tx, *number, now.wall)?;
        row.dropped = row.dropped.saturating_add(u64::from(oldest.delivery().dead_at.is_none()));
    }
    row.last += 1;
    let store = meta::store(tx)?.store_id;
    let delivery = Delivery::new(&store, row.last, target, event, body, now);
    tx.put(OUTBOX, &row.last, &Outgoing::Webhook(delivery))?;
    tx.put(WEBHOOKS, &ROW.to_owned(), &row)
}

/// What the steps of payouts are told to, and how many were.
pub fn payout_news(read: &impl Read) -> Result<PayoutNews, Fault> {
    Ok(read.get(PAYOUT_NEWS, &NEWS_ROW.to_owned())?.unwrap_or_default())
}

/// From now on, the steps of payouts are told there. What waits goes where it was to go.
pub fn tell_payouts_to(tx: &mut WriteTx<'_>, target: Option<Target>) -> Result<(), TxError> {
    let row = payout_news(tx)?;
    tx.put(PAYOUT_NEWS, &NEWS_ROW.to_owned(), &PayoutNews { target, ..row })
}

/// Leaves the message about a step, where somebody is to be told.
pub(super) fn tell_of_payout(tx: &mut WriteTx<'_>, change: Change, payout: &Payout, now: Now) -> Result<(), TxError> {
    let row = payout_news(tx)?;
    let Some(target) = row.target.clone() else { return Ok(()) };
    tx.put(PAYOUT_NEWS, &NEWS_ROW.to_owned(), &PayoutNews { told: row.told + 1, ..row })?;
    let node = nodes::by_index(tx, payout.node)?.map(|node| node.id);
    tell(tx, target, change.event(), webhook::payout_changed(change, payout, node.as_ref()), now)
}

/// What may be sent now, oldest first: of each destination at most `each`, unless its oldest one has to wait, which holds back those behind it.
pub fn due(read: &impl Read, now: Timestamp, destinations: usize, each: usize) -> Result<Vec<Vec<(u64, Outgoing)>>, Fault> {
    let mut lanes = BTreeMap::<String, Option<Vec<(u64, Outgoing)>>>::new();
    read.for_each(OUTBOX, .., |number, outgoing: Outgoing| {
        let delivery = outgoing.delivery();
        if delivery.dead_at.is_some() {
            return ControlFlow::Continue(());
        }
        let lane = lanes.entry(delivery.target.url.clone()).or_insert_with(|| delivery.is_due(now).then(Vec::new));
        if let Some(lane) = lane.as_mut().filter(|lane| lane.len() < each) {
            lane.push((number, outgoing));
        }
        ControlFlow::Continue(())
    })?;
    let mut due: Vec<_> = lanes.into_values().flatten().collect();
    due.sort_by_key(|lane| lane.first().map(|(number, _)| *number));
    due.truncate(destinations);
    Ok(due)
}

/// When the next message may be sent that waits now; `now` where that is so already.
pub fn soonest(read: &impl Read, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
    let (mut seen, mut soonest) = (BTreeSet::new(), None::<Timestamp>);
    read.for_each(OUTBOX, .., |_, outgoing: Outgoing| {
        let delivery = outgoing.delivery();
        if delivery.dead_at.is_none() && seen.insert(delivery.target.url.clone()) {
            let at = if delivery.is_due(now) { now } else { delivery.next_at };
            soonest = Some(soonest.map_or(at, |other| at.min(other)));
        }
        ControlFlow::Continue(())
    })?;
    Ok(soonest)
}

/// These were taken: their rows go.
pub fn delivered(tx: &mut WriteTx<'_>, numbers: &[u64]) -> Result<(), TxError> {
    numbers.iter().try_for_each(|number| tx.delete(OUTBOX, number).map(drop))
}

/// It was not; the row as it becomes. When it is given up, so is everything behind it that has waited for as long, and people are told. One that is gone meanwhile
/// stays gone.
pub fn not_delivered(tx: &mut WriteTx<'_>, number: u64, after: &Outgoing) -> Result<(), TxError> {
    if tx.get(OUTBOX, &number)?.is_none() {
        return Ok(());
    }
    tx.put(OUTBOX, &number, after)?;
    let delivery = after.delivery();
    let Some(at) = delivery.dead_at else { return Ok(()) };
    let mut behind = Vec::new();
    tx.for_each(OUTBOX, .., |number, Outgoing::Webhook(other)| {
        if other.target.url == delivery.target.url && other.is_old(at) {
            behind.push((number, Outgoing::Webhook(Delivery { dead_at: Some(at), ..other })));
        }
        ControlFlow::Continue(())
    })?;
    behind.iter().try_for_each(|(number, after)| tx.put(OUTBOX, number, after))?;
    let (origin, error) = (&delivery.target.origin, delivery.last_error.as_deref().unwrap_or("no answer"));
    let message = format!("what {origin} was to be told could not be delivered for three days and is given up: {error}");
    alerts::raise(tx, ALERT, origin, Severity::Warning, &message, at).map(drop)
}

/// Deletes a row; the last one that was given up of its destination ends the alert about that.
fn take_out(tx: &mut WriteTx<'_>, number: u64, now: Timestamp) -> Result<(), TxError> {
    let gone: Option<Outgoing> = tx.get(OUTBOX, &number)?;
    tx.delete(OUTBOX, &number)?;
    let Some(gone) = gone.filter(|gone| gone.delivery().dead_at.is_some()) else { return Ok(()) };
    let (origin, mut others) = (&gone.delivery().target.origin, false);
    tx.for_each(OUTBOX, .., |_, outgoing: Outgoing| {
        let delivery = outgoing.delivery();
        others = delivery.dead_at.is_some() && delivery.target.origin == *origin;
        if others { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !others {
        alerts::resolve(tx, ALERT, origin, now)?;
    }
    Ok(())
}

/// Oldest first, with the number of all.
pub fn page(read: &impl Read, offset: usize, limit: usize) -> Result<(Vec<(u64, Outgoing)>, u64), Fault> {
    let (mut rows, mut skipped) = (Vec::new(), 0);
    read.for_each(OUTBOX, .., |number, outgoing| {
        if skipped < offset {
            skipped += 1;
        } else {
            rows.push((number, outgoing));
        }
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok((rows, read.count(OUTBOX)?))
}

/// What the whole outbox says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Given up.
    pub dead: u64,
    /// Making of the oldest one that waits.
    pub oldest: Option<Timestamp>,
}

pub fn standing(read: &impl Read) -> Result<Standing, Fault> {
    let mut standing = Standing::default();
    read.for_each(OUTBOX, .., |_, outgoing: Outgoing| {
        let delivery = outgoing.delivery();
        if delivery.dead_at.is_some() {
            standing.dead += 1;
        } else {
            standing.oldest.get_or_insert(delivery.made_at);
        }
        ControlFlow::Continue(())
    })?;
    Ok(standing)
}

/// Takes out a message that was given up.
pub fn discard(tx: &mut WriteTx<'_>, number: u64, draft: Draft) -> Result<(), TxError> {
    let outgoing: Outgoing = tx.get(OUTBOX, &number)?.ok_or(Refusal::DeliveryNotFound)?;
    if outgoing.delivery().dead_at.is_none() {
        return Err(Refusal::DeliveryAlive.into());
    }
    take_out(tx, number, draft.at)?;
    audit::append(tx, draft)
}

/// Takes out everything that was given up; how many there were.
pub fn discard_all(tx: &mut WriteTx<'_>, draft: Draft) -> Result<u64, TxError> {
    let (mut numbers, mut origins) = (Vec::new(), BTreeSet::new());
    tx.for_each(OUTBOX, .., |number: u64, outgoing: Outgoing| {
        if outgoing.delivery().dead_at.is_some() {
            numbers.push(number);
            origins.insert(outgoing.delivery().target.origin.clone());
        }
        ControlFlow::Continue(())
    })?;
    delivered(tx, &numbers)?;
    origins.iter().try_for_each(|origin| alerts::resolve(tx, ALERT, origin, draft.at).map(drop))?;
    let count = u64::try_from(numbers.len()).unwrap_or(u64::MAX);
    if count > 0 {
        audit::append(tx, draft.because(format!("{count} messages")))?;
    }
    Ok(count)
}

/// Each message is what it was made as: about a batch that has ended and wanted it, once, or about a payout; and every batch that owed one has been given a number. The
/// number of rows, or what is wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let (row, store) = (webhooks(read)?, meta::store(read)?.store_id);
    let (mut told, mut rows) = (BTreeSet::new(), Vec::new());
    read.for_each(OUTBOX, .., |number, outgoing: Outgoing| {
        rows.push((number, outgoing));
        ControlFlow::Continue(())
    })?;
    for (number, outgoing) in &rows {
        let delivery = outgoing.delivery();
        if *number > row.last || delivery.id != Delivery::id_of(&store, *number, &delivery.body) {
            return Ok(Err(format!("message {number} is not the one that was made under its number")));
        }
        let ended = match delivery.event == webhook::BATCH_ENDED {
            true => ended_batch(read, delivery)?.map(Some),
            false => webhook::payout_of(&delivery.body).map(|id| payouts::by_id(read, &id)).transpose()?.flatten().map(|_| None),
        };
        match ended {
            None => return Ok(Err(format!("message {number} is about nothing that was to be told"))),
            Some(Some(batch)) if !told.insert(batch.seq) => return Ok(Err(format!("the end of {} is told twice", batch.id))),
            Some(_) => (),
        }
    }
    // What was delivered leaves no row, but its number is never given again, and batches stay for ever.
    let (owed, news) = (batches::told(read)?, payout_news(read)?.told);
    if owed.saturating_add(news) != row.last {
        return Ok(Err(format!(
            "{owed} batches were to tell of their end and {news} steps of payouts, and {} messages were made",
            row.last
        )));
    }
    Ok(Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX)))
}

/// The batch whose end this message tells, where it was to be told there.
fn ended_batch(read: &impl Read, delivery: &Delivery) -> Result<Option<Batch>, Fault> {
    let batch = webhook::batch_of(&delivery.body).map(|id| batches::by_id(read, &id)).transpose()?.flatten();
    Ok(batch.filter(|batch| batch.ended_at.is_some() && batch.notify.as_ref() == Some(&delivery.target)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, at};
    use super::*;

    fn target(n: u32) -> Target {
        Target { url: format!("https://h{n}.example/x"), origin: format!("https://h{n}.example") }
    }

    fn numbers(fixture: &Fixture, seconds: i64) -> Vec<u64> {
        due(&fixture.store.read().unwrap(), at(seconds).wall, 10, 1).unwrap().into_iter().flatten().map(|(number, _)| number).collect()
    }

    #[test]
    fn each_destination_gets_its_messages_in_order() {
        let fixture = Fixture::new();
        for n in [1, 2, 1, 1] {
            fixture.write(move |tx, _| tell(tx, target(n), "e", "{}".into(), at(0))).unwrap();
        }
        assert_eq!(numbers(&fixture, 0), [1, 2]);
        let fail = |number: u64, seconds: i64| {
            let row = fixture.store.read().unwrap().get(OUTBOX, &number).unwrap().unwrap();
            let Outgoing::Webhook(delivery) = row;
            let after = Outgoing::Webhook(delivery.failed("no", at(seconds).wall, 0));
            fixture.write(move |tx, _| not_delivered(tx, number, &after)).unwrap();
        };
        fail(1, 0);
        assert_eq!(numbers(&fixture, 0), [2], "what is behind the one that waits, waits");
        assert_eq!(numbers(&fixture, 1), [1, 2]);
        fixture.write(|tx, _| delivered(tx, &[1])).unwrap();
        assert_eq!(numbers(&fixture, 1), [2, 3]);
        fail(3, 4 * 86_400);
        assert_eq!(numbers(&fixture, 4 * 86_400), [2], "what is as old behind it is given up with it");
        let discard = |number| fixture.write(move |tx, _| discard(tx, number, act().draft("outbox.discard", "")));
        assert_eq!(discard(2), Err(Refusal::DeliveryAlive));
        assert_eq!((discard(3), discard(3)), (Ok(()), Err(Refusal::DeliveryNotFound)));
        fixture.write(|tx, _| delivered(tx, &[4])).unwrap();
        fixture.write(|tx, _| tell(tx, target(1), "e", "{}".into(), at(0))).unwrap();
        assert_eq!(numbers(&fixture, 0), [2, 5], "numbers are never given again");
    }

    #[test]
    fn what_may_be_sent_comes_by_destination_and_its_time_is_known() {
        let fixture = Fixture::new();
        for n in [2, 1, 2, 2, 1] {
            fixture.write(move |tx, _| tell(tx, target(n), "e", "{}".into(), at(0))).unwrap();
        }
        let lanes = |seconds, destinations, each| -> Vec<Vec<u64>> {
            let due = due(&fixture.store.read().unwrap(), at(seconds).wall, destinations, each).unwrap();
            due.into_iter().map(|lane| lane.into_iter().map(|(number, _)| number).collect()).collect()
        };
        let soonest = |seconds| soonest(&fixture.store.read().unwrap(), at(seconds).wall).unwrap().map(|at_ms| at_ms.since(at(0).wall));
        assert_eq!(lanes(0, 8, 2), [vec![1, 3], vec![2, 5]], "the oldest first, and not too many");
        assert_eq!(lanes(0, 1, 8), [vec![1, 3, 4]]);
        assert_eq!((lanes(-1, 8, 8), soonest(-1), soonest(5)), (Vec::<Vec<u64>>::new(), Some(0), Some(5_000)));
        fixture.write(|tx, _| delivered(tx, &[2, 5])).unwrap();
        fixture
            .write(|tx, _| {
                let Outgoing::Webhook(row) = tx.get(OUTBOX, &1)?.unwrap();
                not_delivered(tx, 1, &Outgoing::Webhook(row.failed("no", at(10).wall, 0)))
            })
            .unwrap();
        assert_eq!((lanes(10, 8, 8), soonest(10)), (Vec::<Vec<u64>>::new(), Some(11_000)));
        fixture.write(|tx, _| delivered(tx, &[1, 3, 4])).unwrap();
        assert_eq!(soonest(10), None);
    }

    #[test]
    fn it_is_bounded_and_the_oldest_makes_room() {
        let fixture = Fixture::new();
        fixture
            .write(|tx, _| {
                (0..MAX_ROWS).try_for_each(|_| tell(tx, target(1), "e", "{}".into(), at(0)))?;
                let Outgoing::Webhook(row) = tx.get(OUTBOX, &1)?.unwrap();
                tx.put(OUTBOX, &1, &Outgoing::Webhook(row.failed("no", at(4 * 86_400).wall, 0)))
            })
            .unwrap();
        let state = || {
            let read = fixture.store.read().unwrap();
            let gone: Vec<u64> = (1..10).filter(|number| read.get(OUTBOX, number).unwrap().is_none()).collect();
            (read.count(OUTBOX).unwrap(), gone, webhooks(&read).unwrap().dropped)
        };
        fixture.write(|tx, _| tell(tx, target(2), "e", "{}".into(), at(0))).unwrap();
        assert_eq!(state(), (MAX_ROWS, vec![1], 0));
        fixture.write(|tx, _| tell(tx, target(2), "e", "{}".into(), at(0))).unwrap();
        assert_eq!(state(), (MAX_ROWS, vec![1, 2], 1));
    }

    #[test]
    fn what_waited_as_long_behind_it_is_given_up_with_it_and_all_of_it_is_taken_out_at_once() {
        let fixture = Fixture::new();
        const DAYS: i64 = 86_400;
        for (n, day, trusted) in [(1, 0, true), (1, 1, true), (2, 0, true), (1, 2, true), (1, 0, false)] {
            let now = Now { trusted, ..at(day * DAYS) };
            fixture.write(move |tx, _| tell(tx, target(n), "e", "{}".into(), now)).unwrap();
        }
        fixture
            .write(|tx, _| {
                let Outgoing::Webhook(row) = tx.get(OUTBOX, &1)?.unwrap();
                not_delivered(tx, 1, &Outgoing::Webhook(row.failed("no", at(4 * DAYS).wall, 0)))
            })
            .unwrap();
        assert_eq!(numbers(&fixture, 4 * DAYS), [3, 4], "the second was as old; the third goes elsewhere, and the fourth has a day left");
        let standing = || standing(&fixture.store.read().unwrap()).unwrap().dead;
        let alerts = || alerts::open_of_kind(&fixture.store.read().unwrap(), ALERT).unwrap().len();
        assert_eq!((standing(), alerts()), (2, 1));
        let discard = || fixture.write(move |tx, _| discard_all(tx, act().draft("outbox.discard", ""))).unwrap();
        assert_eq!((discard(), discard(), standing(), alerts()), (2, 0, 0, 0));
        assert_eq!(numbers(&fixture, 4 * DAYS), [3, 4], "what waits goes on waiting");
        fixture.write(|tx, _| delivered(tx, &[4])).unwrap();
        assert_eq!(numbers(&fixture, 4 * DAYS), [3, 5], "and what was made while nobody knew the time was not given up");
    }

    #[test]
    fn what_is_given_up_is_an_alert_until_the_last_of_it_is_taken_out() {
        let fixture = Fixture::new();
        let give_up = |number: u64| {
            fixture
                .write(move |tx, _| {
                    let Outgoing::Webhook(row) = tx.get(OUTBOX, &number)?.unwrap();
                    not_delivered(tx, number, &Outgoing::Webhook(row.failed("answered 500", at(4 * 86_400).wall, 0)))
                })
                .unwrap();
        };
        let open = |n: u32| {
            let open = alerts::open_of_kind(&fixture.store.read().unwrap(), ALERT).unwrap();
            open.into_iter().find(|alert| alert.subject == target(n).origin).map(|alert| alert.message)
        };
        for n in [1, 1, 2, 1] {
            fixture.write(move |tx, _| tell(tx, target(n), "e", "{}".into(), at(0))).unwrap();
        }
        fixture
            .write(|tx, _| {
                let Outgoing::Webhook(row) = tx.get(OUTBOX, &1)?.unwrap();
                not_delivered(tx, 1, &Outgoing::Webhook(row.failed("answered 500", at(1).wall, 0)))
            })
            .unwrap();
        assert_eq!((open(1), open(2)), (None, None), "it is tried again");
        give_up(1);
        give_up(2);
        assert!(open(1).unwrap().ends_with("answered 500"));
        assert_eq!(open(2), None, "each destination by itself");
        let discard = |number| fixture.write(move |tx, _| discard(tx, number, act().draft("outbox.discard", ""))).unwrap();
        fixture.write(|tx, _| delivered(tx, &[4])).unwrap();
        discard(1);
        assert!(open(1).is_some(), "another one is still given up");
        discard(2);
        assert_eq!(open(1), None);
        // What makes room for newer ones is gone as well.
        give_up(3);
        assert!(open(2).is_some());
        fixture.write(|tx, _| (0..=MAX_ROWS).try_for_each(|_| tell(tx, target(1), "e", "{}".into(), at(0)))).unwrap();
        assert_eq!(open(2), None);
    }

    #[test]
    fn another_key_signs_after_a_rotation() {
        let fixture = Fixture::new();
        let current = || key(&fixture.store.read().unwrap(), &fixture.store.secrets).unwrap().0;
        let first = current();
        let secrets = fixture.store.secrets.clone();
        let made = fixture.write(move |tx, _| rotate_key(tx, &secrets, [3; 32], act().draft("webhooks.rotate_key", ""), at(0))).unwrap();
        assert_eq!(current(), made.0);
        assert_ne!(current(), first);
    }
}
