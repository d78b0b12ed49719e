import { expect, test } from 'vitest';
import { tokenState } from './tokens';

const AT = '2026-11-21T10:00:00Z';
const token = { revoked: false, uses: 2, used: 1, expires_at: AT };

test('a token is open until something ends it', () => {
  expect(tokenState(token, Date.parse(AT) - 1)).toBe('open');
  expect(tokenState(token, Date.parse(AT))).toBe('expired');
  expect(tokenState({ ...token, used: 2 }, Date.parse(AT))).toBe('used up');
  expect(tokenState({ ...token, used: 2, revoked: true }, 0)).toBe('revoked');
});
