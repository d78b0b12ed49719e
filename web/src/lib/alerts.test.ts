import { expect, it } from 'vitest';
import { lasted, mayAcknowledge, spans, stateTone, subjectPath, subjectText } from './alerts';

it('leads to what an alert is about', () => {
  expect(['node_0192', 'pool_default', 'payout_1', 'user_1', ''].map((subject) => subjectPath(subject))).toEqual(['/nodes/node_0192', '/pools/pool_default', '/payouts/payout_1', undefined, undefined]);
  expect([subjectPath('', 'storage_high'), subjectPath('core.redb', 'storage_io_error'), subjectPath('', 'backup_overdue'), subjectPath('', 'clock_untrusted'), subjectPath('', 'replication_second')]).toEqual(['/storage', '/storage', '/storage', undefined, '/replication']);
});

it('names what there is no name of', () => {
  const of = (subject: string, kind = 'storage_high') => subjectText({ subject, kind });
  expect(subjectText({ subject: 'node_1', subject_name: 'attic', kind: '' })).toBe('attic');
  expect([of('node_1'), of('payout_1'), of(''), of('core.redb'), of('', 'replication_behind')]).toEqual(['deleted', 'the payout', 'Storage', 'Storage', 'Replication']);
});

it('wants to be seen once, until it gets worse or is over', () => {
  const seen = '2026-11-21T02:00:00Z';
  expect([mayAcknowledge({ state: 'open' }), mayAcknowledge({ state: 'unknown' }), mayAcknowledge({ state: 'unknown', acknowledged_at: seen })]).toEqual([true, true, false]);
  expect([mayAcknowledge({ state: 'acknowledged', acknowledged_at: seen }), mayAcknowledge({ state: 'resolved' })]).toEqual([false, false]);
  expect(stateTone('muted' as 'open')).toBe('idle');
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
