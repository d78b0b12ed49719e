//! What the chain was told of the scores, and what it said.

use axum::extract::State;
use serde::Serialize;

use super::error::ApiError;
use super::json::Json;
use super::state::AppState;
use crate::domain::ids::NodeIndex;
use crate::domain::vote::{Reason, Round, Trouble, VoteAnswer};
use crate::storage::Store;
use crate::storage::core::votes;
use crate::storage::fault::Fault;

/// Why votes were refused, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VoteRefusals {
    /// Of HTTP.
    status: u16,
    /// What the chain said, at most 120 characters.
    reason: String,
    votes: u32,
}

/// The votes of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VoteRound {
    epoch: u32,
    /// Every vote of the round names it.
    block_id: String,
    #[schema(format = DateTime)]
    began_at: String,
    /// When the last vote was answered, or a newer epoch or its age ended the round; null while it is under way.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    votes: u32,
    accepted: u32,
    /// Of those accepted, answered by 409: the chain had them already.
    there_already: u32,
    refused: u32,
    /// Not answered.
    waiting: u32,
    refusals: Vec<VoteRefusals>,
}

impl From<Round> for VoteRound {
    fn from(round: Round) -> VoteRound {
        let waiting = round.waiting();
        let refusal = |Reason { status, said, votes }| VoteRefusals { status, reason: said, votes };
        VoteRound {
            epoch: round.epoch.0,
            block_id: round.block_id,
            began_at: round.began_at.rfc3339(),
            ended_at: round.ended_at.map(|at| at.rfc3339()),
            votes: round.votes,
            accepted: round.accepted,
            there_already: round.there_already,
            refused: round.refused,
            waiting,
            refusals: round.reasons.into_iter().map(refusal).collect(),
        }
    }
}

/// The chain could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VoteTrouble {
    #[schema(format = DateTime)]
    since: String,
    tries: u32,
    #[schema(format = DateTime)]
    next_try_at: String,
    why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Votes {
    /// Whether the settings name a chain.
    configured: bool,
    /// The newest epoch of which a vote was accepted.
    last_accepted_epoch: Option<u32>,
    /// Null while the chain answers.
    trouble: Option<VoteTrouble>,
    /// Since when the chain has refused votes in every round.
    #[schema(format = DateTime)]
    refused_since: Option<String>,
    /// Votes that were never answered, because a newer epoch or their age ended their round.
    unanswered: u64,
    /// The last twelve, newest first.
    rounds: Vec<VoteRound>,
}

/// How the votes stand
///
/// The scores of each closed epoch are sent to the chain, one vote for each node whose score is valid or invalid. A newer epoch replaces what was not sent.
#[utoipa::path(get, path = "/poot/votes", tag = "poot", security(("access" = ["poot:read"])), responses((status = 200, body = Votes)))]
pub async fn show(State(state): State<AppState>) -> Result<Json<Votes>, ApiError> {
    let row = votes::row(&state.store.read()?)?;
    let trouble =
        |Trouble { since, tries, next_at, why }| VoteTrouble { since: since.rfc3339(), tries, next_try_at: next_at.rfc3339(), why };
    Ok(Json(Votes {
        configured: state.settings().external.blockchain,
        last_accepted_epoch: row.rounds.iter().rev().find(|round| round.accepted > 0).map(|round| round.epoch.0),
        trouble: row.trouble.map(trouble),
        refused_since: row.refused_since.map(|at| at.rfc3339()),
        unanswered: row.unanswered,
        rounds: row.rounds.into_iter().rev().map(VoteRound::from).collect(),
    }))
}

/// The last vote of a node that the chain answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NodeVote {
    epoch: u32,
    accepted: bool,
    /// Of HTTP.
    status: u16,
    /// Why it was refused, in the words of the chain.
    reason: Option<String>,
}

impl NodeVote {
    pub fn of(store: &Store, node: NodeIndex) -> Result<Option<NodeVote>, Fault> {
        let answer = votes::of_node(&store.read()?, node)?;
        Ok(answer.map(|VoteAnswer { epoch, status, refused, .. }| NodeVote {
            epoch: epoch.0,
            accepted: refused.is_none(),
            status,
            reason: refused,
        }))
    }
}
