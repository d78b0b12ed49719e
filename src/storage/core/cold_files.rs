//! Which files of measurements there are: each has a row from soon after it was made, and a file may go only when its row says so. What is missing without that, somebody else
//! deleted: `verify` tells of it, and a manager that finds it so writes it down.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::tables::COLD_FILES;
use super::{alerts, audit};
use crate::domain::alert::Severity;
use crate::domain::audit::{Act, Draft};
use crate::domain::time::{Now, Timestamp};
use crate::storage::cold::Present;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// A file is gone, and nothing says that it should; the subject is its name.
pub const LOST: &str = "storage_lost";
/// Between name and identity of a file that was lost: another one may have its name.
const OF: char = '@';

/// What is known of a file, by its name; of one that was lost by name and identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColdFile {
    /// With its identity; 0: of a release that gave none.
    There(u64),
    /// It was to go, since then: it may be gone.
    Expired(Timestamp),
    /// It was found to be missing.
    Lost(Timestamp),
}

/// What differs between the rows and the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Files that no row says are there, with what is known of their identity.
    pub new: Vec<(String, Option<u64>)>,
    /// Rows without their file, with the identity that it had.
    pub missing: Vec<(String, u64)>,
    /// Files that were missed and are back, by name and identity.
    pub back: Vec<(String, u64)>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.missing.is_empty() && self.back.is_empty()
    }
}

fn lost_key(name: &str, identity: u64) -> String {
    format!("{name}{OF}{identity:016x}")
}

/// Name and identity of a file that was lost.
fn of_lost_key(key: &str) -> Option<(String, u64)> {
    let (name, identity) = key.split_once(OF)?;
    Some((name.to_owned(), u64::from_str_radix(identity, 16).ok()?))
}

/// Compares the rows with the files that there are.
pub fn difference(read: &impl Read, present: &BTreeMap<String, Present>) -> Result<Difference, Fault> {
    let (mut found, mut there) = (Difference::default(), BTreeSet::new());
    for (key, file) in read.scan(COLD_FILES, .., usize::MAX)? {
        match file {
            ColdFile::There(identity) => {
                match present.get(&key) {
                    None => found.missing.push((key.clone(), identity)),
                    // A damaged one made way for it, which is told otherwise.
                    Some(Present { identity: Some(is), is_beside }) if *is != identity => {
                        if !is_beside {
                            found.missing.push((key.clone(), identity));
                        }
                        found.new.push((key.clone(), Some(*is)));
                    }
                    Some(_) => (),
                }
                there.insert(key);
            }
            ColdFile::Lost(_) => {
                if let Some((name, identity)) = of_lost_key(&key)
                    && present.get(&name).is_some_and(|is| is.identity == Some(identity))
                {
                    found.back.push((name, identity));
                }
            }
            ColdFile::Expired(_) => (),
        }
    }
    let unknown = present.iter().filter(|(name, _)| !there.contains(*name));
    found.new.extend(unknown.map(|(name, is)| (name.clone(), is.identity)));
    Ok(found)
}

/// Writes down what differs. What is missing is told in the audit log, and stays an alert until the very file is back; `why` says what to think of it.
pub fn note(tx: &mut WriteTx<'_>, found: &Difference, why: &str, now: Now) -> Result<(), TxError> {
    for (name, identity) in &found.missing {
        tx.delete(COLD_FILES, name)?;
        tx.put(COLD_FILES, &lost_key(name, *identity), &ColdFile::Lost(now.wall))?;
        audit::append(tx, Act::system(now).draft("storage.lost", name.clone()).because(why))?;
        let message =
            format!("cold/{name} {why}: what it had is missing from charts. With the manager stopped, a backup's copy can take its place.");
        alerts::raise(tx, LOST, name, Severity::Warning, &message, now.wall)?;
    }
    for (name, identity) in &found.new {
        if let Some(identity) = identity {
            tx.put(COLD_FILES, name, &ColdFile::There(*identity))?;
        }
    }
    found.back.iter().try_for_each(|(name, identity)| forget(tx, name, *identity, now.wall))
}

/// It is missed no more: it is back, or would be too old by now.
pub fn forget(tx: &mut WriteTx<'_>, name: &str, identity: u64, at: Timestamp) -> Result<(), TxError> {
    tx.delete(COLD_FILES, &lost_key(name, identity))?;
    if !lost(tx)?.iter().any(|(lost, ..)| lost == name) {
        alerts::resolve(tx, LOST, name, at)?;
    }
    Ok(())
}

/// From now on the file may go that is the subject of `draft`.
pub fn expire(tx: &mut WriteTx<'_>, draft: Draft) -> Result<(), TxError> {
    tx.put(COLD_FILES, &draft.subject, &ColdFile::Expired(draft.at))?;
    audit::append(tx, draft)
}

/// It is written down that this file goes.
pub fn is_expired(read: &impl Read, name: &str) -> Result<bool, Fault> {
    Ok(matches!(read.get(COLD_FILES, &name.to_owned())?, Some(ColdFile::Expired(_))))
}

/// Files that went without leave, and were missed by a manager: name, identity, and since when.
pub fn lost(read: &impl Read) -> Result<Vec<(String, u64, Timestamp)>, Fault> {
    let mut lost = Vec::new();
    for (key, file) in read.scan(COLD_FILES, .., usize::MAX)? {
        if let (ColdFile::Lost(at), Some((name, identity))) = (file, of_lost_key(&key)) {
            lost.push((name, identity, at));
        }
    }
    Ok(lost)
}
