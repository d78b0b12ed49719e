import { expect, test } from 'vitest';
import { behind, extent, speed, stateKind } from './replication';

test('only who else writes is bad, and what is meant to be is nothing to warn of', () => {
  const of = (state: string, last_error = null) => stateKind({ state: state as 'away', last_error });
  expect(['current', 'sending', 'copying', 'paused', 'watching', 'connecting'].map((state) => of(state))).toEqual(['ok', 'info', 'info', 'info', 'info', 'info']);
  expect(['away', 'second', 'superseded'].map((state) => of(state))).toEqual(['warn', 'bad', 'bad']);
  expect(stateKind({ state: 'connecting', last_error: { message: 'no route', at: '2026-11-22T03:30:00Z' } })).toBe('warn');
});

test('what is not known is not nothing', () => {
  expect([undefined, null, 0, 59, 3_660].map(behind)).toEqual(['–', '–', 'nothing waits', '59 s', '1 h 1 min']);
  expect([extent({ is_whole: true, waiting: 0 }), extent({ is_whole: false, waiting: 7 }), extent({ is_whole: false, waiting: null })]).toEqual(['whole', 'being copied', '–']);
  expect([null, 0.1, 45].map(speed)).toEqual(['–', '0.1 documents/s', '45 documents/s']);
});
