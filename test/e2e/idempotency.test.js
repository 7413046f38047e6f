// Requests that are asked again with their key, because the answer was lost: they get the first answer, and nothing is done twice.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { beyond } from './contract.js';
import { apiKey, call } from './rest.js';
import { any, iso, ok, refused, text } from './expect.js';
import { newUser, roomId, unique } from './user.js';

const path = (id, ...more) => ['/api/v1/rooms', encodeURIComponent(id), ...more.map(encodeURIComponent)].join('/');
const role = async (client, room) => (await client.emit('room:get', room)).role;

/** Says an event twice with the same key, through two gateways, and something else in between; gives the answer. */
async function twice(client, other, event, argument, between = async () => {}) {
  const request = { ...argument, key: unique('key') };
  const first = await client.patiently(event, request);
  assert.equal(first.ok, true, `${event}: ${JSON.stringify(first)}`);
  await between();
  assert.deepEqual(await other.patiently(event, request), first, `${event} again`);
  return first;
}

test('an ack that was lost: the same key through another gateway gets the first answer, and nothing is done again', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [a, b] = [await connect(t, ann), await connect(t, bob, { gateway: 2 })];
  const request = { kind: 'private', profile: { topic: 'one' }, members: [{ userId: bob.id }], key: unique('key') };
  a.socket.emit('room:create', request); // nobody hears the answer
  const made = (await b.take('me:room-added')).room.roomId;
  a.close();
  const a2 = await connect(t, ann, { gateway: 1 });
  const again = await a2.emit('room:create', request);
  ok(again, { room: any });
  assert.equal(again.room.roomId, made);
  assert.deepEqual(await a2.emit('room:create', request), again);
  assert.equal((await b.emit('room:list')).rooms.length, 1);
  assert.deepEqual(b.seen('me:room-added').length, 1);
});

test('repeats at the same time through all gateways are one', async (t) => {
  const ann = await newUser('ann');
  const devices = await Promise.all([0, 1, 2, 0, 1, 2].map((gateway) => connect(t, ann, { gateway })));
  const request = { kind: 'public', profile: { name: 'Once' }, key: unique('key') };
  const made = await Promise.all(devices.map((d) => d.emit('room:create', request)));
  for (const answer of made) assert.deepEqual(answer, made[0]);
  ok(made[0], { room: any });
  const update = { roomId: made[0].room.roomId, profile: { topic: 'x' }, ifVersion: 1, key: unique('key') };
  for (const answer of await Promise.all(devices.map((d) => d.emit('room:update', update)))) ok(answer, { version: 2 });
  const { rooms } = await devices[0].emit('room:list');
  assert.deepEqual(rooms.map((r) => [r.roomId, r.seq]), [[made[0].room.roomId, 2]]);
});

