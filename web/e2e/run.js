// Runs the browser tests: node e2e/run.js [--test-name-pattern=…]. Each file has a browser of its own, so that they run side by
// side.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const files = readdirSync(here).filter((f) => f.endsWith('.test.js')).map((f) => join(here, f));
const child = spawn(process.execPath, ['--test', '--test-concurrency=4', '--test-timeout=600000', '--test-reporter=spec', ...process.argv.slice(2), ...files], { stdio: 'inherit' });
const [code] = await once(child, 'close');
process.exit(code ?? 1);
