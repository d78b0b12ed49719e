//! Votes as the chain sees them: what it is told, how often, and what becomes of a manager whose chain is away, slow, wrong or hears everything twice.

use lucid::domain::time::Slot;
use lucid::live::Job;
use lucid::storage::core::tables;
use lucid::storage::table::Read;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::chain::{ChainStub, Mood, is_signed};
use crate::support::fleet::Node;
use crate::support::site::Site;
use lucid::domain::metrics::Sample;

const HOUR_MS: i64 = 3_600_000;

struct Voting {
    site: Site,
    chain: ChainStub,
    nodes: Vec<Node>,
    _dir: TempDir,
}

impl Voting {
    /// A manager with a chain and so many nodes, whose scores count at once.
    async fn new(nodes: usize, settings: &[(&'static str, &str)]) -> Voting {
        let dir = tempfile::tempdir().unwrap();
        let (chain, url) = ChainStub::serve().await;
        let mut all = vec![("blockchain.url", url.as_str()), ("poot.min_observation_seconds", "0"), ("blockchain.timeout_seconds", "1")];
        all.extend(settings);
        let site = Site::new(dir.path().join("data"), &all).await;
        let mut enrolled = Vec::new();
        for n in 0..nodes {
            enrolled.push(site.enrol(&format!("node-{n}")).await);
        }
        Voting { site, chain, nodes: enrolled, _dir: dir }
    }

    /// So many slots in which every node reports but the last one; what has ended is closed.
    async fn pass(&mut self, slots: u32) {
        let silent = self.nodes.len().saturating_sub(1);
        for _ in 0..slots {
            self.site.next_slot(1_000);
            for node in &mut self.nodes[..silent] {
                node.report(self.site.driver.reading().wall.0, Sample::default()).await.unwrap();
            }
        }
        self.site.pass_slots(0).await;
    }

    /// One run of the cycle.
    async fn vote(&self) {
        self.site.app.context.run(Job::Votes).await.unwrap();
    }

    async fn votes(&self) -> Value {
        self.site.client.get("/poot/votes").await
    }

    /// (node, epoch) of every vote that came since the last look, in order.
    async fn heard(&self) -> Vec<(String, u64, Value)> {
        let key = self.site.client.get("/poot/manager-key").await["public_key"].as_str().unwrap().to_owned();
        let bodies = self.chain.heard();
        assert!(bodies.iter().all(|body| is_signed(body, &key)));
        bodies
            .iter()
            .map(|body| {
                let vote: Value = serde_json::from_str(body).unwrap();
                (vote["node_id"].as_str().unwrap().to_owned(), vote["epoch"].as_u64().unwrap(), vote.clone())
            })
            .collect()
    }

    fn ids(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.id.to_string()).collect()
    }

    fn rows(&self) -> (u64, u64) {
        let read = self.site.app.store.read().unwrap();
        (read.count(tables::VOTES).unwrap(), read.count(tables::VOTE_ANSWERS).unwrap())
    }

    async fn alerts(&self) -> Vec<String> {
        let body = self.site.client.get("/alerts?kind=votes_not_taken&state=active").await;
        body["alerts"].as_array().unwrap().iter().map(|alert| alert["message"].as_str().unwrap().to_owned()).collect()
    }

    fn verified(&self) {
        let found = lucid::storage::verify::verify(&self.site.app.store);
        assert!(found.iter().all(|finding| finding.wrong.is_none()), "{found:?}");
    }
}

#[tokio::test]
async fn every_scored_node_is_voted_on_once_an_epoch() {
    let mut at = Voting::new(3, &[]).await;
    at.vote().await;
    assert_eq!((at.rows(), at.chain.asked_blocks()), ((0, 0), 0), "there is no epoch");
    at.pass(15).await;
    at.vote().await;
    at.vote().await;
    let heard = at.heard().await;
    assert_eq!(heard.iter().map(|(node, ..)| node.clone()).collect::<Vec<_>>(), at.ids(), "the invalid one too, each once");
    let head = &at.site.client.get("/poot/epochs").await["epochs"][0];
    for (node, epoch, vote) in &heard {
        assert_eq!((*epoch, vote["block_id"].as_str()), (head["epoch"].as_u64().unwrap(), Some("block-0")));
        let score = at.site.client.get(&format!("/nodes/{node}/poot/score")).await;
        assert_eq!(vote["score"], score["score"], "{node}");
        assert_eq!(score["vote"], serde_json::json!({ "epoch": epoch, "accepted": true, "status": 202, "reason": null }));
        assert_eq!(vote.as_object().unwrap().len(), 5);
    }
    assert_eq!(heard[2].2["score"], 0.0);
    let votes = at.votes().await;
    let round = &votes["rounds"][0];
    assert_eq!((&round["votes"], &round["accepted"], &round["waiting"]), (&3.into(), &3.into(), &0.into()));
    assert!(votes["configured"] == true && votes["trouble"].is_null() && round["ended_at"].is_string(), "{votes}");
    assert_eq!(votes["last_accepted_epoch"], round["epoch"]);
    assert_eq!(at.chain.asked_blocks(), 1, "once a round");
    at.chain.grow();
    at.pass(10).await;
    at.vote().await;
    assert!(at.heard().await.iter().all(|(_, _, vote)| vote["block_id"] == "block-1"));
    at.verified();
}

#[tokio::test]
async fn pending_scores_are_not_voted_on_and_without_a_chain_nothing_grows() {
    let mut at = Voting::new(2, &[("poot.min_observation_seconds", "3600")]).await;
    at.pass(15).await;
    at.vote().await;
    assert_eq!((at.heard().await, at.chain.asked_blocks(), at.rows()), (Vec::new(), 0, (0, 0)));

    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("poot.min_observation_seconds", "0")]).await;
    site.enrol("alone").await;
    site.first_epoch().await;
    site.run_cycles().await;
    assert_eq!(site.app.store.read().unwrap().count(tables::VOTES).unwrap(), 0);
    assert_eq!(site.client.get("/poot/votes").await["configured"], false);
}

