// What the palette finds: ranking of names against what was typed. Values in, values out.

export type Found = { id: string; label: string; detail: string; href?: string; run?: () => void };

/** Better matches first: the name itself, its beginning, the beginning of a word in it, somewhere in it, its letters in order. Null = no match. */
export function rank(label: string, typed: string): number | null {
  const [name, text] = [label.toLowerCase(), typed.trim().toLowerCase()];
  if (text === '') return 3;
  if (name === text) return 0;
  if (name.startsWith(text)) return 1;
  const at = name.indexOf(text);
  if (at > 0) return /[^a-z0-9]/.test(name.charAt(at - 1)) ? 2 : 3;
  let from = 0;
  for (const letter of text) {
    from = name.indexOf(letter, from) + 1;
    if (from === 0) return null;
  }
  return 4;
}

/** The matches, best first, in the order given where they are alike. */
export function matches<T extends { label: string; detail: string }>(items: readonly T[], typed: string, most: number): T[] {
  return items
    .map((item) => ({ item, score: rank(item.label, typed) ?? (item.detail.toLowerCase().includes(typed.trim().toLowerCase()) ? 5 : null) }))
    .filter((found): found is { item: T; score: number } => found.score !== null)
    .sort((a, b) => a.score - b.score)
    .slice(0, most)
    .map((found) => found.item);
}
