//! One rule each.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lucid::domain::audit::Act;
use lucid::domain::ledger::{Account, Settlement};
use lucid::domain::money::{Currency, Units};
use lucid::domain::payout::{Attempt, AttemptState, Choice, Landed, Payout, Pin, Prepared, ReviewKind, State as PayoutState};
use lucid::domain::time::Timestamp;
use lucid::domain::wallet::{Outgoing, UnknownTransfer};
use lucid::gateways::payment::service::{AmountAs, HealthState, Http, Method, Options, Request, Transport};
use lucid::gateways::payment::tron::Network;
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Transfer};
use lucid::live::Job;
use lucid::storage::core::money_actions::{self, BookTo, Decision};
use lucid::storage::core::{ledger, money};
use lucid::storage::table::WriteTx;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::world::{self, HOUR_MS, PLAIN, World, book, options};
use crate::support::copy;
use crate::support::payment_service::{FakeService, Fault, Promises};

pub const FINDS: Promises = Promises { finds_keys: true, ..PLAIN };
pub const KEEPS: Promises = Promises { remembers_ms: Some(24 * HOUR_MS), ..PLAIN };
pub const ADMIN: &str = "user_0123456789";
pub const READY: Fault = Fault::None;

static ONE: OnceCell<TempDir> = OnceCell::const_new();
static FIVE: OnceCell<TempDir> = OnceCell::const_new();

async fn made(cell: &'static OnceCell<TempDir>, nodes: u8) -> &'static Path {
    let make = async || {
        let dir = tempfile::tempdir().unwrap();
        world::template(&dir.path().join("data"), nodes).await;
        dir
    };
    cell.get_or_init(make).await.path()
}

/// A manager that owes one node.
pub async fn one(promises: Promises) -> (TempDir, World) {
    one_with(promises, options(promises), None).await
}

async fn one_with(promises: Promises, options: Options, checker: Option<Arc<dyn PaymentGateway>>) -> (TempDir, World) {
    let dir = tempfile::tempdir().unwrap();
    copy(&made(&ONE, 1).await.join("data"), &dir.path().join("data"));
    let world = World::with(&dir.path().join("data"), promises, options, checker).await;
    (dir, world)
}

pub async fn five(promises: Promises) -> (TempDir, World) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(&made(&FIVE, 5).await.join("data"), &dir.path().join("data"), promises).await;
    (dir, world)
}

/// Cycles with time between them.
pub async fn cycles(world: &World, count: u32) {
    for _ in 0..count {
        assert!(world.cycle().await);
        world.pass(30_000);
    }
}

pub fn review(payout: &Payout) -> Option<ReviewKind> {
    payout.review.as_ref().map(|review| review.kind)
}

pub fn is_paid(payout: &Payout) -> bool {
    matches!(payout.state, PayoutState::Paid { .. })
}

pub fn paid_times(world: &World) -> usize {
    world.fake.paid().values().map(Vec::len).sum()
}

fn free(world: &World, payout: &Payout) -> Units {
    ledger::balance(&world.app.store.read().unwrap(), book(), Account::NodePayable(payout.node)).unwrap()
}

#[tokio::test]
async fn a_payout_is_asked_for_exactly_and_paid_once_the_service_says_so() {
    let (_dir, world) = one(PLAIN).await;
    assert!(world.cycle().await);
    let payout = world.payout();
    let attempt = payout.live_attempt().unwrap();
    assert_eq!((&attempt.state, attempt.reference.as_deref(), payout.review.as_ref()), (&AttemptState::MaybeSent, Some("svc-1"), None));
    let asked = &world.fake.posts()[0];
    assert_eq!((asked.path.as_str(), asked.key.as_deref()), ("/api/v1/payouts", Some(payout.id.as_str())));
    let body = format!(
        r#"{{"recipient_address":"{}","amount":12.5,"currency":"USDT","memo":"{}","priority":"normal"}}"#,
        payout.address, payout.id
    );
    assert_eq!(asked.body, body);
    world.pass(60_000);
    cycles(&world, 1).await;
    let payout = world.payout();
    assert!(is_paid(&payout) && payout.txid().is_some_and(|txid| txid.len() == 64), "{payout:?}");
    cycles(&world, 3).await;
    assert_eq!((world.fake.posts().len(), paid_times(&world)), (1, 1));
    world.audit("paid");
    world.verify("paid");
}

