// What a first visit loads (of the app as tools/web.sh has built it for the gateway), and the size of the store alone.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));
const app = join(here, '../gateway/internal/edge/page/app');
const size = (file) => gzipSync(readFileSync(file), { level: 9 }).length;

it('the app loads at most 150 KiB of compressed JavaScript, its parts that come later included', (t) => {
  const total = readdirSync(join(app, 'assets')).filter((f) => f.endsWith('.js')).reduce((sum, f) => sum + size(join(app, 'assets', f)), 0);
  t.diagnostic(`${total} bytes`);
  assert.ok(total <= 150 * 1024, `${total} bytes`);
  const html = readFileSync(join(app, 'index.html'), 'utf8');
  assert.ok(html.includes('<meta name="starling" content="{}">'), 'the gateway finds no place to say something about itself');
  assert.ok(!/<script(?![^>]*src=)|<style|\sstyle=|\son\w+=/.test(html), 'something in the page is inline, which its policy forbids');
});

it('the store takes at most 15 KiB without socket.io-client', async (t) => {
  const out = mkdtempSync(join(tmpdir(), 'starling-client-'));
  await build({
    root: here, configFile: false, logLevel: 'error',
    build: {
      target: 'es2022', outDir: out, emptyOutDir: true, modulePreload: { polyfill: false },
      rollupOptions: { input: join(here, 'client/src/index.ts'), preserveEntrySignatures: 'strict', output: { entryFileNames: 'client.js' } },
    },
  });
  const [file] = readdirSync(out).filter((f) => f.endsWith('.js'));
  const bytes = size(join(out, file));
  rmSync(out, { recursive: true });
  t.diagnostic(`${bytes} bytes`);
  assert.ok(bytes <= 15 * 1024, `${bytes} bytes`);
});
