//! The audit log's rows: appended in the transaction of the change they describe.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::subject_keys::{self, Found};
use super::tables::{API_TOKENS, AUDIT, USERS};
use crate::crypto::{self, NONCE_LEN, SecretKey, mac};
use crate::domain::audit::{Actor, Draft, Entry, GENESIS, Kept, Personal};
use crate::domain::ids::ApiTokenId;
use crate::storage::Secrets;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{RawTable, Read, WriteTx};

pub fn append(tx: &mut WriteTx<'_>, draft: Draft) -> Result<(), TxError> {
    let (seq, previous) = match tx.last(AUDIT)? {
        Some((seq, entry)) => (seq + 1, entry.hash),
        None => (1, GENESIS),
    };
    let kept = keep(tx, seq, &draft)?;
    let entry = Entry::chained(seq, previous, draft, kept).map_err(|e| Fault::Invariant(e.to_string()))?;
    tx.put(AUDIT, &seq, &entry)
}

/// Seals what is personal, with the name of who acts as it is now.
fn keep(tx: &mut WriteTx<'_>, seq: u64, draft: &Draft) -> Result<Kept, TxError> {
    let mut personal = draft.personal.clone();
    if let (Actor::User(id), None) = (&draft.actor, &personal.name) {
        personal.name = tx.get(USERS, id)?.map(|user| user.username);
    }
    let mut subject = draft.key_subject();
    if let Actor::Program(id) = &draft.actor
        && id.starts_with(ApiTokenId::PREFIX)
    {
        // What a token tells of is its maker's, and is erased with them. One that is gone by now leaves nobody to erase it with.
        let Some(token) = tx.get(API_TOKENS, id)? else { return Ok(Kept::Nothing) };
        personal.name.get_or_insert(token.name);
        subject = token.created_by.to_string();
    }
    if personal.is_empty() {
        return Ok(Kept::Nothing);
    }
    let Some(key) = subject_keys::ensure(tx, &subject, draft.seed, draft.at)? else { return Ok(Kept::Nothing) };
    let plain = postcard::to_stdvec(&personal)?;
    // A nonce made of the key, the place and the text itself never seals two texts, also when a transaction is run again.
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&mac(&key.derive("nonce"), &[&seq.to_le_bytes(), &plain])[..NONCE_LEN]);
    let bytes = crypto::seal(&key, nonce, &seal_context(seq), &plain);
    Ok(Kept::Sealed { subject, bytes })
}

fn seal_context(seq: u64) -> [u8; 8] {
    seq.to_le_bytes()
}

/// What is personal in an entry, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Values(Personal),
    /// Its key was destroyed.
    Erased,
}

/// Opens what is personal in entries; each key is looked up once.
pub struct Opener<'a, R> {
    read: &'a R,
    secrets: &'a Secrets,
    keys: HashMap<String, Option<SecretKey>>,
}

impl<'a, R: Read> Opener<'a, R> {
    pub fn new(read: &'a R, secrets: &'a Secrets) -> Opener<'a, R> {
        Opener { read, secrets, keys: HashMap::new() }
    }

    pub fn open(&mut self, entry: &Entry) -> Result<Shown, Fault> {
        let (subject, bytes) = match &entry.kept {
            Kept::Nothing => return Ok(Shown::Values(Personal::default())),
            Kept::Clear { address } => return Ok(Shown::Values(Personal { address: address.clone(), ..Personal::default() })),
            Kept::Sealed { subject, bytes } => (subject, bytes),
        };
        let Some(key) = self.key(subject)? else { return Ok(Shown::Erased) };
        let wrong = |why: &str| Fault::Record { table: AUDIT.name, key: entry.seq.to_string(), why: why.into() };
        let plain = crypto::open(&key, &seal_context(entry.seq), bytes).map_err(|_| wrong("does not open with its subject's key"))?;
        postcard::from_bytes(&plain).map(Shown::Values).map_err(|e| wrong(&e.to_string()))
    }

    fn key(&mut self, subject: &str) -> Result<Option<SecretKey>, Fault> {
        if let Some(known) = self.keys.get(subject) {
            return Ok(known.clone());
        }
        let key = match subject_keys::find(self.read, self.secrets, subject)? {
            Found::Live(key) => Some(key),
            Found::Erased(_) | Found::Never => None,
        };
        self.keys.insert(subject.to_owned(), key.clone());
        Ok(key)
    }
}

/// Several, of one flush.
pub fn append_all(tx: &mut WriteTx<'_>, drafts: &[Draft]) -> Result<(), TxError> {
    drafts.iter().try_for_each(|draft| append(tx, draft.clone()))
}

