//! A node leaves the fleet: deleted where nothing is owed to it, with its final payout, or with what is owed given up.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::input::reason;
use super::json::{Json, Path, Query};
use super::node_row::Shown;
use super::node_view::{NodeView, show};
use super::nodes::{node_id, published};
use super::reads;
use super::state::AppState;
use crate::domain::final_payout::{FinalPayout, Stage};
use crate::domain::ids::{NodeId, PayoutId, UserId};
use crate::domain::ledger::Account;
use crate::domain::money::{Pico, Units};
use crate::domain::node::Node;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::time::Slot;
use crate::domain::user::Role;
use crate::live::{Change, Job};
use crate::storage::core::final_payouts::{self, Forfeit};
use crate::storage::core::{epochs, ledger, nodes, payouts, suspensions};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::Read;
use crate::storage::{accruals, hot};

/// How often a forfeiture is computed anew because an epoch closed meanwhile.
const TRIES: u32 = 5;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Departure {
    /// Give up what is owed, in the live and in the simulated book. For an admin whose session was confirmed within the last minutes; wants a `reason`.
    forfeit: Option<bool>,
    /// Why it is given up. Name no people: the ledger keeps it in clear for good, and no erasure reaches it.
    #[param(min_length = 3, max_length = 500, example = "the machine was scrapped")]
    reason: Option<String>,
    /// Pay what is owed once more, then delete; in a dry run, what is owed in the live book goes on to hold the node. For an admin whose session was confirmed within the last minutes.
    final_payout: Option<bool>,
}

enum Way {
    Plain,
    Forfeit(String),
    FinalPayout,
}

impl Departure {
    fn check(self) -> Result<Way, Refusal> {
        let (forfeit, final_payout) = (self.forfeit == Some(true), self.final_payout == Some(true));
        let mut errors = FieldErrors::default();
        errors.require(!(forfeit && final_payout), "final_payout", "what is owed is either paid or forfeited");
        let reason = self.reason.map(|text| {
            errors.require(forfeit, "reason", "belongs to forfeit=true");
            if forfeit { reason(&mut errors, &text) } else { text }
        });
        errors.require(reason.is_some() || !forfeit, "reason", "is needed: why is it given up?");
        errors.finish()?;
        Ok(match reason {
            Some(reason) => Way::Forfeit(reason),
            None if final_payout => Way::FinalPayout,
            None => Way::Plain,
        })
    }
}

