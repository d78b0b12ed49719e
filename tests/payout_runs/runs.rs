//! The runs: each is a story that its seed tells, and ends when everything that was owed is paid or somebody is told why not.

use std::path::{Path, PathBuf};

use lucid::domain::payout::State;
use lucid::domain::time::Timestamp;
use lucid::live::Job;
use lucid::storage::core::money_actions;

use super::auditor::{self, Found};
use super::custody::{WALLETS, owner};
use super::people;
use super::told;
use super::trouble::{heal, strike};
use super::world::{MINUTE_MS, NODES, Pays, World, Wrap, admin, template};
use crate::support::rig::lock;
use crate::support::tron::random::Random;

/// Rounds without trouble after which everything has ended.
const QUIET: u64 = 60;

/// Of an hour each, in which nobody looks after the payouts, where a run has such a night.
const NIGHT: u64 = 9;

/// An older copy is told from the store itself by its age.
const YOUNG_MS: i64 = 12 * MINUTE_MS;

/// What a run may contain.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    pub rounds: u64,
    pub nodes: usize,
    pub liar: Option<usize>,
    pub deaths_per_mille: u16,
    pub trouble_per_mille: u16,
    pub jumps: bool,
    pub switches: bool,
    pub restores: bool,
    pub people: bool,
    pub copies: bool,
    pub night: bool,
}

impl Traits {
    fn of(random: &mut Random, seed: u64) -> Traits {
        Traits {
            rounds: 6 + random.below(10),
            nodes: 1 + usize::try_from(random.below(NODES as u64)).unwrap(),
            liar: random.chance(500).then(|| usize::try_from(random.below(3)).unwrap()),
            deaths_per_mille: [0, 150, 400][usize::try_from(random.below(3)).unwrap()],
            trouble_per_mille: 200 + u16::try_from(random.below(700)).unwrap(),
            jumps: random.chance(200),
            switches: random.chance(250),
            restores: random.chance(200),
            people: random.chance(400),
            // By numbers of its own, so that the runs without copies stay what they were.
            copies: Random::new(seed ^ 0xc0b1e5).chance(120),
            night: Random::new(seed ^ 0x019e7).chance(60),
        }
    }
}

#[derive(Debug, Default)]
pub struct Counted {
    pub runs: u64,
    pub deaths: u64,
    pub payouts: u64,
    pub paid: u64,
    pub attempts: u64,
    pub restores: u64,
    pub switches: u64,
    pub jumps: u64,
    pub rounds: u64,
    pub copies: u64,
    /// Runs with a night that they did not end in.
    pub nights: u64,
}

struct Run {
    world: World,
    /// The manager on a copy of the card, with the same signer.
    copied: Option<World>,
    traits: Traits,
}

impl Run {
    fn chance(&mut self, per_mille: u16) -> bool {
        self.world.random.chance(per_mille)
    }

    fn below(&mut self, below: u64) -> u64 {
        self.world.random.below(below)
    }

    async fn switch(&mut self, counted: &mut Counted) {
        counted.switches += 1;
        let world = &mut self.world;
        match world.random.below(5) {
            0 => world.pays = Pays::Nobody,
            // Two managers on two wallets know nothing of each other.
            1 if !self.traits.copies => world.pays = Pays::Wallet(usize::try_from(world.random.below(WALLETS as u64)).unwrap()),
            _ => {
                let asked = usize::try_from(world.random.below(3)).unwrap();
                let others: Vec<usize> = (0..3).filter(|node| *node != asked).collect();
                // Where an older copy may come back, and nobody but a liar is asked, nothing tells it what it has forgotten.
                let least = u64::from((self.traits.restores || self.traits.copies) && self.traits.liar.is_some());
                let count = usize::try_from(least + world.random.below(3 - least)).unwrap();
                (world.asked, world.witnesses) = (asked, others.into_iter().take(count).collect());
            }
        }
        world.crash().await;
        if world.random.chance(700) && world.now().trusted && world.pays != Pays::Nobody {
            world.go_live().await;
        }
    }

    async fn jump(&mut self, counted: &mut Counted) {
        counted.jumps += 1;
        let by = i64::try_from(self.below(4 * 3_600_000)).unwrap() - 2 * 3_600_000;
        let world = &mut self.world;
        let right = world.true_time();
        match world.random.below(4) {
            // Stepped while it runs: not trusted any more.
            0 => world.driver.set_wall(right.plus_ms(by)),
            // Wrong from a start on, and synchronised with who is wrong.
            1 => {
                world.driver.set_wall(right.plus_ms(by));
                world.crash().await;
            }
            2 => {
                world.driver.set_synchronised(false);
                world.driver.set_wall(Timestamp(0));
                world.crash().await;
            }
            _ => world.set_clock_right().await,
        }
    }

