import { describe, expect, it } from 'vitest';
import { columnsOf, downsample, merge, nearest, pointAt as point, pointOf, pointOfLatest, rates, stretches, withGaps, type Point } from './series';

const STEP = 30;
const counters = (...values: (number | null)[]): Point[] => values.map((bytesIn, i) => point(i * STEP, { bytesIn }));

describe('gaps', () => {
  it('leaves neighbours alone and breaks the line once where slots are missing', () => {
    const { t, values } = withGaps([0, 30, 120, 150], [[1, 2, 3, 4]], STEP);
    expect(t).toEqual([0, 30, 60, 120, 150]);
    expect(values).toEqual([[1, 2, null, 3, 4]]);
  });

  it('takes a late report for late, and one missing slot for a gap', () => {
    expect(withGaps([0, 52], [[1, 2]], STEP).t).toEqual([0, 52]);
    expect(withGaps([0, 53], [[1, 2]], STEP).t).toEqual([0, 30, 53]);
    expect(withGaps([0, 60], [[1, 2]], STEP).t).toEqual([0, 30, 60]);
  });

  it('breaks every line of a chart and stays in order', () => {
    const { t, values } = withGaps([0, 90, 300], [[1, null, 3], [4, 5, 6]], STEP);
    expect(t).toEqual([...t].sort((a, b) => a - b));
    expect(values).toEqual([
      [1, null, null, null, 3],
      [4, null, 5, null, 6],
    ]);
  });

  it('has nothing to say about nothing', () => {
    expect(withGaps([], [[]], STEP)).toEqual({ t: [], values: [[]] });
  });
});

describe('merging', () => {
  it('joins what an event and a query say about one moment', () => {
    const merged = merge([point(60, { cpu: 5 })], [point(60.4, { bytesIn: 7 }), point(30)], 0);
    expect(merged).toEqual([point(30), point(60, { cpu: 5, bytesIn: 7 })]);
  });

  it('drops what has left the window and never repeats itself', () => {
    const points = [point(0), point(30), point(60)];
    expect(merge(points, points, 30).map((p) => p.t)).toEqual([30, 60]);
  });

  it('does not make a point of a broken time', () => {
    expect(pointOf({ node_id: 'node_a', timestamp: 'x' })).toBeNull();
    expect(pointOfLatest({ timestamp: '' })).toBeNull();
  });

  it('makes the same point of an event and of a query', () => {
    const timestamp = '1970-01-01T00:01:00Z';
    const memory = { used_bytes: 1, total_bytes: 4 };
    const expected = point(60, { memory: 25, bytesIn: 9 });
    expect(pointOf({ node_id: 'node_a', timestamp, memory, network: { total_bytes_in: 9 } })).toEqual(expected);
    expect(pointOfLatest({ timestamp, memory_used_bytes: 1, memory_total_bytes: 4, network_bytes_in: 9 })).toEqual(expected);
  });
});

describe('downsampling', () => {
  it('averages gauges over what is known and keeps the last counter', () => {
    const points = [
      point(300, { cpu: 10, bytesIn: 100 }),
      point(330, { cpu: 20, bytesIn: 150 }),
      point(599, { bytesIn: null }),
      point(600, { cpu: 50, bytesIn: 400 }),
    ];
    expect(downsample(points, 300)).toEqual([point(300, { cpu: 15, bytesIn: 150 }), point(600, { cpu: 50, bytesIn: 400 })]);
  });

  it('invents no bucket where nothing was heard', () => {
    expect(downsample([point(0), point(1_000)], 300).map((p) => p.t)).toEqual([0, 900]);
  });

  it('agrees with a naive mean on random series', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      let state = seed;
      const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
      const points = Array.from({ length: 200 }, (_, i) => point(i * STEP + Math.floor(next() * 29), { cpu: next() < 0.2 ? null : next() * 100 }));
      for (const bucket of downsample(points, 300)) {
        const inside = points.filter((p) => p.t >= bucket.t && p.t < bucket.t + 300).flatMap((p) => p.cpu ?? []);
        const expected = inside.length === 0 ? null : inside.reduce((a, b) => a + b) / inside.length;
        if (expected === null) expect(bucket.cpu, `seed ${seed}`).toBeNull();
        else expect(bucket.cpu, `seed ${seed}`).toBeCloseTo(expected, 9);
      }
    }
  });
});

