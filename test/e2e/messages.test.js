// Messages: sending, retries, receipts, history.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, pair } from './client.js';
import { beyond } from './contract.js';
import { call } from './rest.js';
import { newUser, roomId, unique } from './user.js';
import { any, array, count, exact, message, ok, refused, sent, seq, text } from './expect.js';


test('message:send: ack and message:new are the same message, on every gateway, sender included', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const content = 'Grüße 🚀 "quoted" \\ <b>\u2028</b>\nsecond line';
  const clientMsgId = unique('c');
  const ack = await a.emit('message:send', { roomId: room, content, type: 'markdown', clientMsgId });
  ok(ack, sent);
  for (const s of [a, b]) {
    const got = await s.take('message:new');
    message(got, { id: ack.id, roomId: room, seq: ack.seq, sender: { id: ann.id, name: ann.name }, content, type: 'markdown', createdAt: ack.createdAt, clientMsgId });
  }
});

test('type is text unless said otherwise; no clientMsgId unless given', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  await a.join(room);
  await a.emit('message:send', { roomId: room, content: 'plain' });
  const got = await a.take('message:new');
  message(got, { type: 'text' });
  assert.ok(!('clientMsgId' in got), JSON.stringify(got));
});

test('sequences of a room have no holes and fit the order of arrival', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const acks = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? a : b).emit('message:send', { roomId: room, content: `${i}` })));
  for (const ack of acks) ok(ack, sent);
  const seqs = acks.map((k) => k.seq).sort((x, y) => x - y);
  assert.deepEqual(seqs, Array.from({ length: 40 }, (_, i) => seqs[0] + i));
  for (const s of [a, b]) {
    const got = [];
    for (let i = 0; i < 40; i += 1) got.push((await s.take('message:new')).seq);
    assert.deepEqual(got, seqs);
  }
});

test('a retry with the same clientMsgId gives the first result and no second message', async (t) => {
  const ann = await newUser('ann');
  const room = roomId();
  const a = await connect(t, ann);
  const a2 = await connect(t, ann, { gateway: 1 });
  await a.join(room);
  await a2.join(room);
  const first = await a.emit('message:send', { roomId: room, content: 'once', clientMsgId: 'id-1' });
  ok(first, sent);
  assert.deepEqual(await a.emit('message:send', { roomId: room, content: 'once', clientMsgId: 'id-1' }), first);
  assert.deepEqual(await a2.emit('message:send', { roomId: room, content: 'once', clientMsgId: 'id-1' }), first);

  const last = await a.emit('message:send', { roomId: room, content: 'other', clientMsgId: 'id-2' });
  assert.equal(last.seq, first.seq + 1);
  for (const s of [a, a2]) {
    await s.take('message:new', (m) => m.id === last.id);
    assert.deepEqual(s.seen('message:new').map((m) => m.content), ['once', 'other']);
  }
});

test('concurrent retries through two gateways make one message', async (t) => {
  const ann = await newUser('ann');
  const room = roomId();
  const sockets = [await connect(t, ann), await connect(t, ann, { gateway: 1 }), await connect(t, ann, { gateway: 2 })];
  for (const s of sockets) await s.join(room);
  for (let round = 0; round < 10; round += 1) {
    const acks = await Promise.all([...sockets, ...sockets].map((s) => s.emit('message:send', { roomId: room, content: `r${round}`, clientMsgId: `k${round}` })));
    for (const ack of acks) assert.deepEqual(ack, acks[0]);
    ok(acks[0], sent);
  }
  const { messages } = await sockets[0].emit('message:history', { roomId: room });
  assert.deepEqual(messages.map((m) => m.content), Array.from({ length: 10 }, (_, i) => `r${i}`));
});

test('a clientMsgId is the sender\'s own, and the room\'s own', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [room, other] = [roomId(), roomId()];
  const [a, b] = await pair(t, ann, bob, room);
  await a.join(other);
  const ids = [
    await a.emit('message:send', { roomId: room, content: 'x', clientMsgId: 'same' }),
    await b.emit('message:send', { roomId: room, content: 'x', clientMsgId: 'same' }),
    await a.emit('message:send', { roomId: other, content: 'x', clientMsgId: 'same' }),
  ].map((k) => k.id);
  assert.equal(new Set(ids).size, 3, ids.join(' '));
});

