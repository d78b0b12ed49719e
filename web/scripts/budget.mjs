// Prints the gzipped size of all JavaScript and CSS and fails above the design's limit for JavaScript.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

const LIMIT_BYTES = 150 * 1024;
const DIST = new URL('../dist/', import.meta.url).pathname;
const assets = join(DIST, 'assets');
const sizes = { js: 0, css: 0 };

for (const name of (await readdir(assets)).sort()) {
  const kind = /\.(js|css)$/.exec(name)?.[1];
  if (!kind) continue;
  const { size } = await stat(join(assets, `${name}.gz`));
  sizes[kind] += size;
  console.log(`${String(size).padStart(8)} B gzipped  ${name}`);
}
console.log(`JavaScript ${(sizes.js / 1024).toFixed(1)} KB, CSS ${(sizes.css / 1024).toFixed(1)} KB gzipped; limit for JavaScript ${LIMIT_BYTES / 1024} KB`);

// The content security policy allows neither inline scripts nor inline styles.
const html = await readFile(join(DIST, 'index.html'), 'utf8');
const inline = /<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=/i.exec(html);
if (inline) {
  console.error(`index.html holds inline code, which the content security policy blocks: ${inline[0]}`);
  process.exit(1);
}
if (sizes.js === 0 || sizes.js > LIMIT_BYTES) {
  console.error('the JavaScript is over its limit');
  process.exit(1);
}
