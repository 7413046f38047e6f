// Acks in both directions and operations on the sockets of all gateways, with official clients.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually } from './client.js';
import { own } from './contract.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId } from './user.js';
import { any, array, boolean, count, exact, text } from './expect.js';

own('ask');

const emit = (body, gateway = 2) => call('POST', '/api/v1/emit', { key, gateway, body });
const sockets = (path, body, gateway = 2) => call('POST', `/api/v1/sockets/${path}`, { key, gateway, body });

test('an emit with acks from clients on several gateways, binary ones too', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const a = await connect(t, ann);
  const b = await connect(t, bob, { gateway: 1 });
  await connect(t, cid, { gateway: 2 }); // does not answer
  a.socket.on('ask', (n, reply) => reply({ n: n + 1 }, null, 'x'));
  b.socket.on('ask', (n, reply) => reply(Buffer.from([1, 2, 3])));
  const full = await emit({ users: [ann.id, bob.id], event: 'ask', args: [1], ack: { timeoutMs: 30_000 } });
  assert.equal(full.status, 200, JSON.stringify(full.body));
  exact(full.body, { sockets: 2, replies: array, expected: 2, missing: 0, partial: false, missingGateways: 0, truncated: false });
  const by = Object.fromEntries(full.body.replies.map((r) => [r.userId, r]));
  exact(by[ann.id], { socketId: a.id, userId: ann.id, args: array, attachments: array, truncated: false });
  assert.deepEqual(by[ann.id].args, [{ n: 2 }, null, 'x']);
  assert.deepEqual(by[bob.id].args, [{ _placeholder: true, num: 0 }]);
  assert.deepEqual(by[bob.id].attachments, [Buffer.from([1, 2, 3]).toString('base64')]);

  let part;
  for (let timeoutMs = 400; timeoutMs <= 30_000 && part?.body.replies.length !== 1; timeoutMs *= 4) { // until Ann's comes in time
    part = await emit({ users: [ann.id, cid.id], event: 'ask', args: [5], ack: { timeoutMs } });
  }
  assert.deepEqual([part.body.replies.length, part.body.expected, part.body.missing, part.body.partial], [1, 2, 1, true]);
  const none = await emit({ rooms: [], event: 'x' });
  assert.equal(none.status, 400, JSON.stringify(none.body));
});

test('rooms are joined and left from outside, sockets listed by pages and disconnected', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const a = await connect(t, ann);
  const b = await connect(t, bob, { gateway: 1 });
  const joined = await sockets('join', { users: [ann.id, bob.id], joinRooms: [room] });
  assert.equal(joined.status, 200, JSON.stringify(joined.body));
  exact(joined.body, { sockets: 2, joined: 2, failed: 0, failures: array, partial: false, missingGateways: 0 });
  await a.take('room:history');
  assert.equal((await b.emit('message:send', { roomId: room, content: 'hello' })).ok, true);
  await a.take('message:new');

  const page = await call('GET', `/api/v1/sockets?rooms=${room}&limit=1`, { key, gateway: 2 });
  assert.equal(page.status, 200, JSON.stringify(page.body));
  exact(page.body, { sockets: array, partial: false, missingGateways: 0, nextCursor: text });
  exact(page.body.sockets[0], { socketId: text, userId: text, namespace: '/', gatewayId: text, rooms: (v) => v.length === 1 && v[0] === room, connectedAt: any });
  const rest = await call('GET', `/api/v1/sockets?rooms=${room}&limit=1&cursor=${page.body.nextCursor}`, { key });
  assert.deepEqual([...page.body.sockets, ...rest.body.sockets].map((s) => s.socketId), [a.id, b.id].sort());

  const left = await sockets('leave', { users: [ann.id], leaveRooms: [room] });
  exact(left.body, { sockets: 1, left: 1, partial: false, missingGateways: 0 });
  assert.equal((await b.emit('message:send', { roomId: room, content: 'without Ann' })).ok, true);
  assert.equal((await a.emit('room:list')).rooms.some((r) => r.roomId === room), true, 'the membership stays');

  const gone = await sockets('disconnect', { sockets: [a.id], close: true });
  exact(gone.body, { closed: 1, partial: boolean, missingGateways: count });
  await a.ended();
  await eventually(async () => {
    const { body } = await call('GET', `/api/v1/users/${ann.id}/sockets`, { key, gateway: 1 });
    assert.deepEqual(body.sockets, []);
  });
});
