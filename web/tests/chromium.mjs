// The browser for looking and for tests: the system's Chromium, never a downloaded one.
import { chromium } from 'playwright-core';

export const VIEWS = {
  desktop: { viewport: { width: 1280, height: 900 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

export function launch() {
  return chromium.launch({
    executablePath: process.env.LUCID_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
}

/** Collects everything that a good page never says: policy violations, uncaught errors, console errors. `allowed` drops expected ones. */
export async function watch(context, allowed = () => false) {
  const complaints = [];
  const add = (text) => allowed(text) || complaints.push(text);
  await context.addInitScript(() =>
    document.addEventListener('securitypolicyviolation', (e) => console.error(`securitypolicyviolation ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`)),
  );
  context.on('page', (page) => {
    page.on('console', (m) => m.type() === 'error' && add(`${m.text()} ${m.location().url}`));
    page.on('pageerror', (e) => add(`uncaught ${e.stack ?? e}`));
  });
  return complaints;
}
