//! Manager and signer as processes of their own, killed by SIGKILL a hundred times while payouts are under way: either of them, or both. When, follows from a
//! seed: at the n-th request that a node of the network sees, at the n-th line of the signer's log, or after so long. The same auditor counts what was paid.
//!
//! And with a disk that is full: files that cannot grow, then a little, then as they want.
//!
//! The processes (`examples/timelapse`) go by a clock that stands where this test puts it. It goes on while they have nothing to do, and slowly while they work,
//! so that a busy machine tells the same stories; it jumps when they rest for a while.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lucid::clock::Stopwatch;
use lucid::gateways::payment::signer::LOG_FILE;
use serde_json::Value;

use super::auditor;
use super::custody::{self, Issued, WORDS};
use super::people;
use super::runs::folder;
use super::world::{World, template};
use crate::support::binary::Process;
use crate::support::rig::lock;
use crate::support::tron::address::unhex;
use crate::support::tron::chain::Config as ChainConfig;
use crate::support::tron::random::Random;
use crate::support::tron::server::Server;
use crate::support::tron::transaction::{Call, Transaction};
use crate::support::tron::{Address, Network};

const KILLS: u32 = 100;
const NODES: usize = 24;
/// The largest payout, in USDT: what a node is owed takes several, an hour apart.
const MANY: &str = "2";
const FEW: &str = "20";
/// Real time between two moves of the clock, where everybody rests and where somebody works, and how far it is moved.
const STEP: Duration = Duration::from_millis(15);
const BUSY_STEP: Duration = Duration::from_millis(60);
const STEP_MS: i64 = 3_000;
/// So many moves without anybody working before time jumps.
const RESTS: u32 = 5;
/// The thread that does nothing but read the clock.
const CLOCK_THREAD: &str = "(clock";
/// One after the other, as long as it stays quiet: transfers become final, what was not sent expires and is dead, the next payouts are due.
const JUMPS_MS: [i64; 3] = [90_000, 13 * 60_000, 61 * 60_000];
/// A moment that does not come within so many moves of the clock is given up: the kill comes then.
const GIVEN_UP: u32 = 200;
/// What the test waits for at most in real time, so that it ends; what it says follows from the clock that it moves.
const HANGS: Duration = Duration::from_secs(900);
/// By the clock of the processes: so long after the last transfer, whatever is not paid waits for people.
const IDLE_MS: i64 = 8 * 3_600_000;
/// More payouts than this that wait for people are no accident of kills.
const MOST_REVIEWS: usize = NODES;

/// When a kill comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The node that is asked has answered so many more requests to paths that end so; to any, when it is empty.
    Request(&'static str, u64),
    /// The signer has written so many more lines.
    Signed(usize),
    /// So many milliseconds after the start.
    After(u64),
}

impl Moment {
    fn choose(random: &mut Random) -> Moment {
        match random.below(10) {
            0 | 1 => Moment::Request("broadcasthex", 1 + random.below(25)),
            2 => Moment::Request("triggerconstantcontract", 1 + random.below(25)),
            3 => Moment::Request("gettransactioninfobyid", 1 + random.below(50)),
            4 => Moment::Request("getblockbynum", 1 + random.below(30)),
            5 => Moment::Request("", 1 + random.below(150)),
            6 | 7 => Moment::Signed(1 + usize::try_from(random.below(25)).unwrap()),
            _ => Moment::After(random.below(500)),
        }
    }
}

/// The processes, and what is around them.
struct Pair {
    world: World,
    server: Server,
    random: Random,
    keystore: PathBuf,
    manager: Option<Process>,
    signer: Option<Process>,
    /// Blocks of 512 bytes that a file of the manager, and one of the signer, may have.
    room: Option<(u64, u64)>,
    max_usdt: &'static str,
    /// Time stood still since.
    still: Stopwatch,
    /// Requests so far; moves of the clock since the last one that found everybody at rest; and how often time has jumped since.
    asked: u64,
    rests: u32,
    jumps: usize,
    /// Of the manager, of the signer, and moments that did not come.
    kills: (u32, u32),
    missed: u32,
}

