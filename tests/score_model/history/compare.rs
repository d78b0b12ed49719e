//! Epochs that were closed: what the manager shows of them, held against the model.

use lucid::domain::poot::ScoreState;
use lucid::domain::proof::check::{self, Verdict};
use lucid::domain::proof::document::ProofDocument;
use lucid::live::Job;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::super::model::{Leaf, State};
use super::{History, NODES};

impl History {
    pub(super) async fn calculate(&mut self) {
        if !self.now().trusted {
            return;
        }
        self.close().await;
        let (status, answer) = self.site().client.call(Method::POST, "/poot/calculate", None).await;
        let now = self.now();
        self.model.flushed(now, true);
        if status == StatusCode::OK {
            self.tell("an epoch is closed early");
            self.compare().await;
            assert_eq!(self.next, Some(self.model.closed_through(now) + 1), "at the newest closed slot: {answer}");
        } else {
            assert_eq!(status, StatusCode::CONFLICT, "{answer}");
            let closed = self.model.closed_through(now);
            assert!(
                self.next.is_none_or(|next| next > closed || self.model.is_empty(next, closed)),
                "something was there to close: {answer}"
            );
        }
    }

    /// The cycle of epochs, and what it closed.
    pub(super) async fn close(&mut self) {
        self.flush().await;
        self.site().app.context.run(Job::Epochs).await.unwrap();
        let now = self.now();
        if !now.trusted {
            return;
        }
        self.tell("epochs are closed");
        self.compare().await;
        let over = (self.model.closed_through(now) + 1) / self.slots_per_epoch * self.slots_per_epoch;
        if let Some(next) = self.next {
            assert!(next >= over, "slots up to {over} are closed, heads cover those before {next}");
        }
    }

    /// Every head that is new, its leaves, and their proofs, against the model.
    pub(super) async fn compare(&mut self) {
        let next = self.next;
        let mut list = self.site().client.get("/poot/epochs?limit=4").await;
        if next.is_none_or(|next| list["epochs"].as_array().unwrap().iter().all(|head| head["first_slot"].as_i64().unwrap() > next)) {
            list = self.site().client.get("/poot/epochs?limit=100").await;
        }
        let is_new = |head: &&Value| next.is_none_or(|next| head["first_slot"].as_i64().unwrap() >= next);
        let new: Vec<Value> = list["epochs"].as_array().unwrap().iter().rev().filter(is_new).cloned().collect();
        for head in new {
            let (first, last) = (head["first_slot"].as_i64().unwrap(), head["last_slot"].as_i64().unwrap());
            match self.next {
                Some(next) => assert_eq!(first, next, "heads follow each other"),
                None => assert!(self.model.is_empty(0, first - 1), "nothing was before the first head"),
            }
            self.next = Some(last + 1);
            if head["gap"] == true {
                assert!(self.model.is_empty(first, last), "a gap in which somebody was seen: {head}");
                continue;
            }
            assert!(last / self.slots_per_epoch == first / self.slots_per_epoch, "no epoch goes beyond its boundary: {head}");
            let mut sums = (0, [0, 0, 0]);
            for node in 0..NODES {
                let leaf = self.model.leaf(node, first, last, &self.params);
                self.compare_leaf(node, first, last, &leaf).await;
                sums.0 += leaf.accrual_pico;
                sums.1[leaf.state as usize] += 1;
                self.model.epoch_is_over(node, &leaf);
            }
            self.model.leaves_are_made(first);
            let shown = ["pending", "valid", "invalid"].map(|state| head[state].as_i64().unwrap());
            assert_eq!((pico(&head["accrued"]), shown), sums, "{head}");
        }
    }

    pub(super) async fn compare_leaf(&mut self, node: usize, first: i64, last: i64, leaf: &Leaf) {
        let document = self.site().client.get(&format!("/poot/{}?epoch={first}", self.nodes[node].id)).await;
        let document: ProofDocument = serde_json::from_value(document).unwrap();
        let key = self.site().app.store.manager_key().0;
        let findings = check::proof(&document, Some(&key));
        let shown = &document.leaf;
        let inputs = &shown.inputs;
        let tracks = document.window.as_ref().expect("the evidence is kept");
        let all = [&tracks.proven, &tracks.observed, &tracks.strained, &tracks.challenged, &tracks.answered];
        let tracks: Vec<Vec<bool>> = all.iter().map(|runs| runs.slots(shown.window_slots).expect("runs of the window")).collect();
        let theirs = Leaf {
            proven: shown.proven.into(),
            observed: shown.observed.into(),
            inputs: [
                inputs.proven,
                inputs.observed,
                inputs.interruptions,
                inputs.samples,
                inputs.samples_within,
                inputs.challenged,
                inputs.answered,
            ]
            .map(i64::from),
            outputs_expected: inputs.outputs_expected,
            score_hundredths: shown.score_hundredths.into(),
            confidence_hundredths: shown.confidence_hundredths.into(),
            state: match shown.state {
                ScoreState::Pending => State::Pending,
                ScoreState::Valid => State::Valid,
                ScoreState::Invalid => State::Invalid,
            },
            grown: shown.multiplier_grown_slots.into(),
            reward_per_hour: shown.payer.as_ref().map_or(0, |payer| payer.reward_per_hour.into()),
            accrual_pico: shown.accrual_pico,
            reports: shown.reports.map(|reports| (reports.day.into(), reports.count.into())),
            window: (0..usize::from(shown.window_slots)).map(|at| [0, 1, 2, 3, 4].map(|track| tracks[track][at])).collect(),
        };
        if theirs != *leaf {
            let slots = theirs.window.len().max(leaf.window.len());
            for back in 0..slots {
                let of = |window: &[[bool; 5]]| window.len().checked_sub(back + 1).map(|at| window[at].map(u8::from));
                if of(&theirs.window) != of(&leaf.window) {
                    println!(
                        "slot {}: manager {:?}, model {:?}",
                        last - i64::try_from(back).unwrap(),
                        of(&theirs.window),
                        of(&leaf.window)
                    );
                }
            }
            let (theirs, ours) = (Leaf { window: Vec::new(), ..theirs }, Leaf { window: Vec::new(), ..leaf.clone() });
            panic!("node {node} in slots {first} to {last}\nmanager: {theirs:?}\nmodel:   {ours:?}");
        }
        assert_eq!(Verdict::of(&findings), Verdict::Good, "{findings:?}");
        assert_eq!((i64::from(shown.epoch), i64::from(shown.last_slot)), (first, last));
        self.leaves += 1;
    }
}

/// A decimal with up to twelve places.
fn pico(text: &Value) -> i128 {
    let text = text.as_str().unwrap();
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    whole.parse::<i128>().unwrap() * 10i128.pow(12) + format!("{rest:0<12}").parse::<i128>().unwrap()
}
