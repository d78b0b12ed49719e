use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::address::AddressRecord;
use crate::domain::ids::PoolIndex;
use crate::domain::ledger::{Account, Balances, Settlement};
use crate::domain::money::Pico;
use crate::domain::time::BootMs;

const BOOK: Book = Book { settlement: Settlement::Simulated, currency: Currency::Usdt };
const NODE: NodeIndex = NodeIndex(1);

fn at(s: i64) -> Now {
    Now { wall: Timestamp::from_seconds(s), boot: BootMs(0), trusted: true }
}

fn untrusted() -> Now {
    Now { trusted: false, ..at(0) }
}

fn address(which: usize) -> PayoutAddress {
    let texts = ["TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"];
    PayoutAddress::parse(texts[which], Currency::Usdt).unwrap()
}

fn id(n: u64) -> PayoutId {
    PayoutId::parse(&format!("payout_{n}x")).unwrap()
}

fn request(n: u64, amount: i64) -> Plan {
    Plan {
        id: id(n),
        seq: n,
        node: NODE,
        book: BOOK,
        amount: Units(amount),
        address: address(0),
        source: Source::Automatic,
        priority: Priority::Normal,
    }
}

fn prepared(n: u64, attempt: u32) -> Prepared {
    let pin = Pin { gateway: "simulated".into(), network: "none".into(), wallet: String::new(), contract: String::new() };
    Prepared {
        pin,
        urls: Vec::new(),
        bytes: vec![1],
        txid: Some(format!("{n}-{attempt}")),
        expires_at: Some(Timestamp::from_seconds(600)),
        reference_block: 0,
        fee_limit_sun: 0,
        timestamp_ms: 0,
    }
}

fn landed() -> Landed {
    Landed { txid: Some("1-1".into()), fee_sun: 7 }
}

fn expired() -> Death {
    Death::Told("expired".into())
}

fn held(p: &Payout, seconds: i64) -> Payout {
    p.hold_for_review(ReviewKind::Held, "odd", vec!["seen twice".into()], at(seconds)).unwrap()
}

/// Of a service: nothing ever proves that it did not pay.
fn ambiguous() -> Payout {
    let prepared = Prepared { txid: None, expires_at: None, ..prepared(1, 1) };
    let sent = planned().sign(prepared, Some(&address(0)), at(1)).unwrap().maybe_sent(at(2)).unwrap();
    sent.hold_for_review(ReviewKind::Ambiguous, "no answer", Vec::new(), at(3)).unwrap()
}

fn admin(n: u8) -> UserId {
    UserId::parse(&format!("user_0123{n}")).unwrap()
}

fn planned() -> Payout {
    plan(request(1, 100), Units(100), None, at(0)).unwrap().0
}

fn signed() -> Payout {
    planned().sign(prepared(1, 1), Some(&address(0)), at(1)).unwrap()
}

fn sent() -> Payout {
    signed().maybe_sent(at(2)).unwrap()
}

#[test]
fn a_plan_reserves_what_is_free() {
    let (payout, entry) = plan(request(1, 100), Units(100), None, at(0)).unwrap();
    assert_eq!(payout.status(), Status::Pending);
    assert_eq!(entry, Entry::reserve(BOOK, NODE, id(1), Units(100)).unwrap());
    let refused = |amount, free, other: Option<&PayoutId>| plan(request(1, amount), Units(free), other, at(0)).unwrap_err();
    assert_eq!(refused(0, 100, None), PayoutError::AmountOutOfRange);
    assert_eq!(refused(-1, 100, None), PayoutError::AmountOutOfRange);
    assert_eq!(refused(101, 100, None), PayoutError::AboveBalance { free: Units(100) });
    let most = max_amount(Currency::Usdt).0;
    assert!(plan(request(1, most), Units(i64::MAX), None, at(0)).is_ok());
    assert_eq!(refused(most + 1, i64::MAX, None), PayoutError::AmountOutOfRange);
    assert_eq!(refused(1, 100, Some(&id(9))), PayoutError::OtherUnresolved(id(9)));
    assert_eq!(plan(request(1, 1), Units(1), None, untrusted()).unwrap_err(), PayoutError::ClockUntrusted);
    let lucid = Plan { book: Book { currency: Currency::Lucid, ..BOOK }, ..request(1, 1) };
    assert_eq!(plan(lucid, Units(1), None, at(0)).unwrap_err(), PayoutError::WrongCurrency);
}

