import { describe, expect, it } from 'vitest';
import { OFFLINE_AFTER_MS, openStream, type Ground, type Link, type Message, type Source } from './stream';

/** A browser with tabs, one lock, one channel, and time that moves when told. */
class World {
  now = 0;
  timers: { at: number; run: () => void }[] = [];
  listeners = new Map<number, (message: Message) => void>();
  waiting: { tab: number; held: (release: () => void) => void }[] = [];
  holder: number | undefined;
  sources: FakeSource[] = [];

  ground(tab: number, withLocks = true): Ground {
    return {
      openSource: () => {
        const source = new FakeSource(tab);
        this.sources.push(source);
        return source;
      },
      lead: withLocks
        ? (held) => {
            this.waiting.push({ tab, held });
            this.grant();
            return () => (this.waiting = this.waiting.filter((w) => w.tab !== tab));
          }
        : undefined,
      post: (message) => {
        for (const [other, listener] of this.listeners) if (other !== tab) listener(message);
      },
      listen: (listener) => {
        this.listeners.set(tab, listener);
        return () => this.listeners.delete(tab);
      },
      nowMs: () => this.now,
      after: (ms, run) => {
        const timer = { at: this.now + ms, run };
        this.timers.push(timer);
        return () => (this.timers = this.timers.filter((t) => t !== timer));
      },
    };
  }

  grant(): void {
    const next = this.holder === undefined ? this.waiting.shift() : undefined;
    if (!next) return;
    this.holder = next.tab;
    next.held(() => {
      this.holder = undefined;
      this.grant();
    });
  }

  pass(ms: number): void {
    this.now += ms;
    for (const timer of this.timers.filter((t) => t.at <= this.now)) {
      this.timers = this.timers.filter((t) => t !== timer);
      timer.run();
    }
  }
}

class FakeSource implements Source {
  readyState = 0;
  closed = false;
  #listeners = new Map<string, (event: { data?: string }) => void>();
  constructor(readonly tab: number) {}
  addEventListener(type: string, listener: (event: { data?: string }) => void): void {
    this.#listeners.set(type, listener);
  }
  close(): void {
    this.closed = true;
  }
  fire(type: string, data?: string): void {
    this.#listeners.get(type)?.(data === undefined ? {} : { data });
  }
}

function tab(world: World, id: number, withLocks = true) {
  const seen = { events: [] as string[], links: [] as Link[], refused: 0 };
  const stop = openStream(world.ground(id, withLocks), {
    event: (type, data) => seen.events.push(`${type} ${data}`),
    link: (link) => seen.links.push(link),
    refused: () => (seen.refused += 1),
  });
  return { ...seen, seen, stop, state: () => seen.links.at(-1)?.state };
}

describe('tabs', () => {
  it('share one connection: the leader tells the others what it hears', () => {
    const world = new World();
    const [a, b] = [tab(world, 1), tab(world, 2)];
    expect(world.sources.map((s) => s.tab)).toEqual([1]);
    world.sources[0]?.fire('open');
    world.sources[0]?.fire('report', '{"node_id":"n"}');
    expect(a.events).toEqual(['report {"node_id":"n"}']);
    expect(b.events).toEqual(a.events);
    expect([a.state(), b.state()]).toEqual(['live', 'live']);
  });

  it('tell a newcomer how things are', () => {
    const world = new World();
    tab(world, 1);
    world.sources[0]?.fire('open');
    expect(tab(world, 2).state()).toBe('live');
  });

  it('inherit the connection when the leader closes, and load again what was missed between', () => {
    const world = new World();
    const [a, b] = [tab(world, 1), tab(world, 2)];
    world.sources[0]?.fire('open');
    a.stop();
    expect(world.sources.map((s) => s.tab)).toEqual([1, 2]);
    expect(world.sources[0]?.closed).toBe(true);
    world.sources[1]?.fire('open');
    expect(b.events).toEqual(['reset {}']);
  });

  it('have a connection each where the browser has no locks', () => {
    const world = new World();
    tab(world, 1, false);
    tab(world, 2, false);
    expect(world.sources.map((s) => s.tab)).toEqual([1, 2]);
  });

  it('do not lead once stopped while waiting', () => {
    const world = new World();
    const [a, b] = [tab(world, 1), tab(world, 2)];
    b.stop();
    a.stop();
    expect(world.sources).toHaveLength(1);
  });
});

describe('a lost connection', () => {
  it('is reconnecting first, then offline since it was lost, then live with a reload', () => {
    const world = new World();
    const a = tab(world, 1);
    world.sources[0]?.fire('open');
    world.now = 1_000;
    world.sources[0]?.fire('error');
    world.sources[0]?.fire('error');
    expect(a.links.at(-1)).toEqual({ state: 'reconnecting', sinceMs: 1_000 });
    world.pass(OFFLINE_AFTER_MS);
    expect(a.links.at(-1)).toEqual({ state: 'offline', sinceMs: 1_000 });
    world.sources[0]?.fire('open');
    expect(a.state()).toBe('live');
    expect(a.events).toEqual(['reset {}']);
    world.pass(OFFLINE_AFTER_MS * 2);
    expect(a.state()).toBe('live');
  });

  it('is opened again, slower each time, when the server refuses it', () => {
    const world = new World();
    const a = tab(world, 1);
    const delays: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      const source = world.sources.at(-1);
      if (!source) throw new Error('no source');
      source.readyState = 2;
      source.fire('error');
      const opened = world.sources.length;
      let waited = 0;
      while (world.sources.length === opened) {
        world.pass(1_000);
        waited += 1_000;
      }
      delays.push(waited);
    }
    expect(delays).toEqual([3_000, 6_000, 12_000, 24_000, 30_000, 30_000]);
    expect(a.seen.refused).toBe(6);
  });

  it('stays closed after a stop', () => {
    const world = new World();
    const a = tab(world, 1);
    const source = world.sources[0];
    if (!source) throw new Error('no source');
    source.readyState = 2;
    source.fire('error');
    a.stop();
    world.pass(60_000);
    expect(world.sources).toHaveLength(1);
  });
});
