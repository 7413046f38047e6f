// Two people in real browsers, on two gateways.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Stage, axe, history, ledTo, post, startBrowser, stored, texts, undoSlowly, waiting } from './system.js';

const browser = await startBrowser();

describe('the web app', { skip: browser ? false : 'no Chromium is installed' }, () => {
  let stage;
  before(async () => { stage = await Stage.open(browser); });
  after(() => stage?.close());
  afterEach(() => stage?.leave());

  it('signs up and in, and shows a refusal', async () => {
    const person = await stage.enter('Nobody');
    const page = await person.open();
    await page.goto(`${stage.urls[0]}/?profile=new`); // a login of its own
    await page.getByRole('button', { name: 'Create account' }).click();
    const username = `nora-${Date.now().toString(36)}`;
    await page.getByLabel('Display name').fill('Nora');
    await page.getByLabel('Username').fill(username);
    await page.getByLabel('Password').fill('a-long-pass-phrase');
    await page.getByRole('button', { name: 'Create account' }).click();
    await page.getByRole('button', { name: /Nora.*Account and settings/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByLabel('Username').fill(username);
    await page.getByLabel('Password').fill('not-the-pass-phrase');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Password').fill('a-long-pass-phrase');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('button', { name: /Nora.*Account and settings/ }).waitFor();
    person.noise = person.noise.filter((said) => !said.includes('status of 401')); // the browser's own word about the refusal
  });

  it('two people talk, see each other type and read, and what they type is text', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    // A start of typing is over after seconds, in which a busy machine may have shown nothing: he goes on until she sees it.
    let seen = false;
    await Promise.all([
      a.getByText('Ben is typing').waitFor().finally(() => { seen = true; }),
      (async () => { while (!seen) await b.locator('.composer textarea').pressSequentially('h', { delay: 500 }); })(),
    ]);
    const nasty = '<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=1</script> & **x** [y](javascript:alert(1))';
    await ben.say(nasty, b);
    await a.locator('.content', { hasText: '<img src=x' }).waitFor();
    assert.deepEqual(await texts(a), [nasty.replaceAll('**', '')]);
    assert.equal(await a.locator('.list strong', { hasText: 'x' }).count(), 1);
    assert.equal(await a.evaluate(() => globalThis.hit), undefined);
    assert.equal(await a.locator('.list img, .list script, .list a').count(), 0);
    await a.bringToFront();
    await a.evaluate((roomId) => globalThis.starling.markRead(roomId), id);
    await b.locator('.status.read').waitFor();
    await ann.say('hello', a);
    await b.locator('.content', { hasText: 'hello' }).waitFor();
    await stage.same(id, a, b);
  });

  it('what is typed offline goes out once when back', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    await ann.context.setOffline(true);
    await a.waitForFunction(() => globalThis.starling.connection.status === 'offline', undefined, waiting);
    for (let i = 0; i < 5; i += 1) await ann.say(`offline ${i}`, a);
    await ben.say('meanwhile', b);
    await a.locator('.pending').nth(4).waitFor();
    await a.getByText('You are offline').waitFor();
    await ann.context.setOffline(false);
    await b.locator('.content', { hasText: 'offline 4' }).waitFor();
    const want = await stage.same(id, a, b);
    assert.deepEqual(want.filter((t) => t.startsWith('offline')), [0, 1, 2, 3, 4].map((i) => `offline ${i}`));
    await a.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    assert.equal(await a.locator('.pending').count(), 0);
  });

  it('a tab that is killed with a queue of 20 has lost nothing, and sends nothing twice', async () => {
    const ann = await stage.enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await stage.room(a);
    await ann.context.setOffline(true);
    await a.waitForFunction(() => globalThis.starling.connection.status === 'offline', undefined, waiting);
    await a.evaluate(async (roomId) => { for (let i = 0; i < 20; i += 1) await globalThis.starling.send(roomId, `queued ${i}`); }, id);
    await a.close({ runBeforeUnload: false });
    await ann.context.setOffline(false);
    const again = await ann.open(id);
    await ann.online(again);
    const want = Array.from({ length: 20 }, (_, i) => `queued ${i}`);
    assert.deepEqual(await stored(again, id, 20), want);
    await again.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    assert.deepEqual((await history(stage.urls[0], id)).map((m) => m.content), want);
  });

  it('a lost answer is asked for again, and the message is there once', async () => {
    const ann = await stage.enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await stage.room(a);
    await a.evaluate(() => globalThis.starling.trouble('drop', 'message:send'));
    await ann.say('once', a);
    await a.waitForFunction(() => globalThis.starling.counts.committed === 1, undefined, waiting);
    assert.deepEqual(await stage.same(id, a), ['once']);
  });

  it('two tabs share one connection, show the same, and the other goes on when one is closed', async () => {
    const ann = await stage.enter('Ann');
    const first = await ann.open();
    await ann.online(first);
    const id = await stage.room(first);
    const second = await ann.open(id);
    await ann.online(second);
    assert.deepEqual(await Promise.all([first, second].map((p) => p.evaluate(() => globalThis.starling.connection.leader))), [true, false]);
    assert.equal(await second.evaluate(() => globalThis.starling.connection.socketId), await first.evaluate(() => globalThis.starling.connection.socketId));
    await ann.say('from the second', second);
    await first.locator('.content', { hasText: 'from the second' }).waitFor();
    await first.close({ runBeforeUnload: false });
    await second.waitForFunction(() => globalThis.starling.connection.leader && globalThis.starling.connection.status === 'online', undefined, waiting);
    await post(stage.urls[0], id, 'to the heir');
    await second.locator('.content', { hasText: 'to the heir' }).waitFor();
    await ann.say('still here', second);
    await second.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    await stage.same(id, second);
  });

  it('what is marked unread is so on all devices, until it is read again', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    const phone = await stage.device(ann, { viewport: { width: 390, height: 780 } });
    const p = await phone.open();
    await phone.online();
    const badge = (page) => page.locator(`.sidebar a[href="#/r/${id}"] .count`);
    const everywhere = (count) => Promise.all([a, p].map((page) => badge(page).filter({ hasText: count }).waitFor()));
    for (let i = 0; i < 3; i += 1) await ben.say(`line ${i}`, b);
    await a.locator('.content', { hasText: 'line 2' }).waitFor();
    await p.waitForFunction((roomId) => { const room = globalThis.starling.room(roomId); return room?.last?.content === 'line 2' && room.marker === room.last.seq; }, id, waiting);
    const row = a.locator('.list > li', { has: a.locator('.content', { hasText: 'line 1' }) });
    await row.hover();
    await row.getByRole('button', { name: 'More' }).click();
    await a.getByRole('menuitem', { name: 'Mark unread' }).click();
    await everywhere('2');
    assert.equal(await a.locator('li:has(.separator.new) .content').textContent(), 'line 1'); // where reading is to go on
    await a.evaluate(() => dispatchEvent(new Event('focus'))); // to be looked at is not to be read
    await ben.say('line 3', b);
    await everywhere('3');
    await stage.room(a); // she leaves
    await everywhere('3');
    await a.locator(`.sidebar a[href="#/r/${id}"]`).click(); // and comes back
    for (const page of [a, p]) await badge(page).waitFor({ state: 'detached' });
  });

  it('a room that no tab has entered shows what is new in both of them, until it is read in one', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    const s = await ann.open(id);
    await ann.online(s);
    assert.deepEqual(await Promise.all([a, s].map((p) => p.evaluate(() => globalThis.starling.connection.leader))), [true, false]);
    const quiet = `quiet-${id}`;
    await b.evaluate(([roomId, userId]) => globalThis.starling.create('private', roomId, { roomId, members: [{ userId }] }), [quiet, ann.id]);
    const link = (page) => page.locator(`.sidebar a[href="#/r/${quiet}"]`);
    const inBoth = (what) => Promise.all([a, s].map(what));
    const first = (roomId) => inBoth((page) => page.waitForFunction((href) => document.querySelector('.sidebar a.room')?.getAttribute('href') === href, `#/r/${roomId}`, waiting));
    await inBoth((page) => link(page).waitFor());
    await ben.say('here, where both are', b);
    await first(id);
    assert.equal((await inBoth((page) => link(page).locator('.count').count())).join(), '0,0');

    const say = (content, mentions) => b.evaluate(([roomId, ...said]) => globalThis.starling.send(roomId, said[0], { mentions: said[1] }), [quiet, content, mentions]);
    for (let i = 0; i < 3; i += 1) await say(`new ${i}`);
    await inBoth((page) => link(page).locator('.count', { hasText: /^3$/ }).waitFor());
    await first(quiet);
    await say('you are asked', { users: [ann.id] });
    await inBoth((page) => link(page).locator('.count.mention', { hasText: /^@1$/ }).waitFor());
    // That there is a mention is told at once, how the room stands up to a second and a half later.
    const stands = (page, count, content) => page.waitForFunction(([roomId, ...want]) => {
      const { unread, last } = globalThis.starling.rooms.find((r) => r.id === roomId);
      return unread === want[0] && last.content === want[1];
    }, [quiet, count, content], waiting);
    const entered = (page) => page.evaluate((roomId) => globalThis.starling.rooms.find((r) => r.id === roomId).joined, quiet);
    await inBoth((page) => stands(page, 4, 'you are asked'));
    assert.deepEqual(await inBoth(entered), [false, false]);

    await a.bringToFront();
    await link(a).click();
    await a.locator('.content', { hasText: 'you are asked' }).waitFor();
    await inBoth((page) => link(page).locator('.count').waitFor({ state: 'detached' }));
    await stands(s, 0, 'you are asked');
    await say('and once more'); // she reads on in the first tab
    await inBoth((page) => stands(page, 0, 'and once more'));
    assert.deepEqual(await inBoth(entered), [true, false]);
  });

  it('messages are edited, answered, reacted to, pinned and deleted, and both see the same', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    const row = (page, text) => page.locator('.list > li', { has: page.locator('.content', { hasText: text }) });
    const menu = async (page, text, item) => {
      await row(page, text).hover();
      await row(page, text).getByRole('button', { name: 'More' }).click();
      await page.getByRole('menuitem', { name: item }).click();
    };
    await ann.say('the frist line', a);
    await row(b, 'the frist line').waitFor();
    await a.locator('.composer textarea').press('ArrowUp');
    await a.getByText('Editing message').waitFor();
    await ann.say('the first line', a);
    await row(b, 'the first line').locator('.edited').waitFor();

    await row(b, 'the first line').hover();
    await row(b, 'the first line').getByRole('button', { name: 'Add reaction 👍' }).click();
    await row(a, 'the first line').locator('.reaction[aria-pressed=false]', { hasText: '1' }).click();
    for (const p of [a, b]) await row(p, 'the first line').locator('.reaction.mine', { hasText: '2' }).waitFor();
    await row(b, 'the first line').locator('.reaction').click();
    for (const p of [a, b]) await row(p, 'the first line').locator('.reaction', { hasText: '1' }).waitFor();
    assert.equal(await row(b, 'the first line').locator('.reaction').getAttribute('aria-pressed'), 'false');

    await row(b, 'the first line').hover();
    await row(b, 'the first line').getByRole('button', { name: 'Reply' }).click();
    await b.getByText('Replying to Ann').waitFor();
    await b.locator('.composer textarea').pressSequentially('read by @An');
    await b.getByRole('option', { name: 'Ann' }).waitFor();
    await b.keyboard.press('Enter'); // takes the name, and sends nothing
    await b.keyboard.press('Enter');
    await row(a, 'read by @Ann').locator('.quote', { hasText: 'the first line' }).waitFor();
    await a.locator('.message.mentioned', { hasText: 'read by @Ann' }).waitFor();

    await menu(a, 'the first line', 'Pin');
    await row(b, 'the first line').locator('.pinned').waitFor();
    await b.getByRole('button', { name: /Members and details/ }).click();
    await b.locator('.pin', { hasText: 'the first line' }).click();
    await ledTo(b, 'the first line');

    await ann.say('a mistake', a);
    await row(b, 'a mistake').waitFor();
    await undoSlowly(a);
    await menu(a, 'a mistake', 'Delete');
    await a.locator('.content.gone').waitFor();
    await a.getByRole('button', { name: 'Undo' }).click();
    await row(a, 'a mistake').waitFor();
    await a.evaluate(() => { delete globalThis.starling.remove; }); // at its usual pace
    await menu(a, 'a mistake', 'Delete');
    await b.locator('.content.gone').waitFor();
    assert.deepEqual(await stage.same(id, a, b), ['the first line', 'read by @Ann', '']);
    await ben.say('still here', b);
    await a.locator('.content', { hasText: 'still here' }).waitFor();
    assert.equal(await a.evaluate((roomId) => globalThis.starling.room(roomId).messages.find((m) => m.deletedAt).content, id), '');
  });

  it('what is deleted is deleted, though the page is closed or crashes while that could be undone', async () => {
    const { ann, a: first, b, id } = await stage.pair();
    let a = first;
    const remove = async (text) => {
      const row = a.locator('.list > li', { has: a.locator('.content', { hasText: text }) });
      await row.hover();
      await row.getByRole('button', { name: 'More' }).click();
      await a.getByRole('menuitem', { name: 'Delete' }).click();
      await a.locator('.content', { hasText: text }).waitFor({ state: 'detached' });
    };
    for (const text of ['one', 'two', 'three']) await ann.say(text, a);
    await b.locator('.content', { hasText: 'three' }).waitFor();
    await a.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    await remove('one');
    await a.goto('about:blank'); // she goes away: it is sent at once
    await b.locator('.content.gone').waitFor();
    await a.close();
    a = await ann.open(id);
    await a.locator('.content', { hasText: 'two' }).waitFor();
    await remove('two');
    const crashed = new Promise((resolve) => { a.once('crash', resolve); });
    void a.goto('chrome://crash').catch(() => undefined);
    await crashed;
    await a.close();
    assert.equal(await b.locator('.content.gone').count(), 1);
    a = await ann.open(id); // at the next start
    await b.locator('.content.gone').nth(1).waitFor();
    await a.locator('.content.gone').nth(1).waitFor();
    assert.deepEqual(await stage.same(id, a, b), ['', '', 'three']);
  });

  it('a moderator removes a member, whose page says so at once', async () => {
    const { a, b } = await stage.pair();
    await a.getByRole('button', { name: /Members and details/ }).click();
    await a.getByRole('button', { name: 'What to do with Ben' }).click();
    await a.getByRole('menuitem', { name: 'Remove from room' }).click();
    await b.getByText('You are not in this room any more.').waitFor();
  });

  it('can be used by keyboard, in other languages and on a phone, and axe has nothing to say', async () => {
    const ann = await stage.enter('Ann');
    const a = await ann.open();
    await ann.online();
    const id = await stage.room(a);
    await post(stage.urls[0], id, 'a line');
    await ann.say('another', a);
    const check = async (what) => assert.deepEqual(await axe(a), [], what);
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
