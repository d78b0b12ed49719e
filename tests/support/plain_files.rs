//! Files of the kernel below one folder, as a power cut would leave them: what was written and not synced may be gone or torn, a name whose folder was not synced may be
//! the old one. Whoever changes the files need not say so: they are looked at before and after each sync and each new name, and only what was synced is believed to stay.
//!
//! Of the order of names this much is kept, as by file systems with a journal: a rename is one change, also between two folders, and what happened before
//! something that stays, stays.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::random::Random;

const SECTOR: usize = 512;
/// Files that were looked at are given this time: one that has another was written since.
const LOOKED_AT: SystemTime = SystemTime::UNIX_EPOCH;
const LOOKED_AT_SECONDS: i64 = 1_000;

type Inode = u64;

#[derive(Clone, PartialEq)]
struct Entry {
    inode: Inode,
    is_folder: bool,
    mode: u32,
}

type Listing = BTreeMap<String, Entry>;

/// What all folders had at one time.
struct Moment {
    folders: BTreeMap<Inode, Listing>,
    /// It came of the one before by a single change.
    is_one_change: bool,
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Option<Vec<u8>>,
    /// Keeps the number of the inode from being given to another file.
    _held: Option<File>,
}

pub struct PlainFiles {
    root: PathBuf,
    /// Since the power came.
    moments: Vec<Moment>,
    /// Of each folder the moment up to which its names are durable.
    synced: BTreeMap<Inode, usize>,
    /// Renames from one folder to another, by the moment after them.
    moves: Vec<(usize, Inode, Inode)>,
    contents: BTreeMap<Inode, Content>,
    folders: BTreeMap<Inode, File>,
}

fn inode(path: &Path) -> io::Result<Inode> {
    Ok(fs::metadata(path)?.ino())
}

impl PlainFiles {
    /// All that is there now is durable.
    pub fn below(root: &Path) -> PlainFiles {
        let mut files = PlainFiles {
            root: root.to_owned(),
            moments: Vec::new(),
            synced: BTreeMap::new(),
            moves: Vec::new(),
            contents: BTreeMap::new(),
            folders: BTreeMap::new(),
        };
        files.look(false).unwrap();
        files.contents.values_mut().for_each(|content| content.durable = Some(content.now.clone()));
        files
    }

    /// Notes what is there.
    pub fn look(&mut self, is_one_change: bool) -> io::Result<()> {
        let mut folders = BTreeMap::new();
        self.list(&self.root.clone(), &mut folders)?;
        if self.moments.last().is_none_or(|last| last.folders != folders) {
            self.moments.push(Moment { folders, is_one_change });
        }
        Ok(())
    }