/// Newest first. Sequence numbers are dense, so a far page costs no more than the first.
pub fn page(read: &impl Read, offset: usize, limit: usize) -> Result<Vec<Entry>, Fault> {
    let newest = read.last(AUDIT)?.map_or(0, |(seq, _)| seq);
    let end = newest.saturating_sub(u64::try_from(offset).unwrap_or(u64::MAX));
    let mut entries = Vec::new();
    read.for_each_back(AUDIT, ..=end, |_, entry| {
        entries.push(entry);
        if entries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(entries)
}

/// What the end of the chain says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    /// Entries in the whole log.
    pub entries: u64,
    /// Hash of the newest entry.
    pub head: [u8; 32],
    /// The entries looked at are what their hashes say and follow each other.
    pub ok: bool,
}

/// Verifies the last `limit` entries.
pub fn verify_recent(read: &impl Read, limit: usize) -> Result<Recent, Fault> {
    let entries = page(read, 0, limit)?;
    let predecessors = entries.iter().skip(1).map(|entry| (entry.seq + 1, entry.hash));
    let oldest = entries.last().map(|entry| (entry.seq, if entry.seq == 1 { GENESIS } else { entry.previous }));
    let ok = entries.iter().zip(predecessors.chain(oldest)).all(|(entry, (seq, previous))| entry.follows(seq, &previous));
    Ok(Recent { entries: read.count(AUDIT)?, head: entries.first().map_or(GENESIS, |entry| entry.hash), ok })
}

/// One entry by its number.
pub fn entry(read: &impl Read, seq: u64) -> Result<Option<Entry>, Fault> {
    read.get(AUDIT, &seq)
}

/// What a walk over the chain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Entries that follow each other from the first one on.
    pub entries: u64,
    /// Hash of the last of them.
    pub head: [u8; 32],
    /// The first that does not follow.
    pub first_broken: Option<u64>,
}

/// Entries that are checked under one snapshot.
const PIECE: u64 = 10_000;

/// Checks the whole chain, a piece under each snapshot, so that a long log keeps no old pages of the file alive. What is appended meanwhile is checked too.
pub fn verify_in_pieces<R: Read>(mut snapshot: impl FnMut() -> Result<R, Fault>) -> Result<Verified, Fault> {
    let mut verified = Verified { entries: 0, head: GENESIS, first_broken: None };
    loop {
        let begun = verified.entries;
        let read = snapshot()?;
        read.for_each(AUDIT, begun + 1..begun + 1 + PIECE, |seq, entry| {
            let expected = verified.entries + 1;
            if seq != expected || !entry.follows(expected, &verified.head) {
                verified.first_broken = Some(expected);
                return ControlFlow::Break(());
            }
            (verified.entries, verified.head) = (expected, entry.hash);
            ControlFlow::Continue(())
        })?;
        // A gap as wide as a piece looks like the end, so the end is asked for.
        let newest = read.last(AUDIT)?.map_or(0, |(seq, _)| seq);
        if verified.first_broken.is_none() && verified.entries == begun && newest > begun {
            verified.first_broken = Some(begun + 1);
        }
        if verified.first_broken.is_some() || verified.entries >= newest {
            return Ok(verified);
        }
    }
}

/// Head of the chain, when every entry follows the one before; else the first sequence number that does not.
pub fn verify<R: Read>(read: &R) -> Result<Result<[u8; 32], u64>, Fault> {
    let verified = verify_in_pieces(|| Ok(Borrowed(read)))?;
    Ok(verified.first_broken.map_or(Ok(verified.head), Err))
}

/// A snapshot that somebody else keeps.
struct Borrowed<'a, R>(&'a R);

