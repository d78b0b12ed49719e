//! People, their sessions, and the audit entries of what happens to them.

use std::ops::ControlFlow;

use super::tables::{KNOWN_NETWORKS, SESSIONS, USER_NAMES, USERS};
use super::{api_tokens, audit, second_factor, subject_keys};
use crate::domain::audit::Act;
use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;
use crate::domain::session::{Carrier, MAX_PER_USER, Session, session_id};
use crate::domain::time::Timestamp;
use crate::domain::totp::Proof;
use crate::domain::user::{MAX_USERS, PasswordHash, Role, User, username_key};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Nobody can sign in yet.
pub fn needs_setup(read: &impl Read) -> Result<bool, Fault> {
    Ok(read.count(USERS)? == 0)
}

pub fn user(read: &impl Read, id: &UserId) -> Result<Option<User>, Fault> {
    read.get(USERS, &id.to_string())
}

pub fn user_by_name(read: &impl Read, username: &str) -> Result<Option<User>, Fault> {
    match read.get(USER_NAMES, &username_key(username))? {
        Some(id) => user(read, &id),
        None => Ok(None),
    }
}

/// Everybody, oldest first; there are at most `MAX_USERS`.
pub fn users(read: &impl Read) -> Result<Vec<User>, Fault> {
    let rows = read.scan(USERS, .., usize::try_from(MAX_USERS).unwrap_or(usize::MAX))?;
    Ok(rows.into_iter().map(|(_, user)| user).collect())
}

/// The first person, who may do everything.
/// People of at least this role who may sign in.
pub fn count_from(read: &impl Read, role: Role) -> Result<usize, Fault> {
    Ok(users(read)?.iter().filter(|user| !user.disabled && user.role >= role).count())
}

pub fn create_first(tx: &mut WriteTx<'_>, user: &User, act: &Act) -> Result<(), TxError> {
    if !needs_setup(tx)? {
        return Err(Refusal::SetupDone.into());
    }
    insert(tx, user)?;
    audit::append(tx, act.draft("setup.complete", user.id.as_str()))
}

pub fn create(tx: &mut WriteTx<'_>, user: &User, act: &Act) -> Result<(), TxError> {
    insert(tx, user)?;
    audit::append(tx, act.draft("user.create", user.id.as_str()).because(user.role.as_str()))
}

fn insert(tx: &mut WriteTx<'_>, user: &User) -> Result<(), TxError> {
    let key = username_key(&user.username);
    if tx.get(USER_NAMES, &key)?.is_some() {
        return Err(Refusal::UserExists.into());
    }
    if tx.count(USERS)? >= MAX_USERS {
        return Err(Refusal::Rule("TooManyUsers", format!("a manager knows at most {MAX_USERS} people")).into());
    }
    tx.put(USER_NAMES, &key, &user.id)?;
    tx.put(USERS, &user.id.to_string(), user)
}

/// What may be changed of a person.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    pub role: Option<Role>,
    pub password: Option<PasswordHash>,
    pub disabled: Option<bool>,
}

