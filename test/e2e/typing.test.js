// Typing: start, stop, and everything that stops it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, pair } from './client.js';
import { newUser, roomId } from './user.js';
import { exact, ok } from './expect.js';

async function talkers(t) {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  return { ann, bob, room, a, b };
}

test('typing:start and typing:stop go to the others', async (t) => {
  const { ann, room, a, b } = await talkers(t);
  ok(await a.emit('typing:start', room));
  exact(await b.take('typing:start'), { userId: ann.id, userName: ann.name, roomId: room });
  ok(await a.emit('typing:stop', room));
  exact(await b.take('typing:stop'), { userId: ann.id, roomId: room });
  await b.emit('room:message', { roomId: room, barrier: 1 });
  await a.take('room:message');
  assert.deepEqual([...a.seen('typing:start'), ...a.seen('typing:stop')], [], 'the typist itself gets nothing');
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
  for (const s of [b, c]) exact(await s.take('typing:start'), { userId: ann.id, userName: ann.name, roomId: room });
});
