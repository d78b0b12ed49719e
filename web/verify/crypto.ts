// SHA-256 and Ed25519 of the browser, and the trees of RFC 6962 over them. What a browser does not have is said, and not guessed.
import { fromHex, toHex } from './format';

/** A check could not be made; the message says why. */
export class NotChecked extends Error {}

export const NO_HASHES = 'this page came over plain HTTP, where browsers do not hash: open it over HTTPS, or save it and open the file';
export const NO_SIGNATURES = 'this browser cannot check Ed25519 signatures';

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
/** RFC 8032, section 7.1, test 2: does this browser do what it says? */
const KNOWN = {
  key: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  message: [0x72],
  signature: '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
};

const littleEndian = (hex: string): bigint => BigInt(`0x${toHex(fromHex(hex).reverse())}`);

/** `subtle` is missing where a page came over plain HTTP. */
export class Crypto {
  private known: Promise<boolean> | undefined;

  constructor(private readonly subtle: SubtleCrypto | undefined) {}

  /** SHA-256, in hex. */
  async sha256(bytes: number[]): Promise<string> {
    if (!this.subtle) throw new NotChecked(NO_HASHES);
    return toHex(new Uint8Array(await this.subtle.digest('SHA-256', Uint8Array.from(bytes))));
  }

  /** Whether a signature holds; strictly: s below the order of the group, the key in its canonical encoding. */
  async signed(key: string, message: number[], signature: string): Promise<boolean> {
    if (!this.subtle) throw new NotChecked(NO_HASHES);
    this.known ??= this.raw(KNOWN.key, KNOWN.message, KNOWN.signature);
    if (!(await this.known)) throw new NotChecked(NO_SIGNATURES);
    if (littleEndian(signature.slice(64)) >= L || BigInt.asUintN(255, littleEndian(key)) >= P) return false;
    return this.raw(key, message, signature);
  }

  private async raw(key: string, message: number[], signature: string): Promise<boolean> {
    try {
      const imported = await this.subtle!.importKey('raw', Uint8Array.from(fromHex(key)), 'Ed25519', false, ['verify']);
      return await this.subtle!.verify('Ed25519', imported, Uint8Array.from(fromHex(signature)), Uint8Array.from(message));
    } catch {
      // Not a key, or no such algorithm: the known answer tells which.
      return false;
    }
  }

  leaf(bytes: number[]): Promise<string> {
    return this.sha256([0, ...bytes]);
  }

  node(left: string, right: string): Promise<string> {
    return this.sha256([1, ...fromHex(left), ...fromHex(right)]);
  }

  /** RFC 9162, 2.1.3.2: whether a leaf's hash, at `index` of `size`, is under `root` by `path`. */
  async included(leaf: string, index: bigint, size: bigint, path: string[], root: string): Promise<boolean> {
    if (index >= size) return false;
    const walk = new Walk(index, size - 1n);
    let hash = leaf;
    for (const step of path) {
      if (walk.last === 0n) return false;
      hash = walk.left() ? await this.node(step, hash) : await this.node(hash, step);
    }
    return walk.last === 0n && hash === root;
  }

  /** RFC 9162, 2.1.4.2: whether the tree of `first` leaves (at least 1) is the beginning of the larger one of `second`. */
  async extends(first: bigint, firstRoot: string, second: bigint, secondRoot: string, path: string[]): Promise<boolean> {
    if (first < 1n || first >= second || path.length === 0) return false;
    const [start, ...steps] = (first & (first - 1n)) === 0n ? [firstRoot, ...path] : path;
    const walk = new Walk(first - 1n, second - 1n);
    while (walk.place & 1n) walk.up();
    let [before, after] = [start!, start!];
    for (const step of steps) {
      if (walk.last === 0n) return false;
      if (walk.left()) [before, after] = [await this.node(step, before), await this.node(step, after)];
      else after = await this.node(after, step);
    }
    return walk.last === 0n && before === firstRoot && after === secondRoot;
  }
}

/** The way from a leaf to the root: its place in each level, and the last place there. */
class Walk {
  constructor(
    public place: bigint,
    public last: bigint,
  ) {}

  up(): void {
    this.place >>= 1n;
    this.last >>= 1n;
  }

  /** Whether the next hash of the path stands to the left; goes one level up, and further where there is nothing to the right. */
  left(): boolean {
    const left = (this.place & 1n) === 1n || this.place === this.last;
    if (left) while (!(this.place & 1n) && this.place) this.up();
    this.up();
    return left;
  }
}
