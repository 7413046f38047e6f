// Who manages the members of a room: adding, removing, roles, bans and mutes, on every gateway before the ack.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { call } from './rest.js';
import { newUser, roomId } from './user.js';
import { any, exact, ok, refused, seq } from './expect.js';

/** A private room of ann, with bob as a moderator and cid as a member, each on a gateway of its own and inside. */
async function club(t) {
  const users = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const sockets = await Promise.all(users.map((user, gateway) => connect(t, user, { gateway })));
  const id = roomId('club');
  const members = [{ userId: users[1].id, role: 'moderator' }, { userId: users[2].id }];
  ok(await sockets[0].emit('room:create', { kind: 'private', roomId: id, members }), { room: any });
  for (const s of sockets) assert.equal((await s.join(id)).reply.ok, true);
  return { id, users, sockets };
}

/** What reached a client of a room since a mark. */
const since = (client, mark, id) => client.events.slice(mark).filter((e) => e.data?.roomId === id);

test('room:add lets somebody in, and everybody hears of it', async (t) => {
  const { id, users: [ann, bob, cid], sockets: [a, b, c] } = await club(t);
  const eve = await newUser('eve');
  const e = await connect(t, eve);
  refused(await e.emit('room:join', id), 'not_found');
  assert.equal(refused(await c.emit('room:add', { roomId: id, userIds: [eve.id] }), 'forbidden').reason, 'not_allowed');
  refused(await e.emit('room:add', { roomId: id, userIds: [eve.id] }), 'not_found');
  ok(await b.emit('room:add', { roomId: id, userIds: [eve.id, cid.id] }), { done: [eve.id, cid.id], failed: [] });
  // By name, once chat-service has heard it: a busy machine may take longer for that than Eve's CONNECT waits.
  const userName = (name) => name === eve.name || name === eve.id;
  for (const s of [a, b, c]) exact(await s.take('room:user-joined'), { userId: eve.id, userName, roomId: id, seq, by: bob.id });
  ok((await e.join(id)).reply, { roomId: id, seq, role: 'member', hasMore: false });
  ok(await b.emit('room:add', { roomId: id, userIds: [(await newUser('x')).id], role: 'owner' }), { done: [], failed: (f) => f[0].reason === 'not_allowed' });
  refused(await a.emit('room:add', { roomId: id, userIds: [] }), 'invalid');
  refused(await a.emit('room:add', { roomId: id, userIds: [ann.id], role: 'king' }), 'invalid');
  refused(await a.emit('room:add', { roomId: id, userIds: Array.from({ length: 101 }, (_, i) => `u${i}`) }), 'too_large');
});

test('who was removed gets nothing after the ack, on any gateway', async (t) => {
  const { id, users: [, bob, cid], sockets: [a, b, c] } = await club(t);
  const more = await Promise.all([0, 1].map((gateway) => connect(t, cid, { gateway })));
  for (const s of more) await s.join(id);
  for (let round = 0; round < 10; round += 1) {
    // Others speak all the time, also what is not stored and does not wait for a sequence.
    const talk = Array.from({ length: 5 }, (_, i) => [b.emit('room:message', { roomId: id, i }), b.patiently('message:send', { roomId: id, content: `${i}` })]).flat();
    ok(await a.patiently('room:remove', { roomId: id, userIds: [cid.id], reason: 'a test' }), { done: [cid.id], failed: [] });
    const marks = [c, ...more].map((s) => s.events.length);
    const after = [b.emit('room:message', { roomId: id, after: true }), b.emit('typing:start', id), b.patiently('message:send', { roomId: id, content: 'after' })];
    await Promise.all([...talk, ...after]);
    for (const [i, s] of [c, ...more].entries()) {
      refused(await s.emit('message:history', { roomId: id }), 'not_found');
      refused(await s.emit('room:message', { roomId: id }), 'not_found');
      refused(await s.emit('typing:start', id), 'not_found');
      refused(await s.emit('room:join', id), 'not_found');
      const late = since(s, marks[i], id).filter((x) => x.data.after || x.data.content === 'after' || x.event === 'typing:start');
      assert.deepEqual(late, [], `round ${round}: socket ${i} got something after the ack`);
      const left = s.seen('room:user-left', (x) => x.userId === cid.id);
      exact(left.at(-1), { userId: cid.id, roomId: id, seq, by: any, reason: 'removed' });
    }
    assert.equal((await call('GET', `/api/v1/rooms/${id}/messages`, { token: cid.token })).status, 404);
    assert.deepEqual((await c.emit('room:list')).rooms, []);
    ok(await b.patiently('room:add', { roomId: id, userIds: [cid.id] }), { done: [cid.id], failed: [] });
    for (const s of [c, ...more]) assert.equal((await s.join(id)).reply.ok, true);
  }
  assert.equal(refused(await c.emit('room:remove', { roomId: id, userIds: [bob.id] }), 'forbidden').reason, 'not_allowed');
  ok(await b.patiently('room:remove', { roomId: id, userIds: [bob.id] }), { done: [], failed: [{ userId: bob.id, reason: 'not_allowed' }] });
});

