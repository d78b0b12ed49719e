//! The agent's folder: its key, the manager it belongs to, and the last anchor of the slots. One agent per folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::AgentError;
use super::history::Kept;
use super::schedule::Anchor;
use super::supervisor::Supervised;
use crate::crypto::{self, PublicKey, SecretKey, SigningKey};
use crate::domain::enrolment::manager_key_hash;
use crate::domain::ids::{ManagerId, NodeId};
use crate::domain::proof::succession::Succession;
use crate::wire::EnrolAnswer;

const KEY_FILE: &str = "agent.key";
const LOCK_FILE: &str = "agent.lock";
const NODE_FILE: &str = "node.json";
const CARRIED_FILE: &str = "carried.json";
const HISTORY_FILE: &str = "history.json";
const SUPERVISED_FILE: &str = "workload.json";
const SPOOL_FOLDER: &str = "spool";

/// What enrolment gave: who this node is, and the manager it trusts from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    pub manager_id: ManagerId,
    /// When this was read or written: `Keys` follows it.
    pub manager_key: PublicKey,
    pub node_id: NodeId,
    pub node_name: String,
    /// What the fingerprint of this machine is salted with: the hash of the manager's first key, whatever its present one.
    pub salt: String,
    /// What the manager said of its keys, oldest first, as far as this agent had to know; the last one took over as `manager_key`.
    pub successions: Vec<Succession>,
}

impl Enrolled {
    /// None when the key in the answer is none.
    pub fn from_answer(answer: &EnrolAnswer, salt: Option<&str>, successions: Vec<Succession>) -> Option<Enrolled> {
        let manager_key = PublicKey::from_hex(&answer.manager_key)?;
        let EnrolAnswer { manager_id, node_id, node_name, .. } = answer.clone();
        let salt = salt.map_or_else(|| manager_key_hash(&manager_key), str::to_owned);
        Some(Enrolled { manager_id, manager_key, node_id, node_name, salt, successions })
    }

    /// Keys of the manager that were replaced, as far as it said so.
    pub fn former(&self) -> impl Iterator<Item = PublicKey> {
        self.successions.iter().map(|statement| PublicKey(statement.old_key.0))
    }

    /// A token with this hash is of the same manager.
    pub fn knows(&self, hash: &str) -> bool {
        let mut keys = self.former().chain([self.manager_key]);
        hash == self.salt || keys.any(|key| manager_key_hash(&key) == hash)
    }
}

/// What is in the file. Files of releases that followed no key have neither.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    answer: EnrolAnswer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint_salt: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    successions: Vec<Succession>,
}

/// What outlives a restart of the agent but is only a help: where the slots are, while the boot id is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    pub boot_id: String,
    pub anchor: Anchor,
    /// The manager's running hash over the reports it accepted, as last told.
    pub evidence_hash: String,
}

/// The open folder; dropping it lets another agent in.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    _lock: File,
}

