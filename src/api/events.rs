//! `GET /events`: server-sent events. A client that comes back with `Last-Event-ID` gets what it missed, or a `reset`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::auth::Caller;
use super::error::ApiError;
use super::server::stopped;
use super::state::AppState;
use crate::domain::user::Role;
use crate::live::{Stamped, Watch};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Chunks that wait for a slow client before the ring has to remember for it.
const CHUNKS: usize = 16;

/// What happens, as it happens
///
/// Types: `report`, `node`, `epoch`, `payout`, `alert`, and `reset` when events were missed and the client has to reload.
#[utoipa::path(get, path = "/events", tag = "events", responses((status = 200, content_type = "text/event-stream", body = String), (status = 503, description = "too many clients")))]
pub async fn stream(State(state): State<AppState>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    caller.require(Role::Viewer)?;
    let slot = Arc::clone(&state.sse_clients)
        .try_acquire_owned()
        .map_err(|_| ApiError::unavailable("TooManyClients", "too many clients watch events"))?;
    let after = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let watch = state.events.watch(after);
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(pump(state, caller, watch, sender, slot));
    let mut response = Body::from_stream(Chunks(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies must not gather the stream.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Ends when the client leaves, its session ends, or the process stops.
async fn pump(state: AppState, caller: Caller, mut watch: Watch, out: mpsc::Sender<String>, _slot: OwnedSemaphorePermit) {
    let mut stopping = state.stopping.clone();
    let reset = || format!("event: reset\nid: {}\ndata: {{}}\n\n", state.events.last_id_text());
    let event = |e: &Stamped| format!("event: {}\nid: {}\ndata: {}\n\n", e.name, state.events.id_text(e.id), e.json);
    let mut first = "retry: 3000\n\n".to_owned();
    if watch.reset {
        first.push_str(&reset());
    }
    watch.missed.iter().for_each(|e| first.push_str(&event(e)));
    if out.send(first).await.is_err() {
        return;
    }
    loop {
        let chunk = tokio::select! {
            biased;
            () = stopped(&mut stopping) => return,
            () = out.closed() => return,
            received = watch.live.recv() => match received {
                Ok(stamped) => event(&stamped),
                Err(RecvError::Lagged(_)) => {
                    watch.live = watch.live.resubscribe();
                    reset()
                }
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => {
                if !caller.still_signed_in(&state) {
                    return;
                }
                ": keep-alive\n\n".to_owned()
            }
        };
        if out.send(chunk).await.is_err() {
            return;
        }
    }
}

struct Chunks(mpsc::Receiver<String>);

impl Stream for Chunks {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|text| Ok(Bytes::from(text))))
    }
}
