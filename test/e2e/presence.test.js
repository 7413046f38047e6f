// Who is online: users:online on connect and on change, presence:get.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair } from './client.js';
import { newUser, roomId, unique } from './user.js';
import { array, exact, iso, ok, refused, text } from './expect.js';

const grace = 60_000; // a lease and the grace for reconnects, with room to spare

const quick = 1000; // a reconnect within it is

const user = (id, online, lastSeen) => ({ userId: id, online, lastSeen });

test('users:online comes on connect and tells who comes and goes, on every gateway', { timeout: 180_000 }, async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const a = await connect(t, ann);
  const list = await a.take('users:online');
  assert.ok(Array.isArray(list) && list.every(text), JSON.stringify(list));
  if (!list.includes(ann.id)) await a.take('users:online', (l) => l.includes(ann.id));

  const b = await connect(t, bob, { gateway: 1 });
  await b.take('users:online', (l) => l.includes(ann.id));
  await a.take('users:online', (l) => l.includes(bob.id));

  // Bob's second socket keeps him online; Cid's end tells that Bob's would have been noticed too.
  const b2 = await connect(t, bob, { gateway: 2 });
  const c = await connect(t, cid, { gateway: 1 });
  await a.take('users:online', (l) => l.includes(cid.id));
  b2.close();
  c.close();
  const without = await a.take('users:online', (l) => !l.includes(cid.id), grace);
  assert.ok(without.includes(bob.id), 'one socket of two went');
  b.close();
  await a.take('users:online', (l) => !l.includes(bob.id), grace);
  for (const l of a.seen('users:online')) assert.equal(new Set(l).size, l.length, 'a user is listed once');
});

test('changes are coalesced to at most one users:online a second', { timeout: 180_000 }, async (t) => {
  const began = performance.now();
  const watcher = await connect(t, await newUser('ann'));
  await watcher.take('users:online');
  const users = await Promise.all(Array.from({ length: 12 }, () => newUser('many')));
  await Promise.all(users.map((u, i) => connect(t, u, { gateway: i })));
  await watcher.take('users:online', (l) => users.every((u) => l.includes(u.id)));
  const lists = watcher.events.filter((e) => e.event === 'users:online');
  const most = 3 + (lists.at(-1).at - began) / 1000; // from before the first was sent: what a busy machine delivers late is none too many
  assert.ok(lists.length <= most, `${lists.length} lists, want ${most} at most`);
});

test('a quick reconnect is not seen as leaving', { timeout: 180_000 }, async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann);
  let b = await connect(t, bob, { gateway: 1 });
  for (;;) {
    const cid = await newUser('cid');
    const c = await connect(t, cid, { gateway: 1 });
    await a.take('users:online', (l) => l.includes(bob.id) && l.includes(cid.id));
    const from = a.events.length;
    const at = performance.now();
    b.close();
    b = await connect(t, bob, { gateway: 2 });
    const took = performance.now() - at;
    c.close();
    await a.take('users:online', (l) => !l.includes(cid.id), grace);
    const lists = a.events.slice(from).filter((e) => e.event === 'users:online').map((e) => e.data);
    if (lists.every((l) => l.includes(bob.id))) return;
    assert.ok(took > quick, `Bob went, and was back after ${Math.round(took)} ms`);
  }
});

test('presence:get by users', { timeout: 180_000 }, async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann);
  const b = await connect(t, bob, { gateway: 1 });
  const nobody = unique('nobody');
  const get = async () => {
    const reply = await a.emit('presence:get', { userIds: [ann.id, bob.id, nobody] });
    ok(reply, { users: array });
    for (const u of reply.users) exact(u, { userId: text, online: (v) => typeof v === 'boolean', lastSeen: (v) => v === null || iso.test(v) });
    return Object.fromEntries(reply.users.map((u) => [u.userId, u]));
  };
  await eventually(async () => {
    const users = await get();
    assert.deepEqual([users[ann.id].online, users[bob.id].online], [true, true]);
  });
  assert.deepEqual((await get())[nobody], user(nobody, false, null));
  b.close();
  await eventually(async () => {
    const bobNow = (await get())[bob.id];
    assert.equal(bobNow.online, false);
    assert.ok(Math.abs(Date.parse(bobNow.lastSeen) - Date.now()) < 60_000, `lastSeen = ${bobNow.lastSeen}`);
  }, grace);
});

