// What a fleet's operator lives through, on the demo's driven clock: a node that falls silent, a manager that dies, a session that ends, roles.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture, settled } from './look.mjs';

const { LUCID_DEMO_URL: BASE, LUCID_DEMO_LOGINS, LUCID_DEMO_CONTROL: CONTROL } = process.env;
const LOGINS = JSON.parse(LUCID_DEMO_LOGINS ?? '{}');

let browser;
let context;
let page;
let complaints;

/** Says a line to the demo: `silence NAME`, `wake NAME`, `advance SECONDS`, `kill`, `resume`. */
async function tell(line) {
  const answer = await fetch(CONTROL, { method: 'POST', body: line });
  assert.equal(answer.status, 204, `${line}: ${await answer.text()}`);
}

async function signIn(on, role) {
  await on.getByLabel('User name').fill(LOGINS[role].username);
  await on.getByLabel('Password').fill(LOGINS[role].password);
  await on.getByRole('button', { name: 'Sign in' }).click();
  // On a phone the navigation is folded away.
  await on.locator('nav[aria-label="Pages"]').waitFor({ state: 'attached' });
}

const visible = (state) => page.locator(`[data-live="${state}"]:visible`);

before(async () => {
  assert.ok(BASE && CONTROL && LOGINS.admin, 'started by tests/run.mjs');
  browser = await launch();
  context = await browser.newContext({ ...VIEWS.desktop, reducedMotion: 'reduce' });
  // The browser itself logs answers like 401, which these tests provoke.
  complaints = await watch(context, (text) => /^Failed to load resource/.test(text));
  page = await context.newPage();
  await page.goto(BASE);
  await signIn(page, 'admin');
  await settled(page);
});

after(() => browser?.close());

test('a node that goes silent turns unreachable before one’s eyes, and active when it is back', async () => {
  const nodes = await page.evaluate(() => fetch('/api/v1/nodes?status=active&limit=100').then((r) => r.json()));
  const { name, node_id } = nodes.nodes.at(-1);
  await page.goto(`${BASE}/nodes/${node_id}`);
  await page.getByRole('heading', { name, level: 1 }).waitFor();
  await page.evaluate(() => (window.sameDocument = true));
  await page.waitForFunction(() => document.querySelector('main [data-status]')?.getAttribute('data-status') === 'active');
  await visible('live').waitFor();
  await tell(`silence ${name}`);
  await tell('advance 330');
  await page.waitForFunction(() => document.querySelector('main [data-status]')?.getAttribute('data-status') === 'unreachable');
  await picture(page, 'silent-node');
  await page.getByRole('link', { name: 'Alerts' }).first().click();
  await page.locator('main').getByText(`${name} has not been heard`).first().waitFor();
  await page.goBack();
  await tell(`wake ${name}`);
  await tell('advance 60');
  await page.waitForFunction(() => document.querySelector('main [data-status]')?.getAttribute('data-status') === 'active');
  assert.equal(await page.evaluate(() => window.sameDocument), true, 'without a reload');
});

test('the manager is killed under an open page: it says since when, loses nothing, and goes on by itself', { timeout: 120_000 }, async () => {
  await page.goto(`${BASE}/nodes`);
  await settled(page);
  await visible('live').waitFor();
  await page.evaluate(() => (window.sameDocument = true));
  await tell('kill');
  await visible('offline').waitFor({ timeout: 40_000 });
  await page.getByText(/^(Not live since|As of) \d\d:\d\d$/).first().waitFor();
  await accessible(page);
  await picture(page, 'manager-away');
  await tell('resume');
  await visible('live').waitFor({ timeout: 60_000 });
  await page.getByText(/^(Not live since|As of) \d\d:\d\d$/).first().waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => window.sameDocument), true);
});

test('Ctrl-K finds a node by a few letters, and / the search of the list', async () => {
  const nodes = await page.evaluate(() => fetch('/api/v1/nodes?limit=1&sort=name').then((r) => r.json()));
  const { name } = nodes.nodes[0];
  await page.keyboard.press('Control+k');
  const dialog = page.getByRole('dialog', { name: /Find/ });
  await dialog.waitFor();
  await page.keyboard.type(name);
  await dialog.getByRole('option', { name: new RegExp(name) }).first().waitFor();
  await accessible(page);
  await picture(page, 'palette');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name, level: 1 }).waitFor();
  await page.goto(`${BASE}/nodes`);
  await settled(page);
  await page.keyboard.press('/');
  await page.keyboard.type(name);
  await page.waitForURL(/search=/);
  await page.getByRole('link', { name }).waitFor();
  await page.reload();
  await page.getByRole('link', { name }).waitFor();
  assert.equal(await page.getByLabel('Search nodes by name or id').inputValue(), name, 'the address keeps the search');
});

