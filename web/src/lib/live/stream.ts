// One event stream for all tabs of a browser: the tab that holds a lock keeps the connection open and tells the others. Browsers
// open six connections to a server, and the manager counts its listeners.
//
// Every event has an id, and whoever connects next says the last one it saw: the manager sends what was missed, or `reset` when that is
// gone. A connection that is silent for longer than the manager's beat is dead, whatever the browser thinks of it (a laptop that slept).
// Where no stream gets through, the pages are told to load again every few seconds instead.
//
// What it stands on (locks, channel, event source, timers) is given to it, so that tests can drive it.

export type LinkState = 'connecting' | 'live' | 'reconnecting' | 'polling' | 'offline';
export type Link = { state: LinkState; /** Unix milliseconds since which it is so. */ sinceMs: number };
export type Message =
  | { kind: 'event'; type: string; data: string; id: string }
  | { kind: 'link'; link: Link; id: string }
  | { kind: 'hello' };

export type Source = {
  readyState: number;
  addEventListener(type: string, listener: (event: { data?: string; lastEventId?: string }) => void): void;
  close(): void;
};

export type Ground = {
  /** Opens the stream after the event of this id; empty = from now on. */
  openSource(after: string): Source;
  /** Resolves `held` with a release function once this tab may lead; absent where the browser has no locks (plain HTTP elsewhere than loopback). */
  lead: ((held: (release: () => void) => void) => () => void) | undefined;
  post(message: Message): void;
  listen(listener: (message: Message) => void): () => void;
  /** Whether the manager answers ordinary requests of this session. */
  answers(): Promise<boolean>;
  /** Hears when the machine may have slept: the page is looked at again, or the network is back. */
  onWake(listener: () => void): () => void;
  nowMs(): number;
  after(ms: number, run: () => void): () => void;
};

const SOURCE_CLOSED = 2;
/** The server asks for 3 s between tries; a refused stream is retried by us, slower each time. */
const FIRST_RETRY_MS = 3_000;
const LAST_RETRY_MS = 30_000;
/** A loss shorter than this is only "reconnecting". */
export const OFFLINE_AFTER_MS = 15_000;
/** Three beats of the manager. */
export const SILENT_MS = 45_000;
export const POLL_MS = 15_000;

export const EVENT_TYPES = ['report', 'node', 'epoch', 'payout', 'money', 'alert', 'reset'] as const;

/** Starts listening; returns how to stop. */
export function openStream(ground: Ground, on: { event(type: string, data: string): void; link(link: Link): void }): () => void {
  let link: Link = { state: 'connecting', sinceMs: ground.nowMs() };
  let lastId = '';
  let source: Source | undefined;
  let heardMs = 0;
  let leading = false;
  let retryMs = FIRST_RETRY_MS;
  let stopped = false;
  const timers = { retry: () => {}, offline: () => {}, silence: () => {}, poll: () => {} };
  let release = () => {};

  function show(next: Link): void {
    link = next;
    on.link(next);
    if (leading) ground.post({ kind: 'link', link: next, id: lastId });
  }

  function tell(type: string, data: string): void {
    on.event(type, data);
    if (leading) ground.post({ kind: 'event', type, data, id: lastId });
  }

  function lost(): void {
    if (link.state !== 'live' && link.state !== 'connecting') return;
    const sinceMs = ground.nowMs();
    show({ state: 'reconnecting', sinceMs });
    timers.offline();
    timers.offline = ground.after(OFFLINE_AFTER_MS, () => void withoutStream(sinceMs));
  }

  /** The stream does not come: the manager is away, or something between lets only short answers through. */
  async function withoutStream(sinceMs: number): Promise<void> {
    const answers = await ground.answers();
    if (stopped || link.state === 'live') return;
    const state = answers ? 'polling' : 'offline';
    if (link.state !== state) show({ state, sinceMs });
    if (answers) tell('reset', '{}');
    timers.poll();
    timers.poll = ground.after(POLL_MS, () => void withoutStream(sinceMs));
  }

  function arrived(): void {
    heardMs = ground.nowMs();
    retryMs = FIRST_RETRY_MS;
    timers.offline();
    timers.poll();
    timers.silence();
    timers.silence = ground.after(SILENT_MS, checkSilence);
    if (link.state !== 'live') show({ state: 'live', sinceMs: heardMs });
  }

  function checkSilence(): void {
    if (!stopped && source && ground.nowMs() - heardMs >= SILENT_MS) again(0);
  }

  /** Drops the connection and opens another one after the last event seen. */
  function again(inMs: number): void {
    source?.close();
    source = undefined;
    timers.silence();
    lost();
    timers.retry();
    timers.retry = ground.after(inMs, connect);
  }

  function connect(): void {
    if (stopped) return;
    const opened = ground.openSource(lastId);
    source = opened;
    heardMs = ground.nowMs();
    timers.silence();
    timers.silence = ground.after(SILENT_MS, checkSilence);
    const current = (listener: (event: { data?: string; lastEventId?: string }) => void) => (event: { data?: string; lastEventId?: string }) => {
      if (source === opened) listener(event);
    };
    // Open says nothing where a proxy gathers the stream; the manager's first words come at once.
    opened.addEventListener(
      'beat',
      current((event) => {
        lastId = event.lastEventId || lastId;
        arrived();
      }),
    );
    opened.addEventListener(
      'error',
      current(() => {
        lost();
        // Otherwise the browser tries again by itself.
        if (opened.readyState !== SOURCE_CLOSED) return;
        again(retryMs);
        retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
      }),
    );
    for (const type of EVENT_TYPES) {
      opened.addEventListener(
        type,
        current((event) => {
          lastId = event.lastEventId || lastId;
          arrived();
          tell(type, event.data ?? '{}');
        }),
      );
    }
  }

  const stopListening = ground.listen((message) => {
    if (message.kind === 'hello') {
      if (leading) ground.post({ kind: 'link', link, id: lastId });
      return;
    }
    if (leading) return;
    lastId = message.id || lastId;
    if (message.kind === 'link') {
      link = message.link;
      on.link(link);
    } else {
      on.event(message.type, message.data);
    }
  });
  const stopWaking = ground.onWake(checkSilence);

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
    for (const cancel of Object.values(timers)) cancel();
    stopListening();
    stopWaking();
    source?.close();
    giveUp();
    release();
  };
}
