// Rooms that a token opens: entering, sending, and what becomes of it when the next token does not open them any more.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { test } from 'node:test';
import { connect, connected, eventually, open, refusal } from './client.js';
import { apiKey as key, call } from './rest.js';
import { root } from './system.js';
import { newUser, roomId, sign, unique } from './user.js';
import { any, ok, refused, sent, seq } from './expect.js';

const opens = (user, ...grants) => sign({ sub: user.id, name: user.name, starling: { rooms: grants.map(([match, can]) => ({ match, can })) } });
const all = ['join', 'read', 'send'];

async function privateRoom(id, ...members) {
  const { status, body } = await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: members.map((m) => ({ userId: m.id })) } });
  assert.equal(status, 200, JSON.stringify(body));
}

test('docs/rooms.md: the token there opens its rooms, and no others', async (t) => {
  const example = JSON.parse(/```json\n([^]*?)```/.exec(readFileSync(joinPath(root, 'docs/rooms.md'), 'utf8'))[1]);
  const { match } = example.starling.rooms[0];
  assert.ok(match.endsWith('-*'));
  const [inside, outside] = [match.replace('*', unique('kitchen')), unique(match.replace('-*', '1-'))];
  const [bob, eve] = [await newUser('bob'), await newUser('eve')];
  await privateRoom(inside, bob);
  await privateRoom(outside, bob);
  const b = await connect(t, bob);
  await b.join(inside);
  const e = await connect(t, { token: await sign({ ...example, sub: eve.id, name: 'Eve' }) }, { gateway: 1 });
  ok((await e.join(inside)).reply, { roomId: inside, seq, role: 'member', hasMore: false });
  await b.take('room:user-joined', (x) => x.userId === eve.id);
  ok(await e.emit('message:send', { roomId: inside, content: 'hi' }), sent);
  assert.equal((await b.take('message:new')).sender.id, eve.id);
  assert.ok((await e.emit('room:list')).rooms.some((r) => r.roomId === inside));
  for (const [event, argument] of [['presence:get', { roomId: inside }], ['presence:watch-room', inside]]) {
    assert.deepEqual((await e.emit(event, argument)).users.map((u) => u.userId).sort(), [bob.id, eve.id].sort(), event);
  }
  refused(await e.emit('room:join', outside), 'not_found');
});

test('auth:refresh without the claim: out of the room before the ack, on every way', async (t) => {
  const [bob, eve] = [await newUser('bob'), await newUser('eve')];
  const [id, kept] = [roomId('gone'), roomId('kept')];
  await privateRoom(id, bob);
  await privateRoom(kept, bob);
  const b = await connect(t, bob);
  for (const r of [id, kept]) await b.join(r);
  const e = await connect(t, { token: await opens(eve, [id, all], [kept, all]) }, { gateway: 1 });
  for (const r of [id, kept]) assert.equal((await e.join(r)).reply.ok, true);
  ok(await e.emit('auth:refresh', { token: await opens(eve, [kept, all]) }));
  const mark = e.events.length;
  for (const r of [id, kept]) {
    await b.emit('room:message', { roomId: r, n: 1 });
    ok(await b.emit('message:send', { roomId: r, content: 'after' }), sent);
  }
  await e.take('message:new', (m) => m.roomId === kept && m.content === 'after');
  assert.deepEqual(e.events.slice(mark).filter((x) => x.data?.roomId === id), [], 'something of the room came after the ack');
  for (const [event, argument] of [
    ['room:get', id], ['room:join', id], ['message:history', { roomId: id }], ['message:send', { roomId: id, content: 'x' }], ['room:message', { roomId: id }],
    ['typing:start', id], ['presence:get', { roomId: id }], ['message:readers', { roomId: id }],
  ]) assert.deepEqual(refused(await e.emit(event, argument), 'not_found'), { code: 'not_found', message: 'Room not found' }, event);
  assert.deepEqual((await e.emit('room:list')).rooms.map((r) => r.roomId), [kept]);
  // The membership is there still: with a token that opens the room it counts again.
  ok(await e.emit('auth:refresh', { token: await opens(eve, [id, ['join']]) }));
  assert.equal((await e.join(id)).reply.role, 'member');
  assert.equal(refused(await e.emit('message:send', { roomId: id, content: 'x' }), 'forbidden').reason, 'not_allowed');
});

