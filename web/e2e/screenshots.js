// Makes the pictures of the README, docs/images/*.png: node e2e/screenshots.js

import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Person, startBrowser, startSystem } from './system.js';

const out = fileURLToPath(new URL('../../docs/images/', import.meta.url));
mkdirSync(out, { recursive: true });
const world = await startSystem();
const browser = await startBrowser();
try {
  const ann = await Person.enter(browser, world.urls[0], 'Ann Moreau', { colorScheme: 'dark' });
  const ben = await Person.enter(browser, world.urls[1], 'Ben Okafor');
  const a = await ann.open('design');
  await ann.online();
  await a.waitForFunction(() => globalThis.starling.room('design')?.loaded);
  await a.evaluate(() => globalThis.starling.call('room:update', { roomId: 'design', profile: { name: 'design', topic: 'Where pixels are argued about' } }));
  const b = await ben.open('design');
  await ben.online();
  await b.waitForFunction(() => globalThis.starling.room('design')?.loaded);
  await a.evaluate(async (id) => {
    await globalThis.starling.create('private', 'Launch plans', { topic: 'Quiet until Thursday' });
    await globalThis.starling.join('lobby');
    await globalThis.starling.openDirect([id]);
  }, ben.id);
  await b.evaluate(() => globalThis.starling.join('lobby'));
  for (const [who, page, text] of [
    [ann, a, 'Morning! The new build is on staging.'], [ben, b, 'I restarted a gateway while I was typing this, and nothing happened.'], [ann, a, 'That is rather the point.'],
    [ann, a, 'The notes of yesterday: https://example.com/notes/17'], [ben, b, 'Thanks. Went offline on the train, five messages in the queue, and each arrived once.'],
  ]) {
    await who.say(text, page);
    await page.waitForFunction(() => globalThis.starling.counts.waiting === 0);
  }
  await b.waitForFunction(() => globalThis.starling.room('design').messages.length >= 5);
  await b.evaluate(async () => {
    const { messages } = globalThis.starling.room('design');
    await globalThis.starling.send('design', 'Then it can go out on **Thursday**:\n- docs tonight\n- `make run` in the announcement', { format: 'markdown', replyTo: messages[0] });
  });
  await a.locator('.quote').waitFor();
  await b.evaluate(() => globalThis.starling.send('lobby', 'Lunch?'));
  await a.locator('.count').first().waitFor();
  await b.locator('.composer textarea').pressSequentially('One more thing');
  await a.getByText('is typing').waitFor();
  await a.screenshot({ path: `${out}web-dark.png` });
  await b.locator('main').click();
  await b.mouse.move(640, 20);
  await b.evaluate(() => document.activeElement.blur());
  await b.keyboard.press('~');
  await b.locator('.drawer').waitFor();
  await b.evaluate(() => globalThis.starling.trouble('cut'));
  await b.waitForFunction(() => globalThis.starling.connection.connects > 1 && globalThis.starling.connection.status === 'online');
  for (const text of ['The strip is the sequence of this room.', 'Cut, back, and nothing is missing.']) await ben.say(text, b);
  await b.waitForFunction(() => globalThis.starling.counts.waiting === 0);
  await b.locator('.strip span').nth(1).waitFor();
  await b.screenshot({ path: `${out}web-drawer.png` });
} finally {
  await browser.close();
  await world.stop();
}
