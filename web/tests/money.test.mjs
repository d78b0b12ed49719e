// What an admin decides about money, on the demo: nothing moves, everything else is as it would be.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture, settled } from './look.mjs';

const { LUCID_DEMO_URL: BASE, LUCID_DEMO_LOGINS, LUCID_DEMO_CONTROL: CONTROL } = process.env;
const LOGINS = JSON.parse(LUCID_DEMO_LOGINS ?? '{}');
const { password } = LOGINS.admin ?? {};

let browser;
let context;
let page;
let complaints;

async function tell(line) {
  const answer = await fetch(CONTROL, { method: 'POST', body: line });
  assert.equal(answer.status, 204, `${line}: ${await answer.text()}`);
}

async function signIn(on, role) {
  await on.goto(BASE);
  await on.getByLabel('User name').fill(LOGINS[role].username);
  await on.getByLabel('Password').fill(LOGINS[role].password);
  await on.getByRole('button', { name: 'Sign in' }).click();
  await on.locator('nav[aria-label="Pages"]').waitFor({ state: 'attached' });
}

const ask = (path) => page.evaluate((at) => fetch(`/api/v1${at}`).then((r) => r.json()), path);
const dialog = () => page.getByRole('dialog');
/** The button of a dialog that does it. */
const say = (verb) => dialog().getByRole('button', { name: verb, exact: true }).click();

/** However far the clock of the demo was moved: the session counts as confirmed from now on. */
async function confirmNow() {
  const status = await page.evaluate((body) => fetch('/api/v1/auth/confirm', { method: 'POST', headers: { 'content-type': 'application/json' }, body }).then((r) => r.status), JSON.stringify({ password }));
  assert.equal(status, 200);
}

/** Asks until it is so, letting the demo's time pass meanwhile. */
async function eventually(what, look, seconds = 60) {
  for (let tries = 0; tries < 12; tries += 1) {
    const found = await look();
    if (found) return found;
    await tell(`advance ${seconds}`);
  }
  assert.fail(`waited in vain: ${what}`);
}

/** It holds up on a small phone in the dark, too; its picture is kept from both. */
async function looks(name) {
  await named(page);
  await accessible(page);
  await picture(page, name);
  await page.emulateMedia({ colorScheme: 'dark' });
  const size = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 780 });
  await fits(page);
  await accessible(page);
  await picture(page, `${name}-phone`);
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: 'light' });
}

before(async () => {
  assert.ok(BASE && CONTROL && LOGINS.admin, 'started by tests/run.mjs');
  browser = await launch();
  context = await browser.newContext({ ...VIEWS.desktop, reducedMotion: 'reduce', acceptDownloads: true });
  complaints = await watch(context, (text) => /^Failed to load resource/.test(text));
  page = await context.newPage();
  await signIn(page, 'admin');
});

after(() => browser?.close());

test('a payout whose attempts all died: looked at again, another transaction refused, and tried again', async () => {
  const { payouts } = await ask('/nodes/payouts/history?status=processing&limit=100');
  const died = payouts.filter((payout) => payout.review_reason);
  const details = await Promise.all(died.map((payout) => ask(`/nodes/payouts/${payout.payout_id}`)));
  const { payout_id } = details.find((payout) => payout.choices.includes('new_attempt'));
  await page.goto(`${BASE}/payouts/${payout_id}`);
  const card = page.getByRole('region', { name: 'What needs a person' });
  await card.waitFor();
  await settled(page);
  await looks('money-review');
  await confirmNow();
  await card.getByRole('button', { name: 'Check again' }).click();
  await say('Check again');
  await dialog().waitFor({ state: 'hidden' });

  await eventually('it needs a person again', async () => (await ask(`/nodes/payouts/${payout_id}`)).choices.includes('accept_paid'));
  await confirmNow();
  await card.getByRole('button', { name: 'Accept as paid' }).click();
  await dialog().getByLabel('Transaction').fill('it was paid');
  await say('Verify it');
  await dialog().locator('input[name="transaction_hash"][aria-invalid="true"]').waitFor();
  await looks('money-accept-refused');
  const claimed = 'ab'.repeat(32);
  await dialog().getByLabel('Transaction').fill(claimed);
  await say('Verify it');
  await dialog().waitFor({ state: 'hidden' });
  await eventually('the network does not know it', async () => (await ask(`/nodes/payouts/${payout_id}`)).review?.evidence.some((line) => line.startsWith(claimed)));
  await card.getByText('the network knows no such transaction').waitFor();

  await confirmNow();
  const before = (await ask(`/nodes/payouts/${payout_id}`)).attempts_made.length;
  await card.getByRole('button', { name: 'Pay again' }).click();
  await say('Pay again');
  await card.waitFor({ state: 'detached' });
  await eventually('another attempt', async () => (await ask(`/nodes/payouts/${payout_id}`)).attempts_made.length > before);
  await page.getByText(`Attempt ${before + 1}`, { exact: true }).waitFor();
});

