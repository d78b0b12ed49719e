import { expect, test } from 'vitest';
import { findLicences } from './licences';

const ALL = [
  { name: 'redb', version: '3.1.0', licence: 'MIT OR Apache-2.0', text_id: 0 },
  { name: 'svelte', version: '5.57.3', licence: 'MIT', text_id: 1 },
];
const names = (text: string) => findLicences(ALL, text).map((p) => p.name);

test('found by name, version and licence', () => {
  expect(names('')).toEqual(['redb', 'svelte']);
  expect(names('APACHE')).toEqual(['redb']);
  expect(names('mit 5.57')).toEqual(['svelte']);
  expect(names('gpl')).toEqual([]);
});
