//! What nodes measured, in the shape of the data model.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{context, node_id, opened, plain};
use crate::crypto::hex;
use crate::domain::ids::NodeIndex;
use crate::domain::metrics::Sample;
use crate::domain::replica::{Document, Fields, Rev, Value, veiled};
use crate::domain::series::{Gauge, Summary};
use crate::domain::time::{Slot, Timestamp};
use crate::storage::Secrets;
use crate::storage::fault::Fault;
use crate::storage::hot::{EncodedSample, Point, hours};
use crate::storage::replica::measured::Measured;
use crate::storage::table::{Key, Read};

/// Hours that were let go of before they were sent.
pub const GAPS: &str = "resource_metrics_gaps";

/// One sample; `late` where it came after its slot had closed.
pub fn sample(core: &impl Read, secrets: &Secrets, node: NodeIndex, point: &Point, rev: Rev) -> Result<Document, Fault> {
    let key = (point.slot.0, node.0).encode();
    let mut fields = readable(core, node, point.slot.start(), &point.sample)?;
    fields.push(("late", point.late.into()));
    sealed(secrets, names(Measured::Raw), key, fields, &(point.late, EncodedSample::new(&point.sample)), rev)
}

/// What the samples of an hour come to: means of gauges, the last of each counter; `bounds` the lowest and the highest of gauges.
pub fn hour(core: &impl Read, secrets: &Secrets, node: NodeIndex, hour: u32, summary: Summary, rev: Rev) -> Result<Document, Fault> {
    let key = (hour, node.0).encode();
    let bounds = summary.extremes.iter().map(|(gauge, (lowest, highest))| {
        Value::Fields(vec![("name", name(gauge).into()), ("lowest", lowest.into()), ("highest", highest.into())])
    });
    let bounds = Value::List(bounds.collect());
    let mut fields = readable(core, node, hours::first_slot(hour).start(), &summary.sample)?;
    fields.extend([("samples", summary.count.into()), ("late", summary.late.into()), ("bounds", bounds)]);
    let late = summary.late;
    sealed(secrets, names(Measured::Hourly), key, fields, &(late, hours::stored(summary)?), rev)
}

/// An hour of a node as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHour {
    pub hour: u32,
    pub node: NodeIndex,
    pub late: bool,
    /// As blocks have it.
    pub bytes: Vec<u8>,
}

/// Of the name and the record of its document.
///
/// # Errors
/// This manager did not write it.
pub fn opened_hour(secrets: &Secrets, name: &[u8], record: &[u8]) -> Result<StoredHour, Fault> {
    let ((hour, node), (late, bytes)) = opened_as(secrets, Measured::Hourly, name, record)?;
    Ok(StoredHour { hour, node: NodeIndex(node), late, bytes })
}

/// A sample of a node as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSample {
    pub node: NodeIndex,
    pub slot: Slot,
    pub late: bool,
    pub encoded: EncodedSample,
}

/// Of the name and the record of its document.
///
/// # Errors
/// This manager did not write it.
pub fn opened_sample(secrets: &Secrets, name: &[u8], record: &[u8]) -> Result<StoredSample, Fault> {
    let ((slot, node), (late, encoded)) = opened_as(secrets, Measured::Raw, name, record)?;
    Ok(StoredSample { node: NodeIndex(node), slot: Slot(slot), late, encoded })
}

/// Measurements of `[from, until)` that expired here before they were sent: nobody has them.
pub fn gap(secrets: &Secrets, of: Measured, (from, until): (u32, u32), rev: Rev) -> Result<Document, Fault> {
    let at = |hour: u32| Value::Date(hours::first_slot(hour).start());
    let of_kind = u32::from(of == Measured::Raw);
    let fields: Fields = vec![
        ("collection", of.collection().into()),
        ("from", at(from)),
        ("until", at(until)),
        ("reason", "expired before it was sent".into()),
    ];
    sealed(secrets, (GAPS, "metrics_gaps"), (of_kind, from).encode(), fields, &(from, until), rev)
}

/// Its key, which is of a time and a node, and what it says.
fn opened_as<T: DeserializeOwned>(secrets: &Secrets, of: Measured, name: &[u8], record: &[u8]) -> Result<((u32, u32), T), Fault> {
    let table = of.table();
    let (key, bytes) = opened(secrets, table, name, record)?;
    let read = || Some((<(u32, u32)>::decode(&key)?, postcard::from_bytes(&bytes).ok()?));
    read().ok_or_else(|| Fault::Record { table, key: hex(&key), why: "is no measurement".into() })
}

fn names(of: Measured) -> Names {
    (of.collection(), of.table())
}

/// Of collection and table.
type Names = (&'static str, &'static str);

fn readable(core: &impl Read, node: NodeIndex, at: Timestamp, sample: &Sample) -> Result<Fields, Fault> {
    Ok(vec![
        ("node_id", node_id(core, node)?),
        ("timestamp", at.into()),
        ("cpu", plain(&sample.cpu)?),
        ("memory", plain(&sample.memory)?),
        ("disk", plain(&sample.disk)?),
        ("network", plain(&sample.network)?),
        ("gpu", plain(&sample.gpu)?),
    ])
}

pub(super) fn sealed(
    secrets: &Secrets,
    (collection, table): Names,
    key: Vec<u8>,
    fields: Fields,
    record: &impl Serialize,
    rev: Rev,
) -> Result<Document, Fault> {
    let wrong = |why: postcard::Error| Fault::Invariant(why.to_string());
    let bytes = postcard::to_stdvec(record).map_err(wrong)?;
    let plain = postcard::to_stdvec(&(&key, bytes)).map_err(wrong)?;
    let record = Some(secrets.seal_row(&context(table, &key), &plain));
    Ok(Document { collection, table, name: key.clone(), key, rev, fields: veiled(fields), record })
}

/// As the API calls its series.
fn name(gauge: Gauge) -> &'static str {
    match gauge {
        Gauge::CpuUsagePercent => "cpu.usage_percent",
        Gauge::FrequencyMhz => "cpu.frequency_mhz",
        Gauge::LoadAverage => "cpu.load_average",
        Gauge::TemperatureCelsius => "cpu.temperature_celsius",
        Gauge::MemoryUsedBytes => "memory.used_bytes",
        Gauge::MemoryCachedBytes => "memory.cached_bytes",
        Gauge::SwapUsedBytes => "memory.swap_used_bytes",
        Gauge::DiskUsedBytes => "disk.used_bytes",
        Gauge::ReadIops => "disk.read_iops",
        Gauge::WriteIops => "disk.write_iops",
        Gauge::ReadThroughputMbps => "disk.read_throughput_mbps",
        Gauge::WriteThroughputMbps => "disk.write_throughput_mbps",
        Gauge::GpuUsagePercent => "gpu.usage_percent",
        Gauge::GpuMemoryUsedBytes => "gpu.memory_used_bytes",
        Gauge::GpuTemperatureCelsius => "gpu.temperature_celsius",
    }
}
