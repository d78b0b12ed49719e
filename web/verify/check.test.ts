import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { check } from './check';
import { Crypto, NO_HASHES, NO_SIGNATURES } from './crypto';
import type { Proof } from './format';
import { consistency, crypto, inclusion, proof, root, signer, succession, twoHeads, write } from './making';

const sample = (name: string) => readFileSync(new URL(`samples/${name}.json`, import.meta.url), 'utf8');
/** A month of a demo wrote these; the proofs have interruptions and strained slots. */
const [PROOF, STRAINED, HEADS] = ['proof', 'strained', 'consistency'].map(sample) as [string, string, string];
const KEY = JSON.parse(PROOF).head.manager_key as string;

const outcomes = async (source: string, key: string | null) => {
  const { verdict, findings } = await check(source, key, crypto);
  return { verdict, not: findings.filter(({ outcome }) => outcome !== 'good').map(({ name, outcome }) => `${name} ${outcome}`) };
};

describe('what a manager wrote', () => {
  test.each([PROOF, STRAINED, HEADS])('holds', async (source) => {
    expect(await outcomes(source, KEY)).toEqual({ verdict: 'good', not: [] });
    expect(await outcomes(source, null)).toEqual({ verdict: 'consistent', not: ['signer open'] });
    expect(await outcomes(source, KEY.replace(/^../, '00'))).toEqual({ verdict: 'wrong', not: ['signer wrong'] });
  });

  test('is at best consistent where the browser cannot check it, and wrong all the same', async () => {
    const { subtle } = globalThis.crypto;
    const withoutEd25519 = { digest: subtle.digest.bind(subtle), importKey: () => Promise.reject(new DOMException('no', 'NotSupportedError')) } as unknown as SubtleCrypto;
    const report = await check(PROOF, KEY, new Crypto(withoutEd25519));
    expect(report.verdict).toBe('consistent');
    expect(report.findings.filter(({ outcome }) => outcome !== 'good')).toEqual([{ name: 'signature', outcome: 'open', says: NO_SIGNATURES }]);
    const plain = await check(PROOF, KEY, new Crypto(undefined));
    expect(plain.verdict).toBe('consistent');
    expect(plain.findings.filter(({ outcome }) => outcome === 'open').map(({ name, says }) => [name, says])).toEqual(['evidence', 'tree', 'signature'].map((name) => [name, NO_HASHES]));
    expect((await check(PROOF.replace('"proven": 2672', '"proven": 2671'), KEY, new Crypto(undefined))).verdict).toBe('wrong');
  });
});

type Place = (string | number)[];
function* places(value: unknown, at: Place = []): Generator<Place> {
  yield at;
  if (value !== null && typeof value === 'object') for (const [name, inner] of Object.entries(value)) yield* places(inner, [...at, Array.isArray(value) ? Number(name) : name]);
}
const get = (value: any, at: Place): unknown => at.reduce((inner, name) => inner[name], value);
function put(document: unknown, at: Place, value: unknown): unknown {
  const copy = structuredClone(document) as any;
  if (at.length === 0) return value;
  get(copy, at.slice(0, -1)) && ((get(copy, at.slice(0, -1)) as any)[at.at(-1)!] = value);
  return copy;
}
function changes(value: unknown): unknown[] {
  if (typeof value === 'boolean') return [!value, Number(value)];
  if (typeof value === 'number') return [value + 1, value - 1, value + 0.5, String(value), value === 1, null];
  if (typeof value === 'string') return [`${value}0`, value.slice(1), `${value.startsWith('0') ? 1 : 0}${value.slice(1)}`, value.toUpperCase() === value ? ` ${value}` : value.toUpperCase(), null, Number(value)];
  if (Array.isArray(value)) return [[...value, 0], [...value, '00'.repeat(32)], value.slice(1), value.length > 1 ? value.toReversed() : {}, null];
  if (value === null) return [0, {}, [], '00'.repeat(32), { day: 1, count: 1, hash: '00'.repeat(32) }];
  return [null, [], { ...value, more: 0 }, ...Object.keys(value as object).map((name) => Object.fromEntries(Object.entries(value as object).filter(([other]) => other !== name)))];
}

