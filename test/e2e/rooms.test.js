// Rooms: joining, leaving, membership, history at the join, room ids of every kind, ephemeral room:message.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, pair } from './client.js';
import { beyond } from './contract.js';
import { newUser, roomId, unique } from './user.js';
import { any, array, exact, message, now, ok, refused, sent, seq, text } from './expect.js';

const joined = (room, role) => ({ roomId: room, seq, role, hasMore: false });

test('the first to join makes the room and owns it, the second is a member', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const a = await connect(t, ann);
  const first = await a.join(room);
  ok(first.reply, joined(room, 'owner'));
  assert.deepEqual(first.history, []);

  const b = await connect(t, bob, { gateway: 1 });
  const second = await b.join(room);
  ok(second.reply, joined(room, 'member'));
  assert.ok(second.reply.seq > first.reply.seq, `seq ${first.reply.seq} then ${second.reply.seq}`);

  const event = await a.take('room:user-joined');
  exact(event, { userId: bob.id, userName: bob.name, roomId: room, seq: second.reply.seq });
  assert.deepEqual(b.seen('room:user-joined'), [], 'the joiner itself does not get it');
});

test('a member that joins again is not announced again', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const again = await b.join(room);
  assert.equal(again.reply.ok, true);
  const elsewhere = await connect(t, bob, { gateway: 2 });
  ok((await elsewhere.join({ roomId: room })).reply, joined(room, 'member'));
  await b.emit('message:send', { roomId: room, content: 'barrier' });
  await a.take('message:new');
  assert.deepEqual(a.seen('room:user-joined').length, 1);
  assert.deepEqual((await b.take('message:new')).content, 'barrier');
  assert.deepEqual(b.seen('message:new').length, 1, 'joined twice, delivered once');
  assert.deepEqual((await elsewhere.take('message:new')).content, 'barrier');
});

test('history at the join: the last 50, oldest first; since and limit', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const a = await connect(t, ann);
  await a.join(room);
  const acks = [];
  for (let i = 0; i < 55; i += 1) acks.push(await a.patiently('message:send', { roomId: room, content: `m${i}` }));

  const b = await connect(t, bob, { gateway: 1 });
  const { reply, history } = await b.join(room);
  ok(reply, { roomId: room, seq, role: 'member', hasMore: true });
  assert.deepEqual(history.map((m) => m.content), Array.from({ length: 50 }, (_, i) => `m${i + 5}`));
  for (const m of history) message(m, { roomId: room, sender: { id: ann.id, name: ann.name }, type: 'text' });

  const since = await b.join({ roomId: room, since: acks[9].seq });
  ok(since.reply, joined(room, 'member'));
  assert.deepEqual(since.history.map((m) => m.content), Array.from({ length: 45 }, (_, i) => `m${i + 10}`));

  const limited = await b.join({ roomId: room, since: acks[9].seq, limit: 3 });
  ok(limited.reply, { roomId: room, seq, role: 'member', hasMore: true });
  assert.deepEqual(limited.history.map((m) => m.content), ['m10', 'm11', 'm12']);

  const all = await b.join({ roomId: room, since: 0, limit: 500 });
  ok(all.reply, joined(room, 'member'));
  assert.equal(all.history.length, 55);

  const nothing = await b.join({ roomId: room, since: acks[54].seq + 1000 });
  assert.equal(nothing.reply.ok ? nothing.history.length : 0, 0);
});

test('leaving ends the membership on every gateway', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const b2 = await connect(t, bob, { gateway: 2 });
  await b2.join(room);

  ok(await b.emit('room:leave', room));
  exact(await a.take('room:user-left'), { userId: bob.id, roomId: room, seq });

  await a.emit('message:send', { roomId: room, content: 'among us' });
  await a.take('message:new');
  for (const s of [b, b2]) {
    refused(await s.emit('message:send', { roomId: room, content: 'I am out' }), 'forbidden');
    refused(await s.emit('message:history', { roomId: room }), 'forbidden');
    refused(await s.emit('room:message', { roomId: room, x: 1 }), 'forbidden');
    refused(await s.emit('typing:start', room), 'forbidden');
    refused(await s.emit('presence:get', { roomId: room }), 'forbidden');
    assert.deepEqual(s.seen('message:new'), [], 'nothing is delivered to a non-member');
  }
  assert.deepEqual((await b.emit('room:list')).rooms, []);

  const back = await b.join(room);
  assert.equal(back.reply.ok, true);
  assert.deepEqual(back.history.map((m) => m.content), ['among us']);
  await a.take('room:user-joined', (e) => e.seq === back.reply.seq);
});

