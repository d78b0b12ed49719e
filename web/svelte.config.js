import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    // Smaller than templates as text, and no `innerHTML` for a content security policy to mind.
    fragments: 'tree',
    // The table of nodes becomes cards on a phone, and `display: block` takes a table's roles away: they are written out.
    warningFilter: (warning) => warning.code !== 'a11y_no_redundant_roles',
  },
};