#[tokio::test]
async fn the_amount_may_be_a_text_and_fields_may_be_left_out() {
    let mut other = options(PLAIN);
    other.dialect.amount_as = AmountAs::String;
    (other.dialect.currency, other.dialect.priority) = (None, None);
    let (_dir, world) = one_with(PLAIN, other, None).await;
    cycles(&world, 1).await;
    let (payout, body) = (world.payout(), world.fake.posts()[0].body.clone());
    assert_eq!(body, format!(r#"{{"recipient_address":"{}","amount":"12.5","memo":"{}"}}"#, payout.address, payout.id));
}

#[tokio::test]
async fn a_lost_answer_waits_for_a_person_who_finds_it_in_the_books_of_the_service() {
    let (_dir, world) = one(PLAIN).await;
    world.fake.script([READY, Fault::Deaf]);
    cycles(&world, 1).await;
    let payout = world.payout();
    assert_eq!(review(&payout), Some(ReviewKind::Ambiguous));
    assert_eq!(payout.choices(), [Choice::CheckAgain, Choice::AcceptPaid, Choice::StateUnpaid]);
    world.pass(HOUR_MS);
    let world = world.crash().await;
    cycles(&world, 3).await;
    world.decide(ADMIN, &world.payout(), Decision::Choose(Choice::CheckAgain)).await.unwrap();
    cycles(&world, 2).await;
    assert_eq!((review(&world.payout()), world.fake.posts().len()), (Some(ReviewKind::Ambiguous), 1), "never asked again");
    // A transaction cannot be verified without a node; what the service calls it can.
    world.decide(ADMIN, &world.payout(), Decision::AcceptPaid { txid: "ab".repeat(32) }).await.unwrap();
    cycles(&world, 1).await;
    assert!(world.payout().review.is_some_and(|review| review.claim.is_none()), "refused");
    world.decide(ADMIN, &world.payout(), Decision::AcceptPaid { txid: "svc-1".into() }).await.unwrap();
    cycles(&world, 1).await;
    let payout = world.payout();
    assert!(is_paid(&payout) && payout.txid().is_some_and(|txid| txid.len() == 64), "the transaction, not the name: {payout:?}");
    world.audit("accepted");
}

#[tokio::test]
async fn a_claim_of_another_payout_is_refused() {
    let (_dir, world) = five(PLAIN).await;
    world.fake.script([READY, Fault::Deaf]);
    cycles(&world, 1).await;
    world.pass(HOUR_MS);
    cycles(&world, 2).await;
    let lost = world.payouts().into_iter().find(|payout| payout.review.is_some()).unwrap();
    let other = world.fake.jobs().into_iter().find(|job| !job.memo.starts_with(lost.id.as_str())).unwrap();
    world.decide(ADMIN, &lost, Decision::AcceptPaid { txid: other.id }).await.unwrap();
    cycles(&world, 1).await;
    let lost = world.payouts().into_iter().find(|payout| payout.id == lost.id).unwrap();
    assert!(lost.is_open() && lost.review.is_some_and(|review| review.claim.is_none()));
}

#[tokio::test]
async fn where_keys_are_found_a_lost_answer_is_found_again() {
    let (_dir, world) = one(FINDS).await;
    world.fake.script([READY, Fault::None, Fault::Deaf]);
    assert!(world.cycle().await);
    assert_eq!((review(&world.payout()), world.service.health().state), (None, HealthState::Open), "it is left alone for a moment");
    world.driver.advance_ms(40_000);
    assert!(world.cycle().await);
    let payout = world.payout();
    assert_eq!((review(&payout), payout.attempts[0].reference.as_deref()), (None, Some("svc-1")), "found by its key");
    world.fake.tick();
    cycles(&world, 3).await;
    assert!(is_paid(&world.payout()));
    assert_eq!(world.fake.posts().len(), 1);
}

#[tokio::test]
async fn what_is_not_found_proves_nothing() {
    let (_dir, world) = one(FINDS).await;
    world.fake.script([READY, Fault::None, Fault::Lost]);
    cycles(&world, 1).await;
    assert_eq!(review(&world.payout()), None, "it may be found in a moment");
    world.pass(120_000);
    cycles(&world, 3).await;
    assert_eq!((review(&world.payout()), world.fake.posts().len()), (Some(ReviewKind::Ambiguous), 0));
    world.state_unpaid(&world.payout()).await;
    cycles(&world, 4).await;
    let payout = world.payout();
    assert!(is_paid(&payout) && payout.attempts.len() == 2, "{payout:?}");
    let keys: Vec<Option<String>> = world.fake.posts().into_iter().map(|asked| asked.key).collect();
    assert_eq!(keys, [Some(format!("{}-2", payout.id))]);
    world.audit("stated");
}

#[tokio::test]
async fn a_statement_that_the_service_contradicts_pays_nothing() {
    let (_dir, world) = one(FINDS).await;
    world.fake.script([READY, Fault::None, Fault::Deaf]);
    cycles(&world, 1).await;
    world.pass(120_000);
    world.fake.script([Fault::Blind]);
    cycles(&world, 1).await;
    let payout = world.payout();
    assert_eq!(review(&payout), Some(ReviewKind::Ambiguous), "{payout:?}");
    world.state_unpaid(&payout).await;
    cycles(&world, 3).await;
    let payout = world.payout();
    assert_eq!((review(&payout), world.fake.posts().len()), (Some(ReviewKind::Conflict), 1), "they were wrong: {payout:?}");
    world.decide(ADMIN, &payout, Decision::AcceptPaid { txid: "svc-1".into() }).await.unwrap();
    cycles(&world, 1).await;
    assert!(is_paid(&world.payout()));
    world.audit("contradicted");
}

#[tokio::test]
async fn one_key_that_pays_once_is_sent_again_until_the_service_forgets_it() {
    let (_dir, world) = one(KEEPS).await;
    world.fake.script([READY, Fault::Deaf, Fault::Lost]);
    cycles(&world, 3).await;
    let (posts, payout) = (world.fake.posts(), world.payout());
    assert_eq!(posts.len(), 2, "the lost one never arrived");
    assert_eq!((&posts[0].key, &posts[0].body), (&posts[1].key, &posts[1].body), "the same bytes");
    assert_eq!((review(&payout), world.fake.jobs().len()), (None, 1));
    cycles(&world, 3).await;
    assert!(is_paid(&world.payout()));

    let (_dir, world) = one(KEEPS).await;
    world.fake.script([READY, Fault::Deaf, Fault::Deaf]);
    assert!(world.cycle().await);
    world.fake.set_down(true);
    cycles(&world, 1).await;
    world.pass(24 * HOUR_MS);
    world.fake.set_down(false);
    cycles(&world, 3).await;
    assert_eq!((review(&world.payout()), world.fake.posts().len()), (Some(ReviewKind::Ambiguous), 2), "an old key is not trusted");
}

#[tokio::test]
async fn a_service_that_does_not_keep_its_promise_is_caught_by_the_auditor() {
    let (_dir, world) = one_with(PLAIN, options(KEEPS), None).await;
    world.fake.script([READY, Fault::Deaf]);
    cycles(&world, 4).await;
    assert_eq!(paid_times(&world), 2, "this is what the declaration decides");
}

#[tokio::test]
async fn a_service_that_forgot_what_it_named_is_not_asked_again() {
    let (_dir, world) = one(KEEPS).await;
    cycles(&world, 1).await;
    world.fake.restart();
    cycles(&world, 3).await;
    assert_eq!((review(&world.payout()), world.fake.posts().len()), (Some(ReviewKind::Ambiguous), 1));
}

#[tokio::test]
async fn a_death_before_or_after_the_request_is_never_a_second_one() {
    for (fault, posts) in [(Fault::DieBefore, 0), (Fault::DieAfter, 1)] {
        let (_dir, world) = one(PLAIN).await;
        world.fake.script([READY, fault]);
        assert!(!world.cycle().await);
        assert_eq!(world.payout().attempts[0].state, AttemptState::MaybeSent, "recorded before it was sent");
        let world = world.crash().await;
        cycles(&world, 4).await;
        assert_eq!((review(&world.payout()), world.fake.posts().len()), (Some(ReviewKind::Ambiguous), posts), "{fault:?}");
    }
}

#[tokio::test]
async fn an_older_copy_of_the_store_finds_by_its_key_what_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let world = World::new(&made(&ONE, 1).await.join("data"), &first, FINDS).await;
    // Planned, and the service is away.
    world.fake.set_down(true);
    cycles(&world, 1).await;
    world.pass(60_000);
    let fake = Arc::clone(&world.fake);
    let driver = world.driver.clone();
    world.end();
    copy(&first, &second);
    fake.set_down(false);
    let world = World::over(&first, &driver, &fake, options(FINDS)).await;
    cycles(&world, 2).await;
    world.end();
    let older = World::over(&second, &driver, &fake, options(FINDS)).await;
    cycles(&older, 4).await;
    assert_eq!((fake.posts().len(), is_paid(&older.payout())), (1, true));
}

#[tokio::test]
async fn a_definite_no_to_the_only_request_frees_the_money() {
    for status in [400, 422] {
        let (_dir, world) = one(PLAIN).await;
        world.fake.script([READY, Fault::Status(status)]);
        assert!(world.cycle().await);
        let payout = world.payout();
        assert!(matches!(&payout.state, PayoutState::Failed { reason, .. } if reason == "not now"), "{payout:?}");
        assert_eq!(free(&world, &payout), payout.amount);
        world.verify("refused");
    }
}

#[tokio::test]
async fn a_no_after_a_lost_answer_is_not_definite() {
    let (_dir, world) = one(KEEPS).await;
    world.fake.script([READY, Fault::Deaf, Fault::Status(422)]);
    assert!(world.cycle().await);
    assert!(world.payout().is_open(), "the first one was taken");
    cycles(&world, 4).await;
    assert!(is_paid(&world.payout()));
    world.audit("422");
}

#[tokio::test]
async fn other_refusals_prove_nothing_and_stop_the_run() {
    for fault in [Fault::Status(401), Fault::Status(403), Fault::Status(404), Fault::Status(429), Fault::Status(500), Fault::Garbage] {
        let (_dir, world) = five(PLAIN).await;
        world.fake.script([READY, fault]);
        assert!(world.cycle().await);
        let payouts = world.payouts();
        let doubtful = payouts.iter().filter(|payout| payout.review.is_some()).count();
        assert_eq!(doubtful, 1, "{fault:?}");
        let expected = if fault == Fault::Garbage { HealthState::Closed } else { HealthState::Open };
        assert_eq!(world.service.health().state, expected, "{fault:?}");
        let untouched = payouts.iter().filter(|payout| payout.review.is_none() && !payout.attempts.iter().any(Attempt::has_left)).count();
        assert_eq!(untouched, if fault == Fault::Garbage { 0 } else { 4 }, "{fault:?}: the others wait");
        world.pass(HOUR_MS);
        cycles(&world, 5).await;
        assert_eq!(world.payouts().iter().filter(|payout| is_paid(payout)).count(), 4, "{fault:?}");
        world.audit("refusals");
    }
}

#[tokio::test]
async fn what_is_there_already_is_looked_up() {
    let (_dir, world) = one(FINDS).await;
    world.fake.script([READY, Fault::None, Fault::DoneBut(409)]);
    cycles(&world, 4).await;
    assert!(is_paid(&world.payout()));
    assert_eq!(world.fake.posts().len(), 1);

    let (_dir, world) = one(PLAIN).await;
    world.fake.script([READY, Fault::DoneBut(409)]);
    cycles(&world, 2).await;
    assert_eq!(review(&world.payout()), Some(ReviewKind::Ambiguous));
}

#[tokio::test]
async fn an_echo_of_another_amount_or_address_is_a_conflict() {
    for fault in [Fault::WrongAmount, Fault::WrongAddress] {
        let (_dir, world) = one(PLAIN).await;
        world.fake.script([READY, fault, Fault::StrangeWord]);
        assert!(world.cycle().await);
        let payout = world.payout();
        assert!(payout.review.as_ref().is_some_and(|review| review.evidence.iter().any(|line| line.contains("answered"))), "{payout:?}");
        let (_dir, world) = one(PLAIN).await;
        world.fake.script([READY, Fault::None, fault]);
        assert!(world.cycle().await);
        assert_eq!(review(&world.payout()), Some(ReviewKind::Conflict), "{fault:?} in a lookup");
    }
}

#[tokio::test]
async fn a_word_that_nobody_knows_waits_for_a_person_and_a_known_one_ends_it() {
    let (_dir, world) = one(PLAIN).await;
    world.fake.script([READY, Fault::None, Fault::StrangeWord]);
    cycles(&world, 1).await;
    let payout = world.payout();
    assert_eq!(review(&payout), Some(ReviewKind::Ambiguous));
    let before = payout.updated_at;
    world.fake.script([Fault::StrangeWord]);
    assert!(world.cycle().await);
    assert_eq!(world.payout().updated_at, before, "the same finding is not written again");
    world.pass(60_000);
    cycles(&world, 1).await;
    assert!(is_paid(&world.payout()));
}

#[tokio::test]
async fn what_the_service_gave_up_is_payable_again() {
    let (_dir, world) = one(Promises { fails: 100, ..PLAIN }).await;
    cycles(&world, 4).await;
    let payout = world.payout();
    assert!(matches!(&payout.state, PayoutState::Failed { reason, .. } if reason == "the service: no liquidity"), "{payout:?}");
    assert_eq!(free(&world, &payout), payout.amount);
    world.audit("failed");
}

#[tokio::test]
async fn what_is_under_way_for_a_day_needs_a_person() {
    let (_dir, world) = one(PLAIN).await;
    assert!(world.cycle().await);
    world.driver.advance_ms(24 * HOUR_MS);
    assert!(world.cycle().await);
    assert_eq!(review(&world.payout()), Some(ReviewKind::Ambiguous));
    world.fake.tick();
    cycles(&world, 1).await;
    assert!(is_paid(&world.payout()), "it ends all the same");
}

#[tokio::test]
async fn what_left_a_wallet_of_the_chain_that_the_service_pays_over_holds_it() {
    for (network, holds) in [("nile", false), ("mainnet", true)] {
        let (_dir, world) = one(PLAIN).await;
        assert_eq!(world.service.settlement(), Settlement::Live, "over the mainnet");
        let pin = Pin { network: Network::named(network).unwrap().id(), gateway: "tron".into(), ..world.service.pin() };
        let at = world.app.clock.now().wall;
        let transfer = Outgoing { txid: "ab".repeat(32), to: "T".into(), amount: Units(1), block: 1, at };
        let row = UnknownTransfer { pin, transfer, found_at: at, booked_at: None };
        world.app.store.write_money(move |tx| money::put_unknown(tx, &row)).await.unwrap();
        cycles(&world, 3).await;
        assert_eq!(world.fake.paid().is_empty(), holds, "{network}");
        // It is of the service's book, so it can be booked, and then payouts go on.
        let (act, secrets, payer) = (Act::system(world.app.clock.now()), world.app.store.secrets.clone(), world.service.payer());
        let book = move |tx: &mut WriteTx<'_>| {
            money_actions::book_transfer(tx, &act, &secrets, &payer, &"ab".repeat(32), &BookTo::Unexplained)?;
            money_actions::unfreeze(tx, &act, "booked", &payer, true).map(drop)
        };
        assert_eq!(world.app.store.write_money(book).await.is_ok(), holds, "{network}");
        cycles(&world, 3).await;
        assert_eq!(world.fake.paid().len(), 1, "{network}");
        world.audit(network);
        world.verify(network);
    }
}

