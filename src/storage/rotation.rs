//! Another key for the manager: the statement that it takes over, and its seed, in one transaction. The manager must not run, because what is in its memory
//! would go on to sign with the old key.

use super::core::tables::SUCCESSIONS;
use super::core::{audit, chain, meta};
use super::fault::WriteError;
use super::store::{SEED_CONTEXT, Store};
use super::table::WriteTx;
use crate::crypto::{SecretKey, SigningKey};
use crate::domain::audit::{Actor, Draft};
use crate::domain::proof::succession::{MAX_SUCCESSIONS, Succession};
use crate::domain::time::Now;
use crate::storage::fault::TxError;

/// Why a key was not replaced; nothing was changed, but for an unknown outcome of the write.
#[derive(Debug)]
pub enum RotationError {
    /// Keys have taken over as often as a chain of statements allows.
    TooMany,
    Write(WriteError),
}

impl std::fmt::Display for RotationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RotationError::TooMany => {
                write!(f, "the key was replaced {MAX_SUCCESSIONS} times already, and agents follow no more statements than that")
            }
            RotationError::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RotationError {}

/// Hands over to a key of fresh random bytes, from the next head on. The store is closed: what is open still has the old key.
pub fn rotate(store: Store, now: Now) -> Result<Succession, RotationError> {
    if store.successions.len() >= MAX_SUCCESSIONS {
        store.close();
        return Err(RotationError::TooMany);
    }
    let new = SigningKey::from_seed(SecretKey(store.entropy.bytes()));
    let sealed = store.secrets.seal(&store.entropy, SEED_CONTEXT, &new.seed().0);
    let (old, manager_id) = (SigningKey::from_seed(store.signing_key.seed().clone()), store.manager_id.clone());
    let number = u64::try_from(store.successions.len()).unwrap_or(u64::MAX).saturating_add(1);
    let write = move |tx: &mut WriteTx<'_>| -> Result<Succession, TxError> {
        let from_sequence = chain::load(tx)?.frontier.size;
        let statement = Succession::signed(manager_id.as_str(), &old, &new, from_sequence, now.wall.0);
        tx.put(SUCCESSIONS, &number, &statement)?;
        let description = meta::store(tx)?;
        meta::put_store(tx, &meta::StoreMeta { sealed_seed: sealed.clone(), ..description })?;
        let [old, new] = [&old, &new].map(|key| key.public().to_hex());
        audit::append(
            tx,
            Draft::new(now, Actor::Console, "manager_key.rotate", new).because(format!("takes over from {old} with head {from_sequence}")),
        )?;
        Ok(statement)
    };
    let written = store.core.write_now(write);
    store.close();
    written.map_err(RotationError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Entropy, stretch};
    use crate::domain::credits::Epoch;
    use crate::domain::proof::succession::leads;
    use crate::storage::core::epochs;
    use crate::storage::fault::OpenError;
    use crate::storage::table::Read;
    use crate::storage::testing::{NOW, gap, options, store};
    use crate::storage::{recovery, verify};

    fn append(store: &Store, epoch: u32) -> [u8; 32] {
        append_by(store, epoch, &store.signing_key)
    }

    fn append_by(store: &Store, epoch: u32, key: &SigningKey) -> [u8; 32] {
        let key = SigningKey::from_seed(key.seed().clone());
        let head = store.core.write_now(move |tx| chain::append(tx, &gap(epoch), &key)).unwrap();
        head.seal.unwrap().manager_key
    }

    fn reopen(dir: &tempfile::TempDir) -> Store {
        Store::open(&options(dir.path()), Entropy::new(), NOW).unwrap()
    }

    fn wrong(store: &Store) -> Vec<String> {
        verify::verify(store).into_iter().filter_map(|finding| finding.wrong).collect()
    }

    #[test]
    fn each_key_signs_from_its_first_head_on_and_the_store_says_who_did() {
        let (dir, store) = store();
        let first = append(&store, 1_000);
        assert_eq!((append(&store, 1_010), store.manager_key().0), (first, first));
        let statement = rotate(store, NOW).unwrap();
        assert_eq!((statement.old_key.0, statement.from_sequence, statement.is_signed()), (first, 2, true));

        let store = reopen(&dir);
        let second = append(&store, 1_020);
        assert_eq!((second, second == first), (statement.new_key.0, false));
        // Two in a row: the one between signs nothing.
        let idle = rotate(store, NOW).unwrap().new_key.0;
        let last = rotate(reopen(&dir), NOW).unwrap();
        assert_eq!((last.old_key.0, last.from_sequence), (idle, 3));
        let store = reopen(&dir);
        let third = append(&store, 1_030);
        assert_eq!(third, last.new_key.0);
        assert_eq!(wrong(&store), Vec::<String>::new());
        let read = store.read().unwrap();
        let said = chain::successions(&read).unwrap();
        assert_eq!((&said, said.len()), (&store.successions, 3));
        for known in [first, second, idle, third] {
            for (epoch, signer) in [(1_000, first), (1_010, first), (1_020, second), (1_030, third)] {
                let head = epochs::by_epoch(&read, Epoch(epoch)).unwrap().unwrap().signed().unwrap().head;
                assert_eq!(head.manager_key.0, signer);
                assert!(leads(&said, &known, &signer, head.sequence), "{epoch}");
            }
        }
        let entries = audit::page(&read, 0, 10).unwrap();
        let rotations: Vec<_> = entries.iter().filter(|entry| entry.draft.operation == "manager_key.rotate").collect();
        assert_eq!(rotations.len(), 3);
        assert_eq!(rotations[0].draft.subject, crate::crypto::hex(&third));
    }

    #[test]
    fn a_head_of_a_key_that_is_not_in_office_is_found() {
        let (dir, store) = store();
        let old = SigningKey::from_seed(store.signing_key.seed().clone());
        append(&store, 1_000);
        rotate(store, NOW).unwrap();
        let store = reopen(&dir);
        assert_eq!(wrong(&store), Vec::<String>::new());
        append_by(&store, 1_010, &old);
        assert!(wrong(&store)[0].contains("not in office"), "{:?}", wrong(&store));
        drop(store);

        // And one of the new key from before it took over.
        let (_dir, early) = crate::storage::testing::store();
        let foreign = SigningKey::from_seed(SecretKey([9; 32]));
        append_by(&early, 1_000, &foreign);
        assert!(wrong(&early)[0].contains("not in office"), "{:?}", wrong(&early));
    }

    #[test]
    fn statements_that_do_not_lead_to_the_key_of_the_store_are_found() {
        type Change = fn(&mut Succession);
        let changes: [Change; 3] =
            [|s| s.from_sequence += 1, |s| s.signed_by_old = s.signed_by_new, |s| *s = Succession::signed("m", &key(1), &key(2), 1, 0)];
        fn key(seed: u8) -> SigningKey {
            SigningKey::from_seed(SecretKey([seed; 32]))
        }
        for change in changes {
            let (dir, store) = store();
            append(&store, 1_000);
            rotate(store, NOW).unwrap();
            let store = reopen(&dir);
            store
                .core
                .write_now(move |tx| {
                    let mut changed = tx.get(SUCCESSIONS, &1)?.unwrap();
                    change(&mut changed);
                    tx.put(SUCCESSIONS, &1, &changed)
                })
                .unwrap();
            assert!(wrong(&store)[0].contains("keys of the manager"), "{:?}", wrong(&store));
        }
    }

    /// What is written for a rotation is one transaction: a store that was copied at any other moment has all of it or nothing.
    #[test]
    fn a_rotation_that_is_not_committed_leaves_the_old_key() {
        let (dir, store) = store();
        let key = store.manager_key();
        store.core.close();
        assert!(matches!(rotate(store, NOW), Err(RotationError::Write(_))));
        let store = reopen(&dir);
        assert_eq!((store.manager_key(), store.successions.len(), wrong(&store).len()), (key, 0, 0));
    }

    #[test]
    fn an_earlier_recovery_kit_is_still_good_and_recovering_needs_no_succession() {
        let (dir, store) = store();
        let salt = recovery::salt(&store.entropy);
        let kit = recovery::make(&store, &stretch("correct horse", &salt), &salt, NOW.wall).unwrap();
        let data = store.dir().to_owned();
        append(&store, 1_000);
        let recover = || {
            std::fs::remove_file(data.join("secret.key")).unwrap();
            assert!(matches!(Store::open(&options(dir.path()), Entropy::new(), NOW), Err(OpenError::SecretKey(_))));
            recovery::recover(&data, &kit, "correct horse", NOW).unwrap();
        };
        let first = store.manager_key();
        store.close();
        drop(store);
        recover();
        let store = reopen(&dir);
        assert_eq!((store.manager_key(), store.successions.len(), append(&store, 1_010)), (first, 0, first.0), "the same key signs on");
        assert_eq!(wrong(&store), Vec::<String>::new());

        let next = rotate(store, NOW).unwrap().new_key.0;
        recover();
        let store = reopen(&dir);
        assert_eq!((store.manager_key().0, store.successions.len(), append(&store, 1_020)), (next, 1, next));
        assert_eq!(wrong(&store), Vec::<String>::new());
    }

    #[test]
    fn there_are_no_more_rotations_than_agents_follow() {
        let (dir, mut store) = store();
        for _ in 0..MAX_SUCCESSIONS {
            rotate(store, NOW).unwrap();
            store = reopen(&dir);
        }
        let key = store.manager_key();
        assert!(matches!(rotate(store, NOW), Err(RotationError::TooMany)));
        let store = reopen(&dir);
        assert_eq!((store.manager_key(), store.successions.len()), (key, MAX_SUCCESSIONS));
        assert_eq!(wrong(&store), Vec::<String>::new());
    }
}
