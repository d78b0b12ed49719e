import { generate } from 'lean-qr/nano';
import { expect, test } from 'vitest';
import { modulesOf, pathOfModules, QUIET } from './qr';

/** Draws the path again, module by module. */
function drawn(path: string, size: number): boolean[][] {
  const dark = Array.from({ length: size }, () => Array.from({ length: size }, () => false));
  for (const [, x, y, width] of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-\3z/g)) {
    for (let i = 0; i < Number(width); i += 1) dark[Number(y) - QUIET]![Number(x) - QUIET + i] = true;
  }
  return dark;
}

test('runs become rectangles', () => {
  expect(pathOfModules([[true, true, false], [false, false, true], [false, false, false]])).toBe('M4 4h2v1h-2zM6 5h1v1h-1z');
});

test('the path draws exactly the code', () => {
  const code = generate('lucid-node-management agent --manager http://192.168.1.20:8095');
  const modules = modulesOf(code);
  expect(drawn(pathOfModules(modules), code.size)).toEqual(modules);
});
