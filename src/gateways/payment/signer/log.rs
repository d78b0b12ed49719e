//! The signer's own log: a line for each transaction, chained by hashes, on the disk before its signature is given away.
//!
//! A line without its end was never answered, and is dropped when the log is opened. Anything else that does not verify stops the
//! signer: a person has to look. What the chain cannot tell is that lines are missing at its end.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::tron::{SignedTransfer, hex_text};
use super::core::{Memory, Record};
use super::protocol::{Resolution, Signed, Wallet};
use crate::crypto;
use crate::domain::ids::PayoutId;

/// Version of the lines that this program writes, and the newest one that it reads.
pub const VERSION: u32 = 1;
pub const LOG_FILE: &str = "signed.log";
const LOCK_FILE: &str = "lock";
/// Longest line; a full one has some 1,000 bytes, and a resolution with many witnesses 3,000 more.
const MAX_LINE_BYTES: u64 = 16_384;

#[derive(Debug)]
pub enum LogError {
    File(PathBuf, io::Error),
    /// Another signer has the folder.
    Locked(PathBuf),
    /// A line that was answered and is not what was written. Counts from 1.
    Damaged {
        line: u64,
        why: &'static str,
    },
    Newer(u32),
    /// The log is one of another wallet.
    OtherWallet(Box<Wallet>),
    /// Nothing was written, and the log is as it was.
    Full(io::Error),
    /// Nobody knows what is on the disk; the log has to be opened again.
    Broken,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::File(path, error) => write!(f, "{}: {error}", path.display()),
            LogError::Locked(path) => write!(f, "another signer uses {}", path.display()),
            LogError::Damaged { line, why } => {
                write!(
                    f,
                    "line {line} of the log of signed transactions does not verify: {why}; nothing is signed before a person has looked"
                )
            }
            LogError::Newer(version) => {
                write!(f, "the log of signed transactions has version {version}; this release reads up to {VERSION}")
            }
            LogError::OtherWallet(wallet) => {
                write!(f, "the log of signed transactions is that of account {}, key {}", wallet.account, wallet.key)
            }
            LogError::Full(error) => write!(f, "the log of signed transactions cannot grow: {error}"),
            LogError::Broken => f.write_str("writing the log of signed transactions failed; start the signer again"),
        }
    }
}

impl std::error::Error for LogError {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    /// The first line.
    Opened { version: u32, wallet: Wallet },
    Signed {
        at_ms: i64,
        payout_id: PayoutId,
        attempt: u32,
        reference_number: u64,
        #[serde(with = "hex_text")]
        transaction: Vec<u8>,
        /// Of the payout's transaction before.
        resolved: Option<Resolution>,
    },
}

impl Entry {
    fn of(record: &Record) -> Entry {
        let Record { signed, resolved } = record;
        Entry::Signed {
            at_ms: signed.signed_at_ms,
            payout_id: signed.payout_id.clone(),
            attempt: signed.attempt,
            reference_number: signed.reference_number,
            transaction: signed.to_bytes(),
            resolved: resolved.clone(),
        }
    }

    fn record(self) -> Result<Record, &'static str> {
        let Entry::Signed { at_ms, payout_id, attempt, reference_number, transaction, resolved } = self else {
            return Err("a log has one first line");
        };
        let SignedTransfer { transfer, signature } = SignedTransfer::read(&transaction).map_err(|_| "its transaction is none of ours")?;
        let (raw, txid) = (transfer.raw(), transfer.txid());
        let signed = Signed { payout_id, attempt, reference_number, signed_at_ms: at_ms, transfer, raw, txid, signature };
        Ok(Record { signed, resolved })
    }
}

/// A line; its hash is over the number, the hash of the line before, and the text of the entry as it stands.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    number: u64,
    #[serde(with = "hex_text")]
    previous: [u8; 32],
    #[serde(with = "hex_text")]
    hash: [u8; 32],
    #[serde(borrow)]
    entry: &'a RawValue,
}

fn hash_of(number: u64, previous: &[u8; 32], entry: &RawValue) -> [u8; 32] {
    crypto::sha256_parts(&[b"lucid/signed-log/v1", &number.to_be_bytes(), previous, entry.get().as_bytes()])
}

fn parse(text: &[u8]) -> Result<Line<'_>, &'static str> {
    let line: Line = serde_json::from_slice(text).map_err(|_| "it does not read")?;
    if line.hash == hash_of(line.number, &line.previous, line.entry) { Ok(line) } else { Err("its hash is another one") }
}

/// Where the chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    number: u64,
    hash: [u8; 32],
}

impl Head {
    const START: Head = Head { number: 0, hash: [0; 32] };

    /// The next line with its end, and the head after it.
    fn line(self, entry: &Entry) -> serde_json::Result<(Vec<u8>, Head)> {
        let entry = serde_json::value::to_raw_value(entry)?;
        let number = self.number + 1;
        let hash = hash_of(number, &self.hash, &entry);
        let mut text = serde_json::to_vec(&Line { number, previous: self.hash, hash, entry: &entry })?;
        text.push(b'\n');
        Ok((text, Head { number, hash }))
    }

