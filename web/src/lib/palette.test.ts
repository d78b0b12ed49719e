import { describe, expect, it } from 'vitest';
import { matches, rank } from './palette';

describe('ranking', () => {
  it.each([
    ['Nodes', 'nodes', 0],
    ['Nodes', 'no', 1],
    ['Enrol a node', 'node', 2],
    ['pi-attic', 'attic', 2],
    ['Ledger', 'edge', 3],
    ['Operational time', 'opt', 4],
    ['Nodes', 'x', null],
    ['Nodes', '  ', 3],
  ])('%s for “%s” is %s', (label, typed, expected) => expect(rank(label, typed)).toBe(expected));

  it('puts better matches first, keeps the order of equal ones, and looks at details last', () => {
    const items = ['Enrol a node', 'Nodes', 'Pools', 'node-7'].map((label) => ({ label, detail: label === 'Pools' ? 'groups of nodes' : '' }));
    expect(matches(items, 'node', 10).map((i) => i.label)).toEqual(['Nodes', 'node-7', 'Enrol a node', 'Pools']);
    expect(matches(items, '', 2).map((i) => i.label)).toEqual(['Enrol a node', 'Nodes']);
  });
});