/// How far the final payout of a node is that leaves.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = FinalPayout)]
pub struct FinalPayoutView {
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    requested_at: String,
    /// Id of the person.
    #[schema(example = "user_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f")]
    requested_by: String,
    stage: FinalPayoutStage,
    /// Name of what holds it: `no_address`, `address_waits`, `hardware_drift`, `currency_not_payable`, `payout_failed`, `owed_live`, …
    #[schema(example = "no_address")]
    held_by: Option<&'static str>,
    /// The same in words.
    #[schema(example = "the node has no payout address")]
    held_because: Option<String>,
    /// The last payout that was planned for it.
    #[schema(example = "payout_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f")]
    payout_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinalPayoutStage {
    /// Its last epoch is open, or not posted yet.
    Closing,
    /// The payout is on its way, or planned with the next cycle.
    Paying,
    /// It cannot be paid or not be deleted; an alert says so too.
    Held,
}

impl FinalPayoutView {
    pub fn new(row: &FinalPayout, payout: Option<&PayoutId>) -> FinalPayoutView {
        let (stage, hold) = match row.stage {
            Stage::Closing => (FinalPayoutStage::Closing, None),
            Stage::Paying => (FinalPayoutStage::Paying, None),
            Stage::Held(hold) => (FinalPayoutStage::Held, Some(hold)),
        };
        FinalPayoutView {
            requested_at: row.requested_at.rfc3339(),
            requested_by: row.by.to_string(),
            stage,
            held_by: hold.map(|hold| hold.name()),
            held_because: hold.map(|hold| hold.to_string()),
            payout_id: payout.map(ToString::to_string),
        }
    }
}

/// Of a node, when it leaves.
pub fn final_payout(read: &impl Read, node: &Node) -> Result<Option<FinalPayoutView>, Fault> {
    let Some(row) = final_payouts::of_node(read, node.index)? else { return Ok(None) };
    let payout = row.payout.map(|seq| payouts::by_seq(read, seq)).transpose()?.flatten();
    Ok(Some(FinalPayoutView::new(&row, payout.as_ref().map(|payout| &payout.id))))
}

/// Delete a node
///
/// While payouts are a dry run, a final payout pays no live money, and what is owed live goes on to hold the node: only a forfeiture, or going live, ends that.
/// Refused while anything is owed to it or on its way (`NodeHasMoney`), unless that is paid or given up: `final_payout=true` takes it out of service at once and
/// answers 202; it is paid by the next cycles whatever threshold and frequency say, through every other guard, and deleted when nothing is owed any more.
/// `forfeit=true` moves what is owed to the ledger's `forfeited` accounts and deletes it now. Both are for admins whose session was confirmed within the last minutes
/// (`FreshFactorNeeded`), never for programs. Its id is never given out again.
#[utoipa::path(delete, path = "/nodes/{id}", tag = "nodes", security(("access" = ["node:write"])), params(("id" = String, Path), Departure),
    responses((status = 202, body = NodeView, description = "it leaves with its final payout; `final_payout` of the node says how far that is"),
    (status = 204, description = "it is deleted"), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, description = "`NodeHasMoney`, or with `forfeit` a payout that has not ended (`PayoutUnresolved`)"), (status = 503, body = ErrorBody)))]
pub async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(departure): Query<Departure>,
) -> Result<Response, ApiError> {
    let id = node_id(&id)?;
    match departure.check()? {
        Way::Plain => delete_bare(&state, &caller, &id).await?,
        Way::Forfeit(reason) => give_up(&state, &caller, &id, reason).await?,
        Way::FinalPayout => return leave(&state, &caller, &id).await,
    }
    published(&state, &id, Change::Deleted);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn delete_bare(state: &AppState, caller: &Caller, id: &NodeId) -> Result<(), ApiError> {
    let act = caller.act(state.now());
    let node = reads::node(state, id.as_str())?;
    let accrued = has_accrued(state, &node)?;
    let (directory, id) = (state.store.directory.clone(), id.clone());
    let verb = move |tx: &mut crate::storage::table::WriteTx<'_>| -> Result<Node, TxError> {
        // Who could delete it could enrol it anew, and be rid of the suspension.
        if suspensions::open(tx, node.index)?.is_some() {
            return Err(Refusal::NodeSuspended.into());
        }
        let has_money = accrued || is_owed(tx, &node)?;
        nodes::delete(tx, &directory, &act, &id, has_money)
    };
    Ok(state.store.write(verb).await.map(drop)?)
}

async fn give_up(state: &AppState, caller: &Caller, id: &NodeId, reason: String) -> Result<(), ApiError> {
    let by = decides(caller)?;
    for _ in 0..TRIES {
        let node = reads::node(state, id.as_str())?;
        let (act, directory, id) = (caller.act(state.now()), state.store.directory.clone(), id.clone());
        let (through, leaves, open_slots) = {
            let (core, hot) = (state.store.read()?, state.store.hot.read()?);
            let through = epochs::last(&core)?.map(|head| head.epoch).unwrap_or_default();
            let leaves = accruals::gather(&core, &hot, &[node.index], through)?.remove(&node.index).unwrap_or_default();
            (through, leaves, open_slots(state, &core, &hot, &node)?)
        };
        let forfeit = Forfeit { reason: reason.clone(), by: by.clone(), leaves, through, open_slots };
        let verb = move |tx: &mut crate::storage::table::WriteTx<'_>| -> Result<bool, TxError> {
            // An epoch that closed meanwhile has earned what was not counted.
            if epochs::last(tx)?.map(|head| head.epoch).unwrap_or_default() != forfeit.through {
                return Ok(false);
            }
            final_payouts::forfeit(tx, &directory, &act, &id, &forfeit).map(|_| true)
        };
        if state.store.write_money(verb).await? {
            return Ok(());
        }
    }
    Err(ApiError::unavailable("EpochClosing", "epochs close too fast to count what is given up; nothing was changed"))
}

