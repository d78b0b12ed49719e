// A pool as a form holds it: texts as they are typed, and what of them goes to the manager.
import type { Pool, PoolRequest, PoolUpdate } from './api/types';
import { isPlain } from './decimal';
import { bytes } from './format';

/** The pool that is always there. */
export const DEFAULT_POOL = 'pool_default';
export const CURRENCIES = ['USDT', 'LUCID'] as const;

export type Draft = {
  name: string;
  description: string;
  max_nodes: string;
  reward_per_hour: string;
  cost_per_hour: string;
  currency: (typeof CURRENCIES)[number];
  cpu_percent: string;
  memory_gib: string;
  disk_gib: string;
  network_mbps: string;
  auto_scaling: boolean;
  outputs_expected: boolean;
  scale_up_threshold: string;
  scale_down_threshold: string;
  min_nodes: string;
  policy_max_nodes: string;
  cooldown_minutes: string;
};

type PoolLimits = NonNullable<Pool['resource_limits']>;
const GIB = 2 ** 30;
const text = (value: number | null | undefined) => (value == null ? '' : String(value));
const gib = (value: number | null | undefined) => (value == null ? '' : String(Number((value / GIB).toFixed(3))));

export function draftOf(pool: Pool | undefined): Draft {
  const { resource_limits: limits, scaling_policy: policy, pricing } = pool ?? {};
  return {
    name: pool?.name ?? '',
    description: pool?.description ?? '',
    max_nodes: text(pool?.max_nodes ?? 100),
    reward_per_hour: pricing?.reward_per_hour ?? '',
    cost_per_hour: pricing?.cost_per_hour ?? '',
    currency: CURRENCIES.find((currency) => currency === pricing?.currency) ?? 'USDT',
    cpu_percent: text(limits?.cpu_percent),
    memory_gib: gib(limits?.memory_bytes),
    disk_gib: gib(limits?.disk_bytes),
    network_mbps: text(limits?.network_mbps),
    auto_scaling: pool?.auto_scaling ?? false,
    outputs_expected: pool?.outputs_expected ?? false,
    scale_up_threshold: text(policy?.scale_up_threshold ?? 80),
    scale_down_threshold: text(policy?.scale_down_threshold ?? 30),
    min_nodes: text(policy?.min_nodes ?? 1),
    policy_max_nodes: text(policy?.max_nodes ?? pool?.max_nodes ?? 100),
    cooldown_minutes: text(policy?.cooldown_minutes ?? 10),
  };
}

/** A price that is asked for and is not the one in force, or about to be. */
export const priceChanged = (draft: Draft, pool: Pool): boolean =>
  draft.reward_per_hour.trim() !== pool.pricing.reward_per_hour || draft.cost_per_hour.trim() !== pool.pricing.cost_per_hour;

type Wrong = Record<string, string>;

/** What is wrong with prices as they were typed. The price may be left empty, and is then that of the reward. */
export function wrongPrices({ reward_per_hour, cost_per_hour }: Pick<Draft, 'reward_per_hour' | 'cost_per_hour'>): Wrong {
  const wrong: Wrong = {};
  const plain = 'must be a plain number, such as 0.05';
  if (reward_per_hour.trim() === '') wrong['pricing.reward_per_hour'] = 'must be given';
  else if (!isPlain(reward_per_hour)) wrong['pricing.reward_per_hour'] = plain;
  if (cost_per_hour.trim() !== '' && !isPlain(cost_per_hour)) wrong['pricing.cost_per_hour'] = plain;
  return wrong;
}

/** Refusals beside the fields that were filled: a price left empty is sent as the reward, and is not what is wrong. */
export function blamed(fields: Readonly<Wrong>, draft: Pick<Draft, 'cost_per_hour'>): Wrong {
  const { 'pricing.cost_per_hour': cost, ...rest } = fields;
  return cost && (draft.cost_per_hour.trim() !== '' || !rest['pricing.reward_per_hour']) ? { ...fields } : rest;
}

