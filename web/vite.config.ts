import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { icons } from './scripts/icons.mjs';
import { lean } from './scripts/lean.mjs';
import { markup } from './scripts/markup.mjs';
import { order } from './scripts/order.mjs';

// The manager serves the build under a content security policy of `default-src 'self'`: nothing may be inlined.
export default defineConfig({
  plugins: [icons(), lean(), svelte(), markup(), order()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    // One style sheet, and no list of what each file wants first: what loads such lists costs more than they gain for three files.
    modulePreload: false,
    cssCodeSplit: false,
    reportCompressedSize: false,
    // For scripts/budget.mjs, which takes it away again.
    manifest: true,
    rolldownOptions: {
      output: {
        // What the first page needs, the charts, and one file for all other pages: each further file costs more in lost repetition than a page
        // that is opened first gains by it.
        codeSplitting: {
          groups: [
            { name: 'first', test: /node_modules[\\/](svelte|clsx|esm-env)[\\/]|src[\\/](main|App)|pages[\\/]Overview\.svelte/, priority: 9 },
            { name: 'chart', test: /uPlot\.esm/, priority: 8 },
            { name: 'pages', test: /src[\\/]|lean-qr/, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy: Object.fromEntries(['/api', '/health', '/metrics'].map((path) => [path, process.env.LUCID_BASE_URL ?? 'http://127.0.0.1:8080'])) },
  test: { include: ['src/**/*.test.ts', 'verify/**/*.test.ts', 'scripts/**/*.test.ts'] },
});
