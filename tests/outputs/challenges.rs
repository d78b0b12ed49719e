//! Challenges: who is asked, whose answer counts, and what the score makes of it.

use lucid::crypto::{hex, jwt_encode, sha256_parts, unhex};
use lucid::domain::enrolment::NodeClaims;
use lucid::domain::evidence::{Beacons, day_of};
use lucid::domain::ids::NodeId;
use lucid::domain::metrics::Sample;
use lucid::domain::node::NodeType;
use lucid::domain::output::{challenge, challenged_slot};
use lucid::domain::time::{SLOT_MS, Slot};
use lucid::domain::workload::{WorkloadReport, WorkloadState};
use lucid::wire::{Item, SlotChallenge, Witness};
use serde_json::Value;

use super::{answer, errors, expect_outputs, next_challenge, report, score, site};
use crate::support::client::error_name;
use crate::support::random::Random;
use crate::support::site::Site;

fn present(site: &Site) -> Slot {
    Slot(u32::try_from(site.now_ms() / SLOT_MS).unwrap())
}

/// The manager sees every slot begin, and could hear.
fn pass(site: &Site, ms: i64) {
    let mut left = ms;
    while left > 0 {
        let step = left.min(SLOT_MS - site.now_ms().rem_euclid(SLOT_MS));
        site.driver.advance_ms(step);
        site.app.context.tick();
        left -= step;
    }
}

fn counts(score: &Value) -> (Option<u64>, Option<u64>) {
    (score["inputs"]["challenged"].as_u64(), score["inputs"]["answered"].as_u64())
}

#[tokio::test]
async fn a_pool_that_starts_to_expect_outputs_challenges_from_its_next_epoch_on_as_anybody_can_check() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = site.enrol("one").await;
    for _ in 0..25 {
        site.next_slot(5_000);
        assert_eq!(report(&site, &mut node).await, None, "nobody expects outputs");
    }
    expect_outputs(&site, true).await;
    let pool = site.client.get("/pools/pool_default").await;
    assert_eq!(pool["outputs_expected"], true);
    let from = Slot(present(&site).0 / 10 * 10 + 10);
    assert_eq!(pool["outputs_expected_from"].as_str(), Some(from.start().rfc3339().as_str()));
    // As somebody checks it who has the day's key, once it is revealed.
    let beacons = Beacons::new(site.app.store.secrets.beacon.clone());
    let (mut asked, mut waiting) = (0, Vec::new());
    while present(&site) < from.plus(49) {
        site.next_slot(5_000);
        let slot = present(&site);
        let key = beacons.day_key(day_of(slot));
        let is_due = slot >= from && challenged_slot(&key, &node.id, slot.0 / 10) == slot;
        let found = report(&site, &mut node).await;
        asked += u32::from(is_due);
        // Nobody answers: it is told as long as it can be, the present one first, else the one that ends first.
        waiting.extend(is_due.then_some(slot));
        waiting.retain(|waits: &Slot| slot < waits.plus(4));
        let told = if is_due { Some(slot) } else { waiting.first().copied() };
        let expires_in_ms = |told: Slot| 115_000 - 30_000 * u64::from(slot.0 - told.0);
        let expected =
            told.map(|slot| SlotChallenge { slot, challenge: hex(&challenge(&key, &node.id, slot)), expires_in_ms: expires_in_ms(slot) });
        assert_eq!(found, expected, "slot {}", slot.0);
    }
    assert_eq!(asked, 5, "one of ten slots");
    site.pass_slots(4).await;
    let score_then = score(&site, &node).await;
    assert_eq!((counts(&score_then), score_then["inputs"]["outputs_expected"].as_bool()), ((Some(5), Some(0)), Some(true)));
    // The mean of Beta(1, 6) is 1/7; a factor of weight 0.3.
    let uptime = score_then["proven_slots"].as_f64().unwrap() / score_then["observed_slots"].as_f64().unwrap();
    let expected = 100.0 * uptime * (1.0 - 0.3 * (1.0 - 1.0 / 7.0));
    assert!((score_then["score"].as_f64().unwrap() - expected).abs() < 0.006, "{score_then}");
    expect_outputs(&site, false).await;
    site.pass_slots(30).await;
    assert_eq!(score(&site, &node).await["inputs"]["outputs_expected"], false);
}

