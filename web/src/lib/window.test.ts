import { describe, expect, it } from 'vitest';
import { between, indices, moved, pagesOf, rowsInView } from './window';

describe('rowsInView', () => {
  it('draws what is in view and some spare rows', () => {
    expect(rowsInView(1000, 50, 0, 500, 0)).toEqual({ first: 0, end: 10 });
    expect(rowsInView(1000, 50, 5_000, 500, 4)).toEqual({ first: 96, end: 114 });
  });
  it('counts a row that is partly in view', () => {
    expect(rowsInView(1000, 50, 75, 500, 0)).toEqual({ first: 1, end: 12 });
  });
  it('stays inside the list', () => {
    expect(rowsInView(12, 50, 400, 5_000, 8)).toEqual({ first: 0, end: 12 });
    expect(rowsInView(0, 50, 0, 500, 8)).toEqual({ first: 0, end: 0 });
  });
  it('draws no more than the edge when the list is above or below the window', () => {
    expect(rowsInView(1000, 50, -900, 500, 0)).toEqual({ first: 0, end: 0 });
    expect(rowsInView(10, 50, 9_000, 500, 0)).toEqual({ first: 10, end: 10 });
  });
});

describe('indices', () => {
  const rows = { first: 4, end: 7 };
  it('are in order, with the row that keeps the focus', () => {
    expect(indices(rows, 5, 100)).toEqual([4, 5, 6]);
    expect(indices(rows, 1, 100)).toEqual([1, 4, 5, 6]);
    expect(indices(rows, 70, 100)).toEqual([4, 5, 6, 70]);
  });
  it('leave out a row that is not there any more', () => {
    expect(indices(rows, 100, 100)).toEqual([4, 5, 6]);
    expect(indices(rows, -1, 100)).toEqual([4, 5, 6]);
  });
});

describe('pagesOf', () => {
  it('names each page once', () => {
    expect(pagesOf({ first: 0, end: 100 }, 100)).toEqual([1]);
    expect(pagesOf({ first: 99, end: 101 }, 100)).toEqual([1, 2]);
    expect(pagesOf({ first: 250, end: 420 }, 100)).toEqual([3, 4, 5]);
    expect(pagesOf({ first: 3, end: 3 }, 100)).toEqual([]);
  });
});

describe('moved', () => {
  it('moves by a row, by a screen, and to the ends', () => {
    expect(['ArrowDown', 'j', 'ArrowUp', 'k', 'PageDown', 'PageUp', 'Home', 'End'].map((key) => moved(key, 50, 100, 20))).toEqual([51, 51, 49, 49, 70, 30, 0, 99]);
  });
  it('stops at the ends', () => {
    expect(moved('ArrowUp', 0, 100, 20)).toBe(0);
    expect(moved('PageDown', 95, 100, 20)).toBe(99);
    expect(moved('PageDown', 5, 100, 0)).toBe(6);
  });
  it('leaves other keys and empty lists alone', () => {
    expect(moved('x', 5, 100, 20)).toBeNull();
    expect(moved('Home', 0, 0, 20)).toBeNull();
  });
});

it('between includes both ends, in either direction', () => {
  expect(between(3, 7)).toEqual({ first: 3, end: 8 });
  expect(between(7, 3)).toEqual({ first: 3, end: 8 });
});
