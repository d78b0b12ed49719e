//! `POST /recovery-kit`: the way back when `secret.key` is lost.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::auth::Caller;
use super::error::ApiError;
use super::json::Json;
use super::passwords::Line;
use super::state::AppState;
use super::two_factor::proved_or_fresh;
use super::unchecked::Unchecked;
use crate::domain::password::check_password;
use crate::storage::core::{audit, setup_steps};
use crate::storage::recovery::{self, Kit};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KitRequest {
    /// Opens the kit; 12 to 256 characters. Not stored anywhere.
    passphrase: String,
    /// The caller's own password; not wanted from a session that was just confirmed (`/auth/confirm`).
    password: Option<String>,
    /// With it, where the account has a second factor: a code, or a recovery code.
    totp: Option<String>,
}

/// Download the recovery kit
///
/// Data key and manager identity, sealed under the passphrase. `keys recover --kit FILE` puts them back.
#[utoipa::path(post, path = "/recovery-kit", tag = "operations", security(("access" = ["recovery:write"])), request_body = KitRequest, responses((status = 200, body = Kit), (status = 403, description = "the password or code is wrong, or wanted and missing")))]
pub async fn make(State(state): State<AppState>, caller: Caller, body: Unchecked<KitRequest>) -> Result<impl IntoResponse, ApiError> {
    let body = body.check(|body, errors| {
        check_password(errors, "passphrase", &body.passphrase, &[]);
        body
    })?;
    proved_or_fresh(&state, &caller, body.password.as_deref(), body.totp.as_deref()).await?;
    let salt = recovery::salt(&state.entropy);
    let key = state.stretching.stretch(Line::Known, &body.passphrase, salt).await?;
    let now = state.now();
    let kit = recovery::make(&state.store, &key, &salt, now.wall).map_err(|error| {
        tracing::error!(%error, "the recovery kit does not encode");
        ApiError::panicked()
    })?;
    let act = caller.act(now);
    let draft = act.draft("recovery_kit.make", kit.manager_id.clone());
    let made = state.store.write(move |tx| {
        setup_steps::kit_made(tx, &act)?;
        audit::append(tx, draft.clone())
    });
    made.await?;
    let name = format!("attachment; filename=\"lucid-recovery-kit-{}.json\"", kit.manager_id);
    Ok(([(header::CONTENT_DISPOSITION, name)], Json(kit)))
}
