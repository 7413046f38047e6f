// Names that change in the login system: a user has one name, on all sockets, in all rooms and in posts by a backend.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { connect } from './client.js';
import { apiKey, call } from './rest.js';
import { roomId, signAt, unique } from './user.js';
import { exact, ok, seq } from './expect.js';

const past = (seconds) => Math.floor(Date.now() / 1000) - seconds;

/** A user whose tokens are signed by hand: named(name, ago) is one with a name, issued some seconds ago. */
function person() {
  const id = unique('ann');
  return { id, named: async (name, ago) => ({ id, token: await signAt(past(ago), { sub: id, name }) }) };
}

/** The name by which the room sees the user's next message, whoever sends it. */
const seen = async (watcher, id, act) => {
  const reply = await act();
  assert.equal(reply.ok, true, JSON.stringify(reply));
  return (await watcher.take('message:new', (m) => m.sender.id === id)).sender.name;
};

/** Waits until it is that name: a machine that is busy may take longer to store one than a CONNECT waits for it. */
const becomes = async (watcher, id, act, name) => {
  let last;
  for (const until = Date.now() + 30_000; Date.now() < until;) {
    last = await seen(watcher, id, act);
    if (last === name) return;
    await setTimeout(100);
  }
  assert.equal(last, name);
};

test('a new name is that of the user everywhere, also on sockets and in rooms of before', async (t) => {
  const ann = person();
  const bob = person();
  const [room, other, later] = [roomId(), roomId(), roomId()];
  const watcher = await connect(t, await bob.named('Bob', 10), { gateway: 2 });
  const before = await connect(t, await ann.named('Ann', 100));
  for (const r of [room, other]) {
    await watcher.join(r);
    await before.join(r);
  }
  await watcher.join(later);
  const says = (socket, r = room) => () => socket.emit('message:send', { roomId: r, content: 'x' });
  const post = (r = room, gateway = 0) => async () => {
    const { status } = await call('POST', `/api/v1/rooms/${r}/messages`, { key: apiKey, body: { content: 'x', userId: ann.id }, gateway });
    return { ok: status === 200 };
  };
  assert.equal(await seen(watcher, ann.id, says(before)), 'Ann');
  assert.equal(await seen(watcher, ann.id, post()), 'Ann');

  // auth:refresh prolongs, and changes no name, neither here nor there.
  ok(await before.emit('auth:refresh', { token: (await ann.named('Refreshed', 1)).token }));
  assert.equal(await seen(watcher, ann.id, says(before)), 'Ann');
  assert.equal(await seen(watcher, ann.id, post()), 'Ann');

  const after = await connect(t, await ann.named('Anna', 50), { gateway: 1 });
  await becomes(watcher, ann.id, post(), 'Anna');
  for (const r of [room, other]) {
    for (const gateway of [0, 1, 2]) assert.equal(await seen(watcher, ann.id, post(r, gateway)), 'Anna', 'posted in a room of before');
  }
  assert.equal(await seen(watcher, ann.id, says(before)), 'Anna', 'said on a socket of before');
  ok(await before.emit('typing:start', room));
  assert.equal((await watcher.take('typing:start', (e) => e.userId === ann.id)).userName, 'Anna');
  const { reply } = await before.join(later);
  exact(await watcher.take('room:user-joined', (e) => e.roomId === later), { userId: ann.id, userName: 'Anna', roomId: later, seq });
  assert.equal(reply.ok, true);
  await after.join(room);
  assert.equal(await seen(watcher, ann.id, says(after)), 'Anna');

  // An older token is good, and turns nothing back.
  const old = await connect(t, await ann.named('Ann', 100), { gateway: 2 });
  await old.join(room);
  assert.equal(await seen(watcher, ann.id, says(old)), 'Anna');
  const between = await connect(t, await ann.named('Between', 70));
  await between.join(room);
  assert.equal(await seen(watcher, ann.id, says(between)), 'Anna');
  assert.equal(await seen(watcher, ann.id, post()), 'Anna');

  // What was said before stays as it was said.
  const { messages } = await watcher.emit('message:history', { roomId: room });
  assert.deepEqual([messages[0].sender.name, messages.at(-1).sender.name], ['Ann', 'Anna']);
});

test('names that change again and again: the last one holds', async (t) => {
  const ann = person();
  const room = roomId();
  const watcher = await connect(t, await person().named('Bob', 1));
  await watcher.join(room);
  const first = await connect(t, await ann.named('0', 60), { gateway: 1 });
  await first.join(room);
  for (let i = 1; i <= 5; i += 1) {
    await connect(t, await ann.named(`${i}`, 60 - i), { gateway: i % 3 });
    await becomes(watcher, ann.id, () => first.emit('message:send', { roomId: room, content: 'x' }), `${i}`);
  }
  await connect(t, await ann.named('0', 1), { gateway: 2 });
  await becomes(watcher, ann.id, () => first.emit('message:send', { roomId: room, content: 'x' }), '0');
});

test('who is added before ever connecting is called by the name that a backend gave', async (t) => {
  const [ann, bob, cid] = [unique('ann'), unique('crm/bob'), unique('crm/cid')];
  const { status } = await call('POST', '/api/v1/users:upsert', { key: apiKey, body: { users: [{ id: bob, name: 'Bob B.' }, { id: cid, name: 'Cid C.' }] } });
  assert.equal(status, 200);
  const owner = await connect(t, { id: ann, token: await signAt(past(10), { sub: ann, name: 'Ann' }) });
  const room = roomId();
  assert.equal((await owner.emit('room:create', { roomId: room, kind: 'private', members: [{ userId: bob }] })).ok, true);
  await owner.join(room);
  assert.deepEqual(await owner.emit('room:add', { roomId: room, userIds: [cid] }), { ok: true, done: [cid], failed: [] });
  assert.equal((await owner.take('room:user-joined', (e) => e.userId === cid)).userName, 'Cid C.');
  for (const [id, name] of [[bob, 'Bob B.'], [cid, 'Cid C.']]) {
    const sent = await call('POST', `/api/v1/rooms/${encodeURIComponent(room)}/messages`, { key: apiKey, body: { content: 'x', userId: id } });
    assert.equal(sent.status, 200, JSON.stringify(sent.body));
    assert.equal((await owner.take('message:new', (m) => m.sender.id === id)).sender.name, name);
  }
});
