// Points of a machine's measurements over time: merging, thinning, gaps, and rates out of counters.
import { share, unixMs } from './format';
import type { Latest, ResourceMetrics } from './api/types';

/** One moment. What was not measured is null, and a chart draws nothing there. */
export type Point = {
  /** Unix seconds. */
  t: number;
  cpuPercent: number | null;
  memoryPercent: number | null;
  /** Counters since the machine's boot, in bytes. */
  bytesIn: number | null;
  bytesOut: number | null;
};

export function pointOf(m: ResourceMetrics): Point | null {
  const ms = unixMs(m.timestamp);
  if (ms == null) return null;
  return {
    t: ms / 1000,
    cpuPercent: m.cpu?.usage_percent ?? null,
    memoryPercent: share(m.memory?.used_bytes, m.memory?.total_bytes),
    bytesIn: m.network?.total_bytes_in ?? null,
    bytesOut: m.network?.total_bytes_out ?? null,
  };
}

export function pointOfLatest(latest: Latest): Point | null {
  const ms = unixMs(latest.timestamp);
  if (ms == null) return null;
  return {
    t: ms / 1000,
    cpuPercent: latest.cpu_usage_percent ?? null,
    memoryPercent: share(latest.memory_used_bytes, latest.memory_total_bytes),
    bytesIn: latest.network_bytes_in ?? null,
    bytesOut: latest.network_bytes_out ?? null,
  };
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
      merged[merged.length - 1] = {
        t: last.t,
        cpuPercent: p.cpuPercent ?? last.cpuPercent,
        memoryPercent: p.memoryPercent ?? last.memoryPercent,
        bytesIn: p.bytesIn ?? last.bytesIn,
        bytesOut: p.bytesOut ?? last.bytesOut,
      };
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
  return [...buckets].map(([t, ps]) => ({
    t,
    cpuPercent: mean(ps.map((p) => p.cpuPercent)),
    memoryPercent: mean(ps.map((p) => p.memoryPercent)),
    bytesIn: ps.findLast((p) => p.bytesIn != null)?.bytesIn ?? null,
    bytesOut: ps.findLast((p) => p.bytesOut != null)?.bytesOut ?? null,
  }));
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

const WRAP = 2 ** 32;
/** A counter that wraps goes on at about the pace it had; one that starts again at boot does not. */
const WRAP_PACE = 4;

/**
 * Bytes per second between neighbours, at the later one. Unknown (null) for the first, across gaps, and where the counter went back,
 * unless it went round at 32 bits at an unsurprising pace: an unknown rate is a gap, never a spike.
 */
export function rates(points: readonly Point[], counter: 'bytesIn' | 'bytesOut', step: number): (number | null)[] {
  let pace: number | null = null;
  return points.map((p, i) => {
    const before = points[i - 1];
    const [a, b] = [before?.[counter], p[counter]];
    const seconds = before ? p.t - before.t : 0;
    if (a == null || b == null || seconds <= 0 || seconds > GAP_STEPS * step) return (pace = null);
    let moved = b - a;
    if (moved < 0) {
      moved += WRAP;
      const wrapped = a < WRAP && pace != null && moved >= 0 && moved / seconds <= WRAP_PACE * pace;
      if (!wrapped) return (pace = null);
    }
    return (pace = moved / seconds);
  });
}
