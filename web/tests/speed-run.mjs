// Fills and serves a demo for tests/speed.mjs: `LUCID_DEMO=… node tests/speed-run.mjs`.
import { resolve } from 'node:path';
import { fill, serve } from './demo.mjs';

const bin = resolve(process.env.LUCID_DEMO ?? '../target/quick/examples/demo');
const filled = await fill(bin);
const demo = await serve(bin, filled.data);
try {
  Object.assign(process.env, demo.env);
  await import('./speed.mjs');
} finally {
  await demo.stop();
  await filled.remove();
}