    async fn restore(&mut self, counted: &mut Counted) {
        // Nobody may restore the log of a signer that somebody else asks too.
        let with_signers = self.chance(300) && !self.traits.copies;
        // A copy that is younger looks like the store itself: the log of the signer alone tells it, of the present wallet.
        let is_young = self.world.true_time().0 - self.world.copied_ms < YOUNG_MS;
        if is_young && (with_signers || self.traits.switches) || self.world.forgets_a_wallet() {
            return;
        }
        if self.world.restore(with_signers).await {
            counted.restores += 1;
            self.world.trace(&format!("restored, with signers: {with_signers}"));
        }
    }

    async fn event(&mut self, counted: &mut Counted) {
        let traits = self.traits;
        let pays = if let Pays::Wallet(number) = self.world.pays { number } else { 0 };
        if self.chance(traits.trouble_per_mille) {
            strike(&mut self.world.random, &self.world.network, traits.liar, owner(pays));
        }
        if traits.switches && self.chance(150) {
            self.switch(counted).await;
        }
        if traits.jumps && self.chance(200) {
            self.jump(counted).await;
        }
        if traits.restores && self.chance(200) {
            self.world.back_up();
            self.world.trace("copied");
        } else if traits.restores && self.chance(200) {
            self.restore(counted).await;
        }
        if traits.copies && self.copied.is_none() && self.chance(250) {
            counted.copies += 1;
            self.copied = Some(self.world.copied_card(false).await);
        } else if traits.copies && self.chance(60) {
            self.copied = None;
        }
        if traits.people && self.chance(300) {
            people::look_after(&mut self.world).await;
        }
        if traits.people && self.copied.is_some() && self.chance(300) {
            let owed = self.world.owed.clone();
            let Some(copied) = &mut self.copied else { return };
            copied.owed = owed;
            people::look_after(copied).await;
        }
        if traits.people && self.chance(60) {
            let act = self.world.act();
            let stops = self.chance(500);
            let write = move |tx: &mut lucid::storage::table::WriteTx<'_>| match stops {
                true => money_actions::stop(tx, &act, Some(admin()), "to be sure").map(drop),
                false => money_actions::freeze(tx, &act, Some(admin()), "to be sure").map(drop),
            };
            self.world.write(write).await.unwrap();
        }
        if traits.people && self.chance(60) {
            let count = self.world.owed.len() as u64;
            let at = usize::try_from(self.below(count)).unwrap();
            let node = *self.world.owed.keys().nth(at).unwrap();
            self.world.change_address(node).await;
        }
        let mut health = lock(&self.world.vaults[pays].health);
        health.away = self.world.random.chance(30);
        health.dies_per_mille = traits.deaths_per_mille / 2;
    }

    async fn rounds(&mut self, counted: &mut Counted) -> Result<(), Found> {
        for _ in 0..self.traits.rounds {
            counted.rounds += 1;
            self.event(counted).await;
            let waits = self.chance(self.traits.deaths_per_mille);
            let waits = if waits { Some(self.below(120)) } else { None };
            let job = [Job::Payouts, Job::Payouts, Job::Tracking, Job::Wallet][usize::try_from(self.below(4)).unwrap()];
            let on_copy = self.copied.is_some() && self.chance(500);
            let world = self.copied.as_mut().filter(|_| on_copy).unwrap_or(&mut self.world);
            world.cycle(job, waits).await;
            auditor::look(&self.world)?;
            if let Some(copied) = &self.copied {
                auditor::look(copied).map_err(|found| format!("the copy: {found}"))?;
            }
            let ms = match self.below(8) {
                0 | 1 => 3_000,
                2 | 3 => 30_000,
                4 | 5 => 90_000,
                6 => 11 * MINUTE_MS,
                _ => 22 * MINUTE_MS,
            };
            let blocks = self.chance(150);
            self.world.pass(ms, blocks);
        }
        Ok(())
    }

    /// Everybody is honest, and nobody comes: what is not paid in the morning is on its way, or an alarm says why not.
    async fn night(&mut self, counted: &mut Counted) -> Result<(), Found> {
        let world = &mut self.world;
        let solid = told::solid(world);
        for _ in 0..NIGHT {
            world.pass(61 * MINUTE_MS, false);
            for job in [Job::Wallet, Job::Payouts] {
                world.cycle(job, None).await;
            }
            auditor::look(world)?;
            told::stuck(world)?;
            if is_over(world) {
                return Ok(());
            }
        }
        counted.nights += 1;
        world.trace("morning");
        told::unexplained(world, solid)
    }

    /// Everybody is honest; people do their work. Everything ends within so many rounds.
    async fn quiet(&mut self, counted: &mut Counted) -> Result<(), Found> {
        // Somebody has noticed the copy.
        self.copied = None;
        let world = &mut self.world;
        heal(&world.network, &[owner(0), owner(1)]);
        for vault in &world.vaults {
            let mut health = lock(&vault.health);
            (health.away, health.dies_per_mille) = (false, 0);
        }
        world.set_clock_right().await;
        if world.pays == Pays::Nobody {
            world.pays = Pays::Wallet(0);
        }
        if world.witnesses.is_empty() {
            world.witnesses = (0..3).filter(|node| *node != world.asked).take(1).collect();
        }
        world.crash().await;
        if self.traits.night {
            self.night(counted).await?;
        }
        let world = &mut self.world;
        let mut evidence = Vec::new();
        for round in 0..QUIET {
            counted.rounds += 1;
            // The second half of an hour is nearly over in which a node's next payout would be too soon.
            let ms = if round % 3 == 2 { 31 * MINUTE_MS } else { 90_000 };
            world.pass(ms, false);
            world.cycle(Job::Payouts, None).await;
            world.trace("quiet");
            auditor::look(world)?;
            told::stuck(world)?;
            if is_over(world) {
                return told::stories(world);
            }
            evidence.extend(world.payouts().into_iter().filter_map(|payout| payout.review).flat_map(|review| review.evidence).last());
            people::look_after(world).await;
        }
        evidence.dedup();
        let open: Vec<_> = world.payouts().into_iter().filter(|payout| payout.is_open()).collect();
        let (waiting, alarms) = (world.app().context.money.all_waiting(), auditor::alarms(world));
        let books = auditor::settle(world);
        Err(format!("not all is paid: {waiting:?} alarms: {alarms:?} books: {books:?} last evidence: {evidence:?} {open:?}"))
    }
}

