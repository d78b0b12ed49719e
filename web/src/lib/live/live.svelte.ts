// Live events for the pages, over the browser's own means.
import { api } from '../api/client';
import type { LiveEvents } from '../api/types';
import { openStream, type Ground, type Link, type Message } from './stream';

const NAME = 'lucid-events';

type Handlers = { [K in keyof LiveEvents]: Set<(event: LiveEvents[K]) => void> };

function browserGround(): { ground: Ground; close: () => void } {
  const channel = new BroadcastChannel(NAME);
  const locks = navigator.locks as LockManager | undefined;
  const ground: Ground = {
    openSource: (after) => new EventSource(`/api/v1/events${after && `?last_event_id=${encodeURIComponent(after)}`}`),
    lead: locks && ((held) => {
      const abort = new AbortController();
      // The lock is kept until the promise settles; closing the tab frees it too.
      locks.request(NAME, { signal: abort.signal }, () => new Promise<void>((resolve) => held(resolve))).catch(() => {});
      return () => abort.abort();
    }),
    post: (message) => channel.postMessage(message),
    listen: (listener) => {
      const heard = (event: MessageEvent<Message>) => listener(event.data);
      channel.addEventListener('message', heard);
      return () => channel.removeEventListener('message', heard);
    },
    // Asking who we are also tells the session when it has ended, which a refused stream cannot say.
    answers: () => api.me().then(() => true, () => false),
    onWake: (listener) => {
      const seen = () => document.hidden || listener();
      document.addEventListener('visibilitychange', seen);
      addEventListener('online', listener);
      return () => {
        document.removeEventListener('visibilitychange', seen);
        removeEventListener('online', listener);
      };
    },
    nowMs: () => Date.now(),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
  };
  return { ground, close: () => channel.close() };
}

class Live {
  link = $state.raw<Link>({ state: 'connecting', sinceMs: Date.now() });

  #handlers: Handlers = { report: new Set(), node: new Set(), epoch: new Set(), payout: new Set(), money: new Set(), alert: new Set(), reset: new Set() };
  #stop: (() => void) | undefined;

  /** Hears events of these types until the returned function is called. */
  hear(handlers: { [K in keyof LiveEvents]?: (event: LiveEvents[K]) => void }): () => void {
    const each = Object.entries(handlers) as [keyof LiveEvents, (event: unknown) => void][];
    for (const [type, handler] of each) this.#handlers[type].add(handler);
    return () => each.forEach(([type, handler]) => this.#handlers[type].delete(handler));
  }

  start(): void {
    if (this.#stop) return;
    const { ground, close } = browserGround();
    const stop = openStream(ground, {
      event: (type, data) => this.#dispatch(type as keyof LiveEvents, data),
      link: (link) => (this.link = link),
    });
    this.#stop = () => {
      stop();
      close();
    };
  }

  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.link = { state: 'connecting', sinceMs: Date.now() };
  }

  #dispatch<K extends keyof LiveEvents>(type: K, data: string): void {
    let event: LiveEvents[K];
    try {
      event = JSON.parse(data) as LiveEvents[K];
    } catch {
      // `reset` may come without data, and an event that cannot be read is an event missed.
      return this.#each('reset', {});
    }
    this.#each(type, event);
  }

  #each<K extends keyof LiveEvents>(type: K, event: LiveEvents[K]): void {
    for (const handler of this.#handlers[type]) handler(event);
  }
}

export const live = new Live();
