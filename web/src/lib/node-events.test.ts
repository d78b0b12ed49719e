import { describe, expect, it } from 'vitest';
import type { Happened, HappenedKind } from './api/types';
import { byText, detailText, silentFor, wordsOf } from './node-events';

const at = (minute: number) => new Date(Date.UTC(2026, 9, 22, 0, minute)).toISOString();
const newestFirst = (...events: [number, HappenedKind, string?][]): Happened[] => events.map(([minute, kind, detail], i) => ({ seq: i + 1, at: at(minute), kind, category: 'status' as const, detail: detail ?? null })).reverse();

describe('silence', () => {
  it('is measured from when the node went to when it came back', () => {
    const events = newestFirst([0, 'back'], [10, 'unreachable'], [24, 'back'], [30, 'unreachable']);
    expect(events.map((_, i) => silentFor(events, i))).toEqual(['', 'after 14 min', '', '']);
  });
});

it('says times by the clock of who reads them, and kinds it does not know by their names', () => {
  expect(detailText(`from now until ${at(1)}`)).not.toMatch(/T\d\d:/);
  expect(detailText(null)).toBe('');
  expect(wordsOf('brand_new' as HappenedKind)).toEqual({ text: 'Brand new', tone: 'idle' });
});

it('says who did it, by name where the name is known', () => {
  expect([byText({ id: 'user_1', name: 'ada' }), byText({ id: 'user_2' }), byText({ id: 'console' }), byText(null)]).toEqual(['by ada', 'by a person who is gone', 'at the command line', '']);
  expect([byText({ id: 'anonymous' }, 'reenrolled'), byText({ id: 'node_1' }), byText({ id: 'anonymous' }, 'enrolled')]).toEqual(['by its agent', 'by its agent', '']);
});
