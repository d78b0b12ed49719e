//! USDT on TRON through the HTTP API of a node, as a `PaymentGateway`. What is signed is built here and by the signer; what nodes say decides nothing alone
//! that could make anybody pay twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::signer::{ClientError, SignRequest, Signed, SignerClient, Wallet};
use super::super::{Boxed, Former, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, SignedSpan, Transfer, Unavailable};
use super::link::{Clock, Link};
use super::network::Network;
use super::node::Node;
use super::prepare::{CLOCK_TOLERANCE_MS, LIFE_MS};
use super::scan::Blocks;
use super::transport::{Transport, base};
use super::{SignedTransfer, TransferTransaction, Txid};
use crate::domain::address::TronAddress;
use crate::domain::ledger::Settlement;
use crate::domain::money::Currency;
use crate::domain::payout::{Attempt, Payout, Pin, Prepared};
use crate::domain::time::Timestamp;
use crate::domain::wallet::{BlockAt, OutgoingPage, WalletReading};

const NAME: &str = "tron";
/// Transfers that are remembered as under way.
const MAX_UNDER_WAY: usize = 20_000;

/// Who signs. The signer process, or one within a test.
pub trait Signs: fmt::Debug + Send + Sync {
    /// The signed transaction of this very request; the implementation has checked that it is that.
    fn sign<'a>(&'a self, wallet: &'a Wallet, request: SignRequest) -> Boxed<'a, Result<Signed, ClientError>>;

    /// Lowest and highest timestamp of anything that it signed; None before the first.
    fn timestamps_ms(&self) -> Boxed<'_, Result<Option<(i64, i64)>, ClientError>>;
}

impl Signs for SignerClient {
    fn sign<'a>(&'a self, wallet: &'a Wallet, request: SignRequest) -> Boxed<'a, Result<Signed, ClientError>> {
        Box::pin(SignerClient::sign(self, wallet, request))
    }

    fn timestamps_ms(&self) -> Boxed<'_, Result<Option<(i64, i64)>, ClientError>> {
        Box::pin(async { Ok(self.status().await?.timestamps_ms()) })
    }
}

/// Where transfers are made, and what they may cost.
#[derive(Debug, Clone)]
pub struct Setup {
    pub network: Network,
    /// Of the token; `Network::usdt` knows it for networks that have a name.
    pub contract: TronAddress,
    pub node_url: String,
    /// Other nodes, run by somebody else. Without one nothing is ever proven not to have been paid.
    pub witness_urls: Vec<String>,
    /// The most that one transfer may burn, in sun.
    pub fee_cap_sun: u64,
}

pub struct TronGateway {
    pub(super) network: Network,
    pub(super) contract: TronAddress,
    pub(super) wallet: Wallet,
    pub(super) fee_cap_sun: u64,
    pub(super) node: Node,
    pub(super) witnesses: Vec<Node>,
    pub(super) link: Arc<Link>,
    /// None: it resolves what another configuration made, and makes nothing.
    pub(super) signer: Option<Arc<dyn Signs>>,
    /// Highest timestamp that was asked for.
    pub(super) last_timestamp_ms: AtomicI64,
    /// Everything that was signed through this timestamp was signed for this process, or known to its store when it asked.
    pub(super) accounted_ms: AtomicI64,
    /// The timestamp of the last request that was not answered: it may have been signed.
    pub(super) unanswered_ms: AtomicI64,
    pub(super) blocks: Blocks,
    under_way: Mutex<BTreeMap<Txid, UnderWay>>,
    /// A transaction of the wallet that was final when it was last looked at.
    known: Mutex<Option<Txid>>,
}

/// A transfer whose end is not known: what the final balance may still lose to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnderWay {
    pub amount: u64,
    pub fee_sun: u64,
    pub expires_at_ms: i64,
}

impl fmt::Debug for TronGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TronGateway").field("pin", &self.pin()).field("node", &self.node).field("witnesses", &self.witnesses).finish()
    }
}

impl TronGateway {
    pub fn new(setup: &Setup, wallet: Wallet, signer: Arc<dyn Signs>, transport: Arc<dyn Transport>, clock: Clock) -> TronGateway {
        TronGateway::over(setup, wallet, Some(signer), Arc::new(Link::new(transport, clock)))
    }

