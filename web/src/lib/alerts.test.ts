import { expect, it } from 'vitest';
import { alertTitle, lasted, spans, subjectOf } from './alerts';

it('names kinds, and those it does not know too', () => {
  expect(alertTitle('fingerprint_drift')).toBe('Hardware changed');
  expect(alertTitle('store_nearly_full')).toBe('Store nearly full');
});

it('leads to what an alert is about', () => {
  expect(subjectOf('node_1')?.href).toBe('/nodes/node_1');
  expect(subjectOf('payout_1')?.href).toBe('/payouts/payout_1');
  expect(subjectOf('')).toBeNull();
});

it('tells durations by their two largest units', () => {
  expect([0, 59, 60, 3_599, 3_600, 3_660, 86_400, 90_000, 86_459, -5].map(spans)).toEqual([
    '0 s', '59 s', '1 min', '59 min', '1 h', '1 h 1 min', '1 d', '1 d 1 h', '1 d', '0 s',
  ]);
});

it('counts an open alert up to now and a resolved one to its end', () => {
  const raised_at = '2026-11-21T02:00:00Z';
  const now = Date.parse('2026-11-21T05:30:00Z');
  expect(lasted({ raised_at, resolved_at: null }, now)).toBe('3 h 30 min');
  expect(lasted({ raised_at, resolved_at: '2026-11-21T02:10:00Z' }, now)).toBe('10 min');
});
