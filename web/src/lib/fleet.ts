// The fleet in words and counts: what needs a person, and how much of its time was proven. Values in, values out.
import type { Attention, Role, UptimePoint } from './api/types';
import { unixMs } from './format';
import { pathOf } from './routes';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** Digits grouped as amounts of money are. */
export const count = (value: number): string => whole.format(value).replace(/,/g, '\u202f');

/** `1 node`, `2 nodes`. */
export const counted = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`;

/** Rounded down to two decimals: one missed slot is never shown as 100 %. */
export function provenPercent(proven: number, observed: number): string | null {
  return observed > 0 ? `${(Math.floor((proven / observed) * 10_000 + 1e-9) / 100).toFixed(2)} %` : null;
}

export type HalfHour = {
  atMs: number;
  proven: number;
  observed: number;
  /** `unobserved`: nobody was looked at. `open`: it has just begun, and nothing of it is decided. */
  kind: 'whole' | 'part' | 'unobserved' | 'open';
};

/** The last of `points` is the present half-hour. */
export function halfHours(points: readonly UptimePoint[]): HalfHour[] {
  return points.map(({ at, proven, observed }, i) => ({
    atMs: unixMs(at) ?? 0,
    proven,
    observed,
    kind: observed > 0 ? (proven < observed ? 'part' : 'whole') : i === points.length - 1 ? 'open' : 'unobserved',
  }));
}

export type UptimeSums = { proven: number; observed: number; missed: number; unobserved: number };

export function uptimeSums(cells: readonly HalfHour[]): UptimeSums {
  const sum = (of: (cell: HalfHour) => number) => cells.reduce((a, cell) => a + of(cell), 0);
  const [proven, observed] = [sum((c) => c.proven), sum((c) => c.observed)];
  return { proven, observed, missed: observed - proven, unobserved: sum((c) => (c.kind === 'unobserved' ? 1 : 0)) };
}

/** How many half-hours as `30 min`, `1 h`, `1.5 h`. */
export const halfHoursText = (n: number): string => (n === 1 ? '30 min' : `${n / 2} h`);

export type Need = { title: string; text: string; action: { label: string; href: string } | null };

const CAN: Record<Role, number> = { viewer: 0, operator: 1, admin: 2, super_admin: 3 };

/** What waits for a person, as a sentence, what it means, and where it is solved. */
export function need({ kind, count: n, nodes }: Attention, role: Role): Need {
  const admin = CAN[role] >= CAN.admin;
  const maker = CAN[role] >= CAN.super_admin;
  const only = n === 1 ? nodes[0] : undefined;
  const there = (label: string) => (only ? { label, href: pathOf.node(only.node_id) } : null);
  switch (kind) {
    case 'payout_review':
      return {
        title: `${counted(n, 'payout')} ${n === 1 ? 'waits' : 'wait'} for a decision`,
        text: 'Nothing more is sent to these nodes until somebody has looked.',
        action: { label: 'Look at payouts', href: `${pathOf.page('payouts')}?status=processing` },
      };
    case 'fingerprint_drift':
      return {
        title: n === 1 ? 'A machine no longer looks like the one that enrolled' : `${count(n)} machines no longer look like those that enrolled`,
        text: `${n === 1 ? 'Its' : 'Their'} payouts hold until ${admin ? 'you accept the new hardware' : 'an admin accepts the new hardware'}.`,
        action: there(admin ? 'Compare and accept' : 'Look at it'),
      };
    case 'address_missing':
      return {
        title: `${counted(n, 'node')} ${n === 1 ? 'has' : 'have'} earned and cannot be paid`,
        text: `${n === 1 ? 'It has' : 'They have'} no payout address. What is earned stays booked.`,
        action: there(CAN[role] >= CAN.operator ? 'Set its address' : 'Look at it'),
      };
    case 'clock_untrusted':
      return {
        title: "The manager's clock is not trusted",
        text: 'No epoch closes and nothing is paid until it is. Reports are kept.',
        action: { label: 'Check the time', href: pathOf.page('settings') },
      };
    case 'epochs_behind':
      return {
        title: `${counted(n, 'epoch')} ${n === 1 ? 'is' : 'are'} over and not closed yet`,
        text: 'They close by themselves, oldest first. If the number does not fall within minutes, look at the alerts.',
        action: { label: 'See epochs', href: pathOf.page('poot') },
      };
    case 'recovery_kit_missing':
      return {
        title: 'No recovery kit has been made',
        text: `Without it, a lost disk takes the manager's identity and every payout address with it.${maker ? '' : ' A super admin can make one.'}`,
        action: maker ? { label: 'Make one', href: `${pathOf.page('settings')}?tab=recovery` } : null,
      };
    case 'setup_unfinished':
      return {
        title: n === 1 ? 'One step of the setup is open' : 'Some steps of the setup are open',
        text: 'Go on where it was left; every step can be skipped.',
        action: { label: 'Finish setup', href: pathOf.page('setup') },
      };
  }
}
