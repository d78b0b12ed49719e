//! The file that holds the wallet's private key: Argon2id of a passphrase opens it, the address stands beside it in clear.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::super::tron::{WalletKey, hex_text};
use crate::crypto::{self, SecretKey, StretchCost};
use crate::domain::address::TronAddress;

/// Version of the file that this program writes, and the newest one that it reads.
pub const VERSION: u32 = 1;
/// What opening costs by default: 64 MiB and three passes, about a second on a Raspberry Pi 4.
pub const COST: StretchCost = StretchCost { memory_kib: 65_536, passes: 3, lanes: 1 };
/// Characters of a passphrase, at least, when one is made.
pub const MIN_PASSPHRASE_CHARS: usize = 12;
/// Bounds of what a file may ask for, so that a tampered one takes neither the machine's memory nor the day.
const MAX_COST: StretchCost = StretchCost { memory_kib: 1_048_576, passes: 16, lanes: 4 };
/// A keystore has some 500 bytes.
const MAX_FILE_BYTES: u64 = 16_384;

/// Words that only their owner knows; wiped when dropped and never printed. Spaces at both ends do not count.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Passphrase(String);

impl Passphrase {
    pub fn new(text: &str) -> Passphrase {
        Passphrase(text.trim().to_owned())
    }

    /// Whether it may protect a new file.
    pub fn check(&self) -> Result<(), KeystoreError> {
        if self.text().chars().count() < MIN_PASSPHRASE_CHARS { Err(KeystoreError::PassphraseTooShort) } else { Ok(()) }
    }

    pub fn same(&self, other: &Passphrase) -> bool {
        crypto::equal(self.text().as_bytes(), other.text().as_bytes())
    }

    fn text(&self) -> &str {
        self.0.trim()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(***)")
    }
}

#[derive(Debug)]
pub enum KeystoreError {
    /// The file cannot be read or written.
    File(PathBuf, io::Error),
    /// A keystore is never overwritten: it may be the only copy of a key.
    Exists(PathBuf),
    /// Not the text of a keystore, or its checksum does not hold.
    Damaged(PathBuf, &'static str),
    /// Written by a newer release.
    Newer(PathBuf, u32),
    /// Another passphrase, or a file that somebody changed together with its checksum.
    WrongPassphrase,
    PassphraseTooShort,
    /// 32 bytes that are no private key.
    NoKey,
}

impl fmt::Display for KeystoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeystoreError::File(path, error) => write!(f, "{}: {error}", path.display()),
            KeystoreError::Exists(path) => write!(f, "{} exists; a keystore is never overwritten", path.display()),
            KeystoreError::Damaged(path, why) => write!(f, "{} is no keystore, or it is damaged: {why}", path.display()),
            KeystoreError::Newer(path, version) => {
                write!(f, "{} has version {version}; this release reads up to {VERSION}", path.display())
            }
            KeystoreError::WrongPassphrase => f.write_str("the passphrase does not open the keystore"),
            KeystoreError::PassphraseTooShort => write!(f, "a passphrase has at least {MIN_PASSPHRASE_CHARS} characters"),
            KeystoreError::NoKey => f.write_str("these 64 hex digits are no private key"),
        }
    }
}

impl std::error::Error for KeystoreError {}

/// A keystore as it is in its file.
#[derive(Debug, Clone)]
pub struct Keystore {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    lucid_keystore: u32,
    address: TronAddress,
    argon2id: StretchCost,
    #[serde(with = "hex_text")]
    salt: [u8; 16],
    /// ChaCha20-Poly1305 of the private key: nonce, ciphertext, tag. Everything above is authenticated with it.
    #[serde(with = "hex_text")]
    sealed: Vec<u8>,
    /// SHA-256 over all of it: tells damage from a wrong passphrase, and keeps nobody out.
    #[serde(with = "hex_text")]
    checksum: [u8; 32],
}

impl Content {
    /// What the sealed key is bound to.
    fn context(&self) -> Vec<u8> {
        let StretchCost { memory_kib, passes, lanes } = self.argon2id;
        let numbers = [self.lucid_keystore, memory_kib, passes, lanes].map(u32::to_be_bytes).concat();
        [b"lucid/keystore/v1".as_slice(), &numbers, self.address.bytes(), &self.salt].concat()
    }

    fn checksum(&self) -> [u8; 32] {
        crypto::sha256_parts(&[&self.context(), &self.sealed])
    }
}

/// Random bytes that a new file needs.
#[derive(Clone, Copy)]
pub struct Fresh {
    pub salt: [u8; 16],
    pub nonce: [u8; crypto::NONCE_LEN],
}

