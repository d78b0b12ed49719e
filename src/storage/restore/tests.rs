use super::*;
use crate::crypto::{self, SigningKey};
use crate::domain::audit::{Draft, Seed};
use crate::domain::backup::MANIFEST;
use crate::domain::calendar::Week;
use crate::domain::chunk::Series;
use crate::domain::ids::NodeIndex;
use crate::domain::proof::text::Hex;
use crate::domain::user::{PasswordHash, Role, User};
use crate::storage::backup::{Made, Options, make};
use crate::storage::cold::Chunk;
use crate::storage::core::tables::{AUDIT, VOTE_ANSWERS};
use crate::storage::core::votes::VoteAnswers;
use crate::storage::core::{alerts, cold_files, ledger_check, people};
use crate::storage::device;
use crate::storage::recovery;
use crate::storage::testing::{NOW, options, store};
use crate::storage::verify::verify as verify_store;

fn write(store: &Store, n: u32) {
    store
        .core
        .write_now(move |tx| {
            tx.put(VOTE_ANSWERS, &n, &VoteAnswers::default())?;
            audit::append(tx, Draft::new(NOW, Actor::Console, "test", n.to_string()))
        })
        .unwrap();
}

/// Which rows are there.
fn rows(store: &Store) -> Vec<u32> {
    store.read().unwrap().scan(VOTE_ANSWERS, .., 100).unwrap().into_iter().map(|(n, _)| n).collect()
}

fn reopened(dir: &Path) -> Store {
    Store::open(&options(dir), Entropy::new(), NOW).unwrap()
}

fn backed_up(dir: &Path, store: &Store) -> Made {
    make(store, &Options::new(dir.join("backups"), 30), NOW.wall, &mut |_| true).unwrap()
}

/// A store with row 1, its backup, and row 2 that came later.
fn lived() -> (tempfile::TempDir, PathBuf, Made) {
    let (dir, store) = store();
    fs::create_dir(store.dir().join("archive")).unwrap();
    write(&store, 1);
    let made = backed_up(dir.path(), &store);
    write(&store, 2);
    store.close();
    let from = made.folder.join(&made.name);
    (dir, from, made)
}

