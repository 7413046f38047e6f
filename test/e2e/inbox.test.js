// The inbox: all rooms of a user without joining them, what becomes of them, and many rooms joined at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { again, connect, drop, eventually, open, pause } from './client.js';
import { any, count, exact, iso, ok, refused, seq, text } from './expect.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId, sign, unique } from './user.js';

/** A socket of a user with an inbox, and what it was told first. */
async function inbox(t, user, options = {}) {
  const client = await connect(t, user, { ...options, auth: { token: user.token, inbox: true, ...options.auth } });
  return { client, state: await client.take('inbox:state') };
}
const create = async (client, members = [], kind = 'private', more = {}) => {
  const reply = await client.patiently('room:create', { kind, members: members.map((m) => ({ userId: m.id })), ...more });
  assert.equal(reply.ok, true, JSON.stringify(reply));
  return reply.room.roomId;
};
const say = async (client, room, content = 'x', more = {}) => {
  const ack = await client.patiently('message:send', { roomId: room, content, ...more });
  assert.equal(ack.ok, true, JSON.stringify(ack));
  return ack;
};
const of = (state, room) => state.rooms.find((r) => r.roomId === room);
const last = (message, sender, preview, more = {}) => (value) => {
  exact(value, { id: message.id, sender: { id: sender.id, name: sender.name }, preview, type: 'text', createdAt: message.createdAt, ...more }, 'last');
  return true;
};
/** Says something in a room until a socket is told of a message that was said after a moment: whoever is to hear hears by then. */
const heard = async (speaker, room, ...clients) => {
  const { n } = await say(speaker, room, 'a sign');
  for (const client of clients) await client.take('room:activity', (e) => e.roomId === room && e.n >= n);
};

test('the state has all rooms with what is unread, and activity follows on every gateway, in rooms that were not joined', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { gateway: 1 });
  const [quiet, busy] = [await create(a, [bob]), await create(a, [bob], 'private', { profile: { name: 'Plans' } })];
  await say(a, busy, 'one');
  const two = await say(a, busy, `two\n${'x'.repeat(200)}`, { mentions: { users: [bob.id] } });
  const { client: b, state } = await inbox(t, bob);
  exact(state, { rooms: (list) => list.length === 2, useq: 3 });
  exact(state.rooms[0], {
    roomId: busy, name: 'Plans', kind: 'private', role: 'member', seq: two.seq, n: two.n, unread: 2, mentions: 1, marker: { seq: 0, n: 0 },
    prefs: { muted: false, hidden: false, pinned: false }, last: last(two, ann, `two ${'x'.repeat(136)}`),
  });
  exact(state.rooms[1], {
    roomId: quiet, name: text, kind: 'private', role: 'member', seq, n: 0, unread: 0, mentions: 0, marker: { seq: 0, n: 0 }, prefs: any, last: null,
  });
  const others = [(await inbox(t, bob, { gateway: 1 })).client, (await inbox(t, bob, { gateway: 2 })).client];
  const plain = await connect(t, bob, { gateway: 2 });
  const chat = await connect(t, bob, { namespace: '/chat', auth: { token: bob.token, inbox: true } });
  const joined = others[1];
  await joined.join(busy);
  const three = await say(a, busy, 'three');
  for (const device of [b, others[0]]) {
    exact(await device.take('room:activity', (e) => e.n >= three.n), { roomId: busy, seq: three.seq, n: 3, last: last(three, ann, 'three') });
  }
  const hello = await say(a, quiet, 'hello');
  for (const device of [b, ...others]) exact(await device.take('room:activity', (e) => e.roomId === quiet), { roomId: quiet, seq: hello.seq, n: 1, last: last(hello, ann, 'hello') });
  await joined.take('message:new', (m) => m.id === three.id);
  assert.deepEqual(joined.seen('room:activity', (e) => e.roomId === busy), [], 'nothing of a room that the socket has joined');
  assert.deepEqual([plain, chat].flatMap((c) => [...c.seen('room:activity'), ...c.seen('inbox:state')]), [], 'nothing for who did not ask, and on /chat');
});

