//! The recovery kit: data key and manager identity under a passphrase, so that a lost `secret.key` does not lose the store.

use std::fmt;
use std::path::Path;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::fault::{OpenError, WriteError};
use super::secrets::{FILE as SECRET_FILE, Secrets};
use super::store::{Store, with_core};
use crate::crypto::{self, ARGON2_KIB, ARGON2_LANES, ARGON2_PASSES, Entropy, KEY_LEN, SecretKey};
use crate::domain::audit::{Actor, Draft};
use crate::domain::ids::ManagerId;
use crate::domain::time::{Now, Timestamp};

const VERSION: u32 = 1;
const CONTEXT: &str = "recovery-kit/v1";

/// What is kept on paper or in a safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Kit {
    pub version: u32,
    /// Which manager it is for; the sealed part has it too.
    pub manager_id: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    pub kdf: Kdf,
    /// Base64 of nonce, ciphertext and tag (ChaCha20-Poly1305).
    pub sealed: String,
}

/// How the passphrase becomes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Kdf {
    pub algorithm: String,
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    /// Base64, 16 bytes.
    pub salt: String,
}

impl Kdf {
    fn with_salt(salt: &[u8; 16]) -> Kdf {
        let algorithm = "argon2id".to_owned();
        Kdf { algorithm, memory_kib: ARGON2_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES, salt: BASE64.encode(salt) }
    }
}

/// What a kit holds.
#[derive(Debug, Clone)]
pub struct Contents {
    pub data_key: SecretKey,
    pub manager_id: ManagerId,
    pub manager_seed: SecretKey,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    data_key: [u8; KEY_LEN],
    manager_id: ManagerId,
    manager_seed: [u8; KEY_LEN],
}

