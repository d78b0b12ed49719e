import { expect, test } from 'vitest';
import { silence } from './managers';

test('who has not been seen for a while says so, who ended says that', () => {
  const of = (seen_at: string | null, has_ended: boolean | null = false) => silence({ seen_at, has_ended }, '2026-01-01T12:00:00Z');
  expect([of('2026-01-01T11:59:00Z'), of('2026-01-01T11:50:00Z'), of(null), of('2026-01-01T11:59:00Z', true), of('2026-01-01T11:59:00Z', null)]).toEqual(['', 'not seen for a while', '', 'ended', '']);
  expect(of('2026-01-01T13:00:00Z'), 'its clock is its own').toBe('');
});
