// Points of a machine's measurements over time: merging, thinning, gaps, and rates out of counters.
import { share, unixMs } from './format';
import { SLOT_SECONDS } from './poot';
import type { Latest, ResourceMetrics } from './api/types';

const GAUGES = ['cpu', 'cpuLow', 'cpuHigh', 'memory', 'memoryLow', 'memoryHigh', 'disk', 'diskLow', 'diskHigh', 'load', 'loadLow', 'loadHigh', 'celsius', 'celsiusLow', 'celsiusHigh', 'gpu', 'gpuLow', 'gpuHigh', 'gpuMemory'] as const;
const COUNTERS = ['bytesIn', 'bytesOut'] as const;
type Gauge = (typeof GAUGES)[number];
type Counter = (typeof COUNTERS)[number];
const KEYS: readonly (Gauge | Counter)[] = [...GAUGES, ...COUNTERS];

/**
 * One moment. What was not measured is null, and a chart draws nothing there. Shares are in percent; load is the mean of a minute; counters
 * are bytes since the machine's boot; low and high are the least and greatest of a long bucket.
 */
export type Point = { /** Unix seconds. */ t: number; /** Some of it was reported after its time. */ late: boolean; /** Seconds that its counters may be older than its end. */ vague: number } & Record<Gauge | Counter, number | null>;

const NOTHING = Object.fromEntries(KEYS.map((key) => [key, null])) as Record<Gauge | Counter, null>;

export const pointAt = (t: number, known: Partial<Point> = {}): Point => ({ ...NOTHING, late: false, vague: 0, ...known, t });

export function pointOf(m: ResourceMetrics): Point | null {
  const ms = unixMs(m.timestamp);
  if (ms == null) return null;
  const { min, max } = m;
  return pointAt(ms / 1000, {
    late: m.late === true,
    vague: (m.missing ?? 0) * SLOT_SECONDS,
    cpu: m.cpu?.usage_percent ?? null,
    cpuLow: min?.cpu_usage_percent ?? null,
    cpuHigh: max?.cpu_usage_percent ?? null,
    memory: share(m.memory?.used_bytes, m.memory?.total_bytes),
    memoryLow: share(min?.memory_used_bytes, m.memory?.total_bytes),
    memoryHigh: share(max?.memory_used_bytes, m.memory?.total_bytes),
    disk: share(m.disk?.used_bytes, m.disk?.total_bytes),
    diskLow: share(min?.disk_used_bytes, m.disk?.total_bytes),
    diskHigh: share(max?.disk_used_bytes, m.disk?.total_bytes),
    load: m.cpu?.load_average?.[0] ?? null,
    loadLow: min?.load_average ?? null,
    loadHigh: max?.load_average ?? null,
    celsius: m.cpu?.temperature_celsius ?? null,
    celsiusLow: min?.temperature_celsius ?? null,
    celsiusHigh: max?.temperature_celsius ?? null,
    gpu: m.gpu?.usage_percent ?? null,
    gpuLow: min?.gpu_usage_percent ?? null,
    gpuHigh: max?.gpu_usage_percent ?? null,
    gpuMemory: share(m.gpu?.memory_used_bytes, m.gpu?.memory_total_bytes),
    bytesIn: m.network?.total_bytes_in ?? null,
    bytesOut: m.network?.total_bytes_out ?? null,
  });
}

export function pointOfLatest(latest: Latest): Point | null {
  const ms = unixMs(latest.timestamp);
  if (ms == null) return null;
  return pointAt(ms / 1000, {
    cpu: latest.cpu_usage_percent ?? null,
    memory: share(latest.memory_used_bytes, latest.memory_total_bytes),
    disk: share(latest.disk_used_bytes, latest.disk_total_bytes),
    celsius: latest.temperature_celsius ?? null,
    bytesIn: latest.network_bytes_in ?? null,
    bytesOut: latest.network_bytes_out ?? null,
  });
}

/** Two points closer than this are the same report told twice: by an event and by a query. */
const SAME_SECONDS = 1;

/** Adds points in time order; the same moment told twice is one point with what either knew. Drops what is older than `from`. */
export function merge(points: readonly Point[], more: readonly Point[], from: number): Point[] {
  const sorted = [...points, ...more].filter((p) => p.t >= from).sort((a, b) => a.t - b.t);
  const merged: Point[] = [];
  for (const p of sorted) {
    const last = merged.at(-1);
    if (last && p.t - last.t < SAME_SECONDS) {
      const both = KEYS.map((key) => [key, p[key] ?? last[key]]);
      merged[merged.length - 1] = { ...last, ...Object.fromEntries(both), late: last.late || p.late };
    } else {
      merged.push(p);
    }
  }
  return merged;
}

function mean(values: (number | null)[]): number | null {
  const known = values.filter((v) => v != null);
  return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
}

