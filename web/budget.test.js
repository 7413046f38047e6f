// What a first visit loads, and the size of the store alone.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));
const size = (file) => gzipSync(readFileSync(file), { level: 9 }).length;

it('the app loads at most 150 KiB of compressed JavaScript, its parts that come later included', async () => {
  const out = mkdtempSync(join(tmpdir(), 'starling-app-'));
  await build({ root: join(here, 'app'), logLevel: 'error', build: { outDir: out, emptyOutDir: true } });
  const total = readdirSync(join(out, 'assets')).filter((f) => f.endsWith('.js')).reduce((sum, f) => sum + size(join(out, 'assets', f)), 0);
  const html = readFileSync(join(out, 'index.html'), 'utf8');
  rmSync(out, { recursive: true });
  assert.ok(total <= 150 * 1024, `${total} bytes`);
  assert.ok(html.includes('<meta name="starling" content="{}">'), 'the gateway finds no place to say something about itself');
  assert.ok(!/<script(?![^>]*src=)|<style|style=|on\w+=/.test(html), 'something in the page is inline, which its policy forbids');
});

it('the store takes at most 15 KiB without socket.io-client', async () => {
  const out = mkdtempSync(join(tmpdir(), 'starling-client-'));
  await build({
    root: here, configFile: false, logLevel: 'error',
    build: { target: 'es2022', outDir: out, emptyOutDir: true, lib: { entry: join(here, 'client/src/index.ts'), formats: ['es'], fileName: 'client' }, minify: true },
  });
  const [file] = readdirSync(out).filter((f) => f.endsWith('.js'));
  const bytes = size(join(out, file));
  rmSync(out, { recursive: true });
  assert.ok(bytes <= 15 * 1024, `${bytes} bytes`);
});
