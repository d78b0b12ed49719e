//! Every setting, once: its type, what is allowed, the environment names of older documents, and what it means.
//! `LUCID__SECTION__KEY` exists for each and is not listed. Defaults are in `data/default.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use rust_decimal::Decimal;

use super::print::Listed;
use super::rules::{self, AmountAs, Gateway, Key, LogFormat, LogTargets, PayoutMode, Secret, TlsMode, TronNetwork};
use super::stored::Base;
use crate::domain::guard::ClassLimit;
use crate::domain::money::{Amount, Currency};
use crate::domain::time::TrustPolicy;

/// The port alone; the address stays what the other layers say.
pub(super) const PORT_ENV: &str = "NODE_MANAGEMENT_PORT";
/// Accepted and without effect: one process needs no cache server.
pub(super) const IGNORED_ENV: &[&str] = &["REDIS_URI"];

macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $ty:ty = $rule:expr $(, env [$($env:literal),+])?;)+
        }
    )+) => {
        /// All settings, checked.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
            /// Every setting as people see it, with its origin.
            pub listed: Vec<Listed>,
            pub(super) base: Base,
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $field: $ty,)+
            }
        )+

        /// The settings in the order in which they are shown.
        pub(super) fn keys() -> Vec<Key> {
            vec![$($(
                Key::new(stringify!($section), stringify!($field), &[$($($env),+)?], concat!($($doc),+), $rule),
            )+)+]
        }

        impl Config {
            /// `None` when a text is missing or against its rule.
            pub(super) fn read<'a>(text: &dyn Fn(&str) -> Option<&'a str>) -> Option<Config> {
                Some(Config {
                    $($section: $Section {
                        $($field: $rule.parse(text(concat!(stringify!($section), ".", stringify!($field)))?)?,)+
                    },)+
                    listed: Vec::new(),
                    base: Base::default(),
                })
            }
        }
    };
}