#[test]
fn a_payout_is_signed_sent_seen_and_paid() {
    let p = sent();
    assert_eq!((p.status(), p.txid()), (Status::Processing, Some("1-1")));
    let p = p.seen(7, at(3)).unwrap().unseen(at(4)).unwrap().seen(8, at(5)).unwrap();
    let (p, entry) = p.paid(landed(), at(6)).unwrap();
    assert_eq!((p.fees_sun(), p.attempts[0].seen_at, p.attempts[0].ended_at), (7, Some(at(3).wall), Some(at(6).wall)));
    assert!(p.attempts[0].prepared.bytes.is_empty(), "the chain has them");
    assert_eq!((p.status(), p.state.clone()), (Status::Completed, State::Paid { at: Timestamp::from_seconds(6) }));
    assert_eq!(entry, Entry::paid(BOOK, NODE, id(1), Units(100)).unwrap());
    assert_eq!(p.paid(landed(), at(7)).unwrap_err(), PayoutError::AlreadyEnded);
    assert_eq!(postcard::from_bytes::<Payout>(&postcard::to_stdvec(&p).unwrap()).unwrap(), p);
}

#[test]
fn a_failure_on_chain_ends_the_payout_and_releases_its_money() {
    let (p, entry) = sent().failed_on_chain("OUT_OF_ENERGY".into(), landed(), at(3)).unwrap();
    assert_eq!(p.status(), Status::Failed);
    assert_eq!(entry, Entry::release(BOOK, NODE, id(1), Units(100)).unwrap());
}

#[test]
fn nothing_is_signed_twice_nor_to_a_changed_address() {
    let sign = |p: &Payout, to: Option<&PayoutAddress>, now| p.sign(prepared(1, 2), to, now).unwrap_err();
    assert_eq!(sign(&signed(), Some(&address(0)), at(2)), PayoutError::AttemptLive);
    assert_eq!(sign(&sent(), Some(&address(0)), at(2)), PayoutError::AttemptLive);
    assert_eq!(sign(&planned(), Some(&address(1)), at(2)), PayoutError::AddressChanged);
    assert_eq!(sign(&planned(), None, at(2)), PayoutError::AddressChanged);
    assert_eq!(sign(&planned(), Some(&address(0)), untrusted()), PayoutError::ClockUntrusted);
    let held = held(&planned(), 1);
    assert_eq!((held.status(), sign(&held, Some(&address(0)), at(2))), (Status::Processing, PayoutError::InReview));
    assert!(held.check_again(at(3)).unwrap().sign(prepared(1, 1), Some(&address(0)), at(4)).is_ok());
}

#[test]
fn review_stops_first_sends_and_not_the_tracking() {
    assert_eq!(held(&signed(), 1).maybe_sent(at(2)).unwrap_err(), PayoutError::InReview);
    let paid = held(&sent(), 3).paid(landed(), untrusted()).unwrap().0;
    assert_eq!((paid.status(), paid.review), (Status::Completed, None));
}

#[test]
fn what_an_older_copy_of_the_store_never_knew_to_be_sent_is_found_all_the_same() {
    let (p, _) = signed().paid(landed(), at(9)).unwrap();
    assert_eq!((p.status(), p.attempts[0].sent_at), (Status::Completed, Some(at(9).wall)));
    assert!(signed().seen(4, at(9)).unwrap().live_attempt().unwrap().has_left());
}

#[test]
fn cancelling_needs_that_nothing_can_land() {
    for p in [planned(), sent().dead(expired(), at(3)).unwrap(), signed().dead(expired(), at(3)).unwrap()] {
        let (cancelled, entry) = p.cancel("by hand".into(), at(4)).unwrap();
        assert_eq!(cancelled.status(), Status::Cancelled);
        assert_eq!(entry, Entry::release(BOOK, NODE, id(1), Units(100)).unwrap());
        assert_eq!(cancelled.maybe_sent(at(5)).unwrap_err(), PayoutError::AlreadyEnded);
    }
    for p in [signed(), sent(), sent().seen(1, at(3)).unwrap()] {
        assert_eq!(p.cancel("by hand".into(), at(4)).unwrap_err(), PayoutError::AttemptLive);
    }
}

