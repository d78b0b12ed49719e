import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { icons } from './scripts/icons.mjs';

// The manager serves the build under a content security policy of `default-src 'self'`: nothing may be inlined.
export default defineConfig({
  plugins: [icons(), svelte()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // For scripts/budget.mjs, which takes it away again.
    manifest: true,
    rolldownOptions: {
      output: {
        // Pages that are opened together come together, and what pages of several groups share comes first: a file of its own for each small
        // part costs more than it spares.
        codeSplitting: {
          groups: [
            { name: 'first', test: /node_modules[\\/](svelte|clsx|esm-env)[\\/]|src[\\/](main|App)|pages[\\/]Overview\.svelte/, priority: 9 },
            { name: 'chart', test: /uPlot\.esm/, priority: 8 },
            { name: 'shared', test: /src[\\/](components|lib)/, minShareCount: 3, priority: 7 },
            { name: 'admin', test: /pages[\\/](Settings|Setup|Enrol|About|Audit)\.svelte/, priority: 4 },
            { name: 'money', test: /pages[\\/](Payouts?|Ledger|Alerts)\.svelte/, priority: 3 },
            { name: 'fleet', test: /pages[\\/](Nodes?|Pools?|Poot)\.svelte/, priority: 2 },
          ],
        },
      },
    },
  },
  server: { proxy: Object.fromEntries(['/api', '/health', '/metrics'].map((path) => [path, process.env.LUCID_BASE_URL ?? 'http://127.0.0.1:8080'])) },
  test: { include: ['src/**/*.test.ts'] },
});
