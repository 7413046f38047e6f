// How far a user has read, on all devices: read by id and by sequence, set back, moved by what one says, and raced for. And what mentions it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair } from './client.js';
import { any, exact, ok, refused } from './expect.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId } from './user.js';

const say = async (client, room, content = 'x') => {
  const ack = await client.patiently('message:send', { roomId: room, content });
  assert.equal(ack.ok, true, JSON.stringify(ack));
  return ack;
};
const listed = async (client, room) => {
  const { unread, marker } = (await client.emit('room:list')).rooms.find((r) => r.roomId === room);
  return { unread, marker };
};

test('message:read by id or sequence and room:mark-unread move the marker on all devices, and others see nothing of the way back', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const a2 = await connect(t, ann, { gateway: 2 }); // has not joined the room
  const said = [];
  for (let i = 0; i < 4; i += 1) said.push(await say(b, room));
  assert.deepEqual(await listed(a2, room), { unread: 4, marker: { seq: 0, n: 0 } });
  ok(await a.emit('message:read', { roomId: room, messageId: said[0].id }), { marker: { seq: said[0].seq, n: 1 }, unread: 3, mentions: 0 });
  for (const device of [a, a2]) {
    const moved = await device.take('me:marker');
    exact(moved, { useq: moved.useq, roomId: room, seq: said[0].seq, n: 1, unread: 3, mentions: 0, at: said[3].seq });
  }
  exact(await b.take('message:read'), { messageId: said[0].id, userId: ann.id, roomId: room, seq: said[0].seq });
  ok(await a2.emit('message:read', { roomId: room, seq: said[2].seq }), { marker: { seq: said[2].seq, n: 3 }, unread: 1, mentions: 0 });
  exact(await b.take('message:read'), { messageId: said[2].id, userId: ann.id, roomId: room, seq: said[2].seq });
  ok(await a.emit('message:read', { roomId: room, messageId: said[1].id }), { marker: { seq: said[2].seq, n: 3 }, unread: 1, mentions: 0 });
  ok(await a.emit('room:mark-unread', { roomId: room, seq: said[0].seq }), { marker: { seq: said[0].seq, n: 1 }, unread: 3, mentions: 0 });
  ok(await a.emit('room:mark-unread', { roomId: room, seq: said[1].seq }), { marker: { seq: said[0].seq, n: 1 }, unread: 3, mentions: 0 }); // not forward
  for (const device of [a, a2]) await device.take('me:marker', (m) => m.seq === said[0].seq && m.n === 1);
  assert.deepEqual((await b.emit('message:readers', { roomId: room })).readers.find((r) => r.userId === ann.id), { userId: ann.id, seq: said[2].seq });
  assert.deepEqual(await listed(a2, room), { unread: 3, marker: { seq: said[0].seq, n: 1 } });
  const own = await say(a, room);
  assert.deepEqual(await listed(a2, room), { unread: 0, marker: { seq: own.seq, n: 5 } });
  ok(await a2.emit('room:mark-unread', { roomId: room, seq: 0 }), { marker: { seq: 0, n: 0 }, unread: 5, mentions: 0 });
  ok(await a2.emit('message:read', { roomId: room, seq: Number.MAX_SAFE_INTEGER }), { marker: { seq: own.seq, n: 5 }, unread: 0, mentions: 0 });
  for (const bad of [{}, { seq: -1 }, { seq: 'x' }, { seq: 1.5 }]) refused(await a.emit('message:read', { roomId: room, ...bad }), 'invalid');
  for (const bad of [{}, { seq: -1 }, { seq: 'x' }]) refused(await a.emit('room:mark-unread', { roomId: room, ...bad }), 'invalid');
  const eve = await connect(t, await newUser('eve'));
  for (const event of ['message:read', 'room:mark-unread']) refused(await eve.emit(event, { roomId: room, seq: 1 }), 'forbidden');
  assert.deepEqual(b.seen('me:marker').filter((m) => m.roomId === room && m.seq > 0), []);
});

test('three devices of one user read, mark unread and send in a race: all badges are equal in the end, and those of the list', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const devices = [a, await connect(t, ann, { gateway: 1 }), await connect(t, ann, { gateway: 2 })];
  for (const device of devices.slice(1)) await device.join(room);
  const said = [];
  for (let round = 0; round < 12; round += 1) {
    said.push(await say(b, room));
    await Promise.all(devices.map((device, i) => [
      () => device.patiently('message:read', { roomId: room, seq: said[said.length - 1].seq }),
      () => device.patiently('room:mark-unread', { roomId: room, seq: said[Math.floor(said.length / 2)].seq }),
      () => say(device, room),
    ][(i + round) % 3]()));
  }
  const last = await say(b, room);
  await eventually(async () => {
    const want = await listed(a, room);
    for (const device of devices) {
      assert.ok(device.seen('message:new').some((m) => m.id === last.id), 'it has all messages');
      const messages = device.seen('message:new').filter((m) => m.roomId === room);
      const marker = device.seen('me:marker').filter((m) => m.roomId === room).at(-1);
      const own = messages.filter((m) => m.sender.id === ann.id && m.seq > marker.at).at(-1);
      const n = Math.max(marker.n, own?.n ?? 0);
      assert.equal(last.n - n, want.unread, JSON.stringify({ marker, own: own?.seq, want }));
    }
  });
});

