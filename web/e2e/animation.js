// Makes the animation of the README, docs/images/web.webp: node e2e/animation.js. Two people talk side by side, the connection of one of
// them is cut, and what was written meanwhile arrives once. Pictures are taken while that happens; of each the part is kept that differs
// from the one before.

import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startBrowser, startSystem } from './system.js';

const size = { width: 1200, height: 640 };
const every = 110; // milliseconds between pictures, at best
const rest = 2500; // for which the last one stands

const u24 = (n) => Buffer.from([n & 255, (n >> 8) & 255, n >> 16]);
const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b; };
const chunk = (name, ...parts) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(name), u32(body.length), body, Buffer.alloc(body.length & 1)]);
};

/** An animated WebP of frames, each a WebP of a part of the picture. */
function animated(frames) {
  const chunks = frames.map(({ x, y, width, height, ms, webp }) => {
    const parts = [];
    for (let at = 12; at < webp.length;) {
      const next = at + 8 + webp.readUInt32LE(at + 4) + (webp.readUInt32LE(at + 4) & 1);
      if (['VP8 ', 'VP8L', 'ALPH'].includes(webp.toString('latin1', at, at + 4))) parts.push(webp.subarray(at, next));
      at = next;
    }
    return chunk('ANMF', u24(x / 2), u24(y / 2), u24(width - 1), u24(height - 1), u24(ms), Buffer.from([2]), ...parts);
  });
  const head = [chunk('VP8X', Buffer.from([2, 0, 0, 0]), u24(size.width - 1), u24(size.height - 1)), chunk('ANIM', u32(0xffffffff), Buffer.from([0, 0]))];
  return chunk('RIFF', Buffer.from('WEBP'), ...head, ...chunks);
}

/** Runs in a page: the part of a picture that differs from the one before, as WebP; undefined where nothing does. */
async function difference(base64) {
  const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type: 'image/png' }));
  const { width, height } = picture;
  const canvas = new OffscreenCanvas(width, height).getContext('2d', { alpha: false });
  canvas.drawImage(picture, 0, 0);
  const { data } = canvas.getImageData(0, 0, width, height);
  const before = globalThis.before;
  globalThis.before = data;
  let [left, top, right, bottom] = before ? [width, height, 0, 0] : [0, 0, width, height];
  for (let i = 0; before && i < data.length; i += 4) {
    if (data[i] === before[i] && data[i + 1] === before[i + 1] && data[i + 2] === before[i + 2]) continue;
    const [x, y] = [(i / 4) % width, Math.floor(i / 4 / width)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  if (left >= right) return undefined;
  const [x, y] = [left & ~1, top & ~1];
  const part = new OffscreenCanvas(right - x, bottom - y);
  part.getContext('2d', { alpha: false }).drawImage(picture, -x, -y);
  const bytes = new Uint8Array(await (await part.convertToBlob({ type: 'image/webp', quality: 0.82 })).arrayBuffer());
  return { x, y, width: right - x, height: bottom - y, webp: btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join('')) };
}

/** What happens, as a person would do it. */
async function play(page) {
  const [alice, bob] = ['Alice', 'Bob'].map((name) => {
    const frame = page.frameLocator(`iframe[title="${name}"]`);
    const type = async (text, delay = 45) => {
      await frame.locator('.composer textarea').click();
      await frame.locator('.composer textarea').pressSequentially(text, { delay });
      await page.waitForTimeout(250);
      await frame.locator('.composer textarea').press('Enter');
    };
    return { frame, type, arrives: (text) => frame.locator('.content', { hasText: text }).waitFor() };
  });
  const store = page.frames().find((f) => f.url().includes('profile=alice'));
  await page.waitForTimeout(600);
  await alice.type('My train is about to enter a tunnel.');
  await bob.arrives('a tunnel');
  await page.waitForTimeout(500);
  await bob.type('Write on, it will arrive.');
  await alice.arrives('it will arrive');
  await page.waitForTimeout(500);
  await store.evaluate(() => globalThis.starling.trouble('away', 7000));
  await alice.type('This is without a connection,', 35);
  await alice.type('and so is this.', 35);
  await page.waitForTimeout(1200);
  await bob.arrives('and so is this');
  await page.waitForTimeout(900);
  await bob.type('Both are here, once each, in order.');
  await alice.arrives('in order');
  await page.waitForTimeout(400);
}

const world = await startSystem();
const browser = await startBrowser();
try {
  const context = await browser.newContext({ viewport: size, locale: 'en-GB', reducedMotion: 'reduce', colorScheme: 'light' });
  const page = await context.newPage();
  await page.goto(world.urls[0]);
  for (const name of ['Alice', 'Bob']) await page.frameLocator(`iframe[title="${name}"]`).locator('.content').nth(2).waitFor();
  const shots = [];
  let playing = true;
  const story = play(page).finally(() => { playing = false; });
  while (playing) {
    const at = performance.now();
    shots.push({ at, png: await page.screenshot({ caret: 'initial' }) });
    await new Promise((resolve) => { setTimeout(resolve, every - (performance.now() - at)); });
  }
  await story;
  const studio = await context.newPage();
  const frames = [];
  for (const { at, png } of shots) {
    const part = await studio.evaluate(difference, png.toString('base64'));
    if (part) frames.push({ ...part, at, webp: Buffer.from(part.webp, 'base64') });
  }
  frames.forEach((frame, i) => { frame.ms = Math.round(i + 1 < frames.length ? frames[i + 1].at - frame.at : rest); });
  const out = fileURLToPath(new URL('../../docs/images/', import.meta.url));
  mkdirSync(out, { recursive: true });
  const file = animated(frames);
  writeFileSync(`${out}web.webp`, file);
  console.log(`${frames.length} frames, ${(file.length / 1024).toFixed(0)} KiB, ${((frames.at(-1).at - frames[0].at + rest) / 1000).toFixed(1)} s`);
} finally {
  await browser.close();
  await world.stop();
}
