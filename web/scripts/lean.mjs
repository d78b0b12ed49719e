// A Vite plugin: leaves out of libraries what these pages never use and no bundler can know that they don't. Only the build is changed, not what is
// developed with. Each cut has to be found, so that a new release of a library cannot bring back in silence what was cut, or be cut wrongly.
import { readdirSync } from 'node:fs';

/** Module, text in it, and what stands there instead. A fixed `false` is enough: the bundler drops what follows from it. */
const CUTS = [
  // Nothing is rendered by a server, so nothing is ever hydrated.
  ['svelte/src/internal/client/dom/hydration.js', 'export let hydrating = false;', 'export const hydrating = false;'],
  ['svelte/src/internal/client/dom/hydration.js', 'hydrating = value;', ''],
  // No component is of Svelte 4, awaits in its markup, or is traced.
  ['svelte/src/internal/flags/index.js', /export let (\w+) = false/g, 'export const $1 = false'],
  ['svelte/src/internal/flags/index.js', /^\t\w+_flag = (true|false);/gm, ''],
  // So nothing is ever waited for, and no batch of changes is a fork or deferred.
  ['svelte/src/internal/client/reactivity/async.js', 'if (async.length === 0 && pending.length === 0) {', 'if (true) {'],
  ['svelte/src/internal/client/reactivity/async.js', 'blockers.filter((b) => !b.settled)', '0'],
  ...['batch', 'deriveds', 'sources'].map((file) => [`svelte/src/internal/client/reactivity/${file}.js`, /\b(this|batch|current_batch\?)\.is_fork\b(?! =)/g, 'false']),
  ['svelte/src/internal/client/runtime.js', 'var is_fork = current_batch?.is_fork;', 'const is_fork = false;'],
  ['svelte/src/internal/client/reactivity/batch.js', /this\.#is_deferred\(\)/g, 'false'],
  ['svelte/src/internal/client/reactivity/batch.js', 'this.#pending === 0 && ', ''],
  ['svelte/src/internal/client/reactivity/batch.js', /this\.#deferred\?\.resolve\(\);/g, ''],
  ['svelte/src/internal/client/reactivity/batch.js', /^\t(#is_deferred|#is_skipped|increment|decrement|settled|ondiscard)\([^]*?^\t\}$/gm, ''],
  ...['branches', 'each'].map((file) => [`svelte/src/internal/client/dom/blocks/${file}.js`, 'should_defer_append()', 'false']),

  ['svelte/src/internal/client/reactivity/batch.js', ' || this.#skipped_branches.has(effect)', ''],
  ['svelte/src/internal/client/reactivity/batch.js', /^\t(un)?skip_effect\([^]*?^\t\}$/gm, ''],
  ...['reactivity/async', 'reactivity/sources', 'runtime'].map((file) => [`svelte/src/internal/client/${file}.js`, /\bis_runes\(\)/g, 'true']),
  // Nothing is inspected, and nothing moves on its way in or out.
  ['svelte/src/internal/client/reactivity/sources.js', 'eager_effects.size > 0', 'false'],
  ['svelte/src/internal/client/reactivity/sources.js', 'if ((flags & EAGER_EFFECT) !== 0) {', 'if (false) {'],
  ['svelte/src/internal/client/reactivity/effects.js', /var (t|transitions) = effect\.nodes && effect\.nodes\.t;/g, 'const $1 = null;'],
  ['svelte/src/internal/client/dom/blocks/each.js', /\(flags & EACH_IS_ANIMATED\) !== 0/g, 'false'],
  // So what leaves is gone at once, and nothing is on its way out.
  ['svelte/src/internal/client/reactivity/effects.js', 'if (remaining > 0) {', 'if (false) {'],
  ['svelte/src/internal/client/dom/blocks/each.js', /\(\) => \{\s+if \(group\) \{[^]*?\n\t\t\t\},/, 'null,'],
  ['svelte/src/internal/client/dom/blocks/each.js', 'if (remaining === 0) {', 'if (true) {'],
  ['svelte/src/internal/client/dom/blocks/each.js', /state\.outrogroups !== null/g, 'false'],
  ['svelte/src/internal/client/dom/blocks/branches.js', ' || this.#outroing.has(k)', ''],
  ['svelte/src/internal/client/dom/blocks/branches.js', /^\t+(#outroing = new Set\(\)|this\.#outroing\.\w+\(\w+\));$/gm, ''],
  // State is whole: what changes is another value, never within one (`lean-components` holds to it).
  ['svelte/src/internal/client/proxy.js', 'export function proxy(value) {', 'export const proxy = (value) => value;\nfunction deep(value) {'],
  ['svelte/src/internal/client/proxy.js', 'return Object.is(get_proxied_value(a), get_proxied_value(b));', 'return Object.is(a, b);'],
  ['svelte/src/internal/client/reactivity/sources.js', 'should_proxy ? proxy(value) : value', 'value'],
  // Nothing is caught by a boundary: errors are thrown on, and the root needs none.
  ['svelte/src/internal/client/render.js', "import { boundary } from './dom/blocks/boundary.js';", "import { branch } from './reactivity/effects.js';\nconst boundary = (node, _, children) => branch(() => children(node));"],
  // An error is known by its name.
  ['svelte/src/internal/client/errors.js', /`https:\/\/svelte\.dev\/e\/(\w+)`/g, '`$1`'],
  // What `siblings` leaves out below.
  ['svelte/src/internal/client/dom/operations.js', 'export function sibling(node, count = 1,', 'export function sibling(node, count = 2,'],
  // Kept for its spreading alone.
  ['svelte/src/utils.js', /^(const DOM_PROPERTIES =) (\[[^]*?\]);$/m, '$1 /*@__PURE__*/ (() => $2)();'],

  // Every axis has labels of its own, legends are ours, scales are linear, lines are straight, and no chart follows another by itself.
  ['uplot/dist/uPlot.esm.js', /^uPlot\.(?!pxRatio)\w+ += .*;$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /^\{\n\tuPlot\.(?:.|\n)*?\n\}$/gm, ''],
  ['uplot/dist/uPlot.esm.js', 'const showLegend = legend.show;', 'const showLegend = false;'],
  ['uplot/dist/uPlot.esm.js', /\b(sc\.|scale\.|wsc\.)?distr ?(==|>=) +(2|3|4|100)\b(?! *&& *v)/g, 'false'],
  ['uplot/dist/uPlot.esm.js', /isArr\(av\) \?\s+timeAxisVals\([^?]+\?\s+timeAxisVal\(_tzDate, av\) :\s+av \|\| _timeAxisVals/, 'av'],
  ['uplot/dist/uPlot.esm.js', /^\tconst (_timeAxisVals|_timeSeriesVal) .*$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /s\.value = isTime \? .*;/, 's.value = sv;'],
  ['uplot/dist/uPlot.esm.js', /const _timeAxisStamps = \[[^]*?^\t\];$/m, 'const _timeAxisStamps = 0;'],
  ['uplot/dist/uPlot.esm.js', /^(const (?:days|months)3 =) /gm, '$1 /*@__PURE__*/ '],
  // Times are seconds, all lines share them, and lines neither come nor go.
  ['uplot/dist/uPlot.esm.js', /^const \[ timeIncrsMs, .*$/m, ''],
  ['uplot/dist/uPlot.esm.js', /ms == 1 \? \w+Ms(\(_tzDate\))? : /g, ''],
  ['uplot/dist/uPlot.esm.js', /const mode = (u|self)\.mode;/g, 'const mode = 1;'],
  // Time runs from left to right, both scales say their range themselves, and only a pointer moves a cursor.
  ['uplot/dist/uPlot.esm.js', /\b(scaleX|sx)\.ori == 0/g, 'true'],
  ['uplot/dist/uPlot.esm.js', /\bscaleX\.ori == 1/g, 'false'],
  ['uplot/dist/uPlot.esm.js', /sc\.range = fnOrSelf\(rn \|\| [^]*?\)\s+\)\);/, 'sc.range = fnOrSelf(rn);'],
  ['uplot/dist/uPlot.esm.js', 'if (scaleKey != xScaleKey || (mode == 2 && !isTime)) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', '[_min, _max] = rangeNum(_min, _max, rangePad, true);', '_max = _min + 1;'],
  ['uplot/dist/uPlot.esm.js', /\be != null/g, 'true'],
  ['uplot/dist/uPlot.esm.js', /\bsrc != null/g, 'false'],
  ['uplot/dist/uPlot.esm.js', /\bsrc == null/g, 'true'],
  // A drag is from left to right, and a double click does nothing.
  ['uplot/dist/uPlot.esm.js', 'dragY = drag.y && rawDY >= drag.dist;', 'dragY = false;'],
  ['uplot/dist/uPlot.esm.js', 'let uni = drag.uni;', 'const uni = null;'],
  ['uplot/dist/uPlot.esm.js', 'else if (drag.x && drag.y && (dragX || dragY))', 'else if (false)'],
  ['uplot/dist/uPlot.esm.js', /if \(dragY\) \{\s+if \(scaleX/, 'if (false) {if (scaleX'],
  ['uplot/dist/uPlot.esm.js', /^\t(\tonMouse\(dblclick, over, dblClick\)|events\.dblclick = dblClick);$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /^genIncrs\(2, -53, 53, \[1\]\);$/m, ''],
  ['uplot/dist/uPlot.esm.js', 'av || numAxisVals', 'av'],
  ['uplot/dist/uPlot.esm.js', /^\t\{\n\t\tlegend\.idxs = activeIdxs;[^]*?^\t\}$/m, ''],
  // The point under the cursor is the one at its place, whatever it holds; no line is chosen by nearness; axes have neither titles, ticks, borders nor turned labels.
  ['uplot/dist/uPlot.esm.js', 'if (cursor.dataIdx == null) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', 'const cursorFocus = focus.prox >= 0;', 'const cursorFocus = false;'],
  ['uplot/dist/uPlot.esm.js', /\blegend\.live\b/g, 'false'],
  ['uplot/dist/uPlot.esm.js', 'let multiValLegend = false;', 'const multiValLegend = false;'],
  ['uplot/dist/uPlot.esm.js', 'multiValLegend = getMultiVals != null;', ''],
  ['uplot/dist/uPlot.esm.js', 'if (axis.label != null) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', 'if (ticks.show) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', 'if (border.show) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', 'let angle = axis._rotate * -PI/180;', 'const angle = 0;'],
  ['uplot/dist/uPlot.esm.js', 'if (opts.title) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', /\(opts\.plugins \|\| \[\]\)\.forEach\(p => \{[^]*?^\t\}\);$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /^\tself\.(addSeries|delSeries|addBand|setBand|delBand|setLegend|setScale|batch|posToIdx) = \w+;$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /^\tself\.redraw = [^]*?^\t};$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /^\t(const sync = _sync\(syncKey\)|sync\.sub\(self\)|self\.pub = pub|\tsync\.unsub\(self\));$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /if \(syncOpts\.filters\.pub\(.*\)\)\s+sync\.pub\(.*\);/, ''],
  ['uplot/dist/uPlot.esm.js', 'const syncKey = syncOpts.key;', 'const syncKey = null;'],
  // No scale is made from another one or is anything but linear, fonts and padding are given, corners are right, a drag changes no scale, and no cursor is locked.
  ['uplot/dist/uPlot.esm.js', /\bxScaleDistr == \d/g, 'false'],
  ['uplot/dist/uPlot.esm.js', 'const xScaleDistr = scaleX.distr;', ''],
  ['uplot/dist/uPlot.esm.js', /\bw?sc\.from == null/g, 'true'],
  ['uplot/dist/uPlot.esm.js', /\b(w?sc|scaleOpts)\.from != null/g, 'false'],
  ['uplot/dist/uPlot.esm.js', 'log ? positiveIdxs : nonNullIdxs', 'nonNullIdxs'],
  ['uplot/dist/uPlot.esm.js', 'log ? isPositive : notNullish', 'notNullish'],
  ['uplot/dist/uPlot.esm.js', /^const (numFormatter|localTz) = .*$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /^const font      = .*$/m, "const font = '';"],
  ['uplot/dist/uPlot.esm.js', /^\t\t(stroke: legendStroke|fill: legendFill),$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /\(opts\.padding \|\| \[.*?\]\)\.map\(p => fnOrSelf\(ifNull\(p, autoPadSide\)\)\)/, 'opts.padding.map(fnOrSelf)'],
  ['uplot/dist/uPlot.esm.js', /^function rect\(ori\) \{[^]*?^\}$/m, 'const rect = (ori) => ori == 0 ? (p, x, y, w, h) => p.rect(x, y, w, h) : (p, y, x, h, w) => p.rect(x, y, w, h);'],
  ['uplot/dist/uPlot.esm.js', 'const rect = ori == 0 ? rectH : rectV;', 'const rect = rectH;'],
  ['uplot/dist/uPlot.esm.js', 'const rectV = rect(1);', 'const rectV = /*@__PURE__*/ rect(1);'],
  ['uplot/dist/uPlot.esm.js', 'if (drag.setScale && hasSelect && chgSelect) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', 'else if (cursor.lock) {', 'else if (false) {'],
  ['uplot/dist/uPlot.esm.js', 'cursor._lock = false;', ''],
  ['uplot/dist/uPlot.esm.js', /if \(cursor\._lock\)/g, 'if (false)'],
  ['uplot/dist/uPlot.esm.js', /^\tevents\["setSeries"\] = [^]*?^\t\};$/m, ''],
  ['uplot/dist/uPlot.esm.js', /\b(scaleX|sc|scale)\.dir\b/g, '1'],
  ['uplot/dist/uPlot.esm.js', /^\tlet mode = self\.mode;$/gm, ''],
  ['uplot/dist/uPlot.esm.js', /let scaleKey = mode == 2 \? [^:]*: /, 'let scaleKey = '],
  ['uplot/dist/uPlot.esm.js', /if \((stroke|fill)Path instanceof Map\) \{/g, 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', 'let labelSize = axis.label != null ? axis.labelSize : 0;', 'let labelSize = 0;'],
  ['uplot/dist/uPlot.esm.js', /if \(axis\.label != null\)\s+axis\._lpos = .*;/, ''],
  ['uplot/dist/uPlot.esm.js', /^\t\t\ts\.label = s\.label \|\| .*;$/m, ''],
  ['uplot/dist/uPlot.esm.js', '[axis.font, axis.labelFont].forEach', '[axis.font].forEach'],
  ['uplot/dist/uPlot.esm.js', /^\t\t\taxis\.labelFont = pxRatioFont\(axis\.labelFont\);$/m, ''],
  ['uplot/dist/uPlot.esm.js', /^\tlabelFont,$/gm, ''],
  // What no chart sets, and what follows no other chart.
  ['uplot/dist/uPlot.esm.js', 'if (syncKey != null) {', 'if (false) {'],
  ['uplot/dist/uPlot.esm.js', /^\tif \(opts\.id != null\)\n\t\troot\.id = opts\.id;$/m, ''],
  ['uplot/dist/uPlot.esm.js', /^\tconst (_fmtDate = .*|markers    = legend\.markers;)$/gm, ''],
  ['uplot/dist/uPlot.esm.js', 'opts.tzDate || ', ''],
  ['uplot/dist/uPlot.esm.js', 'opts.ms || 1e-3', '1e-3'],
  ['uplot/dist/uPlot.esm.js', 'ifNull(opts.mode, 1)', '1'],
  ['uplot/dist/uPlot.esm.js', 'opts.drawOrder || ', ''],
  ['uplot/dist/uPlot.esm.js', 'ifNull(opts.alignGaps, 0)', '0'],
  ['uplot/dist/uPlot.esm.js', 'ifNull(opts?.alignGaps, 0)', '0'],
  ['uplot/dist/uPlot.esm.js', /^\tconst syncOpts = assign\(\{[^]*?cursor\.sync = syncOpts;$/m, ''],
];

/** Between two elements stands a text that breaks the line, so what comes next is the second sibling: unless it is said otherwise. */
const SIBLING = /\$\.sibling\(((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*?)(?:, (\d+))?(?:, true)?\)/g;
const siblings = (text) => text.replace(SIBLING, (_, node, count = '1') => `$.sibling(${siblings(node)}${count === '2' ? '' : `, ${count}`})`);

/** What a compiled component says for hydration, and of its slots to components of Svelte 4 */
const SHORTER = [
  [/^(\s*)\$\.(reset|next)\(/gm, '$1/*@__PURE__*/ $.$2('],
  [/,?\s*\$\$slots: \{ [\w:, ]+ \}/g, ''],
  [/\$\.(?:only_child|child)\((\w+)(?:, true)?\)/g, '$.child($1)'],
  [/\$\.first_child\((\w+), true\)/g, '$.first_child($1)'],
  // No state is deep, and a text that is what it was is not written again.
  [/(\$\.set\(\w+, \$\$value), true\)/g, '$1)'],
  [/\$\.template_effect\(\(\$0\) => \$\.set_text\((\w+), \$0\), \[\(\) => (.*)\]\);$/gm, '$.template_effect(() => $.set_text($1, $2));'],
];

/** Every event that a component listens to, said once instead of in each of them. */
const EVENTS = ['click', 'input', 'change', 'keydown', 'focusin', 'pointerdown', 'pointermove'];
const DELEGATE = /^\$\.delegate\(\[(.*)\]\);$/gm;

/** The logic of all pages, named before them: gzip looks back 32 KB, so a file is the smaller when the like stands beside the like. */
function logic() {
  const files = readdirSync(new URL('../src/lib/', import.meta.url)).filter((file) => /(?<!\.test|^rest)\.ts$/.test(file));
  return files.sort().reverse().map((file) => `import './${file}';`).join('\n');
}

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
      name: 'lean-imports',
      enforce: 'pre',
      apply: 'build',
      // There is one style sheet and nothing to load ahead: a part is imported as it is.
      transform(code, id) {
        if (!id.includes('vite/preload-helper')) return;
        if (!code.includes('__vitePreload')) throw new Error('no longer found: __vitePreload');
        return { code: 'export const __vitePreload = (load) => load();', map: null };
      },
    },
    {
      name: 'lean-order',
      enforce: 'pre',
      apply: 'build',
      transform(code, id) {
        if (id.endsWith('/src/lib/rest.ts')) return { code: `${logic()}\n${code}`, map: null };
      },
    },
    {
      name: 'lean-components',
      enforce: 'post',
      apply: 'build',
      transform(code, id) {
        if (id.endsWith('/src/main.ts')) return { code: `import { delegate } from 'svelte/internal/client';\ndelegate(${JSON.stringify(EVENTS)});\n${code}`, map: null };
        if (/\.svelte(\.ts)?$/.test(id) && code.includes('$.proxy(')) throw new Error(`${id} has deep state, which the build has not: make it $state.raw`);
        if (!id.endsWith('.svelte')) return;
        for (const [, events] of code.matchAll(DELEGATE)) {
          const unknown = JSON.parse(`[${events.replaceAll("'", '"')}]`).find((event) => !EVENTS.includes(event));
          if (unknown) throw new Error(`${id} listens to ${unknown}, which EVENTS in lean.mjs does not have`);
        }
        return { code: siblings(SHORTER.reduce((text, [from, to]) => text.replace(from, to), code.replace(DELEGATE, ''))), map: null };
      },
    },
  ];
}