test('what was undone since is not done again, for every event that may have a key', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const [a, a2, b] = [await connect(t, ann), await connect(t, ann, { gateway: 1 }), await connect(t, bob, { gateway: 2 })];
  const { room: { roomId: room } } = await a.emit('room:create', { kind: 'private', members: [{ userId: bob.id }] });
  const mine = async () => (await a.emit('room:get', room)).prefs;
  await b.join(room);

  await twice(a, a2, 'room:mute', { roomId: room, userId: bob.id }, async () => ok(await a.emit('room:unmute', { roomId: room, userId: bob.id })));
  assert.equal((await b.emit('message:send', { roomId: room, content: 'not muted' })).ok, true);
  await twice(a, a2, 'room:unmute', { roomId: room, userId: bob.id }, async () => ok(await a.emit('room:mute', { roomId: room, userId: bob.id })));
  assert.equal(refused(await b.emit('message:send', { roomId: room, content: 'muted' }), 'forbidden').reason, 'muted');

  await twice(a, a2, 'room:prefs', { roomId: room, muted: true }, async () => ok(await a.emit('room:prefs', { roomId: room, muted: false })));
  assert.equal((await mine()).muted, false);
  assert.equal((await twice(a, a2, 'room:update', { roomId: room, profile: { topic: 'x' }, ifVersion: 1 })).version, 2);
  const invite = await twice(a, a2, 'room:invite', { roomId: room });
  ok(invite, { invite: text, inviteId: text, expiresAt: iso });
  const bad = await a.emit('room:invite', { roomId: room });
  ok(await twice(a, a2, 'room:revoke-invite', { roomId: room, inviteId: bad.inviteId }));
  ok(await a.emit('room:revoke-invite', { roomId: room, inviteId: bad.inviteId, key: unique('key') })); // nothing is left to do
  const c = await connect(t, cid, { gateway: 1 });
  assert.equal((await c.join({ roomId: room, invite: invite.invite })).reply.ok, true, 'the invite is good');

  await twice(a, a2, 'room:remove', { roomId: room, userIds: [bob.id, cid.id] }, async () => ok(await a.emit('room:add', { roomId: room, userIds: [bob.id] }), { done: [bob.id], failed: [] }));
  assert.equal(await role(b, room), 'member');
  await twice(a, a2, 'room:ban', { roomId: room, userId: bob.id }, async () => {
    ok(await a.emit('room:unban', { roomId: room, userId: bob.id }));
    ok(await twice(a, a2, 'room:add', { roomId: room, userIds: [bob.id, cid.id] }, async () => ok(await a.emit('room:remove', { roomId: room, userIds: [cid.id] }), { done: [cid.id], failed: [] })), { done: [bob.id, cid.id], failed: [] });
  });
  assert.equal(await role(b, room), 'member');
  assert.equal(await role(c, room), undefined);
  await twice(a, a2, 'room:unban', { roomId: room, userId: cid.id }, async () => ok(await a.emit('room:ban', { roomId: room, userId: cid.id })));
  assert.equal(refused(await c.emit('room:join', room), 'forbidden', 'not_found').code, 'forbidden', 'still banned');

  await twice(b, await connect(t, bob), 'room:leave', { roomId: room }, async () => ok(await a.emit('room:add', { roomId: room, userIds: [bob.id] }), { done: [bob.id], failed: [] }));
  assert.equal(await role(b, room), 'member');

  assert.equal((await twice(a, a2, 'room:open', { userIds: [bob.id] })).created, true);
  await twice(a, a2, 'user:block', { userId: bob.id }, async () => ok(await a.emit('user:unblock', { userId: bob.id })));
  const direct = (await a.emit('room:open', { userIds: [bob.id] })).room.roomId;
  assert.equal((await b.join(direct)).reply.ok, true);
  assert.equal((await b.emit('message:send', { roomId: direct, content: 'not blocked' })).ok, true);
  await twice(a, a2, 'user:unblock', { userId: bob.id }, async () => ok(await a.emit('user:block', { userId: bob.id })));
  assert.equal(refused(await b.emit('message:send', { roomId: direct, content: 'blocked' }), 'forbidden').reason, 'blocked');

  // What one did is why one may not do it again.
  ok(await a.emit('room:set-role', { roomId: room, userId: bob.id, role: 'owner' }));
  await twice(a, a2, 'room:set-role', { roomId: room, userId: ann.id, role: 'member' });
  refused(await a.emit('room:set-role', { roomId: room, userId: ann.id, role: 'member', key: unique('key') }), 'forbidden');
  await twice(b, await connect(t, bob), 'room:archive', { roomId: room });
  await twice(b, await connect(t, bob), 'room:delete', { roomId: room });
  refused(await b.emit('room:delete', { roomId: room }), 'not_found');
});

test('a key is one user\'s, in one room, for one request; a refusal is not kept', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [a, b] = [await connect(t, ann), await connect(t, bob, { gateway: 1 })];
  const key = unique('key');
  const made = await a.emit('room:create', { kind: 'private', key });
  const others = await b.emit('room:create', { kind: 'private', key });
  assert.notEqual(others.room.roomId, made.room.roomId, 'of another user');
  const error = refused(await a.emit('room:create', { kind: 'public', key }), 'invalid');
  assert.match(error.message, /key/);
  const [room, named] = [made.room.roomId, roomId('named')];
  ok(await a.emit('room:create', { kind: 'public', roomId: named, key }), { room: any });
  for (const id of [room, named]) ok(await a.emit('room:update', { roomId: id, profile: { topic: 'x' }, key: `${key}-2` }), { version: 2 });
  refused(await a.emit('room:archive', { roomId: room, key: `${key}-2` }), 'invalid');
  refused(await a.emit('room:update', { roomId: room, profile: { topic: 'y' }, key: `${key}-2` }), 'invalid');
  assert.equal((await a.emit('room:get', room)).room.profile.topic, 'x');

  const ban = { roomId: named, userId: 'nobody', key: `${key}-3` };
  refused(await b.emit('room:ban', ban), 'forbidden');
  ok(await a.emit('room:add', { roomId: named, userIds: [bob.id], role: 'moderator' }), { done: [bob.id], failed: [] });
  ok(await b.emit('room:ban', ban));

  for (const bad of ['', 'k'.repeat(65), 'a\u0000', 7, {}, ['k']]) {
    refused(await a.patiently('room:update', { roomId: room, key: bad }), 'invalid');
    refused(await a.patiently('room:create', { kind: 'public', key: bad }), 'invalid');
  }
  ok(await a.emit('room:update', beyond({ roomId: room, profile: { topic: 'z' }, key: null })), { version: 3 });
  ok(await a.emit('room:update', { roomId: room, profile: { topic: 'zz' }, key: '星'.repeat(64) }), { version: 4 });
});

