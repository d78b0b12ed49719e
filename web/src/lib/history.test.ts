import { describe, expect, it } from 'vitest';
import { cells, cellText, marks, most } from './history';

const HOUR = 3_600_000;
const T = Date.parse('2026-11-20T12:00:00Z');
const point = (hour: number, valid: number, epochs = 12, gap_epochs = 0) => ({
  at: new Date(T + hour * HOUR).toISOString(),
  end: new Date(T + (hour + 1) * HOUR).toISOString(),
  nodes: valid,
  valid,
  pending: 0,
  invalid: 0,
  epochs,
  gap_epochs,
});

describe('cells', () => {
  const list = cells([point(0, 3), point(1, 0, 0, 12), point(3, 4, 11, 1)], '7d');
  it('fill the range and end with the last point', () => {
    expect(list).toHaveLength(168);
    expect(list.at(-1)?.startMs).toBe(T + 3 * HOUR);
    expect(list[0]?.startMs).toBe(T + (3 - 167) * HOUR);
  });
  it('tell gaps from stretches without any epoch', () => {
    expect(list.slice(-4).map((c) => c.kind)).toEqual(['told', 'gap', 'none', 'told']);
    expect(list[0]?.kind).toBe('none');
  });
  it('are none without points', () => expect(cells([], '24h')).toEqual([]));
  it('are bounded whatever the answer says', () => {
    const tiny = { ...point(0, 1), end: new Date(T + 1).toISOString() };
    expect(cells([tiny], '90d').length).toBeLessThanOrEqual(400);
  });
  it('have a scale that is never zero', () => {
    expect(most([])).toBe(1);
    expect(most(list)).toBe(4);
  });
});

describe('words', () => {
  const list = cells([point(0, 3), point(1, 0, 0, 12), point(3, 4, 11, 1)], '7d').slice(-4);
  it('say what was not observed', () => {
    expect(cellText(list[1]!)).toContain('the manager was away, 12 epochs not observed');
    expect(cellText(list[2]!)).toContain('no epoch');
    expect(cellText(list[3]!)).toContain('4 valid, 0 pending, 0 invalid, 1 epoch not observed');
  });
  it('mark four places', () => expect(marks(list, '24h')).toHaveLength(4));
});
