import { expect, it } from 'vitest';
import { fromBase64, holds, recompute, sha256Hex, toHex } from './proof';

const { subtle } = crypto;
// SHA-256 of "abc", from FIPS 180-2.
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

it('hashes as the standard says, whatever the parts', async () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  expect(await sha256Hex([bytes('abc')], subtle)).toBe(ABC);
  expect(await sha256Hex([bytes('a'), bytes(''), bytes('bc')], subtle)).toBe(ABC);
});

it('recomputes over the tag and the bytes', async () => {
  expect(await recompute('a', btoa('bc'), ABC.toUpperCase(), subtle)).toBe('matches');
  expect(await recompute('a', btoa('bd'), ABC, subtle)).toBe('differs');
  expect(await recompute('b', btoa('bc'), ABC, subtle)).toBe('differs');
});

it('calls what cannot be read neither right nor wrong', async () => {
  expect(await recompute('', '*', ABC, subtle)).toBe('unreadable');
  expect(await recompute('', btoa('abc'), 'abc', subtle)).toBe('unreadable');
  expect(holds('*', ABC)).toBe('unreadable');
});

it('finds a hash among bytes only where bytes begin', () => {
  const hash = '0'.repeat(63) + '1';
  const base64 = (hex: string) => btoa(String.fromCharCode(...(hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16))));
  expect(holds(base64(`ab${hash}cd`), hash)).toBe('matches');
  expect(holds(base64(`a${hash}b`), hash)).toBe('differs');
  expect(toHex(fromBase64(base64('00ff10')) ?? new Uint8Array())).toBe('00ff10');
});