impl State {
    /// Makes the folder (0700) if need be and locks it.
    pub fn open(folder: &Path) -> Result<State, AgentError> {
        let failed = |error| AgentError::State(folder.to_owned(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK_FILE)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(State { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(AgentError::Locked(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn spool_folder(&self) -> PathBuf {
        self.folder.join(SPOOL_FOLDER)
    }

    /// The agent's key. A missing one is made from `seed`, unless the node is enrolled: a new key would be another node.
    pub fn key(&self, seed: impl FnOnce() -> [u8; crypto::KEY_LEN]) -> Result<SigningKey, AgentError> {
        let path = self.folder.join(KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let seed = crypto::unhex(text.trim()).and_then(|bytes| bytes.try_into().ok());
                seed.map(|seed| SigningKey::from_seed(SecretKey(seed))).ok_or(AgentError::Damaged(path))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if self.folder.join(NODE_FILE).exists() {
                    return Err(AgentError::KeyMissing(path));
                }
                let key = SigningKey::from_seed(SecretKey(seed()));
                self.write(KEY_FILE, format!("{}\n", crypto::hex(&key.seed().0)).as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(AgentError::State(path, error)),
        }
    }

    pub fn enrolled(&self) -> Result<Option<Enrolled>, AgentError> {
        read_enrolled(&self.folder)
    }

    pub fn set_enrolled(&self, enrolled: &Enrolled) -> Result<(), AgentError> {
        let Enrolled { manager_id, manager_key, node_id, node_name, salt, successions } = enrolled.clone();
        let answer = EnrolAnswer { node_id, node_name, manager_id, manager_key: manager_key.to_hex() };
        self.write_json(NODE_FILE, &Written { answer, fingerprint_salt: Some(salt), successions })
    }

    /// None when there is none or it does not read: it is only a help.
    pub fn carried(&self) -> Option<Carried> {
        read_json(&self.folder.join(CARRIED_FILE))
    }

    pub fn set_carried(&self, carried: &Carried) -> Result<(), AgentError> {
        self.write_json(CARRIED_FILE, carried)
    }

    /// What was kept of the manager's word; nothing when there is none or it does not read.
    pub fn history(&self) -> Kept {
        read_history(&self.folder).unwrap_or_default()
    }

    pub fn set_history(&self, kept: &Kept) -> Result<(), AgentError> {
        self.write_json(HISTORY_FILE, kept)
    }

    /// What the supervisor kept; none when there is none or it does not read, and then the manager says again what it wants.
    pub fn supervised(&self) -> Option<Supervised> {
        read_json(&self.folder.join(SUPERVISED_FILE))
    }

    pub fn set_supervised(&self, supervised: &Supervised) -> Result<(), AgentError> {
        self.write_json(SUPERVISED_FILE, supervised)
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), AgentError> {
        let bytes = serde_json::to_vec_pretty(value).map_err(|e| AgentError::State(self.folder.join(name), e.into()))?;
        self.write(name, &bytes)
    }

    /// All or nothing, also when the power goes: a synced temporary file is renamed, then the folder is synced.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let path = self.folder.join(name);
        let temporary = self.folder.join(format!("{name}.tmp"));
        let write = || {
            // A leftover of a crash may have other permissions.
            if let Err(error) = fs::remove_file(&temporary)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(error);
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| AgentError::State(path.clone(), error))
    }
}

/// The node of a folder, whoever has it open.
pub fn read_enrolled(folder: &Path) -> Result<Option<Enrolled>, AgentError> {
    let path = folder.join(NODE_FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            let written: Written = serde_json::from_slice(&bytes).map_err(|_| AgentError::Damaged(path.clone()))?;
            let Written { answer, fingerprint_salt, successions } = written;
            Enrolled::from_answer(&answer, fingerprint_salt.as_deref(), successions).map(Some).ok_or(AgentError::Damaged(path))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AgentError::State(path, error)),
    }
}

/// What was kept of the manager's word; nothing when there is none.
pub fn read_history(folder: &Path) -> Result<Kept, AgentError> {
    let path = folder.join(HISTORY_FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| AgentError::Damaged(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(AgentError::State(path, error)),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::domain::time::{BootMs, Slot};

    /// A new empty folder, removed at the end of the test.
    pub struct Folder(PathBuf);

    impl Folder {
        pub fn new() -> Folder {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!("lucid-agent-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn enrolled(key: &SigningKey) -> Enrolled {
        Enrolled {
            manager_id: ManagerId::parse("manager_abc").unwrap(),
            manager_key: key.public(),
            node_id: NodeId::parse("node_abc").unwrap(),
            node_name: "pi".into(),
            salt: manager_key_hash(&key.public()),
            successions: Vec::new(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_key_is_made_once_and_nobody_else_may_read_it() {
        let folder = Folder::new();
        let path = folder.path().join("a/b");
        let state = State::open(&path).unwrap();
        let key = state.key(|| [7; 32]).unwrap();
        assert_eq!(state.key(|| [8; 32]).unwrap().public(), key.public());
        assert_eq!((mode(&path), mode(&path.join(KEY_FILE))), (0o700, 0o600));
    }

    #[test]
    fn a_damaged_key_or_a_lost_one_of_an_enrolled_node_is_never_replaced() {
        let folder = Folder::new();
        let state = State::open(folder.path()).unwrap();
        fs::write(folder.path().join(KEY_FILE), "abc").unwrap();
        assert!(matches!(state.key(|| [8; 32]), Err(AgentError::Damaged(_))));
        fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
        state.set_enrolled(&enrolled(&SigningKey::from_seed(SecretKey([1; 32])))).unwrap();
        assert!(matches!(state.key(|| [8; 32]), Err(AgentError::KeyMissing(_))));
    }

    #[test]
    fn what_is_written_comes_back_and_a_leftover_of_a_crash_does_not_matter() {
        let folder = Folder::new();
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.enrolled().unwrap(), None);
        fs::write(folder.path().join("node.json.tmp"), "half").unwrap();
        let enrolled = enrolled(&SigningKey::from_seed(SecretKey([1; 32])));
        state.set_enrolled(&enrolled).unwrap();
        assert_eq!(state.enrolled().unwrap(), Some(enrolled));
        let carried = Carried { boot_id: "b".into(), anchor: Anchor { slot: Slot(3), start: BootMs(5) }, evidence_hash: "e".into() };
        assert_eq!(state.carried(), None);
        state.set_carried(&carried).unwrap();
        assert_eq!(state.carried(), Some(carried));
        fs::write(folder.path().join(NODE_FILE), "{}").unwrap();
        assert!(matches!(state.enrolled(), Err(AgentError::Damaged(_))));
    }

    #[test]
    fn a_second_agent_in_the_same_folder_is_told_so() {
        let folder = Folder::new();
        let first = State::open(folder.path()).unwrap();
        assert!(matches!(State::open(folder.path()), Err(AgentError::Locked(_))));
        drop(first);
        State::open(folder.path()).unwrap();
    }
}
