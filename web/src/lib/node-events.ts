// What happened to a node, in words.
import type { Happened, HappenedCategory, HappenedKind } from './api/types';
import { dateTime, span, titled, unixMs } from './format';

type Tone = 'ok' | 'warn' | 'bad' | 'info' | 'idle';
type Words = { text: string; tone: Tone };

const KINDS: Partial<Record<HappenedKind, Words>> = {
  created: { text: 'Node made', tone: 'idle' },
  enrolled: { text: 'Enrolled by its agent', tone: 'ok' },
  reenrolled: { text: 'Enrolled again', tone: 'info' },
  moved_pool: { text: 'Moved to another pool', tone: 'idle' },
  maintenance_set: { text: 'Maintenance', tone: 'warn' },
  started: { text: 'Start ordered', tone: 'info' },
  stopped: { text: 'Stop ordered', tone: 'warn' },
  unreachable: { text: 'Went silent: unreachable', tone: 'bad' },
  back: { text: 'Heard again', tone: 'ok' },
  fingerprint_drift: { text: 'The hardware is not what was enrolled', tone: 'warn' },
  fingerprint_accepted: { text: 'Changed hardware accepted', tone: 'ok' },
  address_changed: { text: 'Payout address changed', tone: 'info' },
  final_payout: { text: 'Final payout', tone: 'warn' },
  payout_paid: { text: 'Payout completed', tone: 'ok' },
  payout_failed: { text: 'Payout failed', tone: 'bad' },
  payout_review: { text: 'Payout waits for a person', tone: 'warn' },
  alert_raised: { text: 'Alert', tone: 'warn' },
  alert_resolved: { text: 'Alert over', tone: 'ok' },
};

/** What a history is filtered by. */
const NAMES: HappenedCategory[] = ['status', 'command', 'alert', 'eligibility', 'membership', 'payout', 'configuration', 'hardware', 'identity'];
export const CATEGORIES = [{ value: '' as const, label: 'Everything' }, ...NAMES.map((value) => ({ value, label: titled(value) }))];

/** The rest, and what a newer manager tells, is shown by its name. */
export const wordsOf = (kind: HappenedKind): Words => KINDS[kind] ?? { text: titled(kind), tone: 'idle' };

/** Who did it; nothing where the manager did. */
export function byText(by: Happened['by'], kind?: HappenedKind): string {
  if (!by) return '';
  // An agent that enrols is not signed in yet.
  if (by.id === 'anonymous' || by.id.startsWith('node_')) return kind === 'enrolled' ? '' : 'by its agent';
  if (by.id === 'console') return 'at the command line';
  return `by ${by.name ?? 'a person who is gone'}`;
}

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** The manager writes times as UTC; a person reads them by their own clock. */
export const detailText = (detail: string | null | undefined): string => (detail ?? '').replace(TIME, (at) => dateTime(unixMs(at)));

/** How long the node was silent before it came back, where the events say it. `events` are newest first. */
export function silentFor(events: readonly Happened[], index: number): string {
  const back = events[index];
  if (back?.kind !== 'back') return '';
  const left = events.slice(index + 1).find((e) => e.kind === 'unreachable' || e.kind === 'back');
  const [from, to] = [left?.kind === 'unreachable' ? unixMs(left.at) : null, unixMs(back.at)];
  return from == null || to == null ? '' : `after ${span((to - from) / 1_000)}`;
}
