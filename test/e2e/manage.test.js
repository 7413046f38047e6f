// Who manages a room itself: its profile, its settings, its end as an archive.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { apiKey, call } from './rest.js';
import { newUser, roomId } from './user.js';
import { any, exact, iso, ok, refused, seq } from './expect.js';

/** A room of ann, with bob as a moderator and cid as a member, each on a gateway of its own and inside. */
async function hall(t, more = {}) {
  const users = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const sockets = await Promise.all(users.map((user, gateway) => connect(t, user, { gateway })));
  const id = roomId('hall');
  const members = [{ userId: users[1].id, role: 'moderator' }, { userId: users[2].id }];
  ok(await sockets[0].emit('room:create', { kind: 'public', roomId: id, members, ...more }), { room: any });
  for (const s of sockets) assert.equal((await s.join(id)).reply.ok, true);
  return { id, users, sockets };
}

test('room:update changes what is given, everybody hears of it, and a stale version is a conflict', async (t) => {
  const { id, users: [, bob], sockets: [a, b, c] } = await hall(t, { profile: { name: 'Plans', topic: 'old', data: { a: 1 } } });
  assert.equal(refused(await c.emit('room:update', { roomId: id, profile: { name: 'mine' } }), 'forbidden').reason, 'not_allowed');
  ok(await b.emit('room:update', { roomId: id, profile: { topic: 'new' }, settings: { slowModeMs: 0, maxMembers: 50 }, ifVersion: 1 }), { version: 2 });
  const settings = { send: 'member', maxMembers: 50 };
  for (const s of [a, b, c]) {
    exact(await s.take('room:updated'), { profile: { name: 'Plans', topic: 'new', data: { a: 1 } }, settings, version: 2, roomId: id, seq, by: bob.id });
  }
  const [x, y] = await Promise.all([a, b].map((s, i) => s.emit('room:update', { roomId: id, profile: { topic: `race ${i}` }, ifVersion: 2 })));
  const [won, lost] = x.ok ? [x, y] : [y, x];
  ok(won, { version: 3 });
  assert.equal(refused(lost, 'conflict').reason, 'changed');
  ok(await a.emit('room:update', { roomId: id, profile: { topic: null, data: null, avatarUrl: 'https://a/b' }, settings: { maxMembers: null } }), { version: 4 });
  ok(await a.emit('room:update', { roomId: id, profile: { avatarUrl: 'https://a/b' } }), { version: 4 });
  const { room } = await c.emit('room:get', id);
  exact(room, { roomId: id, kind: 'public', profile: { name: 'Plans', avatarUrl: 'https://a/b' }, settings: { send: 'member' }, version: 4, createdAt: iso, memberCount: 3 });
  await c.take('room:updated', (e) => e.version === 4);
  assert.equal(c.seen('room:updated').length, 3, 'what changes nothing is no event');
  for (const [bad, code] of [
    [{ profile: 'x' }, 'invalid'], [{ profile: { name: 1 } }, 'invalid'], [{ profile: { data: [] } }, 'invalid'], [{ profile: { name: 'x'.repeat(201) } }, 'too_large'],
    [{ settings: { send: 'king' } }, 'invalid'], [{ settings: { slowModeMs: 21_600_001 } }, 'invalid'], [{ settings: { slowModeMs: -1 } }, 'invalid'],
    [{ settings: { slowModeMs: 1.5 } }, 'invalid'], [{ settings: { maxMembers: 1e9 } }, 'invalid'], [{ ifVersion: 0 }, 'invalid'], [{ ifVersion: 'x' }, 'invalid'],
  ]) refused(await a.emit('room:update', { roomId: id, ...bad }), code);
  refused(await a.emit('room:update', { roomId: roomId() }), 'not_found');
  assert.equal((await c.emit('room:get', id)).room.version, 4);
});

