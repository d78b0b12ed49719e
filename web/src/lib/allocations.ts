// Shares of a node's resources as a form holds them. Sizes are typed in GiB and sent in bytes.
import type { AllocateRequest, Amounts } from './api/types';

const GIB = 2 ** 30;
export const RESOURCES = [
  { key: 'cpu_percent', label: 'CPU', unit: '%' },
  { key: 'memory_bytes', label: 'Memory', unit: 'GiB' },
  { key: 'disk_bytes', label: 'Disk', unit: 'GiB' },
  { key: 'network_mbps', label: 'Network', unit: 'Mbit/s' },
] as const;

/** Never more than there is: what is shown as left can be typed. */
const gib = (bytes: number) => Math.floor((bytes / GIB) * 1_000) / 1_000;

/** The fields of a form, with what is left of each. */
export const fieldsOf = (left: Amounts | null | undefined) => [
  { key: 'name', label: 'Name', hint: 'Unique on the node; made up when empty.' },
  ...RESOURCES.map(({ key, label, unit }) => {
    const value = left?.[key];
    return { key, label, hint: value == null ? unit : `${unit}; ${unit === 'GiB' ? gib(value) : value} left` };
  }),
];

export function requestOf(draft: Record<string, string>): { wrong: Record<string, string> } | { body: AllocateRequest } {
  const wrong: Record<string, string> = {};
  const body: AllocateRequest = {};
  const name = draft.name?.trim();
  if (name) body.name = name;
  for (const { key, unit } of RESOURCES) {
    const typed = draft[key]?.trim();
    if (!typed) continue;
    if (!/^\d{1,12}(\.\d+)?$/.test(typed)) wrong[key] = 'must be a number';
    else body[key] = unit === 'GiB' ? Math.round(Number(typed) * GIB) : Number(typed);
  }
  if (!RESOURCES.some(({ key }) => draft[key]?.trim())) wrong.cpu_percent = 'or another resource must be given';
  return Object.keys(wrong).length > 0 ? { wrong } : { body };
}

/** The manager's refusals of sizes, in the unit that was typed. */
export const inGib = (fields: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([key, message]) => [key, key.endsWith('bytes') ? message.replace(/\d+/, (bytes) => `${gib(Number(bytes))} GiB`) : message]));