#[tokio::test]
async fn a_week_without_the_chain_costs_one_row() {
    // Epochs of an hour, so that a week is 168 of them.
    let mut at = Voting::new(3, &[("poot.calculation_interval_seconds", "3600")]).await;
    at.pass(125).await;
    at.vote().await;
    assert_eq!(at.heard().await.len(), 3);
    at.chain.set(Mood::Away);
    let (mut most, mut told_after) = (0, None);
    for hour in 0..168 {
        for _ in 0..4 {
            for _ in 0..30 {
                at.site.next_slot(1_000);
            }
            at.site.pass_slots(0).await;
            at.vote().await;
        }
        let read = at.site.app.store.read().unwrap();
        let row = lucid::storage::core::votes::row(&read).unwrap();
        most = most.max(postcard::to_stdvec(&row).unwrap().len());
        drop(read);
        if told_after.is_none() && !at.alerts().await.is_empty() {
            told_after = Some(hour);
        }
    }
    assert_eq!(at.rows(), (1, 1));
    assert!(most < 600, "the row has {most} bytes");
    assert!(matches!(told_after, Some(1..=2)), "{told_after:?}");
    let votes = at.votes().await;
    let trouble = &votes["trouble"];
    assert!(trouble["tries"].as_u64().unwrap() < 400, "waits grow: {trouble}");
    assert_eq!(at.alerts().await.len(), 1);
    // It is back: the newest epoch alone is told.
    at.chain.set(Mood::Fine);
    at.site.driver.advance_ms(HOUR_MS);
    at.site.next_slot(1_000);
    at.site.pass_slots(4).await;
    at.vote().await;
    let newest = at.site.client.get("/poot/epochs").await["epochs"][0]["epoch"].as_u64().unwrap();
    let heard = at.heard().await;
    assert_eq!(
        heard.iter().map(|(node, epoch, _)| (node.clone(), *epoch)).collect::<Vec<_>>(),
        at.ids().into_iter().map(|id| (id, newest)).collect::<Vec<_>>()
    );
    assert_eq!((at.alerts().await, at.votes().await["trouble"].is_null()), (Vec::new(), true));
    at.verified();
}