test('slow mode: members wait exactly, moderators do not, and leaving does not help', async (t) => {
  const { id, sockets: [a, b, c] } = await hall(t, { settings: { slowModeMs: 3_600_000 } });
  const first = await c.patiently('message:send', { roomId: id, content: 'first', clientMsgId: 'c' });
  assert.equal(first.ok, true);
  const before = refused(await c.emit('message:send', { roomId: id, content: 'second' }), 'rate_limited');
  assert.equal(before.reason, 'slow_mode');
  const left = Date.parse(first.createdAt) + 3_600_000 - Date.now();
  assert.ok(Math.abs(before.retryAfterMs - left) < 60_000, `retryAfterMs ${before.retryAfterMs}, want about ${left}`);
  const again = await c.emit('message:send', { roomId: id, content: 'first', clientMsgId: 'c' });
  assert.deepEqual([again.id, again.seq], [first.id, first.seq]);
  ok(await c.emit('room:leave', id));
  assert.equal((await c.join(id)).reply.ok, true);
  const after = refused(await c.emit('message:send', { roomId: id, content: 'third' }), 'rate_limited');
  assert.ok(after.retryAfterMs <= before.retryAfterMs, 'the wait went on');
  for (const s of [a, b]) for (const content of ['1', '2']) assert.equal((await s.patiently('message:send', { roomId: id, content })).ok, true);
  ok(await b.emit('room:update', { roomId: id, settings: { slowModeMs: 0 } }), { version: 2 });
  for (const content of ['4', '5']) assert.equal((await c.patiently('message:send', { roomId: id, content })).ok, true);
});

test('settings.send says who may say something, of whatever kind', async (t) => {
  const { id, sockets: [a, b, c] } = await hall(t);
  assert.equal((await c.emit('room:message', { roomId: id })).ok, true);
  assert.equal(refused(await b.emit('room:update', { roomId: id, settings: { send: 'owner' } }), 'forbidden').reason, 'not_allowed');
  ok(await b.emit('room:update', { roomId: id, settings: { send: 'moderator' } }), { version: 2 });
  for (const [event, argument] of [['message:send', { roomId: id, content: 'x' }], ['room:message', { roomId: id }], ['typing:start', id]]) {
    assert.equal(refused(await c.emit(event, argument), 'forbidden').reason, 'not_allowed', event);
  }
  for (const s of [a, b]) assert.equal((await s.patiently('message:send', { roomId: id, content: 'news' })).ok, true);
  assert.equal((await c.emit('message:history', { roomId: id })).ok, true);
});

test('maxMembers: joins and adds beyond are refused, whoever races for the last place', async (t) => {
  const { id, sockets: [a, , c] } = await hall(t, { settings: { maxMembers: 4 } });
  const others = await Promise.all([0, 1, 2].map(async (gateway) => connect(t, await newUser('x'), { gateway })));
  const replies = await Promise.all(others.map((s) => s.emit('room:join', id)));
  assert.equal(replies.filter((r) => r.ok).length, 1);
  for (const r of replies.filter((r) => !r.ok)) assert.equal(refused(r, 'forbidden').reason, 'room_full');
  const eve = await newUser('eve');
  ok(await a.emit('room:add', { roomId: id, userIds: [eve.id] }), { done: [], failed: [{ userId: eve.id, reason: 'room_full' }] });
  ok(await c.emit('room:leave', id));
  ok(await a.emit('room:add', { roomId: id, userIds: [eve.id] }), { done: [eve.id], failed: [] });
  const members = Array.from({ length: 2 }, (_, i) => ({ userId: `m${i}` }));
  assert.equal(refused(await a.emit('room:create', { kind: 'private', members, settings: { maxMembers: 2 } }), 'forbidden').reason, 'room_full');
});

