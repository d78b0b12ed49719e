// For tests: documents like a manager's, over changed evidence and signed by keys that the tests have.
import { Crypto } from './crypto';
import { fromHex, headKind, leafKind, read, succeededKind, tagged, toHex, windowKind, type Head, type Proof, type TwoHeads } from './format';

export const crypto = new Crypto(globalThis.crypto.subtle);

export type Signer = { key: string; sign(message: number[]): Promise<string> };

export async function signer(): Promise<Signer> {
  const { publicKey, privateKey } = (await globalThis.crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
  return {
    key: toHex(new Uint8Array(await globalThis.crypto.subtle.exportKey('raw', publicKey))),
    sign: async (message) => toHex(new Uint8Array(await globalThis.crypto.subtle.sign('Ed25519', privateKey, Uint8Array.from(message)))),
  };
}

/** The fields that are texts of digits; other integers are numbers. */
const AMOUNTS = new Set(['cost_per_hour', 'reward_per_hour', 'accrual_pico']);

export function write(document: unknown): string {
  return JSON.stringify(document, (name, value: unknown) => (typeof value !== 'bigint' ? value : AMOUNTS.has(name) ? String(value) : Number(value)));
}

const sign = async (head: Head, by: Signer): Promise<string> =>
  by.sign([...tagged('lucid/poot-head-signature/v1'), ...fromHex(await crypto.sha256(headKind.bytes(head)))]);

/** A proof that was changed, with every hash and the signature made anew: the only leaf of its tree. */
export async function proof(sample: string, by: Signer, change: (proof: Proof) => void = () => {}): Promise<string> {
  const document = read(sample) as Proof;
  const { head, leaf } = document;
  head.manager_key = by.key;
  [head.valid, head.pending, head.invalid] = [1n, 0n, 0n];
  [document.leaf_index, document.path] = [0n, []];
  change(document);
  if (document.window) leaf.window_hash = await crypto.sha256(windowKind.bytes(document.window));
  head.root = await crypto.leaf(leafKind.bytes(leaf));
  document.signature = await sign(head, by);
  return write(document);
}

export type Succession = Proof['successions'][number];

export async function succession(old: Signer, next: Signer, from: bigint): Promise<Succession> {
  const said = { manager_id: 'manager', old_key: old.key, new_key: next.key, from_sequence: from, at_ms: 0n };
  const message = succeededKind.bytes(said);
  return { ...said, signed_by_old: await old.sign(message), signed_by_new: await next.sign(message) };
}

/** Two heads of a history of `second` heads, which is made here; `change` is told of each head, by its sequence. */
export async function twoHeads(sample: string, by: Signer, first: number, second: number, change: (head: Head, sequence: number) => void = () => {}): Promise<string> {
  const document = read(sample) as TwoHeads;
  const template = { ...document.first.head, manager_key: by.key };
  const leaves: string[] = [];
  const heads = [];
  let previous = '0'.repeat(64);
  for (let sequence = 0; sequence <= second; sequence++) {
    const head = { ...template, sequence: BigInt(sequence), previous, history: await root(leaves) };
    change(head, sequence);
    heads.push(head);
    previous = await crypto.sha256(headKind.bytes(head));
    leaves.push(await crypto.leaf(fromHex(previous)));
  }
  leaves.pop();
  document.first = { head: heads[first]!, signature: await sign(heads[first]!, by) };
  document.second = { head: heads[second]!, signature: await sign(heads[second]!, by) };
  document.inclusion = first === second ? null : await inclusion(first, leaves);
  document.consistency = first === second || first === 0 ? null : await consistency(first, leaves);
  return write(document);
}

/** The largest power of two below `n`. */
const cut = (n: number): number => 2 ** (Math.ceil(Math.log2(n)) - 1);

/** RFC 6962, section 2.1, over hashes of leaves. */
export async function root(leaves: string[]): Promise<string> {
  if (leaves.length < 2) return leaves[0] ?? crypto.sha256([]);
  const k = cut(leaves.length);
  return crypto.node(await root(leaves.slice(0, k)), await root(leaves.slice(k)));
}

/** Section 2.1.1. */
export async function inclusion(index: number, leaves: string[]): Promise<string[]> {
  if (leaves.length === 1) return [];
  const k = cut(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return index < k ? [...(await inclusion(index, left)), await root(right)] : [...(await inclusion(index - k, right)), await root(left)];
}

/** Section 2.1.2. */
export async function consistency(size: number, leaves: string[], whole = true): Promise<string[]> {
  if (size === leaves.length) return whole ? [] : [await root(leaves)];
  const k = cut(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return size <= k ? [...(await consistency(size, left, whole)), await root(right)] : [...(await consistency(size - k, right, false)), await root(left)];
}
