// One of several nodes that something is done to.
import type { Outcome } from './actions';
import { asApiError } from './api/client';

/** Does it to one node. A refusal is about this node; anything else is thrown, since it would meet the next one too. */
export async function outcomeOf(id: string, run: () => Promise<unknown>): Promise<Outcome> {
  try {
    await run();
    return { id, error: null };
  } catch (caught) {
    const { status, refusal, message } = asApiError(caught);
    if (status < 400 || status >= 500 || status === 401 || status === 429) throw caught;
    return { id, error: { name: refusal, message } };
  }
}
