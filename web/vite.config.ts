import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

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
  },
  server: { proxy: Object.fromEntries(['/api', '/health', '/metrics'].map((path) => [path, process.env.LUCID_BASE_URL ?? 'http://127.0.0.1:8080'])) },
  test: { include: ['src/**/*.test.ts'] },
});
