// Short words about something that just happened. They go by themselves; what a person must not miss belongs on the page.

export type Toast = { id: number; kind: 'ok' | 'info' | 'bad'; text: string };

const SHOWN_MS = 6_000;
const MOST = 4;

class Toasts {
  list = $state.raw<readonly Toast[]>([]);
  #next = 1;

  say(text: string, kind: Toast['kind'] = 'ok'): void {
    const id = this.#next++;
    this.list = [...this.list, { id, kind, text }].slice(-MOST);
    setTimeout(() => this.drop(id), SHOWN_MS);
  }

  drop(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
