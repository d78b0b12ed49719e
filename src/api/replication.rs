//! Replication to the cluster where managers meet: how it stands, and pausing, resuming and sending a collection once more.

use axum::extract::State;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::reads;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::live::{Doing, Job, Status};
use crate::storage::core::audit;
use crate::storage::fault::Fault;
use crate::storage::replica::marks;
use crate::storage::replica::measured::Measured;
use crate::storage::replica::waiting::{Waiting, collections, waiting};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicationState {
    /// No cluster is configured.
    Off,
    /// The cluster has not been there since the start.
    Connecting,
    /// Another run of this manager may still write: it is waited until it is seen not to, 90 s.
    Watching,
    /// Everything goes, from the start.
    Copying,
    /// What changed goes.
    Sending,
    /// The cluster has all that there was a moment ago.
    Current,
    /// Somebody wants it so.
    Paused,
    /// The cluster does not answer, or refuses.
    Away,
    /// Another manager with this id writes.
    Second,
    /// This store was restored somewhere else since.
    Superseded,
}

impl ReplicationState {
    pub const ALL: [ReplicationState; 10] = [
        ReplicationState::Off,
        ReplicationState::Connecting,
        ReplicationState::Watching,
        ReplicationState::Copying,
        ReplicationState::Sending,
        ReplicationState::Current,
        ReplicationState::Paused,
        ReplicationState::Away,
        ReplicationState::Second,
        ReplicationState::Superseded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ReplicationState::Off => "off",
            ReplicationState::Connecting => "connecting",
            ReplicationState::Watching => "watching",
            ReplicationState::Copying => "copying",
            ReplicationState::Sending => "sending",
            ReplicationState::Current => "current",
            ReplicationState::Paused => "paused",
            ReplicationState::Away => "away",
            ReplicationState::Second => "second",
            ReplicationState::Superseded => "superseded",
        }
    }

    /// For people, where nothing else is to be said.
    fn text(self) -> &'static str {
        match self {
            ReplicationState::Off => "Nothing is replicated: no cluster is configured.",
            ReplicationState::Connecting => "The cluster has not answered yet.",
            ReplicationState::Watching => "Another run of this manager may still write. It takes 90 seconds to see that it does not.",
            ReplicationState::Copying => {
                "Documents are being copied from the first to the last. Until that is done, the cluster has no state of this manager as a whole."
            }
            ReplicationState::Sending => "What changed is on its way.",
            ReplicationState::Current => "The cluster is up to date.",
            ReplicationState::Paused => "Nothing is sent. What changes goes when somebody resumes.",
            ReplicationState::Away => "The cluster does not answer, or refuses. Nothing is lost: what changes goes when it is back.",
            ReplicationState::Second => {
                "Another manager with the id of this one writes to the cluster, or did last, so this one sends nothing. Stop one of them."
            }
            ReplicationState::Superseded => {
                "The store of this manager was restored somewhere else since, and what was made of it writes. This manager never does again: stop it."
            }
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ReplicationError {
    message: String,
    #[schema(format = DateTime)]
    at: String,
}

/// Documents that the cluster did not take; they are tried again in each round.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NotTakenView {
    /// Since the start of the manager.
    count: u64,
    /// Of the last one.
    because: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReplicatedCollection)]
pub struct CollectionView {
    #[schema(example = "nodes")]
    collection: &'static str,
    /// Documents that the cluster does not have as they are; null while nobody knows.
    waiting: Option<u64>,
    /// How old what the cluster has of it is; 0 where nothing waits, null where nothing is known of it.
    behind_seconds: Option<u64>,
    /// It was copied from its first document to its last.
    is_whole: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ReplicationView {
    /// A cluster is configured.
    configured: bool,
    state: ReplicationState,
    /// The same for people.
    #[schema(example = "The cluster is up to date.")]
    text: &'static str,
    /// In each document.
    region: Option<String>,
    /// The last one since the start of the manager; it may be over.
    last_error: Option<ReplicationError>,
    /// In a row.
    failures: u32,
    #[schema(format = DateTime)]
    next_try_at: Option<String>,
    /// Everything of then is in the cluster, as one state of the store.
    #[schema(format = DateTime)]
    consistent_at: Option<String>,
    /// Since the start of the manager, as `bytes_sent`.
    documents_sent: u64,
    bytes_sent: u64,
    /// While something was being sent; null before anything was.
    documents_per_second: Option<f64>,
    not_taken: NotTakenView,
    /// Indexes of the cluster that are not as they should be.
    indexes: Vec<String>,
    /// By name; none where no cluster is configured.
    collections: Vec<CollectionView>,
}

/// How replication stands at this moment.
#[derive(Debug)]
pub struct Standing {
    pub state: ReplicationState,
    pub status: Status,
    pub collections: Vec<Waiting>,
}

impl Standing {
    /// None where no cluster is configured. Counts rows: it may take a while.
    pub fn of(state: &AppState) -> Result<Option<Standing>, Fault> {
        if !state.settings().external.mongodb {
            return Ok(None);
        }
        let status = state.replication.status();
        let is_paused = marks::state(&state.store.read()?)?.is_paused;
        let collections = waiting(&state.store, &status.positions)?;
        Ok(Some(Standing { state: seen(status.doing, is_paused), status, collections }))
    }

