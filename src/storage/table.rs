//! Typed tables over redb: ordered keys, versioned records. The only file that touches redb's table types.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, TxError};
use super::file::Opened;
use super::replica::marks::Marking;
use super::secrets::Secrets;
use super::touched::Touched;
use super::witness::Witness;
use crate::domain::alert::AlertChange;
use crate::domain::replica::Rev;

/// A key whose byte order is its order.
pub trait Key: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Key for u32 {
    fn encode(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }
    fn decode(bytes: &[u8]) -> Option<u32> {
        bytes.try_into().ok().map(u32::from_be_bytes)
    }
}

impl Key for u64 {
    fn encode(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }
    fn decode(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }
}

impl Key for (u32, u32) {
    fn encode(&self) -> Vec<u8> {
        [self.0.to_be_bytes(), self.1.to_be_bytes()].concat()
    }
    fn decode(bytes: &[u8]) -> Option<(u32, u32)> {
        let (a, b) = bytes.split_at_checked(4)?;
        Some((u32::decode(a)?, u32::decode(b)?))
    }
}

impl Key for (u32, u32, u16) {
    fn encode(&self) -> Vec<u8> {
        [&self.0.to_be_bytes()[..], &self.1.to_be_bytes(), &self.2.to_be_bytes()].concat()
    }
    fn decode(bytes: &[u8]) -> Option<(u32, u32, u16)> {
        let (a, rest) = bytes.split_at_checked(4)?;
        let (b, c) = rest.split_at_checked(4)?;
        Some((u32::decode(a)?, u32::decode(b)?, u16::from_be_bytes(c.try_into().ok()?)))
    }
}

impl Key for (u32, u64) {
    fn encode(&self) -> Vec<u8> {
        [&self.0.to_be_bytes()[..], &self.1.to_be_bytes()[..]].concat()
    }
    fn decode(bytes: &[u8]) -> Option<(u32, u64)> {
        let (a, b) = bytes.split_at_checked(4)?;
        Some((u32::decode(a)?, u64::decode(b)?))
    }
}

impl Key for String {
    fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
    fn decode(bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
}

/// A number, then whatever key.
impl Key for (u8, Vec<u8>) {
    fn encode(&self) -> Vec<u8> {
        [&[self.0], &self.1[..]].concat()
    }
    fn decode(bytes: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (number, key) = bytes.split_first()?;
        Some((*number, key.to_vec()))
    }
}

/// A number, then a text: names within a pool.
impl Key for (u32, String) {
    fn encode(&self) -> Vec<u8> {
        [&self.0.to_be_bytes()[..], self.1.as_bytes()].concat()
    }
    fn decode(bytes: &[u8]) -> Option<(u32, String)> {
        let (a, b) = bytes.split_at_checked(4)?;
        Some((u32::decode(a)?, String::decode(b)?))
    }
}

/// A text without a zero byte, then a key of fixed length.
impl<const N: usize> Key for (String, [u8; N]) {
    fn encode(&self) -> Vec<u8> {
        [self.0.as_bytes(), &[0], &self.1[..]].concat()
    }
    fn decode(bytes: &[u8]) -> Option<(String, [u8; N])> {
        let (text, rest) = bytes.split_at_checked(bytes.len().checked_sub(N + 1)?)?;
        let (zero, rest) = rest.split_first()?;
        (*zero == 0).then_some(())?;
        Some((String::decode(text)?, rest.try_into().ok()?))
    }
}

impl<const N: usize> Key for [u8; N] {
    fn encode(&self) -> Vec<u8> {
        self.to_vec()
    }
    fn decode(bytes: &[u8]) -> Option<[u8; N]> {
        bytes.try_into().ok()
    }
}

/// A stored value: one version byte, then postcard. Bump `VERSION` when the shape changes, keep the old shape in
/// `storage::migrate`, and keep its golden bytes in `data/golden/`.
pub trait Record: Serialize + DeserializeOwned {
    const VERSION: u8;

