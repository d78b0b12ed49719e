//! What happens besides reports: flushes, crashes, absence, clocks, and people.

use lucid::domain::time::Timestamp;
use lucid::live::Job;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::super::model::{SLOT_MS, slot_at};
use super::{History, NODES};

impl History {
    pub(super) async fn something_happens(&mut self) {
        match self.random.within(0, 160) {
            0..16 => self.flush().await,
            16..40 => self.close().await,
            40..45 => self.crash().await,
            45..48 => self.hang().await,
            48..51 => self.be_away().await,
            51..54 => self.lose_link(),
            54..58 => self.slew(),
            58..61 => self.step().await,
            61..64 => {
                self.synchronised = !self.synchronised;
                self.driver().set_synchronised(self.synchronised);
                self.sense();
            }
            64..70 => self.rest().await,
            70..73 => self.end_rest().await,
            73..75 => self.price().await,
            75..78 => self.expect_outputs().await,
            78..84 => self.calculate().await,
            84..88 => {
                let node = usize::try_from(self.random.within(0, 3)).unwrap();
                self.tell(&format!("agent {node} restarts"));
                self.nodes[node].restart();
                self.model.restarted(node);
            }
            88..93 => self.write_before_it_looks().await,
            _ => {}
        }
    }

    /// A slot has begun, and before the manager looks at its clock it takes a report, writes, or dies.
    async fn write_before_it_looks(&mut self) {
        let (wall, heard) = (self.wall(), self.is_heard());
        if !heard || self.model.known_until() > wall {
            return;
        }
        let left = SLOT_MS - wall.rem_euclid(SLOT_MS);
        self.model.passed(wall, left, heard);
        self.driver().advance_ms(left);
        if self.chance(50) {
            let node = usize::try_from(self.random.within(0, 3)).unwrap();
            self.report(node).await;
        }
        self.flush().await;
        if self.chance(20) {
            // Whoever starts in the first moment of a slot cannot know that it was the first.
            self.driver().advance_ms(1);
            self.crash().await;
        } else {
            self.sense();
        }
    }

    pub(super) async fn flush(&mut self) {
        if self.hangs {
            return;
        }
        self.tell("flush");
        self.site().app.context.run(Job::Flush).await.unwrap();
        let now = self.now();
        self.model.flushed(now, self.seen == slot_at(now.wall));
    }

    pub(super) async fn crash(&mut self) {
        self.tell("the manager crashes");
        let site = self.site.take().unwrap().crash_unnoticed().await;
        self.site = Some(site);
        self.set_params();
        self.hangs = false;
        self.model.crashed(self.driver().reading().boot.0);
        self.sense();
    }

    /// For some slots nothing of the manager moves; it loses nothing.
    pub(super) async fn hang(&mut self) {
        self.tell("the manager hangs");
        self.hangs = true;
        self.advance_slots(2, 5);
        for node in 0..NODES {
            if self.chance(50) {
                self.report(node).await;
            }
        }
        self.advance(1_000);
        self.hangs = false;
        self.sense();
        self.tell("the manager goes on");
    }

    pub(super) async fn be_away(&mut self) {
        self.tell("the manager is away");
        self.hangs = true;
        let slots = self.random.within(1, 14);
        for _ in 0..slots {
            self.advance(SLOT_MS);
            for node in 0..NODES {
                if self.chance(80) {
                    self.report(node).await;
                }
            }
        }
        self.crash().await;
    }

    pub(super) fn lose_link(&mut self) {
        self.tell("the link is down");
        self.link = false;
        self.sense();
        self.advance_slots(0, 3);
        self.advance(1);
        self.link = true;
        self.sense();
    }

    /// By less than what costs trust, and within the slot.
    pub(super) fn slew(&mut self) {
        let by = i64::try_from(self.random.within(0, 6_000)).unwrap() - 3_000;
        let (wall, heard) = (self.wall(), self.is_heard());
        if slot_at(wall + by) != slot_at(wall) {
            return;
        }
        self.driver().set_wall(Timestamp(wall + by));
        self.sense();
        self.tell(&format!("the wall clock is slewed by {by} ms"));
        if self.now().trusted {
            self.model.passed(wall, by, heard);
        }
    }

