//! Tells the past to a manager in this process: its clock is driven from slot to slot, people act through HTTP, machines report into
//! the intake as the report route does after it has checked a signature, and the cycles run as often as in production.

use std::collections::BTreeMap;
use std::path::Path;

use lucid::clock::{self, Driver};
use lucid::crypto::{Entropy, sha256_parts};
use lucid::domain::ids::{Incarnation, NodeIndex};
use lucid::domain::pool::DEFAULT_POOL_ID;
use lucid::domain::setup::Step;
use lucid::domain::time::{BootMs, Timestamp};
use lucid::live::Job;
use lucid::storage::Store;
use lucid::wire::{Item, LateItem, MAX_LATE_ITEMS, PROTOCOL, Report};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cast::{Member, Part, Pool};
use crate::load::Load;
use crate::stamp::{Stamp, Told};
use crate::story::{Event, Reach, Story};
use crate::support::client::{Client, PASSWORD, USERNAME};
use crate::support::fleet::Node;
use crate::support::site::Site;

/// Who else signs in; the first person is `USERNAME`. All have the same password.
pub const PEOPLE: [(&str, &str); 3] = [("alan", "admin"), ("grace", "operator"), ("vera", "viewer")];
const OPERATOR: &str = "grace";
/// An epoch closes in the fourth slot after its end.
const CLOSES_IN_SLOT: u32 = 3;
const EPOCH_SLOTS: u32 = 10;
const SLOTS_PER_HOUR: u32 = 120;
/// Machines that keep what they measure while nobody hears them; a larger fleet would only repeat it.
const KEEPERS: usize = 24;
/// Silence says something about a node only after the manager has listened for five minutes: the one that serves begins this long before
/// the present.
pub const LISTENS_MS: i64 = 360_000;
/// Nodes that get a bonus at most, and how much all but the first get.
const BONUSES: usize = 5;
const BONUS_USDT: &str = "12";
/// Boot clock at the beginning of the story.
const BOOTED_MS: i64 = 60_000;

/// A member with its agent.
pub struct Player {
    pub member: Member,
    pub load: Load,
    /// Once it is enrolled.
    pub agent: Option<(NodeIndex, Node)>,
    kept: Vec<LateItem>,
}

impl Player {
    pub fn new(member: &Member, seed: u64) -> Player {
        Player { member: member.clone(), load: Load::new(member, seed), agent: None, kept: Vec::new() }
    }

    /// Its node in this store, if it has enrolled there.
    pub fn find(&mut self, store: &Store, base: &str, seed: u64) {
        let machine = self.member.machine(seed);
        let key = machine.key.public();
        if let Some(entry) = store.directory.all().iter().find(|entry| entry.key == Some(key)) {
            let node = Node::new(base, entry.id.clone(), store.manager_id.clone(), store.manager_key(), machine);
            self.seat(entry.index, node);
        }
    }

    /// Every start of an agent is an incarnation of its own.
    fn seat(&mut self, index: NodeIndex, mut node: Node) {
        node.incarnation = Incarnation(Entropy::new().u64());
        self.agent = Some((index, node));
    }

    /// Measures, and gives the report to the intake: what is left of a report once its signature has been checked.
    pub fn report(&mut self, store: &Store, story: &Story, now: lucid::domain::time::Now) {
        let sample = self.load.sample(&self.member, &story.span, now.wall);
        let Some((index, node)) = &mut self.agent else { return };
        node.seq += 1;
        let report = Report {
            protocol: PROTOCOL,
            incarnation: node.incarnation,
            seq: node.seq,
            run: Some(store.intake.run),
            items: vec![Item { seq: node.seq, age_ms: 0, witness: None, running: None, sample }],
            fingerprint: node.machine.fingerprint.clone(),
            agent_version: String::new(),
            dropped: 0,
            workload: None,
            head: None,
            contradicts: None,
            capabilities: Vec::new(),
        };
        let body_hash = sha256_parts(&[node.id.as_str().as_bytes(), &node.seq.to_le_bytes()]);
        if let Err(why) = store.intake.accept(*index, &node.id, &report, &body_hash, &|_| true, now) {
            panic!("{}: a report was not taken: {why:?}", node.id);
        }
    }
}

/// The driver of a story's clock: the boot clock counts from the story's beginning, also in a later process.
pub fn driver(story_start: Timestamp, wall: Timestamp) -> Driver {
    Driver::new(wall, BootMs(wall.since(story_start) + BOOTED_MS))
}

