// Connection state recovery: a client that lost its connection gets what it missed, through any gateway.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { again, connect, drop, url } from './client.js';
import { apiKey, call } from './rest.js';
import { newUser, roomId } from './user.js';
import { wire } from './wire.js';

/** A receiver and a sender in a new room; the receiver reconnects. */
async function scene(t, options = {}) {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const receiver = await connect(t, ann, { ...again, ...options });
  const sender = await connect(t, bob, { gateway: 1 });
  await receiver.join(room);
  await sender.join(room);
  await receiver.take('room:user-joined');
  const say = (content) => sender.emit('message:send', { roomId: room, content });
  return { ann, room, receiver, sender, say };
}

for (const [how, gateway] of [['the same gateway', 0], ['another gateway', 2]]) {
  test(`missed events are replayed in order through ${how}, before connect`, async (t) => {
    const { receiver, say, room } = await scene(t);
    await say('before');
    await receiver.take('message:new');
    const id = receiver.id;
    let seenAtConnect;
    receiver.socket.once('connect', () => { seenAtConnect = receiver.seen('message:new').length; });
    await drop(receiver, gateway, async () => { for (let i = 0; i < 10; i += 1) await say(`missed ${i}`); });
    assert.equal(receiver.socket.recovered, true);
    assert.equal(receiver.id, id, 'the socket keeps its id');
    await say('after');
    await receiver.take('message:new', (m) => m.content === 'after');
    assert.deepEqual(receiver.seen('message:new').map((m) => m.content), ['before', ...Array.from({ length: 10 }, (_, i) => `missed ${i}`), 'after']);
    assert.equal(seenAtConnect, 11, 'replayed before connect');
    assert.equal((await receiver.emit('message:send', { roomId: room, content: 'I am still a member' })).ok, true);
  });
}

/** The numbers of an offset: pairs of a room's number and the sequence up to which it was seen. */
function numbersOf(offset) {
  const raw = Buffer.from(offset.slice(3), 'base64url');
  const numbers = [];
  for (let i = 0, n = 0n, shift = 0n; i < raw.length; i += 1) {
    n |= BigInt(raw[i] & 127) << shift;
    shift += 7n;
    if (raw[i] < 128) {
      numbers.push(n);
      [n, shift] = [0n, 0n];
    }
  }
  return numbers;
}

function offsetOf(numbers) {
  const bytes = numbers.flatMap((n) => {
    const some = [];
    for (let rest = n; ; rest >>= 7n) {
      if (rest < 128n) return [...some, Number(rest)];
      some.push(Number(rest & 127n) | 128);
    }
  });
  return `o1.${Buffer.from(bytes).toString('base64url')}`;
}

for (const [how, seen] of [['nothing since', 0], ['its own removal', 1], ['a message after it', 2]]) {
  test(`who was taken out while away and says to have seen ${how} gets nothing that happened after it`, async (t) => {
    const [ann, bob] = [await newUser('ann'), await newUser('bob')];
    const [a, b] = [await connect(t, ann), await connect(t, bob, { gateway: 1 })];
    const { roomId: id } = (await a.emit('room:create', { kind: 'private', members: [{ userId: bob.id }] })).room;
    for (const s of [a, b]) await s.join(id);
    for (let i = 0; i < 100; i += 1) await a.patiently('message:send', { roomId: id, content: `before ${i}` });
    const last = (await b.take('message:new', (m) => m.content === 'before 99')).seq;
    await drop(b, 2, async () => {
      assert.equal((await a.emit('room:remove', { roomId: id, userIds: [bob.id] })).done[0], bob.id);
      for (let i = 0; i < 3; i += 1) assert.equal((await a.patiently('message:send', { roomId: id, content: 'secret' })).seq, last + 2 + i);
      const numbers = numbersOf(b.socket._lastOffset);
      assert.deepEqual(offsetOf(numbers), b.socket._lastOffset);
      b.socket._lastOffset = offsetOf(numbers.map((n, i) => (i % 2 === 1 && n === BigInt(last) ? n + BigInt(seen) : n)));
    });
    assert.equal(b.socket.recovered, true);
    await b.take('me:room-removed', (m) => m.roomId === id);
    assert.equal((await b.emit('room:list')).rooms.length, 0);
    assert.deepEqual(b.seen('message:new', (m) => m.content === 'secret'), []);
    assert.equal(b.seen('room:user-left', (m) => m.userId === bob.id).length, seen === 0 ? 1 : 0);
  });
}

test('a session that received no durable event is recovered', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann, again);
  const id = a.id;
  // The client comes back by itself here.
  a.socket.io.uri = url(1);
  const back = new Promise((resolve) => { a.socket.once('connect', resolve); });
  a.socket.io.engine.close();
  await back;
  assert.equal(a.socket.recovered, true);
  assert.equal(a.id, id);
});

