// A person's first hour with a new manager, in a real browser: setup, sign-in, enrolment, a node that reports, charts that move. Each
// step stands on the one before. tests/run.mjs gives the environment.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture as keep } from './look.mjs';
import { code, step } from './totp.mjs';

const { LUCID_BASE_URL: BASE, LUCID_SETUP_CODE: CODE, LUCID_AGENT_CMD: AGENT, LUCID_NODE_NAME: NAME, LUCID_ARTEFACTS: ARTEFACTS, LUCID_CONTROL: CONTROL } = process.env;
const USER = 'browser-admin';
const PASSWORD = 'lamp chair fog tree river';
/** An agent reports once in 30 s: two reports, and time to spare. */
const TWO_REPORTS_MS = 100_000;

let browser;
let context;
let page;
let complaints;
let agent;
const streams = [];

before(async () => {
  assert.ok(BASE && CODE && AGENT && NAME && ARTEFACTS, 'started by tests/run.mjs');
  browser = await launch();
  context = await browser.newContext({ ...VIEWS.desktop, colorScheme: 'light' });
  // The browser itself logs answers like 401 and 404, which these tests provoke.
  complaints = await watch(context, (text) => /^Failed to load resource/.test(text));
  context.on('request', (request) => new URL(request.url()).pathname === '/api/v1/events' && streams.push(request));
  page = await context.newPage();
});

after(async () => {
  agent?.kill('SIGTERM');
  await browser?.close();
});

const picture = (name, on = page) => keep(on, name);

/** What is on screen fits a small phone, and axe finds nothing. */
async function holdsUp() {
  const size = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 780 });
  await fits(page);
  await accessible(page);
  await page.setViewportSize(size);
}

/** The same place as `page`, seen by someone else's screen but the same session. */
async function through(view, options, path, look) {
  const other = await browser.newContext({ ...VIEWS[view], reducedMotion: 'reduce', ...options, storageState: await context.storageState() });
  const heard = await watch(other, (text) => /^Failed to load resource/.test(text));
  const p = await other.newPage();
  await p.goto(BASE + path);
  await look(p);
  assert.deepEqual(heard, []);
  await other.close();
}

/** However slow this machine is: the session counts as confirmed from now on. */
async function confirmNow() {
  const status = await page.evaluate((body) => fetch('/api/v1/auth/confirm', { method: 'POST', headers: { 'content-type': 'application/json' }, body }).then((r) => r.status), JSON.stringify({ password: PASSWORD }));
  assert.equal(status, 200);
}

test('the page comes with a strict content security policy', async () => {
  const response = await page.goto(BASE);
  const policy = response.headers()['content-security-policy'] ?? '';
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval/);
});

