//! What people are told: the messages about each payout tell its story from its plan to its end, and money that is stuck has an alarm.

use std::collections::BTreeMap;

use lucid::domain::alert::Alert;
use lucid::domain::payout::{Payout, State};
use lucid::storage::core::{alerts, money, outbox};
use serde_json::{Value, json};

use super::auditor::{Found, transfers};
use super::world::World;
use crate::support::rig::lock;
use crate::support::tron::address::hex;

/// A payout that did not move for so long is stuck: an alarm comes after six hours.
const STUCK_MS: i64 = 7 * 3_600_000;

/// How far the last attempt of a payout is, as far as its messages say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is none, or it can never land.
    None,
    Signed,
    Sent,
    Seen,
}

/// Every payout's messages, in the order of their numbers, begin with its plan, follow from each other, and end as it did.
pub fn stories(world: &World) -> Result<(), Found> {
    let mut stories: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (number, row) in outbox::page(&world.store().read().unwrap(), 0, usize::MAX).unwrap().0 {
        let body: Value = serde_json::from_str(&row.delivery().body).unwrap();
        if body["event"] != row.delivery().event.as_str() {
            return Err(format!("message {number} is called {}: {body}", row.delivery().event));
        }
        stories.entry(body["payout_id"].as_str().unwrap_or_default().to_owned()).or_default().push(body);
    }
    for payout in world.payouts() {
        let story = stories.remove(payout.id.as_str()).unwrap_or_default();
        let events = || story.iter().map(|body| body["event"].as_str().unwrap_or_default()).collect::<Vec<_>>();
        follow(&story).and_then(|()| ends_as(&story, &payout)).map_err(|why| format!("{}: {why}: {:?}", payout.id, events()))?;
    }
    if stories.is_empty() { Ok(()) } else { Err(format!("nobody knows these payouts: {:?}", stories.keys())) }
}

fn is_held(body: &Value) -> bool {
    !body["review_reason"].is_null()
}

fn follow(story: &[Value]) -> Result<(), Found> {
    // What a step that sends it to a person did besides, its message does not say: several stages are possible after it.
    let mut stages = vec![Stage::None];
    for (at, body) in story.iter().enumerate() {
        let event = body["event"].as_str().unwrap_or_default();
        let Some(before) = at.checked_sub(1).map(|at| &story[at]) else {
            if event != "payout.planned" || body["attempt"] != 0 || is_held(body) {
                return Err(format!("it begins with {body}"));
            }
            continue;
        };
        let (was_held, held) = (is_held(before), is_held(body));
        let attempt = before["attempt"].as_u64().unwrap_or(0);
        let is_from = |from: &[Stage]| stages.iter().any(|stage| from.contains(stage));
        let live = [Stage::Signed, Stage::Sent, Stage::Seen];
        let (fits, next) = match event {
            "payout.signed" => (is_from(&[Stage::None]) && !held && !was_held, vec![Stage::Signed]),
            "payout.sent" => (is_from(&[Stage::Signed]) && !held && !was_held, vec![Stage::Sent]),
            "payout.not_sent" => (is_from(&[Stage::Sent]) && held == was_held, vec![Stage::Signed]),
            "payout.seen" => (is_from(&live) && held == was_held, vec![Stage::Seen]),
            "payout.unseen" => (is_from(&[Stage::Seen]) && held == was_held, vec![Stage::Sent]),
            "payout.attempt_dead" => (is_from(&live) && held == was_held, vec![Stage::None]),
            "payout.review" => (!was_held && held, [&stages[..], &[Stage::None]].concat()),
            "payout.resumed" => (was_held && !held, stages.clone()),
            "payout.noted" => (was_held && held, stages.clone()),
            // A person may have named what is proven dead.
            "payout.paid" => (is_from(&live) || (was_held && attempt > 0), Vec::new()),
            "payout.failed" => (is_from(&live), Vec::new()),
            "payout.cancelled" => (is_from(&[Stage::None]), Vec::new()),
            _ => (false, Vec::new()),
        };
        let status = match event {
            "payout.paid" => "completed",
            "payout.failed" => "failed",
            "payout.cancelled" => "cancelled",
            _ if body["attempt"] == 0 && !held => "pending",
            _ => "processing",
        };
        let attempts = attempt + u64::from(event == "payout.signed");
        if !fits || body["status"] != status || body["attempt"] != attempts {
            return Err(format!("{body} does not follow {before}"));
        }
        stages = next;
    }
    Ok(())
}

