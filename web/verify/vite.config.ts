import { defineConfig, type Plugin } from 'vite';

/** A script of the old kind: browsers do not load modules from a file, and a copy of this page has to work without a server. */
const classic: Plugin = {
  name: 'classic-script',
  transformIndexHtml: { order: 'post', handler: (html) => html.replace('type="module" crossorigin', 'defer').replace('rel="stylesheet" crossorigin', 'rel="stylesheet"') },
};

// What checks proofs is built by itself, as the documentation is: it shares no code with the UI.
export default defineConfig({
  root: new URL('.', import.meta.url).pathname,
  base: '/verify/',
  plugins: [classic],
  build: {
    outDir: '../dist/verify',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: false,
    // One style sheet of its own: a script of the old kind would bring it along, which the content security policy forbids.
    cssCodeSplit: false,
    reportCompressedSize: false,
    rolldownOptions: { output: { format: 'iife' } },
  },
});
