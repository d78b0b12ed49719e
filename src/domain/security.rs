//! When something looks like an attack or a mistake with money: the rules behind the security alerts. Values in, verdicts out.

use std::collections::{BTreeMap, HashMap};

use super::anomaly::{CLONED_KEY, IMPOSSIBLE, NO_JITTER};
use super::ids::NodeIndex;
use super::ledger::Book;
use super::money::Units;
use super::time::Timestamp;

/// Somebody guesses passwords, codes or tokens; about an account, a network, or the manager as a whole.
pub const FAILED_SIGN_INS: &str = "authentication_failures";
/// About the payout.
pub const UNUSUAL_PAYOUT: &str = "payout_unusual_amount";
/// About the node.
pub const FREQUENT_PAYOUTS: &str = "payouts_frequent";
/// About the node; the rule is in `anomaly`.
pub const SCORE_OFF: &str = "poot_deviation";
/// A node's machine no longer looks like the one that enrolled.
pub const FINGERPRINT_DRIFT: &str = "fingerprint_drift";
/// A node's key was used by another machine.
pub const KEY_ELSEWHERE: &str = "key_on_other_hardware";
pub const TWO_ON_ONE_MACHINE: &str = "two_nodes_on_one_machine";
/// A node submitted an output that another node had submitted before; the topic is the other one's id.
pub const IDENTICAL_OUTPUTS: &str = "identical_outputs";
/// Kinds of alerts about a node's machine: no cycle looks at them again, so they end when an admin accepts the machine, and with the node at the latest.
pub const OF_MACHINES: [&str; 3] = [FINGERPRINT_DRIFT, KEY_ELSEWHERE, TWO_ON_ONE_MACHINE];
/// Kinds of alerts that are about security, whatever their severity.
pub const KINDS: [&str; 11] = [
    FAILED_SIGN_INS,
    UNUSUAL_PAYOUT,
    FREQUENT_PAYOUTS,
    SCORE_OFF,
    FINGERPRINT_DRIFT,
    KEY_ELSEWHERE,
    TWO_ON_ONE_MACHINE,
    CLONED_KEY,
    IMPOSSIBLE,
    NO_JITTER,
    IDENTICAL_OUTPUTS,
];

/// So many failed authentications within `FAILURE_WINDOW_MS`, of one account or from one network, are an alarm.
pub const FAILURES: u32 = 5;
pub const FAILURE_WINDOW_MS: i64 = 15 * 60 * 1_000;
/// Accounts and networks that are named; when more are under attack it is one flood.
pub const MAX_NAMED: usize = 10;

/// The refusals that are failed proofs of who somebody is. An expired session is none: every open page has one some day.
const FAILED_PROOFS: [&str; 9] = [
    "WrongCredentials",
    "TotpWrong",
    "SetupCodeWrong",
    "TokenUnknown",
    "TokenWrongSecret",
    "SignatureForged",
    "ChallengeUnknown",
    "FactorWrong",
    "Various",
];

/// A refusal of this name about this subject is a failed authentication. Being slowed down is one where people sign in, elsewhere it is about
/// rates.
pub fn is_failed_proof(reason: &str, subject: &str) -> bool {
    FAILED_PROOFS.contains(&reason) || (reason == "Throttled" && (subject.contains("/auth/") || subject.contains("/setup")))
}

/// Somebody tried to be somebody: the audit log keeps room for these that no other refusal can take.
pub fn is_personal_proof(reason: &str) -> bool {
    ["WrongCredentials", "TotpWrong", "SetupCodeWrong", "TokenWrongSecret", "FactorWrong"].contains(&reason)
}

/// Failed authentications of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Id of the account that was tried, when there is one of that name.
    pub account: Option<String>,
    /// Where from: /24 or /48.
    pub network: Option<String>,
    pub times: u32,
}

/// Accounts and networks with at least `FAILURES`, and how many; the empty subject alone when they are more than `MAX_NAMED`, or when the
/// failures are many and of nobody in particular.
pub fn under_attack(failures: &[Failure]) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut total: u32 = 0;
    for failure in failures {
        total = total.saturating_add(failure.times);
        let subjects = [failure.account.clone(), failure.network.clone()];
        let is_nobody = subjects.iter().all(Option::is_none);
        for subject in subjects.into_iter().flatten().chain(is_nobody.then(String::new)) {
            let count = counts.entry(subject).or_default();
            *count = count.saturating_add(failure.times);
        }
    }
    alarms(counts, total)
}

/// The subjects with at least `FAILURES`; the empty one alone, with `total`, when they are more than `MAX_NAMED`.
pub fn alarms(mut counts: BTreeMap<String, u32>, total: u32) -> BTreeMap<String, u32> {
    counts.retain(|_, count| *count >= FAILURES);
    if counts.len() > MAX_NAMED { BTreeMap::from([(String::new(), total)]) } else { counts }
}

/// A payout that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paid {
    pub seq: u64,
    pub node: NodeIndex,
    pub book: Book,
    pub amount: Units,
    pub at: Timestamp,
}

/// A payout over this many times the average of those before it is unusual.
pub const AMOUNT_FACTOR: i128 = 10;
/// How long a payout is looked at.
pub const RECENT_MS: i64 = 24 * 3_600 * 1_000;
/// So many payouts of a node in an hour are unusual.
pub const PAYOUTS_PER_HOUR: usize = 3;
pub const HOUR_MS: i64 = 3_600 * 1_000;