/// Why a kit is of no use here.
#[derive(Debug)]
pub enum RecoveryError {
    /// Made by a release that stretches passphrases or packs kits differently.
    UnknownKit,
    /// The passphrase is wrong, or the kit was damaged or altered.
    DoesNotOpen,
    /// `secret.key` is there; nothing is written over it.
    KeyPresent,
    /// The kit is of another store.
    OtherStore,
    Open(OpenError),
    Write(WriteError),
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryError::UnknownKit => f.write_str("the kit was made by a release that this one does not know"),
            RecoveryError::DoesNotOpen => f.write_str("the passphrase is wrong, or the kit is damaged"),
            RecoveryError::KeyPresent => {
                write!(f, "{SECRET_FILE} exists; it is not overwritten. Move it away first if it is the wrong one")
            }
            RecoveryError::OtherStore => f.write_str("the kit belongs to another store"),
            RecoveryError::Open(error) => error.fmt(f),
            RecoveryError::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecoveryError {}

/// Makes a kit. `key` is `crypto::stretch(passphrase, salt)`: stretching takes memory and time that the caller has to ration.
pub fn make(store: &Store, key: &SecretKey, salt: &[u8; 16], at: Timestamp) -> Result<Kit, postcard::Error> {
    let sealed =
        Sealed { data_key: store.secrets.root().0, manager_id: store.manager_id.clone(), manager_seed: store.signing_key.seed().0 };
    let plain = Zeroizing::new(postcard::to_stdvec(&sealed)?);
    let sealed = crypto::seal(key, store.entropy.bytes(), CONTEXT.as_bytes(), &plain);
    Ok(Kit {
        version: VERSION,
        manager_id: store.manager_id.to_string(),
        created_at: at.rfc3339(),
        kdf: Kdf::with_salt(salt),
        sealed: BASE64.encode(&sealed),
    })
}

/// Opens a kit. Takes the time and memory of one Argon2id run.
pub fn open(kit: &Kit, passphrase: &str) -> Result<Contents, RecoveryError> {
    let salt = BASE64.decode(kit.kdf.salt.as_bytes()).ok().and_then(|s| <[u8; 16]>::try_from(s).ok());
    let salt = salt.filter(|salt| kit.version == VERSION && kit.kdf == Kdf::with_salt(salt)).ok_or(RecoveryError::UnknownKit)?;
    let sealed = BASE64.decode(kit.sealed.as_bytes()).map_err(|_| RecoveryError::DoesNotOpen)?;
    let plain = crypto::open(&crypto::stretch(passphrase, &salt), CONTEXT.as_bytes(), &sealed).map(Zeroizing::new);
    let plain = plain.map_err(|_| RecoveryError::DoesNotOpen)?;
    let sealed: Sealed = postcard::from_bytes(&plain).map_err(|_| RecoveryError::DoesNotOpen)?;
    Ok(Contents { data_key: SecretKey(sealed.data_key), manager_id: sealed.manager_id, manager_seed: SecretKey(sealed.manager_seed) })
}

/// Puts `secret.key` back into `dir`: only where it is missing, and only when the kit is this store's. The manager must not run.
pub fn recover(dir: &Path, kit: &Kit, passphrase: &str, now: Now) -> Result<(), RecoveryError> {
    if Secrets::load(dir).map_err(RecoveryError::Open)?.is_some() {
        return Err(RecoveryError::KeyPresent);
    }
    let contents = open(kit, passphrase)?;
    let secrets = Secrets::new(contents.data_key.clone());
    with_core(dir, |core, store, seed_opens| {
        if store.manager_id != contents.manager_id || !seed_opens(&secrets) {
            return Err(RecoveryError::OtherStore);
        }
        Secrets::create(dir, contents.data_key.clone()).map_err(RecoveryError::Open)?;
        let subject = store.manager_id.to_string();
        core.write_now(move |tx| super::core::audit::append(tx, Draft::new(now, Actor::Console, "recovery_kit.recover", subject.clone())))
            .map_err(RecoveryError::Write)
    })
    .map_err(RecoveryError::Open)?
}

/// A fresh salt for `make`.
pub fn salt(entropy: &Entropy) -> [u8; 16] {
    entropy.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StoreOptions;
    use crate::storage::testing::{NOW, options, store};

    fn kit(store: &Store, passphrase: &str) -> Kit {
        let salt = salt(&store.entropy);
        make(store, &crypto::stretch(passphrase, &salt), &salt, NOW.wall).unwrap()
    }

    #[test]
    fn a_kit_brings_back_a_lost_key_of_its_own_store_only() {
        let (dir, first) = store();
        let (other_dir, other) = store();
        let (own, foreign) = (kit(&first, "correct horse"), kit(&other, "correct horse"));
        let (key, data) = (first.manager_key(), first.dir().to_owned());
        drop((first, other, other_dir));
        let text = serde_json::to_string(&own).unwrap();
        let own: Kit = serde_json::from_str(&text).unwrap();

        assert!(matches!(recover(&data, &own, "correct horse", NOW), Err(RecoveryError::KeyPresent)));
        std::fs::remove_file(data.join(SECRET_FILE)).unwrap();
        let reopen = |options: &StoreOptions| Store::open(options, Entropy::new(), NOW);
        assert!(matches!(reopen(&options(dir.path())), Err(OpenError::SecretKey(_))));
        assert!(matches!(recover(&data, &foreign, "correct horse", NOW), Err(RecoveryError::OtherStore)));
        assert!(matches!(recover(&data, &own, "wrong horse", NOW), Err(RecoveryError::DoesNotOpen)));
        assert!(matches!(recover(dir.path(), &own, "correct horse", NOW), Err(RecoveryError::Open(OpenError::MissingFile(_)))));
        recover(&data, &own, "correct horse", NOW).unwrap();
        assert_eq!(reopen(&options(dir.path())).unwrap().manager_key(), key);
    }

    #[test]
    fn an_altered_or_newer_kit_is_refused() {
        let (_dir, store) = store();
        let good = kit(&store, "correct horse");
        let contents = open(&good, "correct horse").unwrap();
        assert_eq!(contents.manager_seed.0, store.signing_key.seed().0);
        let newer = Kit { version: 2, ..good.clone() };
        assert!(matches!(open(&newer, "correct horse"), Err(RecoveryError::UnknownKit)));
        let weaker = Kit { kdf: Kdf { passes: 1, ..good.kdf.clone() }, ..good.clone() };
        assert!(matches!(open(&weaker, "correct horse"), Err(RecoveryError::UnknownKit)));
        let torn = Kit { sealed: good.sealed[..good.sealed.len() - 4].to_owned(), ..good };
        assert!(matches!(open(&torn, "correct horse"), Err(RecoveryError::DoesNotOpen)));
    }
}
