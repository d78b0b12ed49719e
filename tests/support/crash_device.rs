//! A device in memory that loses power at a moment of the test's choice, and fails as cards do. What was synced stays; of the rest any part may stay, whole, in
//! torn sectors, or not at all. A name that was not synced with its folder may be the old one again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lucid::storage::device::{self, Device, DeviceFile, Usage};

use super::plain_files::PlainFiles;
use super::random::Random;

const SECTOR: usize = 512;
const BLOCK: u64 = 4_096;

enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Default)]
struct Inode {
    /// What reads see.
    cached: Vec<u8>,
    /// What is on the medium.
    durable: Vec<u8>,
    pending: Vec<Change>,
    blocks: BTreeSet<u64>,
    locked_by: Option<u64>,
}

enum Rename {
    Put(PathBuf, u64),
    Remove(PathBuf),
    Move(PathBuf, PathBuf),
}

struct World {
    random: Random,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<Rename>,
    next: u64,
    /// Times that power came back: handles of before are dead.
    life: u64,
    is_off: bool,
    changes: u64,
    syncs: u64,
    writes: u64,
    cut_at: Option<u64>,
    failing_sync: Option<u64>,
    failing_write: Option<u64>,
    fails_to_open: u32,
    fails_to_remove: u32,
    room: u64,
    /// Files of the kernel that lose power with it.
    plain: Option<PlainFiles>,
    /// The databases are such files, too.
    is_plain: bool,
}

/// Clones are the same device.
#[derive(Clone)]
pub struct CrashDevice(Arc<Mutex<World>>);

impl fmt::Debug for CrashDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CrashDevice")
    }
}

fn dead() -> io::Error {
    io::Error::other("the power is off")
}