    /// Beyond the slot; believed at once where the kernel says so, and the clock is not behind what was committed.
    pub(super) async fn step(&mut self) {
        let by = i64::try_from(self.random.within(31, 400)).unwrap() * 1_000;
        let by = if self.chance(60) { by } else { -by };
        if by < 0 {
            self.flush().await;
        }
        let wall = self.wall();
        let now = self.now();
        self.model.stepped(now);
        self.driver().set_wall(Timestamp(wall + by));
        self.sense();
        self.tell(&format!("the wall clock is stepped by {by} ms"));
        let mut slots = self.random.within(0, 8);
        while slots > 0 {
            slots -= 1;
            self.advance_slots(0, 2);
            for node in 0..NODES {
                if self.chance(60) {
                    self.report(node).await;
                }
            }
            if self.chance(20) {
                self.flush().await;
            }
            if self.chance(6) {
                self.crash().await;
            }
        }
        // Put right, or believed as it is.
        if self.chance(50) && !self.now().trusted {
            let wall = self.wall();
            self.driver().set_wall(Timestamp(wall - by));
            self.sense();
        }
        if self.chance(70) {
            self.synchronise();
        }
    }

    pub(super) fn synchronise(&mut self) {
        self.synchronised = true;
        self.driver().set_synchronised(true);
        self.sense();
        self.tell("NTP answers");
    }

    pub(super) async fn rest(&mut self) {
        let now = self.now();
        if !now.trusted {
            return;
        }
        let node = usize::try_from(self.random.within(0, 3)).unwrap();
        let from = slot_at(now.wall) + i64::try_from(self.random.within(1, 12)).unwrap();
        let minutes = i64::try_from(self.random.within(1, 7)).unwrap();
        let body = json!({ "from": Timestamp(from * SLOT_MS).rfc3339(), "duration_minutes": minutes });
        let path = format!("/nodes/{}/maintenance", self.nodes[node].id);
        let (status, answer) = self.site().client.call(Method::POST, &path, Some(body)).await;
        if status == StatusCode::CREATED {
            self.tell(&format!("node {node} is to rest from slot {from} for {minutes} minutes"));
            self.model.rest(node, from, from + 2 * minutes);
            self.rests.push((node, from, answer["number"].as_u64().unwrap()));
        } else {
            assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        }
    }

    pub(super) async fn end_rest(&mut self) {
        let now = self.now();
        if self.rests.is_empty() || !now.trusted {
            return;
        }
        let at = self.random.within(0, self.rests.len() as u64);
        let (node, from, number) = self.rests.remove(usize::try_from(at).unwrap());
        let path = format!("/nodes/{}/maintenance/{number}", self.nodes[node].id);
        let (status, answer) = self.site().client.call(Method::DELETE, &path, None).await;
        if status == StatusCode::OK {
            self.tell(&format!("the rest of node {node} from slot {from} ends"));
            self.model.end_rest(node, from, slot_at(now.wall) + 1);
        } else {
            assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        }
    }

    pub(super) fn next_boundary(&mut self) -> i64 {
        (slot_at(self.wall()) / self.slots_per_epoch + 1) * self.slots_per_epoch
    }

    pub(super) async fn price(&mut self) {
        if !self.now().trusted {
            return;
        }
        let reward = self.random.within(0, 3_000_000);
        let price =
            json!({ "pricing": { "cost_per_hour": "5", "reward_per_hour": format!("{}.{:06}", reward / 1_000_000, reward % 1_000_000) } });
        self.site().client.put("/nodes/pools/pool_default", price).await;
        let from = self.next_boundary();
        self.tell(&format!("an hour is worth {reward} units from slot {from} on"));
        self.model.rewards.insert(from, i128::from(reward));
    }

    pub(super) async fn expect_outputs(&mut self) {
        if !self.now().trusted {
            return;
        }
        let expected = self.chance(75);
        self.site().client.put("/nodes/pools/pool_default", json!({ "outputs_expected": expected })).await;
        let from = self.next_boundary();
        self.tell(&format!("outputs are expected from slot {from} on: {expected}"));
        self.model.outputs_expected.insert(from, expected);
    }
}