test('several nodes go into maintenance at once, after a word about pay', async () => {
  await page.goto(`${BASE}/nodes?status=active`);
  await settled(page);
  const boxes = page.locator('main [role="row"] input[type="checkbox"]');
  await boxes.nth(1).check();
  await boxes.nth(2).check();
  const sent = [];
  page.on('request', (r) => r.url().endsWith('/api/v1/nodes/actions') && sent.push(r));
  await page.getByRole('button', { name: 'Maintenance', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  await accessible(page);
  await picture(page, 'bulk-dialog');
  await dialog.getByRole('button', { name: /maintenance/i }).dblclick();
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(sent.length, 1, 'a double click sends once');
  assert.ok(sent[0].headers()['idempotency-key'], 'with a key that makes a repetition harmless');
  const ids = sent[0].postDataJSON().node_ids;
  assert.equal(ids.length, 2);
  const status = await page.evaluate((id) => fetch(`/api/v1/nodes/${id}`).then((r) => r.json()).then((n) => n.status), ids[0]);
  assert.equal(status, 'maintenance');
});

test('alerts: those of a pool are as many as the pool says, and those about security are found', async () => {
  const { pools } = await page.evaluate(() => fetch('/api/v1/nodes/pools').then((r) => r.json()));
  const sum = ({ health: { open_alerts: { critical, warning, info } } }) => critical + warning + info;
  const pool = pools.find((pool) => sum(pool) > 0);
  await page.goto(`${BASE}/pools/${pool.pool_id}`);
  await page.getByRole('link', { name: new RegExp(`^${sum(pool)} alerts?`) }).click();
  await page.waitForURL(new RegExp(`/alerts\\?pool=${pool.pool_id}$`));
  await settled(page);
  assert.equal(await page.locator('tbody tr').count(), sum(pool));
  assert.equal(await page.getByLabel('Pool').inputValue(), pool.pool_id);

  await page.getByLabel('Pool').selectOption('');
  await page.getByLabel('Security').selectOption('true');
  await page.waitForURL(/\/alerts\?security=true$/);
  const rows = () => page.locator('tbody tr').evaluateAll((rows) => rows.map((row) => row.querySelector('.tag.info')?.textContent === 'security'));
  await page.waitForFunction(() => [...document.querySelectorAll('tbody tr')].every((row) => row.querySelector('.tag.info')?.textContent === 'security'));
  assert.ok((await rows()).length > 0);
  await accessible(page);
  await picture(page, 'alerts-security');
  await page.getByLabel('Security').selectOption('false');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length > 0 && ![...document.querySelectorAll('tbody tr .tag.info')].some((tag) => tag.textContent === 'security'));
});

test('thresholds of a pool hold for its nodes, and are taken back', async () => {
  const { nodes } = await page.evaluate(() => fetch('/api/v1/nodes?status=active&limit=1').then((r) => r.json()));
  const { node_id, pool_id } = nodes[0];
  await page.goto(`${BASE}/pools/${pool_id}`);
  const card = page.getByRole('region', { name: 'Alert thresholds' });
  await card.getByRole('button', { name: 'Edit' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('CPU, warning').fill('120');
  await dialog.getByLabel('CPU, critical').fill('130');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.locator('input[name="cpu_percent.warning"][aria-invalid="true"]').waitFor();
  await accessible(page);
  await picture(page, 'pool-thresholds');
  await dialog.getByLabel('CPU, warning').fill('60');
  await dialog.getByLabel('CPU, critical').fill('70.5');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await card.getByRole('row', { name: 'CPU 60 % 70.5 % this pool' }).waitFor();
  await page.goto(`${BASE}/nodes/${node_id}`);
  await card.getByRole('row', { name: 'CPU 60 % 70.5 % its pool' }).waitFor();
  await page.goBack();
  await card.getByRole('button', { name: 'Back to the defaults' }).click();
  await dialog.getByRole('button', { name: 'Set back' }).click();
  await card.getByRole('row', { name: /^CPU 85 % 95 % default/ }).waitFor();
});

test('a command says who asked for it', async () => {
  const { nodes } = await page.evaluate(() => fetch('/api/v1/nodes?status=active&limit=1').then((r) => r.json()));
  await page.goto(`${BASE}/nodes/${nodes[0].node_id}`);
  await page.getByRole('button', { name: 'More commands' }).click();
  await page.getByRole('button', { name: 'Restart…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
  await page.getByRole('region', { name: 'Workload' }).getByText(`by ${LOGINS.admin.username}`).first().waitFor();
});

test('an enrolment token asks for an admin’s look where one wants it, and always where an operator lets several in', async () => {
  await page.goto(`${BASE}/enrol`);
  const check = page.getByLabel('An admin approves each machine');
  const sent = [];
  page.on('request', (r) => r.url().endsWith('/api/v1/enrolment-tokens') && r.method() === 'POST' && sent.push(r.postDataJSON()));
  await page.getByLabel('Nodes').fill('3');
  assert.equal(await check.isChecked(), false, 'an admin has looked when making it');
  await check.check();
  await page.getByRole('button', { name: 'Make token' }).click();
  await page.getByText('until an admin lets it in').waitFor();
  await page.getByText('nodes wait for an admin').first().waitFor();
  await accessible(page);
  await picture(page, 'enrol-approval');
  assert.deepEqual(sent.map(({ uses, needs_approval }) => [uses, needs_approval]), [[3, true]]);

  const other = await browser.newContext({ ...VIEWS.phone, colorScheme: 'dark' });
  const p = await other.newPage();
  await p.goto(`${BASE}/enrol`);
  await signIn(p, 'operator');
  const must = p.getByLabel('An admin approves each machine');
  assert.equal(await must.isEnabled(), true);
  await p.getByLabel('Nodes').fill('2');
  assert.deepEqual([await must.isChecked(), await must.isEnabled()], [true, false]);
  await p.getByText('always asks for it').waitFor();
  await p.getByRole('button', { name: 'Make token' }).click();
  await p.getByText('until an admin lets it in').waitFor();
  await fits(p);
  await accessible(p);
  await picture(p, 'enrol-approval-operator');
  await other.close();
});

test('maintenance of a node: refused beside the field, begun, planned, called off and ended', async () => {
  const { nodes } = await page.evaluate(() => fetch('/api/v1/nodes?status=active&limit=100').then((r) => r.json()));
  const { node_id, name } = nodes.find((node) => !node.maintenance);
  await page.goto(`${BASE}/nodes/${node_id}`);
  await settled(page);
  const card = page.getByRole('region', { name: 'Maintenance' });
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Maintenance', exact: true }).click();
  await dialog.getByText('8 h are left if it begins now').waitFor();
  await dialog.getByRole('button', { name: 'At a time' }).click();
  await dialog.getByLabel('Minutes').fill('a while');
  await dialog.getByRole('button', { name: 'Plan maintenance' }).click();
  await dialog.locator('input[name="from"][aria-invalid="true"]').waitFor();
  await dialog.locator('input[name="duration_minutes"][aria-invalid="true"]').waitFor();
  await named(page);
  await accessible(page);
  await picture(page, 'maintenance-dialog');
  await dialog.getByRole('button', { name: 'Now', exact: true }).click();
  await dialog.getByLabel('Minutes').fill('300');
  await dialog.getByRole('button', { name: 'Begin maintenance' }).click();
  await dialog.waitFor({ state: 'hidden' });
  await page.getByText(/^Until .+, unless it is ended before/).waitFor();
  await card.getByRole('button', { name: /^End the maintenance/ }).or(card.getByRole('button', { name: /^Call off the maintenance/ })).waitFor();

  // What is left of the 8 hours is less than what is asked for, and the form keeps it.
  await card.getByRole('button', { name: 'Plan', exact: true }).click();
  await dialog.getByRole('button', { name: 'At a time' }).click();
  const sixHours = await page.evaluate(() => fetch('/api/v1/clock').then((r) => Date.parse(r.headers.get('date')) + 6 * 3_600_000));
  const local = await page.evaluate((ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16), sixHours);
  await dialog.getByLabel('Begins at').fill(local);
  await dialog.getByLabel('Minutes').fill('240');
  await dialog.getByRole('button', { name: 'Plan maintenance' }).click();
  await dialog.getByText('Minutes is more than is left').waitFor();
  assert.equal(await dialog.getByLabel('Minutes').inputValue(), '240');
  await dialog.getByLabel('Minutes').fill('60');
  await dialog.getByRole('button', { name: 'Plan maintenance' }).click();
  await dialog.waitFor({ state: 'hidden' });
  await tell('advance 60');
  await page.waitForFunction(() => document.querySelector('main [data-status]')?.getAttribute('data-status') === 'maintenance');
  await card.getByText('in force').waitFor();
  await card.getByText('planned', { exact: true }).waitFor();
  await card.scrollIntoViewIfNeeded();
  await accessible(page);
  await picture(page, 'maintenance-planned');
  await card.getByRole('button', { name: /^Call off/ }).click();
  await dialog.getByRole('button', { name: 'Call off' }).click();
  await card.getByText('called off').waitFor();
  await page.getByRole('button', { name: 'End maintenance' }).click();
  await dialog.getByRole('button', { name: 'End maintenance' }).click();
  await tell('advance 60');
  await page.waitForFunction(() => document.querySelector('main [data-status]')?.getAttribute('data-status') === 'active');
  await card.getByText(`ended by ${LOGINS.admin.username}`).waitFor();

  const other = await browser.newContext({ ...VIEWS.phone, colorScheme: 'dark', viewport: { width: 340, height: 700 } });
  const p = await other.newPage();
  await p.goto(`${BASE}/nodes/${node_id}`);
  await signIn(p, 'operator');
  await settled(p);
  await p.getByRole('heading', { name, level: 1 }).waitFor();
  await p.getByRole('button', { name: 'Maintenance', exact: true }).click();
  assert.equal(await p.getByRole('dialog').getByRole('button', { name: 'Now', exact: true }).count(), 0, 'an operator plans an hour ahead');
  await p.getByRole('dialog').getByRole('button', { name: 'At a time' }).click();
  await fits(p);
  await accessible(p);
  await picture(p, 'maintenance-dialog-phone');
  await p.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await picture(p, 'maintenance-phone');
  await other.close();
});

test('a node that is owed money leaves with its final payout and can be kept, or is deleted when that is given up', async () => {
  const { books } = await page.evaluate(() => fetch('/api/v1/ledger/balances').then((r) => r.json()));
  const live = books.find((book) => book.settlement === 'live').accounts;
  // One with a payout under way cannot be deleted.
  const reserved = books.flatMap((book) => book.accounts).filter(({ account, balance }) => account.startsWith('node_reserved:') && Number(balance) > 0);
  const { account, balance, name } = live.find(({ account, balance }) => account.startsWith('node_payable:') && Number(balance) > 0 && !reserved.some((one) => one.account.split(':')[1] === account.split(':')[1]));
  const id = account.split(':')[1];
  await page.goto(`${BASE}/nodes/${id}`);
  await settled(page);
  const dialog = page.getByRole('dialog', { name: `Delete ${name}?` });
  const ask = async () => {
    await page.getByRole('button', { name: 'More commands' }).click();
    await page.getByRole('button', { name: 'Delete…' }).click();
    await dialog.locator(`[data-money="${balance}"]`).waitFor();
  };
  await ask();
  assert.equal(await dialog.getByRole('button', { name: 'Delete now' }).count(), 0);
  await dialog.getByText('Payouts are a dry run').waitFor();
  await named(page);
  await accessible(page);
  await picture(page, 'delete-owed');
  await dialog.getByRole('button', { name: 'Pay, then delete' }).last().click();
  const confirm = page.getByRole('dialog', { name: 'Confirm that it is you' });
  // Asked for where the last sign-in is more than five minutes ago.
  await confirm.waitFor();
  await confirm.getByLabel('Your password').fill(LOGINS.admin.password);
  await confirm.getByRole('button', { name: 'Confirm' }).click();
  await page.locator('.note', { hasText: 'Leaves with its final payout' }).waitFor();
  await picture(page, 'node-leaving');
  await page.goto(`${BASE}/nodes?search=${encodeURIComponent(name)}`);
  await page.locator(`[data-node="${id}"] .tag`, { hasText: 'leaving' }).waitFor();
  await picture(page, 'node-leaving-list');
  await page.goto(`${BASE}/nodes/${id}`);
  const other = await browser.newContext({ ...VIEWS.phone });
  const p = await other.newPage();
  await p.goto(`${BASE}/nodes/${id}`);
  await signIn(p, 'operator');
  await p.getByText('An admin can keep it.').waitFor();
  assert.equal(await p.getByRole('button', { name: 'Keep the node' }).count(), 0);
  await p.getByRole('button', { name: 'More commands' }).click();
  await p.getByRole('button', { name: 'Delete…' }).click();
  await p.getByRole('dialog').getByText('only an admin can pay').waitFor();
  assert.equal(await p.getByRole('dialog').getByRole('button', { name: 'Delete the node' }).isDisabled(), true);
  await accessible(p);
  await picture(p, 'delete-operator-phone');
  await p.goto(`${BASE}/pools`);
  await p.getByRole('button', { name: /^Edit / }).first().click();
  await p.getByRole('dialog').getByText('An admin can change it.').waitFor();
  assert.equal(await p.getByRole('dialog').getByLabel('Reward per hour').count(), 0);
  await fits(p);
  await accessible(p);
  await picture(p, 'pool-operator-phone');
  await other.close();
  await page.getByRole('button', { name: 'Keep the node' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Keep the node' }).click();
  await page.locator('.note', { hasText: 'Leaves with its final payout' }).waitFor({ state: 'detached' });

  await ask();
  await dialog.getByRole('button', { name: 'Give up and delete' }).first().click();
  const go = dialog.getByRole('button', { name: 'Give up and delete' }).last();
  await go.click();
  await dialog.locator('input[name="reason"][aria-invalid="true"]').waitFor();
  await dialog.getByLabel('Reason').fill('the machine was scrapped');
  await accessible(page);
  await picture(page, 'delete-forfeit');
  await go.click();
  const deleted = page.waitForURL(/\/nodes$/);
  await deleted;
  assert.equal(await page.evaluate((id) => fetch(`/api/v1/nodes/${id}`).then((r) => r.status), id), 404);
  const after = await page.evaluate(() => fetch('/api/v1/ledger/balances').then((r) => r.json()));
  const given = after.books.find((book) => book.settlement === 'live').accounts.find((one) => one.account === `forfeited:${id}`);
  assert.ok(Number(given.balance) >= Number(balance), 'what was owed is in the books as given up');
});

test('a price is changed by who proves to be an admin just now, and nothing typed is lost on the way', async () => {
  const { pools } = await page.evaluate(() => fetch('/api/v1/pools').then((r) => r.json()));
  const { name, pool_id, pricing } = pools[0];
  const reward = async () => (await page.evaluate((id) => fetch(`/api/v1/pools/${id}`).then((r) => r.json()), pool_id)).pricing.reward_per_hour;
  await tell('advance 330');
  await page.goto(`${BASE}/pools`);
  await settled(page);
  await page.getByRole('button', { name: `Edit ${name}` }).click();
  const dialog = page.getByRole('dialog', { name: `Edit ${name}` });
  await dialog.getByLabel('Reward per hour').fill('0.0777');
  await dialog.getByText('It counts from the next epoch').waitFor();
  await dialog.getByRole('button', { name: 'Save' }).click();
  const confirm = page.getByRole('dialog', { name: 'Confirm that it is you' });
  await confirm.getByLabel('Your password').fill('not the password at all');
  await confirm.getByRole('button', { name: 'Confirm' }).click();
  await confirm.getByText(/wrong/).first().waitFor();
  await accessible(page);
  await picture(page, 'price-confirm');
  assert.equal(await reward(), pricing.reward_per_hour, 'nothing is changed yet');
  await confirm.getByRole('button', { name: 'Cancel' }).click();
  await confirm.waitFor({ state: 'detached' });
  assert.equal(await dialog.getByLabel('Reward per hour').inputValue(), '0.0777');
  await picture(page, 'price-not-confirmed');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await confirm.getByLabel('Your password').fill(LOGINS.admin.password);
  await confirm.getByRole('button', { name: 'Confirm' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await reward(), '0.0777');
});

test('a chart is read by pointing at it and zoomed by dragging', async () => {
  const { nodes } = await page.evaluate(() => fetch('/api/v1/nodes?status=active&limit=1').then((r) => r.json()));
  await page.goto(`${BASE}/nodes/${nodes[0].node_id}?range=24h`);
  await settled(page);
  const area = page.locator('figure', { has: page.getByRole('heading', { name: 'CPU' }) }).locator('.u-over');
  await area.scrollIntoViewIfNeeded();
  await page.waitForFunction(() => Number(document.querySelector('[data-points]')?.getAttribute('data-points')) > 20);
  const box = await area.boundingBox();
  const at = (share) => [box.x + box.width * share, box.y + box.height / 2];
  const values = new Set();
  for (const share of [0.2, 0.5, 0.8]) {
    await page.mouse.move(...at(share));
    await page.waitForTimeout(50);
    values.add(await page.locator('[data-value]').first().textContent());
  }
  assert.ok(values.size > 1, `what is pointed at is said: ${[...values]}`);
  await picture(page, 'chart-pointed');
  await area.scrollIntoViewIfNeeded();
  const now = await area.boundingBox();
  const y = now.y + now.height / 2;
  await page.mouse.move(now.x + now.width * 0.3, y);
  await page.mouse.down();
  await page.mouse.move(now.x + now.width * 0.6, y, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/[?&]from=.*&to=/);
  const [from, to] = ['from', 'to'].map((key) => Date.parse(new URL(page.url()).searchParams.get(key)));
  const hours = (to - from) / 3_600_000;
  assert.ok(hours > 5 && hours < 9.5, `0.3 of 24 h: ${hours} h`);
  await page.getByRole('button', { name: 'Reset zoom' }).click();
  await page.waitForURL((url) => !url.searchParams.has('from'));
});

test('a session that ends asks for sign-in over the page and loses nothing typed', async () => {
  const nodes = await page.evaluate(() => fetch('/api/v1/nodes?status=active&limit=1').then((r) => r.json()));
  await page.goto(`${BASE}/nodes/${nodes.nodes[0].node_id}`);
  await settled(page);
  const address = page.getByRole('textbox', { name: 'Address' });
  await address.fill('TTypedBeforeTheSessionEnded');
  // A browser's session ends after twelve hours without a request: the page, which asks for news by itself, is not heard meanwhile.
  await context.route('**/api/v1/**', (route) => route.abort());
  await tell('advance 46800');
  await context.unroute('**/api/v1/**');
  const dialog = page.getByRole('dialog');
  // Unless the page has asked for something by itself meanwhile, this is the request that finds out.
  await page.getByRole('button', { name: /(register|change) address/i }).click({ timeout: 2_000 }).catch(() => {});
  await dialog.waitFor();
  await dialog.getByLabel('Password').fill(LOGINS.admin.password);
  await picture(page, 'session-ended');
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await address.inputValue(), 'TTypedBeforeTheSessionEnded');
});

test('a viewer sees no forbidden button, and is refused the data behind forbidden pages', async () => {
  const other = await browser.newContext(VIEWS.desktop);
  const heard = await watch(other, (text) => /^Failed to load resource/.test(text));
  const p = await other.newPage();
  const refused = [];
  p.on('response', (r) => r.status() === 403 && refused.push(r.url()));
  await p.goto(BASE);
  await signIn(p, 'viewer');
  await settled(p);
  const links = await p.locator('nav[aria-label="Pages"] a').allTextContents();
  assert.ok(!links.some((text) => /ledger|audit/i.test(text)), links.join());
  const FORBIDDEN = /enrol|register address|change address|accept|rename|delete|start|stop|maintenance|run a cycle|new pool|add (person|user)|\bedit\b|recovery kit|confirm/i;
  const node = await p.evaluate(() => fetch('/api/v1/nodes?limit=1').then((r) => r.json()).then((list) => list.nodes[0].node_id));
  const pool = await p.evaluate(() => fetch('/api/v1/nodes/pools').then((r) => r.json()).then((list) => list.pools[0].pool_id));
  for (const path of ['/', '/nodes', `/nodes/${node}`, '/pools', `/pools/${pool}`, '/poot', '/alerts', '/payouts', '/storage', '/storage?tab=backups', '/settings', '/about']) {
    await p.goto(BASE + path);
    await settled(p);
    const buttons = await p.locator('main button, main a.button').allTextContents();
    assert.deepEqual(buttons.filter((text) => FORBIDDEN.test(text)), [], path);
  }
  assert.deepEqual(refused, [], 'no page asks for what the role may not have');
  for (const path of ['/ledger', '/audit', '/enrol', '/setup']) {
    await p.goto(BASE + path);
    await p.getByText('not for your role').waitFor();
  }
  assert.deepEqual(refused, []);
  for (const path of ['/ledger', '/audit', '/users', '/settings']) {
    assert.equal(await p.evaluate((at) => fetch(`/api/v1${at}`).then((r) => r.status), path), 403, path);
  }
  assert.deepEqual(heard, []);
  await other.close();
});

test('no policy violation, no error, in all of the above', () => assert.deepEqual(complaints, []));