#[tokio::test]
async fn days_without_the_service_record_nothing_as_sent_and_drain_in_order() {
    let (_dir, world) = five(PLAIN).await;
    world.fake.set_down(true);
    for _ in 0..3 * 24 {
        assert!(world.cycle().await);
        world.pass(HOUR_MS);
        world.app.context.run(Job::Wallet).await.unwrap();
    }
    assert!(world.payouts().iter().all(|payout| payout.attempts.is_empty() && payout.review.is_none()));
    assert!(world.app.context.money.waiting(1).is_some_and(|waiting| waiting.text.contains("refused")), "it is told why they wait");
    assert!(world.app.context.money.wallet_error().is_some_and(|(_, since)| world.driver.reading().wall.since(since) > HOUR_MS));
    assert_eq!(world.service.health().state, HealthState::Open);
    world.fake.set_down(false);
    world.pass(HOUR_MS);
    cycles(&world, 4).await;
    let keys: Vec<String> = world.fake.posts().into_iter().filter_map(|asked| asked.key).collect();
    let ids: Vec<String> = world.payouts().iter().map(|payout| payout.id.to_string()).collect();
    assert_eq!((keys, paid_times(&world)), (ids, 5));
    assert_eq!(world.service.health().state, HealthState::Closed);
    world.app.context.run(Job::Wallet).await.unwrap();
    assert_eq!(world.app.context.money.wallet_error(), None);
    world.audit("days");
}

