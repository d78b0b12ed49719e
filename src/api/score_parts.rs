//! What a score is made of, as it is shown: the counts that go in, and the parameters they go through. Every number here is the one that the
//! domain enforces.

use serde::Serialize;

use crate::domain::credits::{GROWS_FROM_PERCENT, LOSS_PER_SLOT_DOWN, SLOTS_TO_MAX};
use crate::domain::poot::{INTERRUPTIONS_AT_ZERO, Inputs, Params};

/// Counts over the window of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ScoreInputs {
    /// Slots of the window that the node proved.
    pub proven: u16,
    /// Slots of the window in which it was observed.
    pub observed: u16,
    /// Times a proven slot was followed by an unproven one.
    pub interruptions: u16,
    pub samples: u16,
    /// Samples with every value within its threshold.
    pub samples_within: u16,
    /// Slots that asked for an output.
    pub challenged: u16,
    pub answered: u16,
    /// The node's pool expects outputs.
    pub outputs_expected: bool,
}

impl From<&Inputs> for ScoreInputs {
    fn from(inputs: &Inputs) -> ScoreInputs {
        ScoreInputs {
            proven: inputs.window.proven,
            observed: inputs.window.observed,
            interruptions: inputs.window.interruptions,
            samples: inputs.samples,
            samples_within: inputs.samples_within,
            challenged: inputs.challenged,
            answered: inputs.answered,
            outputs_expected: inputs.outputs_expected,
        }
    }
}

/// How much a factor can take from a score, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PootWeights {
    /// Counts only where the pool expects outputs.
    pub output: f64,
    pub stability: f64,
    pub resources: f64,
}

/// How the multiplier of credits grows and shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct MultiplierRule {
    /// It starts at 1.
    pub max: f64,
    /// Operational time of the window, in percent, from which it grows.
    pub grows_from_percent: u32,
    /// Proven slots in which it grows from 1 to `max`.
    pub slots_to_max: u32,
    /// Slots of growth that one missed slot costs.
    pub loss_per_slot_down: u32,
}

/// What turns counts into scores and credits.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PootParams {
    /// Of the formulas.
    pub version: u16,
    /// Lowest valid score, 0 to 100.
    pub min_score: f64,
    /// Observed time from which a score counts.
    pub min_observation_seconds: u32,
    /// Observed slots that a score looks at.
    pub window_slots: u16,
    /// Slots further back are not looked at.
    pub max_age_slots: u16,
    pub weights: PootWeights,
    /// Interruptions at which the stability factor is zero.
    pub interruptions_to_zero: u16,
    pub multiplier: MultiplierRule,
    /// Null: measurements have no thresholds in this release.
    #[schema(value_type = Option<Object>)]
    pub resources: Option<serde_json::Value>,
}

/// A whole number of percent or hundredths as a fraction.
fn hundredths(value: impl Into<f64>) -> f64 {
    value.into() / 100.0
}

impl From<&Params> for PootParams {
    fn from(params: &Params) -> PootParams {
        PootParams {
            version: params.version,
            min_score: hundredths(params.min_score_hundredths),
            min_observation_seconds: params.min_observation_seconds,
            window_slots: params.window_slots,
            max_age_slots: params.max_age_slots,
            weights: PootWeights {
                output: hundredths(params.output_weight_percent),
                stability: hundredths(params.stability_weight_percent),
                resources: hundredths(params.resources_weight_percent),
            },
            interruptions_to_zero: INTERRUPTIONS_AT_ZERO,
            multiplier: MultiplierRule {
                max: hundredths(params.max_multiplier_hundredths),
                grows_from_percent: GROWS_FROM_PERCENT,
                slots_to_max: SLOTS_TO_MAX,
                loss_per_slot_down: LOSS_PER_SLOT_DOWN,
            },
            resources: None,
        }
    }
}
