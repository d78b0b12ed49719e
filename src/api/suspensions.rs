//! Suspensions of nodes: imposing and lifting them, appeals against them.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::input::{reason, trimmed};
use super::json::{Json, Path};
use super::nodes::{node_id, published};
use super::reads::{self, Names, Person};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::ids::{AlertId, NodeIndex};
use crate::domain::refusal::Refusal;
use crate::domain::suspension::{Appeal, Decision, Lifted};
use crate::live::Change;
use crate::storage::Store;
use crate::storage::core::suspensions::{self, Numbered};
use crate::storage::fault::Fault;

/// What an admin made of an appeal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppealOutcome {
    /// The suspension stands.
    Uphold,
    /// It is lifted.
    Lift,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = SuspensionAppeal)]
pub struct AppealView {
    #[schema(format = DateTime)]
    at: String,
    by: Option<Person>,
    text: String,
    /// Null while it waits.
    outcome: Option<AppealOutcome>,
    #[schema(format = DateTime)]
    decided_at: Option<String>,
    decided_by: Option<Person>,
    decided_because: Option<String>,
}

/// A node that an admin took out of service: its slots are neither observed nor paid.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Suspension)]
pub struct SuspensionView {
    /// Counts the suspensions of this node.
    number: u64,
    /// The first slot that does not count.
    #[schema(format = DateTime)]
    from: String,
    by: Option<Person>,
    /// Texts are empty once the node's operator was erased.
    reason: String,
    /// The alert that shows why.
    evidence_alert: Option<String>,
    /// Oldest first; at most five.
    appeals: Vec<AppealView>,
    /// The first slot that counts again; null while the suspension is in force.
    #[schema(format = DateTime)]
    until: Option<String>,
    lifted_by: Option<Person>,
    lifted_because: Option<String>,
}

impl SuspensionView {
    fn new(names: &mut Names<'_>, (number, row): Numbered) -> Result<SuspensionView, Fault> {
        let appeals = row.appeals.into_iter().map(|appeal| AppealView::new(names, appeal)).collect::<Result<_, _>>()?;
        let (mut until, mut lifted_by, mut lifted_because) = (None, None, None);
        if let Some(Lifted { from, by, reason, .. }) = row.lifted {
            (until, lifted_by, lifted_because) = (Some(from.start().rfc3339()), names.person(&by)?, Some(reason));
        }
        Ok(SuspensionView {
            number,
            from: row.from.start().rfc3339(),
            by: names.person(&row.by)?,
            reason: row.reason,
            evidence_alert: row.evidence.map(|id| id.to_string()),
            appeals,
            until,
            lifted_by,
            lifted_because,
        })
    }

    /// The one that is in force.
    pub fn open(store: &Store, node: NodeIndex) -> Result<Option<SuspensionView>, Fault> {
        let read = store.read()?;
        suspensions::open(&read, node)?.map(|row| SuspensionView::new(&mut Names::new(&read), row)).transpose()
    }
}

impl AppealView {
    fn new(names: &mut Names<'_>, Appeal { at, by, text, decision }: Appeal) -> Result<AppealView, Fault> {
        let (mut outcome, mut decided_at, mut decided_by, mut decided_because) = (None, None, None, None);
        if let Some(Decision { upheld, at, by, reason }) = decision {
            outcome = Some(if upheld { AppealOutcome::Uphold } else { AppealOutcome::Lift });
            (decided_at, decided_by, decided_because) = (Some(at.rfc3339()), names.person(&by)?, Some(reason));
        }
        Ok(AppealView { at: at.rfc3339(), by: names.person(&by)?, text, outcome, decided_at, decided_by, decided_because })
    }
}

