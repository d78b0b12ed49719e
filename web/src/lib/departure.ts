// How a node leaves: deleted, with its final payout, or with what is owed given up. Values in, texts out.
import type { Balances, Node } from './api/types';
import { accountParts } from './ledger';

export type Way = 'plain' | 'final_payout' | 'forfeit';
export type Owed = { settlement: Node['settlement']; currency: Node['currency']; what: 'payable' | 'reserved'; amount: string };

const isZero = (amount: string): boolean => /^-?0*\.?0*$/.test(amount);
const ACCOUNTS: Record<string, Owed['what'] | undefined> = { node_payable: 'payable', node_reserved: 'reserved' };

/** What is posted and not paid, in every book; who may not see the books knows of the one that is in force. */
export function owedTo(node: Pick<Node, 'node_id' | 'payable' | 'currency' | 'settlement'>, books?: Balances['books']): Owed[] {
  if (!books) return isZero(node.payable) ? [] : [{ settlement: node.settlement, currency: node.currency, what: 'payable', amount: node.payable }];
  return books.flatMap(({ settlement, currency, accounts }) =>
    accounts.flatMap(({ account, balance }) => {
      const { kind, id } = accountParts(account);
      const what = ACCOUNTS[kind];
      return what && id === node.node_id && !isZero(balance) ? [{ settlement, currency, what, amount: balance }] : [];
    }),
  );
}

/** Something is owed, or will be when the last epochs are posted. */
export const isOwed = (node: Pick<Node, 'accrued'>, owed: readonly Owed[]): boolean => owed.length > 0 || !isZero(node.accrued);

/** A dry run pays the simulated book alone. */
export const staysOwed = (node: Pick<Node, 'settlement'>, owed: readonly Owed[]): boolean => node.settlement === 'simulated' && owed.some(({ settlement }) => settlement === 'live');

/** The ways that are open; the first is the one to begin with. What becomes of what is owed, an admin says. */
export function waysOf(owes: boolean, admin: boolean): { value: Way; label: string }[] {
  return [
    ...(owes ? [] : [{ value: 'plain' as const, label: 'Delete now' }]),
    ...(admin ? [{ value: 'final_payout' as const, label: 'Pay, then delete' }, { value: 'forfeit' as const, label: 'Give up and delete' }] : []),
  ];
}

export const WORDS: Record<Way, { verb: string; words: string }> = {
  plain: {
    verb: 'Delete the node',
    words: 'Refused while anything is owed to the node or on its way to it, half-minutes of the epoch that is still open included. Books, payouts and the audit log keep what was.',
  },
  final_payout: {
    verb: 'Pay, then delete',
    words:
      'Out of service with the next half minute. What is owed is paid by the next cycles, whatever threshold and frequency say; every other check of a payout holds. The node is deleted when nothing is owed any more, and can be kept until then.',
  },
  forfeit: {
    verb: 'Give up and delete',
    words: 'What is owed moves to the forfeited accounts of both books and is never paid. The node is deleted now. The ledger and the audit log keep who did it, and why.',
  },
};

type Leaving = NonNullable<Node['final_payout']>;
/** How far its final payout is. */
export function stageText({ stage, held_because }: Pick<Leaving, 'stage' | 'held_because'>): string {
  if (stage === 'closing') return 'Its last epoch is being closed and posted.';
  if (stage === 'paying') return 'What it earned is posted; its payout goes out with the next cycle, or is on its way.';
  return `It is held: ${held_because ?? 'the manager does not say why'}.`;
}
