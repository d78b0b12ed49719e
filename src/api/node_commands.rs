//! Start, stop and restart of a node's workload, and how the commands ended.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::node_view::NodeViews;
use super::nodes::{node_id, published};
use super::page::{Page, PageQuery, Pagination};
use super::reads::{self, Names};
use super::state::AppState;
use crate::domain::command::{Action, Command, CommandState};
use crate::domain::ids::NodeId;
use crate::domain::node::{Observed, Status, Wanted};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::live::Change;
use crate::storage::core::{commands, nodes};
use crate::storage::fault::Fault;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NodeCommand)]
pub struct CommandView {
    /// Of the node and its revision: `node_0198….17`.
    #[schema(example = "node_0198c3a1d2b47e5f.17")]
    pub id: String,
    pub action: Action,
    pub state: CommandState,
    /// What is wanted of the workload; it stands when the command expires.
    pub wanted: Wanted,
    /// Counts the commands of this node.
    pub wanted_revision: u64,
    pub created_at: String,
    /// Id of the person who asked, or `console`.
    pub by: Option<String>,
    /// As it is now; null where nobody knows it any more.
    pub by_name: Option<String>,
    /// Until then it is to be carried out.
    pub deadline: String,
    pub delivered_at: Option<String>,
    pub finished_at: Option<String>,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

impl CommandView {
    pub fn new(names: &mut Names<'_>, node: &NodeId, command: Command) -> Result<CommandView, Fault> {
        let (by, by_name) = names.person(&command.by)?.map_or((None, None), |person| (Some(person.id), person.name));
        Ok(CommandView {
            id: format!("{node}.{}", command.revision),
            action: command.action,
            state: command.state,
            wanted: command.action.wanted(),
            wanted_revision: command.revision,
            created_at: command.created_at.rfc3339(),
            by,
            by_name,
            deadline: command.deadline.rfc3339(),
            delivered_at: command.delivered_at.map(Timestamp::rfc3339),
            finished_at: command.finished_at.map(Timestamp::rfc3339),
            outcome: command.outcome,
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeCommandAnswer {
    pub node_id: String,
    pub status: Status,
    /// When it was started or its start was ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When its stop was ordered, or when it had stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<String>,
    /// Null when nothing was to be done.
    pub command: Option<CommandView>,
}

/// Start a node's workload
///
/// Wants it running, and ends maintenance. A node that is away, or that no agent has claimed, does it when it comes; the command expires after ten
/// minutes, what is wanted stands. 200: it runs already.
#[utoipa::path(post, path = "/nodes/{id}/start", tag = "nodes", params(("id" = String, Path)), security(("access" = ["node:start"])),
    responses((status = 200, body = NodeCommandAnswer), (status = 202, body = NodeCommandAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn start(state: State<AppState>, caller: Caller, id: Path<String>) -> Result<(StatusCode, Json<NodeCommandAnswer>), ApiError> {
    ask(state, caller, id, Action::Start).await
}

/// Stop a node's workload
///
/// Its time goes on to count: while it is stopped no slot is proven. 200: it has stopped already.
#[utoipa::path(post, path = "/nodes/{id}/stop", tag = "nodes", params(("id" = String, Path)), security(("access" = ["node:stop"])),
    responses((status = 200, body = NodeCommandAnswer), (status = 202, body = NodeCommandAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn stop(state: State<AppState>, caller: Caller, id: Path<String>) -> Result<(StatusCode, Json<NodeCommandAnswer>), ApiError> {
    ask(state, caller, id, Action::Stop).await
}

/// Restart a node's workload
///
/// Starts one that was stopped. Maintenance goes on.
#[utoipa::path(post, path = "/nodes/{id}/restart", tag = "nodes", params(("id" = String, Path)), security(("access" = ["node:restart"])),
    responses((status = 202, body = NodeCommandAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn restart(state: State<AppState>, caller: Caller, id: Path<String>) -> Result<(StatusCode, Json<NodeCommandAnswer>), ApiError> {
    ask(state, caller, id, Action::Restart).await
}

async fn ask(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    action: Action,
) -> Result<(StatusCode, Json<NodeCommandAnswer>), ApiError> {
    let id = node_id(&id)?;
    let now = state.now();
    // A workload that is wanted so and is not so is told again; one that is so is left alone.
    let is_so = {
        let read = state.store.read()?;
        let node = nodes::by_id(&read, &id)?.ok_or(Refusal::NodeNotFound)?;
        let observed = NodeViews::new(&state, &read)?.observed(&node, state.store.intake.last_report(node.index));
        match action {
            Action::Start => observed == Observed::Active,
            Action::Stop => observed == Observed::Inactive,
            Action::Restart => false,
        }
    };
    let (act, directory) = (caller.act(now), state.store.directory.clone());
    let verb_id = id.clone();
    let asked = state.store.write(move |tx| commands::ask(tx, &directory, &act, &verb_id, action, !is_so)).await?;
    let (node, command) = asked;
    published(&state, &id, Change::Updated);
    let views_read = state.store.read()?;
    let views = NodeViews::new(&state, &views_read)?;
    let status = views.status(&node, views.observed(&node, state.store.intake.last_report(node.index)));
    let since = match &command {
        Some(command) => command.created_at,
        None => views.workload_since(node.index).unwrap_or(node.updated_at),
    };
    let code = if command.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    let at = since.rfc3339();
    let (started_at, stopped_at) = if action == Action::Stop { (None, Some(at)) } else { (Some(at), None) };
    let command = command.map(|command| CommandView::new(&mut Names::new(&views_read), &id, command)).transpose()?;
    Ok((code, Json(NodeCommandAnswer { node_id: id.to_string(), status, started_at, stopped_at, command })))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeCommandList {
    /// Newest first; of one node the newest 100 are kept.
    commands: Vec<CommandView>,
    pagination: Pagination,
}

/// What was asked of a node's workload
#[utoipa::path(get, path = "/nodes/{id}/commands", tag = "nodes", params(("id" = String, Path), PageQuery), security(("access" = ["node:read"])),
    responses((status = 200, body = NodeCommandList), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, Path(id): Path<String>, page: Page) -> Result<Json<NodeCommandList>, ApiError> {
    let node = reads::node(&state, &id)?;
    let read = state.store.read()?;
    let (commands, total) = commands::page(&read, node.index, page.offset(), page.limit())?;
    let mut names = Names::new(&read);
    let commands = commands.into_iter().map(|command| CommandView::new(&mut names, &node.id, command)).collect::<Result<_, _>>()?;
    Ok(Json(NodeCommandList { commands, pagination: page.of(total) }))
}
