import { expect, it } from 'vitest';
import { fieldsOf } from './refusals';

it.each([
  ['FreshFactorNeeded', { password: 'is wrong' }],
  ['NodeNameTaken', { name: 'is taken: another node of the pool has it' }],
  ['PoolExists', { name: 'is taken: another pool has it' }],
  ['UserExists', { username: 'is taken' }],
  ['PoolFull', { pool_id: 'is full' }],
])('%s is about a field', (refusal, fields) => expect(fieldsOf(refusal, {})).toEqual(fields));

it('leaves every other refusal to say its fields itself', () => {
  expect(fieldsOf('Invalid', { uses: 'must be 1 to 100' })).toEqual({ uses: 'must be 1 to 100' });
  expect(fieldsOf('Throttled', {})).toEqual({});
});
