use std::io::Read as _;

use proptest::prelude::*;

use super::super::core::{Verdict, described};
use super::super::protocol::{Refusal, SignRequest};
use super::super::testing::{START_MS, caps, dead, failed, key, request, wallet};
use super::*;

fn record(request: &SignRequest, resolved: Option<Resolution>, at_ms: i64) -> Record {
    Record { signed: Signed::of(request, described(&wallet(), request).sign(&key()), at_ms), resolved }
}

fn three() -> Vec<Record> {
    let ask = |payout, at| request(payout, 1, 10, START_MS + at);
    let first = record(&ask("payout_a", 0), None, START_MS);
    let again = SignRequest { previous: vec![failed(&first.signed)], ..request("payout_a", 2, 10, START_MS + 2) };
    let resolved = again.previous.first().cloned();
    vec![first, record(&ask("payout_b", 1), None, START_MS + 1), record(&again, resolved, START_MS + 2)]
}

fn written(dir: &tempfile::TempDir) -> Vec<u8> {
    let mut log = SignedLog::open(dir.path(), &wallet()).unwrap();
    for record in three() {
        log.append(&record).unwrap();
    }
    fs::read(dir.path().join(LOG_FILE)).unwrap()
}

#[test]
fn a_log_that_is_opened_again_knows_everything() {
    let dir = tempfile::tempdir().unwrap();
    let text = written(&dir);
    let log = SignedLog::open(dir.path(), &wallet()).unwrap();
    let memory = log.memory();
    assert_eq!((memory.payouts(), memory.spent(START_MS), memory.last_timestamp_ms()), (2, 20, START_MS + 2));
    let newest = |payout: &str| log.newest(&PayoutId::parse(payout).unwrap()).unwrap();
    let [_, b, a2] = &three()[..] else { panic!() };
    assert_eq!((newest("payout_a").as_ref(), newest("payout_b").as_ref()), (Some(&a2.signed), Some(&b.signed)));
    assert_eq!(newest("payout_c"), None);
    assert!(matches!(SignedLog::open(dir.path(), &wallet()), Err(LogError::Locked(_))));
    drop(log);
    assert_eq!(fs::read(dir.path().join(LOG_FILE)).unwrap(), text, "opening changes nothing");
    let other = Wallet { account: three()[0].signed.transfer.to, ..wallet() };
    assert!(matches!(SignedLog::open(dir.path(), &other), Err(LogError::OtherWallet(_))));
}

#[test]
fn an_unfinished_last_line_is_dropped_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let text = written(&dir);
    let path = dir.path().join(LOG_FILE);
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    assert_eq!(lines.len(), 4);
    let whole = lines[..3].concat();
    for cut in [whole.len(), whole.len() + 1, text.len() - 1] {
        fs::write(&path, &text[..cut]).unwrap();
        let log = SignedLog::open(dir.path(), &wallet()).unwrap();
        assert_eq!(log.memory().last_timestamp_ms(), START_MS + 1, "{cut}");
        drop(log);
        assert_eq!(fs::read(&path).unwrap(), whole, "{cut}");
    }
    // After the cut it goes on as if nothing had been.
    let mut log = SignedLog::open(dir.path(), &wallet()).unwrap();
    log.append(&three()[2]).unwrap();
    drop(log);
    assert_eq!(fs::read(&path).unwrap(), text);
    fs::write(&path, &lines[0][..9]).unwrap();
    assert_eq!(SignedLog::open(dir.path(), &wallet()).unwrap().memory().payouts(), 0, "not even its first line");
    assert_eq!(fs::read(&path).unwrap(), lines[0]);
}

#[test]
fn what_was_changed_stops_the_signer() {
    let dir = tempfile::tempdir().unwrap();
    let text = written(&dir);
    let path = dir.path().join(LOG_FILE);
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    let opened = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match SignedLog::open(dir.path(), &wallet()) {
            Err(LogError::Damaged { line, .. }) => Some(line),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    };
    for (at, _) in text.iter().enumerate().filter(|(at, byte)| **byte != b'\n' && at % 7 == 0) {
        let mut changed = text.clone();
        changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
        assert!(opened(&changed).is_some() || changed == text, "byte {at}");
    }
    assert_eq!(opened(&[lines[0], lines[2], lines[3]].concat()), Some(2), "a line is missing");
    assert_eq!(opened(&[lines[0], lines[2], lines[1], lines[3]].concat()), Some(2), "two have changed places");
    assert_eq!(opened(&[lines[0], lines[1], lines[1]].concat()), Some(3), "one is there twice");
    assert_eq!(opened(&lines[1..].concat()), Some(1), "the first is missing");
    assert_eq!(opened(&[&text[..], b"\n"].concat()), Some(5), "an empty line");
    assert_eq!(opened(&[&text[..], &[b'x'; 20_000]].concat()), Some(5), "more than any line has");
    assert_eq!(opened(&text), None);
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Ask(Ask),
    /// The last request again.
    Repeat,
    Wait(i64),
    /// Another process on the same log.
    Restart,
}

