// Who is signed in, and what to show when nobody is.
import { api, asApiError, signedIn, watchSession } from './api/client';
import type { Role, User } from './api/types';

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2, super_admin: 3 };

type Phase = 'starting' | 'unreachable' | 'setup' | 'signed_out' | 'signed_in';

class Session {
  phase = $state<Phase>('starting');
  user = $state.raw<User | undefined>(undefined);
  /** Set while a page is open and its session has ended: sign-in is asked over the page, which keeps what was typed. */
  ended = $state(false);
  /** Counts sign-ins; pages load again when it changes. */
  generation = $state(0);

  constructor() {
    watchSession(() => (this.ended = this.phase === 'signed_in'));
  }

  async start(): Promise<void> {
    // Both at once: on a slow line each question costs a round trip.
    const me = api.me().then(
      (answer) => ({ user: answer.user }),
      (caught: unknown) => ({ error: asApiError(caught) }),
    );
    try {
      if ((await api.setupState()).needed) {
        this.phase = 'setup';
        return;
      }
      const answer = await me;
      if ('user' in answer) this.enter(answer.user);
      else this.phase = answer.error.status === 401 ? 'signed_out' : 'unreachable';
    } catch {
      this.phase = 'unreachable';
    }
  }

  enter(user: User): void {
    signedIn();
    this.user = user;
    this.phase = 'signed_in';
    this.ended = false;
    this.generation += 1;
  }

  async leave(): Promise<void> {
    await api.signOut();
    this.user = undefined;
    this.ended = false;
    this.phase = 'signed_out';
  }

  can(role: Role): boolean {
    return this.user !== undefined && RANK[this.user.role] >= RANK[role];
  }
}

export const session = new Session();
