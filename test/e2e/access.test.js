// Rooms with doors: kinds of rooms, who is let in, and what a stranger learns of a room that it may not see.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { call } from './rest.js';
import { newUser, roomId } from './user.js';
import { any, array, boolean, count, exact, iso, ok, refused, sent, seq, text } from './expect.js';

const room = (spec) => (value) => {
  exact(value, { roomId: text, kind: text, profile: any, settings: any, version: count, createdAt: iso, memberCount: count, ...spec }, 'room');
  return true;
};
const nobody = '00000000-0000-7000-8000-000000000000';

// Every event with which a stranger may try a room.
const tries = (id, messageId = nobody) => [
  ['room:join', id], ['room:join', { roomId: id, since: 0 }], ['room:get', id], ['message:history', { roomId: id }],
  ['message:history', { roomId: id, after: 0 }], ['message:send', { roomId: id, content: 'x' }], ['message:read', { roomId: id, messageId }], ['message:readers', { roomId: id }],
  ['room:message', { roomId: id, x: 1 }], ['typing:start', id], ['typing:stop', id], ['presence:get', { roomId: id }],
];

test('room:create, and who is in it from the start', async (t) => {
  const [ann, bob, eve] = [await newUser('ann'), await newUser('bob'), await newUser('eve')];
  const [a, b, e] = [await connect(t, ann), await connect(t, bob, { gateway: 1 }), await connect(t, eve, { gateway: 2 })];
  const id = roomId('plans');
  const profile = { name: 'Plans', topic: 'what next', avatarUrl: 'https://example.com/a.png', data: { big: 9007199254740991, list: [1] } };
  const made = await a.emit('room:create', { kind: 'private', roomId: id, profile, members: [{ userId: bob.id, role: 'moderator' }] });
  ok(made, { room: room({ roomId: id, kind: 'private', profile, version: 1, memberCount: 2 }) });

  ok((await a.join(id)).reply, { roomId: id, seq: 2, role: 'owner', hasMore: false });
  ok((await b.join(id)).reply, { roomId: id, seq: 2, role: 'moderator', hasMore: false });
  ok(await b.emit('room:get', { roomId: id }), { room: room({ roomId: id, profile, memberCount: 2 }), role: 'moderator', marker: any, prefs: any });
  ok(await a.emit('message:send', { roomId: id, content: 'among us' }), { ...sent, seq: 3 });
  assert.equal((await b.take('message:new')).content, 'among us');
  assert.equal((await b.emit('room:list')).rooms.find((r) => r.roomId === id).name, 'Plans');

  assert.equal(refused(await e.emit('room:create', { kind: 'private', roomId: id }), 'conflict').reason, 'exists');
  const unnamed = await e.emit('room:create', { kind: 'public' });
  ok(unnamed, { room: room({ kind: 'public', profile: {}, memberCount: 1 }) });
  ok((await a.join(unnamed.room.roomId)).reply, { roomId: unnamed.room.roomId, seq, role: 'member', hasMore: false });
});

test('room:create refuses what is wrong, and names the field', async (t) => {
  const a = await connect(t, await newUser('ann'));
  for (const [bad, field] of [
    [{}, /kind/], [{ kind: 'secret' }, /kind/], [{ kind: 'direct' }, /kind/], [{ kind: 7 }, /kind/], [{ kind: 'private', roomId: '' }, /roomId/],
    [{ kind: 'private', roomId: 7 }, /roomId/], [{ kind: 'private', profile: 'x' }, /profile/], [{ kind: 'private', profile: { name: 7 } }, /name/],
    [{ kind: 'private', profile: { data: 'x' } }, /data/], [{ kind: 'private', members: {} }, /members/], [{ kind: 'private', members: ['x'] }, /members/],
    [{ kind: 'private', members: [{ userId: '' }] }, /userId/], [{ kind: 'private', members: [{ userId: 'x', role: 'king' }] }, /role/],
    [{ kind: 'private', profile: { name: 'a\u0000b' } }, /name/],
  ]) assert.match(refused(await a.emit('room:create', bad), 'invalid').message, field, JSON.stringify(bad));
  for (const bad of [{ profile: { name: 'x'.repeat(201) } }, { profile: { data: { x: 'x'.repeat(5000) } } }, { members: Array.from({ length: 101 }, (_, i) => ({ userId: `u${i}` })) }]) {
    refused(await a.emit('room:create', { kind: 'private', ...bad }), 'too_large');
  }
  for (const bad of [{}, { userIds: [] }, { userIds: 'x' }, { userIds: [7] }, { userIds: [''] }, { userIds: Array.from({ length: 9 }, (_, i) => `u${i}`) }]) {
    refused(await a.emit('room:open', bad), 'invalid');
  }
});

