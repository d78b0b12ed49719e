// Runs the browser tests against a real manager and a real agent: starts the manager on an empty data folder and a free port, hands the
// tests its address, its setup code and how to start an agent, and stops what it started.
//
//   LUCID_BIN=target/debug/lucid-node-management node web/tests/run.mjs
//   LUCID_MOCK=1 node web/tests/run.mjs        (the same tests over the development mock, to work on the tests themselves)
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

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

async function startMocked() {
  const { startMock } = await import('../dev/mock-server.mjs');
  const mock = await startMock({ variant: 'setup', tickMs: 1_000 });
  const arrive = `fetch('${mock.url}/mock/arrive?name=${NODE_NAME}').then(() => setInterval(() => {}, 1000))`;
  return { url: mock.url, code: 'MOCK-CODE', agent: [process.execPath, '-e', arrive], stop: mock.close };
}

const folder = await mkdtemp(join(tmpdir(), 'lucid-browser-'));
await mkdir(artefacts, { recursive: true });
let manager;
let controls;
let code = 1;
try {
  if (!process.env.LUCID_BIN && !process.env.LUCID_MOCK) throw new Error('set LUCID_BIN to the binary under test');
  manager = process.env.LUCID_MOCK ? await startMocked() : await startManager(resolve(process.env.LUCID_BIN), folder);
  if (manager.restart) controls = await control(manager);
  const env = {
    ...process.env,
    LUCID_BASE_URL: manager.url,
    LUCID_SETUP_CODE: manager.code,
    LUCID_AGENT_CMD: JSON.stringify(manager.agent),
    LUCID_NODE_NAME: NODE_NAME,
    LUCID_ARTEFACTS: artefacts,
    ...(controls && { LUCID_CONTROL: `http://127.0.0.1:${controls.address().port}` }),
  };
  const tests = spawn(process.execPath, ['--test', '--test-reporter=spec', join(here, 'flow.test.mjs')], { stdio: 'inherit', env });
  code = await new Promise((done) => tests.once('exit', (c) => done(c ?? 1)));
} catch (error) {
  console.error(error.message);
} finally {
  controls?.close();
  await manager?.stop();
  await rm(folder, { recursive: true, force: true });
}
process.exit(code);