test('no event received since the join, and messages missed', async (t) => {
  const { receiver, say } = await scene(t);
  await drop(receiver, 1, async () => { await say('one'); await say('two'); });
  assert.equal(receiver.socket.recovered, true);
  await say('three');
  await receiver.take('message:new', (m) => m.content === 'three');
  assert.deepEqual(receiver.seen('message:new').map((m) => m.content), ['one', 'two', 'three']);
});

test('the last event was one that is not stored', async (t) => {
  const { receiver, sender, say, room } = await scene(t);
  await say('stored');
  await receiver.take('message:new');
  await sender.emit('room:message', { roomId: room, n: 1 });
  await sender.emit('typing:start', room);
  await receiver.take('typing:start');
  await drop(receiver, 2, () => say('missed'));
  assert.equal(receiver.socket.recovered, true);
  await receiver.take('message:new', (m) => m.content === 'missed');
  assert.deepEqual(receiver.seen('message:new').map((m) => m.content), ['stored', 'missed']);
});

test('the client is back before the old connection is known to be dead', async (t) => {
  const { receiver, say } = await scene(t);
  await say('before');
  await receiver.take('message:new');
  const id = receiver.id;
  // The transport goes silent and never says goodbye; a second one comes through another gateway.
  const old = receiver.socket.io.engine;
  const half = old.transport.ws;
  half._socket?.pause();
  receiver.socket.io.uri = url(2);
  const back = new Promise((resolve) => { receiver.socket.once('connect', resolve); });
  old.removeAllListeners();
  receiver.socket.io.cleanup();
  receiver.socket.io.onclose('transport close');
  await say('missed');
  await back;
  t.after(() => half.terminate?.());
  assert.equal(receiver.socket.recovered, true);
  assert.equal(receiver.id, id);
  await say('after');
  await receiver.take('message:new', (m) => m.content === 'after');
  assert.deepEqual(receiver.seen('message:new').map((m) => m.content), ['before', 'missed', 'after']);
});

test('several rooms: each is replayed from where it was, and none is announced again', async (t) => {
  const { ann, room, receiver, sender, say } = await scene(t);
  const others = [roomId('second'), roomId('third')];
  for (const id of others) {
    await receiver.join(id);
    await sender.join(id);
  }
  const to = (id, content) => sender.emit('message:send', { roomId: id, content });
  await say('a1');
  await to(others[0], 'b1');
  await to(others[1], 'c1');
  for (const content of ['a1', 'b1', 'c1']) await receiver.take('message:new', (m) => m.content === content);
  await drop(receiver, 2, async () => { await to(others[1], 'c2'); await say('a2'); await to(others[1], 'c3'); });
  await drop(receiver, 0, () => to(others[0], 'b2'));
  assert.equal(receiver.socket.recovered, true);
  await say('a3');
  await receiver.take('message:new', (m) => m.content === 'a3');
  const by = (id) => receiver.seen('message:new', (m) => m.roomId === id).map((m) => m.content);
  assert.deepEqual([by(room), by(others[0]), by(others[1])], [['a1', 'a2', 'a3'], ['b1', 'b2'], ['c1', 'c2', 'c3']]);
  assert.deepEqual(sender.seen('room:user-joined', (e) => e.userId === ann.id), []);
  assert.deepEqual(sender.seen('room:user-left'), []);
});

test('a recovered socket on /notifications missed no notification, or is honestly fresh', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann, { ...again, namespace: '/notifications' });
  const notify = (title) => call('POST', '/api/v1/notifications', { key: apiKey, body: { userId: ann.id, type: 'n', title } });
  await notify('before');
  await a.take('notification', (n) => n.title === 'before');
  await drop(a, 1, () => notify('missed'));
  await notify('after');
  await a.take('notification', (n) => n.title === 'after');
  const titles = a.seen('notification').map((n) => n.title);
  if (a.socket.recovered) assert.deepEqual(titles, ['before', 'missed', 'after'], 'a client that is told "recovered" does not ask for the list again');
});

test('a revoked user is refused, not recovered', async (t) => {
  const { ann, receiver, say } = await scene(t);
  await say('before');
  await receiver.take('message:new');
  const gone = receiver.ended();
  receiver.socket.io.reconnection(false);
  receiver.socket.io.engine.close();
  await gone;
  const { status } = await call('POST', `/api/v1/users/${ann.id}/revoke`, { key: apiKey, body: {} });
  assert.equal(status, 200);
  await say('secret');
  const refusal = new Promise((resolve, reject) => {
    receiver.socket.once('connect_error', resolve).once('connect', () => reject(new Error('connected')));
  });
  receiver.socket.io.uri = url(2);
  receiver.socket.connect();
  assert.equal((await refusal).message, 'Invalid token');
  assert.deepEqual(receiver.seen('message:new').map((m) => m.content), ['before']);
});