pub struct Past<'a> {
    stamp: &'a Stamp,
    story: Story,
    site: Site,
    operator: Client,
    players: Vec<Player>,
    rack: Option<String>,
    /// Events that have happened.
    told: usize,
}

impl<'a> Past<'a> {
    /// A new manager at the beginning of the story.
    pub async fn begin(dir: &Path, stamp: &'a Stamp) -> Past<'a> {
        let (members, story) = stamp.story();
        let mut site = open(dir, stamp, &story, story.span.start).await;
        site.set_up().await;
        for (username, role) in PEOPLE {
            site.client.post("/users", json!({ "username": username, "password": PASSWORD, "role": role })).await;
        }
        let kit = json!({ "passphrase": "a demo has nothing to lose", "password": PASSWORD });
        site.client.post("/recovery-kit", kit).await;
        for step in Step::ALL.into_iter().filter(|step| !matches!(step, Step::Account | Step::RecoveryKit)) {
            site.client.put(&format!("/setup/steps/{}", step.as_str()), json!({ "state": "done" })).await;
        }
        let home = json!({ "name": "home-fleet", "description": "Small boards and desktop machines at home", "max_nodes": 1000 });
        site.client.put(&format!("/nodes/pools/{DEFAULT_POOL_ID}"), home).await;
        let rack = json!({
            "name": "rack-graz",
            "description": "Servers in the rented rack",
            "max_nodes": 1000,
            "pricing": { "cost_per_hour": "0.15", "reward_per_hour": "0.12", "currency": "USDT" },
        });
        let rack = site.client.post("/nodes/pools", rack).await["pool_id"].as_str().map(str::to_owned);
        let players = members.iter().map(|member| Player::new(member, stamp.seed)).collect();
        let operator = sign_in(&site, OPERATOR).await;
        Past { stamp, story, site, operator, players, rack, told: 0 }
    }

    /// The manager of a store that was filled up to `since`, whose time goes on as if nobody had stopped it.
    pub async fn go_on(dir: &Path, stamp: &'a Stamp, since: Timestamp) -> Past<'a> {
        let (members, story) = stamp.story();
        let mut site = open(dir, stamp, &story, since).await;
        site.client.sign_in(USERNAME, PASSWORD).await;
        let operator = sign_in(&site, OPERATOR).await;
        let mut players: Vec<Player> = members.iter().map(|member| Player::new(member, stamp.seed)).collect();
        for player in &mut players {
            player.find(&site.app.store, &site.client.base, stamp.seed);
        }
        let told = story.events.len();
        Past { stamp, story, site, operator, players, rack: None, told }
    }

    /// Slot after slot until shortly before the present; the process that serves tells the rest. `progress` hears about each day.
    pub async fn tell(mut self, mut progress: impl FnMut(Timestamp)) -> Timestamp {
        let mut day = 0;
        while self.site.now_ms() < self.stamp.present().0 - LISTENS_MS {
            self.site.next_slot(5_000);
            let now = self.now();
            while let Some((_, event)) = self.story.events.get(self.told).filter(|(at, _)| *at <= now).cloned() {
                self.told += 1;
                self = self.happen(event).await;
            }
            self.slot();
            self.run(&[Job::Silence]).await;
            let slot = self.now().slot().0;
            if slot % EPOCH_SLOTS == CLOSES_IN_SLOT {
                self.cycles(slot % SLOTS_PER_HOUR == CLOSES_IN_SLOT).await;
            }
            if day != slot / (24 * SLOTS_PER_HOUR) {
                day = slot / (24 * SLOTS_PER_HOUR);
                progress(now);
            }
        }
        self.cycles(true).await;
        let until = self.now();
        self.site.end().await;
        until
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.site.now_ms())
    }

    /// Everybody's measurement of this slot.
    fn slot(&mut self) {
        let now = self.site.app.clock.now();
        for player in &mut self.players {
            if player.agent.is_none() {
                continue;
            }
            let reach = match self.stamp.told.get(&player.member.name) {
                Some(Told::Silence) => Reach::Off,
                Some(Told::Wake) => Reach::Reports,
                None => self.story.reach(&player.member, now.wall),
            };
            match reach {
                Reach::Off => (),
                Reach::Reports => player.report(&self.site.app.store, &self.story, now),
                Reach::Keeps if player.member.number < KEEPERS => {
                    let sample = player.load.sample(&player.member, &self.story.span, now.wall);
                    player.kept.push(LateItem { slot: now.wall.slot(), sample });
                }
                Reach::Keeps => (),
            }
        }
    }

    /// What runs by itself: flush and epochs every five minutes, everything once an hour.
    async fn cycles(&self, all: bool) {
        if all {
            // What a transfer costs is known before payouts are planned.
            self.run(&[Job::Wallet]).await;
            self.site.run_cycles().await;
        }
        self.run(&[Job::Flush, Job::Epochs, Job::Wallet, Job::Tracking]).await;
    }

    async fn run(&self, jobs: &[Job]) {
        for job in jobs {
            self.site.app.context.run(*job).await.expect("a cycle runs");
        }
    }

    async fn happen(mut self, event: Event) -> Past<'a> {
        match event {
            Event::Enrol(n) => self.enrol(n).await,
            Event::Create(n) => self.create(n).await,
            Event::Address(n, change) => {
                let address = self.players[n].member.address(self.stamp.seed, change);
                self.operator.put(&self.path(n, "/payout-address"), json!({ "address": address })).await;
            }
            Event::ChangeHardware(n) => self.change_hardware(n).await,
            Event::AcceptHardware(n) => drop(self.site.client.post(&self.path(n, "/fingerprint/accept"), Value::Null).await),
            Event::CopyCard(n) => self.copy_card(n).await,
            Event::Stop(n) => self.set_status(n, "inactive").await,
            Event::Maintain(n) => self.set_status(n, "maintenance").await,
            Event::EndMaintenance(n) => self.set_status(n, "active").await,
            Event::RackPrice(price) => {
                let Some(rack) = &self.rack else { return self };
                let pricing = json!({ "pricing": { "reward_per_hour": price } });
                self.site.client.put(&format!("/nodes/pools/{rack}"), pricing).await;
            }
            Event::TrxRate(usdt) => drop(self.site.client.put("/money/trx-rate", json!({ "usdt": usdt })).await),
            Event::Schedules { once } => self.schedules(once).await,
            Event::Bonus => self.bonus().await,
            Event::WrongPassword => {
                let wrong = json!({ "username": OPERATOR, "password": "correct horse batterie" });
                self.site.client.anonymous().call(Method::POST, "/auth/login", Some(wrong)).await;
            }
            Event::PowerCut { until } => self = self.power_cut(until).await,
            Event::SendLate => self.send_late().await,
        }
        self
    }

