//! A TRON gateway over the fake network in this process: its nodes are asked without sockets, its signer has no process, its clock is the chain's.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid::crypto::{SecretKey, StretchCost};
use lucid::domain::address::{PayoutAddress, TronAddress};
use lucid::domain::ids::{NodeIndex, PayoutId};
use lucid::domain::ledger::{Book, Settlement};
use lucid::domain::money::{Currency, Units};
use lucid::domain::payout::{Attempt, Payout, Plan, Prepared, Priority, Source, plan};
use lucid::domain::time::{BootMs, Now, Timestamp};
use lucid::gateways::payment::signer::{
    Answer, Caps, ClientError, Fresh, Keystore, Passphrase, Request, SignRequest, Signed, Signer, Wallet, judge,
};
use lucid::gateways::payment::tron::{Answered, Clock, Network as Which, NoAnswer, Setup, Signs, Transport, TronGateway};
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Transfer};

use super::tron::account::Permission;
use super::tron::address::Hash;
use super::tron::{Address, Config, Delivery, Network};

pub const CHEAP: StretchCost = StretchCost { memory_kib: 64, passes: 1, lanes: 1 };
pub const USDT: i64 = 1_000_000;
const WORDS: &str = "correct horse battery";
/// 1,000,000 USDT and 100,000 TRX: enough for everything, unless a test says otherwise.
const RICH_USDT: i128 = 1_000_000_000_000;
const RICH_TRX: i64 = 100_000_000_000;

pub type Shared = Arc<Mutex<Network>>;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn url(node: usize) -> String {
    format!("http://node{node}.example")
}

/// The nodes of a network, by `url`.
#[derive(Clone)]
pub struct Wire(pub Shared);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Transport for Wire {
    fn call<'a>(&'a self, to: &'a str, path: &'a str, body: Option<String>) -> Boxed<'a, Result<Answered, NoAnswer>> {
        Box::pin(async move {
            let mut network = lock(&self.0);
            let Some(node) = (0..network.nodes.len()).find(|node| url(*node) == to) else {
                return Err(NoAnswer("there is nobody".into()));
            };
            let method = if body.is_some() { "POST" } else { "GET" };
            let headers = [("tron-pro-api-key", "the key")];
            let answer = network.answer(node, method, path, &headers, body.unwrap_or_default().as_bytes());
            match answer.delivery {
                Delivery::Whole => Ok(Answered { status: answer.status, body: answer.body }),
                other => Err(NoAnswer(format!("{other:?}"))),
            }
        })
    }
}

/// A signer in this process, on the chain's clock.
pub struct Vault {
    signer: Mutex<Signer>,
    network: Shared,
    /// Milliseconds by which its clock is off.
    pub skew_ms: Mutex<i64>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    fn now(&self) -> Now {
        let ms = lock(&self.network).chain.now_ms + *lock(&self.skew_ms);
        Now { wall: Timestamp(ms), boot: BootMs(ms), trusted: true }
    }

    pub fn answer(&self, request: Request) -> Answer {
        let now = self.now();
        lock(&self.signer).answer(request, now)
    }

    pub fn unlock(&self) {
        assert!(matches!(self.answer(Request::Unlock { passphrase: Passphrase::new(WORDS) }), Answer::Done));
    }
}

impl Signs for Vault {
    fn sign<'a>(&'a self, wallet: &'a Wallet, request: SignRequest) -> Boxed<'a, Result<Signed, ClientError>> {
        Box::pin(async move { judge(wallet, &request, self.answer(Request::Sign(Box::new(request.clone())))) })
    }

    fn timestamps_ms(&self) -> Boxed<'_, Result<Option<(i64, i64)>, ClientError>> {
        let answer = self.answer(Request::Status);
        Box::pin(async { if let Answer::Status(status) = answer { Ok(status.timestamps_ms()) } else { Err(ClientError::Locked) } })
    }
}

