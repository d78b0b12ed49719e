// What every page is held to, whoever looks at it: it fits, its controls have names, axe finds nothing, and its picture is kept.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Waits until a page has loaded what it shows: a heading, and no skeleton left. */
export async function settled(page) {
  await page.locator('main h1, [role="main"] h1').first().waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.skeleton').length === 0);
}

export async function picture(page, name) {
  // The bar at the top sticks to the window: in a picture of the whole page it belongs to the top.
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(process.env.LUCID_ARTEFACTS, `${name}.png`), fullPage: true });
}

/** Nothing is wider than the window, and no text sticks out of it unless its box scrolls. */
export async function fits(page) {
  const out = await page.evaluate(() => {
    // On a phone the window itself grows with what is too wide.
    const width = document.documentElement.clientWidth;
    const wide = document.documentElement.scrollWidth - width;
    if (wide > 0) return [`the page is ${wide} px wider than its window`];
    const scrolls = (e) => {
      for (let up = e; up && up !== document.body; up = up.parentElement) if (getComputedStyle(up).overflowX !== 'visible') return true;
      return false;
    };
    return [...document.querySelectorAll('main *')]
      .filter((e) => e.childElementCount === 0 && e.textContent.trim() !== '' && e.checkVisibility?.() !== false)
      .filter((e) => e.getBoundingClientRect().right > width + 1 && !scrolls(e))
      .map((e) => `“${e.textContent.trim().slice(0, 40)}” sticks out of the window`);
  });
  assert.deepEqual(out, []);
}

/** Every control has a name that a screen reader can say. */
export async function named(page) {
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll('input, select, textarea, button, a[href]')]
      .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
      .map((e) => e.outerHTML),
  );
  assert.deepEqual(nameless, []);
}

/** axe-core with the rules of WCAG 2.2 A and AA, and its best practices. */
export async function accessible(page) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')} ${n.any[0]?.message ?? n.all[0]?.message ?? ''}`).join(' | ')}`);
  });
  assert.deepEqual(violations, []);
}

const MONEY = /^(amount|accrued|accrued_lucid|payable|reserved|paid|balance|sum|cost_per_hour|reward_per_hour)$/;

/** Collects amounts of money that are not texts in what the API answers to this context. */
export function watchMoney(context) {
  const wrong = [];
  const look = (url, value, key = '') => {
    if (value !== null && typeof value === 'object') for (const [k, v] of Object.entries(value)) look(url, v, Array.isArray(value) ? key : k);
    else if (MONEY.test(key) && value !== null && typeof value !== 'string') wrong.push(`${url}: ${key} = ${value}`);
  };
  context.on('response', (response) => {
    const url = new URL(response.url());
    if (!url.pathname.startsWith('/api/v1/') || !/json/.test(response.headers()['content-type'] ?? '')) return;
    response.json().then(
      (body) => look(url.pathname, body),
      () => {},
    );
  });
  return wrong;
}
