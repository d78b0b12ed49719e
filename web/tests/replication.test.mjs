// The page Replication: without a cluster, and with one in each of its states, as an admin and as a viewer see them. The demo has no cluster: its answers are changed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture, settled } from './look.mjs';

const { LUCID_DEMO_URL: BASE, LUCID_DEMO_LOGINS } = process.env;
const LOGINS = JSON.parse(LUCID_DEMO_LOGINS ?? '{}');
const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();

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

async function open(on) {
  await on.goto(`${BASE}/replication`);
  await settled(on);
}

async function holdsUp(on, name) {
  await fits(on);
  await named(on);
  await accessible(on);
  await picture(on, name);
}

const of = (collection, waiting, behind_seconds, is_whole = true) => ({ collection, waiting, behind_seconds, is_whole });

/** What a manager with a cluster answers; what is asked of it is kept, and its state follows. */
async function replicating(on, said) {
  const asked = [];
  const shown = {
    configured: true,
    state: 'current',
    text: 'The cluster is up to date.',
    region: 'attic',
    last_error: null,
    failures: 0,
    next_try_at: null,
    consistent_at: ago(1),
    documents_sent: 123_456,
    bytes_sent: 98_765_432,
    documents_per_second: 412.5,
    not_taken: { count: 0, because: null },
    indexes: [],
    collections: [of('audit_logs', 0, 0), of('manager_records', 12, 60), of('nodes', 0, 0)],
    ...said,
  };
  await on.unroute(/\/api\/v1\/replication/);
  await on.route(/\/api\/v1\/replication/, async (route) => {
    const request = route.request();
    const verb = request.url().split('/').pop();
    if (request.method() === 'POST') {
      asked.push([verb, request.postDataJSON()]);
      if (verb === 'pause') Object.assign(shown, { state: 'paused', text: 'Nothing is sent. What changes goes when somebody resumes.' });
      if (verb === 'resume') Object.assign(shown, { state: 'sending', text: 'What changed is on its way.' });
    }
    await route.fulfill({ json: shown });
  });
  await open(on);
  return asked;
}

before(async () => {
  assert.ok(BASE && LOGINS.admin, 'started by tests/run.mjs');
  browser = await launch();
  ({ context, page, heard: complaints } = await signedIn('admin'));
});

after(() => browser?.close());

test('the navigation leads to it, and without a cluster it says how there is one', async () => {
  await page.goto(BASE);
  await settled(page);
  await page.getByRole('link', { name: 'Replication', exact: true }).click();
  await page.getByRole('heading', { name: 'Replication', level: 1 }).waitFor();
  await settled(page);
  await page.getByText('Not replicated').waitFor();
  await page.getByText('MONGODB_URI').waitFor();
  assert.equal(await page.getByRole('main').getByRole('button').count(), 0, 'nothing to press');
  await holdsUp(page, 'replication-off');
});

test('all is there: what was sent, and what each collection waits for', async () => {
  await replicating(page, {});
  await page.getByText('The cluster is up to date.', { exact: true }).waitFor();
  await page.getByRole('row', { name: /manager_records 12 1 min whole/ }).waitFor();
  await page.getByRole('row', { name: /nodes 0 nothing waits whole/ }).waitFor();
  await page.getByText('412.5 documents/s').waitFor();
  await holdsUp(page, 'replication');
});

test('it is paused and resumed, and a collection goes once more after it was asked whether', async () => {
  const asked = await replicating(page, {});
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('What changes goes when somebody resumes').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('What changed is on its way.').waitFor();
  await page.getByRole('button', { name: 'Copy again: nodes' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Copy nodes once more?').waitFor();
  await accessible(page);
  await dialog.getByRole('button', { name: 'Copy again' }).click();
  await dialog.waitFor({ state: 'hidden' });
  assert.deepEqual(asked, [['pause', null], ['resume', { take_over: false }], ['resync', { collection: 'nodes' }]]);
});

test('a cluster that is away: why, when it is tried again, and what is known of it all the same', async () => {
  await replicating(page, {
    state: 'away',
    text: 'The cluster does not answer, or refuses. Nothing is lost: what changes goes when it is back.',
    last_error: { message: 'the cluster does not answer: no route to host', at: ago(2) },
    failures: 4,
    next_try_at: ago(-5),
    consistent_at: ago(90),
    not_taken: { count: 2, because: 'nodes: the document is too large' },
    indexes: ['nodes.status_1: it has another field'],
    collections: [of('audit_logs', 45, 5_400), of('nodes', 0, 0)],
  });
  await page.getByText('The cluster does not answer: no route to host. 2 min ago').waitFor();
  await page.getByText(/It is tried again in [45]:\d\d\./).waitFor();
  await page.getByText('2 documents were not taken').waitFor();
  await page.getByRole('row', { name: /audit_logs 45 1 h 30 min whole/ }).waitFor();
  await holdsUp(page, 'replication-away');
});

test('a first copy says what is known and leaves open what is not', async () => {
  await replicating(page, {
    state: 'copying',
    text: 'Documents are being copied from the first to the last. Until that is done, the cluster has no state of this manager as a whole.',
    consistent_at: null,
    documents_per_second: null,
    collections: [of('audit_logs', 9_000, null, false), of('nodes', null, null, false)],
  });
  assert.equal(await page.getByText('everything as of').count(), 0);
  await page.getByRole('row', { name: /audit_logs 9,?000 – being copied/ }).or(page.getByRole('row', { name: /audit_logs 9\s000 – being copied/ })).waitFor();
  await page.getByRole('row', { name: /nodes – – –/ }).waitFor();
  await holdsUp(page, 'replication-copying');
});

test('another manager with this id: taking over is asked about, and said', async () => {
  const second = { state: 'second', text: 'Another manager with the id of this one writes to the cluster, or did last, so this one sends nothing. Stop one of them.' };
  const asked = await replicating(page, second);
  await page.getByRole('button', { name: /take over/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Is the other manager gone?').waitFor();
  await holdsUp(page, 'replication-second');
  await dialog.getByRole('button', { name: 'Take over' }).click();
  await dialog.waitFor({ state: 'hidden' });
  assert.deepEqual(asked, [['resume', { take_over: true }]]);
  await replicating(page, {});
  assert.equal(await page.getByRole('button', { name: /take over/ }).count(), 0, 'only then');
});

test('by phone and in the dark', async () => {
  const phone = await signedIn('admin', { ...VIEWS.phone, colorScheme: 'dark' });
  await replicating(phone.page, { last_error: { message: 'the cluster does not answer', at: ago(9) } });
  await holdsUp(phone.page, 'replication-phone');
  assert.deepEqual(phone.heard, []);
  await phone.context.close();
});

test('a viewer sees it all, and nothing to press', async () => {
  const viewer = await signedIn('viewer');
  await replicating(viewer.page, { state: 'second', text: 'Another manager writes.' });
  await viewer.page.getByRole('row', { name: /manager_records/ }).waitFor();
  assert.equal(await viewer.page.getByRole('main').getByRole('button').count(), 0);
  assert.deepEqual(viewer.heard, []);
  await viewer.context.close();
});

test('the pages had nothing to complain about', async () => {
  assert.deepEqual(complaints, []);
  await context.close();
});
