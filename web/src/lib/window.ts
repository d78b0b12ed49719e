// Which rows of a long list are on screen. Rows are equally high, so this is arithmetic; indices count from 0.

/** Rows `first` to `end - 1`. */
export type Rows = { first: number; end: number };

/** Rows to draw: those in view and `spare` more at each side, so that a fast finger does not outrun the drawing. */
export function rowsInView(count: number, rowPx: number, scrolledPx: number, viewPx: number, spare: number): Rows {
  const within = (row: number) => Math.min(count, Math.max(0, row));
  const first = within(Math.floor(scrolledPx / rowPx) - spare);
  const end = within(Math.ceil((scrolledPx + viewPx) / rowPx) + spare);
  return { first, end: Math.max(first, end) };
}

/** The indices to draw, in order; the row with the focus stays drawn wherever it is, or the focus would be lost. */
export function indices({ first, end }: Rows, kept: number, count: number): number[] {
  const drawn = Array.from({ length: end - first }, (_, i) => first + i);
  if (kept < 0 || kept >= count || (kept >= first && kept < end)) return drawn;
  return kept < first ? [kept, ...drawn] : [...drawn, kept];
}

/** Pages (from 1) of `size` rows that hold the rows. */
export function pagesOf({ first, end }: Rows, size: number): number[] {
  if (end <= first) return [];
  const from = Math.floor(first / size);
  return Array.from({ length: Math.floor((end - 1) / size) - from + 1 }, (_, i) => from + i + 1);
}

/** Where a key moves to from row `at`; null when the key does not move. */
export function moved(key: string, at: number, count: number, screenRows: number): number | null {
  const screen = Math.max(1, screenRows);
  const to: Record<string, number | undefined> = {
    ArrowDown: at + 1,
    j: at + 1,
    ArrowUp: at - 1,
    k: at - 1,
    PageDown: at + screen,
    PageUp: at - screen,
    Home: 0,
    End: count - 1,
  };
  const row = to[key];
  return row === undefined || count === 0 ? null : Math.min(count - 1, Math.max(0, row));
}

/** The rows between two, both of them included, whichever is further down. */
export function between(a: number, b: number): Rows {
  return { first: Math.min(a, b), end: Math.max(a, b) + 1 };
}