impl Pair {
    async fn new(place: &Path, seed: u64) -> Pair {
        let from = place.join("template");
        template(&from, NODES).await;
        let mut world = World::new(&from, &place.join("run"), seed).await;
        world.go_live().await;
        world.owe(NODES).await;
        // Each payout burns some.
        lock(&world.network).chain.give_trx(custody::owner(0), 100_000_000_000);
        world.end();
        world.vaults.iter().for_each(|vault| vault.die());
        // From here on its nodes are asked over sockets.
        let network = std::mem::replace(&mut *lock(&world.network), Network::new(ChainConfig::default(), 1, 1));
        let server = Server::start(network).await.unwrap();
        world.network = server.network.clone();
        std::fs::write(place.join("passphrase"), WORDS).unwrap();
        let pair = Pair {
            random: Random::new(world.random.next()),
            world,
            server,
            keystore: custody::keystore(&from, 0),
            manager: None,
            signer: None,
            room: None,
            max_usdt: MANY,
            still: Stopwatch::start(),
            asked: 0,
            rests: 0,
            jumps: 0,
            kills: (0, 0),
            missed: 0,
        };
        pair.tell_time();
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.place.join(name)
    }

    fn tell_time(&self) {
        let (reading, next) = (self.world.driver.reading(), self.path("clock.next"));
        std::fs::write(&next, format!("{} {}\n", reading.wall.0, reading.boot.0)).unwrap();
        std::fs::rename(&next, self.path("clock")).unwrap();
    }