test('a stranger gets the same answers of a private room as of none', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const [a, e] = [await connect(t, ann), await connect(t, eve, { gateway: 1 })];
  const id = roomId('hidden');
  ok(await a.emit('room:create', { kind: 'private', roomId: id }), { room: any });
  await a.join(id);
  const { id: messageId } = await a.emit('message:send', { roomId: id, content: 'secret' });
  const none = roomId('none');
  const opened = await a.emit('room:open', { userIds: [(await newUser('bob')).id] });
  for (const hidden of [id, opened.room.roomId]) {
    const of = tries(hidden, messageId);
    for (const [i, [event, argument]] of tries(none).entries()) {
      const found = refused(await e.patiently(...of[i]), 'not_found');
      // Joining what does not exist makes a public room here; the words of the others are the same.
      if (event !== 'room:join') assert.deepEqual(found, refused(await e.patiently(event, argument), 'not_found'), event);
    }
    const path = `/api/v1/rooms/${encodeURIComponent(hidden)}/messages`;
    const [there, nowhere] = [await call('GET', path, { token: eve.token }), await call('GET', `/api/v1/rooms/${none}/messages`, { token: eve.token })];
    assert.equal(there.status, 404);
    assert.deepEqual(there.body, nowhere.body);
  }
  assert.deepEqual((await e.emit('room:list')).rooms, []);
  await a.emit('message:send', { roomId: id, content: 'barrier' });
  await a.take('message:new', (m) => m.content === 'barrier');
  assert.deepEqual(e.events.filter((x) => x.data?.roomId === id), [], 'nothing of the room reached the stranger');
});

test('two who open their direct room at once get one', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const [a, b, c] = [await connect(t, ann), await connect(t, bob, { gateway: 1 }), await connect(t, cid, { gateway: 2 })];
  const [x, y] = await Promise.all([a.emit('room:open', { userIds: [bob.id] }), b.emit('room:open', { userIds: [ann.id, bob.id] })]);
  for (const reply of [x, y]) ok(reply, { room: room({ kind: 'direct', memberCount: 2 }), created: boolean });
  const { roomId: id } = x.room;
  assert.equal(y.room.roomId, id);
  assert.deepEqual([x.created, y.created].sort(), [false, true]);
  assert.equal((await a.emit('room:open', { userIds: [bob.id] })).created, false);

  for (const s of [a, b]) ok((await s.join(id)).reply, { roomId: id, seq: 2, role: 'member', hasMore: false });
  ok(await a.emit('message:send', { roomId: id, content: 'hi' }), { ...sent, seq: 3 });
  assert.equal((await b.take('message:new')).content, 'hi');
  assert.equal(refused(await a.emit('room:leave', id), 'forbidden').reason, 'not_allowed');

  const three = await c.emit('room:open', { userIds: [ann.id, bob.id] });
  assert.notEqual(three.room.roomId, id);
  assert.equal(three.room.memberCount, 3);
  // Nobody takes the id of a room that others may open.
  const made = { kind: 'public', roomId: `direct:${'A'.repeat(43)}` };
  refused(await c.emit('room:create', made), 'invalid');
  refused(await c.emit('room:join', made.roomId), 'not_found');
});

test('a public room is seen by everybody, and read by members', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const [a, e] = [await connect(t, ann), await connect(t, eve, { gateway: 1 })];
  const id = roomId('open');
  await a.join(id);
  ok(await e.emit('room:get', id), { room: room({ roomId: id, kind: 'public', profile: {}, memberCount: 1 }) });
  refused(await e.emit('message:history', { roomId: id }), 'forbidden');
  ok((await e.join(id)).reply, { roomId: id, seq, role: 'member', hasMore: false });
  ok(await e.emit('message:history', { roomId: id }), { messages: array, hasMore: false });
});