/// Sequence numbers of the payouts of the last day that are more than ten times the average of the node's earlier ones in the same book. A first
/// payout has nothing to be compared with. `payouts` come oldest first.
pub fn unusual_amounts(payouts: &[Paid], now: Timestamp) -> Vec<u64> {
    let mut before: HashMap<(NodeIndex, [u8; 2]), (i128, i128)> = HashMap::new();
    let mut unusual = Vec::new();
    for paid in payouts {
        let (sum, count) = before.entry((paid.node, paid.book.key())).or_default();
        let amount = i128::from(paid.amount.0);
        // amount > factor * sum / count, without the rounding.
        if *count > 0 && now.since(paid.at) < RECENT_MS && amount * *count > AMOUNT_FACTOR * *sum {
            unusual.push(paid.seq);
        }
        *sum += amount;
        *count += 1;
    }
    unusual
}

/// Nodes with three or more payouts in the last hour, of all books together, and how many.
pub fn frequent(payouts: &[Paid], now: Timestamp) -> BTreeMap<NodeIndex, usize> {
    let mut counts = BTreeMap::new();
    for paid in payouts.iter().filter(|paid| now.since(paid.at) < HOUR_MS) {
        *counts.entry(paid.node).or_insert(0) += 1;
    }
    counts.retain(|_, count| *count >= PAYOUTS_PER_HOUR);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::Settlement;
    use crate::domain::money::Currency;

    fn failure(account: Option<&str>, network: Option<&str>, times: u32) -> Failure {
        Failure { account: account.map(str::to_owned), network: network.map(str::to_owned), times }
    }

    #[test]
    fn five_failures_of_an_account_or_from_a_network_are_an_alarm() {
        let bob = |times| failure(Some("user_bob"), Some("10.0.0.0/24"), times);
        assert!(under_attack(&[bob(4)]).is_empty());
        assert_eq!(under_attack(&[bob(1), bob(4)]).len(), 2);
        let spread: Vec<Failure> = (0..5).map(|n| failure(Some("user_bob"), Some(&format!("10.0.{n}.0/24")), 1)).collect();
        assert_eq!(under_attack(&spread), BTreeMap::from([("user_bob".to_owned(), 5)]));
        assert_eq!(under_attack(&[failure(None, None, 5)]), BTreeMap::from([(String::new(), 5)]));
    }

    #[test]
    fn a_flood_is_one_alarm() {
        let at = |n: usize| failure(None, Some(&format!("10.0.{n}.0/24")), 5);
        let some: Vec<Failure> = (0..MAX_NAMED).map(at).collect();
        assert_eq!(under_attack(&some).len(), MAX_NAMED);
        let many: Vec<Failure> = (0..=MAX_NAMED).map(at).collect();
        assert_eq!(under_attack(&many), BTreeMap::from([(String::new(), 55)]));
    }

    #[test]
    fn being_slowed_down_counts_where_people_sign_in() {
        assert!(is_failed_proof("WrongCredentials", "user_bob") && is_failed_proof("Throttled", "/api/v1/auth/login"));
        assert!(!is_failed_proof("Throttled", "/api/v1/nodes") && !is_failed_proof("SessionUnknown", "/api/v1/auth/me"));
    }

    fn paid(seq: u64, node: u32, amount: i64, hours_ago: i64) -> Paid {
        let book = Book { settlement: Settlement::Live, currency: Currency::Usdt };
        Paid { seq, node: NodeIndex(node), book, amount: Units(amount), at: NOW.plus_ms(-hours_ago * HOUR_MS) }
    }

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    #[test]
    fn a_payout_over_ten_times_the_average_is_unusual_for_a_day() {
        let with = |amount, hours_ago| unusual_amounts(&[paid(1, 0, 100, 80), paid(2, 0, 200, 60), paid(3, 0, amount, hours_ago)], NOW);
        assert!(with(1_500, 1).is_empty(), "exactly ten times");
        assert_eq!(with(1_501, 1), [3]);
        assert_eq!(with(1_501, 23), [3]);
        assert!(with(1_501, 24).is_empty(), "it is a day ago");
        assert!(unusual_amounts(&[paid(1, 0, 1, 5), paid(2, 1, 1_000_000, 1)], NOW).is_empty(), "another node's");
        let simulated = Paid { book: Book { settlement: Settlement::Simulated, currency: Currency::Usdt }, ..paid(2, 0, 1_000_000, 1) };
        assert!(unusual_amounts(&[paid(1, 0, 1, 5), simulated], NOW).is_empty(), "another book");
        let huge = [paid(1, 0, i64::MAX, 5), paid(2, 0, i64::MAX, 1)];
        assert!(unusual_amounts(&huge, NOW).is_empty(), "no overflow");
    }

    #[test]
    fn three_payouts_in_an_hour_are_many() {
        let at = |minutes: i64| Paid { at: NOW.plus_ms(-minutes * 60_000), ..paid(1, 7, 5, 0) };
        assert!(frequent(&[at(1), at(59)], NOW).is_empty());
        assert!(frequent(&[at(1), at(59), at(60)], NOW).is_empty());
        assert_eq!(frequent(&[at(1), at(2), at(59)], NOW), BTreeMap::from([(NodeIndex(7), 3)]));
        assert!(frequent(&[at(1), at(2), Paid { node: NodeIndex(8), ..at(3) }], NOW).is_empty());
    }
}
