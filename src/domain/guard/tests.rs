use proptest::prelude::*;

use super::*;
use crate::domain::money::Currency;
use crate::domain::time::BootMs;

fn at(seconds: i64) -> Now {
    Now { wall: Timestamp::from_seconds(seconds), boot: BootMs(0), trusted: true }
}

fn address() -> PayoutAddress {
    PayoutAddress::parse("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", Currency::Usdt).unwrap()
}

fn limits() -> GuardLimits {
    let classes = vec![ClassLimit { class: NodeType::Storage, max_payout: Units(50), max_day: Units(120) }];
    GuardLimits {
        max_payout: Units(100),
        max_hour: Units(200),
        max_day: Units(400),
        classes,
        max_fee_hundredths: 2_000,
        approval_above: Units(300),
        blocked: BTreeSet::new(),
    }
}

fn facts(address: &PayoutAddress, amount: i64) -> Facts<'_> {
    Facts {
        amount: Units(amount),
        address,
        class: NodeType::Worker,
        fee_sun: None,
        rate: None,
        is_approved: false,
        lone_admin_since: None,
        pays_any_fee: false,
    }
}

fn spent(seconds: i64, amount: i64) -> Spent {
    Spent { at: Timestamp::from_seconds(seconds), amount: Units(amount), class: NodeType::Worker }
}

#[test]
fn each_guard_holds_what_it_is_for_and_nothing_below_its_limit() {
    let (address, none) = (address(), Spending::default());
    let held =
        |facts: &Facts<'_>, spending: &Spending, now| signable(&limits(), facts, spending, now).map_err(|held| (held.guard, held.until));
    assert_eq!(held(&facts(&address, 100), &none, at(0)), Ok(()));
    assert_eq!(held(&facts(&address, 101), &none, at(0)), Err((Guard::MaxPayout, None)));
    let storage = |amount| Facts { class: NodeType::Storage, ..facts(&address, amount) };
    assert_eq!(held(&storage(50), &none, at(0)), Ok(()));
    assert_eq!(held(&storage(51), &none, at(0)), Err((Guard::ClassMaxPayout, None)));
    let of_class = Spending::of([Spent { class: NodeType::Storage, ..spent(0, 80) }], Timestamp::from_seconds(7_200));
    assert_eq!(held(&storage(40), &of_class, at(7_200)), Ok(()));
    assert_eq!(held(&storage(41), &of_class, at(7_200)), Err((Guard::ClassDayCap, Some(Timestamp::from_seconds(86_400)))));
    let blocked = GuardLimits { blocked: BTreeSet::from([address.to_string()]), ..limits() };
    assert_eq!(signable(&blocked, &facts(&address, 1), &none, at(0)).unwrap_err().guard, Guard::BlockedAddress);
}

#[test]
fn the_day_of_a_class_eases_with_the_oldest_payment_of_that_class() {
    let address = address();
    let storage = |seconds, amount| Spent { class: NodeType::Storage, ..spent(seconds, amount) };
    // Another class was paid before it and between; the order in which payments are counted is none of time.
    let spending = Spending::of([spent(0, 10), storage(5_000, 30), spent(4_000, 10), storage(3_000, 60)], Timestamp::from_seconds(9_000));
    let facts = Facts { class: NodeType::Storage, ..facts(&address, 31) };
    let held = |seconds: i64, spending: &Spending| {
        signable(&limits(), &facts, spending, at(seconds)).map_err(|held| (held.guard, held.until.map(Timestamp::seconds)))
    };
    assert_eq!(held(9_000, &spending), Err((Guard::ClassDayCap, Some(3_000 + 86_400))));
    let small =
        GuardLimits { classes: vec![ClassLimit { class: NodeType::Storage, max_payout: Units(50), max_day: Units(30) }], ..limits() };
    let nothing_before = signable(&small, &facts, &Spending::of([spent(0, 10)], at(9_000).wall), at(9_000)).unwrap_err();
    assert_eq!((nothing_before.guard, nothing_before.until), (Guard::ClassDayCap, None), "no time makes room for it");
}

#[test]
fn the_hour_and_the_day_roll() {
    let address = address();
    let signed = [spent(0, 100), spent(1_800, 100)];
    let hold = |seconds: i64, limits: &GuardLimits| {
        let now = at(seconds);
        signable(limits, &facts(&address, 100), &Spending::of(signed, now.wall), now)
            .map_err(|held| (held.guard, held.until.map(Timestamp::seconds)))
    };
    assert_eq!(hold(3_599, &limits()), Err((Guard::HourCap, Some(3_600))));
    assert_eq!(hold(3_600, &limits()), Ok(()), "the first one is an hour old");
    let small = GuardLimits { max_day: Units(299), ..limits() };
    assert_eq!(hold(86_399, &small), Err((Guard::DayCap, Some(86_400))));
    assert_eq!(hold(86_400, &small), Ok(()));
    let ahead = Spending::of([spent(10_000_000, 400)], Timestamp::from_seconds(0));
    assert!(signable(&limits(), &facts(&address, 1), &ahead, at(0)).is_err(), "what was signed under a later clock counts");
}

