// What can be done to several nodes at once: what it means, and what became of each.
import type { NodeAction } from './api/types';

export type Words = {
  /** On the button of the bar. */
  label: string;
  /** On the button that does it. */
  verb: string;
  /** Of what was done: "3 nodes …". */
  done: string;
  meaning: string[];
  danger: boolean;
};

/** How it is meant, for pay above all. An admin's maintenance begins at once, an operator's in an hour. */
export function wordsOf(action: NodeAction, admin: boolean): Words {
  switch (action) {
    case 'start':
      return {
        label: 'Start',
        verb: 'Start',
        done: 'wanted running',
        meaning: [
          'Wanted running again. Maintenance that goes on or is planned ends with the next half minute.',
          'Time counts from then on: what a node proves is paid, what it misses lowers its score.',
        ],
        danger: false,
      };
    case 'stop':
      return {
        label: 'Stop',
        verb: 'Stop',
        done: 'wanted stopped',
        meaning: [
          'Not wanted running any more: a node shows as stopping while it still reports, then as inactive, and its silence raises no alert.',
          'Time without proof is not paid, and it counts as missed: the score falls. Maintenance is not paid either, and leaves the score alone.',
        ],
        danger: true,
      };
    case 'maintenance':
      return {
        label: 'Maintenance',
        verb: 'Begin maintenance',
        done: admin ? 'in maintenance' : 'planned for maintenance',
        meaning: [
          admin
            ? 'It begins with the next half minute and ends by itself after 2 hours, or before where less is left of a node’s 8 hours in 7 days.'
            : 'It begins in an hour and ends by itself after 2 hours, or before where less is left of a node’s 8 hours in 7 days. An admin can begin it at once.',
          'The time in maintenance is not paid and not counted: the score stays as it is.',
        ],
        danger: false,
      };
    case 'end_maintenance':
      return {
        label: 'End maintenance',
        verb: 'End maintenance',
        done: 'out of maintenance',
        meaning: [
          'Back in service with the next half minute; a plan that has not begun is dropped. A stopped node stays stopped.',
          'Time counts again from then on: what a node proves is paid, what it misses lowers its score.',
        ],
        danger: false,
      };
  }
}

/** Nodes of one request. */
export const MOST_AT_ONCE = 1_000;

export function portions<T>(items: readonly T[], size: number): T[][] {
  const out: T[][] = [];
  for (let i = 0; i < items.length; i += size) out.push(items.slice(i, i + size));
  return out;
}

/** What became of a node: null, or why it refused. */
export type Outcome = { id: string; error: { name: string; message: string } | null };
export type Refused = { name: string; message: string; ids: string[] };

/** Refusals with their nodes, those of most nodes first. */
export function refusals(outcomes: readonly Outcome[]): Refused[] {
  const found = new Map<string, Refused>();
  for (const { id, error } of outcomes) {
    if (!error) continue;
    const key = `${error.name} ${error.message}`;
    const refused = found.get(key);
    if (refused) refused.ids.push(id);
    else found.set(key, { name: error.name, message: error.message, ids: [id] });
  }
  return [...found.values()].sort((a, b) => b.ids.length - a.ids.length);
}

export const nodes = (count: number): string => `${count.toLocaleString('en')} ${count === 1 ? 'node' : 'nodes'}`;
