//! Golden records of `core.redb`; see `storage::golden`.

use super::backups::{BackupState, FailedBackup, GoodBackup};
use super::chain::Chain;
use super::checkpoints::{Checkpoint, CheckpointPage};
use super::cold_files::ColdFile;
use super::ledger::{Accrued, Balance, BookSum, Latch};
use super::meta::{Counters, StoreMeta};
use super::money::{Approval, Skipped};
use super::node_events::Silent;
use super::outbox::{Outgoing, PayoutNews, Webhooks};
use super::payouts::SealedAddress;
use super::settings::StoredSetting;
use super::subject_keys::SubjectKey;
use super::tables::{Index, Index64};
use super::votes::VoteAnswers;
use crate::crypto::PublicKey;
use crate::domain::address::PayoutAddress;
use crate::domain::alert::{Alert, Severity};
use crate::domain::allocation::{Allocation, NamedAllocation};
use crate::domain::api_token::ApiToken;
use crate::domain::archive::{self, Manifest};
use crate::domain::audit::{self, Actor};
use crate::domain::batch::{Batch, LeftOut, Tally, Wish};
use crate::domain::command::{Action, Command, CommandState, DEADLINE_SECONDS, Order};
use crate::domain::credits::Epoch;
use crate::domain::enrolment::{EnrolmentTarget, EnrolmentToken, Fingerprint};
use crate::domain::enrolment_request::{Decision, EnrolmentRequest};
use crate::domain::epoch::{Counts, Head, LogEnd, Seal};
use crate::domain::final_payout::{FinalPayout, Hold, Stage};
use crate::domain::idempotency::{Outcome, Remembered};
use crate::domain::ids::{
    AlertId, AllocationId, ApiTokenId, BatchId, EnrolmentId, EnrolmentRequestId, ManagerId, NodeId, NodeIndex, PayoutId, PoolId, PoolIndex,
    ScheduleId, UserId,
};
use crate::domain::ledger::{Account, Book, Cause, Entry, Line, Posting, Settlement, Split};
use crate::domain::maintenance::{Ended, MaintenancePeriod, Origin};
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::money_state::{Freeze, FreezeKind, GoneLive, MoneyState, Stop, TrxRate};
use crate::domain::node::{
    Coordinates, CpuInfo, Eligible, GpuInfo, HardwareInfo, Identity, Location, MaintenanceWindow, MemoryInfo, NetworkInfo, Node,
    NodeConfiguration, NodeType, ResourceLimits, StorageInfo, Wanted,
};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::payout::{
    Attempt, AttemptState, Claim, Death, DeathProof, Payout, Pin, Prepared, Priority, Review, ReviewKind, Skip, Source, State, Statement,
};
use crate::domain::payout_schedule::{PayoutSchedule, Rule, Run, Whom};
use crate::domain::pool::{Membership, Pool, ScalingPolicy};
use crate::domain::poot::Params;
use crate::domain::proof::succession::Succession;
use crate::domain::proof::text::Hex;
use crate::domain::replica::Rev;
use crate::domain::scope::Scope;
use crate::domain::session::{Carrier, KnownNetworks, Session};
use crate::domain::setup::SetupMark;
use crate::domain::statement::Totals;
use crate::domain::suspension::{Appeal, Decision as SuspensionDecision, Lifted, Suspension};
use crate::domain::threshold::{Limits, METRICS, Tenths, ThresholdSet};
use crate::domain::time::Timeline;
use crate::domain::totp::SecondFactor;
use crate::domain::user::{PasswordHash, Role, User};
use crate::domain::vote::{Reason, Round, Trouble, VoteAnswer, VoteRow};
use crate::domain::wallet::{Absence, Outgoing as OutgoingTransfer, UnknownTransfer, WalletRow};
use crate::domain::webhook::{Delivery, Target};
use crate::storage::golden::{AT, Golden, SLOT, like, pricing};
use crate::storage::replica::marks::ReplicaState;

fn node_id() -> NodeId {
    NodeId::parse("node_0123456789abcdef").unwrap()
}

fn user_id() -> UserId {
    UserId::parse("user_0123456789abcdef").unwrap()
}

fn payout_id() -> PayoutId {
    PayoutId::parse("payout_0123456789abcdef").unwrap()
}

fn manifest() -> Manifest {
    Manifest {
        format: archive::FORMAT.into(),
        kind: archive::Kind::Outputs,
        period: "2025-08".into(),
        first: 1,
        last: 300,
        lines: 299,
        bytes: 70_000,
        sha256: Hex([1; 32]),
        lines_bytes: 130_000,
        lines_sha256: Hex([2; 32]),
        made_at: AT.rfc3339(),
        manager_key: Hex([3; 32]),
        signature: Hex([4; 64]),
    }
}

fn backups() -> BackupState {
    let (name, folder) = ("2026-09-21T03-30-00Z".to_owned(), "/srv/backups".to_owned());
    let good = Some(GoodBackup { name, folder, at: AT, files: 300, bytes: 70_000 });
    BackupState { good, failed: Some(FailedBackup { at: AT, why: "the disk is full".into() }) }
}