test('message:send refuses wrong fields and names them', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  await a.join(room);
  const good = { roomId: room, content: 'x' };
  for (const [field, values] of Object.entries({
    content: [undefined, null, '', 42, {}, ['x']],
    type: [42, {}, true], clientMsgId: [42, {}, true], roomId: [undefined, null, 42, {}],
  })) {
    for (const value of values) {
      const error = refused(await a.emit('message:send', { ...good, [field]: value }), 'invalid');
      assert.match(error.message, new RegExp(field), `${field} = ${JSON.stringify(value)}`);
    }
  }
  for (const bad of [null, 'text', 42, true, [], [good]]) refused(await a.emit('message:send', bad), 'invalid');
  refused(await a.emit('message:send'), 'invalid');
});

test('message:read tells the others, and never moves backwards', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const acks = [];
  for (const content of ['1', '2', '3']) acks.push(await a.emit('message:send', { roomId: room, content }));
  ok(await b.emit('message:read', { roomId: room, messageId: acks[1].id }), { marker: any, unread: count, mentions: 0 });
  exact(await a.take('message:read'), { messageId: acks[1].id, userId: bob.id, roomId: room, seq });
  const unread = async () => (await b.emit('room:list')).rooms.find((r) => r.roomId === room).unread;
  assert.equal(await unread(), 1);

  ok(await b.emit('message:read', { roomId: room, messageId: acks[0].id }), { marker: any, unread: count, mentions: 0 });
  assert.equal(await unread(), 1, 'an older receipt changes nothing');
  ok(await b.emit('message:read', { roomId: room, messageId: acks[2].id }), { marker: any, unread: count, mentions: 0 });
  await a.take('message:read', (e) => e.messageId === acks[2].id);
  assert.deepEqual(a.seen('message:read').map((e) => e.messageId), [acks[1].id, acks[2].id]);
  assert.deepEqual(b.seen('message:read'), [], 'the reader itself does not get it');
  assert.equal(await unread(), 0);
});

test('unread begins when one joins, and ends with an answer', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const unread = async (s) => (await s.emit('room:list')).rooms.find((r) => r.roomId === room).unread;
  for (const content of ['1', '2', '3']) await a.emit('message:send', { roomId: room, content });
  const c = await connect(t, cid, { gateway: 2 });
  await c.join(room);
  assert.deepEqual([await unread(a), await unread(b), await unread(c)], [0, 3, 0]);
  assert.equal((await b.emit('message:send', { roomId: room, content: 'an answer' })).ok, true);
  assert.deepEqual([await unread(a), await unread(b), await unread(c)], [1, 0, 1]);
  await c.emit('room:leave', room);
  await a.emit('message:send', { roomId: room, content: 'while it was away' });
  await c.join(room);
  assert.deepEqual([await unread(b), await unread(c)], [1, 0]);
});

test('message:read refuses what is no message of the room', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [room, other] = [roomId(), roomId()];
  const [a, b] = await pair(t, ann, bob, room);
  await a.join(other);
  const { id } = await a.emit('message:send', { roomId: other, content: 'elsewhere' });
  refused(await b.emit('message:read', { roomId: room, messageId: '01890000-0000-7000-8000-000000000000' }), 'not_found');
  refused(await b.emit('message:read', { roomId: room, messageId: id }), 'not_found');
  for (const messageId of [undefined, null, 42, '', 'not-a-uuid', {}]) {
    refused(await b.emit('message:read', { roomId: room, messageId }), 'invalid', 'not_found');
  }
});