test('setup refuses a wrong code beside the field and keeps what was typed', async () => {
  await page.getByLabel('Setup code').fill('not-the-code');
  await page.getByLabel('User name').fill(USER);
  await page.getByRole('textbox', { name: 'Password' }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Set up' }).click();
  await page.getByRole('alert').first().waitFor();
  assert.equal(await page.getByLabel('User name').inputValue(), USER);
  await named(page);
  await picture('web-setup');
  await holdsUp();
});

test('setup makes the first account and leads to the steps that follow', async () => {
  await page.getByLabel('Setup code').fill(CODE);
  const sent = [];
  page.on('request', (r) => r.url().endsWith('/api/v1/setup') && r.method() === 'POST' && sent.push(r));
  await page.getByRole('button', { name: 'Set up' }).dblclick();
  await page.getByRole('heading', { name: 'Clock', exact: true }).waitFor();
  assert.match(page.url(), /\/setup\?step=clock$/);
  assert.equal(sent.length, 1, 'a double click sends once');
  const { client_time } = sent[0].postDataJSON();
  assert.ok(Math.abs(Date.parse(client_time) - Date.now()) < 60_000, `client_time ${client_time}`);
  await through('phone', { colorScheme: 'dark' }, '/setup', async (p) => {
    await p.getByText('Step 2 of 7').waitFor();
    await fits(p);
    await named(p);
    await picture('web-first-steps-phone-dark', p);
  });
});

test('first steps: clock, storage, recovery kit', async () => {
  await page.getByText('The clock is trusted').waitFor();
  await page.getByText('They agree').waitFor();
  await picture('web-step-clock');
  await holdsUp();
  await page.getByRole('button', { name: 'Continue' }).click();

  await page.getByRole('heading', { name: 'Storage' }).waitFor();
  await page.getByRole('button', { name: 'Measure', exact: true }).click();
  await page.getByText(/a safe write takes [\d.]+ m?s/).waitFor();
  await picture('web-step-storage');
  await holdsUp();
  await page.getByRole('button', { name: 'Continue' }).click();

  await page.getByLabel('Passphrase for the kit').fill('river tree fog chair lamp');
  await page.getByLabel('The passphrase again').fill('something else');
  await page.getByLabel('Your password').fill('not the password');
  await page.getByRole('button', { name: 'Download recovery kit' }).click();
  await page.locator('input[name="again"][aria-invalid="true"]').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Continue' }).count(), 0, 'without a kit there is only skipping');
  await page.getByLabel('The passphrase again').fill('river tree fog chair lamp');
  await page.getByRole('button', { name: 'Download recovery kit' }).click();
  await page.locator('input[name="password"][aria-invalid="true"]').waitFor();
  await page.getByLabel('Your password').fill(PASSWORD);
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download recovery kit' }).click();
  assert.match((await download).suggestedFilename(), /^lucid-recovery-kit.*\.json$/);
  await picture('web-step-recovery-kit');
  await holdsUp();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByText('Here it stops:').waitFor();
  await named(page);
  await picture('web-step-dry-run');
  await holdsUp();
  await page.getByRole('link', { name: 'Go on later' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
});

test('signing out and in again', async () => {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('User name').fill(USER);
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await page.locator('[data-live="live"]:visible').waitFor();
});

test('first steps go on where they were left: a step skipped, a price, a node that appears by itself', { timeout: 2 * TWO_REPORTS_MS }, async () => {
  await page.goto(`${BASE}/setup`);
  await page.getByRole('heading', { name: 'Dry run', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Skip this step' }).click();

  await page.getByLabel('Reward per hour').fill('a lot');
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await page.locator('input[name="reward_per_hour"][aria-invalid="true"]').waitFor();
  assert.equal(await page.getByLabel('Reward per hour').inputValue(), 'a lot');
  await page.getByLabel('Reward per hour').fill('0.1');
  await page.locator('[data-money="72.0"]').waitFor();
  await picture('web-step-price');
  await holdsUp();
  await page.getByRole('button', { name: 'Save and continue' }).click();

  await page.getByRole('button', { name: 'Make token' }).click();
  const token = (await page.locator('[data-copy="token"]').textContent()).trim();
  const command = await page.locator('[data-copy="command"]').textContent();
  assert.ok(token.length > 20);
  assert.ok(!command.includes(token), 'the command must not hold the token');
  assert.equal(await page.locator('[data-qr]').getAttribute('data-qr'), command);
  await picture('web-enrol-waiting');
  await holdsUp();
  const [program, ...args] = JSON.parse(AGENT);
  agent = spawn(program, args, { stdio: ['pipe', 'ignore', 'inherit'] });
  agent.stdin.end(`${token}\n`);
  await page.locator('[data-arrived]').waitFor({ timeout: TWO_REPORTS_MS });
  await picture('web-enrol-arrived');
  await holdsUp();
  await page.getByRole('button', { name: 'Finish' }).click();

  await page.getByRole('heading', { name: 'Your manager is set up' }).waitFor();
  await page.getByRole('main').getByRole('link', { name: 'Dry run' }).nth(1).waitFor();
  await picture('web-first-steps-done');
  await holdsUp();
  await page.getByRole('link', { name: 'Enrol a node' }).click();
  await page.getByText('used up').waitFor();
  await named(page);
  await picture('web-enrol');
  await page.goto(`${BASE}/nodes`);
  await page.getByRole('link', { name: NAME }).click();
  await page.getByRole('heading', { name: NAME, level: 1 }).waitFor();
});

test('the node is live: its values arrive and its chart grows without a reload', { timeout: 3 * TWO_REPORTS_MS }, async () => {
  await page.evaluate(() => (window.sameDocument = true));
  const cpu = page.locator('[data-tile="CPU"]');
  await page.waitForFunction(() => /%/.test(document.querySelector('[data-tile="CPU"]')?.textContent ?? ''), undefined, { timeout: TWO_REPORTS_MS });
  const points = () => page.locator('[data-points]').first().getAttribute('data-points').then(Number);
  const [seen, said] = [await points(), await cpu.textContent()];
  await page.waitForFunction(
    ([n, text]) =>
      Number(document.querySelector('[data-points]')?.getAttribute('data-points')) > n || document.querySelector('[data-tile="CPU"]')?.textContent !== text,
    [seen, said],
    { timeout: TWO_REPORTS_MS },
  );
  await page.waitForFunction(() => document.querySelector('[data-points]')?.getAttribute('data-points') >= '1', undefined, { timeout: TWO_REPORTS_MS });
  assert.equal(await page.evaluate(() => window.sameDocument), true);
  await page.locator('[data-poot="pending"]').waitFor();
  const before = await page.locator('[data-poot="pending"]').textContent();
  await page.waitForFunction((text) => document.querySelector('[data-poot]')?.textContent !== text, before, { timeout: TWO_REPORTS_MS });
  await named(page);
  await fits(page);
  await picture('web-node-desktop');
});

test('the node by phone and in the dark', async () => {
  const path = new URL(page.url()).pathname;
  await through('phone', { colorScheme: 'light' }, path, async (p) => {
    await p.getByRole('heading', { name: 'CPU' }).waitFor();
    await p.locator('canvas').first().waitFor();
    await fits(p);
    await picture('web-node-phone', p);
  });
  await through('desktop', { colorScheme: 'dark' }, path, async (p) => {
    await p.locator('canvas').first().waitFor();
    await picture('web-node-dark', p);
  });
});

test('tabs share one stream, and the next one takes over', async () => {
  streams.length = 0;
  const second = await context.newPage();
  await second.goto(`${BASE}/nodes`);
  await second.locator('[data-live="live"]:visible').waitFor();
  assert.equal(streams.length, 0, 'a second tab opens no second stream');
  await page.goto('about:blank');
  await second.waitForFunction(() => document.querySelector('[data-live]')?.getAttribute('data-live') === 'live');
  const deadline = Date.now() + 10_000;
  while (streams.length === 0 && Date.now() < deadline) await second.waitForTimeout(50);
  assert.equal(streams.length, 1, 'the tab that is left leads');
  await page.close();
  page = second;
});

test('the list: live row, search by keyboard, filters, phone', async () => {
  await page.getByRole('link', { name: NAME }).waitFor();
  await picture('web-nodes-desktop');
  await page.keyboard.press('/');
  await page.keyboard.type('no-such-name');
  await page.getByText('No node fits').waitFor();
  assert.match(page.url(), /search=no-such-name/);
  await page.getByRole('button', { name: 'Show every node' }).click();
  await page.getByRole('link', { name: NAME }).waitFor();
  await page.getByLabel('Status', { exact: true }).selectOption('maintenance');
  await page.getByText('No node fits').waitFor();
  await page.getByRole('button', { name: 'Show every node' }).click();
  await named(page);
  await through('phone', { colorScheme: 'dark' }, '/nodes', async (p) => {
    await p.getByRole('link', { name: NAME }).waitFor();
    await fits(p);
    await picture('web-nodes-phone-dark', p);
  });
});

test('an unknown node and an unknown path say so', async () => {
  await page.goto(`${BASE}/nodes/node_doesnotexist`);
  await page.getByText('No such node').waitFor();
  await page.goto(`${BASE}/no/such/page`);
  await page.getByText('There is no page here').waitFor();
});

test('a manager that fails is named, and one that is back is found again', async () => {
  await page.goto(`${BASE}/nodes`);
  await page.getByRole('link', { name: NAME }).waitFor();
  const broken = { status: 503, contentType: 'application/json', body: JSON.stringify({ error: { code: 'X', message: 'the store is away' } }) };
  await context.route(/\/api\/v1\/nodes\?/, (route) => route.fulfill(broken));
  await page.reload();
  await page.getByText('The nodes could not be loaded').waitFor();
  await page.getByText('The store is away.').waitFor();
  await picture('web-error');
  await context.unroute(/\/api\/v1\/nodes\?/);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('link', { name: NAME }).waitFor();
});

test('an ended session asks for sign-in over the page and loses nothing typed', async () => {
  await page.getByRole('link', { name: NAME }).click();
  const address = page.getByRole('textbox', { name: 'Address' });
  await address.fill('TTypedBeforeTheSessionEnded');
  await context.clearCookies();
  await page.getByRole('button', { name: 'Register address' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  await dialog.getByLabel('Password').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await address.inputValue(), 'TTypedBeforeTheSessionEnded');
  const answered = page.waitForResponse((r) => r.request().method() === 'PUT' && r.url().endsWith('/payout-address'));
  await page.getByRole('button', { name: 'Register address' }).click();
  const status = (await answered).status();
  assert.ok(status >= 400 && status < 500 && status !== 401, `a wrong address is refused, not for the session: ${status}`);
  await page.getByRole('region', { name: 'Payout address' }).getByRole('alert').first().waitFor();
});

test('changed hardware is named, and an admin accepts it', async () => {
  const one = /\/api\/v1\/nodes\/node_[0-9a-f]+$/;
  // No machine changes its hardware for a test: the manager's answer is told to say so.
  await page.route(one, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), fingerprint_drift: true } });
  });
  await page.reload();
  await page.getByText('The hardware is not what was enrolled').waitFor();
  await picture('web-drift');
  await page.unroute(one);
  const answered = page.waitForResponse((r) => r.url().endsWith('/fingerprint/accept'));
  await page.getByRole('button', { name: 'Accept this hardware' }).click();
  assert.equal((await answered).status(), 200);
  await page.getByText('The hardware is not what was enrolled').waitFor({ state: 'detached' });
});

test('the manager dies under an open page: it says since when, and is live again by itself', { timeout: 3 * TWO_REPORTS_MS }, async () => {
  await page.locator('[data-live="live"]:visible').waitFor();
  await page.evaluate(() => (window.sameDocument = true));
  await fetch(`${CONTROL}/kill`);
  await page.locator('[data-live="reconnecting"]:visible').waitFor();
  await page.locator('[data-live="offline"]:visible').waitFor({ timeout: 30_000 });
  // Which of the two depends on whether something was asked for since.
  const stale = page.getByText(/^(Not live since|As of) \d\d:\d\d$/);
  await stale.first().waitFor();
  assert.match(await page.locator('[data-live]:visible').textContent(), /offline since \d\d:\d\d/);
  await picture('web-stale');
  const restarted = await fetch(`${CONTROL}/restart`);
  assert.equal(restarted.status, 204);
  await page.locator('[data-live="live"]:visible').waitFor({ timeout: 60_000 });
  await stale.first().waitFor({ state: 'detached' });
  await page.getByText('could not be loaded').waitFor({ state: 'detached' });
  // A machine whose kernel knows the time is trusted at once; elsewhere a person confirms it again.
  const trusted = await page.evaluate(() => fetch('/api/v1/clock').then((r) => r.json()).then((clock) => clock.trusted));
  if (!trusted) await page.getByRole('button', { name: "Confirm this browser's time" }).click();
  await page.getByText('clock is not trusted').waitFor({ state: 'detached' });
  const next = page.waitForResponse((r) => r.url().endsWith('/resources'), { timeout: TWO_REPORTS_MS });
  await next;
  await page.getByText(/heard (just now|\d+ s ago)/).waitFor({ timeout: TWO_REPORTS_MS });
  await picture('web-back');
  assert.equal(await page.evaluate(() => window.sameDocument), true);
});

test('a viewer sees everything, and nothing that is refused to viewers', async () => {
  await confirmNow();
  const viewer = { username: 'browser-viewer', password: 'window shelf paper cloud', role: 'viewer' };
  const made = await page.evaluate(
    (body) => fetch('/api/v1/users', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }).then((r) => r.status),
    viewer,
  );
  assert.equal(made, 201);
  const node = new URL(page.url()).pathname;
  const other = await browser.newContext(VIEWS.desktop);
  const heard = await watch(other, (text) => /^Failed to load resource/.test(text));
  const p = await other.newPage();
  const refused = [];
  p.on('response', (r) => r.status() === 403 && refused.push(r.url()));
  await p.goto(BASE + node);
  await p.getByLabel('User name').fill(viewer.username);
  await p.getByLabel('Password').fill(viewer.password);
  await p.getByRole('button', { name: 'Sign in' }).click();
  await p.getByRole('heading', { name: NAME, level: 1 }).waitFor();
  await p.getByRole('heading', { name: 'Earnings' }).waitFor();
  await p.locator('[data-live="live"]:visible').waitFor();
  await fits(p);
  assert.equal(await p.getByRole('button', { name: /address|accept/i }).count(), 0);
  await p.getByRole('link', { name: 'Nodes' }).first().click();
  await p.getByRole('link', { name: NAME }).waitFor();
  assert.equal(await p.getByRole('link', { name: /enrol/i }).count(), 0);
  await p.goto(`${BASE}/enrol`);
  await p.getByText('This page is not for your role').waitFor();
  await p.getByRole('link', { name: 'Settings' }).click();
  await p.getByRole('heading', { name: 'Appearance' }).waitFor();
  assert.equal(await p.getByRole('button', { name: /recovery kit/ }).count(), 0);
  assert.deepEqual(refused, []);
  assert.deepEqual(heard, []);
  await other.close();
});

