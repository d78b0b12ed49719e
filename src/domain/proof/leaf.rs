//! A leaf of an epoch's tree: everything that made the score and the credits of one node in it.

use serde::{Deserialize, Serialize};

use super::canonical::Canonical;
use super::merkle::{self, Hash};
use super::text::{Hex, digits, nullable};
use crate::domain::credits::Leaf;
use crate::domain::epoch::Span;
use crate::domain::evidence::DayReports;
use crate::domain::ids::{NodeId, PoolId};
use crate::domain::money::Currency;
use crate::domain::poot::{Inputs, Params, ScoreState, Window};

pub const TAG: &str = "lucid/poot-leaf/v1";
/// Bytes that nobody can guess, so that the hash of a leaf tells nothing of it.
pub const BLIND_LEN: usize = 16;

/// Every field is in the hashed bytes, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootLeaf)]
pub struct CommittedLeaf {
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    pub blind: Hex<BLIND_LEN>,
    /// Its first slot.
    pub epoch: u32,
    /// Inclusive.
    pub last_slot: u32,
    #[schema(value_type = String)]
    pub node_id: NodeId,
    /// Slots of the window; it ends with `last_slot`.
    pub window_slots: u16,
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub window_hash: Hex<32>,
    /// Slots of the epoch that the node proved.
    pub proven: u16,
    /// Slots of the epoch in which it was observed.
    pub observed: u16,
    pub inputs: CommittedInputs,
    pub state: ScoreState,
    /// 0 to 10000: 9875 is 98.75.
    pub score_hundredths: u16,
    pub confidence_hundredths: u8,
    /// Of the multiplier before this epoch: slots of its growth.
    pub multiplier_grown_slots: u32,
    /// Null: the node was in no pool and earned nothing.
    #[serde(deserialize_with = "nullable")]
    pub payer: Option<CommittedPayer>,
    /// Earned in the epoch, in millionths of the currency's smallest unit.
    #[serde(with = "digits")]
    #[schema(value_type = String)]
    pub accrual_pico: i128,
    /// In the first epoch of a UTC day: the reports of the node's last day before.
    #[serde(deserialize_with = "nullable")]
    pub reports: Option<CommittedReports>,
}

/// What a score is made of: counts over the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootLeafInputs)]
pub struct CommittedInputs {
    pub proven: u16,
    pub observed: u16,
    pub interruptions: u16,
    pub samples: u16,
    pub samples_within: u16,
    pub challenged: u16,
    pub answered: u16,
    pub outputs_expected: bool,
}

impl From<Inputs> for CommittedInputs {
    fn from(inputs: Inputs) -> CommittedInputs {
        let Inputs { window: Window { proven, observed, interruptions }, samples_within, samples, challenged, answered, outputs_expected } =
            inputs;
        CommittedInputs { proven, observed, interruptions, samples, samples_within, challenged, answered, outputs_expected }
    }
}

impl From<CommittedInputs> for Inputs {
    fn from(inputs: CommittedInputs) -> Inputs {
        let CommittedInputs { proven, observed, interruptions, samples, samples_within, challenged, answered, outputs_expected } = inputs;
        Inputs { window: Window { proven, observed, interruptions }, samples_within, samples, challenged, answered, outputs_expected }
    }
}

/// Who paid for the node's time, and at what price, in the epoch's first slot; in smallest units of the currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootLeafPayer)]
pub struct CommittedPayer {
    #[schema(value_type = String)]
    pub pool_id: PoolId,
    #[serde(with = "digits")]
    #[schema(value_type = String)]
    pub cost_per_hour: i64,
    #[serde(with = "digits")]
    #[schema(value_type = String)]
    pub reward_per_hour: i64,
    pub currency: Currency,
}

/// The running hash of the reports that were accepted of a node in a UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootLeafReports)]
pub struct CommittedReports {
    /// Counted from 1970-01-01.
    pub day: u32,
    pub count: u32,
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub hash: Hex<32>,
}

impl From<DayReports> for CommittedReports {
    fn from(reports: DayReports) -> CommittedReports {
        CommittedReports { day: reports.day, count: reports.count, hash: Hex(reports.hash.0) }
    }
}

/// The key of the word in the hashed bytes.
fn state_number(state: ScoreState) -> u8 {
    match state {
        ScoreState::Pending => 0,
        ScoreState::Valid => 1,
        ScoreState::Invalid => 2,
    }
}

