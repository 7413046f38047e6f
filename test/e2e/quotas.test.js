// What one user may do to rooms, over all gateways: rooms made in an hour, and rooms entered and left in turn.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { System, remove, scratch } from './system.js';
import { apiKey } from './rest.js';
import { until } from './fleet.js';
import { newUser, roomId, unique } from './user.js';

const binary = process.env.STARLING_BINARY;
const skip = !binary && 'the system was not started by run.js';
let system;
let dir;

before(async () => {
  if (skip) return;
  dir = scratch();
  system = await System.start({
    binary, data: join(dir, 'data'), gateways: 2, log: join(process.env.STARLING_RESULTS ?? dir, `quotas-${process.pid}.log`),
    env: { MAX_ROOM_MEMBERS: '4', USER_ROOMS_PER_HOUR: '3', USER_JOIN_RATE: '1', USER_JOIN_BURST: '4' },
  });
}, { timeout: 300_000 });

after(async () => {
  await system?.stop();
  if (dir) remove(dir, binary);
});

/** A user's socket at each gateway: asks(gateway, event, argument) gives the ack. */
async function person(t) {
  const user = await newUser('user');
  const sockets = system.urls.map((url) => io(url, { auth: { token: user.token }, transports: ['websocket'], forceNew: true }));
  sockets.forEach((socket) => t.after(() => socket.close()));
  await until(() => sockets.every((socket) => socket.connected), 60_000, 'connected');
  return { ...user, asks: (gateway, event, argument) => sockets[gateway].timeout(60_000).emitWithAck(event, argument) };
}

function limited(reply, reason, most) {
  assert.deepEqual([reply.ok, reply.error?.code, reply.error?.reason], [false, 'rate_limited', reason], JSON.stringify(reply));
  assert.ok(reply.error.retryAfterMs > 0 && reply.error.retryAfterMs <= most, JSON.stringify(reply));
}

test('a user makes so many rooms in an hour, whichever way and through whichever gateway', { timeout: 180_000, skip }, async (t) => {
  const [ann, bob] = [await person(t), await person(t)];
  for (const [gateway, event, argument] of [
    [0, 'room:create', { kind: 'private', roomId: roomId() }], [1, 'room:join', roomId()], [0, 'room:open', { userIds: [bob.id] }],
  ]) assert.equal((await ann.asks(gateway, event, argument)).ok, true, event);
  const hour = 3_600_000;
  const last = roomId();
  limited(await ann.asks(0, 'room:create', { kind: 'public', roomId: last }), 'too_many_rooms', hour);
  limited(await ann.asks(1, 'room:join', last), 'too_many_rooms', hour);
  limited(await ann.asks(1, 'room:open', { userIds: [unique('cid')] }), 'too_many_rooms', hour);
  assert.equal((await ann.asks(1, 'room:open', { userIds: [bob.id] })).ok, true, 'a room that is there');
  const rest = (body, path = '/api/v1/rooms') => fetch(system.urls[1] + path, {
    method: 'POST', headers: { 'x-api-key': apiKey, 'content-type': 'application/json' }, body: JSON.stringify(body), signal: AbortSignal.timeout(60_000),
  });
  const asAnn = await rest({ kind: 'private', asUserId: ann.id });
  assert.equal(asAnn.status, 429, await asAnn.clone().text());
  assert.ok(Number(asAnn.headers.get('retry-after')) > 0);
  for (let i = 0; i < 5; i += 1) assert.equal((await rest({ kind: 'public', roomId: unique('backend') })).status, 200, 'a backend itself has no quota');
  assert.equal((await bob.asks(0, 'room:create', { kind: 'public', roomId: last })).ok, true, 'the refused room is not there, and another user makes it');
});

test('entering and leaving rooms in turn is bounded over all gateways; leaving is not', { timeout: 180_000, skip }, async (t) => {
  const [ann, bob] = [await person(t), await person(t)];
  const rooms = [roomId(), roomId()];
  for (const room of rooms) assert.equal((await bob.asks(0, 'room:join', room)).ok, true);
  for (let i = 0; i < 4; i += 1) {
    const room = rooms[i % 2];
    assert.equal((await ann.asks(i % 2, 'room:join', room)).ok, true, `join ${i}`);
    assert.equal((await ann.asks(1 - (i % 2), 'room:join', room)).ok, true, 'of a member it costs nothing');
    assert.equal((await ann.asks(i % 2, 'room:leave', room)).ok, true, `leave ${i}`);
  }
  limited(await ann.asks(0, 'room:join', rooms[0]), undefined, 60_000);
  limited(await ann.asks(1, 'room:join', rooms[1]), undefined, 60_000);
  assert.equal((await ann.asks(0, 'room:leave', rooms[0])).ok, true);
});

test('no room has more members than the operator allows', { timeout: 180_000, skip }, async (t) => {
  const [ann, bob, cid, dan, eve] = await Promise.all(Array.from({ length: 5 }, () => person(t)));
  const room = roomId();
  const full = (reply) => assert.deepEqual([reply.error?.code, reply.error?.reason], ['forbidden', 'room_full'], JSON.stringify(reply));
  full(await ann.asks(0, 'room:create', { kind: 'public', roomId: room, members: [bob, cid, dan, eve].map((u) => ({ userId: u.id })) }));
  assert.equal((await ann.asks(0, 'room:create', { kind: 'public', roomId: room, members: [{ userId: bob.id }] })).ok, true);
  assert.equal((await cid.asks(1, 'room:join', room)).ok, true);
  assert.equal((await ann.asks(1, 'room:add', { roomId: room, userIds: [dan.id] })).ok, true);
  full(await eve.asks(0, 'room:join', room));
  assert.deepEqual((await ann.asks(0, 'room:add', { roomId: room, userIds: [eve.id] })).failed, [{ userId: eve.id, reason: 'room_full' }]);
  assert.equal((await cid.asks(0, 'room:leave', room)).ok, true);
  assert.equal((await eve.asks(1, 'room:join', room)).ok, true);
});
