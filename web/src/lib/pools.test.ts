import { describe, expect, it } from 'vitest';
import type { Pool } from './api/types';
import { alertsText, blamed, draftOf, healthText, limitsText, membersText, priceChanged, requestOf, scalingText } from './pools';

const pool: Pool = {
  pool_id: 'pool_lab',
  name: 'lab',
  description: 'Boards of the lab',
  node_count: 3,
  max_nodes: 50,
  health: { state: 'healthy', healthy_nodes: 3, total: 3, ratio: 1, open_alerts: { critical: 0, warning: 0, info: 0 } },
  auto_scaling: false,
  outputs_expected: false,
  pricing: { cost_per_hour: '0.070000', reward_per_hour: '0.060000', currency: 'USDT' },
  created_at: '2026-11-01T00:00:00Z',
  updated_at: '2026-11-01T00:00:00Z',
};
const body = (draft: ReturnType<typeof draftOf>, of: Pool | undefined) => {
  const asked = requestOf(draft, of);
  if (!('body' in asked)) throw new Error(JSON.stringify(asked.wrong));
  return asked.body;
};
const wrong = (draft: ReturnType<typeof draftOf>) => {
  const asked = requestOf(draft, pool);
  return 'wrong' in asked ? asked.wrong : {};
};

describe('a pool in a form', () => {
  it('asks for no new price when the price was not touched', () => {
    expect(body(draftOf(pool), pool)).toEqual({ name: 'lab', description: 'Boards of the lab', max_nodes: 50, auto_scaling: false, outputs_expected: false });
  });

  it('sends no price of who sets none', () => {
    const draft = { ...draftOf(undefined), name: 'new' };
    expect(requestOf(draft, undefined, false)).toEqual({ body: { name: 'new', description: '', max_nodes: 100, auto_scaling: false, outputs_expected: false } });
    expect(requestOf({ ...draftOf(pool), reward_per_hour: '9' }, pool, false)).toEqual(requestOf(draftOf(pool), pool));
  });

  it('sends prices as they were typed', () => {
    const draft = { ...draftOf(pool), reward_per_hour: ' 0.1234567890123456789 ' };
    expect(body(draft, pool).pricing).toEqual({ reward_per_hour: '0.1234567890123456789', cost_per_hour: '0.070000' });
    expect(priceChanged(draft, pool)).toBe(true);
  });

  it('names the currency of a new pool only, and takes the reward for the price when that is empty', () => {
    const draft = { ...draftOf(undefined), name: 'new', reward_per_hour: '0.05', currency: 'LUCID' as const };
    expect(body(draft, undefined).pricing).toEqual({ reward_per_hour: '0.05', cost_per_hour: '0.05', currency: 'LUCID' });
  });

  it('turns GiB into bytes and back', () => {
    const asked = body({ ...draftOf(pool), memory_gib: '1.5', cpu_percent: '80' }, pool);
    expect(asked.resource_limits).toEqual({ cpu_percent: 80, memory_bytes: 1_610_612_736, disk_bytes: null, network_mbps: null });
    expect(draftOf({ ...pool, resource_limits: { memory_bytes: 1_610_612_736 } }).memory_gib).toBe('1.5');
  });

  it('keeps a limit that was not touched to the byte, whatever its text', () => {
    const limits = { cpu_percent: 80, memory_bytes: 1_610_612_737, disk_bytes: 1000, network_mbps: null };
    const limited = { ...pool, resource_limits: limits };
    expect(draftOf(limited)).toMatchObject({ memory_gib: '1.5', disk_gib: '0' });
    expect(body({ ...draftOf(limited), description: 'new' }, limited).resource_limits).toEqual(limits);
    expect(body({ ...draftOf(limited), memory_gib: '2' }, limited).resource_limits).toEqual({ ...limits, memory_bytes: 2 * 2 ** 30 });
  });

  it('takes limits away again by empty fields', () => {
    const limited = { ...pool, resource_limits: { cpu_percent: 80 } };
    expect(body({ ...draftOf(limited), cpu_percent: '' }, limited).resource_limits).toEqual({ cpu_percent: null, memory_bytes: null, disk_bytes: null, network_mbps: null });
  });

  it('sends a policy only when there is scaling', () => {
    expect(body({ ...draftOf(pool), auto_scaling: true }, pool).scaling_policy).toEqual({
      scale_up_threshold: 80,
      scale_down_threshold: 30,
      min_nodes: 1,
      max_nodes: 50,
      cooldown_minutes: 10,
    });
    expect(body({ ...draftOf(pool), min_nodes: 'x' }, pool).scaling_policy).toBeUndefined();
  });

  it('names what is no number under the name that the manager has for it', () => {
    expect(wrong({ ...draftOf(pool), max_nodes: '1e3', memory_gib: 'much', auto_scaling: true, min_nodes: '1.5' })).toEqual({
      max_nodes: 'must be a whole number',
      'resource_limits.memory_bytes': 'must be a number',
      'scaling_policy.min_nodes': 'must be a whole number',
    });
    expect(wrong({ ...draftOf(pool), reward_per_hour: ' ' })).toEqual({ 'pricing.reward_per_hour': 'must be given' });
    for (const text of ['1e3', '-1', '1,5', '.5', 'much']) {
      expect(Object.keys(wrong({ ...draftOf(pool), reward_per_hour: text, cost_per_hour: text }) ?? {}), text).toEqual(['pricing.reward_per_hour', 'pricing.cost_per_hour']);
    }
  });

  it('blames a price only for what was typed into it', () => {
    const both = { 'pricing.reward_per_hour': 'is too much', 'pricing.cost_per_hour': 'is too much' };
    expect(blamed(both, { cost_per_hour: '9' })).toEqual(both);
    expect(blamed(both, { cost_per_hour: ' ' })).toEqual({ 'pricing.reward_per_hour': 'is too much' });
    expect(blamed({ name: 'is taken' }, { cost_per_hour: '' })).toEqual({ name: 'is taken' });
    expect(blamed({ 'pricing.cost_per_hour': 'is too much' }, { cost_per_hour: '' })).toEqual({ 'pricing.cost_per_hour': 'is too much' });
  });
});

it('says members, limits and policy in a line', () => {
  expect(membersText({ ...pool, max_nodes: 1000 })).toBe('3 of 1,000');
  expect(limitsText({ cpu_percent: 80, memory_bytes: 2 ** 30 })).toBe('CPU 80 %, memory 1.0 GiB');
  expect(limitsText(null)).toBe('');
  const policy = { scale_up_threshold: 80, scale_down_threshold: 20, min_nodes: 2, max_nodes: 10, cooldown_minutes: 5 };
  expect(scalingText({ auto_scaling: true, scaling_policy: policy })).toBe('2 to 10 nodes, more above 80 % CPU, fewer below 20 %, 5 min between changes');
  expect(scalingText({ auto_scaling: false, scaling_policy: policy })).toBe('');
});

it('counts alerts, the critical ones too, and who was heard', () => {
  const of = (critical: number, warning: number) => alertsText({ open_alerts: { critical, warning, info: 0 } });
  expect([of(1, 2), of(0, 1), of(0, 0)]).toEqual(['3 alerts, 1 critical', '1 alert', '']);
  expect([healthText({ total: 3, healthy_nodes: 2 }), healthText({ total: 0, healthy_nodes: 0 })]).toEqual(['2 of 3 heard', '']);
});