impl UserChange {
    /// For the audit log; never a password.
    fn summary(&self) -> String {
        let role = self.role.map(|role| format!("role {}", role.as_str()));
        let disabled = self.disabled.map(|disabled| if disabled { "disabled" } else { "enabled" }.to_owned());
        let password = self.password.as_ref().map(|_| "new password".to_owned());
        [role, disabled, password].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// `up_to` is the role of who asks: nobody touches, or makes, someone above themselves. A new password or a disabling ends the person's
/// sessions, except `keep`; a disabling their API tokens as well.
pub fn update(
    tx: &mut WriteTx<'_>,
    id: &UserId,
    change: &UserChange,
    up_to: Role,
    keep: Option<&[u8; 32]>,
    act: &Act,
) -> Result<User, TxError> {
    let mut changed = user(tx, id)?.ok_or(Refusal::UserNotFound)?;
    if subject_keys::is_erased(tx, id.as_str())? {
        return Err(Refusal::AlreadyErased.into());
    }
    if changed.role > up_to || change.role.is_some_and(|role| role > up_to) {
        return Err(Refusal::NotAllowed.into());
    }
    changed.role = change.role.unwrap_or(changed.role);
    changed.disabled = change.disabled.unwrap_or(changed.disabled);
    if let Some(password) = &change.password {
        changed.password = password.clone();
    }
    changed.updated_at = act.now.wall;
    if (changed.role != Role::SuperAdmin || changed.disabled) && is_last_super_admin(tx, id)? {
        return Err(Refusal::LastSuperAdmin.into());
    }
    tx.put(USERS, &id.to_string(), &changed)?;
    if changed.disabled || change.password.is_some() {
        end_sessions(tx, |key, session| session.user == *id && Some(key) != keep)?;
    }
    if changed.disabled {
        api_tokens::end_of(tx, id, act)?;
    }
    audit::append(tx, act.draft("user.update", id.as_str()).because(change.summary()))?;
    Ok(changed)
}

pub fn delete(tx: &mut WriteTx<'_>, id: &UserId, up_to: Role, act: &Act) -> Result<(), TxError> {
    let gone = user(tx, id)?.ok_or(Refusal::UserNotFound)?;
    if gone.role > up_to {
        return Err(Refusal::NotAllowed.into());
    }
    if is_last_super_admin(tx, id)? {
        return Err(Refusal::LastSuperAdmin.into());
    }
    tx.delete(USER_NAMES, &username_key(&gone.username))?;
    tx.delete(USERS, &id.to_string())?;
    tx.delete(KNOWN_NETWORKS, &id.to_string())?;
    end_sessions(tx, |_, session| session.user == *id)?;
    api_tokens::end_of(tx, id, act)?;
    audit::append(tx, act.draft("user.delete", id.as_str()))
}

pub(super) fn is_last_super_admin(read: &impl Read, id: &UserId) -> Result<bool, Fault> {
    let able = |user: &User| user.role == Role::SuperAdmin && !user.disabled;
    let everyone = users(read)?;
    Ok(everyone.iter().any(|u| u.id == *id && able(u)) && !everyone.iter().any(|u| u.id != *id && able(u)))
}

/// A new session under the hash of its token.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub token_hash: [u8; 32],
    pub carrier: Carrier,
    pub user_agent: Option<String>,
}

/// Signs a person in whose password fitted `seen`, and whose second factor, when there is one, gave `proof`. Both must still be the person's.
/// Ended sessions of everyone are cleared away.
pub fn sign_in(tx: &mut WriteTx<'_>, seen: &User, proof: Option<&Proof>, begun: &[NewSession], act: &Act) -> Result<(), TxError> {
    let now = act.now.wall;
    let present = user(tx, &seen.id)?.filter(|u| !u.disabled && u.password == seen.password);
    let user = present.ok_or(Refusal::WrongCredentials)?;
    let user = second_factor::spend(tx, seen, user, proof, act)?;
    let mut own = sessions(tx, &user.id, now)?;
    own.sort_by_key(|(_, session)| std::cmp::Reverse(session.used_at));
    let mut superseded = Vec::new();
    for new in begun {
        superseded.extend(own.iter().filter(|(_, s)| s.carrier == new.carrier).skip(MAX_PER_USER - 1).map(|(key, _)| *key));
    }
    end_sessions(tx, |key, session| !session.is_live(now) || superseded.contains(key))?;
    for new in begun {
        let session = Session::new(user.id.clone(), new.carrier, now);
        let (address, user_agent) = (act.address.clone(), new.user_agent.clone());
        let session = Session { address, user_agent, confirmed_at: Some(now), ..session };
        tx.put(SESSIONS, &new.token_hash, &session)?;
    }
    audit::append(tx, act.draft("auth.login", user.id.as_str()))
}

/// The person has signed in from this network before; it is given as a keyed hash.
pub fn knows_network(read: &impl Read, id: &UserId, network: &[u8; 16]) -> Result<bool, Fault> {
    Ok(read.get(KNOWN_NETWORKS, &id.to_string())?.is_some_and(|known| known.0.contains(network)))
}

/// The person has signed in from there. Writes nothing when that is where they signed in from last.
pub fn remember_network(tx: &mut WriteTx<'_>, id: &UserId, network: [u8; 16]) -> Result<(), TxError> {
    // Somebody may have deleted the person since they signed in.
    if user(tx, id)?.is_none() {
        return Ok(());
    }
    let known = tx.get(KNOWN_NETWORKS, &id.to_string())?.unwrap_or_default();
    if known.0.first() == Some(&network) {
        return Ok(());
    }
    tx.put(KNOWN_NETWORKS, &id.to_string(), &known.with(network))
}

pub(super) fn end_sessions(tx: &mut WriteTx<'_>, ends: impl Fn(&[u8; 32], &Session) -> bool) -> Result<(), TxError> {
    let mut keys = Vec::new();
    tx.for_each(SESSIONS, .., |key, session| {
        if ends(&key, &session) {
            keys.push(key);
        }
        ControlFlow::Continue(())
    })?;
    for key in keys {
        tx.delete(SESSIONS, &key)?;
    }
    Ok(())
}

/// The live sessions of a person; at most `MAX_PER_USER` of each carrier.
pub fn sessions(read: &impl Read, user: &UserId, now: Timestamp) -> Result<Vec<([u8; 32], Session)>, Fault> {
    let mut own = Vec::new();
    read.for_each(SESSIONS, .., |key, session| {
        if session.user == *user && session.is_live(now) {
            own.push((key, session));
        }
        ControlFlow::Continue(())
    })?;
    Ok(own)
}

/// Ends one of the person's sessions, by its `session_id`.
pub fn end_session(tx: &mut WriteTx<'_>, user: &UserId, id: &str, act: &Act) -> Result<(), TxError> {
    let own = sessions(tx, user, act.now.wall)?;
    let (key, _) = own.into_iter().find(|(key, _)| session_id(key) == id).ok_or(Refusal::SessionNotFound)?;
    tx.delete(SESSIONS, &key)?;
    audit::append(tx, act.draft("session.end", user.as_str()).because(id))
}

/// Ends all sessions of the person but `keep`.
pub fn end_other_sessions(tx: &mut WriteTx<'_>, user: &UserId, keep: &[u8; 32], act: &Act) -> Result<(), TxError> {
    end_sessions(tx, |key, session| session.user == *user && key != keep)?;
    audit::append(tx, act.draft("session.end", user.as_str()).because("all others"))
}

/// A live session and its person.
pub fn session(read: &impl Read, token_hash: &[u8; 32], now: Timestamp) -> Result<Option<(Session, User)>, Fault> {
    let Some(session) = read.get(SESSIONS, token_hash)?.filter(|s| s.is_live(now)) else { return Ok(None) };
    let person = user(read, &session.user)?.filter(|u| !u.disabled);
    Ok(person.map(|person| (session, person)))
}

/// A browser's session was used. One that has ended meanwhile stays ended.
pub fn touch(tx: &mut WriteTx<'_>, token_hash: &[u8; 32], now: Timestamp) -> Result<(), TxError> {
    match tx.get(SESSIONS, token_hash)?.filter(|s| s.is_live(now)) {
        Some(session) if session.wants_touch(now) => tx.put(SESSIONS, token_hash, &Session { used_at: now, ..session }),
        _ => Ok(()),
    }
}

pub fn sign_out(tx: &mut WriteTx<'_>, token_hash: &[u8; 32], act: &Act) -> Result<(), TxError> {
    let Some(session) = tx.get(SESSIONS, token_hash)? else { return Ok(()) };
    tx.delete(SESSIONS, token_hash)?;
    audit::append(tx, act.draft("auth.logout", session.user.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Now;
    use crate::storage::testing::{NOW, store as fresh};

    fn act() -> Act {
        Act::system(NOW)
    }

    fn person(name: &str, role: Role) -> User {
        let password = PasswordHash { salt: [0; 16], hash: [1; 32] };
        let id = UserId::parse(&format!("user_{name}")).unwrap();
        User { id, username: name.into(), role, password, disabled: false, created_at: NOW.wall, updated_at: NOW.wall, second_factor: None }
    }

    fn refused<R>(answer: Result<R, crate::storage::fault::WriteError>) -> Refusal {
        match answer {
            Err(crate::storage::fault::WriteError::Refused(refusal)) => refusal,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("was not refused"),
        }
    }

    #[test]
    fn the_first_person_is_made_once_and_the_last_super_admin_stays() {
        let (_dir, store) = fresh();
        let (root, other) = (person("root", Role::SuperAdmin), person("other", Role::SuperAdmin));
        let write = |user: User, first: bool| {
            store.core.write_now(move |tx| if first { create_first(tx, &user, &act()) } else { create(tx, &user, &act()) })
        };
        write(root.clone(), true).unwrap();
        assert_eq!(refused(write(other.clone(), true)), Refusal::SetupDone);
        assert_eq!(refused(write(person("ROOT", Role::Viewer), false)), Refusal::UserExists);
        let remove = |id: UserId, up_to: Role| store.core.write_now(move |tx| delete(tx, &id, up_to, &act()));
        assert_eq!(refused(remove(root.id.clone(), Role::SuperAdmin)), Refusal::LastSuperAdmin);
        let change =
            |id: UserId, change: UserChange| store.core.write_now(move |tx| update(tx, &id, &change, Role::SuperAdmin, None, &act()));
        let demote = UserChange { role: Some(Role::Admin), ..UserChange::default() };
        let disable = UserChange { disabled: Some(true), ..UserChange::default() };
        assert_eq!(refused(change(root.id.clone(), demote.clone())), Refusal::LastSuperAdmin);
        write(other.clone(), false).unwrap();
        change(other.id.clone(), disable).unwrap();
        assert_eq!(refused(change(root.id.clone(), demote)), Refusal::LastSuperAdmin, "a disabled one does not count");
        assert_eq!(refused(remove(other.id.clone(), Role::Admin)), Refusal::NotAllowed);
        remove(other.id.clone(), Role::SuperAdmin).unwrap();
        write(person("other", Role::Viewer), false).unwrap();
    }

    #[test]
    fn sessions_end_with_time_number_password_and_disabling() {
        let (_dir, store) = fresh();
        let root = person("root", Role::SuperAdmin);
        let (bob, bob_id) = (person("bob", Role::Viewer), UserId::parse("user_bob").unwrap());
        for user in [root, bob.clone()] {
            store.core.write_now(move |tx| create(tx, &user, &act())).unwrap();
        }
        let enter = |key: u8, now: Timestamp| {
            let bob = bob.clone();
            store.core.write_now(move |tx| {
                let new = NewSession { token_hash: [key; 32], carrier: Carrier::Cookie, user_agent: None };
                sign_in(tx, &bob, None, &[new], &Act::system(Now { wall: now, ..NOW }))
            })
        };
        let live = |key: u8, now: Timestamp| session(&store.read().unwrap(), &[key; 32], now).unwrap().is_some();
        let t = NOW.wall;
        for key in 0..=u8::try_from(MAX_PER_USER).unwrap() {
            enter(key, t.plus_seconds(i64::from(key))).unwrap();
        }
        assert!(!live(0, t) && live(1, t.plus_seconds(60)), "the oldest made room");
        let late = t.plus_seconds(11 * 3_600);
        store.core.write_now(move |tx| touch(tx, &[1; 32], late)).unwrap();
        let next = t.plus_seconds(13 * 3_600);
        assert!(live(1, next) && !live(2, next));
        enter(99, next).unwrap();
        assert_eq!(store.read().unwrap().count(SESSIONS), Ok(2), "ended ones were cleared away");
        let fresh_password = UserChange { password: Some(PasswordHash { salt: [0; 16], hash: [2; 32] }), ..UserChange::default() };
        let id = bob_id.clone();
        store.core.write_now(move |tx| update(tx, &id, &fresh_password, Role::Admin, Some(&[99; 32]), &act())).unwrap();
        assert!(live(99, next) && !live(1, next));
        assert_eq!(refused(enter(7, next)), Refusal::WrongCredentials, "the password that was checked is not the password any more");
        let disable = UserChange { disabled: Some(true), ..UserChange::default() };
        store.core.write_now(move |tx| update(tx, &bob_id, &disable, Role::Admin, None, &act())).unwrap();
        assert!(!live(99, next));
    }
}