#[test]
fn a_person_has_the_choices_that_are_safe_and_no_others() {
    use Choice::{AcceptPaid, Cancel, CheckAgain, NewAttempt, StateUnpaid};
    assert_eq!(planned().choices(), [], "it waits for nobody");
    assert_eq!(held(&planned(), 1).choices(), [CheckAgain, NewAttempt, Cancel]);
    assert_eq!(held(&sent(), 3).choices(), [CheckAgain, AcceptPaid], "it can still land");
    assert_eq!(held(&sent().dead(expired(), at(3)).unwrap(), 4).choices(), [CheckAgain, AcceptPaid, NewAttempt, Cancel]);
    assert_eq!(ambiguous().choices(), [CheckAgain, AcceptPaid, StateUnpaid]);
    assert_eq!(held(&sent(), 3).allow_attempt(at(4)).unwrap_err(), PayoutError::NotAChoice(NewAttempt));
}

#[test]
fn evidence_that_is_said_again_is_kept_once() {
    let lines = || vec!["one node: paid".to_owned(), "another: unknown".to_owned()];
    let once = sent().hold_for_review(ReviewKind::Conflict, "odd", lines(), at(3)).unwrap();
    let twice = once.hold_for_review(ReviewKind::Conflict, "odd", lines(), at(4)).unwrap();
    assert_eq!(twice.review.as_ref().unwrap().evidence, lines());
}

#[test]
fn a_named_transaction_is_booked_when_it_is_verified() {
    let claim = |txid: &str| Claim { txid: txid.into(), by: admin(1), at: at(4).wall };
    let waits = held(&sent(), 3);
    assert_eq!(waits.claim(claim("other"), at(4)).unwrap_err(), PayoutError::OtherTransaction, "the attempt's own can still land");
    let claimed = waits.claim(claim("1-1"), at(4)).unwrap();
    assert!(claimed.is_open() && !claimed.choices().contains(&Choice::AcceptPaid), "nothing is booked by a claim");
    let refused = claimed.claim_refused("it went to another address", at(5)).unwrap();
    assert_eq!(refused.review.as_ref().unwrap().evidence.last().unwrap(), "1-1 did not pay it: it went to another address");
    let (paid, entry) = claimed.claim_verified(landed(), at(6)).unwrap();
    assert_eq!((paid.status(), entry), (Status::Completed, Entry::paid(BOOK, NODE, id(1), Units(100)).unwrap()));
    assert_eq!(waits.claim_verified(landed(), at(6)).unwrap_err(), PayoutError::OutOfOrder, "nobody named one");

    let by_hand = held(&sent().dead(expired(), at(3)).unwrap(), 4).claim(claim("by-hand"), at(5)).unwrap();
    let (paid, _) = by_hand.claim_verified(Landed { txid: Some("by-hand".into()), fee_sun: 1 }, at(6)).unwrap();
    assert_eq!(paid.txid(), Some("by-hand"));
}

#[test]
fn two_admins_state_that_a_service_did_not_pay() {
    let statement = |n| Statement { by: admin(n), at: at(4).wall, text: "asked them by telephone".into() };
    let once = ambiguous().state_unpaid(statement(1), at(4)).unwrap();
    assert!(once.live_attempt().is_some() && once.review.is_some());
    assert_eq!(once.state_unpaid(statement(1), at(5)).unwrap_err(), PayoutError::StatedBefore);
    let twice = once.state_unpaid(statement(2), at(6)).unwrap();
    assert_eq!((&twice.attempts[0].state, &twice.review), (&AttemptState::Dead { death: Death::Stated }, &None));
    assert_eq!(twice.may_sign(Some(&address(0)), at(7)), Ok(()));
    let chain = held(&sent(), 3).state_unpaid(statement(1), at(4)).unwrap_err();
    assert_eq!(chain, PayoutError::NotAChoice(Choice::StateUnpaid), "a chain proves it, or nobody does");
}