#[tokio::test]
async fn a_connection_that_is_refused_at_the_last_moment_leaves_nothing_behind() {
    let (_dir, world) = one(PLAIN).await;
    world.fake.script([READY, Fault::Refused]);
    assert!(world.cycle().await);
    let attempt = world.payout().attempts[0].clone();
    assert_eq!((attempt.state, attempt.sent_at), (AttemptState::Signed, None), "nothing left this machine");
    cycles(&world, 4).await;
    assert!(is_paid(&world.payout()));
    assert_eq!(world.fake.posts().len(), 1);
}

/// Says of every transaction what the test says.
#[derive(Debug)]
struct Chain(Mutex<Lookup>);

impl PaymentGateway for Chain {
    fn pin(&self) -> Pin {
        Pin { gateway: "chain".into(), network: String::new(), wallet: String::new(), contract: String::new() }
    }
    fn settlement(&self) -> Settlement {
        Settlement::Live
    }
    fn pays(&self, _: Currency) -> bool {
        false
    }
    fn prepare<'a>(&'a self, _: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        unreachable!("it only looks")
    }
    fn send<'a>(&'a self, _: &'a Attempt, _: Sending) -> Boxed<'a, SendOutcome> {
        unreachable!("it only looks")
    }
    fn lookup<'a>(&'a self, _: &'a [Payout], _: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        unreachable!("it only verifies")
    }
    fn verify<'a>(&'a self, _: &'a Payout, _: &'a str) -> Boxed<'a, Lookup> {
        Box::pin(std::future::ready(self.0.lock().unwrap().clone()))
    }
}

