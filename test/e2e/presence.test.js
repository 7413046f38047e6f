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
  const watcher = await connect(t, await newUser('ann'));
  await watcher.take('users:online');
  const users = await Promise.all(Array.from({ length: 12 }, () => newUser('many')));
  await Promise.all(users.map((u, i) => connect(t, u, { gateway: i })));
  await watcher.take('users:online', (l) => users.every((u) => l.includes(u.id)));
  const lists = watcher.events.filter((e) => e.event === 'users:online');
  const most = 4 + (lists.at(-1).at - lists[0].at) / 1000; // the first, and those that a busy machine delivers late
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