    /// Looks at the chain for a wallet that somebody else pays from, and signs nothing.
    pub fn watching(setup: &Setup, account: TronAddress, transport: Arc<dyn Transport>, clock: Clock) -> TronGateway {
        let wallet = Wallet { account, key: account, permission_id: None };
        TronGateway::over(setup, wallet, None, Arc::new(Link::new(transport, clock)))
    }

    fn over(setup: &Setup, wallet: Wallet, signer: Option<Arc<dyn Signs>>, link: Arc<Link>) -> TronGateway {
        let Setup { network, contract, node_url, witness_urls, fee_cap_sun } = setup;
        // A node is no witness of itself.
        let mut witnesses: Vec<Node> = Vec::new();
        for url in witness_urls.iter().map(|url| base(url)).filter(|url| *url != base(node_url)) {
            if witnesses.iter().all(|known| known.url != url) {
                witnesses.push(Node::new(url, Arc::clone(&link)));
            }
        }
        TronGateway {
            network: *network,
            contract: *contract,
            wallet,
            fee_cap_sun: *fee_cap_sun,
            node: Node::new(node_url, Arc::clone(&link)),
            witnesses,
            link,
            signer,
            last_timestamp_ms: AtomicI64::new(0),
            accounted_ms: AtomicI64::new(0),
            unanswered_ms: AtomicI64::new(0),
            blocks: Blocks::default(),
            under_way: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Makes the gateways of wallets that other configurations paid from: each resolves their attempts and prepares nothing. `current` is the present setup, whose
    /// nodes are asked where they are of the same network; otherwise those that the attempt names.
    pub fn formers(current: Option<Setup>, transport: Arc<dyn Transport>, clock: Clock) -> Former {
        let link = Arc::new(Link::new(transport, clock));
        // Each keeps what it has scanned, so one is made for each pin and set of nodes.
        let made: Mutex<BTreeMap<(Pin, Vec<String>), Arc<dyn PaymentGateway>>> = Mutex::default();
        Arc::new(move |pin, urls| {
            let key = (pin.clone(), urls.to_vec());
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = made.get(&key) {
                return Some(Arc::clone(known));
            }
            let gateway: Arc<dyn PaymentGateway> = Arc::new(TronGateway::former(pin, urls, current.as_ref(), &link)?);
            if made.len() >= MAX_FORMERS {
                made.clear();
            }
            made.insert(key, Arc::clone(&gateway));
            Some(gateway)
        })
    }

    fn former(pin: &Pin, urls: &[String], current: Option<&Setup>, link: &Arc<Link>) -> Option<TronGateway> {
        if pin.gateway != NAME {
            return None;
        }
        let network = Network::with_genesis(&pin.network)?;
        let account = TronAddress::parse(&pin.wallet).ok()?;
        let same = current.filter(|setup| setup.network == network);
        let (first, rest) = urls.split_first().map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
        let setup = Setup {
            network,
            contract: TronAddress::parse(&pin.contract).ok()?,
            node_url: same.map(|setup| &setup.node_url).or(first)?.clone(),
            // What was a witness is one; what was the node may be run by who runs the present one.
            witness_urls: same.into_iter().flat_map(|setup| &setup.witness_urls).chain(rest).cloned().collect(),
            fee_cap_sun: 0,
        };
        let wallet = Wallet { account, key: account, permission_id: None };
        Some(TronGateway::over(&setup, wallet, None, Arc::clone(link)))
    }

    /// What the final balance may still lose: smallest units of the token, and sun.
    pub(super) fn under_way(&self, solid_at_ms: i64) -> (u64, u64) {
        let mut all = lock(&self.under_way);
        // The final chain is past it: it has landed and is in the balance, or it never will.
        all.retain(|_, each| each.expires_at_ms > solid_at_ms);
        all.values().fold((0, 0), |(amount, fee), each| (each.amount.saturating_add(amount), each.fee_sun.saturating_add(fee)))
    }

    pub(super) fn note_under_way(&self, txid: Txid, each: UnderWay) {
        let mut all = lock(&self.under_way);
        if all.len() < MAX_UNDER_WAY {
            all.entry(txid).or_insert(each);
        }
    }

    pub(super) fn note_ended(&self, txid: Txid, paid: bool) {
        lock(&self.under_way).remove(&txid);
        if paid {
            *lock(&self.known) = Some(txid);
        }
    }

    pub(super) fn known(&self) -> Option<Txid> {
        *lock(&self.known)
    }

    /// The node, and the witnesses after it.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.node).chain(&self.witnesses)
    }
}

/// Gateways of earlier configurations that are kept.
const MAX_FORMERS: usize = 32;

/// Whoever panicked left a value of which each state is a valid one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The transfer of an attempt, read from its own bytes, which lack their signature in a store that came back from the cluster.
pub(super) fn own(attempt: &Attempt, wallet: TronAddress, contract: TronAddress) -> Result<TransferTransaction, &'static str> {
    let transfer = SignedTransfer::read_transfer(&attempt.prepared.bytes).map_err(|_| "its bytes are no transfer of ours")?;
    if transfer.owner != wallet || transfer.contract != contract {
        return Err("its bytes are of another wallet or token");
    }
    if attempt.prepared.txid.as_deref() != Some(transfer.txid().to_string().as_str()) {
        return Err("its bytes have another id than it");
    }
    if !transfer.reference.is_of_number(attempt.prepared.reference_block) {
        return Err("its bytes refer to another block than it");
    }
    Ok(transfer)
}

