import { describe, expect, it } from 'vitest';
import { ACTS, allowed, CHOICES, explorerOf, networkName, trxOf, used, verdicts } from './money';
import type { Money, Wallet } from './api/types';

const CAPS = { max_payout: '100', max_hour: '250', max_day: '1000', approval_above: '500', max_fee_percent: '2', signed_last_hour: '0', signed_last_day: '0' };
const calm: Money = { settlement: 'live', gateway: 'tron', network: 'mainnet', wallet: 'T', has_wallet: true, needs_going_live: false, unknown_transfers: 0, caps: CAPS };
const wallet: Wallet = { gateway: 'tron', network: 'mainnet', settlement: 'live', reserved: '0', signer: { unlocked: true } };
const frozen = { kind: 'unknown_transfer', reason: '5 USDT left the wallet', since: 's' } as const;
const titles = (of: Partial<Money>, by = wallet) => verdicts({ ...calm, ...of }, by).map(({ title }) => title);

describe('whether payouts may go', () => {
  it('is said when nothing stands in the way, and only then', () => {
    expect(titles({})).toEqual(['Payouts go out']);
    expect(titles({ frozen })).toEqual(['Payouts are frozen']);
    expect(titles({}, { ...wallet, signer: { unlocked: false } })).toEqual(['The wallet is locked']);
    expect(titles({}, { ...wallet, signer: { error: 'no socket' } })).toEqual(['The signer does not answer']);
  });

  it('tells the worst first, and all of it', () => {
    const all = titles({ stopped: { reason: 'a theft', since: 's' }, frozen, ledger_broken: 'off by 1', needs_going_live: true, reconcile_error: 'timeout' });
    expect(all).toEqual(['All payouts are stopped', 'Payouts are frozen', 'The books do not add up', 'Nobody has decided that money moves', 'The wallet is not reconciled']);
  });

  it('never claims that money moves in a dry run', () => {
    expect(titles({ settlement: 'simulated' })).toEqual(['A dry run: no money moves']);
    expect(titles({ settlement: 'simulated', frozen })).toEqual(['Payouts are frozen', 'A dry run: no money moves']);
  });

  it('says what to do next', () => {
    expect(verdicts({ ...calm, frozen })[0]).toMatchObject({ act: 'unfreeze', text: '5 USDT left the wallet. Book each unknown transfer below, then unfreeze.' });
    expect(verdicts({ ...calm, closed: { why: 'not_reconciled', text: '' } })[0]?.act).toBeUndefined();
    expect(verdicts({ ...calm, needs_going_live: true })[0]?.act).toBe('live');
  });
});

describe('what people decide', () => {
  it('asks for what the API wants with it', () => {
    expect(Object.values(CHOICES).map(({ field }) => field?.name)).toEqual([undefined, 'transaction_hash', undefined, 'statement', undefined, 'reason']);
    for (const act of ['freeze', 'unfreeze', 'stop', 'resume'] as const) expect(ACTS[act].field.name).toBe('reason');
  });
});

describe('numbers of the wallet', () => {
  it.each([['0', '0 TRX'], ['1', '0.000001 TRX'], ['13844850', '13.84485 TRX'], ['40000000', '40 TRX'], ['9007199254740993000000', '9007199254740993 TRX'], ['', '']])('%s sun', (sun, text) => expect(trxOf(sun)).toBe(text));

  it('knows a limit that no amount reaches as none', () => {
    expect([used('62.5', '250'), used('1', '0'), used('1', '9223372036854.775807')]).toEqual([25, null, null]);
    expect([allowed('250.000000'), allowed('9223372036854.775807')]).toEqual(['250.00 USDT', 'no limit']);
  });
});

describe('explorers', () => {
  const NILE = '0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc';
  it('are linked for public chains alone', () => {
    expect(explorerOf('mainnet', 'ab')).toBe('https://tronscan.org/#/transaction/ab');
    expect(explorerOf(NILE, 'ab')).toBe('https://nile.tronscan.org/#/transaction/ab');
    expect(explorerOf('shasta', 'ab')).toBe('https://shasta.tronscan.org/#/transaction/ab');
    for (const network of ['simulated', 'https://pay.example', '0'.repeat(64), 'xcd8690dc']) expect(explorerOf(network, 'ab')).toBeUndefined();
    expect(explorerOf('mainnet', null)).toBeUndefined();
  });
  it('have names', () => {
    expect([NILE, 'mainnet', '0'.repeat(64), 'simulated'].map(networkName)).toEqual(['nile', 'mainnet', 'a private network', 'simulated']);
  });
});
