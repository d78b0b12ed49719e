// What the pages say about a proof-of-operational-time state. The manager decides it; this only words it.
import { countdown, exact, unixMs } from './format';
import type { PootSummary, SlotState } from './api/types';

export const SLOT_SECONDS = 30;

/**
 * Observed seconds now, estimated from what the manager said at `atMs`: they grow while the node is heard, one slot beyond its last
 * report at most. The next answer of the manager corrects it.
 */
export function observedNow(poot: PootSummary, atMs: number, lastHeartbeat: string | null | undefined, nowMs: number): number {
  const heardMs = unixMs(lastHeartbeat);
  if (heardMs == null) return poot.observed_seconds;
  const untilMs = Math.min(nowMs, heardMs + SLOT_SECONDS * 1000);
  const grown = Math.max(0, (untilMs - atMs) / 1000);
  return Math.max(poot.observed_seconds, Math.min(poot.required_seconds, poot.observed_seconds + grown));
}

/** `pending 12:34 of 1 h`, `pending, score due` or `98.40`. */
export function pootText(poot: PootSummary, observedSeconds: number): string {
  if (poot.state !== 'pending') return scoreText(poot.score);
  if (observedSeconds >= poot.required_seconds) return 'pending, score due';
  return `pending ${countdown(observedSeconds)} of ${exact(poot.required_seconds)}`;
}

export function scoreText(score: number | null | undefined): string {
  return score == null ? 'no score' : score.toFixed(2);
}

export type SlotWords = { word: string; meaning: string };

export const SLOT_WORDS: Record<SlotState | 'out', SlotWords> = {
  proven: { word: 'proven', meaning: 'a signed report arrived in time' },
  missed: { word: 'missed', meaning: 'the manager listened and heard nothing' },
  attested: { word: 'attested', meaning: 'reported late: shown, not paid' },
  unobserved: { word: 'unobserved', meaning: 'the manager was not listening: not counted' },
  pending: { word: 'pending', meaning: 'still open' },
  out: { word: 'not in service', meaning: 'not enrolled, in maintenance or suspended: not counted' },
};

/** Unix milliseconds at which a slot starts. */
export const slotStartMs = (slot: number): number => slot * SLOT_SECONDS * 1000;
