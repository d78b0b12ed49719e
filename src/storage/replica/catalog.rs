//! How each table of both files goes to the cluster.

use crate::storage::compaction::Which;
use crate::storage::core::tables;
use crate::storage::hot::replicated as hot;

/// How the rows of a table go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Rows change and go away: whoever changes one leaves a mark.
    State,
    /// The same, under growing keys; what goes from the start because it is too old stays in the cluster.
    History,
    /// Rows are only ever added, under growing keys, and taken away from the start: read from where the cluster is.
    Log,
    /// Nothing of it leaves this machine.
    Stays,
}

/// A table with its number, which marks are kept by: it stays the same for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub number: u8,
    pub table: &'static str,
    pub file: Which,
    pub way: Way,
}

impl Listed {
    /// What is taken from its start, because it is too old or archived, stays in the cluster.
    pub fn keeps_history(&self) -> bool {
        matches!(self.way, Way::Log | Way::History)
    }
}

macro_rules! catalog {
    ($($file:ident of $tables:ident { $($number:literal $table:ident $way:ident;)+ })+) => {
        /// Every table.
        pub const CATALOG: &[Listed] = &[$($(Listed { number: $number, table: $tables::$table.name, file: Which::$file, way: Way::$way }),+),+];
    };
}

catalog! {
    Core of tables {
        1 COUNTERS State;
        2 NODES State;
        3 RETIRED_NODES State;
        4 NODE_IDS State;
        5 NODE_KEYS State;
        6 NODE_NAMES State;
        7 NODE_EVENTS State;
        8 COMMANDS State;
        9 ORDERS State;
        10 SILENT State;
        11 NODE_THRESHOLDS State;
        12 POOL_THRESHOLDS State;
        13 ALLOCATIONS State;
        14 MAINTENANCE State;
        15 SUSPENSIONS State;
        16 MEMBERSHIPS State;
        17 POOLS State;
        18 RETIRED_POOLS State;
        19 POOL_IDS State;
        20 USERS State;
        21 USER_NAMES State;
        22 SETUP_STEPS State;
        23 SETTINGS State;
        24 ALERTS State;
        25 OPEN_ALERTS State;
        // The keys are sealed at rest, under `secret.key`. Destroying one changes its row, which goes like any other: then the cluster's newest copy of it has no key either.
        // What the cluster itself keeps of before (its log, backups of it) has the sealed one until that is over, like a backup of the store.
        26 SUBJECT_KEYS State;
        27 CHAIN State;
        28 SUCCESSIONS State;
        29 BALANCES State;
        30 BOOK_SUMS State;
        31 MONTHLY State;
        32 CHECKPOINTS State;
        33 CHECKPOINT_PAGES State;
        34 LEDGER_LATCH State;
        35 ACCRUED State;
        36 PAYOUTS State;
        37 PAYOUT_IDS State;
        38 OPEN_PAYOUTS State;
        39 SCHEDULED State;
        40 FINAL_PAYOUTS State;
        41 PAYOUT_ADDRESSES State;
        42 TXIDS State;
        43 SIGNED State;
        44 SKIPPED State;
        45 MONEY State;
        46 WALLETS State;
        47 ABSENCES State;
        48 UNKNOWN_TRANSFERS State;
        49 APPROVALS State;
        50 BATCHES State;
        51 BATCH_IDS State;
        52 BATCH_PAYOUTS State;
        53 QUEUED_BATCHES State;
        54 SCHEDULES State;
        55 SCHEDULE_RUNS State;
        // No URL is in it. Without its salt a restored manager would sign with a key that nobody who checks signatures knows.
        57 WEBHOOKS State;
        59 VOTES State;
        60 VOTE_ANSWERS State;
        // All of them, for two days each. Those of money would do, but no row tells what its request was about: its key is a hash, its answer is sealed.
        61 IDEMPOTENCY_KEYS State;
        62 ARCHIVES State;
        63 GONE_ARCHIVES State;
        79 LACKING_ARCHIVES State;
        64 ARCHIVED_EVENTS State;
        65 AUDIT Log;
        66 EPOCHS Log;
        67 POSTINGS Log;
        // The seed of the manager's key is sealed in it, under a key that beside `secret.key` only the recovery kit brings back; and the row as a whole, like all rows.
        68 STORE State;
        69 ENROLMENT_TOKENS Stays;
        70 ENROLMENT_USES Stays;
        71 ENROLMENT_REQUESTS Stays;
        72 SESSIONS Stays;
        73 KNOWN_NETWORKS Stays;
        74 API_TOKENS Stays;
        // Whole URLs, which may be secrets, and bodies of messages. What waits to be delivered is of this machine: one that begins again from the cluster does not say
        // what was said long ago. Whom the steps of payouts are told to is written anew from the configuration at each start.
        56 OUTBOX Stays;
        58 PAYOUT_NEWS Stays;
        // Of this machine's disk.
        75 BACKUPS Stays;
        76 COLD_FILES Stays;
        77 REPLICA Stays;
        78 REPLICA_MARKS Stays;
    }
    Hot of hot {
        // Of an epoch whose head is not there yet they may be written once more: they go up to the last head.
        100 LEAVES Log;
        101 EVIDENCE History;
        102 STRAINED History;
        103 CHALLENGED History;
        104 PROOFS History;
        105 PROOF_MONTHS State;
        106 KEPT State;
        107 KEPT_SUM State;
        108 DAY_REPORTS History;
        109 DAYS History;
        110 SCORE_HOURS History;
        111 TOTALS State;
        112 ROLLED State;
        113 STALE State;
        // Of this store, of this machine, or between two starts of it.
        114 META Stays;
        115 ACKS Stays;
        116 UNTIMED Stays;
        117 WEAR Stays;
        118 MARKS Stays;
        // Measurements go as samples and hours, wherever they are stored.
        119 LOG Stays;
        120 SEALED Stays;
        121 SWEEP Stays;
        122 BLOCKS Stays;
        123 HOURS Stays;
    }
}

/// Tables that leave this machine.
pub fn leaving() -> impl Iterator<Item = &'static Listed> {
    CATALOG.iter().filter(|listed| listed.way != Way::Stays)
}

pub fn by_number(number: u8) -> Option<&'static Listed> {
    CATALOG.iter().find(|listed| listed.number == number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_is_in_it_once_and_no_number_is_used_twice() {
        let listed: BTreeSet<&str> = CATALOG.iter().map(|listed| listed.table).collect();
        let all = tables::ALL.iter().chain(crate::storage::hot::TABLES).copied();
        assert_eq!(listed, all.collect(), "a new table has to say how it goes to the cluster");
        let numbers: BTreeSet<u8> = CATALOG.iter().map(|listed| listed.number).collect();
        // Both files have marks, under one name.
        assert_eq!((listed.len() + 1, numbers.len()), (CATALOG.len(), CATALOG.len()));
        assert_eq!(by_number(2).unwrap().table, "nodes");
    }

    #[test]
    fn what_signs_people_machines_and_programs_in_stays_and_so_do_urls() {
        let signing_in = [tables::SESSIONS.name, tables::KNOWN_NETWORKS.name, tables::API_TOKENS.name, tables::ENROLMENT_TOKENS.name];
        let urls = [tables::OUTBOX.name, tables::PAYOUT_NEWS.name];
        for table in signing_in.into_iter().chain(urls) {
            assert_eq!(CATALOG.iter().find(|listed| listed.table == table).unwrap().way, Way::Stays, "{table}");
        }
    }
}