test('an archived room is read, and nothing is said there', async (t) => {
  const { id, users: [, bob, cid], sockets: [a, b, c] } = await hall(t);
  assert.equal((await c.patiently('message:send', { roomId: id, content: 'kept' })).ok, true);
  assert.equal(refused(await c.emit('room:archive', id), 'forbidden').reason, 'not_allowed');
  ok(await b.emit('room:archive', id));
  for (const s of [a, b, c]) exact(await s.take('room:archived'), { archivedAt: iso, roomId: id, seq, by: bob.id });
  ok(await b.emit('room:archive', { roomId: id }));
  for (const s of [a, b, c]) {
    for (const [event, argument] of [['message:send', { roomId: id, content: 'x' }], ['room:message', { roomId: id }], ['typing:start', id]]) {
      assert.equal(refused(await s.emit(event, argument), 'forbidden').reason, 'archived', event);
    }
    assert.deepEqual((await s.emit('message:history', { roomId: id })).messages.map((m) => m.content), ['kept']);
    assert.equal((await s.join(id)).reply.ok, true);
  }
  assert.equal((await call('POST', `/api/v1/rooms/${id}/messages`, { key: apiKey, body: { content: 'x' } })).status, 403);
  const e = await connect(t, await newUser('eve'));
  assert.equal(refused(await e.emit('room:join', id), 'forbidden').reason, 'archived');
  const { room } = await e.emit('room:get', id);
  assert.match(room.archivedAt, iso);
  ok(await a.emit('room:remove', { roomId: id, userIds: [cid.id] }), { done: [cid.id], failed: [] });
  assert.equal(a.seen('room:archived').length, 1);
});

test('room:delete: out at once on every gateway, and nobody has that room any more', async (t) => {
  const { id, users: [ann, , cid], sockets: [a, b, c] } = await hall(t);
  const c2 = await connect(t, cid, { gateway: 0 });
  await c2.join(id);
  const { id: messageId } = await c.patiently('message:send', { roomId: id, content: 'gone' });
  for (const s of [b, c]) assert.equal(refused(await s.emit('room:delete', id), 'forbidden').reason, 'not_allowed');
  const talk = Array.from({ length: 20 }, (_, i) => b.emit('room:message', { roomId: id, i }));
  const inside = async () => (await call('GET', `/api/v1/sockets?rooms=${id}`, { key: apiKey })).body.sockets.length;
  assert.equal(await inside(), 4);
  ok(await a.emit('room:delete', id));
  assert.equal(await inside(), 0, 'sockets that are in the room after the ack');
  const marks = [a, b, c, c2].map((s) => s.events.length);
  await Promise.all(talk);
  for (const s of [a, b, c, c2]) exact(await s.take('room:deleted'), { roomId: id, seq, by: ann.id });
  for (const [event, argument] of [
    ['room:join', id], ['room:get', id], ['message:send', { roomId: id, content: 'x' }], ['room:message', { roomId: id }], ['typing:start', id],
    ['message:history', { roomId: id }], ['message:read', { roomId: id, messageId }], ['presence:get', { roomId: id }], ['room:update', { roomId: id }],
    ['room:delete', id], ['room:archive', id],
  ]) {
    for (const s of [a, c]) refused(await s.emit(event, argument), 'not_found');
  }
  for (const s of [a, b, c]) assert.deepEqual((await s.emit('room:list')).rooms, []);
  for (const [i, s] of [a, b, c, c2].entries()) {
    assert.deepEqual(s.events.slice(marks[i]).filter((x) => x.data?.roomId === id && !['room:deleted', 'me:room-removed'].includes(x.event)), [], `socket ${i}`);
  }
  for (const s of [a, b, c, c2]) {
    exact(await s.take('me:room-removed'), { useq: 2, roomId: id, reason: 'deleted' });
    assert.equal(s.seen('me:room-removed').length, 1);
  }
  assert.equal(refused(await a.emit('room:create', { kind: 'public', roomId: id }), 'conflict').reason, 'exists');
});

test('room:delete in a large room: members are told, also those that are not inside and those that come later', async (t) => {
  const { id, users: [, bob], sockets: [a, b, c] } = await hall(t);
  for (let from = 0; from < 600; from += 100) {
    const userIds = Array.from({ length: 100 }, (_, i) => `!crowd-${id}-${from + i}`); // before the others in the order of ids
    ok(await a.emit('room:add', { roomId: id, userIds }), { done: userIds, failed: [] });
  }
  b.socket.close();
  ok(await a.emit('room:delete', id));
  for (const s of [a, c]) exact(await s.take('me:room-removed'), { useq: 2, roomId: id, reason: 'deleted' });
  const back = await connect(t, bob, { auth: { token: bob.token, useq: 1 } });
  exact(await back.take('me:room-removed'), { useq: 2, roomId: id, reason: 'deleted' });
});
