// Runs the browser tests. `flow` is the first hour with a real manager and a real agent, on an empty data folder and a free port; `pages`, `behaviour`,
// `money`, `storage`, `replication`, `fleet` and `verify` look at the demo, a fleet with a history on a driven clock; `live` pays with the fake TRON node. What is started here is stopped here.
//
//   LUCID_BIN=target/debug/lucid-node-management LUCID_DEMO=target/debug/examples/demo node web/tests/run.mjs [flow] [pages] [behaviour] [money] [storage] [replication] [fleet] [verify] [live]
//
// The fake node is the example `tron_node` beside the demo.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { fill, serve as serveDemo } from './demo.mjs';

const START_MS = 30_000;
const STOP_MS = 10_000;
/** The contract of the token on the fake chain. */
const TOKEN = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';
const NODE_NAME = 'browser-test-node';
const here = fileURLToPath(new URL('.', import.meta.url));
const artefacts = resolve(here, process.env.LUCID_ARTEFACTS ?? '../../target/artefacts');

/** Ends a child by its pid: politely unless told otherwise, then not. */
async function stop(child, signal = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  const hard = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await gone;
  clearTimeout(hard);
}

/** Starts a manager; the address it says it listens on. */
const serve = (bin, data, listen, more = []) => listening(bin, ['serve', '--data-dir', data, '--listen', listen, ...more]);

