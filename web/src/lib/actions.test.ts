import { describe, expect, it } from 'vitest';
import { nodes, portions, refusals, wordsOf } from './actions';

const full = { name: 'MaintenanceUsedUp', message: 'the node has had its 8 hours of maintenance in 7 days' };
const gone = { name: 'NodeNotFound', message: 'no node has this id' };

describe('refusals', () => {
  it('stand together by their name, the commonest first', () => {
    const found = refusals([
      { id: 'a', error: gone },
      { id: 'b', error: null },
      { id: 'c', error: full },
      { id: 'd', error: full },
    ]);
    expect(found.map((refused) => [refused.name, refused.ids])).toEqual([
      ['MaintenanceUsedUp', ['c', 'd']],
      ['NodeNotFound', ['a']],
    ]);
  });
  it('are none when all went well', () => expect(refusals([{ id: 'a', error: null }])).toEqual([]));
});

it('portions leave nothing out', () => {
  expect(portions([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
  expect(portions([], 2)).toEqual([]);
});

it('every action says what it means for pay', () => {
  for (const action of ['start', 'stop', 'maintenance', 'end_maintenance'] as const) {
    expect(wordsOf(action, true).meaning.join(' ')).toMatch(/paid/);
  }
});

it('an operator is told that maintenance waits for an hour', () => {
  expect(wordsOf('maintenance', false).meaning[0]).toMatch(/in an hour/);
  expect(wordsOf('maintenance', true).meaning[0]).not.toMatch(/in an hour and/);
});

it('counts nodes', () => expect([nodes(1), nodes(2), nodes(10_000)]).toEqual(['1 node', '2 nodes', '10,000 nodes']));
