//! Why a score is what it is: what differs between a node's leaf and the one of the epoch before. Values in, values out.

use super::credits::{Leaf, Multiplier};
use super::poot::{Factors, Params, Ratio, ScoreState};

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScoreChangeKind)]
pub enum Kind {
    /// There is no epoch before to compare with.
    FirstEpoch,
    /// The parameters of the formulas.
    Params,
    State,
    /// Proven slots of the window.
    Proven,
    /// Observed slots of the window.
    Observed,
    Interruptions,
    /// The output factor, with two decimals; none where the pool expects no outputs.
    Output,
    /// The share of samples within thresholds, with two decimals; none without samples.
    Resources,
    /// Of credits from the next epoch on, with four decimals.
    Multiplier,
}

/// One thing that moved, as texts; none where it did not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: Kind,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A leaf with the parameters of its epoch.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    pub leaf: &'a Leaf,
    pub params: &'a Params,
}

impl Scored<'_> {
    /// After the epoch of the leaf.
    pub fn multiplier(&self) -> Multiplier {
        self.leaf.multiplier.after(self.leaf.slots, &self.leaf.inputs)
    }

    fn multiplier_text(&self) -> String {
        let shown = self.multiplier().ten_thousandths(self.params);
        format!("{}.{:04}", shown / 10_000, shown % 10_000)
    }

    fn output(&self) -> Option<String> {
        self.factor(self.leaf.inputs.outputs_expected, |factors| factors.output)
    }

    fn resources(&self) -> Option<String> {
        self.factor(self.leaf.inputs.samples > 0, |factors| factors.resources)
    }

    fn factor(&self, applies: bool, of: fn(&Factors) -> Ratio) -> Option<String> {
        applies.then(|| of(&self.leaf.inputs.factors()).decimal().to_string())
    }
}

/// What moved between two epochs of a node, the causes before their effects; empty when nothing did.
pub fn changes(before: Option<Scored<'_>>, now: Scored<'_>) -> Vec<Change> {
    let Some(before) = before else { return vec![Change { kind: Kind::FirstEpoch, before: None, after: None }] };
    let window = |of: Scored<'_>| of.leaf.inputs.window;
    let number = |value: u16| Some(value.to_string());
    let (old_params, new_params) = changed_params(before.params, now.params);
    let all = [
        (Kind::Params, old_params, new_params),
        (Kind::Proven, number(window(before).proven), number(window(now).proven)),
        (Kind::Observed, number(window(before).observed), number(window(now).observed)),
        (Kind::Interruptions, number(window(before).interruptions), number(window(now).interruptions)),
        (Kind::Output, before.output(), now.output()),
        (Kind::Resources, before.resources(), now.resources()),
        (Kind::State, Some(word(before.leaf.score.state)), Some(word(now.leaf.score.state))),
        (Kind::Multiplier, Some(before.multiplier_text()), Some(now.multiplier_text())),
    ];
    let moved = all.into_iter().filter(|(_, before, after)| before != after);
    moved.map(|(kind, before, after)| Change { kind, before, after }).collect()
}

fn word(state: ScoreState) -> String {
    match state {
        ScoreState::Pending => "pending",
        ScoreState::Valid => "valid",
        ScoreState::Invalid => "invalid",
    }
    .to_owned()
}

/// `min_score_hundredths 5000, window_slots 2880` of what differs; none when nothing does.
fn changed_params(before: &Params, after: &Params) -> (Option<String>, Option<String>) {
    let (old, new) = (values(before), values(after));
    let differing = |list: &[(&str, u32)]| {
        let texts = list.iter().zip(old.iter().zip(&new)).filter(|(_, (old, new))| old != new);
        let texts: Vec<String> = texts.map(|((name, value), _)| format!("{name} {value}")).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    };
    (differing(&old), differing(&new))
}

