//! Each rule by its boundary. What the rules are worth together is `log::tests`.

use std::num::NonZeroU32;

use super::core::{DEATH_WAIT_MS, Memory, Record, Verdict, described};
use super::protocol::{Refusal, Resolution, SignRequest, Signed, Wallet};
use super::testing::{EXPIRY_MS, PAYEE, START_MS, caps, dead, failed, key, request, tron, wallet};
use crate::domain::ids::PayoutId;

const NOW: i64 = START_MS;
const DAY: i64 = 86_400_000;

fn signed(request: &SignRequest, at_ms: i64) -> Signed {
    Signed::of(request, described(&wallet(), request).sign(&key()), at_ms)
}

/// The memory of what these requests led to, signed at their own timestamps.
fn memory(requests: &[SignRequest]) -> Memory {
    let mut memory = Memory::default();
    for (place, request) in requests.iter().enumerate() {
        let resolved = request.previous.last().cloned();
        memory.apply(&Record { signed: signed(request, request.timestamp_ms), resolved }, place as u64);
    }
    memory
}

fn judged(memory: &Memory, request: &SignRequest, earlier: Option<&Signed>, now_ms: i64) -> Result<Verdict, Refusal> {
    memory.judge(&wallet(), &caps(), request, earlier, true, now_ms).map_err(|refused| refused.name)
}

fn alone(request: &SignRequest) -> Result<(), Refusal> {
    judged(&Memory::default(), request, None, NOW).map(drop)
}

#[test]
fn a_request_within_all_bounds_becomes_the_transfer_that_it_describes() {
    let request = request("payout_a", 1, 100, NOW);
    let Ok(Verdict::Sign(transfer, None)) = judged(&Memory::default(), &request, None, NOW) else { panic!("refused") };
    assert_eq!((transfer.owner, transfer.to, transfer.amount), (wallet().account, tron(PAYEE), 100));
    assert_eq!(
        (transfer.contract, transfer.reference, transfer.fee_limit_sun),
        (request.contract, request.reference, request.fee_limit_sun)
    );
    assert_eq!((transfer.expires_at_ms, transfer.timestamp_ms, transfer.permission_id), (request.expires_at_ms, NOW, None));
    let restricted = Wallet { account: tron(PAYEE), permission_id: NonZeroU32::new(2), ..wallet() };
    let described = described(&restricted, &request);
    assert_eq!((described.owner, described.permission_id), (tron(PAYEE), NonZeroU32::new(2)));
}

#[test]
fn every_field_has_a_bound_and_a_name_for_what_is_beyond() {
    let good = || request("payout_a", 1, 100, NOW);
    assert_eq!(alone(&good()), Ok(()));
    assert_eq!(alone(&SignRequest { amount: 0, ..good() }), Err(Refusal::AmountZero));
    assert_eq!(alone(&SignRequest { amount: 101, ..good() }), Err(Refusal::CapPerPayout));
    assert_eq!(alone(&SignRequest { fee_limit_sun: 30_000_000, ..good() }), Ok(()));
    assert_eq!(alone(&SignRequest { fee_limit_sun: 30_000_001, ..good() }), Err(Refusal::CapFee));
    assert_eq!(alone(&SignRequest { contract: tron("TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"), ..good() }), Err(Refusal::ContractNotAllowed));
    assert_eq!(alone(&SignRequest { to: wallet().account, ..good() }), Err(Refusal::OwnWallet));
    assert_eq!(alone(&SignRequest { to: tron("T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"), ..good() }), Err(Refusal::ZeroAddress));
    assert_eq!(alone(&SignRequest { to: good().contract, ..good() }), Err(Refusal::TokenAddress));
    assert_eq!(alone(&SignRequest { to: tron("TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"), ..good() }), Err(Refusal::TokenAddress));
    for (shift, refused) in [(DAY, false), (DAY + 1, true), (-DAY, false), (-DAY - 1, true)] {
        let expected = |name| if refused { Err(name) } else { Ok(()) };
        assert_eq!(alone(&SignRequest { expires_at_ms: NOW + shift, ..good() }), expected(Refusal::ExpiresTooLate), "{shift}");
        assert_eq!(alone(&SignRequest { timestamp_ms: NOW + shift, ..good() }), expected(Refusal::TimestampOutOfRange), "{shift}");
    }
    assert_eq!(alone(&SignRequest { reference_number: good().reference_number + 1, ..good() }), Err(Refusal::ReferenceInconsistent));
    assert_eq!(alone(&SignRequest { attempt: 0, ..good() }), Err(Refusal::AttemptNotIncreasing));
    let locked = Memory::default().judge(&wallet(), &caps(), &good(), None, false, NOW);
    assert_eq!(locked.unwrap_err().name, Refusal::Locked);
    let other = Wallet { account: tron(PAYEE), ..wallet() };
    for own in [other.account, other.key] {
        let refused = Memory::default().judge(&other, &caps(), &SignRequest { to: own, ..good() }, None, true, NOW);
        assert_eq!(refused.unwrap_err().name, Refusal::OwnWallet, "neither the account nor the key's own");
    }
}