/** What a form's texts ask for, or what is no number. Whether the numbers will do, the manager says. Who sets no `prices` sends none. */
export function requestOf(draft: Draft, pool: Pool | undefined, prices = true): { wrong: Wrong } | { body: PoolRequest & PoolUpdate } {
  const wrong: Wrong = prices ? wrongPrices(draft) : {};
  const number = (field: string, value: string, whole: boolean): number => {
    const fits = (whole ? /^\d{1,15}$/ : /^\d{1,15}(\.\d+)?$/).test(value.trim());
    if (!fits) wrong[field] = whole ? 'must be a whole number' : 'must be a number';
    return fits ? Number(value) : 0;
  };
  const was = draftOf(pool);
  /** A text that was not touched stands for the pool's own value: the text may be rounded. */
  const limit = (field: keyof PoolLimits, text: 'cpu_percent' | 'memory_gib' | 'disk_gib' | 'network_mbps', unit = 1) => {
    if (draft[text].trim() === was[text]) return pool?.resource_limits?.[field] ?? null;
    if (draft[text].trim() === '') return null;
    const found = number(`resource_limits.${field}`, draft[text], false) * unit;
    return unit === 1 ? found : Math.round(found);
  };
  const limits = {
    cpu_percent: limit('cpu_percent', 'cpu_percent'),
    memory_bytes: limit('memory_bytes', 'memory_gib', GIB),
    disk_bytes: limit('disk_bytes', 'disk_gib', GIB),
    network_mbps: limit('network_mbps', 'network_mbps'),
  };
  const limited = Object.values(limits).some((value) => value !== null) || pool?.resource_limits != null;
  // An exact price stays a text: it never goes through a float.
  const [reward, cost] = [draft.reward_per_hour.trim(), draft.cost_per_hour.trim()];
  const pricing = { reward_per_hour: reward, cost_per_hour: cost || reward, ...(!pool && { currency: draft.currency }) };
  const body = {
    name: draft.name.trim(),
    description: draft.description.trim(),
    max_nodes: number('max_nodes', draft.max_nodes, true),
    auto_scaling: draft.auto_scaling,
    outputs_expected: draft.outputs_expected,
    ...(limited && { resource_limits: limits }),
    ...(draft.auto_scaling && {
      scaling_policy: {
        scale_up_threshold: number('scaling_policy.scale_up_threshold', draft.scale_up_threshold, false),
        scale_down_threshold: number('scaling_policy.scale_down_threshold', draft.scale_down_threshold, false),
        min_nodes: number('scaling_policy.min_nodes', draft.min_nodes, true),
        max_nodes: number('scaling_policy.max_nodes', draft.policy_max_nodes, true),
        cooldown_minutes: number('scaling_policy.cooldown_minutes', draft.cooldown_minutes, true),
      },
    }),
    ...(prices && (!pool || priceChanged({ ...draft, cost_per_hour: cost || reward }, pool)) && { pricing }),
  };
  return Object.keys(wrong).length > 0 ? { wrong } : { body };
}

export const membersText = ({ node_count, max_nodes }: Pool): string => `${node_count.toLocaleString('en')} of ${max_nodes.toLocaleString('en')}`;

/** Alerts that are not over, and how many of them are critical; empty when there are none. */
export function alertsText({ open_alerts: { critical, warning, info } }: Pick<Pool['health'], 'open_alerts'>): string {
  const all = critical + warning + info;
  return all === 0 ? '' : `${all} ${all === 1 ? 'alert' : 'alerts'}${critical ? `, ${critical} critical` : ''}`;
}

/** Of its nodes, who was heard in the last five minutes. */
export const healthText = ({ total, healthy_nodes }: Pick<Pool['health'], 'total' | 'healthy_nodes'>): string => (total ? `${healthy_nodes} of ${total} heard` : '');

/** Limits in a line; empty when there are none. */
export function limitsText(limits: Pool['resource_limits']): string {
  return [
    limits?.cpu_percent != null && `CPU ${limits.cpu_percent} %`,
    limits?.memory_bytes != null && `memory ${bytes(limits.memory_bytes)}`,
    limits?.disk_bytes != null && `disk ${bytes(limits.disk_bytes)}`,
    limits?.network_mbps != null && `network ${limits.network_mbps} Mbit/s`,
  ]
    .filter(Boolean)
    .join(', ');
}

/** The policy in a line; empty when there is none in force. */
export function scalingText({ auto_scaling, scaling_policy: policy }: Pick<Pool, 'auto_scaling' | 'scaling_policy'>): string {
  if (!auto_scaling || !policy) return '';
  const { scale_up_threshold: up, scale_down_threshold: down, min_nodes, max_nodes, cooldown_minutes } = policy;
  return `${min_nodes} to ${max_nodes} nodes, more above ${up} % CPU, fewer below ${down} %, ${cooldown_minutes} min between changes`;
}

/** What a list is filtered by; `chosen` stays to choose where it is not among the pools that are known. */
export function poolOptions(pools: readonly Pick<Pool, 'pool_id' | 'name'>[] = [], chosen = ''): { value: string; label: string }[] {
  const known = pools.map(({ pool_id, name }) => ({ value: pool_id, label: name }));
  const other = chosen && !known.some(({ value }) => value === chosen) ? [{ value: chosen, label: chosen }] : [];
  return [{ value: '', label: 'Any pool' }, ...known, ...other];
}