test('settings: each part has an address, and says what is in force', async () => {
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('link', { name: 'Recovery kit' }).click();
  await page.getByText(/A kit was last made/).waitFor();
  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.getByLabel('Find a setting').fill('listen');
  await page.locator('[data-setting="server.listen"]').getByText('command line --listen').waitFor();
  assert.match(page.url(), /tab=configuration&search=listen/);
  assert.equal(await page.locator('[data-setting]').count(), await page.locator('[data-setting]').filter({ hasText: 'listen' }).count());
  await page.getByLabel('Find a setting').fill('no such setting');
  await page.getByText('No setting fits').waitFor();
  await picture('web-settings-configuration');
});

test('people: one is added, refused beside the field, disabled, removed', async () => {
  await confirmNow();
  await page.getByRole('link', { name: 'People' }).click();
  await page.getByRole('button', { name: 'Add a person' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('User name').fill('browser-operator');
  await dialog.getByLabel('Role').selectOption('operator');
  await dialog.getByRole('textbox', { name: 'Password' }).fill('short');
  await dialog.getByRole('button', { name: 'Add' }).click();
  await dialog.locator('input[name="password"][aria-invalid="true"]').waitFor();
  assert.equal(await dialog.getByLabel('User name').inputValue(), 'browser-operator');
  await dialog.getByRole('textbox', { name: 'Password' }).fill('window shelf paper cloud');
  await dialog.getByRole('button', { name: 'Add' }).click();
  const row = page.getByRole('row', { name: /browser-operator/ });
  await row.getByText('Operator', { exact: true }).waitFor();
  await named(page);
  await picture('web-settings-people');
  await page.getByRole('button', { name: 'Change browser-operator' }).click();
  await dialog.getByLabel('May not sign in').check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await row.getByText('disabled').waitFor();
  await page.getByRole('button', { name: 'Remove browser-operator' }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await row.waitFor({ state: 'detached' });
});

test('sessions: another browser is shown, and is signed out when its session is ended', async () => {
  const other = await browser.newContext(VIEWS.desktop);
  const p = await other.newPage();
  await p.goto(BASE);
  await p.getByLabel('User name').fill(USER);
  await p.getByLabel('Password').fill(PASSWORD);
  await p.getByRole('button', { name: 'Sign in' }).click();
  await p.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await page.getByRole('link', { name: 'Account' }).click();
  await page.getByText('this one').waitFor();
  await page.getByRole('button', { name: 'End all others' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'End them' }).click();
  await page.getByRole('button', { name: 'End all others' }).waitFor({ state: 'detached' });
  assert.equal(await page.locator('[data-session]').count(), 1);
  await p.reload();
  await p.getByRole('button', { name: 'Sign in' }).waitFor();
  await other.close();
});

test('a wrong present password is said beside its field', async () => {
  await page.getByLabel('Present password').fill('not the password');
  await page.getByRole('textbox', { name: 'New password' }).fill('chair lamp river tree fog');
  await page.getByRole('button', { name: 'Change password' }).click();
  await page.locator('input[name="current_password"][aria-invalid="true"]').waitFor();
  assert.equal(await page.locator('input[name="password"][aria-invalid="true"]').count(), 0);
});

test('a second factor: turned on with a code, asked for at sign-in, and a recovery code opens once', async () => {
  await page.getByRole('button', { name: 'Turn on' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Your password').fill('not the password');
  await dialog.getByRole('button', { name: 'Go on' }).click();
  await dialog.locator('input[name="password"][aria-invalid="true"]').waitFor();
  await dialog.getByLabel('Your password').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Go on' }).click();
  await dialog.getByRole('img', { name: /QR code/ }).waitFor();
  await fits(page);
  await picture('web-factor-scan');
  const secret = await dialog.locator('[data-copy="Key"]').textContent();
  // A code counts once: each of the three here is of its own step, which may be one ahead or behind.
  const now = step(await page.evaluate(() => Date.now()));
  await dialog.getByRole('textbox', { name: 'Code' }).fill('000000');
  await dialog.getByRole('button', { name: 'Turn on' }).click();
  await dialog.getByRole('alert').first().waitFor();
  await dialog.getByRole('textbox', { name: 'Code' }).fill(code(secret, now));
  await dialog.getByRole('button', { name: 'Turn on' }).click();
  await dialog.getByRole('heading', { name: 'Recovery codes' }).waitFor();
  const codes = (await dialog.locator('[data-copy="Recovery codes"]').textContent()).trim().split(/\s+/);
  assert.equal(codes.length, 10);
  await picture('web-factor-codes');
  await dialog.getByRole('button', { name: 'I have them' }).click();
  await page.getByText('10 recovery codes are left').waitFor();
  await holdsUp();
  await picture('web-settings-account-factor');

  const other = await browser.newContext({ ...VIEWS.phone, colorScheme: 'dark' });
  const p = await other.newPage();
  await p.goto(BASE);
  await p.getByLabel('User name').fill(USER);
  await p.getByLabel('Password').fill(PASSWORD);
  await p.getByRole('button', { name: 'Sign in' }).click();
  await p.getByLabel('One-time code').waitFor();
  assert.equal(await p.getByRole('alert').count(), 0, 'to be asked for a code is no mistake');
  await named(p);
  await fits(p);
  await picture('web-signin-code', p);
  await p.getByLabel('One-time code').fill(codes[0]);
  await p.getByRole('button', { name: 'Sign in' }).click();
  await p.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await other.close();

  await page.reload();
  await page.getByText('9 recovery codes are left').waitFor();
  await page.getByRole('button', { name: 'Turn off' }).click();
  await dialog.getByLabel('Your password').fill(PASSWORD);
  await dialog.getByRole('textbox', { name: 'Code' }).fill(codes[0]);
  await dialog.getByRole('button', { name: 'Turn off' }).click();
  await dialog.locator('input[name="totp"][aria-invalid="true"]').waitFor();
  await dialog.getByRole('textbox', { name: 'Code' }).fill(codes[1]);
  await dialog.getByRole('button', { name: 'Turn off' }).click();
  await page.getByRole('button', { name: 'Turn on' }).waitFor();
});

test('a token for programs: shown once, works, and is refused when it is revoked', async () => {
  await page.getByRole('link', { name: 'API tokens' }).click();
  await page.getByText('No tokens yet').waitFor();
  await holdsUp();
  await picture('web-settings-tokens-none');
  await page.getByRole('button', { name: 'Make a token' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('grafana');
  await dialog.getByRole('button', { name: 'Make', exact: true }).click();
  const token = await dialog.locator('[data-copy="Token"]').textContent();
  assert.match(token, /^lucid_/);
  await picture('web-settings-token-made');
  await dialog.getByRole('button', { name: 'I have it' }).click();
  await page.getByRole('row', { name: /grafana/ }).waitFor();
  await holdsUp();
  await picture('web-settings-tokens');
  const ask = () => fetch(`${BASE}/api/v1/nodes`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await ask()).status, 200);
  await page.getByRole('button', { name: 'Revoke grafana' }).click();
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await page.getByText('No tokens yet').waitFor();
  assert.equal((await ask()).status, 401);
});

test('a setting: refused beside its field, changed at once, and taken back', async () => {
  await page.getByRole('link', { name: 'Configuration' }).click();
  const setting = page.locator('[data-setting="payout.frequency_hours"]');
  await setting.getByRole('button', { name: 'Change payout.frequency_hours' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Value').fill('never');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.locator('input[name="value"][aria-invalid="true"]').waitFor();
  await dialog.getByLabel('Value').fill('12');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await setting.getByText('changed here').waitFor();
  await holdsUp();
  await picture('web-settings-configuration');
  await setting.getByRole('button', { name: 'Change payout.frequency_hours' }).click();
  await dialog.getByRole('button', { name: 'Back to what the file says' }).click();
  await setting.getByText('changed here').waitFor({ state: 'detached' });
});

test('audit: what was done, by whom, in a chain that holds', async () => {
  await page.getByRole('link', { name: 'Audit' }).click();
  const row = page.getByRole('row', { name: /Added a person/ }).first();
  await row.getByText(USER).waitFor();
  await page.getByText('follows from the one before').waitFor();
  await named(page);
  await fits(page);
  await picture('web-audit');
});

test('the theme is kept', async () => {
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByLabel('Dark', { exact: true }).check();
  await page.reload();
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), 'dark');
  await picture('web-settings-dark');
});

test('no policy violation, no error, in all of the above', () => assert.deepEqual(complaints, []));