test('leaving a room that one is not in', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const reply = await a.emit('room:leave', roomId());
  if (!reply.ok) refused(reply, 'forbidden', 'not_found');
});

test('a stranger can neither read nor write', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const room = roomId();
  const a = await connect(t, ann);
  await a.join(room);
  const { id } = await a.emit('message:send', { roomId: room, content: 'secret' });
  const e = await connect(t, eve, { gateway: 1 });
  refused(await e.emit('message:send', { roomId: room, content: 'x' }), 'forbidden');
  refused(await e.emit('message:history', { roomId: room }), 'forbidden');
  refused(await e.emit('message:read', { roomId: room, messageId: id }), 'forbidden');
  refused(await e.emit('room:message', { roomId: room }), 'forbidden');
  refused(await e.emit('typing:start', room), 'forbidden');
  refused(await e.emit('presence:get', { roomId: room }), 'forbidden');
  for (const [event, argument] of [['message:send', { content: 'x' }], ['message:history', {}], ['room:message', {}]]) {
    refused(await e.emit(event, { roomId: roomId('nowhere'), ...argument }), 'forbidden', 'not_found');
  }
});

test('room:list', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [room, empty] = [roomId('talk'), roomId('empty')];
  const [a, b] = await pair(t, ann, bob, room);
  await b.join(empty);
  const acks = [];
  for (const content of ['one', 'two', 'three']) acks.push(await a.emit('message:send', { roomId: room, content }));

  const listed = await b.emit('room:list');
  ok(listed, { rooms: array, useq: 2 });
  const plain = { kind: 'public', mentions: 0, marker: (m) => m.seq === 0 && m.n === 0, prefs: { muted: false, hidden: false, pinned: false } };
  const byId = Object.fromEntries(listed.rooms.map((r) => [r.roomId, r]));
  assert.deepEqual(Object.keys(byId).sort(), [room, empty].sort());
  exact(byId[room], { roomId: room, name: text, role: 'member', seq: acks[2].seq, unread: 3, lastMessage: any, ...plain });
  message(byId[room].lastMessage, { id: acks[2].id, content: 'three', roomId: room });
  exact(byId[empty], { roomId: empty, name: text, role: 'owner', seq, unread: 0, 'lastMessage?': null, ...plain });

  ok(await b.emit('message:read', { roomId: room, messageId: acks[1].id }), { marker: { seq: acks[1].seq, n: 2 }, unread: 1, mentions: 0 });
  const read = (await b.emit('room:list')).rooms.find((r) => r.roomId === room);
  assert.deepEqual([read.unread, read.marker], [1, { seq: acks[1].seq, n: 2 }]);
  assert.equal((await a.emit('room:list')).rooms.find((r) => r.roomId === room).unread, 0, 'own messages are not unread');
});

test('room ids: wildcards, dots, spaces, dollars and every script, each its own room', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann);
  const b = await connect(t, bob, { gateway: 1 });
  const tag = unique('r');
  const ids = ['*', '>', '.', 'a.b', 'a.*', 'a.>', ' ', 'two words', '$JS.API', '$', '/', '\\', '"', "'", '%20', '房間', 'غرفة',
    'комната', '🚀', 'é', 'e\u0301', 'A', 'a', '__proto__', '../x', '{}', '=eA', 'x'.repeat(128 - tag.length - 1)].map((s) => `${s}-${tag}`);
  for (const id of ids) {
    for (const s of [a, b]) {
      const { reply } = await s.join(id);
      assert.equal(reply.ok, true, `join ${JSON.stringify(id)}: ${JSON.stringify(reply)}`);
      assert.equal(reply.roomId, id);
    }
  }
  for (const id of ids) ok(await a.patiently('message:send', { roomId: id, content: id }), sent);
  for (const id of ids) {
    const m = await b.take('message:new', (x) => x.roomId === id);
    assert.equal(m.content, id);
  }
  assert.equal(b.seen('message:new').length, ids.length, 'no event reached another room');
});

test('room ids have 1 to 128 printable characters', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const tag = unique('r');
  for (const id of [`${'x'.repeat(128 - tag.length)}${tag}`, `${'é'.repeat(128 - tag.length)}${tag}`, `${'🚀'.repeat(128 - tag.length)}${tag}`]) {
    assert.equal((await a.join(id)).reply.ok, true, `${[...id].length} characters`);
  }
  for (const id of ['', 'x'.repeat(129), '🚀'.repeat(129), 'a\u0000b', 'a\nb', 'a\u007fb', 'a\u0085b', 'x'.repeat(5000)]) {
    refused(await a.emit('room:join', id), 'invalid');
    refused(await a.emit('room:join', { roomId: id }), 'invalid');
    refused(await a.emit('message:send', { roomId: id, content: 'x' }), 'invalid');
  }
});

