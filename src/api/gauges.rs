//! What `/metrics` says about scores, money and replication: computed from the store for one scrape, so that a restart forgets nothing.

use std::collections::BTreeMap;

use rust_decimal::prelude::ToPrimitive;

use super::metrics::float;
use super::replication::{ReplicationState, Standing};
use super::state::AppState;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::Book;
use crate::domain::money::Units;
use crate::domain::payout::Status;
use crate::live::{Family, Gauge};
use crate::storage::NodeEntry;
use crate::storage::core::payouts;
use crate::storage::fault::Fault;
use crate::storage::present::Standings;

/// `poot_scores{node_id}`: 0 to 100; nodes whose score is pending are left out. At most `limit` nodes.
pub fn poot_scores(state: &AppState, limit: usize) -> Result<Vec<Gauge>, Fault> {
    let nodes = state.store.directory.all();
    let indices: Vec<NodeIndex> = nodes.iter().take(limit).map(|node| node.index).collect();
    let standings = Standings::load(&state.store, &indices, state.settings().poot, state.now())?;
    let gauge = |node: &NodeEntry| {
        let score = standings.of(node.index).known_score()?;
        let labels = vec![("node_id", node.id.to_string())];
        Some(Gauge { family: Family::PootScores, labels, value: f64::from(score.score_hundredths) / 100.0 })
    };
    Ok(nodes.iter().take(limit).filter_map(|node| gauge(node)).collect())
}

/// `payouts_total{settlement,currency,status}`, and `payout_amounts{settlement,currency}` of the completed ones.
pub fn payouts(state: &AppState) -> Result<Vec<Gauge>, Fault> {
    let mut counts: BTreeMap<_, u32> = BTreeMap::new();
    let mut paid: BTreeMap<_, Units> = BTreeMap::new();
    payouts::for_each(&state.store.read()?, |payout| {
        let count = counts.entry((payout.book, payout.status())).or_default();
        *count = count.saturating_add(1);
        if payout.status() == Status::Completed {
            let sum = paid.entry(payout.book).or_default();
            // A sum beyond the type stays where it was: a scrape must not fail.
            *sum = sum.plus(payout.amount).unwrap_or(*sum);
        }
    })?;
    let count = |((book, status), count): ((Book, Status), u32)| Gauge {
        family: Family::Payouts,
        labels: vec![
            ("settlement", book.settlement.to_string()),
            ("currency", book.currency.to_string()),
            ("status", status.as_str().to_owned()),
        ],
        value: f64::from(count),
    };
    let amount = |(book, sum): (Book, Units)| Gauge {
        family: Family::PayoutAmounts,
        labels: vec![("settlement", book.settlement.to_string()), ("currency", book.currency.to_string())],
        value: sum.to_decimal(book.currency).to_f64().unwrap_or_default(),
    };
    Ok(counts.into_iter().map(count).chain(paid.into_iter().map(amount)).collect())
}

/// Nothing where no cluster is configured; what nobody knows is left out.
pub fn replication(state: &AppState) -> Result<Vec<Gauge>, Fault> {
    let Some(standing) = Standing::of(state)? else { return Ok(Vec::new()) };
    let status = &standing.status;
    let gauge = |family, value| Gauge { family, labels: vec![], value };
    let mut gauges = vec![
        gauge(Family::ReplicationDocuments, float(status.documents)),
        gauge(Family::ReplicationBytes, float(status.bytes)),
        gauge(Family::ReplicationFailures, f64::from(status.failures)),
        gauge(Family::ReplicationNotTaken, float(status.not_taken)),
    ];
    let behind = standing.behind_seconds(standing.waiting(), state.now().wall);
    gauges.extend(behind.map(|seconds| gauge(Family::ReplicationBehind, float(seconds))));
    gauges.extend(ReplicationState::ALL.into_iter().map(|of| Gauge {
        family: Family::ReplicationState,
        labels: vec![("state", of.as_str().to_owned())],
        value: f64::from(u8::from(of == standing.state)),
    }));
    gauges.extend(standing.collections.iter().filter_map(|of| {
        let labels = vec![("collection", of.collection.to_owned())];
        Some(Gauge { family: Family::ReplicationWaiting, labels, value: float(of.documents?) })
    }));
    Ok(gauges)
}
