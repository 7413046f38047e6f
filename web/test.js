// All tests of web/, one after the other; it stops at the first failure. Arguments are those of the browser tests.
//
//   node test.js                                   everything
//   node test.js --test-name-pattern='two tabs'    of the browser tests only these
//
// The system under test is built from the repository, or it is the program at STARLING_BINARY.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..');
const dir = mkdtempSync(join(tmpdir(), 'starling-web-'));
const binary = process.env.STARLING_BINARY ?? join(dir, 'starling');
process.once('exit', () => rmSync(dir, { recursive: true, force: true }));

function run(command, args, cwd = here) {
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit', env: { ...process.env, STARLING_BINARY: binary } });
  if (status !== 0) process.exit(status ?? 1);
}

run('npm', ['run', '--silent', 'check']);
run('tools/web.sh', [], root);
run(process.execPath, ['--test', '--test-reporter=spec', 'budget.test.js', 'docs.test.js']);
if (!process.env.STARLING_BINARY) run('go', ['build', '-o', binary, './deploy/local'], root);
run('npm', ['run', '--silent', 'unit']);
run(process.execPath, ['e2e/run.js', ...process.argv.slice(2)]);
