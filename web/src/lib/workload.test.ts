import { expect, it } from 'vitest';
import { commandLook, commandText, enforcedText, exitText, limitText, stateTone } from './workload';

const deadline = '2026-11-21T09:40:00Z';

it('says until when a command may be carried out, and then what became of it', () => {
  expect(commandText({ state: 'pending', deadline })).toMatch(/^to be done by .*\d\d:\d\d/);
  expect(commandText({ state: 'expired', deadline })).toBe('what is wanted stands');
  expect(commandText({ state: 'failed', deadline, outcome: 'no such file' })).toBe('no such file');
  expect(commandText({ state: 'done', deadline })).toBe('');
});

it('knows states of a newer manager by their names', () => {
  expect(commandLook('paused' as 'done')).toEqual({ tone: 'idle', text: 'paused' });
  expect(stateTone('paused' as 'running')).toBe('idle');
});

it('tells how a process ended', () => {
  expect([undefined, {}, { code: 0 }, { code: 1 }, { signal: 9 }].map(exitText)).toEqual(['', 'not known', 'code 0', 'code 1', 'signal 9']);
});

it('tells limits in their units and what keeps them', () => {
  expect(limitText({ limit: 2 ** 30, unit: 'bytes' })).toBe('1.0 GiB');
  expect([limitText({ limit: 50, unit: 'percent' }), limitText({ limit: 10, unit: 'mbps' })]).toEqual(['50 %', '10 Mbit/s']);
  expect([enforcedText('cgroup'), enforcedText('none')]).toEqual(['by cgroup', 'not enforced']);
});