test('a socket that comes back with a token without the claim recovers without the room', async (t) => {
  const [bob, eve] = [await newUser('bob'), await newUser('eve')];
  const [id, kept] = [roomId('lost'), roomId('stays')];
  await privateRoom(id, bob);
  await privateRoom(kept, bob, eve);
  const b = await connect(t, bob);
  for (const r of [id, kept]) await b.join(r);
  let token = await opens(eve, [id, all]);
  const e = open(t, null, { auth: (give) => give({ token }), reconnection: true, reconnectionDelay: 500, reconnectionDelayMax: 500 });
  await connected(e);
  for (const r of [id, kept]) assert.equal((await e.join(r)).reply.ok, true);
  for (const r of [id, kept]) await b.emit('message:send', { roomId: r, content: 'before' });
  for (const r of [id, kept]) await e.take('message:new', (m) => m.roomId === r && m.content === 'before');
  token = (await newUser('eve')).token && await opens(eve, [kept, all]);
  const mark = e.events.length;
  e.socket.io.engine.close(); // as a network does
  await e.ended();
  for (const r of [id, kept]) await b.emit('message:send', { roomId: r, content: 'missed' });
  await e.take('message:new', (m) => m.roomId === kept && m.content === 'missed');
  assert.equal(e.socket.recovered, true);
  for (const r of [id, kept]) await b.emit('message:send', { roomId: r, content: 'live' });
  await e.take('message:new', (m) => m.roomId === kept && m.content === 'live');
  assert.deepEqual(e.events.slice(mark).filter((x) => x.data?.roomId === id), [], 'something of the room came with the new token');
});

test('bans and mutes go before the claim, and a removed user may come back', async (t) => {
  const [bob, eve] = [await newUser('bob'), await newUser('eve')];
  const id = roomId('strict');
  await privateRoom(id, bob);
  const e = await connect(t, { token: await opens(eve, ['*', all]) });
  await e.join(id);
  const rest = (method, more, body) => call(method, `/api/v1/rooms/${id}/${more}`, { key, body });
  await rest('POST', 'mutes', { userId: eve.id });
  assert.equal(refused(await e.emit('message:send', { roomId: id, content: 'x' }), 'forbidden').reason, 'muted');
  await rest('DELETE', `mutes/${eve.id}`);
  await rest('DELETE', `members/${eve.id}`);
  await e.take('room:user-left', (x) => x.userId === eve.id && x.reason === 'removed');
  refused(await e.emit('message:send', { roomId: id, content: 'x' }), 'forbidden');
  assert.equal((await e.join(id)).reply.ok, true);
  await rest('POST', 'bans', { userId: eve.id });
  for (const [event, argument] of [['room:join', id], ['message:history', { roomId: id }], ['room:get', id]]) assert.equal(refused(await e.emit(event, argument), 'forbidden').reason, 'banned');
  assert.equal((await call('GET', `/api/v1/rooms/${id}/messages`, { token: await opens(eve, ['*', all]) })).body.reason, 'banned');
});

test('a claim for everything opens no direct room, and makes none', async (t) => {
  const [ann, bob, eve] = [await newUser('ann'), await newUser('bob'), await newUser('eve')];
  const { body: { room: { roomId: id } } } = await call('POST', '/api/v1/rooms:open', { key, body: { userIds: [ann.id, bob.id] } });
  const e = await connect(t, { token: await opens(eve, ['*', all], [id, all]) });
  for (const [event, argument] of [['room:join', id], ['message:history', { roomId: id }], ['room:get', id], ['presence:get', { roomId: id }]]) refused(await e.emit(event, argument), 'not_found');
  refused(await e.emit('room:join', `direct:${'A'.repeat(43)}`), 'not_found');
});

test('a token whose claim of rooms is not well formed is refused', async (t) => {
  const eve = await newUser('eve');
  for (const rooms of ['order-*', [{ match: '', can: all }], [{ match: 'a', can: ['own'] }], [{ match: 'a' }], Array.from({ length: 101 }, () => ({ match: 'a', can: ['read'] }))]) {
    const token = await sign({ sub: eve.id, starling: { rooms } });
    const why = await refusal(t, { token });
    assert.equal(why.data?.code, 'invalid_token', JSON.stringify(rooms).slice(0, 80));
    await eventually(async () => assert.equal((await call('GET', '/api/v1/rooms', { token })).status, 401));
  }
});
