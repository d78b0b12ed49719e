// What was found, and what the document says, as elements.
import { factorsOf, GROWN_SLOTS, leavesOf, most, slotsOf, twoDecimals, type Finding, type Outcome, type Report, type Verdict } from './check';
import { card, make, mono, pairs } from './dom';
import type { Head, Proof, TwoHeads } from './format';
import { strip } from './strip';
import { count, decimal, duration, formula, slotTime, time } from './words';

/** Where the key came from that a verdict is about. */
export type KeySource = 'given' | 'asked';

const VERDICTS: Record<Verdict, { mark: string; tone: string; title: string; says: string }> = {
  good: { mark: '✓', tone: 'ok', title: 'Good', says: 'Everything follows from what was signed, and the signer is the manager whose key you gave.' },
  consistent: { mark: '–', tone: 'info', title: 'Consistent', says: 'Nothing is wrong, and something could not be checked.' },
  wrong: { mark: '×', tone: 'bad', title: 'Wrong', says: 'This document proves nothing.' },
};
const OUTCOMES: Record<Outcome, { mark: string; tone: string; word: string }> = {
  good: { mark: '✓', tone: 'ok', word: 'good' },
  wrong: { mark: '×', tone: 'bad', word: 'wrong' },
  open: { mark: '–', tone: 'info', word: 'not checked' },
};
const sign = (mark: string): HTMLElement => {
  const element = make('span', 'sign', mark);
  element.setAttribute('aria-hidden', 'true');
  return element;
};

export function verdictOf({ verdict, findings }: Report, source: KeySource): HTMLElement {
  const { mark, tone, title, says } = VERDICTS[verdict];
  const not = findings.filter(({ outcome }) => outcome === (verdict === 'wrong' ? 'wrong' : 'open'));
  // One reason may stand in the way of several checks.
  const reasons = [...new Set(not.map((finding) => finding.says))];
  const unsigned = verdict === 'consistent' && not.some(({ name }) => name === 'signature');
  const card = make(
    'section',
    `card verdict ${tone}`,
    make('h2', '', sign(mark), ` ${title}`),
    make('p', '', unsigned ? 'Nothing is wrong with what it says, and what would make it a proof could not be checked here.' : says),
    reasons.length ? make('ul', 'plain', ...reasons.map((reason) => make('li', '', `${capital(reason)}.`))) : null,
    verdict === 'good' && source === 'asked'
      ? make('p', 'warn', 'The key came from this manager, as did this page: that shows that it signed this, and not that it is the manager you mean. A key from elsewhere shows more.')
      : null,
  );
  card.dataset.verdict = verdict;
  return card;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export function checksOf(findings: Finding[]): HTMLElement {
  const rows = findings.map(({ name, outcome, says }) => {
    const { mark, tone, word } = OUTCOMES[outcome];
    const row = make('li', '', make('span', `outcome ${tone}`, sign(mark), ` ${word}`), make('strong', '', capital(name)), make('span', 'says', `${capital(says)}.`));
    row.dataset.check = name;
    row.dataset.outcome = outcome;
    return row;
  });
  return card('Checks', make('ul', 'checks', ...rows));
}

function scoreOf(proof: Proof, holds: boolean): HTMLElement {
  const { leaf, head } = proof;
  const { inputs, payer } = leaf;
  const [outputs, stability, resources] = factorsOf(inputs, head.params).map(({ weight }) => (weight > 0n ? `weight ${weight} %` : 'no weight')) as [string, string, string];
  const grown = decimal(10_000n + ((most(100n, head.params.max_multiplier_hundredths) - 100n) * 100n * leaf.multiplier_grown_slots) / GROWN_SLOTS, 4);
  const earned = payer
    ? `${leaf.state === 'pending' ? 'held until the node is valid: ' : ''}${decimal(leaf.accrual_pico, 12)} ${payer.currency} for ${duration(leaf.proven)} at ${decimal(payer.reward_per_hour, 6)} an hour, multiplier ${grown}`
    : 'nothing: no pool pays for it';
  return card(
    'Score',
    make('p', 'figure number', twoDecimals(leaf.score_hundredths), make('span', 'of', ` of 100, ${leaf.state}; confidence ${twoDecimals(leaf.confidence_hundredths)}`)),
    make('p', 'formula mono', formula(proof, holds)),
    pairs([
      ['Proven', `${count(inputs.proven)} of ${count(inputs.observed)} observed slots (${duration(inputs.proven)} of ${duration(inputs.observed)})`],
      ['Interruptions', `${count(inputs.interruptions)} (${stability})`],
      ['Within limits', `${count(inputs.samples_within)} of ${count(inputs.samples)} samples (${resources})`],
      ['Outputs', inputs.challenged ? `${count(inputs.answered)} of ${count(inputs.challenged)} challenges answered (${outputs})` : 'none asked for'],
      ['Valid from', twoDecimals(head.params.min_score_hundredths)],
      ['Earned in this epoch', earned],
    ]),
  );
}

function windowOf({ window, leaf }: Proof): HTMLElement {
  if (!window) return card('Evidence', make('p', 'muted', 'This document has only the hash of its evidence.'));
  try {
    const slots = slotsOf(window, leaf.window_slots);
    if (leaf.window_slots > 0n) return card('Evidence', strip(slots, leaf.last_slot));
  } catch {
    // The check has said what is wrong with it.
    return card('Evidence', make('p', 'muted', 'It cannot be drawn.'));
  }
  return card('Evidence', make('p', 'muted', 'No slot was observed yet.'));
}

const rowsOf = (head: Head): [string, Node | string | null][] => [
  ['Epoch', `${slotTime(head.epoch)} to ${slotTime(head.last_slot + 1n)} (${head.epoch})`],
  ['Head', `number ${count(head.sequence)} of its history, counted from 0`],
  ['Incarnation', String(head.incarnation)],
  ['Went on from a restored copy, after', head.restored_from === null ? null : mono(head.restored_from)],
  ['Closed', time(head.closed_at_ms)],
  ['Chain', mono(head.chain)],
  ['Signed by', mono(head.manager_key)],
];

function placeOf(proof: Proof): HTMLElement {
  const { reports } = proof.leaf;
  return card(
    'Where it stands',
    pairs([
      ['Node', mono(proof.leaf.node_id)],
      ['Leaf', `${count(proof.leaf_index + 1n)} of ${count(leavesOf(proof))} in the tree of its epoch`],
      ...rowsOf(proof.head),
      ['Reports of its last day', reports && make('span', '', `${count(reports.count)}, hash `, mono(reports.hash))],
    ]),
  );
}

const nodesOf = ({ valid, pending, invalid }: Head): [string, string] => ['Nodes', `${count(valid)} valid, ${count(pending)} pending, ${count(invalid)} invalid`];

function headsOf({ first, second }: TwoHeads): HTMLElement[] {
  const one = (title: string, head: Head) => card(title, pairs([...rowsOf(head), nodesOf(head)]));
  return [make('div', 'cards', one('First head', first.head), one('Second head', second.head))];
}

/** Everything below the verdict. */
export function detailsOf({ findings, document, verdict }: Report): HTMLElement[] {
  if (!document) return [];
  const said = 'leaf' in document ? [scoreOf(document, findings.some(({ name, outcome }) => name === 'score' && outcome === 'good')), windowOf(document), placeOf(document)] : headsOf(document);
  const warning = verdict === 'wrong' ? [make('p', 'warn', 'What follows is what the document says, and it does not hold.')] : [];
  return [checksOf(findings), ...warning, ...said];
}
