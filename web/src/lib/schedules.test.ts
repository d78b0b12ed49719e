import { describe, expect, it } from 'vitest';
import type { Schedule } from './api/types';
import { draftOf, lastText, requestOf, switched, whatText } from './schedules';

const by = { id: 'user_1', name: 'ada' };
const monthly: Schedule = { schedule_id: 's', name: 'Monthly', what: 'all_due', cron: '0 6 1 * *', timezone: 'Europe/Berlin', enabled: true, priority: 'high', created_at: 'c', updated_at: 'u', changed_by: by, next_runs: [], runs: [] };
const listed: Schedule = { ...monthly, what: 'listed', at: '2026-12-20T06:00:30Z', cron: null, timezone: null, payout_requests: [{ node_id: 'node_1', amount: '5.000000', currency: 'USDT', priority: 'low' }] };

describe('a schedule as it is sent', () => {
  it('is whole, and keeps what nobody is asked for', () => {
    expect(requestOf({ ...draftOf(monthly, 'UTC'), name: ' Each month ', least: '5' }, monthly)).toEqual({ name: 'Each month', what: 'all_due', enabled: true, priority: 'high', cron: '0 6 1 * *', timezone: 'Europe/Berlin', min_amount: '5' });
  });

  it('names a time zone only with a rule, a pool only with a pool', () => {
    const draft = { ...draftOf(undefined, 'UTC'), name: 'n', what: 'pool' as const, poolId: 'pool_1', once: true, at: '2026-12-20T06:00' };
    expect(Object.keys(requestOf(draft, undefined)).sort()).toEqual(['at', 'enabled', 'name', 'pool_id', 'priority', 'what']);
  });

  it('is paused and goes on at exactly the moment it had', () => {
    expect(switched(monthly)).toMatchObject({ enabled: false, cron: monthly.cron });
    expect(switched(listed)).toMatchObject({ enabled: false, at: '2026-12-20T06:00:30Z', payout_requests: listed.payout_requests });
  });
});

it('is told in words', () => {
  expect(whatText(monthly, undefined)).toBe('every node that is owed the threshold');
  expect(whatText({ what: 'pool', min_amount: '5.000000' }, 'rack')).toBe('every node of rack that is owed at least 5.00 USDT');
  expect(whatText(listed, undefined)).toBe('1 listed payouts');
  expect(lastText([])).toBe('has not run yet');
});