impl<R: Read> Read for Borrowed<'_, R> {
    fn with<T>(&self, name: &'static str, f: impl FnOnce(&dyn RawTable) -> Result<T, Fault>) -> Result<T, Fault> {
        self.0.with(name, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Seed;
    use crate::domain::ids::UserId;
    use crate::domain::user::{PasswordHash, Role, User};
    use crate::storage::Store;
    use crate::storage::testing::{NOW, store};

    #[test]
    fn pages_run_backwards_and_a_forged_entry_shows() {
        let (_dir, store) = store();
        let draft = |n: usize| Draft::new(NOW, Actor::Console, "test", n.to_string());
        let drafts: Vec<Draft> = (2..=50).map(draft).collect();
        store.core.write_now(move |tx| append_all(tx, &drafts)).unwrap();
        let seqs = |offset, limit| page(&store.read().unwrap(), offset, limit).unwrap().iter().map(|e| e.seq).collect::<Vec<_>>();
        assert_eq!(seqs(0, 3), [50, 49, 48]);
        assert_eq!(seqs(48, 5), [2, 1]);
        assert!(seqs(50, 5).is_empty() && seqs(1_000, 5).is_empty());
        let recent = |limit| verify_recent(&store.read().unwrap(), limit).unwrap();
        assert_eq!((recent(10).ok, recent(1_000).ok, recent(10).entries), (true, true, 50));
        store
            .core
            .write_now(|tx| {
                let mut forged = tx.get(AUDIT, &20)?.ok_or(Fault::Panic)?;
                forged.draft.subject = "forged".into();
                tx.put(AUDIT, &20, &forged)
            })
            .unwrap();
        assert_eq!((recent(30).ok, recent(31).ok), (true, false));
    }

    /// An act of bob from somewhere, with the seed that every request brings.
    fn draft_of(actor: Actor, seed: u8) -> Draft {
        let mut draft = Draft::new(NOW, actor, "node.update", "node_a").detailed("MARKER-DETAILS");
        draft.personal.address = Some("MARKER-ADDRESS".into());
        draft.personal.user_agent = Some("MARKER-AGENT".into());
        draft.seed = Seed(Some([seed; 32]));
        draft
    }

    fn shown(store: &Store) -> Vec<Shown> {
        let read = store.read().unwrap();
        let mut opener = Opener::new(&read, &store.secrets);
        let mut entries = page(&read, 0, 100).unwrap();
        entries.reverse();
        entries.iter().skip(1).map(|entry| opener.open(entry).unwrap()).collect()
    }

    #[test]
    fn personal_values_are_ciphertext_in_the_file_and_go_with_their_key() {
        let (dir, store) = store();
        let bob = || Actor::User("user_bob".into());
        let drafts =
            [draft_of(bob(), 1), draft_of(Actor::Anonymous, 2), draft_of(bob(), 3), Draft::new(NOW, bob(), "node.delete", "node_a")];
        store.core.write_now(move |tx| append_all(tx, &drafts)).unwrap();
        let values = Shown::Values(draft_of(Actor::System, 0).personal);
        let nothing = Shown::Values(Personal::default());
        assert_eq!(shown(&store), [values.clone(), values.clone(), values.clone(), nothing.clone()]);
        let head = verify(&store.read().unwrap()).unwrap().unwrap();

        let erase = |subject: &'static str| store.core.write_now(move |tx| subject_keys::erase(tx, subject, NOW.wall)).unwrap();
        assert!(erase("user_bob") && !erase("user_bob"));
        assert_eq!(shown(&store), [Shown::Erased, values, Shown::Erased, nothing.clone()]);
        store.core.write_now(move |tx| append(tx, draft_of(bob(), 4))).unwrap();
        assert_eq!(shown(&store)[4], nothing, "no new key is made for the erased");
        let next_month = NOW.wall.plus_seconds(31 * 86_400);
        assert!(subject_keys::expired(&store.read().unwrap(), NOW.wall).unwrap().is_empty());
        assert_eq!(subject_keys::expired(&store.read().unwrap(), next_month).unwrap(), ["anonymous/2026-09"]);
        erase("anonymous/2026-09");
        assert!(subject_keys::expired(&store.read().unwrap(), next_month).unwrap().is_empty());
        assert_eq!(shown(&store)[1], Shown::Erased);
        assert!(verify(&store.read().unwrap()).unwrap().is_ok_and(|now| now != head));
        store.close();
        let file = std::fs::read(dir.path().join("data/core.redb")).unwrap();
        assert!(!file.windows(7).any(|window| window == b"MARKER-"), "only ciphertext was ever written");
    }

    #[test]
    fn a_name_is_kept_as_it_was_and_without_a_key_nothing_is() {
        let (_dir, store) = store();
        let id = UserId::parse("user_bob").unwrap();
        let named = |name: &str| User {
            id: id.clone(),
            username: name.into(),
            role: Role::Viewer,
            password: PasswordHash { salt: [0; 16], hash: [0; 32] },
            disabled: false,
            second_factor: None,
            created_at: NOW.wall,
            updated_at: NOW.wall,
        };
        for (n, name) in [(1, "bob"), (2, "robert")] {
            let user = named(name);
            let draft = Draft { seed: Seed(Some([n; 32])), ..Draft::new(NOW, Actor::User("user_bob".into()), "test.entry", "") };
            store.core.write_now(move |tx| tx.put(USERS, &user.id.to_string(), &user).and_then(|()| append(tx, draft.clone()))).unwrap();
        }
        let name = |shown: &Shown| match shown {
            Shown::Values(personal) => personal.name.clone().unwrap(),
            Shown::Erased => "erased".into(),
        };
        assert_eq!(shown(&store).iter().map(name).collect::<Vec<_>>(), ["bob", "robert"]);
        let seedless = Draft { seed: Seed::default(), ..draft_of(Actor::Anonymous, 0) };
        store.core.write_now(move |tx| append(tx, seedless.clone())).unwrap();
        assert_eq!(shown(&store)[2], Shown::Values(Personal::default()), "never in clear");
    }

    #[test]
    fn a_log_that_began_with_version_1_goes_on_with_version_2() {
        let (_dir, store) = store();
        let (head, old) = {
            let first = page(&store.read().unwrap(), 0, 1).unwrap().remove(0);
            let kept = Kept::Clear { address: Some("192.0.2.7".into()) };
            let entry = Entry::chained(2, first.hash, Draft::new(NOW, Actor::Anonymous, "request.refuse", "/"), kept).unwrap();
            (entry.hash, entry)
        };
        store.core.write_now(move |tx| tx.put(AUDIT, &2, &old)).unwrap();
        store.core.write_now(|tx| append(tx, draft_of(Actor::Anonymous, 1))).unwrap();
        let read = store.read().unwrap();
        assert_eq!(page(&read, 0, 1).unwrap()[0].previous, head);
        assert!(verify(&read).unwrap().is_ok());
        assert_eq!(shown(&store)[0], Shown::Values(Personal { address: Some("192.0.2.7".into()), ..Personal::default() }));
    }
}
