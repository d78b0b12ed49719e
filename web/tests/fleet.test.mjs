// The page Fleet: without a cluster, with two managers, with a cluster that is away, and empty. The demo has no cluster: its answers are made up.
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

async function holdsUp(on, name) {
  await fits(on);
  await named(on);
  await accessible(on);
  await picture(on, name);
}

const manager = (manager_id, said) => ({ manager_id, is_this: false, region: 'attic', version: '0.1.0', seen_at: ago(0.3), has_ended: false, whole_at: ago(1), nodes: 2, ...said });
const MANAGERS = [
  manager('manager_01a2093f1b1e76189e56e988bd4a8336', { is_this: true }),
  manager('manager_77fe01', { region: 'cellar', seen_at: ago(90), whole_at: ago(95), nodes: 1 }),
  manager('manager_older', { region: null, version: null, seen_at: null, has_ended: null, whole_at: null, nodes: 0 }),
];
const node = (n, said) => ({
  id: `manager_01a2093f1b1e76189e56e988bd4a8336/nodes/${n}`, manager_id: 'manager_01a2093f1b1e76189e56e988bd4a8336', is_own: true, region: 'attic', node_id: `node_${n}`, name: `attic-pi-${n}`, node_type: 'worker', pool_id: 'pool_default',
  status: 'active', detailed_status: 'active', poot_score: 98.25, last_heartbeat: ago(0.4), seen_at: ago(2), ...said,
});
const FOREIGN = node('9', { id: 'manager_77fe01/nodes/9', manager_id: 'manager_77fe01', is_own: false, region: 'cellar', name: 'cellar-pi', status: 'error', poot_score: null, last_heartbeat: null });
const UNKNOWN = node('8', { id: 'x', manager_id: null, is_own: false, region: null, node_id: null, name: null, status: null, poot_score: null, last_heartbeat: null, seen_at: null });

/** What a manager with a cluster answers; what is asked of it is kept. */
async function cluster(on, { managers = MANAGERS, nodes = [node('1'), node('2', { status: 'maintenance' }), FOREIGN, UNKNOWN] } = {}) {
  const asked = [];
  const as_of = ago(0);
  await on.unroute(/\/api\/v1\/fleet\//);
  await on.route(/\/api\/v1\/fleet\//, async (route) => {
    const url = new URL(route.request().url());
    const query = Object.fromEntries(url.searchParams);
    const list = url.pathname.split('/').pop();
    asked.push([list, query]);
    if (list === 'summary') {
      const by_region = [{ name: null, managers: 1, nodes: 1 }, { name: 'attic', managers: 1, nodes: 2 }, { name: 'cellar', managers: 1, nodes: 1 }];
      return route.fulfill({ json: { managers: managers.length, nodes: nodes.length, by_status: nodes.length ? [{ name: 'active', nodes: 1 }, { name: null, nodes: 1 }] : [], by_region, as_of } });
    }
    if (list === 'managers') return route.fulfill({ json: { managers: managers.filter(({ region }) => !query.region || region === query.region), next_cursor: null, as_of } });
    const fit = nodes.filter((of) => ['manager_id', 'region', 'status'].every((key) => !query[key] || of[key] === query[key]));
    // Two to a page.
    const from = query.cursor ? fit.findIndex(({ id }) => id === query.cursor) + 1 : 0;
    await route.fulfill({ json: { nodes: fit.slice(from, from + 2), next_cursor: fit.length > from + 2 ? fit[from + 1].id : null, as_of } });
  });
  await on.goto(`${BASE}/fleet`);
  await settled(on);
  return asked;
}

before(async () => {
  assert.ok(BASE && LOGINS.admin, 'started by tests/run.mjs');
  browser = await launch();
  ({ context, page, heard: complaints } = await signedIn('viewer'));
});

after(() => browser?.close());

test('the navigation leads to it, and without a cluster it says how there is one', async () => {
  await page.goto(BASE);
  await settled(page);
  await page.getByRole('link', { name: 'Fleet', exact: true }).click();
  await page.getByRole('heading', { name: 'Fleet', level: 1 }).waitFor();
  await page.getByText('No cluster', { exact: true }).waitFor();
  await page.getByText('MONGODB_URI').waitFor();
  assert.equal(await page.getByRole('main').getByRole('button').count(), 0, 'nothing to press');
  await holdsUp(page, 'fleet-off');
});

