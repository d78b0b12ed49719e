import { describe, expect, it } from 'vitest';
import { followsHere, pathOf, routeOf } from './routes';

describe('routes', () => {
  it.each([
    ['/', { page: 'overview' }],
    ['/nodes', { page: 'nodes' }],
    ['/nodes/', { page: 'nodes' }],
    ['/nodes/node_1', { page: 'node', nodeId: 'node_1' }],
    ['/pools', { page: 'pools' }],
    ['/pools/pool_1', { page: 'pool', poolId: 'pool_1' }],
    ['/payouts/pay%201', { page: 'payout', payoutId: 'pay 1' }],
    ['/ledger/x', { page: 'missing', path: '/ledger/x' }],
    ['/enrol', { page: 'enrol' }],
    ['/settings', { page: 'settings' }],
    ['/nodes/a/b', { page: 'missing', path: '/nodes/a/b' }],
    ['/nodes/%zz', { page: 'missing', path: '/nodes/%zz' }],
    ['/else', { page: 'missing', path: '/else' }],
  ])('%s', (path, route) => expect(routeOf(path)).toEqual(route));

  it('come back from the path made of them', () => {
    for (const nodeId of ['node_abc', 'a/b', 'ä ?#%']) expect(routeOf(pathOf.node(nodeId))).toEqual({ page: 'node', nodeId });
  });
});

describe('links', () => {
  const origin = 'http://127.0.0.1:8080';
  const click = { button: 0, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, defaultPrevented: false };
  const link = { href: `${origin}/nodes`, target: '', hasDownload: false };

  it('to pages are followed here', () => expect(followsHere(click, link, origin)?.pathname).toBe('/nodes'));

  it.each([
    ['with ctrl', { ...click, ctrlKey: true }, link],
    ['with the middle button', { ...click, button: 1 }, link],
    ['handled already', { ...click, defaultPrevented: true }, link],
    ['to another window', click, { ...link, target: '_blank' }],
    ['that download', click, { ...link, hasDownload: true }],
    ['to another origin', click, { ...link, href: 'http://127.0.0.1:9090/nodes' }],
    ['to the API', click, { ...link, href: `${origin}/api/v1/openapi.json` }],
    ['to metrics', click, { ...link, href: `${origin}/metrics` }],
  ])('%s are left to the browser', (_, how, where) => expect(followsHere(how, where, origin)).toBeNull());
});
