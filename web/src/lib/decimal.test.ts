import { expect, test } from 'vitest';
import { isNothing, isPlain, monthOf, times } from './decimal';

test('a product is exact where a float is not', () => {
  expect(times('0.1', 3)).toBe('0.3');
  expect(times('0.05', 720)).toBe('36.00');
  expect(times('1234567890123456789.12345678', 720)).toBe('888888880888888888168.88888160');
});

test('small amounts keep their zeros', () => {
  expect(times('0.000001', 1)).toBe('0.000001');
  expect(times('0.00000001', 720)).toBe('0.00000720');
  expect(times('0', 720)).toBe('0');
  expect(times('12', 0)).toBe('0');
});

test('what is no plain decimal has no product', () => {
  for (const text of ['', ' ', '.5', '5.', '-1', '+1', '1e3', '1,5', 'NaN', '1 000']) expect(times(text, 2), text).toBeUndefined();
  for (const text of ['', '.5', '1e3', '-1']) expect(isPlain(text), text).toBe(false);
  expect(isPlain(' 0.05 ')).toBe(true);
  for (const text of ['0', '0.00', ' 00 ']) expect(isNothing(text), text).toBe(true);
  for (const text of ['', '0.01', '0.', '0e1']) expect(isNothing(text), text).toBe(false);
  expect(times('1', 1.5)).toBeUndefined();
  expect(times('1', -1)).toBeUndefined();
  expect(times('1', Number.MAX_SAFE_INTEGER + 1)).toBeUndefined();
});

test('a month has 720 hours', () => {
  expect(monthOf(' 0.05 ')).toBe('36.00');
  expect(monthOf('abc')).toBeUndefined();
});
