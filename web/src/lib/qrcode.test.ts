import { encode } from 'uqr';
import { describe, expect, it } from 'vitest';
import { modulesOf } from './qrcode';

const text = (length: number) => 'lucid-node-management agent --manager https://ü.example/'.repeat(20).slice(0, length);

describe('a QR code', () => {
  it.each([1, 14, 15, 60, 106, 122, 152, 180, 213, 300, 400, 500, 600])('of %i characters is what another encoder makes', (length) => {
    for (const mask of [0, 1, 2, 3, 4, 5, 6, 7]) {
      expect(modulesOf(text(length), mask)).toEqual(encode(text(length), { ecc: 'M', border: 0, boostEcc: false, maskPattern: mask }).data);
    }
  });

  it('has the mask that reads best', () => {
    const masks = [0, 1, 2, 3, 4, 5, 6, 7].map((mask) => modulesOf(text(90), mask));
    expect(masks).toContainEqual(modulesOf(text(90)));
  });

  it('has an end', () => {
    expect(modulesOf('a'.repeat(666))).toHaveLength(97);
    expect(modulesOf('a'.repeat(667))).toBeUndefined();
  });
});