test('who is mentioned hears of it on all devices, inside the room or not, and finds the message in its list', async (t) => {
  const [ann, bob, eve] = [await newUser('ann'), await newUser('bob'), await newUser('eve')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const b2 = await connect(t, bob, { gateway: 2 }); // has not joined the room
  const e = await connect(t, eve);
  const secret = `secret-${room}`;
  ok(await e.emit('user:block', ann.id));
  await e.join(room);
  const mention = async (content, mentions) => {
    const ack = await a.emit('message:send', { roomId: room, content, mentions });
    assert.equal(ack.ok, true, JSON.stringify(ack));
    return ack;
  };
  const first = await mention(secret, { users: [bob.id, ann.id, eve.id, 'nobody'] });
  for (const device of [b, b2]) {
    const told = await device.take('me:mention');
    exact(told, { useq: told.useq, roomId: room, message: any });
    assert.deepEqual([told.message.id, told.message.content, told.message.mentions.users], [first.id, secret, [bob.id, ann.id, eve.id, 'nobody']]);
  }
  const all = await mention('everybody', { room: true });
  const counted = async (device) => {
    const { unread, mentions } = (await device.emit('room:list')).rooms.find((r) => r.roomId === room);
    return { unread, mentions };
  };
  assert.deepEqual(await counted(b2), { unread: 2, mentions: 2 });
  assert.deepEqual(await counted(e), { unread: 2, mentions: 1 }); // who blocks the sender is not mentioned by name
  const those = (...messages) => (list) => JSON.stringify(list.map((m) => [m.roomId, m.message.id])) === JSON.stringify(messages.map((m) => [room, m.id]));
  const page = await b.emit('mention:list', { limit: 1 });
  ok(page, { mentions: those(all), next: any });
  ok(await b2.emit('mention:list', { limit: 1, after: page.next }), { mentions: those(first) });
  ok(await e.emit('mention:list'), { mentions: those(all) });
  ok(await a.emit('mention:list'), { mentions: [] }); // not of oneself
  const rest = await call('GET', `/api/v1/mentions?limit=1&after=${encodeURIComponent(page.next)}`, { token: bob.token });
  assert.deepEqual(rest.body.mentions.map((m) => [m.roomId, m.message.id]), [[room, first.id]]);
  assert.equal((await call('GET', `/api/v1/mentions?asUserId=${bob.id}`, { key })).body.mentions.length, 2);
  for (const [query, status] of [['?after=x', 400], ['?limit=0', 400]]) assert.equal((await call('GET', `/api/v1/mentions${query}`, { token: bob.token })).status, status);
  assert.equal((await call('GET', '/api/v1/mentions', { key })).status, 400);
  refused(await b.emit('mention:list', { after: 'x' }), 'invalid');

  ok(await b2.emit('message:read', { roomId: room, seq: first.seq }), { marker: any, unread: 1, mentions: 1 });
  const read = await call('POST', `/api/v1/rooms/${encodeURIComponent(room)}/read`, { key, body: { asUserId: bob.id, messageId: all.id } });
  exact(read.body, { marker: { seq: all.seq, n: 2 }, unread: 0, mentions: 0 });
  exact((await call('POST', `/api/v1/rooms/${encodeURIComponent(room)}/unread`, { token: bob.token, body: { seq: 0 } })).body, { marker: { seq: 0, n: 0 }, unread: 2, mentions: 2 });
  for (const body of [{}, { messageId: 'x' }]) assert.equal((await call('POST', `/api/v1/rooms/${encodeURIComponent(room)}/read`, { token: bob.token, body })).status, 400);
  await b.take('me:marker', (m) => m.seq === 0 && m.mentions === 2);

  const edited = await a.emit('message:edit', { roomId: room, messageId: all.id, mentions: { users: [bob.id] } });
  assert.equal(edited.ok, true, JSON.stringify(edited));
  await b2.take('me:mention', (m) => m.message.id === all.id && m.message.changed === edited.seq);
  ok(await e.emit('mention:list'), { mentions: [] });
  assert.equal((await a.emit('message:delete', { roomId: room, messageId: first.id })).ok, true);
  assert.deepEqual(await counted(b2), { unread: 2, mentions: 1 });
  const later = await connect(t, bob, { auth: { token: bob.token, useq: 0 }, gateway: 1 });
  await later.take('me:mention', (m) => m.message.id === all.id);
  assert.ok(!JSON.stringify([...later.seen('me:mention'), await later.emit('mention:list')]).includes(secret));
  assert.ok(later.seen('me:mention').some((m) => m.message.id === first.id && m.message.deletedAt));
  ok(await b.emit('room:leave', room));
  ok(await b2.emit('mention:list'), { mentions: [] });
  assert.deepEqual(e.seen('me:mention'), []);
});