#[test]
fn the_same_request_is_answered_again_even_when_everything_else_is_against_it() {
    let request = request("payout_a", 1, 100, NOW);
    let memory = memory(std::slice::from_ref(&request));
    let earlier = signed(&request, NOW);
    let again = |request: &SignRequest| memory.judge(&wallet(), &caps(), request, Some(&earlier), false, NOW + 30 * DAY);
    assert_eq!(again(&request), Ok(Verdict::Again), "locked, late and over the caps");
    assert_eq!(again(&SignRequest { previous: vec![failed(&earlier)], ..request.clone() }), Ok(Verdict::Again));
    let other = again(&SignRequest { amount: 99, ..request }).unwrap_err();
    assert_eq!((other.name, other.existing), (Refusal::AlreadySigned, Some(Box::new(earlier.clone()))), "the one that exists comes along");
}

#[test]
fn nothing_new_is_signed_for_who_does_not_know_of_the_newest() {
    let first = request("payout_a", 1, 10, NOW);
    let (memory, earlier) = (memory(std::slice::from_ref(&first)), signed(&first, NOW));
    let knows = |known_ms: i64| SignRequest { known_ms, ..request("payout_b", 1, 10, NOW + 1) };
    let of = |request: &SignRequest, earlier| {
        memory.judge(&wallet(), &caps(), request, earlier, true, NOW).map(drop).map_err(|refused| refused.name)
    };
    assert_eq!((of(&knows(NOW - 1), None), of(&knows(NOW), None)), (Err(Refusal::Unaccounted), Ok(())));
    assert_eq!(of(&SignRequest { known_ms: 0, ..first }, Some(&earlier)), Ok(()), "what is signed is told to everybody");
    assert_eq!(
        Memory::default().judge(&wallet(), &caps(), &knows(0), None, true, NOW).map(drop),
        Ok(()),
        "before the first there is nothing to know"
    );
}

#[test]
fn a_second_transaction_wants_a_resolution_that_can_be_true() {
    let first = request("payout_a", 1, 100, NOW);
    let earlier = signed(&first, NOW);
    let memory = memory(&[first]);
    let after = NOW + EXPIRY_MS + DEATH_WAIT_MS;
    let second = |previous: Vec<Resolution>, at: i64| SignRequest { previous, ..request("payout_a", 2, 100, at) };
    let at = |previous: Vec<Resolution>, now: i64| judged(&memory, &second(previous, now), Some(&earlier), now).map(drop);
    assert_eq!(at(vec![], after), Err(Refusal::AlreadySigned));
    let unrelated = signed(&request("payout_b", 1, 5, NOW + 1), NOW);
    assert_eq!(at(vec![dead(&unrelated)], after), Err(Refusal::AlreadySigned), "of another transaction");
    assert_eq!(at(vec![dead(&earlier)], after), Ok(()));
    assert_eq!(at(vec![dead(&earlier)], after - 1), Err(Refusal::ResolutionInconsistent), "too early by the signer's clock");
    assert_eq!(at(vec![dead(&earlier), failed(&earlier)], after), Err(Refusal::ResolutionInconsistent), "it cannot be both");
    let expiry = earlier.transfer.expires_at_ms;
    let Resolution::Dead { txid, solid_block, solid_timestamp_ms, scanned_from, scanned_to, witnesses } = dead(&earlier) else { panic!() };
    let proof = |solid_block, solid_timestamp_ms, scanned_from, scanned_to, witnesses: &[&str]| {
        let witnesses = witnesses.iter().map(|w| (*w).to_owned()).collect();
        at(vec![Resolution::Dead { txid, solid_block, solid_timestamp_ms, scanned_from, scanned_to, witnesses }], after)
    };
    let name: &str = &witnesses[0];
    let wrong = Err(Refusal::ResolutionInconsistent);
    assert_eq!(proof(solid_block, expiry, scanned_from - 9, scanned_to + 9, &[name]), Ok(()));
    assert_eq!(proof(solid_block, expiry - 1, scanned_from, scanned_to, &[name]), wrong, "before the expiry");
    assert_eq!(proof(solid_block, after + 60_001, scanned_from, scanned_to, &[name]), wrong, "from the future");
    assert_eq!(proof(solid_block, solid_timestamp_ms, scanned_from + 1, scanned_to, &[name]), wrong, "begun too late");
    assert_eq!(proof(solid_block, solid_timestamp_ms, scanned_from, scanned_to - 1, &[name]), wrong, "ended too early");
    assert_eq!(proof(scanned_from, solid_timestamp_ms, scanned_from, scanned_from, &[name]), wrong, "not after the reference");
    for witnesses in [&[][..], &[""], &[name, name], &["line\nbreak"], &[&"x".repeat(201)]] {
        assert_eq!(proof(solid_block, solid_timestamp_ms, scanned_from, scanned_to, witnesses), wrong, "{witnesses:?}");
    }
    let failure = |block, result: &str| at(vec![Resolution::FailedOnChain { txid, block, result: result.into() }], NOW + 1);
    assert_eq!(failure(scanned_from + 1, "REVERT"), Ok(()), "known at once");
    assert_eq!(
        (failure(scanned_from, "REVERT"), failure(scanned_from + 1, ""), failure(scanned_from + 1, "SUCCESS")),
        (wrong, wrong, wrong)
    );
    let same_attempt = SignRequest { attempt: 1, ..second(vec![dead(&earlier)], after) };
    assert_eq!(judged(&memory, &same_attempt, Some(&earlier), after).map(drop), Err(Refusal::AttemptNotIncreasing));
}

