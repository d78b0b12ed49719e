//! What a thousand payouts cost: the batch, the signatures, and the time until the network has them for good. Manager and signer are the release binary; the
//! network is the tests' fake one, in this process, with a block every three seconds.

#[path = "../../tests/support/tron/mod.rs"]
mod tron;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid::clock::{Clock, Stopwatch};
use lucid::crypto::SecretKey;
use lucid::domain::address::{PayoutAddress, TronAddress};
use lucid::domain::ids::PayoutId;
use lucid::domain::money::{Currency, Units};
use lucid::domain::time::{Timestamp, TrustPolicy};
use lucid::gateways::payment::signer::{COST, Fresh, Keystore, LOG_FILE, Passphrase, SignRequest, SignerClient, Wallet};
use lucid::gateways::payment::tron::ReferenceBlock;
use serde_json::{Value, json};

use super::process::{self, Process};
use super::table::{grouped, percentile, sorted};
use super::{Bench, Person, fs, set_up_with};
use tron::address::sha256;
use tron::chain::SLOT_MS;
use tron::server::Server;
use tron::{Address, Config, Network};

const PAYOUTS: usize = 1_000;
const SIGNATURES: u32 = 1_000;
const WORDS: &str = "correct horse battery";
/// How often the network looks at the clock.
const TICK: Duration = Duration::from_millis(20);
/// For everything to be final.
const PATIENCE: Duration = Duration::from_secs(900);

fn now_ms() -> i64 {
    Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall.0
}

fn parsed(address: &Address) -> TronAddress {
    TronAddress::parse(&address.base58()).unwrap()
}

fn payee(number: usize) -> Address {
    Address::labelled(&format!("payee {number}"))
}

/// A wallet with its keystore, and its signer's folder.
struct Vault {
    dir: PathBuf,
    owner: Address,
    token: Address,
}

