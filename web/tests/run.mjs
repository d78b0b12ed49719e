// Runs the browser tests. `flow` is the first hour with a real manager and a real agent, on an empty data folder and a free port; `pages` and
// `behaviour` look at the demo, a fleet with a history on a driven clock. What is started here is stopped here.
//
//   LUCID_BIN=target/debug/lucid-node-management LUCID_DEMO=target/debug/examples/demo node web/tests/run.mjs [flow] [pages] [behaviour]
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { fill, serve as serveDemo } from './demo.mjs';

const START_MS = 30_000;
const STOP_MS = 10_000;
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
async function serve(bin, data, listen) {
  const child = spawn(bin, ['serve', '--data-dir', data, '--listen', listen], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((found, failed) => {
    const late = setTimeout(() => failed(new Error(`the manager did not say where it listens within ${START_MS} ms`)), START_MS);
    child.once('error', failed);
    child.once('exit', (code) => failed(new Error(`the manager ended with ${code} before it listened`)));
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
  const files = ['pages', 'behaviour'].filter(wants).map((name) => `${name}.test.mjs`);
  if (files.length > 0) good = (await fleet(resolve(LUCID_DEMO), files)) && good;
  if (wants('flow')) good = (await firstHour(resolve(LUCID_BIN))) && good;
} catch (error) {
  console.error(error.message);
  good = false;
}
process.exit(good ? 0 : 1);
