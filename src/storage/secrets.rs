//! `DIR/secret.key`: 32 random bytes that wrap secret fields. It protects copies of the store, not a stolen card: whoever has the whole card has
//! both.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::fault::OpenError;
use crate::crypto::{DoesNotOpen, Entropy, KEY_LEN, NONCE_LEN, SecretKey, hex, mac, open, seal};

pub const FILE: &str = "secret.key";

/// The data key and what is derived from it.
#[derive(Debug, Clone)]
pub struct Secrets {
    root: SecretKey,
    fields: SecretKey,
    pub beacon: SecretKey,
    pub node_tokens: SecretKey,
    /// Blinds of the leaves of epochs: without it the hash of a leaf could be guessed from what is likely in it.
    pub blinds: SecretKey,
    /// Hashes of request bodies are made with it: bodies hold passwords, and a copy of the store must be of no use against them.
    pub idempotency: SecretKey,
    vouched: SecretKey,
    /// Hashes of networks that people signed in from.
    pub networks: SecretKey,
    /// Hashes of wallet addresses by which documents of the cluster are looked up: who has the hashes alone cannot try addresses.
    wallets: SecretKey,
    /// Seals rows that go to the cluster.
    replica_rows: SecretKey,
    /// Names such rows, and makes the nonces of their seals.
    replica_names: SecretKey,
    /// Proofs of the browsers that people signed in with.
    pub devices: SecretKey,
}

/// Before the ids of those whom the API gateway vouches for.
pub const VOUCHED: &str = "gateway:";
/// Bytes of the hash in such an id.
const VOUCHED_LEN: usize = 16;

impl Secrets {
    pub fn new(root: SecretKey) -> Secrets {
        Secrets {
            fields: root.derive("fields"),
            beacon: root.derive("beacon"),
            node_tokens: root.derive("node-tokens"),
            blinds: root.derive("poot-blinds"),
            idempotency: root.derive("idempotency"),
            vouched: root.derive("vouched"),
            networks: root.derive("networks"),
            wallets: root.derive("wallet-addresses"),
            replica_rows: root.derive("replica-rows"),
            replica_names: root.derive("replica-names"),
            devices: root.derive("devices"),
            root,
        }
    }

    /// The data key itself, for the recovery kit only.
    pub fn root(&self) -> &SecretKey {
        &self.root
    }

    /// The id under which somebody of the API gateway is recorded: what the gateway calls them may be their address, and ids are never erased.
    pub fn vouched_id(&self, subject: &str) -> String {
        format!("{VOUCHED}{}", hex(&mac(&self.vouched, &[subject.as_bytes()])[..VOUCHED_LEN]))
    }

    /// The id that `text` means: an id already, or `gateway:` and what the gateway calls them. None when it is neither.
    pub fn vouched(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(VOUCHED)?;
        let is_id = rest.len() == 2 * VOUCHED_LEN && rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        Some(if is_id { text.to_owned() } else { self.vouched_id(rest) })
    }

    /// Seals a field of a record; `context` names table, row and field.
    pub fn seal(&self, entropy: &Entropy, context: &str, plain: &[u8]) -> Vec<u8> {
        seal(&self.fields, entropy.bytes(), context.as_bytes(), plain)
    }

    /// The same in a transaction, which has no randomness of its own: `nonce` comes from random bytes that are used for nothing else.
    pub fn seal_with(&self, nonce: [u8; NONCE_LEN], context: &str, plain: &[u8]) -> Vec<u8> {
        seal(&self.fields, nonce, context.as_bytes(), plain)
    }

    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        open(&self.fields, context.as_bytes(), sealed)
    }

    /// Hex HMAC-SHA-256 of a wallet address: the same for the same address, of this store only.
    pub fn wallet_hash(&self, address: &str) -> String {
        hex(&mac(&self.wallets, &[address.as_bytes()]))
    }

    /// What the cluster calls a row whose key it must not know.
    pub fn replica_name(&self, table: &str, key: &[u8]) -> [u8; 32] {
        mac(&self.replica_names, &[b"name", table.as_bytes(), key])
    }

    /// Seals a row for the cluster; `context` says which one it is. The same row is sealed to the same bytes: the nonce is a keyed hash of what is sealed, so that
    /// two rows that differ do not share one, and whoever sends a row again needs no randomness.
    pub fn seal_row(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&mac(&self.replica_names, &[b"nonce", context, plain])[..NONCE_LEN]);
        seal(&self.replica_rows, nonce, context, plain)
    }

    /// Of the same manager only, and of nowhere but where it was sealed for.
    pub fn open_row(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        open(&self.replica_rows, context, sealed)
    }

    /// Reads the key file; None when there is none.
    pub fn load(dir: &Path) -> Result<Option<Secrets>, OpenError> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(OpenError::Folder(path, e)),
        };
        let key: [u8; KEY_LEN] = bytes.try_into().map_err(|_| OpenError::SecretKey("must hold exactly 32 bytes".into()))?;
        Ok(Some(Secrets::new(SecretKey(key))))
    }

    /// Writes a key file where there is none, durably, readable by its owner only.
    pub fn create(dir: &Path, root: SecretKey) -> Result<Secrets, OpenError> {
        let path = dir.join(FILE);
        let temporary = dir.join(format!("{FILE}.tmp"));
        let write = || {
            if path.exists() {
                return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists));
            }
            // A power cut leaves the whole key or none.
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&root.0)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(dir)?.sync_all()
        };
        write().map_err(|e| OpenError::Folder(path.clone(), e))?;
        Ok(Secrets::new(root))
    }
}
