//! The power goes while archives are made, and while they go: every posting and every event is in the store or in one archive, whichever moment it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use lucid::clock::Driver;
use lucid::domain::archive::{Kind, Manifest, lines_file};
use lucid::domain::metrics::Sample;
use lucid::domain::time::{BootMs, Timestamp};
use lucid::live::Job;
use lucid::storage::Store;
use lucid::storage::core::{archives, ledger, node_events};
use lucid::storage::verify::verify;
use serde_json::{Value, json};

use super::cuts::{config, cuts, manager, seeds, store};
use crate::support::crash_device::CrashDevice;
use crate::support::random::Random;
use crate::support::site::Site;

const SETTINGS: [(&str, &str); 4] =
    [("server.tls", "off"), ("payout.threshold_usdt", "10"), ("payout.address_cooldown_hours", "0"), ("payout.max_fee_percent", "0")];
const DAY_MS: i64 = 86_400_000;
/// Until everything of the first month is due.
const TWO_YEARS: i64 = 735;

/// A month in which nodes were made, owed and paid, and the checkpoint of it.
struct Old {
    dir: tempfile::TempDir,
    wall: Timestamp,
    databases: Vec<(PathBuf, Vec<u8>)>,
    owed: Owed,
}

/// How many postings there are, how many events of each node, how many payouts.
#[derive(Debug, PartialEq, Eq)]
struct Owed {
    postings: u64,
    events: BTreeMap<String, u64>,
}

fn databases(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let of = |path: PathBuf| if path.is_dir() { databases(&path) } else { vec![(path.clone(), fs::read(path).unwrap())] };
    let is_one = |(path, _): &(PathBuf, Vec<u8>)| path.extension().is_some_and(|end| end == "redb");
    entries.flat_map(of).filter(is_one).collect()
}

impl Old {
    async fn new() -> Old {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("data"), &SETTINGS).await;
        let mut node = site.enrol("first-one").await;
        node.report(site.now_ms(), Sample::default()).await.unwrap();
        site.first_epoch().await;
        let payee = site.payee("payee", "worker", json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3" })).await;
        site.owe(&payee, ("25", "USDT"), "simulated").await;
        site.app.context.run(Job::Payouts).await.unwrap();
        for _ in 0..5 {
            site.pass_slots(2).await;
            site.app.context.run(Job::Tracking).await.unwrap();
        }
        site.driver.advance_ms(20 * DAY_MS);
        site.app.context.tick();
        for job in [Job::Flush, Job::Epochs] {
            site.app.context.run(job).await.unwrap();
        }
        site.run_cycles().await;
        let (wall, data) = (site.driver.reading().wall, site.dir.clone());
        let owed = found(&site.app.store, "before");
        assert!(owed.postings > 2 && owed.events.len() == 2, "{owed:?}");
        site.end().await;
        let databases = databases(&data).into_iter().map(|(path, bytes)| (path.strip_prefix(&data).unwrap().to_owned(), bytes)).collect();
        Old { dir, wall, databases, owed }
    }
}

