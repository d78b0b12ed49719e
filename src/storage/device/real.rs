//! Files of the kernel.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, statvfs};
use rustix::io::Errno;

use super::{Device, DeviceFile, Usage};

/// A card that hung is back within seconds or not at all.
const RETRY_DELAYS: [Duration; 7] = {
    let ms = Duration::from_millis;
    [ms(0), ms(100), ms(500), ms(1_000), ms(2_000), ms(4_000), ms(8_000)]
};
/// Of what `stat` counts blocks in, whatever those of the file system are.
const BLOCK_BYTES: u64 = 512;

#[derive(Debug)]
pub(super) struct Real;

impl Device for Real {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?)))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn usage(&self, folder: &Path) -> io::Result<Usage> {
        let found = statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Usage { total: bytes(found.f_blocks), used: bytes(found.f_blocks.saturating_sub(found.f_bfree)), free: bytes(found.f_bavail) })
    }

    fn taken(&self, path: &Path) -> io::Result<u64> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(found.blocks().saturating_mul(BLOCK_BYTES)),
            Ok(_) => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn written_by_process(&self) -> Option<u64> {
        written(&fs::read_to_string("/proc/self/io").ok()?)
    }

    fn retry_delays(&self) -> &[Duration] {
        &RETRY_DELAYS
    }
}

/// What reached disks, without what was taken back before it did. Format: proc_pid_io(5).
fn written(io: &str) -> Option<u64> {
    let value = |name: &str| -> Option<u64> { io.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok() };
    Some(value("write_bytes:")?.saturating_sub(value("cancelled_write_bytes:").unwrap_or(0)))
}

#[derive(Debug)]
struct RealFile(File);

impl DeviceFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks().saturating_mul(BLOCK_BYTES))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            // What cannot set blocks aside takes them when they are written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let zeros = [0; 64 << 10];
                let mut at = 0;
                while at < length {
                    let step = zeros.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
                    self.0.write_all_at(zeros.get(..step).unwrap_or_default(), at)?;
                    at += step as u64;
                }
                Ok(())
            }
            done => Ok(done?),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }

    fn settle(&self) -> io::Result<()> {
        // The kernel calls pages clean whose writing failed, and keeps them: dropped, they are read from the medium. Those that are still dirty cannot be dropped,
        // so they are written first; that this fails again is no news.
        let _ = self.0.sync_all();
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }
}
