// Alerts in words: what they are about, how long they lasted.
import type { Alert, AlertState } from './api/types';
import { span, titled, unixMs } from './format';
import { pathOf } from './routes';

/** The page that shows what something is about, if there is one: of an alert also by its kind. */
export function subjectPath(subject: string, kind = ''): string | undefined {
  if (subject.startsWith('node_')) return pathOf.node(subject);
  if (subject.startsWith('pool_')) return pathOf.pool(subject);
  if (subject.startsWith('payout_')) return pathOf.payout(subject);
  if (/^(storage|card|archive|backup)_/.test(kind)) return pathOf.page('storage');
  return kind.startsWith('replication_') ? pathOf.page('replication') : undefined;
}

/** What the link to that page says. Payouts and the storage have no names. */
export function subjectText({ subject, subject_name, kind }: Pick<Alert, 'subject' | 'subject_name' | 'kind'>): string {
  return subject_name ?? (subject.startsWith('payout_') ? 'the payout' : /^(node|pool)_/.test(subject) ? 'deleted' : kind.startsWith('repl') ? 'Replication' : 'Storage');
}

/** `active`: all that are not over. */
export const STATES = (['active', 'open', 'acknowledged', 'unknown', 'resolved', 'all'] as const).map((value) => ({ value, label: titled(value) }));

const TONES: Record<AlertState, string> = { open: 'warn', acknowledged: 'info', unknown: 'idle', resolved: 'ok' };
export const stateTone = (state: AlertState) => TONES[state] ?? 'idle';

/** It is not over, and nobody has seen it since it last got worse. */
export const mayAcknowledge = ({ state, acknowledged_at }: Pick<Alert, 'state' | 'acknowledged_at'>): boolean => state !== 'resolved' && !acknowledged_at;

/** Whole seconds from raising to resolving, or to `nowMs` while it is open. */
export function lasted(alert: { raised_at: string; resolved_at?: string | null | undefined }, nowMs: number): string {
  const from = unixMs(alert.raised_at);
  const to = unixMs(alert.resolved_at) ?? nowMs;
  return from == null ? '' : spans((to - from) / 1000);
}

const SIZES = [86_400, 3_600, 60];

/** The two largest units: `2 d 3 h`, `34 min`, `12 s`. Below a minute only seconds. */
export function spans(seconds: number): string {
  const rest = Math.max(0, Math.floor(seconds));
  const size = SIZES.find((s) => rest >= s);
  const left = size === undefined || size === 60 ? 0 : rest % size;
  return left < 60 ? span(rest) : `${span(rest)} ${span(left)}`;
}
