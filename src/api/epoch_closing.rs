//! Closes the running epoch now.

use axum::extract::State;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::poot::{EpochView, epoch_view};
use super::state::AppState;
use super::wallet::Pending;
use crate::domain::audit::Draft;
use crate::domain::epoch::Head;
use crate::storage::fault::WriteError;
use crate::storage::hot::leaves;

/// Who closes epochs. It is a cycle's work, and cycles are not the api's to call: `app` hands it in.
pub trait EpochCloser: Send + Sync {
    /// Closes the running epoch at the newest closed slot, recorded by `draft`.
    fn close_now(&self, draft: Draft) -> Pending<'_, Result<Head, WriteError>>;
}

/// Close the running epoch now
///
/// It ends with the newest slot that is closed (a slot closes 90 seconds after its end), and credits are for its real length. The next epoch begins with the slot
/// after it, and ends where this one would have ended. 409 `EpochTooYoung` while no slot of the running epoch is closed, or the manager listened in none.
#[utoipa::path(post, path = "/poot/calculate", tag = "poot", security(("access" = ["poot:calculate"])), responses((status = 200, description = "the epoch that was closed", body = EpochView), (status = 409, body = ErrorBody), (status = 503, description = "the clock is not trusted, or the store failed", body = ErrorBody)))]
pub async fn calculate(State(state): State<AppState>, caller: Caller) -> Result<Json<EpochView>, ApiError> {
    let draft = caller.act(state.now()).draft("poot.calculate", "");
    let head = state.epoch_closer.close_now(draft).await?;
    let leaves = leaves::of_epoch(&state.store.hot.read()?, head.epoch)?;
    Ok(Json(epoch_view(&head, &leaves)?))
}