fn order<'a>(from: &'a Path, dir: &'a Path) -> Order<'a> {
    Order { from, dir, kit: None, boot_id: "boot".into(), now: Now { wall: NOW.wall.plus_seconds(3_600), ..NOW }, device: device::real() }
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn damage_of_measurements_keeps_no_backup_from_being_made_or_restored() {
    let (dir, store) = store();
    let week = |name: &str| Week::of_file(name).unwrap();
    let put = |store: &Store, name: &str, bytes: Vec<u8>| {
        let slot = week(name).start();
        let chunk = Chunk { node: NodeIndex(3), part: 0, first: slot, last: slot, bytes };
        store.cold.put_at_open(week(name), 1, 0, &[chunk]).unwrap();
    };
    let whole = |name: &str| Series { slots: vec![week(name).start()], late: vec![false], ..Series::default() }.encode();
    let [gone, torn, good] = ["raw-2026w37.redb", "raw-2026w38.redb", "raw-2026w39.redb"];
    put(&store, gone, whole(gone));
    put(&store, torn, vec![7; 100]);
    put(&store, good, whole(good));
    let present = store.cold.present().unwrap();
    store.core.write_now(move |tx| cold_files::note(tx, &cold_files::difference(tx, &present)?, "", NOW)).unwrap();
    store.close();
    drop(store);
    fs::write(dir.path().join("data/cold").join(gone), "no database").unwrap();

    let store = reopened(dir.path());
    let made = backed_up(dir.path(), &store);
    let [of_gone, of_torn] = &made.left_out[..] else { panic!("{:?}", made.left_out) };
    assert!(of_gone.starts_with(&format!("cold/{gone}: ")) && of_torn.starts_with(&format!("pages of cold/{torn}: ")), "{made:?}");
    assert!(made.manifest.file(&format!("cold/{torn}")).is_some(), "the other pages are in it");
    assert!(store.cold.damaged().contains_key(gone));
    store.close();
    drop(store);

    let from = made.folder.join(&made.name);
    restore(&order(&from, &dir.path().join("data")), &mut |_, _| {}).unwrap().unwrap();
    let store = reopened(dir.path());
    let findings = verify_store(&store);
    let wrong: Vec<&str> = findings.iter().filter(|found| found.wrong.is_some()).map(|found| found.part.as_str()).collect();
    assert_eq!(wrong, [check::MEASUREMENTS], "{findings:?}");
    assert!(store.cold.damaged().contains_key(torn), "whoever verifies tells the manager");
    let missed = findings.iter().find_map(|found| found.left_out.as_ref().filter(|what| what.contains(gone)));
    assert!(missed.is_some(), "{findings:?}");
    let alerts = alerts::open_of_kind(&store.read().unwrap(), cold_files::LOST).unwrap();
    assert!(alerts.len() == 1 && alerts[0].message.contains("not in the backup"), "{alerts:?}");
}

#[test]
fn what_comes_back_is_another_life_of_the_store_with_its_money_frozen() {
    let (dir, from, made) = lived();
    let data = dir.path().join("data");
    let running = reopened(dir.path());
    assert!(matches!(restore(&order(&from, &data), &mut |_, _| {}), Err(RestoreError::InUse(_))));
    drop(running);
    let mut heard = Vec::new();
    let restored = restore(&order(&from, &data), &mut |bytes, total| heard.push((bytes, total))).unwrap().unwrap();
    assert!(heard.is_sorted() && heard.last() == Some(&(made.manifest.bytes(), made.manifest.bytes())), "{heard:?}");
    assert_eq!((&restored.manifest, restored.generation, restored.former_unread), (&made.manifest, 2, None));
    let aside = restored.aside.unwrap();
    assert_eq!(files_below(&aside), ["archive", "cold", "core.redb", "hot.redb"], "nothing is lost");
    assert_eq!(files_below(&data), ["archive", "before-restore-2026-09-21T15-13-20Z", "cold", "core.redb", "hot.redb", "secret.key"]);
    let store = reopened(dir.path());
    assert_eq!((rows(&store), store.generation), (vec![1], 2));
    assert_eq!(hot::meta(&store.hot.read().unwrap()).unwrap().generation, 2);
    let money = money::state(&store.read().unwrap()).unwrap();
    assert_eq!(money.frozen.map(|frozen| frozen.kind), Some(FreezeKind::Restored));
    let told: Vec<String> =
        store.read().unwrap().scan(AUDIT, .., 100).unwrap().into_iter().map(|(_, entry)| entry.draft.operation).collect();
    assert_eq!(told[told.len() - 2..], ["store.restore", "money.freeze"]);
    assert!(verify_store(&store).iter().all(|found| found.wrong.is_none()));
    write(&store, 3);
    drop(store);
    // The same once more: the generation is above that of both.
    let again =
        restore(&Order { now: Now { wall: NOW.wall.plus_seconds(7_200), ..NOW }, ..order(&from, &data) }, &mut |_, _| {}).unwrap().unwrap();
    assert_eq!((again.generation, rows(&reopened(dir.path()))), (3, vec![1]));
    // The backup is as it was.
    check::check(&from, Depth::Full, &mut |_, _| {}).unwrap();
}

#[test]
fn a_cut_at_any_step_leaves_the_old_store_or_the_new_one() {
    let (template, from, _) = lived();
    let mut cuts = 0;
    for cut in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        copied(&template.path().join("data"), &data);
        let (mut step, mut at, mut is_decided) = (0, "", false);
        let ended = in_steps(&order(&from, &data), &mut |_, _| {}, &mut |name| {
            (step, at) = (step + 1, name);
            is_decided |= name == "decided";
            if step > cut { Err(RestoreError::Cut) } else { Ok(()) }
        });
        if ended.is_ok() {
            cuts = cut;
            break;
        }
        // A copy of what the cut left: the next may be the manager, or the restore again.
        let other = tempfile::tempdir().unwrap();
        copied(&data, &other.path().join("data"));
        let store = reopened(dir.path());
        assert_eq!(rows(&store), if is_decided { vec![1] } else { vec![1, 2] }, "cut after {at}");
        assert!(verify_store(&store).iter().all(|found| found.wrong.is_none()), "cut after {at}");
        drop(store);
        let data = other.path().join("data");
        let again = restore(&order(&from, &data), &mut |_, _| {}).unwrap();
        assert_eq!(again.is_none(), is_decided, "cut after {at}");
        let store = reopened(other.path());
        assert_eq!((rows(&store), store.generation), (vec![1], 2), "cut after {at}");
        assert!(!data.join(STAGING).exists() && !data.join(READY).exists());
        let aside: Vec<String> = files_below(&data).into_iter().filter(|name| name.starts_with(ASIDE)).collect();
        assert_eq!(
            (aside.len(), files_below(&data.join(&aside[0]))),
            (1, ["archive", "cold", "core.redb", "hot.redb"].map(String::from).to_vec())
        );
    }
    assert_eq!(cuts, 16, "every step was cut once");
}

