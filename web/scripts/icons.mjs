// Makes src/icons.svg: one symbol for each name in src/lib/icons.ts, out of Lucide's files.
import { readFile, writeFile } from 'node:fs/promises';

const LIST = new URL('../src/lib/icons.ts', import.meta.url);
const SPRITE = new URL('../src/icons.svg', import.meta.url);

/** A Vite plugin: the sprite is there before anything imports it. */
export function icons() {
  return { name: 'icons', buildStart: write };
}

export async function write() {
  const names = [...(await readFile(LIST, 'utf8')).matchAll(/^ {2}'([a-z0-9-]+)',$/gm)].map((match) => match[1]);
  const symbols = await Promise.all(
    names.map(async (name) => {
      const svg = await readFile(new URL(`../node_modules/lucide-static/icons/${name}.svg`, import.meta.url), 'utf8');
      const shapes = svg.slice(svg.indexOf('>', svg.indexOf('<svg')) + 1, svg.lastIndexOf('</svg>')).replace(/\s+/g, ' ').trim();
      return `<symbol id="${name}" viewBox="0 0 24 24">${shapes}</symbol>`;
    }),
  );
  await writeFile(SPRITE, `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join('')}</svg>\n`);
}
