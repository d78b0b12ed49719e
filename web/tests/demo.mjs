// The demo for browser tests: a store is filled once, and each suite gets a copy of its own, served by a process that takes its commands.
import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Enough for charts of a week and days of payouts; a month is for people. */
const DAYS = process.env.LUCID_DEMO_DAYS ?? '10';
const MORE = process.env.LUCID_DEMO_NODES ? ['--nodes', process.env.LUCID_DEMO_NODES] : [];
const FILL_MS = 900_000;
const START_MS = 120_000;
const TOLD_MS = 120_000;
const PASSWORD = 'correct horse battery';
export const LOGINS = Object.fromEntries(
  Object.entries({ super_admin: 'ada', admin: 'alan', operator: 'grace', viewer: 'vera' }).map(([role, username]) => [role, { username, password: PASSWORD }]),
);

const within = (ms, what, promise) => {
  let late;
  return Promise.race([promise, new Promise((_, failed) => (late = setTimeout(() => failed(new Error(`${what}: nothing within ${ms} ms`)), ms)))]).finally(() => clearTimeout(late));
};

/** Where a store is filled: in memory where there is room, because filling is thousands of commits. */
async function scratch() {
  const memory = await stat('/dev/shm').then((s) => s.isDirectory(), () => false);
  return mkdtemp(join(memory ? '/dev/shm' : tmpdir(), 'lucid-demo-'));
}

/** Fills a store; returns its folder and how to be rid of it. */
export async function fill(bin) {
  const folder = await scratch();
  const data = join(folder, 'store');
  const child = spawn(bin, ['--days', DAYS, ...MORE, '--data-dir', data, '--fill-only'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise((done, failed) => {
    child.once('error', failed);
    child.once('exit', done);
  });
  const code = await within(FILL_MS, 'filling the demo', ended).finally(() => child.kill('SIGKILL'));
  if (code !== 0) throw new Error(`filling the demo ended with ${code}`);
  return { data, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Serves a copy of a filled store; `control` takes lines by POST: the demo's commands, `kill`, and `resume`. */
export async function serve(bin, filled) {
  const folder = await scratch();
  const data = join(folder, 'store');
  await cp(filled, data, { recursive: true });
  let child;
  let lines;
  let listen = '127.0.0.1:0';

  async function start() {
    child = spawn(bin, ['--data-dir', data, '--resume', '--listen', listen], { stdio: ['pipe', 'pipe', 'inherit'] });
    const heard = [];
    const waiting = [];
    createInterface({ input: child.stdout }).on('line', (line) => {
      const next = waiting.shift();
      if (next) next(line);
      else heard.push(line);
    });
    lines = () => (heard.length > 0 ? Promise.resolve(heard.shift()) : new Promise((found) => waiting.push(found)));
    const url = await within(START_MS, 'serving the demo', find(/listening on (http:\/\/\S+)/));
    listen = new URL(url).host;
    return url;
  }

  async function find(pattern) {
    for (;;) {
      const match = pattern.exec(await lines());
      if (match) return match[1];
    }
  }

  async function end(signal) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill(signal);
    await gone;
  }

  async function tell(line) {
    if (line === 'kill') return end('SIGKILL');
    if (line === 'resume') return void (await start());
    child.stdin.write(`${line}\n`);
    const answer = await within(TOLD_MS, line, find(/^((?:done|error)\b.*)/));
    if (answer.startsWith('error')) throw new Error(answer);
  }

  const url = (await start()).replace(/\/$/, '');
  const door = createServer(async (request, response) => {
    let line = '';
    for await (const part of request) line += part;
    tell(line).then(
      () => response.writeHead(204).end(),
      (error) => response.writeHead(500).end(error.message),
    );
  });
  await new Promise((ready) => door.listen(0, '127.0.0.1', ready));
  return {
    env: { LUCID_DEMO_URL: url, LUCID_DEMO_LOGINS: JSON.stringify(LOGINS), LUCID_DEMO_CONTROL: `http://127.0.0.1:${door.address().port}` },
    async stop() {
      door.close();
      await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