    async fn schedules(&self, once: Timestamp) {
        let least = self.story.span.half_threshold_usdt();
        let price = json!({ "name": "Before the price changes", "what": "all_due", "at": once.rfc3339(), "min_amount": least });
        let rack = json!({ "name": "Rack, weekly", "what": "pool", "pool_id": self.rack, "cron": "0 6 * * mon", "timezone": "Europe/Vienna", "min_amount": "25" });
        let home = json!({ "name": "Everybody, each quarter", "what": "all_due", "cron": "30 7 1 1,4,7,10 *", "timezone": "Europe/Vienna", "enabled": false });
        for schedule in [price, rack, home] {
            self.site.client.post("/nodes/payouts/schedule", schedule).await;
        }
    }

    /// To whoever has an address and nothing under way.
    async fn bonus(&self) {
        let parts = [Part::Steady, Part::Flaky, Part::DiskFull, Part::DriftAccepted];
        let may = self.players.iter().filter(|player| parts.contains(&player.member.part));
        let mut rows: Vec<Value> = Vec::new();
        for (_, node) in may.filter_map(|player| player.agent.as_ref()).take(BONUSES) {
            let amount = if rows.is_empty() { self.stamp.approval_above_usdt().to_string() } else { BONUS_USDT.to_owned() };
            let asked = json!({ "payout_requests": [{ "node_id": node.id, "amount": "0.000001" }] });
            let is_free = self.site.client.post("/payouts/preview", asked).await["skipped"].as_array().is_some_and(Vec::is_empty);
            if is_free {
                let reason = "bonus: a year without a repair";
                let bonus = json!({ "node_id": node.id, "amount": amount, "currency": "USDT", "reason": reason });
                self.site.client.post("/ledger/adjustments", bonus).await;
                rows.push(json!({ "node_id": node.id, "amount": amount }));
            }
        }
        if !rows.is_empty() {
            self.site.client.post("/nodes/payouts/batch", json!({ "payout_requests": rows })).await;
        }
    }

