// A Vite plugin: leaves out of libraries what these pages never use and no bundler can know that they don't. Only the build is changed, not what is
// developed with. Each cut has to be found, so that a new release of a library cannot bring back in silence what was cut, or be cut wrongly.

/** Module, text in it, and what stands there instead. A fixed `false` is enough: the bundler drops what follows from it. */
const CUTS = [
  // Nothing is rendered by a server, so nothing is ever hydrated.
  ['svelte/src/internal/client/dom/hydration.js', 'export let hydrating = false;', 'export const hydrating = false;'],
  ['svelte/src/internal/client/dom/hydration.js', 'hydrating = value;', ''],
  // No component is of Svelte 4, awaits in its markup, or is traced.
  ['svelte/src/internal/flags/index.js', /export let (\w+) = false/g, 'export const $1 = false'],
  ['svelte/src/internal/flags/index.js', /^\t\w+_flag = (true|false);/gm, ''],

  // Every axis has labels of its own, legends are ours, scales are linear, lines are straight, and no chart follows another by itself.
  ['uplot/dist/uPlot.esm.js', /^uPlot\.(?!pxRatio)\w+ += .*;$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /^\{\n\tuPlot\.(?:.|\n)*?\n\}$/gm, ''],
  ['uplot/dist/uPlot.esm.js', 'const showLegend = legend.show;', 'const showLegend = false;'],
  ['uplot/dist/uPlot.esm.js', /\b(sc\.|scale\.|wsc\.)?distr ?(==|>=) +(2|3|4|100)\b(?! *&& *v)/g, 'false'],
  ['uplot/dist/uPlot.esm.js', /isArr\(av\) \?\s+timeAxisVals\([^?]+\?\s+timeAxisVal\(_tzDate, av\) :\s+av \|\| _timeAxisVals/, 'av'],
  ['uplot/dist/uPlot.esm.js', /^\tconst (_timeAxisVals|_timeSeriesVal) .*$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /s\.value = isTime \? .*;/, 's.value = sv;'],
];

/** What a compiled component says for hydration, and of its slots to components of Svelte 4. */
const IDLE_CALLS = /^(\s*)\$\.(reset|next)\(/gm;
const SLOTS = /,?\s*\$\$slots: \{ [\w:, ]+ \}/g;

export function lean() {
  const found = new Set();
  return [
    {
      name: 'lean-libraries',
      enforce: 'pre',
      apply: 'build',
      transform(code, id) {
        const cuts = CUTS.filter(([module]) => id.split('?')[0].endsWith(`/node_modules/${module}`));
        for (const cut of cuts) if (typeof cut[1] === 'string' ? code.includes(cut[1]) : code.match(cut[1])) found.add(cut);
        return cuts.length > 0 ? cuts.reduce((text, [, from, to]) => text.replace(from, to), code) : undefined;
      },
      buildEnd(error) {
        const missed = CUTS.filter((cut) => !found.has(cut));
        if (!error && missed.length > 0) throw new Error(`no longer found: ${missed.map(([module, text]) => `${text} in ${module}`).join('; ')}`);
      },
    },
    {
      name: 'lean-components',
      enforce: 'post',
      apply: 'build',
      transform(code, id) {
        if (!id.endsWith('.svelte')) return;
        return { code: code.replace(IDLE_CALLS, '$1/*@__PURE__*/ $.$2(').replace(SLOTS, ''), map: null };
      },
    },
  ];
}
