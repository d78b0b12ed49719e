// What a page loads: the last good answer, when it came, and what went wrong since.
import { onDestroy, untrack } from 'svelte';
import { ApiError, asApiError } from './api/client';
import type { LiveEvents } from './api/types';
import { live } from './live/live.svelte';
import { session } from './session.svelte';

const SOON_MS = 400;

/** Runs each `ms` until the returned function is called. */
export function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms);
  return () => clearInterval(timer);
}

/** What `LoadState` needs to know of anything that loads. */
export type Loading = Pick<Query<unknown>, 'data' | 'error' | 'loadedAtMs' | 'busy' | 'stale' | 'load'>;

export class Query<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state.raw<ApiError | undefined>(undefined);
  /** Unix milliseconds (this browser's) of the answer in `data`. */
  loadedAtMs = $state<number | undefined>(undefined);
  busy = $state(false);

  #fetch: (signal: AbortSignal) => Promise<T>;
  #running: AbortController | undefined;
  #soon: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /**
   * Made while a component is set up, whose end closes it. Unless it waits to be asked, it loads at once, and again when state that
   * `fetch` reads before its first await changes, or when somebody signs in.
   */
  constructor(fetch: (signal: AbortSignal) => Promise<T>, waits = false) {
    this.#fetch = fetch;
    onDestroy(() => this.#close());
    // What could not be loaded while the line was broken is asked for again when it is back.
    $effect(() => {
      if (live.link.state === 'live' && untrack(() => this.error?.unreachable)) this.loadSoon();
    });
    if (waits) return;
    $effect(() => {
      void session.generation;
      void this.load();
    });
  }

  /** The data on screen is older than the manager's: the last try to renew it failed. */
  get stale(): boolean {
    return this.data !== undefined && this.error !== undefined;
  }

  /** Asks now; an older question that is still out is dropped, so that answers never overtake each other. */
  async load(): Promise<void> {
    if (this.#closed) return;
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.busy = true;
    try {
      const data = await this.#fetch(running.signal);
      if (this.#running !== running) return;
      this.data = data;
      this.error = undefined;
      this.loadedAtMs = Date.now();
    } catch (error) {
      if (this.#running === running) this.error = asApiError(error);
    } finally {
      if (this.#running === running) {
        this.busy = false;
        this.#running = undefined;
      }
    }
  }

  /** Asks once shortly, however many events ask for it. */
  loadSoon(): void {
    this.#soon ??= setTimeout(() => void this.load(), SOON_MS);
  }

  /** For as long as its component is there: asks again after events of these types (of one node only, if so), after a stretch of missed ones, and each `ms`. */
  follow(types: readonly (keyof LiveEvents)[], ms?: number, node?: () => string): this {
    const renew = (event: { node_id?: string }) => {
      if (!node || (event.node_id ?? node()) === node()) this.loadSoon();
    };
    $effect(() => live.hear(Object.fromEntries([...types, 'reset'].map((type) => [type, renew]))));
    if (ms) $effect(() => every(ms, () => this.loadSoon()));
    return this;
  }

  /** Replaces the data by what an event said. */
  change(update: (data: T) => T): void {
    if (this.data !== undefined) this.data = update(this.data);
  }

  #close(): void {
    this.#closed = true;
    clearTimeout(this.#soon);
    this.#running?.abort();
    this.#running = undefined;
  }
}
