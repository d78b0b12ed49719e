import { expect, it } from 'vitest';
import { passwordError, strength } from './password';

it.each([
  ['short', '', 0],
  ['aaaaaaaaaaaaaaaa', '', 1],
  ['password-1234', '', 1],
  ['margaret-1952', 'margaret', 1],
  ['lamp chair fog', '', 2],
  ['lamp chair fog tree river', '', 3],
  ['x7#Kq9!mTz2@', '', 3],
])('judges %s', (password, username, level) => expect(strength(password, username).level).toBe(level));

it('says what is wrong with a password, and nothing of one that will do', () => {
  expect(passwordError('short')).toBe('must have at least 12 characters');
  expect(passwordError('password1234')).toMatch(/^is easy to guess: avoid names/);
  expect(passwordError('margaret-1952', 'margaret')).toMatch(/^is easy to guess/);
  expect(passwordError('lamp chair fog')).toBeUndefined();
});