describe('tampering', () => {
  test.each([PROOF, STRAINED, HEADS])('every change of every field is noticed', { timeout: 60_000 }, async (source) => {
    const document: unknown = JSON.parse(source);
    const unnoticed: string[] = [];
    let tried = 0;
    for (const at of places(document)) {
      const value = get(document, at);
      for (const other of changes(value)) {
        if (Object.is(other, value) || JSON.stringify(other) === JSON.stringify(value)) continue;
        tried += 1;
        const { verdict } = await check(JSON.stringify(put(document, at, other)), KEY, crypto);
        if (verdict !== 'wrong') unnoticed.push(`${at.join('.')} = ${JSON.stringify(other)}: ${verdict}`);
      }
    }
    expect(tried).toBeGreaterThan(300);
    // Without its evidence a proof says less, and nothing wrong.
    expect(unnoticed).toEqual(source === HEADS ? [] : ['window = null: consistent']);
  });

  test('what JSON readers pass over is refused', async () => {
    const twice = PROOF.replace('"gap": false', '"gap": false, "gap": false');
    const changed = [twice, PROOF.replace('"answered": 0', '"answered": 0.0'), PROOF.replace('"answered": 0', '"answered": -0'), PROOF.replace('"answered": 0', '"answered": 0e0'), `\ufeff${PROOF}`, `${PROOF}x`, '[', ''];
    for (const source of [...changed, '['.repeat(100_000)]) {
      expect(source).not.toBe(PROOF);
      expect((await outcomes(source, KEY)).not).toEqual(['document wrong']);
    }
    expect((await outcomes(PROOF.replace('"format"', '"\\u0066ormat"'), KEY)).verdict).toBe('good');
  });
});

