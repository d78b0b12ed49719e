// One event stream for all tabs of a browser: the tab that holds a lock keeps the connection open and tells the others. Browsers
// open six connections to a server, and the manager counts its listeners.
//
// What it stands on (locks, channel, event source, timers) is given to it, so that tests can drive it.

export type LinkState = 'connecting' | 'live' | 'reconnecting' | 'offline';
export type Link = { state: LinkState; /** Unix milliseconds since which it is so. */ sinceMs: number };
export type Message = { kind: 'event'; type: string; data: string } | { kind: 'link'; link: Link } | { kind: 'hello' };

export type Source = {
  readyState: number;
  addEventListener(type: string, listener: (event: { data?: string }) => void): void;
  close(): void;
};

export type Ground = {
  openSource(): Source;
  /** Resolves `held` with a release function once this tab may lead; absent where the browser has no locks (plain HTTP elsewhere than loopback). */
  lead: ((held: (release: () => void) => void) => () => void) | undefined;
  post(message: Message): void;
  listen(listener: (message: Message) => void): () => void;
  nowMs(): number;
  after(ms: number, run: () => void): () => void;
};

const SOURCE_CLOSED = 2;
/** The server asks for 3 s between tries; a refused stream is retried by us, slower each time. */
const FIRST_RETRY_MS = 3_000;
const LAST_RETRY_MS = 30_000;
/** A loss shorter than this is only "reconnecting". */
export const OFFLINE_AFTER_MS = 15_000;

export const EVENT_TYPES = ['report', 'node', 'epoch', 'payout', 'reset'] as const;

/** Starts listening; returns how to stop. `onRefused` hears that the server closed the door, which may mean a session has ended. */
export function openStream(
  ground: Ground,
  on: { event(type: string, data: string): void; link(link: Link): void; refused(): void },
): () => void {
  let link: Link = { state: 'connecting', sinceMs: ground.nowMs() };
  let source: Source | undefined;
  let leading = false;
  let everLive = false;
  let retryMs = FIRST_RETRY_MS;
  let stopped = false;
  let cancelRetry = () => {};
  let cancelOffline = () => {};
  let release = () => {};

  function show(next: Link): void {
    link = next;
    on.link(next);
    if (leading) ground.post({ kind: 'link', link: next });
  }

  function tell(type: string, data: string): void {
    on.event(type, data);
    if (leading) ground.post({ kind: 'event', type, data });
  }

  function lost(): void {
    if (link.state === 'live' || link.state === 'connecting') {
      const sinceMs = ground.nowMs();
      show({ state: 'reconnecting', sinceMs });
      cancelOffline();
      cancelOffline = ground.after(OFFLINE_AFTER_MS, () => show({ state: 'offline', sinceMs }));
    }
  }

  function connect(): void {
    if (stopped) return;
    const opened = ground.openSource();
    source = opened;
    opened.addEventListener('open', () => {
      retryMs = FIRST_RETRY_MS;
      cancelOffline();
      show({ state: 'live', sinceMs: ground.nowMs() });
      // Events of the time without a connection are gone, here or in the tab that led before.
      if (everLive) tell('reset', '{}');
      everLive = true;
    });
    opened.addEventListener('error', () => {
      lost();
      // Otherwise the browser tries again by itself.
      if (opened.readyState !== SOURCE_CLOSED || source !== opened) return;
      source = undefined;
      on.refused();
      cancelRetry = ground.after(retryMs, connect);
      retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
    });
    for (const type of EVENT_TYPES) opened.addEventListener(type, (event) => tell(type, event.data ?? '{}'));
  }

  const stopListening = ground.listen((message) => {
    if (message.kind === 'hello') {
      if (leading) ground.post({ kind: 'link', link });
    } else if (!leading && message.kind === 'link') {
      everLive ||= message.link.state === 'live';
      link = message.link;
      on.link(message.link);
    } else if (!leading && message.kind === 'event') {
      on.event(message.type, message.data);
    }
  });

  let giveUp = () => {};
  if (ground.lead) {
    giveUp = ground.lead((free) => {
      release = free;
      if (stopped) return free();
      leading = true;
      connect();
    });
    ground.post({ kind: 'hello' });
  } else {
    connect();
  }

  return () => {
    stopped = true;
    cancelRetry();
    cancelOffline();
    stopListening();
    source?.close();
    giveUp();
    release();
  };
}