#[test]
fn a_payout_has_a_bounded_number_of_transactions() {
    let mut requests = vec![request("payout_a", 1, 1, NOW)];
    // Five of its own, and five that people may add.
    for attempt in 2..=11 {
        let last = signed(requests.last().unwrap(), NOW);
        let next = SignRequest { previous: vec![failed(&last)], ..request("payout_a", attempt, 1, NOW + i64::from(attempt)) };
        let result = judged(&memory(&requests), &next, Some(&last), NOW).map(drop);
        assert_eq!(result, if attempt <= 10 { Ok(()) } else { Err(Refusal::TooManyAttempts) }, "{attempt}");
        requests.push(next);
    }
}

#[test]
fn timestamps_rise_over_all_payouts() {
    let memory = memory(&[request("payout_a", 1, 1, NOW)]);
    assert_eq!(judged(&memory, &request("payout_b", 1, 1, NOW), None, NOW).map(drop), Err(Refusal::TimestampNotIncreasing));
    assert_eq!(judged(&memory, &request("payout_b", 1, 1, NOW + 1), None, NOW).map(drop), Ok(()));
}

#[test]
fn the_cap_of_a_day_rolls_and_a_clock_that_falls_back_frees_nothing() {
    let ids = ["payout_a", "payout_b", "payout_c"];
    let requests: Vec<_> = ids.iter().zip([100, 100, 50]).zip(NOW..).map(|((id, amount), at)| request(id, 1, amount, at)).collect();
    let full = memory(&requests);
    let another = |amount: u64, now: i64| judged(&full, &request("payout_d", 1, amount, NOW + 10), None, now).map(drop);
    assert_eq!((full.spent(NOW), another(1, NOW)), (250, Err(Refusal::Cap24h)));
    assert_eq!(full.spent(NOW - 40 * DAY), 250);
    assert_eq!(
        (another(1, NOW + DAY - 1), another(100, NOW + DAY), another(101, NOW + DAY)),
        (Err(Refusal::Cap24h), Ok(()), Err(Refusal::CapPerPayout))
    );
    let ahead = memory(&[requests.clone(), vec![request("payout_e", 1, 1, NOW + 3 * DAY)]].concat());
    assert_eq!((ahead.spent(NOW), ahead.spent(NOW + 4 * DAY)), (1, 0), "the window never moves back");
    assert_eq!(full.place(&PayoutId::parse("payout_c").unwrap()), Some(2));
}

#[test]
fn what_is_resolved_gives_its_room_back_once() {
    // 100 + 100 + 50 fill the day; c fails and is tried again, over and over.
    let mut requests: Vec<_> = [("payout_a", 100), ("payout_b", 100), ("payout_c", 50)]
        .iter()
        .zip(NOW..)
        .map(|((id, amount), at)| request(id, 1, *amount, at))
        .collect();
    for attempt in 2..=5 {
        let last = signed(requests.last().unwrap(), NOW);
        let next = SignRequest { previous: vec![failed(&last)], ..request("payout_c", attempt, 50, NOW + 10 + i64::from(attempt)) };
        assert_eq!(judged(&memory(&requests), &next, Some(&last), NOW).map(drop), Ok(()), "{attempt}");
        requests.push(next);
    }
    let memory = memory(&requests);
    assert_eq!(memory.spent(NOW), 250, "of 450 that were signed");
    let last = signed(&request("payout_b", 1, 100, NOW + 1), NOW);
    let retried = |amount| SignRequest { previous: vec![failed(&last)], ..request("payout_b", 2, amount, NOW + 100) };
    assert_eq!(
        judged(&memory, &retried(51), Some(&last), NOW).map(drop),
        Err(Refusal::Cap24h),
        "500 at most, whatever is said to have failed"
    );
    assert_eq!(judged(&memory, &retried(50), Some(&last), NOW).map(drop), Ok(()));
}