/// What becomes of money that is owed is an admin's to say. A final payout is no less than that: it takes the node out of service unobserved, as long as somebody
/// likes, pays below the threshold and gives up what pending epochs hold.
fn decides(caller: &Caller) -> Result<UserId, ApiError> {
    let (by, _) = caller.person(Role::Admin)?;
    caller.require_fresh()?;
    Ok(by)
}

async fn leave(state: &AppState, caller: &Caller, id: &NodeId) -> Result<Response, ApiError> {
    let by = decides(caller)?;
    let (act, directory, id) = (caller.act(state.now()), state.store.directory.clone(), id.clone());
    let node = state.store.write_money(move |tx| final_payouts::request(tx, &directory, &act, &id, &by)).await?;
    state.nudges.nudge(Job::Payouts);
    published(state, &node.id, Change::Updated);
    Ok((StatusCode::ACCEPTED, Json(show(state, node)?)).into_response())
}

/// Cancel the final payout of a node
///
/// The node stays, and is in service again with the next slot. A payout that is under way goes on to its end.
#[utoipa::path(delete, path = "/nodes/{id}/final-payout", tag = "nodes", security(("access" = ["payout:process"])), params(("id" = String, Path)),
    extensions(("x-fresh-factor" = json!(true))), responses((status = 200, body = NodeView), (status = 404, description = "no such node, or none was asked for (`FinalPayoutNotFound`)"), (status = 503, body = ErrorBody)))]
pub async fn cancel(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Shown>, ApiError> {
    let id = node_id(&id)?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let node = state.store.write_money(move |tx| final_payouts::cancel(tx, &directory, &act, &id)).await?;
    published(&state, &node.id, Change::Updated);
    Ok(Json(show(&state, node)?))
}

/// Slots that the node has proven in epochs that are not closed.
fn open_slots(state: &AppState, core: &impl Read, hot: &impl Read, node: &Node) -> Result<u32, Fault> {
    let open = epochs::last(core)?.map_or(Slot(0), |head| head.next_slot());
    let stored = hot::evidence(hot, open, Slot(u32::MAX))?.into_iter().filter(|(_, row)| row.proven.get(node.index));
    let waiting = state.store.intake.open_rows(open, Slot(u32::MAX)).into_iter().filter(|(_, row)| row.proven.get(node.index));
    let slots: std::collections::BTreeSet<Slot> = stored.chain(waiting).map(|(slot, _)| slot).collect();
    Ok(u32::try_from(slots.len()).unwrap_or(u32::MAX))
}

/// A whole unit or more is earned and not posted yet, or slots are proven of an epoch that is not closed. What is less than a unit can never be posted
/// and keeps nobody.
fn has_accrued(state: &AppState, node: &Node) -> Result<bool, Fault> {
    let (core, hot) = (state.store.read()?, state.store.hot.read()?);
    if open_slots(state, &core, &hot, node)? > 0 {
        return Ok(true);
    }
    let unposted = accruals::unposted(&core, &hot, [node.index])?;
    Ok(unposted.values().flat_map(|sum| sum.values()).any(|amount| amount.0 >= Pico::PER_UNIT))
}

/// Something posted is owed to the node, reserved for it, or on its way.
fn is_owed(read: &impl Read, node: &Node) -> Result<bool, Fault> {
    for book in final_payouts::books() {
        for account in [Account::NodePayable(node.index), Account::NodeReserved(node.index)] {
            if ledger::balance(read, book, account)? != Units::ZERO {
                return Ok(true);
            }
        }
        if payouts::unresolved(read, node.index, book)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
