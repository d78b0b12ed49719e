// The page that checks proofs, with the demo's: what a manager gave out is good, what was changed is wrong, and a copy on a disk needs nobody.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture, settled } from './look.mjs';

const { LUCID_DEMO_URL: BASE, LUCID_DEMO_LOGINS } = process.env;
const LOGINS = JSON.parse(LUCID_DEMO_LOGINS ?? '{}');

let browser;
let storageState;
let node;
let documents;
let key;

before(async () => {
  assert.ok(BASE && LOGINS.admin, 'started by tests/run.mjs');
  browser = await launch();
  const context = await browser.newContext();
  const { username, password } = LOGINS.viewer;
  assert.equal((await context.request.post(`${BASE}/api/v1/auth/login`, { data: { username, password } })).status(), 200);
  storageState = await context.storageState();
  const ask = async (path) => (await context.request.get(`${BASE}/api/v1${path}`)).text();
  // The worst node that is valid has the most to show.
  const { nodes } = JSON.parse(await ask('/nodes?limit=100&sort=poot_score&order=asc'));
  node = nodes.find(({ poot }) => poot.state === 'valid').node_id;
  const { epochs } = JSON.parse(await ask('/poot/epochs?limit=20'));
  documents = { proof: await ask(`/poot/${node}`), heads: await ask(`/poot/consistency?first=${epochs.at(-1).epoch}`) };
  key = JSON.parse(await ask('/poot/manager-key')).public_key;
  await context.close();
});

after(() => browser?.close());

async function opened(options = {}, allowed = undefined) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  const complaints = await watch(context, allowed);
  const page = await context.newPage();
  await page.goto(`${BASE}/verify`);
  await settled(page);
  return { context, complaints, page };
}

/** Drops a file on the page, as a person does. */
async function drop(page, text) {
  const transfer = await page.evaluateHandle((text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], 'proof.json', { type: 'application/json' }));
    return data;
  }, text);
  await page.dispatchEvent('main', 'drop', { dataTransfer: transfer });
}

const verdict = (page, wanted) => page.locator(`[data-verdict="${wanted}"]`).waitFor();
const outcomes = (page, outcome) => page.locator(`[data-outcome="${outcome}"]`).evaluateAll((rows) => rows.map((row) => row.dataset.check));

for (const view of ['desktop', 'phone']) {
  for (const colorScheme of ['light', 'dark']) {
    test(`a proof, ${view}, ${colorScheme}`, async () => {
      const { context, complaints, page } = await opened({ ...VIEWS[view], colorScheme });
      const look = async (name) => {
        await fits(page);
        await named(page);
        await accessible(page);
        await picture(page, `verify-${name}-${view}-${colorScheme}`);
      };
      await look('empty');
      await drop(page, documents.proof);
      await verdict(page, 'consistent');
      assert.deepEqual(await outcomes(page, 'open'), ['signer']);
      await look('consistent');
      await page.getByLabel('Key of the manager').fill(key);
      await verdict(page, 'good');
      assert.equal((await outcomes(page, 'good')).length, 8);
      await look('good');
      // Somebody would rather have had another score.
      await page.getByLabel('The document as text').fill(documents.proof.replace(/"score":"[^"]*"/, '"score":"100.00"').replace(/"score_hundredths":\d+/, '"score_hundredths":10000'));
      await verdict(page, 'wrong');
      // Where nothing was proven in the epoch, nothing is earned by any score.
      assert.deepEqual((await outcomes(page, 'wrong')).filter((check) => check !== 'credits'), ['score', 'tree']);
      await look('wrong');
      await drop(page, documents.heads);
      await verdict(page, 'good');
      await look('heads');
      await page.getByLabel('The document as text').fill('{');
      await verdict(page, 'wrong');
      await look('unreadable');
      assert.deepEqual(complaints, []);
      await context.close();
    });
  }
}

test('the manager is asked only when somebody wants it, and a key of its own proves less', async () => {
  const asked = [];
  const { context, complaints, page } = await opened(VIEWS.desktop, (text) => /401/.test(text));
  page.on('request', (request) => request.url().includes('/api/') && asked.push(new URL(request.url()).pathname));
  await drop(page, documents.proof);
  await verdict(page, 'consistent');
  assert.deepEqual(asked, []);
  await page.getByRole('button', { name: 'Ask this manager' }).click();
  await page.getByText('Sign in to this manager').waitFor();
  await context.addCookies(storageState.cookies);
  await page.getByRole('button', { name: 'Ask this manager' }).click();
  await verdict(page, 'good');
  assert.equal(await page.getByLabel('Key of the manager').inputValue(), key);
  await page.getByText('The key came from this manager, as did this page').waitFor();
  // A key that is none is said to be none, and not used.
  await page.getByLabel('Key of the manager').fill('abc');
  await verdict(page, 'consistent');
  await page.getByText('64 hex digits. It is left out.').waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test('a link of the UI brings the proof of its node', async () => {
  const { context, complaints, page } = await opened({ ...VIEWS.desktop, storageState });
  await page.goto(`${BASE}/verify#node=${node}`);
  await verdict(page, 'consistent');
  assert.equal(await page.locator('[data-check="summary"]').getByText(node).count(), 1);
  assert.deepEqual(complaints, []);
  await context.close();
});

test('a saved copy needs no server', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lucid-verify-'));
  try {
    const { context, complaints, page } = await opened(VIEWS.desktop);
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save this page' }).click()]);
    await download.saveAs(join(folder, 'verify.html'));
    await context.setOffline(true);
    await page.goto(pathToFileURL(join(folder, 'verify.html')).href);
    await page.getByLabel('Key of the manager').fill(key);
    await drop(page, documents.proof);
    await verdict(page, 'good');
    await fits(page);
    await picture(page, 'verify-copy');
    assert.equal(await page.getByRole('button', { name: /Ask|Save/ }).count(), 0);
    assert.deepEqual(complaints, []);
    await context.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
