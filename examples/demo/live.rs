//! The present: the clock at real pace, agents that report through signed HTTP requests, and what a test types.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lucid::app::App;
use lucid::clock::Driver;
use lucid::domain::money::Units;
use lucid::domain::time::{SLOT_MS, Timestamp};
use lucid::jobs::Context;
use lucid::live::Job;
use lucid::wire::phase_ms;
use tokio::sync::mpsc;

use crate::cast::{Member, Part};
use crate::gateway::Scripted;
use crate::past::Player;
use crate::stamp::{Stamp, Told};
use crate::story::Story;

/// How often the clock is moved on, by real time.
const PACE: Duration = Duration::from_millis(200);
/// The last slots of a jump are reported over HTTP, as the present is; those before go the short way.
const LIVE_SLOTS: i64 = 2;
/// Slots of a jump after which what was reported is made durable.
const FLUSH_SLOTS: u32 = 10;

struct Agent {
    player: Player,
    is_silent: bool,
    /// Start of the slot of its last report.
    reported: Timestamp,
}

pub struct Present {
    dir: PathBuf,
    stamp: Stamp,
    story: Story,
    driver: Driver,
    context: Context,
    agents: Vec<Agent>,
    gateway: Arc<Scripted>,
}

impl Present {
    pub fn new(dir: PathBuf, stamp: Stamp, app: &App, driver: Driver, gateway: Arc<Scripted>, base: &str) -> Present {
        let (members, story) = stamp.story();
        let mut agents = Vec::new();
        for member in &members {
            let mut player = Player::new(member, stamp.seed);
            player.find(&app.store, base, stamp.seed);
            let Some((_, node)) = &mut player.agent else { continue };
            if story.is_changed(member, driver.reading().wall) {
                node.machine.fingerprint = Member::changed(&node.machine.fingerprint);
            }
            let is_silent = match stamp.told.get(&member.name) {
                Some(told) => *told == Told::Silence,
                None => matches!(member.part, Part::Stopped | Part::Silent),
            };
            agents.push(Agent { player, is_silent, reported: Timestamp(0) });
        }
        Present { dir, stamp, story, driver, context: app.context.clone(), agents, gateway }
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        let mut lines = typed_lines();
        let mut open = true;
        loop {
            tokio::select! {
                line = lines.recv(), if open => match line {
                    Some(line) => self.command(line.trim()).await,
                    None => open = false,
                },
                () = tokio::time::sleep(PACE) => (),
            }
            self.follow(self.stamp.present());
            self.report().await;
        }
    }

    /// Moves the clock to `to`; it never goes back.
    fn follow(&self, to: Timestamp) {
        self.driver.advance_ms(to.since(self.now()).max(0));
    }

    fn now(&self) -> Timestamp {
        self.driver.reading().wall
    }

    /// Whoever is due reports.
    async fn report(&mut self) {
        let now = self.now();
        let slot = now.slot().start();
        let into_ms = u64::try_from(now.since(slot)).unwrap_or(0);
        let Present { agents, story, .. } = self;
        for agent in agents.iter_mut().filter(|agent| !agent.is_silent && agent.reported < slot) {
            let Some((_, node)) = &mut agent.player.agent else { continue };
            // After a start, and when it has just been woken, an agent reports at once.
            let is_due = slot.since(agent.reported) > SLOT_MS || phase_ms(&node.id) <= into_ms;
            if is_due {
                let sample = agent.player.load.sample(&agent.player.member, &story.span, now);
                if node.report(now.0, sample).await.is_some() {
                    agent.reported = slot;
                }
            }
        }
    }

    async fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let result = match words.as_slice() {
            [] => return,
            ["silence", name] => self.set_silent(name, true),
            ["wake", name] => self.set_silent(name, false),
            ["network", state @ ("away" | "back")] => {
                self.gateway.set_away(*state == "away");
                Ok(())
            }
            ["steal", usdt] => match usdt.parse::<i64>() {
                Ok(usdt) => {
                    self.gateway.steal(Units(usdt * 1_000_000), self.agents[0].player.member.address(0, u8::MAX));
                    Ok(())
                }
                Err(_) => Err("how many whole USDT?".to_owned()),
            },
            ["advance", seconds] => match seconds.parse::<u32>() {
                Ok(seconds) => self.advance(i64::from(seconds) * 1_000).await,
                Err(_) => Err("how many seconds?".to_owned()),
            },
            _ => Err("known commands: silence NAME, wake NAME, network away|back, steal USDT, advance SECONDS".to_owned()),
        };
        match result {
            Ok(()) => println!("done {line}"),
            Err(why) => println!("error {line}: {why}"),
        }
    }

    fn set_silent(&mut self, name: &str, is_silent: bool) -> Result<(), String> {
        let agent = self.agents.iter_mut().find(|agent| agent.player.member.name == name);
        let agent = agent.ok_or("no agent of this name")?;
        agent.is_silent = is_silent;
        agent.reported = Timestamp(0);
        self.stamp.told.insert(name.to_owned(), if is_silent { Told::Silence } else { Told::Wake });
        self.stamp.write(&self.dir).map_err(|e| e.to_string())
    }

    async fn advance(&mut self, ms: i64) -> Result<(), String> {
        self.stamp.ahead_ms += ms;
        self.stamp.write(&self.dir).map_err(|e| e.to_string())?;
        let target = self.now().plus_ms(ms);
        self.skip_to(target.plus_ms(-LIVE_SLOTS * SLOT_MS));
        while self.now() < target {
            self.follow(self.now().slot().end().min(target));
            self.context.tick();
            self.report().await;
        }
        for job in [Job::Silence, Job::Flush, Job::Epochs, Job::Postings, Job::Wallet, Job::Payouts, Job::Rollups] {
            self.context.nudges.nudge(job);
        }
        Ok(())
    }

    /// From before the present up to it: the manager has listened when the first page asks.
    pub fn catch_up(&mut self) {
        self.skip_to(self.stamp.present());
        // What the wallet holds, and what waits for whom, is known to the process alone.
        for job in [Job::Wallet, Job::Payouts] {
            self.context.nudges.nudge(job);
        }
    }

    /// Slot after slot, so that the manager sees each of them and misses nobody but the silent ones.
    fn skip_to(&mut self, target: Timestamp) {
        while self.now() < target {
            self.context.tick();
            let now = self.context.clock.now();
            let slot = now.wall.slot().start();
            for agent in self.agents.iter_mut().filter(|agent| !agent.is_silent && agent.reported < slot) {
                agent.player.report(&self.context.store, &self.story, now);
                agent.reported = slot;
            }
            if slot.slot().0.is_multiple_of(FLUSH_SLOTS) {
                self.context.nudges.nudge(Job::Flush);
            }
            self.follow(slot.plus_ms(SLOT_MS).min(target));
        }
    }
}

/// Lines of the standard input, from a thread of its own: its end would wait for a line that never comes.
fn typed_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
