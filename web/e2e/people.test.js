// Two people in real browsers, on two gateways.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Person, history, patience, post, startBrowser, startSystem, stored, texts } from './system.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await startBrowser();

describe('the web app', { skip: browser ? false : 'no Chromium is installed' }, () => {
  let world;
  let people = [];
  before(async () => { world = await startSystem(); });
  after(async () => {
    await browser?.close();
    await world?.stop();
  });
  afterEach(async () => {
    const noise = people.flatMap((p) => p.noise.map((line) => `${p.name}: ${line}`));
    for (const person of people) await person.close();
    people = [];
    assert.deepEqual(noise, [], 'a page complained on the console');
  });

  const enter = async (name, gateway = 0, options = {}) => {
    const person = await Person.enter(browser, world.urls[gateway], name, options);
    people.push(person);
    return person;
  };
  let rooms = 0;
  const room = async (page, ...others) => {
    rooms += 1;
    const id = `room-${rooms}-${Date.now().toString(36)}`;
    await page.evaluate((roomId) => globalThis.starling.create('public', roomId, { roomId }), id);
    for (const p of [page, ...others]) await p.evaluate((roomId) => { location.hash = `#/r/${roomId}`; }, id);
    for (const p of [page, ...others]) await p.waitForFunction((roomId) => globalThis.starling?.room(roomId)?.loaded && globalThis.starling.room(roomId).info, id, { timeout: patience });
    return id;
  };

  /** Each page shows what the server has, in its order. */
  const same = async (url, id, ...pages) => {
    const want = (await history(url, id)).map((m) => m.content);
    for (const page of pages) assert.deepEqual(await stored(page, id, want.length), want);
    return want;
  };

  it('signs up and in, and shows a refusal', async () => {
    const context = await browser.newContext({ locale: 'en-GB' });
    context.setDefaultTimeout(patience);
    const page = await context.newPage();
    await page.goto(world.urls[0]);
    await page.getByRole('button', { name: 'Create account' }).click();
    const username = `nora-${Date.now().toString(36)}`;
    await page.getByLabel('Display name').fill('Nora');
    await page.getByLabel('Username').fill(username);
    await page.getByLabel('Password').fill('a-long-pass-phrase');
    await page.getByRole('button', { name: 'Create account' }).click();
    await page.getByRole('button', { name: /Account and settings: Nora/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByLabel('Username').fill(username);
    await page.getByLabel('Password').fill('not-the-pass-phrase');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Password').fill('a-long-pass-phrase');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('button', { name: /Account and settings: Nora/ }).waitFor();
    await context.close();
  });

  it('two people talk, see each other type and read, and what they type is text', async () => {
    const ann = await enter('Ann');
    const ben = await enter('Ben', 1);
    const a = await ann.open();
    const b = await ben.open();
    await ann.online();
    await ben.online();
    const id = await room(a, b);
    await b.locator('.composer textarea').pressSequentially('h');
    await a.getByText('Ben is typing').waitFor();
    const nasty = '<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=1</script> & **x** [y](javascript:alert(1))';
    await ben.say(nasty, b);
    await a.locator('.content', { hasText: '<img src=x' }).waitFor();
    assert.deepEqual(await texts(a), [nasty]);
    assert.equal(await a.evaluate(() => globalThis.hit), undefined);
    assert.equal(await a.locator('.list img, .list script, .list a').count(), 0);
    await a.bringToFront();
    await a.evaluate((roomId) => globalThis.starling.markRead(roomId), id);
    await b.locator('.status.read').waitFor();
    await ann.say('hello', a);
    await b.locator('.content', { hasText: 'hello' }).waitFor();
    await same(world.urls[0], id, a, b);
  });

  it('what is typed offline goes out once when back', async () => {
    const ann = await enter('Ann');
    const ben = await enter('Ben', 1);
    const a = await ann.open();
    const b = await ben.open();
    await ann.online();
    await ben.online();
    const id = await room(a, b);
    await ann.context.setOffline(true);
    await a.waitForFunction(() => globalThis.starling.connection.status === 'offline', undefined, { timeout: patience });
    for (let i = 0; i < 5; i += 1) await ann.say(`offline ${i}`, a);
    await ben.say('meanwhile', b);
    await a.locator('.pending').nth(4).waitFor();
    await a.getByText('You are offline').waitFor();
    await ann.context.setOffline(false);
    await b.locator('.content', { hasText: 'offline 4' }).waitFor();
    const want = await same(world.urls[0], id, a, b);
    assert.deepEqual(want.filter((t) => t.startsWith('offline')), [0, 1, 2, 3, 4].map((i) => `offline ${i}`));
    await a.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, { timeout: patience });
    assert.equal(await a.locator('.pending').count(), 0);
  });

  it('a tab that is killed with a queue of 20 has lost nothing, and sends nothing twice', async () => {
    const ann = await enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await room(a);
    await ann.context.setOffline(true);
    await a.waitForFunction(() => globalThis.starling.connection.status === 'offline', undefined, { timeout: patience });
    await a.evaluate(async (roomId) => { for (let i = 0; i < 20; i += 1) await globalThis.starling.send(roomId, `queued ${i}`); }, id);
    await a.close({ runBeforeUnload: false });
    await ann.context.setOffline(false);
    const again = await ann.open(id);
    await ann.online(again);
    const want = Array.from({ length: 20 }, (_, i) => `queued ${i}`);
    assert.deepEqual(await stored(again, id, 20), want);
    await again.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, { timeout: patience });
    assert.deepEqual((await history(world.urls[0], id)).map((m) => m.content), want);
  });

  it('a lost answer is asked for again, and the message is there once', async () => {
    const ann = await enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await room(a);
    await a.evaluate(() => globalThis.starling.dropNextAck());
    await ann.say('once', a);
    await a.waitForFunction(() => globalThis.starling.counts.committed === 1, undefined, { timeout: patience });
    assert.deepEqual(await same(world.urls[0], id, a), ['once']);
  });

  it('two tabs share one connection, show the same, and the other goes on when one is closed', async () => {
    const ann = await enter('Ann');
    const first = await ann.open();
    await ann.online(first);
    const id = await room(first);
    const second = await ann.open(id);
    await ann.online(second);
    assert.deepEqual(await Promise.all([first, second].map((p) => p.evaluate(() => globalThis.starling.connection.leader))), [true, false]);
    assert.equal(await second.evaluate(() => globalThis.starling.connection.socketId), await first.evaluate(() => globalThis.starling.connection.socketId));
    await ann.say('from the second', second);
    await first.locator('.content', { hasText: 'from the second' }).waitFor();
    await first.close({ runBeforeUnload: false });
    await second.waitForFunction(() => globalThis.starling.connection.leader && globalThis.starling.connection.status === 'online', undefined, { timeout: patience });
    await post(world.urls[0], id, 'to the heir');
    await second.locator('.content', { hasText: 'to the heir' }).waitFor();
    await ann.say('still here', second);
    await second.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, { timeout: patience });
    await same(world.urls[0], id, second);
  });

  it('a gateway that restarts under the user costs nothing', async () => {
    const ann = await enter('Ann');
    const ben = await enter('Ben', 1);
    const a = await ann.open();
    const b = await ben.open();
    await ann.online();
    await ben.online();
    const id = await room(a, b);
    const connects = await a.evaluate(() => globalThis.starling.connection.connects);
    await a.evaluate(async () => {
      const { gateway } = globalThis.starling.connection;
      await fetch('dev/restart-gateway', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ gateway }) });
    });
    for (let i = 0; i < 10; i += 1) {
      await ann.say(`a${i}`, a);
      await ben.say(`b${i}`, b);
    }
    await a.waitForFunction((before) => globalThis.starling.connection.connects > before && globalThis.starling.connection.status === 'online', connects, { timeout: patience });
    for (const p of [a, b]) await p.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, { timeout: patience });
    const want = await same(world.urls[1], id, a, b);
    assert.deepEqual(want.filter((t) => t.startsWith('a')), Array.from({ length: 10 }, (_, i) => `a${i}`));
    assert.deepEqual(want.filter((t) => t.startsWith('b')), Array.from({ length: 10 }, (_, i) => `b${i}`));
    for (const p of [a, b]) assert.equal(await p.evaluate(() => globalThis.starling.counts.twice), 0);
  });

  it('what is unread is counted, the line of new messages stands where reading ended, and a reload keeps it all', async () => {
    const ann = await enter('Ann');
    const ben = await enter('Ben', 1);
    const a = await ann.open();
    const b = await ben.open();
    await ann.online();
    await ben.online();
    const id = await room(a, b);
    await ben.say('seen', b);
    await a.locator('.content', { hasText: 'seen' }).waitFor();
    await a.bringToFront();
    await a.evaluate((roomId) => globalThis.starling.markRead(roomId), id);
    await b.locator('.status.read').waitFor();
    await room(a); // she is elsewhere
    for (let i = 0; i < 3; i += 1) await ben.say(`new ${i}`, b);
    const link = a.locator(`.sidebar a[href="#/r/${id}"]`);
    await link.locator('.count', { hasText: '3' }).waitFor();
    await a.reload();
    await link.locator('.count', { hasText: '3' }).waitFor();
    await link.click();
    await a.locator('.separator.new').waitFor();
    assert.equal(await a.locator('li:has(.separator.new) .content').textContent(), 'new 0');
    await link.locator('.count').waitFor({ state: 'detached' });
  });

  it('a big room scrolls with a bounded document and without a jump when history comes', async () => {
    const ann = await enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await room(a);
    const count = 600;
    for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => post(world.urls[k % 2], id, `line ${i + k} ${'long '.repeat(k % 40)}`)));
    await a.reload();
    await ann.online();
    await stored(a, id, 50);
    await a.locator('.list > li').first().waitFor();
    const position = () => a.evaluate(() => {
      const box = document.querySelector('.scroller');
      const top = box.getBoundingClientRect().top;
      const row = [...box.querySelectorAll('li[data-seq]')].find((r) => r.getBoundingClientRect().bottom > top + 200);
      return { seq: row.dataset.seq, at: Math.round(row.getBoundingClientRect().top - top), rows: box.querySelectorAll('.list > li').length };
    });
    let most = 0;
    for (;;) {
      const known = await a.evaluate((roomId) => globalThis.starling.room(roomId).messages.length, id);
      if (known >= count) break;
      await a.evaluate(() => { document.querySelector('.scroller').scrollTop = 850; });
      const before = await position();
      await a.evaluate(([roomId, n]) => new Promise((resolve) => {
        const look = () => {
          const room = globalThis.starling.room(roomId);
          if (room.messages.length > n && !room.loading) requestAnimationFrame(() => requestAnimationFrame(resolve)); else setTimeout(look, 20);
        };
        void globalThis.starling.loadOlder(roomId);
        look();
      }), [id, known]);
      const after = await a.evaluate((seq) => {
        const box = document.querySelector('.scroller');
        const row = box.querySelector(`li[data-seq="${seq}"]`);
        return { at: row && Math.round(row.getBoundingClientRect().top - box.getBoundingClientRect().top), rows: box.querySelectorAll('.list > li').length };
      }, before.seq);
      assert.ok(after.at !== null && Math.abs(after.at - before.at) <= 3, `the row ${before.seq} was at ${before.at}, and is at ${after.at}`);
      most = Math.max(most, after.rows, before.rows);
    }
    assert.ok(most < 150, `${most} rows are in the document at once`);
    const want = (await history(world.urls[0], id)).map((m) => m.content);
    assert.deepEqual(await stored(a, id, count), want);
  });

  it('a link to a message goes there', async () => {
    const ann = await enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await room(a);
    const seqs = [];
    for (let i = 0; i < 160; i += 1) seqs.push((await post(world.urls[0], id, `line ${i}`)).seq);
    await a.goto('about:blank');
    await a.goto(`${world.urls[0]}/#/r/${id}/${seqs[20]}`);
    await a.locator('.message.highlighted', { hasText: 'line 20' }).waitFor();
    await a.getByRole('button', { name: 'Newest messages' }).click();
    await a.locator('.content', { hasText: 'line 159' }).waitFor();
  });

  it('a moderator removes a member, whose page says so at once', async () => {
    const ann = await enter('Ann');
    const ben = await enter('Ben', 1);
    const a = await ann.open();
    const b = await ben.open();
    await ann.online();
    await ben.online();
    await room(a, b);
    await a.getByRole('button', { name: /Members and details/ }).click();
    await a.getByRole('button', { name: 'What to do with Ben' }).click();
    await a.getByRole('menuitem', { name: 'Remove from room' }).click();
    await b.getByText('You are not in this room any more.').waitFor();
  });

  it('can be used by keyboard, in other languages and on a phone, and axe has nothing to say', async () => {
    const ann = await enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await room(a);
    await post(world.urls[0], id, 'a line');
    await ann.say('another', a);
    const check = async (what) => {
      const found = await a.evaluate(`${axe}; axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html.slice(0, 160)).join(' | ')))`);
      assert.deepEqual(found, [], what);
    };
    await a.locator('.content', { hasText: 'another' }).waitFor();
    await check('light');
    await a.keyboard.press('Control+k');
    await a.getByRole('combobox').fill(id.slice(0, 6));
    await check('switcher');
    await a.keyboard.press('Enter');
    await a.getByRole('dialog').waitFor({ state: 'detached' });
    await a.locator('.list > li').last().focus();
    await a.keyboard.press('ArrowUp');
    assert.equal(await a.evaluate(() => document.activeElement.querySelector('.content')?.textContent), 'a line');
    await a.keyboard.press('Tab'); // to what can be done with the message
    assert.ok(await a.evaluate(() => document.activeElement.closest('.toolbar') !== null));
    await a.emulateMedia({ colorScheme: 'dark' });
    await a.getByRole('button', { name: /Members and details/ }).click();
    await a.locator('.member').first().waitFor();
    await check('dark, with members');
    await a.setViewportSize({ width: 360, height: 700 });
    await a.keyboard.press('Escape');
    await check('phone');
    assert.equal(await a.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    await a.evaluate(() => localStorage.setItem('starling:language', 'ar'));
    await a.reload();
    await ann.online();
    await a.locator('.content', { hasText: 'another' }).waitFor();
    assert.deepEqual(await a.evaluate(() => [document.documentElement.dir, document.documentElement.lang]), ['rtl', 'ar']);
    await check('from right to left');
  });
});