describe('evidence', () => {
  const counts = (document: Proof, inputs: Partial<Proof['leaf']['inputs']>) => Object.assign(document.leaf.inputs, inputs);
  /** 130 slots: 120 observed, 116 proven in three runs, 4 strained, 20 challenged, 15 answered. The epoch is its last 10. */
  const made = (document: Proof) => {
    document.window = { observed: [0n, 100n, 10n, 20n], proven: [0n, 50n, 3n, 47n, 11n, 19n], strained: [10n, 4n, 116n], challenged: [80n, 20n, 30n], answered: [85n, 15n, 30n] };
    counts(document, { observed: 120n, proven: 116n, interruptions: 2n, samples: 116n, samples_within: 112n, challenged: 20n, answered: 15n, outputs_expected: true });
    Object.assign(document.leaf, { window_slots: 130n, observed: 10n, proven: 10n, multiplier_grown_slots: 0n });
    const { params } = document.head;
    [params.output_weight_percent, params.stability_weight_percent, params.resources_weight_percent] = [30n, 20n, 10n];
    // By hand: 10,000 x 116/120 x (1 - 0.3 x 6/22) x (1 - 0.2 x 2/24) x (1 - 0.1 x 4/116) = 8,697.9; 70 x 120/2880 + 30 x 20/30 = 22.9.
    Object.assign(document.leaf, { score_hundredths: 8698n, confidence_hundredths: 23n, state: 'valid' });
    Object.assign(document, { score: '86.98', confidence: '0.23', state: 'valid' });
    document.leaf.payer = { pool_id: 'pool', cost_per_hour: 60_000n, reward_per_hour: 50_000n, currency: 'USDT' };
    document.leaf.accrual_pico = (300n * 50_000n * 1_000_000n * 8698n) / 36_000_000n;
  };
  /** The checks that fail of a document that is signed as it is. */
  const failing = async (change: (document: Proof) => unknown) => {
    const by = await signer();
    const source = await proof(PROOF, by, (document) => {
      made(document);
      change(document);
    });
    return (await outcomes(source, by.key)).not;
  };
  const none = () => {};

  test('that was computed by hand holds', async () => expect(await failing(none)).toEqual([]));

  test.each<[string, string[], (document: Proof) => unknown]>([
    ['a slot is proven and not observed', ['evidence wrong'], (d) => (d.window!.proven = [0n, 50n, 3n, 48n, 10n, 19n])],
    ['strained and not proven', ['evidence wrong'], (d) => (d.window!.strained = [48n, 4n, 78n])],
    ['answered and not challenged', ['evidence wrong'], (d) => (d.window!.answered = [79n, 15n, 36n])],
    ['the window begins unobserved', ['evidence wrong'], (d) => (d.window!.observed = [1n, 99n, 10n, 20n])],
    ['the window begins unobserved, and has all its inputs', ['evidence wrong'], (d) => {
      d.leaf.window_slots = 131n;
      d.window = { observed: [1n, 100n, 10n, 20n], proven: [1n, 50n, 3n, 47n, 11n, 19n], strained: [11n, 4n, 116n], challenged: [81n, 20n, 30n], answered: [86n, 15n, 30n] };
    }],
    ['longer than any window', ['evidence wrong'], (d) => {
      const empty = [8641n];
      d.window = { observed: [0n, 8641n], proven: empty, strained: empty, challenged: empty, answered: empty };
      counts(d, { observed: 8641n, proven: 0n, interruptions: 0n, samples: 0n, samples_within: 0n, challenged: 0n, answered: 0n });
      [d.head.params.max_age_slots, d.head.params.window_slots] = [9000n, 9000n];
      Object.assign(d.leaf, { window_slots: 8641n, proven: 0n, score_hundredths: 0n, confidence_hundredths: 70n, state: 'invalid', accrual_pico: 0n });
      Object.assign(d, { score: '0.00', confidence: '0.70', state: 'invalid' });
    }],
    ['a run of nothing', ['evidence wrong'], (d) => (d.window!.strained = [10n, 4n, 0n, 0n, 116n])],
    ['runs that do not add up', ['evidence wrong'], (d) => (d.window!.strained = [10n, 4n, 115n])],
    ['more than an epoch proves', ['epoch wrong', 'evidence wrong', 'credits wrong'], (d) => (d.leaf.proven = 11n)],
    ['an epoch that is longer than one', ['epoch wrong'], (d) => (d.head.slots_per_epoch = 9n)],
    ['too old', ['evidence wrong'], (d) => (d.head.params.max_age_slots = 129n)],
    ['too many', ['evidence wrong'], (d) => (d.head.params.window_slots = 119n)],
    ['inputs that the window does not have', ['evidence wrong', 'score wrong'], (d) => (d.leaf.inputs.interruptions = 1n)],
    ['a state that does not follow', ['summary wrong', 'score wrong'], (d) => (d.leaf.state = 'pending')],
    ['a threshold that is not reached', ['score wrong'], (d) => (d.head.params.min_score_hundredths = 8699n)],
    ['a confidence that does not follow', ['score wrong'], (d) => ([d.leaf.confidence_hundredths, d.confidence] = [24n, '0.24'])],
    ['a factor that weighs more than everything', ['score wrong'], (d) => {
      d.head.params.output_weight_percent = 101n;
      [d.leaf.score_hundredths, d.score] = [6863n, '68.63'];
      d.leaf.accrual_pico = (300n * 50_000n * 1_000_000n * 6863n) / 36_000_000n;
    }],
    ['credits of nobody', ['credits wrong'], (d) => (d.leaf.payer = null)],
    ['a multiplier of more than a week', ['credits wrong'], (d) => (d.leaf.multiplier_grown_slots = 20_161n)],
    ['a multiplier of more than a week that is paid by nobody', ['credits wrong'], (d) => Object.assign(d.leaf, { multiplier_grown_slots: 20_161n, payer: null, accrual_pico: 0n })],
    ['other parameters', ['score wrong'], (d) => (d.head.params.version = 2n)],
    ['reports of a day that goes on', ['epoch wrong'], (d) => (d.leaf.reports = { day: d.head.epoch / 2880n, count: 1n, hash: d.head.root })],
    ['an epoch that ends elsewhere', ['epoch wrong'], (d) => (d.head.last_slot += 1n)],
    ['an epoch that begins elsewhere', ['epoch wrong'], (d) => (d.head.leaves_at = d.head.epoch -= 1n)],
    ['an epoch that ends before it begins', ['epoch wrong'], (d) => {
      d.leaf.epoch = d.head.epoch = d.head.leaves_at = d.leaf.last_slot + 1n;
      Object.assign(d.leaf, { proven: 0n, observed: 0n, accrual_pico: 0n });
    }],
    ['an epoch of a gap', ['epoch wrong'], (d) => (d.head.gap = true)],
  ])('%s', async (_, expected, change) => expect(await failing(change)).toEqual(expected));

  test('another window with the same inputs is noticed by its hash', async () => {
    const by = await signer();
    const document = JSON.parse(await proof(PROOF, by, made));
    document.window.strained = [11, 4, 115];
    expect((await outcomes(JSON.stringify(document), by.key)).not).toEqual(['evidence wrong']);
  });

  test('an epoch that is longer than a full window is counted by the leaf alone', async () => {
    const short = (d: Proof) => {
      d.leaf.epoch = d.head.epoch = d.leaf.last_slot - 199n;
      d.head.leaves_at = d.head.epoch;
      d.head.slots_per_epoch = 200n;
      Object.assign(d.leaf, { proven: 150n, observed: 160n, accrual_pico: (4500n * 50_000n * 1_000_000n * 8698n) / 36_000_000n });
    };
    expect(await failing(short)).toEqual(['evidence wrong']);
    expect(await failing((d) => (short(d), (d.head.params.window_slots = 120n)))).toEqual([]);
  });
});

