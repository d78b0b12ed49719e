//! What is kept of a person, handed out and erased. Both are recorded.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::audit_view::{EntryView, Views};
use super::auth::Caller;
use super::error::ApiError;
use super::input::reason;
use super::json::{Json, Path};
use super::login::UserView;
use super::nodes::node_id;
use super::reads;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::api_token::ApiToken;
use crate::domain::ids::UserId;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::session::{Carrier, Session, session_id};
use crate::domain::user::{Role, User};
use crate::storage::core::audit_search::{self, Filter};
use crate::storage::core::{api_tokens, audit, enrolment, people, privacy, subject_keys};
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;

/// Entries of each kind that one export holds; `/audit/export?actor=` streams all.
const MAX_ENTRIES: usize = 10_000;
/// Entries that are looked at under one snapshot.
const PIECE: u64 = 10_000;

/// A person's account, without what proves who they are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AccountExport {
    user: UserView,
    updated_at: String,
    /// When a second factor was enabled; its secret is not told.
    second_factor_since: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SessionExport {
    id: String,
    carrier: String,
    created_at: String,
    used_at: String,
    address: Option<String>,
    user_agent: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApiTokenExport {
    id: String,
    name: String,
    role: Role,
    created_at: String,
    expires_at: String,
    /// To about ten minutes.
    last_used_at: Option<String>,
}

/// Everything that is kept of a person.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PersonExport {
    user_id: String,
    exported_at: String,
    /// When the person was erased: then only what names nobody is left.
    erased: bool,
    /// Null when the account was removed.
    account: Option<AccountExport>,
    sessions: Vec<SessionExport>,
    /// Enrolment tokens the person made, by id.
    enrolment_tokens: Vec<String>,
    /// API tokens the person made; their secrets are kept as hashes only.
    api_tokens: Vec<ApiTokenExport>,
    /// Payout addresses the person set: entries with the node and the end of the address.
    payout_addresses: Vec<EntryView>,
    /// What the person did, oldest first.
    acts: Vec<EntryView>,
    /// What those tokens did.
    acts_of_tokens: Vec<EntryView>,
    /// What others did to the account.
    acts_of_others: Vec<EntryView>,
    /// False: there are more than 10,000 entries; `/audit/export?actor=` has all.
    complete: bool,
}

/// Everything kept of a person
///
/// Account, sessions, tokens, and what the audit log says of them. Of somebody whom only the API gateway knows (`gateway:` and what it calls them, or their id in the
/// log): what the log says.
#[utoipa::path(get, path = "/privacy/export/{user_id}", tag = "operations", params(("user_id" = String, Path)), security(("access" = ["privacy:write"])),
    responses((status = 200, body = PersonExport)))]
pub async fn export(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<PersonExport>, ApiError> {
    let id = match state.store.secrets.vouched(&id) {
        Some(vouched) => vouched,
        None => UserId::parse(&id).map_err(|_| Refusal::UserNotFound)?.to_string(),
    };
    let draft = caller.act(state.now()).draft("privacy.export", id.as_str());
    let person = reads::long(&state, {
        let id = id.clone();
        move |state| gather(state, &id)
    })
    .await?;
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    Ok(Json(person))
}

/// `id` is a person's, or of somebody of the API gateway.
fn gather(state: &AppState, id: &str) -> Result<PersonExport, ApiError> {
    let (store, now) = (&state.store, state.now().wall);
    let read = store.read()?;
    let person = UserId::parse(id).ok();
    let user = person.as_ref().map_or(Ok(None), |person| people::user(&read, person))?;
    let erased = subject_keys::is_erased(&read, id)?;
    if user.is_none() && !subject_keys::is_known(&read, id)? {
        return Err(Refusal::UserNotFound.into());
    }
    let sessions = person.as_ref().map_or(Ok(Vec::new()), |person| people::sessions(&read, person, now))?;
    let sessions = sessions.into_iter().map(session).collect();
    let tokens: Vec<ApiToken> = api_tokens::tokens(&read)?.into_iter().filter(|token| token.created_by.as_str() == id).collect();
    let made = enrolment::all_tokens(&read)?.into_iter().filter(|token| token.created_by == id);
    let by = Filter { actor: Some(id.to_string()), ..Filter::default() };
    let about = Filter { subject: Some(id.to_string()), ..Filter::default() };
    let (acts, all) = entries(state, &by, |_| true)?;
    let (acts_of_others, all_others) = entries(state, &about, |entry| entry.actor != id)?;
    let (payout_addresses, _) = entries(state, &by, |entry| entry.operation.starts_with("payout_address."))?;
    let by_token = |entry: &EntryView| tokens.iter().any(|token| token.id.as_str() == entry.actor);
    let (acts_of_tokens, all_of_tokens) =
        if tokens.is_empty() { (Vec::new(), true) } else { entries(state, &Filter::default(), by_token)? };
    Ok(PersonExport {
        user_id: id.to_owned(),
        exported_at: now.rfc3339(),
        erased,
        account: user.as_ref().map(account),
        sessions,
        enrolment_tokens: made.map(|token| token.id.to_string()).collect(),
        api_tokens: tokens.iter().map(api_token).collect(),
        payout_addresses,
        acts,
        acts_of_tokens,
        acts_of_others,
        complete: all && all_others && all_of_tokens,
    })
}

fn account(user: &User) -> AccountExport {
    let since = user.second_factor.as_ref().and_then(|factor| factor.enabled_at);
    AccountExport { user: UserView::from(user), updated_at: user.updated_at.rfc3339(), second_factor_since: since.map(|at| at.rfc3339()) }
}

fn api_token(token: &ApiToken) -> ApiTokenExport {
    ApiTokenExport {
        id: token.id.to_string(),
        name: token.name.clone(),
        role: token.role,
        created_at: token.created_at.rfc3339(),
        expires_at: token.expires_at.rfc3339(),
        last_used_at: token.last_used_at.map(|at| at.rfc3339()),
    }
}

fn session((key, session): ([u8; 32], Session)) -> SessionExport {
    SessionExport {
        id: session_id(&key),
        carrier: if session.carrier == Carrier::Cookie { "browser" } else { "program" }.to_owned(),
        created_at: session.created_at.rfc3339(),
        used_at: session.used_at.rfc3339(),
        address: session.address,
        user_agent: session.user_agent,
    }
}

/// The first entries of the whole log that fit, and whether these are all.
fn entries(state: &AppState, filter: &Filter, wanted: impl Fn(&EntryView) -> bool) -> Result<(Vec<EntryView>, bool), Fault> {
    let (_, last) = audit_search::range(&state.store.read()?, filter)?;
    let (mut from, mut found) = (Some(1), Vec::new());
    while let Some(start) = from {
        let read: Snapshot = state.store.read()?;
        let (entries, next) = audit_search::piece(&read, filter, start, last, PIECE)?;
        let mut views = Views::new(&read, &state.store.secrets);
        for entry in entries {
            let view = views.view(entry)?;
            if !wanted(&view) {
                continue;
            }
            if found.len() >= MAX_ENTRIES {
                return Ok((found, false));
            }
            found.push(view);
        }
        from = next;
    }
    Ok((found, true))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Why, for the audit log: 3 to 500 characters. It is kept as what the caller said, and must not name the erased person.
    reason: String,
}

impl Erasure {
    fn reason(self, errors: &mut FieldErrors) -> String {
        reason(errors, &self.reason)
    }
}

/// What an erasure did, and what it left.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Erased {
    id: String,
    erased_at: String,
    erased: &'static [&'static str],
    kept: &'static [&'static str],
}

