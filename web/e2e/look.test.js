// How the app looks and feels: two people side by side, how fast it is there, its pictures, keyboard, screen reader, languages, and the
// developer drawer.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { drawBoxes, looksAs } from './boxes.js';
import { Stage, axe, history, post, startBrowser, undoSlowly, waiting } from './system.js';

const browser = await startBrowser();
const languages = { en: ['English', 'Message'], de: ['Deutsch', 'Nachricht an'], ar: ['العربية', 'رسالة إلى'] };

describe('the look of the web app', { skip: browser ? false : 'no Chromium is installed' }, () => {
  let stage;
  before(async () => { stage = await Stage.open(browser); });
  after(() => stage?.close());
  afterEach(() => stage?.leave());

  it('a visitor sees both ends of a conversation on the first screen', async () => {
    const page = await stage.visitor();
    const [alice, bob] = ['Alice', 'Bob'].map((name) => page.frameLocator(`iframe[title="${name}"]`));
    await alice.locator('.composer textarea').waitFor();
    await bob.locator('.composer textarea').waitFor();
    let seen = false;
    await Promise.all([
      bob.getByText('Alice is typing').waitFor().finally(() => { seen = true; }),
      (async () => { while (!seen) await alice.locator('.composer textarea').pressSequentially('h', { delay: 500 }); })(),
    ]);
    await alice.locator('.composer textarea').fill('Do you see this?');
    await alice.locator('.composer textarea').press('Enter');
    await bob.locator('.content', { hasText: 'Do you see this?' }).waitFor();
    await alice.locator('.message', { hasText: 'Do you see this?' }).locator('.status.read').waitFor(); // both are looked at
    await bob.locator('.composer textarea').fill('I do.');
    await bob.locator('.composer textarea').press('Enter');
    await alice.locator('.content', { hasText: 'I do.' }).waitFor();
    assert.deepEqual(await axe(page), []);
    await page.reload(); // the logins are still there
    await alice.locator('.content', { hasText: 'I do.' }).waitFor();
    await page.getByRole('button', { name: 'Sign in as one' }).click();
    await page.getByLabel('Username').waitFor();
    await page.getByRole('button', { name: 'side by side' }).click();
    await bob.locator('.content', { hasText: 'I do.' }).waitFor();
    const other = await stage.visitor({ viewport: { width: 420, height: 800 } });
    await other.getByLabel('Username').waitFor(); // a phone has no space for two
  });

  it('is there within a second, loads little, and nothing moves', async (t) => {
    const ann = await stage.enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await stage.room(a);
    await ann.say('a line', a);
    await a.locator('.content').waitFor();
    await ann.context.addInitScript(() => {
      globalThis.moved = 0;
      new PerformanceObserver((list) => { for (const e of list.getEntries()) globalThis.moved += e.hadRecentInput ? 0 : e.value; }).observe({ type: 'layout-shift', buffered: true });
      new MutationObserver((_, all) => {
        const box = document.querySelector('.composer textarea');
        if (!box || !document.querySelector('.list .content')) return;
        all.disconnect();
        requestAnimationFrame(() => { globalThis.there = performance.now(); });
      }).observe(document, { subtree: true, childList: true });
    });
    // A machine that is busy with something else is slow with a blank page too. What counts is the best of some tries.
    const blank = `${stage.urls[0]}/icon.svg`;
    let best = { there: Infinity, limit: 0 };
    for (let tries = 0; tries < 12 && (tries < 3 || best.there > best.limit); tries += 1) {
      const page = await ann.context.newPage();
      await page.goto(blank);
      const reference = await page.evaluate(() => performance.getEntriesByType('navigation')[0].loadEventEnd);
      ann.watch(page);
      await page.goto(`${stage.urls[0]}/#/r/${id}`);
      await page.waitForFunction(() => globalThis.there !== undefined, undefined, waiting);
      const there = await page.evaluate(() => globalThis.there);
      const limit = Math.max(1000, 15 * reference);
      if (there / limit < best.there / best.limit) best = { there, limit, reference };
      if (tries === 0) {
        await page.locator('.typing').waitFor({ state: 'attached' });
        const loaded = await page.evaluate(() => performance.getEntriesByType('resource').filter((e) => e.name.endsWith('.js')).reduce((sum, e) => sum + e.encodedBodySize, 0));
        const moved = await page.evaluate(() => globalThis.moved);
        t.diagnostic(`first load: ${(loaded / 1024).toFixed(1)} KiB of compressed JavaScript; layout shift ${moved.toFixed(4)}`);
        assert.ok(loaded > 0 && loaded <= 150 * 1024, `${loaded} bytes of JavaScript`);
        assert.ok(moved < 0.02, `what is shown moves by ${moved} while it loads`);
      }
      await page.close();
    }
    t.diagnostic(`interactive after ${best.there.toFixed(0)} ms; a blank page takes ${best.reference.toFixed(0)} ms`);
    assert.ok(best.there <= best.limit, `interactive after ${best.there} ms at best, of ${best.limit} ms`);
  });

  it('looks as its pictures: light, dark, on a phone, from right to left', async () => {
    const [ann, ben] = [await stage.enter('Ann Moreau', 0, { bypassCSP: true }), await stage.enter('Ben Okafor', 1)];
    const [a, b] = [await ann.open(), await ben.open()];
    await ann.online();
    await ben.online();
    await a.evaluate(() => globalThis.starling.create('public', 'design', { roomId: 'design', topic: 'Where pixels are argued about' }));
    await a.evaluate(() => globalThis.starling.create('private', 'Launch plans', { roomId: 'launch' }));
    for (const page of [a, b]) await page.evaluate(() => { location.hash = '#/r/design'; });
    for (const page of [a, b]) await page.waitForFunction(() => globalThis.starling.room('design')?.complete !== false && globalThis.starling.room('design')?.info, undefined, waiting);
    await ann.say('The new build is on staging.', a);
    await b.locator('.content', { hasText: 'staging' }).waitFor();
    await ben.say('Then:\n- docs tonight\n- `make run` in the **announcement**', b);
    await a.locator('.content li').nth(1).waitFor();
    await a.evaluate(() => globalThis.starling.send('design', 'It can go out', { replyTo: globalThis.starling.room('design').messages[1] }));
    await b.locator('.quote').waitFor();
    await b.evaluate(() => globalThis.starling.react(globalThis.starling.room('design').messages[0], '👍', true));
    await b.evaluate(() => globalThis.starling.markRead('design'));
    await a.locator('.reaction').waitFor();
    await a.locator('.status.read').nth(1).waitFor();
    await ben.close();
    await a.waitForFunction(() => [...globalThis.starling.presence.values()].some((p) => !p.online), undefined, waiting);
    const look = async (name) => {
      await a.locator('.content', { hasText: 'staging' }).waitFor();
      await a.locator('.reaction').waitFor();
      await ann.online(a);
      await drawBoxes(a);
      await a.mouse.move(0, 0);
      await a.evaluate(() => document.activeElement.blur());
      await looksAs(a, name);
    };
    await look('light');
    await a.emulateMedia({ colorScheme: 'dark' });
    await a.getByRole('button', { name: /Members and details/ }).click();
    await a.locator('.member').nth(1).waitFor();
    await look('dark-with-members');
    await a.keyboard.press('Escape');
    await a.emulateMedia({ colorScheme: 'light' });
    await a.setViewportSize({ width: 390, height: 780 });
    await look('phone');
    await a.setViewportSize({ width: 1280, height: 800 });
    await a.evaluate(() => localStorage.setItem('starling:language', 'ar'));
    await a.reload();
    await look('right-to-left');
  });

  it('can be used by keyboard alone', async () => {
    const ann = await stage.enter('Ann');
    const a = await ann.open();
    await ann.online();
    const focused = () => a.evaluate(() => { const e = document.activeElement; return e.getAttribute('aria-label') ?? e.textContent.trim(); });
    /** Tab, until what has the focus is called so. */
    const tabTo = async (name, key = 'Tab') => {
      for (let i = 0; i < 60; i += 1) {
        if (name.test(await focused())) return;
        await a.keyboard.press(key);
      }
      assert.fail(`${key} does not lead to ${name}: the focus is on ${await focused()}`);
    };
    await tabTo(/^New room$/);
    await a.keyboard.press('Enter');
    await a.getByLabel('Name').waitFor();
    const name = `keys ${Date.now().toString(36)}`;
    await a.keyboard.type(name);
    await a.keyboard.press('Enter');
    await a.getByRole('heading', { name, exact: true }).waitFor();
    await a.getByRole('dialog').waitFor({ state: 'detached' });
    await a.keyboard.press('Escape'); // to the composer
    await a.keyboard.type('the first');
    await a.keyboard.press('Enter');
    await a.keyboard.type('the second');
    await a.keyboard.press('Enter');
    await a.locator('.content', { hasText: 'the second' }).waitFor();
    await a.locator('.status.committed').nth(1).waitFor();
    await tabTo(/the second/, 'Shift+Tab');
    await a.keyboard.press('ArrowUp');
    assert.match(await focused(), /the first/);
    await tabTo(/^Add reaction 👍$/);
    await a.keyboard.press('Enter');
    await a.locator('.reaction.mine').waitFor();
    await undoSlowly(a);
    await tabTo(/^More$/);
    await a.keyboard.press('Enter');
    await a.getByRole('menu').waitFor();
    await a.keyboard.press('Escape'); // leaves the menu, not the message
    assert.equal(await focused(), 'More');
    await a.keyboard.press('Enter');
    for (let i = 0; i < 5 && (await focused()) !== 'Delete'; i += 1) await a.keyboard.press('ArrowDown');
    await a.keyboard.press('Enter');
    await a.locator('.content.gone').waitFor();
    await tabTo(/^Undo$/);
    await a.keyboard.press('Enter');
    await a.locator('.content.gone').waitFor({ state: 'detached' });
    await a.keyboard.press('Escape');
    assert.match(await focused(), /^Message keys/);
    await a.keyboard.press('ArrowUp'); // edits the last one
    await a.getByText('Editing message').waitFor();
    await a.keyboard.type(', better');
    await a.keyboard.press('Enter');
    await a.locator('.edited').waitFor();
    await a.keyboard.press('Control+k');
    await a.getByRole('combobox').waitFor();
    await a.keyboard.type(`other ${name}`);
    await a.keyboard.press('Enter');
    await a.getByRole('heading', { name: `other ${name}`, exact: true }).waitFor();
    await a.waitForFunction(() => document.querySelectorAll('.sidebar a.room').length === 2, undefined, waiting);
    await a.keyboard.press('Alt+ArrowDown');
    await a.getByRole('heading', { name, exact: true }).waitFor();
    await a.evaluate(() => document.activeElement.blur());
    await a.keyboard.press('?');
    await a.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
    await a.keyboard.press('Escape');
    await a.getByRole('dialog').waitFor({ state: 'detached' });
  });

  it('tells a screen reader what the list of messages is', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    await ann.say('Good **morning**', a);
    await b.locator('.content').waitFor();
    await b.evaluate((roomId) => globalThis.starling.send(roomId, 'To you too', { replyTo: globalThis.starling.room(roomId).messages[0] }), id);
    await a.locator('.quote').waitFor();
    await b.evaluate((roomId) => globalThis.starling.react(globalThis.starling.room(roomId).messages[0], '👍', true), id);
    await a.locator('.reaction').waitFor();
    await b.evaluate((roomId) => globalThis.starling.markRead(roomId), id);
    await a.locator('.status.read').waitFor();
    await a.locator('.composer textarea').focus();
    const tree = (await a.locator('.list').ariaSnapshot()).replaceAll(/\d\d:\d\d/g, 'HH:MM').replaceAll(id, 'ROOM');
    assert.equal(tree, `
- list "Messages in ROOM":
  - listitem:
    - text: Today Ann
    - time: HH:MM
    - text: Good
    - strong: morning
    - img "Read"
    - list:
      - listitem:
        - button "1 person reacted with 👍": 👍 1
  - listitem:
    - text: Ben
    - time: HH:MM
    - button "Ann Good **morning**":
      - strong: Ann
      - text: Good **morning**
    - text: To you too`.trim());
    assert.deepEqual(await a.locator('.list > li').evaluateAll((rows) => rows.map((r) => [r.getAttribute('aria-posinset'), r.getAttribute('aria-setsize'), r.tabIndex])), [['1', '2', -1], ['2', '2', 0]]);
    // What arrives is said once, politely; what the user says is not.
    await ben.say('Are you there?', b);
    await a.locator('[aria-live=polite]', { hasText: 'Ben: Are you there?' }).waitFor({ state: 'attached' });
    assert.equal(await a.locator('[aria-live=polite]', { hasText: 'Good' }).count(), 0);
    // In a room of which a part is in the document only, each message still knows its place, and one of them is in the order of Tab.
    await Promise.all(Array.from({ length: 59 }, (_, i) => post(stage.urls[i % 2], id, `line ${i}`)));
    await post(stage.urls[0], id, 'line 59');
    await a.waitForFunction((roomId) => globalThis.starling.room(roomId).messages.length === 63, id, waiting);
    await a.waitForFunction(() => document.querySelector('.list > li:last-child .content')?.textContent === 'line 59', undefined, waiting);
    const rows = await a.locator('.list > li').evaluateAll((all) => all.map((r) => ({ at: Number(r.getAttribute('aria-posinset')), of: r.getAttribute('aria-setsize'), tab: r.tabIndex })));
    assert.deepEqual(rows.map((r) => r.at), rows.map((_, i) => rows[0].at + i));
    assert.deepEqual([rows.at(-1).at, new Set(rows.map((r) => r.of)), rows.filter((r) => r.tab === 0).length], [63, new Set(['63']), 1]);
  });

  it('speaks three languages, one of them from right to left, and switches while it runs', async () => {
    const ann = await stage.enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await stage.room(a);
    await ann.say('hello', a);
    await a.locator('.content').waitFor();
    let label = /Account and settings/;
    for (const [language, [name, placeholder]] of [...Object.entries(languages).slice(1), ...Object.entries(languages).slice(0, 1)]) {
      await a.getByRole('button', { name: label }).click();
      await a.getByRole('menuitemcheckbox', { name, exact: true }).click();
      await a.locator(`html[lang=${language}]`).waitFor();
      await a.locator(`textarea[placeholder^="${placeholder}"]`).waitFor();
      label = new RegExp({ en: 'Account and settings', de: 'Konto und Einstellungen', ar: 'الحساب والإعدادات' }[language]);
      const rtl = language === 'ar';
      const [side, main] = await Promise.all(['.sidebar', 'main'].map((part) => a.locator(part).boundingBox()));
      assert.equal(side.x > main.x, rtl, 'the list of rooms is on the side where reading begins');
      assert.equal(await a.evaluate(() => getComputedStyle(document.documentElement).direction), rtl ? 'rtl' : 'ltr');
      for (const width of [1280, 360]) {
        await a.setViewportSize({ width, height: 800 });
        assert.ok(await a.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${language}: wider than ${width} pixels`);
      }
      await a.setViewportSize({ width: 1280, height: 800 });
      assert.deepEqual(await axe(a), [], language);
      // Nothing of another language is left.
      if (language !== 'en') assert.doesNotMatch(await a.evaluate(() => document.body.innerText), /\b(Rooms|Today|Connected|Direct messages|beginning)\b/);
    }
    assert.deepEqual((await history(stage.urls[0], id)).map((m) => m.content), ['hello']);
  });

  it('the developer drawer brings members into the room, lets the page read slowly, and counts nothing as lost', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    await a.evaluate(() => document.activeElement.blur());
    await a.keyboard.press('~');
    await a.locator('.drawer').waitFor();
    await a.getByRole('button', { name: 'Read slowly' }).click();
    const before = Date.now();
    for (let i = 0; i < 5; i += 1) await ben.say(`b${i}`, b);
    await b.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    await a.locator('.content', { hasText: 'b4' }).waitFor();
    assert.ok(Date.now() - before >= 5 * 150, 'each event takes the page its time');
    await ann.say('and I', a);
    await a.evaluate(() => globalThis.starling.trouble('slow', 0));
    await stage.same(id, a, b);
    await a.locator('.counter', { hasText: 'sent 1 committed 1' }).waitFor();

    const slider = a.getByRole('slider', { name: 'Simulated members' });
    await slider.focus();
    await slider.press('ArrowRight');
    await a.getByText('50 simulated members').waitFor();
    await a.waitForFunction((roomId) => globalThis.starling.room(roomId).info.memberCount === 52, id, waiting);
    await a.waitForFunction((roomId) => globalThis.starling.room(roomId).messages.length >= 10, id, waiting); // they talk
    await slider.press('ArrowLeft');
    await a.waitForFunction((roomId) => globalThis.starling.room(roomId).info.memberCount === 2, id, waiting);
    const counter = a.locator('.counter');
    await counter.locator('.good', { hasText: 'lost 0' }).waitFor();
    await counter.locator('.good', { hasText: 'twice 0' }).waitFor();
    await stage.same(id, a, b);
  });
});