impl Vault {
    fn new(dir: PathBuf) -> Vault {
        fs::create_dir_all(&dir).unwrap();
        let secret = sha256(b"the wallet of a bench");
        let fresh = Fresh { salt: [1; 16], nonce: [2; 12] };
        Keystore::create(&dir.join("keystore"), &SecretKey(secret), &Passphrase::new(WORDS), COST, fresh).unwrap();
        fs::write(dir.join("passphrase"), WORDS).unwrap();
        Vault { dir, owner: Address::of_private_key(&secret).unwrap(), token: Config::default().token }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn start(&self) -> Process {
        process::start_signer(|command| {
            command.arg("--keystore").arg(self.path("keystore")).arg("--passphrase-file").arg(self.path("passphrase"));
            command.arg("--socket").arg(self.path("socket")).arg("--state-dir").arg(self.path("state"));
            command.args(["--max-payout-usdt", "1000000", "--max-24h-usdt", "1000000", "--max-fee-sun", "30000000"]);
            command.args(["--contract", &self.token.base58()]);
        })
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(self.path("state").join(LOG_FILE)).unwrap().len()
    }
}

/// The network's clock is the machine's.
async fn follow(server: &Server) {
    loop {
        {
            let mut network = server.network();
            let passed = now_ms() - network.chain.now_ms;
            network.chain.advance(passed.max(0));
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Seconds of `watch` when `is_so`.
async fn until(watch: Stopwatch, mut is_so: impl AsyncFnMut() -> bool) -> f64 {
    while !is_so().await {
        assert!(watch.elapsed() < PATIENCE, "it takes too long");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    watch.elapsed().as_secs_f64()
}

/// A store whose nodes are owed 50 USDT each.
async fn owed(data: &Path) -> Vec<String> {
    let address = |number| PayoutAddress::parse(&payee(number).base58(), Currency::Usdt).unwrap();
    let addresses: Vec<PayoutAddress> = (0..PAYOUTS).map(address).collect();
    super::local::owed(data, Timestamp(now_ms() - 600_000), &addresses, Units(50_000_000)).await
}

impl Bench {
    /// One after the other, as the manager asks for those of a wave.
    pub async fn signer(&mut self) {
        let vault = Vault::new(self.dir.join("signer"));
        let signer = vault.start();
        let client = SignerClient::new(&vault.path("socket"));
        let account = parsed(&vault.owner);
        let wallet = Wallet { account, key: account, permission_id: None };
        let (start, reference_number) = (now_ms(), 80_000_000u64);
        let mut block = [7; 32];
        block[..8].copy_from_slice(&reference_number.to_be_bytes());
        let (cpu, written, log) = (signer.cpu_seconds(), signer.written_bytes(), vault.log_bytes());
        let mut took = Vec::new();
        for n in 0..SIGNATURES {
            let timestamp_ms = start + i64::from(n);
            let request = SignRequest {
                payout_id: PayoutId::parse(&format!("payout_{n:032}")).unwrap(),
                attempt: 1,
                to: parsed(&payee(n as usize)),
                amount: 1_000_000,
                contract: parsed(&vault.token),
                reference: ReferenceBlock::from_block_id(&block),
                reference_number,
                expires_at_ms: timestamp_ms + 600_000,
                timestamp_ms,
                known_ms: timestamp_ms - 1,
                fee_limit_sun: 15_000_000,
                previous: Vec::new(),
            };
            let watch = Stopwatch::start();
            client.sign(&wallet, request).await.unwrap();
            took.push(watch.elapsed().as_secs_f64() * 1e3);
        }
        let (took, each) = (sorted(took), f64::from(SIGNATURES));
        let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
        let cpu = (signer.cpu_seconds() - cpu) * 1e3 / each;
        let (written, log) = ((signer.written_bytes() - written) as f64 / each, (vault.log_bytes() - log) as f64 / each);
        let text = format!(
            "p50 {p50:.2} ms, p99 {p99:.2} ms; {cpu:.2} ms of CPU in the signer; {} bytes to the disk, of a line of {}",
            grouped(written),
            grouped(log)
        );
        self.table.add("signature_ms", "a signature through the socket, written down with fsync", text, "–", p50);
        signer.terminate();
    }

    /// A batch of a thousand, from the request to the booking of the last final receipt.
    pub async fn payouts(&mut self) {
        let vault = Vault::new(self.dir.join("vault"));
        let data = self.dir.join("payouts");
        let nodes = owed(&data).await;
        let mut network = Network::new(Config::at(now_ms() / SLOT_MS * SLOT_MS), 2, 1);
        network.chain.give_usdt(vault.owner, 1_000_000_000_000);
        network.chain.give_trx(vault.owner, 1_000_000_000_000);
        let server = Server::start(network).await.unwrap();
        tokio::select! {
            () = follow(&server) => (),
            () = self.thousand(&vault, &server, &data, &nodes) => (),
        }
        server.stop();
    }

    async fn thousand(&mut self, vault: &Vault, server: &Server, data: &Path, nodes: &[String]) {
        let signer = vault.start();
        let much = "1000000".to_owned();
        let settings = [
            ("LUCID__PAYOUT__MODE", "live".to_owned()),
            ("LUCID__PAYOUT__GATEWAY", "tron".to_owned()),
            ("LUCID__TRON__NODE_URL", server.url(0)),
            ("LUCID__TRON__WITNESS_URLS", server.url(1)),
            ("LUCID__TRON__SIGNER_SOCKET", vault.path("socket").to_str().unwrap().to_owned()),
            ("LUCID__TRON__WALLET", vault.owner.base58()),
            ("LUCID__PAYOUT__MAX_HOUR_USDT", much.clone()),
            ("LUCID__PAYOUT__MAX_DAY_USDT", much.clone()),
            ("LUCID__PAYOUT__APPROVAL_ABOVE_USDT", much),
            // Nothing is planned but by the batch.
            ("LUCID__PAYOUT__THRESHOLD_USDT", "1000".to_owned()),
        ];
        let (manager, person) = set_up_with(data, &settings).await;
        until(Stopwatch::start(), async || !person.ask("/api/v1/wallet").await["reading"].is_null()).await;
        person.post("/api/v1/money/live", json!({ "owed": "everything" })).await;

        let wishes: Vec<Value> = nodes.iter().map(|node| json!({ "node_id": node, "amount": "12.5" })).collect();
        let (cpu, written) = (manager.process.cpu_seconds(), manager.process.written_bytes());
        let (signer_cpu, signer_written) = (signer.cpu_seconds(), signer.written_bytes());
        let watch = Stopwatch::start();
        let taken = person.post("/api/v1/nodes/payouts/batch", json!({ "payout_requests": wishes })).await;
        let ms = watch.elapsed().as_secs_f64() * 1e3;
        self.table.add(
            "batch_ms",
            "batch of 1,000 payouts planned and reserved, from request to answer",
            format!("{ms:.0} ms"),
            "100 ms",
            ms,
        );
        let batch = format!("/api/v1/nodes/payouts/batches/{}", taken["batch_id"].as_str().unwrap());

        let landed = |is_final: bool| server.network().chain.audit().into_iter().filter(|paid| paid.solid || !is_final).count();
        let sent = until(watch, async || landed(false) + server.network().chain.pool().len() >= PAYOUTS).await;
        let (sent_cpu, signed_cpu) = (manager.process.cpu_seconds() - cpu, signer.cpu_seconds() - signer_cpu);
        let last_final = until(watch, async || landed(true) == PAYOUTS).await;
        let booked = until(watch, async || person.ask(&batch).await["status"] == "completed").await;
        let cpu = manager.process.cpu_seconds() - cpu;
        let text = format!("{sent:.1} s; {sent_cpu:.2} s of CPU in the manager, {signed_cpu:.2} s in the signer");
        self.table.add("payouts_sent_seconds", "… all 1,000 sent, to the fake network at 3 s a block", text, "–", sent);
        let text = format!("{last_final:.1} s; {booked:.1} s until all are booked, {cpu:.2} s of CPU in the manager");
        self.table.add("payouts_final_seconds", "… all 1,000 final", text, "–", last_final);
        let each = |bytes: u64| bytes as f64 / PAYOUTS as f64 / 1e3;
        let (by_manager, by_signer) = (each(manager.process.written_bytes() - written), each(signer.written_bytes() - signer_written));
        let text = format!("{by_manager:.1} kB by the manager, {by_signer:.1} kB by the signer");
        self.table.add("payout_written_kb", "… written to the disk for each, from batch to booking", text, "–", by_manager + by_signer);
        assert_eq!(server.network().chain.payments().len(), PAYOUTS, "each was paid once");
        manager.process.terminate();
        signer.terminate();
    }
}

impl Person {
    async fn ask(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null)
    }
}
