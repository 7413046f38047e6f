// The log of a user: what is the user's own on all devices, live, recovered, and resumed by auth.useq.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { again, connect, drop } from './client.js';
import { any, exact, iso, ok, seq, text } from './expect.js';
import { newUser, roomId } from './user.js';

const room = (spec) => (value) => {
  exact(value, { roomId: text, kind: text, profile: any, settings: any, version: seq, createdAt: iso, memberCount: seq, ...spec }, 'room');
  return true;
};
const log = (client) => client.events.filter((e) => e.event.startsWith('me:')).map((e) => [e.event, e.data.useq]);
const create = async (client, members = [], more = {}) => {
  const reply = await client.emit('room:create', { kind: 'private', members: members.map((m) => ({ userId: m.id })), ...more });
  assert.equal(reply.ok, true, JSON.stringify(reply));
  return reply.room.roomId;
};

test('all devices of a user hear of its rooms, on every gateway, and others do not', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann);
  const devices = [await connect(t, bob, { gateway: 0 }), await connect(t, bob, { gateway: 1 }), await connect(t, bob, { gateway: 2 })];
  const chat = await connect(t, bob, { namespace: '/chat' });

  const id = await create(a, [bob], { profile: { name: 'Plans' } });
  exact(await a.take('me:room-added'), { useq: 1, room: room({ roomId: id, kind: 'private', memberCount: 2 }) });
  for (const device of devices) {
    exact(await device.take('me:room-added'), { useq: 1, by: ann.id, room: room({ roomId: id, kind: 'private', profile: { name: 'Plans' }, memberCount: 2 }) });
  }
  ok(await a.emit('room:remove', { roomId: id, userIds: [bob.id] }), { done: [bob.id], failed: [] });
  for (const device of devices) exact(await device.take('me:room-removed'), { useq: 2, roomId: id, reason: 'removed' });

  const open = await a.emit('room:open', { userIds: [bob.id] });
  for (const device of devices) exact(await device.take('me:room-added'), { useq: 3, by: ann.id, room: room({ roomId: open.room.roomId, kind: 'direct', memberCount: 2 }) });

  const lobby = roomId('lobby');
  await devices[0].join(lobby);
  await devices[1].join(lobby); // a member already
  await devices[1].emit('room:leave', lobby);
  for (const device of devices) {
    exact(await device.take('me:room-added'), { useq: 4, room: room({ roomId: lobby, kind: 'public', memberCount: 1 }) });
    exact(await device.take('me:room-removed'), { useq: 5, roomId: lobby, reason: 'left' });
  }
  ok(await a.emit('room:add', { roomId: id, userIds: [bob.id] }), { done: [bob.id], failed: [] });
  ok(await a.emit('room:ban', { roomId: id, userId: bob.id }));
  for (const device of devices) {
    await device.take('me:room-added');
    exact(await device.take('me:room-removed'), { useq: 7, roomId: id, reason: 'banned' });
    assert.deepEqual(log(device).map(([, useq]) => useq), [1, 2, 3, 4, 5, 6, 7]);
  }
  assert.deepEqual(log(a), [['me:room-added', 1], ['me:room-added', 2]], 'ann hears of her own rooms');
  assert.deepEqual(log(chat), [], 'nothing on /chat');
});

test('a device that comes later hears of what happens from then on', async (t) => {
  const ann = await newUser('ann');
  const first = await connect(t, ann);
  await create(first);
  await first.take('me:room-added');
  const second = await connect(t, ann, { gateway: 1 });
  const id = await create(second);
  assert.equal((await second.take('me:room-added')).room.roomId, id);
  await create(first);
  for (const device of [first, second]) await device.take('me:room-added', (e) => e.useq === 3);
  assert.deepEqual(log(second).map(([, useq]) => useq), [2, 3]);
});

for (const [how, gateway] of [['the same gateway', 0], ['another gateway', 2]]) {
  test(`recovery brings what was missed, through ${how}`, async (t) => {
    const [ann, bob] = [await newUser('ann'), await newUser('bob')];
    const [a, b] = [await connect(t, ann, { gateway: 1 }), await connect(t, bob, again)];
    await drop(b, gateway, () => create(a, [bob])); // it had got nothing before
    assert.equal(b.socket.recovered, true);
    await b.take('me:room-added', (e) => e.useq === 1);
    await create(a, [bob]);
    await b.take('me:room-added', (e) => e.useq === 2);
    let atConnect;
    b.socket.once('connect', () => { atConnect = log(b).length; });
    await drop(b, 0, async () => { await create(a, [bob]); await create(a, [bob]); });
    assert.equal(b.socket.recovered, true);
    assert.equal(atConnect, 4, 'before connect, like those of rooms');
    await drop(b, 2);
    await create(a, [bob]);
    await b.take('me:room-added', (e) => e.useq === 5);
    assert.deepEqual(log(b).map(([, useq]) => useq), [1, 2, 3, 4, 5]);
  });
}

test('auth.useq resumes the log on a new connection; what the log does not have is a reset', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { gateway: 1 });
  for (let i = 0; i < 3; i += 1) await create(a, [bob]);
  const since = (useq, gateway) => connect(t, bob, { gateway, auth: { token: bob.token, useq } });
  const [all, some, none, ahead, bad, fresh] = [await since(0, 0), await since(2, 1), await since(3, 2), await since(9, 0), await since('three', 1), await connect(t, bob)];
  for (const device of [ahead, bad]) exact(await device.take('me:reset'), { useq: 3 });
  await create(a, [bob]);
  for (const [device, want] of [[all, [1, 2, 3, 4]], [some, [3, 4]], [none, [4]], [ahead, [3, 4]], [bad, [3, 4]], [fresh, [4]]]) {
    await device.take('me:room-added', (e) => e.useq === 4);
    assert.deepEqual(log(device).map(([, useq]) => useq), want);
  }
});
