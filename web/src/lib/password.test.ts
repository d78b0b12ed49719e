import { expect, it } from 'vitest';
import { strength } from './password';

it.each([
  ['short', '', 0],
  ['aaaaaaaaaaaaaaaa', '', 1],
  ['password-1234', '', 1],
  ['margaret-1952', 'margaret', 1],
  ['lamp chair fog', '', 2],
  ['lamp chair fog tree river', '', 3],
  ['x7#Kq9!mTz2@', '', 3],
])('judges %s', (password, username, level) => expect(strength(password, username).level).toBe(level));
