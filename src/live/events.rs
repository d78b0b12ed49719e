//! Events for people who watch: a bounded ring of the last ones, and a broadcast for those connected now.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::domain::alert::AlertChange;
use crate::domain::ids::{NodeId, PayoutId};
use crate::domain::node::Status;
use crate::domain::time::Timestamp;

/// Events kept for a client that comes back, and events a slow client may fall behind.
pub const RING: usize = 1_024;

/// The few numbers of a sample that lists show. Absent = not available.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, utoipa::ToSchema)]
pub struct LatestSample {
    /// RFC 3339, UTC.
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String)]
    pub timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_usage_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f64>,
    /// Counters since the machine's boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_bytes_out: Option<u64>,
}

fn as_rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.rfc3339())
}

/// An accepted report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportEvent {
    pub node_id: NodeId,
    #[serde(flatten)]
    pub latest: LatestSample,
    pub status: Status,
    /// The slot that the report proved; absent while the clock is not trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proved: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Created,
    Updated,
    Deleted,
    /// It went silent, or is heard again.
    Status,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    Report(ReportEvent),
    Node {
        node_id: NodeId,
        change: Change,
    },
    Epoch {
        epoch: u64,
    },
    Payout {
        payout_id: PayoutId,
    },
    Alert(AlertChange),
    /// Something that holds for all payouts: frozen, stopped, unlocked, another look at the wallet.
    Money {},
}

impl Event {
    pub fn name(&self) -> &'static str {
        match self {
            Event::Report(_) => "report",
            Event::Node { .. } => "node",
            Event::Epoch { .. } => "epoch",
            Event::Payout { .. } => "payout",
            Event::Alert(_) => "alert",
            Event::Money {} => "money",
        }
    }
}

/// An event with its place in this run of the manager. Serialised once, for every client.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamped {
    pub id: u64,
    pub name: &'static str,
    pub json: String,
}

/// Clones are the same bus.
#[derive(Debug, Clone)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Random per start: an id of an earlier run is not mistaken for one of this.
    run: u32,
    ring: Mutex<Ring>,
    live: broadcast::Sender<Arc<Stamped>>,
}

#[derive(Debug, Default)]
struct Ring {
    last_id: u64,
    events: VecDeque<Arc<Stamped>>,
}

/// What a client gets when it connects.
pub struct Watch {
    /// The client asked for events that are gone: it has to reload.
    pub reset: bool,
    /// Id of the newest event when it connected.
    pub last_id: u64,
    pub missed: Vec<Arc<Stamped>>,
    pub live: broadcast::Receiver<Arc<Stamped>>,
}

impl Events {
    pub fn new(run: u32) -> Events {
        let (live, _) = broadcast::channel(RING);
        Events(Arc::new(Inner { run, ring: Mutex::default(), live }))
    }

    pub fn publish(&self, event: &Event) {
        let Ok(json) = serde_json::to_string(event) else { return };
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last_id += 1;
        let stamped = Arc::new(Stamped { id: ring.last_id, name: event.name(), json });
        if ring.events.len() == RING {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::clone(&stamped));
        // Sent under the lock, so that a client that connects now gets each event once. Nobody listening is fine.
        let _ = self.0.live.send(stamped);
    }

    /// The id of an event as clients see and repeat it.
    pub fn id_text(&self, id: u64) -> String {
        format!("{:08x}-{id}", self.0.run)
    }

    /// Id of the newest event.
    pub fn last_id_text(&self) -> String {
        self.id_text(self.0.ring.lock().unwrap_or_else(PoisonError::into_inner).last_id)
    }

    /// Connects a client; `after` is the last id it saw.
    pub fn watch(&self, after: Option<&str>) -> Watch {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.0.live.subscribe();
        let Some(after) = after else { return Watch { reset: false, last_id: ring.last_id, missed: Vec::new(), live } };
        let seen = after
            .split_once('-')
            .filter(|(run, _)| u32::from_str_radix(run, 16) == Ok(self.0.run))
            .and_then(|(_, id)| id.parse::<u64>().ok())
            .filter(|id| *id <= ring.last_id);
        let oldest = ring.events.front().map_or(ring.last_id + 1, |e| e.id);
        match seen {
            Some(seen) if seen + 1 >= oldest => {
                let missed = ring.events.iter().filter(|e| e.id > seen).cloned().collect();
                Watch { reset: false, last_id: ring.last_id, missed, live }
            }
            _ => Watch { reset: true, last_id: ring.last_id, missed: Vec::new(), live },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(events: &Events, range: std::ops::Range<u64>) {
        range.for_each(|epoch| events.publish(&Event::Epoch { epoch }));
    }

    #[test]
    fn a_client_resumes_where_it_was_or_is_told_to_reload() {
        let events = Events::new(7);
        epochs(&events, 0..10);
        let resumed = events.watch(Some("00000007-8"));
        assert_eq!(resumed.missed.iter().map(|e| e.id).collect::<Vec<_>>(), [9, 10]);
        assert!(!resumed.reset);
        assert!(events.watch(Some("00000007-10")).missed.is_empty());
        for gone in ["00000008-8", "00000007-11", "nonsense", ""] {
            assert!(events.watch(Some(gone)).reset, "{gone}");
        }
        epochs(&events, 0..u64::try_from(RING).unwrap());
        assert!(events.watch(Some("00000007-8")).reset);
        assert_eq!(events.watch(Some("00000007-10")).missed.len(), RING);
    }

    #[tokio::test]
    async fn events_are_seen_once_with_their_name() {
        let events = Events::new(1);
        epochs(&events, 0..1);
        let mut watch = events.watch(Some("00000001-0"));
        epochs(&events, 1..2);
        assert_eq!(watch.missed.len(), 1);
        let live = watch.live.recv().await.unwrap();
        assert_eq!((live.id, live.name, live.json.as_str()), (2, "epoch", r#"{"epoch":1}"#));
    }

    #[test]
    fn a_report_is_one_flat_object() {
        let latest = LatestSample { timestamp: Timestamp(0), cpu_usage_percent: Some(1.5), ..LatestSample::default() };
        let node_id = NodeId::parse("node_abc").unwrap();
        let report = ReportEvent { node_id, latest, status: Status::Active, proved: Some(3) };
        assert_eq!(
            serde_json::to_string(&Event::Report(report)).unwrap(),
            r#"{"node_id":"node_abc","timestamp":"1970-01-01T00:00:00Z","cpu_usage_percent":1.5,"status":"active","proved":3}"#
        );
    }
}