#[tokio::test]
async fn one_transaction_pays_one_payout_and_holds_up_no_other() {
    let (_dir, world) = five(PLAIN).await;
    assert!(world.cycle().await);
    world.fake.name_one_transaction();
    cycles(&world, 3).await;
    let payouts = world.payouts();
    assert_eq!(payouts.iter().filter(|payout| is_paid(payout)).count(), 1);
    assert_eq!(payouts.iter().filter(|payout| review(payout) == Some(ReviewKind::Conflict)).count(), 4);
    world.verify("one transaction");
}

#[tokio::test]
async fn attempts_of_another_service_wait_for_it_and_hold_up_nobody() {
    let (_dir, world) = five(PLAIN).await;
    world.fake.script([READY, Fault::Deaf]);
    assert!(world.cycle().await);
    let other = Options { wallet: "another wallet".into(), ..options(PLAIN) };
    let world = world.configured(other).await;
    cycles(&world, 4).await;
    // The books went live with the other wallet, so nothing is paid from this one; what was asked there is not asked here.
    assert_eq!((world.fake.posts().len(), world.payouts().iter().filter(|payout| !payout.is_open()).count()), (1, 0));
    let world = world.configured(options(PLAIN)).await;
    cycles(&world, 4).await;
    assert_eq!(world.payouts().iter().filter(|payout| is_paid(payout)).count(), 4);
}

