// Limits of the alerts of a node, or of a pool's nodes, as a form holds them: a field left empty is inherited.
import type { Thresholds, ThresholdsRequest } from './api/types';

export const METRICS = [
  { key: 'cpu_percent', label: 'CPU', unit: '%' },
  { key: 'memory_percent', label: 'Memory', unit: '%' },
  { key: 'disk_percent', label: 'Disk', unit: '%' },
  { key: 'swap_percent', label: 'Swap', unit: '%' },
  { key: 'temperature_celsius', label: 'Temperature', unit: '°C' },
] as const;

export type Origin = Thresholds['duration']['from'];
export type Input = { key: string; label: string; hint: string };

/** Every value with its field: its text where it is set here, empty where it is inherited, and then what is in force in the hint. */
export function formOf(view: Thresholds, here: Origin): { fields: Input[]; draft: Record<string, string> } {
  const fields: Input[] = [];
  const draft: Record<string, string> = {};
  const add = (key: string, label: string, unit: string, value: number, { from }: { from: string }) => {
    draft[key] = from === here ? String(value) : '';
    fields.push({ key, label, hint: from === here ? unit : `Now ${value} ${unit}` });
  };
  for (const { key, label, unit } of METRICS) {
    for (const level of ['warning', 'critical'] as const) add(`${key}.${level}`, `${label}, ${level}`, unit, view[key][level], view[key]);
  }
  add('duration_seconds', 'Held for', 'seconds', view.duration.seconds, view.duration);
  add('hysteresis', 'Over when below by', 'points', view.hysteresis.points, view.hysteresis);
  return { fields, draft };
}

/** What the texts ask for, or what is no number. Whether the numbers will do, the manager says. */
export function requestOf(draft: Record<string, string>): { wrong: Record<string, string> } | { body: ThresholdsRequest } {
  const wrong: Record<string, string> = {};
  const number = (field: string): number | null => {
    const typed = draft[field]?.trim();
    if (!typed) return null;
    if (!/^\d{1,9}(\.\d+)?$/.test(typed)) wrong[field] = 'must be a number';
    return Number(typed);
  };
  const body: ThresholdsRequest = { duration_seconds: number('duration_seconds'), hysteresis: number('hysteresis') };
  if ((body.duration_seconds ?? 0) % 1) wrong.duration_seconds = 'must be a whole number';
  for (const { key } of METRICS) {
    const [warning, critical] = [number(`${key}.warning`), number(`${key}.critical`)];
    if (warning !== null && critical !== null) body[key] = { warning, critical };
    else if (warning !== critical) wrong[`${key}.${warning === null ? 'warning' : 'critical'}`] = 'must be given too';
  }
  return Object.keys(wrong).length > 0 ? { wrong } : { body };
}
