// Which page a path names. History routing: the manager answers every unknown path with index.html.

/** Pages without a part of their own in the path. */
const PLAIN = ['overview', 'nodes', 'pools', 'poot', 'payouts', 'money', 'ledger', 'alerts', 'audit', 'enrol', 'storage', 'replication', 'fleet', 'settings', 'about', 'setup'] as const;
type Plain = (typeof PLAIN)[number];

export type Route =
  | { page: Plain }
  | { page: 'node'; nodeId: string }
  | { page: 'pool'; poolId: string }
  | { page: 'payout'; payoutId: string }
  | { page: 'missing'; path: string };
export type PageName = Route['page'];

export function routeOf(pathname: string): Route {
  const parts = pathname.split('/').filter((part) => part !== '');
  const [first, second] = parts;
  if (first === undefined) return { page: 'overview' };
  const plain = PLAIN.find((page) => page === first);
  if (plain && parts.length === 1) return { page: plain };
  const id = second === undefined || parts.length !== 2 ? null : decoded(second);
  if (id !== null && first === 'nodes') return { page: 'node', nodeId: id };
  if (id !== null && first === 'pools') return { page: 'pool', poolId: id };
  if (id !== null && first === 'payouts') return { page: 'payout', payoutId: id };
  return { page: 'missing', path: pathname };
}

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

export const pathOf = {
  page: (page: Plain) => (page === 'overview' ? '/' : `/${page}`),
  node: (nodeId: string) => `/nodes/${encodeURIComponent(nodeId)}`,
  pool: (poolId: string) => `/pools/${encodeURIComponent(poolId)}`,
  payout: (payoutId: string) => `/payouts/${encodeURIComponent(payoutId)}`,
};

/** What a click on a link needs to be for the page to follow it itself. */
export type Click = { button: number; ctrlKey: boolean; metaKey: boolean; shiftKey: boolean; altKey: boolean; defaultPrevented: boolean };

/** Plain left clicks on links of this origin, to pages: not downloads, other targets, or paths that belong to the API. */
export function followsHere(
  click: Click,
  link: { href: string; target: string; hasDownload: boolean },
  origin: string,
): URL | null {
  if (click.defaultPrevented || click.button !== 0 || click.ctrlKey || click.metaKey || click.shiftKey || click.altKey) return null;
  if (link.hasDownload || (link.target !== '' && link.target !== '_self') || link.href === '') return null;
  const url = new URL(link.href, origin);
  const foreign = url.origin !== origin || /^\/(api|assets|docs|health|metrics|verify)(\/|$)/.test(url.pathname);
  return foreign ? null : url;
}
