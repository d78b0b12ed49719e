//! Numbers for Prometheus: counters and histograms that the layers above add to, rendered as text. Gauges are computed when asked for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Before every name.
const PREFIX: &str = "lucid_node_management_";
/// Series of one family; further ones are counted together, so that labels cannot fill the memory.
pub const MAX_SERIES: usize = 1_000;
/// Upper bounds of the buckets of a histogram, in seconds.
const BUCKETS: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    HttpRequests,
    HttpDuration,
    ActiveNodes,
    NodeOperations,
    PootValidations,
    PootValidationDuration,
    PootScores,
    Payouts,
    PayoutAmounts,
    ResourceUsage,
    DatabaseOperations,
    StorageBytes,
    StorageWritten,
    ReplicationState,
    ReplicationWaiting,
    ReplicationBehind,
    ReplicationDocuments,
    ReplicationBytes,
    ReplicationFailures,
    ReplicationNotTaken,
}

impl Family {
    /// Name, Prometheus type, help.
    fn describe(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Family::HttpRequests => ("http_requests_total", "counter", "Requests answered"),
            Family::HttpDuration => ("http_request_duration_seconds", "histogram", "Time to answer a request"),
            Family::ActiveNodes => ("active_nodes_total", "gauge", "Nodes that are heard"),
            Family::NodeOperations => ("node_operations_total", "counter", "Changes of nodes that were asked for"),
            Family::PootValidations => ("poot_validations_total", "counter", "Reports judged as proof of a slot, and outputs"),
            Family::PootValidationDuration => ("poot_validation_duration_seconds", "histogram", "Time to judge a report or an output"),
            Family::PootScores => ("poot_scores", "gauge", "Score of a node in the last closed epoch, 0 to 100"),
            Family::Payouts => ("payouts_total", "gauge", "Payouts by state"),
            Family::PayoutAmounts => ("payout_amounts", "counter", "Sum of completed payouts in whole units"),
            Family::ResourceUsage => ("resource_usage", "gauge", "Latest sample of a node"),
            Family::StorageBytes => ("storage_bytes", "gauge", "Bytes of the disk under the store: total, free, and taken by the store"),
            Family::StorageWritten => ("storage_written_bytes_total", "counter", "Bytes written to the card since counting began"),
            Family::ReplicationState => ("replication_state", "gauge", "1 for the state that replication is in, 0 for the others"),
            Family::ReplicationWaiting => {
                ("replication_waiting_documents", "gauge", "Documents of a collection that the cluster does not have as they are")
            }
            Family::ReplicationBehind => {
                ("replication_behind_seconds", "gauge", "Age of what the cluster has as a whole; 0 while nothing waits")
            }
            Family::ReplicationDocuments => {
                ("replication_documents_total", "counter", "Documents that were sent to the cluster since the start")
            }
            Family::ReplicationBytes => ("replication_bytes_total", "counter", "Bytes that were sent to the cluster since the start"),
            Family::ReplicationFailures => ("replication_failures", "gauge", "Failures of replication in a row"),
            Family::ReplicationNotTaken => {
                ("replication_not_taken_total", "counter", "Documents that the cluster did not take since the start")
            }
            Family::DatabaseOperations => ("database_operations_total", "counter", "Commits of a file of the store"),
        }
    }
}

/// Label names and values, in the order they are shown.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// A value that was computed for this scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    pub family: Family,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Histogram {
    /// Observations per bucket; the last takes what is above all bounds.
    counts: [u64; BUCKETS.len() + 1],
    sum_seconds: f64,
}

#[derive(Debug, Default)]
struct Registry {
    counters: BTreeMap<Family, BTreeMap<String, u64>>,
    histograms: BTreeMap<Family, BTreeMap<String, Histogram>>,
}

/// Clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    pub fn new() -> Metrics {
        Metrics::default()
    }

    pub fn count(&self, family: Family, labels: Labels<'_>) {
        self.add(family, labels, 1);
    }

    pub fn add(&self, family: Family, labels: Labels<'_>, by: u64) {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = series(registry.counters.entry(family).or_default(), labels);
        *count = count.saturating_add(by);
    }

    pub fn observe(&self, family: Family, labels: Labels<'_>, took: Duration) {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = series(registry.histograms.entry(family).or_default(), labels);
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        histogram.counts[bucket] += 1;
        histogram.sum_seconds += seconds;
    }

    /// The text format of Prometheus, version 0.0.4.
    pub fn render(&self, gauges: &[Gauge]) -> String {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut families: BTreeMap<Family, String> = BTreeMap::new();
        for (family, counters) in &registry.counters {
            let out = families.entry(*family).or_default();
            for (labels, value) in counters {
                line(out, *family, "", labels, &value.to_string());
            }
        }
        for (family, histograms) in &registry.histograms {
            let out = families.entry(*family).or_default();
            for (labels, histogram) in histograms {
                histogram.render(out, *family, labels);
            }
        }
        for gauge in gauges {
            let labels: Vec<_> = gauge.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            line(families.entry(gauge.family).or_default(), gauge.family, "", &key(&labels), &gauge.value.to_string());
        }
        let mut text = String::new();
        for (family, lines) in families {
            let (name, kind, help) = family.describe();
            let _ = write!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n{lines}");
        }
        text
    }
}

impl Histogram {
    fn render(&self, out: &mut String, family: Family, labels: &str) {
        let mut total = 0;
        let separator = if labels.is_empty() { "" } else { "," };
        for (at, count) in self.counts.iter().enumerate() {
            total += count;
            let bound = BUCKETS.get(at).map_or("+Inf".to_owned(), f64::to_string);
            line(out, family, "_bucket", &format!("{labels}{separator}le=\"{bound}\""), &total.to_string());
        }
        line(out, family, "_sum", labels, &self.sum_seconds.to_string());
        line(out, family, "_count", labels, &total.to_string());
    }
}

fn series<'a, T: Default>(family: &'a mut BTreeMap<String, T>, labels: Labels<'_>) -> &'a mut T {
    let mut key = key(labels);
    if family.len() >= MAX_SERIES && !family.contains_key(&key) {
        key = "overflow=\"true\"".to_owned();
    }
    family.entry(key).or_default()
}

fn key(labels: Labels<'_>) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect::<Vec<_>>().join(",")
}

fn line(out: &mut String, family: Family, suffix: &str, labels: &str, value: &str) {
    let (name, ..) = family.describe();
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    let _ = writeln!(out, "{PREFIX}{name}{suffix}{open}{labels}{close} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_histograms_and_gauges_are_rendered_under_one_head_each() {
        let metrics = Metrics::new();
        metrics.count(Family::Payouts, &[("currency", "USDT"), ("status", "paid")]);
        metrics.add(Family::Payouts, &[("currency", "USDT"), ("status", "paid")], 2);
        metrics.observe(Family::HttpDuration, &[("endpoint", "/x")], Duration::from_millis(5));
        metrics.observe(Family::HttpDuration, &[("endpoint", "/x")], Duration::from_secs(60));
        let labels = vec![("node_id", "a\"b".to_owned())];
        let text = metrics.render(&[
            Gauge { family: Family::ResourceUsage, labels, value: 1.5 },
            Gauge { family: Family::ActiveNodes, labels: vec![], value: 2.0 },
        ]);
        for expected in [
            "# TYPE lucid_node_management_payouts_total gauge\nlucid_node_management_payouts_total{currency=\"USDT\",status=\"paid\"} 3\n",
            "lucid_node_management_http_request_duration_seconds_bucket{endpoint=\"/x\",le=\"0.001\"} 0\n",
            "lucid_node_management_http_request_duration_seconds_bucket{endpoint=\"/x\",le=\"0.005\"} 1\n",
            "lucid_node_management_http_request_duration_seconds_bucket{endpoint=\"/x\",le=\"10\"} 1\n",
            "lucid_node_management_http_request_duration_seconds_bucket{endpoint=\"/x\",le=\"+Inf\"} 2\n",
            "lucid_node_management_http_request_duration_seconds_sum{endpoint=\"/x\"} 60.005\n",
            "lucid_node_management_resource_usage{node_id=\"a\\\"b\"} 1.5\n",
            "lucid_node_management_active_nodes_total 2\n",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }

    #[test]
    fn series_are_bounded() {
        let metrics = Metrics::new();
        for n in 0..MAX_SERIES + 500 {
            metrics.count(Family::NodeOperations, &[("operation", &n.to_string())]);
        }
        let text = metrics.render(&[]);
        assert!(text.contains("node_operations_total{overflow=\"true\"} 500"));
        assert!(text.lines().count() <= MAX_SERIES + 3);
    }
}
