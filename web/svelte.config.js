import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

/** Short names of components in class names, which are thousands: half a kilobyte of the budget. */
const named = new Map();
function shortName({ hash, filename }) {
  const short = `s${hash(filename).slice(0, 4)}`;
  if ((named.get(short) ?? filename) !== filename) throw new Error(`${filename} and ${named.get(short)} would share their styles: rename one`);
  named.set(short, filename);
  return short;
}

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    // Smaller than templates as text, and no `innerHTML` for a content security policy to mind.
    fragments: 'tree',
    cssHash: shortName,
    // The table of nodes becomes cards on a phone, and `display: block` takes a table's roles away: they are written out.
    warningFilter: (warning) => warning.code !== 'a11y_no_redundant_roles',
  },
};
