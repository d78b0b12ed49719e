// Two clocks held against each other: the manager's answer and this browser's reading of the same moment.
import { span, unixMs } from './format';

/** The manager confirms its clock by a browser's that is no further away. */
export const AGREE_MS = 60_000;

export type Offset = {
  /** Manager minus browser. */
  aheadMs: number;
  /** Half the round trip: the answer was written somewhere within. */
  uncertainMs: number;
};

/** Undefined when the manager's time cannot be read. */
export function offset(wall: string, sentMs: number, receivedMs: number): Offset | undefined {
  const saidMs = unixMs(wall);
  if (saidMs == null || receivedMs < sentMs) return undefined;
  return { aheadMs: saidMs - (sentMs + receivedMs) / 2, uncertainMs: (receivedMs - sentMs) / 2 };
}

export const agree = ({ aheadMs }: Offset): boolean => Math.abs(aheadMs) <= AGREE_MS;

/** The difference in words: `less than a second`, `3.2 s ahead`, `12 min behind`. */
export function difference({ aheadMs, uncertainMs }: Offset): string {
  const away = Math.abs(aheadMs);
  if (away <= Math.max(1_000, uncertainMs)) return 'less than a second';
  const size = away < 60_000 ? `${(away / 1_000).toFixed(1)} s` : span(away / 1_000);
  return `${size} ${aheadMs > 0 ? 'ahead' : 'behind'}`;
}
