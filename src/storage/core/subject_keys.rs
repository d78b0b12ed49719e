//! Keys of subjects: what is personal in the audit log is sealed under a random key for each person, node or month of strangers. Destroying the
//! key erases the values wherever their ciphertext went, and changes no entry.

use serde::{Deserialize, Serialize};

use super::tables::SUBJECT_KEYS;
use crate::crypto::{KEY_LEN, NONCE_LEN, SecretKey, mac};
use crate::domain::audit::{ANONYMOUS, Seed};
use crate::domain::time::Timestamp;
use crate::storage::Secrets;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Keys of strangers that are destroyed in one call.
const PER_CALL: usize = 100;

/// One subject's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectKey {
    /// Sealed under the store's own key. None: destroyed, and never made again.
    pub sealed: Option<Vec<u8>>,
    /// When it was made, or destroyed.
    pub at: Timestamp,
}

/// What is known of a subject's key.
#[derive(Debug, Clone)]
pub enum Found {
    Never,
    Live(SecretKey),
    Erased(Timestamp),
}

pub fn find(read: &impl Read, secrets: &Secrets, subject: &str) -> Result<Found, Fault> {
    let Some(row) = read.get(SUBJECT_KEYS, &subject.to_owned())? else { return Ok(Found::Never) };
    let Some(sealed) = row.sealed else { return Ok(Found::Erased(row.at)) };
    let opened = secrets.open(&context(subject), &sealed).ok().and_then(|key| <[u8; KEY_LEN]>::try_from(key).ok());
    let wrong = || Fault::Record { table: SUBJECT_KEYS.name, key: subject.to_owned(), why: "does not open with secret.key".into() };
    opened.map(|key| Found::Live(SecretKey(key))).ok_or_else(wrong)
}

/// True once the subject's key was destroyed.
pub fn is_erased(read: &impl Read, subject: &str) -> Result<bool, Fault> {
    Ok(read.get(SUBJECT_KEYS, &subject.to_owned())?.is_some_and(|row| row.sealed.is_none()))
}

/// True when there is or was a key: the subject acted once.
pub fn is_known(read: &impl Read, subject: &str) -> Result<bool, Fault> {
    Ok(read.get(SUBJECT_KEYS, &subject.to_owned())?.is_some())
}

/// The subject's key, made from `seed` when there never was one. None: it was destroyed, or cannot be made.
pub fn ensure(tx: &mut WriteTx<'_>, subject: &str, seed: Seed, now: Timestamp) -> Result<Option<SecretKey>, TxError> {
    let Some(secrets) = tx.secrets() else { return Ok(None) };
    match (find(tx, secrets, subject)?, seed.0) {
        (Found::Live(key), _) => Ok(Some(key)),
        (Found::Erased(_), _) | (Found::Never, None) => Ok(None),
        (Found::Never, Some(seed)) => {
            let seed = SecretKey(seed);
            // The seed is random and kept nowhere, so the row is the only way back to the key.
            let key = SecretKey(mac(&seed, &[b"subject-key", subject.as_bytes()]));
            let mut nonce = [0; NONCE_LEN];
            nonce.copy_from_slice(&mac(&seed, &[b"subject-key-nonce", subject.as_bytes()])[..NONCE_LEN]);
            let sealed = Some(secrets.seal_with(nonce, &context(subject), &key.0));
            tx.put(SUBJECT_KEYS, &subject.to_owned(), &SubjectKey { sealed, at: now })?;
            Ok(Some(key))
        }
    }
}

/// Destroys the subject's key. False when it was destroyed before.
pub fn erase(tx: &mut WriteTx<'_>, subject: &str, now: Timestamp) -> Result<bool, TxError> {
    if is_erased(tx, subject)? {
        return Ok(false);
    }
    tx.put(SUBJECT_KEYS, &subject.to_owned(), &SubjectKey { sealed: None, at: now })?;
    Ok(true)
}

/// Strangers' keys of months before the one of `before` that are not destroyed yet; a bounded number of them.
pub fn expired(read: &impl Read, before: Timestamp) -> Result<Vec<String>, Fault> {
    let end = crate::domain::audit::anonymous_subject(before);
    let rows = read.scan(SUBJECT_KEYS, ANONYMOUS.to_owned()..end, PER_CALL)?;
    Ok(rows.into_iter().filter(|(_, row)| row.sealed.is_some()).map(|(subject, _)| subject).collect())
}

fn context(subject: &str) -> String {
    format!("subject_keys/{subject}")
}
