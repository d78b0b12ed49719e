// The page Storage: how full the disk is and what is written to it, backups, compaction and archives, as an admin and as a viewer see them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture, settled } from './look.mjs';

const { LUCID_DEMO_URL: BASE, LUCID_DEMO_LOGINS } = process.env;
const LOGINS = JSON.parse(LUCID_DEMO_LOGINS ?? '{}');
const STORAGE = /\/api\/v1\/storage$/;
const BACKUPS = /\/api\/v1\/backup\?/;
const DONE_MS = 60_000;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

let browser;
let context;
let page;
let complaints;

async function signedIn(role, options = {}) {
  const made = await browser.newContext({ ...VIEWS.desktop, reducedMotion: 'reduce', ...options });
  const heard = await watch(made, (text) => /^Failed to load resource/.test(text));
  const answer = await made.request.post(`${BASE}/api/v1/auth/login`, { data: LOGINS[role] });
  assert.equal(answer.status(), 200);
  return { context: made, page: await made.newPage(), heard };
}

async function open(on, tab = '') {
  await on.goto(`${BASE}/storage${tab && `?tab=${tab}`}`);
  await settled(on);
}

async function holdsUp(on, name) {
  await fits(on);
  await named(on);
  await accessible(on);
  await picture(on, name);
}

/** Answers what the manager answers, changed. */
function altered(on, route, change) {
  return on.route(route, async (asked) => {
    const answer = await asked.fetch();
    await asked.fulfill({ response: answer, json: change(await answer.json()) });
  });
}

const asked = (path) => page.evaluate((at) => fetch(`/api/v1${at}`).then((r) => r.json()), path);

/** A card that is nearly full, with three weeks of counted days. */
function full(storage) {
  const days = Array.from({ length: 21 }, (_, ago) => ({
    day: new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10),
    bytes: (200 + 10 * ago) * MIB,
    files: [{ name: 'hot.redb', bytes: 150 * MIB }, { name: 'core.redb', bytes: (50 + 10 * ago) * MIB }],
  }));
  return {
    ...storage,
    total_bytes: 29 * GIB,
    free_bytes: GIB,
    files: [{ name: 'cold', bytes: 11 * GIB }, { name: 'core.redb', bytes: 90 * MIB }],
    space: { total_bytes: 29 * GIB, free_bytes: GIB, used_percent: 96, limit_bytes: 20 * GIB, store_bytes: 12 * GIB, reserve_bytes: 64 * MIB, level: 'critical', thinned: true },
    wear: { rating_tb: 20, since: days.at(-1).day, written_bytes: 6 * GIB, days, bytes_per_day: 300 * MIB, years_left: 12.7 },
  };
}

before(async () => {
  assert.ok(BASE && LOGINS.admin, 'started by tests/run.mjs');
  browser = await launch();
  ({ context, page, heard: complaints } = await signedIn('admin'));
});

after(() => browser?.close());

test('the navigation leads to it, and it says what there is, file by file and table by table', async () => {
  await page.goto(BASE);
  await settled(page);
  await page.getByRole('link', { name: 'Storage', exact: true }).click();
  await page.getByRole('heading', { name: 'Storage', level: 1 }).waitFor();
  await settled(page);
  const { databases } = await asked('/storage');
  for (const { file, tables } of databases) {
    const card = page.locator(`[data-database="${file}"]`);
    await card.getByText(`${tables.length} tables`).click();
    await card.getByText(tables[0].name, { exact: true }).waitFor();
  }
  await holdsUp(page, 'storage');
});

test('a disk that is almost full, and days that are written: today apart, and a table behind the bars', async () => {
  await altered(page, STORAGE, full);
  await open(page);
  await page.getByText('Almost full', { exact: true }).waitFor();
  await page.getByText('Measurements are thinned').waitFor();
  await page.getByText('about 12 years').waitFor();
  assert.equal(await page.locator('.day').count(), 30);
  assert.equal(await page.locator('.day.today').count(), 1);
  await page.getByText('As a table').click();
  await page.getByText('200 MiB so far: hot.redb 150 MiB, core.redb 50.0 MiB').waitFor();
  await holdsUp(page, 'storage-full');
  await page.unroute(STORAGE);
});