#[tokio::test]
async fn an_answer_in_time_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = site.enrol("one").await;
    expect_outputs(&site, true).await;
    let first = next_challenge(&site, &mut node).await;
    assert_eq!(report(&site, &mut node).await, Some(SlotChallenge { ..first.clone() }), "a second report of the slot is told again");
    let good = answer(&site, "what the workload made", "nonce-0001", Some(&first));
    let verdict = node.submit(&good).await.unwrap();
    assert_eq!((verdict["is_valid"].as_bool(), verdict["counted"].as_bool()), (Some(true), Some(true)), "{verdict}");
    assert_eq!(
        (verdict["challenge_slot"].as_u64(), &verdict["output_hash"]),
        (Some(u64::from(first.slot.0)), &good.output_hash.clone().unwrap().into())
    );
    assert_eq!(node.submit(&good).await.unwrap(), verdict, "a repeat after a lost answer");
    let more = node.submit(&answer(&site, "what it made besides", "nonce-0002", Some(&first))).await.unwrap();
    assert_eq!((more["is_valid"].as_bool(), more["counted"].as_bool()), (Some(true), Some(false)), "one answer counts");

    let late = next_challenge(&site, &mut node).await;
    pass(&site, i64::try_from(late.expires_in_ms).unwrap() - 1);
    let in_time = node.submit(&answer(&site, "at the last moment of all", "nonce-0003", Some(&late))).await.unwrap();
    assert_eq!(in_time["counted"], true, "{in_time}");
    site.app.context.tick();
    let late = next_challenge(&site, &mut node).await;
    pass(&site, i64::try_from(late.expires_in_ms).unwrap());
    let verdict = node.submit(&answer(&site, "a moment too late, sadly", "nonce-0004", Some(&late))).await.unwrap();
    assert_eq!((errors(&verdict), verdict["counted"].as_bool()), (vec!["challenge_late"], Some(false)));
    site.app.context.tick();
    let replayed = node.submit(&good).await.unwrap();
    assert_eq!(replayed["challenge_slot"], first.slot.0, "the old verdict, for the old slot");
    let missed = next_challenge(&site, &mut node).await;
    let swapped = node
        .submit(&answer(&site, "for the wrong slot, alas", "nonce-0005", Some(&SlotChallenge { slot: missed.slot, ..first.clone() })))
        .await
        .unwrap();
    assert_eq!(errors(&swapped), ["hash_mismatch"], "a challenge of another slot");
    site.pass_slots(16).await;
    assert_eq!(counts(&score(&site, &node).await), (Some(4), Some(2)));
    let list = site.client.get(&format!("/nodes/{}/poot/validations?limit=100", node.id)).await;
    let counted = list["validations"].as_array().unwrap().iter().filter(|row| row["counted"] == true).count();
    assert_eq!(counted, 2);
    assert_eq!(site.client.get(&format!("/nodes/{}/poot/validations/months", node.id)).await["months"][0]["counted"], 2);
}

/// The answer that told it, or the output of the workload, is lost on the way.
#[tokio::test]
async fn a_challenge_is_told_until_it_is_answered_or_too_late() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = site.enrol("one").await;
    expect_outputs(&site, true).await;
    let lost = next_challenge(&site, &mut node).await;
    site.next_slot(5_000);
    // Its workload does not run just now: it was asked all the same.
    node.workload = Some(WorkloadReport { configured: true, state: WorkloadState::BackingOff, ..WorkloadReport::default() });
    let again = report(&site, &mut node).await.unwrap();
    node.workload = None;
    let found = (again.expires_in_ms, again.slot < present(&site));
    assert_eq!((again.challenge.clone(), found), (lost.challenge.clone(), (lost.expires_in_ms - 30_000, true)), "the same, with less time");
    let wrong = node.submit(&answer(&site, "short", "nonce-0001", Some(&again))).await.unwrap();
    assert_eq!(wrong["is_valid"], false, "{wrong}");
    site.next_slot(5_000);
    let told = report(&site, &mut node).await.unwrap();
    assert!(told.slot == again.slot || told.slot == present(&site), "what was not worth anything is no answer");
    assert_eq!(node.submit(&answer(&site, "what the workload made at last", "nonce-0002", Some(&again))).await.unwrap()["counted"], true);
    site.next_slot(5_000);
    assert_ne!(report(&site, &mut node).await.map(|told| told.slot), Some(again.slot), "answered");
}

