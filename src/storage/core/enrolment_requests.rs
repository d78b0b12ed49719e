//! Machines that wait for an admin's word: those that present a token of many uses.

use std::ops::ControlFlow;

use super::audit;
use super::enrolment::Enrolling;
use super::tables::{ENROLMENT_REQUESTS, ENROLMENT_TOKENS};
use crate::crypto::PublicKey;
use crate::domain::audit::Act;
use crate::domain::enrolment::EnrolmentToken;
use crate::domain::enrolment_request::{Decision, EnrolmentRequest, MAX_PER_TOKEN, MAX_REQUESTS, request_id};
use crate::domain::ids::{EnrolmentId, EnrolmentRequestId};
use crate::domain::refusal::Refusal;
use crate::domain::registration::plain_name;
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Those whose token still holds, newest first; at most `MAX_REQUESTS`.
pub fn requests(read: &impl Read, now: Timestamp) -> Result<Vec<EnrolmentRequest>, Fault> {
    let mut found = Vec::new();
    read.for_each(ENROLMENT_REQUESTS, .., |_, request| {
        if now < request.expires_at {
            found.push(request);
        }
        ControlFlow::Continue(())
    })?;
    found.sort_by_key(|request| std::cmp::Reverse(request.asked_at));
    Ok(found)
}

/// Whether the machine with this key may become a node with this token now.
pub(super) fn admit(read: &impl Read, token: &EnrolmentToken, key: &PublicKey) -> Result<(), TxError> {
    if !token.needs_approval {
        return Ok(());
    }
    let request: Option<EnrolmentRequest> = read.get(ENROLMENT_REQUESTS, &request_id(&token.id, key).to_string())?;
    match request.and_then(|request| request.decision) {
        None => Err(Refusal::ApprovalPending.into()),
        Some(Decision { approved: true, .. }) => Ok(()),
        Some(Decision { approved: false, .. }) => Err(Refusal::EnrolmentRejected.into()),
    }
}

/// Whether this machine is in the list already.
pub fn is_waiting(read: &impl Read, token: &EnrolmentId, key: &PublicKey) -> Result<bool, Fault> {
    Ok(read.get(ENROLMENT_REQUESTS, &request_id(token, key).to_string())?.is_some())
}

/// Puts the machine into the list; one that is there already changes nothing. Its token was presented before.
pub fn ask(tx: &mut WriteTx<'_>, asked: &Enrolling, act: &Act) -> Result<(), TxError> {
    let token = tx.get(ENROLMENT_TOKENS, &asked.token.id.to_string())?.ok_or(Refusal::TokenUnknown)?;
    let id = request_id(&token.id, &asked.key);
    if tx.get(ENROLMENT_REQUESTS, &id.to_string())?.is_some() {
        return Ok(());
    }
    remove(tx, |request| act.now.wall >= request.expires_at)?;
    let others = requests(tx, act.now.wall)?;
    let of_token = others.iter().filter(|request| request.token == token.id).count();
    if others.len() >= MAX_REQUESTS || of_token >= MAX_PER_TOKEN {
        let why = format!("{of_token} machines wait for an admin with this token, {} in all", others.len());
        return Err(Refusal::Rule("TooManyEnrolmentRequests", why).into());
    }
    let request = EnrolmentRequest {
        id: id.clone(),
        token: token.id,
        key: asked.key,
        name: plain_name(&asked.name),
        hardware: asked.hardware.clone(),
        address: act.address.clone(),
        asked_at: act.now.wall,
        expires_at: token.expires_at,
        decision: None,
    };
    tx.put(ENROLMENT_REQUESTS, &id.to_string(), &request)?;
    audit::append(tx, act.draft("enrolment_request.create", id.as_str()).because(format!("token {}", request.token)))
}

/// What the machine with this key said when it asked goes with its node's operator.
pub(super) fn forget(tx: &mut WriteTx<'_>, key: &PublicKey) -> Result<(), TxError> {
    remove(tx, |request| request.key == *key)
}

/// An admin's word. The same again changes nothing; another one comes too late.
pub fn decide(tx: &mut WriteTx<'_>, id: &EnrolmentRequestId, approved: bool, act: &Act) -> Result<EnrolmentRequest, TxError> {
    let known = tx.get(ENROLMENT_REQUESTS, &id.to_string())?.filter(|request| act.now.wall < request.expires_at);
    let request = known.ok_or(Refusal::EnrolmentRequestNotFound)?;
    match &request.decision {
        Some(decision) if decision.approved == approved => return Ok(request),
        Some(_) => return Err(Refusal::EnrolmentRequestDecided.into()),
        None => {}
    }
    let decision = Decision { approved, at: act.now.wall, by: act.actor.to_string() };
    let request = EnrolmentRequest { decision: Some(decision), ..request };
    tx.put(ENROLMENT_REQUESTS, &id.to_string(), &request)?;
    let verb = if approved { "enrolment_request.approve" } else { "enrolment_request.reject" };
    audit::append(tx, act.draft(verb, id.as_str()).because(format!("token {}", request.token)))?;
    Ok(request)
}

/// The machine became a node: it waits no more.
pub(super) fn done(tx: &mut WriteTx<'_>, token: &EnrolmentId, key: &PublicKey) -> Result<(), TxError> {
    let id = request_id(token, key).to_string();
    if tx.get(ENROLMENT_REQUESTS, &id)?.is_some() {
        tx.delete(ENROLMENT_REQUESTS, &id)?;
    }
    Ok(())
}

/// Nobody waits for a token that was revoked.
pub(super) fn end_of(tx: &mut WriteTx<'_>, token: &EnrolmentId) -> Result<(), TxError> {
    remove(tx, |request| request.token == *token)
}

fn remove(tx: &mut WriteTx<'_>, ends: impl Fn(&EnrolmentRequest) -> bool) -> Result<(), TxError> {
    let mut ended = Vec::new();
    tx.for_each(ENROLMENT_REQUESTS, .., |key, request| {
        if ends(&request) {
            ended.push(key);
        }
        ControlFlow::Continue(())
    })?;
    for key in ended {
        tx.delete(ENROLMENT_REQUESTS, &key)?;
    }
    Ok(())
}
