// Prints the gzipped size of all JavaScript and CSS, and fails above the limits: of all pages together, and of what the first page needs.
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const LIMIT_BYTES = 150 * 1024;
const FIRST_LIMIT_BYTES = 60 * 1024;
/** What somebody who signs in sees first. */
const FIRST = ['index.html', 'src/pages/Overview.svelte'];
const DIST = new URL('../dist/', import.meta.url).pathname;
const assets = join(DIST, 'assets');
const gzipped = async (path) => (await stat(`${path}.gz`)).size;
const kb = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
const sizes = { js: 0, css: 0 };

for (const name of (await readdir(assets)).sort()) {
  const kind = /\.(js|css)$/.exec(name)?.[1];
  if (!kind) continue;
  const size = await gzipped(join(assets, name));
  sizes[kind] += size;
  console.log(`${String(size).padStart(8)} B gzipped  ${name}`);
}

const manifestPath = join(DIST, '.vite', 'manifest.json');
const manifest = JSON.parse(await readFile(manifestPath, 'utf8'));
// Nothing of the build but what is served goes into the binary.
await rm(join(DIST, '.vite'), { recursive: true });
const needed = new Set();
function need(key) {
  if (needed.has(key)) return;
  needed.add(key);
  manifest[key].imports?.forEach(need);
}
FIRST.forEach(need);
let first = 0;
for (const key of needed) first += await gzipped(join(DIST, manifest[key].file));

console.log(`JavaScript ${kb(sizes.js)} (limit ${kb(LIMIT_BYTES)}), first page ${kb(first)} (limit ${kb(FIRST_LIMIT_BYTES)}), CSS ${kb(sizes.css)}, gzipped`);

// The content security policy allows neither inline scripts nor inline styles.
const html = await readFile(join(DIST, 'index.html'), 'utf8');
const inline = /<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=/i.exec(html);
if (inline) {
  console.error(`index.html holds inline code, which the content security policy blocks: ${inline[0]}`);
  process.exit(1);
}
if (sizes.js === 0 || sizes.js > LIMIT_BYTES || first > FIRST_LIMIT_BYTES) {
  console.error('the JavaScript is over its limit');
  process.exit(1);
}
