//! Every table of `core.redb` on one screen. Keys of busy tables are monotonic: a random key costs forty times the bytes.

use std::ops::ControlFlow;

use crate::domain::alert::Alert;
use crate::domain::allocation::NamedAllocation;
use crate::domain::api_token::ApiToken;
use crate::domain::archive::Manifest;
use crate::domain::audit::Entry;
use crate::domain::batch::Batch;
use crate::domain::command::{Command, Order};
use crate::domain::enrolment::EnrolmentToken;
use crate::domain::enrolment_request::EnrolmentRequest;
use crate::domain::epoch::Head;
use crate::domain::final_payout::FinalPayout;
use crate::domain::idempotency::Remembered;
use crate::domain::ids::{NodeId, UserId};
use crate::domain::ledger::Posting;
use crate::domain::maintenance::MaintenancePeriod;
use crate::domain::money_state::MoneyState;
use crate::domain::node::Node;
use crate::domain::node_event::NodeEvent;
use crate::domain::payout::Payout;
use crate::domain::payout_schedule::{PayoutSchedule, Run};
use crate::domain::pool::{Membership, Pool};
use crate::domain::proof::succession::Succession;
use crate::domain::replica::Rev;
use crate::domain::session::{KnownNetworks, Session};
use crate::domain::setup::SetupMark;
use crate::domain::statement::Totals;
use crate::domain::suspension::Suspension;
use crate::domain::threshold::ThresholdSet;
use crate::domain::user::User;
use crate::domain::vote::VoteRow;
use crate::domain::wallet::{Absence, UnknownTransfer, WalletRow};
use crate::record;
use crate::storage::fault::Fault;
use crate::storage::migrate;
use crate::storage::replica::marks::ReplicaState;
use crate::storage::table::{Read, Table};

use super::archives::GoneArchive;
use super::backups::BackupState;
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
use super::votes::VoteAnswers;

