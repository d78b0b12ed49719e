//! A manager whose key is replaced, over plain HTTP: who is followed, who is not, and what stays as it was.

use super::*;
use crate::agent::keys::REPLACED;
use crate::agent::state::{Enrolled, State};
use crate::domain::enrolment::Fingerprint;
use crate::domain::proof::succession::Succession;
use crate::domain::proof::succession::tests::{key, statement};

impl World {
    /// The manager starts again with the key of this seed, and says this of its keys.
    fn rotated(&self, seed: u8, said: &[Succession]) {
        let mut manager = self.manager.borrow_mut();
        (manager.key, manager.successions) = (key(seed), said.to_vec());
        manager.crash();
    }

    /// The folder of an agent that does not run.
    fn kept(&self) -> Enrolled {
        State::open(&self.config.state_dir).unwrap().enrolled().unwrap().unwrap()
    }

    fn reports(&self) -> usize {
        self.manager.borrow().reports.len()
    }

    fn fingerprints(&self) -> Vec<Fingerprint> {
        self.manager.borrow().reports.iter().map(|report| report.fingerprint.clone()).collect()
    }

    /// Lives on for three slots; whether a report was answered so that the agent took it.
    async fn is_believed(&self, worker: &mut Worker) -> bool {
        let slot = self.now.get().0 / SLOT_MS;
        self.run(worker, (slot + 3) * SLOT_MS - 1).await;
        worker.complaint().is_none()
    }
}

fn once() -> Vec<Succession> {
    vec![statement(&key(5), &key(6), 10)]
}

fn twice() -> Vec<Succession> {
    [once(), vec![statement(&key(6), &key(7), 20)]].concat()
}

#[test]
fn a_new_key_is_followed_and_kept_and_the_machine_looks_as_before() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        world.rotated(6, &once());
        assert!(world.is_believed(&mut worker).await);
        let before = world.fingerprints()[0].clone();
        drop(worker);
        let kept = world.kept();
        assert_eq!((kept.manager_key, &kept.successions), (key(6).public(), &once()));
        assert_eq!(kept.salt, manager_key_hash(&key(5).public()));

        // After a restart too, also with the token of before, and once more while it runs.
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        world.rotated(7, &twice());
        assert!(world.is_believed(&mut worker).await);
        assert!(world.fingerprints().iter().all(|fingerprint| *fingerprint == before));
        drop(worker);
        assert_eq!((world.kept().manager_key, world.kept().successions), (key(7).public(), twice()));
        assert_eq!(world.manager.borrow().enrolments, 1);
    });
}

#[test]
fn who_was_away_during_two_rotations_follows_both() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        drop(worker);
        world.rotated(7, &twice());
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        drop(worker);
        assert_eq!((world.kept().manager_key, world.kept().successions), (key(7).public(), twice()));
    });
}

#[test]
fn nobody_is_followed_without_statements_that_lead_to_him() {
    let mut forged = once();
    forged[0].signed_by_old = forged[0].signed_by_new;
    let others = Succession::signed("manager_0002", &key(5), &key(6), 10, 7);
    let cases: [(&str, u8, Vec<Succession>); 6] = [
        ("nothing is said", 6, vec![]),
        ("the old key did not sign", 6, forged),
        ("of another manager", 6, vec![others]),
        ("somebody else shows them", 9, once()),
        ("they end elsewhere", 6, twice()),
        ("with a gap", 7, twice()[1..].to_vec()),
    ];
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        for (what, seed, said) in cases {
            world.rotated(seed, &said);
            assert!(!world.is_believed(&mut worker).await, "{what}");
            assert_eq!(worker.enrolled_key(), key(5).public(), "{what}");
        }
        drop(worker);
        assert_eq!(world.kept().manager_key, key(5).public());
        world.rotated(5, &[]);
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
    });
}

