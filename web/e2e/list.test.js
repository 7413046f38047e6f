// The list of messages in a real browser: what it shows is at rest, whole and where the eye has left it, in small rooms and in big ones.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Stage, history, ledTo, multiply, post, shown, startBrowser, stored, waiting } from './system.js';

const browser = await startBrowser();

describe('the list of messages', { skip: browser ? false : 'no Chromium is installed' }, () => {
  let stage;
  before(async () => { stage = await Stage.open(browser); });
  after(() => stage?.close());
  afterEach(() => stage?.leave());

  const alone = async (options) => {
    const ann = await stage.enter('Ann', 0, options);
    const a = await ann.open();
    await ann.online();
    return { ann, a, id: await stage.room(a) };
  };
  const line = (i) => `line ${i} ${'long '.repeat((i * 7) % 40)}`.trim();
  const fill = async (id, count, from = 0) => {
    const left = Array.from({ length: count }, (_, i) => from + i);
    await Promise.all(Array.from({ length: 32 }, async (_, k) => { for (let i = left.shift(); i !== undefined; i = left.shift()) await post(stage.urls[k % 2], id, line(i)); }));
  };

  it('60 messages: it rests at every height and position, by the pixel, and stays at its end', async () => {
    const { a, id } = await alone();
    await fill(id, 60);
    await stored(a, id, 60);
    const rest = await a.evaluate(async () => {
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      const messages = document.querySelector('.messages');
      const box = document.querySelector('.scroller');
      messages.style.flex = 'none';
      let off = 0;
      for (let height = 300; height < 360; height += 1) {
        messages.style.height = `${height + height % 3 / 4}px`;
        await frame();
        await frame();
        off = Math.max(off, box.scrollHeight - box.scrollTop - box.clientHeight);
      }
      for (let top = 0; top < 120; top += 1) {
        box.scrollTop = 400 + top * 1.25;
        await frame();
      }
      return { off, rows: box.querySelectorAll('.list > li').length };
    });
    assert.ok(rest.off <= 1, `the end was ${rest.off} pixels below the view`);
    assert.ok(rest.rows > 0, 'the page is empty');
    assert.deepEqual(await shown(a), await stage.same(id, a));
  });

  it('each message of the first seventy, as it comes, is at the end of the view', async () => {
    const { ann, a, id } = await alone({ reducedMotion: 'no-preference' });
    const off = await a.evaluate(async ([roomId, lines]) => {
      const box = document.querySelector('.scroller');
      let most = 0;
      for (const text of lines) {
        await globalThis.starling.send(roomId, text);
        await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
        most = Math.max(most, box.scrollHeight - box.scrollTop - box.clientHeight);
      }
      return most;
    }, [id, Array.from({ length: 70 }, (_, i) => line(i))]);
    assert.ok(off <= 1, `the end was ${off} pixels below the view`);
    await a.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    await a.locator('.content', { hasText: line(69) }).waitFor();
    await ann.say('the last one', a);
    await a.locator('.content', { hasText: 'the last one' }).waitFor();
    assert.ok(await a.evaluate(() => { const box = document.querySelector('.scroller'); return box.scrollHeight - box.scrollTop - box.clientHeight <= 1; }), 'the end is not in view');
    assert.deepEqual(await shown(a), await stage.same(id, a));
  });

  it('the keys go from message to message, also beyond what was in view, and the view stays there', async () => {
    const { a, id } = await alone();
    await fill(id, 60);
    await stored(a, id, 60);
    await a.locator('.list > li').last().focus();
    for (let i = 0; i < 30; i += 1) await a.keyboard.press('ArrowUp');
    await a.locator('.list > li:focus').waitFor();
    assert.equal(await a.evaluate(() => document.activeElement.getAttribute('aria-posinset')), '30');
    await post(stage.urls[0], id, 'another one'); // which does not take the view away
    await stored(a, id, 61);
    assert.ok(await a.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => {
      const row = document.activeElement.getBoundingClientRect();
      const box = document.querySelector('.scroller').getBoundingClientRect();
      resolve(row.top >= box.top - 1 && row.bottom <= box.bottom + 1);
    })))), 'the row with the focus is not in view');
  });

  it('10,000 messages: a bounded document, and no jump when history comes', async (t) => {
    const { id } = await alone();
    const count = 10_000;
    await post(stage.urls[0], id, 'line 1');
    if (!multiply(stage.world.data, id, count, "'line ' || g || repeat(' long', (g * 7 % 40)::int)")) return t.skip('no psql is installed');
    const ben = await stage.enter('Ben', 1);
    // The server is asked for its hundred pages while the browser starts, and is quiet while frames are measured.
    const [want, a] = await Promise.all([history(stage.urls[0], id), ben.open(id)]);
    await ben.online();
    await stored(a, id, 50);
    await a.locator('.list > li').first().waitFor();
    // The page scrolls up as a hand does, and looks at the row that it had before and after each page of history.
    const walk = await a.evaluate(async ([roomId, all]) => {
      const box = document.querySelector('.scroller');
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      const soon = () => new Promise((resolve) => setTimeout(resolve)); // what is not looked at needs no frame
      const where = () => {
        const { top } = box.getBoundingClientRect();
        const row = [...box.querySelectorAll('li[data-seq]')].find((r) => r.getBoundingClientRect().bottom > top + 200);
        return { seq: row.dataset.seq, at: row.getBoundingClientRect().top - top };
      };
      let jump = 0;
      let rows = 0;
      let pages = 0;
      while (globalThis.starling.room(roomId).messages.length < all) {
        if (pages === 10) {
          const list = document.querySelector('.messages');
          list.style.display = 'none'; // nor is anything drawn
          for (; globalThis.starling.room(roomId).hasOlder; await soon()) await globalThis.starling.loadOlder(roomId);
          list.style.display = '';
          await frame();
          break;
        }
        const known = globalThis.starling.room(roomId).messages.length;
        box.scrollTop = 850;
        await frame();
        await frame();
        const before = where();
        for (; globalThis.starling.room(roomId).messages.length === known; await frame()) void globalThis.starling.loadOlder(roomId); // again, where a page had no answer
        await frame();
        await frame();
        const row = box.querySelector(`li[data-seq="${before.seq}"]`);
        jump = Math.max(jump, row ? Math.abs(row.getBoundingClientRect().top - box.getBoundingClientRect().top - before.at) : Infinity);
        rows = Math.max(rows, box.querySelectorAll('.list > li').length);
        pages += 1;
      }
      const times = [];
      let last = performance.now();
      for (let i = 0; i < 180; i += 1) {
        box.scrollTop += 400;
        await frame();
        const now = performance.now();
        times.push(now - last);
        last = now;
        rows = Math.max(rows, box.querySelectorAll('.list > li').length);
      }
      times.sort((x, y) => x - y);
      return { jump, rows, pages, median: times[90], p95: times[171] };
    }, [id, count]);
    t.diagnostic(`scrolling ${count} messages: a frame takes ${walk.median.toFixed(1)} ms (median), ${walk.p95.toFixed(1)} ms (95 of 100); at most ${walk.rows} rows in the document`);
    assert.ok(walk.jump <= 2, `the view jumped by ${walk.jump} pixels`);
    assert.ok(walk.rows < 150, `${walk.rows} rows are in the document at once`);
    assert.deepEqual(await stored(a, id, count), want.map((m) => m.content));
  });

  it('what is unread is counted, the line of new messages stands where reading ended, and a reload keeps it all', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    await ben.say('seen', b);
    await a.locator('.content', { hasText: 'seen' }).waitFor();
    await a.bringToFront();
    await b.locator('.status.read').waitFor();
    const link = a.locator(`.sidebar a[href="#/r/${id}"]`);
    await stage.room(a);
    await link.click(); // she comes back to a room in which she has read all
    await a.locator('.content', { hasText: 'seen' }).waitFor();
    await ben.say('seen as it comes', b);
    await a.locator('.content', { hasText: 'seen as it comes' }).waitFor();
    await b.locator('.status.read').nth(1).waitFor();
    assert.equal(await a.locator('.separator.new').count(), 0);
    await a.evaluate(() => Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })); // another tab is in front
    await ben.say('unseen', b);
    await a.locator('li:has(.separator.new) .content', { hasText: 'unseen' }).waitFor();
    await a.evaluate(() => { delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange')); });
    await b.locator('.status.read').nth(2).waitFor();
    await stage.room(a); // she is elsewhere
    for (let i = 0; i < 3; i += 1) await ben.say(`new ${i}`, b);
    await link.locator('.count', { hasText: '3' }).waitFor();
    await a.reload();
    await link.locator('.count', { hasText: '3' }).waitFor();
    await link.click();
    await a.locator('.separator.new').waitFor();
    assert.equal(await a.locator('li:has(.separator.new) .content').textContent(), 'new 0');
    await link.locator('.count').waitFor({ state: 'detached' });
  });

  it('a link to a message goes there, and Escape to the newest', async () => {
    const { ann, a, id } = await alone();
    await fill(id, 160);
    const all = await history(stage.urls[0], id);
    const [there, newest] = [all[20], all[159].content];
    const go = async () => {
      await a.goto(`${stage.urls[0]}/#/r/${id}/${there.seq}`);
      await a.reload();
      await ledTo(a, there.content);
    };
    await go();
    await a.locator('.pill').click();
    await a.locator('.list > li:last-child', { hasText: newest }).waitFor();
    await go();
    await a.keyboard.press('Escape');
    await a.locator('.list > li:last-child', { hasText: newest }).waitFor();
    // One that is opened without a connection leads there when that is back.
    await ann.context.setOffline(true);
    await a.waitForFunction(() => globalThis.starling.connection.status === 'offline', undefined, waiting);
    await a.evaluate(([room, seq]) => { globalThis.ledTo.length = 0; location.hash = `#/r/${room}/${seq}`; }, [id, all[5].seq]);
    await a.waitForFunction(([room, seq]) => location.hash.endsWith(`${room}/${seq}`), [id, all[5].seq], waiting);
    await ann.context.setOffline(false);
    await ledTo(a, all[5].content);
  });

  it('a fault of the list is shown in its place, and the store goes on', async () => {
    const { ann, a, id } = await alone();
    await ann.say('before', a);
    await a.locator('.content', { hasText: 'before' }).waitFor();
    await a.evaluate(() => {
      const { getBoundingClientRect } = Element.prototype;
      Element.prototype.getBoundingClientRect = function measured() {
        if (this.matches('.list > li')) throw new Error('a fault of the list');
        return getBoundingClientRect.call(this);
      };
      globalThis.mend = () => { Element.prototype.getBoundingClientRect = getBoundingClientRect; };
    });
    await a.evaluate(([roomId]) => globalThis.starling.send(roomId, 'through it'), [id]);
    await a.getByRole('alert').getByRole('button', { name: 'Show it again' }).waitFor();
    await a.waitForFunction(() => globalThis.starling.connection.status === 'online' && globalThis.starling.counts.waiting === 0, undefined, waiting);
    await ann.say('and after', a);
    await a.evaluate(() => globalThis.mend());
    await a.getByRole('button', { name: 'Show it again' }).click();
    await a.locator('.content', { hasText: 'and after' }).waitFor();
    assert.deepEqual(await stage.same(id, a), ['before', 'through it', 'and after']);
    ann.noise = ann.noise.filter((said) => !said.includes('a fault of the list'));
  });
});
