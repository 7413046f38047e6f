// Runs the suite: starts one system for all test files (or takes the one at STARLING_URLS), runs them, stops it. Files whose tests start
// systems of their own are run beside the others, for most of it is waiting; what they say is shown at the end.
//
//   node run.js                    everything
//   node run.js rooms rest         only rooms.test.js and rest.test.js
//   node run.js --skip=emit        all but emit.test.js
//   node run.js --faults           also what kills processes (faults.test.js)
//   node run.js proxies            only what is behind HAProxy, nginx and worse
//
// A file that takes longer than fifteen minutes (STARLING_FILE_LIMIT_MS) has failed: it is ended and named, and the next one is run.
//
//   STARLING_URLS=http://a:3000,http://b:3000 API_KEY=… JWT_SECRET=… node run.js

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { System, build, here, remove, scratch, settings } from './system.js';

// It guards against what hangs: the longest file takes a minute on a quiet machine.
const fileLimit = Number(process.env.STARLING_FILE_LIMIT_MS ?? 15 * 60_000);

const args = process.argv.slice(2);
const faults = args.includes('--faults');
const skipped = args.filter((a) => a.startsWith('--skip=')).flatMap((a) => a.slice('--skip='.length).split(','));
const names = args.filter((a) => !a.startsWith('--')).map((a) => a.replace(/(\.test)?\.js$/, ''));
const files = readdirSync(here).filter((f) => f.endsWith('.test.js'))
  .filter((f) => (names.length > 0 ? names.includes(f.replace('.test.js', '')) : (f !== 'proxies.test.js' || !process.env.STARLING_URLS) && (faults || !['faults.test.js', 'processes.test.js', 'outage.test.js', 'hang.test.js', 'tls.test.js'].includes(f))))
  .filter((f) => !skipped.includes(f.replace('.test.js', '')))
  .map((f) => join(here, f));
if (files.length === 0) throw new Error(`no test file called ${names.join(' or ')}`);

const results = join(here, 'results');
mkdirSync(results, { recursive: true });

// The settings of the started system; with STARLING_URLS those of the caller.
const env = { STARLING_RESULTS: results };
let system;
let dir;
let binary;
let failure;
let tests;
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = true;
    if (tests) tests.forEach((child) => child.kill(signal)); else process.exit(1);
  });
}
if (files.every((f) => f.endsWith('/proxies.test.js'))) {
  Object.assign(env, settings); // it starts a system of its own
} else if (!process.env.STARLING_URLS) {
  dir = scratch();
  binary = process.env.STARLING_BINARY ?? build(dir);
  const log = join(results, `system-${process.pid}.log`);
  console.log(`starting a system; its log: ${log}`);
  try {
    system = await System.start({ binary, data: join(dir, 'data'), gateways: 3, log });
  } catch (err) {
    remove(dir, binary);
    throw err;
  }
  console.log(`ready: ${system.urls.join(' ')}`);
  Object.assign(env, settings, { STARLING_URLS: system.urls.join(','), STARLING_BINARY: binary, STARLING_DATA: join(dir, 'data') });
}

const failures = (lane) => join(results, `failures-${process.pid}-${lane}.txt`);
const apart = ['docs', 'restart', 'proxies'].map((name) => join(here, `${name}.test.js`));
const lanes = [files.filter((f) => !apart.includes(f)), files.filter((f) => apart.includes(f))].filter((lane) => lane.length > 0);
let said = '';
tests = lanes.map((lane, i) => {
  const child = spawn(process.execPath, ['--test', '--test-concurrency=1', `--test-timeout=${fileLimit}`, '--test-reporter=spec',
    '--test-reporter-destination=stdout', `--test-reporter=${join(here, 'failures.js')}`, `--test-reporter-destination=${failures(i)}`, ...lane], {
    cwd: here, env: { ...process.env, ...env }, stdio: ['ignore', i === 0 ? 'inherit' : 'pipe', 'inherit'],
  });
  child.stdout?.on('data', (bytes) => { said += bytes; });
  if (i > 0) setPriority(child.pid, 5); // it has time to wait for the others
  return child;
});
const codes = await Promise.all(tests.map((child) => once(child, 'close').then(([code]) => code)));
process.stdout.write(said);
for (const i of lanes.keys()) {
  if (existsSync(failures(i))) process.stdout.write(readFileSync(failures(i)));
  rmSync(failures(i), { force: true });
}
if (codes.some((code) => code !== 0)) failure = `tests ended with code ${codes.join(' and ')}`;

if (system) {
  await system.stop().catch((err) => { failure = failure ? `${failure}; ${err.message}` : err.message; });
  remove(dir, binary);
}
if (failure || interrupted) {
  console.error(failure ?? 'interrupted');
  process.exit(1);
}
