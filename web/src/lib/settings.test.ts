import { expect, test } from 'vitest';
import type { Setting } from './api/types';
import { codeParts, findSettings, sections, sourceOf } from './settings';

const setting = (key: string, more: Partial<Setting> = {}): Setting => ({
  key,
  value: '1',
  default: '1',
  source: 'default',
  allowed: '',
  meaning: '',
  restart_needed: true,
  waits_for_restart: false,
  ...more,
});

const ALL = [
  setting('server.listen', { value: '127.0.0.1:8095', meaning: 'Address and port' }),
  setting('log.level', { source: 'environment', source_name: 'LUCID_LOG_LEVEL' }),
  setting('server.public_url', { source: 'file', source_name: '/etc/lucid.toml' }),
];
const keys = (found: Setting[]) => found.map((s) => s.key);

test('every word must be there, wherever it stands', () => {
  expect(keys(findSettings(ALL, '', false))).toHaveLength(3);
  expect(keys(findSettings(ALL, ' ADDRESS server ', false))).toEqual(['server.listen']);
  expect(keys(findSettings(ALL, 'lucid_log', false))).toEqual(['log.level']);
  expect(keys(findSettings(ALL, 'address log', false))).toEqual([]);
});

test('what somebody set', () => expect(keys(findSettings(ALL, '', true))).toEqual(['log.level', 'server.public_url']));

test('sections keep the order of the file', () => {
  expect(sections(ALL).map((s) => [s.name, keys(s.settings)])).toEqual([
    ['server', ['server.listen', 'server.public_url']],
    ['log', ['log.level']],
  ]);
});

test('code within a text', () => {
  expect(codeParts('`a`: b')).toEqual([
    { text: 'a', code: true },
    { text: ': b', code: false },
  ]);
  expect(codeParts('')).toEqual([]);
});

test('sources have names', () => {
  expect(sourceOf(setting('a'))).toBe('default');
  expect(sourceOf(setting('a', { source: 'flag', source_name: '--listen' }))).toBe('command line --listen');
});
