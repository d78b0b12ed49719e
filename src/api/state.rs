//! What every handler may reach. Handlers take `State(state): State<AppState>`, run one verb in one transaction, and
//! show the result: `extract -> state.store.write(move |tx| verb(tx, ..)).await? -> view`.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::crypto::Entropy;
use crate::domain::time::Now;
use crate::live::{Events, Nudges};
use crate::storage::Store;

/// SSE clients at one time.
pub const SSE_CLIENTS: usize = 256;

/// The settings the api needs.
#[derive(Debug, Clone, Default)]
pub struct ApiSettings {
    /// People reach this manager over TLS: cookies get `Secure` and the `__Host-` name, answers get HSTS.
    pub tls: bool,
}

/// Cheap to clone; every clone is the same state.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

pub struct Shared {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub entropy: Entropy,
    pub nudges: Nudges,
    pub events: Events,
    pub settings: ApiSettings,
    /// True once the process is stopping: streams end.
    pub stopping: watch::Receiver<bool>,
    pub(super) sse_clients: Arc<Semaphore>,
}

/// What `app` brings along.
pub struct Parts {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub nudges: Nudges,
    pub events: Events,
    pub settings: ApiSettings,
    pub stopping: watch::Receiver<bool>,
}

impl AppState {
    pub fn new(parts: Parts) -> AppState {
        let Parts { store, clock, nudges, events, settings, stopping } = parts;
        AppState(Arc::new(Shared {
            entropy: store.entropy.clone(),
            store,
            clock,
            nudges,
            events,
            settings,
            stopping,
            sse_clients: Arc::new(Semaphore::new(SSE_CLIENTS)),
        }))
    }

    pub fn now(&self) -> Now {
        self.clock.now()
    }
}

impl Deref for AppState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