/// Its workload rests while it could be asked, and is said to have run once nobody asks any more.
#[tokio::test]
async fn a_slot_in_which_a_node_could_not_be_asked_is_not_proven_later() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = site.enrol("one").await;
    site.next_slot(5_000);
    let proven = node.report(site.now_ms(), Sample::default()).await.unwrap().slot.unwrap();
    assert!(!proven.beacon.is_empty(), "kept for a manager that crashes");
    for _ in 0..12 {
        site.next_slot(5_000);
        node.workload = Some(WorkloadReport { configured: true, state: WorkloadState::BackingOff, ..WorkloadReport::default() });
        let answer = node.report(site.now_ms(), Sample::default()).await.unwrap();
        let told = answer.slot.unwrap();
        assert_eq!((told.beacon.as_str(), answer.challenge), ("", None));
        // Whatever it makes of it: as if it had worked, and waited for an answer since.
        node.held.iter_mut().for_each(|(item, _)| item.witness = None);
        node.seq += 1;
        let witness = Some(Witness { slot: told.slot, beacon: told.beacon });
        node.held.push((Item { seq: node.seq, age_ms: 0, witness, running: None, sample: Sample::default() }, site.now_ms()));
        site.next_slot(5_000);
        node.workload = None;
        report(&site, &mut node).await;
        let store = &site.app.store;
        let index = store.directory.all().iter().find(|entry| entry.id == node.id).unwrap().index;
        assert_eq!([told.slot, present(&site)].map(|slot| store.intake.has_proven(index, slot)), [false, true]);
    }
}

#[tokio::test]
async fn a_challenge_that_the_manager_could_not_hear_the_answer_to_is_no_missed_one() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = site.enrol("one").await;
    expect_outputs(&site, true).await;
    next_challenge(&site, &mut node).await;
    // It hangs for the last moments that the answer had.
    pass(&site, 100_000);
    site.driver.advance_ms(2 * SLOT_MS);
    site.app.context.tick();
    next_challenge(&site, &mut node).await;
    site.pass_slots(16).await;
    assert_eq!(counts(&score(&site, &node).await), (Some(1), Some(0)), "the other one was missed");
}