fn limits() -> ResourceLimits {
    ResourceLimits { cpu_percent: Some(80.5), memory_bytes: Some(1 << 33), disk_bytes: None, network_mbps: Some(100.0) }
}

fn timeline<T: Clone + PartialEq>(first: T, then: T) -> Timeline<T> {
    let mut line = Timeline::new(first);
    line.set(SLOT, then);
    line
}

fn fingerprint(seed: &str) -> Fingerprint {
    let part = |name: &str| Some(Fingerprint::part("salt", name, seed));
    Fingerprint {
        machine_id: part("machine"),
        board_serial: None,
        cpu: part("cpu"),
        memory: part("memory"),
        disk_id: None,
        macs: part("macs"),
    }
}

fn nodes() -> Vec<Node> {
    let hardware = HardwareInfo {
        cpu: CpuInfo { cores: 4, frequency_mhz: Some(1_500.5), architecture: Some("aarch64".into()) },
        memory: MemoryInfo { total_bytes: 4_000_000_000, kind: Some("LPDDR4".into()) },
        storage: StorageInfo { total_bytes: 32_000_000_000, kind: Some("sd".into()), interface: None },
        gpu: Some(GpuInfo { model: Some("VideoCore".into()), memory_bytes: Some(76 << 20), compute_capability: None }),
        network: vec![NetworkInfo { interface: "eth0".into(), speed_mbps: Some(1_000), mac_address: Some("dc:a6:32:00:00:01".into()) }],
    };
    let location = Location {
        country: Some("CH".into()),
        city: Some("Zürich".into()),
        timezone: Some("Europe/Zurich".into()),
        coordinates: Some(Coordinates { latitude: 47.4, longitude: -8.5 }),
        ..Location::default()
    };
    let configuration = NodeConfiguration {
        max_sessions: Some(10),
        resource_limits: Some(limits()),
        auto_scaling: Some(true),
        maintenance_window: Some(MaintenanceWindow { start_hour: 2, duration_hours: 4 }),
    };
    let identity =
        Identity { key: PublicKey([7; 32]), fingerprint: fingerprint("a"), drift: Some(fingerprint("b")), enrolled_at: AT.plus_ms(5) };
    let full = Node {
        id: node_id(),
        index: NodeIndex(300),
        name: "attic_pi-4".into(),
        node_type: NodeType::Worker,
        pool: timeline(Some(PoolIndex(0)), None),
        hardware: Some(hardware),
        location: Some(location),
        configuration,
        wanted: Wanted::Stopped,
        eligible: timeline(Eligible::InService, Eligible::Maintenance),
        identity: Some(identity),
        created_at: AT,
        updated_at: AT.plus_ms(7),
        enrolled_from: Some(SLOT),
    };
    let bare = Node {
        name: "bare".into(),
        node_type: NodeType::Compute,
        pool: Timeline::new(None),
        hardware: None,
        location: None,
        configuration: NodeConfiguration::default(),
        wanted: Wanted::Running,
        eligible: Timeline::new(Eligible::InService),
        identity: None,
        enrolled_from: None,
        ..full.clone()
    };
    let of_kind = |node_type, eligible| Node { node_type, eligible: Timeline::new(eligible), ..bare.clone() };
    vec![full, of_kind(NodeType::Validator, Eligible::Draining), of_kind(NodeType::Storage, Eligible::Suspended), bare]
}

fn pools() -> Vec<Pool> {
    let policy = ScalingPolicy { scale_up_threshold: 80.0, scale_down_threshold: 20.5, min_nodes: 1, max_nodes: 9, cooldown_minutes: 15 };
    let full = Pool {
        id: PoolId::parse("pool_default").unwrap(),
        index: PoolIndex(0),
        name: "default".into(),
        description: "where new nodes go".into(),
        max_nodes: 100,
        resource_limits: Some(limits()),
        auto_scaling: true,
        scaling_policy: Some(policy),
        pricing: timeline(pricing(Currency::Usdt), pricing(Currency::Lucid)),
        outputs_expected: timeline(false, true),
        created_at: AT,
        updated_at: AT.plus_ms(1),
    };
    let bare = Pool {
        resource_limits: None,
        scaling_policy: None,
        auto_scaling: false,
        pricing: Timeline::new(pricing(Currency::Usdt)),
        outputs_expected: Timeline::new(false),
        ..full.clone()
    };
    vec![full, bare]
}

fn tokens() -> Vec<EnrolmentToken> {
    let of_pool = EnrolmentToken {
        id: EnrolmentId::parse("enrol_0123456789abcdef").unwrap(),
        secret_hash: [3; 32],
        target: EnrolmentTarget::Pool(PoolIndex(2)),
        uses: 10,
        used: 3,
        used_before: vec![(PublicKey([7; 32]), node_id())],
        created_at: AT,
        expires_at: AT.plus_seconds(3_600),
        revoked: true,
        needs_approval: true,
        created_by: user_id().to_string(),
    };
    let of_node = EnrolmentToken {
        target: EnrolmentTarget::Node(node_id()),
        used: 0,
        used_before: Vec::new(),
        uses: 1,
        revoked: false,
        needs_approval: false,
        ..of_pool.clone()
    };
    vec![of_pool, of_node]
}