test('a busy room is told a few times, by how it stands; an edit and a deletion of the last message are told too', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { gateway: 1 });
  const room = await create(a, [bob]);
  const { client: b } = await inbox(t, bob);
  let latest;
  const from = performance.now();
  for (let i = 0; i < 120; i += 1) latest = await say(a, room, `m${i}`);
  await b.take('room:activity', (e) => e.n === latest.n);
  const seconds = (performance.now() - from) / 1000;
  const told = b.seen('room:activity');
  assert.ok(told.length <= seconds + 3, `${told.length} in ${seconds} s`);
  assert.deepEqual(told.map((e) => e.seq), told.map((e) => e.seq).toSorted((x, y) => x - y));
  const edited = await a.patiently('message:edit', { roomId: room, messageId: latest.id, content: 'changed' });
  ok(edited, { seq });
  exact(await b.take('room:activity', (e) => e.seq >= edited.seq), { roomId: room, seq: edited.seq, n: latest.n, last: last(latest, ann, 'changed') });
  const deleted = await a.patiently('message:delete', { roomId: room, messageId: latest.id });
  const gone = await b.take('room:activity', (e) => e.seq >= deleted.seq);
  exact(gone, { roomId: room, seq: deleted.seq, n: latest.n, last: last(latest, ann, '', { deletedAt: iso }) });
  const { state } = await inbox(t, bob, { gateway: 2 });
  assert.deepEqual(of(state, room).last, gone.last);
});

test('a room that a user is added to, opens or joins elsewhere is in the inbox at once, also what is said right away', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { gateway: 1 });
  const { client: b, state } = await inbox(t, bob);
  exact(state, { rooms: [], useq: 0 });
  const room = await create(a, [bob]);
  const first = await say(a, room, 'at once');
  exact(await b.take('room:activity', (e) => e.roomId === room), { roomId: room, seq: first.seq, n: 1, last: last(first, ann, 'at once') });
  const direct = (await a.emit('room:open', { userIds: [bob.id] })).room.roomId;
  const second = await say(a, direct, 'to you');
  exact(await b.take('room:activity', (e) => e.roomId === direct), { roomId: direct, seq: second.seq, n: 1, last: last(second, ann, 'to you') });
  const elsewhere = await connect(t, bob, { gateway: 2 });
  const lobby = roomId('lobby');
  await a.join(lobby);
  await elsewhere.join(lobby);
  const third = await say(a, lobby, 'welcome');
  await b.take('room:activity', (e) => e.roomId === lobby && e.n === third.n);
  ok(await elsewhere.emit('room:leave', lobby));
  await b.take('me:room-removed', (e) => e.roomId === lobby);
  await say(a, lobby, 'behind your back');
  await heard(a, room, b);
  assert.deepEqual(b.seen('room:activity', (e) => e.roomId === lobby && e.n > third.n), []);
});

test('who was removed or banned is told nothing more of the room once that is acked; a stranger never is', async (t) => {
  const [ann, bob, cyd, eve] = [await newUser('ann'), await newUser('bob'), await newUser('cyd'), await newUser('eve')];
  const a = await connect(t, ann);
  const both = [bob, cyd];
  const secret = await create(a, both);
  const sign1 = await create(a, [...both, eve]); // by which is known that the sockets hear
  const clients = [];
  for (const user of [...both, eve]) for (const gateway of [0, 1, 2]) clients.push((await inbox(t, user, { gateway })).client);
  const insiders = clients.slice(0, 6);
  await heard(a, secret, ...insiders);
  ok(await a.emit('room:remove', { roomId: secret, userIds: [bob.id] }), { done: [bob.id], failed: [] });
  ok(await a.emit('room:ban', { roomId: secret, userId: cyd.id }));
  const { n } = await say(a, secret, 'they are out');
  await heard(a, sign1, ...clients);
  await pause(1500); // what would be told of the room was told by now, had it waited
  for (const client of clients) assert.deepEqual(client.seen('room:activity', (e) => e.roomId === secret && e.n >= n), []);
  assert.deepEqual(clients.slice(6).flatMap((c) => c.seen('room:activity', (e) => e.roomId === secret)), []);
  for (const user of [...both, eve]) assert.equal(of((await inbox(t, user)).state, secret), undefined);
  ok(await a.emit('room:unban', { roomId: secret, userId: cyd.id }));
  ok(await a.emit('room:add', { roomId: secret, userIds: [cyd.id] }), { done: [cyd.id], failed: [] });
  await heard(a, secret, ...clients.slice(3, 6));
  ok(await a.emit('room:delete', secret));
  for (const client of clients.slice(3, 6)) await client.take('me:room-removed', (e) => e.roomId === secret && e.reason === 'deleted');
});

