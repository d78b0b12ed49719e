//! Whether the audit log is whole: the chain checked from end to end, and anchors that are kept elsewhere.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::crypto::{hex, unhex};
use crate::domain::anchor::Anchor;
use crate::domain::ids::ManagerId;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::storage::core::audit::{self, Verified};

/// What the check of the whole chain found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChainCheck {
    pub ok: bool,
    /// Entries that were checked, up to the first wrong one.
    pub entries: u64,
    /// Hash of the last entry that was checked.
    pub head: String,
    /// The first entry that is not what its hash says, or does not follow the one before.
    pub first_broken: Option<u64>,
    /// RFC 3339, UTC.
    pub at: String,
}

impl ChainCheck {
    pub fn new(verified: Verified, at: Timestamp) -> ChainCheck {
        let Verified { entries, head, first_broken } = verified;
        ChainCheck { ok: first_broken.is_none(), entries, head: hex(&head), first_broken, at: at.rfc3339() }
    }
}

/// Check the whole audit log
///
/// Reads every entry, which takes some seconds for a million of them. One check at a time. The command `verify` does the same for a manager that does
/// not run.
#[utoipa::path(get, path = "/audit/verify", tag = "operations", security(("access" = ["audit:read"])),
    responses((status = 200, body = ChainCheck), (status = 409, description = "a check is running", body = ErrorBody)))]
pub async fn verify(State(state): State<AppState>) -> Result<Json<ChainCheck>, ApiError> {
    Ok(Json(check(&state).await?))
}

/// The check itself, in its turn.
pub async fn check(state: &AppState) -> Result<ChainCheck, ApiError> {
    let turn = state.audit_verification.clone().try_acquire_owned().map_err(|_| Refusal::AuditCheckRunning)?;
    let (store, at) = (state.store.clone(), state.now().wall);
    let checking = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        audit::verify_in_pieces(|| store.read())
    });
    let verified = checking.await.map_err(|_| ApiError::panicked())??;
    if let Some(seq) = verified.first_broken {
        tracing::error!(seq, "the audit log is broken");
    }
    Ok(ChainCheck::new(verified, at))
}

/// One entry of the log, signed. Keep it where nobody who can change this machine can change it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnchorBody {
    pub manager_id: String,
    /// The newest entry when the anchor was made.
    pub seq: u64,
    /// Its hash, hex: it covers every entry before.
    pub hash: String,
    /// RFC 3339, UTC.
    pub at: String,
    /// Hex Ed25519 signature by the manager's key over the fields above.
    pub signature: String,
}

/// An anchor of the log as it is now
#[utoipa::path(get, path = "/audit/anchor", tag = "operations", security(("access" = ["audit:read"])),
    responses((status = 200, body = AnchorBody)))]
pub async fn anchor(State(state): State<AppState>) -> Result<Json<AnchorBody>, ApiError> {
    let newest = audit::page(&state.store.read()?, 0, 1)?.pop().ok_or_else(ApiError::panicked)?;
    let manager_id = state.store.manager_id.clone();
    let anchor = Anchor { manager_id, seq: newest.seq, hash: newest.hash, at: state.now().wall };
    let signature = hex(&state.store.signing_key.sign(&anchor.signed_bytes()));
    let Anchor { manager_id, seq, hash, at } = anchor;
    Ok(Json(AnchorBody { manager_id: manager_id.to_string(), seq, hash: hex(&hash), at: at.rfc3339(), signature }))
}

/// What became of an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnchorVerdict {
    /// The log still holds this entry, and so everything before it as it was.
    Present,
    /// The log ends before this entry: it was cut, or an older copy was put back.
    Truncated,
    /// The log has another entry in its place.
    Altered,
    /// The anchor is of another manager.
    OtherManager,
    /// The signature does not fit: the anchor was not made here, or was changed.
    NotSigned,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AnchorCheck {
    pub ok: bool,
    pub verdict: AnchorVerdict,
    /// Entries of the log now.
    pub entries: u64,
}

/// Check an anchor
///
/// Says whether the log still holds what the anchor vouches for. `/audit/verify` says that all entries up to it follow each other.
#[utoipa::path(post, path = "/audit/anchor/check", tag = "operations", request_body = AnchorBody, security(("access" = ["audit:read"])),
    responses((status = 200, body = AnchorCheck)))]
pub async fn check_anchor(State(state): State<AppState>, body: Unchecked<AnchorBody>) -> Result<Json<AnchorCheck>, ApiError> {
    let anchor = body.check(|body, errors| {
        let manager_id = ManagerId::parse(&body.manager_id).ok();
        let hash = unhex(&body.hash).and_then(|hash| <[u8; 32]>::try_from(hash).ok());
        let (at, signature) = (Timestamp::parse_rfc3339(&body.at), unhex(&body.signature));
        errors.require(manager_id.is_some(), "manager_id", "is no manager's id");
        errors.require(hash.is_some(), "hash", "must be 64 hex digits");
        errors.require(at.is_some(), "at", "must be a time as in RFC 3339");
        errors.require(signature.is_some(), "signature", "must be hex digits");
        Some((Anchor { manager_id: manager_id?, seq: body.seq, hash: hash?, at: at? }, signature?))
    })?;
    let Some((anchor, signature)) = anchor else { return Err(ApiError::panicked()) };
    let read = state.store.read()?;
    let entries = audit::page(&read, 0, 1)?.first().map_or(0, |newest| newest.seq);
    let verdict = if anchor.manager_id != state.store.manager_id {
        AnchorVerdict::OtherManager
    } else if !state.store.manager_keys().iter().any(|key| key.verifies(&anchor.signed_bytes(), &signature)) {
        // An anchor of before a rotation is by a former key, and says as much as it did.
        AnchorVerdict::NotSigned
    } else if anchor.seq > entries {
        AnchorVerdict::Truncated
    } else {
        let kept = audit::entry(&read, anchor.seq)?;
        let same = kept.is_some_and(|entry| entry.hash == anchor.hash && entry.follows(anchor.seq, &entry.previous));
        if same { AnchorVerdict::Present } else { AnchorVerdict::Altered }
    };
    Ok(Json(AnchorCheck { ok: verdict == AnchorVerdict::Present, verdict, entries }))
}