test('what a manager does not tell is not known, and never nothing', async () => {
  await altered(page, STORAGE, ({ space: _, wear: __, ...storage }) => storage);
  await open(page);
  const wear = page.getByRole('region', { name: 'Wear' });
  assert.equal(await wear.getByText('not known yet').count(), 4);
  await accessible(page);
  await page.unroute(STORAGE);
});

test('a file is compacted by hand, and says what became of it', async () => {
  await open(page);
  const card = page.locator('[data-database="core"]');
  await card.getByText('none since the start').waitFor();
  await card.getByRole('button', { name: 'Compact now' }).click();
  await card.getByText(/ to [\d.]+ [KM]iB$/).waitFor({ timeout: DONE_MS });
  await card.getByRole('status').waitFor({ state: 'detached' });
  assert.equal((await asked('/storage')).databases.find(({ file }) => file === 'core').compaction.last.failed_because, null);
});

test('a compaction shows how far it is, and one that was not possible why', async () => {
  const last = { ended_at: new Date().toISOString(), before_bytes: MIB, after_bytes: MIB, barrier_ms: 0, failed_because: 'there is no room for a second copy' };
  await altered(page, STORAGE, (storage) => ({
    ...storage,
    databases: storage.databases.map((database, at) => ({ ...database, compaction: at === 0 ? { phase: 'copying', rows: 45, all_rows: 100, last: null } : { ...database.compaction, last } })),
  }));
  await open(page);
  await page.getByRole('status').getByText('45 %').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Compact now' }).first().isDisabled(), true);
  await page.getByText('not done: there is no room for a second copy').waitFor();
  await picture(page, 'storage-compacting');
  await page.unroute(STORAGE);
});

test('a backup is asked for, and is listed when it is good', async () => {
  await open(page, 'backups');
  // The first one is made by itself, maybe just now.
  await page.getByRole('button', { name: 'Back up now' }).waitFor({ timeout: DONE_MS });
  const known = new Set((await asked('/backup')).backups.map((backup) => backup.name));
  await page.getByRole('button', { name: 'Back up now' }).click();
  await page.waitForFunction((before) => document.querySelectorAll('tbody tr').length > before, known.size, { timeout: DONE_MS });
  await page.getByRole('button', { name: 'Back up now' }).waitFor({ timeout: DONE_MS });
  const { backups, last_good_at } = await asked('/backup');
  const [newest] = backups.filter((backup) => !known.has(backup.name));
  assert.equal(newest.problem, null);
  assert.equal(newest.made_at, last_good_at);
  // The demo keeps its backups in its data folder.
  await page.getByText('Backups lie on the disk of the store').waitFor();
  await holdsUp(page, 'storage-backups');
});

test('how a backup is brought back: the commands, with its own folder', async () => {
  await open(page, 'backups');
  const { backups, folder } = await asked('/backup');
  const { data_dir } = await asked('/storage');
  await page.getByRole('button', { name: 'Restore…' }).first().click();
  const command = page.getByRole('dialog').locator('[data-copy="restore command"]');
  assert.equal(await command.textContent(), `lucid-node-management restore --from ${folder}/${backups[0].name} --data-dir ${data_dir}`);
  await accessible(page);
  await picture(page, 'storage-restore');
});

test('a backup that fails says why, one that goes on how far it is, and no backup that there is none', async () => {
  const failed = { at: new Date(Date.now() - 7_200_000).toISOString(), message: 'there is no room: it takes 340 MiB' };
  await altered(page, BACKUPS, (list) => ({ ...list, last_failure: failed, running: { number: 2, since: failed.at, phase: 'verifying', bytes: 30, total_bytes: 120 } }));
  await open(page, 'backups');
  await page.getByText('There is no room: it takes 340 MiB. 2 h ago').waitFor();
  await page.getByRole('status').getByText('25 %').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Backing up…' }).isDisabled(), true);
  await holdsUp(page, 'storage-backup-failed');
  await page.unroute(BACKUPS);
  await altered(page, BACKUPS, (list) => ({ ...list, backups: [], last_good_at: null, running: null, free_bytes: null, same_disk: null, folder: '/mnt/usb' }));
  await open(page, 'backups');
  await page.getByText('No backups yet').waitFor();
  await page.getByText('the folder is not there').waitFor();
  assert.equal(await page.getByText('Backups lie on the disk of the store').count(), 0);
  await accessible(page);
  await page.unroute(BACKUPS);
});

