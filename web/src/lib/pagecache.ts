// The pages of a long list that are in memory: which are there, which have grown old, and where a row stands.
import { pagesOf, type Rows } from './window';

/** Pages kept at most; those furthest from what is looked at go first. */
export const KEPT_PAGES = 40;

type Page<T> = { rows: T[]; fresh: boolean };

export class PageCache<T> {
  /** Rows of the whole list, as the newest answer told; undefined before the first. */
  total: number | undefined;
  #pages = new Map<number, Page<T>>();
  #where = new Map<string, number>();

  constructor(
    readonly size: number,
    private readonly keyOf: (row: T) => string,
  ) {}

  /** The row at an index of the whole list, if its page is here. */
  at(index: number): T | undefined {
    return this.#pages.get(Math.floor(index / this.size) + 1)?.rows[index % this.size];
  }

  /** Pages of these rows that are missing or old. Where no row is looked at, the first page tells whether there are any. */
  due(rows: Rows): number[] {
    const pages = rows.end <= rows.first ? [1] : pagesOf(rows, this.size);
    return pages.filter((page) => !this.#pages.get(page)?.fresh);
  }

  /** A list that grew or shrank has moved its rows: what else is here is old then. */
  put(page: number, rows: T[], total: number, looking: Rows): void {
    if (this.total !== undefined && this.total !== total) {
      this.age();
      for (const other of [...this.#pages.keys()]) if ((other - 1) * this.size >= total) this.#drop(other);
    }
    this.total = total;
    this.#drop(page);
    this.#pages.set(page, { rows, fresh: true });
    rows.forEach((row, i) => this.#where.set(this.keyOf(row), (page - 1) * this.size + i));
    this.#evict(looking);
  }

  /** Everything is to be asked for again; what is here stays until it is answered. */
  age(): void {
    for (const page of this.#pages.values()) page.fresh = false;
  }

  clear(): void {
    this.total = undefined;
    this.#pages.clear();
    this.#where.clear();
  }

  /** Changes a row in place; false when it is not here. */
  change(key: string, update: (row: T) => T): boolean {
    const index = this.#where.get(key);
    const page = index === undefined ? undefined : this.#pages.get(Math.floor(index / this.size) + 1);
    const row = index === undefined ? undefined : page?.rows[index % this.size];
    if (index === undefined || !page || row === undefined || this.keyOf(row) !== key) return false;
    page.rows[index % this.size] = update(row);
    return true;
  }

  #drop(page: number): void {
    const first = (page - 1) * this.size;
    this.#pages.get(page)?.rows.forEach((row, i) => {
      // The row may have been told meanwhile to stand elsewhere.
      if (this.#where.get(this.keyOf(row)) === first + i) this.#where.delete(this.keyOf(row));
    });
    this.#pages.delete(page);
  }

  #evict(looking: Rows): void {
    const middle = (looking.first + looking.end) / 2 / this.size + 1;
    const byDistance = [...this.#pages.keys()].sort((a, b) => Math.abs(b - middle) - Math.abs(a - middle));
    for (const page of byDistance.slice(0, Math.max(0, byDistance.length - KEPT_PAGES))) this.#drop(page);
  }
}
