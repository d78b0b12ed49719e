// Limits of a node's alerts as a form holds them: a field left empty is inherited.
import type { Thresholds, ThresholdsRequest } from './api/types';

export const METRICS = [
  { key: 'cpu_percent', label: 'CPU', unit: '%' },
  { key: 'memory_percent', label: 'Memory', unit: '%' },
  { key: 'disk_percent', label: 'Disk', unit: '%' },
  { key: 'swap_percent', label: 'Swap', unit: '%' },
  { key: 'temperature_celsius', label: 'Temperature', unit: '°C' },
] as const;
export const LEVELS = ['warning', 'critical'] as const;

export type Draft = Record<string, string>;

/** What the node sets itself; what it inherits is left empty. */
export function draftOf(view: Thresholds): Draft {
  const own = (of: { from: string }, value: number) => (of.from === 'node' ? String(value) : '');
  return {
    ...Object.fromEntries(METRICS.flatMap(({ key }) => LEVELS.map((level) => [`${key}.${level}`, own(view[key], view[key][level])]))),
    duration_seconds: own(view.duration, view.duration.seconds),
    hysteresis: own(view.hysteresis, view.hysteresis.points),
  };
}

/** What the texts ask for, or what is no number. Whether the numbers will do, the manager says. */
export function requestOf(draft: Draft): { wrong: Record<string, string> } | { body: ThresholdsRequest } {
  const wrong: Record<string, string> = {};
  const number = (field: string): number | null => {
    const typed = (draft[field] ?? '').trim();
    if (typed === '') return null;
    if (!(field === 'duration_seconds' ? /^\d{1,9}$/ : /^\d{1,9}(\.\d+)?$/).test(typed)) wrong[field] = field === 'duration_seconds' ? 'must be a whole number' : 'must be a number';
    return Number(typed);
  };
  const body: ThresholdsRequest = { duration_seconds: number('duration_seconds'), hysteresis: number('hysteresis') };
  for (const { key } of METRICS) {
    const [warning, critical] = [number(`${key}.warning`), number(`${key}.critical`)];
    if (warning !== null && critical !== null) body[key] = { warning, critical };
    else if (warning !== critical) wrong[`${key}.${warning === null ? 'warning' : 'critical'}`] ??= 'must be given too';
  }
  return Object.keys(wrong).length > 0 ? { wrong } : { body };
}
