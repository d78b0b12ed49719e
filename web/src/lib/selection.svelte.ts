// Nodes that were picked, with their names: what is done to them is said by name.
import { SvelteMap } from 'svelte/reactivity';

type Picked = { node_id: string; name: string };

export class Selection {
  readonly names = new SvelteMap<string, string>();
  /** Row where a range began. */
  anchor = 0;

  get size(): number {
    return this.names.size;
  }

  has(id: string): boolean {
    return this.names.has(id);
  }

  toggle({ node_id, name }: Picked): void {
    if (!this.names.delete(node_id)) this.names.set(node_id, name);
  }

  add(nodes: readonly Picked[]): void {
    for (const { node_id, name } of nodes) this.names.set(node_id, name);
  }

  /** Leaves only these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of [...this.names.keys()]) if (!ids.has(id)) this.names.delete(id);
  }

  clear(): void {
    this.names.clear();
  }
}
