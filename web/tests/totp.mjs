// The code that an authenticator app shows (RFC 6238: SHA-1, six digits, 30 s).
import { createHmac } from 'node:crypto';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function bytesOf(secret) {
  const bits = [...secret.replaceAll('=', '')].map((letter) => ALPHABET.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

export const step = (unixMs) => Math.floor(unixMs / 30_000);

export function code(secret, atStep) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(atStep));
  const mac = createHmac('sha1', bytesOf(secret)).update(counter).digest();
  const from = mac[19] & 15;
  return String((mac.readUInt32BE(from) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}
