//! Tokens for programs, and the audit entries of what happens to them.

use std::ops::ControlFlow;

use super::tables::API_TOKENS;
use super::{audit, people};
use crate::crypto;
use crate::domain::api_token::{ApiToken, ApiTokenText, Grant, MAX_TOKENS};
use crate::domain::audit::Act;
use crate::domain::ids::{ApiTokenId, UserId};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Newest first; at most `MAX_TOKENS`.
pub fn tokens(read: &impl Read) -> Result<Vec<ApiToken>, Fault> {
    let mut found = Vec::new();
    read.for_each_back(API_TOKENS, .., |_, token| {
        found.push(token);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Keeps a token whose text the caller made from fresh random bytes and hands out once. `up_to` is the role of who asks.
pub fn create(tx: &mut WriteTx<'_>, token: &ApiToken, up_to: Role, act: &Act) -> Result<(), TxError> {
    if token.role > up_to {
        return Err(Refusal::NotAllowed.into());
    }
    if tx.count(API_TOKENS)? >= MAX_TOKENS as u64 {
        remove(tx, |token| !token.is_live(act.now.wall))?;
    }
    if tx.count(API_TOKENS)? >= MAX_TOKENS as u64 {
        return Err(Refusal::Rule("TooManyTokens", format!("{MAX_TOKENS} API tokens are live; revoke some")).into());
    }
    tx.put(API_TOKENS, &token.id.to_string(), token)?;
    audit::append(tx, act.draft("token.create", token.id.as_str()).because(token.role.as_str()))
}

pub fn revoke(tx: &mut WriteTx<'_>, id: &ApiTokenId, up_to: Role, act: &Act) -> Result<(), TxError> {
    let token = tx.get(API_TOKENS, &id.to_string())?.ok_or(Refusal::ApiTokenNotFound)?;
    if token.role > up_to {
        return Err(Refusal::NotAllowed.into());
    }
    tx.delete(API_TOKENS, &id.to_string())?;
    audit::append(tx, act.draft("token.revoke", id.as_str()))
}

/// Ends the tokens that a person made.
pub(super) fn end_of(tx: &mut WriteTx<'_>, maker: &UserId, act: &Act) -> Result<(), TxError> {
    for id in remove(tx, |token| token.created_by == *maker)? {
        audit::append(tx, act.draft("token.revoke", id).because("its maker's account ended"))?;
    }
    Ok(())
}

fn remove(tx: &mut WriteTx<'_>, ends: impl Fn(&ApiToken) -> bool) -> Result<Vec<String>, TxError> {
    let ended: Vec<String> = tokens(tx)?.iter().filter(|token| ends(token)).map(|token| token.id.to_string()).collect();
    for key in &ended {
        tx.delete(API_TOKENS, key)?;
    }
    Ok(ended)
}

/// The token of this text and what it allows now; None when it is not known, has ended or has another secret.
pub fn present(read: &impl Read, text: &ApiTokenText, now: Timestamp) -> Result<Option<(ApiToken, Grant)>, Fault> {
    let Some(token) = read.get(API_TOKENS, &text.id.to_string())? else { return Ok(None) };
    if !crypto::equal(&token.secret_hash, &text.secret_hash()) {
        return Ok(None);
    }
    let grant = people::user(read, &token.created_by)?.and_then(|maker| token.grant(&maker, now));
    Ok(grant.map(|grant| (token, grant)))
}

/// Whether the token still allows anything.
pub fn is_live(read: &impl Read, id: &ApiTokenId, now: Timestamp) -> Result<bool, Fault> {
    let Some(token) = read.get(API_TOKENS, &id.to_string())? else { return Ok(false) };
    Ok(people::user(read, &token.created_by)?.is_some_and(|maker| token.grant(&maker, now).is_some()))
}

/// The token was used. One that has ended meanwhile stays ended.
pub fn touch(tx: &mut WriteTx<'_>, id: &ApiTokenId, now: Timestamp) -> Result<(), TxError> {
    match tx.get(API_TOKENS, &id.to_string())? {
        Some(token) if token.wants_touch(now) => tx.put(API_TOKENS, &id.to_string(), &ApiToken { last_used_at: Some(now), ..token }),
        _ => Ok(()),
    }
}