    fn list(&mut self, folder: &Path, into: &mut BTreeMap<Inode, Listing>) -> io::Result<()> {
        let number = inode(folder)?;
        self.folders.entry(number).or_insert(File::open(folder)?);
        let mut listing = Listing::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // Others may take it away meanwhile.
            let Ok(found) = entry.metadata() else { continue };
            let (is_folder, mode) = (found.is_dir(), found.permissions().mode() & 0o777);
            if is_folder {
                self.list(&entry.path(), into)?;
            } else if !self.contents.contains_key(&found.ino()) || found.mtime() != LOOKED_AT_SECONDS {
                self.read(&entry.path())?;
            }
            listing.insert(entry.file_name().into_string().unwrap(), Entry { inode: found.ino(), is_folder, mode });
        }
        into.insert(number, listing);
        Ok(())
    }

    fn read(&mut self, path: &Path) -> io::Result<&mut Content> {
        let file = File::open(path)?;
        let now = fs::read(path)?;
        file.set_modified(LOOKED_AT + Duration::from_secs(LOOKED_AT_SECONDS.unsigned_abs()))?;
        let content = self.contents.entry(file.metadata()?.ino()).or_default();
        content.now = now;
        content._held = Some(file);
        Ok(content)
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.look(false)?;
        fs::rename(from, to)?;
        self.look(true)?;
        let (from, to) = (inode(from.parent().unwrap())?, inode(to.parent().unwrap())?);
        if from != to {
            self.moves.push((self.moments.len() - 1, from, to));
        }
        Ok(())
    }

    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.look(false)?;
        fs::remove_file(path)?;
        self.look(true)
    }

    pub fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.look(false)?;
        let (number, now) = (inode(folder)?, self.moments.len() - 1);
        self.synced.insert(number, now);
        for (moment, from, to) in &self.moves {
            if [from, to].contains(&&number) {
                for of in [from, to] {
                    let synced = self.synced.entry(*of).or_default();
                    *synced = (*synced).max(*moment);
                }
            }
        }
        Ok(())
    }

    pub fn sync_file(&mut self, path: &Path) -> io::Result<()> {
        let content = self.read(path)?;
        content.durable = Some(content.now.clone());
        Ok(())
    }

    /// Puts there what a power cut now leaves. `look` was the last thing before it.
    pub fn lose(self, random: &mut Random) -> PlainFiles {
        let root = self.root.clone();
        for entry in fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let kept = usize::try_from(random.within(0, self.moments.len() as u64)).unwrap();
        let mut links = BTreeMap::new();
        self.put_back(inode(&root).unwrap(), &root, kept, &mut links, random);
        PlainFiles::below(&root)
    }

    fn put_back(&self, folder: Inode, at: &Path, kept: usize, links: &mut BTreeMap<Inode, PathBuf>, random: &mut Random) {
        for (name, entry) in self.listing(folder, kept, random) {
            let path = at.join(name);
            if entry.is_folder {
                fs::create_dir(&path).unwrap();
                self.put_back(entry.inode, &path, kept, links, random);
            } else if let Some(other) = links.get(&entry.inode) {
                fs::hard_link(other, &path).unwrap();
            } else {
                fs::write(&path, self.bytes(entry.inode, random)).unwrap();
                links.insert(entry.inode, path.clone());
            }
            fs::set_permissions(&path, Permissions::from_mode(entry.mode)).unwrap();
        }
    }

    /// What the folder has on the medium. Of the first changes that are lost some may be there, if they are many.
    fn listing(&self, folder: Inode, kept: usize, random: &mut Random) -> Listing {
        let synced = self.synced.get(&folder).copied().unwrap_or(0);
        let at = |moment: usize| self.moments.get(moment).and_then(|moment| moment.folders.get(&folder).cloned());
        let mut listing = at(kept.max(synced)).unwrap_or_default();
        if synced > kept || self.moments.get(kept + 1).is_none_or(|next| next.is_one_change) {
            return listing;
        }
        let next = at(kept + 1).unwrap_or_default();
        let names: Vec<String> = listing.keys().chain(next.keys()).cloned().collect();
        for name in names {
            if random.within(0, 2) == 0 {
                match next.get(&name) {
                    Some(entry) => drop(listing.insert(name, entry.clone())),
                    None => drop(listing.remove(&name)),
                }
            }
        }
        listing
    }

    fn bytes(&self, file: Inode, random: &mut Random) -> Vec<u8> {
        let Content { now, durable, .. } = &self.contents[&file];
        if durable.as_ref() == Some(now) {
            return now.clone();
        }
        let durable = durable.clone().unwrap_or_default();
        match random.within(0, 3) {
            0 => now.clone(),
            1 => durable,
            // Some sectors, and of what it became longer or shorter some.
            _ => {
                let mut torn = durable;
                let (least, most) = (torn.len().min(now.len()) as u64, torn.len().max(now.len()) as u64);
                torn.resize(usize::try_from(random.within(least, most + 1)).unwrap(), 0);
                for (from, to) in now.chunks(SECTOR).zip(torn.chunks_mut(SECTOR)) {
                    if random.within(0, 2) == 0 {
                        let length = from.len().min(to.len());
                        to[..length].copy_from_slice(&from[..length]);
                    }
                }
                torn
            }
        }
    }
}
