import { expect, it } from 'vitest';
import type { Thresholds } from './api/types';
import { formOf, requestOf } from './thresholds';

const inherited = { warning: 85, critical: 95, from: 'default' as const };
const view: Thresholds = {
  cpu_percent: { warning: 70, critical: 90.5, from: 'node' },
  memory_percent: { warning: 80, critical: 90, from: 'pool' },
  disk_percent: inherited,
  swap_percent: inherited,
  temperature_celsius: inherited,
  duration: { seconds: 300, from: 'default' },
  hysteresis: { points: 2.5, from: 'node' },
};

it('fills in what the node sets, and asks for the same again', () => {
  const { draft, fields } = formOf(view, 'node');
  expect(fields.slice(1, 3)).toEqual([
    { key: 'cpu_percent.critical', label: 'CPU, critical', hint: '%' },
    { key: 'memory_percent.warning', label: 'Memory, warning', hint: 'Now 80 %' },
  ]);
  expect([draft['cpu_percent.critical'], draft['memory_percent.warning'], draft.duration_seconds, draft.hysteresis]).toEqual(['90.5', '', '', '2.5']);
  expect(requestOf(draft)).toEqual({ body: { cpu_percent: { warning: 70, critical: 90.5 }, duration_seconds: null, hysteresis: 2.5 } });
});

it('of a pool, what a node sets is not its own', () => {
  const { draft } = formOf({ ...view, swap_percent: { warning: 20, critical: 30, from: 'pool' } }, 'pool');
  expect([draft['cpu_percent.warning'], draft['memory_percent.warning'], draft['swap_percent.critical'], draft.hysteresis]).toEqual(['', '80', '30', '']);
});

it('wants both limits of a metric, and numbers', () => {
  expect(requestOf({ 'cpu_percent.warning': '70', 'swap_percent.critical': '0', 'swap_percent.warning': 'x', duration_seconds: '1.5', hysteresis: '' })).toEqual({
    wrong: { 'cpu_percent.critical': 'must be given too', 'swap_percent.warning': 'must be a number', duration_seconds: 'must be a whole number' },
  });
});

it('is empty when everything is inherited', () => {
  expect(requestOf({})).toEqual({ body: { duration_seconds: null, hysteresis: null } });
});