test('by REST the key is the header Idempotency-Key, for users and for other backends', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann);
  const keyed = (method, where, body, by, key, gateway = 0) => call(method, where, { body, ...by, headers: { 'idempotency-key': key }, gateway });
  const same = async (method, where, body, by, between = async () => {}) => {
    const key = unique('key');
    const first = await keyed(method, where, body, by, key);
    assert.equal(first.status, 200, `${method} ${where}: ${JSON.stringify(first.body)}`);
    await between();
    const again = await keyed(method, where, body, by, key, 1);
    assert.deepEqual([again.status, again.body], [200, first.body], `${method} ${where} again`);
    return { ...first, key };
  };
  const [user, backend] = [{ token: ann.token }, { key: apiKey }];
  for (const by of [user, backend]) {
    const { body: { room: { roomId: room } } } = await same('POST', '/api/v1/rooms', { kind: 'private', members: [{ userId: bob.id }] }, by);
    assert.equal((await same('PATCH', path(room), { profile: { topic: 'x' }, ifVersion: 1 }, by)).body.version, 2);
    await same('POST', path(room, 'mutes'), { userId: bob.id }, by, () => call('DELETE', path(room, 'mutes', bob.id), by));
    assert.deepEqual((await call('GET', path(room, 'mutes'), by)).body, { mutes: [] });
    await same('DELETE', path(room, 'members', bob.id), undefined, by, () => call('POST', path(room, 'members'), { body: { userIds: [bob.id] }, ...by }));
    assert.equal((await call('GET', path(room, 'members', bob.id), by)).status, 200);
    await same('DELETE', path(room), undefined, by);
    assert.equal((await call('DELETE', path(room), by)).status, 404);
  }
  // A user's key is the same on a socket; that of a backend which asks as the user is another one.
  const { body: { room }, key } = await same('POST', '/api/v1/rooms', { kind: 'public' }, user);
  const listed = async () => (await a.emit('room:list')).rooms.length;
  const before = await listed();
  assert.equal((await a.emit('room:create', { kind: 'public', key })).room.roomId, room.roomId);
  assert.equal(await listed(), before);
  const others = await keyed('POST', '/api/v1/rooms', { kind: 'public', asUserId: ann.id }, backend, key);
  assert.notEqual(others.body.room.roomId, room.roomId);
  assert.deepEqual((await keyed('POST', '/api/v1/rooms', { kind: 'private' }, user, key)).body.code, 'invalid');

  const message = await same('POST', path(room.roomId, 'messages'), { content: 'once', userId: ann.id }, backend);
  assert.equal((await call('GET', path(room.roomId, 'messages'), backend)).body.messages.length, 1);
  assert.equal(message.body.seq, 2);
  const notice = await same('POST', '/api/v1/notifications', { userId: bob.id, type: 't', title: 'once' }, backend);
  assert.equal(typeof notice.body.id, 'string');
  for (const bad of ['', 'k'.repeat(65), 'ü']) {
    const reply = await keyed('POST', path(room.roomId, 'archive'), {}, user, bad);
    assert.deepEqual([reply.status, reply.body.code], [400, 'invalid'], bad);
    assert.match(reply.body.message, /Idempotency-Key/);
  }
  assert.equal((await keyed('GET', path(room.roomId), undefined, user, 'k'.repeat(65))).status, 200, 'a GET changes nothing');
});