fn apply(to: &mut Vec<u8>, change: &Change, mut keeps: impl FnMut() -> bool) {
    match change {
        Change::SetLen(length) => to.resize(usize::try_from(*length).unwrap(), 0),
        Change::Write(offset, data) => {
            let offset = usize::try_from(*offset).unwrap();
            for (n, sector) in data.chunks(SECTOR).enumerate() {
                if keeps() {
                    let from = offset + n * SECTOR;
                    if to.len() < from + sector.len() {
                        to.resize(from + sector.len(), 0);
                    }
                    to[from..from + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, u64>, change: &Rename) {
    match change {
        Rename::Put(path, inode) => drop(names.insert(path.clone(), *inode)),
        Rename::Remove(path) => drop(names.remove(path)),
        Rename::Move(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

impl World {
    /// Before each change: the power may go.
    fn step(&mut self) -> io::Result<()> {
        self.lives()?;
        self.changes += 1;
        if self.cut_at == Some(self.changes) {
            self.is_off = true;
            self.look();
            return Err(dead());
        }
        Ok(())
    }

    fn lives(&self) -> io::Result<()> {
        if self.is_off { Err(dead()) } else { Ok(()) }
    }

    /// What is there when the power goes.
    fn look(&mut self) {
        if let Some(plain) = &mut self.plain {
            plain.look(false).unwrap();
        }
    }

    /// A change to files of the kernel, before which the power may go; where they do not lose it, it is made as it is.
    fn plainly(
        &mut self,
        change: impl FnOnce(&mut PlainFiles) -> io::Result<()>,
        otherwise: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.step()?;
        self.plain.as_mut().map_or_else(otherwise, change)
    }

    fn used(&self) -> u64 {
        // What lost its name gave its room back.
        self.names.values().filter_map(|id| self.inodes.get(id)).map(|inode| inode.blocks.len() as u64 * BLOCK).sum()
    }

    fn inode(&mut self, of: u64) -> &mut Inode {
        self.inodes.get_mut(&of).expect("an open file has an inode")
    }

    /// How much of what is pending stays: all, nothing, or each sector by itself.
    fn lose(&mut self, of: u64) {
        let mood = self.random.within(0, 4);
        let World { random, inodes, .. } = self;
        let inode = inodes.get_mut(&of).unwrap();
        for change in std::mem::take(&mut inode.pending) {
            let whole = match mood {
                0 => true,
                1 => false,
                _ => random.within(0, 2) == 0,
            };
            match (&change, mood) {
                (Change::Write(..), 3) => apply(&mut inode.durable, &change, || random.within(0, 2) == 0),
                _ if whole => apply(&mut inode.durable, &change, || true),
                _ => (),
            }
        }
    }

    fn rename(&mut self, change: Rename) {
        rename(&mut self.names, &change);
        self.pending_names.push(change);
    }

    fn forget_nameless(&mut self) {
        let named: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        self.inodes.retain(|id, _| named.contains(id));
    }
}

impl CrashDevice {
    pub fn new(seed: u64) -> CrashDevice {
        CrashDevice(Arc::new(Mutex::new(World {
            random: Random::of(seed),
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            next: 0,
            life: 0,
            is_off: false,
            changes: 0,
            syncs: 0,
            writes: 0,
            cut_at: None,
            failing_sync: None,
            failing_write: None,
            fails_to_open: 0,
            fails_to_remove: 0,
            room: u64::MAX,
            plain: None,
            is_plain: false,
        })))
    }

    pub fn device(&self) -> Arc<dyn Device> {
        Arc::new(self.clone())
    }

    /// With these files, durably.
    pub fn fill(&self, files: &[(PathBuf, Vec<u8>)]) {
        let mut world = self.world();
        for (path, bytes) in files {
            world.next += 1;
            let (inode, blocks) = (world.next, (0..(bytes.len() as u64).div_ceil(BLOCK)).collect());
            world.inodes.insert(inode, Inode { cached: bytes.clone(), durable: bytes.clone(), blocks, ..Inode::default() });
            world.names.insert(path.clone(), inode);
            world.durable_names.insert(path.clone(), inode);
        }
    }

    /// What lies below this folder and on no device loses power with this one: backups, archives, whatever is not opened by the device.
    pub fn with_plain_files(&self, folder: &Path) {
        self.world().plain = Some(PlainFiles::below(folder));
    }

    /// The same, and databases are such files.
    pub fn with_nothing_else(&self, folder: &Path) {
        self.with_plain_files(folder);
        self.world().is_plain = true;
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// What was changed since it was made: moments at which the power may go.
    pub fn changes(&self) -> u64 {
        self.world().changes
    }

    pub fn writes(&self) -> u64 {
        self.world().writes
    }

    /// The power goes at the `n`th change from now, before it is made.
    pub fn cut_after(&self, n: u64) {
        let mut world = self.world();
        world.cut_at = Some(world.changes + n);
    }

    pub fn is_off(&self) -> bool {
        self.world().is_off
    }

    /// The power goes now, if it has not, and is there again: with what the medium kept.
    pub fn power_cycle(&self) {
        let mut world = self.world();
        let world = &mut *world;
        if !world.is_off {
            world.look();
        }
        world.plain = world.plain.take().map(|plain| plain.lose(&mut world.random));
        let inodes: Vec<u64> = world.inodes.keys().copied().collect();
        for inode in inodes {
            world.lose(inode);
            let inode = world.inode(inode);
            inode.cached = inode.durable.clone();
            inode.locked_by = None;
        }
        let kept = usize::try_from(world.random.within(0, world.pending_names.len() as u64 + 1)).unwrap();
        for change in world.pending_names.drain(..).take(kept) {
            rename(&mut world.durable_names, &change);
        }
        world.names = world.durable_names.clone();
        world.forget_nameless();
        world.life += 1;
        (world.is_off, world.cut_at) = (false, None);
        (world.failing_sync, world.failing_write) = (None, None);
    }

    /// The `n`th sync of a file from now fails: of what it should have made durable any part is, all of it can be read until `settle`, and no later sync writes it.
    pub fn fail_sync(&self, n: u64) {
        let mut world = self.world();
        world.failing_sync = Some(world.syncs + n);
    }

    /// The `n`th write from now fails.
    pub fn fail_write(&self, n: u64) {
        let mut world = self.world();
        world.failing_write = Some(world.writes + n);
    }

    /// So many files do not open.
    pub fn fail_to_open(&self, times: u32) {
        self.world().fails_to_open = times;
    }

    /// So many files are not removed.
    pub fn fail_to_remove(&self, times: u32) {
        self.world().fails_to_remove = times;
    }

    /// There is room for so many bytes more; None: without end.
    pub fn leave_room(&self, bytes: Option<u64>) {
        let mut world = self.world();
        world.room = bytes.map_or(u64::MAX, |bytes| world.used() + bytes);
    }

    /// Names of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.world().names.keys().cloned().collect()
    }

    fn plain(&self, world: &World, path: &Path, how: &OpenOptions) -> io::Result<Box<dyn DeviceFile>> {
        Ok(Box::new(PlainFile { device: self.clone(), path: path.to_owned(), life: world.life, file: how.open(path)? }))
    }

    fn handle(&self, world: &mut World, inode: u64) -> Box<dyn DeviceFile> {
        world.next += 1;
        Box::new(CrashFile { device: self.clone(), inode, life: world.life, handle: world.next })
    }
}

impl Device for CrashDevice {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>> {
        let mut world = self.world();
        world.lives()?;
        if world.fails_to_open > 0 {
            world.fails_to_open -= 1;
            return Err(io::Error::other("the card does not answer"));
        }
        if world.is_plain {
            return self.plain(&world, path, OpenOptions::new().read(true).write(true));
        }
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&mut world, inode))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>> {
        let mut world = self.world();
        world.step()?;
        if world.is_plain {
            return self.plain(&world, path, OpenOptions::new().read(true).write(true).create_new(true).mode(0o600));
        }
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.next += 1;
        let inode = world.next;
        world.inodes.insert(inode, Inode::default());
        world.rename(Rename::Put(path.to_owned(), inode));
        Ok(self.handle(&mut world, inode))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let world = self.world();
        world.lives()?;
        Ok(if world.is_plain { path.exists() } else { world.names.contains_key(path) })
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        world.lives()?;
        if world.is_plain {
            return device::real().names(folder);
        }
        let within = world.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(within.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.lives()?;
        if world.names.contains_key(path) && world.fails_to_remove > 0 {
            world.fails_to_remove -= 1;
            return Err(io::Error::other("this name stays"));
        }
        if world.names.contains_key(path) {
            world.step()?;
            world.rename(Rename::Remove(path.to_owned()));
        } else if path.exists() {
            world.plainly(|plain| plain.remove(path), || fs::remove_file(path))?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        if !world.names.contains_key(from) {
            return world.plainly(|plain| plain.rename(from, to), || fs::rename(from, to));
        }
        world.step()?;
        world.rename(Rename::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        if let Some(plain) = world.plain.as_mut().filter(|_| folder.is_dir()) {
            plain.sync_folder(folder)?;
        }
        world.pending_names.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.world().plainly(|plain| plain.sync_file(path), || Ok(()))
    }

    fn usage(&self, _folder: &Path) -> io::Result<Usage> {
        let world = self.world();
        world.lives()?;
        let used = world.used();
        Ok(Usage { total: world.room.max(used), used, free: world.room.saturating_sub(used) })
    }

    fn taken(&self, path: &Path) -> io::Result<u64> {
        let world = self.world();
        world.lives()?;
        Ok(world.names.get(path).and_then(|inode| world.inodes.get(inode)).map_or(0, |inode| inode.blocks.len() as u64 * BLOCK))
    }

    fn retry_delays(&self) -> &[Duration] {
        &[Duration::ZERO; 3]
    }
}

struct CrashFile {
    device: CrashDevice,
    inode: u64,
    life: u64,
    handle: u64,
}

impl fmt::Debug for CrashFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashFile({})", self.inode)
    }
}

impl CrashFile {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.device.world();
        world.lives()?;
        if world.life == self.life { Ok(world) } else { Err(dead()) }
    }
}

impl Drop for CrashFile {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}

impl DeviceFile for CrashFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.world()?.inode(self.inode).cached.len() as u64)
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.world()?.inode(self.inode).blocks.len() as u64 * BLOCK)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        (0..length.div_ceil(BLOCK)).try_for_each(|block| self.write(block * BLOCK, &[0]))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut world = self.world()?;
        let cached = &world.inode(self.inode).cached;
        let from = usize::try_from(offset).unwrap();
        let found = cached.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut world = self.world()?;
        world.writes += 1;
        if world.failing_write == Some(world.writes) {
            return Err(io::Error::other("the card did not take it"));
        }
        let touched = offset / BLOCK..(offset + data.len() as u64).div_ceil(BLOCK);
        let new: Vec<u64> = touched.filter(|block| !world.inode(self.inode).blocks.contains(block)).collect();
        if world.used() + new.len() as u64 * BLOCK > world.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let change = Change::Write(offset, data.to_vec());
        let inode = world.inode(self.inode);
        inode.blocks.extend(new);
        apply(&mut inode.cached, &change, || true);
        inode.pending.push(change);
        // The one at which the power goes may have arrived.
        world.step()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.step()?;
        let inode = world.inode(self.inode);
        inode.blocks.retain(|block| block * BLOCK < length);
        let change = Change::SetLen(length);
        apply(&mut inode.cached, &change, || true);
        inode.pending.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world()?;
        world.step()?;
        world.syncs += 1;
        if world.failing_sync == Some(world.syncs) {
            world.lose(self.inode);
            return Err(io::Error::other("the card did not sync"));
        }
        let inode = world.inode(self.inode);
        for change in std::mem::take(&mut inode.pending) {
            apply(&mut inode.durable, &change, || true);
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<bool> {
        let mut world = self.world()?;
        let (inode, handle) = (world.inode(self.inode), self.handle);
        let is_free = inode.locked_by.is_none_or(|by| by == handle);
        if is_free {
            inode.locked_by = Some(handle);
        }
        Ok(is_free)
    }

    fn unlock(&self) -> io::Result<()> {
        let mut world = self.world()?;
        let handle = self.handle;
        if let Some(inode) = world.inodes.get_mut(&self.inode)
            && inode.locked_by == Some(handle)
        {
            inode.locked_by = None;
        }
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        let mut world = self.world()?;
        let inode = world.inode(self.inode);
        for change in std::mem::take(&mut inode.pending) {
            apply(&mut inode.durable, &change, || true);
        }
        inode.cached = inode.durable.clone();
        Ok(())
    }
}

/// A database that is a file of the kernel.
struct PlainFile {
    device: CrashDevice,
    path: PathBuf,
    life: u64,
    file: File,
}

impl fmt::Debug for PlainFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainFile({})", self.path.display())
    }
}

impl PlainFile {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.device.world();
        world.lives()?;
        if world.life == self.life { Ok(world) } else { Err(dead()) }
    }
}

impl DeviceFile for PlainFile {
    fn len(&self) -> io::Result<u64> {
        drop(self.world()?);
        Ok(self.file.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        drop(self.world()?);
        self.file.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut world = self.world()?;
        self.file.write_all_at(data, offset)?;
        // The one at which the power goes may have arrived.
        world.step()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.world()?.step()?;
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        // Who has it open keeps it where its name is gone.
        let is_named = self.path.exists();
        self.world()?.plainly(|plain| if is_named { plain.sync_file(&self.path) } else { Ok(()) }, || Ok(()))
    }

    fn lock(&self) -> io::Result<bool> {
        drop(self.world()?);
        Ok(self.file.try_lock().is_ok())
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn settle(&self) -> io::Result<()> {
        self.world().map(drop)
    }
}