#[test]
fn above_the_threshold_somebody_else_agrees_or_a_day_passes() {
    let (address, spending) = (address(), Spending::of([spent(0, 250)], Timestamp::from_seconds(10_000)));
    let hold = |facts: &Facts<'_>, seconds| signable(&limits(), facts, &spending, at(seconds)).map_err(|held| held.guard);
    assert_eq!(hold(&facts(&address, 50), 10_000), Ok(()), "up to the threshold nobody is asked");
    assert_eq!(hold(&facts(&address, 51), 10_000), Err(Guard::Approval));
    assert_eq!(hold(&Facts { is_approved: true, ..facts(&address, 51) }, 10_000), Ok(()));
    let lone = Facts { lone_admin_since: Some(Timestamp::from_seconds(5_000)), ..facts(&address, 51) };
    assert_eq!(hold(&lone, 10_000), Err(Guard::LoneAdmin));
    assert_eq!(signable(&limits(), &lone, &Spending::of([spent(80_000, 250)], Timestamp::from_seconds(91_400)), at(91_400)), Ok(()));
    let over = Facts { is_approved: true, ..facts(&address, 100) };
    let near_the_cap = Spending::of([spent(0, 350)], Timestamp::from_seconds(10_000));
    assert_eq!(signable(&limits(), &over, &near_the_cap, at(10_000)).unwrap_err().guard, Guard::DayCap, "no approval lifts a cap");
}

#[test]
fn a_fee_is_a_share_of_what_is_paid() {
    let address = address();
    let rate = TrxRate { usdt: Units(300_000), set_at: Timestamp(0) };
    let limits = GuardLimits {
        max_payout: Units(i64::MAX),
        max_hour: Units(i64::MAX),
        max_day: Units(i64::MAX),
        approval_above: Units(i64::MAX),
        ..limits()
    };
    let with = |amount, rate, fee_sun| Facts { fee_sun, rate, ..facts(&address, amount) };
    let hold = |facts: &Facts<'_>, now| plannable(&limits, facts, now).map_err(|held| held.guard);
    // 13 TRX are 3.9 USDT, a fifth of 19.5.
    assert_eq!(hold(&with(19_500_000, Some(rate), Some(13_000_000)), at(0)), Ok(()));
    assert_eq!(hold(&with(19_499_999, Some(rate), Some(13_000_000)), at(0)), Err(Guard::FeeShare));
    assert_eq!(effective_minimum(&limits, 13_000_000, Some(rate), Timestamp(0)), Some(Units(19_500_000)));
    assert_eq!(hold(&with(1, None, Some(1)), at(0)), Err(Guard::RateMissing));
    assert_eq!(hold(&with(1, Some(rate), Some(1)), at(30 * 86_400)), Err(Guard::RateOld));
    assert_eq!(effective_minimum(&limits, 1, Some(rate), Timestamp::from_seconds(30 * 86_400)), None);
    assert_eq!(hold(&with(1, None, None), at(0)), Ok(()), "a gateway without fees");
    assert_eq!(
        hold(&Facts { pays_any_fee: true, ..with(1, None, Some(1)) }, at(0)),
        Ok(()),
        "the last payout of a node does not wait for a lower fee"
    );
}

proptest! {
    /// Against adding up all payments of the window: whatever passes keeps every cap.
    #[test]
    fn no_order_of_payouts_passes_a_cap(
        requests in prop::collection::vec((0i64..200_000, 1i64..120, any::<bool>()), 1..80),
    ) {
        let (address, limits) = (address(), GuardLimits { approval_above: Units(i64::MAX), ..limits() });
        let mut requests = requests;
        requests.sort_unstable();
        let mut signed: Vec<Spent> = Vec::new();
        for (seconds, amount, stores) in requests {
            let class = if stores { NodeType::Storage } else { NodeType::Worker };
            let now = at(seconds);
            let spending = Spending::of(signed.iter().copied(), now.wall);
            if signable(&limits, &Facts { class, ..facts(&address, amount) }, &spending, now).is_ok() {
                signed.push(Spent { class, ..spent(seconds, amount) });
            }
            let sum = |ms: i64, of: Option<NodeType>| -> i64 {
                let counts = |s: &&Spent| now.wall.since(s.at) < ms && of.is_none_or(|class| s.class == class);
                signed.iter().filter(counts).map(|s| s.amount.0).sum()
            };
            prop_assert!(sum(HOUR_MS, None) <= 200 && sum(DAY_MS, None) <= 400);
            prop_assert!(sum(DAY_MS, Some(NodeType::Storage)) <= 120);
        }
    }
}