/// What a stolen key is good for, and what it is not.
#[test]
fn a_rival_leads_astray_who_was_not_told_of_the_true_successor_and_nobody_else() {
    let rival = vec![statement(&key(5), &key(9), 10)];
    let told = rival.clone();
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.rotated(6, &once());
        assert!(world.is_believed(&mut worker).await);
        for (what, seed, said) in [("the stolen key", 5, vec![]), ("the stolen key, with the truth", 5, once()), ("its heir", 9, told)] {
            world.rotated(seed, &said);
            assert!(!world.is_believed(&mut worker).await, "{what}");
            assert!(worker.complaint().unwrap().contains(REPLACED), "{what}: {:?}", worker.complaint());
        }
        world.rotated(6, &once());
        assert!(world.is_believed(&mut worker).await);
        assert_eq!(worker.enrolled_key(), key(6).public());
    });
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.rotated(9, &rival);
        assert!(world.is_believed(&mut worker).await, "known: README, Changing the manager's key");
        world.rotated(6, &once());
        assert!(!world.is_believed(&mut worker).await);
    });
}

/// Led astray by whoever has its key of a moment, and no further than that.
#[test]
fn a_key_that_was_replaced_never_comes_back() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        world.rotated(6, &once());
        assert!(world.is_believed(&mut worker).await);
        let back = vec![statement(&key(6), &key(5), 20)];
        for said in [back.clone(), [once(), back].concat()] {
            world.rotated(5, &said);
            assert!(!world.is_believed(&mut worker).await);
            assert_eq!(worker.enrolled_key(), key(6).public());
        }
    });
}

#[test]
fn as_many_rotations_as_there_may_be_are_followed_at_once() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        let many: Vec<Succession> = (5..37).map(|n| statement(&key(n), &key(n + 1), u64::from(n))).collect();
        world.rotated(37, &many);
        assert!(world.is_believed(&mut worker).await);
        assert_eq!(worker.enrolled_key(), key(37).public());
        // One more would be beyond what is kept.
        world.rotated(38, &[statement(&key(37), &key(38), 40)]);
        assert!(!world.is_believed(&mut worker).await);
    });
}

#[test]
fn what_cannot_be_kept_is_not_followed() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        // Nothing can be renamed to what is a folder.
        let file = world.config.state_dir.join("node.json");
        let kept = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        world.rotated(6, &once());
        assert!(!world.is_believed(&mut worker).await);
        assert_eq!(worker.enrolled_key(), key(5).public());
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, kept).unwrap();
        assert!(world.is_believed(&mut worker).await);
        drop(worker);
        assert_eq!(world.kept().manager_key, key(6).public());
    });
}

#[test]
fn a_token_of_before_enrols_with_the_successor_and_one_of_after_knows_the_machine_again() {
    with_world(|mut world| async move {
        world.rotated(6, &once());
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        drop(worker);
        let kept = world.kept();
        assert_eq!((kept.manager_key, &kept.successions), (key(6).public(), &once()));

        // The way of who cannot trust the old key any more: a token that names the new one, in the same folder.
        std::fs::remove_file(world.config.state_dir.join("node.json")).unwrap();
        world.rotated(7, &twice());
        let id = EnrolmentId::parse("enrol_0002").unwrap();
        let token = TokenText::new(id, &[1; 16], &key(7).public(), &key(5).public());
        assert_eq!(TokenText::parse(&token.to_text()), Some(token.clone()));
        world.config.token = Some(token.to_text());
        let rival = vec![statement(&key(5), &key(9), 10)];
        world.rotated(9, &rival);
        assert!(matches!(world.start().await.err(), Some(AgentError::NotEnrolled(ClientError::BadAnswer(_)))), "the old key leads nowhere");
        world.rotated(7, &twice());
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        let fingerprints = world.fingerprints();
        assert!(world.reports() > 2 && fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));
        drop(worker);
        assert_eq!((world.kept().manager_key, world.kept().salt), (key(7).public(), manager_key_hash(&key(5).public())));
    });
}

/// A file of a release that followed no key.
#[test]
fn an_older_folder_reads_as_it_is() {
    with_world(|world| async move {
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        drop(worker);
        let file = world.config.state_dir.join("node.json");
        let mut written: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert!(written.as_object_mut().unwrap().remove("fingerprint_salt").is_some());
        let mut fields: Vec<String> = written.as_object().unwrap().keys().cloned().collect();
        fields.sort();
        assert_eq!(fields, ["manager_id", "manager_key", "node_id", "node_name"]);
        std::fs::write(&file, written.to_string()).unwrap();
        world.rotated(6, &once());
        let mut worker = world.start().await.unwrap();
        assert!(world.is_believed(&mut worker).await);
        let fingerprints = world.fingerprints();
        assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));
    });
}