#[derive(Debug, Clone)]
struct Ask {
    payout: usize,
    amount: u64,
    /// Of the timestamp against the highest one.
    step_ms: i64,
    said: Said,
    /// The process dies in the middle of writing, this far into the line; beyond it, after the line and before the answer.
    dies_at: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Said {
    Nothing,
    Dead,
    Failed,
}

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![Just(Said::Nothing), Just(Said::Dead), Just(Said::Failed)];
    let dies_at = prop_oneof![5 => Just(None), 1 => (0..3_000usize).prop_map(Some)];
    let ask = (0..5usize, 1..130u64, -2..50i64, said, dies_at)
        .prop_map(|(payout, amount, step_ms, said, dies_at)| Step::Ask(Ask { payout, amount, step_ms, said, dies_at }));
    prop_oneof![
        8 => ask,
        2 => Just(Step::Repeat),
        2 => (-3_600_000..40_000_000i64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// A signer without a process: the log's bytes, and what was read of them.
struct Bench {
    disk: Vec<u8>,
    loaded: Loaded,
}

impl Bench {
    fn new() -> Bench {
        let (line, _) = Head::START.line(&Entry::Opened { version: VERSION, wallet: wallet() }).unwrap();
        let loaded = load(&line[..], &wallet()).unwrap();
        Bench { disk: line, loaded }
    }

    fn restart(&mut self) {
        let mut text = Vec::new();
        (&self.disk[..]).read_to_end(&mut text).unwrap();
        self.loaded = load(&text[..], &wallet()).unwrap();
        self.disk.truncate(self.loaded.length as usize);
    }

    /// The answer; `Err(None)` when the process died before it could give one.
    fn ask(&mut self, request: &SignRequest, now_ms: i64, dies_at: Option<usize>) -> Result<Signed, Option<Refusal>> {
        let place = self.loaded.memory.place(&request.payout_id).map(|place| place as usize);
        let earlier = place.map(|place| record_of(self.disk[place..].split(|b| *b == b'\n').next().unwrap()).unwrap().signed);
        let verdict = self.loaded.memory.judge(&wallet(), &caps(), request, earlier.as_ref(), true, now_ms);
        let (transfer, resolved) = match verdict.map_err(|refused| Some(refused.name))? {
            Verdict::Again => return Ok(earlier.unwrap()),
            Verdict::Sign(transfer, resolved) => (transfer, resolved),
        };
        let record = Record { signed: Signed::of(request, transfer.sign(&key()), now_ms), resolved };
        let (line, head) = self.loaded.head.line(&Entry::of(&record)).unwrap();
        if let Some(cut) = dies_at {
            self.disk.extend_from_slice(&line[..cut.min(line.len())]);
            self.restart();
            return Err(None);
        }
        self.loaded.memory.apply(&record, self.disk.len() as u64);
        self.disk.extend_from_slice(&line);
        self.loaded.head = head;
        self.loaded.length = self.disk.len() as u64;
        Ok(record.signed)
    }
}

/// Everything on the disk, without an index: the auditor.
#[derive(Default)]
struct Audit {
    /// Signed, and whether a later line says that it cannot land.
    all: Vec<(Signed, bool)>,
}

impl Audit {
    fn of(disk: &[u8]) -> Audit {
        let mut audit = Audit::default();
        for line in disk.split(|b| *b == b'\n').skip(1).filter(|line| !line.is_empty()) {
            let record = record_of(line).unwrap();
            if let Some(resolution) = &record.resolved {
                audit.all.iter_mut().filter(|(signed, _)| signed.txid == resolution.txid()).for_each(|(_, resolved)| *resolved = true);
            }
            audit.all.push((record.signed, false));
        }
        audit
    }

    fn live(&self, payout: &PayoutId) -> Vec<&Signed> {
        self.all.iter().filter(|(signed, resolved)| !resolved && signed.payout_id == *payout).map(|(signed, _)| signed).collect()
    }

    /// Most that is live, and most that was signed, in any 24 h that end with a signature. Times as the signer saw them, never falling.
    fn most_in_a_day(&self) -> (u64, u64) {
        let mut highest = i64::MIN;
        let times: Vec<i64> = self
            .all
            .iter()
            .map(|(signed, _)| {
                highest = highest.max(signed.signed_at_ms);
                highest
            })
            .collect();
        let sums = (0..self.all.len()).map(|end| {
            let day = (0..=end).filter(|at| times[*at] > times[end] - 86_400_000);
            let amounts = day.map(|at| (self.all[at].0.transfer.amount, self.all[at].1));
            amounts.fold((0, 0), |(live, all), (amount, resolved)| (live + if resolved { 0 } else { amount }, all + amount))
        });
        sums.fold((0, 0), |most, sum| (most.0.max(sum.0), most.1.max(sum.1)))
    }

    /// What the rules come to, by going through everything that was ever signed.
    fn allows(&self, request: &SignRequest, said: Said, now_ms: i64) -> bool {
        let live = self.live(&request.payout_id);
        let out_of_the_way = live.iter().all(|earlier| match said {
            Said::Nothing => false,
            Said::Failed => true,
            Said::Dead => now_ms >= earlier.transfer.expires_at_ms + 600_000,
        });
        let highest = self.all.iter().map(|(signed, _)| signed.signed_at_ms).max().unwrap_or(now_ms).max(now_ms);
        let mut seen = i64::MIN;
        let (mut spent, mut signed_in_all) = (0, 0);
        for (signed, resolved) in &self.all {
            seen = seen.max(signed.signed_at_ms);
            if seen > highest - 86_400_000 {
                signed_in_all += signed.transfer.amount;
                spent += if *resolved || signed.payout_id == request.payout_id { 0 } else { signed.transfer.amount };
            }
        }
        let count = self.all.iter().filter(|(signed, _)| signed.payout_id == request.payout_id).count();
        let rises = self.all.iter().all(|(signed, _)| request.timestamp_ms > signed.transfer.timestamp_ms);
        let near = (request.timestamp_ms - now_ms).abs() <= 86_400_000 && (request.expires_at_ms - now_ms).abs() <= 86_400_000;
        let amount = request.amount;
        out_of_the_way && rises && near && count < 10 && amount <= 100 && spent + amount <= 250 && signed_in_all + amount <= 500
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_history_signs_a_payout_twice_or_passes_a_cap(steps in proptest::collection::vec(step(), 1..90)) {
        let mut bench = Bench::new();
        let mut now_ms = START_MS;
        let mut last: Option<SignRequest> = None;
        for step in steps {
            let before = Audit::of(&bench.disk);
            match step {
                Step::Wait(ms) => now_ms += ms,
                Step::Restart => bench.restart(),
                Step::Repeat => {
                    let Some(request) = &last else { continue };
                    let newest = before.all.iter().rev().find(|(signed, _)| signed.payout_id == request.payout_id);
                    if newest.is_some_and(|(signed, _)| signed.transfer == described(&wallet(), request)) {
                        let again = bench.ask(request, now_ms, None);
                        prop_assert_eq!(again.as_ref().ok(), newest.map(|(signed, _)| signed), "the same answer");
                        prop_assert_eq!(Audit::of(&bench.disk).all.len(), before.all.len(), "and nothing new");
                    }
                }
                Step::Ask(Ask { payout, amount, step_ms, said, dies_at }) => {
                    let payout = format!("payout_{payout}");
                    let highest = before.all.iter().map(|(signed, _)| signed.transfer.timestamp_ms).max().unwrap_or(START_MS);
                    let attempt = before.all.iter().filter(|(signed, _)| signed.payout_id.as_str() == payout).count() as u32 + 1;
                    let mut asked = request(&payout, attempt, amount, now_ms.max(highest + step_ms));
                    let live = before.live(&asked.payout_id).into_iter();
                    asked.previous = match said {
                        Said::Nothing => Vec::new(),
                        Said::Dead => live.map(dead).collect(),
                        Said::Failed => live.map(failed).collect(),
                    };
                    let answer = bench.ask(&asked, now_ms, dies_at);
                    let allowed = before.allows(&asked, said, now_ms);
                    prop_assert_eq!(matches!(answer, Ok(_) | Err(None)), allowed, "{:?} at {}: {:?}", asked, now_ms, answer);
                    if let Ok(signed) = &answer {
                        prop_assert!(signed.is_sound(wallet().key));
                    }
                    last = Some(asked);
                }
            }
            let audit = Audit::of(&bench.disk);
            for payout in 0..5 {
                let payout = PayoutId::parse(&format!("payout_{payout}")).unwrap();
                prop_assert!(audit.live(&payout).len() <= 1, "two transactions of {} may land", payout);
            }
            let (live, all) = audit.most_in_a_day();
            prop_assert!(live <= caps().max_24h && all <= 2 * caps().max_24h, "{} live, {} in all", live, all);
        }
    }
}
