// A client is cut off while its room goes on (node run.js --faults): it is recovered with every missed message, in order, by
// whatever gateway it finds, and gets an honest fresh session when it was away for too long.

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { Fleet, until } from './fleet.js';
import { scratch } from './system.js';
import { newUser, roomId } from './user.js';

/** How long the client is away, in ms, and how many messages a second it misses. */
const away = Number(process.env.OUTAGE_MS ?? 5000);
const rate = 100;

let fleet;
let dir;

before(async () => {
  dir = scratch();
  fleet = await Fleet.start(dir, join(process.env.STARLING_RESULTS ?? dir, `outage-${process.pid}.log`), { EVENT_RATE: '0', RECOVERY_WINDOW: `${away + 15_000}ms` });
}, { timeout: 240_000 });

after(async () => {
  await fleet?.stop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

/** A wire between a client and a gateway that can be cut, or left hanging at the gateway's end. */
class Wire {
  static async lay(gateway) {
    const wire = new Wire();
    wire.gateway = gateway;
    wire.pairs = new Set();
    wire.server = net.createServer((client) => {
      if (wire.cutOff) { client.destroy(); return; }
      const server = net.connect(new URL(fleet.urls[wire.gateway]).port, '127.0.0.1');
      const pair = { client, server };
      wire.pairs.add(pair);
      for (const end of [client, server]) end.on('error', () => {});
      client.pipe(server);
      server.pipe(client);
      client.on('close', () => { if (!pair.hanging) server.destroy(); });
      server.on('close', () => { client.destroy(); wire.pairs.delete(pair); });
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => { wire.server.once('listening', resolve); });
    wire.url = `http://127.0.0.1:${wire.server.address().port}`;
    return wire;
  }

  /** Cuts the client off; with hanging the gateway does not notice. */
  cut({ hanging = false } = {}) {
    this.cutOff = true;
    for (const pair of this.pairs) {
      pair.hanging = hanging;
      if (hanging) { pair.client.unpipe(pair.server); pair.server.unpipe(pair.client); pair.server.resume(); }
      pair.client.destroy();
    }
  }

  mend(gateway) {
    this.gateway = gateway;
    this.cutOff = false;
  }

  remove() {
    this.server.close();
    for (const { client, server } of this.pairs) { client.destroy(); server.destroy(); }
  }
}

async function connected(t, url, user) {
  const socket = io(url, { auth: { token: user.token }, transports: ['websocket'], forceNew: true, reconnectionDelay: 200, reconnectionDelayMax: 500 });
  t.after(() => socket.close());
  await new Promise((resolve) => { socket.once('connect', resolve); });
  return socket;
}

const cases = [
  { name: 'the same gateway', back: 0 },
  { name: 'another gateway', back: 1 },
  { name: 'no event received before', back: 1, silent: true },
  { name: 'another gateway while the old one still holds the connection', back: 1, hanging: true },
  { name: 'the same gateway while it still holds the connection', back: 0, hanging: true },
  { name: 'another gateway, the old one killed', back: 1, kill: true },
];

for (const { name, back, silent, hanging, kill } of cases) {
  test(`cut off for ${away} ms during ${rate} messages/s: ${name}`, { timeout: 3 * away + 120_000 }, async (t) => {
    const room = roomId('outage');
    const wire = await Wire.lay(0);
    t.after(() => wire.remove());
    const [ann, bob] = [await newUser('ann'), await newUser('bob')];
    const receiver = await connected(t, wire.url, ann);
    const sender = await connected(t, fleet.urls[1], bob);
    const seen = [];
    receiver.on('message:new', (m) => seen.push(m.seq));
    assert.equal((await sender.emitWithAck('room:join', room)).ok, true);
    assert.equal((await receiver.emitWithAck('room:join', room)).ok, true);

    const sent = [];
    let sending = !silent;
    const timer = setInterval(async () => {
      if (!sending) return;
      const reply = await sender.timeout(30_000).emitWithAck('message:send', { roomId: room, content: 'x'.repeat(100) })
        .catch(() => ({ ok: false })); // the test is over
      if (reply.ok) sent.push(reply.seq);
    }, 1000 / rate);
    t.after(() => clearInterval(timer));
    if (!silent) await until(() => seen.length > 20, 60_000, 'messages flow');

    wire.cut({ hanging });
    sending = true;
    if (kill) await fleet.kill('gateway-0');
    await new Promise((resolve) => { setTimeout(resolve, away); });
    const again = new Promise((resolve) => { receiver.once('connect', () => resolve(receiver.recovered)); });
    wire.mend(back);
    assert.equal(await again, true, 'recovered');
    await new Promise((resolve) => { setTimeout(resolve, 500); });
    sending = false;
    clearInterval(timer);
    await until(() => seen.length >= sent.length, 60_000, `all of ${sent.length} messages, not ${seen.length}`);
    assert.deepEqual(seen, [...sent].sort((x, y) => x - y), 'every message once, in order');
    t.diagnostic(`${sent.length} messages`);
    if (kill) { fleet.run('gateway-0'); await fleet.ready('gateway-0'); }
  });
}

test('away for longer than the window: a fresh session, and room:join with since fills the gap', { timeout: 2 * away + 120_000 }, async (t) => {
  const room = roomId('late');
  const wire = await Wire.lay(0);
  t.after(() => wire.remove());
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const receiver = await connected(t, wire.url, ann);
  const sender = await connected(t, fleet.urls[1], bob);
  await sender.emitWithAck('room:join', room);
  const { seq } = await receiver.emitWithAck('room:join', room);
  const history = [];
  receiver.on('room:history', (list) => history.push(...list));
  wire.cut();
  for (let i = 0; i < 10; i += 1) await sender.emitWithAck('message:send', { roomId: room, content: `missed ${i}` });
  await new Promise((resolve) => { setTimeout(resolve, away + 17_000); });
  const again = new Promise((resolve) => { receiver.once('connect', () => resolve(receiver.recovered)); });
  wire.mend(1);
  assert.equal(await again, false, 'not recovered');
  assert.equal((await receiver.emitWithAck('room:join', { roomId: room, since: seq })).ok, true);
  assert.deepEqual(history.map((m) => m.content), Array.from({ length: 10 }, (_, i) => `missed ${i}`));
});
