//! How full the disk is, what the store takes of it, and what goes early because of that.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cold::Part;
use super::core::alerts;
use super::fault::Fault;
use super::store::Store;
use super::table::Read;
use crate::domain::audit::Draft;
use crate::domain::space::{Figures, Goes, Level, goes};
use crate::domain::time::Slot;

/// Alerts about it.
pub const HIGH: &str = "storage_high";
pub const CRITICAL: &str = "storage_critical";
pub const IO_ERROR: &str = "storage_io_error";
/// The subject is the name of the file.
pub const DAMAGED: &str = "storage_damaged";
pub const WEARING_OUT: &str = "card_wearing_out";

/// The level as it was judged last, and what is known of files that go early. In memory, because a full disk may not take it.
#[derive(Debug, Default)]
pub struct Space {
    level: Mutex<Level>,
    /// Of files that went without an entry, because the disk was too full for one.
    untold: Mutex<Vec<Draft>>,
    /// Held by who deletes files of measurements, and by who looks which there are.
    pub files: tokio::sync::Mutex<()>,
}

impl Space {
    /// As the open alerts say, so that a restart does not change it.
    pub(super) fn load(core: &impl Read) -> Result<Space, Fault> {
        let level = if alerts::is_open(core, CRITICAL, "")? {
            Level::Critical
        } else if alerts::is_open(core, HIGH, "")? {
            Level::High
        } else {
            Level::Ample
        };
        Ok(Space { level: Mutex::new(level), ..Space::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_untold(&self) -> MutexGuard<'_, Vec<Draft>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be written when there is room.
    pub fn note_untold(&self, draft: Draft) {
        self.of_untold().push(draft);
    }

    pub fn untold(&self) -> Vec<Draft> {
        self.of_untold().clone()
    }

    /// The first so many of them are in the audit log.
    pub fn told(&self, count: usize) {
        self.of_untold().drain(..count);
    }

    pub fn level(&self) -> Level {
        *self.lock()
    }

    /// Metrics are thinned at present.
    pub fn is_thinned(&self) -> bool {
        self.level() == Level::Critical
    }

    /// The level that follows from `figures`.
    pub fn judge(&self, figures: &Figures) -> Level {
        let mut level = self.lock();
        *level = level.after(figures);
        *level
    }
}

/// A file of measurements that is to go.
#[derive(Debug, Clone, Copy)]
pub struct Going(Part);

impl Going {
    pub fn name(self) -> String {
        self.0.file()
    }

    /// And not a month.
    pub fn is_week(self) -> bool {
        matches!(self.0, Part::Week(_))
    }
}

impl Store {
    /// As it is now. `limit` is what the store may take, in bytes.
    pub fn figures(&self, limit: Option<u64>) -> Result<Figures, Fault> {
        let failed = |error: std::io::Error| Fault::Database(format!("{}: {error}", self.dir().display()));
        let usage = self.device.usage(self.dir()).map_err(failed)?;
        let mut store = 0_u64;
        for path in self.paths().map_err(failed)? {
            store = store.saturating_add(self.device.taken(&path).map_err(failed)?);
        }
        Ok(Figures { total: usage.total, free: usage.free, used: usage.used, store, limit })
    }

    /// Files that count as the store: databases with what is being made of them, weeks, months, archives, the reserve. Backups and logs have bounds of their own.
    fn paths(&self) -> std::io::Result<Vec<PathBuf>> {
        let is_own = |name: &String| ["core.redb", "hot.redb", super::room::RESERVE].iter().any(|own| name.starts_with(own));
        let mut paths: Vec<PathBuf> = self.device.names(self.dir())?.into_iter().filter(is_own).map(|name| self.dir().join(name)).collect();
        for folder in ["cold", "archive"].map(|name| self.dir().join(name)) {
            paths.extend(self.device.names(&folder)?.into_iter().map(|name| folder.join(name)));
        }
        Ok(paths)
    }

    /// The week or the month that goes next at this level, if one does.
    pub fn goes_early(&self, level: Level, figures: &Figures, present: Slot) -> Result<Option<Going>, Fault> {
        let (weeks, months) = (self.cold.spare_weeks(present)?, self.cold.spare_months(present)?);
        let bytes = |parts: &[(_, u64)]| parts.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>();
        let next = match goes(level, figures, &bytes(&weeks), &bytes(&months)) {
            Some(Goes::Week) => weeks.first(),
            Some(Goes::Month) => months.first(),
            None => None,
        };
        Ok(next.map(|(part, _)| Going(*part)))
    }

    /// Weeks that end by one slot, and months that end by another.
    pub fn too_old(&self, weeks: Slot, months: Slot) -> Vec<Going> {
        self.cold.that_end_by(weeks, months).into_iter().map(Going).collect()
    }

    /// The oldest weeks and months without which the others take no more than they may, in bytes.
    pub fn too_large(&self, weeks: Option<u64>, months: Option<u64>, present: Slot) -> Result<Vec<Going>, Fault> {
        let mut too_large = Vec::new();
        for (spare, all, limit) in [
            (self.cold.spare_weeks(present)?, self.cold.bytes_of_weeks()?, weeks),
            (self.cold.past_months(present)?, self.cold.bytes_of_months()?, months),
        ] {
            let mut rest = all;
            for (part, bytes) in spare {
                if limit.is_none_or(|limit| rest <= limit) {
                    break;
                }
                too_large.push(Going(part));
                rest = rest.saturating_sub(bytes);
            }
        }
        Ok(too_large)
    }

    /// Deletes it, durably. That it goes is written down before: see `cold_files`.
    pub fn remove(&self, going: Going) -> Result<String, Fault> {
        self.cold.remove(going.0)
    }
}
