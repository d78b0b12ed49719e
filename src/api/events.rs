//! `GET /events`: server-sent events. A client that comes back with `Last-Event-ID` gets what it missed, or a `reset`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::auth::{Caller, Principal};
use super::error::ApiError;
use super::json::Query;
use super::server::stopped;
use super::state::AppState;
use crate::live::{Stamped, Watch};

/// How often the line is shown to be alive and the session is looked at.
const KEEP_ALIVE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(15) };
/// Says that the line is alive; an event and no comment, because pages cannot hear comments. Without an id, so that the last one stays.
const BEAT: &str = "event: beat\ndata: {}\n\n";
/// Chunks that wait for a slow client before the ring has to remember for it.
const CHUNKS: usize = 16;

/// Clients at one time.
pub const CLIENTS: usize = 256;
/// Of them of one person or program, whatever sessions they come with. A browser needs one for all its tabs.
pub const CLIENTS_EACH: usize = 16;

/// How many clients each principal has, by kind and name; those that have none are forgotten.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<HashMap<(&'static str, String), usize>>);

/// One client's place, given back when dropped.
struct Place {
    watchers: Arc<Watchers>,
    of: (&'static str, String),
}

impl Watchers {
    fn take(self: &Arc<Watchers>, principal: &Principal) -> Result<Place, ApiError> {
        let (kind, name) = principal.key();
        let of = (kind, name.to_owned());
        let mut counts = self.counts();
        if counts.get(&of).is_some_and(|own| *own >= CLIENTS_EACH) {
            return Err(ApiError::too_many_streams(CLIENTS_EACH));
        }
        if counts.values().sum::<usize>() >= CLIENTS {
            return Err(ApiError::unavailable("TooManyClients", "too many clients watch events"));
        }
        *counts.entry(of.clone()).or_default() += 1;
        Ok(Place { watchers: Arc::clone(self), of })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<(&'static str, String), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.watchers.counts();
        if let Some(own) = counts.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Id of the last event that was seen, for a client that cannot set the header `Last-Event-ID`; the header comes first.
    last_event_id: Option<String>,
}

/// What happens, as it happens
///
/// Types: `report`, `node`, `epoch`, `payout`, `alert`, and `reset` when events were missed and the client has to reload.
/// A person or program may have 16 streams at one time (429 TooManyStreams), all together 256 (503 TooManyClients).
#[utoipa::path(get, path = "/events", tag = "events", security(("access" = ["event:read"])), params(EventQuery), responses((status = 200, content_type = "text/event-stream", body = String), (status = 503, description = "too many clients")))]
pub async fn stream(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let place = state.watchers.take(&caller.principal)?;
    // The header is what the browser itself saw last; the query is as old as the URL.
    let after = headers.get("last-event-id").and_then(|v| v.to_str().ok()).or(query.last_event_id.as_deref());
    let watch = state.events.watch(after);
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(pump(state, caller, watch, sender, place));
    let mut response = Body::from_stream(Chunks(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies must not gather the stream.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Ends when the client leaves, its session ends, or the process stops.
async fn pump(state: AppState, caller: Caller, mut watch: Watch, out: mpsc::Sender<String>, _place: Place) {
    let mut stopping = state.stopping.clone();
    let reset = || format!("event: reset\nid: {}\ndata: {{}}\n\n", state.events.last_id_text());
    let event = |e: &Stamped| format!("event: {}\nid: {}\ndata: {}\n\n", e.name, state.events.id_text(e.id), e.json);
    // Not a pause between events: where they come every second, it would never end.
    let mut beat = tokio::time::interval(KEEP_ALIVE);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beat.reset();
    let mut first = "retry: 3000\n\n".to_owned();
    if watch.reset {
        first.push_str(&reset());
    } else if watch.missed.is_empty() {
        // A client that has seen nothing yet learns where it came in, and misses nothing when it comes back.
        first.push_str(&format!("id: {}\n", state.events.id_text(watch.last_id)));
    }
    first.push_str(BEAT);
    watch.missed.iter().for_each(|e| first.push_str(&event(e)));
    if out.send(first).await.is_err() {
        return;
    }
    loop {
        let chunk = tokio::select! {
            biased;
            () = stopped(&mut stopping) => return,
            () = out.closed() => return,
            _ = beat.tick() => {
                if !caller.still_signed_in(&state) {
                    return;
                }
                BEAT.to_owned()
            }
            received = watch.live.recv() => match received {
                Ok(stamped) => event(&stamped),
                Err(RecvError::Lagged(_)) => {
                    watch.live = watch.live.resubscribe();
                    reset()
                }
                Err(RecvError::Closed) => return,
            },
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