/// One row, "store".
pub const STORE: Table<String, StoreMeta> = Table::new("store");
/// One row, "counters".
pub const COUNTERS: Table<String, Counters> = Table::new("counters");
/// By node index.
pub const NODES: Table<u32, Node> = Table::new("nodes");
/// Deleted nodes by index: postings and payouts go on naming them.
pub const RETIRED_NODES: Table<u32, Node> = Table::new("retired_nodes");
/// Node id -> index. Rows of deleted nodes stay: ids are never reused.
pub const NODE_IDS: Table<String, Index> = Table::new("node_ids");
/// Public key of an agent -> node index.
pub const NODE_KEYS: Table<[u8; 32], Index> = Table::new("node_keys");
/// (pool index or u32::MAX for none, name) -> node index.
pub const NODE_NAMES: Table<(u32, String), Index> = Table::new("node_names");
/// (node index, sequence from 1) -> what happened.
pub const NODE_EVENTS: Table<(u32, u64), NodeEvent> = Table::new("node_events");
/// (node index, revision) -> what was asked of its workload.
pub const COMMANDS: Table<(u32, u64), Command> = Table::new("commands");
/// Node index -> what its workload was told last; none before the first command.
pub const ORDERS: Table<u32, Order> = Table::new("orders");
/// One row: whose silence is recorded.
pub const SILENT: Table<String, Silent> = Table::new("silent");
/// Node index -> thresholds that were set for it.
pub const NODE_THRESHOLDS: Table<u32, ThresholdSet> = Table::new("node_thresholds");
/// Pool index -> thresholds that its nodes inherit.
pub const POOL_THRESHOLDS: Table<u32, ThresholdSet> = Table::new("pool_thresholds");
/// (node index, allocation id) -> a named share of the node.
pub const ALLOCATIONS: Table<(u32, String), NamedAllocation> = Table::new("allocations");
/// (node index, number from 1) -> a stretch in which the node does not count, planned or past.
pub const MAINTENANCE: Table<(u32, u64), MaintenancePeriod> = Table::new("maintenance");
/// (node index, number from 1) -> when and why an admin took it out of service.
pub const SUSPENSIONS: Table<(u32, u64), Suspension> = Table::new("suspensions");
/// Node index -> what its pool was told of it, where that is not the default.
pub const MEMBERSHIPS: Table<u32, Membership> = Table::new("memberships");
/// By pool index.
pub const POOLS: Table<u32, Pool> = Table::new("pools");
/// Deleted pools by index: an epoch that closes late still asks for their price.
pub const RETIRED_POOLS: Table<u32, Pool> = Table::new("retired_pools");
/// Pool id -> index. Rows of deleted pools stay.
pub const POOL_IDS: Table<String, Index> = Table::new("pool_ids");
pub const ENROLMENT_TOKENS: Table<String, EnrolmentToken> = Table::new("enrolment_tokens");
/// (token id, public key of a machine that enrolled with it) -> the node it became.
pub const ENROLMENT_USES: Table<(String, [u8; 32]), NodeId> = Table::new("enrolment_uses");
/// Request id, made of token and key -> the machine that waits.
pub const ENROLMENT_REQUESTS: Table<String, EnrolmentRequest> = Table::new("enrolment_requests");
/// User id -> person.
pub const USERS: Table<String, User> = Table::new("users");
/// Lower-case user name -> user id.
pub const USER_NAMES: Table<String, UserId> = Table::new("user_names");
/// Hash of a session's token -> session.
pub const SESSIONS: Table<[u8; 32], Session> = Table::new("sessions");
/// User id -> networks that the person signed in from.
pub const KNOWN_NETWORKS: Table<String, KnownNetworks> = Table::new("known_networks");
/// API token id -> token.
pub const API_TOKENS: Table<String, ApiToken> = Table::new("api_tokens");
/// Name of a first step -> how it was done or skipped.
pub const SETUP_STEPS: Table<String, SetupMark> = Table::new("setup_steps");
/// Key of a setting -> what people changed it to.
pub const SETTINGS: Table<String, StoredSetting> = Table::new("settings");
/// By sequence, from 1.
pub const ALERTS: Table<u64, Alert> = Table::new("alerts");
/// Kind, space, subject, and where it has one another space and its topic -> the open alert.
pub const OPEN_ALERTS: Table<String, Index64> = Table::new("open_alerts");
/// By sequence, from 1.
pub const AUDIT: Table<u64, Entry> = Table::new("audit");
/// Whose personal values -> the key that seals them in the audit log, or when it was destroyed.
pub const SUBJECT_KEYS: Table<String, SubjectKey> = Table::new("subject_keys");
/// First slot of an epoch -> its head.
pub const EPOCHS: Table<u32, Head> = Table::new("epochs");
/// One row: what the next head follows.
pub const CHAIN: Table<String, Chain> = Table::new("chain");
/// By number, from 1: keys of the manager that took over from each other.
pub const SUCCESSIONS: Table<u64, Succession> = Table::new("successions");
/// By sequence, from 1.
pub const POSTINGS: Table<u64, Posting> = Table::new("postings");
/// (book, account) -> balance.
pub const BALANCES: Table<[u8; 7], Balance> = Table::new("balances");
/// Book -> turnover of all its accounts.
pub const BOOK_SUMS: Table<[u8; 2], BookSum> = Table::new("book_sums");
/// (book, month, node index) -> what the month moved for the node.
pub const MONTHLY: Table<[u8; 10], Totals> = Table::new("monthly");
/// Month -> where the ledger was closed after it.
pub const CHECKPOINTS: Table<u32, Checkpoint> = Table::new("checkpoints");
/// (month of a checkpoint, page) -> closing balances.
pub const CHECKPOINT_PAGES: Table<(u32, u32), CheckpointPage> = Table::new("checkpoint_pages");
/// One row while payouts are latched off.
pub const LEDGER_LATCH: Table<String, Latch> = Table::new("ledger_latch");
/// Node index -> how far its accruals are posted.
pub const ACCRUED: Table<u32, Accrued> = Table::new("accrued");
/// By sequence, from 1.
pub const PAYOUTS: Table<u64, Payout> = Table::new("payouts");
/// Payout id -> sequence.
pub const PAYOUT_IDS: Table<String, Index64> = Table::new("payout_ids");
/// (node index, book) -> the one payout that has not ended.
pub const OPEN_PAYOUTS: Table<(u32, u32), Index64> = Table::new("open_payouts");
/// (node index, book) -> the last payout that the automatic cycle planned.
pub const SCHEDULED: Table<(u32, u32), Index64> = Table::new("scheduled_payouts");
/// Nodes that leave, by index.
pub const FINAL_PAYOUTS: Table<u32, FinalPayout> = Table::new("final_payouts");
pub const PAYOUT_ADDRESSES: Table<u32, SealedAddress> = Table::new("payout_addresses");
/// Transaction id -> the payout that it is an attempt of: one transaction never pays two.
pub const TXIDS: Table<String, Index64> = Table::new("txids");
/// When an attempt was signed, and the payout's sequence -> that sequence; of the last days.
pub const SIGNED: Table<[u8; 16], Index64> = Table::new("signed_payouts");
/// (node index, book) -> why the automatic cycle leaves it out, and since when.
pub const SKIPPED: Table<(u32, u32), Skipped> = Table::new("skipped_payouts");
/// One row, "money".
pub const MONEY: Table<String, MoneyState> = Table::new("money");
/// Network and address -> how far what left the wallet is known.
pub const WALLETS: Table<String, WalletRow> = Table::new("wallets");
/// One row, while the store may be an older copy.
pub const ABSENCES: Table<String, Absence> = Table::new("absences");
/// Transaction id -> a transfer out of a wallet that nothing here planned.
pub const UNKNOWN_TRANSFERS: Table<String, UnknownTransfer> = Table::new("unknown_transfers");
/// Digest of what was approved -> who approved it.
pub const APPROVALS: Table<[u8; 32], Approval> = Table::new("approvals");