pub struct Rig {
    pub network: Shared,
    pub gateway: Arc<TronGateway>,
    pub vault: Arc<Vault>,
    pub wallet: Wallet,
    pub owner: Address,
    pub setup: Setup,
    /// Milliseconds by which the manager's clock is off.
    pub skew_ms: Arc<Mutex<i64>>,
    salt: Mutex<u64>,
    _dir: tempfile::TempDir,
}

impl Rig {
    /// A node and `witnesses` of it.
    pub fn new(witnesses: usize) -> Rig {
        Rig::over(Network::new(Config::default(), witnesses + 1, 1))
    }

    pub fn over(network: Network) -> Rig {
        let token = tron(&network.chain.token.address);
        Rig::signing(network, token)
    }

    /// The signer pays this token alone.
    pub fn signing(network: Network, token: TronAddress) -> Rig {
        Rig::keeping(network, token, None)
    }

    /// The signer's key is not the account's own: it has permission 2 of it, as `permission` makes it for that key.
    pub fn restricted(mut network: Network, permission: impl FnOnce(Address) -> Permission) -> Rig {
        let owner = Address::labelled("a cold wallet");
        let permissions = vec![Permission::owner(owner), permission(Rig::own_address())];
        network.chain.permissions.insert(owner, permissions);
        let token = tron(&network.chain.token.address);
        Rig::keeping(network, token, Some(owner))
    }

    fn own_key() -> Hash {
        super::tron::address::sha256(b"the wallet that pays")
    }

    /// Of the signer's key.
    pub fn own_address() -> Address {
        Address::of_private_key(&Rig::own_key()).unwrap()
    }

    fn keeping(mut network: Network, token: TronAddress, account: Option<Address>) -> Rig {
        let (key, own) = (Rig::own_key(), Rig::own_address());
        let owner = account.unwrap_or(own);
        network.chain.give_usdt(owner, RICH_USDT);
        network.chain.give_trx(owner, RICH_TRX);
        let witnesses = network.nodes.len() - 1;
        let (contract, network) = (network.chain.token.address, Arc::new(Mutex::new(network)));
        let dir = tempfile::tempdir().unwrap();
        let contract = tron(&contract);
        let keystore = dir.path().join("keystore");
        Keystore::create(&keystore, &SecretKey(key), &Passphrase::new(WORDS), CHEAP, Fresh { salt: [1; 16], nonce: [2; 12] }).unwrap();
        let permission_id = account.and(NonZeroU32::new(2));
        let wallet = Wallet { account: tron(&owner), key: tron(&own), permission_id };
        let caps = Caps { max_payout: 1_000_000_000_000, max_24h: 1_000_000_000_000, max_fee_sun: 1_000_000_000, contracts: vec![token] };
        let signer = Signer::open(&keystore, &dir.path().join("signer"), |_| wallet, caps).unwrap();
        let vault = Arc::new(Vault { signer: Mutex::new(signer), network: Arc::clone(&network), skew_ms: Mutex::default() });
        vault.unlock();
        let setup = Setup {
            network: Which::named("mainnet").unwrap(),
            contract,
            node_url: url(0),
            witness_urls: (1..=witnesses).map(url).collect(),
            fee_cap_sun: 30_000_000,
        };
        let skew_ms = Arc::new(Mutex::new(0));
        let gateway = gateway(&setup, wallet, &vault, &network, &skew_ms);
        Rig { network, gateway, vault, wallet, owner, setup, skew_ms, salt: Mutex::new(0), _dir: dir }
    }

    /// The gateway as a restarted manager makes it.
    pub fn restart(&mut self) {
        self.gateway = gateway(&self.setup, self.wallet, &self.vault, &self.network, &self.skew_ms);
    }

