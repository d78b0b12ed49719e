// Schedules of payouts: in words, and as they are edited. Values in, values out.
import type { Schedule, ScheduleRequest } from './api/types';
import { instant, localTime } from './audit';
import { dateTime, money, unixMs } from './format';

/** What a dialog holds while a schedule is typed. */
export type Draft = { name: string; what: Schedule['what']; poolId: string; least: string; once: boolean; at: string; cron: string; zone: string };

/** On the first of each month, in the morning. */
const MONTHLY = '0 6 1 * *';

export const draftOf = (of: Schedule | undefined, zone: string): Draft => ({
  name: of?.name ?? '',
  what: of?.what ?? 'all_due',
  poolId: of?.pool_id ?? '',
  least: of?.min_amount ?? '',
  once: Boolean(of?.at),
  at: localTime(of?.at ?? undefined),
  cron: of?.cron ?? MONTHLY,
  zone: of?.timezone ?? zone,
});

/** The whole schedule as the API takes it. What the dialog does not ask for stays as it was. */
export function requestOf(draft: Draft, was: Schedule | undefined): ScheduleRequest {
  const { what } = draft;
  return {
    name: draft.name.trim(),
    what,
    enabled: was?.enabled ?? true,
    priority: was?.priority ?? 'normal',
    ...(draft.once ? { at: instant(draft.at) || null } : { cron: draft.cron.trim(), timezone: draft.zone.trim() }),
    ...(what === 'pool' && { pool_id: draft.poolId || null }),
    ...(what === 'listed' ? { payout_requests: (was?.payout_requests ?? []).map(({ node_id, amount, currency, priority }) => ({ node_id, amount, currency, priority })) } : draft.least.trim() && { min_amount: draft.least.trim() }),
  };
}

/** The same schedule, paused or going on. */
export const switched = (of: Schedule): ScheduleRequest => ({ ...requestOf(draftOf(of, ''), of), ...(of.at && { at: of.at }), enabled: !of.enabled });

export function whatText({ what, min_amount, payout_requests }: Pick<Schedule, 'what' | 'min_amount' | 'payout_requests'>, pool: string | undefined): string {
  if (what === 'listed') return `${payout_requests?.length ?? 0} listed payouts`;
  const who = what === 'pool' ? `every node of ${pool ?? 'a pool'}` : 'every node';
  return `${who} that is owed ${min_amount ? `at least ${money(min_amount, 'USDT')}` : 'the threshold'}`;
}

export const whenText = ({ at, cron, timezone }: Pick<Schedule, 'at' | 'cron' | 'timezone'>): string => (at ? `once, ${dateTime(unixMs(at))}` : `${cron}, ${timezone}`);

/** What became of it last. */
export function lastText(runs: Schedule['runs']): string {
  const last = runs[0];
  if (!last) return 'has not run yet';
  return `${dateTime(unixMs(last.fired_at))}: ${last.note ?? (last.batch_id ? `${last.planned} planned` : 'nobody to pay')}`;
}

/** A refusal of one row of a list, by the name of its node. */
export function named(field: string, why: string, rows: readonly { node_name: string }[]): string {
  const row = rows[Number(/\[(\d+)\]/.exec(field)?.[1])];
  return `${row?.node_name ?? field}: ${why}`;
}