fn lines(store: &Store, manifest: &Manifest) -> Vec<Value> {
    let path = store.dir().join("archive").join(lines_file(&manifest.name()));
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is in the store or in an archive, each of it once.
fn found(store: &Store, what: &str) -> Owed {
    for finding in verify(store) {
        assert_eq!(finding.wrong, None, "{what}: {}", finding.part);
    }
    let core = store.read().unwrap();
    let (mut postings, mut events) = (Vec::new(), BTreeMap::<String, Vec<u64>>::new());
    for manifest in archives::all(&core).unwrap() {
        for line in lines(store, &manifest) {
            match (manifest.kind, line["seq"].as_u64()) {
                (Kind::Ledger, Some(seq)) => postings.push(seq),
                (Kind::NodeHistory, Some(seq)) => events.entry(line["node_id"].as_str().unwrap().to_owned()).or_default().push(seq),
                _ => (),
            }
        }
    }
    let (listed, _) = ledger::page(&core, ledger::Filter::default(), 0, 1_000).unwrap();
    postings.extend(listed.iter().map(|posting| posting.seq));
    for node in store.directory.all().iter() {
        let (listed, _) = node_events::page(&core, node.index, 0, 1_000).unwrap();
        events.entry(node.id.to_string()).or_default().extend(listed.iter().map(|(seq, _)| *seq));
    }
    let counted = |seqs: &mut Vec<u64>| {
        seqs.sort_unstable();
        let count = seqs.len() as u64;
        assert!(seqs.iter().copied().eq(1..=count), "{what}: {seqs:?}");
        count
    };
    Owed { postings: counted(&mut postings), events: events.into_iter().map(|(node, mut seqs)| (node, counted(&mut seqs))).collect() }
}

#[derive(Debug, Default)]
struct Tally {
    cuts: u32,
    /// Of housekeeping that nobody cut.
    changes: u64,
    archives: usize,
    gone: usize,
}

async fn cut(old: &Old, seed: u64, tally: &mut Tally) {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::copy(old.dir.path().join("data/secret.key"), data.join("secret.key")).unwrap();
    let (config, device, mut random) = (config(&data, &SETTINGS), CrashDevice::new(seed), Random::of(seed * 2));
    let files: Vec<_> = old.databases.iter().map(|(path, bytes)| (data.join(path), bytes.clone())).collect();
    device.fill(&files);
    device.with_plain_files(&data);
    let driver = Driver::new(old.wall, BootMs(60_000));
    driver.set_synchronised(true);
    driver.advance_ms(TWO_YEARS * DAY_MS);
    let folder = data.join("archive");
    let names = || fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    for round in 0..6 {
        let what = format!("LUCID_SEED={seed}, archives {round}");
        let app = manager(&config, &driver, device.device()).await.unwrap();
        if round < 5 {
            device.cut_after(random.within(1, 80));
        }
        let before = device.changes();
        for _ in 0..2 {
            let _ = app.context.run(Job::Housekeeping).await;
        }
        tally.cuts += u32::from(device.is_off());
        tally.changes = tally.changes.max(device.changes() - before);
        drop(app);
        device.power_cycle();
        let store = store(&config, &driver, device.device(), &what);
        assert_eq!(found(&store, &what), old.owed, "{what}");
        store.close();
    }
    let whole = names();
    tally.archives += whole.len() / 2;
    assert!(whole.len() >= 6 && whole.iter().all(|path| path.extension().is_none_or(|last| last != "tmp")), "LUCID_SEED={seed}: {whole:?}");
    // What was kept long enough goes, and what goes is recorded first.
    driver.advance_ms(8 * 366 * DAY_MS);
    for round in 0..3 {
        let what = format!("LUCID_SEED={seed}, archives that go {round}");
        let app = manager(&config, &driver, device.device()).await.unwrap();
        if round < 2 {
            device.cut_after(random.within(1, 60));
        }
        let _ = app.context.run(Job::Housekeeping).await;
        tally.cuts += u32::from(device.is_off());
        drop(app);
        device.power_cycle();
        let store = store(&config, &driver, device.device(), &what);
        for finding in verify(&store) {
            assert_eq!(finding.wrong, None, "{what}: {}", finding.part);
        }
        let kept = archives::all(&store.read().unwrap()).unwrap();
        let is_kept = |manifest: &Manifest| folder.join(lines_file(&manifest.name())).exists();
        assert!(kept.iter().all(is_kept), "{what}: {kept:?}");
        store.close();
    }
    tally.gone += whole.iter().filter(|path| !path.exists()).count() / 2;
    assert!(whole.iter().all(|path| !path.exists()), "LUCID_SEED={seed}: {:?}", names());
}

#[tokio::test]
async fn every_posting_and_every_event_is_in_the_store_or_in_one_archive() {
    let (old, mut tally) = (Old::new().await, Tally::default());
    let seeds = seeds(cuts() / 16);
    for seed in &seeds {
        cut(&old, *seed, &mut tally).await;
    }
    println!("{tally:?}");
    assert!(seeds.len() == 1 || tally.cuts > 12, "{tally:?}");
}
