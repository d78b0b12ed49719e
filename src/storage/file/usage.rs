//! How much of a file is rows, and how much of it is free.

use redb::{ReadableDatabase, ReadableTableMetadata, TableHandle};

use super::super::fault::Fault;
use super::super::table::raw;
use super::handle::Opened;

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUsage {
    pub name: String,
    pub rows: u64,
    /// Of the pages that hold it, with what is unused in them.
    pub bytes: u64,
}

/// What a file takes, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub length_bytes: u64,
    /// On the medium: less than the length where the file has holes.
    pub allocated_bytes: u64,
    /// The largest first.
    pub tables: Vec<TableUsage>,
}

impl Usage {
    pub fn live_bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }

    /// How much of what the file takes holds no rows, in percent. A compaction would give back most of it.
    pub fn free_percent(&self) -> u8 {
        let taken = self.allocated_bytes.min(self.length_bytes).max(1);
        let free = taken.saturating_sub(self.live_bytes());
        u8::try_from(free.saturating_mul(100) / taken).unwrap_or(100)
    }
}

pub fn of(opened: &Opened) -> Result<Usage, Fault> {
    let io = |error: std::io::Error| Fault::Database(error.to_string());
    let (length, allocated) = (opened.link.file().len().map_err(io)?, opened.link.file().allocated().map_err(io)?);
    let read = opened.database.begin_read()?;
    let mut tables = Vec::new();
    for handle in read.list_tables()? {
        let table = read.open_table(raw(handle.name()))?;
        let stats = table.stats()?;
        let bytes = [stats.stored_bytes(), stats.metadata_bytes(), stats.fragmented_bytes()].iter().sum();
        tables.push(TableUsage { name: handle.name().to_owned(), rows: table.len()?, bytes });
    }
    tables.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    Ok(Usage { length_bytes: length, allocated_bytes: allocated, tables })
}
