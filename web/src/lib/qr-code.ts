// QR codes of texts: bytes, error correction of level M, versions 1 to 20. ISO/IEC 18004; the steps are named as there.

/** For each version from 1: error correction codewords of a block, and blocks. Table 9. */
const ECC = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];

/** Product in the field of 256 elements modulo x⁸ + x⁴ + x³ + x² + 1. */
function times(a: number, b: number): number {
  let product = 0;
  for (let i = 7; i >= 0; i -= 1) product = (product << 1) ^ ((product >> 7) * 0x11d) ^ (((b >> i) & 1) * a);
  return product;
}

/** `value` followed by the rest of its division by `polynomial`, `bits` wide. */
function checked(value: number, bits: number, polynomial: number): number {
  let rest = value;
  for (let i = 0; i < bits; i += 1) rest = (rest << 1) ^ ((rest >> (bits - 1)) * polynomial);
  return (value << bits) | rest;
}

function centresOf(version: number): number[] {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.floor((version * 8 + count * 3 + 5) / (count * 4 - 4)) * 2;
  return [6, ...Array.from({ length: count - 1 }, (_, i) => version * 4 + 10 - i * step).reverse()];
}

/** Codewords that a symbol of the version holds. */
function capacityOf(version: number): number {
  const marks = Math.floor(version / 7) + 2;
  const alignment = version > 1 ? (25 * marks - 10) * marks - 55 + (version > 6 ? 36 : 0) : 0;
  return Math.floor(((16 * version + 128) * version + 64 - alignment) / 8);
}

function eccOf(data: readonly number[], length: number): number[] {
  const divisor = Array<number>(length).fill(0);
  divisor[length - 1] = 1;
  let root = 1;
  for (let i = 0; i < length; i += 1) {
    for (let j = 0; j < length; j += 1) divisor[j] = times(divisor[j]!, root) ^ (divisor[j + 1] ?? 0);
    root = times(root, 2);
  }
  const rest = Array<number>(length).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift()!;
    rest.push(0);
    divisor.forEach((by, i) => (rest[i]! ^= times(by, factor)));
  }
  return rest;
}

const MASKS: ((x: number, y: number) => number)[] = [
  (x, y) => (x + y) % 2,
  (_, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** How hard it is to read: runs, squares, what looks like a finder, and the balance of dark and light. */
function penaltyOf(dark: readonly (readonly boolean[])[]): number {
  let penalty = 0;
  const size = dark.length;
  const columns = dark.map((_, x) => dark.map((row) => row[x]!));
  for (const line of [...dark, ...columns]) {
    const text = line.map(Number).join('');
    for (const [run] of text.matchAll(/0{5,}|1{5,}/g)) penalty += run.length - 2;
    penalty += 40 * [...`0000${text}0000`.matchAll(/(?=10111010000|00001011101)/g)].length;
  }
  for (let y = 1; y < size; y += 1) {
    for (let x = 1; x < size; x += 1) if (dark[y]![x] === dark[y]![x - 1] && dark[y]![x] === dark[y - 1]![x] && dark[y]![x] === dark[y - 1]![x - 1]) penalty += 3;
  }
  const all = dark.flat().filter(Boolean).length;
  return penalty + 10 * (Math.ceil(Math.abs(all * 20 - size * size * 10) / (size * size)) - 1);
}

/** The modules of the code, true for dark, without the quiet border. Throws where the text is longer than version 20 holds. */
export function modulesOf(text: string): boolean[][] {
  const bytes = [...new TextEncoder().encode(text)];
  const room = (version: number) => capacityOf(version) - ECC[version - 1]! * BLOCKS[version - 1]!;
  const version = ECC.findIndex((_, i) => bytes.length + (i < 9 ? 2 : 3) <= room(i + 1)) + 1;
  if (version === 0) throw new RangeError('the text is too long');

  const bits = (value: number, length: number) => value.toString(2).padStart(length, '0');
  let stream = `0100${bits(bytes.length, version < 10 ? 8 : 16)}${bytes.map((byte) => bits(byte, 8)).join('')}0000`;
  const data = stream.match(/.{8}/g)!.map((byte) => parseInt(byte, 2));
  for (let pad = 0xec; data.length < room(version); pad ^= 0xfd) data.push(pad);

  const [ecc, blocks] = [ECC[version - 1]!, BLOCKS[version - 1]!];
  const short = Math.floor(data.length / blocks);
  const shorts = blocks - (data.length % blocks);
  let at = 0;
  const parts = Array.from({ length: blocks }, (_, i) => data.slice(at, (at += short + (i < shorts ? 0 : 1))));
  const checks = parts.map((part) => eccOf(part, ecc));
  const words: number[] = [];
  for (const group of [parts, checks]) for (let i = 0; i <= Math.max(short, ecc); i += 1) for (const part of group) if (i < part.length) words.push(part[i]!);
  stream = words.map((word) => bits(word, 8)).join('');

  const size = version * 4 + 17;
  const dark = Array.from({ length: size }, () => Array<boolean>(size).fill(false));
  const fixed = dark.map((row) => [...row]);
  const set = (x: number, y: number, on: boolean) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    dark[y]![x] = on;
    fixed[y]![x] = true;
  };
  const square = (cx: number, cy: number, radius: number, on: (ring: number) => boolean) => {
    for (let y = -radius; y <= radius; y += 1) for (let x = -radius; x <= radius; x += 1) set(cx + x, cy + y, on(Math.max(Math.abs(x), Math.abs(y))));
  };
  for (let i = 0; i < size; i += 1) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]] as const) square(x, y, 4, (ring) => ring !== 2 && ring !== 4);
  const centres = centresOf(version);
  // Three corners have finders.
  const last = centres.at(-1);
  for (const x of centres) for (const y of centres) if (!(x === 6 && (y === 6 || y === last)) && !(x === last && y === 6)) square(x, y, 2, (ring) => ring !== 1);
  const format = (mask: number) => {
    const word = checked(mask, 10, 0x537) ^ 0x5412;
    for (let i = 0; i < 15; i += 1) {
      const on = ((word >> i) & 1) === 1;
      set(8, i < 6 ? i : i < 8 ? i + 1 : size - 15 + i, on);
      set(i < 8 ? size - 1 - i : i < 9 ? 7 : 14 - i, 8, on);
    }
    set(8, size - 8, true);
  };
  format(0);
  if (version > 6) {
    const word = checked(version, 12, 0x1f25);
    for (let i = 0; i < 18; i += 1) {
      const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(a, b, ((word >> i) & 1) === 1);
      set(b, a, ((word >> i) & 1) === 1);
    }
  }

  let next = 0;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) {
      const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
      for (const x of [right, right - 1]) if (!fixed[y]![x]) dark[y]![x] = stream[next++] === '1';
    }
  }

  const masked = MASKS.map((mask, i) => {
    format(i);
    return dark.map((row, y) => row.map((on, x) => (fixed[y]![x] ? on : on !== (mask(x, y) === 0))));
  });
  const penalties = masked.map(penaltyOf);
  return masked[penalties.indexOf(Math.min(...penalties))]!;
}
