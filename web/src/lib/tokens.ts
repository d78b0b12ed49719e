// What became of an enrolment token.
import type { EnrolmentToken } from './api/types';
import { unixMs } from './format';

export type TokenState = 'open' | 'used up' | 'expired' | 'revoked';

/** Revoked outweighs used up, which outweighs expired: the first thing that ended it for good. */
export function tokenState(token: Pick<EnrolmentToken, 'revoked' | 'uses' | 'used' | 'expires_at'>, nowMs: number): TokenState {
  if (token.revoked) return 'revoked';
  if (token.used >= token.uses) return 'used up';
  return (unixMs(token.expires_at) ?? 0) <= nowMs ? 'expired' : 'open';
}