/// By sequence, from 1.
pub const BATCHES: Table<u64, Batch> = Table::new("payout_batches");
/// Batch id -> sequence.
pub const BATCH_IDS: Table<String, Index64> = Table::new("payout_batch_ids");
/// Sequence of a batch's first payout -> its sequence.
pub const BATCH_PAYOUTS: Table<u64, Index64> = Table::new("payouts_of_batches");
/// Sequences of batches that wait for their time.
pub const QUEUED_BATCHES: Table<u64, Index64> = Table::new("queued_batches");
/// By schedule id.
pub const SCHEDULES: Table<String, PayoutSchedule> = Table::new("payout_schedules");
/// (schedule id, number from 1) -> what became of one of its last runs.
pub const SCHEDULE_RUNS: Table<(String, [u8; 8]), Run> = Table::new("schedule_runs");
/// By number -> what is to leave this machine.
pub const OUTBOX: Table<u64, Outgoing> = Table::new("outbox");
/// One row, "webhooks".
pub const WEBHOOKS: Table<String, Webhooks> = Table::new("webhooks");
/// One row, "payouts".
pub const PAYOUT_NEWS: Table<String, PayoutNews> = Table::new("payout_news");

/// One row, "votes": which epoch the chain is being told.
pub const VOTES: Table<String, VoteRow> = Table::new("votes");
/// Group of neighbouring nodes -> the last answers to their votes.
pub const VOTE_ANSWERS: Table<u32, VoteAnswers> = Table::new("vote_answers");

/// Who asked for what under which `Idempotency-Key`, hashed -> how it ended.
pub const IDEMPOTENCY_KEYS: Table<[u8; 32], Remembered> = Table::new("idempotency_keys");

/// A dense index as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Index(pub u32);

/// A sequence number as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Index64(pub u64);
/// Name -> what is archived under it.
pub const ARCHIVES: Table<String, Manifest> = Table::new("archives");
/// Name of an archive that was too old itself -> when it went.
pub const GONE_ARCHIVES: Table<String, GoneArchive> = Table::new("gone_archives");
/// Name of an archive -> since when its files are not here, although they were not kept long enough: a restore from the cluster did not find all of them.
pub const LACKING_ARCHIVES: Table<String, GoneArchive> = Table::new("lacking_archives");
/// Node index -> the last of its events that is in an archive.
pub const ARCHIVED_EVENTS: Table<u32, Index64> = Table::new("archived_events");
/// One row: the newest good backup, and the last that failed.
pub const BACKUPS: Table<String, BackupState> = Table::new("backups");
/// Name of a file of measurements -> whether it is there.
pub const COLD_FILES: Table<String, ColdFile> = Table::new("cold_files");
/// One row, "replica": whether changes leave marks.
pub const REPLICA: Table<String, ReplicaState> = Table::new("replica");
/// (number of a table, key of a row that the cluster does not have as it is) -> as of which commit.
pub const REPLICA_MARKS: Table<(u8, Vec<u8>), Rev> = Table::new("replica_marks");