test('presence:get by room lists its members, for members only', async (t) => {
  const [ann, bob, eve] = [await newUser('ann'), await newUser('bob'), await newUser('eve')];
  const room = roomId();
  const [a] = await pair(t, ann, bob, room);
  await eventually(async () => {
    const reply = await a.emit('presence:get', { roomId: room });
    ok(reply, { users: array });
    assert.deepEqual(reply.users.map((u) => u.userId).sort(), [ann.id, bob.id].sort());
    assert.ok(reply.users.every((u) => u.online));
  });
  const e = await connect(t, eve, { gateway: 2 });
  refused(await e.emit('presence:get', { roomId: room }), 'forbidden');
});

test('presence:get refuses wrong fields', async (t) => {
  const a = await connect(t, await newUser('ann'));
  for (const bad of [undefined, null, 'x', {}, { userIds: 'x' }, { userIds: [42] }, { roomId: 42 }]) {
    refused(await (bad === undefined ? a.emit('presence:get') : a.emit('presence:get', bad)), 'invalid');
  }
});


const change = (id, online) => (m) => m.users.some((u) => u.userId === id && u.online === online);

test('presence:watch: who watches hears of those users, on any gateway, and nobody else does', { timeout: 120_000 }, async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const a = await connect(t, ann);
  const idle = await connect(t, ann, { namespace: '/chat' });
  const first = await a.emit('presence:watch', { userIds: [bob.id, bob.id] });
  ok(first, { users: [user(bob.id, false, null)] });
  const b = await connect(t, bob, { gateway: 1 });
  const came = await a.take('presence:changed', change(bob.id, true));
  exact(came, { users: [{ userId: bob.id, online: true }] });
  const c = await connect(t, cid, { gateway: 2 });
  b.close();
  const went = await a.take('presence:changed', change(bob.id, false), grace);
  exact(went.users[0], { userId: bob.id, online: false, lastSeen: iso });

  // The next watch replaces the one before; on /chat it is the same.
  ok(await a.emit('presence:watch', { userIds: [] }), { users: [] });
  const reply = await idle.emit('presence:watch', { userIds: [cid.id] });
  ok(reply, { users: [user(cid.id, true, null)] });
  c.close();
  await idle.take('presence:changed', change(cid.id, false), grace);
  for (const m of a.seen('presence:changed')) assert.ok(!change(cid.id, false)(m), 'a socket hears of nobody whom it does not watch');
  assert.equal(idle.seen('presence:changed').length, 1);
});

test('presence:watch-room: members hear of members until they leave', { timeout: 120_000 }, async (t) => {
  const [ann, bob, eve] = [await newUser('ann'), await newUser('bob'), await newUser('eve')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const e = await connect(t, eve, { gateway: 2 });
  refused(await e.emit('presence:watch-room', room), 'forbidden');
  await eventually(async () => {
    const reply = await a.emit('presence:watch-room', { roomId: room });
    ok(reply, { roomId: room, users: array });
    assert.deepEqual(reply.users.map((u) => [u.userId, u.online]).sort(), [[ann.id, true], [bob.id, true]].sort());
  });
  b.close();
  await a.take('presence:changed', change(bob.id, false), grace);
  const b2 = await connect(t, bob, { gateway: 1 });
  await a.take('presence:changed', change(bob.id, true), grace);
  ok(await a.emit('room:leave', room));
  refused(await a.emit('presence:watch-room', room), 'forbidden');
  const heard = a.seen('presence:changed').length;
  ok(await a.emit('presence:watch', { userIds: [eve.id] }), { users: array });
  b2.close();
  await eventually(async () => {
    const { users: [now] } = await a.emit('presence:get', { userIds: [bob.id] });
    assert.equal(now.online, false);
  }, grace);
  e.close();
  await a.take('presence:changed', change(eve.id, false), grace); // a round later than Bob's would have come
  assert.equal(a.seen('presence:changed').length, heard + 1, 'who has left the room hears of its members no more');
});

test('presence:watch refuses wrong fields, and too many users', async (t) => {
  const a = await connect(t, await newUser('ann'));
  for (const bad of [undefined, null, 'x', {}, { userIds: 'x' }, { userIds: [42] }, { userIds: [''] }]) {
    refused(await (bad === undefined ? a.emit('presence:watch') : a.emit('presence:watch', bad)), 'invalid');
  }
  for (const bad of [undefined, null, {}, { roomId: 42 }]) {
    refused(await (bad === undefined ? a.emit('presence:watch-room') : a.emit('presence:watch-room', bad)), 'invalid');
  }
  refused(await a.emit('presence:watch', { userIds: Array.from({ length: 501 }, (_, i) => `u${i}`) }), 'too_large');
  const n = await connect(t, await newUser('ann'), { namespace: '/notifications' });
  refused(await n.emit('presence:watch', { userIds: ['x'] }), 'unknown_event');
});
