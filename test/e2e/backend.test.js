// REST for other backends: messages, presence and revocation, with an API key.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair, refusal } from './client.js';
import { apiKey, call, password, register } from './rest.js';
import { newUser, roomId, unique } from './user.js';
import { any, array, boolean, count, exact, iso, message, seq, text, uuid7 } from './expect.js';

const key = apiKey;

function refusedWith(reply, status, code) {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  exact(reply.body, { code, message: text, 'retryAfterMs?': count, 'reason?': text }, 'error');
}

test('a message posted as a user, and as the system', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const path = `/api/v1/rooms/${room}/messages`;
  const posted = await call('POST', path, { key, body: { userId: ann.id, content: 'by the backend', type: 'card', clientMsgId: 'c1' } });
  assert.equal(posted.status, 200, JSON.stringify(posted.body));
  exact(posted.body, { id: uuid7, seq, createdAt: iso, n: seq });
  for (const s of [a, b]) {
    message(await s.take('message:new'), { id: posted.body.id, seq: posted.body.seq, roomId: room, sender: (v) => v.id === ann.id, content: 'by the backend', type: 'card', clientMsgId: 'c1' });
  }
  assert.deepEqual((await call('POST', path, { key, gateway: 1, body: { userId: ann.id, content: 'by the backend', clientMsgId: 'c1' } })).body, posted.body);

  const system = await call('POST', path, { key, gateway: 2, body: { content: 'by the system' } });
  assert.equal(system.status, 200, JSON.stringify(system.body));
  const got = await b.take('message:new', (m) => m.id === system.body.id);
  message(got, { seq: posted.body.seq + 1, content: 'by the system', type: 'text', sender: any, system: true });
  assert.notEqual(got.sender.id, ann.id);
  const read = await call('GET', path, { token: ann.token });
  assert.deepEqual(read.body.messages.map((m) => m.system), [undefined, true]);

  // Nobody else is the System, whatever their login system or a backend calls them.
  refusedWith(await call('POST', path, { key, body: { userId: 'system', content: 'x' } }), 400, 'invalid');
});

test('posting needs a key and right fields', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  const room = roomId();
  await a.join(room);
  const path = `/api/v1/rooms/${room}/messages`;
  refusedWith(await call('POST', path, { body: { content: 'x' } }), 401, 'unauthenticated');
  refusedWith(await call('POST', path, { key: `${key}x`, body: { content: 'x' } }), 401, 'unauthenticated');
  refusedWith(await call('POST', path, { key, body: {} }), 400, 'invalid');
  refusedWith(await call('POST', path, { key, body: { content: 42 } }), 400, 'invalid');
  refusedWith(await call('POST', path, { key, body: { content: 'x'.repeat(16_385) } }), 413, 'too_large');
  const nowhere = await call('POST', `/api/v1/rooms/${roomId('nowhere')}/messages`, { key, body: { content: 'x' } });
  assert.ok([200, 404].includes(nowhere.status), `${nowhere.status} ${JSON.stringify(nowhere.body)}`);
});

test('presence', async (t) => {
  const ann = await newUser('ann');
  const nobody = unique('nobody');
  await connect(t, ann, { gateway: 1 });
  await eventually(async () => {
    const { status, body } = await call('GET', `/api/v1/presence?userId=${ann.id}&userId=${nobody}`, { key });
    assert.equal(status, 200, JSON.stringify(body));
    exact(body, { users: array });
    for (const u of body.users) exact(u, { userId: text, online: boolean, 'lastSeen?': (v) => v === null || iso.test(v) });
    assert.deepEqual(body.users.map((u) => [u.userId, u.online]), [[ann.id, true], [nobody, false]]);
  });
  refusedWith(await call('GET', `/api/v1/presence?userId=${ann.id}`), 401, 'unauthenticated');
  refusedWith(await call('GET', '/api/v1/presence', { key }), 400, 'invalid');
});

test('revoke ends every socket and token of a user, and nobody else\'s', async (t) => {
  const [ann, bob] = [await register('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const a1 = await connect(t, ann, { gateway: 2, namespace: '/notifications' });
  refusedWith(await call('POST', `/api/v1/users/${ann.id}/revoke`, { body: {} }), 401, 'unauthenticated');
  refusedWith(await call('POST', `/api/v1/users/${ann.id}/revoke`, { token: bob.token, body: {} }), 401, 'unauthenticated');
  const reply = await call('POST', `/api/v1/users/${ann.id}/revoke`, { key, body: {}, gateway: 1 });
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  exact(reply.body, { closed: (n) => n >= 0 && n <= 2 }); // of the gateways that a busy machine has had answer in time
  await Promise.all([a.ended(), a1.ended()]);

  for (const gateway of [0, 1, 2]) assert.equal((await refusal(t, ann, { gateway })).message, 'Invalid token');
  assert.equal((await call('GET', '/api/v1/rooms', { token: ann.token })).status, 401);
  assert.equal((await call('POST', '/api/v1/auth/refresh', { body: { refreshToken: ann.refresh } })).status, 401);
  assert.equal((await b.emit('message:send', { roomId: room, content: 'without Ann' })).ok, true);
  assert.equal(b.closed.length, 0);

  // A login after the revocation is a new one.
  await eventually(async () => {
    const { body } = await call('POST', '/api/v1/auth/login', { body: { username: ann.username, password } });
    await connect(t, { token: body.accessToken });
  });
});

test('revoking a user of the operator refuses the tokens issued so far', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  const reply = await call('POST', `/api/v1/users/${ann.id}/revoke`, { key, body: {} });
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  exact(reply.body, { closed: (n) => n >= 0 && n <= 1 });
  await a.ended();
  assert.equal((await refusal(t, ann, { gateway: 1 })).message, 'Invalid token');
});