fn enrolment_requests() -> Vec<EnrolmentRequest> {
    let hardware = nodes().into_iter().find_map(|node| node.hardware).unwrap();
    let request = |decision: Option<bool>| EnrolmentRequest {
        id: EnrolmentRequestId::parse("request_0123456789abcdef").unwrap(),
        token: EnrolmentId::parse("enrol_0123456789abcdef").unwrap(),
        key: PublicKey([7; 32]),
        name: "attic".into(),
        hardware: hardware.clone(),
        address: decision.map(|_| "192.0.2.7".into()),
        asked_at: AT,
        expires_at: AT.plus_seconds(3_600),
        decision: decision.map(|approved| Decision { approved, at: AT.plus_ms(5), by: user_id().to_string() }),
    };
    [None, Some(true), Some(false)].map(request).to_vec()
}

fn api_tokens() -> Vec<ApiToken> {
    let whole = ApiToken {
        id: ApiTokenId::parse("token_0123456789abcdef").unwrap(),
        name: "nightly backup".into(),
        secret_hash: [3; 32],
        role: Role::Admin,
        scopes: None,
        created_by: user_id(),
        created_at: AT,
        expires_at: AT.plus_seconds(86_400),
        last_used_at: None,
    };
    let scopes = Some(vec![Scope::NodeRead, Scope::SettingsWrite]);
    vec![ApiToken { role: Role::Viewer, scopes, last_used_at: Some(AT.plus_ms(3)), ..whole.clone() }, whole]
}

fn users() -> Vec<User> {
    let password = PasswordHash { salt: [1; 16], hash: [2; 32] };
    let roles = [Role::Viewer, Role::Operator, Role::Admin, Role::SuperAdmin];
    let user = |role: Role| User {
        id: user_id(),
        username: "Ada.Lovelace".into(),
        role,
        password: password.clone(),
        disabled: role == Role::Viewer,
        created_at: AT,
        updated_at: AT.plus_ms(9),
        second_factor: match role {
            Role::Viewer => None,
            Role::Operator => Some(SecondFactor::begun(vec![1, 2, 255])),
            Role::Admin | Role::SuperAdmin => {
                let recovery = vec![[6; 32], [7; 32]];
                Some(SecondFactor { sealed_secret: vec![1, 2, 255], enabled_at: Some(AT), last_step: 59_666_666, recovery })
            }
        },
    };
    roles.map(user).to_vec()
}

fn alerts() -> Vec<Alert> {
    let id = AlertId::parse("alert_0000000300").unwrap();
    let alert = |severity| Alert::new(id.clone(), "resource_threshold", node_id().as_str(), severity, "attic: CPU use 97 %", AT);
    let info = alert(Severity::Info);
    let mut over = alert(Severity::Warning);
    over.acknowledge(Actor::User(user_id().to_string()), Some("on it".into()), AT.plus_seconds(5));
    over.resolve(AT.plus_seconds(60));
    let mut lived = Alert { topic: Some("cpu_percent".into()), ..alert(Severity::Warning) };
    lived.set_severity(Severity::Critical, "attic: CPU use 99 %", AT.plus_seconds(10));
    lived.set_severity(Severity::Warning, "attic: CPU use 90 %", AT.plus_seconds(20));
    lived.set_unknown(true, AT.plus_seconds(30));
    lived.set_unknown(false, AT.plus_seconds(40));
    lived.set_unknown(true, AT.plus_seconds(50));
    vec![info, over, lived, alert(Severity::Critical)]
}

fn threshold_sets() -> Vec<ThresholdSet> {
    let limits = METRICS.map(|metric| (metric, Limits { warning: Tenths(701), critical: Tenths(902) }));
    vec![ThresholdSet::default(), ThresholdSet { limits: limits.to_vec(), duration_seconds: Some(600), hysteresis: Some(Tenths(25)) }]
}

fn allocations() -> Vec<NamedAllocation> {
    let amounts =
        Allocation { cpu_hundredths: Some(2_550), memory_bytes: Some(1 << 30), disk_bytes: Some(5 << 30), network_kbps: Some(10_500) };
    let named = |amounts| NamedAllocation {
        id: AllocationId::parse("alloc_0123456789abcdef").unwrap(),
        name: "render".into(),
        amounts,
        created_at: AT,
        created_by: Actor::User(user_id().to_string()),
    };
    vec![named(amounts), named(Allocation::default())]
}

fn audit_entries() -> Vec<audit::Entry> {
    let actors = [Actor::System, Actor::Console, Actor::User(user_id().to_string()), Actor::Node(node_id().to_string()), Actor::Anonymous];
    let entry = |actor: Actor| {
        let known = actor != Actor::System;
        let kept = match &actor {
            Actor::System => audit::Kept::Nothing,
            Actor::Console => audit::Kept::Clear { address: Some("192.0.2.7".into()) },
            other => audit::Kept::Sealed { subject: other.to_string(), bytes: vec![1, 2, 255] },
        };
        let draft = audit::Draft {
            at: AT,
            at_trusted: known,
            actor,
            operation: "node.create".into(),
            subject: node_id().to_string(),
            success: known,
            reason: known.then(|| "NotAllowed".into()),
            request_id: known.then(|| "req_1".into()),
            times: 300,
            personal: audit::Personal::default(),
            seed: audit::Seed::default(),
        };
        audit::Entry { seq: 70_000, draft, kept, previous: [8; 32], hash: [9; 32] }
    };
    actors.map(entry).to_vec()
}

