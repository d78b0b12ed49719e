import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** What every page stands on, and what somebody who signs in sees first. */
const first = /node_modules[\\/](svelte|clsx|esm-env)[\\/]|src[\\/](main|App)|components[\\/](Shell|LoadState|Skeleton|PageHead|Time|Money|Empty|Note|StatusMark|Settlement)\.svelte/;
const pages = (names: string) => new RegExp(`pages[\\\\/](${names})\\.svelte`);

// The manager serves the build under a content security policy of `default-src 'self'`: nothing may be inlined.
export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // For scripts/budget.mjs, which takes it away again.
    manifest: true,
    rolldownOptions: {
      output: {
        // Pages that are opened together come together: a file of its own for each small part costs more than it spares.
        codeSplitting: {
          groups: [
            { name: 'first', test: first, priority: 9 },
            { name: 'chart', test: /uplot|[\\/]Scrub|lib[\\/]series/, priority: 5 },
            { name: 'admin', test: pages('Settings|Setup|Enrol|About|Audit'), priority: 4 },
            { name: 'money', test: pages('Payouts?|Ledger|Poot|Alerts'), priority: 3 },
            { name: 'fleet', test: pages('Nodes?|Pools?'), priority: 2 },
          ],
        },
      },
    },
  },
  server: { proxy: Object.fromEntries(['/api', '/health', '/metrics'].map((path) => [path, process.env.LUCID_BASE_URL ?? 'http://127.0.0.1:8080'])) },
  test: { include: ['src/**/*.test.ts'] },
});