#[tokio::test]
async fn a_slow_chain_is_left_alone_and_what_it_answered_is_not_sent_again() {
    let mut at = Voting::new(12, &[]).await;
    at.pass(15).await;
    at.chain.set(Mood::SlowAfter(3));
    at.vote().await;
    let first = at.heard().await;
    let round = at.votes().await["rounds"][0].clone();
    assert_eq!((&round["accepted"], &round["waiting"]), (&3.into(), &9.into()));
    assert!(first.len() <= 11 && at.chain.most_under_way() <= 8, "{}", first.len());
    at.vote().await;
    assert_eq!(at.heard().await.len(), 0, "it rests");
    at.chain.set(Mood::Fine);
    at.chain.grow();
    at.site.driver.advance_ms(3_000);
    at.vote().await;
    let second = at.heard().await;
    let done: Vec<&String> = first[..3].iter().map(|(node, ..)| node).collect();
    assert_eq!(second.len(), 9);
    assert!(second.iter().all(|(node, ..)| !done.contains(&node)));
    for (node, _, vote) in &second {
        let before = first.iter().find(|(other, ..)| other == node);
        assert!(before.is_none_or(|(_, _, before)| before == vote), "the same vote, whatever the newest block is by now");
    }
    at.verified();
}

#[tokio::test]
async fn a_manager_that_dies_sends_again_byte_for_byte_and_409_is_as_good_as_taken() {
    let mut at = Voting::new(3, &[]).await;
    at.pass(15).await;
    // The votes leave, and their answers are not written down.
    at.chain.set(Mood::SlowAfter(2));
    let context = at.site.app.context.clone();
    let running = tokio::spawn(async move { context.run(Job::Votes).await });
    let chain = at.chain.clone();
    crate::support::binary::eventually("both are taken", async || (chain.most_under_way() > 0 && chain.taken() == 2).then_some(())).await;
    running.abort();
    let _ = running.await;
    let first = at.chain.heard();
    at.chain.grow();
    at.chain.set(Mood::Fine);
    at.site = at.site.crash().await;
    at.vote().await;
    let again = at.chain.heard();
    assert_eq!(again.len(), 3);
    assert!(first.iter().all(|body| again.contains(body)), "byte for byte");
    let round = at.votes().await["rounds"][0].clone();
    assert_eq!((&round["accepted"], &round["there_already"], &round["refused"]), (&3.into(), &2.into(), &0.into()));
    at.verified();
}