#[test]
fn a_lost_key_comes_from_the_kit_of_the_same_store_alone() {
    let (dir, store) = store();
    let (_other_dir, other) = crate::storage::testing::store();
    let kit = |store: &Store| {
        let salt = recovery::salt(&store.entropy);
        let kit = recovery::make(store, &crypto::stretch("correct horse", &salt), &salt, NOW.wall).unwrap();
        recovery::open(&kit, "correct horse").unwrap()
    };
    let (own, foreign) = (kit(&store), kit(&other));
    write(&store, 1);
    let made = backed_up(dir.path(), &store);
    let (from, key) = (made.folder.join(&made.name), store.manager_key());
    drop(store);
    let fresh = dir.path().join("fresh");
    let onto = |kit: Option<&Contents>| restore(&Order { kit, ..order(&from, &fresh) }, &mut |_, _| {});
    assert!(matches!(onto(None), Err(RestoreError::NeedsKit(why)) if why == "is missing"));
    assert!(matches!(onto(Some(&foreign)), Err(RestoreError::OtherKit)));
    assert_eq!(files_below(&fresh), Vec::<String>::new(), "nothing was touched");
    let restored = onto(Some(&own)).unwrap().unwrap();
    assert_eq!(restored.aside, None);
    let mut opening = options(dir.path());
    opening.dir.clone_from(&fresh);
    let opened = Store::open(&opening, Entropy::new(), NOW).unwrap();
    assert_eq!((rows(&opened), opened.manager_key()), (vec![1], key));
    drop(opened);
    // A key that is not this store's is moved aside as everything else.
    fs::write(fresh.join("secret.key"), [7; 32]).unwrap();
    assert!(matches!(onto(None), Err(RestoreError::NeedsKit(why)) if why == "does not fit the backup"));
    let restored = onto(Some(&own)).unwrap().unwrap();
    assert_eq!(fs::read(restored.aside.unwrap().join("secret.key")).unwrap(), [7; 32]);
    assert_eq!(Store::open(&opening, Entropy::new(), NOW).unwrap().manager_key(), key);
}

