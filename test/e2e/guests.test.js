// Guests: users without an account, by REST and on sockets. What they may do in rooms is in the table of rights.test.js; this is what makes
// them, what becomes of them, and what they never get.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, refusal } from './client.js';
import { exact, ok, refused, sent, text } from './expect.js';
import { apiKey as key, call, newGuest } from './rest.js';
import { newUser, roomId, sign } from './user.js';

const id = (v) => /^guest:[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(v);
const path = (room, ...more) => ['/api/v1/rooms', encodeURIComponent(room), ...more.map(encodeURIComponent)].join('/');

async function done(reply) {
  const { status, body } = await reply;
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

test('a guest gets tokens for a name, or for nothing, and each call makes another one', async () => {
  const answer = { accessToken: text, refreshToken: text, expiresIn: (n) => Number.isInteger(n) && n > 0 };
  for (const [body, name] of [[{ name: ' Zoë\u202e ' }, 'Zoë'], [{}, 'Guest'], [undefined, 'Guest'], [{ name: '' }, 'Guest'], [{ name: 'x'.repeat(65) }, 'x'.repeat(64)]]) {
    const made = await done(call('POST', '/api/v1/auth/guest', { body }));
    exact(made.user, { id, username: '', name, role: 'guest' }, 'user');
    exact(made, { ...answer, user: (user) => user.role === 'guest' }, 'answer');
  }
  const { status, body } = await call('POST', '/api/v1/auth/guest', { body: { name: 42 } });
  assert.deepEqual([status, body.code], [400, 'invalid']);
  assert.notEqual((await newGuest()).id, (await newGuest()).id);
});

test('guests chat in a public room with others, who see who they are; and come back with their refresh token', async (t) => {
  const [ann, zoe] = [await newUser('ann'), await newGuest('Zoë')];
  const [a, z] = [await connect(t, ann), await connect(t, zoe, { gateway: 1 })];
  const room = roomId();
  await a.join(room);
  const { reply } = await z.join(room);
  assert.equal(reply.role, 'guest');
  assert.equal((await a.take('room:user-joined')).userId, zoe.id);
  ok(await z.emit('message:send', { roomId: room, content: 'hello' }), sent);
  const heard = await a.take('message:new');
  assert.deepEqual([heard.sender.id, heard.sender.name, heard.content], [zoe.id, 'Zoë', 'hello']);
  const { members } = await a.emit('room:members', room);
  assert.deepEqual(members.map((m) => [m.userId, m.role]).sort(), [[ann.id, 'owner'], [zoe.id, 'guest']].sort());

  const again = await done(call('POST', '/api/v1/auth/refresh', { body: { refreshToken: zoe.refresh } }));
  assert.deepEqual(again.user, zoe.body.user);
  ok(await z.emit('auth:refresh', { token: again.accessToken }));
  const second = await connect(t, { token: again.accessToken });
  assert.equal((await second.emit('room:list')).rooms[0].roomId, room);
  assert.equal((await done(call('PATCH', `/api/v1/users/${zoe.id}`, { token: again.accessToken, body: { name: 'Zoë B.' } }))).name, 'Zoë B.');
  ok(await a.emit('room:leave', room));
  assert.equal((await z.emit('room:get', room)).role, 'guest', 'nobody is left to own the room');
});

test('guests make no rooms and get no role, whoever asks', async (t) => {
  const [ann, zoe] = [await newUser('ann'), await newGuest('zoe')];
  const [a, z] = [await connect(t, ann), await connect(t, zoe)];
  const allowed = (reply) => assert.equal(refused(reply, 'forbidden').reason, 'not_allowed');
  for (const kind of ['public', 'private']) allowed(await z.emit('room:create', { kind }));
  allowed(await z.emit('room:open', { userIds: [ann.id] }));
  refused(await z.emit('room:join', roomId('new')), 'not_found');
  refused(await z.emit('chat:message', { content: 'x' }), 'forbidden');
  refused(await z.emit('announcement', { content: 'x' }), 'forbidden');
  for (const options of [{ token: zoe.token, body: { kind: 'private' } }, { key, body: { kind: 'private', asUserId: zoe.id } }]) {
    const { status, body } = await call('POST', '/api/v1/rooms', options);
    assert.deepEqual([status, body.code, body.reason], [403, 'forbidden', 'not_allowed']);
  }

  const { room: { roomId: room } } = await a.emit('room:create', { kind: 'private' });
  refused(await z.emit('room:join', room), 'not_found');
  ok(await a.emit('room:add', { roomId: room, userIds: [zoe.id] }), { done: [zoe.id], failed: [] });
  assert.equal((await z.join(room)).reply.role, 'guest');
  for (const role of ['member', 'moderator', 'owner']) {
    allowed(await a.emit('room:set-role', { roomId: room, userId: zoe.id, role }));
    const { status, body } = await call('PATCH', path(room, 'members', zoe.id), { key, body: { role } });
    assert.deepEqual([status, body.reason], [403, 'not_allowed']);
  }
  refused(await a.emit('room:set-role', { roomId: room, userId: zoe.id, role: 'guest' }), 'invalid');
  refused(await a.emit('room:leave', { roomId: room, successor: zoe.id }), 'invalid');
  const other = await newGuest();
  exact(await done(call('POST', path(room, 'members'), { key, body: { userIds: [other.id], role: 'moderator' } })), { done: [], failed: [{ userId: other.id, reason: 'not_allowed' }] }, 'answer');
  const { status } = await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', members: [{ userId: zoe.id, role: 'owner' }] } });
  assert.equal(status, 403);
  const { invite } = await a.emit('room:invite', { roomId: room, role: 'moderator' });
  assert.equal((await (await connect(t, other)).emit('room:join', { roomId: room, invite })).role, 'guest');

  const { room: { roomId: direct } } = await a.emit('room:open', { userIds: [zoe.id] });
  ok(await z.emit('room:open', { userIds: [ann.id] }), { room: (r) => r.roomId === direct, created: false });
  ok(await z.emit('message:send', { roomId: direct, content: 'x' }), sent);
});

test('a guest who logs out, is revoked or disabled is out for good', async (t) => {
  const [zoe, yan, xia] = [await newGuest('zoe'), await newGuest('yan'), await newGuest('xia')];
  const sockets = [];
  for (const guest of [zoe, yan, xia]) sockets.push(await connect(t, guest, { gateway: 1 }));
  await done(call('POST', '/api/v1/auth/logout', { body: { refreshToken: zoe.refresh } }));
  await done(call('POST', `/api/v1/users/${yan.id}/revoke`, { key, body: {} }));
  await done(call('PATCH', `/api/v1/users/${xia.id}`, { key, body: { disabled: true } }));
  for (const socket of sockets) assert.equal(await socket.ended(), 'io server disconnect');
  for (const guest of [zoe, yan, xia]) {
    assert.equal((await refusal(t, guest)).message, 'Invalid token');
    const { status, body } = await call('POST', '/api/v1/auth/refresh', { body: { refreshToken: guest.refresh } });
    assert.deepEqual([status, body.code], [401, 'unauthenticated']);
  }
});

test('a token of the operator\'s own login system speaks for a guest that there is, and never makes one more', async (t) => {
  const zoe = await newGuest('zoe');
  const z = await connect(t, { token: await sign({ sub: zoe.id, role: 'admin' }) });
  refused(await z.emit('announcement', { content: 'x' }), 'forbidden');
  refused(await z.emit('room:create', { kind: 'private' }), 'forbidden');
  assert.equal((await refusal(t, { token: await sign({ sub: 'guest:0197f000-0000-7000-8000-000000000001' }) })).message, 'User not found');
});

test('the OpenAPI document and the methods of the call', async () => {
  const { body } = await call('GET', '/api/openapi.json');
  const call_ = body.paths['/api/v1/auth/guest'].post;
  assert.deepEqual(call_.security, [], 'it needs no token');
  const { status, headers, body: answer } = await call('GET', '/api/v1/auth/guest');
  assert.deepEqual([status, headers.get('allow'), answer.code], [405, 'POST', 'invalid']);
  assert.match(answer.message, /POST/);
});
