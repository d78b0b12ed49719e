// Payouts in words: what a state means and what happens next. Values in, texts out.
import type { Payout, PayoutDetail } from './api/types';
import { sentence } from './format';

export type PayoutLook = 'pending' | 'processing' | 'review' | 'completed' | 'failed' | 'cancelled';

/** The outward status, with what needs a person told apart. */
export function lookOf(payout: Pick<Payout, 'status' | 'review_reason'>): PayoutLook {
  return payout.review_reason && payout.status !== 'completed' && payout.status !== 'cancelled' && payout.status !== 'failed' ? 'review' : payout.status;
}

export const LOOK_WORDS: Record<PayoutLook, string> = {
  pending: 'pending',
  processing: 'processing',
  review: 'needs a person',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
};

/** Why it is where it is, in a sentence. */
export function reasonOf(payout: Pick<Payout, 'status' | 'review_reason' | 'error_message' | 'settlement' | 'attempts'>): string {
  switch (lookOf(payout)) {
    case 'pending':
      return 'Planned and reserved; not signed yet.';
    case 'processing':
      return payout.attempts > 1 ? `On its way, attempt ${payout.attempts}.` : 'On its way.';
    case 'review':
      return sentence(payout.review_reason ?? 'a person has to decide');
    case 'completed':
      return payout.settlement === 'simulated' ? 'Booked as paid; simulated, so no money moved.' : 'Paid.';
    case 'failed':
    case 'cancelled':
      return payout.error_message ? sentence(payout.error_message) : 'No reason is recorded.';
  }
}

/** When it reached the state it is in. */
export function sinceOf(payout: Pick<Payout, 'completed_at' | 'updated_at'>): string {
  return payout.completed_at ?? payout.updated_at;
}

/** `TRRnbV…rv3`: enough of an address or a transaction to recognise it. */
export function shortened(text: string, head = 6, tail = 4): string {
  return text.length <= head + tail + 1 ? text : `${text.slice(0, head)}…${text.slice(-tail)}`;
}

type Moment = PayoutDetail['timeline'][number];

const MOMENT_WORDS: Record<Moment['event'], string> = {
  planned: 'Planned, and its amount reserved',
  signed: 'Signed and recorded',
  sent: 'Recorded as sent, then sent',
  seen: 'Seen in a block',
  attempt_failed: 'Failed on the chain',
  attempt_dead: 'Proven that it can never land',
  review: 'Waits for a person',
  paid: 'Final, and booked as paid',
  failed: 'Failed; the amount went back to what is owed',
  cancelled: 'Cancelled; the amount went back to what is owed',
};

/** What a dry run never did is not said of it: there is no chain, and nobody is paid. */
const SIMULATED: Partial<typeof MOMENT_WORDS> = {
  signed: 'Recorded as if signed',
  sent: 'Recorded as if sent',
  seen: 'Taken as seen: simulated, on no chain',
  attempt_failed: 'Taken as failed: simulated, on no chain',
  attempt_dead: 'Taken as dead: simulated, on no chain',
  paid: 'Booked as paid; no money moved',
};

export const momentText = (event: Moment['event'], settlement: Payout['settlement']): string => (settlement === 'simulated' && SIMULATED[event]) || MOMENT_WORDS[event];

type Attempt = PayoutDetail['attempts_made'][number];

const ATTEMPT_WORDS: Record<Attempt['state'], string> = { signed: 'signed', maybe_sent: 'sent', seen: 'seen', paid: 'paid', failed_on_chain: 'failed', dead: 'dead' };

export function attemptText({ state, block }: Pick<Attempt, 'state' | 'block'>, settlement: Payout['settlement']): string {
  const simulated = settlement === 'simulated';
  return `${simulated ? 'simulated: ' : ''}${ATTEMPT_WORDS[state]}${block == null ? '' : ` in ${simulated ? 'made-up ' : ''}block ${block}`}`;
}

/** What may happen next, so that nobody has to guess. */
export function nextOf(payout: Pick<PayoutDetail, 'status' | 'review_reason' | 'settlement'>): string {
  switch (lookOf(payout)) {
    case 'pending':
      return 'Next: the payout cycle signs it.';
    case 'processing':
      return 'Next: the payout cycle asks what became of it. Until that is known, nothing else is sent.';
    case 'review':
      return 'Nothing more of it is signed or sent until an admin has decided. The amount stays reserved.';
    case 'completed':
      return 'This is its end.';
    case 'failed':
    case 'cancelled':
      return 'This is its end. What is owed is paid by a later payout.';
  }
}