    /// Documents in all but measurements; None while nobody knows.
    pub fn waiting(&self) -> Option<u64> {
        // Measurements follow hours later, and how many there are is not known before they are read.
        let of_rounds = self.collections.iter().filter(|of| Measured::ALL.iter().all(|measured| measured.collection() != of.collection));
        of_rounds.map(|of| of.documents).sum()
    }

    /// How old what the cluster has is, in seconds; 0 where nothing waits, None where nothing is known of it.
    pub fn behind_seconds(&self, waiting: Option<u64>, now: Timestamp) -> Option<u64> {
        match waiting {
            Some(0) => Some(0),
            _ => self.status.consistent_at().map(|at| seconds(at, now)),
        }
    }
}

/// The cycle says what it did last, the store what somebody has wanted since. A pause is told whoever else writes, because it can be ended.
fn seen(doing: Doing, is_paused: bool) -> ReplicationState {
    match doing {
        _ if is_paused => ReplicationState::Paused,
        Doing::Off | Doing::Connecting | Doing::Paused => ReplicationState::Connecting,
        Doing::Watching => ReplicationState::Watching,
        Doing::Copying => ReplicationState::Copying,
        Doing::Sending => ReplicationState::Sending,
        Doing::Current => ReplicationState::Current,
        Doing::Away => ReplicationState::Away,
        Doing::Second => ReplicationState::Second,
        Doing::Superseded => ReplicationState::Superseded,
    }
}

/// For people. Who else writes is said of a pause, too: ending it alone sends nothing then.
fn told(state: ReplicationState, doing: Doing) -> &'static str {
    match (state, doing) {
        (ReplicationState::Paused, Doing::Second) => {
            "Nothing is sent: somebody paused it, and another manager with the id of this one writes to the cluster, or did last. Stop one of them; where the other is gone, resume and say so."
        }
        (ReplicationState::Paused, Doing::Superseded) => {
            "Nothing is sent: somebody paused it, and the store of this manager was restored somewhere else since. What was made of it writes, and this manager never does again: stop it."
        }
        _ => state.text(),
    }
}

fn seconds(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.since(since) / 1_000).unwrap_or(0)
}

/// To one decimal.
fn per_second(documents: u64, ms: u64) -> Option<f64> {
    if documents == 0 {
        return None;
    }
    let tenths = documents.saturating_mul(10_000) / ms.max(1);
    tenths.to_f64().map(|tenths| tenths / 10.0)
}

fn view(state: &AppState) -> Result<ReplicationView, Fault> {
    let (now, region) = (state.now().wall, state.settings().region.clone());
    let found = Standing::of(state)?;
    let collections = found.iter().flat_map(|standing| {
        standing.collections.iter().map(move |of| CollectionView {
            collection: of.collection,
            waiting: of.documents,
            behind_seconds: match of.through.filter(|_| !of.is_whole) {
                Some(through) => Some(seconds(through, now)),
                None => standing.behind_seconds(of.documents, now),
            },
            is_whole: of.is_whole,
        })
    });
    let collections = collections.collect();
    let (state, status) = found.map_or((ReplicationState::Off, Status::default()), |standing| (standing.state, standing.status));
    Ok(ReplicationView {
        configured: state != ReplicationState::Off,
        state,
        text: told(state, status.doing),
        region,
        consistent_at: status.consistent_at().map(Timestamp::rfc3339),
        last_error: status.failure.map(|failure| ReplicationError { message: failure.why, at: failure.at.rfc3339() }),
        failures: status.failures,
        // Once its time has come it is under way.
        next_try_at: status.next_try.filter(|at| *at > now).map(Timestamp::rfc3339),
        documents_sent: status.documents,
        bytes_sent: status.bytes,
        documents_per_second: per_second(status.documents, status.sending_ms),
        not_taken: NotTakenView { count: status.not_taken, because: status.not_taken_because },
        indexes: status.indexes,
        collections,
    })
}

