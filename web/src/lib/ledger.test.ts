import { describe, expect, it } from 'vitest';
import { accountParts, negated, sumOf } from './ledger';

describe('sums of decimal texts', () => {
  it.each([
    [[], '0'],
    [['1.5', '-0.25'], '1.25'],
    [['0.1', '0.2'], '0.3'],
    [['-0.000001', '0'], '-0.000001'],
    [['9007199254740993', '0.000001'], '9007199254740993.000001'],
    [['-1', '1'], '0'],
  ])('%j is %s', (amounts, sum) => expect(sumOf(amounts)).toBe(sum));

  it('agree with integers in units, whatever the decimals', () => {
    let seed = 42n;
    const random = () => (seed = (seed * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n);
    for (let round = 0; round < 200; round += 1) {
      const units = Array.from({ length: 5 }, () => (random() % 2_000_000_000n) - 1_000_000_000n);
      const text = (n: bigint) => `${n < 0n ? '-' : ''}${(n < 0n ? -n : n) / 1_000_000n}.${String((n < 0n ? -n : n) % 1_000_000n).padStart(6, '0')}`;
      const expected = text(units.reduce((a, b) => a + b, 0n));
      expect(sumOf(units.map(text))).toBe(expected === '-0.000000' ? '0.000000' : expected);
    }
  });

  it('negate without minus zero', () => expect([negated('1'), negated('-1'), negated('0.00')]).toEqual(['-1', '1', '0.00']));
});

it('accounts have a kind and an owner', () => {
  expect(accountParts('node_payable:node_1')).toEqual({ kind: 'node_payable', id: 'node_1' });
  expect(accountParts('adjustment')).toEqual({ kind: 'adjustment', id: '' });
});
