// REST for other backends: ephemeral events, and the sockets of a user.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair } from './client.js';
import { own } from './contract.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId, unique } from './user.js';
import { count, exact, text } from './expect.js';

own('build:done', 'for:bob');

function refusedWith(reply, status, code) {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  exact(reply.body, { code, message: text, 'retryAfterMs?': count }, 'error');
}

test('emit to a room, a user and everyone', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const outside = await connect(t, await newUser('cid'), { gateway: 2 });
  const tag = unique('tag');
  const emit = async (target, event) => {
    const reply = await call('POST', '/api/v1/emit', { key, gateway: 2, body: { ...target, event, data: { tag, n: 1 } } });
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
  };
  await emit({ roomId: room }, 'build:done');
  for (const s of [a, b]) assert.deepEqual(await s.take('build:done'), { tag, n: 1 });
  await emit({ userId: bob.id }, 'for:bob');
  assert.deepEqual(await b.take('for:bob'), { tag, n: 1 });
  await emit({}, `test:all:${tag}`);
  for (const s of [a, b, outside]) assert.deepEqual(await s.take(`test:all:${tag}`), { tag, n: 1 });
  assert.deepEqual([...a.seen('for:bob'), ...outside.seen('build:done'), ...outside.seen('for:bob')], []);
  refusedWith(await call('POST', '/api/v1/emit', { body: { roomId: room, event: 'x' } }), 401, 'unauthenticated');
  refusedWith(await call('POST', '/api/v1/emit', { key, body: { roomId: room } }), 400, 'invalid');
});

test('the sockets of a user: list and disconnect', async (t) => {
  const ann = await newUser('ann');
  const [a, a1] = [await connect(t, ann), await connect(t, ann, { gateway: 1, namespace: '/chat' })];
  await eventually(async () => {
    const { status, body } = await call('GET', `/api/v1/users/${ann.id}/sockets`, { key, gateway: 2 });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.sockets.length, 2, JSON.stringify(body));
    assert.deepEqual(body.sockets.map((s) => s.socketId ?? s.id).sort(), [a.id, a1.id].sort());
  });
  refusedWith(await call('DELETE', `/api/v1/users/${ann.id}/sockets`), 401, 'unauthenticated');
  const gone = await call('DELETE', `/api/v1/users/${ann.id}/sockets`, { key, gateway: 2 });
  assert.equal(gone.status, 200, JSON.stringify(gone.body));
  await Promise.all([a.ended(), a1.ended()]);
  const back = await connect(t, ann, { gateway: 1 });
  assert.equal((await back.emit('room:list')).ok, true, 'a disconnect revokes nothing');
});

test('the OpenAPI document names these calls', async () => {
  const { body } = await call('GET', '/api/openapi.json');
  for (const path of ['/api/v1/emit', '/api/v1/users/{userId}/sockets']) assert.ok(body.paths[path], `${path} is missing`);
});
