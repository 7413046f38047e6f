// What an operator closes: CHAT_BROADCAST and PRESENCE_SCOPE, each in a system of its own.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { Client, connected, eventually } from './client.js';
import { array, ok, refused } from './expect.js';
import { apiKey } from './rest.js';
import { System, remove, scratch } from './system.js';
import { newUser, roomId } from './user.js';

const binary = process.env.STARLING_BINARY;
const grace = 60_000; // a lease and the grace for reconnects, with room to spare
const skip = !binary && 'needs a system of its own (STARLING_BINARY)';

/** A system with these settings, and a function that connects a user to one of its gateways. */
async function start(t, name, env) {
  const dir = scratch();
  const log = join(process.env.STARLING_RESULTS ?? dir, `scopes-${name}-${process.pid}.log`);
  const system = await System.start({ binary, data: join(dir, 'data'), gateways: 2, log, env });
  t.after(async () => { await system.kill(); remove(dir, binary); });
  const connect = async (user, gateway = 0) => {
    const client = new Client(io(system.urls[gateway], { auth: { token: user.token }, transports: ['websocket'], forceNew: true, reconnection: false, timeout: 30_000 }));
    t.after(() => client.close());
    await connected(client);
    return client;
  };
  return { system, connect };
}

const present = (client) => client.events.filter((e) => /^(users:online|presence:)/.test(e.event)).map((e) => e.event);

test('CHAT_BROADCAST=admin and PRESENCE_SCOPE=rooms: admins speak to all, and one hears of those with whom one shares a room', { timeout: 240_000, skip }, async (t) => {
  const { connect } = await start(t, 'rooms', { CHAT_BROADCAST: 'admin', PRESENCE_SCOPE: 'rooms' });
  const [ann, bob, eve, root] = [await newUser('ann'), await newUser('bob'), await newUser('eve'), await newUser('root', { role: 'admin' })];
  const [a, b, e, r] = [await connect(ann), await connect(bob, 1), await connect(eve, 1), await connect(root)];
  const room = roomId();
  assert.equal((await a.join(room)).reply.ok, true);
  assert.equal((await b.join(room)).reply.ok, true);

  assert.match(refused(await a.emit('chat:message', { text: 'hi' }), 'forbidden').message, /admin/);
  ok(await r.emit('chat:message', { text: 'hello' }));
  await e.take('chat:message');

  await eventually(async () => {
    const reply = await a.emit('presence:watch', { userIds: [bob.id, eve.id, ann.id] });
    ok(reply, { users: array, denied: [eve.id] });
    assert.deepEqual(reply.users.map((u) => [u.userId, u.online]), [[bob.id, true], [ann.id, true]]);
  });
  const got = await a.emit('presence:get', { userIds: [bob.id, eve.id] });
  ok(got, { users: array, denied: [eve.id] });
  assert.deepEqual(got.users.map((u) => u.userId), [bob.id]);
  refused(await e.emit('presence:watch-room', room), 'forbidden');
  e.close();
  b.close();
  const went = await a.take('presence:changed', (m) => m.users.some((u) => !u.online), grace);
  assert.deepEqual(went.users.map((u) => u.userId), [bob.id]);
  assert.deepEqual(present(r), [], 'a socket that watches nobody hears nothing of presence');
  assert.deepEqual(a.seen('users:online'), []);
});

test('CHAT_BROADCAST=off and PRESENCE_SCOPE=none: nobody speaks to all, and nobody knows who is online', { timeout: 240_000, skip }, async (t) => {
  const { system, connect } = await start(t, 'none', { CHAT_BROADCAST: 'off', PRESENCE_SCOPE: 'none' });
  const [ann, root] = [await newUser('ann'), await newUser('root', { role: 'admin' })];
  const [a, r] = [await connect(ann), await connect(root, 1)];
  for (const s of [a, r]) assert.match(refused(await s.emit('chat:message', { text: 'hi' }), 'forbidden').message, /turned off/);
  ok(await r.emit('announcement', { text: 'still' }));
  await a.take('announcement');
  const room = roomId();
  assert.equal((await a.join(room)).reply.ok, true);
  for (const [event, argument] of [['presence:get', { userIds: [root.id] }], ['presence:get', { roomId: room }], ['presence:watch', { userIds: [root.id] }], ['presence:watch-room', room]]) {
    assert.match(refused(await a.emit(event, argument), 'forbidden').message, /turned off/);
  }
  const rest = await fetch(`${system.urls[0]}/api/v1/presence?userId=${root.id}`, { headers: { 'x-api-key': apiKey } });
  assert.equal(rest.status, 403);
  assert.deepEqual([...present(a), ...present(r)], []);
});
