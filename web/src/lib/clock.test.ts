import { expect, test } from 'vitest';
import { agree, difference, offset } from './clock';

const AT = Date.parse('2026-11-21T10:00:00Z');

test('the middle of the round trip is when the manager answered', () => {
  expect(offset('2026-11-21T10:00:05Z', AT, AT + 2_000)).toEqual({ aheadMs: 4_000, uncertainMs: 1_000 });
  expect(offset('no time', AT, AT)).toBeUndefined();
  expect(offset('2026-11-21T10:00:05Z', AT + 1, AT)).toBeUndefined();
});

test('a minute is as far as two clocks may be apart', () => {
  expect(agree({ aheadMs: -60_000, uncertainMs: 0 })).toBe(true);
  expect(agree({ aheadMs: 60_001, uncertainMs: 0 })).toBe(false);
});

test('differences are said in words, and noise is not said', () => {
  expect(difference({ aheadMs: 900, uncertainMs: 10 })).toBe('less than a second');
  expect(difference({ aheadMs: 1_400, uncertainMs: 10 })).toBe('1.4 s ahead');
  expect(difference({ aheadMs: -59_000, uncertainMs: 10 })).toBe('59.0 s behind');
  expect(difference({ aheadMs: -12 * 60_000, uncertainMs: 10 })).toBe('12 min behind');
});