/** One point per `step` seconds, at the start of its bucket: gauges are averaged, of counters the last is kept. */
export function downsample(points: readonly Point[], step: number): Point[] {
  const buckets = new Map<number, Point[]>();
  for (const p of points) {
    const start = Math.floor(p.t / step) * step;
    const bucket = buckets.get(start);
    if (bucket) bucket.push(p);
    else buckets.set(start, [p]);
  }
  return [...buckets].map(([t, ps]) => {
    const bucket = pointAt(t, { late: ps.some((p) => p.late) });
    for (const key of GAUGES) bucket[key] = mean(ps.map((p) => p[key]));
    for (const key of COUNTERS) bucket[key] = ps.findLast((p) => p[key] != null)?.[key] ?? null;
    return bucket;
  });
}

/** Neighbours further apart than this many steps have a gap between them: a report may be late by half a slot. */
export const GAP_STEPS = 1.75;

/** Marks each gap with an empty sample one step after its left edge, so that no line is drawn across it. */
export function withGaps(ts: readonly number[], columns: readonly (readonly (number | null)[])[], step: number) {
  const t: number[] = [];
  const values: (number | null)[][] = columns.map(() => []);
  ts.forEach((at, i) => {
    const before = ts[i - 1];
    if (before !== undefined && at - before > GAP_STEPS * step) {
      t.push(before + step);
      values.forEach((column) => column.push(null));
    }
    t.push(at);
    values.forEach((column, c) => column.push(columns[c]?.[i] ?? null));
  });
  return { t, values };
}

/** A counter whose time is less certain than this part of a step makes no rate. */
const VAGUE_SHARE = 0.1;
const WRAP = 2 ** 32;
/** A counter that wraps goes on at about the pace it had; one that starts again at boot does not. */
const WRAP_PACE = 4;

/**
 * Bytes per second between neighbours, at the later one. Unknown (null) for the first, across gaps, where nobody knows when in its step a count
 * was taken (the next rate goes over that step too), and where the counter went back, unless it went round at 32 bits at an unsurprising pace: an
 * unknown rate is a gap, never a spike.
 */
export function rates(points: readonly Point[], counter: Counter, step: number): (number | null)[] {
  let pace: number | null = null;
  /** The last point whose count has a time. */
  let known: Point | undefined;
  return points.map((p, i) => {
    const before = points[i - 1];
    const seconds = before ? p.t - before.t : 0;
    const [a, b] = [before?.[counter], p[counter]];
    if (a == null || b == null || seconds <= 0 || seconds > GAP_STEPS * step) known = undefined;
    if (p.vague > VAGUE_SHARE * step) {
      if (a != null && b != null && b < a) known = undefined;
      return null;
    }
    const from = known;
    known = p;
    const first = from?.[counter];
    if (from == null || first == null || b == null) return (pace = null);
    const span = p.t - from.t;
    let moved = b - first;
    if (moved < 0) {
      moved += WRAP;
      const wrapped = first < WRAP && pace != null && moved >= 0 && moved / span <= WRAP_PACE * pace;
      if (!wrapped) return (pace = null);
    }
    return (pace = moved / span);
  });
}

/** What the charts draw: one time axis for all of them, and a column for each line. */
export type Columns = { t: number[]; late: boolean[] } & Record<Gauge | 'in' | 'out', (number | null)[]>;

/**
 * Columns of points that lie `step` seconds apart, with gaps. Rates are unknown from `openFrom` on: the counters of a bucket that is not over
 * have not moved for a whole step.
 */
export function columnsOf(points: readonly Point[], step: number, openFrom = Infinity): Columns {
  const closed = (rate: number | null, i: number) => ((points[i]?.t ?? 0) >= openFrom ? null : rate);
  const lateness = points.map((p) => (p.late ? 1 : 0));
  const gauges = GAUGES.map((key) => points.map((p) => p[key]));
  const pace = COUNTERS.map((key) => rates(points, key, step).map(closed));
  const { t, values } = withGaps(points.map((p) => p.t), [lateness, ...gauges, ...pace], step);
  const named = Object.fromEntries([...GAUGES, 'in', 'out'].map((key, i) => [key, values[i + 1] ?? []]));
  return { t, late: (values[0] ?? []).map((late) => late === 1), ...named } as Columns;
}

/** Stretches of neighbours for which it is true, each to the end of its last step. */
export function stretches(t: readonly number[], flags: readonly boolean[], step: number): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = [];
  t.forEach((at, i) => {
    const last = found.at(-1);
    if (!flags[i]) return;
    if (last && flags[i - 1]) last.to = at + step;
    else found.push({ from: at, to: at + step });
  });
  return found;
}

/** Index of the time nearest to `at`; null when there is none. */
export function nearest(t: readonly number[], at: number): number | null {
  if (t.length === 0) return null;
  let [low, high] = [0, t.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((t[middle] ?? 0) < at) low = middle + 1;
    else high = middle;
  }
  const before = t[low - 1];
  return before !== undefined && at - before < (t[low] ?? 0) - at ? low - 1 : low;
}
