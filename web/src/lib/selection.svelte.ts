// Nodes that were picked, with their names: what is done to them is said by name.
import { untrack } from 'svelte';

type Picked = { node_id: string; name: string };

export class Selection {
  /** Row where a range began. */
  anchor = 0;
  #names = new Map<string, string>();
  /** Counts changes of the map: thousands of nodes are picked at once, and told once. */
  #version = $state(0);

  /** Names by id. */
  get names(): ReadonlyMap<string, string> {
    void this.#version;
    return this.#names;
  }

  get size(): number {
    return this.names.size;
  }

  has(id: string): boolean {
    return this.names.has(id);
  }

  toggle({ node_id, name }: Picked): void {
    if (!this.#names.delete(node_id)) this.#names.set(node_id, name);
    this.#changed();
  }

  add(nodes: readonly Picked[]): void {
    for (const { node_id, name } of nodes) this.#names.set(node_id, name);
    this.#changed();
  }

  /** Leaves only these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of [...this.#names.keys()]) if (!ids.has(id)) this.#names.delete(id);
    this.#changed();
  }

  clear(): void {
    this.#names.clear();
    this.#changed();
  }

  #changed(): void {
    // An effect that changes the selection does not wait for it.
    untrack(() => (this.#version += 1));
  }
}
