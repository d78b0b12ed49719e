// The pages: their titles, who may see them, where the navigation shows them, and their code: that of the first is there, the others' is loaded when needed.
import type { Component } from 'svelte';
import Overview from '../pages/Overview.svelte';
import type { Role } from './api/types';
import type { PageName } from './routes';

export type Page = {
  title: string;
  /** Least role to which the API answers what the page shows. */
  role: Role;
  /** Where the navigation lights up for a page that is not in it. */
  under?: PageName;
};

export const PAGES: Record<PageName, Page> = {
  overview: { title: 'Overview', role: 'viewer' },
  nodes: { title: 'Nodes', role: 'viewer' },
  node: { title: 'Node', role: 'viewer', under: 'nodes' },
  pools: { title: 'Pools', role: 'viewer' },
  pool: { title: 'Pool', role: 'viewer', under: 'pools' },
  poot: { title: 'Operational time', role: 'viewer' },
  payouts: { title: 'Payouts', role: 'viewer' },
  payout: { title: 'Payout', role: 'viewer', under: 'payouts' },
  money: { title: 'Wallet', role: 'viewer' },
  ledger: { title: 'Ledger', role: 'admin' },
  alerts: { title: 'Alerts', role: 'viewer' },
  audit: { title: 'Audit', role: 'admin' },
  enrol: { title: 'Enrol a node', role: 'operator', under: 'nodes' },
  storage: { title: 'Storage', role: 'viewer' },
  replication: { title: 'Replication', role: 'viewer' },
  fleet: { title: 'Fleet', role: 'viewer' },
  settings: { title: 'Settings', role: 'viewer' },
  about: { title: 'About', role: 'viewer' },
  setup: { title: 'Set up', role: 'admin' },
  missing: { title: 'Not found', role: 'viewer' },
};

/** The code of a page, which takes the parts of its route. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export async function loadPage(name: PageName): Promise<Component<any>> {
  return name === 'overview' ? Overview : (await import('./rest'))[name];
}

/** In the order of the navigation: what is looked at daily, what is about money, what is about the manager. */
export const NAVIGATION = [
  ['overview', 'nodes', 'pools', 'poot', 'alerts'],
  ['payouts', 'money', 'ledger'],
  ['storage', 'replication', 'fleet', 'audit', 'settings', 'about'],
] as const satisfies readonly (readonly PageName[])[];

export type NavPage = (typeof NAVIGATION)[number][number];
