// Which page a path names. History routing: the manager answers every unknown path with index.html.

export type Route =
  | { page: 'nodes' }
  | { page: 'node'; nodeId: string }
  | { page: 'enrol' }
  | { page: 'settings' }
  | { page: 'missing'; path: string };

export function routeOf(pathname: string): Route {
  const parts = pathname.split('/').filter((part) => part !== '');
  const [first, second] = parts;
  if (parts.length === 0 || (first === 'nodes' && parts.length === 1)) return { page: 'nodes' };
  if (first === 'nodes' && second !== undefined && parts.length === 2) {
    const nodeId = decoded(second);
    if (nodeId !== null) return { page: 'node', nodeId };
  }
  if (first === 'enrol' && parts.length === 1) return { page: 'enrol' };
  if (first === 'settings' && parts.length === 1) return { page: 'settings' };
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
  nodes: () => '/nodes',
  node: (nodeId: string) => `/nodes/${encodeURIComponent(nodeId)}`,
  enrol: () => '/enrol',
  settings: () => '/settings',
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
  const foreign = url.origin !== origin || /^\/(api|assets|docs|health|metrics)(\/|$)/.test(url.pathname);
  return foreign ? null : url;
}