test('a payout of which two nodes disagree: evidence, its own transaction accepted, and paid', async () => {
  const { payouts } = await ask('/nodes/payouts/history?status=processing&limit=100');
  const { payout_id } = payouts.find((payout) => /contradict/.test(payout.review_reason ?? ''));
  const { attempts_made } = await ask(`/nodes/payouts/${payout_id}`);
  await page.goto(`${BASE}/payouts/${payout_id}`);
  const card = page.getByRole('region', { name: 'What needs a person' });
  await card.getByText('witness.example: no such transaction').first().waitFor();
  await settled(page);
  await looks('money-review-evidence');
  assert.equal(await card.getByRole('button', { name: 'Pay again' }).count(), 0, 'the attempt may still land');
  await confirmNow();
  await card.getByRole('button', { name: 'Accept as paid' }).click();
  await dialog().getByLabel('Transaction').fill(attempts_made.at(-1).transaction_hash);
  await say('Verify it');
  await dialog().waitFor({ state: 'hidden' });
  await eventually('it is paid', async () => (await ask(`/nodes/payouts/${payout_id}`)).status === 'completed');
  await page.locator('[data-payout="completed"]').waitFor();
  await card.waitFor({ state: 'detached' });
});

test('what waits for a second admin is approved as it is shown', async () => {
  const waiting = await eventually('a payout above the limit', async () => (await ask('/payouts/approvals')).payouts?.[0]);
  await page.goto(`${BASE}/payouts`);
  const card = page.getByRole('region', { name: 'Waits for a second admin' });
  await card.getByRole('link', { name: waiting.node_name }).waitFor();
  await settled(page);
  await looks('money-approval');
  await card.getByRole('link', { name: waiting.node_name }).click();
  await page.locator('.note', { hasText: 'Not signed yet' }).waitFor();
  await settled(page);
  await looks('money-payout-waiting');
  await page.goBack();
  await confirmNow();
  await card.getByRole('button', { name: 'Approve' }).click();
  await dialog().getByText('If anything of them has changed, nothing is approved.').waitFor();
  await say('Approve');
  await card.waitFor({ state: 'detached' });
  await eventually('it is on its way', async () => (await ask(`/nodes/payouts/${waiting.payout_id}`)).status !== 'pending');
});

test('a batch by hand: shown before it changes anything, one left out, and followed to its end', async () => {
  await page.goto(`${BASE}/payouts?tab=batches`);
  await settled(page);
  await page.getByRole('button', { name: 'Pay several nodes' }).click();
  await dialog().getByLabel('Owed at least').fill('nothing');
  await dialog().getByRole('button', { name: 'Show whom it pays' }).click();
  await dialog().locator('input[name="min_amount"][aria-invalid="true"]').waitFor();
  await dialog().getByLabel('Owed at least').fill('0.01');
  await dialog().getByRole('button', { name: 'Show whom it pays' }).click();
  const boxes = dialog().getByRole('checkbox');
  await boxes.nth(1).waitFor();
  const shown = await boxes.count();
  await boxes.first().uncheck();
  await dialog().getByText(`${shown - 1} of ${shown} payouts`).waitFor();
  await looks('money-batch-dialog');
  const batches = async () => (await ask('/nodes/payouts/batches')).pagination.total;
  const before = await batches();
  const sent = page.waitForRequest((r) => r.url().endsWith('/api/v1/nodes/payouts/batch'));
  await say(shown === 2 ? 'Pay 1 node' : `Pay ${shown - 1} nodes`);
  assert.equal((await sent).postDataJSON().payout_requests.length, shown - 1);
  await page.waitForURL(/batch=batch_/);
  await page.getByText(`of ${shown - 1} have ended`).waitFor();
  assert.equal(await batches(), before + 1);
  await settled(page);
  await looks('money-batch');
  // What was approved has used up the day: the batch waits for another admin than the one who asked for it.
  const id = new URL(page.url()).searchParams.get('batch');
  const approval = page.getByRole('region', { name: 'Waits for a second admin' });
  await eventually('it waits', async () => (await ask('/payouts/approvals')).not_by_you);
  await approval.getByText('another admin has to approve').waitFor();
  assert.equal(await approval.getByRole('button', { name: 'Approve' }).count(), 0);
  await page.getByRole('link', { name: /^Payout to/ }).first().click();
  await page.getByRole('link', { name: 'The batch that it is of' }).click();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await say('Cancel the batch');
  await page.getByRole('heading', { name: 'Cancelled' }).waitFor();
  assert.equal((await ask(`/nodes/payouts/batches/${id}`)).cancelled, shown - 1);
  await page.getByRole('link', { name: 'All batches' }).click();
  await page.getByRole('table', { name: 'Batches, newest first' }).waitFor();
});

