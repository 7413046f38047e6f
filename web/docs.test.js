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

const keys = (language) => new Set(Array.from(readFileSync(new URL(`app/src/i18n/${language}.ts`, import.meta.url), 'utf8').matchAll(/'([\w.]+)': /g), ([, key]) => key));

for (const language of ['de', 'ar']) {
  it(`nothing of the app is left in English for those who read ${language}`, () => {
    const [english, other] = [keys('en'), keys(language)];
    assert.deepEqual([...english].filter((key) => !other.has(key)), []);
    assert.deepEqual([...other].filter((key) => !english.has(key) && !/\.(zero|two|few|many)$/.test(key)), [], 'nobody shows it');
  });
}
