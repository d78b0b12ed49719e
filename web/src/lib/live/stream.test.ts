import { describe, expect, it } from 'vitest';
import { OFFLINE_AFTER_MS, openStream, POLL_MS, SILENT_MS, type Ground, type Link, type Message, type Source } from './stream';

/** A browser with tabs, one lock, one channel, and time that moves when told. */
class World {
  now = 0;
  timers: { at: number; run: () => void }[] = [];
  listeners = new Map<number, (message: Message) => void>();
  waiting: { tab: number; held: (release: () => void) => void }[] = [];
  holder: number | undefined;
  sources: FakeSource[] = [];
  wakers: (() => void)[] = [];
  managerAnswers = false;

  ground(tab: number, withLocks = true): Ground {
    return {
      openSource: (after) => {
        const source = new FakeSource(tab, after);
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
      answers: async () => this.managerAnswers,
      onWake: (listener) => {
        this.wakers.push(listener);
        return () => (this.wakers = this.wakers.filter((w) => w !== listener));
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
  #listeners = new Map<string, (event: { data?: string; lastEventId?: string }) => void>();
  constructor(
    readonly tab: number,
    readonly after: string,
  ) {}
  addEventListener(type: string, listener: (event: { data?: string; lastEventId?: string }) => void): void {
    this.#listeners.set(type, listener);
  }
  close(): void {
    this.closed = true;
  }
  fire(type: string, data?: string, lastEventId = ''): void {
    this.#listeners.get(type)?.({ lastEventId, ...(data !== undefined && { data }) });
  }
  /** The manager's first words. */
  open(lastEventId = ''): void {
    this.fire('beat', '{}', lastEventId);
  }
  refuse(): void {
    this.readyState = 2;
    this.fire('error');
  }
}

function tab(world: World, id: number, withLocks = true) {
  const seen = { events: [] as string[], links: [] as Link[] };
  const stop = openStream(world.ground(id, withLocks), {
    event: (type, data) => seen.events.push(`${type} ${data}`),
    link: (link) => seen.links.push(link),
  });
  return { ...seen, seen, stop, state: () => seen.links.at(-1)?.state };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
const last = (world: World) => {
  const source = world.sources.at(-1);
  if (!source) throw new Error('no source');
  return source;
};

describe('tabs', () => {
  it('share one connection: the leader tells the others what it hears', () => {
    const world = new World();
    const [a, b] = [tab(world, 1), tab(world, 2)];
    expect(world.sources.map((s) => s.tab)).toEqual([1]);
    last(world).open();
    last(world).fire('report', '{"node_id":"n"}');
    expect(a.events).toEqual(['report {"node_id":"n"}']);
    expect(b.events).toEqual(a.events);
    expect([a.state(), b.state()]).toEqual(['live', 'live']);
  });

  it('tell a newcomer how things are', () => {
    const world = new World();
    tab(world, 1);
    last(world).open();
    expect(tab(world, 2).state()).toBe('live');
  });

  it('inherit the connection when the leader closes, after the last event that was seen', () => {
    const world = new World();
    const [a, b] = [tab(world, 1), tab(world, 2)];
    last(world).open('run-4');
    last(world).fire('epoch', '{"epoch":1}', 'run-5');
    a.stop();
    expect(world.sources.map((s) => [s.tab, s.after])).toEqual([[1, ''], [2, 'run-5']]);
    expect(world.sources[0]?.closed).toBe(true);
    last(world).fire('epoch', '{"epoch":2}', 'run-6');
    expect(b.events).toEqual(['epoch {"epoch":1}', 'epoch {"epoch":2}']);
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
  it('is reconnecting first, then offline since it was lost, then live', async () => {
    const world = new World();
    const a = tab(world, 1);
    last(world).open();
    world.pass(1_000);
    last(world).fire('error');
    last(world).fire('error');
    expect(a.links.at(-1)).toEqual({ state: 'reconnecting', sinceMs: 1_000 });
    world.pass(OFFLINE_AFTER_MS);
    await settled();
    expect(a.links.at(-1)).toEqual({ state: 'offline', sinceMs: 1_000 });
    last(world).open();
    expect(a.state()).toBe('live');
    world.pass(OFFLINE_AFTER_MS);
    await settled();
    expect(a.state()).toBe('live');
    expect(a.events).toEqual([]);
  });

  it('is opened again after the last event, slower each time, when the server refuses it', () => {
    const world = new World();
    tab(world, 1);
    last(world).open('run-9');
    const delays: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      last(world).refuse();
      const opened = world.sources.length;
      let waited = 0;
      while (world.sources.length === opened) {
        world.pass(1_000);
        waited += 1_000;
      }
      delays.push(waited);
    }
    expect(delays).toEqual([3_000, 6_000, 12_000, 24_000, 30_000, 30_000]);
    expect(last(world).after).toBe('run-9');
  });

  it('that only fell silent is dropped, at once when the machine wakes', () => {
    const world = new World();
    const a = tab(world, 1);
    last(world).open('run-1');
    world.now += SILENT_MS + 1;
    world.wakers.forEach((wake) => wake());
    world.pass(0);
    expect(world.sources).toHaveLength(2);
    expect(world.sources[0]?.closed).toBe(true);
    world.sources[0]?.fire('report', 'of the dead line', 'run-7');
    expect(a.events).toEqual([]);
    last(world).open();
    world.pass(SILENT_MS / 2);
    last(world).fire('beat');
    world.pass(SILENT_MS / 2);
    expect(world.sources, 'beats keep it').toHaveLength(2);
    world.pass(SILENT_MS);
    world.pass(0);
    expect(world.sources, 'without a wake too').toHaveLength(3);
  });

  it('is replaced by polling while the manager answers other requests', async () => {
    const world = new World();
    const a = tab(world, 1);
    const b = tab(world, 2);
    world.managerAnswers = true;
    last(world).refuse();
    world.pass(OFFLINE_AFTER_MS);
    await settled();
    expect([a.state(), b.state()]).toEqual(['polling', 'polling']);
    expect(b.events).toEqual(['reset {}']);
    world.pass(POLL_MS);
    await settled();
    expect(a.events).toEqual(['reset {}', 'reset {}']);
    world.managerAnswers = false;
    world.pass(POLL_MS);
    await settled();
    expect(a.state()).toBe('offline');
    last(world).open();
    world.pass(POLL_MS);
    await settled();
    expect([a.state(), a.events.length]).toEqual(['live', 2]);
  });

  it('stays closed after a stop', () => {
    const world = new World();
    const a = tab(world, 1);
    last(world).refuse();
    a.stop();
    world.pass(60_000);
    expect(world.sources).toHaveLength(1);
  });
});
