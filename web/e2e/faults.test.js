// Two people in real browsers, whose gateways die under them: on a system of its own, for others would notice.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Stage, inDatabase, shown, startBrowser, waiting } from './system.js';

const browser = await startBrowser();

describe('the web app when something dies', { skip: browser ? false : 'no Chromium is installed' }, () => {
  let stage;
  before(async () => { stage = await Stage.open(browser, { own: true }); });
  after(() => stage?.close());
  afterEach(() => stage?.leave());

  it('a gateway that restarts under the user costs nothing', async () => {
    const { ann, ben, a, b, id } = await stage.pair();
    const connects = await a.evaluate(() => globalThis.starling.connection.connects);
    await a.evaluate(async () => {
      const { gateway } = globalThis.starling.connection;
      await fetch('dev/restart-gateway', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ gateway }) });
    });
    for (let i = 0; i < 10; i += 1) {
      await ann.say(`a${i}`, a);
      await ben.say(`b${i}`, b);
    }
    await a.waitForFunction((before) => globalThis.starling.connection.connects > before && globalThis.starling.connection.status === 'online', connects, waiting);
    for (const p of [a, b]) await p.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    const want = await stage.same(id, a, b);
    assert.deepEqual(want.filter((t) => t.startsWith('a')), Array.from({ length: 10 }, (_, i) => `a${i}`));
    assert.deepEqual(want.filter((t) => t.startsWith('b')), Array.from({ length: 10 }, (_, i) => `b${i}`));
    for (const p of [a, b]) assert.equal(await p.evaluate(() => globalThis.starling.counts.twice), 0);
  });

  it('a cut, a dead gateway and a crashed tab, each after each: nothing is lost, repeated or out of order on screen', async () => {
    const { ann, ben, a: first, b, id } = await stage.pair();
    let a = first;
    let said = 0;
    let killed = 0;
    const talk = async () => {
      for (let i = 0; i < 2; i += 1) {
        said += 1;
        await ann.say(`a${said}`, a);
        await ben.say(`b${said}`, b);
      }
      await a.locator('.content', { hasText: `a${said}` }).waitFor(); // shown, so written down
    };
    const faults = {
      cut: () => a.evaluate(() => globalThis.starling.trouble('cut')),
      gateway: async () => { // his, at the next time hers
        killed = 1 - killed;
        const reply = await fetch(`${stage.urls[killed]}/dev/restart-gateway`, {
          method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ gateway: `local-${killed + 1}` }),
        }).catch(() => undefined); // it is down already
        assert.ok(reply === undefined || [204, 404].includes(reply.status));
      },
      crash: async () => {
        const crashed = new Promise((resolve) => { a.once('crash', resolve); });
        void a.goto('chrome://crash').catch(() => undefined);
        await crashed;
        await a.close();
        a = await ann.open(id);
        await a.locator('.composer textarea').waitFor();
      },
    };
    // Each after each, and then two at a time.
    for (const fault of ['cut', 'gateway', 'crash', 'cut', 'crash', 'gateway', 'cut', 'gateway+cut', 'gateway+crash']) {
      await talk();
      await Promise.all(fault.split('+').map((one) => faults[one]()));
      await talk();
    }
    for (const p of [a, b]) await p.waitForFunction(() => globalThis.starling.connection.status === 'online' && globalThis.starling.counts.waiting === 0, undefined, waiting);
    const want = await stage.same(id, a, b);
    for (const who of ['a', 'b']) assert.deepEqual(want.filter((text) => text.startsWith(who)), Array.from({ length: said }, (_, i) => `${who}${i + 1}`));
    for (const p of [a, b]) assert.deepEqual(await shown(p), want);
    const kept = inDatabase(stage.world.data, id);
    if (kept) assert.deepEqual(kept, want);
  });
});