settings! {
    /// The HTTP server.
    server: Server {
        /// Address and port to listen on.
        listen: SocketAddr = rules::address();
        /// Where agents and browsers reach this manager; goes into the enrolment command. Empty: from the listen address.
        public_url: Option<String> = rules::optional(rules::http_url());
        /// Allow plain HTTP beyond loopback. Passwords then travel in clear.
        allow_plain_http: bool = rules::switch();
        /// `auto`: TLS and plain HTTP on loopback, TLS alone beyond it. `required`: TLS alone everywhere. `off`: plain HTTP, for a TLS proxy on this machine.
        tls: TlsMode =
            rules::choice(&[("auto", TlsMode::Auto), ("required", TlsMode::Required), ("off", TlsMode::Off)]);
        /// Certificate to show to browsers, with its chain (PEM). Empty: a generated one.
        certificate_file: Option<PathBuf> = rules::optional(rules::path());
        /// Key of that certificate (PEM).
        key_file: Option<PathBuf> = rules::optional(rules::path());
        /// Further names and addresses under which this manager is reached, separated by commas; requests for others are refused.
        allowed_hosts: Vec<String> = rules::hosts();
        /// Address and port for agents alone, which are then served nowhere else. Empty: the listen address.
        node_listen: Option<SocketAddr> = rules::optional(rules::address());
        /// Address and port for health and metrics alone, which are then served nowhere else. Empty: the listen address.
        ops_listen: Option<SocketAddr> = rules::optional(rules::address());
    }

    /// The store.
    storage: Storage {
        /// Folder of everything this manager keeps.
        data_dir: PathBuf = rules::path();
        /// Cache of the core store, in MiB.
        core_cache_mib: u32 = rules::whole(1, 1024);
        /// Cache of the hot store, in MiB.
        hot_cache_mib: u32 = rules::whole(1, 1024);
        /// Seconds between flushes of reports to disk. `auto`: with each epoch, and after 330. What is not on disk yet, agents keep and send again.
        flush_seconds: Option<u32> = rules::flush_every();
        /// Days for which measurements are kept as they came; they go by whole weeks.
        raw_days: u32 = rules::whole(1, 3650);
        /// MB that measurements as they came may take; beyond, the oldest weeks go, the present and the previous one excepted. 0: no limit.
        raw_max_mb: u32 = rules::whole(0, 100_000_000);
        /// Days for which hours of measurements are kept, rolled up; they go by whole months.
        hourly_days: u32 = rules::whole(31, 3650);
        /// MB that hours may take; beyond, the oldest months go, the present and the previous one excepted. 0: no limit.
        hourly_max_mb: u32 = rules::whole(0, 100_000_000);
        /// MB that the store may take of its disk, backups and logs apart. From 85 % of it the oldest measurements go early, from 95 % fewer are kept. 0: no limit but the disk.
        max_mb: u32 = rules::whole(0, 100_000_000);
        /// Terabytes that the card may have written in its life, by its data sheet. 3 is a hundred times the size of a card of 32 GB: a careful guess for plain cards, whose makers promise nothing. 0: not known, so nothing is foretold.
        card_rating_tb: Decimal = rules::decimal(0, 100_000, 3);
        /// Hour of the day, UTC, at which the window for work on the store begins.
        maintenance_start_hour: u32 = rules::whole(0, 23);
        /// Length of that window in hours. 0: files are compacted by hand alone.
        maintenance_hours: u32 = rules::whole(0, 24);
        /// Percent of a database file that have to be free for it to be compacted in the window.
        compact_above_percent: u32 = rules::whole(5, 95);
    }

    /// Copies of the store, for the day on which its disk is no more.
    backup: Backup {
        /// Make one each day.
        enabled: bool = rules::switch();
        /// Time of day of the daily backup, UTC. One that was missed is made once.
        at: u32 = rules::time_of_day();
        /// Folder of the backups, best on another disk. Empty: `backups` in the data folder.
        dir: Option<PathBuf> = rules::optional(rules::absolute_path());
        /// Backups that are kept; the oldest go once a newer one was verified.
        keep: u32 = rules::whole(1, 1000);
    }

    /// When what is old leaves the store for archives, and when these go. Whole months are archived once they are over for so long.
    retention: Retention {
        /// Months for which validations of outputs stay in the store.
        validations_months: u32 = rules::whole(1, 1200);
        /// Months for which events of nodes do.
        node_history_months: u32 = rules::whole(1, 1200);
        /// Months for which payouts that ended do.
        payouts_months: u32 = rules::whole(12, 1200);
        /// Months for which postings of the ledger do.
        ledger_months: u32 = rules::whole(12, 1200);
        /// Years for which an archive of validations is kept. 0: for ever.
        validations_archive_years: u32 = rules::whole(0, 100);
        /// The same of events of nodes.
        node_history_archive_years: u32 = rules::whole(0, 100);
        /// The same of payouts.
        payouts_archive_years: u32 = rules::whole(0, 100);
        /// The same of postings.
        ledger_archive_years: u32 = rules::whole(0, 100);
    }

    /// Whether the machine's clock may be believed.
    clock: Clock {
        /// `earned`: after NTP or an admin confirmed it. `always`: for hosts that keep time themselves.
        trust: TrustPolicy = rules::choice(&[("earned", TrustPolicy::Earned), ("always", TrustPolicy::Always)]);
    }

    /// Bounds of this manager.
    limits: Limits {
        /// Nodes that can be registered.
        max_nodes: u32 = rules::whole(1, crate::domain::node::MAX_NODES);
        /// Requests per minute from one address that is not signed in.
        public_requests: u32 = rules::whole(1, rules::MAX_REQUESTS);
        /// Requests per minute of one node, its reports included.
        node_requests: u32 = rules::whole(1, rules::MAX_REQUESTS);
        /// Requests per minute of one person or program below admin.
        person_requests: u32 = rules::whole(1, rules::MAX_REQUESTS);
        /// Requests per minute of one admin.
        admin_requests: u32 = rules::whole(1, rules::MAX_REQUESTS);
        /// Requests per minute of one of them that make proofs be judged or computed.
        poot_requests: u32 = rules::whole(1, rules::MAX_REQUESTS);
        /// Requests per minute of one of them that change payouts.
        payout_requests: u32 = rules::whole(1, rules::MAX_REQUESTS);
    }

    /// Who may sign in beside people, programs and nodes of this manager.
    access: Access {
        /// Secret that the API gateway signs its tokens with. Empty: no gateway is believed.
        jwt_secret_key: Option<Secret> = rules::optional(rules::secret(32)), env ["JWT_SECRET_KEY"];
        /// What `iss` of the gateway's tokens must be. Empty: it is not looked at.
        jwt_issuer: Option<String> = rules::optional(rules::short_text());
        /// What `aud` of the gateway's tokens must name. Empty: it is not looked at.
        jwt_audience: Option<String> = rules::optional(rules::short_text());
    }

    /// Pools of nodes.
    pools: Pools {
        /// Nodes in a new pool, unless it says otherwise.
        max_nodes_per_pool: u32 = rules::whole(1, crate::domain::pool::MAX_NODES), env ["MAX_NODES_PER_POOL"];
    }

    /// The pool that exists from the start.
    default_pool: DefaultPool {
        /// What an operational hour costs.
        cost_per_hour: Decimal = rules::decimal(0, 1000, 8);
        /// What a node earns in an hour at score 100. Empty: the same as it costs.
        reward_per_hour: Option<Decimal> = rules::optional(rules::decimal(0, 1000, 8));
        /// Currency of both.
        currency: Currency = rules::choice(&[("USDT", Currency::Usdt), ("LUCID", Currency::Lucid)]);
    }

    /// Proof of operational time.
    poot: Poot {
        /// Seconds a node must have been observed before its score counts.
        min_observation_seconds: u32 = rules::whole(0, 86_400), env ["POOT_MIN_OBSERVATION_TIME"];
        /// What credits are multiplied with after a week of near-perfect uptime.
        score_multiplier: Decimal = rules::decimal(1, 10, 2), env ["POOT_SCORE_MULTIPLIER"];
        /// Length of an epoch, in seconds.
        calculation_interval_seconds: u32 = rules::epoch_length(), env ["POOT_CALCULATION_INTERVAL"];
        /// Lowest score that earns.
        min_score: Decimal = rules::decimal(0, 100, 2);
        /// Megabytes of submitted outputs that are kept, oldest go first. 0: none, only their hashes.
        keep_outputs_mb: u32 = rules::whole(0, 1_000_000);
    }

    /// Payouts.
    payout: Payout {
        /// `dry_run` simulates everything but the transfer. `live` moves money, once an admin has decided what is owed from before.
        mode: PayoutMode = rules::choice(&[("dry_run", PayoutMode::DryRun), ("live", PayoutMode::Live)]);
        /// Who transfers.
        gateway: Gateway =
            rules::choice(&[("none", Gateway::None), ("payment_service", Gateway::PaymentService), ("tron", Gateway::Tron)]);
        /// Balance from which a node is paid automatically.
        threshold_usdt: Amount = rules::amount(Currency::Usdt), env ["PAYOUT_THRESHOLD_USDT", "PAYOUT_MIN_AMOUNT_USDT"];
        /// Seconds between payout cycles.
        processing_interval_seconds: u32 = rules::whole(60, 86_400), env ["PAYOUT_PROCESSING_INTERVAL"];
        /// Hours between two automatic payouts of one node, at least.
        frequency_hours: u32 = rules::whole(1, 8_760), env ["PAYOUT_FREQUENCY_HOURS"];
        /// Hours for which a changed payout address waits before it is used.
        address_cooldown_hours: u32 = rules::whole(0, 720);
        /// Largest payout.
        max_usdt: Amount = rules::amount(Currency::Usdt);
        /// Most that is signed in any hour.
        max_hour_usdt: Amount = rules::sum(Currency::Usdt);
        /// Most that is signed in any 24 hours.
        max_day_usdt: Amount = rules::sum(Currency::Usdt);
        /// What is signed in any 24 hours beyond this is approved by a second admin, or waits 24 hours where there is one admin.
        approval_above_usdt: Amount = rules::sum(Currency::Usdt);
        /// Share of an automatic payout that the network's fee may be, in percent; a payout above it is carried over. 0: it is not looked at.
        max_fee_percent: Decimal = rules::decimal(0, 100, 2);
        /// Tighter limits for types of nodes, as type=largest payout/most in 24 hours, separated by commas, such as storage=50/200.
        class_limits: Vec<ClassLimit> = rules::class_limits();
        /// Addresses that are never paid, separated by commas, besides those that every release knows.
        blocked_addresses: Vec<String> = rules::addresses();
    }

    /// The TRON network, for `payout.gateway = "tron"`.
    tron: Tron {
        /// Base URL of a node's HTTP API.
        node_url: Option<String> = rules::optional(rules::http_url());
        /// Base URLs of other nodes, run by somebody else, separated by commas. Where there are any, one of them has to say the same before anything is signed or called paid: name two, so that one may be away. Without one nothing is ever proven not to have been paid, and people decide.
        witness_urls: Vec<String> = rules::http_urls();
        /// Which network. Payouts on others than `mainnet` are booked as simulated.
        network: TronNetwork = rules::choice(&[
            ("mainnet", TronNetwork::Mainnet),
            ("nile", TronNetwork::Nile),
            ("shasta", TronNetwork::Shasta),
            ("private", TronNetwork::Private),
        ]);
        /// Id of the network's first block, for `private`. Empty: the one of the network.
        genesis_block_id: Option<String> = rules::optional(rules::block_id());
        /// Address of the USDT contract. Empty: the one of the network.
        usdt_contract: Option<String> = rules::optional(rules::tron_address());
        /// Sent to the node and the witnesses as `TRON-PRO-API-KEY`.
        api_key: Option<Secret> = rules::optional(rules::secret(1));
        /// The wallet's keystore, for a signer that the manager starts.
        keystore: Option<PathBuf> = rules::optional(rules::path());
        /// Opens the keystore at every start. Empty: an admin unlocks the wallet after each start.
        passphrase: Option<Secret> = rules::optional(rules::secret(1));
        /// Socket of a signer that runs by itself. Empty: the manager starts one.
        signer_socket: Option<PathBuf> = rules::optional(rules::path());
        /// The account that pays. Empty: that of the keystore; with a signer that runs by itself it has to be said.
        wallet: Option<String> = rules::optional(rules::tron_address());
        /// Address of the key that signs, where that is another one, with a permission of the account. Empty: the account's own.
        signer_key: Option<String> = rules::optional(rules::tron_address());
        /// Number of that permission.
        permission_id: Option<u32> = rules::optional(rules::whole(2, 9));
        /// What one transfer may cost at most, in sun.
        fee_limit_sun: u32 = rules::whole(1_000_000, 1_000_000_000);
    }

    /// Messages to URLs of others, such as at the end of a batch of payouts.
    webhooks: Webhooks {
        /// Send them also to addresses that are not public: this machine, home networks. Whoever may ask for a payout can then make this manager call machines around it.
        allow_private: bool = rules::switch();
        /// Where every step of every payout is told, in order and signed. Empty: nowhere.
        payouts_url: Option<Secret> = rules::optional(rules::webhook_url());
    }

    /// What is logged, and where.
    log: Log {
        /// A level, or a list such as `info,lucid::storage=debug`.
        level: LogTargets = rules::log_targets(), env ["LOG_LEVEL"];
        /// How log lines look on the console; files are always JSON.
        format: LogFormat = rules::choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        /// Folder of the log files. Empty: `logs` in the data folder.
        dir: Option<PathBuf> = rules::optional(rules::path());
        /// Log files kept, the present one included. 0: log to the console only.
        max_files: u32 = rules::whole(0, 100);
        /// Size at which a log file is rotated, in MB.
        max_file_mb: u32 = rules::whole(1, 1024);
    }

    /// Replication to a MongoDB cluster, where many managers meet.
    mongodb: Mongodb {
        /// Connection string of the cluster; the database that it names, or `lucid_nodes`. Empty: nothing is replicated.
        uri: Option<Secret> = rules::optional(rules::mongodb_uri()), env ["MONGODB_URI"];
        /// Region of this manager, in each of its documents.
        region: Option<String> = rules::optional(rules::short_text());
        /// What replication may take of the link, in KB per second. 0: no limit.
        limit_kb_per_second: u32 = rules::whole(0, 1_000_000);
        /// An alert is raised when what the cluster has as a whole is older than so many minutes and changes wait. 0: never.
        lag_alert_minutes: u32 = rules::whole(0, 100_000);
        /// Send what the hours of each node come to, 24 documents a day and node.
        hourly_metrics: bool = rules::switch();
        /// Send every sample as well: 2,880 documents a day and node, some 1.5 MB. A cluster that is full of them takes nothing else either.
        raw_metrics: bool = rules::switch();
    }

    /// Consensus votes.
    blockchain: Blockchain {
        /// Base URL of the blockchain service. Empty: nobody is told the scores.
        url: Option<String> = rules::optional(rules::http_url()), env ["BLOCKCHAIN_URL"];
        /// Where votes go, by POST.
        vote_path: String = rules::url_path("");
        /// Where the newest block is asked for, by GET.
        block_path: String = rules::url_path("");
        /// Fields of that answer, of which the first that is there is the id of the block. A dot leads into an object.
        block_id_fields: Vec<String> = rules::words();
        /// Votes on an epoch that ended more seconds ago are not sent.
        vote_expiry_seconds: u32 = rules::whole(300, 604_800);
        /// Seconds to wait for an answer.
        timeout_seconds: u32 = rules::whole(1, 60);
    }

    /// External payment service, for `payout.gateway = "payment_service"`.
    tron_payment: TronPayment {
        /// Base URL of the payment service.
        url: Option<String> = rules::optional(rules::http_url()), env ["TRON_PAYMENT_URL"];
        /// Sent to the service as `Authorization: Bearer`.
        token: Option<Secret> = rules::optional(rules::secret(1));
        /// Where a payout is asked for, by POST.
        path: String = rules::url_path("");
        /// Where one payout is looked up, by what the service calls it.
        lookup_path: String = rules::url_path("{id}");
        /// Where a payout is found by the key that we gave it. Empty: the service cannot be asked so.
        lookup_by_key_path: Option<String> = rules::optional(rules::url_path("{key}"));
        /// The service promises that one `Idempotency-Key` pays once. Without that, a lost answer waits for a person.
        idempotent: bool = rules::switch();
        /// Hours for which the service remembers a key.
        idempotency_ttl_hours: u32 = rules::whole(1, 8_760);
        /// Requests per minute, at most.
        requests_per_minute: u32 = rules::whole(1, 6_000);
        /// How the amount is written into JSON.
        amount_as: AmountAs = rules::choice(&[("number", AmountAs::Number), ("string", AmountAs::String)]);
        /// Field of a request: the address to pay.
        recipient_field: String = rules::field();
        /// Field of a request: how much.
        amount_field: String = rules::field();
        /// Field of a request: which currency. Empty: not sent.
        currency_field: Option<String> = rules::optional(rules::field());
        /// Field of a request: our key of the payout.
        reference_field: String = rules::field();
        /// Field of a request: low, normal, high or urgent. Empty: not sent.
        priority_field: Option<String> = rules::optional(rules::field());
        /// Fields of an answer, of which the first that is there counts: what the service calls the payout. A dot leads into an object.
        id_fields: Vec<String> = rules::words();
        /// Fields of an answer: how far it is.
        status_fields: Vec<String> = rules::words();
        /// Fields of an answer: the transaction.
        txid_fields: Vec<String> = rules::words();
        /// Fields of an answer: the amount, which must be ours where it is told.
        echo_amount_fields: Vec<String> = rules::words();
        /// Fields of an answer: the address, which must be ours where it is told.
        echo_address_fields: Vec<String> = rules::words();
        /// Fields of an answer: why it failed.
        reason_fields: Vec<String> = rules::words();
        /// Words of the status for what is paid.
        paid_words: Vec<String> = rules::words();
        /// Words of the status for what is under way.
        pending_words: Vec<String> = rules::words();
        /// Words of the status for what was not paid and never will be. A word in none of the lists waits for a person.
        failed_words: Vec<String> = rules::words();
        /// Whether the service pays LUCID, besides USDT.
        pays_lucid: bool = rules::switch();
        /// Where the service pays. Payouts on others than `mainnet` are booked as simulated.
        network: TronNetwork = rules::choice(&[
            ("mainnet", TronNetwork::Mainnet),
            ("nile", TronNetwork::Nile),
            ("shasta", TronNetwork::Shasta),
            ("private", TronNetwork::Private),
        ]);
        /// The wallet from which the service pays, or a name for it: attempts are resolved under the same one alone.
        wallet: Option<String> = rules::optional(rules::short_text());
    }

    /// API gateway; checked now, used by a later release.
    api_gateway: ApiGateway {
        /// Base URL of the gateway.
        url: Option<String> = rules::optional(rules::http_url()), env ["API_GATEWAY_URL"];
    }
}