test('bans: out at once, and not let in again until they end', async (t) => {
  const { id, users: [ann, bob, cid], sockets: [a, b, c] } = await club(t);
  const until = new Date(Date.now() + 3_600_000).toISOString();
  assert.equal(refused(await c.emit('room:ban', { roomId: id, userId: bob.id }), 'forbidden').reason, 'not_allowed');
  assert.equal(refused(await b.emit('room:ban', { roomId: id, userId: ann.id }), 'forbidden').reason, 'not_allowed');
  refused(await b.emit('room:ban', { roomId: id, userId: cid.id, until: 'tomorrow' }), 'invalid');
  refused(await b.emit('room:ban', { roomId: id, userId: cid.id, until: 1000 }), 'invalid');
  ok(await b.emit('room:ban', { roomId: id, userId: cid.id, until }));
  exact(await a.take('room:user-left'), { userId: cid.id, roomId: id, seq, by: bob.id, reason: 'banned' });
  for (const [event, argument] of [['room:join', id], ['message:send', { roomId: id, content: 'x' }], ['message:history', { roomId: id }], ['room:get', id], ['presence:get', { roomId: id }]]) {
    const error = refused(await c.emit(event, argument), 'forbidden');
    assert.deepEqual([error.reason, error.until], ['banned', until], event);
  }
  const rest = await call('GET', `/api/v1/rooms/${id}/messages`, { token: cid.token });
  assert.deepEqual([rest.status, rest.body.reason, rest.body.until], [403, 'banned', until]);
  ok(await a.emit('room:add', { roomId: id, userIds: [cid.id] }), { done: [], failed: [{ userId: cid.id, reason: 'banned' }] });
  ok(await a.emit('room:unban', { roomId: id, userId: cid.id }));
  refused(await c.emit('room:join', id), 'not_found');
  ok(await a.emit('room:add', { roomId: id, userIds: [cid.id] }), { done: [cid.id], failed: [] });
  assert.equal((await c.join(id)).reply.ok, true);
  ok(await a.emit('room:ban', { roomId: id, userId: cid.id }));
  assert.equal('until' in refused(await c.emit('room:join', id), 'forbidden'), false, 'a ban without end');
});

test('mutes: said is nothing, read everything, also after leaving a public room', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [a, b] = [await connect(t, ann), await connect(t, bob, { gateway: 1 })];
  const id = roomId('hall');
  for (const s of [a, b]) await s.join(id);
  const until = Date.now() + 3_600_000;
  ok(await a.emit('room:mute', { roomId: id, userId: bob.id, until }));
  const silent = async () => {
    for (const [event, argument] of [['message:send', { roomId: id, content: 'x' }], ['room:message', { roomId: id }], ['typing:start', id]]) {
      const error = refused(await b.emit(event, argument), 'forbidden');
      assert.deepEqual([error.reason, error.until], ['muted', new Date(until).toISOString()], event);
    }
  };
  await silent();
  assert.equal((await b.emit('message:history', { roomId: id })).ok, true);
  ok(await b.emit('room:leave', id));
  await b.join(id);
  await silent();
  ok(await a.emit('room:unmute', { roomId: id, userId: bob.id }));
  assert.equal((await b.emit('message:send', { roomId: id, content: 'again' })).ok, true);
});

test('roles, and the last owner', async (t) => {
  const { id, users: [ann, bob, cid], sockets: [a, b, c] } = await club(t);
  assert.equal(refused(await a.emit('room:leave', id), 'conflict').reason, 'last_owner');
  assert.equal(refused(await a.emit('room:set-role', { roomId: id, userId: ann.id, role: 'member' }), 'conflict').reason, 'last_owner');
  assert.equal(refused(await b.emit('room:set-role', { roomId: id, userId: cid.id, role: 'owner' }), 'forbidden').reason, 'not_allowed');
  assert.equal(refused(await c.emit('room:set-role', { roomId: id, userId: cid.id, role: 'owner' }), 'forbidden').reason, 'not_allowed');
  ok(await b.emit('room:set-role', { roomId: id, userId: cid.id, role: 'moderator' }));
  for (const s of [a, b, c]) exact(await s.take('room:role'), { userId: cid.id, role: 'moderator', roomId: id, seq, by: bob.id });
  assert.equal((await c.emit('room:get', id)).role, 'moderator');
  refused(await a.emit('room:leave', { roomId: id, successor: 'nobody' }), 'invalid');
  ok(await a.emit('room:leave', { roomId: id, successor: cid.id }));
  assert.equal((await c.take('room:role')).role, 'owner');
  exact(await c.take('room:user-left'), { userId: ann.id, roomId: id, seq });
  assert.equal((await c.emit('room:get', id)).role, 'owner');
  refused(await a.emit('room:get', id), 'not_found');
  ok(await c.emit('room:set-role', { roomId: id, userId: bob.id, role: 'owner' }));
  ok(await c.emit('room:leave', id), {});
  assert.equal((await b.emit('room:get', id)).role, 'owner');
  refused(await b.emit('room:set-role', { roomId: id, userId: ann.id, role: 'member' }), 'not_found');
});
