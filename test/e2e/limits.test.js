// Limits: each has a clear error, loses nothing, and leaves the connection alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair } from './client.js';
import { newUser, roomId } from './user.js';
import { any, exact, ok, refused, sent, text } from './expect.js';

const nested = (depth) => Array.from({ length: depth }).reduce((inner) => ({ in: inner }), 1);

test('event arguments: 64 KiB', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  await a.join(room);
  ok(await a.emit('room:message', { roomId: room, pad: 'x'.repeat(65_000) }));
  assert.equal((await a.take('room:message')).pad.length, 65_000);
  refused(await a.emit('room:message', { roomId: room, pad: 'x'.repeat(65_600) }), 'too_large');
  refused(await a.emit('room:message', { roomId: room, pad: 'x'.repeat(250_000) }), 'too_large');
  refused(await a.emit('room:message', { roomId: room, file: Buffer.alloc(200_000) }), 'too_large');
  a.socket.emit('room:message', { roomId: room, pad: 'x'.repeat(70_000) });
  exact(await a.take('event:error'), { event: 'room:message', code: 'too_large', message: text });
  ok(await a.emit('room:message', { roomId: room, last: 1 }));
  assert.equal((await a.take('room:message')).last, 1);
});

test('message content: 16 KiB of UTF-8', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  await a.join(room);
  for (const content of ['x'.repeat(16_384), 'é'.repeat(8192), '🚀'.repeat(4096)]) {
    ok(await a.emit('message:send', { roomId: room, content }), sent);
    assert.equal((await a.take('message:new')).content, content);
  }
  for (const content of ['x'.repeat(16_385), 'é'.repeat(8193), '🚀'.repeat(4097)]) {
    refused(await a.emit('message:send', { roomId: room, content }), 'too_large');
  }
});

test('JSON depth: 32', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  await a.join(room);
  ok(await a.emit('room:message', { roomId: room, deep: nested(28) }));
  assert.deepEqual((await a.take('room:message')).deep, nested(28));
  for (const depth of [33, 100, 1000]) {
    refused(await a.emit('room:message', { roomId: room, deep: nested(depth) }), 'invalid', 'too_large');
    refused(await a.emit('no:such:event', nested(depth)), 'invalid', 'too_large', 'unknown_event');
  }
  ok(await a.emit('room:message', { roomId: room, text: '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{{{{{{' }));
});

test('100 rooms a socket', { timeout: 180_000 }, async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  const rooms = Array.from({ length: 101 }, () => roomId());
  for (const room of rooms.slice(0, 100)) assert.equal((await a.join(room)).reply.ok, true);
  const error = refused((await a.join(rooms[100])).reply, 'too_large', 'forbidden', 'conflict', 'invalid', 'rate_limited');
  assert.match(error.message, /room/i);
  assert.equal((await a.join(rooms[5])).reply.ok, true, 'a room that the socket is in already');
  ok(await a.patiently('room:leave', rooms[0]));
  assert.equal((await a.join(rooms[100])).reply.ok, true);
  const other = await connect(t, ann, { gateway: 1 });
  assert.equal((await other.join(roomId())).reply.ok, true, 'the limit is the socket\'s, not the user\'s');
});

test('the event rate: a burst of 100, then 50 a second; a refusal says when to come back', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const began = performance.now();
  const replies = await Promise.all(Array.from({ length: 300 }, () => a.emit('room:list')));
  const took = (performance.now() - began) / 1000;
  const fine = replies.filter((r) => r.ok).length;
  const most = 100 + Math.ceil(50 * took) + 5;
  assert.ok(fine >= 90 && fine <= most, `${fine} of 300 events passed in ${took.toFixed(2)} s, want 90 to ${most}`);
  for (const r of replies.filter((x) => !x.ok)) {
    exact(r.error, { code: 'rate_limited', message: text, retryAfterMs: (v) => Number.isInteger(v) && v > 0 && v <= 10_000 });
  }
  a.socket.emit('room:list');
  a.socket.emit('room:list');
  ok(await a.patiently('room:list'), { rooms: [], useq: 0 });
});

test('one socket\'s rate does not touch another\'s', async (t) => {
  const ann = await newUser('ann');
  const room = roomId();
  const [a, b] = [await connect(t, ann), await connect(t, ann)];
  await b.join(room);
  await eventually(async () => { // a flood that takes the system long is none
    const flood = Promise.all(Array.from({ length: 250 }, () => a.emit('room:list')));
    for (let i = 0; i < 10; i += 1) ok(await b.emit('message:send', { roomId: room, content: `${i}` }), sent);
    assert.ok((await flood).some((r) => r.error?.code === 'rate_limited'));
  });
});

test('nothing acknowledged is lost to the rate limit', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const replies = await Promise.all(Array.from({ length: 200 }, (_, i) => a.emit('message:send', { roomId: room, content: `${i}` })));
  const acked = replies.filter((r) => r.ok).map((r) => r.id);
  assert.ok(acked.length >= 50);
  for (const id of acked) await b.take('message:new', (m) => m.id === id);
  assert.equal(b.seen('message:new').length, acked.length, 'and nothing refused is delivered');
});

test('long names and types', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  await a.join(room);
  for (const extra of [{ type: 'x'.repeat(5000) }, { clientMsgId: 'x'.repeat(5000) }]) {
    refused(await a.emit('message:send', { roomId: room, content: 'x', ...extra }), 'invalid', 'too_large');
  }
  refused(await a.emit('presence:get', { userIds: Array.from({ length: 5000 }, (_, i) => `u${i}`) }), 'invalid', 'too_large');
  exact(await a.emit('presence:get', { userIds: ['x'.repeat(300)] }), { ok: any, 'users?': any, 'error?': any });
});
