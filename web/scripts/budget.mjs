// Prints the gzipped size of all JavaScript and CSS, and fails above the limits: of all pages together, and of what the first page needs.
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const LIMIT_BYTES = 150 * 1024;
const FIRST_LIMIT_BYTES = 60 * 1024;
/** The API's documentation, which the UI never loads: counted by itself. */
const DOCS_LIMIT_BYTES = 10 * 1024;
/** The page that checks proofs, of which the same holds: its JavaScript. */
const VERIFY_LIMIT_BYTES = 12 * 1024;
/** What somebody who signs in sees first. */
const FIRST = 'src/pages/Overview.svelte';
const DIST = new URL('../dist/', import.meta.url).pathname;
const assets = join(DIST, 'assets');
const gzipped = async (path) => (await stat(`${path}.gz`)).size;
/** Names of what was built there, as pages name it. */
const built = async (folder) => (await readdir(folder)).filter((name) => name.endsWith('.gz')).map((name) => name.slice(0, -3)).sort();
const kb = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
const sizes = { js: 0, css: 0, docs: 0, verify: 0 };

for (const name of await built(assets)) {
  const kind = /\.(js|css)$/.exec(name)?.[1];
  if (!kind) continue;
  const size = await gzipped(join(assets, name));
  sizes[kind] += size;
  console.log(`${String(size).padStart(8)} B gzipped  ${name}`);
}

for (const name of await built(join(DIST, 'docs', 'assets'))) {
  if (/\.(js|css)$/.test(name)) sizes.docs += await gzipped(join(DIST, 'docs', 'assets', name));
}
for (const name of await built(join(DIST, 'verify', 'assets'))) {
  if (name.endsWith('.js')) sizes.verify += await gzipped(join(DIST, 'verify', 'assets', name));
}

const manifestPath = join(DIST, '.vite', 'manifest.json');
const manifest = JSON.parse(await readFile(manifestPath, 'utf8'));
// Nothing of the build but what is served goes into the binary.
await rm(join(DIST, '.vite'), { recursive: true });
const chunks = new Map(Object.values(manifest).map((chunk) => [chunk.file, chunk]));
const html = await readFile(join(DIST, 'index.html'), 'utf8');
const needed = new Set();
function need(file) {
  if (file === undefined || needed.has(file)) return;
  needed.add(file);
  chunks.get(file)?.imports?.forEach((key) => need(manifest[key].file));
}
for (const [, file] of html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)) need(file);
// Its own file, unless the build put it with what comes first anyway.
need(manifest[FIRST]?.file);
let first = 0;
for (const file of needed) first += await gzipped(join(DIST, file));

console.log(`JavaScript ${kb(sizes.js)} (limit ${kb(LIMIT_BYTES)}), first page ${kb(first)} (limit ${kb(FIRST_LIMIT_BYTES)}), CSS ${kb(sizes.css)}, documentation ${kb(sizes.docs)} (limit ${kb(DOCS_LIMIT_BYTES)}), proofs ${kb(sizes.verify)} (limit ${kb(VERIFY_LIMIT_BYTES)}), gzipped`);

// The content security policy allows neither inline scripts nor inline styles.
const pages = [html, ...(await Promise.all(['docs', 'verify'].map((page) => readFile(join(DIST, page, 'index.html'), 'utf8'))))];
const inline = pages.map((page) => /<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=/i.exec(page)).find(Boolean);
if (inline) {
  console.error(`a page holds inline code, which the content security policy blocks: ${inline[0]}`);
  process.exit(1);
}
if (sizes.js === 0 || first === 0 || sizes.js > LIMIT_BYTES || first > FIRST_LIMIT_BYTES || sizes.docs === 0 || sizes.docs > DOCS_LIMIT_BYTES || sizes.verify === 0 || sizes.verify > VERIFY_LIMIT_BYTES) {
  console.error('the JavaScript is over its limit');
  process.exit(1);
}