describe('rates', () => {
  it('are differences over time, unknown for the first', () => {
    expect(rates(counters(0, 300, 900), 'bytesIn', STEP)).toEqual([null, 10, 20]);
  });

  it('are unknown across a gap and beside what is absent', () => {
    const points = [point(0, { bytesIn: 0 }), point(30, { bytesIn: 300 }), point(120, { bytesIn: 600 }), point(150, { bytesIn: 900 })];
    expect(rates(points, 'bytesIn', STEP)).toEqual([null, 10, null, 10]);
    expect(rates(counters(0, null, 300, 600), 'bytesIn', STEP)).toEqual([null, null, null, 10]);
  });

  it('are unknown, not huge, when the machine restarted', () => {
    expect(rates(counters(5_000_000, 5_000_300, 200, 500), 'bytesIn', STEP)).toEqual([null, 10, null, 10]);
    expect(rates(counters(3_500_000_000, 3_500_000_300, 1_000_000), 'bytesIn', STEP)).toEqual([null, 10, null]);
    expect(rates(counters(2 ** 40, 2 ** 40 + 300, 10), 'bytesIn', STEP)).toEqual([null, 10, null]);
  });

  it('are unknown where nobody knows when a count was taken, and then go over that step too', () => {
    const hours = (...counts: [number, number][]) => counts.map(([bytesIn, missing], i) => point(i * 3600, { bytesIn, vague: missing * 30 }));
    expect(rates(hours([0, 0], [7_200, 0], [9_000, 60], [21_600, 0], [28_800, 0]), 'bytesIn', 3600)).toEqual([null, 2, null, 2, 2]);
    expect(rates(hours([0, 0], [7_200, 12], [14_400, 0]), 'bytesIn', 3600)).toEqual([null, 2, 2]);
    expect(rates(hours([0, 60], [7_200, 0], [14_400, 0]), 'bytesIn', 3600)).toEqual([null, null, 2]);
    // Started anew in an hour that lacks samples: what comes after is no rate with what was before, though it is more.
    expect(rates(hours([7_200, 0], [100, 60], [9_000, 0], [16_200, 0]), 'bytesIn', 3600)).toEqual([null, null, null, 2]);
  });

  it('go on when a 32-bit counter goes round at its usual pace', () => {
    const top = 2 ** 32;
    expect(rates(counters(top - 900, top - 300, 300), 'bytesIn', STEP)).toEqual([null, 20, 20]);
  });
});

it('a long bucket has a band, its memory as a share of the whole', () => {
  const extremes = { min: { cpu_usage_percent: 2, memory_used_bytes: 10, temperature_celsius: 40 }, max: { cpu_usage_percent: 90, memory_used_bytes: 30, temperature_celsius: 81 } };
  const bucket = pointOf({ node_id: 'node_a', timestamp: '1970-01-01T00:01:00Z', late: true, missing: 3, memory: { used_bytes: 20, total_bytes: 40 }, ...extremes });
  expect(bucket).toEqual(point(60, { late: true, vague: 90, cpuLow: 2, cpuHigh: 90, memory: 50, memoryLow: 25, memoryHigh: 75, celsiusLow: 40, celsiusHigh: 81 }));
});

describe('columns', () => {
  it('put every line on one time axis, with its gaps', () => {
    const { t, cpu, in: ins, late } = columnsOf([point(0, { cpu: 1, bytesIn: 0 }), point(30, { cpu: 2, bytesIn: 300, late: true }), point(120, { cpu: 3, bytesIn: 600 })], STEP);
    expect(t).toEqual([0, 30, 60, 120]);
    expect(cpu).toEqual([1, 2, null, 3]);
    expect(ins).toEqual([null, 10, null, null]);
    expect(late).toEqual([false, true, false, false]);
  });

  it('know no rate of a bucket that is not over', () => {
    expect(columnsOf(counters(0, 300, 310), STEP, 60).in).toEqual([null, 10, null]);
  });

  it('show late stretches to their end', () => {
    expect(stretches([0, 30, 60, 90, 120], [true, true, false, false, true], STEP)).toEqual([{ from: 0, to: 60 }, { from: 120, to: 150 }]);
    expect(stretches([], [], STEP)).toEqual([]);
  });

  it('are found by the nearest time', () => {
    const t = [0, 30, 90];
    expect([-5, 14, 16, 61, 500].map((at) => nearest(t, at))).toEqual([0, 0, 1, 2, 2]);
    expect(nearest([], 1)).toBeNull();
  });
});