test('message:readers tells a client that was reloaded how far everybody has read', async (t) => {
  const [ann, bob, cid] = (await Promise.all(['ann', 'bob', 'cid'].map((name) => newUser(name)))).sort((x, y) => (x.id < y.id ? -1 : 1));
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const c = await connect(t, cid, { gateway: 2, namespace: '/chat' });
  await c.join(room);
  const acks = [];
  for (const content of ['1', '2', '3']) acks.push(await a.emit('message:send', { roomId: room, content }));
  const reader = (user, i) => ({ userId: user.id, seq: acks[i].seq });
  const read = async (s, i) => ok(await s.emit('message:read', { roomId: room, messageId: acks[i].id }), { marker: any, unread: count, mentions: 0 });

  ok(await a.emit('message:readers', { roomId: room }), { readers: [], count: 0 });
  await read(c, 2);
  await read(b, 0);
  await read(a, 1);
  const reloaded = await connect(t, ann, { gateway: 1 });
  const all = [reader(ann, 1), reader(bob, 0), reader(cid, 2)];
  for (const s of [reloaded, b, c]) ok(await s.emit('message:readers', { roomId: room }), { readers: all, count: 3 });
  ok(await reloaded.emit('message:readers', { roomId: room, messageId: acks[1].id }), { readers: [all[0], all[2]], count: 2 });
  ok(await reloaded.emit('message:readers', { roomId: room, messageId: acks[2].id }), { readers: [all[2]], count: 1 });

  ok(await b.emit('message:readers', { roomId: room, limit: 1 }), { readers: [all[0]], count: 3, next: ann.id });
  ok(await b.emit('message:readers', { roomId: room, limit: 2, after: ann.id }), { readers: [all[1], all[2]], count: 3 });
  ok(await b.emit('message:readers', { roomId: room, after: cid.id }), { readers: [], count: 3 });

  const rest = (path, user) => call('GET', `/api/v1/rooms/${room}/readers${path}`, { token: user.token, gateway: 2 });
  assert.deepEqual((await rest('', bob)).body, { readers: all, count: 3 });
  assert.deepEqual((await rest(`?messageId=${acks[1].id}&limit=1`, bob)).body, { readers: [all[0]], count: 2, next: ann.id });
  assert.deepEqual((await rest(`?messageId=${acks[1].id}&after=${ann.id}`, bob)).body, { readers: [all[2]], count: 2 });

  // Who left is no reader any more, and hears nothing; who came back is one again.
  ok(await c.emit('room:leave', room));
  ok(await a.emit('message:readers', { roomId: room }), { readers: all.slice(0, 2), count: 2 });
  refused(await c.emit('message:readers', { roomId: room }), 'forbidden');
  const forbidden = await rest('', cid);
  assert.deepEqual([forbidden.status, forbidden.body.code], [403, 'forbidden']);
  await c.join(room);
  ok(await a.emit('message:readers', { roomId: room }), { readers: all, count: 3 });
});

test('message:readers refuses what message:history and message:read refuse', async (t) => {
  const [ann, bob, eve] = [await newUser('ann'), await newUser('bob'), await newUser('eve')];
  const [room, other] = [roomId(), roomId()];
  const [a, b] = await pair(t, ann, bob, room);
  await a.join(other);
  const { id } = await a.emit('message:send', { roomId: other, content: 'elsewhere' });
  const e = await connect(t, eve);
  refused(await e.emit('message:readers', { roomId: room }), 'forbidden');
  refused(await e.emit('message:readers', { roomId: other, messageId: id }), 'forbidden');
  refused(await b.emit('message:readers', { roomId: roomId('nowhere') }), 'not_found');
  refused(await b.emit('message:readers', { roomId: room, messageId: id }), 'not_found');
  refused(await b.emit('message:readers', { roomId: room, messageId: '01890000-0000-7000-8000-000000000000' }), 'not_found');
  for (const bad of [{ roomId: 7 }, { messageId: 42 }, { messageId: '' }, { messageId: 'x' }, { after: 7 }, { after: 'a\u0000' }, { limit: 0 }, { limit: 'ten' }, { limit: 1.5 }]) {
    const error = refused(await b.emit('message:readers', { roomId: room, ...bad }), 'invalid');
    assert.match(error.message, new RegExp(Object.keys(bad)[0]));
  }
  for (const bad of [undefined, null, 'x', []]) refused(await b.emit('message:readers', bad), 'invalid');
  ok(await b.emit('message:readers', beyond({ roomId: room, messageId: null, after: null, limit: 1_000_000 })), { readers: [], count: 0 });
  for (const [query, status] of [['limit=0', 400], ['messageId=x', 400], ['messageId=', 400], [`messageId=${id}`, 404], ['limit=x', 400]]) {
    assert.equal((await call('GET', `/api/v1/rooms/${room}/readers?${query}`, { token: bob.token })).status, status, query);
  }
  assert.equal((await call('GET', `/api/v1/rooms/${room}/readers`)).status, 401);
});