/// Taken apart as a whole, so that a new parameter cannot be forgotten here.
fn values(params: &Params) -> [(&'static str, u32); 9] {
    let Params {
        version,
        window_slots,
        max_age_slots,
        min_observation_seconds,
        min_score_hundredths,
        output_weight_percent,
        stability_weight_percent,
        resources_weight_percent,
        max_multiplier_hundredths,
    } = *params;
    [
        ("version", version.into()),
        ("window_slots", window_slots.into()),
        ("max_age_slots", max_age_slots.into()),
        ("min_observation_seconds", min_observation_seconds),
        ("min_score_hundredths", min_score_hundredths.into()),
        ("output_weight_percent", output_weight_percent.into()),
        ("stability_weight_percent", stability_weight_percent.into()),
        ("resources_weight_percent", resources_weight_percent.into()),
        ("max_multiplier_hundredths", max_multiplier_hundredths.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credits::EpochSlots;
    use crate::domain::ids::NodeIndex;
    use crate::domain::poot::{Inputs, Window};

    fn leaf(inputs: Inputs, slots: EpochSlots) -> Leaf {
        Leaf::close(NodeIndex(0), slots, inputs, Multiplier::default(), None, &Params::default()).unwrap().0
    }

    fn counted(proven: u16, observed: u16, interruptions: u16) -> Inputs {
        Inputs { window: Window { proven, observed, interruptions }, ..Inputs::default() }
    }

    const IDLE: EpochSlots = EpochSlots { proven: 0, observed: 0 };

    fn shown(before: &Leaf, now: &Leaf, params: &Params) -> Vec<(Kind, String, String)> {
        let old = Params::default();
        let text = |t: Option<String>| t.unwrap_or_else(|| "-".into());
        let found = changes(Some(Scored { leaf: before, params: &old }), Scored { leaf: now, params });
        found.into_iter().map(|c| (c.kind, text(c.before), text(c.after))).collect()
    }

    fn row(kind: Kind, before: &str, after: &str) -> (Kind, String, String) {
        (kind, before.into(), after.into())
    }

    #[test]
    fn the_first_epoch_has_nothing_to_compare_with_and_an_equal_one_moves_nothing() {
        let (leaf, params) = (leaf(counted(120, 120, 0), IDLE), Params::default());
        let now = Scored { leaf: &leaf, params: &params };
        assert_eq!(changes(None, now), [Change { kind: Kind::FirstEpoch, before: None, after: None }]);
        assert_eq!(changes(Some(now), now), []);
    }

    #[test]
    fn missed_slots_that_cost_the_score_are_named_with_what_follows() {
        let before = leaf(counted(60, 120, 1), IDLE);
        let after = leaf(counted(59, 121, 2), IDLE);
        let expected = [
            row(Kind::Proven, "60", "59"),
            row(Kind::Observed, "120", "121"),
            row(Kind::Interruptions, "1", "2"),
            row(Kind::State, "valid", "invalid"),
        ];
        assert_eq!(shown(&before, &after, &Params::default()), expected);
    }

    #[test]
    fn factors_appear_when_they_begin_to_count_and_the_multiplier_by_its_value_after_the_epoch() {
        let before = leaf(counted(2_880, 2_880, 0), IDLE);
        let expected = Inputs { outputs_expected: true, challenged: 98, answered: 98, samples: 4, samples_within: 3, ..before.inputs };
        let after = leaf(expected, EpochSlots { proven: 2_880, observed: 2_880 });
        let moved = shown(&before, &after, &Params::default());
        let wanted = [row(Kind::Output, "-", "0.99"), row(Kind::Resources, "-", "0.75"), row(Kind::Multiplier, "1.0000", "1.0714")];
        assert_eq!(moved, wanted);
    }

    #[test]
    fn changed_parameters_are_listed_and_the_others_are_not() {
        let same = leaf(counted(120, 120, 0), IDLE);
        let params = Params { min_score_hundredths: 6_000, window_slots: 1_440, ..Params::default() };
        let listed = row(Kind::Params, "window_slots 2880, min_score_hundredths 5000", "window_slots 1440, min_score_hundredths 6000");
        assert_eq!(shown(&same, &same, &params), [listed]);
    }
}
