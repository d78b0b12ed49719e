import { describe, expect, it } from 'vitest';
import { count, counted, halfHours, halfHoursText, need, provenPercent, uptimeSums } from './fleet';

const at = (n: number) => new Date(1_800_000_000_000 + n * 1_800_000).toISOString();

describe('shares', () => {
  it('never shows a miss as 100 %', () => {
    expect(provenPercent(999_999, 1_000_000)).toBe('99.99 %');
    expect(provenPercent(1_000_000, 1_000_000)).toBe('100.00 %');
    expect(provenPercent(0, 5)).toBe('0.00 %');
  });
  it('keeps what is exact in spite of binary fractions', () => {
    expect(provenPercent(29, 100)).toBe('29.00 %');
    expect(provenPercent(57, 100)).toBe('57.00 %');
  });
  it('says nothing about nothing', () => expect(provenPercent(0, 0)).toBeNull());
});

describe('half-hours', () => {
  const cells = halfHours([
    { at: at(0), proven: 60, observed: 60 },
    { at: at(1), proven: 59, observed: 60 },
    { at: at(2), proven: 0, observed: 0 },
    { at: at(3), proven: 0, observed: 0 },
  ]);
  it('tell whole, part, unobserved and the one that has just begun apart', () => {
    expect(cells.map((c) => c.kind)).toEqual(['whole', 'part', 'unobserved', 'open']);
  });
  it('add up, and what was not observed is neither proven nor missed', () => {
    expect(uptimeSums(cells)).toEqual({ proven: 119, observed: 120, missed: 1, unobserved: 1 });
  });
  it('are told as time', () => expect([1, 2, 3].map(halfHoursText)).toEqual(['30 min', '1 h', '1.5 h']));
});

describe('counts', () => {
  it('group digits', () => expect(count(1_234_567)).toBe('1\u202f234\u202f567'));
  it('agree with their noun', () => expect([counted(1, 'node'), counted(0, 'node')]).toEqual(['1 node', '0 nodes']));
});

describe('what needs a person', () => {
  const nodes = [{ node_id: 'node_a', name: 'attic' }];
  it('leads to the one node that is meant', () => {
    expect(need({ kind: 'fingerprint_drift', count: 1, nodes }, 'admin').action).toEqual({ label: 'Compare and accept', href: '/nodes/node_a' });
  });
  it('names no single place where there are several: the nodes are named instead', () => {
    expect(need({ kind: 'address_missing', count: 2, nodes }, 'admin').action).toBeNull();
  });
  it('does not tell a viewer to do what only an admin may', () => {
    const said = need({ kind: 'fingerprint_drift', count: 1, nodes }, 'viewer');
    expect(said.text).toContain('an admin');
    expect(said.action?.label).toBe('Look at it');
  });
  it('sends only those to the recovery kit who may make it', () => {
    const kit = { kind: 'recovery_kit_missing', count: 1, nodes: [] } as const;
    expect(need({ ...kit, nodes: [] }, 'super_admin').action?.href).toBe('/settings?tab=recovery');
    expect(need({ ...kit, nodes: [] }, 'admin').action).toBeNull();
    expect(need({ ...kit, nodes: [] }, 'admin').text).toContain('super admin');
  });
  it('agrees in number', () => {
    expect(need({ kind: 'payout_review', count: 1, nodes }, 'viewer').title).toBe('1 payout waits for a decision');
    expect(need({ kind: 'payout_review', count: 2, nodes }, 'viewer').title).toBe('2 payouts wait for a decision');
  });
});
