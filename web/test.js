// All tests of web/: what needs no browser beside what does, for most of either is waiting. Arguments are those of the browser tests.
//
//   node test.js                                   everything
//   node test.js --test-name-pattern='two tabs'    of the browser tests only these
//
// The system under test is built from the repository, or it is the program at STARLING_BINARY.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startSystem } from './e2e/system.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..');
const dir = mkdtempSync(join(tmpdir(), 'starling-web-'));
const binary = process.env.STARLING_BINARY ?? join(dir, 'starling');
process.once('exit', () => rmSync(dir, { recursive: true, force: true }));

function first(command, ...args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

/** Runs commands one after the other, up to the first that fails. What they say comes out in one piece, unless it is shown as it comes. */
async function lane({ shown }, ...commands) {
  let said = '';
  let failed = false;
  for (const [command, ...args] of commands) {
    const child = spawn(command, args, { cwd: here, stdio: ['ignore', shown ? 'inherit' : 'pipe', shown ? 'inherit' : 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => { said += bytes; });
    const [status] = await once(child, 'close');
    if (status === 0) continue;
    failed = true;
    said += `failed: ${[command, ...args].join(' ')}\n`;
    break;
  }
  process.stdout.write(said);
  return failed;
}

first('tools/web.sh');
if (!process.env.STARLING_BINARY) first('go', 'build', '-o', binary, './deploy/local');
process.env.STARLING_BINARY = binary;
const checks = lane({ shown: false },
  ['npm', 'run', '--silent', 'check'],
  [process.execPath, '--test', '--test-reporter=spec', 'budget.test.js', 'docs.test.js']);
const { urls, data, stop } = await startSystem(); // for all tests in which no gateway dies
process.env.STARLING_SYSTEM = JSON.stringify({ urls, data });
const failed = await Promise.all([
  lane({ shown: true }, [process.execPath, 'e2e/run.js', ...process.argv.slice(2)]),
  checks.then((bad) => bad || lane({ shown: false }, ['npm', 'run', '--silent', 'unit'])),
]);
await stop();
if (failed.some(Boolean)) process.exit(1);
