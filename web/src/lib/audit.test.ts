import { expect, test } from 'vitest';
import { deed, subjectPath } from './audit';

test('deeds have words, and unknown ones keep their name', () => {
  expect(deed('node.create')).toBe('Made a node');
  expect(deed('replica.start_over')).toBe('replica start over');
  expect(deed('constructor')).toBe('constructor');
});

test('subjects lead to their pages', () => {
  expect(subjectPath('node_0192')).toBe('/nodes/node_0192');
  expect(subjectPath('pool_default')).toBe('/pools/pool_default');
  expect(subjectPath('payout_1')).toBe('/payouts/payout_1');
  expect(subjectPath('user_1')).toBeUndefined();
  expect(subjectPath('')).toBeUndefined();
});
