import { defineConfig } from 'vite';

// The API's documentation is built by itself: it shares no code with the UI, and the UI's chunks stay what they are.
export default defineConfig({
  root: new URL('.', import.meta.url).pathname,
  base: '/docs/',
  build: { outDir: '../dist/docs', emptyOutDir: true, target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
});
