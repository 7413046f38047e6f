// TypeScript, with the types that a gateway serves.

import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { here } from './system.js';

const tsc = join(here, 'node_modules', 'typescript', 'bin', 'tsc');

/** A folder with a package.json, in which the packages of this suite are found; gone at the end of test t. */
export function project(t, manifest = { type: 'module' }) {
  const dir = join(here, 'results', `types-${randomUUID()}`);
  mkdirSync(dir, { recursive: true });
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, 'package.json'), JSON.stringify(manifest));
  return dir;
}

// As strict as the compiler can be.
const strictly = [
  '--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck', 'false',
  '--target', 'es2023', '--lib', 'es2023,dom', '--module', 'esnext', '--moduleResolution', 'bundler',
];

/** Compiles files of a folder to JavaScript beside them; gives what the compiler complains about. */
export function compile(dir, options = strictly, ...files) {
  const { stdout, stderr } = spawnSync(process.execPath, [tsc, ...options, ...files], { cwd: dir, encoding: 'utf8', timeout: 240_000 });
  return stdout + stderr;
}