    fn path(&self, n: usize, of_node: &str) -> String {
        let (_, node) = self.players[n].agent.as_ref().expect("the story enrols it first");
        format!("/nodes/{}{of_node}", node.id)
    }

    async fn enrol(&mut self, n: usize) {
        let member = self.players[n].member.clone();
        let mut body = json!({ "uses": 1, "expires_in_seconds": 3600 });
        if let (Pool::Rack, Some(rack)) = (member.pool, &self.rack) {
            body["pool_id"] = json!(rack);
        }
        let token = self.operator.post("/enrolment-tokens", body).await["token"].as_str().unwrap_or_default().to_owned();
        let node = member.machine(self.stamp.seed).enrol(&self.site.client.base, &token).await.expect("the machine enrols");
        let entry = self.site.app.store.directory.by_id(&node.id).expect("it is in the directory");
        self.players[n].seat(entry.index, node);
        let location = json!({ "location": location(&member) });
        self.operator.put(&self.path(n, ""), location).await;
    }

    async fn create(&self, n: usize) {
        let member = &self.players[n].member;
        let body = json!({
            "name": member.name,
            "node_type": "worker",
            "hardware_info": member.machine(self.stamp.seed).hardware,
            "location": location(member),
            "initial_pool_id": DEFAULT_POOL_ID,
        });
        self.operator.post("/nodes", body).await;
    }

    async fn set_status(&self, n: usize, status: &str) {
        self.site.client.put(&self.path(n, ""), json!({ "status": status })).await;
    }

    async fn change_hardware(&mut self, n: usize) {
        let (now_ms, wall) = (self.site.now_ms(), self.now());
        let player = &mut self.players[n];
        let sample = player.load.sample(&player.member, &self.story.span, wall);
        let Some((_, node)) = &mut player.agent else { return };
        node.machine.fingerprint = Member::changed(&node.machine.fingerprint);
        node.report(now_ms, sample).await.expect("the report is answered");
    }

    async fn copy_card(&mut self, n: usize) {
        let now_ms = self.site.now_ms();
        let player = &self.players[n];
        let Some((_, node)) = &player.agent else { return };
        let mut copy =
            Node::new(&node.base, node.id.clone(), node.manager_id.clone(), node.manager_key, player.member.machine(self.stamp.seed));
        copy.machine.fingerprint = Member::stranger();
        assert!(copy.report(now_ms, Default::default()).await.is_none(), "a copied key is refused on another machine");
    }

    /// The manager is gone without a last word; its time is not. What ran meanwhile kept what it measured.
    async fn power_cut(mut self, until: Timestamp) -> Past<'a> {
        while self.now() < until {
            self.slot();
            self.site.driver.advance_ms(lucid::domain::time::SLOT_MS);
        }
        self.site = self.site.crash().await;
        self.operator = sign_in(&self.site, OPERATOR).await;
        for (_, node) in self.players.iter_mut().filter_map(|player| player.agent.as_mut()) {
            node.rebase(&self.site.client.base);
        }
        self.cycles(true).await;
        self
    }

    async fn send_late(&mut self) {
        for player in &mut self.players {
            let kept = std::mem::take(&mut player.kept);
            let Some((_, node)) = &player.agent else { continue };
            for some in kept.chunks(MAX_LATE_ITEMS) {
                node.late(some.to_vec()).await.expect("late measurements are taken");
            }
        }
    }
}

async fn open(dir: &Path, stamp: &Stamp, story: &Story, wall: Timestamp) -> Site {
    let settings: BTreeMap<&'static str, String> = stamp.settings(&story.span).into_iter().collect();
    let driver = driver(story.span.start, wall);
    let gateway = stamp.gateway(story, &driver);
    Site::open_with(dir.to_owned(), driver, settings.into_iter().collect(), gateway).await
}

async fn sign_in(site: &Site, username: &str) -> Client {
    let mut client = site.client.anonymous();
    client.sign_in(username, PASSWORD).await;
    client
}

fn location(member: &Member) -> Value {
    let place = member.place;
    json!({
        "country": place.country,
        "region": place.region,
        "city": place.city,
        "timezone": place.timezone,
        "coordinates": { "latitude": place.latitude, "longitude": place.longitude },
    })
}

/// The machine's time.
pub fn real_now() -> Timestamp {
    clock::read_system().wall
}