    fn verify(self, text: &[u8]) -> Result<(Entry, Head), LogError> {
        let damaged = |why| LogError::Damaged { line: self.number + 1, why };
        let line = parse(text).map_err(damaged)?;
        if line.number != self.number + 1 || line.previous != self.hash {
            return Err(damaged("it does not follow the line before"));
        }
        let entry = serde_json::from_str(line.entry.get()).map_err(|_| damaged("its entry does not read"))?;
        Ok((entry, Head { number: line.number, hash: line.hash }))
    }
}

/// All whole lines of a log.
#[derive(Debug)]
struct Loaded {
    head: Head,
    memory: Memory,
    /// Bytes of whole lines.
    length: u64,
}

/// Reads and verifies a log of `wallet`; an unfinished last line is left out.
fn load(from: impl Read, wallet: &Wallet) -> Result<Loaded, LogError> {
    let mut from = BufReader::new(from);
    let mut loaded = Loaded { head: Head::START, memory: Memory::default(), length: 0 };
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text);
        let read = read.map_err(|error| LogError::File(LOG_FILE.into(), error))? as u64;
        if text.last() != Some(&b'\n') {
            let whole = read < MAX_LINE_BYTES;
            return if whole { Ok(loaded) } else { Err(LogError::Damaged { line: loaded.head.number + 1, why: "it has no end" }) };
        }
        let (entry, head) = loaded.head.verify(&text)?;
        let damaged = |why| LogError::Damaged { line: head.number, why };
        match entry {
            Entry::Opened { version, .. } if version > VERSION => return Err(LogError::Newer(version)),
            Entry::Opened { wallet: of, .. } if head.number == 1 => {
                if of != *wallet {
                    return Err(LogError::OtherWallet(Box::new(of)));
                }
            }
            _ if head.number == 1 => return Err(damaged("it is not the first line of a log")),
            entry => loaded.memory.apply(&entry.record().map_err(damaged)?, loaded.length),
        }
        loaded.head = head;
        loaded.length += read;
    }
}

/// The open log; dropping it lets another signer in.
#[derive(Debug)]
pub struct SignedLog {
    file: File,
    loaded: Loaded,
    broken: bool,
    _lock: File,
}

impl SignedLog {
    /// Makes the folder (0700) and the log if need be, locks it, reads it from its first line to its last.
    pub fn open(folder: &Path, wallet: &Wallet) -> Result<SignedLog, LogError> {
        let path = folder.join(LOG_FILE);
        let failed = |error| LogError::File(path.clone(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK_FILE)).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LogError::Locked(folder.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        let loaded = load(&file, wallet)?;
        if file.metadata().map_err(failed)?.len() > loaded.length {
            file.set_len(loaded.length).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        let mut log = SignedLog { file, loaded, broken: false, _lock: lock };
        if log.loaded.head == Head::START {
            log.write(&Entry::Opened { version: VERSION, wallet: *wallet })?;
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(log)
    }

    pub fn memory(&self) -> &Memory {
        &self.loaded.memory
    }

    /// The newest transaction of a payout, read from the file and checked again.
    pub fn newest(&self, payout: &PayoutId) -> Result<Option<Signed>, LogError> {
        let Some(place) = self.memory().place(payout) else { return Ok(None) };
        let mut text = vec![0; usize::try_from(MAX_LINE_BYTES).unwrap_or(0)];
        let mut filled = 0;
        while !text[..filled].contains(&b'\n') {
            match self.file.read_at(&mut text[filled..], place + filled as u64) {
                Ok(0) => return Err(LogError::Broken),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(LogError::Broken),
            }
        }
        let line = text[..filled].split(|b| *b == b'\n').next().unwrap_or_default();
        record_of(line).map(|record| Some(record.signed)).map_err(|why| LogError::Damaged { line: 0, why })
    }

    /// On the disk when it returns.
    pub fn append(&mut self, record: &Record) -> Result<(), LogError> {
        let place = self.loaded.length;
        self.write(&Entry::of(record))?;
        self.loaded.memory.apply(record, place);
        Ok(())
    }

    fn write(&mut self, entry: &Entry) -> Result<(), LogError> {
        if self.broken {
            return Err(LogError::Broken);
        }
        let (text, head) = self.loaded.head.line(entry).map_err(|error| LogError::Full(error.into()))?;
        if text.len() as u64 > MAX_LINE_BYTES {
            return Err(LogError::Full(ErrorKind::FileTooLarge.into()));
        }
        if let Err(error) = self.file.write_all(&text) {
            // Part of the line may be there. Without it the log is as it was; if that fails too, nobody knows.
            self.broken = self.file.set_len(self.loaded.length).and_then(|()| self.file.sync_all()).is_err();
            return Err(if self.broken { LogError::Broken } else { LogError::Full(error) });
        }
        if self.file.sync_data().is_err() {
            self.broken = true;
            return Err(LogError::Broken);
        }
        self.loaded.head = head;
        self.loaded.length += text.len() as u64;
        Ok(())
    }
}

fn record_of(line: &[u8]) -> Result<Record, &'static str> {
    let entry: Entry = serde_json::from_str(parse(line)?.entry.get()).map_err(|_| "its entry does not read")?;
    entry.record()
}

#[cfg(test)]
mod tests;