    pub fn network(&self) -> MutexGuard<'_, Network> {
        lock(&self.network)
    }

    pub fn now(&self) -> Now {
        let ms = self.network().chain.now_ms + *lock(&self.skew_ms);
        Now { wall: Timestamp(ms), boot: BootMs(ms), trusted: true }
    }

    pub fn advance(&self, seconds: i64) {
        self.network().chain.advance(seconds * 1000);
    }

    /// A planned payout to an address of its own.
    pub fn payout(&self, number: u64, units: i64) -> Payout {
        let (book, amount) = (Book { settlement: Settlement::Live, currency: Currency::Usdt }, Units(units));
        let address = PayoutAddress::parse(&payee(number).base58(), Currency::Usdt).unwrap();
        let id = PayoutId::parse(&format!("payout_{number}")).unwrap();
        let (source, priority) = (Source::Automatic, Priority::Normal);
        plan(Plan { id, seq: number, node: NodeIndex(0), book, amount, address, source, priority }, amount, None, self.now()).unwrap().0
    }

    pub fn transfer(&self, payout: &Payout) -> Transfer {
        let mut salt = lock(&self.salt);
        *salt += 77;
        Transfer::next(payout, self.now().wall, self.signed_through_ms(), *salt)
    }

    /// What a store knows that nobody else's wallet it is.
    fn signed_through_ms(&self) -> i64 {
        if let Answer::Status(status) = self.vault.answer(Request::Status) { status.last_timestamp_ms.max(0) } else { 0 }
    }

    pub async fn prepare(&self, payout: &Payout) -> Result<Prepared, NotPrepared> {
        self.gateway.prepare(&[self.transfer(payout)]).await.remove(0)
    }

    /// Prepared, and recorded as possibly sent.
    pub async fn signed(&self, payout: &Payout) -> Payout {
        let prepared = self.prepare(payout).await.unwrap();
        let signed = payout.sign(prepared, Some(&payout.address), self.now()).unwrap();
        signed.maybe_sent(self.now()).unwrap()
    }

    pub async fn send(&self, payout: &Payout) -> SendOutcome {
        self.gateway.send(payout.attempts.last().unwrap(), Sending::First).await
    }

    /// A payout of 10 USDT that was signed and sent, and what the node said.
    pub async fn sent(&self, number: u64) -> (Payout, SendOutcome) {
        let payout = self.signed(&self.payout(number, 10 * USDT)).await;
        let outcome = self.send(&payout).await;
        (payout, outcome)
    }

    pub async fn lookup(&self, payout: &Payout) -> Lookup {
        self.gateway.lookup(std::slice::from_ref(payout), self.now().wall).await.remove(0)
    }

    /// After every rest that a node was given is over.
    pub async fn rested_lookup(&self, payout: &Payout) -> Lookup {
        self.advance(30);
        self.lookup(payout).await
    }

    /// Transfers that the chain made to that payee.
    pub fn payments(&self, number: u64) -> u64 {
        let paid = self.network().chain.payments();
        paid.iter().filter(|((to, _), _)| *to == payee(number)).map(|(_, count)| count).sum()
    }
}

pub fn payee(number: u64) -> Address {
    Address::labelled(&format!("payee {number}"))
}

pub fn tron(address: &Address) -> TronAddress {
    TronAddress::parse(&address.base58()).unwrap()
}

pub fn clock(network: &Shared, skew_ms: &Arc<Mutex<i64>>) -> Clock {
    let (network, skew_ms) = (Arc::clone(network), Arc::clone(skew_ms));
    Arc::new(move || {
        let ms = lock(&network).chain.now_ms + *lock(&skew_ms);
        Now { wall: Timestamp(ms), boot: BootMs(ms), trusted: true }
    })
}

fn gateway(setup: &Setup, wallet: Wallet, vault: &Arc<Vault>, network: &Shared, skew_ms: &Arc<Mutex<i64>>) -> Arc<TronGateway> {
    let signer: Arc<dyn Signs> = Arc::clone(vault) as Arc<dyn Signs>;
    Arc::new(TronGateway::new(setup, wallet, signer, Arc::new(Wire(Arc::clone(network))), clock(network, skew_ms)))
}

pub fn attempt(payout: &Payout) -> &Attempt {
    payout.attempts.last().unwrap()
}