/// Everything is paid, and the books say so.
fn is_over(world: &World) -> bool {
    auditor::is_settled(world) && auditor::settle(world).is_ok()
}

/// One run; Err says what the auditor found.
pub async fn run(seed: u64, from: &Path, place: PathBuf, sabotage: Option<(Wrap, bool)>, counted: &mut Counted) -> Result<(), Found> {
    let mut world = World::new(from, &place, seed).await;
    let mut traits = Traits::of(&mut world.random, seed);
    if let Some((wrap, forgetful)) = sabotage {
        // What is caught is the gateway, and not what an older copy does with it.
        (traits.restores, traits.copies) = (false, false);
        world.wrap = Some(wrap);
        for vault in &world.vaults {
            let mut health = lock(&vault.health);
            health.forgetful = forgetful;
        }
        world.crash().await;
    }
    world.go_live().await;
    world.owe(traits.nodes).await;
    if traits.restores {
        world.back_up();
    }
    let mut run = Run { world, copied: None, traits };
    let told = match run.rounds(counted).await {
        Ok(()) => run.quiet(counted).await,
        found => found,
    };

    counted.runs += 1;
    counted.deaths += run.world.crashes;
    for payout in run.world.payouts() {
        counted.payouts += 1;
        counted.attempts += payout.attempts.len() as u64;
        counted.paid += u64::from(matches!(payout.state, State::Paid { .. }));
    }
    told.map_err(|found| format!("LUCID_RUNS_SEED={seed} {traits:?}: {found}"))
}

/// Where files cost no disk.
pub fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

async fn all(first: u64, count: u64) {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match (given("LUCID_RUNS_SEED"), given("LUCID_RUNS")) {
        (Some(seed), count) => (seed, count.unwrap_or(1)),
        (None, Some(count)) => (first, count / 10),
        (None, None) => (first, count),
    };
    println!("seeds {first}..{}", first + count);
    let place = folder();
    let from = place.path().join("template");
    template(&from, NODES).await;
    let (mut counted, mut wrong) = (Counted::default(), Vec::new());
    for seed in first..first + count {
        if let Err(found) = run(seed, &from, place.path().join(format!("run-{seed}")), None, &mut counted).await {
            wrong.push(found);
        }
    }
    println!("{counted:?}");
    let Counted { deaths, restores, switches, jumps, copies, .. } = counted;
    let least = [deaths, restores, switches, jumps, copies].into_iter().min();
    assert!(count < PER_SHARD || least > Some(0), "something that a run may contain was in none of them");
    assert!(wrong.is_empty(), "{} runs of {count}; the first: {}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

macro_rules! shards {
    ($($name:ident $first:literal)*) => {$(
        #[tokio::test]
        async fn $name() {
            all($first * SEEDS_OF_SHARD, PER_SHARD).await;
        }
    )*};
}

/// Seeds of a shard: 10,000 together, which `LUCID_RUNS=10000` (`make test-runs`) runs.
const SEEDS_OF_SHARD: u64 = 1_000;
/// Of those, what every test run does.
const PER_SHARD: u64 = 100;

shards! {
    runs_0 0 runs_1 1 runs_2 2 runs_3 3 runs_4 4 runs_5 5 runs_6 6 runs_7 7 runs_8 8 runs_9 9
}