test('rooms that a token opened are in the inbox of the socket with that token only', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann, { gateway: 1 });
  const room = await create(a);
  const id = unique('bob');
  const token = (rooms) => sign({ sub: id, name: 'Bob', ...(rooms && { starling: { rooms: [{ match: rooms, can: ['join', 'read', 'send'] }] } }) });
  const opened = { id, name: 'Bob', token: await token(room) };
  const elsewhere = { ...opened, token: await token() };
  await (await connect(t, opened)).join(room);
  const [withIt, without] = [await inbox(t, opened), await inbox(t, elsewhere, { gateway: 2 })];
  assert.ok(of(withIt.state, room));
  assert.deepEqual(without.state.rooms, []);
  await heard(a, room, withIt.client);
  const shared = await create(a, [opened]);
  await heard(a, shared, withIt.client, without.client);
  assert.deepEqual(without.client.seen('room:activity', (e) => e.roomId === room), []);
  ok(await withIt.client.emit('auth:refresh', { token: elsewhere.token }));
  exact(await withIt.client.take('inbox:state'), { rooms: (list) => list.length === 1 && list[0].roomId === shared, useq: seq });
  const { n } = await say(a, room);
  await heard(a, shared, withIt.client);
  assert.deepEqual(withIt.client.seen('room:activity', (e) => e.roomId === room && e.n >= n), []);
});

test('muted and hidden rooms are told with what their user wants of them; markers and activity make the badge', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { gateway: 1 });
  const room = await create(a, [bob]);
  const { client: b } = await inbox(t, bob);
  ok(await b.emit('room:prefs', { roomId: room, muted: true, hidden: true }));
  ok(await b.emit('user:block', ann.id));
  for (let i = 0; i < 3; i += 1) await say(a, room);
  const third = await b.take('room:activity', (e) => e.n === 3);
  const { client: other, state } = await inbox(t, bob, { gateway: 2 });
  exact(of(state, room), {
    roomId: room, name: text, kind: 'private', role: 'member', seq: third.seq, n: 3, unread: 3, mentions: 0, marker: { seq: 0, n: 0 },
    prefs: { muted: true, hidden: true, pinned: false }, last: (l) => l.id === third.last.id,
  });
  ok(await b.emit('message:read', { roomId: room, seq: third.seq }), { marker: { seq: third.seq, n: 3 }, unread: 0, mentions: 0 });
  const moved = await other.take('me:marker', (m) => m.roomId === room);
  const fourth = await say(a, room);
  const told = await other.take('room:activity', (e) => e.n === fourth.n);
  assert.equal(told.n - moved.n, 1, 'what is unread is a subtraction');
  assert.equal(of((await inbox(t, bob)).state, room).unread, 1);
});

for (const [how, gateway] of [['the same gateway', 0], ['another gateway', 2]]) {
  test(`a socket that was away gets the state again, through ${how}`, async (t) => {
    const [ann, bob] = [await newUser('ann'), await newUser('bob')];
    const a = await connect(t, ann, { gateway: 1 });
    const room = await create(a, [bob]);
    const { client: b } = await inbox(t, bob, again);
    let missed;
    await drop(b, gateway, async () => { missed = await say(a, room, 'missed'); });
    assert.equal(b.socket.recovered, true);
    const state = await b.take('inbox:state');
    assert.deepEqual([of(state, room).n, of(state, room).last.id], [1, missed.id]);
    await heard(a, room, b);
  });
}

