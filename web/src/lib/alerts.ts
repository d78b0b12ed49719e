// Alerts in words: what kind of thing, what it is about, how long it lasted.
import { span, unixMs } from './format';
import { pathOf } from './routes';

const TITLES: Record<string, string | undefined> = {
  node_unreachable: 'Node unreachable',
  fleet_silent: 'The whole fleet is silent',
  fingerprint_drift: 'Hardware changed',
  key_on_other_hardware: 'Key used on another machine',
  two_nodes_on_one_machine: 'Two nodes on one machine',
  clock_untrusted: 'Clock not trusted',
  books_unbalanced: 'The books do not balance',
};

/** A kind that this page does not know yet is told by its name. */
export function alertTitle(kind: string): string {
  const words = kind.replaceAll('_', ' ');
  return TITLES[kind] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

export type Subject = { label: string; href: string };

/** Where one sees what the alert is about; null when it is the manager itself. */
export function subjectOf(subject: string): Subject | null {
  if (subject.startsWith('node_')) return { label: 'the node', href: pathOf.node(subject) };
  if (subject.startsWith('pool_')) return { label: 'the pool', href: pathOf.pool(subject) };
  if (subject.startsWith('payout_')) return { label: 'the payout', href: pathOf.payout(subject) };
  return null;
}

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
