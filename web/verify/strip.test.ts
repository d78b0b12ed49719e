import { expect, test } from 'vitest';
import { columnsOf, statesOf, type SlotState } from './strip';
import { count, decimal, duration, formula, time } from './words';
import type { Proof } from './format';

test('a slot is what most needs to be seen of it', () => {
  const slots = { observed: [true, true, true, false], proven: [true, true, false, false], strained: [false, true, false, false], challenged: [], answered: [] };
  expect(statesOf(slots)).toEqual(['proven', 'strained', 'missed', 'unobserved']);
});

test('columns hold every slot once', () => {
  const states = Array.from({ length: 2881 }, (_, i): SlotState => (i % 7 === 0 ? 'missed' : 'proven'));
  for (const length of [0, 1, 239, 240, 241, 2880, 2881]) {
    const columns = columnsOf(states.slice(0, length));
    expect(columns.length).toBeLessThanOrEqual(240);
    const sum = (state: 'missed' | 'proven') => columns.reduce((sum, column) => sum + column[state], 0);
    expect(sum('missed')).toBe(Math.ceil(length / 7));
    expect(sum('missed') + sum('proven')).toBe(length);
  }
});

test('amounts keep every digit', () => {
  expect(decimal(4179997519n, 12)).toBe('0.004179997519');
  expect(decimal(50000n, 6)).toBe('0.05');
  expect(decimal(10n ** 30n, 12)).toBe('1000000000000000000');
  expect(decimal(-1n, 6)).toBe('−0.000001');
  expect(decimal(0n, 6)).toBe('0');
  expect(count(2880n)).toBe('2,880');
});

test('times', () => {
  expect([0n, 1n, 2n, 139n, 2880n].map(duration)).toEqual(['0 s', '30 s', '1 min', '1 h 9 min', '24 h']);
  expect(time(2n ** 62n)).toBe(`${2n ** 62n} ms`);
});

test('the formula names only the factors that count', () => {
  const inputs = { proven: 90n, observed: 100n, interruptions: 6n, samples: 90n, samples_within: 45n, challenged: 2n, answered: 2n, outputs_expected: true };
  const params = { output_weight_percent: 30n, stability_weight_percent: 0n, resources_weight_percent: 10n };
  const proof = { leaf: { inputs, score_hundredths: 7909n }, head: { params } } as unknown as Proof;
  expect(formula(proof, true)).toBe('100 × 90/100 × (1 − 30 % × (1 − 3/4)) × (1 − 10 % × (1 − 45/90)) = 79.09');
  expect(formula({ ...proof, leaf: { ...proof.leaf, inputs: { ...inputs, outputs_expected: false } } }, false)).toBe('100 × 90/100 × (1 − 10 % × (1 − 45/90)) ≠ 79.09');
});