#[tokio::test]
async fn with_a_node_the_chain_has_the_last_word() {
    let chain = Arc::new(Chain(Mutex::new(Lookup::NotSeen)));
    let says = |lookup| *chain.0.lock().unwrap() = lookup;
    let landed = Landed { txid: None, fee_sun: 7 };
    let (_dir, world) = one_with(PLAIN, options(PLAIN), Some(chain.clone())).await;
    cycles(&world, 4).await;
    assert_eq!((world.payout().is_open(), review(&world.payout())), (true, None), "the service says paid, the chain does not know it yet");
    says(Lookup::Unknown("no node".into()));
    world.pass(2 * HOUR_MS);
    cycles(&world, 1).await;
    assert_eq!(review(&world.payout()), None, "nobody could be asked");
    says(Lookup::NotSeen);
    cycles(&world, 1).await;
    assert_eq!(review(&world.payout()), Some(ReviewKind::Conflict), "after an hour it is a lie");
    says(Lookup::FailedOnChain { reason: "out of energy".into(), landed: landed.clone() });
    cycles(&world, 1).await;
    assert!(world.payout().review.is_some_and(|review| review.evidence.last().unwrap().contains("out of energy")));
    says(Lookup::Paid(landed));
    cycles(&world, 1).await;
    let payout = world.payout();
    assert!(is_paid(&payout) && payout.fees_sun() == 7, "{payout:?}");
}

