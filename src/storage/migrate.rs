//! Shapes that earlier releases wrote, and how they become today's. Their golden bytes stay in `data/golden/`.

use serde::Deserialize;

use crate::crypto::PublicKey;
use crate::domain::address::PayoutAddress;
use crate::domain::alert::{Alert, Severity};
use crate::domain::audit::{DraftV1, Entry};
use crate::domain::credits::{Epoch, EpochSlots, Leaf, Multiplier, Payer};
use crate::domain::enrolment::{EnrolmentTarget, EnrolmentToken};
use crate::domain::epoch::{Counts, Head};
use crate::domain::evidence::{DayReports, EvidenceHash};
use crate::domain::ids::{AlertId, EnrolmentId, Incarnation, NodeId, NodeIndex, PayoutId, PoolId, PoolIndex, UserId};
use crate::domain::ledger::Book;
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::node::ResourceLimits;
use crate::domain::payout::{Attempt, AttemptState, Death, Payout, Pin, Prepared, Priority, Review, ReviewKind, Source, State};
use crate::domain::pool::{Pool, Pricing, ScalingPolicy};
use crate::domain::poot::{Inputs, Params, Score};
use crate::domain::session::{Carrier, Session};
use crate::domain::time::{Slot, Timeline, Timestamp};
use crate::domain::user::{PasswordHash, Role, User};
use crate::storage::core::ledger::{Accrued, Balance};
use crate::storage::hot::leaves::LeafGroup;
use crate::storage::hot::{Ack, AckGroup, Anchor, Meta};

/// Version 1 did not know where a session was begun.
#[derive(Deserialize)]
struct SessionV1 {
    user: UserId,
    carrier: Carrier,
    created_at: Timestamp,
    used_at: Timestamp,
}

/// Version 2 did not know when the person was confirmed.
#[derive(Deserialize)]
struct SessionV2 {
    user: UserId,
    carrier: Carrier,
    created_at: Timestamp,
    used_at: Timestamp,
    address: Option<String>,
    user_agent: Option<String>,
}

pub(super) fn session(version: u8, bytes: &[u8]) -> Option<Session> {
    match version {
        1 => {
            let SessionV1 { user, carrier, created_at, used_at } = postcard::from_bytes(bytes).ok()?;
            Some(Session { used_at, ..Session::new(user, carrier, created_at) })
        }
        2 => {
            let SessionV2 { user, carrier, created_at, used_at, address, user_agent } = postcard::from_bytes(bytes).ok()?;
            Some(Session { used_at, address, user_agent, ..Session::new(user, carrier, created_at) })
        }
        _ => None,
    }
}

