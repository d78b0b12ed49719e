//! Second factors: begun, enabled, spent and taken away, each with its audit entry.

use super::tables::{SESSIONS, USERS};
use super::{audit, people};
use crate::domain::audit::Act;
use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;
use crate::domain::session::{CONFIRMED_SECONDS, Session};
use crate::domain::time::Timestamp;
use crate::domain::totp::{Proof, SecondFactor};
use crate::domain::user::{Role, User};
use crate::storage::fault::TxError;
use crate::storage::table::{Read, WriteTx};

fn require(tx: &WriteTx<'_>, id: &UserId) -> Result<User, TxError> {
    Ok(people::user(tx, id)?.ok_or(Refusal::UserNotFound)?)
}

fn put(tx: &mut WriteTx<'_>, user: User, factor: Option<SecondFactor>) -> Result<User, TxError> {
    let user = User { second_factor: factor, ..user };
    tx.put(USERS, &user.id.to_string(), &user)?;
    Ok(user)
}

/// Takes the proof that was judged against `seen` from the person as they are now. Without an enabled factor nothing is asked for.
pub(super) fn spend(tx: &mut WriteTx<'_>, seen: &User, present: User, proof: Option<&Proof>, act: &Act) -> Result<User, TxError> {
    let Some(factor) = present.enabled_factor() else { return Ok(present) };
    let proof = proof.ok_or(Refusal::TotpNeeded)?;
    let same = seen.second_factor.as_ref().is_some_and(|judged| judged.sealed_secret == factor.sealed_secret);
    let left = factor.spend(proof).filter(|_| same).ok_or(Refusal::TotpWrong)?;
    if matches!(proof, Proof::Recovery(_)) {
        let remark = format!("{} left", left.recovery.len());
        audit::append(tx, act.draft("recovery_code.use", present.id.as_str()).because(remark))?;
    }
    put(tx, present, Some(left))
}

/// Keeps a secret that is not asked for yet; one that was begun before is forgotten.
pub fn begin(tx: &mut WriteTx<'_>, id: &UserId, sealed_secret: &[u8], act: &Act) -> Result<(), TxError> {
    let user = require(tx, id)?;
    if user.enabled_factor().is_some() {
        return Err(Refusal::TotpEnabled.into());
    }
    put(tx, user, Some(SecondFactor::begun(sealed_secret.to_vec())))?;
    audit::append(tx, act.draft("totp.begin", id.as_str()))
}

/// From now on the factor is asked for: a first code fitted, in `step`. Sessions that were begun without it end, except `keep`.
pub fn enable(tx: &mut WriteTx<'_>, seen: &User, step: u64, recovery: &[[u8; 32]], keep: &[u8; 32], act: &Act) -> Result<(), TxError> {
    let user = require(tx, &seen.id)?;
    if user.enabled_factor().is_some() {
        return Err(Refusal::TotpEnabled.into());
    }
    let factor = user.second_factor.clone().filter(|_| user.second_factor == seen.second_factor).ok_or(Refusal::TotpNotBegun)?;
    let factor = SecondFactor { enabled_at: Some(act.now.wall), last_step: step, recovery: recovery.to_vec(), ..factor };
    put(tx, user, Some(factor))?;
    people::end_sessions(tx, |key, session| session.user == seen.id && key != keep)?;
    audit::append(tx, act.draft("totp.enable", seen.id.as_str()))
}

/// The person takes their own factor away, with it and the password, which was judged against `seen`.
pub fn disable(tx: &mut WriteTx<'_>, seen: &User, proof: &Proof, act: &Act) -> Result<(), TxError> {
    let user = spend_own(tx, seen, proof, act)?;
    put(tx, user, None)?;
    audit::append(tx, act.draft("totp.disable", seen.id.as_str()))
}

/// New recovery codes; what was left of the old ones is worth nothing any more.
pub fn renew_recovery(tx: &mut WriteTx<'_>, seen: &User, proof: &Proof, recovery: &[[u8; 32]], act: &Act) -> Result<(), TxError> {
    let user = spend_own(tx, seen, proof, act)?;
    let factor = user.second_factor.clone().map(|factor| SecondFactor { recovery: recovery.to_vec(), ..factor });
    put(tx, user, factor)?;
    audit::append(tx, act.draft("recovery_codes.make", seen.id.as_str()))
}

fn spend_own(tx: &mut WriteTx<'_>, seen: &User, proof: &Proof, act: &Act) -> Result<User, TxError> {
    let user = require(tx, &seen.id)?;
    if user.enabled_factor().is_none() {
        return Err(Refusal::TotpNotEnabled.into());
    }
    spend(tx, seen, user, Some(proof), act)
}

/// Takes the factor of somebody who lost it, and ends their sessions. `up_to` is the role of who does it.
pub fn reset(tx: &mut WriteTx<'_>, id: &UserId, up_to: Role, act: &Act) -> Result<(), TxError> {
    let user = require(tx, id)?;
    if user.role > up_to {
        return Err(Refusal::NotAllowed.into());
    }
    if user.second_factor.is_none() {
        return Err(Refusal::TotpNotEnabled.into());
    }
    put(tx, user, None)?;
    people::end_sessions(tx, |_, session| session.user == *id)?;
    audit::append(tx, act.draft("totp.reset", id.as_str()))
}

/// The person of this session proved just now to be who they are: the password was judged against `seen`, the second factor gave `proof`.
/// Answers until when that counts.
pub fn confirm(tx: &mut WriteTx<'_>, seen: &User, proof: Option<&Proof>, session: &[u8; 32], act: &Act) -> Result<Timestamp, TxError> {
    let now = act.now.wall;
    let present = people::user(tx, &seen.id)?.filter(|user| !user.disabled && user.password == seen.password);
    let present = present.ok_or(Refusal::FreshFactorNeeded)?;
    spend(tx, seen, present, proof, act)?;
    let own = tx.get(SESSIONS, session)?.filter(|own| own.is_live(now)).ok_or(Refusal::SessionUnknown)?;
    tx.put(SESSIONS, session, &Session { confirmed_at: Some(now), ..own })?;
    audit::append(tx, act.draft("auth.confirm", seen.id.as_str()))?;
    Ok(now.plus_seconds(CONFIRMED_SECONDS))
}
