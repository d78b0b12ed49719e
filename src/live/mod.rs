//! What tells the rest of the process that something happened: `Events` for people who watch, `Nudges` for the cycles, `Refusals` for the audit log, `Metrics` for Prometheus. Neither
//! carries state: whoever is woken rereads the store.

mod events;
mod metrics;
mod nudges;
mod refusals;

pub use events::{Change, Event, Events, LatestSample, RING, ReportEvent, Stamped, Watch};
pub use metrics::{Family, Gauge, Metrics};
pub use nudges::{Job, Nudges};
pub use refusals::{FLUSH as REFUSALS_FLUSH, Refusals, network};
