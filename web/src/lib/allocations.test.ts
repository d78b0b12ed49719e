import { expect, it } from 'vitest';
import { fieldsOf, inGib, requestOf } from './allocations';

it('sends sizes in bytes, and no more than was typed', () => {
  expect(requestOf({ name: ' web ', cpu_percent: '12.5', memory_bytes: '1.5', disk_bytes: '' })).toEqual({ body: { name: 'web', cpu_percent: 12.5, memory_bytes: 1_610_612_736 } });
});

it('wants a number, and something at all', () => {
  expect(requestOf({ name: 'web', memory_bytes: 'much' })).toEqual({ wrong: { memory_bytes: 'must be a number' } });
  expect(requestOf({ name: 'web', cpu_percent: ' ' })).toEqual({ wrong: { cpu_percent: 'or another resource must be given' } });
});

it('shows as left only what can be typed', () => {
  const left = { cpu_percent: 24.5, memory_bytes: 3_999_999_999 };
  const hints = (of: Parameters<typeof fieldsOf>[0]) => fieldsOf(of).map(({ hint }) => hint).slice(1, 3);
  expect([hints(left), hints(null)]).toEqual([['%; 24.5 left', 'GiB; 3.725 left'], ['%', 'GiB']]);
  const asked = requestOf({ memory_bytes: '3.725' });
  expect('body' in asked && (asked.body.memory_bytes ?? Infinity) <= left.memory_bytes).toBe(true);
});

it('refuses in the unit of the field', () => {
  const network_mbps = 'must be at most 1000, which is what is left';
  expect(inGib({ memory_bytes: 'must be at most 1073741824, which is what is left', disk_bytes: 'must be positive', network_mbps })).toEqual({
    memory_bytes: 'must be at most 1 GiB, which is what is left',
    disk_bytes: 'must be positive',
    network_mbps,
  });
});