async fn shown(state: &AppState) -> Result<Json<ReplicationView>, ApiError> {
    reads::long(state, |state| Ok(Json(view(state)?))).await
}

fn configured(state: &AppState) -> Result<(), Refusal> {
    if state.settings().external.mongodb { Ok(()) } else { Err(Refusal::ReplicationNotConfigured) }
}

/// Replication
///
/// What the cluster where managers meet has of this one, collection by collection. Without a cluster in the settings: `off`.
#[utoipa::path(get, path = "/replication", tag = "operations", security(("access" = ["storage:read"])), responses((status = 200, body = ReplicationView)))]
pub async fn show(State(state): State<AppState>) -> Result<Json<ReplicationView>, ApiError> {
    shown(&state).await
}

/// Pause replication
///
/// Nothing is sent from then on, but for a request that is under way, until somebody resumes; a restart changes nothing of it. What changes meanwhile goes afterwards.
#[utoipa::path(post, path = "/replication/pause", tag = "operations", security(("access" = ["storage:backup"])), responses(
    (status = 200, body = ReplicationView), (status = 409, description = "no cluster is configured (`ReplicationNotConfigured`)", body = ErrorBody)))]
pub async fn pause(State(state): State<AppState>, caller: Caller) -> Result<Json<ReplicationView>, ApiError> {
    configured(&state)?;
    let draft = caller.act(state.now()).draft("replication.pause", "");
    let write = state.store.write(move |tx| {
        if marks::state(tx)?.is_paused {
            return Ok(());
        }
        marks::pause(tx, true)?;
        audit::append(tx, draft.clone())
    });
    write.await?;
    state.nudges.nudge(Job::Replication);
    shown(&state).await
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// The other manager with this id is gone, and this one may write. It waits all the same while it sees the other one live.
    #[serde(default)]
    take_over: bool,
}

/// Resume replication
///
/// It does not wait for its next try either. Where another manager with this id wrote last (`second`), `take_over` says that that one is gone.
#[utoipa::path(post, path = "/replication/resume", tag = "operations", security(("access" = ["storage:backup"])), request_body = ResumeRequest, responses(
    (status = 200, body = ReplicationView), (status = 400, body = ErrorBody),
    (status = 409, description = "no cluster is configured (`ReplicationNotConfigured`)", body = ErrorBody)))]
pub async fn resume(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<ResumeRequest>,
) -> Result<Json<ReplicationView>, ApiError> {
    configured(&state)?;
    // Who writes has nobody to take over from.
    let writes = matches!(state.replication.status().doing, Doing::Copying | Doing::Sending | Doing::Current);
    let take_over = request.take_over && !writes;
    let draft = caller.act(state.now()).draft("replication.resume", "");
    let draft = if take_over { draft.because("the other manager with this id is gone") } else { draft };
    let write = state.store.write(move |tx| {
        if !take_over && !marks::state(tx)?.is_paused {
            return Ok(());
        }
        marks::pause(tx, false)?;
        audit::append(tx, draft.clone())
    });
    write.await?;
    state.replication.wish(|wishes| {
        wishes.takes_over |= take_over;
        wishes.now = true;
    });
    state.nudges.nudge(Job::Replication);
    shown(&state).await
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResyncRequest {
    /// One of those that `GET /replication` lists.
    #[schema(example = "nodes")]
    collection: String,
}

/// Send a collection once more
///
/// From its first document to its last, beginning at once, or when replication goes on. What the cluster has of it stays until the new one is there.
#[utoipa::path(post, path = "/replication/resync", tag = "operations", security(("access" = ["storage:backup"])), request_body = ResyncRequest, responses(
    (status = 200, body = ReplicationView), (status = 400, description = "there is no such collection", body = ErrorBody),
    (status = 409, description = "no cluster is configured (`ReplicationNotConfigured`)", body = ErrorBody)))]
pub async fn resync(
    State(state): State<AppState>,
    caller: Caller,
    request: Unchecked<ResyncRequest>,
) -> Result<Json<ReplicationView>, ApiError> {
    configured(&state)?;
    let collection = request.check(|ResyncRequest { collection }, errors| {
        let names: Vec<&str> = collections().collect();
        errors.require(names.contains(&collection.as_str()), "collection", format!("must be one of {}", names.join(", ")));
        collection
    })?;
    let draft = caller.act(state.now()).draft("replication.resync", &collection);
    let write = state.store.write(move |tx| {
        marks::send_again(tx, &collection)?;
        audit::append(tx, draft.clone())
    });
    write.await?;
    state.replication.wish(|wishes| wishes.now = true);
    state.nudges.nudge(Job::Replication);
    shown(&state).await
}
