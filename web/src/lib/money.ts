// What holds for all payouts, in words: whether money moves, whether it may, and what people can decide about it. Values in, texts out.
import type { Money, PayoutChoice, Wallet } from './api/types';
import { money as amountOf, sentence } from './format';

/** Something that a person decides: what it means, and what has to be said for it. */
export type Ask = {
  /** On the button that opens it. */
  label: string;
  title: string;
  /** On the button that does it, where that is another. */
  verb?: string;
  text: readonly string[];
  danger?: boolean;
  field?: { name: string; label: string; hint?: string; type?: 'password'; value?: string };
};

const REASON = { name: 'reason', label: 'Reason', hint: 'Kept in the audit log.' };

export const ACTS = {
  freeze: {
    label: 'Freeze',
    title: 'Freeze payouts?',
    text: ['Nothing is signed, and nothing is sent for the first time, until an admin unfreezes. What was sent before goes on being looked after.'],
    field: REASON,
  },
  unfreeze: {
    label: 'Unfreeze',
    title: 'Unfreeze payouts?',
    text: ['Refused until everything that left the wallet is known and booked, and the books add up.'],
    field: REASON,
  },
  stop: {
    label: 'Emergency stop',
    title: 'Stop all payouts at once?',
    verb: 'Stop now',
    text: [
      'Nothing is signed or sent any more, not even again, and the wallet is locked.',
      'It takes nothing back: what was sent may still land, and is followed to its end. Measuring, scores and books go on.',
    ],
    danger: true,
    field: REASON,
  },
  resume: {
    label: 'End the stop',
    title: 'End the emergency stop?',
    verb: 'Resume',
    text: ['Payouts go on where they were. The wallet stays locked until it is unlocked.'],
    field: REASON,
  },
  rate: {
    label: 'Set',
    title: 'What is a TRX worth?',
    text: ['By it, the share of a payout that the network’s fee takes is judged. It is used for 30 days.'],
    field: { name: 'usdt', label: 'USDT for one TRX' },
  },
  unlock: {
    label: 'Unlock',
    title: 'Unlock the wallet',
    text: ['The signer opens its keystore, and signs until it is locked or ends.'],
    field: { name: 'passphrase', label: 'Passphrase', type: 'password', hint: 'Of the keystore. Handed to the signer and kept nowhere.' },
  },
  lock: { label: 'Lock', title: 'Lock the wallet?', text: ['The signer forgets the key. Nothing is signed until it is unlocked with its passphrase.'] },
  book: {
    label: 'Book',
    title: 'Book this transfer',
    text: ['It lowers what the node is owed, below zero if it must. Without a node, it stays in the books as unexplained.'],
    field: { name: 'node_id', label: 'Id of the node that was paid', hint: 'Empty: unexplained.' },
  },
} satisfies Record<string, Ask>;
export type Act = keyof typeof ACTS;

/** What may be done about one payout. `hold` is for one that waits for nobody. */
export const CHOICES: Record<PayoutChoice | 'hold', Ask> = {
  check_again: { label: 'Check again', title: 'Check again?', text: ['The next run asks once more what became of it.'] },
  accept_paid: {
    label: 'Accept as paid',
    title: 'Which transaction paid it?',
    verb: 'Verify it',
    text: ['You name the transaction. It is verified with the network, and only then the payout is booked as paid.'],
    field: { name: 'transaction_hash', label: 'Transaction', hint: '64 hex digits.' },
  },
  new_attempt: { label: 'Pay again', title: 'Make another attempt?', text: ['No earlier attempt can land any more. Another one is signed and sent by the next run.'] },
  state_unpaid: {
    label: 'State that it was not paid',
    title: 'State that it was not paid',
    verb: 'State it',
    text: ['You state that the service has not paid it and never will. When another admin has stated it too, another attempt is made.'],
    danger: true,
    field: { name: 'statement', label: 'How you know', hint: 'Kept with the payout, under your name.' },
  },
  cancel: { label: 'Cancel it', title: 'Cancel this payout?', verb: 'Cancel the payout', text: ['It ends. Its amount is owed again, and paid by a later payout.'], danger: true },
  hold: {
    label: 'Hold it',
    title: 'Hold this payout?',
    verb: 'Hold',
    text: ['Nothing of it is signed or sent for the first time until somebody decides. What was sent may land, and is looked after.'],
    field: { name: 'reason', label: 'Reason', hint: 'Shown with the payout.' },
  },
};

export type Verdict = { kind: 'info' | 'warn' | 'bad' | 'ok'; title: string; text: string; act?: Act | 'live' | 'reconcile'; /** Who did it, and when. */ of?: Money['stopped'] };