impl Keystore {
    /// Seals `secret` into a new file (0600). Refuses to overwrite one.
    pub fn create(
        path: &Path,
        secret: &SecretKey,
        passphrase: &Passphrase,
        cost: StretchCost,
        fresh: Fresh,
    ) -> Result<Keystore, KeystoreError> {
        let content = seal(secret, passphrase, cost, fresh)?;
        let keystore = Keystore { path: path.to_owned(), content };
        keystore.write(false)?;
        Ok(keystore)
    }

    pub fn read(path: &Path) -> Result<Keystore, KeystoreError> {
        let failed = |error| KeystoreError::File(path.to_owned(), error);
        let mut text = String::new();
        File::open(path).map_err(failed)?.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
        #[derive(Deserialize)]
        struct Version {
            lucid_keystore: u32,
        }
        let damaged = |why| KeystoreError::Damaged(path.to_owned(), why);
        let version: Version = serde_json::from_str(&text).map_err(|_| damaged("it does not read"))?;
        if version.lucid_keystore > VERSION {
            return Err(KeystoreError::Newer(path.to_owned(), version.lucid_keystore));
        }
        let content: Content = serde_json::from_str(&text).map_err(|_| damaged("a field is missing or malformed"))?;
        let StretchCost { memory_kib, passes, lanes } = content.argon2id;
        if memory_kib > MAX_COST.memory_kib || passes > MAX_COST.passes || lanes > MAX_COST.lanes {
            return Err(damaged("opening it would cost more than any keystore does"));
        }
        if content.lucid_keystore == 0 || content.checksum() != content.checksum {
            return Err(damaged("its checksum does not hold"));
        }
        Ok(Keystore { path: path.to_owned(), content })
    }

    /// The address of the key, which is not secret.
    pub fn address(&self) -> TronAddress {
        self.content.address
    }

    /// Takes about a second and the memory that the file names.
    pub fn open(&self, passphrase: &Passphrase) -> Result<WalletKey, KeystoreError> {
        let secret = self.secret(passphrase)?;
        WalletKey::from_secret(&secret).filter(|key| key.address() == self.content.address).ok_or(KeystoreError::NoKey)
    }

    /// Seals the key anew; the old file is replaced as a whole. Copies of it still open with the old passphrase.
    pub fn change_passphrase(&self, old: &Passphrase, new: &Passphrase, cost: StretchCost, fresh: Fresh) -> Result<(), KeystoreError> {
        let content = seal(&self.secret(old)?, new, cost, fresh)?;
        Keystore { path: self.path.clone(), content }.write(true)
    }

    fn secret(&self, passphrase: &Passphrase) -> Result<SecretKey, KeystoreError> {
        let damaged = || KeystoreError::Damaged(self.path.clone(), "its cost is none of Argon2id");
        let key = crypto::stretch_with(self.content.argon2id, passphrase.text(), &self.content.salt).ok_or_else(damaged)?;
        let plain = crypto::open(&key, &self.content.context(), &self.content.sealed).map_err(|_| KeystoreError::WrongPassphrase)?;
        let plain = Zeroizing::new(plain);
        plain.as_slice().try_into().map(SecretKey).map_err(|_| KeystoreError::NoKey)
    }

    /// All or nothing, also when the power goes: a synced temporary file takes the name, then the folder is synced.
    fn write(&self, replace: bool) -> Result<(), KeystoreError> {
        let Some(name) = self.path.file_name() else {
            return Err(KeystoreError::File(self.path.clone(), ErrorKind::InvalidFilename.into()));
        };
        let mut temporary = name.to_owned();
        temporary.push(".tmp");
        let temporary = self.path.with_file_name(temporary);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || {
            let mut text = serde_json::to_vec_pretty(&self.content)?;
            text.push(b'\n');
            // A leftover of a crash may have other permissions.
            if let Err(error) = fs::remove_file(&temporary)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(error);
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            if replace {
                fs::rename(&temporary, &self.path)?;
            } else {
                // Unlike a rename, a link never takes the place of a file that is there.
                let linked = fs::hard_link(&temporary, &self.path);
                fs::remove_file(&temporary)?;
                linked?;
            }
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => KeystoreError::Exists(self.path.clone()),
            _ => KeystoreError::File(self.path.clone(), error),
        })
    }
}

