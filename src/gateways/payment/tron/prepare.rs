//! Makes transfers: simulated first, priced, dated above everything before, and signed by the signer from their fields.

use std::sync::atomic::Ordering;

use super::super::signer::{ClientError, Refusal, Refused, Resolution, SignRequest, Signed};
use super::super::{NotPrepared, PaymentGateway, Transfer};
use super::answers::{Head, Prices, Resources, Simulated};
use super::gateway::{Signs, TronGateway, UnderWay};
use super::node::View;
use super::{ReferenceBlock, Txid};
use crate::crypto;
use crate::domain::address::TronAddress;
use crate::domain::money::Currency;
use crate::domain::payout::{Attempt, AttemptState, Death, Prepared, ReviewKind};
use crate::domain::time::Timestamp;
use crate::domain::wallet::TRANSFER_BANDWIDTH;

/// How long the network may take a transfer, by its final head: about 200 blocks, so that a search through all of them stays cheap.
pub(super) const LIFE_MS: i64 = 600_000;
/// What of that must be left when it is signed.
const MIN_LIFE_MS: i64 = 120_000;
/// How far the network's newest block may be from our clock.
pub(super) const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// What a transfer may take beyond its simulation, in tenths.
const FEE_MARGIN: (u64, u64) = (13, 10);
/// Low bits of a timestamp that are random.
const SALT_BITS: i64 = 0x3ff;

/// The network and the wallet as a wave finds them, and what is left of the wallet while the wave is made.
struct Ground {
    solid: Head,
    prices: Prices,
    usdt: u128,
    /// TRX, and what is staked as if it were the TRX that it saves.
    fees_sun: u64,
    resources: Resources,
}

/// One transfer as it is asked for.
struct Wanted<'a> {
    transfer: &'a Transfer,
    to: TronAddress,
    amount: u64,
}

fn later(why: impl ToString) -> NotPrepared {
    NotPrepared::Later(why.to_string())
}

fn person(kind: ReviewKind, reason: impl Into<String>, evidence: Vec<String>) -> NotPrepared {
    NotPrepared::Person { kind, reason: reason.into(), evidence }
}

impl TronGateway {
    pub(super) async fn prepare_wave(&self, transfers: &[Transfer]) -> Vec<Result<Prepared, NotPrepared>> {
        let all = |why: String| transfers.iter().map(|_| Err(later(&why))).collect();
        let (Some(first), Some(signer)) = (transfers.first(), &self.signer) else {
            return all("this wallet is not the one that pays now".into());
        };
        let mut ground = match self.ground(first.now).await {
            Ok(ground) => ground,
            Err(why) => return all(why),
        };
        let mut out = Vec::with_capacity(transfers.len());
        let mut away: Option<NotPrepared> = None;
        for transfer in transfers {
            out.push(match &away {
                Some(why) => Err(why.clone()),
                None => self.prepare_one(transfer, &mut ground, signer.as_ref(), &mut away).await,
            });
        }
        out
    }

    async fn ground(&self, now: Timestamp) -> Result<Ground, String> {
        let node = &self.node;
        let said = |e: super::link::NodeError| e.to_string();
        node.check(&self.network).await.map_err(said)?;
        let solid = node.head(View::Solid).await.map_err(said)?;
        let head = node.head(View::Newest).await.map_err(said)?;
        let apart_ms = head.at_ms.saturating_sub(now.0).saturating_abs();
        if apart_ms > CLOCK_TOLERANCE_MS {
            return Err(format!("our clock and the network's newest block are {} s apart", apart_ms / 1000));
        }
        if solid.number > head.number || solid.at_ms > head.at_ms {
            return Err(format!("{}: its final block is later than its newest", node.url));
        }
        if solid.at_ms.saturating_add(LIFE_MS - MIN_LIFE_MS) < head.at_ms {
            return Err(format!("the network finalizes nothing: its final block is {} s old", (head.at_ms - solid.at_ms) / 1000));
        }
        // The block that transfers will refer to, looked at as a block: a transfer that refers to none can never be proven dead.
        let shown = node.block(View::Solid, solid.number).await.map_err(said)?;
        if shown.is_none_or(|block| block.head != solid) {
            return Err(format!("{} shows another block than the one that it calls final", node.url));
        }
        let prices = node.prices().await.map_err(said)?;
        let usdt = node.token_balance(View::Solid, self.contract, self.wallet.account).await.map_err(said)?;
        let trx_sun = node.trx(View::Solid, self.wallet.account).await.map_err(said)?;
        let resources = node.resources(self.wallet.account).await.map_err(said)?;
        let (amount, fee) = self.under_way(solid.at_ms);
        let fees_sun = trx_sun.saturating_add(resources.energy.saturating_mul(prices.energy_sun)).saturating_sub(fee);
        Ok(Ground { solid, prices, usdt: usdt.saturating_sub(amount.into()), fees_sun, resources })
    }