test('the run of a schedule says who was left out and why, and leads to its batch', async () => {
  await page.goto(`${BASE}/payouts?tab=schedules`);
  const row = page.getByRole('row', { name: /Before the price changes/ });
  await row.getByText(/\d+ left out/).click();
  await row.getByText('the node has no payout address').first().waitFor();
  await settled(page);
  await looks('money-schedule-left-out');
  await row.getByRole('link', { name: /planned/ }).click();
  await page.getByRole('heading', { name: 'Completed' }).waitFor();
  await page.getByRole('link', { name: /^Payout to/ }).first().waitFor();
  await settled(page);
  await looks('money-batch-completed');
});

test('a schedule: refused beside the field, made with its next moments, paused and deleted', async () => {
  await page.goto(`${BASE}/payouts?tab=schedules`);
  await settled(page);
  await looks('money-schedules');
  await confirmNow();
  await page.getByRole('button', { name: 'Schedule payouts' }).click();
  await dialog().getByLabel('Name').fill('Mondays');
  await dialog().getByLabel('Rule').fill('6 o’clock');
  await say('Save');
  await dialog().locator('input[name="cron"][aria-invalid="true"]').waitFor();
  await looks('money-schedule-dialog');
  await dialog().getByLabel('Rule').fill('0 6 * * mon');
  await dialog().getByLabel('Time zone').fill('Europe/Vienna');
  await say('Save');
  const row = page.getByRole('row', { name: /Mondays/ });
  await row.waitFor();
  assert.equal(await row.locator('li time').count(), 3, 'the next three moments');
  await row.getByRole('button', { name: 'Pause Mondays' }).click();
  await row.getByText('paused').waitFor();
  await row.getByRole('button', { name: 'Delete Mondays' }).click();
  await say('Delete');
  await row.waitFor({ state: 'detached' });
});

test('payouts are frozen with a reason, and unfrozen', async () => {
  await page.goto(`${BASE}/money`);
  await settled(page);
  await page.getByText('Everything that left the wallet was known').waitFor();
  await looks('money-wallet');
  await confirmNow();
  await page.getByRole('button', { name: 'Freeze', exact: true }).click();
  await say('Freeze');
  await dialog().locator('input[name="reason"][aria-invalid="true"]').waitFor();
  await dialog().getByLabel('Reason').fill('an address looks wrong');
  await say('Freeze');
  const note = page.locator('.note', { hasText: 'Payouts are frozen' });
  await note.getByText(`by ${LOGINS.admin.username}`).waitFor();
  await page.goto(`${BASE}/payouts`);
  await page.getByText('Nothing is signed now').waitFor();
  await page.goto(`${BASE}/money`);
  await note.getByRole('button', { name: 'Unfreeze' }).click();
  await dialog().getByLabel('Reason').fill('it was right');
  await say('Unfreeze');
  await note.waitFor({ state: 'detached' });
});

test('what left the wallet and nobody planned freezes payouts until it is booked', async () => {
  await tell('steal 25');
  await page.getByRole('button', { name: 'Reconcile now' }).click();
  const note = page.locator('.note', { hasText: 'Payouts are frozen' });
  await note.waitFor();
  const unknown = page.getByRole('region', { name: 'Transfers that nothing here planned' });
  await unknown.getByRole('button', { name: 'Book' }).waitFor();
  await settled(page);
  await looks('money-unknown');
  await confirmNow();
  await note.getByRole('button', { name: 'Unfreeze' }).click();
  await dialog().getByLabel('Reason').fill('I am in a hurry');
  await say('Unfreeze');
  await dialog().getByRole('alert').first().waitFor();
  await dialog().getByRole('button', { name: 'Cancel' }).click();
  await dialog().getByRole('button', { name: 'Discard' }).click({ timeout: 1_000 }).catch(() => {});
  await unknown.getByRole('button', { name: 'Book' }).click();
  await say('Book');
  await unknown.getByText('booked').waitFor();
  await note.getByRole('button', { name: 'Unfreeze' }).click();
  await dialog().getByLabel('Reason').fill('the key was changed');
  await say('Unfreeze');
  await note.waitFor({ state: 'detached' });
});

