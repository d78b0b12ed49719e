// The time that the pages show things relative to: the manager's, ticking once a second.

/** Manager minus browser, in milliseconds, from the `Date` header of its answers. */
let offsetMs = 0;
/** `Date` has whole seconds, so a smaller difference says nothing. */
const NOISE_MS = 1_500;
const SLOW_MS = 2_000;

export function noteServerDate(header: string | null, sentAtMs: number, receivedAtMs: number): void {
  const served = header ? Date.parse(header) : NaN;
  if (!Number.isFinite(served) || receivedAtMs - sentAtMs > SLOW_MS) return;
  const measured = served + 500 - (sentAtMs + receivedAtMs) / 2;
  if (Math.abs(measured - offsetMs) <= NOISE_MS) return;
  offsetMs = Math.abs(measured) > NOISE_MS ? Math.round(measured) : 0;
  time.tick();
}

class Ticking {
  /** Unix milliseconds by the manager's clock. */
  nowMs = $state.raw(Date.now());

  constructor() {
    setInterval(() => this.tick(), 1_000);
    // A hidden tab's timers are slowed down; what it shows must be right when it is looked at again.
    document.addEventListener('visibilitychange', () => this.tick());
  }

  tick(): void {
    if (!document.hidden) this.nowMs = Date.now() + offsetMs;
  }
}

export const time = new Ticking();

/** The same clock without subscribing to its ticks. */
export function managerNowMs(): number {
  return Date.now() + offsetMs;
}
