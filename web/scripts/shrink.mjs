// Minifies once more what was built: Terser finds what the bundler's own minifier leaves, and names alike what is alike. Where it gains nothing when gzipped, a file
// stays as it was.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { minify } from 'terser';

const ASSETS = new URL('../dist/assets/', import.meta.url).pathname;
const size = (code) => gzipSync(code, { level: 9 }).length;

for (const name of await readdir(ASSETS)) {
  if (!name.endsWith('.js')) continue;
  let best = await readFile(ASSETS + name, 'utf8');
  for (const compress of [false, { passes: 3 }]) {
    const { code } = await minify(best, { module: true, ecma: 2022, compress, mangle: true });
    if (size(code) < size(best)) best = code;
  }
  await writeFile(ASSETS + name, best);
}
