// What the manager says about its disk, its files, wear and backups, in words.
import type { Database, Space, StorageCheck, StorageView, Wear } from './api/types';
import { bytes, dateTime, share, unixMs } from './format';

type Kind = StorageView['device']['kind'];

const KINDS: Record<Kind, string> = {
  sd: 'SD card',
  emmc: 'eMMC',
  ssd: 'SSD',
  hdd: 'Hard disk',
  network: 'Network storage',
  memory: 'Memory',
  unknown: 'Unknown device',
};

export const deviceName = (kind: Kind): string => KINDS[kind] ?? KINDS.unknown;
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

/** What cannot be told yet, or by a manager of before. */
export const UNKNOWN = 'not known yet';

const LEVELS: Record<Space['level'], Verdict & { text: string }> = {
  ample: { kind: 'ok', title: 'Enough room', text: '' },
  high: { kind: 'warn', title: 'Filling up', text: 'The oldest weeks of measurements go before their time. Hours, days, money and the audit log stay.' },
  critical: { kind: 'bad', title: 'Almost full', text: 'Fewer measurements are kept. Money and the audit log go on, with room that is kept for them.' },
};
/** A level that this page does not know is told by its name. */
export const levelWords = (level: Space['level']) => LEVELS[level] ?? { kind: 'warn', title: level, text: '' };

/** Shares in percent of what can be used of the disk: the store, everything else on it. */
export function shares(used: number, usable: number, store: number): [store: number, others: number] {
  const own = Math.min(store, used);
  return [share(own, usable) ?? 0, share(used - own, usable) ?? 0];
}

const DAY_MS = 86_400_000;
/** Bars of the chart of wear. */
export const WEAR_DAYS = 30;

/** The last days (UTC), oldest first: absent where nothing was counted; today is not over. */
export function wearDays({ days }: Pick<Wear, 'days'>, nowMs: number): { day: string; bytes: number | null; files: Wear['days'][number]['files']; today: boolean }[] {
  return Array.from({ length: WEAR_DAYS }, (_, i) => {
    const day = new Date(nowMs - (WEAR_DAYS - 1 - i) * DAY_MS).toISOString().slice(0, 10);
    const found = days.find((of) => of.day.slice(0, 10) === day);
    return { day, bytes: found?.bytes ?? null, files: found?.files ?? [], today: i === WEAR_DAYS - 1 };
  });
}

/** `12 MiB: hot.redb 8 MiB, core.redb 4 MiB`. */
export const dayWords = (day: ReturnType<typeof wearDays>[number]): string =>
  day.bytes == null ? 'not counted' : `${bytes(day.bytes)}${day.today ? ' so far' : ''}${day.files.length > 0 ? `: ${day.files.map((file) => `${file.name} ${bytes(file.bytes)}`).join(', ')}` : ''}`;

/** How long the card lasts at the rate of now. */
export function lifeLeft(years: number | null | undefined): string {
  if (years == null || !Number.isFinite(years)) return UNKNOWN;
  if (years >= 100) return 'more than 100 years';
  if (years >= 2) return `about ${Math.floor(years)} years`;
  const months = Math.floor(years * 12);
  return months < 1 ? 'less than a month' : `about ${months} ${months === 1 ? 'month' : 'months'}`;
}

const PHASES = {
  idle: '',
  waiting: 'Waits for its turn',
  measuring: 'Counting rows',
  copying: 'Copying',
  catching_up: 'Copying what was written meanwhile',
  switching: 'Changing files',
  reading: 'Reading back',
  verifying: 'Checking',
};
export const phaseWords = (phase: keyof typeof PHASES | null | undefined): string => PHASES[phase ?? 'waiting'] ?? phase;

/** What became of the last compaction since the manager started. */
export function compacted({ last }: Database['compaction']): string {
  if (!last) return 'none since the start';
  const at = dateTime(unixMs(last.ended_at));
  return last.failed_because ? `${at}, not done: ${last.failed_because}` : `${at}, ${bytes(last.before_bytes)} to ${bytes(last.after_bytes)}`;
}

/** A word of a shell. */
const quoted = (text: string): string => (/^[\w/.,:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** What brings a backup back, on the machine of the stopped manager. */
export const restoreCommand = (folder: string, name: string, dataDir: string): string => `lucid-node-management restore --from ${quoted(`${folder.replace(/\/+$/, '')}/${name}`)} --data-dir ${quoted(dataDir)}`;