#[test]
fn what_does_not_belong_is_refused_before_anything_is_touched() {
    let (dir, from, made) = lived();
    let data = dir.path().join("data");
    let (other_dir, other) = store();
    write(&other, 9);
    let theirs = backed_up(other_dir.path(), &other);
    let theirs = theirs.folder.join(&theirs.name);
    let seed = other.signing_key.seed().0;
    drop(other);
    let before = files_below(&data);
    let refused = |from: &Path| {
        let refused = restore(&order(from, &data), &mut |_, _| {}).unwrap_err();
        assert_eq!((files_below(&data), rows(&reopened(dir.path()))), (before.clone(), vec![1, 2]), "{refused}");
        refused
    };
    // Of another store: its key is another one, too; and with the same key, as after copying secret.key.
    assert!(matches!(refused(&theirs), RestoreError::NeedsKit(_)));
    let twin = dir.path().join("twin");
    fs::create_dir(&twin).unwrap();
    fs::copy(data.join("secret.key"), twin.join("secret.key")).unwrap();
    let mut opening = options(dir.path());
    opening.dir.clone_from(&twin);
    let second = Store::open(&opening, Entropy::new(), NOW).unwrap();
    let of_twin = make(&second, &Options::new(dir.path().join("twins"), 30), NOW.wall, &mut |_| true).unwrap();
    drop(second);
    assert!(matches!(refused(&of_twin.folder.join(&of_twin.name)), RestoreError::OtherStore { .. }));
    // Altered, and signed anew by somebody who has a key, and not this manager's.
    let forged = dir.path().join("forged");
    copied(&from, &forged);
    let database = redb::Database::open(forged.join("core.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(crate::storage::table::raw(VOTE_ANSWERS.name)).unwrap().remove(&1_u32.to_be_bytes()[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(&forged), RestoreError::Refused(Refused::Damaged(name)) if name == "core.redb"));
    let key = SigningKey::from_seed(crypto::SecretKey(seed));
    let mut manifest = made.manifest.clone();
    manifest.manager_key = Hex(key.public().0);
    let bytes = fs::read(forged.join("core.redb")).unwrap();
    (manifest.files[0].bytes, manifest.files[0].sha256) = (bytes.len() as u64, Hex(crypto::sha256(&bytes)));
    manifest.signature = Hex(key.sign(&manifest.signed_bytes()));
    fs::write(forged.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
    assert!(matches!(refused(&forged), RestoreError::OtherSigner));
    fs::remove_file(forged.join("hot.redb")).unwrap();
    assert!(matches!(refused(&forged), RestoreError::Refused(Refused::Missing(name)) if name == "hot.redb"));
    assert!(matches!(refused(dir.path()), RestoreError::Refused(Refused::NoBackup(..))));
}

/// Changes the core of a backup and signs it anew, as the manager itself would have made it.
fn remade(from: &Path, made: &Made, key: &SigningKey, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(from.join("core.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    drop(database);
    let mut manifest = made.manifest.clone();
    let bytes = fs::read(from.join("core.redb")).unwrap();
    (manifest.files[0].bytes, manifest.files[0].sha256) = (bytes.len() as u64, Hex(crypto::sha256(&bytes)));
    manifest.signature = Hex(key.sign(&manifest.signed_bytes()));
    fs::write(from.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

#[test]
fn a_backup_of_an_earlier_release_is_brought_up_to_this_one_and_one_that_does_not_verify_stays_out() {
    let (dir, from, made) = lived();
    let data = dir.path().join("data");
    let key = SigningKey::from_seed(reopened(dir.path()).signing_key.seed().clone());
    remade(&from, &made, &key, |tx| assert!(tx.delete_table(crate::storage::table::raw("backups")).unwrap()));
    let restored = restore(&order(&from, &data), &mut |_, _| {}).unwrap().unwrap();
    assert_eq!((restored.generation, reopened(dir.path()).read().unwrap().count(tables::BACKUPS)), (2, Ok(0)));
    // Whole by its hashes, and its chain is broken: nothing takes the store's place, nor room.
    remade(&from, &made, &key, |tx| {
        let mut audit = tx.open_table(crate::storage::table::raw("audit")).unwrap();
        audit.remove(&1u64.to_be_bytes()[..]).unwrap();
    });
    let before = files_below(&data);
    let refused = restore(&order(&from, &data), &mut |_, _| {}).unwrap_err();
    assert!(matches!(&refused, RestoreError::Unsound(why) if why.contains("audit log")), "{refused}");
    assert_eq!((files_below(&data), reopened(dir.path()).generation), (before, 2));
}

#[test]
fn who_was_erased_since_is_erased_again() {
    let (dir, store) = store();
    let person = |id: &str, role: Role| User {
        id: UserId::parse(id).unwrap(),
        username: format!("name-of-{id}"),
        role,
        password: PasswordHash { salt: [0; 16], hash: [1; 32] },
        disabled: false,
        created_at: NOW.wall,
        updated_at: NOW.wall,
        second_factor: None,
    };
    let act =
        Act { actor: Actor::User("user_bob".into()), seed: Seed(Some([9; 32])), address: Some("192.0.2.1".into()), ..Act::system(NOW) };
    for user in [person("user_root", Role::SuperAdmin), person("user_bob", Role::Operator)] {
        let act = act.clone();
        store.core.write_now(move |tx| people::create(tx, &user, &act)).unwrap();
    }
    let made = backed_up(dir.path(), &store);
    let from = made.folder.join(&made.name);
    // Since then: one who was there goes, a second came and went, and the first admin was followed by another.
    for (id, role) in [("user_eve", Role::Operator), ("user_zoe", Role::SuperAdmin)] {
        let user = person(id, role);
        store.core.write_now(move |tx| people::create(tx, &user, &Act::system(NOW))).unwrap();
    }
    for id in ["user_bob", "user_eve", "user_root"] {
        let id = UserId::parse(id).unwrap();
        store.core.write_now(move |tx| privacy::erase_person(tx, &id, &Act::system(NOW), "asked for it")).unwrap();
    }
    store.close();
    drop(store);
    let restored = restore(&order(&from, &dir.path().join("data")), &mut |_, _| {}).unwrap().unwrap();
    assert_eq!(restored.erased, ["user_bob", "user_eve"]);
    assert!(
        matches!(&restored.not_erased[..], [(subject, why)] if subject == "user_root" && why.contains("last super_admin")),
        "{restored:?}"
    );
    let store = reopened(dir.path());
    let read = store.read().unwrap();
    let bob = people::user(&read, &UserId::parse("user_bob").unwrap()).unwrap().unwrap();
    assert!(bob.username.starts_with("erased-") && subject_keys::is_erased(&read, "user_eve").unwrap());
    assert!(ledger_check::verify(&read, Depth::Full).unwrap().is_ok() && verify_store(&store).iter().all(|found| found.wrong.is_none()));
    drop((read, store));
    // A former store that does not read is no reason to lose the backup, and is said.
    fs::write(dir.path().join("data/core.redb"), "no database").unwrap();
    let restored = restore(
        &Order { now: Now { wall: NOW.wall.plus_seconds(9_000), ..NOW }, ..order(&from, &dir.path().join("data")) },
        &mut |_, _| {},
    )
    .unwrap()
    .unwrap();
    assert!(restored.former_unread.is_some() && restored.erased.is_empty());
}
