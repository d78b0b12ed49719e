// Where in a long list somebody was. It is kept with the step of the browser's history, so that going back leads there.

export type Place = {
  /** Pixels scrolled. */
  y: number;
  /** Row that the keyboard stands on. */
  at: number;
  /** Length of the list, so that there is something to scroll before the rows have come. */
  total: number;
};

export function placeHere(): Place | undefined {
  const place = (history.state as { place?: Partial<Place> } | null)?.place;
  const { y, at, total } = place ?? {};
  return typeof y === 'number' && typeof at === 'number' && typeof total === 'number' ? { y, at, total } : undefined;
}

export function keepPlace(place: Place): void {
  history.replaceState({ ...(history.state as object | null), place }, '');
}
