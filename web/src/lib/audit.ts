// The audit log in words: what was done, and where its subject is shown.
import { pathOf } from './routes';

const DEEDS = new Map(Object.entries({
  'auth.login': 'Signed in',
  'auth.logout': 'Signed out',
  'clock.accept': 'Accepted the clock as it is',
  'clock.confirm': 'Confirmed the clock',
  'enrolment_token.create': 'Made an enrolment token',
  'enrolment_token.revoke': 'Revoked an enrolment token',
  'node.create': 'Made a node',
  'node.delete': 'Deleted a node',
  'node.enrol': 'Enrolled a node',
  'node.enrol.again': 'Enrolled a machine again',
  'node.fingerprint.accept': 'Accepted changed hardware',
  'node.fingerprint.drift': 'Hardware changed',
  'node.key.replace': 'Replaced a node’s key',
  'node.update': 'Changed a node',
  'payout_address.set': 'Set a payout address',
  'payouts.process': 'Ran a payout cycle',
  'payout.end': 'Ended a payout',
  'payout.plan': 'Planned a payout',
  'payout.send': 'Sent a payout',
  'payout.sign': 'Signed a payout',
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
  'store.create': 'Made the store',
  'storage.check': 'Measured the storage',
  'user.create': 'Added a person',
  'user.delete': 'Removed a person',
  'user.update': 'Changed a person',
}));

/** `node.create` → `Made a node`; an operation without words of its own by its name: `thing.do` → `thing do`. */
export function deed(operation: string): string {
  return DEEDS.get(operation) ?? operation.replace(/[._]/g, ' ');
}

/** The page that shows the subject, if there is one. */
export function subjectPath(subject: string): string | undefined {
  if (subject.startsWith('node_')) return pathOf.node(subject);
  if (subject.startsWith('pool_')) return pathOf.pool(subject);
  if (subject.startsWith('payout_')) return pathOf.payout(subject);
  return undefined;
}