    async fn prepare_one(
        &self,
        transfer: &Transfer,
        ground: &mut Ground,
        signer: &dyn Signs,
        away: &mut Option<NotPrepared>,
    ) -> Result<Prepared, NotPrepared> {
        let to = TronAddress::parse(transfer.address.as_str()).ok().filter(|_| transfer.amount.currency == Currency::Usdt);
        let (Some(to), Ok(amount)) = (to, u64::try_from(transfer.amount.units.0)) else {
            return Err(person(ReviewKind::WouldFail, "this gateway pays USDT to TRON addresses alone", Vec::new()));
        };
        let wanted = Wanted { transfer, to, amount };
        if ground.usdt < u128::from(amount) {
            return Err(later("the wallet is short of USDT"));
        }
        let energy = self.simulate(&wanted).await?;
        let fee_limit_sun = self.fee_limit(energy, &ground.prices)?;
        let (fee_sun, left) = ground.fee(energy);
        let Some(fees_sun) = ground.fees_sun.checked_sub(fee_sun) else {
            return Err(later(format!("the wallet is short of TRX: {fee_sun} sun of fees are needed, and {} are left", ground.fees_sun)));
        };
        let request = SignRequest {
            payout_id: transfer.payout.clone(),
            attempt: transfer.attempt,
            to,
            amount,
            contract: self.contract,
            reference: ReferenceBlock::from_block_id(&ground.solid.id),
            reference_number: ground.solid.number,
            expires_at_ms: ground.solid.at_ms.saturating_add(LIFE_MS),
            timestamp_ms: self.next_timestamp(transfer),
            known_ms: self.accounted_ms.load(Ordering::Relaxed).max(transfer.after_timestamp_ms),
            fee_limit_sun,
            previous: transfer.previous.iter().filter_map(resolution).collect(),
        };
        let timestamp_ms = request.timestamp_ms;
        let signed = self.ask(signer, &wanted, request, away).await?;
        // Of what was signed earlier, or for somebody else, nobody knows here what was signed before it.
        let own = [timestamp_ms, self.unanswered_ms.load(Ordering::Relaxed)];
        let timestamp_ms = Some(signed.transfer.timestamp_ms).filter(|signed| own.contains(signed)).unwrap_or(0);
        self.accounted_ms.fetch_max(timestamp_ms, Ordering::Relaxed);
        ground.usdt -= u128::from(amount);
        (ground.fees_sun, ground.resources) = (fees_sun, left);
        let expires_at_ms = signed.transfer.expires_at_ms;
        self.note_under_way(signed.txid, UnderWay { amount, fee_sun, expires_at_ms });
        Ok(Prepared {
            pin: self.pin(),
            urls: self.nodes().map(|node| node.url.clone()).collect(),
            bytes: signed.to_bytes(),
            txid: Some(signed.txid.to_string()),
            expires_at: Some(Timestamp(expires_at_ms)),
            reference_block: signed.reference_number,
            fee_limit_sun: signed.transfer.fee_limit_sun,
            timestamp_ms,
        })
    }

    /// Energy that it takes.
    async fn simulate(&self, wanted: &Wanted<'_>) -> Result<u64, NotPrepared> {
        let Wanted { to, amount, .. } = *wanted;
        match self.node.simulate(self.contract, self.wallet.account, to, amount).await.map_err(later)? {
            Simulated::Done { energy, .. } if energy > 0 => Ok(energy),
            Simulated::Done { .. } => Err(later("the simulation says that it takes no energy")),
            Simulated::Reverted { why } => {
                // What is in blocks and not final yet may have taken the money: that is nobody's fault.
                let holds = self.node.token_balance(View::Newest, self.contract, self.wallet.account).await.map_err(later)?;
                if holds < u128::from(amount) {
                    return Err(later("the wallet is short of USDT until more is final"));
                }
                let evidence = vec![format!("simulated at {}: {why}", self.node.url)];
                Err(person(ReviewKind::WouldFail, "the token refuses the transfer", evidence))
            }
        }
    }

    fn fee_limit(&self, energy: u64, prices: &Prices) -> Result<u64, NotPrepared> {
        let (times, by) = FEE_MARGIN;
        let limit = energy.saturating_mul(prices.energy_sun).saturating_mul(times) / by;
        let cap = self.fee_cap_sun.min(prices.max_fee_limit_sun);
        if limit > cap {
            return Err(later(format!("the network's fee may reach {limit} sun, above the cap of {cap}")));
        }
        Ok(limit.max(1))
    }

    /// Above every other one of the wallet; the low bits are random, so that two copies of a store make different bytes.
    fn next_timestamp(&self, transfer: &Transfer) -> i64 {
        let salt = i64::try_from(transfer.salt & SALT_BITS.unsigned_abs()).unwrap_or(0);
        let dated = (transfer.now.0 & !SALT_BITS) | salt;
        let last = self.last_timestamp_ms.load(Ordering::Relaxed).max(transfer.after_timestamp_ms);
        let timestamp_ms = dated.max(last.saturating_add(1));
        self.last_timestamp_ms.fetch_max(timestamp_ms, Ordering::Relaxed);
        timestamp_ms
    }

