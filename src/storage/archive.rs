//! Archives on the disk: `DIR/archive/NAME.jsonl.gz`, one JSON object a line, and `NAME.manifest.json` beside it. Nothing here knows what the lines are.
//!
//! Who archives writes all lines (`Writer`), reads the file back (`Reading`), puts the manifest beside it (`put_manifest`) and then records it
//! (`core::archives`); only then anything is deleted from the store. A crash at any edge leaves files that nobody has recorded, which the next attempt replaces: by
//! the same bytes, because neither time nor name stands in them.

pub mod content;
pub mod history;
pub mod ledger;
mod names;
pub mod outputs;
pub mod payouts;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::core::{archives, chain};
use super::device::Device;
use super::fault::Fault;
use super::store::Store;
use super::table::Snapshot;
use crate::crypto::{PublicKey, Sha256, SigningKey};
use crate::domain::archive::{FORMAT, Kind, Manifest, lines_file, manifest_file, name};
use crate::domain::proof::text::Hex;
use crate::domain::time::Timestamp;

/// What is left free on the disk whatever is to be archived: a store that cannot write is worse than one that keeps too much.
const LEFT_FREE: u64 = 64 << 20;
/// Bytes that are unpacked at once.
const PIECE: usize = 64 << 10;
/// Such pieces in one step.
const PIECES: usize = 64;
/// Bytes of a manifest, at most.
const MAX_MANIFEST: u64 = 64 << 10;

/// Why something was not archived.
#[derive(Debug)]
pub enum Failed {
    /// The disk or the file is at fault. What was to be archived is still in the store.
    Disk(String),
    Fault(Fault),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Disk(why) => f.write_str(why),
            Failed::Fault(fault) => fault.fmt(f),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Disk(error.to_string())
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Fault(fault)
    }
}

pub fn folder(store: &Store) -> PathBuf {
    store.dir().join("archive")
}