    /// `room`: where its files end, in blocks of 512 bytes; what goes beyond is refused, as by a full disk.
    fn command(&self, room: Option<u64>) -> Command {
        // target/debug/deps/integration-... -> target/debug/examples/timelapse
        let deps = std::env::current_exe().unwrap();
        let binary = deps.ancestors().nth(2).unwrap().join("examples/timelapse");
        assert!(binary.exists(), "{} is built by `cargo test`", binary.display());
        let mut command = match room {
            None => Command::new(binary),
            Some(blocks) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "sh"]).arg(binary);
                shell
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn start_manager(&self) -> Process {
        let mut command = self.command(self.room.map(|(manager, _)| manager));
        command.arg("--data-dir").arg(self.path("data")).arg("--clock").arg(self.path("clock"));
        command.env("LUCID__TRON__NODE_URL", self.server.url(0)).env("LUCID__TRON__WITNESS_URLS", self.server.url(1));
        command.env("LUCID__TRON__SIGNER_SOCKET", self.path("socket")).env("LUCID__TRON__WALLET", custody::owner(0).base58());
        command.envs([
            ("LUCID__LOG__LEVEL", "error"),
            ("LUCID__LOG__MAX_FILES", "0"),
            ("LUCID__SERVER__TLS", "off"),
            ("LUCID__PAYOUT__MODE", "live"),
            ("LUCID__PAYOUT__GATEWAY", "tron"),
            // Whatever is left after the payouts of the largest size is due as well.
            ("LUCID__PAYOUT__THRESHOLD_USDT", "0.000001"),
            ("LUCID__PAYOUT__FREQUENCY_HOURS", "1"),
            ("LUCID__PAYOUT__ADDRESS_COOLDOWN_HOURS", "0"),
            ("LUCID__PAYOUT__MAX_USDT", self.max_usdt),
            ("LUCID__PAYOUT__MAX_HOUR_USDT", "100000"),
            ("LUCID__PAYOUT__MAX_DAY_USDT", "100000"),
            ("LUCID__PAYOUT__APPROVAL_ABOVE_USDT", "100000"),
            ("LUCID__PAYOUT__MAX_FEE_PERCENT", "0"),
        ]);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("manager.log")).unwrap();
        Process(command.stderr(log).spawn().unwrap())
    }

    fn start_signer(&self) -> Process {
        let mut command = self.command(self.room.map(|(_, signer)| signer));
        command
            .arg("signer")
            .arg("--keystore")
            .arg(&self.keystore)
            .arg("--passphrase-file")
            .arg(self.world.place.with_file_name("passphrase"));
        command.arg("--socket").arg(self.path("socket")).arg("--state-dir").arg(self.path("signer-0"));
        command.args(["--max-usdt", "100000", "--contract", &self.server.network().chain.token.address.base58()]);
        command.arg("--clock").arg(self.path("clock"));
        Process(command.spawn().unwrap())
    }

    /// What does not run.
    fn start(&mut self) {
        if self.signer.is_none() {
            self.signer = Some(self.start_signer());
        }
        if self.manager.is_none() {
            self.manager = Some(self.start_manager());
        }
    }

    /// Nobody ends but by us.
    fn look_after(&mut self) {
        for (process, name) in [(&mut self.manager, "manager"), (&mut self.signer, "signer")] {
            let ended = process.as_mut().and_then(|process| process.0.try_wait().unwrap());
            assert_eq!(ended, None, "the {name} ended by itself");
        }
    }

    fn requests(&self, ending: &str) -> u64 {
        self.server.network().nodes[0].requests.iter().filter(|(path, _)| path.ends_with(ending)).map(|(_, count)| count).sum()
    }

    /// Every whole line of the signer's log but the first, read by nobody's code but this test's.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("signer-0").join(LOG_FILE)).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"].take()).collect()
    }

    /// Notes for the auditor what was signed, whatever becomes of the log.
    fn note_signed(&self) -> usize {
        let lines = self.lines();
        let mut issued = lock(&self.world.issued);
        for entry in &lines {
            let bytes = unhex(entry["transaction"].as_str().unwrap()).unwrap();
            let transaction = Transaction::decode(&bytes).unwrap();
            let Call::TriggerSmartContract { data, .. } = &transaction.raw.call else { panic!("{entry}") };
            let to = Address::of_body(data[16..36].try_into().unwrap()).base58();
            let amount = u64::from_be_bytes(data[60..68].try_into().unwrap());
            issued.insert(transaction.txid, Issued { payout: entry["payout_id"].as_str().unwrap().to_owned(), to, amount });
        }
        lines.len()
    }

    /// No thread of the processes runs, waits for a processor or for the disk.
    fn are_resting(&self) -> bool {
        let sleeps = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(name, rest)| rest.starts_with('S') || name.ends_with(CLOCK_THREAD))
        };
        let rests = |process: &Process| {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", process.0.id())).unwrap();
            tasks.flatten().all(sleeps)
        };
        self.manager.iter().chain(&self.signer).all(rests)
    }

    /// Time goes on, which is told; by a jump when there has been nothing to do for a while.
    fn pass(&mut self) -> bool {
        if self.still.elapsed() < STEP {
            return false;
        }
        let (asked, is_resting) = (self.requests(""), self.are_resting());
        if asked != self.asked {
            (self.asked, self.rests, self.jumps) = (asked, 0, 0);
        }
        self.rests = if is_resting { self.rests + 1 } else { 0 };
        if !is_resting && self.still.elapsed() < BUSY_STEP {
            return false;
        }
        self.still = Stopwatch::start();
        let mut ms = STEP_MS;
        if self.rests >= RESTS {
            ms = JUMPS_MS[self.jumps.min(JUMPS_MS.len() - 1)];
            (self.rests, self.jumps) = (0, self.jumps + 1);
        }
        self.world.pass(ms, false);
        self.tell_time();
        true
    }

    async fn wait_for(&mut self, moment: Moment) {
        let (watch, mut moves) = (Stopwatch::start(), 0);
        let (asked, signed) = (self.requests(if let Moment::Request(ending, _) = moment { ending } else { "" }), self.note_signed());
        loop {
            let is_now = match moment {
                Moment::Request(ending, more) => self.requests(ending) >= asked + more,
                Moment::Signed(more) => self.lines().len() >= signed + more,
                Moment::After(ms) => watch.elapsed() >= Duration::from_millis(ms),
            };
            if is_now {
                break;
            }
            if moves >= GIVEN_UP {
                self.missed += 1;
                break;
            }
            self.look_after();
            moves += u32::from(self.pass());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // A little later, every other time.
        if self.random.chance(500) {
            tokio::time::sleep(Duration::from_micros(self.random.below(8_000))).await;
        }
    }

    async fn strike(&mut self) {
        self.start();
        let moment = Moment::choose(&mut self.random);
        let watch = Stopwatch::start();
        self.wait_for(moment).await;
        let (manager, signer) = [(true, false), (false, true), (true, true), (true, true)][usize::try_from(self.random.below(4)).unwrap()];
        println!("{moment:?} after {:?}: manager {manager}, signer {signer}", watch.elapsed());
        if manager && let Some(mut process) = self.manager.take() {
            process.kill();
            self.kills.0 += 1;
        }
        if signer && let Some(mut process) = self.signer.take() {
            process.kill();
            self.kills.1 += 1;
        }
        self.note_signed();
    }

    /// Blocks of 512 bytes of the largest file in the folder.
    fn largest(&self, folder: &str) -> u64 {
        let files = std::fs::read_dir(self.path(folder)).unwrap().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len().div_ceil(512)).max().unwrap_or(0)
    }

    /// Writes to the store that failed, by the manager's log.
    fn refused(&self) -> usize {
        std::fs::read_to_string(self.path("manager.log")).map_or(0, |log| log.matches("a write to the store failed").count())
    }

    /// Lets both work until the manager ends by itself, which is told, or for a while.
    async fn work_in(&mut self, manager: u64, signer: u64) -> bool {
        self.room = Some((manager, signer));
        self.start();
        let (mut ended, mut moves) = (false, 0);
        while !ended && moves < GIVEN_UP {
            ended = self.manager.as_mut().is_some_and(|manager| manager.0.try_wait().unwrap().is_some());
            if !ended {
                moves += u32::from(self.pass());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.manager = None;
        self.signer = None;
        self.note_signed();
        ended
    }

    /// Nobody is killed any more: everything that is owed is paid, and the books know it. A payout whose every attempt was cut off by a kill waits for people,
    /// who do what they are offered; how often they were needed.
    async fn quiet(&mut self) -> usize {
        let mut waited = 0;
        loop {
            self.settle().await;
            let waits = self.world.payouts().iter().filter(|payout| payout.is_open() && payout.review.is_some()).count();
            if waits == 0 || waited > MOST_REVIEWS {
                return waited;
            }
            waited += waits;
            people::decide_reviews(&mut self.world).await;
            self.world.end();
        }
    }

    /// Both work until all is paid, or nothing more is for hours; then the store is open in this process.
    async fn settle(&mut self) {
        self.start();
        let watch = Stopwatch::start();
        let mut paid = (0, self.world.true_time());
        while !auditor::is_paid(&self.world) && watch.elapsed() < HANGS {
            self.look_after();
            self.pass();
            let (count, now) = (auditor::transfers(&self.world).len(), self.world.true_time());
            if count != paid.0 {
                paid = (count, now);
            } else if now.0 - paid.1.0 > IDLE_MS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The last transfers become final, and a cycle looks at them.
        for _ in 0..3 {
            self.world.pass(60_000, true);
            self.tell_time();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let status = self.manager.take().unwrap().terminate();
        assert!(status.success(), "{status}");
        self.signer = None;
        self.note_signed();
        self.world.open().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_of_manager_and_signer_pay_everything_once() {
    let given = std::env::var("LUCID_KILLS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from_le_bytes(lucid::crypto::Entropy::new().bytes()));
    println!("LUCID_KILLS_SEED={seed}");
    let place = folder();
    let mut pair = Pair::new(place.path(), seed).await;
    let watch = Stopwatch::start();
    for _ in 0..KILLS {
        pair.strike().await;
    }
    let struck = watch.elapsed();
    let reviews = pair.quiet().await;

    let world = &pair.world;
    let payouts = world.payouts();
    let attempts: usize = payouts.iter().map(|payout| payout.attempts.len()).sum();
    let transfers = lock(&world.network).chain.audit();
    println!(
        "{KILLS} kills in {:.1} s ({} of the manager, {} of the signer; {} moments did not come), then {:.1} s: {} payouts, {attempts} attempts, {reviews} decided by people, {} signed, {} transfers",
        struck.as_secs_f64(),
        pair.kills.0,
        pair.kills.1,
        pair.missed,
        (watch.elapsed() - struck).as_secs_f64(),
        payouts.len(),
        lock(&world.issued).len(),
        transfers.len(),
    );
    let told = || {
        format!(
            "LUCID_KILLS_SEED={seed}; alarms: {:?}; open: {:?}",
            auditor::alarms(world),
            payouts.iter().filter(|payout| payout.is_open()).collect::<Vec<_>>()
        )
    };
    auditor::look(world).unwrap_or_else(|found| panic!("{found}; {}", told()));
    assert!(auditor::is_settled(world), "not all is paid: {}", told());
    auditor::settle(world).unwrap_or_else(|found| panic!("{found}; {}", told()));
    assert!(payouts.len() > NODES * 3 && pair.missed < KILLS / 2, "the kills came while payouts were under way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_pays_nobody_twice_and_forgets_nobody() {
    let place = folder();
    let mut pair = Pair::new(place.path(), 7).await;
    pair.max_usdt = FEW;
    let mut ended = 0;
    for round in 0..8 {
        // The store's file has room in itself, and then has to grow: each time it is refused at another write. So is the signer's log.
        let (manager, signer) = (pair.largest("data") * (90 + 3 * round) / 100, pair.largest("signer-0") + 4 + round % 4 * 8);
        let did_end = pair.work_in(manager, signer).await;
        println!("{manager} and {signer} blocks: ended {did_end}, {} signed", lock(&pair.world.issued).len());
        ended += u32::from(did_end);
    }
    let refused = pair.refused();
    pair.room = None;
    pair.quiet().await;
    let world = &pair.world;
    println!("the manager ended {ended} times, {refused} writes failed; {} payouts", world.payouts().len());
    auditor::look(world).unwrap();
    assert!(auditor::is_settled(world), "not all is paid: {:?}", auditor::alarms(world));
    auditor::settle(world).unwrap();
    // It goes on after a write that failed, unless the file does not open again.
    assert!(ended > 0 || refused > 0, "the disk was never full");
}
