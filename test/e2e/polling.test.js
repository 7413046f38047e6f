// Long polling: handshake, upgrade, and every request through any gateway.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, urls } from './client.js';
import { call } from './rest.js';
import { newUser, roomId } from './user.js';
import { any, array, exact, now, ok } from './expect.js';

const polling = '/socket.io/?EIO=4&transport=polling';
const allowed = (process.env.FRONTEND_URL ?? '').split(',')[0];

async function handshake(gateway = 0) {
  const { status, body } = await call('GET', polling, { gateway });
  assert.equal(status, 200, JSON.stringify(body));
  return JSON.parse(body.slice(1));
}

test('polling works, and upgrades to WebSocket', async (t) => {
  const ann = await newUser('ann');
  const polling = await connect(t, ann, { transports: ['polling'] });
  ok(await polling.emit('room:list'), { rooms: [], useq: 0 });
  assert.equal(polling.socket.io.engine.transport.name, 'polling');

  const both = await connect(t, ann, { transports: ['polling', 'websocket'], gateway: 1 });
  await eventually(() => assert.equal(both.socket.io.engine.transport.name, 'websocket'));
  ok(await both.emit('room:list'), { rooms: [], useq: 0 });
});

test('a polling socket and a WebSocket on another gateway see each other', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const a = await connect(t, ann, { transports: ['polling'] });
  const b = await connect(t, bob, { gateway: 1 });
  await a.join(room);
  await b.join(room);
  await Promise.all([a.emit('message:send', { roomId: room, content: 'from a' }), b.emit('message:send', { roomId: room, content: 'from b' })]);
  for (const s of [a, b]) {
    const got = [await s.take('message:new'), await s.take('message:new')];
    assert.deepEqual(got.map((m) => m.content).sort(), ['from a', 'from b']);
    assert.ok(got[0].seq < got[1].seq);
  }
});

test('users:online reaches sockets of polling too', { timeout: 180_000 }, async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann, { transports: ['polling'] });
  await a.take('users:online', (l) => l.includes(ann.id));
});

test('the open packet over polling', async () => {
  const { status, headers, body } = await call('GET', polling);
  assert.equal(status, 200);
  assert.match(headers.get('content-type'), /^text\/plain; charset=utf-8$/i);
  assert.equal(headers.get('cache-control'), 'no-store');
  assert.equal(body[0], '0');
  const open = JSON.parse(body.slice(1));
  assert.deepEqual(Object.keys(open).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
  assert.deepEqual({ ...open, sid: 'x' }, { sid: 'x', upgrades: ['websocket'], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 262_144 });
});

test('POST of a session: ok as text/html; binary is refused; too large is 413', async () => {
  const { sid } = await handshake();
  const ok = await call('POST', `${polling}&sid=${sid}`, { raw: '40{"token":"garbage"}', headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  assert.deepEqual([ok.status, ok.body], [200, 'ok']);
  assert.match(ok.headers.get('content-type'), /^text\/html/);
  const other = (await handshake()).sid;
  assert.equal((await call('POST', `${polling}&sid=${other}`, { raw: '40', headers: { 'content-type': 'application/octet-stream' } })).status, 400);
  const third = (await handshake()).sid;
  const big = await call('POST', `${polling}&sid=${third}`, { raw: 'x'.repeat(1_000_001), headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  assert.deepEqual([big.status, big.body], [413, '']);
  const early = await call('POST', `${polling}&sid=${(await handshake()).sid}`, { raw: 'x'.repeat(20_000), headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  assert.deepEqual([early.status, early.body], [413, ''], 'before a CONNECT succeeded');
});

test('polling through any gateway: each request may land on another one', async () => {
  const ann = await newUser('ann');
  const room = roomId();
  const { sid } = await handshake(0);
  const post = (gateway, raw) => call('POST', `${polling}&sid=${sid}`, { gateway, raw, headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  let turn = 0;
  const packets = [];
  const read = async (prefix) => {
    for (;;) {
      const at = packets.findIndex((p) => p.startsWith(prefix));
      if (at >= 0) return packets.splice(at, 1)[0];
      const { status, body } = await call('GET', `${polling}&sid=${sid}`, { gateway: turn += 1 });
      assert.equal(status, 200, JSON.stringify(body));
      for (const packet of String(body).split('\x1e')) {
        if (packet === '2') await post(turn, '3');
        else packets.push(packet);
      }
    }
  };
  assert.deepEqual((await post(1, `40${JSON.stringify({ token: ann.token })}`)).body, 'ok');
  await read('40{');
  await post(2, `420["room:join",${JSON.stringify(room)}]`);
  assert.equal(JSON.parse((await read('430')).slice(3))[0].ok, true);
  for (let i = 1; i <= 9; i += 1) {
    assert.equal((await post(i, `42${i}["message:send",${JSON.stringify({ roomId: room, content: `m${i}` })}]`)).status, 200);
    assert.equal(JSON.parse((await read(`43${i}`)).slice(3))[0].ok, true);
  }
});

test('a sid that was made up is unknown, also when it looks like a real one', async () => {
  const { sid } = await handshake();
  const last = sid.at(-1) === 'A' ? 'B' : 'A';
  for (const made of [`${sid.slice(0, -1)}${last}`, `${sid}x`, sid.slice(1), sid.toLowerCase() === sid ? sid.toUpperCase() : sid.toLowerCase(), '*', '>', encodeURIComponent('a.b')]) {
    for (const [gateway] of urls.entries()) {
      const reply = await call('GET', `${polling}&sid=${made}`, { gateway });
      assert.deepEqual(reply.body, { code: 1, message: 'Session ID unknown' }, made);
    }
  }
});

test('the Authorization header serves over polling', async (t) => {
  const ann = await newUser('ann');
  const socket = await connect(t, null, { transports: ['polling'], extraHeaders: { Authorization: `Bearer ${ann.token}` } });
  ok(await socket.emit('room:list'), { rooms: [], useq: 0 });
});

test('attachments over polling', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const a = await connect(t, ann, { transports: ['polling'] });
  const b = await connect(t, bob, { gateway: 1, transports: ['polling'] });
  for (const s of [a, b]) await s.join(room);
  const bytes = Buffer.from([0, 1, 2, 255, 254, 0x1e, 0x0a]);
  ok(await a.emit('room:message', { roomId: room, file: bytes, more: [{ big: Buffer.alloc(40_000, 7) }] }));
  for (const s of [a, b]) {
    const got = await s.take('room:message');
    exact(got, { roomId: room, file: any, more: array, sender: ann.id, timestamp: now });
    assert.deepEqual(Buffer.from(got.file), bytes);
    assert.deepEqual(Buffer.from(got.more[0].big), Buffer.alloc(40_000, 7));
  }
});

test('a polling session cannot be taken over by a plain WebSocket request', async () => {
  const { sid } = await handshake();
  const reply = await call('GET', `/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
  assert.deepEqual([reply.status, reply.body], [400, { code: 3, message: 'Bad request' }]);
});

test('CORS on polling', { skip: !allowed && 'FRONTEND_URL is not set' }, async () => {
  for (const origin of process.env.FRONTEND_URL.split(',')) {
    const reply = await call('GET', polling, { headers: { origin } });
    assert.equal(reply.status, 200);
    assert.equal(reply.headers.get('access-control-allow-origin'), origin);
  }
});
