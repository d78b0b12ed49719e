// Arithmetic with the API's decimal texts, exact: digits in, digits out, no float in between.

/** A month as the pages count it. */
export const HOURS_OF_MONTH = 720;

const DECIMAL = /^(\d{1,40})(?:\.(\d{1,40}))?$/;

/** Digits, and perhaps a point with more of them: no sign, no exponent. */
export const isPlain = (amount: string): boolean => DECIMAL.test(amount.trim());
export const isNothing = (amount: string): boolean => /^0+(\.0+)?$/.test(amount.trim());

/** `amount` × `count` with as many decimals as `amount` has; undefined when `amount` is no plain decimal. */
export function times(amount: string, count: number): string | undefined {
  const parts = DECIMAL.exec(amount.trim());
  if (!parts || !Number.isSafeInteger(count) || count < 0) return undefined;
  const [, whole = '', decimals = ''] = parts;
  const digits = (BigInt(whole + decimals) * BigInt(count)).toString().padStart(decimals.length + 1, '0');
  const point = digits.length - decimals.length;
  return decimals === '' ? digits : `${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** What one node comes to in a month of 30 days at this price an hour. */
export const monthOf = (perHour: string): string | undefined => times(perHour, HOURS_OF_MONTH);
