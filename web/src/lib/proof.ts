// Whether a proof document of an epoch says what it hashes: SHA-256 over the bytes it carries, computed again here.

/** `differs` means that the document was changed, or that the manager does not tell the truth. */
export type Verdict = 'matches' | 'differs' | 'unreadable';

export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
}

export const toHex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

export async function sha256Hex(parts: readonly Uint8Array[], subtle: SubtleCrypto): Promise<string> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return toHex(new Uint8Array(await subtle.digest('SHA-256', all)));
}

/** Is `hex` the SHA-256 of the tag followed by the bytes? */
export async function recompute(tag: string, base64: string, hex: string, subtle: SubtleCrypto): Promise<Verdict> {
  const bytes = fromBase64(base64);
  if (bytes === null || !/^[0-9a-f]{64}$/i.test(hex)) return 'unreadable';
  const found = await sha256Hex([new TextEncoder().encode(tag), bytes], subtle);
  return found === hex.toLowerCase() ? 'matches' : 'differs';
}

/** Do the hashed bytes hold this hash? So a head is tied to its leaves, and to the head before. */
export function holds(base64: string, hex: string): Verdict {
  const bytes = fromBase64(base64);
  if (bytes === null || !/^[0-9a-f]{64}$/i.test(hex)) return 'unreadable';
  // Two digits a byte: only a find at an even place is a find of bytes.
  const [all, wanted] = [toHex(bytes), hex.toLowerCase()];
  for (let at = all.indexOf(wanted); at >= 0; at = all.indexOf(wanted, at + 1)) if (at % 2 === 0) return 'matches';
  return 'differs';
}
