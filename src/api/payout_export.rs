//! Payouts as a file: read a piece at a time and sent as fast as the client takes it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::auth::Caller;
use super::chunks::{Chunks, cell};
use super::error::ApiError;
use super::payouts::{PayoutView, shows_address};
use super::reads::{self, Names};
use super::state::AppState;
use crate::storage::core::audit;
use crate::storage::core::payouts::{self, Filter};

/// Payouts that are looked at for one piece.
const PIECE: u64 = 1_000;
/// Pieces that wait for a slow client.
const WAITING: usize = 2;
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

const COLUMNS: [&str; 16] = [
    "payout_id",
    "node_id",
    "node_name",
    "amount",
    "currency",
    "settlement",
    "wallet_address",
    "status",
    "priority",
    "batch_id",
    "transaction_hash",
    "fee_sun",
    "created_at",
    "updated_at",
    "completed_at",
    "error_message",
];

/// All that fit, oldest first, as of now.
pub async fn csv(state: AppState, caller: Caller, filter: Filter) -> Result<Response, ApiError> {
    let busy = |_| ApiError::unavailable("TooManyExports", "other exports are running");
    let turn = Arc::clone(&state.audit_exports).try_acquire_owned().map_err(busy)?;
    let last = payouts::last_seq(&state.store.read()?)?;
    let draft = caller.act(state.now()).draft("payouts.export", "").because(format!("csv up to number {last}"));
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(pump(state, caller, filter, last, sender, turn));
    let mut response = Body::from_stream(Chunks(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"payouts.csv\""));
    Ok(response)
}

/// Ends when all is sent, the client leaves, its session ends, or the process stops. A piece that fails breaks the answer off.
async fn pump(
    state: AppState,
    caller: Caller,
    filter: Filter,
    last: u64,
    out: mpsc::Sender<std::io::Result<Vec<u8>>>,
    _turn: OwnedSemaphorePermit,
) {
    let mut stopping = state.stopping.clone();
    let mut piece = Ok(format!("{}\r\n", COLUMNS.join(",")).into_bytes());
    let mut from = (last > 0).then_some(1);
    loop {
        let failed = piece.is_err();
        let sending = tokio::time::timeout(PATIENCE, out.send(piece.map_err(std::io::Error::other)));
        let sent = tokio::select! {
            () = super::server::stopped(&mut stopping) => return,
            sent = sending => matches!(sent, Ok(Ok(()))),
        };
        let Some(start) = from.filter(|_| sent && !failed) else { return };
        piece = match caller.still_signed_in(&state) {
            false => Err("the session ended".to_owned()),
            true => read(&state, filter, start, last, shows_address(&caller)).await.map(|(bytes, next)| {
                from = next;
                bytes
            }),
        };
    }
}

async fn read(state: &AppState, filter: Filter, start: u64, last: u64, shows_address: bool) -> Result<(Vec<u8>, Option<u64>), String> {
    let read = reads::long(state, move |state| {
        // A snapshot a piece: one for the whole file would keep old pages alive as long as the client is slow.
        let read = state.store.read()?;
        let (rows, next) = payouts::piece(&read, filter, start, last, PIECE)?;
        let mut names = Names::new(&read);
        let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        for payout in rows {
            let view = PayoutView::new(&payout, &mut names, shows_address)?;
            let row: [String; COLUMNS.len()] = [
                view.payout_id,
                view.node_id,
                view.node_name,
                view.amount,
                view.currency.to_string(),
                view.settlement.to_string(),
                view.wallet_address,
                view.status.as_str().to_owned(),
                view.priority.as_str().to_owned(),
                view.batch_id.unwrap_or_default(),
                view.transaction_hash.unwrap_or_default(),
                payout.fees_sun().to_string(),
                view.created_at,
                view.updated_at,
                view.completed_at.unwrap_or_default(),
                view.error_message.unwrap_or_default(),
            ];
            table.write_record(row.map(|text| cell(&text))).map_err(|_| ApiError::panicked())?;
        }
        Ok((table.into_inner().map_err(|_| ApiError::panicked())?, next))
    });
    read.await.map_err(|error| error.message)
}