/// Bytes that passed, and their hash.
struct Hashed<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashed<T> {
    fn new(inner: T) -> Hashed<T> {
        Hashed { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn count(&mut self, data: &[u8]) {
        self.hash.update(data);
        self.bytes += data.len() as u64;
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.count(&data[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: io::Read> io::Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.count(&into[..read]);
        Ok(read)
    }
}

/// A file that goes when it is not renamed: what could not be finished takes no room.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn create(folder: &Path, name: &str) -> io::Result<(Temporary, File)> {
        let path = folder.join(format!("{name}.tmp"));
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| io::Error::new(error.kind(), format!("archive/{name} cannot be made: {error}")))?;
        Ok((Temporary { path, kept: false }, file))
    }

    /// The file has its name, and keeps it and its bytes over a power cut.
    fn keep(mut self, device: &dyn Device, folder: &Path, name: &str) -> io::Result<()> {
        device.sync_file(&self.path)?;
        device.rename(&self.path, &folder.join(name))?;
        self.kept = true;
        device.sync_folder(folder)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes the lines of one archive.
pub struct Writer {
    device: Arc<dyn Device>,
    folder: PathBuf,
    kind: Kind,
    period: String,
    temporary: Temporary,
    packed: GzEncoder<Hashed<BufWriter<File>>>,
    lines: Hashed<io::Sink>,
    count: u64,
    numbers: Option<(u64, u64)>,
}

impl Writer {
    pub fn begin(store: &Store, kind: Kind, period: &str) -> Result<Writer, Failed> {
        let folder = folder(store);
        if !folder.exists() {
            DirBuilder::new().mode(0o700).create(&folder)?;
            store.device.sync_folder(store.dir())?;
        }
        let (temporary, file) = Temporary::create(&folder, &lines_file(&name(kind, period)))?;
        let packed = GzEncoder::new(Hashed::new(BufWriter::new(file)), Compression::default());
        let period = period.to_owned();
        let device = Arc::clone(&store.device);
        let writer = Writer { device, folder, kind, period, temporary, packed, lines: Hashed::new(io::sink()), count: 0, numbers: None };
        writer.has_room()?;
        Ok(writer)
    }

    /// To be asked now and then.
    pub fn has_room(&self) -> Result<(), Failed> {
        let free = rustix::fs::statvfs(&self.folder).map(|found| found.f_bavail.saturating_mul(found.f_frsize)).map_err(io::Error::from)?;
        if free < LEFT_FREE {
            return Err(Failed::Disk(format!("the disk has {} MB left", free >> 20)));
        }
        Ok(())
    }

    /// The record with this number. Numbers ascend.
    pub fn line(&mut self, number: u64, record: &impl Serialize) -> Result<(), Failed> {
        let mut line = serde_json::to_vec(record).map_err(io::Error::from)?;
        line.push(b'\n');
        self.lines.count(&line);
        self.packed.write_all(&line)?;
        self.count += 1;
        self.numbers = Some((self.numbers.map_or(number, |(first, _)| first), number));
        Ok(())
    }

    /// A line that is no record: what the records end with.
    pub fn aside(&mut self, line: &impl Serialize) -> Result<(), Failed> {
        let (last, _) = self.numbers.map_or((0, 0), |(first, last)| (last, first));
        self.line(last, line)
    }

    /// Makes the file durable under its name, and says what is in it.
    pub fn finish(self, key: &SigningKey, now: Timestamp) -> Result<Manifest, Failed> {
        let mut packed = self.packed.finish()?;
        packed.flush()?;
        let file = packed.inner.into_inner().map_err(|error| error.into_error())?;
        let lines = lines_file(&name(self.kind, &self.period));
        self.temporary.keep(self.device.as_ref(), &self.folder, &lines)?;
        // What is read back comes from the disk then, and not from memory.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        let (first, last) = self.numbers.ok_or_else(|| Failed::Disk("there is nothing to archive".into()))?;
        let mut manifest = Manifest {
            format: FORMAT.into(),
            kind: self.kind,
            period: self.period,
            first,
            last,
            lines: self.count,
            bytes: packed.bytes,
            sha256: Hex(packed.hash.finish()),
            lines_bytes: self.lines.bytes,
            lines_sha256: Hex(self.lines.hash.finish()),
            made_at: now.rfc3339(),
            manager_key: Hex(key.public().0),
            signature: Hex([0; 64]),
        };
        manifest.signature = Hex(key.sign(&manifest.signed_bytes()));
        Ok(manifest)
    }
}

/// Some bytes of the file of lines, as they are packed; fewer at its end.
pub fn piece(store: &Store, manifest: &Manifest, from: u64, at_most: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(folder(store).join(lines_file(&manifest.name())))?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(at_most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts the manifest beside its lines, durably.
pub fn put_manifest(store: &Store, manifest: &Manifest) -> Result<(), Failed> {
    put_manifest_in(store.device.as_ref(), &folder(store), manifest)
}

/// The same where there is no store yet.
pub(super) fn put_manifest_in(device: &dyn Device, folder: &Path, manifest: &Manifest) -> Result<(), Failed> {
    let name = manifest_file(&manifest.name());
    let (temporary, mut file) = Temporary::create(folder, &name)?;
    let mut text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from)?;
    text.push(b'\n');
    file.write_all(&text)?;
    Ok(temporary.keep(device, folder, &name)?)
}

/// Reads the lines of an archive from the disk, some megabytes at a step, to compare them with what is known of them.
pub struct Reading {
    manifest: Manifest,
    packed: GzDecoder<Hashed<File>>,
    lines: Hashed<io::Sink>,
    count: u64,
}

impl Reading {
    pub fn begin(folder: &Path, manifest: &Manifest) -> Result<Reading, Failed> {
        let file = File::open(folder.join(lines_file(&manifest.name()))).map_err(|error| missing("the file of its lines", error))?;
        let packed = GzDecoder::new(Hashed::new(file));
        Ok(Reading { manifest: manifest.clone(), packed, lines: Hashed::new(io::sink()), count: 0 })
    }

    /// True when all was read, and is what it should be.
    pub fn step(&mut self) -> Result<bool, Failed> {
        let mut piece = vec![0; PIECE];
        for _ in 0..PIECES {
            let read = self.packed.read(&mut piece).map_err(|error| Failed::Disk(format!("its lines do not unpack: {error}")))?;
            if read == 0 {
                return self.end(piece);
            }
            self.lines.count(&piece[..read]);
            self.count += piece[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            if self.lines.bytes > self.manifest.lines_bytes {
                return Err(Failed::Disk("its lines are more than its manifest says".into()));
            }
        }
        Ok(false)
    }

    fn end(&mut self, mut piece: Vec<u8>) -> Result<bool, Failed> {
        let packed = self.packed.get_mut();
        // What stands behind the end of what is packed is not looked at by whoever unpacks it.
        while packed.read(&mut piece)? > 0 {}
        let found = (packed.bytes, packed.hash.clone().finish(), self.count, self.lines.bytes, self.lines.hash.clone().finish());
        let Manifest { bytes, sha256, lines, lines_bytes, lines_sha256, .. } = &self.manifest;
        if found != (*bytes, sha256.0, *lines, *lines_bytes, lines_sha256.0) {
            return Err(Failed::Disk("its lines are not those that its manifest vouches for".into()));
        }
        Ok(true)
    }
}

fn missing(what: &str, error: io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::NotFound => Failed::Disk(format!("{what} is missing")),
        _ => Failed::Disk(format!("{what}: {error}")),
    }
}

/// Whether the manifest on the disk is the one that was recorded.
pub fn check_manifest(folder: &Path, recorded: &Manifest) -> Result<(), Failed> {
    let file = File::open(folder.join(manifest_file(&recorded.name()))).map_err(|error| missing("its manifest", error))?;
    let mut text = Vec::new();
    file.take(MAX_MANIFEST).read_to_end(&mut text)?;
    match serde_json::from_slice::<Manifest>(&text) {
        Ok(found) if found == *recorded => Ok(()),
        Ok(_) => Err(Failed::Disk("its manifest is not the one that was recorded".into())),
        Err(error) => Err(Failed::Disk(format!("its manifest does not read: {error}"))),
    }
}

/// Every archive that was recorded is there, whole, and signed by a key of this manager; how many there are, or what is wrong. With `may_lack`, one of which nothing is
/// in the folder is passed over.
pub(super) fn verify(core: &Snapshot, folder: &Path, manager_key: &PublicKey, may_lack: bool) -> Result<Result<u64, String>, Fault> {
    let mut keys = vec![manager_key.0];
    keys.extend(chain::successions(core)?.iter().flat_map(|statement| [statement.old_key.0, statement.new_key.0]));
    let (mut count, mut wrong) = (0, Vec::new());
    for manifest in &archives::all(core)? {
        if may_lack && names(manifest).iter().all(|name| !folder.join(name).exists()) {
            continue;
        }
        match check(folder, manifest, &keys) {
            Ok(()) => count += 1,
            Err(Failed::Disk(why)) => wrong.push(format!("{}: {why}", manifest.name())),
            Err(Failed::Fault(fault)) => return Err(fault),
        }
    }
    Ok(if wrong.is_empty() { Ok(count) } else { Err(wrong.join("; ")) })
}

/// Removes files of archives that were kept long enough.
pub fn remove_gone(store: &Store, kind: Kind) -> Result<(), Failed> {
    let (folder, mut removed) = (folder(store), false);
    for manifest in archives::gone(&store.read()?)?.iter().filter(|manifest| manifest.kind == kind) {
        for name in names(manifest) {
            let path = folder.join(name);
            if path.try_exists()? {
                store.device.remove(&path)?;
                removed = true;
            }
        }
    }
    if removed {
        store.device.sync_folder(&folder)?;
    }
    Ok(())
}

/// Files that others wrote keep their names and their bytes over a power cut.
pub fn make_durable(store: &Store, manifest: &Manifest) -> io::Result<()> {
    let folder = folder(store);
    for name in names(manifest) {
        store.device.sync_file(&folder.join(name))?;
    }
    store.device.sync_folder(&folder)
}

/// The two files of an archive.
pub(super) fn names(manifest: &Manifest) -> [String; 2] {
    [lines_file(&manifest.name()), manifest_file(&manifest.name())]
}

/// Whether both files are there, and the lines have the recorded length and hash.
pub fn is_there(folder: &Path, recorded: &Manifest) -> Result<(), Failed> {
    check_manifest(folder, recorded)?;
    let mut reading = Reading::begin(folder, recorded)?;
    while !reading.step()? {}
    Ok(())
}

fn check(folder: &Path, manifest: &Manifest, keys: &[[u8; 32]]) -> Result<(), Failed> {
    check_manifest(folder, manifest)?;
    if !keys.contains(&manifest.manager_key.0) || !manifest.is_signed() {
        return Err(Failed::Disk("is not signed by a key of this manager".into()));
    }
    let mut reading = Reading::begin(folder, manifest)?;
    while !reading.step()? {}
    Ok(())
}

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod tests;
