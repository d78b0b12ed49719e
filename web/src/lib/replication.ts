// What the cluster has of this manager, in words.
import { spans } from './alerts';
import type { ReplicatedCollection, Replication } from './api/types';

/** How bad a state is: nothing is wrong while it copies, waits or is paused. */
export const stateKind = ({ state, last_error }: Pick<Replication, 'state' | 'last_error'>): 'ok' | 'info' | 'warn' | 'bad' =>
  state === 'current' ? 'ok' : ['second', 'superseded'].includes(state) ? 'bad' : state === 'away' || (state === 'connecting' && last_error) ? 'warn' : 'info';

/** `–` where nothing is known of it; 0 is said as what it is. */
export const behind = (seconds: number | null | undefined): string => (seconds == null ? '–' : seconds === 0 ? 'nothing waits' : spans(seconds));

/** Whether it is copied, or goes once more. */
export const extent = ({ is_whole, waiting }: Pick<ReplicatedCollection, 'is_whole' | 'waiting'>): string => (is_whole ? 'whole' : waiting == null ? '–' : 'being copied');

/** `12.5 documents/s`, while something was being sent. */
export const speed = (perSecond: number | null | undefined): string => (perSecond == null ? '–' : `${perSecond} documents/s`);
