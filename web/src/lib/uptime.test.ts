import { describe, expect, it } from 'vitest';
import type { SlotState } from './api/types';
import { calendar, countStates, dayParts, dayWords, observedOf, marksOf, rowStarts, shareText, silences, stripOf, DAY_SLOTS, type Day } from './uptime';

const day = (more: Partial<Day> = {}): Day => ({ date: '2026-10-22', start: '2026-10-22T00:00:00Z', proven: DAY_SLOTS, observed: DAY_SLOTS, accrued: '0', partial: false, ...more });

describe('the strip of a day', () => {
  it('reads every letter, and what it does not know as not observed', () => {
    expect(stripOf({ first_slot: 5, states: 'pmauox-' }, []).states).toEqual(['proven', 'missed', 'attested', 'unobserved', 'pending', 'out', 'unobserved']);
  });

  it('takes newer word about its end and stays a day long', () => {
    const recent = [{ slot: 101, state: 'proven' as SlotState }, { slot: 102, state: 'missed' as SlotState }, { slot: 103, state: 'pending' as SlotState }];
    expect(stripOf({ first_slot: 100, states: 'xoo' }, recent)).toEqual({ first: 100, states: ['out', 'proven', 'missed', 'pending'] });
    const full = stripOf({ first_slot: 0, states: 'p'.repeat(DAY_SLOTS) }, [{ slot: DAY_SLOTS, state: 'missed' }]);
    expect([full.first, full.states.length, full.states.at(-1)]).toEqual([1, DAY_SLOTS, 'missed']);
  });

  it('keeps what only the day knows, and leaves no hole', () => {
    expect(stripOf({ first_slot: 10, states: 'x' }, [{ slot: 10, state: 'unobserved' }, { slot: 11, state: 'pending' }, { slot: 12, state: 'proven' }]).states).toEqual(['out', 'out', 'proven']);
    expect(stripOf({ first_slot: 10, states: 'p' }, [{ slot: 3, state: 'missed' }, { slot: 14, state: 'missed' }]).states).toEqual(['proven']);
  });

  it('counts what adds up to its share', () => {
    const counts = countStates(stripOf({ first_slot: 0, states: 'ppmauox' }, []).states);
    expect(counts).toEqual({ proven: 2, missed: 1, attested: 1, unobserved: 1, pending: 1, out: 1 });
    expect(observedOf(counts)).toBe(4);
    expect(silences(stripOf({ first_slot: 7, states: 'mmpmumm' }, []))).toEqual([{ slot: 7, slots: 2 }, { slot: 10, slots: 1 }, { slot: 12, slots: 2 }]);
  });

  it('says 100 % only of all', () => {
    expect([shareText(2_880, 2_880), shareText(99_999, 100_000), shareText(0, 5), shareText(0, 0)]).toEqual(['100.00 %', '99.99 %', '0.00 %', 'none observed']);
  });

  it('has rows that begin at round times of the zone', () => {
    expect(rowStarts(120, 240, 120, 0)).toEqual([120, 240]);
    expect(rowStarts(130, 240, 120, 0)).toEqual([120, 240, 360]);
    // India is five and a half hours ahead: its hours begin at half hours of UTC.
    expect(rowStarts(120, 120, 120, 330)).toEqual([60, 180]);
  });

  it('draws each slot once, in its row', () => {
    const strip = stripOf({ first_slot: 121, states: 'pmp' }, []);
    expect(marksOf(strip, [120], 120, 'proven')).toBe('M11 0h8v12h-8zM31 0h8v12h-8z');
    expect(marksOf({ ...strip, first: 239 }, [120, 240], 120, 'missed')).toBe('M1 24h8v5h-8z');
  });
});

describe('the strip of a month', () => {
  it('has a place for every day, known or not', () => {
    const days = calendar([day()], Date.parse('2026-10-23T15:00:00Z'), 3);
    expect(days.map((d) => [d.date, d.day?.proven])).toEqual([['2026-10-21', undefined], ['2026-10-22', DAY_SLOTS], ['2026-10-23', undefined]]);
  });

  it('hides no missed slot and is never taller than a day', () => {
    expect(dayParts(day(), 40)).toEqual({ proven: 40, missed: 0 });
    expect(dayParts(day({ proven: DAY_SLOTS - 1 }), 40)).toEqual({ proven: 37, missed: 3 });
    expect(dayParts(day({ proven: 0, observed: 1_440 }), 40)).toEqual({ proven: 0, missed: 20 });
    expect(dayParts(day({ proven: 0, observed: 0 }), 40)).toEqual({ proven: 0, missed: 0 });
  });

  it('says what a day was', () => {
    expect(dayWords(undefined)).toBe('nothing counted: not observed or not in service');
    expect(dayWords(day())).toBe('2880 of 2880 observed slots proven, 100.00 %');
    expect(dayWords(day({ proven: 2_860, observed: 2_870 }))).toBe('2860 of 2870 observed slots proven, 99.65 %; 10 missed (5 min); 10 not counted (5 min)');
    expect(dayWords(day({ proven: 120, observed: 120, partial: true }))).toBe('120 of 120 observed slots proven, 100.00 %; 1 h so far');
  });
});
