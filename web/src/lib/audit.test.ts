import { expect, test } from 'vitest';
import { anchorOf, deed, filtersOf, instant, localTime, verdictText } from './audit';

test('deeds have words, and unknown ones keep their name', () => {
  expect(deed('node.create')).toBe('Made a node');
  expect(deed('replica.start_over')).toBe('Replica start over');
  expect(deed('constructor')).toBe('Constructor');
});

test('filters come from the address, those that are set', () => {
  expect(filtersOf(new URLSearchParams('operation=node.&page=3&actor=&success=false'))).toEqual({ operation: 'node.', success: 'false' });
});

test('times are typed in the time of the browser', () => {
  const at = '2026-11-21T08:05:00.000Z';
  expect(instant(localTime(at))).toBe(at);
  expect(localTime(at)).toMatch(/^2026-11-2\dT\d\d:\d5$/);
  expect([localTime('yesterday'), localTime(undefined), instant('')]).toEqual(['', '', '']);
});

test('an anchor is what was made, and nothing else', () => {
  const anchor = { manager_id: 'manager_1', seq: 7, hash: 'ab', at: '2026-11-21T08:05:00Z', signature: 'cd' };
  expect(anchorOf(JSON.stringify({ ...anchor, note: 'mine' }))).toEqual(anchor);
  expect(['', 'null', '7', '{}', JSON.stringify({ ...anchor, seq: '7' })].map(anchorOf)).toEqual(Array(5).fill(undefined));
  expect(verdictText('lost_somehow')).toBe('Lost somehow');
});