/** Starts what says where it listens. */
async function listening(bin, args) {
  const child = spawn(bin, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((found, failed) => {
    const late = setTimeout(() => failed(new Error(`${bin} did not say where it listens within ${START_MS} ms`)), START_MS);
    child.once('error', failed);
    child.once('exit', (code) => failed(new Error(`${bin} ended with ${code} before it listened`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const address = /listening on (https?:\/\/\S+)/.exec(line)?.[1];
      if (!address) return;
      clearTimeout(late);
      found(address.replace(/\/$/, ''));
    });
  }).catch(async (error) => {
    await stop(child);
    throw error;
  });
  return { child, url };
}

async function startManager(bin, folder) {
  const data = join(folder, 'manager');
  let { child, url } = await serve(bin, data, '127.0.0.1:0');
  const code = (await readFile(join(data, 'setup-code'), 'utf8')).trim();
  const agent = [bin, 'agent', '--manager', url, '--token-file', '-', '--state-dir', join(folder, 'agent'), '--name', NODE_NAME];
  const kill = () => stop(child, 'SIGKILL');
  const restart = async () => ({ child } = await serve(bin, data, new URL(url).host));
  return { url, code, agent, kill, restart, stop: () => stop(child) };
}

/** Lets the tests, which run in processes of their own, cut the manager's power and give it back. */
function control(manager) {
  const server = createServer((request, response) => {
    const act = { '/kill': manager.kill, '/restart': manager.restart }[request.url];
    Promise.resolve(act?.()).then(
      () => response.writeHead(act ? 204 : 404).end(),
      (error) => response.writeHead(500).end(error.message),
    );
  });
  return new Promise((ready) => server.listen(0, '127.0.0.1', () => ready(server)));
}

/** Runs one file of tests; true when all of them passed. */
async function run(file, env) {
  const tests = spawn(process.execPath, ['--test', '--test-reporter=spec', join(here, file)], { stdio: 'inherit', env: { ...process.env, LUCID_ARTEFACTS: artefacts, ...env } });
  return (await new Promise((done) => tests.once('exit', done))) === 0;
}

/** A new manager and an agent of this machine. */
async function firstHour(bin) {
  const folder = await mkdtemp(join(tmpdir(), 'lucid-browser-'));
  let manager;
  let controls;
  try {
    manager = await startManager(bin, folder);
    controls = await control(manager);
    return await run('flow.test.mjs', {
      LUCID_BASE_URL: manager.url,
      LUCID_SETUP_CODE: manager.code,
      LUCID_AGENT_CMD: JSON.stringify(manager.agent),
      LUCID_NODE_NAME: NODE_NAME,
      LUCID_CONTROL: `http://127.0.0.1:${controls.address().port}`,
    });
  } finally {
    controls?.close();
    await manager?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a command to its end; what it printed. */
async function output(bin, args) {
  const child = spawn(bin, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (part) => (text += part));
  const code = await new Promise((done) => child.once('close', done));
  if (code !== 0) throw new Error(`${bin} ${args.join(' ')} ended with ${code}`);
  return text;
}

/** A manager whose wallet is on a fake chain. */
async function liveMoney(bin, chain) {
  const folder = await mkdtemp(join(tmpdir(), 'lucid-live-'));
  const passphrase = 'a wallet of nobody’s money';
  let node;
  let manager;
  try {
    await writeFile(join(folder, 'passphrase'), passphrase);
    const address = async (name) => /T[1-9A-HJ-NP-Za-km-z]{33}/.exec(await output(bin, ['wallet', 'create', '--keystore', join(folder, name), '--passphrase-file', join(folder, 'passphrase')]))[0];
    const [wallet, payee] = [await address('wallet'), await address('payee')];
    node = await listening(chain, ['--listen', '127.0.0.1:0', '--solid-distance', '10', '--fund', `${wallet}:500:1000`]);
    const genesis = await fetch(`${node.url}/wallet/getblockbynum`, { method: 'POST', body: JSON.stringify({ num: 0 }) }).then((r) => r.json());
    const settings = {
      payout: { mode: 'live', gateway: 'tron', address_cooldown_hours: 0 },
      tron: { node_url: node.url, network: 'private', genesis_block_id: genesis.blockID, usdt_contract: TOKEN, keystore: join(folder, 'wallet') },
    };
    const lines = Object.entries(settings).flatMap(([table, keys]) => [`[${table}]`, ...Object.entries(keys).map(([key, value]) => `${key} = ${JSON.stringify(value)}`)]);
    await writeFile(join(folder, 'lucid.toml'), lines.join('\n'));
    manager = await serve(bin, join(folder, 'manager'), '127.0.0.1:0', ['--config', join(folder, 'lucid.toml')]);
    const code = (await readFile(join(folder, 'manager', 'setup-code'), 'utf8')).trim();
    return await run('live.test.mjs', { LUCID_BASE_URL: manager.url, LUCID_SETUP_CODE: code, LUCID_PASSPHRASE: passphrase, LUCID_WALLET: wallet, LUCID_PAYEE: payee });
  } finally {
    if (manager) await stop(manager.child);
    if (node) await stop(node.child);
    await rm(folder, { recursive: true, force: true });
  }
}

/** A fleet with a history. Each file has a copy of its own, because it changes it. */
async function fleet(bin, files) {
  const filled = await fill(bin);
  let good = true;
  try {
    for (const file of files) {
      const demo = await serveDemo(bin, filled.data);
      try {
        good = (await run(file, demo.env)) && good;
      } finally {
        await demo.stop();
      }
    }
  } finally {
    await filled.remove();
  }
  return good;
}

await mkdir(artefacts, { recursive: true });
const { LUCID_BIN, LUCID_DEMO } = process.env;
/** Names of the suites to run, all by default: `npm run test:browser -- pages`. */
const wanted = process.argv.slice(2);
const wants = (name) => wanted.length === 0 || wanted.includes(name);
let good = true;
try {
  if (!LUCID_BIN || !LUCID_DEMO) throw new Error('set LUCID_BIN to the binary under test, and LUCID_DEMO to the example `demo`');
  const files = ['pages', 'behaviour', 'money', 'storage', 'replication', 'fleet', 'verify'].filter(wants).map((name) => `${name}.test.mjs`);
  if (files.length > 0) good = (await fleet(resolve(LUCID_DEMO), files)) && good;
  if (wants('live')) good = (await liveMoney(resolve(LUCID_BIN), join(dirname(resolve(LUCID_DEMO)), 'tron_node'))) && good;
  if (wants('flow')) good = (await firstHour(resolve(LUCID_BIN))) && good;
} catch (error) {
  console.error(error.message);
  good = false;
}
process.exit(good ? 0 : 1);
