// A stand-in for the manager, for development and for looking at pages only: serves web/dist under the real content security policy
// and answers the API with invented data that moves. Nothing of it is shipped.
//
//   node dev/mock-server.mjs [--variant full|empty|error|setup|untrusted|large] [--port 8090]
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
export const CSP = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const SLOT_MS = 30_000;
const iso = (ms) => new Date(ms).toISOString();

function noise(seed) {
  const x = Math.sin(seed * 12.9898) * 43758.5453;
  return x - Math.floor(x);
}

const NODES = [
  { name: 'attic-pi', status: 'active', score: 99.31, state: 'valid', accrued: '0.041233871204', payable: '1.204500' },
  { name: 'barn-gateway', status: 'active', score: null, state: 'pending', observed: 1994, accrued: '0', payable: '0' },
  { name: 'cellar-nas', status: 'unreachable', score: 61.7, state: 'valid', accrued: '0.001200000000', payable: '14.020000', silent: 5_400_000 },
  { name: 'garage-compute-with-a-rather-long-name-01', status: 'maintenance', score: 88.05, state: 'valid', accrued: '0.020011000000', payable: '1203.991002' },
  { name: 'hall-zero', status: 'error', score: 32.4, state: 'invalid', accrued: '0', payable: '0.300000', drift: true, silent: 900_000 },
  { name: 'kitchen-pi', status: 'starting', score: null, state: 'pending', observed: 0, accrued: '0', payable: '0', never: true },
  { name: 'loft-lab', status: 'inactive', score: 97.92, state: 'valid', accrued: '0.003300000000', payable: '0.910000' },
];

