import { describe, expect, it } from 'vitest';
import { ABSENT, ago, bytes, celsius, countdown, dateTime, exact, money, percent, rate, share, span, unixMs } from './format';

describe('money', () => {
  it('cuts what is beyond the decimals that are shown, and never rounds up', () => {
    expect(money('0.2626819', '', 2, 6)).toBe('0.262681');
    expect(money('0.0000009', '', 2, 6)).toBe('0.00');
    expect(money('1.5', 'USDT', 6, 6)).toBe('1.500000 USDT');
  });

  it.each([
    ['0.05', '0.05'],
    ['0', '0.00'],
    ['0.012300', '0.0123'],
    ['0.000000000001', '0.000000000001'],
    ['12.5', '12.50'],
    ['-1234.5', '-1\u202f234.50'],
    ['1234567.100000', '1\u202f234\u202f567.10'],
    ['007', '7.00'],
  ])('writes %s as %s', (amount, text) => expect(money(amount)).toBe(text));

  it('keeps digits that a float would lose', () => {
    expect(money('9007199254740993.123456789012', 'USDT')).toBe('9\u202f007\u202f199\u202f254\u202f740\u202f993.123456789012 USDT');
  });

  it('shows what it cannot read as it is, and nothing as absent', () => {
    expect(money('1e5', 'USDT')).toBe('1e5 USDT');
    expect(money('12,5')).toBe('12,5');
    expect(money(null)).toBe(ABSENT);
    expect(money('')).toBe(ABSENT);
  });
});

describe('sizes and rates', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1023.7 * 1024, '1.0 MiB'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 3 * 3.2, '3.2 GiB'],
    [1024 ** 2 * 120, '120 MiB'],
    [1024 ** 6, '1024 PiB'],
  ])('writes %d bytes as %s', (n, text) => expect(bytes(n)).toBe(text));

  it.each([
    [0, '0 B/s'],
    [999, '999 B/s'],
    [1000, '1.0 kB/s'],
    [2_500_000, '2.5 MB/s'],
  ])('writes %d per second as %s', (n, text) => expect(rate(n)).toBe(text));

  it('never shows the absent as zero', () => {
    for (const absent of [null, undefined, NaN]) {
      expect(bytes(absent)).toBe(ABSENT);
      expect(rate(absent)).toBe(ABSENT);
      expect(percent(absent)).toBe(ABSENT);
      expect(celsius(absent)).toBe(ABSENT);
    }
    expect(share(null, 5)).toBeNull();
    expect(share(5, 0)).toBeNull();
    expect(share(1, 4)).toBe(25);
    expect(percent(0)).toBe('0.0 %');
  });
});

describe('a date', () => {
  it('has its year where that is not this one', () => {
    const year = new Date().getFullYear();
    const june = (of: number) => dateTime(new Date(of, 5, 15, 12).getTime());
    expect(june(year)).not.toContain(String(year));
    expect(june(year - 1)).toContain(String(year - 1));
    expect(june(year + 1)).toContain(String(year + 1));
    expect(dateTime(null)).toBe(ABSENT);
  });
});

describe('time', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');

  it.each([
    [0, 'just now'],
    [1_999, 'just now'],
    [2_000, '2 s ago'],
    [59_999, '59 s ago'],
    [60_000, '1 min ago'],
    [3_599_999, '59 min ago'],
    [3_600_000, '1 h ago'],
    [86_400_000 * 3, '3 d ago'],
    [-30_000, 'just now'],
    [-61_000, 'in 1 min'],
  ])('says %d ms ago as %s', (passed, text) => expect(ago(now - passed, now)).toBe(text));

  it('says never for what never was', () => {
    expect(ago(null, now)).toBe('never');
    expect(ago(unixMs('no time'), now)).toBe('never');
  });

  it.each([
    [0, '0:00'],
    [59.9, '0:59'],
    [754, '12:34'],
    [3599, '59:59'],
    [3600, '1:00:00'],
    [-5, '0:00'],
  ])('counts %d s as %s', (seconds, text) => expect(countdown(seconds)).toBe(text));

  it.each([
    [3600, '1 h'],
    [7200, '2 h'],
    [5400, '90 min'],
    [45, '45 s'],
    [0, '0 s'],
  ])('names %d s exactly as %s', (seconds, text) => expect(exact(seconds)).toBe(text));

  it('rounds spans down', () => {
    expect(span(119)).toBe('1 min');
    expect(span(0.5)).toBe('0 s');
  });
});
