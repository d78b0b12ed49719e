// A day of slots and a month of days, as the strips draw them.
import type { SlotState, Uptime } from './api/types';
import { dayOf, span } from './format';
import { SLOT_SECONDS } from './poot';

/** `out`: the node was not enrolled, or out of service. */
export type StripState = SlotState | 'out';
export type Strip = { first: number; states: StripState[] };

export const DAY_SLOTS = 2_880;
const LETTERS: Record<string, StripState> = { p: 'proven', m: 'missed', a: 'attested', u: 'unobserved', o: 'pending', x: 'out' };

/** The slots of the last day. What was said about the newest ones since is newer. */
export function stripOf(slots: Pick<Uptime['slots'], 'first_slot' | 'states'>, recent: readonly { slot: number; state: SlotState }[]): Strip {
  const states = [...slots.states].map((letter): StripState => LETTERS[letter] ?? 'unobserved');
  for (const { slot, state } of recent) {
    const at = slot - slots.first_slot;
    if (at < 0 || at > states.length) continue;
    // Only the day knows whether a silent slot counts at all; one that is newer is as those before it.
    const out = (states[at] ?? states.at(-1)) === 'out' && (state === 'unobserved' || state === 'pending');
    states[at] = out ? 'out' : state;
  }
  const gone = Math.max(0, states.length - DAY_SLOTS);
  return { first: slots.first_slot + gone, states: states.slice(gone) };
}

export type Counts = Record<StripState, number>;

export function countStates(states: readonly StripState[]): Counts {
  const counts: Counts = { proven: 0, missed: 0, attested: 0, unobserved: 0, pending: 0, out: 0 };
  for (const state of states) counts[state] += 1;
  return counts;
}

/** Slots that count: attested ones were observed and not proven in time. */
export const observedOf = (counts: Counts): number => counts.proven + counts.missed + counts.attested;

/** `99.58 %`, cut and not rounded: 100 % is said only of all. */
export function shareText(part: number, whole: number): string {
  return whole === 0 ? 'none observed' : `${(Math.floor((part * 10_000) / whole) / 100).toFixed(2)} %`;
}

export type Silence = { slot: number; slots: number };

/** Runs of missed slots, oldest first. */
export function silences({ first, states }: Strip): Silence[] {
  const found: Silence[] = [];
  states.forEach((state, i) => {
    if (state !== 'missed') return;
    const last = found.at(-1);
    if (last && last.slot + last.slots === first + i) last.slots += 1;
    else found.push({ slot: first + i, slots: 1 });
  });
  return found;
}

/** Rows of `size` slots that begin at round times of a clock `offsetMinutes` ahead of UTC. The first and the last row may not be full. */
export function rowStarts(first: number, length: number, size: number, offsetMinutes: number): number[] {
  const offset = (offsetMinutes * 60) / SLOT_SECONDS;
  const start = Math.floor((first + offset) / size) * size - offset;
  const starts: number[] = [];
  for (let row = start; row < first + length; row += size) starts.push(row);
  return starts;
}

/** Height of a mark, and from the top of one row to the top of the next. */
export const MARK = 12;
export const PITCH = 17;
/** Parts of a mark from top to bottom: height tells the states apart without their colours. */
export const SHAPES: Record<Exclude<StripState, 'out'>, readonly (readonly [y: number, height: number])[]> = {
  proven: [[0, MARK]],
  missed: [[7, 5]],
  attested: [[0, 4], [8, 4]],
  unobserved: [[MARK - 1.5, 1.5]],
  pending: [[4, 4]],
};

/** One path for all marks of a state, a slot being 10 wide. */
export function marksOf({ first, states }: Strip, rows: readonly number[], size: number, state: Exclude<StripState, 'out'>): string {
  const start = rows[0] ?? first;
  let path = '';
  states.forEach((is, i) => {
    if (is !== state) return;
    const at = first + i - start;
    const [x, y] = [(at % size) * 10 + 1, Math.floor(at / size) * PITCH];
    for (const [top, height] of SHAPES[state]) path += `M${x} ${y + top}h8v${height}h-8z`;
  });
  return path;
}

export type Day = Uptime['days'][number];
const DAY_MS = 86_400_000;

/** The last `count` days up to `today`, oldest first: a day of which nothing is known has no row. */
export function calendar(days: readonly Day[], todayMs: number, count: number): { date: string; startMs: number; day: Day | undefined }[] {
  const today = Math.floor(todayMs / DAY_MS) * DAY_MS;
  const known = new Map(days.map((day) => [day.date, day]));
  return Array.from({ length: count }, (_, i) => {
    const startMs = today - (count - 1 - i) * DAY_MS;
    const date = new Date(startMs).toISOString().slice(0, 10);
    return { date, startMs, day: known.get(date) };
  });
}

/** Parts of a day as heights of `tall`: one missed slot is not hidden by 2,879 good ones. */
export function dayParts({ proven, observed }: { proven: number; observed: number }, tall: number): { proven: number; missed: number } {
  const missed = Math.max(0, observed - proven);
  const red = missed === 0 ? 0 : Math.max(3, (missed / DAY_SLOTS) * tall);
  return { missed: red, proven: Math.max(0, Math.min((proven / DAY_SLOTS) * tall, tall - red)) };
}

/** Dates of days are UTC, whatever the browser's clock. */
export const dayName = (startMs: number): string => dayOf(startMs + new Date(startMs).getTimezoneOffset() * 60_000);

/** What a day was, without its money. */
export function dayWords(day: Day | undefined): string {
  if (!day || day.observed === 0) return 'nothing counted: not observed or not in service';
  const missed = day.observed - day.proven;
  const rest = DAY_SLOTS - day.observed;
  const parts = [`${day.proven} of ${day.observed} observed slots proven, ${shareText(day.proven, day.observed)}`];
  if (missed > 0) parts.push(`${missed} missed (${span(missed * SLOT_SECONDS)})`);
  if (rest > 0) parts.push(day.partial ? `${span(day.observed * SLOT_SECONDS)} so far` : `${rest} not counted (${span(rest * SLOT_SECONDS)})`);
  return parts.join('; ');
}
