//! Archives of payouts, by the month in which they were planned: a line is a payout as people read it, with the bytes that the store has of it.
//!
//! They are copies: the rows stay. A payout is what its transactions, its id and its idempotency are found by, what a restored store is compared with the chain
//! by, and where a replay of the ledger has its fees from; that no money is sent twice does not hang on what is in a file.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;

use super::content::Content;
use super::names::NodeIds;
use super::{Failed, Writer};
use crate::crypto::hex;
use crate::domain::archive::{Kind, Manifest};
use crate::domain::payout::{Payout, State, Status};
use crate::domain::statement::Month;
use crate::storage::Store;
use crate::storage::core::{archives, payouts};
use crate::storage::fault::{Fault, WriteError};
use crate::storage::table::{Read, encode};

/// Payouts that are read at once.
const PAGE: usize = 500;

/// A line.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    /// Counts from 1 without gaps.
    seq: u64,
    node_id: String,
    /// Settlement and currency.
    book: String,
    /// In the smallest unit of the currency.
    units: i64,
    address: String,
    status: Status,
    /// Why it failed or was cancelled.
    reason: Option<String>,
    /// Of every attempt.
    transactions: Vec<String>,
    created_at: String,
    ended_at: Option<String>,
    /// The record in the version that was current, in hex.
    stored: String,
}

impl Line {
    fn of(node_id: &str, payout: &Payout) -> Result<Line, Fault> {
        let (ended_at, reason) = match &payout.state {
            State::Open => (None, None),
            State::Paid { at } => (Some(*at), None),
            State::Failed { at, reason } | State::Cancelled { at, reason } => (Some(*at), Some(reason.clone())),
        };
        let txids = payout.attempts.iter().flat_map(|attempt| attempt.prepared.txid.iter().chain(&attempt.found_txid));
        Ok(Line {
            id: payout.id.to_string(),
            seq: payout.seq,
            node_id: node_id.to_owned(),
            book: payout.book.to_string(),
            units: payout.amount.0,
            address: payout.address.to_string(),
            status: payout.status(),
            reason,
            transactions: txids.cloned().collect(),
            created_at: payout.created_at.rfc3339(),
            ended_at: ended_at.map(|at| at.rfc3339()),
            stored: hex(&encode(payout)?),
        })
    }
}

/// Payouts of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payouts {
    /// The next one.
    from: u64,
    last: u64,
    month: Month,
    ids: NodeIds,
}

/// What of the payouts from `from` on is of one month: its last one, when all of them ended and changed no more before `kept`.
fn stretch(read: &impl Read, from: u64, after: Month, kept: Month) -> Result<Option<(Month, u64)>, Fault> {
    let (mut month, mut last, mut waits) = (None, None, false);
    payouts::for_each_from(read, from, |payout| {
        let of = *month.get_or_insert_with(|| Month::of(payout.created_at).max(after));
        if payout.created_at >= of.end() {
            return ControlFlow::Break(());
        }
        if of >= kept || payout.is_open() || payout.updated_at >= kept.start() {
            waits = true;
            return ControlFlow::Break(());
        }
        last = Some(payout.seq);
        ControlFlow::Continue(())
    })?;
    Ok(month.zip(last).filter(|_| !waits))
}

impl Content for Payouts {
    const KIND: Kind = Kind::Payouts;

    fn due(store: &Store, kept: Month) -> Result<Option<Payouts>, Fault> {
        let core = store.read()?;
        let newest = archives::newest(&core, Kind::Payouts)?;
        let from = newest.as_ref().map_or(1, |newest| newest.last + 1);
        let after = newest.and_then(|newest| Month::parse(&newest.period)).map_or(Month(0), Month::next);
        let found = stretch(&core, from, after, kept)?;
        Ok(found.map(|(month, last)| Payouts { from, last, month, ids: NodeIds::default() }))
    }

    fn period(&self) -> String {
        self.month.to_string()
    }

    fn step(&mut self, store: &Store, writer: &mut Writer) -> Result<bool, Failed> {
        let core = store.read()?;
        let (mut page, last) = (Vec::new(), self.last);
        payouts::for_each_from(&core, self.from, |payout| {
            if payout.seq > last || page.len() == PAGE {
                return ControlFlow::Break(());
            }
            page.push(payout);
            ControlFlow::Continue(())
        })?;
        for payout in &page {
            writer.line(payout.seq, &Line::of(self.ids.of(&core, payout.node)?, payout)?)?;
            self.from = payout.seq + 1;
        }
        Ok(self.from > self.last || page.is_empty())
    }

    fn is_left(_: &Store, _: &Manifest) -> Result<bool, Fault> {
        Ok(false)
    }

    async fn forget(_: &Arc<Store>, _: &Manifest) -> Result<bool, WriteError> {
        Ok(false)
    }
}