test('room:join refuses what is no room, and names the field', async (t) => {
  const a = await connect(t, await newUser('ann'));
  for (const bad of [undefined, null, 42, true, [], {}, { roomId: 42 }, { roomId: null }, { roomId: ['x'] }]) {
    const error = refused(await (bad === undefined ? a.emit('room:join') : a.emit('room:join', bad)), 'invalid');
    assert.match(error.message, /room/i);
  }
  const room = roomId();
  for (const bad of [{ since: 'x' }, { since: -1 }, { since: 1.5 }, { limit: 'x' }, { limit: {} }, { limit: -1 }]) {
    const error = refused(await a.emit('room:join', { roomId: room, ...bad }), 'invalid');
    assert.match(error.message, new RegExp(Object.keys(bad)[0]));
  }
  for (const event of ['room:leave', 'typing:start', 'typing:stop']) {
    for (const bad of [42, null, {}, []]) refused(await a.emit(event, bad), 'invalid');
    refused(await a.emit(event), 'invalid');
  }
});

test('unknown fields are ignored', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  ok((await a.join(beyond({ roomId: room, colour: 'red', deep: { er: [1] } }))).reply, joined(room, 'owner'));
  ok(await a.emit('message:send', beyond({ roomId: room, content: 'x', mood: 'fine' }), 'a second argument'), sent);
  message(await a.take('message:new'), { content: 'x' });
});

test('room:message goes to everyone in the room, sender included, and is not stored', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const c = await connect(t, await newUser('cid'), { gateway: 2 });
  ok(await a.emit('room:message', { roomId: room, x: 1, nested: { list: [1, 'two', null, true] }, sender: 'forged', timestamp: 1 }));
  for (const s of [a, b]) {
    exact(await s.take('room:message'), { roomId: room, x: 1, nested: { list: [1, 'two', null, true] }, sender: ann.id, timestamp: now });
  }
  const { history } = await c.join(room);
  assert.deepEqual(history, []);
  assert.deepEqual(c.seen('room:message'), []);
  for (const bad of [undefined, null, 'text', 42, [], {}, { roomId: 42 }]) {
    refused(await (bad === undefined ? a.emit('room:message') : a.emit('room:message', bad)), 'invalid');
  }
});

test('room:message keeps keys and values as they were written', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const odd = { big: 9007199254740991, small: 1e-7, neg: -0.5, '': 'empty key', 'a.b': 1, '<&>': '<script>\u2028', uni: '𝒳\u0000', z: 1, y: 2 };
  await a.emit('room:message', { roomId: room, ...odd });
  exact(await b.take('room:message'), { roomId: room, ...odd, sender: ann.id, timestamp: now });
});

test('events of one sender keep their order', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  for (let i = 0; i < 60; i += 1) a.socket.emit(i % 2 ? 'message:send' : 'room:message', { roomId: room, content: `${i}`, ...(i % 2 === 0 && { i }) });
  for (let i = 1; i < 60; i += 2) assert.equal((await b.take('message:new')).content, `${i}`);
  for (let i = 0; i < 60; i += 2) assert.equal((await b.take('room:message')).i, i);
});

test('attachments travel through room:message', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const bytes = Buffer.from([0, 1, 2, 255, 254, 0x1e, 0x0a]);
  const big = Buffer.alloc(40_000, 7);
  ok(await a.emit('room:message', { roomId: room, file: bytes, more: [{ big }, Buffer.alloc(0)], same: 'x' }));
  for (const s of [a, b]) {
    const got = await s.take('room:message');
    exact(got, { roomId: room, file: any, more: array, same: 'x', sender: ann.id, timestamp: now });
    assert.deepEqual(Buffer.from(got.file), bytes);
    assert.deepEqual(Buffer.from(got.more[0].big), big);
    assert.equal(Buffer.from(got.more[1]).length, 0);
  }
  const ten = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`f${i}`, Buffer.from([i])]));
  ok(await a.emit('room:message', { roomId: room, ...ten }));
  const got = await b.take('room:message');
  for (let i = 0; i < 10; i += 1) assert.deepEqual(Buffer.from(got[`f${i}`]), Buffer.from([i]));
});
