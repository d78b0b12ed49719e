// The pages: their titles, their code (loaded when first needed), who may see them, and where the navigation shows them.
import type { Component } from 'svelte';
import type { Role } from './api/types';
import type { PageName } from './routes';

export type Page = {
  title: string;
  /** Least role to which the API answers what the page shows. */
  role: Role;
  // Each page takes the parts of its route.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  load: () => Promise<{ default: Component<any> }>;
  /** Where the navigation lights up for a page that is not in it. */
  under?: PageName;
};

export const PAGES: Record<PageName, Page> = {
  overview: { title: 'Overview', role: 'viewer', load: () => import('../pages/Overview.svelte') },
  nodes: { title: 'Nodes', role: 'viewer', load: () => import('../pages/Nodes.svelte') },
  node: { title: 'Node', role: 'viewer', load: () => import('../pages/Node.svelte'), under: 'nodes' },
  pools: { title: 'Pools', role: 'viewer', load: () => import('../pages/Pools.svelte') },
  pool: { title: 'Pool', role: 'viewer', load: () => import('../pages/Pool.svelte'), under: 'pools' },
  poot: { title: 'Operational time', role: 'viewer', load: () => import('../pages/Poot.svelte') },
  payouts: { title: 'Payouts', role: 'viewer', load: () => import('../pages/Payouts.svelte') },
  payout: { title: 'Payout', role: 'viewer', load: () => import('../pages/Payout.svelte'), under: 'payouts' },
  money: { title: 'Wallet', role: 'viewer', load: () => import('../pages/Money.svelte') },
  ledger: { title: 'Ledger', role: 'admin', load: () => import('../pages/Ledger.svelte') },
  alerts: { title: 'Alerts', role: 'viewer', load: () => import('../pages/Alerts.svelte') },
  audit: { title: 'Audit', role: 'admin', load: () => import('../pages/Audit.svelte') },
  enrol: { title: 'Enrol a node', role: 'operator', load: () => import('../pages/Enrol.svelte'), under: 'nodes' },
  settings: { title: 'Settings', role: 'viewer', load: () => import('../pages/Settings.svelte') },
  about: { title: 'About', role: 'viewer', load: () => import('../pages/About.svelte') },
  setup: { title: 'Set up', role: 'admin', load: () => import('../pages/Setup.svelte') },
  missing: { title: 'Not found', role: 'viewer', load: () => import('../pages/Missing.svelte') },
};

/** In the order of the navigation: what is looked at daily, what is about money, what is about the manager. */
export const NAVIGATION = [
  ['overview', 'nodes', 'pools', 'poot', 'alerts'],
  ['payouts', 'money', 'ledger'],
  ['audit', 'settings', 'about'],
] as const satisfies readonly (readonly PageName[])[];

export type NavPage = (typeof NAVIGATION)[number][number];
