// Which stretch of time the charts of a node show, and in how fine points. All in unix seconds, as the address keeps it.
import type { Granularity } from './api/types';

export type Range = { name: string; label: string; words: string; seconds: number };
export type Span = { from: number; to: number };
export type Points = { granularity: Granularity; step: number };

const HOUR = 3_600;
const DAY = 24 * HOUR;

export const RANGES = [
  { name: '1h', label: '1 h', words: 'hour', seconds: HOUR },
  { name: '12h', label: '12 h', words: '12 hours', seconds: 12 * HOUR },
  { name: '24h', label: '24 h', words: '24 hours', seconds: DAY },
  { name: '7d', label: '7 d', words: '7 days', seconds: 7 * DAY },
  { name: '30d', label: '30 d', words: '30 days', seconds: 30 * DAY },
  { name: '90d', label: '90 d', words: '90 days', seconds: 90 * DAY },
] as const satisfies readonly Range[];

export const rangeOf = (name: string | null): Range => RANGES.find((range) => range.name === name) ?? RANGES[0];

const GRANULARITIES: readonly Points[] = [
  { granularity: '30s', step: 30 },
  { granularity: '1m', step: 60 },
  { granularity: '5m', step: 300 },
  { granularity: '15m', step: 900 },
  { granularity: '1h', step: HOUR },
  { granularity: '3h', step: 3 * HOUR },
  { granularity: '6h', step: 6 * HOUR },
];
/** More points than a chart has columns of pixels only cost time. */
export const MOST_POINTS = 720;

/** Seconds from point to point. */
export const stepOf = (of: Granularity): number => GRANULARITIES.find(({ granularity }) => granularity === of)?.step ?? HOUR;

/** The finest points of which a chart of so many seconds has at most 720. */
export function pointsFor(seconds: number): Points {
  const fits = GRANULARITIES.find(({ step }) => seconds / step <= MOST_POINTS);
  return fits ?? { granularity: '6h', step: 6 * HOUR };
}

/** A closer look than ten slots shows nothing more. */
export const LEAST_SECONDS = 300;
/** As long as anything is kept. */
const MOST_SECONDS = 400 * DAY;

/** Keeps a span between the shortest and the longest look, and out of the future. */
export function fitted({ from, to }: Span, now: number): Span {
  const seconds = Math.min(MOST_SECONDS, Math.max(LEAST_SECONDS, Math.round(to - from)));
  const middle = (from + to) / 2;
  const end = Math.round(Math.max(now - MOST_SECONDS + seconds, Math.min(now, middle + seconds / 2)));
  return { from: end - seconds, to: end };
}

/** `factor` below 1 looks closer, above 1 wider, around `at` or the middle, which stays where it is. */
export function zoomed({ from, to }: Span, factor: number, now: number, at = (from + to) / 2): Span {
  const middle = Math.min(to, Math.max(from, at));
  return fitted({ from: middle - (middle - from) * factor, to: middle + (to - middle) * factor }, now);
}

/** Moves by a share of its length; negative is earlier. */
export function moved({ from, to }: Span, share: number, now: number): Span {
  const by = (to - from) * share;
  return fitted({ from: from + by, to: to + by }, now);
}

const written = (seconds: number): string => new Date(seconds * 1_000).toISOString().replace('.000Z', 'Z');

/** As the address keeps it: times that a person can read, and that mean the same to everybody it is sent to. */
export const spanText = ({ from, to }: Span): { from: string; to: string } => ({ from: written(from), to: written(to) });

/** None when either end is missing, is no time, or both are in the wrong order. */
export function spanOf(from: string | null, to: string | null): Span | null {
  const [a, b] = [from, to].map((text) => Math.round(Date.parse(text ?? '') / 1_000)) as [number, number];
  return Number.isFinite(a) && Number.isFinite(b) && b - a >= LEAST_SECONDS && b - a <= MOST_SECONDS ? { from: a, to: b } : null;
}