fn book(settlement: Settlement, currency: Currency) -> Book {
    Book { settlement, currency }
}

fn postings() -> Vec<Posting> {
    let (node, pool) = (NodeIndex(300), PoolIndex(2));
    let (reason, by) = ("a correction".to_owned(), user_id());
    let causes = [
        Cause::Accrual { node, after: Epoch(SLOT.0 - 10), through: Epoch(SLOT.0) },
        Cause::Reserve { payout: payout_id() },
        Cause::Release { payout: payout_id() },
        Cause::Paid { payout: payout_id() },
        Cause::Adjustment { node, reason: reason.clone(), by: by.clone() },
        Cause::Forfeiture { node, reason: reason.clone(), by: by.clone() },
    ];
    let accounts = [
        Account::PoolExpense(pool),
        Account::NodePayable(node),
        Account::NodeReserved(node),
        Account::NodePaid(node),
        Account::Adjustment,
        Account::Forfeited(node),
        Account::Unexplained,
    ];
    let books = [book(Settlement::Live, Currency::Usdt), book(Settlement::Simulated, Currency::Lucid)];
    let later = [
        Cause::Reward { pool, split: Split::Equal, reason: reason.clone(), by: by.clone() },
        Cause::Reward { pool, split: Split::Credits { from: AT, to: AT.plus_ms(5) }, reason: reason.clone(), by: by.clone() },
        Cause::Unexplained { node: Some(node), txid: "ab".into() },
        Cause::Unexplained { node: None, txid: "ab".into() },
        Cause::GoLive { node, from: AT, by: by.clone() },
    ];
    let causes = causes.into_iter().zip(accounts.windows(2)).chain(later.into_iter().zip(accounts.windows(2)));
    causes
        .zip(books.into_iter().cycle())
        .map(|((cause, accounts), book)| {
            let lines =
                vec![Line { account: accounts[0], amount: Units(-1_234_567) }, Line { account: accounts[1], amount: Units(1_234_567) }];
            Posting { seq: 129, at: AT, entry: Entry { book, cause, lines } }
        })
        .collect()
}

fn proof() -> DeathProof {
    DeathProof { solid_block: 9, solid_at: AT, scanned_from: 1, scanned_to: 9, witnesses: vec!["https://witness.example".into()] }
}

fn review() -> Review {
    let claim = Claim { txid: "ab".into(), by: user_id(), at: AT };
    let statement = Statement { by: user_id(), at: AT, text: "asked".into() };
    let review = Review::new(ReviewKind::Conflict, "why", vec!["seen".into()], AT);
    Review { claim: Some(claim), statements: vec![statement], ..review }
}

fn money_states() -> Vec<MoneyState> {
    let kinds = [FreezeKind::UnknownTransfer, FreezeKind::MissingFunds, FreezeKind::Restored, FreezeKind::Person, FreezeKind::LedgerBroken];
    let freeze = |kind| Freeze { kind, reason: "why".into(), since: AT, by: Some(user_id()) };
    let full = |kind| MoneyState {
        frozen: Some(freeze(kind)),
        stopped: Some(Stop { reason: "why".into(), since: AT, by: Some(user_id()) }),
        live: Some(GoneLive { at: AT, by: user_id(), network: "n".into(), wallet: "w".into(), owed_from: Some(AT) }),
        trx_rate: Some(TrxRate { usdt: Units(300_000), set_at: AT }),
    };
    kinds.into_iter().map(full).chain([MoneyState::default()]).collect()
}

fn pin() -> Pin {
    Pin { gateway: "tron".into(), network: "n".into(), wallet: "w".into(), contract: "c".into() }
}

fn unknown_transfers() -> Vec<UnknownTransfer> {
    let transfer = OutgoingTransfer { txid: "ab".repeat(32), to: "T".into(), amount: Units(5), block: 70_000_000, at: AT };
    let row = |booked_at| UnknownTransfer { pin: pin(), transfer: transfer.clone(), found_at: AT, booked_at };
    vec![row(None), row(Some(AT))]
}

