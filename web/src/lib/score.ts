// What a score is made of, in words. The manager computes it; the effects here follow its formula from the inputs it says.
import type { Score } from './api/types';
import { exact } from './format';
import { SLOT_SECONDS } from './poot';

export type ScoreInputs = NonNullable<Score['inputs']>;
export type Thresholds = Score['thresholds'];
export type Factor = { name: string; measured: string; weight: string; effect: string; /** It lowers the score. */ costs: boolean };

const plural = (n: number, one: string, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/**
 * score = 100 × proven / observed × product of (1 − weight × (1 − factor)), see domain/poot.rs. Each effect is what its factor takes from the
 * score by itself.
 */
export function factorsOf(inputs: ScoreInputs, thresholds: Thresholds, factors: Score['factors']): Factor[] {
  const { proven, observed } = inputs;
  const uptime = observed > 0 ? proven / observed : null;
  const weighted = (name: string, measured: string, weight: number, factor: number | null | undefined, unused: string): Factor => {
    const shown = `${Math.round(weight * 100)} %`;
    if (unused) return { name, measured, weight: shown, effect: unused, costs: false };
    if (weight === 0) return { name, measured, weight: shown, effect: 'no effect: its weight is 0', costs: false };
    if (factor == null || uptime === null) return { name, measured, weight: shown, effect: 'not known yet', costs: false };
    const lost = 100 * uptime * weight * (1 - factor);
    return { name, measured, weight: shown, effect: lost < 0.005 ? 'takes nothing' : `× ${(1 - weight * (1 - factor)).toFixed(3)}, takes ${lost.toFixed(2)} points`, costs: lost >= 0.005 };
  };
  return [
    {
      name: 'Operational time',
      measured: observed > 0 ? `${proven} of ${observed} slots` : 'no slot observed yet',
      weight: 'whole',
      effect: uptime === null ? 'not known yet' : `gives ${(100 * uptime).toFixed(2)} of 100 points`,
      costs: false,
    },
    weighted(
      'Outputs',
      inputs.challenged > 0 ? `${inputs.answered} of ${inputs.challenged} answered` : 'none asked for',
      thresholds.weights.output,
      factors.output,
      inputs.outputs_expected ? '' : 'no effect: the pool expects none',
    ),
    weighted('Stability', inputs.interruptions === 0 ? 'no interruption' : plural(inputs.interruptions, 'interruption'), thresholds.weights.stability, factors.stability, ''),
    weighted(
      'Resources',
      inputs.samples > 0 ? `${inputs.samples_within} of ${inputs.samples} samples within limits` : 'no limits set',
      thresholds.weights.resources,
      factors.resources,
      inputs.samples === 0 && thresholds.weights.resources > 0 ? 'no effect: nothing was measured against limits' : '',
    ),
  ];
}

const hours = (slots: number) => exact(slots * SLOT_SECONDS);

/** The limits in force, as pairs of what and how much. */
export function thresholdsOf(t: Thresholds): [string, string][] {
  return [
    ['Counts after', `${exact(t.min_observation_seconds)} observed`],
    ['Valid from', `${t.min_score} points`],
    ['Looks at', `the last ${hours(t.window_slots)} observed (${t.window_slots} slots)`],
    ['Looks back', `${hours(t.max_age_slots)} at most`],
    ['Stability is zero at', plural(t.interruptions_to_zero, 'interruption')],
    ['Multiplier grows', `from 1 to ${t.multiplier.max} in ${hours(t.multiplier.slots_to_max)} proven, while at ${t.multiplier.grows_from_percent} % or better`],
    ['Multiplier shrinks', `by ${hours(t.multiplier.loss_per_slot_down)} of growth for each slot missed`],
  ];
}

const SUBJECTS: Record<string, string> = {
  state: 'The state',
  proven: 'Proven slots in the window',
  observed: 'Observed slots in the window',
  interruptions: 'Interruptions',
  output: 'The output factor',
  resources: 'The resources factor',
  multiplier: 'The multiplier',
  score: 'The score',
};

/** A sentence about one change since the epoch before. */
export function changeText({ kind, before, after }: { kind: string; before?: unknown; after?: unknown }): string {
  if (kind === 'first_epoch') return 'This is the first epoch of the node: there is nothing to compare with.';
  if (kind === 'params') return 'The rules changed: other thresholds or weights are in force since this epoch.';
  const said = (value: unknown) => (value == null ? 'nothing' : String(value));
  const [a, b] = [before, after].map((v) => (v == null || v === '' ? NaN : Number(v))) as [number, number];
  const verb = Number.isFinite(a) && Number.isFinite(b) && a !== b ? (b > a ? 'rose' : 'fell') : 'went';
  return `${SUBJECTS[kind] ?? kind.replace(/_/g, ' ')} ${verb} from ${said(before)} to ${said(after)}.`;
}
