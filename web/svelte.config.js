import { readdirSync } from 'node:fs';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

/** Short names of components in class names, which are thousands: their places in the alphabet. */
const places = ['components', 'pages'].flatMap((folder) => readdirSync(new URL(`src/${folder}`, import.meta.url)).map((file) => `src/${folder}/${file}`)).sort();
function shortName({ hash, filename }) {
  const place = places.findIndex((file) => filename?.endsWith(file));
  return place < 0 ? `s-${hash(filename)}` : `s${place.toString(36)}`;
}

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    // Said, and not guessed component by component: scripts/lean.mjs leaves the code for components of Svelte 4 out.
    runes: true,
    // Smaller than templates as text, and no `innerHTML` for a content security policy to mind.
    fragments: 'tree',
    cssHash: shortName,
    // The table of nodes becomes cards on a phone, and `display: block` takes a table's roles away: they are written out.
    warningFilter: (warning) => warning.code !== 'a11y_no_redundant_roles',
  },
};
