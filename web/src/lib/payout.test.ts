import { describe, expect, it } from 'vitest';
import { attemptText, lookOf, momentText, nextOf, reasonOf, shortened, sinceOf } from './payout';

const payout = { status: 'processing', review_reason: null, error_message: null, settlement: 'simulated', attempts: 1, completed_at: null, updated_at: 'u' } as const;

describe('a payout in words', () => {
  it('needs a person only while it is open', () => {
    const asked = { ...payout, review_reason: 'two witnesses disagree' };
    expect(lookOf(asked)).toBe('review');
    expect(lookOf({ ...asked, status: 'cancelled' })).toBe('cancelled');
    expect(reasonOf(asked)).toBe('Two witnesses disagree.');
  });

  it.each([
    [{ ...payout, status: 'pending' }, 'Planned and reserved; not signed yet.'],
    [payout, 'On its way.'],
    [{ ...payout, attempts: 3 }, 'On its way, attempt 3.'],
    [{ ...payout, status: 'completed' }, 'Booked as paid; simulated, so no money moved.'],
    [{ ...payout, status: 'completed', settlement: 'live' }, 'Paid.'],
    [{ ...payout, status: 'failed', error_message: 'reverted on chain' }, 'Reverted on chain.'],
    [{ ...payout, status: 'cancelled' }, 'No reason is recorded.'],
  ] as const)('%j', (p, words) => expect(reasonOf(p)).toBe(words));

  it('is in its state since it ended, or since it last moved', () => {
    expect(sinceOf(payout)).toBe('u');
    expect(sinceOf({ ...payout, completed_at: 'c' })).toBe('c');
  });

  it('says of a simulated payout neither that it is on a chain nor that it is paid', () => {
    expect(momentText('seen', 'live')).toBe('Seen in a block');
    expect(momentText('seen', 'simulated')).toBe('Taken as seen: simulated, on no chain');
    expect(momentText('paid', 'simulated')).toBe('Booked as paid; no money moved');
    expect(momentText('review', 'simulated')).toBe('Waits for a person');
    expect(attemptText({ state: 'paid', block: 7 }, 'live')).toBe('paid in block 7');
    expect(attemptText({ state: 'paid', block: 7 }, 'simulated')).toBe('simulated: paid in made-up block 7');
    expect(attemptText({ state: 'signed', block: null }, 'simulated')).toBe('simulated: signed');
  });

  it('says that it waits for a decision, in a dry run too', () => {
    const asked = { ...payout, review_reason: 'two witnesses disagree' };
    expect(nextOf(asked)).toContain('until an admin has decided');
    expect(nextOf({ ...asked, settlement: 'live' })).toContain('until an admin has decided');
  });

  it('shortens what is long', () => {
    expect(shortened('TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3')).toBe('TRRnbV…rqv3');
    expect(shortened('short')).toBe('short');
  });
});
