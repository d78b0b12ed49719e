// Alerts in words: what kind of thing, what it is about, how long it lasted.
import type { Alert, AlertState } from './api/types';
import { span, titled, unixMs } from './format';
import { pathOf } from './routes';

const TITLES: Record<string, string | undefined> = {
  fleet_silent: 'The whole fleet is silent',
  fingerprint_drift: 'Hardware changed',
  key_on_other_hardware: 'Key used on another machine',
  two_nodes_on_one_machine: 'Two nodes on one machine',
  clock_untrusted: 'Clock not trusted',
  books_unbalanced: 'The books do not balance',
  authentication_failures: 'Failed sign-ins',
  payout_unusual_amount: 'Payout of an unusual amount',
  payouts_frequent: 'Payouts in quick succession',
  poot_deviation: 'Score far from the others',
  storage_high: 'The disk fills up',
  storage_critical: 'The disk is nearly full',
  storage_io_error: 'A disk error was survived',
  storage_damaged: 'A file of measurements is damaged',
  storage_lost: 'A file of measurements is gone',
  card_wearing_out: 'The card wears out',
  archive_failed: 'Nothing is archived',
  backup_failed: 'A backup failed',
  backup_overdue: 'No backup for too long',
  history_forked: 'The store is an older copy',
  identical_outputs: 'Output of another node',
  final_payout_blocked: 'Final payout held',
  payouts_frozen: 'Payouts are frozen',
  payouts_stopped: 'Payouts are stopped',
  payout_review: 'A payout needs a person',
  payout_waits: 'A payout is not signed',
  payout_refused: 'A transfer is refused',
  payout_approval: 'Payouts wait for a second admin',
  payout_carried_over: 'A node is not paid',
  wallet_low: 'The wallet runs low',
  wallet_unreachable: 'The payment network does not answer',
  transfers_not_booked: 'Transfers are not booked',
  attempt_without_gateway: 'Signed by a gateway that is gone',
  webhook_given_up: 'A webhook was given up',
  resource_threshold: 'Beyond its threshold',
};

/** A kind that this page does not know yet is told by its name. */
export const alertTitle = (kind: string): string => TITLES[kind] ?? titled(kind);

/** The page that shows what something is about, if there is one: of an alert also by its kind. */
export function subjectPath(subject: string, kind = ''): string | undefined {
  if (subject.startsWith('node_')) return pathOf.node(subject);
  if (subject.startsWith('pool_')) return pathOf.pool(subject);
  if (subject.startsWith('payout_')) return pathOf.payout(subject);
  if (/^(storage|card|archive|backup)_/.test(kind)) return pathOf.page('storage');
  return undefined;
}

/** What the link to that page says. Payouts and the storage have no names. */
export function subjectText({ subject, subject_name }: Pick<Alert, 'subject' | 'subject_name'>): string {
  return subject_name ?? (subject.startsWith('payout_') ? 'the payout' : /^(node|pool)_/.test(subject) ? 'deleted' : 'Storage');
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
