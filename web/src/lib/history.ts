// Scores of the fleet over time as cells of one width: what is not told is a cell too. Values in, values out.
import type { HistoryRange, PootHistoryPoint } from './api/types';
import { counted } from './fleet';
import { clockTime, dateTime, unixMs } from './format';

export const RANGES: readonly { value: HistoryRange; label: string }[] = [
  { value: '24h', label: '24 h' },
  { value: '7d', label: '7 d' },
  { value: '30d', label: '30 d' },
  { value: '90d', label: '90 d' },
];

const HOUR_MS = 3_600_000;
const LENGTH_MS: Record<HistoryRange, number> = { '24h': 24 * HOUR_MS, '7d': 168 * HOUR_MS, '30d': 720 * HOUR_MS, '90d': 2_160 * HOUR_MS };
/** More cells than the API gives points are a sign of a wrong answer, and are not drawn. */
const MOST_CELLS = 400;

export type Cell = {
  startMs: number;
  endMs: number;
  valid: number;
  pending: number;
  invalid: number;
  epochs: number;
  gapEpochs: number;
  /** `told`: epochs closed. `gap`: the manager was away all the time. `none`: no epoch at all, as before the first. */
  kind: 'told' | 'gap' | 'none';
};

/** Cells from the start of the range to the end of the last point, oldest first. Stretches that the points leave out are `none`. */
export function cells(points: readonly PootHistoryPoint[], range: HistoryRange): Cell[] {
  const known = points.flatMap((point) => {
    const [startMs, endMs] = [unixMs(point.at), unixMs(point.end)];
    return startMs == null || endMs == null || endMs <= startMs ? [] : [{ point, startMs, endMs }];
  });
  const last = known.at(-1);
  if (!last) return [];
  const step = last.endMs - last.startMs;
  const total = Math.min(MOST_CELLS, Math.max(known.length, Math.round(LENGTH_MS[range] / step)));
  const out: Cell[] = [];
  const byStart = new Map(known.map((k) => [k.startMs, k.point]));
  for (let i = total - 1; i >= 0; i -= 1) {
    const startMs = last.startMs - i * step;
    const point = byStart.get(startMs);
    out.push({
      startMs,
      endMs: startMs + step,
      valid: point?.valid ?? 0,
      pending: point?.pending ?? 0,
      invalid: point?.invalid ?? 0,
      epochs: point?.epochs ?? 0,
      gapEpochs: point?.gap_epochs ?? 0,
      kind: point === undefined ? 'none' : point.epochs > 0 ? 'told' : 'gap',
    });
  }
  return out;
}

export const most = (list: readonly Cell[]): number => Math.max(1, ...list.map((cell) => cell.valid + cell.pending + cell.invalid));

export function cellText(cell: Cell): string {
  const sameDay = new Date(cell.startMs).toDateString() === new Date(cell.endMs).toDateString();
  const when = `${dateTime(cell.startMs)} to ${sameDay ? clockTime(cell.endMs) : dateTime(cell.endMs)}`;
  if (cell.kind === 'none') return `${when}: no epoch`;
  if (cell.kind === 'gap') return `${when}: the manager was away, ${counted(cell.gapEpochs, 'epoch')} not observed`;
  const away = cell.gapEpochs > 0 ? `, ${counted(cell.gapEpochs, 'epoch')} not observed` : '';
  return `${when}: ${cell.valid} valid, ${cell.pending} pending, ${cell.invalid} invalid${away}`;
}

/** Where labels stand below the cells: each is the start of a cell at a quarter of the way. */
export function marks(list: readonly Cell[], range: HistoryRange): string[] {
  const text = (ms: number) => (range === '24h' ? clockTime(ms) : dayText.format(ms));
  return [0, 0.25, 0.5, 0.75].flatMap((part) => {
    const cell = list[Math.floor(part * list.length)];
    return cell ? [text(cell.startMs)] : [];
  });
}
const dayText = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