#[test]
fn steps_out_of_order_are_refused() {
    let p = planned();
    assert_eq!(p.seen(1, at(3)).unwrap_err(), PayoutError::OutOfOrder);
    assert_eq!(p.paid(landed(), at(3)).unwrap_err(), PayoutError::OutOfOrder);
    assert_eq!(p.failed_on_chain(String::new(), landed(), at(3)).unwrap_err(), PayoutError::OutOfOrder);
    for p in [planned(), signed()] {
        assert_eq!(p.unseen(at(3)).unwrap_err(), PayoutError::OutOfOrder);
    }
    assert_eq!(sent().maybe_sent(at(3)).unwrap_err(), PayoutError::OutOfOrder);
    assert_eq!(sent().seen(1, at(3)).unwrap().dead(expired(), at(4)).unwrap_err(), PayoutError::OutOfOrder);
    assert_eq!(planned().dead(expired(), at(4)).unwrap_err(), PayoutError::OutOfOrder);
    assert_eq!(planned().check_again(at(4)).unwrap_err(), PayoutError::NotAChoice(Choice::CheckAgain));
}

#[test]
fn attempts_are_bounded_and_then_a_person_decides() {
    let mut p = planned();
    for n in 1..=MAX_ATTEMPTS {
        assert_eq!(p.next_attempt() as usize, n);
        p = p.sign(prepared(1, p.next_attempt()), Some(&address(0)), at(1)).unwrap().maybe_sent(at(2)).unwrap();
        p = p.dead(expired(), at(3)).unwrap();
    }
    assert_eq!(p.review_reason(), Some("all attempts died"));
    assert!(p.check_again(at(4)).unwrap().review.is_some(), "looking again does not bring attempts back");
    let allowed = p.allow_attempt(at(4)).unwrap();
    let last = allowed.sign(prepared(1, 6), Some(&address(0)), at(5)).unwrap();
    let died = last.dead(expired(), at(6)).unwrap();
    assert_eq!(died.review_reason(), Some("all attempts died"), "one more was allowed, and no two");
    assert!(died.cancel("gone".into(), at(6)).is_ok());
}

#[test]
fn the_automatic_cycle_says_why_it_skips() {
    let record = AddressRecord { address: address(0), changed_at: Timestamp(0), active_from: Timestamp::from_seconds(1_000) };
    let good = Candidate {
        book: BOOK,
        free: Units(10_000_000),
        threshold: Units(10_000_000),
        last_scheduled_at: Some(Timestamp::from_seconds(0)),
        frequency_hours: 24,
        address: Some(&record),
        has_unresolved: false,
        has_drift: false,
        is_payable: true,
    };
    let day = at(86_400);
    assert_eq!(eligible_for_payout(&good, day), Ok(Units(10_000_000)));
    let skip = |change: fn(&mut Candidate<'_>), now| {
        let mut c = good.clone();
        change(&mut c);
        eligible_for_payout(&c, now).unwrap_err()
    };
    assert_eq!(skip(|_| (), Now { trusted: false, ..day }), Skip::ClockUntrusted);
    assert_eq!(skip(|c| c.free = Units(9_999_999), day), Skip::BelowThreshold);
    assert_eq!(skip(|c| (c.free, c.threshold) = (Units(0), Units(0)), day), Skip::BelowThreshold);
    assert_eq!(skip(|c| c.is_payable = false, day), Skip::CurrencyNotPayable);
    assert_eq!(skip(|c| c.has_unresolved = true, day), Skip::UnresolvedPayout);
    assert_eq!(skip(|_| (), at(86_399)), Skip::TooSoon { until: Timestamp::from_seconds(86_400) });
    assert_eq!(skip(|c| c.address = None, day), Skip::NoAddress);
    assert_eq!(skip(|c| c.book.currency = Currency::Lucid, day), Skip::AddressOfOtherCurrency);
    assert_eq!(skip(|c| c.has_drift = true, day), Skip::HardwareDrift);
    assert_eq!(skip(|c| c.last_scheduled_at = None, at(999)), Skip::AddressWaits { until: Timestamp::from_seconds(1_000) });
    let rich = Candidate { free: Units(i64::MAX), ..good };
    assert_eq!(eligible_for_payout(&rich, day), Ok(max_amount(Currency::Usdt)));
}

/// One node's money and its payouts, kept by the verbs under test; beside it, what a person with a notebook would know.
#[derive(Default)]
struct World {
    balances: Balances,
    payouts: BTreeMap<u64, Payout>,
    earned: i64,
    /// Amounts by what became of them.
    reserved: i64,
    paid: i64,
}

