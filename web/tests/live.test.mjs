// Money that moves, on a chain that nobody else knows: the real manager and its signer pay with the tests' fake TRON node, in real time.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture, settled } from './look.mjs';

const { LUCID_BASE_URL: BASE, LUCID_SETUP_CODE: CODE, LUCID_PASSPHRASE: PASSPHRASE, LUCID_WALLET: WALLET, LUCID_PAYEE: PAYEE } = process.env;
const PASSWORD = 'lamp chair fog tree river';
/** A block is three seconds, and the manager looks every so often. */
const PAID_MS = 150_000;

let browser;
let page;
let complaints;

const dialog = () => page.getByRole('dialog');
const say = (verb) => dialog().getByRole('button', { name: verb, exact: true }).click();
async function tell(method, path, body) {
  const [status, answer] = await page.evaluate(
    ([method, path, body]) => fetch(`/api/v1${path}`, { method, headers: { 'content-type': 'application/json' }, ...(body && { body: JSON.stringify(body) }) }).then(async (r) => [r.status, await r.json().catch(() => null)]),
    [method, path, body],
  );
  assert.ok(status < 300, `${method} ${path}: ${status} ${JSON.stringify(answer)}`);
  return answer;
}
async function looks(name) {
  await named(page);
  await accessible(page);
  await picture(page, name);
  const size = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 780 });
  await fits(page);
  await picture(page, `${name}-phone`);
  await page.setViewportSize(size);
}

before(async () => {
  assert.ok(BASE && CODE && PASSPHRASE && WALLET && PAYEE, 'started by tests/run.mjs');
  browser = await launch();
  const context = await browser.newContext({ ...VIEWS.desktop, reducedMotion: 'reduce' });
  complaints = await watch(context, (text) => /^Failed to load resource/.test(text));
  page = await context.newPage();
  await page.goto(BASE);
  await tell('POST', '/setup', { code: CODE, username: 'ada', password: PASSWORD, client_time: new Date().toISOString() });
  const { node_id } = await tell('POST', '/nodes', { name: 'attic', node_type: 'worker' });
  await tell('PUT', `/nodes/${node_id}/payout-address`, { address: PAYEE });
  await tell('POST', '/ledger/adjustments', { node_id, amount: '12.5', currency: 'USDT', reason: 'what it earned before there was a ledger' });
});

after(() => browser?.close());

test('the wallet is locked, and a passphrase opens it', async () => {
  await page.goto(`${BASE}/money`);
  const signer = page.getByRole('region', { name: 'Signer' });
  await signer.getByText('locked').waitFor();
  await page.locator(`[data-copy="address"]`, { hasText: WALLET }).waitFor();
  await page.getByText('The wallet is locked').waitFor();
  await settled(page);
  await looks('live-locked');
  await signer.getByRole('button', { name: 'Unlock' }).click();
  await dialog().getByLabel('Passphrase').fill('not the passphrase');
  await say('Unlock');
  await dialog().getByRole('alert').first().waitFor();
  // A wrong one costs a second.
  await page.waitForTimeout(1_500);
  await dialog().getByLabel('Passphrase').fill(PASSPHRASE);
  await say('Unlock');
  await signer.getByText('unlocked').waitFor();
});

test('nothing leaves the wallet before somebody has said from when on money is owed', async () => {
  const note = page.locator('.note', { hasText: 'Nobody has decided that money moves' });
  await note.getByRole('button', { name: 'Decide' }).click();
  await dialog().getByText('what is sent cannot be taken back').waitFor();
  await dialog().getByRole('button', { name: 'What is earned from a date on' }).click();
  const go = dialog().getByRole('button', { name: 'Go live' });
  assert.equal(await go.isDisabled(), true, 'what it cancels is looked at first');
  await dialog().getByRole('button', { name: 'Show what would be cancelled' }).click();
  await dialog().locator('input[name="from"][aria-invalid="true"]').waitFor();
  await dialog().getByLabel('Owed from').fill('2026-01-01T00:00');
  await dialog().getByRole('button', { name: 'Show what would be cancelled' }).click();
  await dialog().getByText('Nothing would be cancelled').waitFor();
  assert.equal((await tell('GET', '/money')).needs_going_live, true, 'to look changes nothing');
  await looks('live-dialog');
  await go.click();
  await note.waitFor({ state: 'detached' });
  await page.locator('.note', { hasText: 'Payouts go out' }).waitFor({ timeout: PAID_MS });
  await page.getByRole('region', { name: 'Reconciliation' }).getByText('by ada').waitFor();
});

test('a batch by hand is paid on the chain, and its payout says when what happened', { timeout: 2 * PAID_MS }, async () => {
  await page.goto(`${BASE}/payouts?tab=batches`);
  await settled(page);
  await page.getByRole('button', { name: 'Pay several nodes' }).click();
  await dialog().getByRole('button', { name: 'Show whom it pays' }).click();
  await dialog().getByText('Money moves, and what is sent cannot be taken back').waitFor();
  await looks('live-batch-dialog');
  await say('Pay 1 node');
  await page.waitForURL(/batch=batch_/);
  await page.getByText('1 of 1 have ended').waitFor({ timeout: PAID_MS });
  await page.getByRole('link', { name: 'Payout to attic' }).click();
  await settled(page);
  const moments = page.locator('ol.timeline li strong');
  assert.deepEqual(await moments.allTextContents(), ['Planned, and its amount reserved', 'Signed and recorded', 'Recorded as sent, then sent', 'Seen in a block', 'Final, and booked as paid']);
  assert.equal(await page.locator('ol.timeline time').count(), 5, 'each with its time');
  // The fake chain begins with mainnet's first block: where that one shows the transaction is where the link leads.
  const { transaction_hash } = await tell('GET', `/nodes/payouts/${new URL(page.url()).pathname.split('/').at(-1)}`);
  assert.equal(await page.getByRole('link', { name: /explorer/ }).getAttribute('href'), `https://tronscan.org/#/transaction/${transaction_hash}`);
  await looks('live-paid');
  await page.goto(`${BASE}/money`);
  await page.getByText('487.50 USDT', { exact: true }).waitFor({ timeout: PAID_MS });
  await settled(page);
  await looks('live-wallet');
});

test('no policy violation, no error, in all of the above', () => assert.deepEqual(complaints, []));
