import { expect, it } from 'vitest';
import { closedOnly, formatOf, lookOf, timesOf, topOf, valueAt } from './overlay';

it('gives no two of 24 lines the same look, and neighbours differ in their dash', () => {
  const looks = Array.from({ length: 24 }, (_, i) => lookOf(i));
  expect(new Set(looks.map((look) => JSON.stringify(look))).size).toBe(24);
  looks.slice(1).forEach((look, i) => expect(look.dash).not.toEqual(looks[i]?.dash));
});

it('puts each value at its time', () => expect(timesOf(1_000, 300, 3)).toEqual([1_000, 1_300, 1_600]));

it('shows the newest known value, or the one that is pointed at, gaps included', () => {
  expect(valueAt([1, 2, null], null)).toBe(2);
  expect(valueAt([1, null, 3], 1)).toBeNull();
  expect(valueAt([], null)).toBeNull();
  expect(valueAt([1], 7)).toBeNull();
});

it('words values by what they measure', () => {
  expect(formatOf('cpu')(12.4)).toBe('12 %');
  expect(formatOf('network_in')(1_500)).toBe('1.5 kB/s');
  expect(formatOf('temperature')(null)).toBe('not available');
  expect([topOf('memory'), topOf('network_out')]).toEqual([100, null]);
});

it('leaves out the step that still goes on', () => {
  expect(closedOnly([1, 2, 3], 2_000, 1_999)).toEqual([1, 2, null]);
  expect(closedOnly([1, 2, 3], 2_000, 2_000)).toEqual([1, 2, 3]);
  expect(closedOnly([1], null, 0)).toEqual([1]);
  expect(closedOnly([], 2_000, 0)).toEqual([]);
});
