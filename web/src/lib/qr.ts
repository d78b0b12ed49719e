// A QR code as one path of a drawing: an element for each module would be thousands.

/** Quiet modules around the code; readers need four. */
export const QUIET = 4;

/** Each run of dark modules in a row becomes one rectangle. `dark` is square, without a border. */
export function pathOfModules(dark: readonly (readonly boolean[])[]): string {
  let path = '';
  dark.forEach((row, y) => {
    let x = 0;
    while (x < row.length) {
      const start = x;
      while (x < row.length && row[x]) x += 1;
      if (x > start) path += `M${start + QUIET} ${y + QUIET}h${x - start}v1h-${x - start}z`;
      else x += 1;
    }
  });
  return path;
}

/** The modules of a code, row by row. */
export function modulesOf({ size, get }: { size: number; get: (x: number, y: number) => boolean }): boolean[][] {
  return Array.from({ length: size }, (_, y) => Array.from({ length: size }, (_, x) => get(x, y)));
}