#[tokio::test]
async fn nobody_answers_for_another_nor_before_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let (mut one, mut two) = (site.enrol("one").await, site.enrol("two").await);
    expect_outputs(&site, true).await;
    let asked = next_challenge(&site, &mut one).await;
    let foreign = two.submit(&answer(&site, "with the other one's challenge", "nonce-0001", Some(&asked))).await.unwrap();
    assert!(errors(&foreign).contains(&"hash_mismatch") && errors(&foreign).contains(&"challenge_unknown"), "{foreign}");
    // A node that has no challenge, and tries all the slots to come.
    for ahead in 0..30 {
        let guess = SlotChallenge { slot: asked.slot.plus(1 + ahead), ..asked.clone() };
        let verdict = one.submit(&answer(&site, "made before it was asked", &format!("ahead-{ahead:04}"), Some(&guess))).await.unwrap();
        assert_eq!(errors(&verdict), ["hash_mismatch", "challenge_unknown"]);
        // Nor does a verdict tell what would have been right.
        let key = Beacons::new(site.app.store.secrets.beacon.clone()).challenge(&one.id, guess.slot);
        assert_ne!(verdict["output_hash"], hex(&sha256_parts(&[&key, b"made before it was asked"])));
    }
    // Its own challenge, computed by somebody who knows the key, before it was handed out: the same slot, no report yet.
    let beacons = Beacons::new(site.app.store.secrets.beacon.clone());
    loop {
        site.next_slot(1_000);
        let slot = present(&site);
        if beacons.challenges(&two.id, slot) {
            let known = SlotChallenge { slot, challenge: hex(&beacons.challenge(&two.id, slot)), expires_in_ms: 0 };
            let early = two.submit(&answer(&site, "before it was handed out", "nonce-0003", Some(&known))).await.unwrap();
            assert_eq!(errors(&early), ["challenge_unknown"]);
            assert_eq!(report(&site, &mut two).await.unwrap().challenge, known.challenge);
            break;
        }
    }
    // A person who knows the challenge: judged, and worth nothing.
    let asked = next_challenge(&site, &mut one).await;
    let by_person = serde_json::to_value(answer(&site, "sent by somebody else", "nonce-0004", Some(&asked))).unwrap();
    let mut body = by_person.clone();
    body.as_object_mut().unwrap().remove("protocol");
    let verdict = site.client.post(&format!("/nodes/{}/poot/validate", one.id), body).await;
    assert_eq!((verdict["is_valid"].as_bool(), verdict["counted"].as_bool()), (Some(true), Some(false)), "{verdict}");
    // An unsigned one, and one signed by another node.
    let body = serde_json::to_vec(&answer(&site, "forged by somebody else", "nonce-0005", Some(&asked))).unwrap();
    let (status, ..) = one.raw(lucid::wire::PATH_OUTPUT, &body, &two.output_signature(&body)).await.unwrap();
    assert_eq!(status.as_u16(), 401);
    assert_eq!(unhex(&asked.challenge).unwrap().len(), 32);
    site.pass_slots(16).await;
    assert_eq!(counts(&score(&site, &one).await), (Some(2), Some(0)));
}

#[tokio::test]
async fn a_crash_of_the_manager_costs_nobody_anything() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = site(&dir).await;
    let mut node = site.enrol("one").await;
    expect_outputs(&site, true).await;
    let answered = next_challenge(&site, &mut node).await;
    node.submit(&answer(&site, "the answer that is durable", "nonce-0001", Some(&answered))).await.unwrap();
    site.pass_slots(16).await;
    assert_eq!(counts(&score(&site, &node).await), (Some(1), Some(1)));
    // One that nobody answered, and one that was answered, both open when the manager dies.
    let open = next_challenge(&site, &mut node).await;
    let again = next_challenge(&site, &mut node).await;
    let told = answer(&site, "the answer that is lost", "nonce-0002", Some(&again));
    assert_eq!(node.submit(&told).await.unwrap()["counted"], true);
    site = site.crash().await;
    node.rebase(&site.client.base);
    let resent = node.submit(&told).await.unwrap();
    assert_eq!((resent["is_valid"].as_bool(), resent["counted"].as_bool()), (Some(true), Some(false)), "{resent}");
    let old = node.submit(&answer(&site, "the answer to the older one", "nonce-0003", Some(&open))).await.unwrap();
    assert_eq!(old["counted"], false);
    site.pass_slots(16).await;
    let after = score(&site, &node).await;
    assert_eq!(counts(&after), (Some(1), Some(1)), "{after}");
    let next = next_challenge(&site, &mut node).await;
    assert_eq!(node.submit(&answer(&site, "all goes on as before", "nonce-0004", Some(&next))).await.unwrap()["counted"], true);
    site.pass_slots(16).await;
    assert_eq!(counts(&score(&site, &node).await), (Some(2), Some(2)));
}

