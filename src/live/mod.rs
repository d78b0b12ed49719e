//! What tells the rest of the process that something happened: `Events` for people who watch, `Nudges` for the cycles, `Refusals` for the audit log, `Metrics` for Prometheus. None of these
//! carries state: whoever is woken rereads the store. `Current` holds the settings in force, `Money` what the cycles last found out about payments, `Replication` what it last did.

mod current;
mod events;
mod failures;
mod metrics;
mod money;
mod nudges;
mod refusals;
mod replication;

pub use current::Current;
pub use events::{Change, Event, Events, LatestSample, RING, ReportEvent, Stamped, Watch};
pub use failures::Failures;
pub use metrics::{Family, Gauge, Metrics};
pub use money::{LOOK_MAX_AGE_MS, Look, Money, Waiting};
pub use nudges::{Job, Nudges};
pub use refusals::{FLUSH as REFUSALS_FLUSH, Refusals, network};
pub use replication::{Doing, Failure, Replication, Status, Wishes};
