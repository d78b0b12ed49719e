// The ledger in words. Values in, texts out.
import type { Posting } from './api/types';

/** `node_payable:node_1` is the account `node_payable` of `node_1`. */
export function accountParts(account: string): { kind: string; id: string } {
  const colon = account.indexOf(':');
  return colon < 0 ? { kind: account, id: '' } : { kind: account.slice(0, colon), id: account.slice(colon + 1) };
}

export const ACCOUNT_WORDS: Record<string, string> = {
  pool_expense: 'what pools owe for work',
  node_payable: 'owed to nodes',
  node_reserved: 'reserved for payouts on their way',
  node_paid: 'paid out',
  forfeited: 'forfeited',
  adjustment: 'adjustments',
  unexplained: 'unexplained',
};

export function causeText(cause: Posting['cause']): string {
  switch (cause.kind) {
    case 'accrual':
      return 'Work in closed epochs';
    case 'reserve':
      return 'Payout planned: amount reserved';
    case 'release':
      return 'Payout ended without paying: amount released';
    case 'paid':
      return 'Payout paid';
    case 'adjustment':
      return `Adjustment: ${cause.reason}`;
    case 'forfeiture':
      return `Forfeited: ${cause.reason}`;
    case 'reward':
      return `Reward: ${cause.reason}`;
    case 'unexplained':
      return 'Left the wallet without a payout';
    case 'go_live':
      return 'Not owed: accrued in the dry run';
  }
}

/** Sum of decimal texts, exact: the ledger's amounts never pass through a float. */
export function sumOf(amounts: readonly string[]): string {
  const decimals = Math.max(0, ...amounts.map((a) => a.split('.')[1]?.length ?? 0));
  const units = amounts.map((a) => {
    const [whole = '0', part = ''] = a.replace('-', '').split('.');
    const value = BigInt(whole + part.padEnd(decimals, '0'));
    return a.startsWith('-') ? -value : value;
  });
  const sum = units.reduce((a, b) => a + b, 0n);
  const digits = (sum < 0n ? -sum : sum).toString().padStart(decimals + 1, '0');
  const text = decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
  return sum < 0n ? `-${text}` : text;
}

/** The opposite amount, as text. */
export const negated = (amount: string): string => (amount.startsWith('-') ? amount.slice(1) : /^0*\.?0*$/.test(amount) ? amount : `-${amount}`);
