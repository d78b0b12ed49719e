// Maintenance of a node: when, how long, and what became of it. Values in, texts and requests out.
import { spans } from './alerts';
import type { MaintenancePeriod, MaintenanceRequest } from './api/types';
import { instant } from './audit';
import { unixMs } from './format';
import type { Span } from './ranges';

/** Of a node in any seven days. */
const MOST_MINUTES = 480;
const HOUR_MS = 3_600_000;

export const minutesText = (minutes: number): string => spans(minutes * 60);

const LOOK: Record<MaintenancePeriod['state'], { tone: string; text: string }> = {
  planned: { tone: 'info', text: 'planned' },
  in_force: { tone: 'warn', text: 'in force' },
  over: { tone: 'idle', text: 'over' },
  called_off: { tone: 'idle', text: 'called off' },
};
export const periodLook = (state: MaintenancePeriod['state']) => LOOK[state] ?? { tone: 'idle', text: state };

/** It can still be ended or called off. */
export const isAhead = ({ state }: Pick<MaintenancePeriod, 'state'>): boolean => state === 'planned' || state === 'in_force';

/** Stretches in unix seconds, as they were or are planned, in order of time. */
export const spansOf = (periods: readonly Pick<MaintenancePeriod, 'state' | 'from' | 'until' | 'ended_at'>[]): Span[] =>
  periods
    .filter(({ state }) => state !== 'called_off')
    .map(({ from, until, ended_at }) => ({ from: (unixMs(from) ?? 0) / 1_000, to: (unixMs(ended_at ?? until) ?? 0) / 1_000 }))
    .sort((a, b) => a.from - b.from);

/** `soon`: with the next slot for an admin, in an hour for others. */
export type Begin = 'soon' | 'hour' | 'at';
export const beginsOf = (admin: boolean): { value: Begin; label: string }[] => [
  ...(admin ? [{ value: 'soon' as const, label: 'Now' }] : []),
  { value: admin ? 'hour' : 'soon', label: 'In an hour' },
  { value: 'at', label: 'At a time' },
];

/** What is asked for, or what is wrong about it. `at` is a time of the browser's own. Whether it fits, the manager says. */
export function requestOf(begin: Begin, at: string, minutes: string, nowMs: number): { wrong: Record<string, string> } | { body: MaintenanceRequest } {
  const wrong: Record<string, string> = {};
  const duration_minutes = Number(minutes);
  if (!Number.isInteger(duration_minutes) || duration_minutes < 1 || duration_minutes > MOST_MINUTES) wrong.duration_minutes = `must be a whole number from 1 to ${MOST_MINUTES}`;
  const from = begin === 'at' ? instant(at) : new Date(nowMs + HOUR_MS).toISOString();
  if (from === '') wrong.from = 'must be a time';
  if (Object.keys(wrong).length > 0) return { wrong };
  return { body: { duration_minutes, ...(begin !== 'soon' && { from }) } };
}