test('archives: none yet, and some with their files', async () => {
  await open(page, 'archives');
  await page.getByText('No archives yet').waitFor();
  const made = { kind: 'outputs', period: '2025-08', count: 12_345, bytes: 3 * MIB, sha256: 'a'.repeat(64), made_at: '2026-09-21T14:13:21Z', file: 'outputs-2025-08.jsonl.gz', manifest: 'outputs-2025-08.manifest.json' };
  await altered(page, /\/api\/v1\/archives\?/, (list) => ({ ...list, archives: [made] }));
  await open(page, 'archives');
  const row = page.getByRole('row', { name: /Outputs 2025-08 12,345 3\.0 MiB/ });
  assert.equal(await row.getByRole('link', { name: 'Lines' }).getAttribute('href'), '/api/v1/archives/outputs-2025-08.jsonl.gz');
  await holdsUp(page, 'storage-archives');
});

test('how long things are kept is changed here, and taken back', async () => {
  await open(page, 'settings');
  const setting = page.locator('[data-setting="storage.raw_days"]');
  await setting.getByRole('button', { name: 'Change' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Value').fill('60');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await setting.getByText('changed here').waitFor();
  await setting.getByRole('button', { name: 'Change' }).click();
  await dialog.getByRole('button', { name: 'Back to what the file says' }).click();
  await setting.getByText('changed here').waitFor({ state: 'detached' });
  assert.equal(await page.locator('[data-setting^="server."]').count(), 0, 'nothing but what the store keeps');
  await holdsUp(page, 'storage-retention');
});

test('a manager that cannot tell is named, and asked again', async () => {
  await context.route(STORAGE, (route) => route.fulfill({ status: 503, contentType: 'application/json', body: JSON.stringify({ error: { code: 'X', message: 'the store is away' } }) }));
  await open(page);
  await page.getByText('The store is away.').waitFor();
  await holdsUp(page, 'storage-error');
  await context.unroute(STORAGE);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { name: 'Wear' }).waitFor();
});

test('by phone and in the dark, full to the brim', async () => {
  const phone = await signedIn('admin', { ...VIEWS.phone, colorScheme: 'dark' });
  await altered(phone.page, STORAGE, full);
  for (const tab of ['', 'backups', 'archives', 'settings']) {
    await open(phone.page, tab);
    await holdsUp(phone.page, `storage-${tab || 'space'}-phone`);
  }
  assert.deepEqual(phone.heard, []);
  await phone.context.close();
});

test('a viewer and an operator see the space and the backups, and nothing to press', async () => {
  for (const role of ['viewer', 'operator']) {
    const other = await signedIn(role);
    const refused = [];
    other.page.on('response', (r) => r.status() === 403 && refused.push(r.url()));
    for (const tab of ['', 'backups', 'archives', 'settings']) {
      await open(other.page, tab);
      assert.deepEqual(await other.page.locator('main button').allTextContents(), [], `${role}: ${tab}`);
    }
    assert.deepEqual(await other.page.getByRole('navigation', { name: 'Storage' }).getByRole('link').allTextContents(), ['Space', 'Backups']);
    await open(other.page, 'backups');
    await other.page.getByText('✓ good').first().waitFor();
    assert.equal(await other.page.getByText('Folder', { exact: true }).count(), 0, 'where they lie is for admins');
    assert.deepEqual(refused, [], 'no page asks for what the role may not have');
    assert.deepEqual(other.heard, []);
    await other.context.close();
  }
});

test('no policy violation, no error, in all of the above', () => assert.deepEqual(complaints, []));
