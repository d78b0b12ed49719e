// Whether a proof document of an epoch says what it hashes: SHA-256 over the bytes it carries, computed again here.
import type { EpochDocument } from './api/types';

/**
 * `differs`: the document was changed, or the manager does not tell the truth. `unreadable`: not even the form is right.
 * `absent`: the bytes are not kept any more. `unchecked`: this browser does not hash here.
 */
export type Verdict = 'matches' | 'differs' | 'unreadable' | 'absent' | 'unchecked';

export type Checks = {
  /** The leaves have the hash that the head names. */
  leaves: Verdict;
  /** The head has the hash by which the next one names it. */
  head: Verdict;
  /** The head's bytes hold the hash of the leaves and that of the head before: neither can be changed without changing it. */
  chain: Verdict;
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

/** `subtle` is missing where a page came over plain HTTP. */
export async function check({ head, hashes }: Pick<EpochDocument, 'head' | 'hashes'>, subtle: SubtleCrypto | undefined): Promise<Checks> {
  return {
    leaves: await recompute(hashes.leaves, head.leaves_hash, subtle),
    head: await recompute(hashes.head, head.hash, subtle),
    chain: holds(hashes.head.bytes_base64, [head.leaves_hash, head.previous]),
  };
}
