// Users by REST: what backends do to them, and what users do to their own profile, logins and password.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, refusal } from './client.js';
import { apiKey as key, call, password, register } from './rest.js';
import { newUser, sign, unique } from './user.js';
import { count, exact, iso, ok, sent, text } from './expect.js';

const path = (id) => `/api/v1/users/${encodeURIComponent(id)}`;
const profile = { id: text, username: (v) => typeof v === 'string', name: text, avatarUrl: (v) => typeof v === 'string', data: (v) => typeof v === 'object', role: 'user', disabled: false, createdAt: iso };

function refusedWith(reply, status, code) {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  exact(reply.body, { code, message: text, 'retryAfterMs?': count, 'reason?': text }, 'error');
}

test('a backend makes users and changes them; a user changes their own profile', async (t) => {
  const [a, b] = [unique('crm/a'), unique('crm/b')];
  const made = await call('POST', '/api/v1/users:upsert', { key, body: { users: [{ id: a, name: 'Zoë', data: { team: [1, null] } }, { id: b }] } });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  exact(made.body.users[0], { ...profile, id: a, name: 'Zoë' });
  assert.deepEqual(made.body.users[0].data, { team: [1, null] });
  exact(made.body.users[1], { ...profile, id: b, name: b });

  const token = await sign({ sub: a });
  await connect(t, { token }, { gateway: 1 });
  const own = await call('PATCH', path(a), { token, body: { name: 'Zoë B.', avatarUrl: 'https://crm.example.com/zoe.png' } });
  exact(own.body, { ...profile, id: a, name: 'Zoë B.', avatarUrl: 'https://crm.example.com/zoe.png' });
  assert.deepEqual((await call('GET', path(a), { token, gateway: 2 })).body, own.body);
  assert.deepEqual((await call('GET', path(a), { key })).body, own.body);

  refusedWith(await call('GET', path(b), { token }), 403, 'forbidden');
  refusedWith(await call('GET', path(unique('nobody')), { token }), 403, 'forbidden');
  refusedWith(await call('GET', path(unique('nobody')), { key }), 404, 'not_found');
  refusedWith(await call('GET', path(a)), 401, 'unauthenticated');
  refusedWith(await call('PATCH', path(a), { token, body: { disabled: false } }), 403, 'forbidden');
  refusedWith(await call('DELETE', path(a), { token }), 401, 'unauthenticated');
  refusedWith(await call('POST', '/api/v1/users:upsert', { token, body: { users: [{ id: a }] } }), 401, 'unauthenticated');
  for (const bad of [{}, { users: [] }, { users: {} }, { users: [7] }, { users: [{ id: a }, { id: a }] }, { users: [{ id: 'system' }] }, { users: [{ id: a, data: [] }] }, { users: [{ id: a, avatarUrl: 'x' }] }]) {
    refusedWith(await call('POST', '/api/v1/users:upsert', { key, body: bad }), 400, 'invalid');
  }
  refusedWith(await call('PATCH', path(a), { key, body: { data: { x: 'x'.repeat(4096) } } }), 413, 'too_large');
});

test('a disabled user is out on every gateway at once, and comes in again when enabled', async (t) => {
  const ann = await register('ann');
  const cem = await newUser('cem');
  const sockets = await Promise.all([ann, cem].flatMap((user) => [0, 1, 2].map((gateway) => connect(t, user, { gateway }))));
  for (const user of [ann, cem]) {
    const reply = await call('PATCH', path(user.id), { key, body: { disabled: true } });
    assert.deepEqual([reply.status, reply.body.disabled], [200, true], JSON.stringify(reply.body));
  }
  await Promise.all(sockets.map((s) => s.ended()));
  const later = await sign({ sub: cem.id }); // by a login system that has not heard of it
  for (const token of [ann.token, cem.token, later]) {
    const err = await refusal(t, { token }, { gateway: 1 });
    assert.deepEqual([err.message, err.data?.code], ['Invalid token', 'user_disabled']);
    refusedWith(await call('GET', '/api/v1/rooms', { token }), 401, 'unauthenticated');
  }
  refusedWith(await call('POST', '/api/v1/auth/login', { body: { username: ann.username, password } }), 403, 'forbidden');
  refusedWith(await call('POST', '/api/v1/auth/refresh', { body: { refreshToken: ann.refresh } }), 401, 'unauthenticated');

  assert.equal((await call('PATCH', path(ann.id), { key, body: { disabled: false } })).body.disabled, false);
  const again = await call('POST', '/api/v1/auth/login', { body: { username: ann.username, password } });
  assert.equal(again.status, 200, JSON.stringify(again.body));
  await connect(t, { token: again.body.accessToken }, { gateway: 2 });
});