test('managers and their nodes: who is silent says so, what is not known is not guessed, and more is loaded when asked for', async () => {
  const asked = await cluster(page);
  await page.getByRole('row', { name: /manager_01a2093f1b1e76189e56e988bd4a8336 this one attic/ }).waitFor();
  await page.getByRole('row', { name: /manager_77fe01 cellar .* not seen for a while/ }).waitFor();
  await page.getByRole('row', { name: /manager_older – – unknown being copied, or unknown 0/ }).waitFor();
  const nodes = page.getByRole('table', { name: 'Nodes' });
  assert.equal(await nodes.getByRole('row').count(), 3, 'a head and two nodes');
  await page.getByRole('button', { name: 'More nodes' }).click();
  await nodes.getByRole('row', { name: /cellar-pi manager_77fe01 cellar error – unknown/ }).waitFor();
  await nodes.getByRole('row', { name: /unknown – – unknown – unknown unknown/ }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'More nodes' }).count(), 0, 'that was all');
  assert.equal(await nodes.getByRole('link', { name: 'attic-pi-1' }).getAttribute('href'), '/nodes/node_1');
  assert.equal(await nodes.getByRole('link').count(), 2, 'only what is ours has a page here');
  assert.deepEqual(asked.map(([list, { cursor }]) => [list, cursor]), [['summary', undefined], ['managers', undefined], ['nodes', undefined], ['nodes', 'manager_01a2093f1b1e76189e56e988bd4a8336/nodes/2']]);
  await holdsUp(page, 'fleet');
});

test('filters are in the address, and asked of the cluster', async () => {
  const asked = await cluster(page);
  await page.getByLabel('Region').selectOption('cellar');
  await page.getByRole('row', { name: /cellar-pi/ }).waitFor();
  await page.getByLabel('Status').selectOption('active');
  await page.getByText('No node fits').waitFor();
  assert.equal(new URL(page.url()).search, '?region=cellar&status=active');
  assert.deepEqual(asked.at(-1), ['nodes', { region: 'cellar', status: 'active', limit: '100' }]);
  await page.getByLabel('Status').selectOption('');
  await page.getByLabel('Manager', { exact: true }).selectOption('manager_77fe01');
  await page.getByRole('row', { name: /cellar-pi/ }).waitFor();
});

test('a cluster that is away says so, and is asked again', async () => {
  let away = true;
  await cluster(page);
  await page.route(/\/api\/v1\/fleet\/summary/, (route) => (away ? route.fulfill({ status: 503, json: { error: { code: 'LUCID_ERR_5031', message: 'the cluster does not answer, or not in time: what is there is not known now', details: { name: 'FleetUnreachable', fields: [] }, request_id: 'r', timestamp: ago(0), service: 's', version: 'v' } } }) : route.fallback()));
  await page.goto(`${BASE}/fleet`);
  await page.getByText('The cluster does not answer, or not in time').waitFor();
  await holdsUp(page, 'fleet-away');
  away = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('row', { name: /manager_01a2093f1b1e76189e56e988bd4a8336 this one/ }).waitFor();
  away = true;
  await page.getByRole('button', { name: 'Read again' }).click();
  await page.getByText('Newer data could not be loaded').waitFor();
  await page.getByRole('row', { name: /manager_01a2093f1b1e76189e56e988bd4a8336 this one/ }).waitFor();
});

test('an empty cluster, and the fleet by phone and in the dark', async () => {
  const phone = await signedIn('viewer', { ...VIEWS.phone, colorScheme: 'dark' });
  await cluster(phone.page, { managers: [], nodes: [] });
  await phone.page.getByText('Nothing of a manager is in the cluster yet.').waitFor();
  await holdsUp(phone.page, 'fleet-empty');
  await cluster(phone.page);
  await holdsUp(phone.page, 'fleet-phone');
  assert.deepEqual(phone.heard, []);
  await phone.context.close();
});

test('the pages had nothing to complain about', async () => {
  assert.deepEqual(complaints, []);
  await context.close();
});
