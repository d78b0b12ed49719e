// Makes FILE.br and FILE.gz of each built text file, so that the manager never compresses. They take its place: who takes neither is sent what the manager
// unpacks. Pages stay beside theirs: they are small, and `make` sees by index.html when the UI was built.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompressSync, constants } from 'node:zlib';
import zopfli from '@gfx/zopfli';

const DIST = new URL('../dist/', import.meta.url).pathname;
// Gzip as small as it gets: it is made once and sent for years.
const gzip = promisify(zopfli.gzip);
const TEXT = /\.(html|js|css|svg|json|txt)$/;

for (const entry of await readdir(DIST, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath ?? entry.path, entry.name);
  // What is in .vite tells the budget how the files belong together, and is not served.
  if (!entry.isFile() || !TEXT.test(entry.name) || path.includes('/.vite/')) continue;
  const bytes = await readFile(path);
  const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
  await writeFile(`${path}.br`, brotliCompressSync(bytes, brotli));
  await writeFile(`${path}.gz`, await gzip(bytes, { numiterations: 15 }));
  if (!path.endsWith('.html')) await rm(path);
}
