// The fields of a document: how each is read, and which canonical bytes it becomes. It follows `data/proof-format.md`, and nothing else.
import { parse, Refused, type Json } from './json';

/** A kind of value. `read` refuses what is not of it, by the name of its place; `bytes` are its canonical ones. */
export type Kind<T> = { read(value: Json, at: string): T; bytes(value: T): number[] };
type Value<K> = K extends Kind<infer T> ? T : never;

export function fromHex(hex: string): number[] {
  return Array.from({ length: hex.length / 2 }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

export function toHex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const utf8 = (text: string): number[] => [...new TextEncoder().encode(text)];
const bigEndian = (value: bigint, bits: number): number[] =>
  Array.from({ length: bits / 8 }, (_, i) => Number((BigInt.asUintN(bits, value) >> BigInt(bits - 8 - 8 * i)) & 0xffn));

function refuse(at: string, what: string): never {
  throw new Refused(`${at} is not ${what}`);
}

function demand<T>(value: T | undefined | false, at: string, what: string): T {
  return value === undefined || value === false ? refuse(at, what) : value;
}

function ranged(value: bigint, bits: number, signed: boolean, at: string): bigint {
  if (value !== (signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value))) throw new Refused(`${at} is out of range`);
  return value;
}

const integer = (bits: number, signed = false): Kind<bigint> => ({
  read: (value, at) => (typeof value === 'bigint' ? ranged(value, bits, signed, at) : refuse(at, 'an integer')),
  bytes: (value) => bigEndian(value, bits),
});
/** An integer as a text of digits. */
const amount = (bits: number): Kind<bigint> => ({
  read: (value, at) => ranged(BigInt(demand(typeof value === 'string' && /^(0|-?[1-9][0-9]{0,38})$/.test(value) && value, at, 'a text of digits')), bits, true, at),
  bytes: (value) => bigEndian(value, bits),
});
const flag: Kind<boolean> = {
  read: (value, at) => (typeof value === 'boolean' ? value : refuse(at, 'true or false')),
  bytes: (value) => [Number(value)],
};
const hex = (size: number): Kind<string> => ({
  read: (value, at) => demand(typeof value === 'string' && value.length === 2 * size && /^[0-9a-f]+$/.test(value) && value, at, `lower-case hex of ${size} bytes`),
  bytes: fromHex,
});
const text: Kind<string> = {
  read(value, at) {
    if (typeof value !== 'string') return refuse(at, 'a text');
    // Half of a surrogate pair is no character.
    if (/\p{Surrogate}/u.test(value) || utf8(value).length > 0xffff) throw new Refused(`${at} is a text that cannot be hashed`);
    return value;
  },
  bytes: (value) => [...bigEndian(BigInt(utf8(value).length), 16), ...utf8(value)],
};
const oneOf = <W extends string>(...words: W[]) => ({
  read: (value: Json, at: string): W => demand(words.find((word) => word === value), at, words.join(' or ')),
  bytes: text.bytes as (value: W) => number[],
});
const STATES = ['pending', 'valid', 'invalid'] as const;
const state = { ...oneOf(...STATES), bytes: (value: (typeof STATES)[number]) => [STATES.indexOf(value)] };
const option = <T>(kind: Kind<T>): Kind<T | null> => ({
  read: (value, at) => (value === null ? null : kind.read(value, at)),
  bytes: (value) => (value === null ? [0] : [1, ...kind.bytes(value)]),
});
/** Canonical only as a track: the number of its runs, then the runs. */
const list = <T>(kind: Kind<T>): Kind<T[]> => ({
  read: (value, at) => demand(Array.isArray(value) && value, at, 'a list').map((one, i) => kind.read(one, `${at}[${i}]`)),
  bytes: (value) => [...bigEndian(BigInt(value.length), 16), ...value.flatMap(kind.bytes)],
});

/** An object of exactly these fields; its bytes are theirs, in this order, after the tag if it has one. */
function record<K extends Record<string, Kind<any>>>(kinds: K, tag?: string): Kind<{ [N in keyof K]: Value<K[N]> }> {
  const fields = Object.entries(kinds);
  return {
    read(value, at) {
      const given = demand(value instanceof Map && value, at, 'an object');
      for (const name of given.keys()) if (!Object.hasOwn(kinds, name)) throw new Refused(`${at} has a field that it must not have: ${name.slice(0, 60)}`);
      for (const [name] of fields) if (!given.has(name)) throw new Refused(`${at} lacks the field ${name}`);
      return Object.fromEntries(fields.map(([name, kind]) => [name, kind.read(given.get(name)!, `${at}.${name}`)])) as { [N in keyof K]: Value<K[N]> };
    },
    bytes: (value) => [...(tag ? tagged(tag) : []), ...fields.flatMap(([name, kind]) => kind.bytes(value[name]))],
  };
}

/** A tag and the zero byte behind it. */
export const tagged = (tag: string): number[] => [...utf8(tag), 0];

const [u8, u16, u32, u64, i64] = [integer(8), integer(16), integer(32), integer(64), integer(64, true)] as const;
const hash = hex(32);
export const key = hash;
const signature = hex(64);
const track = list(u16);

export const leafKind = record(
  {
    blind: hex(16),
    epoch: u32,
    last_slot: u32,
    node_id: text,
    window_slots: u16,
    window_hash: hash,
    proven: u16,
    observed: u16,
    inputs: record({ proven: u16, observed: u16, interruptions: u16, samples: u16, samples_within: u16, challenged: u16, answered: u16, outputs_expected: flag }),
    state,
    score_hundredths: u16,
    confidence_hundredths: u8,
    multiplier_grown_slots: u32,
    payer: option(record({ pool_id: text, cost_per_hour: amount(64), reward_per_hour: amount(64), currency: oneOf('USDT', 'LUCID') })),
    accrual_pico: amount(128),
    reports: option(record({ day: u32, count: u32, hash })),
  },
  'lucid/poot-leaf/v1',
);
export const windowKind = record({ proven: track, observed: track, strained: track, challenged: track, answered: track }, 'lucid/poot-window/v1');
const place = record({ seq: u64, hash });
export const headKind = record(
  {
    chain: text,
    incarnation: u32,
    restored_from: option(hash),
    sequence: u64,
    epoch: u32,
    last_slot: u32,
    slots_per_epoch: u32,
    closed_at_ms: i64,
    gap: flag,
    params: record({
      version: u16,
      window_slots: u16,
      max_age_slots: u16,
      min_observation_seconds: u32,
      min_score_hundredths: u16,
      output_weight_percent: u8,
      stability_weight_percent: u8,
      resources_weight_percent: u8,
      max_multiplier_hundredths: u16,
    }),
    valid: u32,
    pending: u32,
    invalid: u32,
    leaves_at: option(u32),
    root: hash,
    previous: hash,
    history: hash,
    audit: place,
    ledger: place,
    manager_key: key,
  },
  'lucid/poot-head/v1',
);
const succeeded = { manager_id: text, old_key: key, new_key: key, from_sequence: u64, at_ms: i64 };
export const succeededKind = record(succeeded, 'lucid/key-succession/v1');
const successions = list(record({ ...succeeded, signed_by_old: signature, signed_by_new: signature }));
const signedHead = record({ head: headKind, signature });

const FORMATS = {
  'lucid-poot-proof/1': record({
    format: oneOf('lucid-poot-proof/1'),
    node_id: text,
    state,
    score: text,
    confidence: text,
    head: headKind,
    signature,
    leaf: leafKind,
    leaf_index: u64,
    path: list(hash),
    window: option(windowKind),
    successions,
  }),
  'lucid-poot-consistency/1': record({
    format: oneOf('lucid-poot-consistency/1'),
    first: signedHead,
    second: signedHead,
    inclusion: option(list(hash)),
    consistency: option(list(hash)),
    successions,
  }),
};

export type Proof = Value<(typeof FORMATS)['lucid-poot-proof/1']>;
export type TwoHeads = Value<(typeof FORMATS)['lucid-poot-consistency/1']>;
export type Document = Proof | TwoHeads;
export type Head = Value<typeof headKind>;
export type Params = Head['params'];
export type Inputs = Proof['leaf']['inputs'];
export type Window = Value<typeof windowKind>;

/** Reads a document, every field of it known, present once, of its type and in its range; throws `Refused`. */
export function read(source: string): Document {
  const document = parse(source);
  const format = document instanceof Map ? document.get('format') : undefined;
  if (typeof format !== 'string' || !Object.hasOwn(FORMATS, format)) throw new Refused('its format is none that is known here');
  return FORMATS[format as keyof typeof FORMATS].read(document, 'document') as Document;
}
