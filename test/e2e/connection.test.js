// What official clients do with a connection besides sending events, and what a connection may take.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Manager } from 'socket.io-client';
import { Client, connect, connected, pause, url, urls } from './client.js';
import { beyond, own } from './contract.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId } from './user.js';
import { ok } from './expect.js';
import { wire } from './wire.js';

own('question');

const transports = [['websocket'], ['polling']];

function managed(t, user, options) {
  const manager = new Manager(url(), { reconnection: false, timeout: 30_000, ...options });
  const socket = (namespace) => new Client(manager.socket(namespace, { auth: { token: user.token } }));
  t.after(() => manager.engine?.close());
  return { manager, socket };
}

for (const kind of transports) {
  test(`connect() of a socket that connects by itself (${kind})`, async (t) => {
    const user = await newUser('ann');
    const { socket } = managed(t, user, { transports: kind });
    const main = socket('/');
    await connected(main);
    const chat = socket('/chat'); // connects by itself, because the manager is open
    chat.socket.connect();
    await connected(chat);
    ok(await chat.emit('room:list'), { rooms: [], useq: 0 });
    ok(await main.emit('room:list'), { rooms: [], useq: 0 });
    const { body } = await call('GET', `/api/v1/users/${user.id}/sockets`, { key });
    assert.deepEqual(body.sockets.map((s) => s.namespace).sort(), ['/', '/chat']);
    assert.deepEqual([...main.closed, ...chat.closed], []);
  });

  test(`disconnect and connect in one tick (${kind})`, async (t) => {
    const user = await newUser('ann');
    const { socket } = managed(t, user, { transports: kind });
    const main = socket('/');
    await connected(main);
    const chat = socket('/chat');
    chat.socket.connect(); // its CONNECT is on its way
    chat.socket.disconnect().connect();
    await connected(chat);
    for (let i = 0; i < 3; i += 1) {
      chat.socket.disconnect().connect();
      await connected(chat);
      assert.equal(chat.socket.recovered, false, 'it left on purpose');
      ok(await chat.emit('room:list'), { rooms: [], useq: 0 });
    }
    ok(await main.emit('room:list'), { rooms: [], useq: 0 });
    assert.deepEqual(main.closed, []);
  });

  test(`a disconnect by the server is told once (${kind})`, async (t) => {
    const user = await newUser('ann');
    const a = await connect(t, user, { transports: kind });
    assert.equal((await call('POST', '/api/v1/sockets/disconnect', { key, body: { sockets: [a.id] } })).status, 200);
    assert.equal(await a.ended(), 'io server disconnect');
    await pause(500);
    assert.deepEqual(a.closed, ['io server disconnect']);
  });

  test(`long answers asked for at once (${kind})`, async (t) => {
    const user = await newUser('ann');
    const a = await connect(t, user, { transports: kind });
    const room = roomId();
    assert.equal((await a.emit('room:join', room)).ok, true);
    for (let i = 0; i < 300; i += 20) {
      await Promise.all(Array.from({ length: 20 }, () => call('POST', `/api/v1/rooms/${room}/messages`, { key, body: { content: 'x'.repeat(1200) } })));
    }
    const b = await connect(t, user, { transports: kind });
    const replies = await Promise.all(Array.from({ length: 4 }, () => b.emit('room:join', { roomId: room, since: 0, limit: 500 })));
    assert.deepEqual(replies.map((reply) => [reply.ok, reply.hasMore]), Array(4).fill([true, false]));
    assert.deepEqual(b.seen('room:history').map((h) => h.length), [300, 300, 300, 300]);
    assert.deepEqual([...a.closed, ...b.closed], []);
  });
}

test('an emit with an ack whose last argument is a string', async (t) => {
  const user = await newUser('ann');
  const a = await connect(t, user);
  const got = [];
  a.socket.on('question', (...args) => { got.push(args.slice(0, -1)); args.at(-1)('yes'); });
  for (const args of [['well?'], [{ n: 1 }, 'text'], []]) {
    const { status, body } = await call('POST', '/api/v1/emit', { key, body: { userId: user.id, event: 'question', args, ack: { timeoutMs: 30_000 } } });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body.replies.map((r) => r.args), [['yes']], JSON.stringify(body));
    assert.deepEqual(got.pop(), args);
  }
});

test('floods close their own connection', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const bystander = await connect(t, ann);
  const floods = {
    pongs: (w) => w.send('3'),
    acks: (w) => w.send('4399["x"]'),
    'pings of WebSocket': (w) => w.ws.ping(),
    'bad CONNECTs': (w) => w.send('40/chat,{"token":"garbage"}'),
    'CONNECT and DISCONNECT': (w) => { w.send(`40/chat,${JSON.stringify({ token: eve.token })}`); w.send('41/chat,'); },
    'refused events': (w) => w.send('42["room:list"]'),
  };
  for (const [what, send] of Object.entries(floods)) {
    await t.test(what, async (st) => {
      const w = wire(st);
      await w.connect(eve.token);
      for (let i = 0; i < 20_000 && w.ws.readyState === 1; i += 1) {
        send(w);
        if (i % 500 === 499) await pause(1);
      }
      // A proxy in between may reset the connection of a client that goes on sending, and the close frame is lost then.
      const codes = new Set(urls).size > 1 ? [1008] : [1008, 1006];
      const code = await w.closed();
      assert.ok(codes.includes(code), `closed with ${code}, want one of ${codes}`);
      ok(await bystander.emit('room:list'), { rooms: [], useq: 0 });
    });
  }
  assert.deepEqual(bystander.closed, []);
});

test('who has shown no token may send little', async (t) => {
  const user = await newUser('ann');
  const stranger = wire(t);
  await stranger.next();
  stranger.send('4'.padEnd(17_000, 'x'), { fin: false });
  assert.equal(await stranger.closed(), 1009);
  const binary = wire(t);
  await binary.next();
  binary.send('451-["room:message",{"f":{"_placeholder":true,"num":0}}]');
  assert.equal(await binary.closed(), 1002);
  const known = wire(t);
  await known.connect(user.token);
  known.send(`421["room:list","${'x'.repeat(60_000)}"]`);
  assert.match(await known.find((f) => f.startsWith('431')), /"ok":true/);
});

test('a client that polls and upgrades keeps what it may send', async (t) => {
  const a = await connect(t, await newUser('ann'), { transports: ['polling', 'websocket'] });
  if (a.socket.io.engine.transport.name !== 'websocket') await new Promise((resolve) => { a.socket.io.engine.once('upgrade', resolve); });
  ok(await a.emit('room:list', beyond({ filler: 'x'.repeat(60_000) })), { rooms: [], useq: 0 });
  assert.deepEqual(a.closed, []);
});
