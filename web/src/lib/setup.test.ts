import { expect, test } from 'vitest';
import type { SetupSteps } from './api/types';
import { beside, FINISH, placeOf, progress, resumesAt, setupPath, STEPS } from './setup';

const steps = (...open: string[]): SetupSteps['steps'] =>
  STEPS.map(({ step }) => ({ step, state: open.includes(step) ? 'open' : step === 'network' ? 'skipped' : 'done' }));

test('one who comes back goes on at the first open step', () => {
  expect(resumesAt(steps('pool', 'storage'))).toBe('storage');
  expect(resumesAt(steps())).toBe(FINISH);
});

test('steps lead forth and back, and never back to the account', () => {
  expect(beside('clock')).toEqual({ back: undefined, next: 'storage' });
  expect(beside('storage')).toEqual({ back: 'clock', next: 'recovery_kit' });
  expect(beside('enrol')).toEqual({ back: 'pool', next: FINISH });
});

test('the address names a place or none', () => {
  expect(placeOf('pool')).toBe('pool');
  expect(placeOf('finish')).toBe(FINISH);
  expect(placeOf('Pool')).toBeUndefined();
  expect(placeOf(null)).toBeUndefined();
  for (const { step } of STEPS) expect(placeOf(new URL(setupPath(step), 'http://x').searchParams.get('step'))).toBe(step);
});

test('progress counts what is skipped apart from what is done', () => {
  expect(progress(steps('pool', 'enrol'))).toEqual({ done: 4, skipped: 1, open: 2 });
});