test('the emergency stop locks the wallet; it is ended, and the wallet unlocked by its passphrase', async () => {
  await confirmNow();
  await page.getByRole('button', { name: 'Emergency stop' }).click();
  await dialog().getByLabel('Reason').fill('somebody else has the key');
  await looks('money-stop-dialog');
  await say('Stop now');
  const note = page.locator('.note', { hasText: 'All payouts are stopped' });
  await note.waitFor();
  await page.getByText('The wallet is locked').waitFor();
  await settled(page);
  await looks('money-stopped');
  await note.getByRole('button', { name: 'End the stop' }).click();
  await dialog().getByLabel('Reason').fill('nobody had it');
  await say('Resume');
  await note.waitFor({ state: 'detached' });
  const signer = page.getByRole('region', { name: 'Signer' });
  await signer.getByRole('button', { name: 'Unlock' }).click();
  await dialog().getByLabel('Passphrase').fill('not the passphrase');
  await say('Unlock');
  await dialog().getByRole('alert').first().waitFor();
  await dialog().getByLabel('Passphrase').fill(password);
  await say('Unlock');
  await signer.getByText('unlocked').waitFor();
});

test('a wallet that cannot be looked at says since when, and what is below is older', async () => {
  await tell('network away');
  await eventually('it was looked for', async () => (await ask('/wallet')).error, 300);
  await page.goto(`${BASE}/money`);
  await page.getByText('It cannot be looked at').waitFor();
  await settled(page);
  await looks('money-stale');
  await tell('network back');
  await eventually('it is there again', async () => !(await ask('/wallet')).error, 300);
  await page.reload();
  await page.getByRole('region', { name: 'Wallet', exact: true }).getByText('final up to block').waitFor();
  assert.equal(await page.getByText('It cannot be looked at').count(), 0);
});

test('statements of a month: on the page, and as a file', async () => {
  await page.goto(`${BASE}/ledger`);
  const card = page.getByRole('region', { name: 'Statements' });
  await card.getByRole('table').waitFor();
  await card.scrollIntoViewIfNeeded();
  const download = page.waitForEvent('download');
  await card.getByRole('link', { name: 'Download as CSV' }).click();
  const file = await download;
  assert.match(file.suggestedFilename(), /\.csv$/);
  const [head, ...rows] = (await readFile(await file.path(), 'utf8')).trim().split('\n');
  assert.match(head, /month.*earned.*closing/);
  assert.ok(rows.length >= (await card.locator('tbody tr').count()), 'the file has every row of the page');
});

test('what was decided is in the audit log, in words and by name', async () => {
  await page.goto(`${BASE}/audit?actor=${LOGINS.admin.username}`);
  await settled(page);
  for (const words of ['Froze payouts', 'Stopped all payouts', 'Made a batch', 'Made a schedule', 'Named the transaction that paid', 'Had a payout tried again']) {
    await page.getByText(words, { exact: true }).first().waitFor();
  }
});

test('a viewer sees the money, and nothing to decide', async () => {
  const other = await browser.newContext(VIEWS.phone);
  const heard = await watch(other, (text) => /^Failed to load resource/.test(text));
  const p = await other.newPage();
  const refused = [];
  p.on('response', (r) => r.status() === 403 && refused.push(r.url()));
  await signIn(p, 'viewer');
  for (const path of ['/money', '/payouts', '/payouts?tab=batches', '/payouts?tab=schedules']) {
    await p.goto(BASE + path);
    await settled(p);
    const buttons = await p.locator('main button, main a.button').allTextContents();
    assert.deepEqual(buttons.filter((text) => /freeze|stop|unlock|^lock|reconcile|book|set$|change|approve|schedule|pay |pause|delete/i.test(text)), [], path);
  }
  await p.goto(`${BASE}/payouts`);
  await p.getByRole('button', { name: 'Preview the next cycle' }).click();
  await p.getByRole('dialog').getByRole('button', { name: 'Close' }).last().waitFor();
  assert.equal(await p.getByRole('dialog').getByRole('button', { name: 'Run it now' }).count(), 0);
  await fits(p);
  await accessible(p);
  await picture(p, 'money-preview-viewer');
  assert.deepEqual([refused, heard], [[], []]);
  await other.close();
});

test('no policy violation, no error, in all of the above', () => assert.deepEqual(complaints, []));
