// Shapes of the contract that the schema does not have yet.
import type { Score } from './types';

export type ScoreInputs = { proven: number; observed: number; interruptions: number; samples: number; samples_within: number; challenged: number; answered: number; outputs_expected: boolean };
export type Thresholds = {
  min_score: number; min_observation_seconds: number; window_slots: number; max_age_slots: number;
  weights: { output: number; stability: number; resources: number }; interruptions_to_zero: number; resources?: unknown;
  multiplier: { max: number; grows_from_percent: number; slots_to_max: number; loss_per_slot_down: number };
};
export type ScoreDetail = Score & {
  inputs?: ScoreInputs;
  thresholds?: Thresholds;
  epoch?: number | null;
  previous?: { epoch: number; state: string; score?: number | null; inputs: ScoreInputs; multiplier: number } | null;
  changes?: { kind: string; before?: unknown; after?: unknown }[];
};