impl World {
    fn unresolved(&self) -> Option<&Payout> {
        self.payouts.values().find(|p| p.is_open())
    }

    fn earn(&mut self, amount: i64) {
        let by_pool = vec![(PoolIndex(0), Units(amount))];
        let whole = crate::domain::credits::Whole { currency: Currency::Usdt, total: Units(amount), by_pool, remainder: Pico::ZERO };
        let range = (crate::domain::credits::Epoch(0), crate::domain::credits::Epoch(1));
        let entry = Entry::accrual(BOOK.settlement, NODE, range.0, range.1, &whole).unwrap().unwrap();
        self.balances.post(&entry).unwrap();
        self.earned += amount;
    }

    /// True when the step was taken.
    fn step(&mut self, kind: u8, amount: i64) -> bool {
        let free = self.balances.get(BOOK, Account::NodePayable(NODE));
        let n = self.payouts.len() as u64 + 1;
        if kind == 0 {
            let open = self.unresolved().map(|p| p.id.clone());
            let Ok((payout, entry)) = plan(request(n, amount), free, open.as_ref(), at(0)) else { return false };
            assert!(open.is_none(), "one unresolved payout at a time");
            self.reserved += amount;
            self.write(payout, Some(entry));
            return true;
        }
        // Mostly the open payout, sometimes an ended one, which must stay as it is.
        let Some(payout) = self.unresolved().or_else(|| self.payouts.values().last()).cloned() else { return false };
        let amount = payout.amount.0;
        let plain = |p: Result<Payout, PayoutError>| p.map(|p| (p, None));
        let with = |r: Result<WithEntry, PayoutError>| r.map(|(p, e)| (p, Some(e)));
        let result = match kind {
            1 => plain(payout.sign(prepared(n, payout.next_attempt()), Some(&payout.address), at(1))),
            2 => plain(payout.maybe_sent(at(2))),
            3 => plain(payout.seen(5, at(3))),
            4 => plain(payout.unseen(at(3))),
            5 => with(payout.paid(landed(), at(4))),
            6 => with(payout.failed_on_chain("REVERT".into(), landed(), at(4))),
            7 => plain(payout.dead(expired(), at(4))),
            8 => with(payout.cancel("by hand".into(), at(4))),
            9 => plain(payout.hold_for_review(ReviewKind::Held, "odd", Vec::new(), at(4))),
            10 => plain(payout.check_again(at(4))),
            11 => plain(payout.allow_attempt(at(4))),
            12 => {
                let txid = payout.live_attempt().and_then(Attempt::txid).unwrap_or("by-hand").to_owned();
                plain(payout.claim(Claim { txid, by: admin(1), at: at(4).wall }, at(4)))
            }
            13 => with(payout.claim_verified(landed(), at(4))),
            14 => plain(payout.claim_refused("no", at(4))),
            _ => plain(payout.state_unpaid(Statement { by: admin(kind - 14), at: at(4).wall, text: String::new() }, at(4))),
        };
        let Ok((next, entry)) = result else { return false };
        assert!(payout.is_open(), "an end is final");
        assert_eq!(entry.is_some(), !next.is_open(), "an entry is written with the end, and only then");
        if !next.is_open() {
            self.reserved -= amount;
            self.paid += if next.status() == Status::Completed { amount } else { 0 };
        }
        self.write(next, entry);
        true
    }

