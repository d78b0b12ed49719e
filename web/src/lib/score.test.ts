import { describe, expect, it } from 'vitest';
import { changeText, factorsOf, thresholdsOf, type ScoreInputs, type Thresholds } from './score';

const inputs = (more: Partial<ScoreInputs> = {}): ScoreInputs => ({ proven: 2_860, observed: 2_880, interruptions: 0, samples: 0, samples_within: 0, challenged: 0, answered: 0, outputs_expected: false, ...more });
const thresholds = (weights = { output: 0.3, stability: 0, resources: 0 }): Thresholds => ({
  version: 1,
  min_score: 50, min_observation_seconds: 3_600, window_slots: 2_880, max_age_slots: 8_640, weights, interruptions_to_zero: 24,
  multiplier: { max: 1.5, grows_from_percent: 99, slots_to_max: 20_160, loss_per_slot_down: 24 },
});
const factors = { uptime: 0.993, output: 0.5, stability: 0.875, resources: 1 };
const effects = (i: ScoreInputs, weights?: { output: number; stability: number; resources: number }) => factorsOf(i, thresholds(weights), factors).map((f) => f.effect);

describe('factors of a score', () => {
  it('say what they did, and why they did nothing', () => {
    expect(effects(inputs())).toEqual(['gives 99.31 of 100 points', 'no effect: the pool expects none', 'no effect: its weight is 0', 'no effect: its weight is 0']);
  });

  it('follow the formula of the manager', () => {
    // domain/poot.rs: nobody was challenged, the prior's mean is one half, and a full day scores 85.
    expect(effects(inputs({ proven: 2_880, outputs_expected: true }))[1]).toBe('× 0.850, takes 15.00 points');
    expect(effects(inputs({ proven: 1_440, interruptions: 3 }), { output: 0, stability: 0.2, resources: 0.1 }).slice(2)).toEqual([
      '× 0.975, takes 1.25 points',
      'no effect: nothing was measured against limits',
    ]);
  });

  it('know nothing before the first slot', () => {
    const [time] = factorsOf(inputs({ proven: 0, observed: 0 }), thresholds(), factors);
    expect([time?.measured, time?.effect, time?.costs]).toEqual(['no slot observed yet', 'not known yet', false]);
  });
});

it('thresholds are the exact ones', () => {
  expect(Object.fromEntries(thresholdsOf(thresholds()))).toMatchObject({
    'Counts after': '1 h observed',
    'Valid from': '50 points',
    'Looks at': 'the last 24 h observed (2880 slots)',
    'Looks back': '72 h at most',
    'Multiplier grows': 'from 1 to 1.5 in 168 h proven, while at 99 % or better',
    'Multiplier shrinks': 'by 12 min of growth for each slot missed',
  });
});

describe('what changed', () => {
  it('is said in sentences', () => {
    expect(changeText({ kind: 'proven', before: 2_850, after: 2_860 })).toBe('Proven slots in the window rose from 2850 to 2860.');
    expect(changeText({ kind: 'multiplier', before: '1.5', after: '1.4931' })).toBe('The multiplier fell from 1.5 to 1.4931.');
    expect(changeText({ kind: 'state', before: 'pending', after: 'valid' })).toBe('The state went from pending to valid.');
    expect(changeText({ kind: 'first_epoch' })).toMatch(/first epoch/);
    expect(changeText({ kind: 'something_new', before: null, after: 3 })).toBe('something new went from nothing to 3.');
  });
});
