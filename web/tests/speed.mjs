// How fast the pages are, as a table. Not a test: machines differ, so nothing here passes or fails.
//
//   LUCID_DEMO=… LUCID_DEMO_DAYS=2 LUCID_DEMO_NODES=1000 npm run speed
import { launch, VIEWS } from './chromium.mjs';

const { LUCID_DEMO_URL: BASE, LUCID_DEMO_LOGINS } = process.env;
const { username, password } = JSON.parse(LUCID_DEMO_LOGINS ?? '{}').admin ?? {};
/** What browsers' tools call slow 4G, and a phone of the lower middle. */
const SLOW = { offline: false, latency: 150, downloadThroughput: (1.6e6 / 8) | 0, uploadThroughput: (750e3 / 8) | 0 };
const CPU_SLOWDOWN = 4;

const rows = [];
const row = (what, target, measured) => rows.push([what, target, measured]);
const browser = await launch();
const door = await browser.newContext();
await door.request.post(`${BASE}/api/v1/auth/login`, { data: { username, password } });
const storageState = await door.storageState();

async function open(view, throttled) {
  const context = await browser.newContext({ ...VIEWS[view], storageState });
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  await cdp.send('Network.enable');
  if (throttled) {
    await cdp.send('Network.emulateNetworkConditions', SLOW);
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: CPU_SLOWDOWN });
  }
  return { context, page, cdp };
}

for (const [name, path] of [['overview', '/'], ['nodes', '/nodes'], ['PoOT', '/poot'], ['payouts', '/payouts']]) {
  const { context, page, cdp } = await open('phone', true);
  let bytes = 0;
  const scripts = new Set();
  cdp.on('Network.responseReceived', ({ requestId, response }) => /javascript/.test(response.mimeType) && scripts.add(requestId));
  cdp.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => scripts.has(requestId) && (bytes += encodedDataLength));
  await page.addInitScript(() => {
    globalThis.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shift += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
    new PerformanceObserver((list) => (globalThis.largest = list.getEntries().at(-1).startTime)).observe({ type: 'largest-contentful-paint', buffered: true });
  });
  await page.goto(BASE + path);
  await page.locator('main h1').waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.skeleton').length === 0);
  await page.waitForTimeout(1_500);
  const seen = await page.evaluate(() => ({
    first: performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
    largest: globalThis.largest,
    shift: globalThis.shift,
  }));
  row(`${name}, slow phone: first / largest contentful paint`, '1 s / -', `${(seen.first / 1000).toFixed(2)} s / ${(seen.largest / 1000).toFixed(2)} s`);
  row(`${name}: layout shift, JavaScript on the wire`, '0', `${seen.shift.toFixed(3)}, ${(bytes / 1024).toFixed(0)} KB`);
  await context.close();
}

for (const view of ['desktop', 'phone']) {
  for (const throttled of [false, true]) {
    const { context, page, cdp } = await open(view, false);
    await page.goto(`${BASE}/nodes`);
    await page.waitForFunction(() => document.querySelectorAll('main [data-node]').length > 5);
    const total = await page.evaluate(() => fetch('/api/v1/nodes?limit=1').then((r) => r.json()).then((list) => list.pagination.total));
    if (throttled) await cdp.send('Emulation.setCPUThrottlingRate', { rate: CPU_SLOWDOWN });
    await page.evaluate(() => {
      globalThis.frames = [];
      const frame = (at) => {
        globalThis.frames.push(at);
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
    await cdp.send('Input.synthesizeScrollGesture', { x: 200, y: 400, yDistance: -30_000, speed: 6_000, gestureSourceType: 'mouse' });
    const deltas = await page.evaluate(() => globalThis.frames.slice(1).map((at, i) => at - globalThis.frames[i]));
    deltas.sort((a, b) => a - b);
    const rate = 1000 / (deltas.reduce((a, b) => a + b, 0) / deltas.length);
    const late = (deltas.filter((d) => d > 25).length / deltas.length) * 100;
    row(
      `${total} nodes scrolled, ${view}${throttled ? `, processor ${CPU_SLOWDOWN} times slower` : ''}`,
      '60 frames/s',
      `${rate.toFixed(0)} frames/s, ${late.toFixed(1)} % late, longest ${deltas.at(-1).toFixed(0)} ms`,
    );
    await context.close();
  }
}

{
  const { context, page } = await open('desktop', false);
  // The oldest one has the longest history.
  const oldest = await (await context.request.get(`${BASE}/api/v1/nodes?sort=created_at&limit=1`)).json();
  await page.goto(`${BASE}/nodes/${oldest.nodes[0].node_id}`);
  await page.locator('canvas').first().waitFor();
  const taken = [];
  const drawn = () => page.evaluate(() => performance.getEntriesByName('range-drawn').at(-1));
  for (let i = 0; i < 6; i += 1) {
    await page.getByRole('button', { name: '1 h', exact: true }).click();
    await page.waitForTimeout(700);
    const before = (await drawn())?.startTime ?? -1;
    await page.getByRole('button', { name: '90 d', exact: true }).click();
    await page.waitForFunction((at) => (performance.getEntriesByName('range-drawn').at(-1)?.startTime ?? -1) > at, before);
    taken.push(Math.round((await drawn()).duration));
  }
  const first = taken.shift();
  taken.sort((a, b) => a - b);
  row('charts of 90 days, from the click to the picture: first / best / median / worst of the next 5', '100 ms', `${first} / ${taken[0]} / ${taken[2]} / ${taken[4]} ms`);
  await context.close();
}
await browser.close();
console.log('| what | target | measured |\n|---|---|---|');
for (const cells of rows) console.log(`| ${cells.join(' | ')} |`);