test('message:history pages by sequence in both directions', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const acks = [];
  for (let i = 0; i < 110; i += 1) acks.push(await a.patiently('message:send', { roomId: room, content: `m${i}` }));
  const contents = (from, to) => Array.from({ length: to - from }, (_, i) => `m${from + i}`);
  const page = async (query) => {
    const reply = await b.patiently('message:history', { roomId: room, ...query });
    ok(reply, { messages: array, hasMore: (v) => typeof v === 'boolean' });
    for (const m of reply.messages) message(m, { roomId: room });
    return [reply.messages.map((m) => m.content), reply.hasMore];
  };
  assert.deepEqual(await page({}), [contents(60, 110), true]);
  assert.deepEqual(await page({ limit: 100 }), [contents(10, 110), true]);
  assert.deepEqual(await page({ before: acks[60].seq, limit: 20 }), [contents(40, 60), true]);
  assert.deepEqual(await page({ before: acks[10].seq }), [contents(0, 10), false]);
  assert.deepEqual(await page({ after: acks[9].seq, limit: 5 }), [contents(10, 15), true]);
  assert.deepEqual(await page({ after: acks[104].seq }), [contents(105, 110), false]);
  assert.deepEqual(await page({ after: acks[109].seq }), [[], false]);
  assert.deepEqual(await page({ after: acks[3].seq, before: acks[7].seq }), [contents(4, 7), false]);
  assert.deepEqual(await page({ before: acks[0].seq }), [[], false]);

  const many = await b.patiently('message:history', { roomId: room, limit: 101 });
  if (many.ok) assert.ok(many.messages.length <= 100, `${many.messages.length} messages, want at most 100`);
  else refused(many, 'invalid', 'too_large');
  for (const bad of [{ before: 'x' }, { after: {} }, { limit: 'ten' }, { limit: 1.5 }, { before: -1 }, { limit: -1 }]) {
    const error = refused(await b.patiently('message:history', { roomId: room, ...bad }), 'invalid');
    assert.match(error.message, new RegExp(Object.keys(bad)[0]));
  }
});

test('message on /chat is short for message:send, and both namespaces share the room', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const a = await connect(t, ann, { namespace: '/chat' });
  const b = await connect(t, bob, { gateway: 1 });
  await a.join(room);
  await b.join(room);
  exact(await a.take('room:user-joined'), { userId: bob.id, userName: bob.name, roomId: room, seq });
  const ack = await a.emit('message', { roomId: room, content: 'short', clientMsgId: 'c1' });
  ok(ack, sent);
  for (const s of [a, b]) message(await s.take('message:new'), { id: ack.id, content: 'short', seq: ack.seq });
  assert.deepEqual(await a.emit('message:send', { roomId: room, content: 'short', clientMsgId: 'c1' }), ack);
  refused(await a.emit('message', { roomId: room }), 'invalid');
  refused(await b.emit('message', { roomId: room, content: 'x' }), 'unknown_event');
});

test('an id is a UUIDv7 of its time', async (t) => {
  const a = await connect(t, await newUser('ann'));
  const room = roomId();
  await a.join(room);
  const { id, createdAt } = await a.emit('message:send', { roomId: room, content: 'x' });
  const ms = Number.parseInt(id.replace('-', '').slice(0, 12), 16);
  assert.ok(Math.abs(ms - Date.parse(createdAt)) < 5000, `${id} against ${createdAt}`);
  assert.ok(text(createdAt));
});