test('membership that ended while away is not recovered', async (t) => {
  const { ann, receiver, say, room } = await scene(t);
  await say('before');
  await receiver.take('message:new');
  const other = await connect(t, ann, { gateway: 1 });
  await other.join(room);
  await drop(receiver, 2, async () => { await other.emit('room:leave', room); await say('secret'); });
  const reply = await receiver.emit('message:send', { roomId: room, content: 'x' });
  assert.equal(reply.error?.code, 'forbidden');
  assert.deepEqual(receiver.seen('message:new').map((m) => m.content), ['before']);
});

test('a disconnect by the client itself is not recovered', async (t) => {
  const { receiver, say } = await scene(t);
  await say('before');
  await receiver.take('message:new');
  const id = receiver.id;
  receiver.socket.disconnect();
  const back = new Promise((resolve) => { receiver.socket.once('connect', resolve); });
  receiver.socket.connect();
  await back;
  assert.equal(receiver.socket.recovered, false);
  assert.notEqual(receiver.id, id);
});

test('a pid of somebody else recovers nothing', async (t) => {
  const { receiver, say, room } = await scene(t);
  await say('before');
  await receiver.take('message:new');
  const eve = await newUser('eve');
  const thief = await connect(t, eve, { ...again, gateway: 2 });
  thief.socket._pid = receiver.socket._pid;
  thief.socket._lastOffset = receiver.socket._lastOffset;
  const id = thief.id;
  await drop(thief, 2);
  assert.equal(thief.socket.recovered, false);
  assert.notEqual(thief.id, receiver.id);
  assert.notEqual(thief.id, id);
  await say('secret');
  await receiver.take('message:new', (m) => m.content === 'secret');
  assert.equal((await thief.emit('message:history', { roomId: room })).error.code, 'forbidden');
  assert.deepEqual(thief.seen('message:new'), []);
});

test('offsets that make no sense give an honest fresh session', async (t) => {
  const { receiver, say } = await scene(t);
  await say('before');
  await receiver.take('message:new');
  for (const offset of ['garbage', '-1', '9'.repeat(40), '', '*', 'x'.repeat(5000)]) {
    receiver.socket._lastOffset = offset;
    await drop(receiver, 1);
    assert.equal(typeof receiver.id, 'string', `offset ${offset.slice(0, 20)}`);
    assert.equal((await receiver.emit('room:list')).ok, true);
  }
});

test('the CONNECT reply has a private id for the recovery', async (t) => {
  const ann = await newUser('ann');
  const reply = await wire(t).connect(ann.token);
  assert.deepEqual(Object.keys(reply).sort(), ['pid', 'sid']);
  assert.notEqual(reply.pid, reply.sid);
});

test('with recovery a durable event has its offset as the last argument', async (t) => {
  const ann = await newUser('ann');
  const room = roomId();
  const w = wire(t);
  await w.connect(ann.token);
  w.send(`420["room:join",${JSON.stringify(room)}]`);
  await w.find((f) => f.startsWith('430'));
  w.send(`42["message:send",${JSON.stringify({ roomId: room, content: 'x' })}]`);
  const event = JSON.parse((await w.find((f) => f.startsWith('42["message:new"'))).slice(2));
  assert.equal(event.length, 3, JSON.stringify(event).slice(0, 300));
  assert.equal(typeof event[2], 'string');
});

test('recovery: false gives no pid and no offsets', async (t) => {
  const ann = await newUser('ann');
  const room = roomId();
  const w = wire(t);
  await w.next();
  w.send(`40${JSON.stringify({ token: ann.token, recovery: false })}`);
  const reply = JSON.parse((await w.find((f) => f.startsWith('40'))).slice(2));
  assert.deepEqual(Object.keys(reply), ['sid']);
  w.send(`420["room:join",${JSON.stringify(room)}]`);
  await w.find((f) => f.startsWith('430'));
  w.send(`42["message:send",${JSON.stringify({ roomId: room, content: 'x' })}]`);
  const event = JSON.parse((await w.find((f) => f.startsWith('42["message:new"'))).slice(2));
  assert.equal(event.length, 2, JSON.stringify(event).slice(0, 300));
});

test('recovery over long polling', async (t) => {
  const { receiver, say } = await scene(t, { transports: ['polling'] });
  await say('before');
  await receiver.take('message:new');
  await drop(receiver, 1, () => say('missed'));
  assert.equal(receiver.socket.recovered, true);
  await receiver.take('message:new', (m) => m.content === 'missed');
});
