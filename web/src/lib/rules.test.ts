import { expect, it } from 'vitest';
import { rules } from './rules';
import type { PootParams } from './api/types';

const params: PootParams = {
  version: 1,
  min_score: 50,
  min_observation_seconds: 3_600,
  window_slots: 2_880,
  max_age_slots: 8_640,
  weights: { output: 0.3, stability: 0, resources: 0 },
  interruptions_to_zero: 24,
  multiplier: { max: 1.5, grows_from_percent: 99, slots_to_max: 20_160, loss_per_slot_down: 24 },
  resources: null,
};
const text = (name: string, of: PootParams = params) => rules(of).find((rule) => rule.name === name)?.text;

it('names the numbers that are enforced', () => {
  expect(text('Window')).toContain('24 h (2\u202f880 slots)');
  expect(text('Window')).toContain('further back than 3 d');
  expect(text('Valid')).toContain('From 50 on');
  expect(text('Multiplier')).toContain('× 1.5 over 7 d (20\u202f160 slots)');
});

it('speaks only of weights that count', () => {
  expect(text('Score')).toContain('up to 30 % for answers');
  expect(text('Score')).not.toContain('stability');
  expect(text('Score', { ...params, weights: { output: 0, stability: 0, resources: 0 } })).toContain('nothing else takes from it');
});

it('keeps fractions of a limit and drops only zeros behind the point', () => {
  expect(text('Valid', { ...params, min_score: 62.5 })).toContain('From 62.5 on');
  expect(text('Valid', { ...params, min_score: 100 })).toContain('From 100 on');
});