    /// A record of an older version in today's shape; None when that version never existed.
    fn migrate(_version: u8, _bytes: &[u8]) -> Option<Self> {
        None
    }
}

/// Implements `Record` for a type at its present version; `from` names what reads the earlier ones.
#[macro_export]
macro_rules! record {
    ($($type:ty = $version:literal $(from $migrate:path)?),+ $(,)?) => {
        $(impl $crate::storage::table::Record for $type {
            const VERSION: u8 = $version;
            $(fn migrate(version: u8, bytes: &[u8]) -> Option<Self> {
                $migrate(version, bytes)
            })?
        })+
    };
}

pub fn encode<V: Record>(value: &V) -> Result<Vec<u8>, Fault> {
    let out = vec![V::VERSION];
    postcard::to_extend(value, out).map_err(|e| Fault::Invariant(format!("a record does not encode: {e}")))
}

/// Why bytes are not a record.
pub fn decode<V: Record>(bytes: &[u8]) -> Result<V, String> {
    let (version, body) = bytes.split_first().ok_or("empty")?;
    if *version == V::VERSION {
        return postcard::from_bytes(body).map_err(|e| e.to_string());
    }
    if *version > V::VERSION {
        return Err(format!("has version {version}, this release knows {}", V::VERSION));
    }
    V::migrate(*version, body).ok_or_else(|| format!("version {version} has no migration"))
}

/// A table by name; the types say what is in it.
pub struct Table<K, V> {
    pub name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K: Key, V: Record> Table<K, V> {
    pub const fn new(name: &'static str) -> Table<K, V> {
        Table { name, types: PhantomData }
    }

    fn decode(self, bytes: &[u8], key: impl FnOnce() -> String) -> Result<V, Fault> {
        decode(bytes).map_err(|why| Fault::Record { table: self.name, key: key(), why })
    }
}

type Raw<'n> = TableDefinition<'n, &'static [u8], &'static [u8]>;

pub(super) fn raw(name: &str) -> Raw<'_> {
    TableDefinition::new(name)
}

/// Reading, in a write transaction or in a snapshot.
pub trait Read {
    /// Opens the table by name and hands it over as `ReadableTable`.
    fn with<R>(&self, name: &'static str, f: impl FnOnce(&dyn RawTable) -> Result<R, Fault>) -> Result<R, Fault>;

    /// Whether there is such a table; files of earlier releases, which are only read, have fewer.
    fn has(&self, _name: &'static str) -> Result<bool, Fault> {
        Ok(true)
    }

    fn get<K: Key, V: Record>(&self, table: Table<K, V>, key: &K) -> Result<Option<V>, Fault> {
        let (key, mut found) = (key.encode(), None);
        self.with(table.name, |raw| {
            raw.look(&key, &mut |bytes| {
                found = Some(table.decode(bytes, || crate::crypto::hex(&key))?);
                Ok(())
            })
        })?;
        Ok(found)
    }

    /// The rows of some keys, in the order of the keys; a key without a row has none.
    fn get_each<K: Key, V: Record>(&self, table: Table<K, V>, keys: impl IntoIterator<Item = K>) -> Result<Vec<V>, Fault> {
        let mut found = Vec::new();
        self.get_each_with(table, keys, &mut |_, bytes, decode| {
            found.push(decode(bytes)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The same for those who look at the stored bytes first: `visit` gets the key, the record as stored, and what decodes it.
    fn get_each_with<K: Key, V: Record>(
        &self,
        table: Table<K, V>,
        keys: impl IntoIterator<Item = K>,
        visit: VisitStored<'_, V>,
    ) -> Result<(), Fault> {
        self.with(table.name, |raw| {
            for key in keys {
                let key = key.encode();
                let decode = |bytes: &[u8]| table.decode(bytes, || crate::crypto::hex(&key));
                raw.look(&key, &mut |bytes| visit(&key, bytes, &decode))?;
            }
            Ok(())
        })
    }

    /// Rows in key order until `visit` breaks.
    fn for_each<K: Key, V: Record>(
        &self,
        table: Table<K, V>,
        range: impl RangeBounds<K>,
        visit: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.walk(table, range, false, visit)
    }

    /// Rows against key order until `visit` breaks.
    fn for_each_back<K: Key, V: Record>(
        &self,
        table: Table<K, V>,
        range: impl RangeBounds<K>,
        visit: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.walk(table, range, true, visit)
    }

    fn walk<K: Key, V: Record>(
        &self,
        table: Table<K, V>,
        range: impl RangeBounds<K>,
        back: bool,
        mut visit: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let bounds = (encode_bound(range.start_bound()), encode_bound(range.end_bound()));
        self.with(table.name, |raw| {
            raw.walk_bytes(bounds, back, &mut |key, value| {
                let typed = K::decode(key).ok_or_else(|| Fault::Record {
                    table: table.name,
                    key: crate::crypto::hex(key),
                    why: "the key does not decode".into(),
                })?;
                let value = table.decode(value, || crate::crypto::hex(key))?;
                Ok(visit(typed, value))
            })
        })
    }

    /// The same for those who look at the stored bytes first, and decode what they want.
    fn for_each_stored<K: Key, V: Record>(
        &self,
        table: Table<K, V>,
        range: impl RangeBounds<K>,
        mut visit: impl FnMut(K, &[u8], Decode<'_, V>) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        let bounds = (encode_bound(range.start_bound()), encode_bound(range.end_bound()));
        self.with(table.name, |raw| {
            raw.walk_bytes(bounds, false, &mut |key, value| {
                let decode = |bytes: &[u8]| table.decode(bytes, || crate::crypto::hex(key));
                let typed = K::decode(key).ok_or_else(|| Fault::Record {
                    table: table.name,
                    key: crate::crypto::hex(key),
                    why: "the key does not decode".into(),
                })?;
                visit(typed, value, &decode)
            })
        })
    }

    /// At most `limit` rows in key order.
    fn scan<K: Key, V: Record>(&self, table: Table<K, V>, range: impl RangeBounds<K>, limit: usize) -> Result<Vec<(K, V)>, Fault> {
        let mut rows = Vec::new();
        self.for_each(table, range, |k, v| {
            if rows.len() < limit {
                rows.push((k, v));
            }
            if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(rows)
    }

    /// The last row.
    fn last<K: Key, V: Record>(&self, table: Table<K, V>) -> Result<Option<(K, V)>, Fault> {
        let mut last = None;
        self.for_each_back(table, .., |k, v| {
            last = Some((k, v));
            ControlFlow::Break(())
        })?;
        Ok(last)
    }

    fn count<K: Key, V: Record>(&self, table: Table<K, V>) -> Result<u64, Fault> {
        self.with(table.name, |raw| raw.rows())
    }

    /// Rows in the range, which are not decoded.
    fn count_in<K: Key, V: Record>(&self, table: Table<K, V>, range: impl RangeBounds<K>) -> Result<u64, Fault> {
        let mut count = 0;
        let bounds = (encode_bound(range.start_bound()), encode_bound(range.end_bound()));
        self.with(table.name, |raw| {
            raw.walk_bytes(bounds, false, &mut |_, _| {
                count += 1;
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(count)
    }

    /// The record as stored, undecoded: for blocks that are searched in place.
    fn get_with<K: Key, R>(&self, name: &'static str, key: &K, f: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, Fault> {
        let key = key.encode();
        let (mut f, mut found) = (Some(f), None);
        self.with(name, |raw| {
            raw.look(&key, &mut |bytes| {
                found = f.take().map(|f| f(bytes));
                Ok(())
            })
        })?;
        Ok(found)
    }
}

fn encode_bound<K: Key>(bound: Bound<&K>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Included(k) => Bound::Included(k.encode()),
        Bound::Excluded(k) => Bound::Excluded(k.encode()),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// Of one record: key, bytes as stored, and what decodes them.
type VisitStored<'a, V> = &'a mut dyn FnMut(&[u8], &[u8], Decode<'_, V>) -> Result<(), Fault>;
type Decode<'a, V> = &'a dyn Fn(&[u8]) -> Result<V, Fault>;

type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>;

/// An open table as bytes; erases redb's generics once, so that the typed layer compiles once per type only.
pub trait RawTable {
    /// Shows the value of the key where it lies, if there is one.
    fn look(&self, key: &[u8], visit: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault>;
    fn walk_bytes(&self, bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>), back: bool, visit: Visit<'_>) -> Result<(), Fault>;
    fn rows(&self) -> Result<u64, Fault>;
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> RawTable for T {
    fn look(&self, key: &[u8], visit: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        match self.get(key)? {
            Some(guard) => visit(guard.value()),
            None => Ok(()),
        }
    }

    fn walk_bytes(&self, bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>), back: bool, visit: Visit<'_>) -> Result<(), Fault> {
        let as_slice = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(k) => Bound::Included(k.clone()),
            Bound::Excluded(k) => Bound::Excluded(k.clone()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let (lower, upper) = (as_slice(&bounds.0), as_slice(&bounds.1));
        if is_empty(&lower, &upper) {
            return Ok(());
        }
        let lower = lower.as_ref().map(Vec::as_slice);
        let upper = upper.as_ref().map(Vec::as_slice);
        let mut range = self.range::<&[u8]>((lower, upper))?;
        loop {
            let next = if back { range.next_back() } else { range.next() };
            let Some(row) = next else { return Ok(()) };
            let (key, value) = row?;
            if visit(key.value(), value.value())?.is_break() {
                return Ok(());
            }
        }
    }

    fn rows(&self) -> Result<u64, Fault> {
        Ok(redb::ReadableTableMetadata::len(self)?)
    }
}

/// redb panics on an inverted range; an empty answer is what callers mean.
fn is_empty(lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> bool {
    match (lower, upper) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    }
}

/// What runs in the writer thread after a commit: updates of caches, events.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// Rows that a transaction changed, by number of the table and key; false: they went for being too old.
pub(super) type Changed = BTreeMap<(u8, Vec<u8>), bool>;

/// A write transaction that notices its first mutation and collects what is to happen after the commit.
pub struct WriteTx<'db> {
    tx: &'db redb::WriteTransaction,
    mutations: u64,
    after: Vec<AfterCommit>,
    alerts: Vec<AlertChange>,
    secrets: Option<&'db Secrets>,
    witness: Witness,
    /// Present while a copy of the file is made that has to catch up.
    touched: Option<&'db mut Touched>,
    /// Present while changes leave marks for the cluster, with what was changed so far.
    marking: Option<(&'db Marking, Changed)>,
}

impl<'db> WriteTx<'db> {
    pub(super) fn new(tx: &'db redb::WriteTransaction, secrets: Option<&'db Secrets>) -> WriteTx<'db> {
        WriteTx {
            tx,
            mutations: 0,
            after: Vec::new(),
            alerts: Vec::new(),
            secrets,
            witness: Witness::default(),
            touched: None,
            marking: None,
        }
    }

    /// The same, and what it touches is noted.
    pub(super) fn noting(self, touched: Option<&'db mut Touched>) -> WriteTx<'db> {
        WriteTx { touched, ..self }
    }

    /// The same, and what it changes is marked for the cluster.
    pub(super) fn marking(self, marking: Option<&'db Marking>) -> WriteTx<'db> {
        WriteTx { marking: marking.map(|marking| (marking, Changed::new())), ..self }
    }

    /// Puts the marks of what was changed; the last change before the commit.
    pub(super) fn put_marks(&mut self) -> Result<(), TxError> {
        match self.marking.take() {
            Some((marking, changed)) => marking.put(self, changed),
            None => Ok(()),
        }
    }

    /// A revision between what is committed and what comes.
    pub(super) fn fence(&self) -> Option<Rev> {
        self.marking.as_ref().map(|(marking, _)| marking.next())
    }

    /// The same; from now on marks may be met by who sends rows.
    pub(super) fn shows_marks(&self) -> Option<Rev> {
        if let Some((marking, _)) = &self.marking {
            marking.shows();
        }
        self.fence()
    }

    /// What seals fields of this store; none while it is being made, and when it was opened without its key.
    pub(super) fn secrets(&self) -> Option<&'db Secrets> {
        self.secrets
    }

    pub(super) fn mutations(&self) -> u64 {
        self.mutations
    }

    pub(super) fn into_effects(self) -> (Effects, Witness) {
        (Effects { after: self.after, alerts: self.alerts }, self.witness)
    }

    /// Every change of a row goes through here, but that it is too old.
    fn change(&mut self, table: &'static str, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        self.note(table, key, before, after);
        if let Some((marking, changed)) = &mut self.marking
            && let Some(number) = marking.number(table)
        {
            changed.insert((number, key.to_vec()), true);
        }
    }

    /// What is too old for this machine is not for the cluster, where it is history: it has no mark any more.
    fn expire(&mut self, table: &'static str, key: &[u8], before: Option<&[u8]>) {
        match &mut self.marking {
            Some((marking, changed)) if marking.keeps_history(table) => {
                if let Some(number) = marking.number(table) {
                    changed.insert((number, key.to_vec()), false);
                }
                self.note(table, key, before, None);
            }
            _ => self.change(table, key, before, None),
        }
    }

    fn note(&mut self, table: &'static str, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        self.witness.see(table, key, before, after);
        if let Some(touched) = &mut self.touched {
            touched.note(table, key);
        }
    }

    /// Told to who watches the file once this transaction has committed.
    pub(super) fn tell(&mut self, change: AlertChange) {
        self.alerts.push(change);
    }

    /// Runs once if and when this transaction commits, in commit order.
    pub fn after_commit(&mut self, f: impl FnOnce() + Send + 'static) {
        self.after.push(Box::new(f));
    }

    pub fn put<K: Key, V: Record>(&mut self, table: Table<K, V>, key: &K, value: &V) -> Result<(), TxError> {
        let (key, bytes) = (key.encode(), encode(value)?);
        self.mutations += 1;
        let mut handle = self.tx.open_table(raw(table.name))?;
        let before = handle.insert(key.as_slice(), bytes.as_slice())?;
        self.change(table.name, &key, before.as_ref().map(redb::AccessGuard::value), Some(&bytes));
        Ok(())
    }

    /// A row of whatever table of the file, as it was stored.
    pub(super) fn put_stored(&mut self, table: &'static str, key: &[u8], bytes: &[u8]) -> Result<(), TxError> {
        self.mutations += 1;
        let mut handle = self.tx.open_table(raw(table))?;
        let before = handle.insert(key, bytes)?;
        self.change(table, key, before.as_ref().map(redb::AccessGuard::value), Some(bytes));
        Ok(())
    }

    pub(super) fn delete_stored(&mut self, table: &'static str, key: &[u8]) -> Result<(), TxError> {
        self.mutations += 1;
        let mut handle = self.tx.open_table(raw(table))?;
        let before = handle.remove(key)?;
        self.change(table, key, before.as_ref().map(redb::AccessGuard::value), None);
        Ok(())
    }

    /// True when there was a row.
    pub fn delete<K: Key, V: Record>(&mut self, table: Table<K, V>, key: &K) -> Result<bool, TxError> {
        self.mutations += 1;
        let key = key.encode();
        let mut handle = self.tx.open_table(raw(table.name))?;
        let before = handle.remove(key.as_slice())?;
        self.change(table.name, &key, before.as_ref().map(redb::AccessGuard::value), None);
        Ok(before.is_some())
    }

    /// Deletes rows from the start of the table up to and without `end`, at most `limit`; returns how many.
    pub fn delete_before<K: Key, V: Record>(&mut self, table: Table<K, V>, end: &K, limit: usize) -> Result<usize, TxError> {
        let mut keys = Vec::new();
        let mut handle = self.tx.open_table(raw(table.name))?;
        handle.walk_bytes((Bound::Unbounded, Bound::Excluded(end.encode())), false, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(if keys.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        for key in &keys {
            self.mutations += 1;
            let before = handle.remove(key.as_slice())?;
            let before = before.as_ref().map(redb::AccessGuard::value);
            self.expire(table.name, key, before);
        }
        Ok(keys.len())
    }

    /// Makes sure that the table exists, so that snapshots can open it.
    pub(super) fn create(&mut self, name: &'static str) -> Result<(), TxError> {
        self.mutations += 1;
        self.tx.open_table(raw(name))?;
        if let Some(touched) = &mut self.touched {
            touched.note_table(name);
        }
        Ok(())
    }
}

/// What is to happen once a transaction has committed.
#[derive(Default)]
pub(super) struct Effects {
    pub after: Vec<AfterCommit>,
    pub alerts: Vec<AlertChange>,
}

impl Read for WriteTx<'_> {
    fn with<R>(&self, name: &'static str, f: impl FnOnce(&dyn RawTable) -> Result<R, Fault>) -> Result<R, Fault> {
        f(&self.tx.open_table(raw(name))?)
    }
}

pub(super) type OpenTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A consistent view of the file as of one commit. A table stays open until the view ends: to find one by its name takes longer than to read a row.
pub struct Snapshot {
    open: Mutex<Vec<(&'static str, Arc<OpenTable>)>>,
    transaction: redb::ReadTransaction,
    /// A database that is closed takes its snapshots with it: this one stays open as long as they are held, whatever took its place.
    _of: Option<Arc<Opened>>,
}

impl Snapshot {
    pub(super) fn of(opened: &Arc<Opened>) -> Result<Snapshot, Fault> {
        Ok(Snapshot { transaction: opened.database.begin_read()?, open: Mutex::default(), _of: Some(Arc::clone(opened)) })
    }

    /// Of a database that the caller keeps open.
    pub(super) fn new(transaction: redb::ReadTransaction) -> Snapshot {
        Snapshot { transaction, open: Mutex::default(), _of: None }
    }

    /// Names of all tables.
    pub(super) fn tables(&self) -> Result<Vec<String>, Fault> {
        let tables = self.transaction.list_tables().map_err(|error| Fault::Database(error.to_string()))?;
        Ok(tables.map(|table| redb::TableHandle::name(&table).to_owned()).collect())
    }

    /// A table by whatever name, as bytes.
    pub(super) fn open(&self, name: &str) -> Result<OpenTable, Fault> {
        Ok(self.transaction.open_table(raw(name))?)
    }

    fn table(&self, name: &'static str) -> Result<Arc<OpenTable>, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = open.iter().find(|(of, _)| *of == name) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(self.transaction.open_table(raw(name))?);
        open.push((name, Arc::clone(&table)));
        Ok(table)
    }
}

impl Read for Snapshot {
    fn with<R>(&self, name: &'static str, f: impl FnOnce(&dyn RawTable) -> Result<R, Fault>) -> Result<R, Fault> {
        f(&*self.table(name)?)
    }

    fn has(&self, name: &'static str) -> Result<bool, Fault> {
        match self.transaction.open_table(raw(name)) {
            Ok(_) => Ok(true),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_as_bytes() {
        let numbers = [0u32, 1, 255, 256, 65_536, u32::MAX];
        for pair in numbers.windows(2) {
            assert!(pair[0].encode() < pair[1].encode());
        }
        assert!((1u32, u32::MAX).encode() < (2u32, 0u32).encode());
        assert_eq!(<(u32, String)>::decode(&(7u32, "x".to_owned()).encode()), Some((7, "x".to_owned())));
        assert_eq!(u64::decode(&[1, 2]), None);
        let key = ("enrol_a".to_owned(), [0, 7]);
        assert_eq!(<(String, [u8; 2])>::decode(&key.encode()), Some(key));
        assert!(("a".to_owned(), [255; 2]).encode() < ("a-".to_owned(), [0; 2]).encode(), "one text's keys stand together");
        assert_eq!((<(String, [u8; 2])>::decode(&[0, 1]), <(String, [u8; 2])>::decode(b"abcd")), (None, None));
    }

    #[test]
    fn inverted_ranges_are_empty() {
        let included = |v: u8| Bound::Included(vec![v]);
        assert!(is_empty(&included(2), &included(1)));
        assert!(!is_empty(&included(1), &included(1)));
        assert!(is_empty(&included(1), &Bound::Excluded(vec![1])));
        assert!(!is_empty(&Bound::Unbounded, &included(0)));
    }
}