/// Erase a person
///
/// The account becomes a tombstone, its sessions and API tokens end, and its key is destroyed: name, addresses and programs in the audit log, in exports of the store and in
/// copies of it that hold the key no more cannot be read. There is no way back. Not oneself, and not the last super_admin. Bytes that were in the
/// data file stay in its unused pages until they are written over or the file is compacted; backups made before hold what they held.
#[utoipa::path(post, path = "/privacy/erase/{user_id}", tag = "operations", params(("user_id" = String, Path)), request_body = Erasure, security(("access" = ["privacy:write"])),
    extensions(("x-fresh-factor" = json!(true))), responses((status = 200, body = Erased), (status = 409, description = "erased before, or the last super_admin"), (status = 422, description = "oneself")))]
pub async fn erase_person(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<Erasure>,
) -> Result<Json<Erased>, ApiError> {
    let (own, _) = caller.person(Role::SuperAdmin)?;
    let now = state.now();
    if let Some(vouched) = state.store.secrets.vouched(&id) {
        let (reason, act, erased) = (body.check(Erasure::reason)?, caller.act(now), vouched.clone());
        state.store.write(move |tx| privacy::erase_vouched(tx, &erased, &act, &reason)).await?;
        return Ok(Json(Erased {
            id: vouched,
            erased_at: now.wall.rfc3339(),
            erased: &["name, address and program in the audit log"],
            kept: &["the id, which says nothing without secret.key", "what was done, when, and with which outcome"],
        }));
    }
    let id = UserId::parse(&id).map_err(|_| Refusal::UserNotFound)?;
    let reason = body.check(Erasure::reason)?;
    if id == own {
        return Err(Refusal::Rule("NotOneself", "nobody erases themselves: another super_admin has to".into()).into());
    }
    let (act, erased) = (caller.act(now), id.clone());
    state.store.write(move |tx| privacy::erase_person(tx, &erased, &act, &reason)).await?;
    Ok(Json(Erased {
        id: id.to_string(),
        erased_at: now.wall.rfc3339(),
        erased: &["account", "sessions", "API tokens", "second factor", "name, address and program in the audit log"],
        kept: &["the id in ledger, events and audit log", "what was done, when, and with which outcome"],
    }))
}

/// Erase a node's operator
///
/// The payout address, the node's name and place, the addresses of its interfaces, the hashes that tell its hardware apart and the words of its events go. What
/// it did and earned stays, and so do payouts that were made, with the address they went to: they are the record of money, and public on their chain. An agent that
/// still runs there reports its hardware again: delete the node first.
#[utoipa::path(post, path = "/privacy/erase/nodes/{node_id}", tag = "operations", params(("node_id" = String, Path)), request_body = Erasure, security(("access" = ["privacy:write"])),
    extensions(("x-fresh-factor" = json!(true))), responses((status = 200, body = Erased), (status = 409, description = "erased before"), (status = 422, description = "a payout is under way")))]
pub async fn erase_operator(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<Erasure>,
) -> Result<Json<Erased>, ApiError> {
    let (id, reason) = (node_id(&id)?, body.check(Erasure::reason)?);
    let (now, act, erased, directory) = (state.now(), caller.act(state.now()), id.clone(), state.store.directory.clone());
    state.store.write(move |tx| privacy::erase_operator(tx, &directory, &erased, &act, &reason)).await?;
    Ok(Json(Erased {
        id: id.to_string(),
        erased_at: now.wall.rfc3339(),
        erased: &[
            "payout address",
            "name",
            "region, city and coordinates",
            "MAC addresses",
            "hardware hashes",
            "words of events and alerts",
        ],
        kept: &["ledger", "payouts with the address they went to", "measurements and proof", "country and time zone"],
    }))
}