test('a deleted user is gone, and the id stays taken', async (t) => {
  const ann = await newUser('ann');
  const socket = await connect(t, ann, { gateway: 1 });
  const reply = await call('DELETE', path(ann.id), { key });
  assert.deepEqual([reply.status, reply.body], [200, {}]);
  await socket.ended();
  assert.equal((await refusal(t, { token: await sign({ sub: ann.id }) })).message, 'User not found');
  refusedWith(await call('GET', path(ann.id), { key }), 404, 'not_found');
  refusedWith(await call('DELETE', path(ann.id), { key }), 404, 'not_found');
  refusedWith(await call('POST', '/api/v1/users:upsert', { key, body: { users: [{ id: ann.id }] } }), 409, 'conflict');
});

test('a deleted user is no member any more, and the room that was theirs goes to another', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const [mine, theirs] = [await connect(t, ann), await connect(t, bob, { gateway: 1 })];
  const { room: { roomId: ours } } = await mine.emit('room:create', { kind: 'private', members: [{ userId: bob.id }, { userId: cid.id }] });
  const { room: { roomId: direct } } = await mine.emit('room:open', { userIds: [bob.id] });
  for (const client of [mine, theirs]) await client.join(ours);
  ok(await mine.emit('message:send', { roomId: ours, content: 'still here' }), sent);
  assert.equal((await call('DELETE', path(ann.id), { key })).status, 200);
  const heir = await theirs.take('room:role');
  assert.deepEqual([heir.roomId, heir.userId, heir.role], [ours, bob.id, 'owner']);
  assert.equal((await theirs.take('room:user-left')).userId, ann.id);
  const members = async (id) => (await theirs.emit('room:members', id)).members.map((m) => m.userId).sort();
  assert.deepEqual(await members(ours), [bob.id, cid.id].sort());
  assert.deepEqual(await members(direct), [ann.id, bob.id].sort(), 'nobody leaves a direct room');
  assert.equal((await theirs.emit('message:history', { roomId: ours })).messages.at(-1).content, 'still here');
});

test('one login out, then all others by a new password', async (t) => {
  const ann = await register('ann');
  const login = async (secret = password) => (await call('POST', '/api/v1/auth/login', { body: { username: ann.username, password: secret } })).body;
  const [phone, tablet] = [await login(), await login()];
  const [here, a, b] = [await connect(t, ann), await connect(t, { token: phone.accessToken }, { gateway: 1 }), await connect(t, { token: tablet.accessToken }, { gateway: 2 })];
  const { body: { sessions } } = await call('GET', '/api/v1/auth/sessions', { token: phone.accessToken });
  assert.equal(sessions.length, 3);
  for (const s of sessions) exact(s, { id: text, createdAt: iso, usedAt: iso, expiresAt: iso, address: text, current: (v) => typeof v === 'boolean' });
  const mine = sessions.find((s) => s.current);

  refusedWith(await call('DELETE', `/api/v1/auth/sessions/${mine.id}`), 401, 'unauthenticated');
  refusedWith(await call('DELETE', `/api/v1/auth/sessions/${mine.id}`, { token: (await register('mallory')).token }), 404, 'not_found');
  assert.deepEqual((await call('DELETE', `/api/v1/auth/sessions/${mine.id}`, { token: ann.token })).body, {});
  await a.ended();
  refusedWith(await call('DELETE', `/api/v1/auth/sessions/${mine.id}`, { token: ann.token }), 404, 'not_found');

  refusedWith(await call('POST', '/api/v1/auth/password', { token: ann.token, body: { oldPassword: 'wrong horse', newPassword: 'a new one, longer' } }), 403, 'forbidden');
  const changed = await call('POST', '/api/v1/auth/password', { token: ann.token, body: { oldPassword: password, newPassword: 'a new one, longer' } });
  assert.deepEqual([changed.status, changed.body], [200, { ended: 1 }]);
  await b.ended();
  assert.equal((await here.emit('room:list')).ok, true);
  assert.equal((await login()).code, 'unauthenticated');
  assert.ok((await login('a new one, longer')).accessToken);
});
