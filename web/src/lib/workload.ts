// What a node's supervisor does, in words.
import type { Node, NodeCommand } from './api/types';
import { bytes, dateTime, unixMs } from './format';

export type Workload = NonNullable<Node['workload']>;

const COMMANDS: Record<NodeCommand['state'], { tone: string; text: string }> = {
  pending: { tone: 'idle', text: '… waits for the node' },
  delivered: { tone: 'info', text: '→ taken by the node' },
  done: { tone: 'ok', text: '✓ done' },
  failed: { tone: 'bad', text: '× failed' },
  expired: { tone: 'warn', text: '! expired' },
};
export const commandLook = (state: NodeCommand['state']) => COMMANDS[state] ?? { tone: 'idle', text: state };

/** What became of it, or until when it may still be carried out. */
export function commandText({ state, outcome, deadline }: Pick<NodeCommand, 'state' | 'outcome' | 'deadline'>): string {
  if (outcome) return outcome;
  if (state === 'pending' || state === 'delivered') return `to be done by ${dateTime(unixMs(deadline))}`;
  return state === 'expired' ? 'what is wanted stands' : '';
}

const STATES: Record<Workload['state'], string> = { starting: 'info', running: 'ok', stopping: 'info', stopped: 'idle', backing_off: 'warn', failed: 'bad' };
export const stateTone = (state: Workload['state']): string => STATES[state] ?? 'idle';

export function exitText(exit: Workload['last_exit']): string {
  if (!exit) return '';
  return exit.signal != null ? `signal ${exit.signal}` : exit.code != null ? `code ${exit.code}` : 'not known';
}

type Limit = Workload['limits'][number];
const UNITS: Record<string, string> = { percent: '%', mbps: 'Mbit/s' };
export const limitText = ({ limit, unit }: Pick<Limit, 'limit' | 'unit'>): string => (unit === 'bytes' ? bytes(limit) : `${limit} ${UNITS[unit] ?? unit}`);
export const enforcedText = (by: Limit['enforcement']): string => (by === 'none' ? 'not enforced' : `by ${by}`);