impl PaymentGateway for TronGateway {
    fn pin(&self) -> Pin {
        Pin {
            gateway: NAME.to_owned(),
            network: self.network.id(),
            wallet: self.wallet.account.to_string(),
            contract: self.contract.to_string(),
        }
    }

    fn settlement(&self) -> Settlement {
        self.network.settlement()
    }

    fn pays(&self, currency: Currency) -> bool {
        currency == Currency::Usdt
    }

    fn own_wallets(&self) -> Vec<TronAddress> {
        vec![self.wallet.account, self.wallet.key]
    }

    fn has_wallet(&self) -> bool {
        self.signer.is_some()
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        Box::pin(self.prepare_wave(transfers))
    }

    fn send<'a>(&'a self, attempt: &'a Attempt, _: Sending) -> Boxed<'a, SendOutcome> {
        Box::pin(self.send_bytes(attempt))
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        Box::pin(self.look_up(payouts, now))
    }

    fn verify<'a>(&'a self, payout: &'a Payout, txid: &'a str) -> Boxed<'a, Lookup> {
        Box::pin(self.verify_claim(payout, txid))
    }

    fn wallet(&self) -> Boxed<'_, Result<Option<WalletReading>, Unavailable>> {
        Box::pin(async { self.read_wallet().await.map(Some).map_err(|e| Unavailable(e.to_string())) })
    }

    fn signed_span(&self) -> Boxed<'_, Result<Option<SignedSpan>, Unavailable>> {
        Box::pin(async {
            let Some(signer) = &self.signer else { return Ok(None) };
            let signed = signer.timestamps_ms().await.map_err(|e| Unavailable(e.to_string()))?;
            // A timestamp is of our clock when it was signed, which was near the network's; the expiry is counted from a final block, which is older.
            Ok(signed.map(|(first_ms, last_timestamp_ms)| SignedSpan {
                begins_at: Timestamp(first_ms.saturating_sub(CLOCK_TOLERANCE_MS)),
                last_timestamp_ms,
                over_at: Timestamp(last_timestamp_ms.saturating_add(LIFE_MS + CLOCK_TOLERANCE_MS)),
            }))
        })
    }

    fn lands_within_ms(&self) -> Option<i64> {
        Some(LIFE_MS)
    }

    fn block_before(&self, at: Timestamp) -> Boxed<'_, Result<BlockAt, Unavailable>> {
        Box::pin(async move { self.final_block_before(at).await.map_err(|e| Unavailable(e.to_string())) })
    }

    fn outgoing(&self, after_block: u64) -> Boxed<'_, Result<OutgoingPage, Unavailable>> {
        Box::pin(async move { self.outgoing_after(after_block).await.map_err(|e| Unavailable(e.to_string())) })
    }
}