fn seal(secret: &SecretKey, passphrase: &Passphrase, cost: StretchCost, fresh: Fresh) -> Result<Content, KeystoreError> {
    passphrase.check()?;
    let address = WalletKey::from_secret(secret).ok_or(KeystoreError::NoKey)?.address();
    let mut content = Content { lucid_keystore: VERSION, address, argon2id: cost, salt: fresh.salt, sealed: Vec::new(), checksum: [0; 32] };
    let key = crypto::stretch_with(cost, passphrase.text(), &fresh.salt).ok_or(KeystoreError::NoKey)?;
    content.sealed = crypto::seal(&key, fresh.nonce, &content.context(), &secret.0);
    content.checksum = content.checksum();
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const CHEAP: StretchCost = StretchCost { memory_kib: 64, passes: 1, lanes: 1 };
    const FRESH: Fresh = Fresh { salt: [1; 16], nonce: [2; 12] };
    const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";

    fn secret() -> SecretKey {
        let bytes = crypto::unhex("cf9fac0fde6c5d4dc0833a6c47f163c921000921118ae669d9d4b218d05dd4ab").unwrap();
        SecretKey(bytes.try_into().unwrap())
    }

    fn words() -> Passphrase {
        Passphrase::new("correct horse")
    }

    fn made(dir: &tempfile::TempDir) -> (PathBuf, Keystore) {
        let path = dir.path().join("keystore.json");
        let keystore = Keystore::create(&path, &secret(), &words(), CHEAP, FRESH).unwrap();
        (path, keystore)
    }

    #[test]
    fn a_key_comes_back_with_its_passphrase_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, made) = made(&dir);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&crypto::hex(&secret().0)) && text.contains(ADDRESS));
        let keystore = Keystore::read(&path).unwrap();
        assert_eq!((keystore.address(), made.address().to_string().as_str()), (made.address(), ADDRESS));
        assert_eq!(keystore.open(&Passphrase::new(" correct horse\n")).unwrap().address(), keystore.address());
        assert!(matches!(keystore.open(&Passphrase::new("correct horsf")), Err(KeystoreError::WrongPassphrase)));
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_weak_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = made(&dir);
        let before = fs::read(&path).unwrap();
        let again = Keystore::create(&path, &SecretKey([9; 32]), &words(), CHEAP, FRESH);
        assert!(matches!(again, Err(KeystoreError::Exists(_))));
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (before, 1));
        let other = dir.path().join("other");
        let short = Keystore::create(&other, &secret(), &Passphrase::new("eleven char "), CHEAP, FRESH);
        assert!(matches!(short, Err(KeystoreError::PassphraseTooShort)));
        assert!(matches!(Keystore::create(&other, &SecretKey([0; 32]), &words(), CHEAP, FRESH), Err(KeystoreError::NoKey)));
        assert!(!other.exists());
    }

    #[test]
    fn a_changed_passphrase_is_the_only_one_that_opens() {
        let dir = tempfile::tempdir().unwrap();
        let (path, keystore) = made(&dir);
        let new = Passphrase::new("battery staple");
        let fresh = Fresh { salt: [3; 16], nonce: [4; 12] };
        assert!(matches!(keystore.change_passphrase(&new, &new, CHEAP, fresh), Err(KeystoreError::WrongPassphrase)));
        keystore.change_passphrase(&words(), &new, CHEAP, fresh).unwrap();
        let keystore = Keystore::read(&path).unwrap();
        assert!(matches!(keystore.open(&words()), Err(KeystoreError::WrongPassphrase)));
        assert_eq!(keystore.open(&new).unwrap().address().to_string(), ADDRESS);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_tampered_file_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, keystore) = made(&dir);
        let text = fs::read_to_string(&path).unwrap();
        let reread = |text: &str| {
            fs::write(&path, text).unwrap();
            Keystore::read(&path)
        };
        for (digit, other) in
            [("\"passes\": 1", "\"passes\": 2"), ("\"salt\": \"01", "\"salt\": \"02"), ("\"sealed\": \"02", "\"sealed\": \"03")]
        {
            assert!(matches!(reread(&text.replacen(digit, other, 1)), Err(KeystoreError::Damaged(..))), "{digit}");
        }
        assert!(matches!(reread(&text[..text.len() / 2]), Err(KeystoreError::Damaged(..))));
        assert!(matches!(reread(&text.replacen("64", "4000000000", 1)), Err(KeystoreError::Damaged(..))), "no memory for that");
        let newer = reread(&text.replacen("\"lucid_keystore\": 1", "\"lucid_keystore\": 2", 1));
        assert!(matches!(newer, Err(KeystoreError::Newer(_, 2))));
        // Somebody who puts the checksum right, too, does not get the key under another address.
        let mut content = keystore.content.clone();
        content.address = TronAddress::from_bytes([7; 20]);
        content.checksum = content.checksum();
        let forged = reread(&serde_json::to_string(&content).unwrap()).unwrap();
        assert!(matches!(forged.open(&words()), Err(KeystoreError::WrongPassphrase)));
        assert!(matches!(Keystore::read(dir.path()), Err(KeystoreError::File(..))));
    }
}