const AFTER_FREEZE: Record<NonNullable<Money['frozen']>['kind'], string> = {
  unknown_transfer: 'Book each unknown transfer below, then unfreeze.',
  missing_funds: 'Find out what left the wallet, then unfreeze.',
  restored: 'Unfreeze when the wallet is reconciled.',
  person: 'What was sent before goes on being looked after.',
  ledger_broken: 'Check the books in the ledger, then unfreeze.',
};

/** What stands in the way of payouts, worst first, with what to do next; where nothing does, that. */
export function verdicts(of: Money, wallet?: Wallet): Verdict[] {
  const found: Verdict[] = [];
  if (of.stopped) found.push({ kind: 'bad', title: 'All payouts are stopped', text: `${sentence(of.stopped.reason)} Nothing is signed or sent. What was sent before is followed to its end.`, act: 'resume', of: of.stopped });
  if (of.frozen) found.push({ kind: 'bad', title: 'Payouts are frozen', text: `${sentence(of.frozen.reason)} ${AFTER_FREEZE[of.frozen.kind]}`, act: 'unfreeze', of: of.frozen });
  if (of.ledger_broken) found.push({ kind: 'bad', title: 'The books do not add up', text: `${sentence(of.ledger_broken)} Nothing is paid until a check in the ledger finds them good.` });
  if (of.needs_going_live) found.push({ kind: 'warn', title: 'Nobody has decided that money moves', text: 'The settings name a wallet. Before anything leaves it, an admin says what is owed from the time before.', act: 'live' });
  if (of.reconcile_error) found.push({ kind: 'warn', title: 'The wallet is not reconciled', text: `${sentence(of.reconcile_error)} Nothing is signed until everything that left the wallet is known.`, act: 'reconcile' });
  else if (of.closed?.why === 'not_reconciled') found.push({ kind: 'info', title: 'The wallet is being reconciled', text: 'Signing waits until everything that left the wallet is known.' });
  if (of.closed?.why === 'clock_untrusted') found.push({ kind: 'warn', title: 'The clock is not trusted', text: 'Nothing is signed until it is. An admin confirms it in the settings.' });
  if (wallet?.signer && !wallet.signer.unlocked)
    found.push(
      wallet.signer.error
        ? { kind: 'warn', title: 'The signer does not answer', text: sentence(wallet.signer.error) }
        : { kind: 'warn', title: 'The wallet is locked', text: 'Payouts are planned, and wait. Unlock it to let them go.', act: 'unlock' },
    );
  if (found.length === 0 && of.settlement === 'live') found.push({ kind: 'ok', title: 'Payouts go out', text: 'Money moves, and nothing stands in the way.' });
  if (of.settlement === 'simulated') found.push({ kind: 'info', title: 'A dry run: no money moves', text: 'Payouts are planned, booked, and marked as simulated.' });
  return found;
}

const SUN = 1_000_000n;

/** Millionths of a TRX as TRX, without trailing zeros. */
export function trxOf(sun: string): string {
  if (!/^\d+$/.test(sun)) return sun;
  const part = (BigInt(sun) % SUN).toString().padStart(6, '0').replace(/0+$/, '');
  return `${BigInt(sun) / SUN}${part && `.${part}`} TRX`;
}

/** How much of what is allowed is used, in percent; for a bar. Null where nothing limits it. */
export function used(signed: string, most: string): number | null {
  const [part, whole] = [Number(signed), Number(most)];
  return whole > 0 && whole < 1e12 ? (part / whole) * 100 : null;
}

/** An allowance; one that no amount reaches is none. */
export const allowed = (most: string): string => (Number(most) < 1e12 ? amountOf(most, 'USDT') : 'no limit');

/** TRON's networks by the end of the id of their first block, which is what attempts are pinned to, and where each shows its transactions. */
const NETWORKS = [
  ['mainnet', '2b6653dc', ''],
  ['nile', 'cd8690dc', 'nile.'],
  ['shasta', '94a9059e', 'shasta.'],
] as const;
const known = (network: string) => NETWORKS.find(([name, end]) => network === name || (network.length === 64 && network.endsWith(end)));

/** A network as people call it; an unknown first block is that of a private one. */
export const networkName = (network: string): string => known(network)?.[0] ?? (/^[0-9a-f]{64}$/.test(network) ? 'a private network' : network);

/** Where the network shows a transaction; none for what is on no public chain. */
export function explorerOf(network: string, transaction: string | null | undefined): string | undefined {
  const found = known(network);
  return found && transaction ? `https://${found[2]}tronscan.org/#/transaction/${transaction}` : undefined;
}
