import { encode } from 'uqr';
import { expect, test } from 'vitest';
import { modulesOf } from './qr-code';

/** The same code as another encoder makes, whichever mask each finds best. */
function same(text: string): void {
  const ours = modulesOf(text);
  const theirs = Array.from({ length: 8 }, (_, maskPattern) => encode(text, { ecc: 'M', border: 0, boostEcc: false, maskPattern }).data);
  expect(theirs.some((data) => JSON.stringify(data) === JSON.stringify(ours)), `${text.length} bytes`).toBe(true);
}

test('is what another encoder makes, of every version and at both ends of it', () => {
  for (let length = 1; length <= 660; length += length < 40 ? 1 : 7) same('ö/'.repeat(length).slice(0, Math.ceil((length * 2) / 3)));
  same('lucid-node-management agent --manager http://192.168.1.20:8095');
  same('otpauth://totp/Lucid:ada?secret=GEZDGNBVGY3TQOJQ&issuer=Lucid');
});

test('a text beyond version 20 is refused', () => {
  expect(modulesOf('x'.repeat(666)).length).toBe(97);
  expect(() => modulesOf('x'.repeat(667))).toThrow();
});
