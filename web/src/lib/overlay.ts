// The measurements of a pool's members, one line each, over each other.
import { celsius, percent, rate } from './format';

export const METRICS = [
  { value: 'cpu', label: 'CPU' },
  { value: 'memory', label: 'Memory' },
  { value: 'disk', label: 'Disk' },
  { value: 'network_in', label: 'Received' },
  { value: 'network_out', label: 'Sent' },
  { value: 'temperature', label: 'Temperature' },
] as const;
export type Metric = (typeof METRICS)[number]['value'];

export const RANGES = [
  { value: '1h', label: '1 h' },
  { value: '24h', label: '24 h' },
  { value: '7d', label: '7 d' },
  { value: '30d', label: '30 d' },
] as const;
export type Range = (typeof RANGES)[number]['value'];

type Format = (value: number | null | undefined) => string;
const FORMATS: Record<Metric, Format> = {
  cpu: (value) => percent(value, 0),
  memory: (value) => percent(value, 0),
  disk: (value) => percent(value, 0),
  network_in: rate,
  network_out: rate,
  temperature: celsius,
};
export const formatOf = (metric: Metric): Format => FORMATS[metric];
/** Fixed top of the scale; null = as high as the data. */
export const topOf = (metric: Metric): number | null => (['cpu', 'memory', 'disk'].includes(metric) ? 100 : null);

const INKS = 6;
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]] as const;

/** The look of line `index`: every ink with one dash, then every ink with the next. No two of 24 look the same, even without colours. */
export function lookOf(index: number): { ink: number; dash: number[] } {
  return { ink: (index % INKS) + 1, dash: [...(DASHES[(Math.floor(index / INKS) + index) % DASHES.length] ?? [])] };
}

/** Unix seconds of each value. */
export const timesOf = (startSeconds: number, step: number, count: number): number[] => Array.from({ length: count }, (_, i) => startSeconds + i * step);

/** Values of steps that are over: the newest may still go on, and is then of some members only. */
export const closedOnly = <T>(values: readonly T[], endMs: number | null, nowMs: number): (T | null)[] =>
  endMs !== null && endMs > nowMs ? values.map((value, i) => (i === values.length - 1 ? null : value)) : [...values];

/** The newest known value of a line, or the one at `index`. */
export const valueAt = (values: readonly (number | null)[], index: number | null): number | null =>
  (index === null ? values.findLast((value) => value !== null) : values[index]) ?? null;
