import { describe, expect, it } from 'vitest';
import type { Happened, HappenedKind } from './api/types';
import { byText, detailText, maintenanceOf, silentFor, wordsOf } from './node-events';

const at = (minute: number) => new Date(Date.UTC(2026, 9, 22, 0, minute)).toISOString();
const seconds = (minute: number) => Date.parse(at(minute)) / 1_000;
const newestFirst = (...events: [number, HappenedKind, string?][]): Happened[] => events.map(([minute, kind, detail], i) => ({ seq: i + 1, at: at(minute), kind, category: 'status' as const, detail: detail ?? null })).reverse();

describe('maintenance', () => {
  it('lasts as long as was set, or until it was ended', () => {
    const events = newestFirst([0, 'maintenance_set', `from now until ${at(480)}`], [60, 'maintenance_set', 'ended'], [100, 'maintenance_set', `from ${at(160)} until ${at(200)}`]);
    expect(maintenanceOf(events, seconds(1_000))).toEqual([
      { from: seconds(0), to: seconds(60) },
      { from: seconds(160), to: seconds(200) },
    ]);
  });

  it('that was called off before it began never was', () => {
    expect(maintenanceOf(newestFirst([0, 'maintenance_set', `from ${at(60)} until ${at(90)}`], [30, 'maintenance_set', 'ended']), seconds(99))).toEqual([]);
  });

  it('without an end goes on until now', () => {
    expect(maintenanceOf(newestFirst([0, 'created'], [5, 'maintenance_set', 'from now']), seconds(50))).toEqual([{ from: seconds(5), to: seconds(50) }]);
  });
});

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
