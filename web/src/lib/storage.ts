// What the manager says about its disk, in words.
import type { StorageCheck, StorageView } from './api/types';

type Kind = StorageView['device']['kind'];

const KINDS: Record<Kind, { name: string; advice: string }> = {
  sd: { name: 'SD card', advice: 'Fine to begin with. Cards wear out by writing and fail without warning: an SSD lasts longer, and a backup matters more.' },
  emmc: { name: 'eMMC', advice: 'Soldered flash: quick enough, but it cannot be changed. Keep backups elsewhere.' },
  ssd: { name: 'SSD', advice: 'What a manager wants.' },
  hdd: { name: 'Hard disk', advice: 'Works; each safe write waits for the platter, so large fleets are slower.' },
  network: { name: 'Network storage', advice: 'Not recommended: a store needs writes that are really on the disk, and a lost link stops the manager.' },
  memory: { name: 'Memory', advice: 'Everything is lost when this machine restarts. For trying out only.' },
  unknown: { name: 'Unknown device', advice: 'The kernel does not say what it is. Measure it.' },
};

export const deviceWords = (kind: Kind): { name: string; advice: string } => KINDS[kind] ?? KINDS.unknown;
export const worriesAbout = (kind: Kind): boolean => kind === 'network' || kind === 'memory';

type Verdict = { kind: 'ok' | 'warn' | 'bad'; title: string };
const VERDICTS: Record<StorageCheck['verdict'], Verdict> = {
  good: { kind: 'ok', title: 'Quick enough' },
  slow: { kind: 'warn', title: 'Slow, but it will do' },
  very_slow: { kind: 'bad', title: 'Too slow to rely on' },
  low_space: { kind: 'bad', title: 'Little room left' },
};
export const verdictWords = (verdict: StorageCheck['verdict']): Verdict => VERDICTS[verdict];

/** Milliseconds as people read them: `0.4 ms`, `12 ms`, `1.3 s`. */
export function milliseconds(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