export function startMock({ variant = 'full', port = 0, tickMs = 2_000 } = {}) {
  const started = Date.now();
  const state = { variant, needsSetup: variant === 'setup', signedIn: variant !== 'setup' && variant !== 'signed-out', address: null, nodes: [] };
  const listeners = new Set();
  const user = { id: 'user_1', username: 'ada', role: 'super_admin', created_at: iso(started - 9e8) };
  if (variant !== 'empty' && variant !== 'setup') NODES.forEach((n, i) => state.nodes.push({ ...n, index: i, id: `node_0192f0c4a7b17${i}c3` }));
  if (variant === 'large') {
    for (let i = 0; i < 120; i += 1) state.nodes.push({ ...NODES[i % 7], name: `rack-${i}`, index: i + 7, id: `node_large${String(i).padStart(4, '0')}` });
  }

  const heard = (n) => (n.never ? null : Math.floor((Date.now() - n.index * 900) / 5_000) * 5_000 - (n.silent ?? 0));
  function sample(n, atMs) {
    const k = Math.floor(atMs / SLOT_MS) + n.index * 977;
    const wave = 22 + 14 * Math.sin(k / 14) + 18 * noise(k) + (noise(Math.floor(k / 9)) > 0.85 ? 30 : 0);
    const pi = n.index % 3 === 0;
    const total = 4 * 1024 ** 3;
    const seconds = (atMs - started + 9e7) / 1000;
    const moved = (base) => Math.floor(base * (seconds + 240 * Math.sin(seconds / 900) + 20 * noise(k)));
    return {
      node_id: n.id,
      timestamp: iso(atMs),
      cpu: { usage_percent: Math.min(100, wave), cores: 4, frequency_mhz: 1500, load_average: [0.4, 0.32, 0.3], ...(pi && { temperature_celsius: 46 + 8 * noise(k) }) },
      memory: { total_bytes: total, used_bytes: Math.floor(total * (0.41 + 0.06 * Math.sin(k / 30))), free_bytes: 1e9 },
      disk: { total_bytes: 62e9, used_bytes: 17.3e9, free_bytes: 44e9 },
      network: { interfaces: [], total_bytes_in: moved(41_000), total_bytes_out: moved(9_000) },
    };
  }
  const latest = (n) => {
    const at = heard(n);
    if (at === null) return null;
    const s = sample(n, at);
    return {
      timestamp: s.timestamp,
      cpu_usage_percent: s.cpu.usage_percent,
      memory_used_bytes: s.memory.used_bytes,
      memory_total_bytes: s.memory.total_bytes,
      disk_used_bytes: s.disk.used_bytes,
      disk_total_bytes: s.disk.total_bytes,
      ...(s.cpu.temperature_celsius && { temperature_celsius: s.cpu.temperature_celsius }),
    };
  };
  const node = (n) => ({
    node_id: n.id,
    name: n.name,
    node_type: 'worker',
    status: n.status,
    observed: n.status,
    wanted: 'running',
    eligible: 'in_service',
    pool_id: 'pool_default',
    pool_name: 'default',
    hardware_info: n.never
      ? null
      : {
          cpu: { cores: 4, frequency_mhz: 1500, architecture: 'aarch64' },
          memory: { total_bytes: 4 * 1024 ** 3, type: 'LPDDR4' },
          storage: { total_bytes: 62e9, type: 'sd', interface: null },
          network: [{ interface: 'eth0', speed_mbps: 1000, mac_address: 'dc:a6:32:00:00:01' }, { interface: 'wlan0' }],
        },
    location: { city: 'Lyon', country: 'FR' },
    configuration: {},
    enrolled: true,
    fingerprint_drift: n.drift ?? false,
    last_heartbeat: heard(n) === null ? null : iso(heard(n)),
    poot: { state: n.state, score: n.score, confidence: 0.61, observed_seconds: observed(n), required_seconds: 3600 },
    accrued: n.accrued,
    payable: n.payable,
    currency: 'USDT',
    created_at: iso(started - 4e8),
    updated_at: iso(started),
    latest: latest(n),
  });
  const observed = (n) => (n.observed === undefined ? 86_000 : n.observed + Math.floor((Date.now() - started) / SLOT_MS) * 30);
  const page = (items, query, name) => {
    const limit = Number(query.get('limit') ?? 20);
    const at = Number(query.get('page') ?? 1);
    const pages = Math.max(1, Math.ceil(items.length / limit));
    return { [name]: items.slice((at - 1) * limit, at * limit), pagination: { page: at, limit, total: items.length, pages, has_next: at < pages, has_prev: at > 1 } };
  };
  function slots(n) {
    const now = Math.floor(Date.now() / SLOT_MS);
    return Array.from({ length: 120 }, (_, i) => {
      const slot = now - 119 + i;
      const age = 119 - i;
      const r = noise(slot * 3.7 + n.index);
      let s = r > 0.985 ? 'missed' : 'proven';
      if (n.silent) s = age * SLOT_MS < n.silent ? 'missed' : s;
      if (n.index === 0 && age > 60 && age < 67) s = 'attested';
      if (n.state === 'pending' && age * 30 > observed(n)) s = 'unobserved';
      if (age <= 2 && s !== 'proven') s = 'pending';
      return { slot, state: s };
    });
  }
  function metrics(n, query) {
    const step = { '30s': 30, '1m': 60, '5m': 300, '15m': 900, '1h': 3600 }[query.get('granularity') ?? '30s'] * 1000;
    const [from, to] = ['start_time', 'end_time'].map((k) => Date.parse(query.get(k)));
    const out = [];
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const age = Date.now() - t;
      const off = n.never || (n.silent && age < n.silent) || (age > 26 * 60_000 && age < 33 * 60_000) || (age > 9 * 3.6e6 && age < 11 * 3.6e6);
      if (!off && !(n.state === 'pending' && age > observed(n) * 1000)) out.push(sample(n, t));
    }
    return { node_id: n.id, granularity: query.get('granularity'), start_time: iso(from), end_time: iso(to), metrics: out };
  }
  const refuse = (status, name, message, fields) => ({
    status,
    body: { error: { code: 'LUCID_ERR_0000', message, details: { name, ...(fields && { fields }) }, request_id: 'req_mock', timestamp: iso(Date.now()), service: 'lucid-node-management', version: 'mock' } },
  });
  const tell = (type, data) => listeners.forEach((l) => l.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`));

  function answer(method, path, query, body) {
    const ok = (b, status = 200) => ({ status, body: b });
    if (path === '/setup' && method === 'GET') return ok({ needed: state.needsSetup });
    if (path === '/setup') {
      if (body.code !== 'MOCK-CODE') return refuse(403, 'SetupCodeWrong', 'the setup code is wrong', [{ field: 'code', message: 'is wrong' }]);
      Object.assign(state, { needsSetup: false, signedIn: true, password: body.password });
      return ok({ user: { ...user, username: body.username }, clock_confirmed: true }, 201);
    }
    if (path === '/auth/login') {
      if (body.password === 'wrong' || (state.password && body.password !== state.password)) return refuse(401, 'WrongCredentials', 'the user name or password is wrong');
      state.signedIn = true;
      return ok({ access_token: 'mock', token_type: 'Bearer', expires_in: 3600, user });
    }
    if (!state.signedIn) return refuse(401, 'NotSignedIn', 'sign in first');
    if (path === '/auth/logout') {
      state.signedIn = false;
      return { status: 204 };
    }
    if (path === '/auth/me') return ok({ user, expires_at: iso(Date.now() + 36e5) });
    if (path === '/clock') {
      const bad = state.variant === 'untrusted';
      return ok({ wall: iso(Date.now()), trusted: !bad, why: bad ? 'the kernel is not synchronised' : null, high_water: iso(Date.now()) });
    }
    if (path === '/clock/confirm') {
      state.variant = 'full';
      return ok({ trusted: true });
    }
    if (path === '/recovery-kit' && state.password && body.password !== state.password) return refuse(403, 'FreshFactorNeeded', 'enter your password again for this');
    if (path === '/recovery-kit') return ok({ kit: 'mock' });
    if (state.variant === 'error') return refuse(503, 'StoreUnavailable', 'the store cannot be read at the moment');
    const pool = {
      pool_id: 'pool_default',
      name: 'default',
      description: null,
      node_count: state.nodes.length,
      max_nodes: 500,
      pricing: { cost_per_hour: '0.05', reward_per_hour: '0.05', currency: 'USDT' },
      created_at: iso(started),
      updated_at: iso(started),
    };
    if (path === '/nodes/pools') return ok(page([pool, { ...pool, pool_id: 'pool_lab', name: 'lab', node_count: 0 }], query, 'pools'));
    if (path === '/enrolment-tokens') {
      const token = 'etok_01JD3X7V9Q.h3Jk2mQx8TzWv5Rb7Yc1Nd4Pf6Gs9La.9f86d081884c7d65';
      return ok({ id: 'etok_01JD3X7V9Q', token, command: 'lucid-node-management agent --manager https://10.0.0.5:8443', expires_at: iso(Date.now() + body.expires_in_seconds * 1000) }, 201);
    }
    if (path === '/nodes') {
      let found = state.nodes;
      const [search, status] = [query.get('search'), query.get('status')];
      if (search) found = found.filter((n) => n.name.includes(search) || n.id.includes(search));
      if (status) found = found.filter((n) => n.status === status);
      if (query.get('sort') === 'created_at') found = [...found].reverse();
      return ok(page(found.map(node), query, 'nodes'));
    }
    const [, , id, ...rest] = path.split('/');
    const n = state.nodes.find((x) => x.id === id);
    if (!path.startsWith('/nodes/') || !n) return refuse(404, 'NodeNotFound', 'no node has this id');
    switch (rest.join('/')) {
      case '':
        return ok(node(n));
      case 'resources':
        return ok({ node_id: n.id, current: n.never ? null : sample(n, heard(n)), stale_since: n.silent ? iso(heard(n)) : null, series: [] });
      case 'resources/metrics':
        return ok(metrics(n, query));
      case 'poot/score': {
        const recent = slots(n);
        const slot = Math.floor(Date.now() / SLOT_MS);
        const total = Math.floor(observed(n) / 30);
        const proven = n.score === null ? total : Math.floor((total * n.score) / 100);
        return ok({
          node_id: n.id, score: n.score, state: n.state, validation_status: n.state, confidence: 0.61, calculated_at: iso(Date.now() - 1e5), output_hash: null,
          observed_seconds: observed(n), required_seconds: 3600, proven_slots: proven, observed_slots: total,
          factors: { uptime: total ? proven / total : null, output: null, stability: 0.958, resources: 1 }, multiplier: '1.214', min_score: 50,
          current_slot: { slot, proven: Date.now() % SLOT_MS > 9_000, ends_at: iso((slot + 1) * SLOT_MS) }, recent_slots: recent,
        });
      }
      case 'poot/history': {
        const now = Math.floor(Date.now() / 300_000);
        const list = n.never ? [] : Array.from({ length: 60 }, (_, i) => {
          const epoch = now - 1 - i;
          return { epoch, start: iso(epoch * 3e5), end: iso((epoch + 1) * 3e5), state: n.state, score: n.score, proven: noise(epoch) > 0.9 ? 9 : 10, observed: 10, accrued: n.state === 'valid' ? '0.004166666666' : '0' };
        });
        return ok(page(list, query, 'epochs'));
      }
      case 'payouts':
        return ok(page(n.index !== 0 ? [] : [
          { payout_id: 'payout_1', node_id: n.id, amount: '1.204500', currency: 'USDT', wallet_address: 'T', status: 'completed', settlement: 'simulated', attempts: 1, created_at: iso(started - 864e5), updated_at: iso(started) },
          { payout_id: 'payout_0', node_id: n.id, amount: '10.0', currency: 'USDT', wallet_address: 'T', status: 'processing', settlement: 'simulated', review_reason: 'above the approval threshold', attempts: 0, created_at: iso(started - 2 * 864e5), updated_at: iso(started) },
        ], query, 'payouts'));
      case 'payout-address':
        if (method === 'PUT') {
          if (!/^T[1-9A-HJ-NP-Za-km-z]{33}$/.test(body.address)) return refuse(422, 'Invalid', 'the request has invalid fields', [{ field: 'address', message: 'is not a TRON address' }]);
          n.address = { address: body.address, currency: 'USDT', active_from: iso(Date.now() + 864e5), cooling_down: true, changed_at: iso(Date.now()) };
        }
        return n.address ? ok(n.address) : refuse(404, 'AddressNotFound', 'the node has no payout address');
      default:
        return refuse(501, 'NotBuilt', 'this route is planned and not built yet');
    }
  }

  const ticking = setInterval(() => {
    for (const n of state.nodes) {
      if (n.silent || n.never) continue;
      const l = latest(n);
      tell('report', { node_id: n.id, ...l, status: n.status, proved: Math.floor(Date.now() / SLOT_MS) });
    }
  }, tickMs);

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://mock');
    response.setHeader('Content-Security-Policy', CSP);
    if (url.pathname === '/mock/arrive') {
      const n = { name: url.searchParams.get('name') ?? 'new-node', status: 'active', score: null, state: 'pending', observed: 0, accrued: '0', payable: '0', index: state.nodes.length, id: `node_new${state.nodes.length}abc` };
      state.nodes.push(n);
      tell('node', { node_id: n.id, change: 'created' });
      return response.end('{}');
    }
    if (url.pathname === '/mock/sign-out') {
      state.signedIn = false;
      return response.end('{}');
    }
    if (url.pathname === '/api/v1/events') {
      if (!state.signedIn) return response.writeHead(401).end();
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      response.write('retry: 3000\n\n');
      listeners.add(response);
      request.on('close', () => listeners.delete(response));
      return;
    }
    if (url.pathname.startsWith('/api/v1')) {
      let text = '';
      for await (const chunk of request) text += chunk;
      const { status, body } = answer(request.method, url.pathname.slice('/api/v1'.length), url.searchParams, text ? JSON.parse(text) : {});
      response.writeHead(status, { 'Content-Type': 'application/json' });
      return response.end(body === undefined ? '' : JSON.stringify(body));
    }
    const asset = normalize(url.pathname).startsWith('/assets/') ? url.pathname : '/index.html';
    try {
      const bytes = await readFile(join(DIST, normalize(asset)));
      response.writeHead(200, { 'Content-Type': TYPES[extname(asset)] ?? 'application/octet-stream' });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) =>
    server.listen(port, '127.0.0.1', () =>
      resolve({
        url: `http://127.0.0.1:${server.address().port}`,
        state,
        dropStreams: () => listeners.forEach((l) => l.destroy()),
        close: () => {
          clearInterval(ticking);
          listeners.forEach((l) => l.end());
          server.closeAllConnections();
          return new Promise((done) => server.close(done));
        },
      }),
    ),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(`--${name}`);
    return at > 0 ? process.argv[at + 1] : otherwise;
  };
  const mock = await startMock({ variant: option('variant', 'full'), port: Number(option('port', 8090)) });
  console.log(`listening on ${mock.url}`);
}