#[tokio::test]
async fn over_http_it_tells_what_was_sent_from_what_was_not() {
    let driver = lucid::clock::Driver::new(Timestamp(0), lucid::domain::time::BootMs(0));
    let fake = FakeService::new(&driver, PLAIN);
    let (base, serving) = fake.serve().await;
    let http = |token| Http::within(token, Duration::from_secs(1), Duration::from_millis(400)).unwrap();
    let (ours, url) = (http(Some("hush")), format!("{base}/api/v1/payouts"));
    let body = r#"{"recipient_address":"a","amount":1.5,"memo":"payout_1"}"#;
    let post = Request { method: Method::Post, url: &url, key: Some("payout_1"), body: Some(body) };
    let answered = ours.call(post).await.unwrap();
    assert_eq!(answered.status, 202);
    assert_eq!((fake.posts()[0].key.as_deref(), fake.posts()[0].body.as_str()), (Some("payout_1"), body));
    assert_eq!(http(None).call(post).await.unwrap().status, 401, "the token is missing");
    fake.script([Fault::Deaf]);
    let lost = ours.call(post).await.unwrap_err();
    assert!(lost.was_sent, "{lost:?}");
    assert_eq!(fake.posts().len(), 2);
    let get = Request { method: Method::Get, url: &format!("{url}/svc-1"), key: None, body: None };
    assert_eq!(ours.call(get).await.unwrap().status, 200);
    serving.abort();
    assert!(serving.await.is_err());
    let refused = ours.call(post).await.unwrap_err();
    assert!(!refused.was_sent, "{refused:?}");
    // One that listens and never answers.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", deaf.local_addr().unwrap());
    let late = ours.call(Request { method: Method::Post, url: &url, key: None, body: Some("{}") }).await.unwrap_err();
    assert!(late.was_sent && late.why.contains("in time"), "{late:?}");
}
