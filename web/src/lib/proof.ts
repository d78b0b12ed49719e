// Whether a proof document of an epoch says what it hashes: SHA-256 over the bytes it carries, computed again here.
import type { EpochDocument } from './api/types';

/**
 * `differs`: the document was changed, or the manager does not tell the truth. `unreadable`: not even the form is right.
 * `absent`: the bytes are not kept any more. `unchecked`: this browser does not hash here.
 */
export type Verdict = 'matches' | 'differs' | 'unreadable' | 'absent' | 'unchecked';

export type Checks = {
  /** The hashes of the leaves have the root that the head names. */
  leaves: Verdict;
  /** The head has the hash by which the next one names it. */
  head: Verdict;
  /** The head's bytes hold the root of the leaves and the hash of the head before: neither can be changed without changing it. */
  chain: Verdict;
  /** The key that the head names signed it. */
  signature: Verdict;
};

export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
}

export const toHex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

const isHash = (hex: string) => /^[0-9a-f]{64}$/.test(hex);

type Recipe = { domain_tag: string; bytes_base64?: string | null };

/** Is `hex` the SHA-256 of the bytes, and do they begin with their tag? */
export async function recompute({ domain_tag: tag, bytes_base64: base64 }: Recipe, hex: string, subtle: SubtleCrypto | undefined): Promise<Verdict> {
  if (base64 == null) return 'absent';
  const bytes = fromBase64(base64);
  if (bytes === null || !isHash(hex)) return 'unreadable';
  if (!toHex(bytes).startsWith(toHex(new TextEncoder().encode(tag)))) return 'differs';
  if (subtle === undefined) return 'unchecked';
  return toHex(new Uint8Array(await subtle.digest('SHA-256', bytes))) === hex ? 'matches' : 'differs';
}

/** Do the bytes hold each of these hashes? */
export function holds(base64: string | null | undefined, hashes: readonly string[]): Verdict {
  const bytes = base64 == null ? null : fromBase64(base64);
  if (bytes === null || !hashes.every(isHash)) return 'unreadable';
  const all = toHex(bytes);
  // Two digits a byte: only a find at an even place is a find of bytes.
  const found = (hash: string) => {
    let at = all.indexOf(hash);
    while (at % 2 === 1) at = all.indexOf(hash, at + 1);
    return at >= 0;
  };
  return hashes.every(found) ? 'matches' : 'differs';
}

const fromHex = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const join = (...parts: readonly (number[] | Uint8Array)[]) => Uint8Array.from(parts.flatMap((part) => Array.from(part)));

/** The root over hashes of leaves (RFC 6962, section 2.1). */
export async function rootOf(leaves: readonly Uint8Array[], subtle: SubtleCrypto): Promise<Uint8Array> {
  if (leaves.length === 1) return leaves[0] as Uint8Array;
  const hash = async (bytes: Uint8Array<ArrayBuffer>) => new Uint8Array(await subtle.digest('SHA-256', bytes));
  if (leaves.length === 0) return hash(new Uint8Array());
  const cut = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return hash(join([1], await rootOf(leaves.slice(0, cut), subtle), await rootOf(leaves.slice(cut), subtle)));
}

async function leaves({ head, hashes }: Said, subtle: SubtleCrypto | undefined): Promise<Verdict> {
  if (head.gap) return 'absent';
  if (!hashes.leaves) return hashes.root_matches === false ? 'differs' : hashes.head ? 'absent' : 'unchecked';
  if (!hashes.leaves.every(isHash)) return 'unreadable';
  if (subtle === undefined) return 'unchecked';
  return toHex(await rootOf(hashes.leaves.map(fromHex), subtle)) === head.root ? 'matches' : 'differs';
}

/** Ed25519 of the key that the head names; browsers that lack it leave it unchecked. */
async function signature({ head }: Said, subtle: SubtleCrypto | undefined): Promise<Verdict> {
  if (!head.signed) return 'absent';
  try {
    const key = await subtle?.importKey('raw', fromHex(head.signed.head.manager_key), 'Ed25519', false, ['verify']);
    if (!subtle || !key) return 'unchecked';
    const said = join(new TextEncoder().encode('lucid/poot-head-signature/v1\0'), fromHex(head.hash));
    return (await subtle.verify('Ed25519', key, fromHex(head.signed.signature), said)) ? 'matches' : 'differs';
  } catch {
    return 'unchecked';
  }
}

type Said = Pick<EpochDocument, 'head' | 'hashes'>;

/** `subtle` is missing where a page came over plain HTTP. */
export async function check(said: Said, subtle: SubtleCrypto | undefined): Promise<Checks> {
  const recipe = said.hashes.head;
  return {
    leaves: await leaves(said, subtle),
    head: recipe ? await recompute(recipe, said.head.hash, subtle) : 'unchecked',
    chain: recipe ? holds(recipe.bytes_base64, [said.head.root, said.head.previous]) : 'unchecked',
    signature: await signature(said, subtle),
  };
}