record! {
    StoreMeta = 1,
    Counters = 1,
    Node = 1,
    Pool = 2 from migrate::pool,
    EnrolmentToken = 2 from migrate::enrolment_token,
    NodeId = 1,
    EnrolmentRequest = 1,
    User = 2 from migrate::user,
    UserId = 1,
    ApiToken = 1,
    Session = 3 from migrate::session,
    Alert = 2 from migrate::alert,
    Entry = 2 from migrate::audit_entry,
    SubjectKey = 1,
    Index = 1,
    Index64 = 1,
    Head = 2 from migrate::head,
    Chain = 1,
    Succession = 1,
    Posting = 1,
    Balance = 2 from migrate::balance,
    BookSum = 1,
    Totals = 1,
    Checkpoint = 1,
    CheckpointPage = 1,
    Latch = 1,
    Accrued = 2 from migrate::accrued,
    Payout = 2 from migrate::payout,
    SealedAddress = 1,
    SetupMark = 1,
    NodeEvent = 1,
    Silent = 1,
    Remembered = 1,
    StoredSetting = 1,
    Command = 1,
    Order = 1,
    ThresholdSet = 1,
    NamedAllocation = 1,
    Membership = 1,
    KnownNetworks = 1,
    MaintenancePeriod = 1,
    FinalPayout = 1,
    Skipped = 1,
    MoneyState = 1,
    WalletRow = 1,
    Absence = 1,
    UnknownTransfer = 1,
    Approval = 1,
    Batch = 1,
    PayoutSchedule = 1,
    Run = 1,
    Outgoing = 1,
    Webhooks = 1,
    PayoutNews = 1,
    VoteRow = 1,
    Suspension = 1,
    VoteAnswers = 1,
    Manifest = 1,
    GoneArchive = 1,
    BackupState = 1,
    ColdFile = 1,
    ReplicaState = 1,
    Rev = 1,
}

/// Lists all tables, for those who look at each of them.
macro_rules! list {
    ($($table:ident),+ $(,)?) => {
        /// Created with the file, or when a later release opens it, so that snapshots can open them all.
        pub const ALL: &[&str] = &[$($table.name),+];

        /// Decodes every record of every table; how many there are.
        pub fn decode_all(read: &impl Read) -> Result<u64, Fault> {
            let mut records = 0;
            $(read.for_each($table, .., |_, _| {
                records += 1;
                ControlFlow::Continue(())
            })?;)+
            Ok(records)
        }
    };
}

list!(
    STORE,
    COUNTERS,
    NODES,
    RETIRED_NODES,
    NODE_IDS,
    NODE_KEYS,
    NODE_NAMES,
    POOLS,
    RETIRED_POOLS,
    POOL_IDS,
    ENROLMENT_TOKENS,
    ENROLMENT_USES,
    ENROLMENT_REQUESTS,
    USERS,
    USER_NAMES,
    SESSIONS,
    API_TOKENS,
    ALERTS,
    OPEN_ALERTS,
    AUDIT,
    SUBJECT_KEYS,
    EPOCHS,
    POSTINGS,
    BALANCES,
    ACCRUED,
    PAYOUTS,
    PAYOUT_IDS,
    OPEN_PAYOUTS,
    SCHEDULED,
    PAYOUT_ADDRESSES,
    SETUP_STEPS,
    NODE_EVENTS,
    SILENT,
    IDEMPOTENCY_KEYS,
    SETTINGS,
    COMMANDS,
    ORDERS,
    NODE_THRESHOLDS,
    POOL_THRESHOLDS,
    ALLOCATIONS,
    MEMBERSHIPS,
    KNOWN_NETWORKS,
    MAINTENANCE,
    FINAL_PAYOUTS,
    TXIDS,
    SIGNED,
    SKIPPED,
    MONEY,
    WALLETS,
    ABSENCES,
    UNKNOWN_TRANSFERS,
    APPROVALS,
    BOOK_SUMS,
    MONTHLY,
    CHECKPOINTS,
    CHECKPOINT_PAGES,
    LEDGER_LATCH,
    BATCHES,
    BATCH_IDS,
    BATCH_PAYOUTS,
    QUEUED_BATCHES,
    SCHEDULES,
    SCHEDULE_RUNS,
    OUTBOX,
    WEBHOOKS,
    PAYOUT_NEWS,
    CHAIN,
    SUCCESSIONS,
    SUSPENSIONS,
    VOTES,
    VOTE_ANSWERS,
    ARCHIVES,
    GONE_ARCHIVES,
    LACKING_ARCHIVES,
    ARCHIVED_EVENTS,
    BACKUPS,
    COLD_FILES,
    REPLICA,
    REPLICA_MARKS,
);