/// Version 1 knew no second factor.
#[derive(Deserialize)]
struct UserV1 {
    id: UserId,
    username: String,
    role: Role,
    password: PasswordHash,
    disabled: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

pub(super) fn user(version: u8, bytes: &[u8]) -> Option<User> {
    if version != 1 {
        return None;
    }
    let UserV1 { id, username, role, password, disabled, created_at, updated_at } = postcard::from_bytes(bytes).ok()?;
    Some(User { id, username, role, password, disabled, created_at, updated_at, second_factor: None })
}

/// Version 1 listed the keys that had enrolled with it.
#[derive(Deserialize)]
struct EnrolmentTokenV1 {
    id: EnrolmentId,
    secret_hash: [u8; 32],
    target: EnrolmentTarget,
    uses: u32,
    used_by: Vec<(PublicKey, NodeId)>,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked: bool,
    needs_approval: bool,
    created_by: String,
}

pub(super) fn enrolment_token(version: u8, bytes: &[u8]) -> Option<EnrolmentToken> {
    if version != 1 {
        return None;
    }
    let EnrolmentTokenV1 { id, secret_hash, target, uses, used_by, created_at, expires_at, revoked, needs_approval, created_by } =
        postcard::from_bytes(bytes).ok()?;
    let used = u32::try_from(used_by.len()).ok()?;
    let used_before = used_by;
    Some(EnrolmentToken { id, secret_hash, target, uses, used, used_before, created_at, expires_at, revoked, needs_approval, created_by })
}

/// Version 1 kept an address in clear, and its hash is over it: both stay as they were.
#[derive(Deserialize)]
struct EntryV1 {
    seq: u64,
    draft: DraftV1,
    previous: [u8; 32],
    hash: [u8; 32],
}

pub(super) fn audit_entry(version: u8, bytes: &[u8]) -> Option<Entry> {
    if version != 1 {
        return None;
    }
    let EntryV1 { seq, draft, previous, hash } = postcard::from_bytes(bytes).ok()?;
    let (draft, kept) = draft.into_parts();
    Some(Entry { seq, draft, kept, previous, hash })
}

/// Version 1 knew neither topics nor acknowledgements, and nothing of what happened in between.
#[derive(Deserialize)]
struct AlertV1 {
    id: AlertId,
    kind: String,
    subject: String,
    severity: Severity,
    message: String,
    raised_at: Timestamp,
    resolved_at: Option<Timestamp>,
}

pub(super) fn alert(version: u8, bytes: &[u8]) -> Option<Alert> {
    if version != 1 {
        return None;
    }
    let AlertV1 { id, kind, subject, severity, message, raised_at, resolved_at } = postcard::from_bytes(bytes).ok()?;
    let mut alert = Alert::new(id, &kind, &subject, severity, &message, raised_at);
    if let Some(at) = resolved_at {
        alert.resolve(at);
    }
    Some(alert)
}

/// Version 1 kept one reason for a review, no moments of an attempt, and had only ever simulated.
#[derive(Deserialize)]
struct PayoutV1 {
    id: PayoutId,
    seq: u64,
    node: NodeIndex,
    book: Book,
    amount: Units,
    address: PayoutAddress,
    source: Source,
    priority: Priority,
    state: State,
    review_reason: Option<String>,
    attempts: Vec<AttemptV1>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct AttemptV1 {
    number: u32,
    prepared: PreparedV1,
    state: AttemptStateV1,
    signed_at: Timestamp,
    sent_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct PreparedV1 {
    gateway: String,
    network: String,
    wallet: String,
    contract: String,
    bytes: Vec<u8>,
    txid: String,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
enum AttemptStateV1 {
    Signed,
    MaybeSent,
    Seen { block: u64 },
    Paid,
    FailedOnChain { reason: String },
    Dead { proof: String },
}

pub(super) fn payout(version: u8, bytes: &[u8]) -> Option<Payout> {
    if version != 1 {
        return None;
    }
    let old: PayoutV1 = postcard::from_bytes(bytes).ok()?;
    let PayoutV1 { id, seq, node, book, amount, address, source, priority, state, created_at, updated_at, .. } = old;
    let review = old.review_reason.map(|reason| Review::new(ReviewKind::Held, reason, Vec::new(), updated_at));
    let attempts = old.attempts.into_iter().map(attempt).collect();
    let extra_attempts = 0;
    Some(Payout { id, seq, node, book, amount, address, source, priority, state, review, attempts, extra_attempts, created_at, updated_at })
}

fn attempt(old: AttemptV1) -> Attempt {
    let PreparedV1 { gateway, network, wallet, contract, bytes, txid, expires_at } = old.prepared;
    let prepared = Prepared {
        pin: Pin { gateway, network, wallet, contract },
        urls: Vec::new(),
        bytes,
        txid: Some(txid),
        expires_at: Some(expires_at),
        reference_block: 0,
        fee_limit_sun: 0,
        timestamp_ms: 0,
    };
    let state = match old.state {
        AttemptStateV1::Signed => AttemptState::Signed,
        AttemptStateV1::MaybeSent => AttemptState::MaybeSent,
        AttemptStateV1::Seen { block } => AttemptState::Seen { block },
        AttemptStateV1::Paid => AttemptState::Paid,
        AttemptStateV1::FailedOnChain { reason } => AttemptState::FailedOnChain { reason },
        AttemptStateV1::Dead { proof } => AttemptState::Dead { death: Death::Told(proof) },
    };
    let AttemptV1 { number, signed_at, sent_at, .. } = old;
    Attempt { number, prepared, state, signed_at, sent_at, seen_at: None, ended_at: None, found_txid: None, reference: None, fee_sun: 0 }
}

/// Version 1 did not count what was added and taken.
#[derive(Deserialize)]
struct BalanceV1(Units);

pub(super) fn balance(version: u8, bytes: &[u8]) -> Option<Balance> {
    if version != 1 {
        return None;
    }
    let BalanceV1(units) = postcard::from_bytes(bytes).ok()?;
    Balance::carried_over(units).ok()
}

/// Version 1 left ranges out in which no whole unit was earned: the contiguous ones begin where it had come to.
#[derive(Deserialize)]
struct AccruedV1 {
    through: Epoch,
    remainders: Vec<(Currency, Pico)>,
}

pub(super) fn accrued(version: u8, bytes: &[u8]) -> Option<Accrued> {
    if version != 1 {
        return None;
    }
    let AccruedV1 { through, remainders } = postcard::from_bytes(bytes).ok()?;
    Some(Accrued { remainders, ..Accrued::since(through) })
}

/// Version 1 was not signed, and named its leaves by one hash.
#[derive(Deserialize)]
struct HeadV1 {
    epoch: Epoch,
    last_slot: Slot,
    slots_per_epoch: u32,
    closed_at: Timestamp,
    is_gap: bool,
    params: Params,
    counts: Counts,
    leaves_at: Option<Epoch>,
    leaves_hash: [u8; 32],
    previous: [u8; 32],
}

pub(super) fn head(version: u8, bytes: &[u8]) -> Option<Head> {
    if version != 1 {
        return None;
    }
    let HeadV1 { epoch, last_slot, slots_per_epoch, closed_at, is_gap, params, counts, leaves_at, leaves_hash: root, previous } =
        postcard::from_bytes(bytes).ok()?;
    Some(Head { epoch, last_slot, slots_per_epoch, closed_at, is_gap, params, counts, leaves_at, root, previous, seal: None })
}

/// Version 1 said neither how far the score had looked, nor what had been accepted of the node in a day.
#[derive(Deserialize)]
struct LeafV1 {
    node: NodeIndex,
    slots: EpochSlots,
    inputs: Inputs,
    score: Score,
    multiplier: Multiplier,
    payer: Option<Payer>,
    accrual: Pico,
}

pub(super) fn leaf_group(version: u8, bytes: &[u8]) -> Option<LeafGroup> {
    if version != 1 {
        return None;
    }
    let of = |LeafV1 { node, slots, inputs, score, multiplier, payer, accrual }| Leaf {
        node,
        slots,
        inputs,
        score,
        multiplier,
        payer,
        accrual,
        window_slots: 0,
        reports: None,
    };
    let leaves: Vec<LeafV1> = postcard::from_bytes(bytes).ok()?;
    Some(LeafGroup(leaves.into_iter().map(of).collect()))
}

/// Version 1 had one running hash since the node's enrolment: the day begins anew.
#[derive(Deserialize)]
struct AckV1 {
    incarnation: Incarnation,
    seq: u64,
    _hash: EvidenceHash,
}

pub(super) fn ack_group(version: u8, bytes: &[u8]) -> Option<AckGroup> {
    if version != 1 {
        return None;
    }
    let acks: Vec<(u32, AckV1)> = postcard::from_bytes(bytes).ok()?;
    let of = |(node, AckV1 { incarnation, seq, .. })| (node, Ack { incarnation, seq, reports: DayReports::default() });
    Some(AckGroup(acks.into_iter().map(of).collect()))
}

/// Version 1 did not know what was written to the card.
#[derive(Deserialize)]
struct HotMetaV1 {
    store_id: String,
    generation: u32,
    flushed_at: Timestamp,
    trust: Option<Anchor>,
}

pub(super) fn hot_meta(version: u8, bytes: &[u8]) -> Option<Meta> {
    if version != 1 {
        return None;
    }
    let HotMetaV1 { store_id, generation, flushed_at, trust } = postcard::from_bytes(bytes).ok()?;
    Some(Meta { store_id, generation, flushed_at, trust, ..Meta::default() })
}

/// Version 1 expected no outputs of anybody.
#[derive(Deserialize)]
struct PoolV1 {
    id: PoolId,
    index: PoolIndex,
    name: String,
    description: String,
    max_nodes: u32,
    resource_limits: Option<ResourceLimits>,
    auto_scaling: bool,
    scaling_policy: Option<ScalingPolicy>,
    pricing: Timeline<Pricing>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

pub(super) fn pool(version: u8, bytes: &[u8]) -> Option<Pool> {
    if version != 1 {
        return None;
    }
    let old: PoolV1 = postcard::from_bytes(bytes).ok()?;
    let PoolV1 { id, index, name, description, max_nodes, resource_limits, auto_scaling, scaling_policy, pricing, created_at, updated_at } =
        old;
    let outputs_expected = Timeline::new(false);
    Some(Pool {
        id,
        index,
        name,
        description,
        max_nodes,
        resource_limits,
        auto_scaling,
        scaling_policy,
        pricing,
        outputs_expected,
        created_at,
        updated_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256_parts;
    use crate::crypto::unhex;
    use crate::domain::audit::{Actor, Kept};
    use crate::domain::epoch::unsealed_leaves_hash;
    use crate::storage::table::decode;

    #[test]
    fn sessions_of_the_first_release_stay_signed_in() {
        let golden = include_str!("../../data/golden/Session.v1.hex");
        let carriers: Vec<Carrier> = golden
            .lines()
            .map(|line| {
                let session: Session = decode(&unhex(line).unwrap()).unwrap();
                assert_eq!((session.address, session.user_agent), (None, None));
                assert!(session.used_at > session.created_at);
                session.carrier
            })
            .collect();
        assert_eq!(carriers, [Carrier::Cookie, Carrier::Bearer]);
        assert!(session(4, &[]).is_none());
    }

    #[test]
    fn sessions_of_the_second_release_stay_and_are_not_confirmed() {
        let golden = include_str!("../../data/golden/Session.v2.hex");
        let sessions: Vec<Session> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        assert_eq!(sessions.iter().map(|s| s.address.is_some()).collect::<Vec<_>>(), [true, false]);
        assert!(sessions.iter().all(|s| s.confirmed_at.is_none() && s.used_at > s.created_at));
    }

    #[test]
    fn people_of_the_first_release_sign_in_with_their_password_alone() {
        let golden = include_str!("../../data/golden/User.v1.hex");
        let people: Vec<User> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        let roles: Vec<Role> = people.iter().map(|user| user.role).collect();
        assert_eq!(roles, [Role::Viewer, Role::Operator, Role::Admin, Role::SuperAdmin]);
        assert!(people.iter().all(|user| user.second_factor.is_none() && user.username == "Ada.Lovelace"));
        assert!(people.iter().all(|user| user.password == PasswordHash { salt: [1; 16], hash: [2; 32] }));
        assert!(user(2, &[]).is_none());
    }

    #[test]
    fn enrolment_tokens_of_the_first_release_count_their_uses_and_know_their_machines() {
        let golden = include_str!("../../data/golden/EnrolmentToken.v1.hex");
        let tokens: Vec<EnrolmentToken> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        let used: Vec<(u32, u32)> = tokens.iter().map(|token| (token.used, token.uses)).collect();
        assert_eq!(used, [(1, 10), (0, 1)]);
        let machines: Vec<PublicKey> = tokens.iter().flat_map(|token| &token.used_before).map(|(key, _)| *key).collect();
        assert_eq!(machines, [PublicKey([7; 32])]);
        assert!(enrolment_token(2, &[]).is_none());
    }

    #[test]
    fn audit_entries_of_the_first_release_stay_readable_and_verify_as_they_were() {
        let golden = include_str!("../../data/golden/Entry.v1.hex");
        for line in golden.lines() {
            let stored = unhex(line).unwrap();
            let mut entry: Entry = decode(&stored).unwrap();
            let address = (entry.draft.actor != Actor::System).then(|| "192.0.2.7".to_owned());
            assert_eq!(entry.kept, Kept::Clear { address });
            // The golden entries carry made-up hashes; the bytes between sequence and hashes are what the first release hashed.
            let body = &stored[1 + 3..stored.len() - 64];
            entry.hash = sha256_parts(&[b"lucid/audit/v1\0", &entry.seq.to_le_bytes(), &entry.previous, body]);
            assert!(entry.follows(entry.seq, &entry.previous.clone()));
            entry.kept = Kept::Clear { address: Some("192.0.2.8".into()) };
            assert!(!entry.follows(entry.seq, &entry.previous.clone()));
        }
        assert!(audit_entry(3, &[]).is_none());
    }

    #[test]
    fn alerts_of_the_first_release_begin_and_end_as_they_did() {
        let golden = include_str!("../../data/golden/Alert.v1.hex");
        let alerts: Vec<Alert> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        let steps: Vec<usize> = alerts.iter().map(|alert| alert.history.len()).collect();
        assert_eq!(steps, [1, 2, 1]);
        assert!(alerts.iter().all(|alert| alert.history[0].at == alert.raised_at && alert.acknowledged.is_none()));
        assert_eq!(alerts[1].history[1].at, alerts[1].resolved_at.unwrap());
        assert!(alert(3, &[]).is_none());
    }

    #[test]
    fn payouts_of_the_first_release_go_on_where_they_were() {
        let golden = include_str!("../../data/golden/Payout.v1.hex");
        let payouts: Vec<Payout> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        let open: Vec<bool> = payouts.iter().map(Payout::is_open).collect();
        assert_eq!(open, [true, true, true, false, false, false]);
        let live: Vec<bool> = payouts.iter().map(|payout| payout.live_attempt().is_some()).collect();
        assert_eq!(live, [true, true, true, false, false, false]);
        for payout in &payouts {
            let attempt = &payout.attempts[0];
            assert_eq!((attempt.prepared.pin.gateway.as_str(), attempt.txid().unwrap().len()), ("simulated", 64));
            assert_eq!(attempt.prepared.bytes, [1, 2, 255]);
        }
        assert!(payout(2, &[]).is_none());
    }

    #[test]
    fn pools_of_the_first_release_expect_no_outputs() {
        let golden = include_str!("../../data/golden/Pool.v1.hex");
        let pools: Vec<Pool> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        assert_eq!(pools.iter().map(|pool| pool.auto_scaling).collect::<Vec<_>>(), [true, false]);
        assert!(pools.iter().all(|pool| pool.outputs_expected == Timeline::new(false) && pool.name == "default"));
        assert!(pool(2, &[]).is_none());
    }

    #[test]
    fn balances_and_watermarks_of_the_first_release_stay() {
        let lines = |text: &str| text.lines().map(|line| unhex(line).unwrap()).collect::<Vec<_>>();
        let balances: Vec<Balance> =
            lines(include_str!("../../data/golden/Balance.v1.hex")).iter().map(|bytes| decode(bytes).unwrap()).collect();
        assert_eq!(balances.iter().map(|balance| balance.units.0).collect::<Vec<_>>(), [-1, i64::MAX]);
        assert!(balances.iter().all(Balance::is_whole));
        let rows: Vec<Accrued> =
            lines(include_str!("../../data/golden/Accrued.v1.hex")).iter().map(|bytes| decode(bytes).unwrap()).collect();
        assert!(rows.iter().all(|row| row.from == row.through && row.posted.is_empty() && row.posted(Currency::Usdt) == row.through));
        assert_eq!(rows[1].remainder(Currency::Usdt), Pico(999_999_999_999));
        assert!(balance(2, &[]).is_none() && accrued(2, &[]).is_none());
    }

    #[test]
    fn heads_of_the_first_release_keep_the_hash_that_the_next_one_names() {
        for line in include_str!("../../data/golden/Head.v1.hex").lines() {
            let stored = unhex(line).unwrap();
            let found: Head = decode(&stored).unwrap();
            assert!(found.seal.is_none() && found.signed().is_none());
            assert_eq!((found.root, found.previous), ([4; 32], [5; 32]));
            // What stood behind the version is what was hashed.
            assert_eq!(found.hash().unwrap(), sha256_parts(&[b"lucid/epoch-head/v1\0", &stored[1..]]));
        }
        assert!(head(2, &[]).is_none());
    }

    #[test]
    fn leaves_of_the_first_release_keep_the_hash_that_their_head_names() {
        for line in include_str!("../../data/golden/LeafGroup.v1.hex").lines() {
            let stored = unhex(line).unwrap();
            let LeafGroup(leaves) = decode(&stored).unwrap();
            assert!(leaves.len() == 3 && leaves.iter().all(|leaf| leaf.window_slots == 0 && leaf.reports.is_none()));
            let hashed = sha256_parts(&[b"lucid/epoch-leaves/v1\0", &stored[1..]]);
            assert_eq!(unsealed_leaves_hash(&leaves).unwrap(), hashed);
        }
        assert!(leaf_group(3, &[]).is_none());
    }

    #[test]
    fn acknowledgements_of_the_first_release_stay_and_their_day_begins_anew() {
        for line in include_str!("../../data/golden/AckGroup.v1.hex").lines() {
            let AckGroup(acks) = decode(&unhex(line).unwrap()).unwrap();
            assert_eq!(acks.iter().map(|(node, ack)| (*node, ack.seq)).collect::<Vec<_>>(), [(1, 300), (127, 300)]);
            assert!(acks.iter().all(|(_, ack)| ack.reports == DayReports::default()));
        }
        assert!(ack_group(3, &[]).is_none());
    }

    #[test]
    fn a_hot_file_of_the_first_release_knows_of_nothing_that_was_written() {
        let golden = include_str!("../../data/golden/Meta.v1.hex");
        let found: Vec<Meta> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        let trust = Some(Anchor { boot_id: "b".into(), wall_minus_boot_ms: 7 });
        let described = |meta: &Meta| meta.store_id == "0123456789abcdef" && meta.generation == 2 && meta.flushed_at > Timestamp(0);
        assert!(!found.is_empty() && found.iter().all(|meta| described(meta) && meta.trust == trust));
        assert!(found.iter().all(|meta| meta.written == Default::default()));
        assert!(hot_meta(3, &[]).is_none());
    }
}