#[tokio::test]
async fn refusals_are_recorded_with_their_reason_and_told_after_an_hour() {
    let mut at = Voting::new(3, &[]).await;
    at.pass(15).await;
    let bad = at.ids()[1].clone();
    at.chain.set(Mood::Refuses(bad.clone(), 422, "{\"detail\": \"not a  validator\"}"));
    at.vote().await;
    let votes = at.votes().await;
    let round = &votes["rounds"][0];
    assert_eq!((&round["accepted"], &round["refused"], &round["waiting"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!(round["refusals"], serde_json::json!([{ "status": 422, "reason": "{\"detail\": \"not a validator\"}", "votes": 1 }]));
    let vote = at.site.client.get(&format!("/nodes/{bad}/poot/score")).await["vote"].clone();
    assert_eq!((&vote["accepted"], &vote["status"]), (&false.into(), &422.into()));
    at.vote().await;
    assert_eq!(at.heard().await.len(), 3, "what was refused is not sent again");
    for _ in 0..12 {
        assert_eq!(at.alerts().await.len(), 0);
        at.pass(10).await;
        at.vote().await;
    }
    assert!(at.alerts().await[0].contains("422"), "{:?}", at.alerts().await);
    at.chain.set(Mood::Fine);
    at.pass(10).await;
    at.vote().await;
    assert_eq!(at.alerts().await.len(), 0);
    at.verified();
}

/// Nodes whose votes it fails over, among them all that are sent at once at first: the others wait neither for them nor for their waits.
#[tokio::test]
async fn votes_that_the_chain_stumbles_over_delay_no_others() {
    let mut at = Voting::new(24, &[]).await;
    let bad = at.ids()[..9].to_vec();
    at.chain.set(Mood::Stumbles(bad.clone()));
    at.pass(15).await;
    at.vote().await;
    assert!(at.votes().await["trouble"].is_object(), "nobody was answered: it may be away");
    let mut tries = 0;
    for epoch in 0..4 {
        // The cycle comes with each slot.
        for _ in 0..2 {
            at.site.driver.advance_ms(30_000);
            at.site.app.context.tick();
            at.vote().await;
            at.vote().await;
        }
        let votes = at.votes().await;
        let round = &votes["rounds"][0];
        assert_eq!(
            (&round["accepted"], &round["waiting"], votes["trouble"].is_null()),
            (&15.into(), &9.into(), true),
            "epoch {epoch}: {votes}"
        );
        let heard = at.heard().await;
        tries += heard.iter().filter(|(node, ..)| bad.contains(node)).count();
        at.pass(8).await;
        at.heard().await;
    }
    assert!((20..100).contains(&tries), "each after ever longer waits of its own: {tries} tries");
    assert_eq!(at.alerts().await, [] as [&str; 0]);
    at.chain.set(Mood::Fine);
    at.site.driver.advance_ms(HOUR_MS / 2);
    at.site.app.context.tick();
    at.pass(10).await;
    at.vote().await;
    assert_eq!(at.votes().await["rounds"][0]["accepted"], 24);
    at.verified();
}

#[tokio::test]
async fn a_wrong_chain_is_asked_later_and_a_newer_epoch_replaces_the_rest() {
    let mut at = Voting::new(2, &[]).await;
    at.pass(15).await;
    for mood in [Mood::NoBlock("<html>"), Mood::NoBlock("{\"block\":{}}"), Mood::Answers(503, "busy"), Mood::Answers(302, "")] {
        let is_block = matches!(mood, Mood::NoBlock(_));
        at.chain.set(mood.clone());
        at.site.driver.advance_ms(20_000);
        at.vote().await;
        assert!(at.votes().await["trouble"].is_object(), "{mood:?}");
        assert_eq!(at.heard().await.is_empty(), is_block, "{mood:?}");
    }
    // In each newer epoch one vote is taken before it hangs: everybody has a turn, and epochs ascend.
    let mut last = std::collections::BTreeMap::new();
    for _ in 0..4 {
        at.chain.set(Mood::Fine);
        at.pass(10).await;
        at.chain.set(Mood::SlowAfter(1));
        at.site.driver.advance_ms(60_000);
        at.site.app.context.tick();
        at.vote().await;
        for (node, epoch, _) in at.heard().await {
            assert!(last.insert(node, epoch).is_none_or(|before| before < epoch));
        }
    }
    assert_eq!(last.len(), 2);
    assert!(at.votes().await["unanswered"].as_u64().unwrap() >= 3);
    at.verified();
}

#[tokio::test]
async fn old_votes_and_votes_of_an_untrusted_clock_are_not_sent() {
    let mut at = Voting::new(2, &[]).await;
    at.pass(15).await;
    at.site.driver.advance_ms(HOUR_MS + 600_000);
    at.vote().await;
    assert_eq!((at.heard().await.len(), at.rows()), (0, (0, 0)), "an hour is too late");
    at.site.app.context.tick();
    at.pass(15).await;
    at.site.driver.set_wall(at.site.driver.reading().wall.plus_ms(-86_400_000));
    assert!(!at.site.app.context.clock.now().trusted);
    at.vote().await;
    assert_eq!((at.heard().await.len(), at.rows()), (0, (0, 0)));
    assert!(at.site.driver.reading().wall.slot() > Slot(0));
}
