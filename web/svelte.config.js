import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    // The table of nodes becomes cards on a phone, and `display: block` takes a table's roles away: they are written out.
    warningFilter: (warning) => warning.code !== 'a11y_no_redundant_roles',
  },
};