/// A node's token opens the door to its own outputs; its key has to stand under each.
#[tokio::test]
async fn a_node_with_its_token_signs_what_it_submits() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let (mut one, two) = (site.enrol("one").await, site.enrol("two").await);
    expect_outputs(&site, true).await;
    let asked = next_challenge(&site, &mut one).await;
    let mut body = serde_json::to_value(answer(&site, "sent with a node's token", "nonce-0001", Some(&asked))).unwrap();
    body.as_object_mut().unwrap().remove("protocol");
    let bytes = serde_json::to_vec(&body).unwrap();
    let claims = NodeClaims::new(one.id.clone(), NodeType::Worker, site.app.state.now().wall, "jti".into());
    let token = jwt_encode(&site.app.store.secrets.node_tokens, &claims).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |node: &NodeId, signature: Option<String>| {
        let url = format!("{}/api/v1/nodes/{node}/poot/validate", site.client.base);
        let request = http.post(url).bearer_auth(&token).header("content-type", "application/json").body(bytes.clone());
        let request = signature.into_iter().fold(request, |request, text| request.header("x-lucid-signature", text));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    for signature in [None, Some(two.output_signature(&bytes)), Some(one.output_signature(b"{}"))] {
        let (status, refused) = send(&one.id, signature).await;
        assert_eq!((status, error_name(&refused)), (401, "SignatureForged"), "{refused}");
    }
    assert_eq!(send(&two.id, Some(one.output_signature(&bytes))).await.0, 403, "for itself only");
    let (status, verdict) = send(&one.id, Some(one.output_signature(&bytes))).await;
    assert_eq!((status, verdict["counted"].as_bool()), (200, Some(true)), "{verdict}");
}

/// Random nodes answer or do not, are away, repeat themselves, and the manager dies now and then: what counts is what a list on paper says.
#[tokio::test]
async fn counts_are_those_of_a_naive_model() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = site(&dir).await;
    let mut random = Random::of(20_260_921);
    let mut nodes = Vec::new();
    for name in ["one", "two", "three"] {
        nodes.push(site.enrol(name).await);
    }
    expect_outputs(&site, true).await;
    // (slot, answered) of each node.
    let mut paper: Vec<Vec<(Slot, bool)>> = vec![Vec::new(); nodes.len()];
    for n in 0..400u32 {
        site.next_slot(5_000);
        let slot = present(&site);
        for (at, node) in nodes.iter_mut().enumerate() {
            if random.within(0, 10) == 0 {
                continue;
            }
            let asked = node.report(site.now_ms(), Sample::default()).await.unwrap().challenge;
            // Whatever was asked in these four slots and not answered is asked again, what ends first before the others.
            let waits = paper[at].iter().find(|(of, answered)| !answered && of.plus(3) >= slot).map(|(of, _)| *of);
            let Some(asked) = asked else {
                assert_eq!(waits, None);
                continue;
            };
            if asked.slot == slot {
                paper[at].push((slot, false));
            } else {
                assert_eq!(Some(asked.slot), waits);
            }
            if random.within(0, 4) == 0 {
                let sent = answer(&site, &format!("made by {} in slot {}", node.id, slot.0), &format!("nonce-{n:05}"), Some(&asked));
                for _ in 0..=random.within(0, 2) {
                    assert_eq!(node.submit(&sent).await.unwrap()["counted"], true);
                }
                paper[at].iter_mut().find(|(of, _)| *of == asked.slot).unwrap().1 = true;
            }
        }
        if n % 97 == 96 {
            site.app.context.run(lucid::live::Job::Flush).await.unwrap();
            // Closed before the crash are those that ended more than 90 s ago.
            let open_from = Slot(u32::try_from((site.now_ms() - 120_000) / SLOT_MS).unwrap() + 1);
            paper.iter_mut().for_each(|of_node| of_node.retain(|(slot, _)| *slot < open_from));
            site = site.crash().await;
            // Silent as it is in the slot that it starts in, the next one it watches whole.
            site.app.context.tick();
            nodes.iter_mut().for_each(|node| node.rebase(&site.client.base));
        }
        if n % 10 == 9 {
            site.run_cycles().await;
        }
    }
    site.pass_slots(16).await;
    for (node, paper) in nodes.iter().zip(paper) {
        let found = score(&site, node).await;
        let answered = paper.iter().filter(|(_, answered)| *answered).count();
        assert_eq!(counts(&found), (Some(paper.len() as u64), Some(answered as u64)), "{found}");
        // Some thirty, by the keys of the day.
        assert!(paper.len() > 12 && answered < paper.len());
    }
}
