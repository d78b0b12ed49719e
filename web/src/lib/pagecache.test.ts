import { beforeEach, describe, expect, it } from 'vitest';
import { KEPT_PAGES, PageCache } from './pagecache';

type Row = { id: string; n: number };
const TOP = { first: 0, end: 10 };
const page = (number: number, size = 10): Row[] => Array.from({ length: size }, (_, i) => ({ id: `row-${(number - 1) * 10 + i}`, n: 0 }));

let cache: PageCache<Row>;
beforeEach(() => (cache = new PageCache<Row>(10, (row) => row.id)));

describe('a cache of pages', () => {
  it('asks for the first page before anything is known, then for what is looked at', () => {
    expect(cache.due({ first: 0, end: 0 })).toEqual([1]);
    cache.put(1, page(1), 95, TOP);
    expect(cache.due({ first: 0, end: 25 })).toEqual([2, 3]);
    expect(cache.due(TOP)).toEqual([]);
  });

  it('asks for the pages of a place that is gone back to, before the total is known', () => {
    expect(cache.due({ first: 40, end: 55 })).toEqual([5, 6]);
  });

  it('asks an empty list again whether it is still empty', () => {
    cache.put(1, [], 0, { first: 0, end: 0 });
    expect(cache.due({ first: 0, end: 0 })).toEqual([]);
    cache.age();
    expect(cache.due({ first: 0, end: 0 })).toEqual([1]);
  });

  it('finds rows by their place in the whole list', () => {
    cache.put(3, page(3), 95, TOP);
    expect(cache.at(24)?.id).toBe('row-24');
    expect(cache.at(4)).toBeUndefined();
  });

  it('keeps old rows while newer ones are asked for', () => {
    cache.put(1, page(1), 10, TOP);
    cache.age();
    expect(cache.due(TOP)).toEqual([1]);
    expect(cache.at(0)?.id).toBe('row-0');
  });

  it('takes its other pages as moved when the list grew or shrank', () => {
    cache.put(1, page(1), 30, TOP);
    cache.put(2, page(2), 30, TOP);
    cache.put(3, page(3), 30, TOP);
    cache.put(1, page(1), 15, TOP);
    expect(cache.at(25)).toBeUndefined();
    expect(cache.due({ first: 0, end: 20 })).toEqual([2]);
  });

  it('changes a row where it stands now', () => {
    cache.put(1, page(1), 20, TOP);
    expect(cache.change('row-3', (row) => ({ ...row, n: 7 }))).toBe(true);
    expect(cache.at(3)?.n).toBe(7);
    expect(cache.change('row-11', (row) => row)).toBe(false);
    // It has moved to the other page.
    cache.put(2, [{ id: 'row-3', n: 1 }, ...page(2).slice(1)], 20, TOP);
    cache.put(1, [{ id: 'row-new', n: 0 }, ...page(1).filter((row) => row.id !== 'row-3')], 20, TOP);
    expect(cache.change('row-3', (row) => ({ ...row, n: 9 }))).toBe(true);
    expect(cache.at(10)).toEqual({ id: 'row-3', n: 9 });
  });

  it('keeps a bounded number of pages, those near what is looked at', () => {
    for (let i = 1; i <= KEPT_PAGES + 5; i += 1) cache.put(i, page(i), 10_000, { first: (i - 1) * 10, end: i * 10 });
    expect(cache.at(0)).toBeUndefined();
    expect(cache.at(49)).toBeUndefined();
    expect(cache.at(50)?.id).toBe('row-50');
    expect(cache.change('row-0', (row) => row)).toBe(false);
  });
});