    fn write(&mut self, payout: Payout, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.balances.post(&entry).unwrap();
        }
        self.payouts.insert(payout.seq, payout);
    }

    fn check(&self) {
        self.balances.check().unwrap();
        let of = |a| self.balances.get(BOOK, a).0;
        assert_eq!(of(Account::NodeReserved(NODE)), self.reserved);
        assert_eq!(of(Account::NodePaid(NODE)), self.paid);
        assert_eq!(of(Account::NodePayable(NODE)), self.earned - self.reserved - self.paid);
        assert!(self.payouts.values().filter(|p| p.is_open()).count() <= 1);
        for p in self.payouts.values() {
            let count = |wanted: fn(&Attempt) -> bool| p.attempts.iter().filter(|a| wanted(a)).count();
            assert!(count(|a| a.state == AttemptState::Paid) <= 1);
            assert!(p.attempts.len() <= MOST_ATTEMPTS);
            assert!(p.attempts.iter().rev().skip(1).all(|a| !a.may_have_paid()), "only the last attempt can land");
            let sent_and_live = count(|a| a.is_live() && a.sent_at.is_some());
            assert!(sent_and_live <= usize::from(p.is_open()), "nothing can land after the end");
            assert_eq!(p.status() == Status::Completed, count(|a| a.state == AttemptState::Paid) == 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn whatever_happens_the_books_balance_and_nobody_is_paid_twice(
        steps in prop::collection::vec((0u8..18, 1i64..200, prop::bool::weighted(0.2)), 1..120),
    ) {
        let mut world = World::default();
        for (kind, amount, earns) in steps {
            if earns {
                world.earn(amount);
            }
            let before = world.balances.clone();
            if !world.step(kind, amount) {
                prop_assert_eq!(&world.balances, &before);
            }
            world.check();
        }
    }
}

#[test]
fn each_step_has_a_name_and_more_evidence_has_none() {
    let (mut was, mut names) = (None::<Payout>, Vec::new());
    let mut step = |is: &Payout| {
        names.push(Change::between(was.as_ref(), is).map_or("", Change::event));
        was = Some(is.clone());
    };
    let (planned, _) = plan(request(1, 5), Units(5), None, at(0)).unwrap();
    let here = Some(planned.address.clone());
    let sign = |payout: &Payout, attempt| payout.sign(prepared(1, attempt), here.as_ref(), at(1)).unwrap();
    let signed = sign(&planned, 1);
    let sent = signed.maybe_sent(at(2)).unwrap();
    let kept = sent.not_sent(at(2)).unwrap();
    let again = kept.maybe_sent(at(3)).unwrap();
    let named = again.named("ref".into(), at(4)).unwrap();
    let seen = named.seen(7, at(5)).unwrap();
    let unseen = seen.unseen(at(6)).unwrap();
    let held = unseen.hold_for_review(ReviewKind::Ambiguous, "odd", vec!["one".into()], at(7)).unwrap();
    let more = held.hold_for_review(ReviewKind::Ambiguous, "odd", vec!["two".into()], at(8)).unwrap();
    let other = more.hold_for_review(ReviewKind::Conflict, "odder", Vec::new(), at(8)).unwrap();
    let looked = other.check_again(at(9)).unwrap();
    let dead = looked.dead(Death::Told("gone".into()), at(10)).unwrap();
    let second = sign(&dead, 2);
    let (paid, _) = second.paid(Landed { txid: Some("1-2".into()), fee_sun: 0 }, at(11)).unwrap();
    for is in [&planned, &signed, &sent, &kept, &again, &named, &seen, &unseen, &held, &more, &other, &looked, &dead, &second, &paid] {
        step(is);
    }
    let told = [
        "planned",
        "signed",
        "sent",
        "not_sent",
        "sent",
        "accepted",
        "seen",
        "unseen",
        "review",
        "",
        "noted",
        "resumed",
        "attempt_dead",
        "signed",
        "paid",
    ];
    assert_eq!(names, told.map(|name| if name.is_empty() { String::new() } else { format!("payout.{name}") }));
    let ends = |end: Result<WithEntry, PayoutError>, before: &Payout| Change::between(Some(before), &end.unwrap().0);
    assert_eq!(ends(second.failed_on_chain("refused".into(), landed(), at(11)), &second), Some(Change::Failed));
    assert_eq!(ends(dead.cancel("enough".into(), at(11)), &dead), Some(Change::Cancelled));
}

#[test]
fn what_others_may_have_of_an_attempt_moves_nothing() {
    let (raw, signature) = (b"what is to be moved".to_vec(), [9; 65]);
    let signed = [&raw[..], &[0x12, 65], &signature].concat();
    let of = |bytes: &[u8], txid: Option<&str>| {
        let prepared = Prepared { bytes: bytes.to_vec(), txid: txid.map(Into::into), ..prepared(1, 1) };
        prepared.unsigned()
    };
    assert_eq!(of(&signed, Some("f0")), raw);
    assert_eq!(of(&[&signed[..], &[0]].concat(), Some("f0")), [0; 0], "it has another form than what is known to be signed");
    assert_eq!(of(b"short", Some("f0")), [0; 0]);
    assert_eq!(of(b"a request to a service", None), b"a request to a service");
}
