//! What waits to leave this machine, and the key that messages are signed with.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::page::{Page, PageQuery, Pagination};
use super::state::AppState;
use crate::crypto::hex;
use crate::domain::refusal::Refusal;
use crate::storage::core::outbox;

/// A message on its way, or given up.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OutboxMessage {
    number: u64,
    /// `X-Lucid-Delivery`, the same in every try.
    delivery_id: String,
    #[schema(example = "payout.paid")]
    event: String,
    /// Scheme, host and port; the rest of the URL may be a secret.
    destination: String,
    #[schema(format = DateTime)]
    created_at: String,
    tries: u32,
    /// Not before; null when it was given up.
    #[schema(format = DateTime)]
    next_try_at: Option<String>,
    last_error: Option<String>,
    /// After three days of failures.
    #[schema(format = DateTime)]
    given_up_at: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Outbox {
    /// Messages that wait, those that were given up apart.
    depth: u64,
    given_up: u64,
    /// When the oldest one that waits was made.
    #[schema(format = DateTime)]
    oldest_at: Option<String>,
    /// Messages that made room for newer ones before they were delivered.
    dropped: u64,
    /// Since when messages are signed with the present key; null: nobody has asked for one yet.
    #[schema(format = DateTime)]
    key_made_at: Option<String>,
    /// Oldest first.
    messages: Vec<OutboxMessage>,
    pagination: Pagination,
}

/// Messages that wait to leave
#[utoipa::path(get, path = "/outbox", tag = "operations", security(("access" = ["settings:read"])), params(PageQuery), responses((status = 200, body = Outbox), (status = 400, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, page: Page) -> Result<Json<Outbox>, ApiError> {
    let read = state.store.read()?;
    let (rows, total) = outbox::page(&read, page.offset(), page.limit())?;
    let standing = outbox::standing(&read)?;
    let row = outbox::webhooks(&read)?;
    let messages = rows.into_iter().map(|(number, outgoing)| {
        let delivery = outgoing.delivery();
        OutboxMessage {
            number,
            delivery_id: delivery.id.clone(),
            event: delivery.event.clone(),
            destination: delivery.target.origin.clone(),
            created_at: delivery.made_at.rfc3339(),
            tries: delivery.tries,
            next_try_at: delivery.dead_at.is_none().then(|| delivery.next_at.rfc3339()),
            last_error: delivery.last_error.clone(),
            given_up_at: delivery.dead_at.map(|at| at.rfc3339()),
        }
    });
    Ok(Json(Outbox {
        depth: total.saturating_sub(standing.dead),
        given_up: standing.dead,
        oldest_at: standing.oldest.map(|at| at.rfc3339()),
        dropped: row.dropped,
        key_made_at: row.key_made_at.map(|at| at.rfc3339()),
        messages: messages.collect(),
        pagination: page.of(total),
    }))
}

/// Take out a message that was given up
#[utoipa::path(delete, path = "/outbox/{number}", tag = "operations", security(("access" = ["payout:process"])), params(("number" = u64, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, description = "it is still being delivered (`DeliveryAlive`)", body = ErrorBody)))]
pub async fn discard(State(state): State<AppState>, caller: Caller, Path(number): Path<String>) -> Result<StatusCode, ApiError> {
    // A number that cannot be is one that is not there.
    let number: u64 = number.parse().map_err(|_| Refusal::DeliveryNotFound)?;
    let draft = caller.act(state.now()).draft("outbox.discard", number.to_string());
    state.store.write(move |tx| outbox::discard(tx, number, draft.clone())).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookKey {
    /// 64 hex digits; shown now and never again.
    key: String,
    #[schema(format = DateTime)]
    made_at: String,
}

/// Make another key for webhooks
///
/// Messages carry `X-Lucid-Signature: v1=` and the hex digits of HMAC-SHA-256, under the 32 bytes of this key, over `X-Lucid-Timestamp`, a dot and the body. The new
/// key signs from now on, also what is tried again. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/webhooks/key/rotate", tag = "operations", security(("access" = ["settings:write"])), extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = WebhookKey), (status = 403, body = ErrorBody)))]
pub async fn rotate_key(State(state): State<AppState>, caller: Caller) -> Result<Json<WebhookKey>, ApiError> {
    let now = state.now();
    let (salt, draft) = (state.entropy.bytes(), caller.act(now).draft("webhooks.rotate_key", ""));
    let secrets = state.store.secrets.clone();
    let key = state.store.write(move |tx| outbox::rotate_key(tx, &secrets, salt, draft.clone(), now)).await?;
    Ok(Json(WebhookKey { key: hex(&key.0), made_at: now.wall.rfc3339() }))
}