impl CommittedLeaf {
    /// From what is stored of the node in the epoch, and what its window says.
    pub fn new(
        leaf: &Leaf,
        span: Span,
        node_id: &NodeId,
        pool_id: Option<&PoolId>,
        window_hash: Hash,
        blind: [u8; BLIND_LEN],
    ) -> CommittedLeaf {
        let payer = leaf.payer.zip(pool_id).map(|(payer, pool_id)| CommittedPayer {
            pool_id: pool_id.clone(),
            cost_per_hour: payer.pricing.cost_per_hour.0,
            reward_per_hour: payer.pricing.reward_per_hour.0,
            currency: payer.pricing.currency,
        });
        let reports = leaf.reports.map(CommittedReports::from);
        CommittedLeaf {
            blind: Hex(blind),
            epoch: span.epoch.0,
            last_slot: span.last_slot.0,
            node_id: node_id.clone(),
            window_slots: leaf.window_slots,
            window_hash: Hex(window_hash),
            proven: leaf.slots.proven,
            observed: leaf.slots.observed,
            inputs: leaf.inputs.into(),
            state: leaf.score.state,
            score_hundredths: leaf.score.score_hundredths,
            confidence_hundredths: leaf.score.confidence_hundredths,
            multiplier_grown_slots: leaf.multiplier.grown_slots(),
            payer,
            accrual_pico: leaf.accrual.0,
            reports,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let inputs = &self.inputs;
        Canonical::new(TAG)
            .bytes(&self.blind.0)
            .u32(self.epoch)
            .u32(self.last_slot)
            .text(self.node_id.as_str())
            .u16(self.window_slots)
            .hash(&self.window_hash.0)
            .u16(self.proven)
            .u16(self.observed)
            .u16(inputs.proven)
            .u16(inputs.observed)
            .u16(inputs.interruptions)
            .u16(inputs.samples)
            .u16(inputs.samples_within)
            .u16(inputs.challenged)
            .u16(inputs.answered)
            .flag(inputs.outputs_expected)
            .u8(state_number(self.state))
            .u16(self.score_hundredths)
            .u8(self.confidence_hundredths)
            .u32(self.multiplier_grown_slots)
            .option(self.payer.as_ref(), |bytes, payer| {
                let bytes = bytes.text(payer.pool_id.as_str()).i64(payer.cost_per_hour).i64(payer.reward_per_hour);
                bytes.text(payer.currency.code())
            })
            .i128(self.accrual_pico)
            .option(self.reports, |bytes, reports| bytes.u32(reports.day).u32(reports.count).hash(&reports.hash.0))
            .finish()
    }

    pub fn hash(&self) -> Hash {
        merkle::leaf_hash(&self.bytes())
    }
}

/// The parameters of the formulas, as they stand in documents and, in this order, in the bytes of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExactParams)]
pub struct CommittedParams {
    pub version: u16,
    pub window_slots: u16,
    pub max_age_slots: u16,
    pub min_observation_seconds: u32,
    pub min_score_hundredths: u16,
    pub output_weight_percent: u8,
    pub stability_weight_percent: u8,
    pub resources_weight_percent: u8,
    pub max_multiplier_hundredths: u16,
}

impl CommittedParams {
    pub(super) fn put(&self, bytes: Canonical) -> Canonical {
        bytes
            .u16(self.version)
            .u16(self.window_slots)
            .u16(self.max_age_slots)
            .u32(self.min_observation_seconds)
            .u16(self.min_score_hundredths)
            .u8(self.output_weight_percent)
            .u8(self.stability_weight_percent)
            .u8(self.resources_weight_percent)
            .u16(self.max_multiplier_hundredths)
    }
}

macro_rules! same_fields {
    ($from:ident, $to:ident) => {
        impl From<$from> for $to {
            fn from(params: $from) -> $to {
                let $from {
                    version,
                    window_slots,
                    max_age_slots,
                    min_observation_seconds,
                    min_score_hundredths,
                    output_weight_percent,
                    stability_weight_percent,
                    resources_weight_percent,
                    max_multiplier_hundredths,
                } = params;
                $to {
                    version,
                    window_slots,
                    max_age_slots,
                    min_observation_seconds,
                    min_score_hundredths,
                    output_weight_percent,
                    stability_weight_percent,
                    resources_weight_percent,
                    max_multiplier_hundredths,
                }
            }
        }
    };
}

same_fields!(Params, CommittedParams);
same_fields!(CommittedParams, Params);
