// The checks of `data/proof-format.md`, one function each: it returns the sentence of what it found, or throws.
import { type Crypto, NotChecked } from './crypto';
import { type Document, fromHex, headKind, type Inputs, leafKind, type Params, type Proof, read, succeededKind, tagged, type TwoHeads, type Window, windowKind } from './format';
import { Refused } from './json';

export type Outcome = 'good' | 'wrong' | 'open';
export type Finding = { name: string; outcome: Outcome; says: string };
/** `good`: all holds, and the signer is who was expected. `consistent`: nothing is wrong, and something could not be checked. */
export type Verdict = 'good' | 'consistent' | 'wrong';
export type Report = { verdict: Verdict; findings: Finding[]; document?: Document };

class Wrong extends Error {}
type Asked = { crypto: Crypto; key: string | null };
type Check<D> = (document: D, asked: Asked) => string | Promise<string>;

export const SLOT_SECONDS = 30n;
const SLOTS_PER_DAY = 2_880n;
const LONGEST_WINDOW = 8_640n;

function demand(holds: boolean, otherwise: string): void {
  if (!holds) throw new Wrong(otherwise);
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
export const most = (a: bigint, b: bigint): bigint => (a > b ? a : b);
/** A fraction of integers that are not negative, to the nearest integer, and of two to the even one. */
function rounded(over: bigint, under: bigint): bigint {
  const whole = over / under;
  const twice = 2n * (over % under);
  return whole + (twice > under || (twice === under && whole % 2n === 1n) ? 1n : 0n);
}
export function twoDecimals(hundredths: bigint): string {
  return `${hundredths / 100n}.${String(hundredths % 100n).padStart(2, '0')}`;
}

const summary: Check<Proof> = ({ node_id, state, score, confidence, leaf }) => {
  demand(node_id === leaf.node_id, 'the node is not the one of the leaf');
  demand(state === leaf.state, 'the state is not the one of the leaf');
  demand(score === twoDecimals(leaf.score_hundredths), 'the score is not the one of the leaf');
  demand(confidence === twoDecimals(leaf.confidence_hundredths), 'the confidence is not the one of the leaf');
  return `as the leaf says, ${node_id} is ${state} with score ${score} and confidence ${confidence}`;
};

const epoch: Check<Proof> = ({ leaf, head }) => {
  demand(leaf.epoch === head.epoch && leaf.last_slot === head.last_slot, 'the leaf and the head are of different epochs');
  demand(head.epoch <= head.last_slot, 'the epoch ends before it begins');
  demand(!head.gap && head.leaves_at === head.epoch, 'the head has no leaves of this epoch');
  const slots = head.last_slot - head.epoch + 1n;
  demand(slots <= head.slots_per_epoch, 'the epoch is longer than one');
  demand(leaf.proven <= leaf.observed && leaf.observed <= slots, 'more slots are proven or observed than the epoch has');
  if (leaf.reports) demand(leaf.reports.day < head.epoch / SLOTS_PER_DAY && leaf.reports.count > 0n, 'the hash of reports is of no day that had ended');
  return `the leaf is of the head’s epoch, slots ${head.epoch} to ${head.last_slot}`;
};

export type Slots = { [N in keyof Window]: boolean[] };

/** Tracks as a flag for each slot, oldest first. */
export function slotsOf(window: Window, length: bigint): Slots {
  demand(length <= LONGEST_WINDOW, 'the window is too long');
  const spread = (runs: bigint[]): boolean[] => {
    demand(runs.reduce((sum, run) => sum + run, 0n) === length, 'the runs of a track do not add up to the window');
    demand(runs.every((run, i) => run > 0n || (i === 0 && runs.length > 1)), 'a track has a run of nothing');
    return runs.flatMap((run, i) => Array<boolean>(Number(run)).fill(i % 2 === 1));
  };
  return Object.fromEntries(Object.entries(window).map(([name, runs]) => [name, spread(runs)])) as Slots;
}

const total = (slots: boolean[]): bigint => BigInt(slots.filter(Boolean).length);

const evidence: Check<Proof> = async ({ window, leaf, head: { params } }, { crypto }) => {
  if (!window) throw new NotChecked('the evidence is not in this document; the inputs are those of the leaf');
  demand(leaf.window_slots <= params.max_age_slots, 'the window is too long');
  const slots = slotsOf(window, leaf.window_slots);
  demand((await crypto.sha256(windowKind.bytes(window))) === leaf.window_hash, 'this is not the window that the leaf names');
  const within = [['proven', 'observed'], ['strained', 'proven'], ['challenged', 'observed'], ['answered', 'challenged']] as const;
  for (const [part, whole] of within) demand(slots[part].every((set, i) => !set || slots[whole][i] === true), `a slot is ${part} and not ${whole}`);
  demand(slots.observed[0] !== false, 'the window begins with a slot that is not observed');

  const ofObserved = slots.proven.filter((_, i) => slots.observed[i]);
  const [proven, observed] = [total(slots.proven), total(slots.observed)];
  const counted = {
    proven,
    observed,
    interruptions: total(ofObserved.map((now, i) => i > 0 && ofObserved[i - 1] === true && !now)),
    samples: proven,
    samples_within: proven - total(slots.strained),
    challenged: total(slots.challenged),
    answered: total(slots.answered),
  };
  for (const [name, count] of Object.entries(counted)) {
    const said = leaf.inputs[name as keyof typeof counted];
    demand(count === said, `${name} is ${said}, and the evidence has ${count}`);
  }
  demand(observed <= params.window_slots, 'more slots are observed than the window may have');

  const length = leaf.last_slot - leaf.epoch + 1n;
  if (leaf.window_slots >= length || observed !== params.window_slots) {
    const from = Number(most(0n, leaf.window_slots - length));
    for (const name of ['proven', 'observed'] as const) {
      const count = total(slots[name].slice(from));
      demand(count === leaf[name], `${name} of the epoch is ${leaf[name]}, and the evidence has ${count}`);
    }
  }
  return `the window has the hash that the leaf names, and its slots give the inputs: ${proven} of ${observed} observed ones are proven`;
};

/** Each factor as a fraction and its weight in percent. */
export function factorsOf(inputs: Inputs, params: Params): { name: string; over: bigint; under: bigint; weight: bigint }[] {
  const { challenged, interruptions, samples } = inputs;
  return [
    { name: 'Outputs', over: 1n + least(inputs.answered, challenged), under: 2n + challenged, weight: inputs.outputs_expected ? params.output_weight_percent : 0n },
    { name: 'Stability', over: most(0n, 24n - interruptions), under: 24n, weight: params.stability_weight_percent },
    { name: 'Resources', over: samples ? least(inputs.samples_within, samples) : 1n, under: samples || 1n, weight: params.resources_weight_percent },
  ];
}

const score: Check<Proof> = ({ leaf, head: { params } }) => {
  const { inputs } = leaf;
  const { observed, challenged } = inputs;
  demand(params.version === 1n, 'the parameters have a version that is not known here');
  let [over, under] = [10_000n * least(inputs.proven, observed), most(observed, 1n)];
  for (const factor of factorsOf(inputs, params)) {
    demand(factor.weight <= 100n, 'a factor weighs more than 100 percent');
    over *= 100n * factor.under - factor.weight * (factor.under - factor.over);
    under *= 100n * factor.under;
  }
  const hundredths = rounded(over, under);
  demand(hundredths === leaf.score_hundredths, `the inputs give the score ${twoDecimals(hundredths)}`);
  const confidence = rounded(70n * least(observed, SLOTS_PER_DAY) * (challenged + 10n) + 30n * challenged * SLOTS_PER_DAY, SLOTS_PER_DAY * (challenged + 10n));
  demand(confidence === leaf.confidence_hundredths, `the inputs give the confidence ${twoDecimals(confidence)}`);
  const young = observed === 0n || SLOT_SECONDS * observed < params.min_observation_seconds;
  const state = young ? 'pending' : leaf.score_hundredths >= params.min_score_hundredths ? 'valid' : 'invalid';
  demand(state === leaf.state, `the inputs make the node ${state}`);
  return 'score, confidence and state follow from the inputs';
};

/** A week: as long as the multiplier grows. */
export const GROWN_SLOTS = 20_160n;

const credits: Check<Proof> = ({ leaf, head: { params } }) => {
  const { payer, multiplier_grown_slots: grown } = leaf;
  demand(grown <= GROWN_SLOTS, 'the multiplier has grown for more than seven days');
  let pico = 0n;
  if (payer && leaf.state !== 'invalid') {
    const multiplier = 100n * GROWN_SLOTS + (most(100n, params.max_multiplier_hundredths) - 100n) * grown;
    const over = SLOT_SECONDS * leaf.proven * payer.reward_per_hour * 1_000_000n * leaf.score_hundredths * multiplier;
    const under = 3_600n * 10_000n * 100n * GROWN_SLOTS;
    // Division of bigints goes towards zero, and credits are rounded down.
    pico = over / under - (over % under < 0n ? 1n : 0n);
  }
  demand(pico === leaf.accrual_pico, `the inputs give credits of ${pico} pico-units`);
  return 'the credits follow from time, price, score and multiplier';
};

export function leavesOf({ head }: Proof): bigint {
  return head.valid + head.pending + head.invalid;
}

const tree: Check<Proof> = async (proof, { crypto }) => {
  const leaf = await crypto.leaf(leafKind.bytes(proof.leaf));
  demand(await crypto.included(leaf, proof.leaf_index, leavesOf(proof), proof.path, proof.head.root), 'the leaf is not in the tree of the head');
  return `the leaf is number ${proof.leaf_index + 1n} of the ${leavesOf(proof)} under the head’s root`;
};

/** The signed heads of either document. */
export function headsOf(document: Document) {
  return 'leaf' in document ? [document] : [document.first, document.second];
}

const hashOf = ({ head }: { head: TwoHeads['first']['head'] }, crypto: Crypto) => crypto.sha256(headKind.bytes(head));

const signature: Check<Document> = async (document, { crypto }) => {
  for (const signed of headsOf(document)) {
    const hash = await hashOf(signed, crypto);
    const message = [...tagged('lucid/poot-head-signature/v1'), ...fromHex(hash)];
    demand(await crypto.signed(signed.head.manager_key, message, signed.signature), `the signature of head ${signed.head.sequence} does not hold`);
  }
  return 'leaf' in document ? 'the head is signed by the key that it names' : 'both heads are signed by the keys that they name';
};

const same = (a: TwoHeads['first'], b: TwoHeads['first']): boolean => a.signature === b.signature && String(headKind.bytes(a.head)) === String(headKind.bytes(b.head));

const history: Check<TwoHeads> = async ({ first, second, inclusion, consistency }, { crypto }) => {
  const [before, after] = [first.head, second.head];
  demand(before.chain === after.chain, 'the heads are of different chains');
  if (same(first, second)) {
    demand(inclusion === null && consistency === null, 'one head needs no paths');
    return 'both are the same head';
  }
  demand(before.sequence < after.sequence && before.incarnation <= after.incarnation, 'the first head is not before the second');
  const hash = await hashOf(first, crypto);
  const included = inclusion !== null && (await crypto.included(await crypto.leaf(fromHex(hash)), before.sequence, after.sequence, inclusion, after.history));
  demand(included, 'the first head is not in the history of the second');
  demand(after.sequence !== before.sequence + 1n || after.previous === hash, 'the second head does not name the first one as the one before it');
  const extended = consistency === null ? before.sequence === 0n : await crypto.extends(before.sequence, before.history, after.sequence, after.history, consistency);
  demand(extended, 'the history of the first head is not the beginning of the history of the second');
  return `head ${before.sequence} and all before it are in the history of head ${after.sequence}`;
};

const signer: Check<Document> = async (document, { crypto, key }) => {
  const { successions } = document;
  let known = headsOf(document).map(({ head }) => head.manager_key);
  for (const [i, one] of successions.entries()) {
    const message = succeededKind.bytes(one);
    demand(await crypto.signed(one.old_key, message, one.signed_by_old), 'a new key is not signed by the old one');
    demand(await crypto.signed(one.new_key, message, one.signed_by_new), 'a new key has not signed for itself');
    const before = successions[i - 1];
    demand(!before || (before.new_key === one.old_key && before.from_sequence <= one.from_sequence), 'the manager’s keys do not follow from each other');
  }
  if (successions.length > 0) {
    known = [successions[0]!.old_key, ...successions.map((one) => one.new_key)];
    const inOffice = (sequence: bigint) => known.filter((_, i) => (i === 0 || successions[i - 1]!.from_sequence <= sequence) && (i === successions.length || sequence < successions[i]!.from_sequence));
    for (const { head } of headsOf(document)) demand(inOffice(head.sequence).includes(head.manager_key), `the key that signed head ${head.sequence} was not in office`);
  } else demand(key === null || known.every((one) => one === key), 'the key that you gave is not the one that signed');
  if (key === null) throw new NotChecked('no key was given, so anybody may have signed this');
  demand(known.includes(key), 'the key that you gave is none of this manager’s');
  return 'the signer is the manager whose key you gave';
};

const OF_PROOF: Record<string, Check<Proof>> = { summary, epoch, evidence, score, credits, tree, signature, signer };
const OF_HEADS: Record<string, Check<TwoHeads>> = { history, signature, signer };

/** Makes every check of a document. `key` is the manager's, in hex, from somewhere else. */
export async function check(source: string, key: string | null, crypto: Crypto): Promise<Report> {
  let document: Document;
  try {
    document = read(source);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { verdict: 'wrong', findings: [{ name: 'document', outcome: 'wrong', says: error.message }] };
  }
  const findings: Finding[] = [];
  for (const [name, one] of Object.entries('leaf' in document ? OF_PROOF : OF_HEADS)) {
    try {
      findings.push({ name, outcome: 'good', says: await one(document as Proof & TwoHeads, { crypto, key }) });
    } catch (error) {
      if (!(error instanceof Wrong || error instanceof NotChecked)) throw error;
      findings.push({ name, outcome: error instanceof Wrong ? 'wrong' : 'open', says: error.message });
    }
  }
  const has = (outcome: Outcome) => findings.some((finding) => finding.outcome === outcome);
  return { verdict: has('wrong') ? 'wrong' : has('open') ? 'consistent' : 'good', findings, document };
}
