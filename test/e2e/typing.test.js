// Typing: start, stop, and everything that stops it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, pair } from './client.js';
import { newUser, roomId } from './user.js';
import { exact, ok } from './expect.js';
import { apiKey, call } from './rest.js';

async function talkers(t) {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  return { ann, bob, room, a, b };
}

test('typing:start and typing:stop go to the others', async (t) => {
  const { ann, room, a, b } = await talkers(t);
  ok(await a.emit('typing:start', room));
  exact(await b.take('typing:start'), { userId: ann.id, userName: ann.name, roomId: room, expiresInMs: 8000 });
  ok(await a.emit('typing:stop', room));
  exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
  await b.emit('room:message', { roomId: room, barrier: 1 });
  await a.take('room:message');
  assert.deepEqual([...a.seen('typing:start'), ...a.seen('typing:stop')], [], 'the typist itself gets nothing');
});

test('of two tabs the user types as long as one does, and neither hears its own user', async (t) => {
  const { ann, room, a, b } = await talkers(t);
  const tab = await connect(t, ann, { gateway: 2, namespace: '/chat' });
  await tab.join(room);
  ok(await a.emit('typing:start', room));
  exact(await b.take('typing:start'), { userId: ann.id, userName: ann.name, roomId: room, expiresInMs: 8000 });
  ok(await tab.emit('typing:start', room));
  ok(await tab.emit('typing:stop', room));
  await b.emit('room:message', { roomId: room, barrier: 1 });
  await b.take('room:message');
  assert.deepEqual(b.seen('typing:stop'), [], 'the other tab still types');
  ok(await a.emit('typing:stop', room));
  exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
  await b.emit('room:message', { roomId: room, barrier: 2 });
  for (const s of [a, tab]) {
    await s.take('room:message', (m) => m.barrier === 2);
    assert.deepEqual([...s.seen('typing:start'), ...s.seen('typing:stop')], [], 'no tab of the typist gets anything');
  }
});

test('a message ends it at once, by socket and by REST', async (t) => {
  const { ann, room, a, b } = await talkers(t);
  for (const send of [
    () => a.emit('message:send', { roomId: room, content: 'done' }),
    async () => {
      const { status } = await call('POST', `/api/v1/rooms/${room}/messages`, { key: apiKey, body: { userId: ann.id, content: 'done' } });
      return { ok: status === 200 };
    },
  ]) {
    ok(await a.emit('typing:start', room));
    await b.take('typing:start');
    assert.equal((await send()).ok, true);
    const at = performance.now();
    exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
    assert.ok(performance.now() - at < 3000, 'not only after 5 s');
  }
});

test('who joins hears of those who type, and renewals are told again', { timeout: 60_000 }, async (t) => {
  const { ann, room, a, b } = await talkers(t);
  const want = { userId: ann.id, userName: ann.name, roomId: room, expiresInMs: 8000 };
  ok(await a.emit('typing:start', room));
  exact(await b.take('typing:start'), want);
  for (const [user, gateway] of [[await newUser('cid'), 2], [await newUser('dan'), 1]]) {
    const late = await connect(t, user, { gateway });
    const { history } = await late.join(room);
    assert.deepEqual(history, []);
    exact(await late.take('typing:start'), want);
  }
  const own = await connect(t, ann, { gateway: 2 });
  await own.join(room);
  assert.deepEqual(own.seen('typing:start'), []);
  const from = performance.now();
  const renewing = setInterval(() => a.socket.emit('typing:start', room), 500);
  t.after(() => clearInterval(renewing));
  exact(await b.take('typing:start', undefined, 12_000), want);
  exact(await b.take('typing:start', undefined, 12_000), want);
  assert.ok(performance.now() - from > 2500, 'at most every 3 s');
});

test('a start that is not renewed stops after 5 s; a renewal prolongs it', { timeout: 30_000 }, async (t) => {
  const { ann, room, a, b } = await talkers(t);
  await a.emit('typing:start', room);
  await b.take('typing:start');
  await new Promise((resolve) => { setTimeout(resolve, 3000); });
  const renewed = performance.now();
  ok(await a.emit('typing:start', room));
  exact(await b.take('typing:stop', undefined, 12_000), { userId: ann.id, roomId: room });
  const after = performance.now() - renewed;
  assert.ok(after > 4500 && after < 7500, `stopped ${Math.round(after)} ms after the renewal, want about 5000`);
});

test('a disconnect stops it', async (t) => {
  const { ann, room, a, b } = await talkers(t);
  await a.emit('typing:start', room);
  await b.take('typing:start');
  const at = performance.now();
  a.close();
  exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
  assert.ok(performance.now() - at < 7500);
});

test('leaving stops it', async (t) => {
  const { ann, room, a, b } = await talkers(t);
  await a.emit('typing:start', room);
  await b.take('typing:start');
  const at = performance.now();
  ok(await a.emit('room:leave', room));
  exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
  assert.ok(performance.now() - at < 3000, 'a leave stops it at once, not after 5 s');
});

test('typing is seen from /chat as well', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room, { namespace: '/chat' });
  const c = await connect(t, bob, { gateway: 2 });
  await c.join(room);
  ok(await a.emit('typing:start', room));
  for (const s of [b, c]) exact(await s.take('typing:start'), { userId: ann.id, userName: ann.name, roomId: room, expiresInMs: 8000 });
});
