import { describe, expect, it } from 'vitest';
import { fitted, LEAST_SECONDS, moved, MOST_POINTS, pointsFor, RANGES, rangeOf, spanOf, spanText, stepOf, zoomed } from './ranges';

const NOW = 1_790_000_000;

describe('ranges', () => {
  it('have points as fine as a chart can show', () => {
    expect(RANGES.map(({ seconds }) => pointsFor(seconds).granularity)).toEqual(['30s', '1m', '5m', '15m', '1h', '3h']);
    for (const { seconds } of RANGES) expect(seconds / pointsFor(seconds).step).toBeLessThanOrEqual(MOST_POINTS);
    expect(pointsFor(6 * 3_600)).toEqual({ granularity: '30s', step: 30 });
    expect(pointsFor(1e9).granularity).toBe('6h');
    expect((['30s', '15m', '3h'] as const).map(stepOf)).toEqual([30, 900, 10_800]);
  });

  it('fall back to the hour', () => {
    expect(rangeOf('30d').seconds).toBe(2_592_000);
    expect([rangeOf(null).name, rangeOf('5y').name]).toEqual(['1h', '1h']);
  });
});

describe('zoom', () => {
  it('comes back from the address as it went in', () => {
    const span = { from: NOW - 7_200, to: NOW - 3_600 };
    const { from, to } = spanText(span);
    expect(from).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(spanOf(from, to)).toEqual(span);
  });

  it('is none when the address is wrong', () => {
    const { from, to } = spanText({ from: NOW - 7_200, to: NOW });
    for (const [a, b] of [[null, to], [from, null], ['yesterday', to], [to, from], [from, from]] as const) expect(spanOf(a, b)).toBeNull();
  });

  it('halves around the middle or the crosshair, which keeps its place', () => {
    const span = { from: NOW - 8_000, to: NOW - 4_000 };
    expect(zoomed(span, 0.5, NOW)).toEqual({ from: NOW - 7_000, to: NOW - 5_000 });
    expect(zoomed(span, 0.5, NOW, NOW - 7_000)).toEqual({ from: NOW - 7_500, to: NOW - 5_500 });
  });

  it('never looks into the future nor closer than ten slots', () => {
    expect(zoomed({ from: NOW - 4_000, to: NOW }, 2, NOW)).toEqual({ from: NOW - 8_000, to: NOW });
    const close = fitted({ from: NOW - 20, to: NOW - 10 }, NOW);
    expect(close.to - close.from).toBe(LEAST_SECONDS);
    expect(close.to).toBeLessThanOrEqual(NOW);
    expect(moved({ from: NOW - 4_000, to: NOW - 1_000 }, 0.5, NOW)).toEqual({ from: NOW - 3_000, to: NOW });
    expect(moved({ from: NOW - 4_000, to: NOW - 1_000 }, -0.5, NOW)).toEqual({ from: NOW - 5_500, to: NOW - 2_500 });
  });
});