fn payouts() -> Vec<Payout> {
    let reason = || "why".to_owned();
    let batch = Source::Batch { batch: BatchId::parse("batch_0123456789").unwrap(), by: user_id().to_string() };
    let schedule = Source::Schedule { schedule: ScheduleId::parse("schedule_0123456789").unwrap(), by: user_id().to_string() };
    let states = [
        (AttemptState::Signed, State::Open, Source::Automatic, Priority::Low),
        (AttemptState::MaybeSent, State::Open, Source::Manual { by: user_id().to_string() }, Priority::Normal),
        (AttemptState::Seen { block: 70_000_000 }, State::Open, Source::Final { by: user_id().to_string() }, Priority::High),
        (AttemptState::Paid, State::Paid { at: AT }, Source::Automatic, Priority::Urgent),
        (AttemptState::FailedOnChain { reason: reason() }, State::Failed { at: AT, reason: reason() }, batch, Priority::Normal),
        (AttemptState::Dead { death: Death::Expired(proof()) }, State::Cancelled { at: AT, reason: reason() }, schedule, Priority::Normal),
        (AttemptState::Dead { death: Death::Stated }, State::Open, Source::Automatic, Priority::Normal),
        (AttemptState::Dead { death: Death::Told(reason()) }, State::Open, Source::Automatic, Priority::Normal),
    ];
    let addresses = [
        PayoutAddress::parse("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", Currency::Usdt).unwrap(),
        PayoutAddress::parse("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Currency::Lucid).unwrap(),
    ];
    let payout = |(n, (attempt, state, source, priority)): (usize, (AttemptState, State, Source, Priority))| {
        let prepared = Prepared {
            pin: pin(),
            urls: vec!["https://node.example".into()],
            bytes: vec![1, 2, 255],
            txid: Some("ab".repeat(32)),
            expires_at: (n != 1).then_some(AT.plus_seconds(60)),
            reference_block: 70_000_000,
            fee_limit_sun: 30_000_000,
            timestamp_ms: AT.0,
        };
        let sent_at = (attempt != AttemptState::Signed).then_some(AT.plus_ms(2));
        let address = addresses[n % 2].clone();
        Payout {
            id: payout_id(),
            seq: 129,
            node: NodeIndex(300),
            book: book(Settlement::Simulated, address.currency()),
            amount: Units(400_000),
            address,
            source,
            priority,
            state,
            review: (n == 1).then(review),
            attempts: vec![Attempt {
                number: 1,
                prepared,
                state: attempt,
                signed_at: AT.plus_ms(1),
                sent_at,
                seen_at: (n > 1).then_some(AT.plus_ms(3)),
                ended_at: (n > 2).then_some(AT.plus_ms(4)),
                found_txid: (n == 3).then(reason),
                reference: (n == 1).then(reason),
                fee_sun: 13_000_000,
            }],
            extra_attempts: 1,
            created_at: AT,
            updated_at: AT.plus_ms(3),
        }
    };
    states.into_iter().enumerate().map(payout).collect()
}

fn heads() -> Vec<Head> {
    let params = Params { version: 7, ..Params::default() };
    let closed = Head {
        epoch: Epoch(SLOT.0),
        last_slot: SLOT.plus(9),
        slots_per_epoch: 10,
        closed_at: AT,
        is_gap: false,
        params,
        counts: Counts { valid: 3, pending: 2, invalid: 1 },
        leaves_at: Some(Epoch(SLOT.0)),
        root: [4; 32],
        previous: [5; 32],
        seal: Some(Seal {
            chain: "0123456789abcdef".into(),
            incarnation: 2,
            restored_from: Some([6; 32]),
            sequence: 300,
            history: [7; 32],
            audit: LogEnd { seq: 301, hash: [8; 32] },
            ledger: LogEnd { seq: 302, hash: [9; 32] },
            manager_key: [10; 32],
            signature: vec![11; 64],
        }),
    };
    let gap = Head { is_gap: true, last_slot: SLOT.plus(999), counts: Counts::default(), leaves_at: None, seal: None, ..closed.clone() };
    vec![closed, gap]
}

fn node_events() -> Vec<NodeEvent> {
    use Kind::{
        AddressChanged, Back, Created, Deleted, Enrolled, FingerprintAccepted, FingerprintDrift, MaintenanceSet, MovedPool, PayoutFailed,
        PayoutPaid, PayoutReview, Reenrolled, Renamed, Started, Stopped, Unreachable,
    };
    let kinds = [
        Created,
        Enrolled,
        Reenrolled,
        Renamed,
        MovedPool,
        MaintenanceSet,
        Started,
        Stopped,
        Unreachable,
        Back,
        FingerprintDrift,
        FingerprintAccepted,
        AddressChanged,
        PayoutPaid,
        PayoutFailed,
        PayoutReview,
        Deleted,
    ];
    let mut events: Vec<NodeEvent> = kinds.map(|kind| NodeEvent { at: AT, kind, detail: None, actor: Actor::System }).into();
    let (detail, actor) = (Some("a to b".to_owned()), Actor::User("user_0123456789abcdef".into()));
    events.push(NodeEvent { at: AT, kind: Renamed, detail, actor });
    events
}

fn commands() -> Vec<Command> {
    use CommandState::{Delivered, Done, Expired, Failed, Pending};
    let states =
        [(Action::Start, Pending), (Action::Stop, Delivered), (Action::Restart, Done), (Action::Start, Failed), (Action::Stop, Expired)];
    let command = |(action, state)| Command {
        action,
        revision: 300,
        created_at: AT,
        by: Actor::User("user_0123456789abcdef".into()),
        deadline: AT.plus_seconds(DEADLINE_SECONDS),
        state,
        delivered_at: (state != Pending).then_some(AT.plus_ms(5)),
        finished_at: (state != Pending && state != Delivered).then_some(AT.plus_ms(9)),
        outcome: (state == Failed).then(|| "it ended with status 1".to_owned()),
    };
    states.map(command).to_vec()
}

fn orders() -> Vec<Order> {
    let mut changed = Order { revision: 300, restart_count: 2, ..Order::initial(Wanted::Running) };
    changed.wanted.set(SLOT, Wanted::Stopped);
    vec![Order::initial(Wanted::Stopped), changed]
}

fn maintenance() -> Vec<MaintenancePeriod> {
    let by = Actor::User("user_0123456789abcdef".into());
    let planned =
        MaintenancePeriod { from: SLOT, until: SLOT.plus(960), origin: Origin::Planned, created_at: AT, by: by.clone(), ended: None };
    let ended = Some(Ended { slot: SLOT.plus(7), at: AT.plus_ms(9), by });
    vec![
        planned.clone(),
        MaintenancePeriod { origin: Origin::Status, ended, ..planned.clone() },
        MaintenancePeriod { origin: Origin::Window, by: Actor::System, ..planned },
    ]
}

fn final_payouts() -> Vec<FinalPayout> {
    let stages = [
        Stage::Closing,
        Stage::Paying,
        Stage::Held(Hold::Guard(Skip::NoAddress)),
        Stage::Held(Hold::Guard(Skip::AddressWaits { until: AT })),
        Stage::Held(Hold::Guard(Skip::HardwareDrift)),
        Stage::Held(Hold::Failed),
        Stage::Held(Hold::OwedLive),
    ];
    let payout = |stage| (stage != Stage::Closing).then_some(300);
    stages.map(|stage| FinalPayout { requested_at: AT, by: user_id(), from: SLOT, stage, payout: payout(stage) }).to_vec()
}

fn totals() -> Totals {
    Totals {
        earned: Units(1),
        rewards: Units(2),
        adjustments: Units(-3),
        reserved: Units(4),
        released: Units(5),
        paid: Units(6),
        unplanned: Units(7),
        forfeited: Units(8),
        fees_sun: 13_844_850,
        withheld: -9,
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint { at: AT, through: 300, pages: 1, postings: [1; 32], previous: [2; 32], hash: [3; 32] }
}

fn checkpoint_page() -> CheckpointPage {
    let book = Book { settlement: Settlement::Simulated, currency: Currency::Lucid };
    let balance = Balance { units: Units(-1), credited: Units(300), debited: Units(301) };
    CheckpointPage { book, balances: vec![(Account::NodePayable(NodeIndex(300)), balance), (Account::Unexplained, Balance::default())] }
}

fn batch_id() -> BatchId {
    BatchId::parse("batch_0123456789abcdef").unwrap()
}

fn delivery(id: &str) -> Delivery {
    let (id, event, body) = (id.to_owned(), "e".to_owned(), "{}".to_owned());
    Delivery { id, target: target(), event, body, made_at: AT, tries: 0, next_at: AT, last_error: None, dead_at: None }
}

fn target() -> Target {
    Target { url: "https://a.example/x?y".into(), origin: "https://a.example".into() }
}

fn left_out() -> Vec<LeftOut> {
    vec![LeftOut { node: node_id(), why: "no_address".into(), text: "none".into() }]
}

fn wishes() -> Vec<Wish> {
    let wish = |currency, address: Option<&str>, priority| Wish {
        node: node_id(),
        amount: Units(1_500_000),
        currency,
        address: address.map(str::to_owned),
        priority,
    };
    vec![wish(Currency::Usdt, Some("T1"), Priority::Urgent), wish(Currency::Lucid, None, Priority::Low)]
}

fn batches() -> Vec<Batch> {
    let queued = Batch {
        id: batch_id(),
        seq: 300,
        content: [7; 32],
        by: user_id().to_string(),
        schedule: None,
        settlement: Settlement::Simulated,
        priority: Priority::High,
        notify: Some(target()),
        made_at: AT,
        scheduled_at: Some(AT.plus_ms(9)),
        waiting: wishes(),
        first: 0,
        count: 0,
        tally: Tally::default(),
        left_out: Vec::new(),
        called_off: false,
        ended_at: None,
    };
    let ended = Batch {
        schedule: Some(ScheduleId::parse("schedule_0123456789abcdef").unwrap()),
        settlement: Settlement::Live,
        notify: None,
        waiting: Vec::new(),
        first: 300,
        count: 6,
        tally: Tally { paid: 1, failed: 2, cancelled: 3 },
        left_out: left_out(),
        called_off: true,
        ended_at: Some(AT),
        ..queued.clone()
    };
    vec![queued, ended]
}

fn payout_schedules() -> Vec<PayoutSchedule> {
    let once = PayoutSchedule {
        id: ScheduleId::parse("schedule_0123456789abcdef").unwrap(),
        name: "monthly".into(),
        rule: Rule::Once(AT),
        whom: Whom::Listed(wishes()),
        min_amount: None,
        priority: Priority::Normal,
        enabled: false,
        by: user_id().to_string(),
        made_at: AT,
        updated_at: AT.plus_ms(1),
        revision: 300,
        fired_through: AT.plus_ms(2),
        runs: 300,
    };
    let rule = Rule::Cron { fields: "0 6 1 * *".into(), time_zone: "Europe/Zurich".into() };
    let of_pool = Whom::Pool(PoolId::parse("pool_0123456789abcdef").unwrap());
    let cron = PayoutSchedule { rule, whom: of_pool, min_amount: Some(Units(300)), enabled: true, ..once.clone() };
    vec![once, PayoutSchedule { whom: Whom::AllDue, ..cron.clone() }, cron]
}

fn suspensions() -> Vec<Suspension> {
    let by = || Actor::User(user_id().to_string());
    let decision = SuspensionDecision { upheld: true, at: AT, by: by(), reason: "why".into() };
    let appeal = |decision| Appeal { at: AT, by: by(), text: "no".into(), decision };
    let open = Suspension {
        from: SLOT,
        at: AT,
        by: by(),
        reason: "why".into(),
        evidence: AlertId::parse("alert_0000000300").ok(),
        appeals: vec![appeal(Some(decision)), appeal(None)],
        lifted: None,
    };
    let lifted = Lifted { from: SLOT.plus(1), at: AT, by: by(), reason: "why".into() };
    vec![open.clone(), Suspension { evidence: None, appeals: Vec::new(), lifted: Some(lifted), ..open }]
}

fn vote_rows() -> Vec<VoteRow> {
    let round = Round {
        there_already: 1,
        accepted: 297,
        refused: 3,
        reasons: vec![Reason { status: 422, said: "no".into(), votes: 3 }],
        ended_at: Some(AT.plus_ms(1)),
        ..Round::new(Epoch(SLOT.0), "block-1".into(), 300, AT)
    };
    let trouble = Trouble { since: AT, tries: 300, next_at: AT.plus_ms(2), why: "answered 503".into() };
    let row = VoteRow { rounds: vec![round], trouble: Some(trouble), refused_since: Some(AT), unanswered: 300 };
    vec![VoteRow::default(), row]
}

fn vote_answers() -> Vec<VoteAnswers> {
    let answer = |status, refused| VoteAnswer { node: NodeIndex(300), epoch: Epoch(SLOT.0), status, refused };
    vec![VoteAnswers(vec![answer(200, None)]), VoteAnswers(vec![answer(422, Some("no".into()))])]
}

pub(in crate::storage) fn goldens() -> Vec<Golden> {
    let meta = StoreMeta {
        schema: 1,
        store_id: "0123456789abcdef".into(),
        generation: 2,
        manager_id: ManagerId::parse("manager_0123456789abcdef").unwrap(),
        sealed_seed: vec![1, 2, 255],
        created_at: AT,
    };
    let session = |carrier| {
        let known = carrier == Carrier::Cookie;
        let (address, user_agent) = (known.then(|| "192.0.2.7".to_owned()), known.then(|| "Mozilla/5.0".to_owned()));
        Session {
            user: user_id(),
            carrier,
            created_at: AT,
            used_at: AT.plus_ms(4),
            address,
            user_agent,
            confirmed_at: known.then(|| AT.plus_ms(5)),
        }
    };
    let mut accrued = Accrued { through: Epoch(SLOT.0), ..Accrued::default() };
    accrued.set_remainder(Currency::Usdt, Pico(999_999_999_999));
    accrued.set_remainder(Currency::Lucid, Pico(1));
    accrued.set_posted(Currency::Usdt, Epoch(SLOT.0 - 10));
    accrued.check = Some(u64::MAX);
    vec![
        Golden::of("StoreMeta", vec![meta]),
        Golden::of("Counters", vec![Counters { nodes: 300, pools: 2 }]),
        Golden::of("Node", nodes()),
        Golden::of("Pool", pools()),
        Golden::of("EnrolmentToken", tokens()),
        Golden::of("NodeId", vec![node_id()]),
        Golden::of("EnrolmentRequest", enrolment_requests()),
        Golden::of("User", users()),
        Golden::of("ApiToken", api_tokens()),
        Golden::of("UserId", vec![user_id()]),
        Golden::of("Session", vec![session(Carrier::Cookie), session(Carrier::Bearer)]),
        Golden::of("KnownNetworks", vec![KnownNetworks(vec![[1; 16], [255; 16]]), KnownNetworks::default()]),
        Golden::of("StoredSetting", vec![like::<StoredSetting>(&(vec![7u8, 0, 255], AT, "user_0123456789abcdef"))]),
        Golden::of("Alert", alerts()),
        Golden::of("Entry", audit_entries()),
        Golden::of("SubjectKey", [Some(vec![1, 2, 255]), None].map(|sealed| SubjectKey { sealed, at: AT }).to_vec()),
        Golden::of("Index", vec![Index(0), Index(300), Index(u32::MAX)]),
        Golden::of("Index64", vec![Index64(1), Index64(u64::MAX)]),
        Golden::of("Head", heads()),
        Golden::of(
            "Succession",
            vec![Succession {
                manager_id: "manager_0123456789abcdef".into(),
                old_key: Hex([1; 32]),
                new_key: Hex([2; 32]),
                from_sequence: 300,
                at_ms: AT.0,
                signed_by_old: Hex([3; 64]),
                signed_by_new: Hex([4; 64]),
            }],
        ),
        Golden::of(
            "Chain",
            vec![Chain { incarnation: 2, restored_from: Some([6; 32]), frontier: like(&(3u64, vec![[1u8; 32], [2; 32]])), generation: 1 }],
        ),
        Golden::of("Posting", postings()),
        Golden::of(
            "Balance",
            vec![
                Balance { units: Units(-1), credited: Units(300), debited: Units(301) },
                Balance { units: Units(i64::MAX), credited: Units(i64::MAX), debited: Units::ZERO },
            ],
        ),
        Golden::of("BookSum", vec![BookSum { credited: Units(300), debited: Units(i64::MAX) }]),
        Golden::of("Totals", vec![Totals::default(), totals()]),
        Golden::of("Checkpoint", vec![checkpoint()]),
        Golden::of("CheckpointPage", vec![checkpoint_page()]),
        Golden::of("Latch", vec![Latch { why: "why".into(), at: AT }]),
        Golden::of("Accrued", vec![Accrued::default(), accrued]),
        Golden::of("Payout", payouts()),
        Golden::of("SetupMark", [false, true].map(|skipped| SetupMark { skipped, at: AT, by: user_id().to_string() }).to_vec()),
        Golden::of("SealedAddress", vec![like::<SealedAddress>(&vec![1u8, 2, 255])]),
        Golden::of("NodeEvent", node_events()),
        Golden::of(
            "Remembered",
            vec![
                Remembered::committed([7; 32], AT),
                Remembered {
                    forget_at: None,
                    outcome: Outcome::Answered { status: 201, content_type: Some("application/json".into()), sealed: vec![1, 2, 3] },
                    ..Remembered::committed([8; 32], AT)
                },
                Remembered { outcome: Outcome::NotKept("why".into()), ..Remembered::committed([9; 32], AT) },
            ],
        ),
        Golden::of("ThresholdSet", threshold_sets()),
        Golden::of("NamedAllocation", allocations()),
        Golden::of("Membership", [1, 100].map(|priority| Membership { priority }).to_vec()),
        Golden::of("Silent", vec![Silent::default(), Silent([0, 64, 300].map(NodeIndex).into_iter().collect())]),
        Golden::of("Command", commands()),
        Golden::of("Order", orders()),
        Golden::of("MaintenancePeriod", maintenance()),
        Golden::of("FinalPayout", final_payouts()),
        Golden::of("Skipped", vec![Skipped { why: Skip::FeeShare, since: AT }, Skipped { why: Skip::NotLive, since: AT }]),
        Golden::of("MoneyState", money_states()),
        Golden::of(
            "WalletRow",
            vec![WalletRow {
                through_block: 70_000_000,
                through_at: AT,
                floor: Units(5),
                last_timestamp_ms: AT.0,
                reconciled_at: Some(AT),
            }],
        ),
        Golden::of("Absence", vec![Absence { written_until: AT, looked_at: None }, Absence { written_until: AT, looked_at: Some(AT) }]),
        Golden::of("UnknownTransfer", unknown_transfers()),
        Golden::of("Batch", batches()),
        Golden::of("PayoutSchedule", payout_schedules()),
        Golden::of(
            "Run",
            vec![
                Run {
                    number: 300,
                    due_at: AT,
                    since: AT.plus_ms(-5),
                    fired_at: AT.plus_ms(5),
                    batch: Some(batch_id()),
                    planned: 2,
                    left_out: left_out(),
                    left_out_count: 300,
                    note: None,
                },
                Run {
                    number: 1,
                    due_at: AT,
                    since: AT,
                    fired_at: AT,
                    batch: None,
                    planned: 0,
                    left_out: Vec::new(),
                    left_out_count: 0,
                    note: Some("gone".into()),
                },
            ],
        ),
        Golden::of(
            "Outgoing",
            vec![
                Outgoing::Webhook(delivery("delivery_f8749afa81a671eba4bbee385c63f717")),
                Outgoing::Webhook(Delivery {
                    tries: 300,
                    last_error: Some("no".into()),
                    dead_at: Some(AT),
                    ..delivery("delivery_e96b920f65210d6a7c0957cc43fafc7c")
                }),
            ],
        ),
        Golden::of(
            "Webhooks",
            vec![Webhooks::default(), Webhooks { last: 300, salt: vec![1, 2, 255], key_made_at: Some(AT), dropped: 300 }],
        ),
        Golden::of("PayoutNews", vec![PayoutNews::default(), PayoutNews { target: Some(target()), told: 300 }]),
        Golden::of("Suspension", suspensions()),
        Golden::of("VoteRow", vote_rows()),
        Golden::of("VoteAnswers", vote_answers()),
        Golden::of("Manifest", vec![manifest()]),
        Golden::of("GoneArchive", vec![super::archives::GoneArchive { at: AT }]),
        Golden::of("ColdFile", vec![ColdFile::There(0), ColdFile::There(u64::MAX), ColdFile::Expired(AT), ColdFile::Lost(AT)]),
        Golden::of(
            "ReplicaState",
            vec![
                ReplicaState::default(),
                ReplicaState {
                    is_marking: true,
                    stretch: 300,
                    starts: 70_000,
                    runs: vec!["0a".into(), "0b".into()],
                    is_paused: true,
                    resync: vec!["nodes".into()],
                },
            ],
        ),
        Golden::of("Rev", vec![Rev(1), Rev(1 << 62)]),
        Golden::of("BackupState", vec![BackupState::default(), backups()]),
        Golden::of("Approval", vec![Approval { payouts: vec![1, 300], by: user_id(), at: AT }]),
    ]
}
