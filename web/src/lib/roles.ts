// What each role may do, in words, and who may change whom.
import type { Role } from './api/types';

export const ROLES: readonly { role: Role; title: string; may: string }[] = [
  { role: 'viewer', title: 'Viewer', may: 'sees everything but the books and the settings' },
  { role: 'operator', title: 'Operator', may: 'also starts, stops and enrols nodes' },
  { role: 'admin', title: 'Admin', may: 'also manages people, pools, prices and payouts' },
  { role: 'super_admin', title: 'Super admin', may: 'may do everything, the recovery kit included' },
];

const rank = (role: Role): number => ROLES.findIndex((r) => r.role === role);

export const roleTitle = (role: Role): string => ROLES[rank(role)]?.title ?? role;
/** Roles that somebody may give: up to their own. */
export const rolesUpTo = (own: Role) => ROLES.slice(0, rank(own) + 1);
/** People are changed by those who rank at least as high, and never by themselves. */
export const mayChange = (own: { id: string; role: Role }, other: { id: string; role: Role }): boolean =>
  own.id !== other.id && rank(own.role) >= rank('admin') && rank(own.role) >= rank(other.role);