fn shown(state: &AppState, row: Numbered) -> Result<Json<SuspensionView>, ApiError> {
    let read = state.store.read()?;
    Ok(Json(SuspensionView::new(&mut Names::new(&read), row)?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendRequest {
    /// The operator reads it.
    #[schema(min_length = 3, max_length = 500, example = "two nodes report the same outputs")]
    reason: String,
    /// Id of an alert about this node, open or over.
    #[schema(example = "alert_0000000042")]
    evidence_alert: Option<String>,
}

/// Suspend a node
///
/// From the next slot on it is neither observed nor paid, maintenance that goes on ends, and what is planned is called off. It keeps its workload and goes on reporting;
/// what it reports is attested. What it has earned stays owed and is paid as before: payouts are held by `hold` or `money/freeze`.
#[utoipa::path(post, path = "/nodes/{id}/suspend", tag = "nodes", security(("access" = ["node:suspend"])), params(("id" = String, Path)), request_body = SuspendRequest,
    responses((status = 200, body = SuspensionView), (status = 400, body = ErrorBody), (status = 404, description = "no such node (`NodeNotFound`), or no such alert about it (`AlertNotFound`)"),
    (status = 409, description = "`NodeSuspended`, or the node leaves (`NodeLeaving`)"), (status = 503, body = ErrorBody)))]
pub async fn suspend(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<SuspendRequest>,
) -> Result<Json<SuspensionView>, ApiError> {
    let id = node_id(&id)?;
    let (why, evidence) = body.check(|body, errors| (reason(errors, &body.reason), body.evidence_alert))?;
    let alert = |text: String| AlertId::parse(&text).map_err(|_| Refusal::AlertNotFound);
    let evidence = evidence.map(alert).transpose().map_err(ApiError::naming([(Refusal::AlertNotFound, "evidence_alert")]))?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let verb =
        move |tx: &mut crate::storage::table::WriteTx<'_>| suspensions::suspend(tx, &directory, &act, &id, (&why, evidence.as_ref()));
    let (node, row) = state.store.write(verb).await.map_err(ApiError::naming([(Refusal::AlertNotFound, "evidence_alert")]))?;
    published(&state, &node.id, Change::Updated);
    shown(&state, row)
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftRequest {
    #[schema(min_length = 3, max_length = 500, example = "the machine was replaced")]
    reason: String,
}

/// Lift the suspension of a node
///
/// It is in service again from the next slot; one that leaves with its final payout goes on leaving. An appeal that waits is decided by it.
#[utoipa::path(post, path = "/nodes/{id}/unsuspend", tag = "nodes", security(("access" = ["node:suspend"])), params(("id" = String, Path)), request_body = LiftRequest,
    responses((status = 200, body = SuspensionView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, description = "`NotSuspended`"), (status = 503, body = ErrorBody)))]
pub async fn unsuspend(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<LiftRequest>,
) -> Result<Json<SuspensionView>, ApiError> {
    let id = node_id(&id)?;
    let why = body.check(|body, errors| reason(errors, &body.reason))?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let (node, row) = state.store.write(move |tx| suspensions::lift(tx, &directory, &act, &id, &why)).await?;
    published(&state, &node.id, Change::Updated);
    shown(&state, row)
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppealRequest {
    /// Why the suspension is wrong.
    #[schema(min_length = 3, max_length = 2000, example = "both nodes are virtual machines of one host, as agreed")]
    text: String,
}

/// Appeal against the suspension of a node
///
/// One appeal at a time, five against one suspension. An alert tells the admins; one of them decides.
#[utoipa::path(post, path = "/nodes/{id}/appeal", tag = "nodes", security(("access" = ["node:write"])), params(("id" = String, Path)), request_body = AppealRequest,
    responses((status = 200, body = SuspensionView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, description = "`NotSuspended` or `AppealOpen`"),
    (status = 422, description = "`TooManyAppeals`")))]
pub async fn appeal(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<AppealRequest>,
) -> Result<Json<SuspensionView>, ApiError> {
    let id = node_id(&id)?;
    let text = body.check(|body, errors| trimmed(errors, "text", &body.text, 3..=2_000))?;
    let (act, of) = (caller.act(state.now()), id.clone());
    let row = state.store.write(move |tx| suspensions::appeal(tx, &act, &of, &text)).await?;
    published(&state, &id, Change::Updated);
    shown(&state, row)
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppealDecision {
    decision: AppealOutcome,
    /// The operator reads it.
    #[schema(min_length = 3, max_length = 500, example = "the machines are the same one")]
    reason: String,
}

/// Decide an appeal
///
/// Who suspended the node does not uphold that, where there is another admin (`OwnSuspension`); anybody who may suspend may lift.
#[utoipa::path(post, path = "/nodes/{id}/appeal/decide", tag = "nodes", security(("access" = ["node:suspend"])), params(("id" = String, Path)), request_body = AppealDecision,
    responses((status = 200, body = SuspensionView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, description = "no such node, or no appeal waits (`AppealNotFound`)"), (status = 409, description = "`NotSuspended`"), (status = 503, body = ErrorBody)))]
pub async fn decide(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<AppealDecision>,
) -> Result<Json<SuspensionView>, ApiError> {
    let id = node_id(&id)?;
    let (upheld, why) = body.check(|body, errors| (body.decision == AppealOutcome::Uphold, reason(errors, &body.reason)))?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let (node, row) = state.store.write(move |tx| suspensions::decide(tx, &directory, &act, &id, (upheld, &why))).await?;
    published(&state, &node.id, Change::Updated);
    shown(&state, row)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SuspensionList {
    /// Newest first; of one node twenty are kept.
    suspensions: Vec<SuspensionView>,
}

/// The suspensions of a node
#[utoipa::path(get, path = "/nodes/{id}/suspensions", tag = "nodes", security(("access" = ["node:read"])), params(("id" = String, Path)),
    responses((status = 200, body = SuspensionList), (status = 404, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<SuspensionList>, ApiError> {
    let node = reads::node(&state, &id)?;
    let read = state.store.read()?;
    let mut names = Names::new(&read);
    let rows = suspensions::of_node(&read, node.index)?.into_iter().rev();
    Ok(Json(SuspensionList { suspensions: rows.map(|row| SuspensionView::new(&mut names, row)).collect::<Result<_, _>>()? }))
}
