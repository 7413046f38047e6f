// Typing: start, stop, and everything that stops it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair } from './client.js';
import { newUser, roomId } from './user.js';
import { exact, ok } from './expect.js';
import { apiKey, call } from './rest.js';

/**
 * Tries until something that takes place at once took less than the 5 s after which a typing:stop comes by itself. Where it gives a
 * truth, that has to hold then.
 */
async function soon(what, truth) {
  for (let tries = 0; ; tries += 1) {
    const at = performance.now();
    const holds = await what();
    if (performance.now() - at < 4500) {
      assert.ok(holds || truth === undefined, truth);
      return;
    }
    assert.ok(tries < 5, 'not only after 5 s');
  }
}

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
  await soon(async () => { // later it stops by itself
    ok(await a.emit('typing:start', room));
    exact(await b.take('typing:start'), { userId: ann.id, userName: ann.name, roomId: room, expiresInMs: 8000 });
    const before = b.seen('typing:stop').length; // of tries that took too long
    ok(await tab.emit('typing:start', room));
    ok(await tab.emit('typing:stop', room));
    await b.emit('room:message', { roomId: room, barrier: 1 });
    await b.take('room:message');
    return b.seen('typing:stop').length === before;
  }, 'the other tab still types');
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
    await soon(async () => {
      ok(await a.emit('typing:start', room));
      await b.take('typing:start');
      assert.equal((await send()).ok, true);
      exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
    });
  }
});

test('who joins hears of those who type, and renewals are told again', { timeout: 180_000 }, async (t) => {
  const { ann, room, a, b } = await talkers(t);
  const want = { userId: ann.id, userName: ann.name, roomId: room, expiresInMs: 8000 };
  ok(await a.emit('typing:start', room));
  exact(await b.take('typing:start'), want);
  const renewing = setInterval(() => a.socket.emit('typing:start', room), 500);
  t.after(() => clearInterval(renewing));
  for (const [user, gateway] of [[await newUser('cid'), 2], [await newUser('dan'), 1]]) {
    const late = await connect(t, user, { gateway });
    const { history } = await late.join(room);
    assert.deepEqual(history, []);
    exact(await late.take('typing:start'), want);
  }
  const own = await connect(t, ann, { gateway: 2 });
  await own.join(room);
  assert.deepEqual(own.seen('typing:start'), []);
  const before = b.seen('typing:start').length;
  const from = performance.now();
  await eventually(() => assert.ok(b.seen('typing:start').length >= before + 3)); // the first of them may have been on its way
  exact(b.seen('typing:start').at(-1), want);
  assert.ok(performance.now() - from > 2500, 'at most every 3 s');
});

test('a start that is not renewed stops after 5 s; a renewal prolongs it', { timeout: 180_000 }, async (t) => {
  for (;;) {
    const { ann, room, a, b } = await talkers(t);
    const started = performance.now();
    await a.emit('typing:start', room);
    await b.take('typing:start');
    await new Promise((resolve) => { setTimeout(resolve, 3000); });
    const renewed = performance.now();
    ok(await a.emit('typing:start', room));
    if (performance.now() - started > 4500) continue; // the renewal may have come too late
    exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
    const after = performance.now() - renewed;
    assert.ok(after > 4500, `stopped ${Math.round(after)} ms after the renewal, want about 5000`);
    return;
  }
});

test('a disconnect stops it', async (t) => {
  const { ann, room, a, b } = await talkers(t);
  await a.emit('typing:start', room);
  await b.take('typing:start');
  a.close();
  exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
});

test('leaving stops it', async (t) => {
  await soon(async () => {
    const { ann, room, a, b } = await talkers(t);
    await a.emit('typing:start', room);
    await b.take('typing:start');
    ok(await a.emit('room:leave', room));
    exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
  });
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
