// The code in docs/web.md is that of samples/, which the type checker reads.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';

const docs = readFileSync(new URL('../docs/web.md', import.meta.url), 'utf8');

for (const [language, file] of [['ts', 'store.ts'], ['tsx', 'Room.tsx']]) {
  it(`docs/web.md has samples/${file}`, () => {
    const code = readFileSync(new URL(`samples/${file}`, import.meta.url), 'utf8');
    assert.ok(docs.includes(`\`\`\`${language}\n${code}\`\`\``), `the block ${language} of docs/web.md is not samples/${file}`);
  });
}