test('beyond 200 rooms there are pages, and the last active ones are in the inbox', async (t) => {
  const bob = await newUser('bob');
  const rooms = [];
  const bulk = async (i) => {
    const id = unique('many');
    const made = await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: [{ userId: bob.id }] } });
    assert.equal(made.status, 200, JSON.stringify(made.body));
    rooms[i] = id;
  };
  for (let i = 0; i < 205; i += 5) await Promise.all([0, 1, 2, 3, 4].map((j) => bulk(i + j)));
  const post = (id) => call('POST', `/api/v1/rooms/${id}/messages`, { key, body: { content: 'x' } });
  for (const id of rooms.slice(-3)) assert.equal((await post(id)).status, 200);
  const { client: b, state } = await inbox(t, bob);
  exact(state, { rooms: (list) => list.length === 200, useq: 205, next: text });
  assert.deepEqual(state.rooms.slice(0, 3).map((r) => r.roomId), rooms.slice(-3).toReversed());
  const page = await b.emit('room:list', { after: state.next });
  ok(page, { rooms: (list) => list.length === 5, useq: 205 });
  assert.deepEqual([...state.rooms, ...page.rooms].map((r) => r.roomId).toSorted(), rooms.toSorted());
  assert.equal((await post(state.rooms[199].roomId)).status, 200);
  await b.take('room:activity', (e) => e.roomId === state.rooms[199].roomId);
});

test('room:enter joins many rooms in one round trip, each with its history, and says what became of each', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { gateway: 1 });
  const rooms = [];
  for (let i = 0; i < 12; i += 1) rooms.push(await create(a, [bob]));
  const closed = await create(a);
  const [first, second] = [await say(a, rooms[0], 'first'), await say(a, rooms[0], 'second')];
  const { client: b } = await inbox(t, bob);
  const wanted = [{ roomId: rooms[0], since: first.seq }, ...rooms.slice(1).map((id) => ({ roomId: id })), { roomId: closed }];
  const reply = await b.patiently('room:enter', { rooms: wanted });
  ok(reply, { rooms: (list) => list.length === wanted.length });
  exact(reply.rooms[0], { roomId: rooms[0], ok: true, seq: second.seq, role: 'member', hasMore: false });
  for (const [i, r] of reply.rooms.slice(1, 12).entries()) exact(r, { roomId: rooms[i + 1], ok: true, seq: count, role: 'member', hasMore: false });
  assert.deepEqual([reply.rooms[12].roomId, reply.rooms[12].ok, reply.rooms[12].error.code], [closed, false, 'not_found']);
  assert.equal(b.seen('room:history').length, 12, 'before the ack');
  assert.deepEqual(b.seen('room:history').flat().map((m) => m.id), [second.id]);
  for (const id of rooms) {
    const said = await say(a, id, 'live');
    await b.take('message:new', (m) => m.id === said.id);
  }
  for (const bad of [undefined, {}, { rooms: [] }, { rooms: 'x' }, { rooms: [{}] }, { rooms: [{ roomId: '' }] }, { rooms: [{ roomId: 'a' }, { roomId: 'a' }] }]) {
    refused(await b.patiently('room:enter', ...(bad === undefined ? [] : [bad])), 'invalid');
  }
  refused(await b.patiently('room:enter', { rooms: Array.from({ length: 101 }, (_, i) => ({ roomId: `r${i}` })) }), 'too_large');
  const silent = open(t, bob);
  silent.socket.emit('room:enter', { rooms: [{ roomId: rooms[1] }] });
  await eventually(() => assert.equal(silent.seen('room:history').length, 1));
});

test('a socket is in a hundred rooms at most, also when it enters them at once, and its rate is kept', async (t) => {
  const bob = await newUser('bob');
  const b = await connect(t, bob);
  const names = Array.from({ length: 103 }, () => ({ roomId: roomId('enter') }));
  const firsts = await b.patiently('room:enter', { rooms: names.slice(0, 60) });
  assert.deepEqual(firsts.rooms.filter((r) => !r.ok), []);
  const rest = await b.patiently('room:enter', { rooms: names.slice(60) });
  assert.equal(rest.rooms.filter((r) => r.ok).length, 40);
  assert.deepEqual([...new Set(rest.rooms.filter((r) => !r.ok).map((r) => r.error.code))], ['too_large']);
});
