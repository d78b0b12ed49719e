import { expect, test } from 'vitest';
import { milliseconds } from './storage';

test('milliseconds', () => {
  expect(milliseconds(0.42)).toBe('0.4 ms');
  expect(milliseconds(12.4)).toBe('12 ms');
  expect(milliseconds(999.4)).toBe('999 ms');
  expect(milliseconds(1_340)).toBe('1.3 s');
});
