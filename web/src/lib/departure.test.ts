import { expect, it } from 'vitest';
import type { Balances } from './api/types';
import { isOwed, owedTo, stageText, staysOwed, waysOf } from './departure';

const node = { node_id: 'node_1', payable: '2.50', accrued: '0.000', currency: 'USDT' as const, settlement: 'simulated' as const };
const book = (settlement: 'live' | 'simulated', ...accounts: [string, string][]): Balances['books'][number] => ({
  settlement,
  currency: 'USDT',
  sum: '0',
  accounts: accounts.map(([account, balance]) => ({ account, balance })),
});

it('finds what is owed to a node in both books, and to no other', () => {
  const books = [
    book('live', ['pool_expense:pool_default', '-13.7'], ['node_payable:node_1', '13.7'], ['node_reserved:node_1', '0'], ['node_payable:node_12', '9']),
    book('simulated', ['node_payable:node_1', '0.00'], ['node_reserved:node_1', '2.5'], ['node_paid:node_1', '40']),
  ];
  const owed = owedTo(node, books);
  expect(owed.map(({ settlement, what, amount }) => [settlement, what, amount])).toEqual([
    ['live', 'payable', '13.7'],
    ['simulated', 'reserved', '2.5'],
  ]);
  expect([isOwed(node, owed), staysOwed(node, owed), staysOwed({ settlement: 'live' }, owed)]).toEqual([true, true, false]);
});

it('knows of one book where the others are not shown', () => {
  expect(owedTo(node).map(({ amount }) => amount)).toEqual(['2.50']);
  expect(owedTo({ ...node, payable: '0.00' })).toEqual([]);
  expect([isOwed({ accrued: '0.000001' }, []), isOwed({ accrued: '0' }, [])]).toEqual([true, false]);
});

it('begins with what does no harm', () => {
  expect(waysOf(false, true).map(({ value }) => value)).toEqual(['plain', 'final_payout', 'forfeit']);
  expect(waysOf(true, true).map(({ value }) => value)).toEqual(['final_payout', 'forfeit']);
});

it('leaves what is owed to an admin', () => {
  expect(waysOf(false, false).map(({ value }) => value)).toEqual(['plain']);
  expect(waysOf(true, false)).toEqual([]);
});

it('says what holds it', () => {
  expect(stageText({ stage: 'held', held_because: 'the node has no payout address' })).toBe('It is held: the node has no payout address.');
});
