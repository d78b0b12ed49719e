// A long list of which only what is looked at is loaded, page by page.
import { onDestroy, untrack } from 'svelte';
import { ApiError, asApiError } from './api/client';
import { PageCache } from './pagecache';
import { session } from './session.svelte';
import type { Rows } from './window';

export type Part<T> = { rows: T[]; total: number };

/** Requests under way at once. */
const CONCURRENT = 2;
const SOON_MS = 400;
const RETRY_MS = 5_000;
const NOTHING: Rows = { first: 0, end: 0 };

/** What of a list is found again when it is gone back to. */
export type Kept<T> = { key: string; cache: PageCache<T>; loadedAtMs: number | undefined };

export class PagedList<T> {
  error = $state.raw<ApiError | undefined>(undefined);
  /** Unix milliseconds (this browser's) of the newest answer. */
  loadedAtMs = $state<number | undefined>(undefined);
  busy = $state(false);
  /** Rows of the whole list; undefined before anything is known. */
  total = $state<number | undefined>(undefined);
  /** What is shown answers a question asked before. */
  outdated = $state(false);

  #fetch: (page: number, signal: AbortSignal) => Promise<Part<T>>;
  #cache: PageCache<T>;
  #key = '';
  /** Counts changes of the cache, which itself is no state: reports change it many times between two frames. */
  #version = $state(0);
  #bumping = false;
  #looking: Rows = NOTHING;
  #running = new Map<number, AbortController>();
  #soon: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Something happened while answers were on their way. */
  #again = false;
  #closed = false;

  /**
   * Made while a component is set up, whose end closes it. `question` says what the list is of: when it changes, the list is another one.
   * `kept` is the list as it was left, `expected` its length before the first answer.
   */
  constructor(
    size: number,
    keyOf: (row: T) => string,
    question: () => string,
    fetch: (page: number, signal: AbortSignal) => Promise<Part<T>>,
    kept?: Kept<T>,
    expected?: number,
  ) {
    this.#fetch = fetch;
    this.#key = untrack(question);
    this.#cache = kept?.key === this.#key ? kept.cache : new PageCache(size, keyOf);
    this.loadedAtMs = kept?.key === this.#key ? kept.loadedAtMs : undefined;
    this.total = this.#cache.total ?? expected;
    onDestroy(() => this.#close());
    $effect(() => {
      const key = question();
      void session.generation;
      untrack(() => this.#ask(key));
    });
  }

  /** For `LoadState`: something is on screen. */
  get data(): object | undefined {
    return this.loadedAtMs === undefined ? undefined : this;
  }

  get stale(): boolean {
    return this.data !== undefined && this.error !== undefined;
  }

  get kept(): Kept<T> {
    return { key: this.#key, cache: this.#cache, loadedAtMs: this.loadedAtMs };
  }

  at(index: number): T | undefined {
    void this.#version;
    return this.#cache.at(index);
  }

  /** These rows are on screen. */
  look(rows: Rows): void {
    this.#looking = rows;
    this.#pump();
  }

  /** Asks again for everything, what is on screen first. */
  async load(): Promise<void> {
    clearTimeout(this.#soon);
    clearTimeout(this.#retry);
    this.#soon = this.#retry = undefined;
    this.#again = false;
    // What is on its way was asked before whatever made us ask again.
    this.#abort(() => true);
    this.#cache.age();
    this.#pump();
  }

  /** Asks again once shortly, however many events ask for it. */
  loadSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      // Many events in a row must not drop each answer before it has come.
      if (this.#running.size > 0) this.#again = true;
      else void this.load();
    }, SOON_MS);
  }

  /** Changes a row in place; drawn with the next frame. */
  change(key: string, update: (row: T) => T): void {
    if (!this.#cache.change(key, update) || this.#bumping) return;
    this.#bumping = true;
    requestAnimationFrame(() => {
      this.#bumping = false;
      this.#version += 1;
    });
  }

  /** These rows, asked for where they are not here; `said` hears how many there are so far. */
  async rows({ first, end }: Rows, signal: AbortSignal, said?: (count: number) => void): Promise<T[]> {
    const rows: T[] = [];
    let index = first;
    while (index < end) {
      const row = this.#cache.at(index);
      if (row !== undefined) {
        rows.push(row);
        index += 1;
        continue;
      }
      const page = Math.floor(index / this.#cache.size) + 1;
      const part = await this.#fetch(page, signal);
      const wanted = part.rows.slice(index % this.#cache.size, end - (page - 1) * this.#cache.size);
      rows.push(...wanted);
      said?.(rows.length);
      if (part.rows.length < this.#cache.size) break;
      index += wanted.length;
    }
    return rows;
  }

  #ask(key: string): void {
    if (key !== this.#key) {
      this.#key = key;
      this.#looking = NOTHING;
      this.outdated = true;
    }
    void this.load();
  }

  #pump(): void {
    if (this.#closed) return;
    this.busy = this.#running.size > 0;
    if (this.#retry !== undefined) return;
    // Another list begins at its beginning, and its length is not known.
    const due = this.outdated ? [1] : this.#cache.due(this.#looking);
    this.#abort((page) => !due.includes(page));
    for (const page of due) {
      if (this.#running.size >= CONCURRENT) break;
      if (!this.#running.has(page)) void this.#get(page);
    }
    this.busy = this.#running.size > 0;
  }

  async #get(page: number): Promise<void> {
    const running = new AbortController();
    this.#running.set(page, running);
    try {
      const part = await this.#fetch(page, running.signal);
      if (this.#running.get(page) !== running) return;
      if (this.outdated) this.#cache.clear();
      this.outdated = false;
      this.#cache.put(page, part.rows, part.total, this.#looking);
      this.total = part.total;
      this.error = undefined;
      this.loadedAtMs = Date.now();
      this.#version += 1;
    } catch (error) {
      if (this.#running.get(page) !== running) return;
      this.error = asApiError(error);
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        this.#pump();
      }, RETRY_MS);
    }
    this.#running.delete(page);
    this.#pump();
    if (this.#again && this.#running.size === 0) {
      this.#again = false;
      this.loadSoon();
    }
  }

  #abort(which: (page: number) => boolean): void {
    for (const [page, running] of this.#running) {
      if (!which(page)) continue;
      this.#running.delete(page);
      running.abort();
    }
  }

  #close(): void {
    this.#closed = true;
    clearTimeout(this.#soon);
    clearTimeout(this.#retry);
    this.#abort(() => true);
  }
}
