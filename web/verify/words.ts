// How times, amounts and formulas are written.
import { factorsOf, SLOT_SECONDS, twoDecimals } from './check';
import type { Proof } from './format';

export const count = (n: bigint): string => n.toLocaleString('en');

/** When a slot begins, by the reader's clock. */
export const slotTime = (slot: bigint): string => time(slot * SLOT_SECONDS * 1000n);

export function time(ms: bigint): string {
  const date = new Date(Number(ms));
  if (Number.isNaN(date.getTime())) return `${ms} ms`;
  return date.toLocaleString('en', { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZoneName: 'short' });
}

/** `22 h 16 min`; what is shorter than a minute in seconds. */
export function duration(slots: bigint): string {
  const seconds = slots * SLOT_SECONDS;
  const [hours, minutes] = [seconds / 3600n, (seconds / 60n) % 60n];
  const parts = [hours ? `${count(hours)} h` : '', minutes ? `${minutes} min` : '', seconds % 60n && !hours ? `${seconds % 60n} s` : ''];
  return parts.filter(Boolean).join(' ') || '0 s';
}

/** An integer of 10^-places units, with the digits that it has. */
export function decimal(value: bigint, places: number): string {
  const digits = String(value < 0n ? -value : value).padStart(places + 1, '0');
  const fraction = digits.slice(-places).replace(/0+$/, '');
  return `${value < 0n ? '−' : ''}${digits.slice(0, -places)}${fraction ? `.${fraction}` : ''}`;
}

/** How the score comes, or does not come, from the inputs; factors without weight change nothing and are left out. */
export function formula({ leaf, head }: Proof, holds: boolean): string {
  const factors = factorsOf(leaf.inputs, head.params).filter(({ weight }) => weight > 0n);
  const parts = factors.map(({ over, under, weight }) => ` × (1 − ${weight} % × (1 − ${over}/${under}))`);
  return `100 × ${leaf.inputs.proven}/${leaf.inputs.observed}${parts.join('')} ${holds ? '=' : '≠'} ${twoDecimals(leaf.score_hundredths)}`;
}
