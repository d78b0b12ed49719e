//! What a score is made of, as it is shown: the counts that go in, and the parameters they go through. Every number here is the one that the
//! domain enforces.

use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;

use super::thresholds::ThresholdsView;
use crate::domain::credits::{Epoch, GROWS_FROM_PERCENT, LOSS_PER_SLOT_DOWN, SLOTS_TO_MAX};
use crate::domain::explanation::{Change, Kind, Scored, changes};
use crate::domain::ids::NodeIndex;
use crate::domain::poot::{INTERRUPTIONS_AT_ZERO, Inputs, Params, ScoreState};
use crate::storage::Store;
use crate::storage::core::{epochs, thresholds};
use crate::storage::fault::Fault;
use crate::storage::hot::leaves;
use crate::storage::present::Standings;

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
    /// Of the node's measurements, as they are now: a sample below every warning limit is within. Null where it is about no one node.
    pub resources: Option<ThresholdsView>,
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

/// The node in the epoch before.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PreviousScore {
    pub epoch: u32,
    pub state: ScoreState,
    /// 0 to 100; null while it is pending.
    pub score: Option<f64>,
    pub inputs: ScoreInputs,
    /// After that epoch.
    pub multiplier: f64,
}

/// One thing that differs from the epoch before, as texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ScoreChange {
    pub kind: Kind,
    /// Null where it did not apply.
    pub before: Option<String>,
    /// Null where it does not apply.
    pub after: Option<String>,
}

impl From<Change> for ScoreChange {
    fn from(Change { kind, before, after }: Change) -> ScoreChange {
        ScoreChange { kind, before, after }
    }
}

/// What a score came from, and what moved it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Explanation {
    /// Of this score; null before the first.
    pub epoch: Option<u32>,
    /// Null before the first score.
    pub inputs: Option<ScoreInputs>,
    pub thresholds: PootParams,
    /// Null when the node has no leaf in the epoch before, or leaves of it are not kept any more.
    pub previous: Option<PreviousScore>,
    /// Against `previous`, the causes before their effects. Empty when nothing moved, and before the first score.
    pub changes: Vec<ScoreChange>,
}

impl Explanation {
    pub fn of(store: &Store, node: NodeIndex, standings: &Standings) -> Result<Explanation, Fault> {
        let core = store.read()?;
        let pool = store.directory.by_index(node).and_then(|entry| *entry.pool.latest());
        let resources = ThresholdsView::from(thresholds::effective(&core, node, pool)?);
        let thresholds = PootParams { resources: Some(resources), ..PootParams::from(&standings.params) };
        let Some((epoch, leaf)) = standings.epoch.zip(standings.of(node).leaf) else {
            return Ok(Explanation { epoch: None, inputs: None, thresholds, previous: None, changes: Vec::new() });
        };
        // The last head may be of a gap; what counted is in the head of the leaf.
        let params = epochs::by_epoch(&core, epoch)?.map_or(standings.params, |head| head.params);
        let head = epochs::before(&core, epoch)?;
        let before = match &head {
            Some(head) => leaves::of_node(&store.hot.read()?, head.epoch, node)?.map(|leaf| (head.epoch, leaf, head.params)),
            None => None,
        };
        let scored = before.as_ref().map(|(_, leaf, params)| Scored { leaf, params });
        let changes = changes(scored, Scored { leaf: &leaf, params: &params });
        let previous = before.as_ref().map(|(epoch, leaf, params)| previous(*epoch, Scored { leaf, params }));
        let changes = changes.into_iter().map(ScoreChange::from).collect();
        Ok(Explanation { epoch: Some(epoch.0), inputs: Some(ScoreInputs::from(&leaf.inputs)), thresholds, previous, changes })
    }
}

fn previous(epoch: Epoch, scored: Scored<'_>) -> PreviousScore {
    let score = scored.leaf.score;
    PreviousScore {
        epoch: epoch.0,
        state: score.state,
        score: score.score().to_f64().filter(|_| score.state != ScoreState::Pending),
        inputs: ScoreInputs::from(&scored.leaf.inputs),
        multiplier: f64::from(scored.multiplier().ten_thousandths(scored.params)) / 10_000.0,
    }
}
