//! What tells the rest of the process that something happened: `Events` for people who watch, `Nudges` for the cycles. Neither
//! carries state: whoever is woken rereads the store.

mod events;
mod nudges;

pub use events::{Change, Event, Events, LatestSample, RING, ReportEvent, Stamped, Watch};
pub use nudges::{Job, Nudges};
