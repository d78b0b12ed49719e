//! How each table of `core.redb` goes to the cluster.

use crate::storage::core::tables;

/// How the rows of a table go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Rows change and go away: whoever changes one leaves a mark.
    State,
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
    pub way: Way,
}

macro_rules! catalog {
    ($($number:literal $table:ident $way:ident;)+) => {
        /// Every table.
        pub const CATALOG: &[Listed] = &[$(Listed { number: $number, table: tables::$table.name, way: Way::$way }),+];
    };
}

catalog! {
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
    64 ARCHIVED_EVENTS State;
    65 AUDIT Log;
    66 EPOCHS Log;
    67 POSTINGS Log;
    // The identity goes as the bundle that the recovery kit seals.
    68 STORE Stays;
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
        assert_eq!(listed, tables::ALL.iter().copied().collect(), "a new table has to say how it goes to the cluster");
        let numbers: BTreeSet<u8> = CATALOG.iter().map(|listed| listed.number).collect();
        assert_eq!((listed.len(), numbers.len()), (CATALOG.len(), CATALOG.len()));
        assert_eq!(by_number(2).unwrap().table, "nodes");
    }

    #[test]
    fn what_signs_people_machines_and_programs_in_stays_and_so_do_urls() {
        let signing_in = [tables::SESSIONS.name, tables::KNOWN_NETWORKS.name, tables::API_TOKENS.name, tables::ENROLMENT_TOKENS.name];
        let urls = [tables::OUTBOX.name, tables::PAYOUT_NEWS.name];
        for table in signing_in.into_iter().chain(urls).chain([tables::STORE.name]) {
            assert_eq!(CATALOG.iter().find(|listed| listed.table == table).unwrap().way, Way::Stays, "{table}");
        }
    }
}