    async fn ask(
        &self,
        signer: &dyn Signs,
        wanted: &Wanted<'_>,
        request: SignRequest,
        away: &mut Option<NotPrepared>,
    ) -> Result<Signed, NotPrepared> {
        let timestamp_ms = request.timestamp_ms;
        let mut error = match signer.sign(&self.wallet, request.clone()).await {
            Ok(signed) => return Ok(signed),
            Err(error) => error,
        };
        // An older copy of the store counts attempts that the signer has counted already.
        if let Some(number) = next_number(&error, &request) {
            let again = SignRequest { attempt: number, ..request };
            error = match signer.sign(&self.wallet, again).await {
                Ok(signed) => return Ok(signed),
                Err(error) => error,
            };
        }
        match error {
            ClientError::Refused(refused) if refused.name == Refusal::Unaccounted => {
                // Those that are signed already are told all the same.
                Err(NotPrepared::Unaccounted(format!("the signer has signed what is not known here: {}", refused.message)))
            }
            ClientError::Refused(refused) => self.refused(wanted, *refused),
            other => {
                self.unanswered_ms.store(timestamp_ms, Ordering::Relaxed);
                Err(away.insert(later(other)).clone())
            }
        }
    }

    fn refused(&self, wanted: &Wanted<'_>, refused: Refused) -> Result<Signed, NotPrepared> {
        let text = format!("the signer refuses ({}): {}", refused.name, refused.message);
        let resolved = |signed: &Signed| {
            let txid = signed.txid.to_string();
            wanted.transfer.previous.iter().any(|attempt| attempt.prepared.txid.as_ref() == Some(&txid))
        };
        match (refused.name, refused.existing) {
            // Signed before the store knew, or by a store of which this one is an older copy: it may be on its way.
            (Refusal::AlreadySigned, Some(existing)) if !resolved(&existing) => self.take_over(wanted, *existing),
            (Refusal::AlreadySigned, _) => Err(person(ReviewKind::Conflict, text, Vec::new())),
            (Refusal::TooManyAttempts, _) => Err(person(ReviewKind::AllDied, text, Vec::new())),
            (
                Refusal::CapPerPayout
                | Refusal::ContractNotAllowed
                | Refusal::OwnWallet
                | Refusal::ZeroAddress
                | Refusal::TokenAddress
                | Refusal::AmountZero,
                _,
            ) => Err(person(ReviewKind::WouldFail, text, Vec::new())),
            _ => Err(later(text)),
        }
    }

    /// The transaction that the signer has made for this payout, if it pays exactly this.
    fn take_over(&self, wanted: &Wanted<'_>, existing: Signed) -> Result<Signed, NotPrepared> {
        let transfer = &existing.transfer;
        let same = transfer.to == wanted.to && transfer.amount == wanted.amount;
        if same && transfer.owner == self.wallet.account && transfer.contract == self.contract {
            return Ok(existing);
        }
        let evidence = format!("{}: {} units of {} to {}", existing.txid, transfer.amount, transfer.contract, transfer.to);
        Err(person(ReviewKind::Conflict, "the signer has signed another transfer for this payout", vec![evidence]))
    }
}

/// Why an earlier attempt moves no money, as the signer is told. Of one without a proof it says that it has signed it.
fn resolution(attempt: &Attempt) -> Option<Resolution> {
    let AttemptState::Dead { death: Death::Expired(proof) } = &attempt.state else { return None };
    Some(Resolution::Dead {
        txid: attempt.prepared.txid.as_deref().and_then(parse_txid)?,
        solid_block: proof.solid_block,
        solid_timestamp_ms: proof.solid_at.0,
        scanned_from: proof.scanned_from,
        scanned_to: proof.scanned_to,
        witnesses: proof.witnesses.clone(),
    })
}

/// The number that an attempt needs when the signer knows more attempts than the store, all of them resolved.
fn next_number(error: &ClientError, request: &SignRequest) -> Option<u32> {
    let ClientError::Refused(refused) = error else { return None };
    let existing = refused.existing.as_ref().filter(|_| refused.name == Refusal::AttemptNotIncreasing)?;
    let resolved = request.previous.iter().any(|resolution| resolution.txid() == existing.txid);
    existing.attempt.checked_add(1).filter(|_| resolved)
}

pub(super) fn parse_txid(text: &str) -> Option<Txid> {
    crypto::unhex(text)?.try_into().ok().map(Txid)
}

impl Ground {
    /// What a transfer of this energy takes in sun, staked energy counted like burnt TRX, and what is left for the next one.
    fn fee(&self, energy: u64) -> (u64, Resources) {
        let (mut left, mut fee) = (self.resources, energy.saturating_mul(self.prices.energy_sun));
        // A transaction takes all its bytes from one of them.
        if let Some(rest) = left.bandwidth.checked_sub(TRANSFER_BANDWIDTH) {
            left.bandwidth = rest;
        } else if let Some(rest) = left.bandwidth_free.checked_sub(TRANSFER_BANDWIDTH) {
            left.bandwidth_free = rest;
        } else {
            fee = fee.saturating_add(TRANSFER_BANDWIDTH.saturating_mul(self.prices.bandwidth_sun));
        }
        (fee, left)
    }
}
