// Numbers, times and money as people read them. Values in, text out.

/** Said wherever a machine does not have or tell something. */
export const ABSENT = 'not available';

export function percent(value: number | null | undefined, digits = 1): string {
  return value == null || !Number.isFinite(value) ? ABSENT : `${value.toFixed(digits)} %`;
}

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const DECIMAL = ['B/s', 'kB/s', 'MB/s', 'GB/s', 'TB/s'];

function scaled(value: number, step: number, units: string[]): string {
  let rest = value;
  let i = 0;
  // 999.6 would be written as 1000, so it already belongs to the next unit.
  while (i < units.length - 1 && rest >= step - 0.5) {
    rest /= step;
    i += 1;
  }
  return `${i === 0 ? Math.round(rest) : rest.toFixed(rest < 99.95 ? 1 : 0)} ${units[i]}`;
}

/** Sizes in powers of 1024. */
export function bytes(value: number | null | undefined): string {
  return value == null || !Number.isFinite(value) || value < 0 ? ABSENT : scaled(value, 1024, BINARY);
}

/** Rates in powers of 1000, as network cards are sold. */
export function rate(bytesPerSecond: number | null | undefined): string {
  return bytesPerSecond == null || !Number.isFinite(bytesPerSecond) || bytesPerSecond < 0
    ? ABSENT
    : scaled(bytesPerSecond, 1000, DECIMAL);
}

export function celsius(value: number | null | undefined): string {
  return value == null || !Number.isFinite(value) ? ABSENT : `${value.toFixed(1)} °C`;
}

/** Share of a whole in percent; absent when either side is. */
export function share(part: number | null | undefined, whole: number | null | undefined): number | null {
  return part == null || whole == null || !(whole > 0) ? null : (part / whole) * 100;
}

const UNITS: [seconds: number, name: string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
];

/** The largest unit that fits, rounded down: `59 s`, `1 h`, `3 d`. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [size, name] of UNITS) if (whole >= size) return `${Math.floor(whole / size)} ${name}`;
  return '0 s';
}

/** How long ago, from unix milliseconds. Clocks differ by moments, so the near future is now. */
export function ago(atMs: number | null | undefined, nowMs: number): string {
  if (atMs == null || !Number.isFinite(atMs)) return 'never';
  const seconds = (nowMs - atMs) / 1000;
  if (seconds < -60) return `in ${span(-seconds)}`;
  return seconds < 2 ? 'just now' : `${span(seconds)} ago`;
}

/** `m:ss`, or `h:mm:ss` from an hour on. */
export function countdown(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (n: number) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** Whole hours as `1 h`, else whole minutes as `90 min`, else seconds. */
export function exact(seconds: number): string {
  if (seconds > 0 && seconds % 3600 === 0) return `${seconds / 3600} h`;
  if (seconds > 0 && seconds % 60 === 0) return `${seconds / 60} min`;
  return `${seconds} s`;
}

export function unixMs(rfc3339: string | null | undefined): number | null {
  const ms = rfc3339 ? Date.parse(rfc3339) : NaN;
  return Number.isFinite(ms) ? ms : null;
}

const timeOfDay = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const timeWithSeconds = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const DAY_AND_TIME: Intl.DateTimeFormatOptions = { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
const dayAndTime = new Intl.DateTimeFormat(undefined, DAY_AND_TIME);
const yearAndTime = new Intl.DateTimeFormat(undefined, { ...DAY_AND_TIME, year: 'numeric' });

const dayAndMonth = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/** `12 Nov`. */
export const dayOf = (ms: number): string => dayAndMonth.format(ms);
export const clockTime = (ms: number): string => timeOfDay.format(ms);
export const clockTimeSeconds = (ms: number): string => timeWithSeconds.format(ms);
const thisYear = (ms: number): boolean => new Date(ms).getFullYear() === new Date().getFullYear();
/** With the year where it is not this one. */
export const dateTime = (ms: number | null): string => (ms == null ? ABSENT : (thisYear(ms) ? dayAndTime : yearAndTime).format(ms));

/** A moment as exactly as points `step` seconds apart are: with seconds below a minute, with the day where it is not today. */
export function momentOf(ms: number, step: number): string {
  const clock = step < 60 ? clockTimeSeconds(ms) : clockTime(ms);
  return new Date(ms).toDateString() === new Date().toDateString() ? clock : `${dayOf(ms)}, ${clock}`;
}

/** A thin space that does not break: groups digits without being mistaken for a decimal sign. */
const GROUP = '\u202f';

/**
 * An amount as the API wrote it, never through a float: digits grouped, trailing zeros beyond `places` decimals left out, decimals beyond `most` cut
 * off (never rounded up: nobody is shown more than there is). Text that is not a plain decimal is shown as it is.
 */
export function money(amount: string | null | undefined, currency = '', places = 2, most = Infinity): string {
  if (amount == null || amount === '') return ABSENT;
  const parts = /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount);
  if (!parts) return currency ? `${amount} ${currency}` : amount;
  const [, sign = '', whole = '', decimals = ''] = parts;
  const grouped = whole.replace(/^0+(?=\d)/, '').replace(/\B(?=(\d{3})+$)/g, GROUP);
  const kept = decimals.slice(0, most).replace(/0+$/, '').padEnd(places, '0');
  return `${sign}${grouped}.${kept}${currency ? ` ${currency}` : ''}`;
}

/** A name of the API as words: `disk_full` → `Disk full`. */
export const titled = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1).replace(/[._]/g, ' ');

/** The API's messages are clauses; on a page they stand alone. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}

/** Name of the browser's time zone and its distance from UTC now: `Europe/Paris, UTC+1`. */
export function timeZone(nowMs: number): string {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  const minutes = -new Date(nowMs).getTimezoneOffset();
  const hours = Math.floor(Math.abs(minutes) / 60);
  const rest = Math.abs(minutes) % 60;
  const offset = minutes === 0 ? 'UTC' : `UTC${minutes < 0 ? '−' : '+'}${hours}${rest ? `:${String(rest).padStart(2, '0')}` : ''}`;
  return timeZone === 'UTC' || !timeZone ? offset : `${timeZone}, ${offset}`;
}
