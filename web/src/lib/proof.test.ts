import { expect, it } from 'vitest';
import { fromBase64, holds, recompute, rootOf, toHex } from './proof';

const { subtle } = crypto;
// SHA-256 of "abc", from FIPS 180-2.
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const recipe = (text: string, domain_tag = 'a') => ({ domain_tag, bytes_base64: btoa(text) });

it('recomputes a hash over the bytes, tag included', async () => {
  expect(await recompute(recipe('abc'), ABC, subtle)).toBe('matches');
  expect(await recompute(recipe('abd'), ABC, subtle)).toBe('differs');
});

it('refuses bytes that are of something else', async () => {
  expect(await recompute(recipe('abc', 'b'), ABC, subtle)).toBe('differs');
});

it('calls what it cannot check neither right nor wrong', async () => {
  expect(await recompute({ domain_tag: '', bytes_base64: '*' }, ABC, subtle)).toBe('unreadable');
  expect(await recompute(recipe('abc'), 'abc', subtle)).toBe('unreadable');
  expect(await recompute({ domain_tag: 'a', bytes_base64: null }, ABC, subtle)).toBe('absent');
  expect(await recompute(recipe('abc'), ABC, undefined)).toBe('unchecked');
});

it('finds hashes among bytes only where bytes begin', () => {
  const hash = '0'.repeat(63) + '1';
  const base64 = (hex: string) => btoa(String.fromCharCode(...(hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16))));
  expect(holds(base64(`ab${hash}cd`), [hash])).toBe('matches');
  expect(holds(base64(`ab${hash}cd`), [hash, ABC])).toBe('differs');
  expect(holds(base64(`a${hash}b`), [hash])).toBe('differs');
  expect(holds('*', [hash])).toBe('unreadable');
  expect(holds(null, [hash])).toBe('unreadable');
  expect(toHex(fromBase64(base64('00ff10')) ?? new Uint8Array())).toBe('00ff10');
});

// The leaves and roots that implementations of Certificate Transparency test themselves with.
it('computes the roots of RFC 6962', async () => {
  const said = ['', '00', '10', '2021', '3031'].map((hex) => [0, ...(hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16))]);
  const leaves = await Promise.all(said.map(async (bytes) => new Uint8Array(await subtle.digest('SHA-256', Uint8Array.from(bytes)))));
  const roots = await Promise.all([0, 1, 3, 5].map(async (n) => toHex(await rootOf(leaves.slice(0, n), subtle))));
  expect(roots.map((root) => root.slice(0, 8))).toEqual(['e3b0c442', '6e340b9c', 'aeb6bcfe', '4e3bbb1f']);
});