fn ends_as(story: &[Value], payout: &Payout) -> Result<(), Found> {
    let last = story.last().ok_or("nobody was told of it")?;
    let event = match &payout.state {
        State::Open => None,
        State::Paid { .. } => Some("payout.paid"),
        State::Failed { .. } => Some("payout.failed"),
        State::Cancelled { .. } => Some("payout.cancelled"),
    };
    let is_end = event.is_none_or(|event| last["event"] == event);
    let paid_by = payout.txid().filter(|_| matches!(payout.state, State::Paid { .. }));
    let is_same = last["status"] == payout.status().as_str() && last["attempt"] == payout.attempts.len();
    if !is_end || !is_same || paid_by.is_some_and(|txid| last["transaction_hash"] != json!(txid)) {
        return Err(format!("the last message is {last}, and it is {:?}", payout.state));
    }
    Ok(())
}

/// After a cycle of a manager whose clock is right: what holds money has an alarm, and so has each payout that does not move.
pub fn stuck(world: &World) -> Result<(), Found> {
    let (store, now) = (world.store(), world.now());
    let read = store.read().unwrap();
    let (open, state) = (alerts::all_open(&read).unwrap(), money::state(&read).unwrap());
    let has = |kind: &str| open.iter().any(|alert| alert.kind == kind);
    if state.frozen.is_some() != has("payouts_frozen") || state.stopped.is_some() != has("payouts_stopped") {
        return Err(format!("frozen: {:?}, stopped: {:?}, and the alarms are {:?}", state.frozen, state.stopped, kinds(&open)));
    }
    let is_halted = state.frozen.is_some() || state.stopped.is_some() || has("payout_approval");
    for payout in world.payouts().into_iter().filter(Payout::is_open) {
        let is_told = |kind: Option<&str>| {
            let of_it = |alert: &&Alert| alert.subject == payout.id.as_str();
            open.iter().filter(of_it).any(|alert| kind.is_none_or(|kind| alert.kind == kind))
        };
        // One that waits for an hour or a day of the caps goes on by itself.
        let passes = world.app().context.money.waiting(payout.seq).is_some_and(|waiting| waiting.until.is_some());
        let is_stuck = now.wall.since(payout.created_at.max(payout.updated_at)) >= STUCK_MS;
        if payout.review.is_some() && !is_told(Some("payout_review")) {
            return Err(format!("it waits for a person, and no alarm says so: {payout:?}"));
        }
        if is_stuck && !passes && !is_halted && !is_told(None) {
            return Err(format!("it does not move, and no alarm says so ({:?}): {payout:?}", kinds(&open)));
        }
    }
    Ok(())
}

/// What the chain held for good at block `through`, a complete comparison ago, is a payout's, or it is listed and somebody is told.
pub fn unexplained(world: &World, through: u64) -> Result<(), Found> {
    let read = world.store().read().unwrap();
    let open = alerts::all_open(&read).unwrap();
    let payouts = world.payouts();
    for paid in transfers(world).into_iter().filter(|paid| paid.block <= through) {
        let txid = hex(&paid.txid);
        let is_of = |payout: &Payout| payout.attempts.iter().any(|attempt| attempt.may_have_paid() && attempt.txid() == Some(&txid));
        let row = money::unknown(&read, &txid).unwrap();
        let is_told = ["payouts_frozen", "transfers_not_booked", "wallet_unreachable"]
            .iter()
            .any(|kind| open.iter().any(|alert| alert.kind == *kind));
        let is_booked = row.as_ref().is_some_and(|row| row.booked_at.is_some());
        if !is_booked && !payouts.iter().any(is_of) && !is_told {
            return Err(format!("no book explains it, and no alarm says so ({:?}): {paid:?}, {row:?}", kinds(&open)));
        }
    }
    Ok(())
}

/// The number of the block through which everything is final.
pub fn solid(world: &World) -> u64 {
    lock(&world.network).chain.solid()
}

fn kinds(open: &[Alert]) -> Vec<(&str, &str)> {
    open.iter().map(|alert| (alert.kind.as_str(), alert.subject.as_str())).collect()
}
