// A text as a QR code (ISO/IEC 18004): bytes, error correction level M, versions 1 to 20. What is drawn of it is in qr.ts.

/** Of level M, by version from 1: error correction codewords of a block, and blocks. */
const CORRECTION = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];

/** True where a module is turned over. */
const MASKS: ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const bits = (value: number, count: number): boolean[] => times(count, (i) => ((value >>> (count - 1 - i)) & 1) === 1);

/** The remainder of a BCH code: `value` with `count` bits of correction behind it. */
function corrected(value: number, count: number, polynomial: number): number {
  let rest = value;
  for (let i = 0; i < count; i += 1) rest = (rest << 1) ^ ((rest >>> (count - 1)) * polynomial);
  return (value << count) | rest;
}

/** Product in GF(2⁸) modulo x⁸ + x⁴ + x³ + x² + 1. */
function product(a: number, b: number): number {
  let sum = 0;
  for (let i = 7; i >= 0; i -= 1) sum = (sum << 1) ^ ((sum >>> 7) * 0x11d) ^ (((b >>> i) & 1) * a);
  return sum;
}

/** Reed-Solomon codewords of a block. */
function correctionOf(block: readonly number[], count: number): number[] {
  const divisor = times<number>(count, (i) => (i === count - 1 ? 1 : 0));
  let root = 1;
  for (let i = 0; i < count; i += 1, root = product(root, 2)) divisor.forEach((c, j) => (divisor[j] = product(c, root) ^ (divisor[j + 1] ?? 0)));
  const rest = times<number>(count, () => 0);
  for (const byte of block) {
    const factor = byte ^ (rest.shift() ?? 0);
    rest.push(0);
    divisor.forEach((c, i) => (rest[i] = (rest[i] ?? 0) ^ product(c, factor)));
  }
  return rest;
}

/** Codewords of a version, of data and of correction together. */
function codewordsOf(version: number): number {
  const align = Math.floor(version / 7) + 2;
  const modules = (16 * version + 128) * version + 64 - (version > 1 ? (25 * align - 10) * align - 55 : 0) - (version > 6 ? 36 : 0);
  return Math.floor(modules / 8);
}

/** The text's bits with their correction, in the order in which they are placed. */
function streamOf(bytes: Uint8Array, version: number): boolean[] {
  const [all, correction, count] = [codewordsOf(version), CORRECTION[version - 1] ?? 0, BLOCKS[version - 1] ?? 1];
  const room = all - correction * count;
  const text = [false, true, false, false, ...bits(bytes.length, lengthBits(version)), ...[...bytes].flatMap((byte) => bits(byte, 8)), false, false, false, false];
  const data = times(Math.floor(text.length / 8), (i) => text.slice(i * 8, i * 8 + 8).reduce((sum, bit) => sum * 2 + Number(bit), 0));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  let from = 0;
  const blocks = times(count, (i) => data.slice(from, (from += Math.floor(all / count) - correction + (i < count - (all % count) ? 0 : 1))));
  const column = (rows: number[][], i: number) => rows.map((row) => row[i]).filter((byte) => byte !== undefined);
  const checks = blocks.map((block) => correctionOf(block, correction));
  return [...times(blocks.at(-1)?.length ?? 0, (i) => column(blocks, i)), ...times(correction, (i) => column(checks, i))].flat().flatMap((byte) => bits(byte, 8));
}

const lengthBits = (version: number): number => (version < 10 ? 8 : 16);

type Modules = (boolean | undefined)[][];

/** What every code of a version has; the places of the data are undefined. */
function frameOf(version: number, mask: number): Modules {
  const size = version * 4 + 17;
  const grid: Modules = times(size, () => times(size, () => undefined));
  const set = (x: number, y: number, dark: boolean) => {
    if (grid[y] && x >= 0 && x < size) grid[y][x] = dark;
  };
  const square = (x: number, y: number, reach: number) => {
    for (let dy = -reach; dy <= reach; dy += 1) for (let dx = -reach; dx <= reach; dx += 1) {
      const ring = Math.max(Math.abs(dx), Math.abs(dy));
      set(x + dx, y + dy, reach === 2 ? ring !== 1 : ring !== 2 && ring !== 4);
    }
  };
  for (let i = 0; i < size; i += 1) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  const count = version > 1 ? Math.floor(version / 7) + 2 : 0;
  const step = Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  const places = times(count, (i) => (i === 0 ? 6 : size - 7 - (count - 1 - i) * step));
  const corners = [[3, 3], [size - 4, 3], [3, size - 4]] as const;
  for (const x of places) for (const y of places) if (!corners.some(([cx, cy]) => Math.abs(x - cx) < 5 && Math.abs(y - cy) < 5)) square(x, y, 2);
  for (const [x, y] of corners) square(x, y, 4);
  if (version > 6) bits(corrected(version, 12, 0x1f25), 18).reverse().forEach((dark, i) => {
    const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
    set(a, b, dark);
    set(b, a, dark);
  });
  bits(corrected(mask, 10, 0x537) ^ 0x5412, 15).reverse().forEach((dark, i) => {
    set(8, i < 6 ? i : i < 8 ? i + 1 : size - 15 + i, dark);
    set(i < 8 ? size - 1 - i : i === 8 ? 7 : 14 - i, 8, dark);
  });
  set(8, size - 8, true);
  return grid;
}

/** Lays the bits in pairs of columns, from the right, up and down by turns. */
function filled(grid: Modules, stream: readonly boolean[], mask: number): boolean[][] {
  const size = grid.length;
  let at = 0;
  for (let right = size - 1; right > 0; right -= right === 8 ? 3 : 2) {
    const up = ((right + 1) & 2) === 0;
    for (let i = 0; i < size; i += 1) for (const x of [right, right - 1]) {
      const y = up ? size - 1 - i : i;
      const row = grid[y];
      if (row && row[x] === undefined) row[x] = (stream[at++] ?? false) !== MASKS[mask]?.(x, y);
    }
  }
  return grid as boolean[][];
}

/** How hard it is to read: long runs, blocks, what looks like a corner, and more of one colour than of the other. */
function penalty(grid: readonly boolean[][]): number {
  const lines = [...grid, ...grid.map((_, x) => grid.map((row) => row[x]))].map((line) => line.map(Number).join(''));
  let sum = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2;
    sum += 40 * [...line.matchAll(/(?=10111010000|00001011101)/g)].length;
  }
  grid.forEach((row, y) => row.forEach((dark, x) => (sum += x > 0 && y > 0 && row[x - 1] === dark && grid[y - 1]?.[x] === dark && grid[y - 1]?.[x - 1] === dark ? 3 : 0)));
  const share = grid.flat().filter(Boolean).length / grid.length ** 2;
  return sum + 10 * Math.floor(Math.abs(share - 0.5) * 20);
}

/** Rows of modules, true where dark, without a border; undefined for a text that is too long. With the mask that reads best, or a given one. */
export function modulesOf(text: string, mask?: number): boolean[][] | undefined {
  const bytes = new TextEncoder().encode(text);
  const version = 1 + BLOCKS.findIndex((count, i) => 4 + lengthBits(i + 1) + bytes.length * 8 <= (codewordsOf(i + 1) - (CORRECTION[i] ?? 0) * count) * 8);
  if (version === 0) return undefined;
  const stream = streamOf(bytes, version);
  const codes = [...MASKS.keys()].filter((m) => m === (mask ?? m)).map((m) => filled(frameOf(version, m), stream, m));
  return codes.map((code) => ({ code, bad: penalty(code) })).sort((a, b) => a.bad - b.bad)[0]?.code;
}
