// Takes pictures of the pages over the mock, to be looked at: node dev/shots.mjs [FOLDER]
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launch, VIEWS, watch } from '../tests/chromium.mjs';
import { startMock } from './mock-server.mjs';

const folder = process.argv[2] ?? join(import.meta.dirname ?? '.', '../../artefacts/web');
await mkdir(folder, { recursive: true });
const browser = await launch();

async function shoot(name, { variant = 'full', path = '/', view = 'desktop', scheme = 'light', act, full = true }) {
  const mock = await startMock({ variant });
  const context = await browser.newContext({ ...VIEWS[view], colorScheme: scheme, reducedMotion: 'reduce' });
  const complaints = await watch(context, (text) => /Failed to load resource/.test(text));
  const page = await context.newPage();
  await page.goto(mock.url + path);
  await page.waitForTimeout(900);
  await act?.(page, mock);
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: full });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  console.log(`${name}${wide > 0 ? ` OVERFLOWS by ${wide}` : ''}${complaints.length ? ` COMPLAINS: ${complaints.join(' | ')}` : ''}`);
  await context.close();
  await mock.close();
}

const NODE = '/nodes/node_0192f0c4a7b170c3';
const PENDING = '/nodes/node_0192f0c4a7b171c3';
const token = async (page) => {
  await page.getByRole('button', { name: 'Make token' }).click();
  await page.getByRole('button', { name: 'Copy token' }).waitFor();
};
await shoot('nodes-desktop', {});
await shoot('nodes-dark', { scheme: 'dark' });
await shoot('nodes-phone', { view: 'phone' });
await shoot('nodes-empty', { variant: 'empty' });
await shoot('nodes-error', { variant: 'error' });
await shoot('nodes-large', { variant: 'large', path: '/nodes?page=2', full: false });
await shoot('nodes-untrusted', { variant: 'untrusted' });
await shoot('nodes-offline', { act: async (page, mock) => { mock.dropStreams(); await mock.close(); await page.waitForTimeout(16_500); } });
await shoot('node-desktop', { path: NODE });
await shoot('node-dark', { path: NODE, scheme: 'dark' });
await shoot('node-phone', { path: NODE, view: 'phone' });
await shoot('node-day', { path: NODE, act: async (page) => { await page.getByRole('button', { name: '24 h' }).click(); await page.waitForTimeout(600); }, full: false });
await shoot('node-pending', { path: PENDING });
await shoot('node-silent', { path: '/nodes/node_0192f0c4a7b172c3' });
await shoot('node-new', { path: '/nodes/node_0192f0c4a7b175c3', view: 'phone' });
await shoot('enrol-desktop', { path: '/enrol', act: token });
await shoot('enrol-phone-arrived', { path: '/enrol', view: 'phone', act: async (page, mock) => {
  await token(page);
  await fetch(`${mock.url}/mock/arrive?name=porch-pi`);
  await page.getByText('The node is here').waitFor();
} });
await shoot('setup', { variant: 'setup', act: async (page) => {
  await page.getByLabel('Setup code').fill('WRONG');
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill('lamp chair fog');
  await page.getByRole('button', { name: 'Set up' }).click();
  await page.getByText('is wrong').waitFor();
} });
await shoot('sign-in-dark-phone', { variant: 'signed-out', view: 'phone', scheme: 'dark', act: async (page) => {
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
} });
await shoot('settings', { path: '/settings', full: false });
await shoot('session-ended', { path: PENDING, full: false, act: async (page, mock) => {
  await page.getByRole('textbox', { name: 'Address' }).fill('Typed and not lost');
  await fetch(`${mock.url}/mock/sign-out`);
  await page.getByRole('button', { name: 'Register address' }).click();
  await page.getByText('Sign in again').waitFor();
} });
await browser.close();
