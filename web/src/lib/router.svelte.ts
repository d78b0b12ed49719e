// The address bar as state.
import { followsHere, routeOf, type Route } from './routes';

class Router {
  #url = $state.raw(new URL(location.href));

  readonly route: Route = $derived(routeOf(this.#url.pathname));
  readonly query: URLSearchParams = $derived(this.#url.searchParams);
  /** Of a list, counted from 1. */
  readonly page: number = $derived(Math.max(1, Math.floor(Number(this.query.get('page'))) || 1));

  constructor() {
    addEventListener('popstate', () => {
      const dialog = document.querySelector<HTMLDialogElement>('dialog[open]');
      if (!dialog) return void (this.#url = new URL(location.href));
      // The way back out of a dialog leads to the page it stands on.
      history.pushState(null, '', this.#url);
      dialog.requestClose?.();
    });
    document.addEventListener('click', (event) => {
      const link = event.target instanceof Element ? event.target.closest('a') : null;
      const url = link && followsHere(event, { href: link.href, target: link.target, hasDownload: link.hasAttribute('download') }, location.origin);
      if (!url) return;
      event.preventDefault();
      if (url.href !== location.href) this.go(url.pathname + url.search);
    });
  }

  go(path: string): void {
    history.pushState(null, '', path);
    this.#url = new URL(location.href);
    scrollTo(0, 0);
    // A reader of the screen is told that the page changed by moving to its start.
    queueMicrotask(() => document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true }));
  }

  readonly turnTo = (page: number): void => this.setQuery({ page: page > 1 ? String(page) : '' });

  /** Changes the query in place: filters are no steps to go back through. */
  setQuery(change: Record<string, string>): void {
    const url = new URL(this.#url);
    for (const [key, value] of Object.entries(change)) {
      if (value === '') url.searchParams.delete(key);
      else url.searchParams.set(key, value);
    }
    history.replaceState(history.state, '', url);
    this.#url = url;
  }
}

export const router = new Router();
