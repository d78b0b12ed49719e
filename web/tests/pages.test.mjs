// Every page of a fleet with a history, at every width and in both themes: it fits, it is accessible, and its picture is kept to be looked at.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, VIEWS, watch } from './chromium.mjs';
import { accessible, fits, named, picture, settled, watchMoney } from './look.mjs';

const { LUCID_DEMO_URL: BASE, LUCID_DEMO_LOGINS } = process.env;
const LOGINS = JSON.parse(LUCID_DEMO_LOGINS ?? '{}');

let browser;
let storageState;
let ids;

async function signedIn(options = {}) {
  const context = await browser.newContext({ reducedMotion: 'reduce', storageState, ...options });
  // A node without a payout address is answered 404, which the browser itself logs.
  const complaints = await watch(context, (text) => /^Failed to load resource.* (404 .*\/payout-address|409 .*\/fleet\/summary)$/.test(text));
  const money = watchMoney(context);
  return { context, complaints, money, page: await context.newPage() };
}

before(async () => {
  assert.ok(BASE && LOGINS.admin, 'started by tests/run.mjs');
  browser = await launch();
  const context = await browser.newContext();
  const { username, password } = LOGINS.admin;
  const answer = await context.request.post(`${BASE}/api/v1/auth/login`, { data: { username, password } });
  assert.equal(answer.status(), 200);
  storageState = await context.storageState();
  const ask = async (path) => (await context.request.get(`${BASE}/api/v1${path}`)).json();
  const [nodes, pools, payouts] = [await ask('/nodes?limit=100&sort=poot_score&order=desc'), await ask('/nodes/pools'), await ask('/nodes/payouts/history?limit=100')];
  ids = {
    best: nodes.nodes[0].node_id,
    silent: nodes.nodes.find((node) => node.status === 'unreachable').node_id,
    young: nodes.nodes.find((node) => node.poot.state === 'pending').node_id,
    pool: pools.pools[0].pool_id,
    paid: payouts.payouts.find((payout) => payout.status === 'completed').payout_id,
    review: payouts.payouts.find((payout) => payout.review_reason).payout_id,
    pending: payouts.payouts.find((payout) => payout.status === 'pending').payout_id,
    failed: payouts.payouts.find((payout) => payout.status === 'failed').payout_id,
    batch: (await ask('/nodes/payouts/batches')).batches[0].batch_id,
  };
  await context.close();
});

after(() => browser?.close());

const PAGES = [
  ['overview', () => '/'],
  ['nodes', () => '/nodes'],
  ['nodes-none', () => '/nodes?search=nothing-is-called-so'],
  ['node', () => `/nodes/${ids.best}`],
  ['node-30d', () => `/nodes/${ids.best}?range=30d`],
  ['node-silent', () => `/nodes/${ids.silent}`],
  ['node-pending', () => `/nodes/${ids.young}`],
  ['pools', () => '/pools'],
  ['pool', () => `/pools/${ids.pool}`],
  ['poot', () => '/poot'],
  ['alerts', () => '/alerts'],
  ['payouts', () => '/payouts'],
  ['payout-batches', () => '/payouts?tab=batches'],
  ['payout-batch', () => `/payouts?tab=batches&batch=${ids.batch}`],
  ['payout-schedules', () => '/payouts?tab=schedules'],
  ['wallet', () => '/money'],
  ['payout-paid', () => `/payouts/${ids.paid}`],
  ['payout-pending', () => `/payouts/${ids.pending}`],
  ['payout-failed', () => `/payouts/${ids.failed}`],
  ['payout-review', () => `/payouts/${ids.review}`],
  ['ledger', () => '/ledger'],
  ['audit', () => '/audit'],
  ['enrol', () => '/enrol'],
  ['storage', () => '/storage'],
  ['storage-backups', () => '/storage?tab=backups'],
  ['replication', () => '/replication'],
  ['fleet', () => '/fleet'],
  ['settings', () => '/settings'],
  ['setup', () => '/setup'],
  ['about', () => '/about'],
  ['missing', () => '/no/such/page'],
];

for (const view of ['desktop', 'phone']) {
  for (const colorScheme of ['light', 'dark']) {
    test(`every page, ${view}, ${colorScheme}`, { timeout: 240_000 }, async (t) => {
      const { context, complaints, money, page } = await signedIn({ ...VIEWS[view], colorScheme });
      for (const [name, path] of PAGES) {
        await t.test(name, async () => {
          await page.goto(BASE + path());
          await settled(page);
          await fits(page);
          await named(page);
          await accessible(page);
          await picture(page, `${name}-${view}-${colorScheme}`);
        });
      }
      assert.deepEqual(complaints, []);
      assert.deepEqual(money, []);
      await context.close();
    });
  }
}

test('the narrowest phone', async (t) => {
  const { context, page } = await signedIn({ ...VIEWS.phone, viewport: { width: 340, height: 700 } });
  for (const [name, path] of PAGES) {
    await t.test(name, async () => {
      await page.goto(BASE + path());
      await settled(page);
      await fits(page);
    });
  }
  await context.close();
});

test('every page says when its data cannot be loaded, and that it lets one try again', async (t) => {
  const { context, page } = await signedIn(VIEWS.desktop);
  const broken = { status: 503, contentType: 'application/json', body: JSON.stringify({ error: { code: 'X', message: 'the store is away' } }) };
  await context.route(/\/api\/v1\/(?!auth|setup$|events|clock)/, (route) => route.fulfill(broken));
  for (const [name, path] of PAGES.filter(([name]) => !['missing', 'nodes-none', 'node-30d', 'enrol'].includes(name))) {
    await t.test(name, async () => {
      await page.goto(BASE + path());
      await page.getByText('The store is away.').first().waitFor();
      await page.getByRole('button', { name: 'Try again' }).first().waitFor();
      await accessible(page);
      await picture(page, `${name}-error`);
    });
  }
  await context.close();
});