describe('trees', () => {
  const leaves = Promise.all(Array.from({ length: 20 }, (_, i) => crypto.leaf([i])));

  test('every path of every small tree leads to its root, and to no other place', async () => {
    const all = await leaves;
    for (let size = 1; size <= all.length; size++) {
      const of = all.slice(0, size);
      const top = await root(of);
      for (let i = 0; i < size; i++) {
        const path = await inclusion(i, of);
        const leads = (index: number, by: string[]) => crypto.included(all[i]!, BigInt(index), BigInt(size), by, top);
        expect(await leads(i, path)).toBe(true);
        for (const wrong of [leads(i + 1, path), leads(i, [...path, top]), ...(path.length ? [leads(i, path.slice(1)), leads(i, path.slice(0, -1))] : [])]) expect(await wrong).toBe(false);
      }
      for (let first = 1; first < size; first++) {
        const path = await consistency(first, of);
        const before = await root(all.slice(0, first));
        const shown = (by: string[], from = before) => crypto.extends(BigInt(first), from, BigInt(size), top, by);
        expect(await shown(path)).toBe(true);
        for (const wrong of [shown(path, all[19]), shown([...path, top]), shown(path.slice(0, -1)), shown([])]) expect(await wrong).toBe(false);
      }
    }
  });

  test('the vectors of Certificate Transparency', async () => {
    const given = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
    const hashes = await Promise.all(given.map((leaf) => crypto.leaf((leaf.match(/../g) ?? []).map((byte) => parseInt(byte, 16)))));
    expect(await root(hashes)).toBe('5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328');
    expect(await root(hashes.slice(0, 5))).toBe('4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4');
  });

  test('any two heads of a history', async () => {
    const by = await signer();
    for (const [first, second] of [[0, 0], [0, 1], [0, 5], [1, 2], [3, 8], [4, 7], [6, 6]] as const) {
      expect(await outcomes(await twoHeads(HEADS, by, first, second), by.key)).toEqual({ verdict: 'good', not: [] });
    }
    const changed = [
      twoHeads(HEADS, by, 3, 8, (head, sequence) => (head.chain = sequence < 4 ? 'one' : 'another')),
      twoHeads(HEADS, by, 3, 8, (head, sequence) => (head.incarnation = sequence < 4 ? 2n : 1n)),
      twoHeads(HEADS, by, 3, 3).then((source) => source.replace('"inclusion":null', '"inclusion":[]')),
      twoHeads(HEADS, by, 3, 3).then((source) => source.replace('"consistency":null', '"consistency":[]')),
      twoHeads(HEADS, by, 0, 3).then((source) => source.replace('"consistency":null', '"consistency":[]')),
    ];
    for (const source of changed) expect(await outcomes(await source, by.key)).toEqual({ verdict: 'wrong', not: ['history wrong'] });
    const other = await signer();
    const ofTwo = await twoHeads(HEADS, by, 3, 8, (head, sequence) => (head.manager_key = sequence < 4 ? by.key : other.key));
    expect((await outcomes(ofTwo, by.key)).not).toEqual(['signature wrong', 'signer wrong']);
    const swapped = JSON.parse(await twoHeads(HEADS, by, 3, 8));
    [swapped.first, swapped.second] = [swapped.second, swapped.first];
    expect((await outcomes(JSON.stringify(swapped), by.key)).not).toEqual(['history wrong']);
  });
});

describe('keys that took over from each other', async () => {
  const [a, b, c] = [await signer(), await signer(), await signer()];
  const at = (JSON.parse(PROOF) as { head: { sequence: number } }).head.sequence;
  const both = async (fromB: number, fromC: number) => [await succession(a, b, BigInt(fromB)), await succession(b, c, BigInt(fromC))];
  const signedBy = async (by: typeof a, keys: Proof['successions'], pinned: string | null) => outcomes(await proof(PROOF, by, (d) => (d.successions = keys)), pinned);

  test('any of them is the manager’s', async () => {
    for (const key of [a.key, b.key, c.key]) expect((await signedBy(b, await both(at, at + 1), key)).verdict).toBe('good');
    expect(await signedBy(b, await both(at, at + 1), null)).toEqual({ verdict: 'consistent', not: ['signer open'] });
    expect((await signedBy(b, await both(at, at + 1), KEY)).verdict).toBe('wrong');
  });

  test('only the one in office signs', async () => {
    for (const [by, fromB, fromC] of [[a, at, at], [b, at + 1, at + 2], [b, at - 1, at], [c, at, at + 1]] as const) {
      expect(await signedBy(by, await both(fromB, fromC), null)).toEqual({ verdict: 'wrong', not: ['signer wrong'] });
    }
    for (const [by, fromB, fromC] of [[a, at + 1, at + 1], [c, at, at]] as const) expect((await signedBy(by, await both(fromB, fromC), a.key)).verdict).toBe('good');
  });

  test('both sign, and the order holds', async () => {
    const [first, second] = (await both(at - 1, at)) as [Proof['successions'][0], Proof['successions'][0]];
    for (const keys of [[second, first], [first, { ...second, signed_by_new: second.signed_by_old }], [{ ...first, signed_by_old: first.signed_by_new }, second], [first, { ...second, at_ms: 1n }], await both(at, at - 1)]) {
      expect((await signedBy(c, keys, c.key)).not, write(keys)).toEqual(['signer wrong']);
    }
  });
});
