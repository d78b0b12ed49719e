import { expect, test } from 'vitest';
import { mayChange, rolesUpTo, roleTitle } from './roles';

const person = (id: string, role: 'viewer' | 'operator' | 'admin' | 'super_admin') => ({ id, role });

test('nobody gives more than they have', () => {
  expect(rolesUpTo('admin').map((r) => r.role)).toEqual(['viewer', 'operator', 'admin']);
  expect(rolesUpTo('viewer')).toHaveLength(1);
  expect(roleTitle('super_admin')).toBe('Super admin');
});

test('admins change others up to their own rank', () => {
  expect(mayChange(person('a', 'admin'), person('b', 'admin'))).toBe(true);
  expect(mayChange(person('a', 'admin'), person('a', 'admin'))).toBe(false);
  expect(mayChange(person('a', 'admin'), person('b', 'super_admin'))).toBe(false);
  expect(mayChange(person('a', 'operator'), person('b', 'viewer'))).toBe(false);
});
