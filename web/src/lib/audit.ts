// The audit log in words, and how it is searched.
import type { Anchor } from './api/types';
import { titled, unixMs } from './format';

const DEEDS = new Map(Object.entries({
  'auth.login': 'Signed in',
  'auth.logout': 'Signed out',
  'clock.accept': 'Accepted the clock as it is',
  'clock.confirm': 'Confirmed the clock',
  'enrolment_token.create': 'Made an enrolment token',
  'enrolment_token.revoke': 'Revoked an enrolment token',
  'ledger.adjust': 'Adjusted what a node is owed',
  'ledger.export': 'Downloaded the ledger',
  'ledger.latch': 'Stopped payouts: the books do not add up',
  'ledger.reward': 'Gave a pool a reward',
  'ledger.unlatch': 'Found the books good again',
  'money.book_transfer': 'Booked an unknown transfer',
  'money.freeze': 'Froze payouts',
  'money.live': 'Went live',
  'money.resume': 'Ended the emergency stop',
  'money.stop': 'Stopped all payouts',
  'money.trx_rate': 'Said what a TRX is worth',
  'money.unfreeze': 'Unfroze payouts',
  'node.create': 'Made a node',
  'node.delete': 'Deleted a node',
  'node.enrol': 'Enrolled a node',
  'node.enrol.again': 'Enrolled a machine again',
  'node.final_payout.cancel': 'Kept a node that was leaving',
  'node.final_payout.done': 'Deleted a node after its final payout',
  'node.final_payout.hold': 'Held a final payout',
  'node.final_payout.request': 'Asked for a final payout',
  'node.fingerprint.accept': 'Accepted changed hardware',
  'node.fingerprint.drift': 'Hardware changed',
  'node.forfeit': 'Gave up what is owed to a node',
  'node.key.replace': 'Replaced a node’s key',
  'node.maintenance.cancel': 'Called off maintenance',
  'node.maintenance.end': 'Ended maintenance',
  'node.maintenance.plan': 'Planned maintenance',
  'node.update': 'Changed a node',
  'outbox.discard': 'Discarded messages',
  'payout.accept_paid': 'Named the transaction that paid',
  'payout.attempt_dead': 'Proved that an attempt cannot land',
  'payout.cancel': 'Cancelled a payout',
  'payout.check_again': 'Had a payout checked again',
  'payout.end': 'Ended a payout',
  'payout.evidence': 'Learned more about a payout',
  'payout.hold': 'Held a payout',
  'payout.new_attempt': 'Had a payout tried again',
  'payout.not_sent': 'Found that a payout was not sent',
  'payout.plan': 'Planned a payout',
  'payout.refuse_claim': 'Found that it did not pay',
  'payout.review': 'Left a payout to a person',
  'payout.send': 'Sent a payout',
  'payout.named': 'The payment service named a payout',
  'payout.seen': 'Saw a payout in a block',
  'payout.unseen': 'A block with a payout is gone',
  'payout.sign': 'Signed a payout',
  'payout.state_unpaid': 'Stated that a payout was not paid',
  'payout_address.set': 'Set a payout address',
  'payout_batch.cancel': 'Cancelled a batch',
  'payout_batch.create': 'Made a batch',
  'payout_batch.plan': 'Planned a batch',
  'payout_schedule.create': 'Made a schedule',
  'payout_schedule.delete': 'Deleted a schedule',
  'payout_schedule.fire': 'Fired a schedule',
  'payout_schedule.update': 'Changed a schedule',
  'payouts.approve': 'Approved payouts',
  'payouts.export': 'Downloaded payouts',
  'payouts.process': 'Ran a payout cycle',
  'poot.calculate': 'Closed an epoch early',
  'pool.create': 'Made a pool',
  'pool.delete': 'Deleted a pool',
  'pool.join': 'Put a node into a pool',
  'pool.leave': 'Took a node out of a pool',
  'pool.update': 'Changed a pool',
  'recovery_kit.make': 'Downloaded a recovery kit',
  'recovery_kit.recover': 'Recovered from a kit',
  'request.refuse': 'Refused a request',
  'session.end': 'Ended sessions',
  'setup.complete': 'Set the manager up',
  'setup.step': 'Marked a first step',
  'storage.check': 'Measured the storage',
  'storage.compact': 'Compacted a database file',
  'store.create': 'Made the store',
  'user.create': 'Added a person',
  'user.delete': 'Removed a person',
  'user.update': 'Changed a person',
  'wallet.lock': 'Locked the wallet',
  'wallet.unlock': 'Unlocked the wallet',
  'webhooks.rotate_key': 'Changed the key of webhooks',
}));

/** `node.create` → `Made a node`; an operation without words of its own by its name: `thing.do` → `Thing do`. */
export const deed = (operation: string): string => DEEDS.get(operation) ?? titled(operation);

/** What the log can be searched by, as the address and the API name it. */
export const FILTERS = ['operation', 'actor', 'subject', 'success', 'from', 'to'] as const;
export type Filters = Record<(typeof FILTERS)[number], string>;

/** The filters of an address, those that are set. */
export const filtersOf = (query: URLSearchParams): Partial<Filters> =>
  Object.fromEntries(FILTERS.map((key) => [key, query.get(key) ?? '']).filter(([, value]) => value));

/** An instant as a field of the browser's own time holds it, and back; empty where there is none. */
export function localTime(rfc3339: string | undefined): string {
  const ms = unixMs(rfc3339);
  return ms == null ? '' : new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
export function instant(local: string): string {
  const ms = unixMs(local);
  return ms == null ? '' : new Date(ms).toISOString();
}

const VERDICTS: Record<string, string> = {
  present: 'The log still holds it, and so everything before',
  truncated: 'The log ends before it: it was cut, or an older copy was put back',
  altered: 'The log has another entry in its place',
  other_manager: 'It is of another manager',
  not_signed: 'It was not made here, or was changed',
};
export const verdictText = (verdict: string): string => VERDICTS[verdict] ?? titled(verdict);

/** An anchor as it was pasted; undefined where it is none. */
export function anchorOf(text: string): Anchor | undefined {
  try {
    const { manager_id, seq, hash, at, signature } = JSON.parse(text) as Anchor;
    return manager_id && hash && at && signature && Number.isSafeInteger(seq) ? { manager_id, seq, hash, at, signature } : undefined;
  } catch {
    return undefined;
  }
}
